// Why this exists: flow is computed on larger frames than are stored; its field is averaged down (or interpolated up), never sampled.
using TorchSharp;

namespace CoCLR.Engine.Flow;

/// <summary>
/// Resamples fields of real numbers with a triangle filter whose support grows with the scale: linear interpolation upwards, an average
/// downwards.
/// </summary>
internal sealed class FieldResampler
{
    private readonly (int From, float[] Weights)[] _rows;
    private readonly (int From, float[] Weights)[] _columns;
    private readonly float[] _between;

    public FieldResampler(int width, int height, int toWidth, int toHeight)
    {
        (Width, Height, ToWidth, ToHeight) = (width, height, toWidth, toHeight);
        (_columns, _rows) = (Taps(width, toWidth), Taps(height, toHeight));
        _between = new float[toWidth * height];
    }

    public int Width { get; }

    public int Height { get; }

    public int ToWidth { get; }

    public int ToHeight { get; }

    /// <summary>Resamples one field, times a factor.</summary>
    /// <param name="field">[height, width].</param>
    /// <param name="factor">Factor on every value.</param>
    /// <param name="target">Receives [toHeight, toWidth].</param>
    public void Apply(ReadOnlySpan<float> field, float factor, Span<float> target)
    {
        for (int y = 0; y < Height; y++)
        {
            ReadOnlySpan<float> row = field.Slice(y * Width, Width);
            for (int x = 0; x < ToWidth; x++)
            {
                (int from, float[] weights) = _columns[x];
                float sum = 0;
                for (int i = 0; i < weights.Length; i++)
                {
                    sum += weights[i] * row[from + i];
                }

                _between[(y * ToWidth) + x] = sum;
            }
        }

        for (int y = 0; y < ToHeight; y++)
        {
            (int from, float[] weights) = _rows[y];
            Span<float> row = target.Slice(y * ToWidth, ToWidth);
            row.Clear();
            for (int i = 0; i < weights.Length; i++)
            {
                ReadOnlySpan<float> source = _between.AsSpan((from + i) * ToWidth, ToWidth);
                float weight = weights[i] * factor;
                for (int x = 0; x < row.Length; x++)
                {
                    row[x] += weight * source[x];
                }
            }
        }
    }

    /// <summary>The same on a device, for many fields.</summary>
    /// <param name="fields">float32 [..., height, width].</param>
    /// <param name="factor">Factor on every value.</param>
    /// <returns>[..., toHeight, toWidth].</returns>
    public torch.Tensor Apply(torch.Tensor fields, float factor)
    {
        using torch.Tensor down = Matrix(_rows, Height).to(fields.device);
        using torch.Tensor across = Matrix(_columns, Width).to(fields.device);
        return down.matmul(fields).matmul(across.t()).mul_(factor);
    }

    private static torch.Tensor Matrix((int From, float[] Weights)[] taps, int size)
    {
        var values = new float[taps.Length * size];
        for (int i = 0; i < taps.Length; i++)
        {
            taps[i].Weights.CopyTo(values.AsSpan((i * size) + taps[i].From));
        }

        return torch.tensor(values, [taps.Length, size]);
    }

    private static (int From, float[] Weights)[] Taps(int size, int to)
    {
        double scale = (double)size / to;
        double support = Math.Max(scale, 1);
        return [.. Enumerable.Range(0, to).Select(output =>
        {
            double centre = ((output + 0.5) * scale) - 0.5;
            int first = Math.Max((int)Math.Ceiling(centre - support), 0);
            int last = Math.Min((int)Math.Floor(centre + support), size - 1);
            double[] weights =
                [.. Enumerable.Range(first, last - first + 1).Select(i => Math.Max(1 - (Math.Abs(i - centre) / support), 0))];
            double sum = weights.Sum();
            return (first, Array.ConvertAll(weights, w => (float)(w / sum)));
        })];
    }
}
