// Why this exists: colour jitter as Pillow computes it on 8-bit images, with all operations between two reads of memory fused.
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace CoCLR.Engine.Video.Augmentation;

/// <summary>
/// Colour operations on three byte planes. Between operations values are whole numbers 0..255 in floats, so results are Pillow's.
/// </summary>
internal static unsafe class ColorKernels
{
    /// <summary>Bytes that a kernel may read and write past the last pixel.</summary>
    public const int Slack = 64;

    /// <summary>Applies all four operations in the jitter's order. A frame's contrast blends with that frame's own mean luma.</summary>
    /// <param name="red">Plane of <paramref name="pixels"/> bytes and <see cref="Slack"/> zero bytes.</param>
    /// <param name="green">Likewise.</param>
    /// <param name="blue">Likewise.</param>
    /// <param name="pixels">Pixels of the frame.</param>
    /// <param name="jitter">Factors and order.</param>
    /// <param name="width">The widest vectors to use.</param>
    public static void Jitter(byte* red, byte* green, byte* blue, int pixels, ColorJitter jitter, VectorWidth width)
    {
        Span<ColorStep> steps = stackalloc ColorStep[4];
        for (var position = 0; position < 4; position++)
        {
            var operation = jitter.At(position);
            steps[position] = new ColorStep(operation, jitter.Factor(operation));
        }

        Apply(red, green, blue, pixels, steps, width);
    }

    /// <summary>Applies these operations; at most one contrast between two passes over the pixels.</summary>
    public static void Apply(byte* red, byte* green, byte* blue, int pixels, Span<ColorStep> steps, VectorWidth width)
    {
        while (!steps.IsEmpty)
        {
            // A contrast needs the mean luma of what comes before it, so a pass ends in front of every contrast but the first step's.
            if (steps[0].Operation == ColorOperation.Contrast && !steps[0].HasMean)
            {
                steps[0] = steps[0].WithMean(Pass(red, green, blue, pixels, [], true, width), pixels);
            }

            var length = 1;
            while (length < steps.Length && steps[length].Operation != ColorOperation.Contrast)
            {
                length++;
            }

            var luma = Pass(red, green, blue, pixels, steps[..length], length < steps.Length, width);
            steps = steps[length..];
            if (!steps.IsEmpty)
            {
                steps[0] = steps[0].WithMean(luma, pixels);
            }
        }
    }

