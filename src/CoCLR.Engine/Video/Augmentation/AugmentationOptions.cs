// Why this exists: the switches of augmentation with the paper's values as defaults.
namespace CoCLR.Engine.Video.Augmentation;

/// <summary>Half-widths of the colour jitter's ranges (torchvision's ColorJitter arguments).</summary>
/// <param name="Brightness">0.4 in the paper.</param>
/// <param name="Contrast">0.4.</param>
/// <param name="Saturation">0.4.</param>
/// <param name="Hue">0.1, in turns.</param>
public readonly record struct JitterStrength(double Brightness, double Contrast, double Saturation, double Hue);

/// <summary>
/// How clips are augmented. Defaults are method.md 1d with the corrections of its part 2; <see cref="ReferenceCompatibility"/> and the
/// single switches bring the reference's behaviour back for side-by-side runs.
/// </summary>
public sealed record AugmentationOptions
{
    /// <summary>Side S of the augmented square in pixels.</summary>
    public int Size { get; init; } = 128;

    /// <summary>Smallest share of the frame's area that a random crop covers.</summary>
    public double MinimumArea { get; init; } = 0.2;

    /// <summary>Probability of a horizontal flip.</summary>
    public double FlipProbability { get; init; } = 0.5;

    /// <summary>Negate u when a flow clip is flipped; the reference keeps its sign.</summary>
    public bool NegateFlippedFlow { get; init; } = true;

    /// <summary>Colour jitter, gray and blur for flow too, as the reference does; they move the value that means "no motion".</summary>
    public bool FlowColor { get; init; }

    /// <summary>Half-width m of the range [1 - m, 1 + m] from which the magnitude of a flow clip is scaled; 0 leaves it.</summary>
    public double FlowMagnitude { get; init; }

    /// <summary>Draw the kept channel of gray for each frame, as the reference does (flicker), instead of for each clip.</summary>
    public bool GrayPerFrame { get; init; }

    /// <summary>Colour jitter of the base transform.</summary>
    public JitterStrength Jitter { get; init; } = new(0.4, 0.4, 0.4, 0.1);

    /// <summary>Probability of colour jitter in the base transform.</summary>
    public double JitterProbability { get; init; } = 0.8;

    /// <summary>Probability of gray in the base transform.</summary>
    public double GrayProbability { get; init; } = 0.2;

    /// <summary>Probability of blur in the base transform.</summary>
    public double BlurProbability { get; init; } = 0.5;

    /// <summary>Smallest sigma of the blur, in output pixels.</summary>
    public double BlurSigmaMinimum { get; init; } = 0.1;

    /// <summary>Largest sigma of the blur, in output pixels.</summary>
    public double BlurSigmaMaximum { get; init; } = 2.0;

    /// <summary>Probability that the two views come from one temporal clip (OneClip) instead of two.</summary>
    public double OneClipProbability { get; init; } = 0.5;

    /// <summary>In TwoClip, the probability of the base transform for each clip; otherwise it gets the null transform.</summary>
    public double TwoClipBaseProbability { get; init; } = 0.3;

    /// <summary>Probability of colour jitter in probe and fine-tune training.</summary>
    public double ProbeJitterProbability { get; init; } = 0.3;

    /// <summary>Side of an evaluation crop relative to the frame's short side: the usual 224 of 256.</summary>
    public double EvaluationCropFraction { get; init; } = 224.0 / 256.0;

    /// <summary>
    /// Everything as the reference implementation does it: u keeps its sign, gray flickers, evaluation crops are 224 pixels where the frame
    /// allows and are colour-jittered with probability 0.3, probe crops are resized by way of 224 pixels.
    /// </summary>
    public bool ReferenceCompatibility { get; init; }

    internal bool FlipNegatesFlow => NegateFlippedFlow && !ReferenceCompatibility;

    internal bool ColorsFlow => FlowColor || ReferenceCompatibility;

    internal bool GrayFlickers => GrayPerFrame || ReferenceCompatibility;
}
