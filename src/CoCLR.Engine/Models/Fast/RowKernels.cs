// Why this exists: batch norm with ReLU in as few passes over memory as it can be done, where libtorch takes twice as many.
using System.Numerics;
using System.Runtime.Intrinsics;

namespace CoCLR.Engine.Models.Fast;

/// <summary>Some channels of activations in memory order [rows, stride]: the channels of one row are neighbours.</summary>
/// <param name="Address">The first row's first channel.</param>
/// <param name="Stride">Floats from one row to the next; at least <paramref name="Channels"/>.</param>
/// <param name="Count">Rows: clips x frames x height x width.</param>
/// <param name="Channels">Channels.</param>
internal readonly unsafe record struct Rows(nint Address, int Stride, int Count, int Channels)
{
    /// <summary>Where a row begins.</summary>
    public float* Row(int row) => (float*)Address + ((long)row * Stride);

    /// <summary>Some of the channels.</summary>
    public Rows Slice(int first, int channels) => new(Address + (first * sizeof(float)), Stride, Count, channels);
}

/// <summary>
/// Batch norm as one line per channel: y = scale·(x - centre) + offset. The centre is the mean rounded to single precision and the
/// offset holds what the rounding lost, so that a mean much larger than the deviation costs no accuracy.
/// </summary>
/// <param name="Centre">[channels].</param>
/// <param name="Scale">[channels].</param>
/// <param name="Offset">[channels].</param>
internal sealed record NormLine(float[] Centre, float[] Scale, float[] Offset);

/// <summary>
/// Batch norm followed by ReLU, forward and backward, on channels-last rows. Sums are taken over fixed blocks of rows and added up in
/// order, in double precision, so that results do not depend on the number of threads.
/// </summary>
internal static unsafe class RowKernels
{
    /// <summary>Rows of one task: their sums in single precision stay accurate.</summary>
    private const int Block = 256;

    /// <summary>Below this many values a task is not worth another thread.</summary>
    private const int Inline = 1 << 14;

    /// <summary>Mean and biased variance of each channel.</summary>
    /// <param name="x">Values.</param>
    /// <param name="mean">Written, [channels].</param>
    /// <param name="variance">Written, [channels].</param>
    public static void Moments(Rows x, double[] mean, double[] variance)
    {
        // Distances to the first row keep the difference of large sums from losing the variance.
        var shift = new float[x.Channels];
        new ReadOnlySpan<float>(x.Row(0), x.Channels).CopyTo(shift);
        var sums = BlockSums(x, (start, count, first, second) =>
        {
            fixed (float* s = shift)
            {
                MomentSums(x, start, count, s, first, second);
            }
        });
        for (var c = 0; c < x.Channels; c++)
        {
            var m = sums.First[c] / x.Count;
            mean[c] = shift[c] + m;
            variance[c] = Math.Max(0, (sums.Second[c] / x.Count) - (m * m));
        }
    }

    /// <summary>y = max(0, scale·(x - centre) + offset); y may be x.</summary>
    public static void NormRelu(Rows x, Rows y, NormLine line)
        => ForBlocks(x, (start, count) =>
        {
            fixed (float* centre = line.Centre, scale = line.Scale, offset = line.Offset)
            {
                for (var row = start; row < start + count; row++)
                {
                    NormReluRow(x.Row(row), y.Row(row), centre, scale, offset, x.Channels);
                }
            }
        });

    /// <summary>Σg and Σ g·(x - centre) of each channel, with g the gradient where <see cref="NormRelu"/> is above 0.</summary>
    public static (double[] Sum, double[] Product) GradientSums(Rows x, Rows gradient, NormLine line)
        => BlockSums(x, (start, count, first, second) =>
        {
            fixed (float* centre = line.Centre, scale = line.Scale, offset = line.Offset)
            {
                GradientBlock(x, gradient, start, count, centre, scale, offset, first, second);
            }
        });

    /// <summary>
    /// dx = scale·g + slope·(x - centre) + shift of each channel, with g as in <see cref="GradientSums"/>; dx may be the gradient.
    /// </summary>
    public static void GradientApply(Rows x, Rows gradient, Rows dx, NormLine line, float[] slope, float[] shift)
        => ForBlocks(x, (start, count) =>
        {
            fixed (float* centre = line.Centre, scale = line.Scale, offset = line.Offset, b = slope, c = shift)
            {
                for (var row = start; row < start + count; row++)
                {
                    GradientRow(x.Row(row), gradient.Row(row), dx.Row(row), centre, scale, offset, b, c, x.Channels);
                }
            }
        });

