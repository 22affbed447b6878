// Why this exists: Pillow's Gaussian blur (three extended box blurs along each axis) on byte planes, 16 pixels at a time.
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace CoCLR.Engine.Video.Augmentation;

/// <summary>The box whose threefold application approximates a Gaussian: Gwosdek et al., extended box filter; Pillow's BoxBlur.c.</summary>
/// <param name="Radius">Whole radius l.</param>
/// <param name="InnerWeight">Weight of the 2l + 1 inner pixels, in 2^-24.</param>
/// <param name="EdgeWeight">Weight of the two pixels beyond them, in 2^-24.</param>
public readonly record struct ExtendedBox(int Radius, uint InnerWeight, uint EdgeWeight)
{
    /// <summary>How often the box is applied along each axis.</summary>
    public const int Passes = 3;

    /// <summary>The box for a Gaussian of this standard deviation.</summary>
    /// <param name="sigma">In pixels, above 0.</param>
    public static ExtendedBox ForSigma(double sigma)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(sigma);
        var passVariance = (float)(sigma * sigma / Passes);
        var length = Math.Sqrt((12.0 * passVariance) + 1.0);
        var whole = (float)Math.Floor((length - 1.0) / 2.0);
        var fraction = ((2 * whole) + 1) * ((whole * (whole + 1)) - (3 * passVariance));
        fraction /= 6 * (passVariance - ((whole + 1) * (whole + 1)));
        var radius = whole + fraction;
        var inner = (uint)((1 << 24) / ((radius * 2) + 1));
        var edge = ((1u << 24) - (((uint)whole * 2) + 1) * inner) / 2;
        return new ExtendedBox((int)whole, inner, edge);
    }
}

/// <summary>The blur of one plane.</summary>
internal static unsafe class BlurKernels
{
    /// <summary>Bytes that a kernel may read and write past the last pixel of a plane.</summary>
    public const int Slack = 64;

    private const int Margin = 32;

    /// <summary>Bytes of scratch for planes of this size.</summary>
    public static int ScratchBytes(int width, int height) =>
        (Math.Max(width, height) * Math.Max(width, height)) + Slack + (2 * RowWords(width) * sizeof(ushort));

    /// <summary>Blurs a plane in place, bit for bit as Pillow does.</summary>
    /// <param name="plane">width x height bytes and <see cref="Slack"/>.</param>
    /// <param name="width">Row length.</param>
    /// <param name="height">Rows.</param>
    /// <param name="sigma">Standard deviation in pixels.</param>
    /// <param name="scratch"><see cref="ScratchBytes"/> bytes.</param>
    /// <param name="vectors">The widest vectors to use.</param>
    public static void Blur(byte* plane, int width, int height, float sigma, byte* scratch, VectorWidth vectors)
    {
        var box = ExtendedBox.ForSigma(sigma);
        if (vectors < VectorWidth.Avx2 || !Avx2.IsSupported || box.Radius >= Margin)
        {
            BlurScalar(plane, width, height, box, scratch);
            return;
        }

        var second = scratch;
        var rows = (ushort*)(scratch + (width * height) + Slack);
        var words = RowWords(width);
        for (var y = 0; y < height; y++)
        {
            BlurRow(plane + (y * width), width, box, rows, rows + words);
        }

        BlurColumns(plane, second, width, height, box);
        BlurColumns(second, plane, width, height, box);
        BlurColumns(plane, second, width, height, box);
        Unsafe.CopyBlockUnaligned(plane, second, (uint)(width * height));
    }

