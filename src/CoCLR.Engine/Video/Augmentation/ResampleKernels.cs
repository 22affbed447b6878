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

    /// <summary>Packs horizontal taps for <see cref="HorizontalAvx2"/>: per output and four taps, two lanes of c0 c1 three times and c2 c3 three times.</summary>
    public static short[] PackPairs(ResampleWeights weights)
    {
        var blocks = weights.Taps / 4;
        var packed = new short[weights.OutputSize * blocks * 16];
        for (var output = 0; output < weights.OutputSize; output++)
        {
            for (var block = 0; block < blocks; block++)
            {
                var from = weights.Fixed.AsSpan((output * weights.Taps) + (block * 4), 4);
                var to = packed.AsSpan(((output * blocks) + block) * 16, 16);
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

    /// <summary>One row of interleaved RGB, or of flow as u and v, to three rows of planes; flow becomes green = v and blue = u, and red is left black.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void HorizontalAvx2(byte* source, int channels, int* offsets, short* packed, int blocks, int precision, int outputs, byte* red, byte* green, byte* blue)
    {
        var spread = channels == 3
            ? Vector256.Create(
                (byte)0, 255, 3, 255, 1, 255, 4, 255, 2, 255, 5, 255, 255, 255, 255, 255,
                6, 255, 9, 255, 7, 255, 10, 255, 8, 255, 11, 255, 255, 255, 255, 255)
            : Vector256.Create(
                (byte)255, 255, 255, 255, 1, 255, 3, 255, 0, 255, 2, 255, 255, 255, 255, 255,
                255, 255, 255, 255, 5, 255, 7, 255, 4, 255, 6, 255, 255, 255, 255, 255);
        var step = 4 * channels;
        var gather = Vector128.Create((byte)0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
        var half = Vector256.Create(1 << (precision - 1));
        var shift = Vector128.CreateScalarUnsafe(precision);
        var stride = blocks * 16;
        var x = 0;
        for (; x + 4 <= outputs; x += 4)
        {
            var sum0 = Vector256<int>.Zero;
            var sum1 = Vector256<int>.Zero;
            var sum2 = Vector256<int>.Zero;
            var sum3 = Vector256<int>.Zero;
            var from0 = source + (channels * offsets[x]);
            var from1 = source + (channels * offsets[x + 1]);
            var from2 = source + (channels * offsets[x + 2]);
            var from3 = source + (channels * offsets[x + 3]);
            var taps = packed + (x * stride);
            for (var block = 0; block < blocks; block++)
            {
                sum0 += Avx2.MultiplyAddAdjacent(Avx2.Shuffle(Avx2.BroadcastVector128ToVector256(from0), spread).AsInt16(), Vector256.Load(taps));
                sum1 += Avx2.MultiplyAddAdjacent(Avx2.Shuffle(Avx2.BroadcastVector128ToVector256(from1), spread).AsInt16(), Vector256.Load(taps + stride));
                sum2 += Avx2.MultiplyAddAdjacent(Avx2.Shuffle(Avx2.BroadcastVector128ToVector256(from2), spread).AsInt16(), Vector256.Load(taps + (2 * stride)));
                sum3 += Avx2.MultiplyAddAdjacent(Avx2.Shuffle(Avx2.BroadcastVector128ToVector256(from3), spread).AsInt16(), Vector256.Load(taps + (3 * stride)));
                from0 += step;
                from1 += step;
                from2 += step;
                from3 += step;
                taps += 16;
            }

            var even = Avx2.Permute2x128(sum0, sum1, 0x20) + Avx2.Permute2x128(sum0, sum1, 0x31);
            var odd = Avx2.Permute2x128(sum2, sum3, 0x20) + Avx2.Permute2x128(sum2, sum3, 0x31);
            even = Avx2.ShiftRightArithmetic(even + half, shift);
            odd = Avx2.ShiftRightArithmetic(odd + half, shift);
            // lanes: [pixel 0, pixel 2], [pixel 1, pixel 3]
            var words = Avx2.PackSignedSaturate(even, odd);
            var lower = words.GetLower();
            var upper = words.GetUpper();
            var ordered = Sse2.PackUnsignedSaturate(Sse2.UnpackLow(lower.AsInt64(), upper.AsInt64()).AsInt16(), Sse2.UnpackHigh(lower.AsInt64(), upper.AsInt64()).AsInt16());
            var planes = Ssse3.Shuffle(ordered, gather).AsUInt32();
            Unsafe.WriteUnaligned(red + x, planes.GetElement(0));
            Unsafe.WriteUnaligned(green + x, planes.GetElement(1));
            Unsafe.WriteUnaligned(blue + x, planes.GetElement(2));
        }

        for (; x < outputs; x++)
        {
            HorizontalOne(source + (channels * offsets[x]), channels, packed + (x * stride), blocks, precision, out red[x], out green[x], out blue[x]);
        }
    }

    /// <summary>The same without vectors of a certain machine.</summary>
    public static void HorizontalPortable(byte* source, int channels, int* offsets, short* packed, int blocks, int precision, int outputs, byte* red, byte* green, byte* blue)
    {
        for (var x = 0; x < outputs; x++)
        {
            HorizontalOne(source + (channels * offsets[x]), channels, packed + (x * blocks * 16), blocks, precision, out red[x], out green[x], out blue[x]);
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

    private static void HorizontalOne(byte* from, int channels, short* packed, int blocks, int precision, out byte red, out byte green, out byte blue)
    {
        int r = 1 << (precision - 1), g = r, b = r;
        for (var block = 0; block < blocks; block++)
        {
            for (var tap = 0; tap < 4; tap++)
            {
                int weight = packed[(block * 16) + ((tap >> 1) * 8) + (tap & 1)];
                var pixel = from + (channels * ((block * 4) + tap));
                r += weight * pixel[0];
                g += weight * pixel[1];
                b += weight * pixel[channels == 3 ? 2 : 0];
            }
        }

        red = (byte)Math.Clamp(r >> precision, 0, 255);
        green = (byte)Math.Clamp(g >> precision, 0, 255);
        blue = (byte)Math.Clamp(b >> precision, 0, 255);
    }
}
