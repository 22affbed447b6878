// Why this exists: what was learned here must load in PyTorch without any of this project's code.
using System.Buffers.Binary;
using System.IO.Compression;
using System.Text;
using CoCLR.Core;
using CoCLR.Runs;
using static TorchSharp.torch;

namespace CoCLR.Engine.Interop;

/// <summary>
/// Writes a flat state dictionary as <c>torch.save</c> does: <c>torch.load(path, weights_only=True)</c> gives a dictionary that
/// <c>load_state_dict</c> takes.
/// </summary>
public static class PyTorchWriter
{
    private static readonly Dictionary<ScalarType, string> s_storages = new()
    {
        [ScalarType.Float64] = "DoubleStorage", [ScalarType.Float32] = "FloatStorage", [ScalarType.Float16] = "HalfStorage",
        [ScalarType.BFloat16] = "BFloat16Storage",
        [ScalarType.Int64] =
            "LongStorage", [ScalarType.Int32] = "IntStorage", [ScalarType.Int16] = "ShortStorage", [ScalarType.Int8] = "CharStorage",
        [ScalarType.Byte] = "ByteStorage", [ScalarType.Bool] = "BoolStorage",
    };

    /// <summary>Writes a file that appears whole or not at all.</summary>
    /// <param name="path">The file, usually <c>.pth</c>.</param>
    /// <param name="tensors">Tensors by name, on any device, written in this order.</param>
    /// <param name="under">Key of the state dictionary in the outermost dictionary (<c>state_dict</c> in the reference's files), or null
    /// for none.</param>
    /// <exception cref="UserErrorException">The file cannot be written (1).</exception>
    /// <exception cref="NotSupportedException">A tensor's type has no name in PyTorch's files.</exception>
    public static void Write(string path, IReadOnlyCollection<KeyValuePair<string, Tensor>> tensors, string? under = null)
    {
        ArgumentNullException.ThrowIfNull(tensors);
        WholeFile.Write(path, stream =>
        {
            using var zip = new ZipArchive(stream, ZipArchiveMode.Create, leaveOpen: true);
            Add(zip, "archive/data.pkl", entry => WritePickle(entry, tensors, under));
            Add(zip, "archive/byteorder", entry => entry.Write("little"u8));
            var index = 0;
            foreach (var (_, tensor) in tensors)
            {
                Add(zip, $"archive/data/{index++}", entry => Safetensors.WithBytes(tensor, bytes => entry.Write(bytes)));
            }

            Add(zip, "archive/version", entry => entry.Write("3\n"u8));
        });
    }

    private static void Add(ZipArchive zip, string name, Action<Stream> write)
    {
        // PyTorch reads only entries without compression.
        var entry = zip.CreateEntry(name, CompressionLevel.NoCompression);
        entry.LastWriteTime = new DateTimeOffset(1980, 1, 1, 0, 0, 0, TimeSpan.Zero);
        using var stream = entry.Open();
        write(stream);
    }

    private static void WritePickle(Stream stream, IReadOnlyCollection<KeyValuePair<string, Tensor>> tensors, string? under)
    {
        using var buffer = new MemoryStream();
        Raw("\x80\x02"); // protocol 2
        if (under is not null)
        {
            Raw("}");
            Text(under);
        }

        Global("collections", "OrderedDict");
        Raw(")R(");
        var index = 0;
        foreach (var (name, tensor) in tensors)
        {
            var storage = s_storages.GetValueOrDefault(tensor.dtype)
                ?? throw new NotSupportedException($"Tensor '{name}' has type {tensor.dtype}, which PyTorch's files cannot hold.");
            Text(name);
            Global("torch._utils", "_rebuild_tensor_v2");
            Raw("((");
            Text("storage");
            Global("torch", storage);
            Text($"{index++}");
            Text("cpu");
            Integer(tensor.numel());
            Raw("tQ");
            Integer(0);
            Tuple(tensor.shape);
            Tuple(Strides(tensor.shape));
            Raw("\x89"); // requires_grad
            Global("collections", "OrderedDict");
            Raw(")RtR");
        }

        Raw(under is null ? "u." : "us.");
        buffer.Position = 0;
        buffer.CopyTo(stream);

        void Raw(string codes) => buffer.Write(Encoding.Latin1.GetBytes(codes));
        void Global(string module, string member) => Raw($"c{module}\n{member}\n");
        void Text(string text)
        {
            var bytes = Encoding.UTF8.GetBytes(text);
            Span<byte> length = stackalloc byte[4];
            BinaryPrimitives.WriteInt32LittleEndian(length, bytes.Length);
            Raw("X");
            buffer.Write(length);
            buffer.Write(bytes);
        }

        void Integer(long value)
        {
            Span<byte> bytes = stackalloc byte[8];
            BinaryPrimitives.WriteInt64LittleEndian(bytes, value);
            if (value is >= int.MinValue and <= int.MaxValue)
            {
                Raw("J");
                buffer.Write(bytes[..4]);
            }
            else
            {
                Raw("\x8a\x08");
                buffer.Write(bytes);
            }
        }

        void Tuple(long[] values)
        {
            Raw("(");
            foreach (var value in values)
            {
                Integer(value);
            }

            Raw("t");
        }
    }

    private static long[] Strides(long[] shape)
    {
        var strides = new long[shape.Length];
        long next = 1;
        for (var i = shape.Length - 1; i >= 0; i--)
        {
            strides[i] = next;
            next *= Math.Max(1, shape[i]);
        }

        return strides;
    }
}
