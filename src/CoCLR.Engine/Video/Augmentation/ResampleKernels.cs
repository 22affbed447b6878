// Why this exists: crop and resize straight from the stored frame into three planes, in integers, without a copy in between.
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace CoCLR.Engine.Video.Augmentation;

/// <summary>The two passes of Pillow's ImagingResample: rows first, rounded to bytes, then columns.</summary>
internal static unsafe class ResampleKernels
{
    /// <summary>Bytes that a kernel may read past the last pixel that it needs.</summary>
    public const int Slack = 64;

    /// <summary>
    /// Packs horizontal taps for <see cref="HorizontalAvx2"/>: outputs in groups of four (the last group filled up with zero taps), per
    /// group and four taps four vectors, each with c0 c1 three times in the lower and c2 c3 three times in the upper lane.
    /// </summary>
    public static short[] PackPairs(ResampleWeights weights)
    {
        var blocks = weights.Taps / 4;
        var groups = (weights.OutputSize + 3) / 4;
        var packed = new short[groups * blocks * 64];
        for (var output = 0; output < weights.OutputSize; output++)
        {
            for (var block = 0; block < blocks; block++)
            {
                var from = weights.Fixed.AsSpan((output * weights.Taps) + (block * 4), 4);
                var to = packed.AsSpan((((((output / 4) * blocks) + block) * 4) + (output % 4)) * 16, 16);
                for (var color = 0; color < 3; color++)
                {
                    to[2 * color] = from[0];
                    to[(2 * color) + 1] = from[1];
                    to[8 + (2 * color)] = from[2];
                    to[8 + (2 * color) + 1] = from[3];
                }
            }
        }

        return packed;
    }

    /// <summary>Offsets for <see cref="HorizontalAvx2"/>: in bytes, filled up to a multiple of four with the last one.</summary>
    public static nint[] PackOffsets(ResampleWeights weights, int channels)
    {
        var offsets = new nint[(weights.OutputSize + 3) & ~3];
        for (var i = 0; i < offsets.Length; i++)
        {
            offsets[i] = weights.Offsets[Math.Min(i, weights.OutputSize - 1)] * channels;
        }

        return offsets;
    }

