// Why this exists: published weights are PyTorch files; they must be read without running what they contain.
using System.Buffers.Binary;
using System.IO.Compression;
using System.Numerics;
using CoCLR.Core;
using static TorchSharp.torch;

namespace CoCLR.Engine.Interop;

/// <summary>
/// Reads the tensors of a <c>torch.save</c> file (<c>.pth</c>, <c>.pth.tar</c>, <c>.pt</c>): the zip format of PyTorch 1.6 and later,
/// and the older one. Nothing in the file is executed; a file that names anything but tensors, containers and numbers is refused.
/// </summary>
public static class PyTorchReader
{
    /// <summary>The integer that opens PyTorch's older format.</summary>
    private static readonly BigInteger s_legacyMagic =
        BigInteger.Parse("119547037146038801333356", System.Globalization.CultureInfo.InvariantCulture);
    private const long MaxPickle = 64 << 20;

    /// <summary>The reference's files name each tensor twice; much more than that is an attack on memory.</summary>
    private const long MaxSharing = 8;

    private static readonly Dictionary<string, (ScalarType Type, int Size)> s_storages = new()
    {
        ["DoubleStorage"] = (ScalarType.Float64, 8), ["FloatStorage"] = (ScalarType.Float32, 4), ["HalfStorage"] = (ScalarType.Float16, 2),
        ["BFloat16Storage"] = (ScalarType.BFloat16, 2),
        ["LongStorage"] = (ScalarType.Int64, 8), ["IntStorage"] = (ScalarType.Int32, 4), ["ShortStorage"] = (ScalarType.Int16, 2),
        ["CharStorage"] = (ScalarType.Int8, 1),
        ["ByteStorage"] = (ScalarType.Byte, 1), ["BoolStorage"] = (ScalarType.Bool, 1),
    };

    /// <summary>
    /// All tensors of the file by their path through its dictionaries and lists, joined by dots; a state dictionary at the top, or
    /// below <c>state_dict</c> or <c>model</c>, gives its names without that first part.
    /// </summary>
    /// <param name="path">The file.</param>
    /// <returns>Tensors on the processor, which the caller disposes.</returns>
    /// <exception cref="UserErrorException">Missing (66); damaged, refused, or not such a file (65).</exception>
    public static Dictionary<string, Tensor> Read(string path)
    {
        try
        {
            using var stream = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.Read, 1 << 16);
            return Read(stream, path);
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
        {
            throw new UserErrorException($"{path} does not exist.", ExitCodes.MissingInput, e);
        }
        catch (UnauthorizedAccessException e)
        {
            throw new UserErrorException($"{path} cannot be read: {e.Message}", ExitCodes.MissingInput, e);
        }
    }

    /// <summary>As <see cref="Read(string)"/>, from a stream that can seek.</summary>
    internal static Dictionary<string, Tensor> Read(Stream stream, string path)
    {
        TorchRuntime.Initialize();
        try
        {
            Span<byte> start = stackalloc byte[4];
            var read = stream.ReadAtLeast(start, 4, throwOnEndOfStream: false);
            stream.Position = 0;
            return read == 4 && start[0] == 'P' && start[1] == 'K' ? ReadZip(stream) : ReadLegacy(stream);
        }
        catch (Exception e) when (e is PickleException or InvalidDataException or EndOfStreamException)
        {
            throw new UserErrorException($"{path} cannot be imported: {e.Message}. Only tensors are read and nothing is executed; save a "
                + $"plain state dictionary (torch.save(model.state_dict(), ...)) and try again.", ExitCodes.BadData, e);
        }
    }

