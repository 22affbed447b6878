// Why this exists: flow is estimated on grey frames, which must be the grey that OpenCV makes of RGB, to the last bit.
namespace CoCLR.Engine.Flow;

/// <summary>RGB to grey: 0.299 R + 0.587 G + 0.114 B in OpenCV's fixed-point arithmetic (15 bits, rounded).</summary>
public static class GrayImage
{
    private const int Red = 9798;
    private const int Green = 19235;
    private const int Blue = 3735;
    private const int Shift = 15;

    /// <summary>Converts one frame.</summary>
    /// <param name="rgb">[height, width, 3].</param>
    /// <param name="gray">Receives [height, width].</param>
    /// <exception cref="ArgumentException">The lengths do not fit.</exception>
    public static void FromRgb(ReadOnlySpan<byte> rgb, Span<byte> gray)
    {
        if (rgb.Length != 3 * gray.Length)
        {
            throw new ArgumentException($"{rgb.Length} bytes of RGB do not make {gray.Length} grey pixels.", nameof(rgb));
        }

        for (var i = 0; i < gray.Length; i++)
        {
            var pixel = rgb.Slice(3 * i, 3);
            gray[i] = (byte)(((pixel[0] * Red) + (pixel[1] * Green) + (pixel[2] * Blue) + (1 << (Shift - 1))) >> Shift);
        }
    }
}
