// Why this exists: frames whose motion is known, and a plain TV-L1 to hold the fast one against.
using CoCLR.Engine.Flow;

namespace CoCLR.Engine.Tests.Flow;

internal static class FlowImages
{
    /// <summary>A smooth texture, sampled at x - dx, y - dy: shifting the argument moves the picture by (dx, dy) pixels.</summary>
    public static byte[] Texture(int width, int height, double dx = 0, double dy = 0, long seed = 1)
    {
        var random = new CounterRandom(seed, CounterRandom.Purpose("flow-texture"));
        var waves = new (double Fx, double Fy, double Phase)[8];
        for (var i = 0; i < waves.Length; i++)
        {
            waves[i] = (Uniform(ref random, -0.5, 0.5), Uniform(ref random, -0.5, 0.5), Uniform(ref random, 0, 2 * Math.PI));
        }

        var frame = new byte[width * height];
        for (var y = 0; y < height; y++)
        {
            for (var x = 0; x < width; x++)
            {
                var sum = waves.Sum(wave => Math.Sin((wave.Fx * (x - dx)) + (wave.Fy * (y - dy)) + wave.Phase));
                frame[(y * width) + x] = (byte)Math.Clamp(Math.Round(128 + (24 * sum)), 0, 255);
            }
        }

        return frame;
    }

    /// <summary>Noise: no structure for the flow to hold on to, so that every branch of the kernels is taken.</summary>
    public static byte[] Noise(int width, int height, long seed)
    {
        var random = new CounterRandom(seed, CounterRandom.Purpose("flow-noise"));
        var frame = new byte[width * height];
        for (var i = 0; i < frame.Length; i++)
        {
            frame[i] = (byte)random.NextInt(256);
        }

        return frame;
    }

    public static (float[] U, float[] V) Flow(IFlowEstimator estimator, byte[] first, byte[] second)
    {
        var u = new float[first.Length];
        var v = new float[first.Length];
        estimator.Reset();
        Assert.False(estimator.Push(first, u, v));
        Assert.True(estimator.Push(second, u, v));
        return (u, v);
    }

    public static (float[] U, float[] V) Flow(byte[] first, byte[] second, int width, int height, TvL1Options? options = null)
    {
        using var estimator = new TvL1Flow(width, height, options);
        return Flow(estimator, first, second);
    }

    /// <summary>Mean distance between two fields, in pixels.</summary>
    public static double MeanEndpointDifference((float[] U, float[] V) a, (float[] U, float[] V) b) =>
        a.U.Zip(b.U).Zip(a.V.Zip(b.V), (u, v) => Math.Sqrt(Square(u.First - u.Second) + Square(v.First - v.Second))).Average();

    /// <summary>
    /// Mean absolute difference of the first frame and the second one fetched back along the flow (bilinear, border replicated).
    /// </summary>
    public static double WarpError(byte[] first, byte[] second, (float[] U, float[] V) flow, int width, int height)
    {
        double At(int x, int y) => second[(Math.Clamp(y, 0, height - 1) * width) + Math.Clamp(x, 0, width - 1)];
        var sum = 0.0;
        for (var i = 0; i < first.Length; i++)
        {
            var x = (i % width) + flow.U[i];
            var y = (i / width) + flow.V[i];
            var (fx, fy) = ((int)Math.Floor(x), (int)Math.Floor(y));
            var (ax, ay) = (x - fx, y - fy);
            var value = ((1 - ay) * (((1 - ax) * At(fx, fy)) + (ax * At(fx + 1, fy))))
                + (ay * (((1 - ax) * At(fx, fy + 1)) + (ax * At(fx + 1, fy + 1))));
            sum += Math.Abs(value - first[i]);
        }

        return sum / first.Length;
    }

    private static double Square(double value) => value * value;

    private static double Uniform(ref CounterRandom random, double from, double to) =>
        from + ((to - from) * random.NextInt(1 << 20) / (1 << 20));
}
