// Why this exists: tensors on disk in a format that every tool reads, that holds no code, and whose every byte can be checked.
using System.Buffers.Binary;
using System.Globalization;
using System.Text.Json;
using CoCLR.Core;
using CoCLR.Runs;
using static TorchSharp.torch;

namespace CoCLR.Engine.Interop;

/// <summary>One tensor of a safetensors file.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Type">Element type.</param>
/// <param name="Shape">Dimensions.</param>
/// <param name="Offset">First byte within the data section.</param>
/// <param name="Length">Bytes.</param>
public sealed record SafetensorsEntry(string Name, ScalarType Type, IReadOnlyList<long> Shape, long Offset, long Length);

/// <summary>
/// The safetensors format: an unsigned 64-bit length, a JSON header of that length, then the tensors' bytes without gaps (little
/// endian, C order). Reading checks every length, offset and type before it allocates anything.
/// </summary>
/// <remarks>https://github.com/huggingface/safetensors, format description.</remarks>
public static class Safetensors
{
    /// <summary>Name of the header's entry for free text.</summary>
    private const string Metadata = "__metadata__";

    /// <summary>As in the reference implementation: a longer header is an attack or damage.</summary>
    private const long MaxHeader = 100_000_000;

    private static readonly (string Name, ScalarType Type, int Size)[] s_types =
    [
        ("F64", ScalarType.Float64, 8), ("F32", ScalarType.Float32, 4), ("F16", ScalarType.Float16, 2), ("BF16", ScalarType.BFloat16, 2),
        ("I64", ScalarType.Int64, 8), ("I32", ScalarType.Int32, 4), ("I16", ScalarType.Int16, 2), ("I8", ScalarType.Int8, 1),
        ("U8", ScalarType.Byte, 1), ("BOOL", ScalarType.Bool, 1),
    ];

    /// <summary>Writes tensors, sorted by name, so that equal content gives equal bytes.</summary>
    /// <param name="stream">Where to.</param>
    /// <param name="tensors">Tensors by name, on any device.</param>
    /// <param name="metadata">Free text by key, or null.</param>
    /// <exception cref="NotSupportedException">A tensor's type has no name in the format.</exception>
    public static void Write(
        Stream stream, IReadOnlyDictionary<string, Tensor> tensors, IReadOnlyDictionary<string, string>? metadata = null)
    {
        ArgumentNullException.ThrowIfNull(stream);
        ArgumentNullException.ThrowIfNull(tensors);
        var sorted = tensors.OrderBy(entry => entry.Key, StringComparer.Ordinal).ToArray();
        var header = Header(sorted, metadata);
        Span<byte> length = stackalloc byte[8];
        BinaryPrimitives.WriteUInt64LittleEndian(length, (ulong)header.Length);
        stream.Write(length);
        stream.Write(header);
        foreach (var (_, tensor) in sorted)
        {
            WithBytes(tensor, bytes => stream.Write(bytes));
        }
    }

    /// <summary>Writes a file that appears whole or not at all.</summary>
    /// <param name="path">The file.</param>
    /// <param name="tensors">Tensors by name.</param>
    /// <param name="metadata">Free text by key, or null.</param>
    /// <exception cref="UserErrorException">The file cannot be written (1).</exception>
    public static void Write(string path, IReadOnlyDictionary<string, Tensor> tensors, IReadOnlyDictionary<string, string>? metadata = null)
        => WholeFile.Write(path, stream => Write(stream, tensors, metadata));

    /// <summary>Reads all tensors of a file to the processor.</summary>
    /// <param name="path">The file.</param>
    /// <param name="onBytes">Called with each tensor's bytes in the file's order, for a checksum; or null.</param>
    /// <returns>Tensors by name, which the caller disposes, and the free text.</returns>
    /// <exception cref="UserErrorException">Missing (66), or not a whole safetensors file (65).</exception>
    public static (Dictionary<string, Tensor> Tensors, IReadOnlyDictionary<string, string> Metadata) Read(
        string path, Action<ReadOnlySpan<byte>>? onBytes = null)
    {
        using var stream = OpenRead(path);
        return Read(stream, path, onBytes);
    }