    private static double Pass(
        byte* red, byte* green, byte* blue, int pixels, ReadOnlySpan<ColorStep> steps, bool wantLuma, VectorWidth width)
    {
        if (width >= VectorWidth.Widest && Vector512.IsHardwareAccelerated && Avx512F.IsSupported)
        {
            return Pass<Lanes512, Vector512<float>>(red, green, blue, pixels, steps, wantLuma);
        }

        return width >= VectorWidth.Avx2 && Avx2.IsSupported
            ? Pass<Lanes256, Vector256<float>>(red, green, blue, pixels, steps, wantLuma)
            : Pass<Lanes128, Vector128<float>>(red, green, blue, pixels, steps, wantLuma);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static double Pass<TLanes, TVector>(
        byte* red, byte* green, byte* blue, int pixels, ReadOnlySpan<ColorStep> steps, bool wantLuma)
        where TLanes : struct, IPixelLanes<TVector>
        where TVector : struct
    {
        var total = 0.0;
        var sum = TLanes.Set(0);
        var pending = 0;
        for (var i = 0; i < pixels; i += TLanes.Count)
        {
            var r = TLanes.LoadBytes(red + i);
            var g = TLanes.LoadBytes(green + i);
            var b = TLanes.LoadBytes(blue + i);
            foreach (ref readonly var step in steps)
            {
                switch (step.Operation)
                {
                    case ColorOperation.Brightness:
                        Blend<TLanes, TVector>(ref r, ref g, ref b, TLanes.Set(0), step.Factor);
                        break;
                    case ColorOperation.Contrast:
                        Blend<TLanes, TVector>(ref r, ref g, ref b, TLanes.Set(step.Mean), step.Factor);
                        break;
                    case ColorOperation.Saturation:
                        Blend<TLanes, TVector>(ref r, ref g, ref b, Luma<TLanes, TVector>(r, g, b), step.Factor);
                        break;
                    default:
                        ShiftHue<TLanes, TVector>(ref r, ref g, ref b, step.HueShift);
                        break;
                }
            }

            if (wantLuma)
            {
                sum = TLanes.Add(sum, Luma<TLanes, TVector>(r, g, b));
                if (++pending == 4096)
                {
                    total += TLanes.Sum(sum);
                    sum = TLanes.Set(0);
                    pending = 0;
                }
            }

            if (!steps.IsEmpty)
            {
                TLanes.StoreBytes(red + i, r);
                TLanes.StoreBytes(green + i, g);
                TLanes.StoreBytes(blue + i, b);
            }
        }

        return total + TLanes.Sum(sum);
    }

    /// <summary>Pillow's ImagingBlend: from + factor (x - from) in floats, clipped, truncated.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Blend<TLanes, TVector>(ref TVector r, ref TVector g, ref TVector b, TVector from, float factor)
        where TLanes : struct, IPixelLanes<TVector>
        where TVector : struct
    {
        var by = TLanes.Set(factor);
        r = Blend<TLanes, TVector>(r, from, by);
        g = Blend<TLanes, TVector>(g, from, by);
        b = Blend<TLanes, TVector>(b, from, by);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static TVector Blend<TLanes, TVector>(TVector value, TVector from, TVector factor)
        where TLanes : struct, IPixelLanes<TVector>
        where TVector : struct
    {
        var blended = TLanes.Add(from, TLanes.Multiply(factor, TLanes.Subtract(value, from)));
        return TLanes.Floor(TLanes.Min(TLanes.Max(blended, TLanes.Set(0)), TLanes.Set(255)));
    }

    /// <summary>
    /// Pillow's L24 with rounding: (19595 R + 38470 G + 7471 B + 32768) >> 16; every partial sum is a whole number below 2^24, so exact.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static TVector Luma<TLanes, TVector>(TVector r, TVector g, TVector b)
        where TLanes : struct, IPixelLanes<TVector>
        where TVector : struct
    {
        var weighted = TLanes.Add(
            TLanes.Add(TLanes.Multiply(r, TLanes.Set(19595)), TLanes.Multiply(g, TLanes.Set(38470))),
            TLanes.Add(TLanes.Multiply(b, TLanes.Set(7471)), TLanes.Set(32768)));
        return TLanes.Floor(TLanes.Multiply(weighted, TLanes.Set(1f / 65536)));
    }

    /// <summary>
    /// Pillow's 8-bit RGB to HSV, hue plus <paramref name="shift"/> modulo 256, and back. The way back uses
    /// channel(n) = v - v s clamp(min(k, 4 - k), 0, 1) with k = (n + 6h) mod 6 and n = 5, 3, 1, which equals the six cases of Pillow's
    /// hsv2rgb.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void ShiftHue<TLanes, TVector>(ref TVector r, ref TVector g, ref TVector b, float shift)
        where TLanes : struct, IPixelLanes<TVector>
        where TVector : struct
    {
        var zero = TLanes.Set(0);
        var one = TLanes.Set(1);
        var highest = TLanes.Max(r, TLanes.Max(g, b));
        var lowest = TLanes.Min(r, TLanes.Min(g, b));
        var range = TLanes.Subtract(highest, lowest);
        var safeRange = TLanes.Max(range, one);
        var middle = TLanes.Subtract(TLanes.Subtract(TLanes.Add(TLanes.Add(r, g), b), highest), lowest);
        var x = TLanes.Divide(TLanes.Subtract(highest, middle), safeRange);
        var s = TLanes.Floor(TLanes.Multiply(TLanes.Divide(range, TLanes.Max(highest, one)), TLanes.Set(255)));

        // hue in sixths: red highest: x - 1 or 1 - x; green: 1 + x or 3 - x; blue: 3 + x or 5 - x
        var redHighest = TLanes.EqualMask(r, highest);
        var greenHighest = TLanes.EqualMask(g, highest);
        var rising = TLanes.Select(
            redHighest,
            TLanes.EqualMask(g, lowest),
            TLanes.Select(greenHighest, TLanes.EqualMask(b, lowest), TLanes.EqualMask(r, lowest)));
        var baseUp = TLanes.Select(redHighest, TLanes.Set(-1), TLanes.Select(greenHighest, one, TLanes.Set(3)));
        var sixths = TLanes.Select(rising, TLanes.Add(baseUp, x), TLanes.Subtract(TLanes.Add(baseUp, TLanes.Set(2)), x));
        // Divided by 6 and then multiplied by 255, as here, truncates to Pillow's level for every colour; one factor of 42.5 does not.
        var hue = TLanes.Divide(sixths, TLanes.Set(6));
        hue = TLanes.Select(TLanes.LessMask(hue, zero), TLanes.Add(hue, one), hue);
        hue = TLanes.Floor(TLanes.Multiply(hue, TLanes.Set(255)));
        hue = TLanes.Select(TLanes.EqualMask(range, zero), zero, hue);

        hue = TLanes.Add(hue, TLanes.Set(shift));
        hue = TLanes.Select(TLanes.LessMask(hue, TLanes.Set(256)), hue, TLanes.Subtract(hue, TLanes.Set(256)));

        var turned = TLanes.Multiply(hue, TLanes.Set(6f / 255));
        var chroma = TLanes.Multiply(highest, TLanes.Multiply(s, TLanes.Set(1f / 255)));
        var rounded = TLanes.Add(highest, TLanes.Set(0.5f));
        r = Channel<TLanes, TVector>(turned, TLanes.Set(5), chroma, rounded);
        g = Channel<TLanes, TVector>(turned, TLanes.Set(3), chroma, rounded);
        b = Channel<TLanes, TVector>(turned, one, chroma, rounded);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static TVector Channel<TLanes, TVector>(TVector turned, TVector offset, TVector chroma, TVector rounded)
        where TLanes : struct, IPixelLanes<TVector>
        where TVector : struct
    {
        var k = TLanes.Add(turned, offset);
        k = TLanes.Select(TLanes.LessMask(k, TLanes.Set(6)), k, TLanes.Subtract(k, TLanes.Set(6)));
        var weight = TLanes.Max(TLanes.Min(TLanes.Min(k, TLanes.Subtract(TLanes.Set(4), k)), TLanes.Set(1)), TLanes.Set(0));
        return TLanes.Floor(TLanes.Subtract(rounded, TLanes.Multiply(chroma, weight)));
    }
}

/// <summary>One colour operation with what it needs.</summary>
/// <param name="Operation">Which.</param>
/// <param name="Factor">Its factor.</param>
/// <param name="Mean">For contrast: the rounded mean luma of the frame, once known.</param>
/// <param name="HasMean">Whether it is known.</param>
internal readonly record struct ColorStep(ColorOperation Operation, float Factor, float Mean = 0, bool HasMean = false)
{
    /// <summary>torchvision's uint8(factor * 255): truncated towards zero, then modulo 256.</summary>
    public float HueShift => (int)((double)Factor * 255) & 255;

    public ColorStep WithMean(double lumaSum, int pixels) => this with { Mean = (int)((lumaSum / pixels) + 0.5), HasMean = true };
}