    private static int RowWords(int width) => width + (3 * Margin);

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void BlurRow(byte* row, int width, ExtendedBox box, ushort* first, ushort* second)
    {
        var reach = box.Radius + 1;
        var inner = Vector256.Create(box.InnerWeight);
        var edge = Vector256.Create(box.EdgeWeight);
        var from = first + Margin;
        var to = second + Margin;
        for (var x = 0; x < width; x += 16)
        {
            Avx2.ConvertToVector256Int16(row + x).AsUInt16().Store(from + x);
        }

        for (var pass = 0; pass < ExtendedBox.Passes; pass++)
        {
            for (var i = 1; i <= reach; i++)
            {
                from[-i] = from[0];
                from[width - 1 + i] = from[width - 1];
            }

            for (var x = 0; x < width; x += 16)
            {
                var sum = Vector256.Load(from + x);
                for (var i = 1; i < reach; i++)
                {
                    sum += Vector256.Load(from + x - i) + Vector256.Load(from + x + i);
                }

                var ends = Vector256.Load(from + x - reach) + Vector256.Load(from + x + reach);
                Weigh(sum, ends, inner, edge).Store(to + x);
            }

            var swap = from;
            from = to;
            to = swap;
        }

        var written = 0;
        for (; written + 16 <= width; written += 16)
        {
            Pack(Vector256.Load(from + written)).Store(row + written);
        }

        for (; written < width; written++)
        {
            row[written] = (byte)from[written];
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void BlurColumns(byte* source, byte* target, int width, int height, ExtendedBox box)
    {
        var reach = box.Radius + 1;
        var inner = Vector256.Create(box.InnerWeight);
        var edge = Vector256.Create(box.EdgeWeight);
        var last = height - 1;
        for (var y = 0; y < height; y++)
        {
            var above = source + (Math.Max(y - reach, 0) * width);
            var below = source + (Math.Min(y + reach, last) * width);
            for (var x = 0; x < width; x += 16)
            {
                var sum = Avx2.ConvertToVector256Int16(source + (y * width) + x).AsUInt16();
                for (var i = 1; i < reach; i++)
                {
                    sum += Avx2.ConvertToVector256Int16(source + (Math.Max(y - i, 0) * width) + x).AsUInt16()
                        + Avx2.ConvertToVector256Int16(source + (Math.Min(y + i, last) * width) + x).AsUInt16();
                }

                var ends = Avx2.ConvertToVector256Int16(above + x).AsUInt16() + Avx2.ConvertToVector256Int16(below + x).AsUInt16();
                Pack(Weigh(sum, ends, inner, edge)).Store(target + (y * width) + x);
            }
        }
    }

    /// <summary>(sum inner + ends edge + 2^23) >> 24 in unsigned 32-bit integers, which the largest sum just fits.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<ushort> Weigh(Vector256<ushort> sum, Vector256<ushort> ends, Vector256<uint> inner, Vector256<uint> edge)
    {
        var half = Vector256.Create(1u << 23);
        var zero = Vector256<ushort>.Zero;
        var low = (Avx2.UnpackLow(sum, zero).AsUInt32() * inner) + (Avx2.UnpackLow(ends, zero).AsUInt32() * edge) + half;
        var high = (Avx2.UnpackHigh(sum, zero).AsUInt32() * inner) + (Avx2.UnpackHigh(ends, zero).AsUInt32() * edge) + half;
        return Avx2.PackUnsignedSaturate((low >>> 24).AsInt32(), (high >>> 24).AsInt32());
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector128<byte> Pack(Vector256<ushort> words) =>
        Sse2.PackUnsignedSaturate(words.GetLower().AsInt16(), words.GetUpper().AsInt16());

    private static void BlurScalar(byte* plane, int width, int height, ExtendedBox box, byte* scratch)
    {
        for (var y = 0; y < height; y++)
        {
            LineScalar(plane + (y * width), 1, width, box, scratch);
        }

        for (var x = 0; x < width; x++)
        {
            LineScalar(plane + x, width, height, box, scratch);
        }
    }

    private static void LineScalar(byte* line, int stride, int length, ExtendedBox box, byte* scratch)
    {
        var copy = MemoryMarshal.CreateSpan(ref *scratch, length);
        for (var pass = 0; pass < ExtendedBox.Passes; pass++)
        {
            for (var i = 0; i < length; i++)
            {
                copy[i] = line[i * stride];
            }

            var sum = 0u;
            for (var i = -box.Radius; i <= box.Radius; i++)
            {
                sum += copy[Math.Clamp(i, 0, length - 1)];
            }

            for (var i = 0; i < length; i++)
            {
                var ends =
                    (uint)(copy[Math.Clamp(i - box.Radius - 1, 0, length - 1)] + copy[Math.Clamp(i + box.Radius + 1, 0, length - 1)]);
                line[i * stride] = (byte)(((sum * box.InnerWeight) + (ends * box.EdgeWeight) + (1u << 23)) >> 24);
                sum += copy[Math.Clamp(i + box.Radius + 1, 0, length - 1)];
                sum -= copy[Math.Clamp(i - box.Radius, 0, length - 1)];
            }
        }
    }
}