    /// <summary>As <see cref="Read(string, Action{ReadOnlySpan{byte}})"/>, from a stream of known length.</summary>
    internal static (Dictionary<string, Tensor> Tensors, IReadOnlyDictionary<string, string> Metadata) Read(
        Stream stream, string path, Action<ReadOnlySpan<byte>>? onBytes = null)
    {
        TorchRuntime.Initialize();
        var (entries, metadata) = ReadHeader(stream, stream.Length, path);
        var tensors = new Dictionary<string, Tensor>(entries.Count);
        try
        {
            foreach (var entry in entries)
            {
                var tensor = empty([.. entry.Shape], entry.Type).DetachFromDisposeScope();
                tensors[entry.Name] = tensor;
                if (entry.Length > 0)
                {
                    stream.ReadExactly(tensor.bytes);
                    onBytes?.Invoke(tensor.bytes);
                }
            }
        }
        catch (EndOfStreamException e)
        {
            DisposeAll(tensors);
            throw Damaged(path, "it ends before its last tensor", e);
        }

        return (tensors, metadata);
    }

    /// <summary>Reads only names, types, shapes and free text.</summary>
    /// <param name="path">The file.</param>
    /// <returns>Entries in the file's order of bytes.</returns>
    /// <exception cref="UserErrorException">Missing (66), or not a whole safetensors file (65).</exception>
    public static (IReadOnlyList<SafetensorsEntry> Entries, IReadOnlyDictionary<string, string> Metadata) ReadHeader(string path)
    {
        using var stream = OpenRead(path);
        return ReadHeader(stream, stream.Length, path);
    }

    /// <summary>Checks and reads the header of a file whose whole length is known.</summary>
    internal static (IReadOnlyList<SafetensorsEntry> Entries, IReadOnlyDictionary<string, string> Metadata) ReadHeader(
        Stream stream, long fileLength, string name)
    {
        if (fileLength < 8)
        {
            throw Damaged(name, "it is shorter than a header's length");
        }

        Span<byte> prefix = stackalloc byte[8];
        stream.ReadExactly(prefix);
        var length = BinaryPrimitives.ReadUInt64LittleEndian(prefix);
        if (length > MaxHeader || (long)length > fileLength - 8)
        {
            throw Damaged(name, $"its header claims {length.ToString(CultureInfo.InvariantCulture)} bytes");
        }

        var header = new byte[length];
        stream.ReadExactly(header);
        try
        {
            return Parse(header, fileLength - 8 - (long)length, name);
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException or FormatException)
        {
            throw Damaged(name, $"its header is not as the format asks ({e.Message})", e);
        }
    }

    /// <summary>Calls with the bytes of a tensor in C order, wherever and however it lies.</summary>
    internal static void WithBytes(Tensor tensor, SpanAction use)
    {
        using var frozen = no_grad();
        using var scope = NewDisposeScope();
        var plain = tensor.detach().to(CPU).contiguous();
        if (plain.numel() > 0)
        {
            use(plain.bytes);
        }
    }

    /// <summary>Receives bytes.</summary>
    internal delegate void SpanAction(ReadOnlySpan<byte> bytes);

    /// <summary>Frees tensors read so far when reading fails.</summary>
    internal static void DisposeAll(Dictionary<string, Tensor> tensors)
    {
        foreach (var tensor in tensors.Values)
        {
            tensor.Dispose();
        }
    }

    private static FileStream OpenRead(string path)
    {
        TorchRuntime.Initialize();
        try
        {
            return new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.Read | FileShare.Delete, 1 << 16);
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
        {
            throw new UserErrorException($"{path} does not exist.", ExitCodes.MissingInput, e);
        }
        catch (Exception e) when (e is UnauthorizedAccessException or IOException)
        {
            throw new UserErrorException($"{path} cannot be read: {e.Message}", ExitCodes.MissingInput, e);
        }
    }

