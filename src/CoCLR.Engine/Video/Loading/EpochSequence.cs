// Why this exists: the order of training videos, written down once for every loader that walks through epochs.
namespace CoCLR.Engine.Video.Loading;

/// <summary>Epochs of random order, the incomplete last batch dropped; a pure function of (seed, epoch, step).</summary>
/// <param name="count">Videos.</param>
/// <param name="batchSize">Videos a batch, at most <paramref name="count"/>.</param>
/// <param name="seed">The experiment's seed.</param>
/// <param name="purpose">Keeps the orders of different loaders apart.</param>
internal sealed class EpochSequence(int count, int batchSize, long seed, ulong purpose)
{
    public int StepsPerEpoch => count / batchSize;

    public int[] Order(int epoch) => new CounterRandom(seed, purpose, epoch).Permutation(count);

    /// <summary>The plans from this place on, by position.</summary>
    /// <param name="epoch">First epoch.</param>
    /// <param name="step">First step in it.</param>
    /// <param name="endEpoch">Epoch to stop before, or null.</param>
    /// <param name="plan">Epoch, step and the batch's items to a plan.</param>
    public Func<long, BatchPlan?> From(int epoch, int step, int? endEpoch, Func<int, int, int[], BatchPlan> plan)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(step);
        (int Epoch, int[] Items)? current = null;
        return position =>
        {
            var steps = step + position;
            var at = (int)(epoch + (steps / StepsPerEpoch));
            if (at >= endEpoch)
            {
                return null;
            }

            if (current?.Epoch != at)
            {
                current = (at, Order(at));
            }

            var inEpoch = (int)(steps % StepsPerEpoch);
            return plan(at, inEpoch, current.Value.Items[(inEpoch * batchSize)..((inEpoch + 1) * batchSize)]);
        };
    }

    /// <summary>A random clip of a video.</summary>
    public static int[] DrawClip(ref CounterRandom random, int length, LoaderOptions options) =>
        ClipSampling.Frames(
            length, options.Frames, options.FrameStride, ClipSampling.DrawStart(ref random, length, options.Frames, options.FrameStride));
}