    private static Dictionary<string, Tensor> ReadZip(Stream stream)
    {
        using var zip = new ZipArchive(stream, ZipArchiveMode.Read);
        var pickle = zip.Entries.FirstOrDefault(
            entry => entry.FullName == "data.pkl" || entry.FullName.EndsWith("/data.pkl", StringComparison.Ordinal))
            ?? throw new InvalidDataException("the archive has no data.pkl, so PyTorch did not write it");
        var root = pickle.FullName[..^"data.pkl".Length];
        if (zip.GetEntry(root + "byteorder") is { Length: <= 16 } order)
        {
            using var reader = new StreamReader(order.Open());
            if (reader.ReadToEnd().Trim() != "little")
            {
                throw new InvalidDataException("it was written on a big-endian machine");
            }
        }

        // PyTorch stores without compression, so nothing may claim to be larger than the file itself.
        if (pickle.Length > MaxPickle || zip.Entries.Any(entry => entry.CompressedLength != entry.Length)
            || zip.Entries.Sum(entry => (double)entry.Length) > stream.Length)
        {
            throw new InvalidDataException("an entry is compressed or larger than the file, which PyTorch never writes");
        }

        object? content;
        using (var data = pickle.Open())
        using (var buffered = new BufferedStream(data, 1 << 16))
        {
            content = PickleReader.Read(buffered);
        }

        return Collect(content, stream.Length, storage =>
        {
            var entry = zip.GetEntry($"{root}data/{storage.Key}") ?? throw new InvalidDataException($"storage '{storage.Key}' is missing");
            var bytes = new byte[entry.Length];
            using var data = entry.Open();
            data.ReadExactly(bytes);
            return bytes;
        });
    }

    private static Dictionary<string, Tensor> ReadLegacy(Stream stream)
    {
        using var buffered = new BufferedStream(stream, 1 << 16);
        if (stream.Length > 512 && IsTar(buffered))
        {
            throw new InvalidDataException("it is a tar archive of PyTorch before 0.1.10; load and save it once with a newer PyTorch");
        }

        object? magic;
        try
        {
            magic = PickleReader.Read(buffered);
        }
        catch (PickleException e)
        {
            throw new InvalidDataException($"it is not a PyTorch file ({e.Message})", e);
        }

        if (magic is not BigInteger number || number != s_legacyMagic)
        {
            throw new InvalidDataException("it is not a PyTorch file");
        }

        _ = PickleReader.Read(buffered); // protocol version
        var system = PickleReader.Read(buffered) as Dictionary<object, object?>;
        if (system is not null && system.TryGetValue("little_endian", out var little) && little is false)
        {
            throw new InvalidDataException("it was written on a big-endian machine");
        }

        var content = PickleReader.Read(buffered);
        var keys = PickleReader.Read(buffered) as List<object?> ?? throw new InvalidDataException("its list of storages is damaged");
        var sizes = new Dictionary<string, int>();
        Visit(content, tensor => sizes[tensor.Storage.Key] = Element(tensor.Storage).Size);
        var storages = new Dictionary<string, byte[]>();
        Span<byte> count = stackalloc byte[8];
        foreach (var key in keys.Cast<string>())
        {
            buffered.ReadExactly(count);
            var length = (Int128)BinaryPrimitives.ReadInt64LittleEndian(count) * sizes.GetValueOrDefault(key, 0);
            if (length < 0 || length > stream.Length || !sizes.ContainsKey(key))
            {
                throw new InvalidDataException($"storage '{key}' has an impossible length");
            }

            var bytes = new byte[(int)length];
            buffered.ReadExactly(bytes);
            storages[key] = bytes;
        }

        return Collect(
            content,
            stream.Length,
            storage => storages.GetValueOrDefault(storage.Key) ?? throw new InvalidDataException($"storage '{storage.Key}' is missing"));
    }

    private static bool IsTar(Stream stream)
    {
        var block = new byte[262];
        stream.ReadExactly(block);
        stream.Position = 0;
        return block.AsSpan(257, 5).SequenceEqual("ustar"u8);
    }