    private static byte[] Header(KeyValuePair<string, Tensor>[] sorted, IReadOnlyDictionary<string, string>? metadata)
    {
        using var buffer = new MemoryStream();
        using (var json = new Utf8JsonWriter(buffer))
        {
            json.WriteStartObject();
            if (metadata is { Count: > 0 })
            {
                json.WriteStartObject(Metadata);
                foreach (var (key, value) in metadata.OrderBy(entry => entry.Key, StringComparer.Ordinal))
                {
                    json.WriteString(key, value);
                }

                json.WriteEndObject();
            }

            long offset = 0;
            foreach (var (name, tensor) in sorted)
            {
                if (name == Metadata)
                {
                    throw new NotSupportedException($"A tensor cannot be named {Metadata}.");
                }

                var (typeName, _, size) = Array.Find(s_types, t => t.Type == tensor.dtype);
                if (typeName is null)
                {
                    throw new NotSupportedException($"Tensor '{name}' has type {tensor.dtype}, which safetensors cannot hold.");
                }

                json.WriteStartObject(name);
                json.WriteString("dtype", typeName);
                json.WriteStartArray("shape");
                foreach (var d in tensor.shape)
                {
                    json.WriteNumberValue(d);
                }

                json.WriteEndArray();
                json.WriteStartArray("data_offsets");
                json.WriteNumberValue(offset);
                offset += tensor.numel() * size;
                json.WriteNumberValue(offset);
                json.WriteEndArray();
                json.WriteEndObject();
            }

            json.WriteEndObject();
        }

        // Spaces bring the data section to a multiple of 8 bytes, for readers that map the file.
        while (buffer.Length % 8 != 0)
        {
            buffer.WriteByte((byte)' ');
        }

        return buffer.ToArray();
    }

    private static (IReadOnlyList<SafetensorsEntry> Entries, IReadOnlyDictionary<string, string> Metadata) Parse(
        byte[] header, long dataLength, string file)
    {
        if (header.Length == 0 || header[0] != (byte)'{')
        {
            throw Damaged(file, "its header does not begin with '{'");
        }

        using var document = JsonDocument.Parse(header, new JsonDocumentOptions { MaxDepth = 8 });
        var metadata = new Dictionary<string, string>();
        var entries = new List<SafetensorsEntry>();
        var names = new HashSet<string>();
        foreach (var property in document.RootElement.EnumerateObject())
        {
            if (!names.Add(property.Name))
            {
                throw Damaged(file, $"'{property.Name}' appears twice");
            }

            if (property.Name == Metadata)
            {
                foreach (var text in property.Value.EnumerateObject())
                {
                    metadata[text.Name] = text.Value.GetString() ?? string.Empty;
                }

                continue;
            }

            entries.Add(ParseEntry(property, file));
        }

        entries.Sort((a, b) => a.Offset != b.Offset ? a.Offset.CompareTo(b.Offset) : a.Length.CompareTo(b.Length));
        long next = 0;
        foreach (var entry in entries)
        {
            if (entry.Offset != next)
            {
                throw Damaged(file, $"'{entry.Name}' begins at byte {entry.Offset}, expected {next}");
            }

            next += entry.Length;
        }

        if (next != dataLength)
        {
            throw Damaged(file, $"its tensors take {next} bytes, but it holds {dataLength}");
        }

        return (entries, metadata);
    }

    private static SafetensorsEntry ParseEntry(JsonProperty property, string file)
    {
        var typeName = Field("dtype").GetString();
        var (known, type, size) = Array.Find(s_types, t => t.Name == typeName);
        if (known is null)
        {
            throw Damaged(file, $"'{property.Name}' has type {typeName}; known are {string.Join(", ", s_types.Select(t => t.Name))}");
        }

        long[] shape = [.. Field("shape").EnumerateArray().Select(d => d.GetInt64())];
        long[] offsets = [.. Field("data_offsets").EnumerateArray().Select(d => d.GetInt64())];
        if (offsets.Length != 2 || offsets[0] < 0 || offsets[1] < offsets[0] || shape.Any(d => d < 0))
        {
            throw Damaged(file, $"'{property.Name}' has an impossible place or shape");
        }

        var length = offsets[1] - offsets[0];
        var expected = (Int128)size;
        foreach (var d in shape)
        {
            expected *= d;
            if (expected > long.MaxValue)
            {
                throw Damaged(file, $"'{property.Name}' is impossibly large");
            }
        }

        if (expected != length)
        {
            throw Damaged(file, $"'{property.Name}' of shape [{string.Join(',', shape)}] takes {length} bytes");
        }

        if (length > int.MaxValue)
        {
            throw Damaged(file, $"'{property.Name}' is larger than 2 GiB, which this reader does not take");
        }

        return new SafetensorsEntry(property.Name, type, shape, offsets[0], length);

        JsonElement Field(string field) =>
            property.Value.TryGetProperty(field, out var value) ? value : throw Damaged(file, $"'{property.Name}' lacks {field}");
    }

    private static UserErrorException Damaged(string file, string reason, Exception? inner = null)
        => new($"{file} is not a whole safetensors file: {reason}. Write or copy it again.", ExitCodes.BadData, inner);
}
