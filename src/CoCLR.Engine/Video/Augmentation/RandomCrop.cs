// Why this exists: the reference's two ways of drawing a crop, in one place.
namespace CoCLR.Engine.Video.Augmentation;

/// <summary>
/// RandomSizedCrop of the reference: area uniform, aspect ratio uniform (not log-uniform) in 3/4 to 4/3, sides swapped half the time
/// (method.md 1d).
/// </summary>
internal static class RandomCrop
{
    /// <summary>
    /// Pre-training: one attempt. A box that does not fit means the whole frame, squashed to the square; keeps the reference's
    /// distribution.
    /// </summary>
    public static CropBox DrawOnce(ref CounterRandom random, int width, int height, double minimumArea)
    {
        var (w, h) = DrawSides(ref random, width, height, minimumArea);
        return Place(ref random, width, height, w, h) ?? new CropBox(0, 0, width, height);
    }

    /// <summary>Probe and fine-tune training: up to ten attempts, then the centred square.</summary>
    public static CropBox DrawRetrying(ref CounterRandom random, int width, int height, double minimumArea)
    {
        for (var attempt = 0; attempt < 10; attempt++)
        {
            var (w, h) = DrawSides(ref random, width, height, minimumArea);
            if (Place(ref random, width, height, w, h) is { } box)
            {
                return box;
            }
        }

        return CenterSquare(width, height, Math.Min(width, height));
    }

    public static CropBox CenterSquare(int width, int height, int side) =>
        new((int)Math.Round((width - side) / 2.0), (int)Math.Round((height - side) / 2.0), side, side);

    private static (int Width, int Height) DrawSides(ref CounterRandom random, int width, int height, double minimumArea)
    {
        var area = random.Uniform(minimumArea, 1) * width * height;
        var aspect = random.Uniform(3.0 / 4, 4.0 / 3);
        var w = Math.Max(1, (int)Math.Round(Math.Sqrt(area * aspect)));
        var h = Math.Max(1, (int)Math.Round(Math.Sqrt(area / aspect)));
        return random.Bernoulli(0.5) ? (h, w) : (w, h);
    }

    private static CropBox? Place(ref CounterRandom random, int width, int height, int w, int h) =>
        w <= width && h <= height
            ? new CropBox(random.NextInt(width - w + 1), random.NextInt(height - h + 1), w, h)
            : null;
}
