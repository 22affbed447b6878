// Why this exists: the flow of one clip that is already in memory, with all cores.
namespace CoCLR.Engine.Flow;

/// <summary>Flow between the consecutive frames of a video in memory, in parallel.</summary>
public static class FlowSequence
{
    /// <summary>Pairs that one worker takes at a time. The frame where two parts meet is prepared twice, all else once.</summary>
    internal const int PairsPerPart = 16;

    /// <summary>Estimates the flow of every consecutive pair. The result does not depend on the number of threads.</summary>
    /// <param name="gray">Grey frames [frames, height, width], uint8.</param>
    /// <param name="width">Frame width in pixels.</param>
    /// <param name="height">Frame height in pixels.</param>
    /// <param name="options">Algorithm and its parameters.</param>
    /// <param name="threads">Most threads; all cores when 0.</param>
    /// <param name="cancellationToken">Stops early.</param>
    /// <returns>[frames - 1, 2, height, width], pixels; u (x) before v (y). Empty for fewer than two frames.</returns>
    /// <exception cref="ArgumentException">The length is not a whole number of frames.</exception>
    public static float[] Estimate(
        ReadOnlyMemory<byte> gray, int width, int height, FlowOptions options, int threads =
            0, CancellationToken cancellationToken = default)
    {
        options.Validate();
        ArgumentOutOfRangeException.ThrowIfLessThan(width, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(height, 1);
        var pixels = width * height;
        if (gray.Length % pixels != 0)
        {
            throw new ArgumentException($"{gray.Length} bytes are not a whole number of {width}x{height} frames.", nameof(gray));
        }

        var pairs = Math.Max((gray.Length / pixels) - 1, 0);
        var flow = new float[2L * pairs * pixels];
        var size = PartSize(pairs, options);
        var parallel = new ParallelOptions
        {
            MaxDegreeOfParallelism = threads > 0 ? threads : Environment.ProcessorCount,
            CancellationToken = cancellationToken,
        };
        Parallel.For(
            0,
            (pairs + size - 1) / size,
            parallel,
            () => options.CreateEstimator(width, height),
            (index, _, estimator) =>
            {
                estimator.Reset();
                var start = index * size;
                for (var frame = start; frame <= Math.Min(start + size, pairs); frame++)
                {
                    cancellationToken.ThrowIfCancellationRequested();
                    var pair = flow.AsSpan(2 * Math.Max(frame - 1, 0) * pixels, 2 * pixels);
                    estimator.Push(gray.Span.Slice(frame * pixels, pixels), pair[..pixels], pair[pixels..]);
                }

                return estimator;
            },
            estimator => estimator.Dispose());
        return flow;
    }

    /// <summary>Pairs of a video that are worked on in one go; a warm start needs all of them.</summary>
    /// <param name="pairs">Pairs of the video.</param>
    /// <param name="options">The options.</param>
    internal static int PartSize(int pairs, FlowOptions options) => options.Effective.WarmStart ? Math.Max(pairs, 1) : PairsPerPart;
}
