// Why this exists: what is evaluated must not depend on chance.
namespace CoCLR.Engine.Video.Augmentation;

/// <summary>Which crops of a frame are evaluated.</summary>
public enum CropMode
{
    /// <summary>The centre.</summary>
    Center,

    /// <summary>The centre and the four corners.</summary>
    Five,

    /// <summary>Those five, then the same five mirrored.</summary>
    Ten,
}

/// <summary>
/// The crops of test-time evaluation and feature extraction, without jitter (method.md 1d, 1e and part 2). The reference crops 224 pixels
/// of frames whose short side is 240 (UCF101) or 256 (Kinetics) and resizes to 128. Stored frames are usually smaller here, so the side is
/// the short side times <see cref="AugmentationOptions.EvaluationCropFraction"/> (224 / 256): from the default short side of 1.15 x 128 =
/// 147 that is 129 pixels, hardly resized at all.
/// With <see cref="AugmentationOptions.ReferenceCompatibility"/> it is 224 pixels where the frame has them, and colour jitter (0.2, 0.2,
/// 0.2, 0.1) comes with probability 0.3.
/// </summary>
/// <param name="options">Size and switches.</param>
/// <param name="mode">Which crops.</param>
public sealed class EvaluationCrops(AugmentationOptions options, CropMode mode = CropMode.Center)
{
    /// <summary>Side of the reference's crops in pixels.</summary>
    public const int ReferenceSide = 224;

    private const double ReferenceJitterProbability = 0.3;
    private static readonly JitterStrength ReferenceJitter = new(0.2, 0.2, 0.2, 0.1);
    private static readonly ulong JitterPurpose = CounterRandom.Purpose("reference-test-jitter");

    /// <summary>Crops a clip: 1, 5 or 10.</summary>
    public int Count => mode switch { CropMode.Center => 1, CropMode.Five => 5, _ => 10 };

    /// <summary>Side of the square that is cropped from frames of this size.</summary>
    /// <param name="width">Width of the stored frames.</param>
    /// <param name="height">Height of the stored frames.</param>
    public int Side(int width, int height)
    {
        var shortSide = Math.Min(width, height);
        return options.ReferenceCompatibility && shortSide >= ReferenceSide
            ? ReferenceSide
            : Math.Clamp((int)Math.Round(shortSide * options.EvaluationCropFraction), 1, shortSide);
    }

    /// <summary>The crop with this number: centre, top left, top right, bottom left, bottom right, then these mirrored.</summary>
    /// <param name="crop">0 to <see cref="Count"/> - 1.</param>
    /// <param name="width">Width of the stored frames.</param>
    /// <param name="height">Height of the stored frames.</param>
    /// <param name="seed">Used by the reference's jitter only.</param>
    /// <param name="video">Used by the reference's jitter only.</param>
    /// <param name="clip">Used by the reference's jitter only.</param>
    public ClipTransform Get(int crop, int width, int height, long seed = 0, int video = 0, int clip = 0)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(crop);
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(crop, Count);
        var side = Side(width, height);
        var box = (crop % 5) switch
        {
            0 => RandomCrop.CenterSquare(width, height, side),
            1 => new CropBox(0, 0, side, side),
            2 => new CropBox(width - side, 0, side, side),
            3 => new CropBox(0, height - side, side, side),
            _ => new CropBox(width - side, height - side, side, side),
        };
        var transform = new ClipTransform
        {
            Crop = box, Flip = crop >= 5, NegateFlippedFlow = options.FlipNegatesFlow, ColorsFlow = options.ColorsFlow
        };
        if (!options.ReferenceCompatibility)
        {
            return transform;
        }

        var random = new CounterRandom(seed, JitterPurpose, video, clip, crop);
        return random.Bernoulli(ReferenceJitterProbability)
            ? transform with { Jitter = ColorJitter.Draw(ref random, ReferenceJitter) }
            : transform;
    }
}