    /// <summary>
    /// Two rows of interleaved RGB, or of flow as u and v, to two rows of three planes; flow becomes green = v and blue = u, and red is
    /// left black.
    /// Writes up to three bytes past the outputs.
    /// </summary>
    /// <param name="first">First pixel of the crop in one row.</param>
    /// <param name="second">First pixel of the crop in the other row.</param>
    /// <param name="channels">3 or 2.</param>
    /// <param name="offsets">From <see cref="PackOffsets"/>.</param>
    /// <param name="packed">From <see cref="PackPairs"/>.</param>
    /// <param name="blocks">Taps divided by four.</param>
    /// <param name="precision">Fraction bits of the taps.</param>
    /// <param name="outputs">Pixels to write.</param>
    /// <param name="red">Row of the red plane; the second row lies <paramref name="stride"/> bytes behind it.</param>
    /// <param name="stride">Row length of the planes.</param>
    /// <param name="plane">Distance from one plane to the next.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void HorizontalAvx2(
        byte* first,
        byte* second,
        int channels,
        nint* offsets,
        short* packed,
        int blocks,
        int precision,
        int outputs,
        byte* red,
        nint stride,
        nint plane)
    {
        var spread = channels == 3
            ? Vector256.Create(
                (byte)0, 255, 3, 255, 1, 255, 4, 255, 2, 255, 5, 255, 255, 255, 255, 255,
                6, 255, 9, 255, 7, 255, 10, 255, 8, 255, 11, 255, 255, 255, 255, 255)
            : Vector256.Create(
                (byte)255, 255, 255, 255, 1, 255, 3, 255, 0, 255, 2, 255, 255, 255, 255, 255,
                255, 255, 255, 255, 5, 255, 7, 255, 4, 255, 6, 255, 255, 255, 255, 255);
        var byRow = Vector256.Create(0, 1, 4, 5, 2, 3, 6, 7);
        var byPlane = Vector256.Create(
            (byte)0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15,
            0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
        var half = Vector256.Create(Vector128.Create(1 << (precision - 1)), Vector128<int>.Zero);
        var shift = Vector128.CreateScalarUnsafe(precision);
        var end = red + outputs;
        for (; red < end; red += 4)
        {
            var upper0 = half;
            var upper1 = half;
            var upper2 = half;
            var upper3 = half;
            var lower0 = half;
            var lower1 = half;
            var lower2 = half;
            var lower3 = half;
            var at0 = offsets[0];
            var at1 = offsets[1];
            var at2 = offsets[2];
            var at3 = offsets[3];
            offsets += 4;
            var left = blocks;
            do
            {
                var taps = Vector256.Load(packed);
                upper0 += Avx2.MultiplyAddAdjacent(Avx2.Shuffle(Avx2.BroadcastVector128ToVector256(first + at0), spread).AsInt16(), taps);
                lower0 += Avx2.MultiplyAddAdjacent(Avx2.Shuffle(Avx2.BroadcastVector128ToVector256(second + at0), spread).AsInt16(), taps);
                taps = Vector256.Load(packed + 16);
                upper1 += Avx2.MultiplyAddAdjacent(Avx2.Shuffle(Avx2.BroadcastVector128ToVector256(first + at1), spread).AsInt16(), taps);
                lower1 += Avx2.MultiplyAddAdjacent(Avx2.Shuffle(Avx2.BroadcastVector128ToVector256(second + at1), spread).AsInt16(), taps);
                taps = Vector256.Load(packed + 32);
                upper2 += Avx2.MultiplyAddAdjacent(Avx2.Shuffle(Avx2.BroadcastVector128ToVector256(first + at2), spread).AsInt16(), taps);
                lower2 += Avx2.MultiplyAddAdjacent(Avx2.Shuffle(Avx2.BroadcastVector128ToVector256(second + at2), spread).AsInt16(), taps);
                taps = Vector256.Load(packed + 48);
                upper3 += Avx2.MultiplyAddAdjacent(Avx2.Shuffle(Avx2.BroadcastVector128ToVector256(first + at3), spread).AsInt16(), taps);
                lower3 += Avx2.MultiplyAddAdjacent(Avx2.Shuffle(Avx2.BroadcastVector128ToVector256(second + at3), spread).AsInt16(), taps);
                packed += 64;
                at0 += 4 * channels;
                at1 += 4 * channels;
                at2 += 4 * channels;
                at3 += 4 * channels;
            }
            while (--left > 0);

            var upper = Fold(upper0, upper1, upper2, upper3, shift);
            var lower = Fold(lower0, lower1, lower2, lower3, shift);
            var pixels = Avx2.PermuteVar8x32(Avx2.PackUnsignedSaturate(upper, lower).AsInt32(), byRow).AsByte();
            var planes = Avx2.Shuffle(pixels, byPlane).AsUInt32();
            Unsafe.WriteUnaligned(red, planes.GetElement(0));
            Unsafe.WriteUnaligned(red + plane, planes.GetElement(1));
            Unsafe.WriteUnaligned(red + plane + plane, planes.GetElement(2));
            var next = planes.GetUpper();
            Unsafe.WriteUnaligned(red + stride, next.GetElement(0));
            Unsafe.WriteUnaligned(red + stride + plane, next.GetElement(1));
            Unsafe.WriteUnaligned(red + stride + plane + plane, next.GetElement(2));
        }
    }

    /// <summary>The same for one row, without vectors of a certain machine.</summary>
    public static void HorizontalPortable(byte* source, int channels, ResampleWeights weights, byte* red, nint plane)
    {
        var precision = weights.Precision;
        for (var x = 0; x < weights.OutputSize; x++)
        {
            var from = source + (channels * weights.Offsets[x]);
            int r = 1 << (precision - 1), g = r, b = r;
            for (var tap = 0; tap < weights.Counts[x]; tap++)
            {
                int weight = weights.Fixed[(x * weights.Taps) + tap];
                r += weight * from[0];
                g += weight * from[1];
                b += weight * from[channels == 3 ? 2 : 0];
                from += channels;
            }

            red[x] = (byte)Math.Clamp(r >> precision, 0, 255);
            red[x + plane] = (byte)Math.Clamp(g >> precision, 0, 255);
            red[x + plane + plane] = (byte)Math.Clamp(b >> precision, 0, 255);
        }
    }

    /// <summary>One row of one output plane from rows of the intermediate plane.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void VerticalAvx2(byte* plane, int stride, short* taps, int count, int precision, int width, byte* target)
    {
        var half = Vector256.Create(1 << (precision - 1));
        var shift = Vector128.CreateScalarUnsafe(precision);
        for (var x = 0; x < width; x += 32)
        {
            var sum0 = half;
            var sum1 = half;
            var sum2 = half;
            var sum3 = half;
            var row = plane + x;
            for (var tap = 0; tap < count; tap += 2)
            {
                var pair = Vector256.Create(Unsafe.ReadUnaligned<int>(taps + tap)).AsInt16();
                var a = Vector256.Load(row);
                var b = Vector256.Load(row + stride);
                var low = Avx2.UnpackLow(a, b);
                var high = Avx2.UnpackHigh(a, b);
                sum0 += Avx2.MultiplyAddAdjacent(Avx2.UnpackLow(low, Vector256<byte>.Zero).AsInt16(), pair);
                sum1 += Avx2.MultiplyAddAdjacent(Avx2.UnpackHigh(low, Vector256<byte>.Zero).AsInt16(), pair);
                sum2 += Avx2.MultiplyAddAdjacent(Avx2.UnpackLow(high, Vector256<byte>.Zero).AsInt16(), pair);
                sum3 += Avx2.MultiplyAddAdjacent(Avx2.UnpackHigh(high, Vector256<byte>.Zero).AsInt16(), pair);
                row += 2 * stride;
            }

            var words0 = Avx2.PackSignedSaturate(Avx2.ShiftRightArithmetic(sum0, shift), Avx2.ShiftRightArithmetic(sum1, shift));
            var words1 = Avx2.PackSignedSaturate(Avx2.ShiftRightArithmetic(sum2, shift), Avx2.ShiftRightArithmetic(sum3, shift));
            Avx2.PackUnsignedSaturate(words0, words1).Store(target + x);
        }
    }

    /// <summary>The same without vectors of a certain machine.</summary>
    public static void VerticalPortable(byte* plane, int stride, short* taps, int count, int precision, int width, byte* target)
    {
        for (var x = 0; x < width; x++)
        {
            var sum = 1 << (precision - 1);
            for (var tap = 0; tap < count; tap++)
            {
                sum += plane[(tap * stride) + x] * taps[tap];
            }

            target[x] = (byte)Math.Clamp(sum >> precision, 0, 255);
        }
    }

    /// <summary>Four sums of two lanes to the words of pixels 0, 1 in the lower and 2, 3 in the upper lane.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<short> Fold(
        Vector256<int> sum0, Vector256<int> sum1, Vector256<int> sum2, Vector256<int> sum3, Vector128<int> shift)
    {
        var even = Avx2.Permute2x128(sum0, sum2, 0x20) + Avx2.Permute2x128(sum0, sum2, 0x31);
        var odd = Avx2.Permute2x128(sum1, sum3, 0x20) + Avx2.Permute2x128(sum1, sum3, 0x31);
        return Avx2.PackSignedSaturate(Avx2.ShiftRightArithmetic(even, shift), Avx2.ShiftRightArithmetic(odd, shift));
    }
}