    private delegate void SumBlock(int start, int count, float* first, float* second);

    private static void MomentSums(Rows x, int start, int count, float* shift, float* first, float* second)
    {
        var c = 0;
        for (; c <= x.Channels - (2 * Vector<float>.Count); c += 2 * Vector<float>.Count)
        {
            var (shift0, shift1) = (Vector.Load(shift + c), Vector.Load(shift + c + Vector<float>.Count));
            var (sum0, sum1, square0, square1) = (Vector<float>.Zero, Vector<float>.Zero, Vector<float>.Zero, Vector<float>.Zero);
            var p = x.Row(start) + c;
            for (var row = 0; row < count; row++, p += x.Stride)
            {
                var d0 = Vector.Load(p) - shift0;
                var d1 = Vector.Load(p + Vector<float>.Count) - shift1;
                sum0 += d0;
                sum1 += d1;
                square0 += d0 * d0;
                square1 += d1 * d1;
            }

            sum0.Store(first + c);
            sum1.Store(first + c + Vector<float>.Count);
            square0.Store(second + c);
            square1.Store(second + c + Vector<float>.Count);
        }

        for (; c <= x.Channels - Vector128<float>.Count; c += Vector128<float>.Count)
        {
            var s = Vector128.Load(shift + c);
            var (sum, square) = (Vector128<float>.Zero, Vector128<float>.Zero);
            var p = x.Row(start) + c;
            for (var row = 0; row < count; row++, p += x.Stride)
            {
                var d = Vector128.Load(p) - s;
                sum += d;
                square += d * d;
            }

            sum.Store(first + c);
            square.Store(second + c);
        }

        for (; c < x.Channels; c++)
        {
            var (sum, square) = (0f, 0f);
            var p = x.Row(start) + c;
            for (var row = 0; row < count; row++, p += x.Stride)
            {
                var d = *p - shift[c];
                sum += d;
                square += d * d;
            }

            (first[c], second[c]) = (sum, square);
        }
    }

    private static void NormReluRow(float* x, float* y, float* centre, float* scale, float* offset, int channels)
    {
        var c = 0;
        for (; c <= channels - Vector<float>.Count; c += Vector<float>.Count)
        {
            var line = ((Vector.Load(x + c) - Vector.Load(centre + c)) * Vector.Load(scale + c)) + Vector.Load(offset + c);
            Vector.Max(line, Vector<float>.Zero).Store(y + c);
        }

        for (; c <= channels - Vector128<float>.Count; c += Vector128<float>.Count)
        {
            var line = ((Vector128.Load(x + c) - Vector128.Load(centre + c)) * Vector128.Load(scale + c)) + Vector128.Load(offset + c);
            Vector128.Max(line, Vector128<float>.Zero).Store(y + c);
        }

        for (; c < channels; c++)
        {
            y[c] = MathF.Max(((x[c] - centre[c]) * scale[c]) + offset[c], 0);
        }
    }

