// Why this exists: what two augmented views a video gives in pre-training, as a pure function of where in the run it is asked.
namespace CoCLR.Engine.Video.Augmentation;

/// <summary>The two augmented clips of one sample.</summary>
/// <param name="FirstClip">Temporal clip (0 or 1) that the query comes from.</param>
/// <param name="SecondClip">Temporal clip that the key comes from; equals <paramref name="FirstClip"/> in OneClip.</param>
/// <param name="First">Transform of the query clip.</param>
/// <param name="Second">Transform of the key clip.</param>
public readonly record struct ClipPair(int FirstClip, int SecondClip, ClipTransform First, ClipTransform Second);

/// <summary>
/// Augmentation for InfoNCE, UberNCE, CMC and CoCLR (paper section 4.1, method.md 1d): with even odds OneClip (both views from one of the
/// two temporal clips, one with the base and one with the null transform, in random order) or TwoClip (each temporal clip by itself, base
/// with probability 0.3, else null). RGB and flow of a clip share one <see cref="ClipTransform"/>: the same crop and mirror, of which
/// colour concerns RGB alone (<see cref="ClipTransform.ForView"/>).
/// </summary>
/// <param name="options">Strengths and switches.</param>
public sealed class PretrainAugmentation(AugmentationOptions options)
{
    private static readonly ulong PairPurpose = CounterRandom.Purpose("pretrain-augmentation");
    private static readonly ulong MagnitudePurpose = CounterRandom.Purpose("pretrain-flow-magnitude");

    /// <summary>The options.</summary>
    public AugmentationOptions Options { get; } = options;

    /// <summary>Draws both views of the sample at this place of the run.</summary>
    /// <param name="seed">The experiment's seed.</param>
    /// <param name="epoch">Epoch.</param>
    /// <param name="step">Step in the epoch.</param>
    /// <param name="slot">Position in the batch.</param>
    /// <param name="width">Width of the stored frames.</param>
    /// <param name="height">Height of the stored frames.</param>
    public ClipPair Draw(long seed, int epoch, int step, int slot, int width, int height)
    {
        var pair = DrawShared(seed, epoch, step, slot, width, height);
        if (Options.FlowMagnitude == 0)
        {
            return pair;
        }

        // A stream of its own: RGB's draws do not depend on what flow gets.
        var random = new CounterRandom(seed, MagnitudePurpose, epoch, step, slot);
        var first = (float)random.Uniform(1 - Options.FlowMagnitude, 1 + Options.FlowMagnitude);
        var second = (float)random.Uniform(1 - Options.FlowMagnitude, 1 + Options.FlowMagnitude);
        return pair with { First = pair.First with { FlowScale = first }, Second = pair.Second with { FlowScale = second } };
    }

    private ClipPair DrawShared(long seed, int epoch, int step, int slot, int width, int height)
    {
        var random = new CounterRandom(seed, PairPurpose, epoch, step, slot);
        if (random.Bernoulli(Options.OneClipProbability))
        {
            var clip = random.NextInt(2);
            var baseFirst = random.Bernoulli(0.5);
            var first = DrawTransform(ref random, baseFirst, width, height);
            var second = DrawTransform(ref random, !baseFirst, width, height);
            return new ClipPair(clip, clip, first, second);
        }

        var firstBase = random.Bernoulli(Options.TwoClipBaseProbability);
        var secondBase = random.Bernoulli(Options.TwoClipBaseProbability);
        return new ClipPair(
            0, 1, DrawTransform(ref random, firstBase, width, height), DrawTransform(ref random, secondBase, width, height));
    }

    /// <summary>Null: crop and flip. Base: also colour jitter, gray and blur, each at its probability.</summary>
    private ClipTransform DrawTransform(ref CounterRandom random, bool isBase, int width, int height)
    {
        var transform = new ClipTransform
        {
            Crop = RandomCrop.DrawOnce(ref random, width, height, Options.MinimumArea),
            Flip = random.Bernoulli(Options.FlipProbability),
            NegateFlippedFlow = Options.FlipNegatesFlow,
            ColorsFlow = Options.ColorsFlow,
        };
        if (!isBase)
        {
            return transform;
        }

        if (random.Bernoulli(Options.JitterProbability))
        {
            transform = transform with { Jitter = ColorJitter.Draw(ref random, Options.Jitter) };
        }

        if (random.Bernoulli(Options.GrayProbability))
        {
            transform = transform with
            {
                Gray = Options.GrayFlickers ? new GrayChannel(-2, (long)random.NextUInt64()) : new GrayChannel((sbyte)random.NextInt(3)),
            };
        }

        if (random.Bernoulli(Options.BlurProbability))
        {
            transform = transform with { BlurSigma = (float)random.Uniform(Options.BlurSigmaMinimum, Options.BlurSigmaMaximum) };
        }

        return transform;
    }
}
