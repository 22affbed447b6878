// Why this exists: ffmpeg's pictures arrive as a stream of binary pixmaps, each with its size in front; the pixels go on to the store as
// they come, so that a video of any length needs no memory.
using System.Buffers;
using CoCLR.Engine.Video.Store;

namespace CoCLR.Engine.Video.Decoding;

/// <summary>
/// Splits a stream of PPM pictures (<c>P6\n160 128\n255\n</c> and the pixels) into sizes and pixels; without a target it only counts.
/// </summary>
internal sealed class PixmapReader(ClipStoreWriter.VideoWriter? target)
{
    private const int BufferSize = 1 << 20;
    private readonly byte[] _head = new byte[40];
    private int _headLength;
    private int _headLines;
    private long _pixelsLeft;

    public int Frames { get; private set; }

    public int Height { get; private set; }

    public int Width { get; private set; }

    /// <summary>True when a picture had another size than the first; nothing after it was read.</summary>
    public bool SizeChanged { get; private set; }

    /// <summary>True when the stream ended inside a picture.</summary>
    public bool Torn => _pixelsLeft > 0 || _headLength > 0;

    public void ReadToEnd(Stream stream)
    {
        var buffer = ArrayPool<byte>.Shared.Rent(BufferSize);
        try
        {
            int filled;
            do
            {
                // A pipe gives 64 KiB at a time: fewer, larger writes.
                filled = stream.ReadAtLeast(buffer.AsSpan(0, BufferSize), BufferSize, throwOnEndOfStream: false);
                Take(buffer.AsSpan(0, filled));
            }
            while (filled == BufferSize);
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(buffer);
        }
    }

    /// <summary>Reads the head of one picture from a stream; null at its end.</summary>
    /// <param name="stream">A stream of pictures, at the start of one.</param>
    public static (int Width, int Height)? ReadHead(Stream stream)
    {
        var head = new byte[40];
        for (int length = 0, lines = 0; length < head.Length;)
        {
            var value = stream.ReadByte();
            if (value < 0)
            {
                return null;
            }

            head[length++] = (byte)value;
            lines += value == '\n' ? 1 : 0;
            if (lines == 3)
            {
                return Size(head.AsSpan(0, length));
            }
        }

        throw new InvalidDataException("ffmpeg did not send a pixmap.");
    }

    private void Take(ReadOnlySpan<byte> bytes)
    {
        while (bytes.Length > 0 && !SizeChanged)
        {
            if (_pixelsLeft > 0)
            {
                var part = bytes[..(int)Math.Min(bytes.Length, _pixelsLeft)];
                target?.Write(part);
                bytes = bytes[part.Length..];
                _pixelsLeft -= part.Length;
                Frames += _pixelsLeft == 0 ? 1 : 0;
                continue;
            }

            if (_headLength == _head.Length)
            {
                throw new InvalidDataException("ffmpeg did not send a pixmap.");
            }

            _head[_headLength++] = bytes[0];
            _headLines += bytes[0] == '\n' ? 1 : 0;
            bytes = bytes[1..];
            if (_headLines == 3)
            {
                BeginPicture();
            }
        }
    }

    private void BeginPicture()
    {
        var (width, height) = Size(_head.AsSpan(0, _headLength));
        SizeChanged = Width > 0 && (width != Width || height != Height);
        (Width, Height) = Width > 0 ? (Width, Height) : (width, height);
        _pixelsLeft = (long)width * height * 3;
        (_headLength, _headLines) = (0, 0);
    }

    private static (int Width, int Height) Size(ReadOnlySpan<byte> head)
    {
        var lines = System.Text.Encoding.ASCII.GetString(head).Split('\n');
        var size = lines[1].Split(' ');
        return lines[0] == "P6" && lines[2] == "255" && size.Length == 2 && int.TryParse(size[0], out var width)
            && int.TryParse(size[1], out var height)
            ? (width, height)
            : throw new InvalidDataException("ffmpeg did not send a pixmap of 8 bits.");
    }
}
