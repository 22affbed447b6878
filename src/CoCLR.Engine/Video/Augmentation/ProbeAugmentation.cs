// Why this exists: the milder augmentation of supervised training on top of a representation.
namespace CoCLR.Engine.Video.Augmentation;

/// <summary>
/// Augmentation for the end-to-end linear probe and fine-tuning (method.md 1d): a random crop that fits (ten attempts, then the centred
/// square), colour jitter with probability 0.3, and one coin a batch for the horizontal flip.
/// </summary>
/// <param name="options">Strengths and switches.</param>
public sealed class ProbeAugmentation(AugmentationOptions options)
{
    private static readonly ulong ClipPurpose = CounterRandom.Purpose("probe-augmentation");
    private static readonly ulong BatchPurpose = CounterRandom.Purpose("probe-batch-flip");

    /// <summary>The options.</summary>
    public AugmentationOptions Options { get; } = options;

    /// <summary>Draws the transform of the sample at this place of the run.</summary>
    /// <param name="seed">The experiment's seed.</param>
    /// <param name="epoch">Epoch.</param>
    /// <param name="step">Step in the epoch.</param>
    /// <param name="slot">Position in the batch.</param>
    /// <param name="width">Width of the stored frames.</param>
    /// <param name="height">Height of the stored frames.</param>
    public ClipTransform Draw(long seed, int epoch, int step, int slot, int width, int height)
    {
        var batch = new CounterRandom(seed, BatchPurpose, epoch, step);
        var random = new CounterRandom(seed, ClipPurpose, epoch, step, slot);
        var transform = new ClipTransform
        {
            Crop = RandomCrop.DrawRetrying(ref random, width, height, Options.MinimumArea),
            Via = Options.ReferenceCompatibility ? EvaluationCrops.ReferenceSide : 0,
            Flip = batch.Bernoulli(Options.FlipProbability),
            NegateFlippedFlow = Options.FlipNegatesFlow,
            ColorsFlow = Options.ColorsFlow,
        };
        return random.Bernoulli(Options.ProbeJitterProbability)
            ? transform with { Jitter = ColorJitter.Draw(ref random, Options.Jitter) }
            : transform;
    }
}
