// Why this exists: metric points are kept in chunks of a few hundred, packed, so that 50 million of them are a file of modest size that
// opens at once.
using System.Buffers.Binary;
using System.Numerics;

namespace CoCLR.Dashboard.Storage;

/// <summary>One value of a metric.</summary>
/// <param name="Cursor">The run's cursor at this point.</param>
/// <param name="Step">Optimizer step.</param>
/// <param name="Time">Unix milliseconds.</param>
/// <param name="Epoch">Epoch; NaN when unknown.</param>
/// <param name="Value">Value; may be NaN or infinite.</param>
public readonly record struct Point(long Cursor, long Step, long Time, float Epoch, double Value);

/// <summary>Packs points: differences as variable-length integers, a checksum at the end.</summary>
internal static class PointCodec
{
    /// <summary>Points in a full chunk.</summary>
    public const int ChunkSize = 512;

    /// <summary>Packs points in the order given.</summary>
    public static byte[] Pack(ReadOnlySpan<Point> points)
    {
        var buffer = new byte[8 + (points.Length * (30 + 12)) + 4];
        int at = 0;
        BinaryPrimitives.WriteInt32LittleEndian(buffer, points.Length);
        at += 4;
        Point last = default;
        foreach (Point point in points)
        {
            WriteSigned(buffer, ref at, point.Cursor - last.Cursor);
            WriteSigned(buffer, ref at, point.Step - last.Step);
            WriteSigned(buffer, ref at, point.Time - last.Time);
            BinaryPrimitives.WriteSingleLittleEndian(buffer.AsSpan(at), point.Epoch);
            BinaryPrimitives.WriteDoubleLittleEndian(buffer.AsSpan(at + 4), point.Value);
            at += 12;
            last = point;
        }

        BinaryPrimitives.WriteUInt32LittleEndian(buffer.AsSpan(at), Checksum(buffer.AsSpan(0, at)));
        return buffer[..(at + 4)];
    }

    /// <summary>Unpacks a chunk onto the end of a list.</summary>
    /// <exception cref="InvalidDataException">The chunk is damaged.</exception>
    public static void Unpack(ReadOnlySpan<byte> chunk, List<Point> into)
    {
        if (chunk.Length < 8 || BinaryPrimitives.ReadUInt32LittleEndian(chunk[^4..]) != Checksum(chunk[..^4]))
        {
            throw new InvalidDataException("A chunk of metric points is damaged.");
        }

        int count = BinaryPrimitives.ReadInt32LittleEndian(chunk);
        int at = 4;
        Point last = default;
        for (int i = 0; i < count; i++)
        {
            long cursor = last.Cursor + ReadSigned(chunk, ref at);
            long step = last.Step + ReadSigned(chunk, ref at);
            long time = last.Time + ReadSigned(chunk, ref at);
            last = new Point(
                cursor,
                step,
                time,
                BinaryPrimitives.ReadSingleLittleEndian(chunk[at..]),
                BinaryPrimitives.ReadDoubleLittleEndian(chunk[(at + 4)..]));
            at += 12;
            into.Add(last);
        }
    }

    private static uint Checksum(ReadOnlySpan<byte> data)
    {
        uint crc = uint.MaxValue;
        for (; data.Length >= 8; data = data[8..])
        {
            crc = BitOperations.Crc32C(crc, BinaryPrimitives.ReadUInt64LittleEndian(data));
        }

        foreach (byte value in data)
        {
            crc = BitOperations.Crc32C(crc, value);
        }

        return ~crc;
    }

    private static void WriteSigned(byte[] buffer, ref int at, long value)
    {
        ulong zigzag = (ulong)((value << 1) ^ (value >> 63));
        while (zigzag >= 0x80)
        {
            buffer[at++] = (byte)(zigzag | 0x80);
            zigzag >>= 7;
        }

        buffer[at++] = (byte)zigzag;
    }

    private static long ReadSigned(ReadOnlySpan<byte> buffer, ref int at)
    {
        ulong zigzag = 0;
        int shift = 0;
        byte part;
        do
        {
            part = buffer[at++];
            zigzag |= (ulong)(part & 0x7f) << shift;
            shift += 7;
        }
        while (part >= 0x80);
        return (long)(zigzag >> 1) ^ -(long)(zigzag & 1);
    }
}