    private static Dictionary<string, Tensor> Collect(object? content, long fileLength, Func<PickledStorage, byte[]> load)
    {
        var tensors = new Dictionary<string, Tensor>();
        var cache = new Dictionary<string, byte[]>();
        long total = 0;
        try
        {
            foreach (var (name, tensor) in Flatten(StateOf(content), string.Empty, 0))
            {
                if (!cache.TryGetValue(tensor.Storage.Key, out var bytes))
                {
                    cache[tensor.Storage.Key] = bytes = load(tensor.Storage);
                }

                tensors[name] = Build(name, tensor, bytes);
                total += tensors[name].numel() * Element(tensor.Storage).Size;
                if (total > MaxSharing * fileLength)
                {
                    throw new InvalidDataException("its tensors share their storage more often than any real file's");
                }
            }
        }
        catch
        {
            Safetensors.DisposeAll(tensors);
            throw;
        }

        return tensors.Count > 0 ? tensors : throw new InvalidDataException("it holds no tensors");
    }

    private static object? StateOf(object? content)
    {
        foreach (var key in new[] { "state_dict", "model" })
        {
            if (content is Dictionary<object, object?> top && top.TryGetValue(key, out var state) && state is Dictionary<object, object?>)
            {
                return state;
            }
        }

        return content;
    }

    private static IEnumerable<(string Name, PickledTensor Tensor)> Flatten(object? value, string name, int depth)
    {
        if (depth > 64)
        {
            throw new PickleException("its containers are nested too deeply");
        }

        return value switch
        {
            PickledTensor tensor => [(name, tensor)],
            Dictionary<object, object?> map => map.SelectMany(
                entry => Flatten(
                    entry.Value, Join(name, Convert.ToString(entry.Key, System.Globalization.CultureInfo.InvariantCulture)!), depth + 1)),
            List<object?> list => list.SelectMany((item, i) => Flatten(item, Join(name, $"{i}"), depth + 1)),
            PickleTuple tuple => tuple.Items.SelectMany((item, i) => Flatten(item, Join(name, $"{i}"), depth + 1)),
            _ => [],
        };

        static string Join(string a, string b) => a.Length == 0 ? b : $"{a}.{b}";
    }

    private static void Visit(object? content, Action<PickledTensor> visit)
    {
        foreach (var (_, tensor) in Flatten(content, string.Empty, 0))
        {
            visit(tensor);
        }
    }

    private static (ScalarType Type, int Size) Element(PickledStorage storage)
        => s_storages.TryGetValue(storage.Type, out var element)
            ? element
            : throw new InvalidDataException($"storage type {storage.Type} is not known");

    private static Tensor Build(string name, PickledTensor pickled, byte[] storage)
    {
        var (type, size) = Element(pickled.Storage);
        var available = storage.Length / size;
        Int128 count = 1;
        Int128 last = pickled.Offset;
        if (pickled.Shape.Length != pickled.Stride.Length || pickled.Offset < 0 || pickled.Shape.Any(d => d < 0)
            || pickled.Stride.Any(s => s < 0))
        {
            throw new InvalidDataException($"tensor '{name}' has an impossible shape");
        }

        if (pickled.Shape.Contains(0))
        {
            return empty(pickled.Shape, type).DetachFromDisposeScope();
        }

        for (var i = 0; i < pickled.Shape.Length; i++)
        {
            count *= pickled.Shape[i];
            last += (Int128)Math.Max(0, pickled.Shape[i] - 1) * pickled.Stride[i];
            if (count > available || last > available)
            {
                throw new InvalidDataException($"tensor '{name}' reaches beyond its storage");
            }
        }

        using var scope = NewDisposeScope();
        if (last >= available)
        {
            throw new InvalidDataException($"tensor '{name}' reaches beyond its storage");
        }

        var whole = empty([available], type);
        storage.AsSpan(0, available * size).CopyTo(whole.bytes);
        var result = empty(pickled.Shape, type);
        result.copy_(whole.as_strided(pickled.Shape, pickled.Stride, pickled.Offset));
        return result.DetachFromDisposeScope();
    }
}
