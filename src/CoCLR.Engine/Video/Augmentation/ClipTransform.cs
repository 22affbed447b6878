// Why this exists: one clip's random choices as a value, drawn by a policy and applied alike on CPU and device.
namespace CoCLR.Engine.Video.Augmentation;

/// <summary>A box in pixels of the stored frame.</summary>
/// <param name="X">Left edge.</param>
/// <param name="Y">Top edge.</param>
/// <param name="Width">Width, at least 1.</param>
/// <param name="Height">Height, at least 1.</param>
public readonly record struct CropBox(int X, int Y, int Width, int Height)
{
    /// <summary>The same box relative to a frame of another size; used when two views of one clip are stored at different sizes.</summary>
    /// <param name="fromWidth">Width of the frame that the box was drawn for.</param>
    /// <param name="fromHeight">Its height.</param>
    /// <param name="toWidth">Width of the other frame.</param>
    /// <param name="toHeight">Its height.</param>
    public CropBox ScaledTo(int fromWidth, int fromHeight, int toWidth, int toHeight)
    {
        if (fromWidth == toWidth && fromHeight == toHeight)
        {
            return this;
        }

        var width = Math.Clamp((int)Math.Round((double)Width * toWidth / fromWidth), 1, toWidth);
        var height = Math.Clamp((int)Math.Round((double)Height * toHeight / fromHeight), 1, toHeight);
        var x = Math.Clamp((int)Math.Round((double)X * toWidth / fromWidth), 0, toWidth - width);
        var y = Math.Clamp((int)Math.Round((double)Y * toHeight / fromHeight), 0, toHeight - height);
        return new CropBox(x, y, width, height);
    }
}

/// <summary>The four operations of colour jitter (torchvision's names and definitions on 8-bit images).</summary>
public enum ColorOperation
{
    /// <summary>Blend with black.</summary>
    Brightness,

    /// <summary>Blend with the mean luma of the frame.</summary>
    Contrast,

    /// <summary>Blend with the luma of the pixel.</summary>
    Saturation,

    /// <summary>Shift the 8-bit hue.</summary>
    Hue,
}

/// <summary>One drawn set of colour jitter factors: the same for every frame of a clip (method.md 1d).</summary>
/// <param name="Brightness">Factor; 1 changes nothing.</param>
/// <param name="Contrast">Factor; 1 changes nothing.</param>
/// <param name="Saturation">Factor; 1 changes nothing.</param>
/// <param name="Hue">Shift in turns, -0.5 to 0.5; 0 changes nothing but the rounding of HSV.</param>
/// <param name="Order">The four operations in the order of application, two bits each, first in the lowest bits.</param>
public readonly record struct ColorJitter(float Brightness, float Contrast, float Saturation, float Hue, byte Order)
{
    /// <summary>Brightness, contrast, saturation, hue.</summary>
    public const byte NaturalOrder = 0b11_10_01_00;

    /// <summary>Draws factors uniformly from [1 - strength, 1 + strength], the hue from [-strength, strength], and an order.</summary>
    /// <param name="random">The stream to draw from.</param>
    /// <param name="strength">For example 0.4, 0.4, 0.4, 0.1.</param>
    public static ColorJitter Draw(ref CounterRandom random, JitterStrength strength)
    {
        Span<byte> order = [0, 1, 2, 3];
        random.Shuffle(order);
        var brightness = (float)random.Uniform(Math.Max(0, 1 - strength.Brightness), 1 + strength.Brightness);
        var contrast = (float)random.Uniform(Math.Max(0, 1 - strength.Contrast), 1 + strength.Contrast);
        var saturation = (float)random.Uniform(Math.Max(0, 1 - strength.Saturation), 1 + strength.Saturation);
        var hue = (float)random.Uniform(-strength.Hue, strength.Hue);
        return new ColorJitter(
            brightness, contrast, saturation, hue, (byte)(order[0] | (order[1] << 2) | (order[2] << 4) | (order[3] << 6)));
    }

    /// <summary>The operation at this position of the order.</summary>
    /// <param name="position">0 to 3.</param>
    public ColorOperation At(int position) => (ColorOperation)((Order >> (2 * position)) & 3);

    /// <summary>The factor of an operation.</summary>
    /// <param name="operation">Which one.</param>
    public float Factor(ColorOperation operation) => operation switch
    {
        ColorOperation.Brightness => Brightness,
        ColorOperation.Contrast => Contrast,
        ColorOperation.Saturation => Saturation,
        _ => Hue,
    };
}