    private static void GradientBlock(
        Rows x, Rows gradient, int start, int count, float* centre, float* scale, float* offset, float* first, float* second)
    {
        var c = 0;
        for (; c <= x.Channels - Vector<float>.Count; c += Vector<float>.Count)
        {
            var (m, a, b) = (Vector.Load(centre + c), Vector.Load(scale + c), Vector.Load(offset + c));
            var (sum, product) = (Vector<float>.Zero, Vector<float>.Zero);
            var p = x.Row(start) + c;
            var g = gradient.Row(start) + c;
            for (var row = 0; row < count; row++, p += x.Stride, g += gradient.Stride)
            {
                var d = Vector.Load(p) - m;
                var passed =
                    Vector.ConditionalSelect(Vector.GreaterThan((d * a) + b, Vector<float>.Zero), Vector.Load(g), Vector<float>.Zero);
                sum += passed;
                product += passed * d;
            }

            sum.Store(first + c);
            product.Store(second + c);
        }

        for (; c <= x.Channels - Vector128<float>.Count; c += Vector128<float>.Count)
        {
            var (m, a, b) = (Vector128.Load(centre + c), Vector128.Load(scale + c), Vector128.Load(offset + c));
            var (sum, product) = (Vector128<float>.Zero, Vector128<float>.Zero);
            var p = x.Row(start) + c;
            var g = gradient.Row(start) + c;
            for (var row = 0; row < count; row++, p += x.Stride, g += gradient.Stride)
            {
                var d = Vector128.Load(p) - m;
                var passed = Vector128.ConditionalSelect(
                    Vector128.GreaterThan((d * a) + b, Vector128<float>.Zero), Vector128.Load(g), Vector128<float>.Zero);
                sum += passed;
                product += passed * d;
            }

            sum.Store(first + c);
            product.Store(second + c);
        }

        for (; c < x.Channels; c++)
        {
            var (sum, product) = (0f, 0f);
            var p = x.Row(start) + c;
            var g = gradient.Row(start) + c;
            for (var row = 0; row < count; row++, p += x.Stride, g += gradient.Stride)
            {
                var d = *p - centre[c];
                if ((d * scale[c]) + offset[c] > 0)
                {
                    sum += *g;
                    product += *g * d;
                }
            }

            (first[c], second[c]) = (sum, product);
        }
    }

    private static void GradientRow(
        float* x, float* gradient, float* dx, float* centre, float* scale, float* offset, float* slope, float* shift, int channels)
    {
        var c = 0;
        for (; c <= channels - Vector<float>.Count; c += Vector<float>.Count)
        {
            var d = Vector.Load(x + c) - Vector.Load(centre + c);
            var a = Vector.Load(scale + c);
            var passed = Vector.ConditionalSelect(
                Vector.GreaterThan((d * a) + Vector.Load(offset + c), Vector<float>.Zero), Vector.Load(gradient + c), Vector<float>.Zero);
            ((passed * a) + (d * Vector.Load(slope + c)) + Vector.Load(shift + c)).Store(dx + c);
        }

        for (; c <= channels - Vector128<float>.Count; c += Vector128<float>.Count)
        {
            var d = Vector128.Load(x + c) - Vector128.Load(centre + c);
            var a = Vector128.Load(scale + c);
            var passed = Vector128.ConditionalSelect(
                Vector128.GreaterThan((d * a) + Vector128.Load(offset + c), Vector128<float>.Zero),
                Vector128.Load(gradient + c),
                Vector128<float>.Zero);
            ((passed * a) + (d * Vector128.Load(slope + c)) + Vector128.Load(shift + c)).Store(dx + c);
        }

        for (; c < channels; c++)
        {
            var d = x[c] - centre[c];
            var passed = (d * scale[c]) + offset[c] > 0 ? gradient[c] : 0f;
            dx[c] = (passed * scale[c]) + (d * slope[c]) + shift[c];
        }
    }

    private static (double[] First, double[] Second) BlockSums(Rows x, SumBlock body)
    {
        var blocks = (x.Count + Block - 1) / Block;
        var partial = new float[blocks * 2 * x.Channels];
        For(blocks, x, block =>
        {
            fixed (float* p = partial)
            {
                var start = block * Block;
                body(start, Math.Min(Block, x.Count - start), p + (block * 2 * x.Channels), p + (((block * 2) + 1) * x.Channels));
            }
        });
        var (first, second) = (new double[x.Channels], new double[x.Channels]);
        for (var block = 0; block < blocks; block++)
        {
            for (var c = 0; c < x.Channels; c++)
            {
                first[c] += partial[(block * 2 * x.Channels) + c];
                second[c] += partial[(((block * 2) + 1) * x.Channels) + c];
            }
        }

        return (first, second);
    }

    private static void ForBlocks(Rows x, Action<int, int> body)
        => For((x.Count + Block - 1) / Block, x, block => body(block * Block, Math.Min(Block, x.Count - (block * Block))));

    private static void For(int blocks, Rows x, Action<int> body)
    {
        if ((long)x.Count * x.Channels <= Inline)
        {
            for (var block = 0; block < blocks; block++)
            {
                body(block);
            }
        }
        else
        {
            CpuParallel.For(blocks, body);
        }
    }
}
