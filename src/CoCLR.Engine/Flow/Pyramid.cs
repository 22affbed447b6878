// Why this exists: both frames of a pair are needed at every scale, and consecutive pairs share a frame.
using System.Runtime.CompilerServices;

namespace CoCLR.Engine.Flow;

/// <summary>A grey frame at every scale, finest first. Scales and resampling are those of OpenCV's DualTVL1.</summary>
internal sealed unsafe class Pyramid
{
    private readonly Plane[] _levels;
    private readonly Resampler[] _down;

    /// <summary>Reserves the levels.</summary>
    /// <param name="arena">Where the levels live.</param>
    /// <param name="sizes">Width and height of every level, finest first.</param>
    /// <param name="scaleStep">Size of a level relative to the one below it.</param>
    public Pyramid(Arena arena, IReadOnlyList<(int Width, int Height)> sizes, float scaleStep)
    {
        _levels = [.. sizes.Select(size => arena.Plane(size.Width, size.Height))];

        // The sampling step is the nominal one, not the ratio of the rounded sizes: as OpenCV does for a given factor.
        _down = [.. sizes.Skip(1).Select((size, i) => new Resampler(sizes[i], size, 1.0 / scaleStep, 1.0 / scaleStep))];
    }

    /// <summary>The level, 0 being the frame itself.</summary>
    /// <param name="scale">Level.</param>
    public Plane this[int scale] => _levels[scale];

    /// <summary>Sizes of the levels that the options allow for a frame: no side under 16 pixels except in the frame itself.</summary>
    /// <param name="width">Frame width.</param>
    /// <param name="height">Frame height.</param>
    /// <param name="options">Scales and their step.</param>
    public static IReadOnlyList<(int Width, int Height)> Sizes(int width, int height, TvL1Options options)
    {
        const int Smallest = 16;
        var sizes = new List<(int Width, int Height)> { (width, height) };
        while (sizes.Count < options.Scales)
        {
            // Through decimal, for 0.8f is not 0.8 and sizes on the half must round as those of 0.8 do.
            var step = (double)(decimal)options.ScaleStep;
            var next = ((int)Math.Round(sizes[^1].Width * step), (int)Math.Round(sizes[^1].Height * step));
            if (next.Item1 < Smallest || next.Item2 < Smallest)
            {
                break;
            }

            sizes.Add(next);
        }

        return sizes;
    }

    /// <summary>Fills every level from a frame.</summary>
    /// <param name="gray">Grey values [height, width], 0 to 255.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public void Fill(ReadOnlySpan<byte> gray)
    {
        var full = _levels[0];
        for (var y = 0; y < full.Height; y++)
        {
            var row = full.Row(y);
            var source = gray.Slice(y * full.Width, full.Width);
            for (var x = 0; x < source.Length; x++)
            {
                row[x] = source[x];
            }
        }

        for (var i = 1; i < _levels.Length; i++)
        {
            _down[i - 1].Apply(_levels[i - 1], _levels[i], 1f);
        }
    }
}

/// <summary>Bilinear resampling between two fixed sizes, pixel centres aligned, borders replicated (OpenCV's INTER_LINEAR).</summary>
internal sealed unsafe class Resampler
{
    private readonly int[] _x;
    private readonly float[] _fx;
    private readonly int[] _y;
    private readonly float[] _fy;
    private readonly float[] _row;

    /// <summary>Prepares the weights.</summary>
    /// <param name="from">Size of the source.</param>
    /// <param name="to">Size of the destination.</param>
    /// <param name="stepX">Source pixels per destination pixel in x.</param>
    /// <param name="stepY">Source pixels per destination pixel in y.</param>
    public Resampler((int Width, int Height) from, (int Width, int Height) to, double stepX, double stepY)
    {
        (_x, _fx) = Weights(from.Width, to.Width, stepX);
        (_y, _fy) = Weights(from.Height, to.Height, stepY);
        _row = new float[from.Width + 1];
    }

    /// <summary>Resamples and multiplies.</summary>
    /// <param name="source">Source plane.</param>
    /// <param name="destination">Destination plane.</param>
    /// <param name="factor">Multiplies every value.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public void Apply(Plane source, Plane destination, float factor)
    {
        for (var y = 0; y < destination.Height; y++)
        {
            var upper = source.Row(_y[y]);
            var lower = source.Row(Math.Min(_y[y] + 1, source.Height - 1));
            var f = _fy[y];
            for (var x = 0; x < source.Width; x++)
            {
                _row[x] = upper[x] + (f * (lower[x] - upper[x]));
            }

            _row[source.Width] = _row[source.Width - 1];
            var output = destination.Row(y);
            for (var x = 0; x < destination.Width; x++)
            {
                var left = _row[_x[x]];
                output[x] = factor * (left + (_fx[x] * (_row[_x[x] + 1] - left)));
            }
        }
    }

    internal static (int[] Index, float[] Fraction) Weights(int from, int to, double step)
    {
        var index = new int[to];
        var fraction = new float[to];
        for (var i = 0; i < to; i++)
        {
            var position = (float)(((i + 0.5) * step) - 0.5);
            var floor = (int)MathF.Floor(position);
            (index[i], fraction[i]) = floor < 0 ? (0, 0f) : floor >= from - 1 ? (from - 1, 0f) : (floor, position - floor);
        }

        return (index, fraction);
    }
}
