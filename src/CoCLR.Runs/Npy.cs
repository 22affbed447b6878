// Why this exists: features are kept in NumPy's own format, so that they open anywhere with one line; this reads and writes the two element
// types that are used.
using System.Buffers.Binary;
using System.Globalization;
using System.Runtime.InteropServices;
using System.Text;
using System.Text.RegularExpressions;
using CoCLR.Core;

namespace CoCLR.Runs;

/// <summary>NumPy `.npy` files of float32 and int64, C order (format 1.0; 2.0 and 3.0 are read).</summary>
public static partial class Npy
{
    // Spans of bytes end at 2 GB, arrays of floats do not.
    private const int Chunk = 1 << 26;

    private static readonly byte[] Magic = [0x93, (byte)'N', (byte)'U', (byte)'M', (byte)'P', (byte)'Y'];

    /// <summary>Writes float32 values.</summary>
    /// <param name="stream">Where to.</param>
    /// <param name="values">The values in C order.</param>
    /// <param name="shape">Their shape.</param>
    public static void Write(Stream stream, ReadOnlySpan<float> values, params ReadOnlySpan<int> shape) =>
        Write(stream, values, "<f4", shape);

    /// <summary>Writes int64 values.</summary>
    /// <param name="stream">Where to.</param>
    /// <param name="values">The values in C order.</param>
    /// <param name="shape">Their shape.</param>
    public static void Write(Stream stream, ReadOnlySpan<long> values, params ReadOnlySpan<int> shape) =>
        Write(stream, values, "<i8", shape);

    /// <summary>Reads a float32 file.</summary>
    /// <param name="path">The file.</param>
    /// <returns>The values in C order and their shape.</returns>
    /// <exception cref="UserErrorException">The file is missing (66) or not a whole float32 array in C order (65).</exception>
    public static (float[] Values, int[] Shape) ReadFloat32(string path) => Read<float>(path, "<f4", "float32");

    /// <summary>Reads an int64 file.</summary>
    /// <param name="path">The file.</param>
    /// <returns>The values in C order and their shape.</returns>
    /// <exception cref="UserErrorException">The file is missing (66) or not a whole int64 array in C order (65).</exception>
    public static (long[] Values, int[] Shape) ReadInt64(string path) => Read<long>(path, "<i8", "int64");

    /// <summary>As <see cref="ReadFloat32(string)"/>, from a stream of known length.</summary>
    /// <param name="stream">The content.</param>
    /// <param name="name">What it is called in messages.</param>
    public static (float[] Values, int[] Shape) ReadFloat32(Stream stream, string name) => Read<float>(stream, name, "<f4", "float32");

    private static void Write<T>(Stream stream, ReadOnlySpan<T> values, string type, ReadOnlySpan<int> shape)
        where T : unmanaged
    {
        ArgumentNullException.ThrowIfNull(stream);
        var product = 1L;
        var sizes = new StringBuilder();
        foreach (var size in shape)
        {
            product *= size;
            sizes.Append(CultureInfo.InvariantCulture, $"{size}, ");
        }

        if (product != values.Length)
        {
            throw new ArgumentException($"{values.Length} values do not have the shape ({sizes}).", nameof(shape));
        }

        var tuple = shape.Length > 1 ? sizes.ToString().TrimEnd(' ', ',') : sizes.ToString().TrimEnd(' ');
        var header = $"{{'descr': '{type}', 'fortran_order': False, 'shape': ({tuple}), }}";
        // The data must begin at a multiple of 64, so that it can be mapped.
        var length = (Magic.Length + 4 + header.Length + 1 + 63) / 64 * 64;
        var start = new byte[length];
        start.AsSpan().Fill((byte)' ');
        Magic.CopyTo(start.AsSpan());
        start[6] = 1;
        start[7] = 0;
        BinaryPrimitives.WriteUInt16LittleEndian(start.AsSpan(8), (ushort)(length - 10));
        Encoding.ASCII.GetBytes(header, start.AsSpan(10));
        start[^1] = (byte)'\n';
        stream.Write(start);
        for (var i = 0; i < values.Length; i += Chunk)
        {
            stream.Write(MemoryMarshal.AsBytes(values.Slice(i, Math.Min(Chunk, values.Length - i))));
        }
    }

    private static (T[] Values, int[] Shape) Read<T>(string path, string type, string typeName)
        where T : unmanaged
    {
        if (!File.Exists(path))
        {
            throw new UserErrorException($"{path} is missing: run the stage or `coclr embed` that writes it.", ExitCodes.MissingInput);
        }

        using var stream = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.Read, 1, FileOptions.SequentialScan);
        return Read<T>(stream, path, type, typeName);
    }

    private static (T[] Values, int[] Shape) Read<T>(Stream stream, string path, string type, string typeName)
        where T : unmanaged
    {
        UserErrorException Bad(string what) => new($"{path} {what}: write it again.", ExitCodes.BadData);
        var start = new byte[12];
        if (stream.ReadAtLeast(start, 12, throwOnEndOfStream: false) < 12 || !start.AsSpan(0, 6).SequenceEqual(Magic))
        {
            throw Bad("is not a NumPy file");
        }

        var wide = start[6] >= 2;
        var length =
            wide ? BinaryPrimitives.ReadUInt32LittleEndian(start.AsSpan(8)) : BinaryPrimitives.ReadUInt16LittleEndian(start.AsSpan(8));
        if (start[6] is < 1 or > 3 || length > 1 << 20)
        {
            throw Bad($"has an unknown format version {start[6]}.{start[7]} or a damaged header");
        }

        stream.Position = wide ? 12 : 10;
        var text = new byte[length];
        if (stream.ReadAtLeast(text, text.Length, throwOnEndOfStream: false) < text.Length)
        {
            throw Bad("ends within its header");
        }

        var header = Encoding.Latin1.GetString(text);
        var match = Header().Match(header);
        if (!match.Success)
        {
            throw Bad("has a damaged header");
        }

        if (match.Groups["type"].Value != type)
        {
            throw Bad($"holds `{match.Groups["type"].Value}`, expected {typeName} (`{type}`)");
        }

        if (match.Groups["fortran"].Value == "True")
        {
            throw Bad("is in Fortran order, expected C order");
        }

        var shape = new List<int>();
        var count = 1L;
        foreach (var size in match.Groups["shape"].Value.Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries))
        {
            if (!int.TryParse(size, NumberStyles.None, CultureInfo.InvariantCulture, out var number))
            {
                throw Bad($"has a shape that cannot be read ({match.Groups["shape"].Value})");
            }

            shape.Add(number);
            count = number == 0 ? 0 : Math.Min(count, long.MaxValue / number) * number;
        }

        var elementSize = Marshal.SizeOf<T>();
        if (count > Array.MaxLength || stream.Length - stream.Position != count * elementSize)
        {
            throw Bad($"holds {stream.Length - stream.Position} bytes of data where its shape ({match.Groups["shape"].Value}) needs "
                + $"{count} x {elementSize}");
        }

        var values = GC.AllocateUninitializedArray<T>((int)count);
        for (var i = 0; i < values.Length; i += Chunk)
        {
            stream.ReadExactly(MemoryMarshal.AsBytes(values.AsSpan(i, Math.Min(Chunk, values.Length - i))));
        }

        return (values, [.. shape]);
    }

    [GeneratedRegex(@"^\s*\{\s*'descr':\s*'(?<type>[^']*)',\s*'fortran_order':\s*(?<fortran>True|False),\s*'shape':\s*\((?<shape>[^)]*)\),?\s*\}\s*$", RegexOptions.CultureInvariant)]
    private static partial Regex Header();
}