/// <summary>Channel splitting (the reference's RandomGray): one channel is copied to all three.</summary>
/// <param name="Channel">0, 1, 2: that channel in every frame; -1: none; -2: another channel in every frame, drawn from
/// <paramref name="Key"/>.</param>
/// <param name="Key">The stream of the per-frame draws.</param>
public readonly record struct GrayChannel(sbyte Channel, long Key = 0)
{
    /// <summary>No gray.</summary>
    public static readonly GrayChannel None = new(-1);

    /// <summary>True when nothing is to be done.</summary>
    public bool IsNone => Channel == -1;

    /// <summary>True when frames of one clip may keep different channels (the reference's flicker).</summary>
    public bool IsPerFrame => Channel == -2;

    /// <summary>The kept channel of a frame, or -1.</summary>
    /// <param name="frame">Position in the clip.</param>
    public int Of(int frame) => IsPerFrame ? new CounterRandom(Key, 0, frame).NextInt(3) : Channel;
}

/// <summary>
/// Everything that is random about one augmented clip. The order of application: crop, [via], resize to S x S, horizontal flip
/// (u of a flow clip negated), magnitude of a flow clip, colour jitter, gray, blur, normalise (method.md 1d; a flip commutes with what
/// follows it).
/// </summary>
public readonly record struct ClipTransform()
{
    /// <summary>The box that is resized to the output square.</summary>
    public required CropBox Crop { get; init; }

    /// <summary>Side of a square that the crop is first resized to (the reference's 224 before 128); 0 for none.</summary>
    public int Via { get; init; }

    /// <summary>Mirror left and right.</summary>
    public bool Flip { get; init; }

    /// <summary>Whether mirroring a flow clip also negates its horizontal component.</summary>
    public bool NegateFlippedFlow { get; init; } = true;

    /// <summary>Whether colour jitter, gray and blur concern flow clips too.</summary>
    public bool ColorsFlow { get; init; }

    /// <summary>Factor on the displacements of a flow clip.</summary>
    public float FlowScale { get; init; } = 1;

    /// <summary>Colour jitter, or null.</summary>
    public ColorJitter? Jitter { get; init; }

    /// <summary>Channel splitting.</summary>
    public GrayChannel Gray { get; init; } = GrayChannel.None;

    /// <summary>Standard deviation of the Gaussian blur in output pixels; 0 for none.</summary>
    public float BlurSigma { get; init; }

    /// <summary>The choices as they concern one view: of flow, crop, mirror and magnitude only, unless <see cref="ColorsFlow"/>.</summary>
    /// <param name="flow">True for flow.</param>
    public ClipTransform ForView(bool flow) =>
        flow && !ColorsFlow ? this with { Jitter = null, Gray = GrayChannel.None, BlurSigma = 0 } : this;

    /// <summary>The same choices for a view that is stored at another size.</summary>
    /// <param name="fromWidth">Width of the frame that the transform was drawn for.</param>
    /// <param name="fromHeight">Its height.</param>
    /// <param name="toWidth">Width of the other view.</param>
    /// <param name="toHeight">Its height.</param>
    public ClipTransform ScaledTo(int fromWidth, int fromHeight, int toWidth, int toHeight) =>
        this with { Crop = Crop.ScaledTo(fromWidth, fromHeight, toWidth, toHeight) };
}
