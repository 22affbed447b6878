// Why this exists: a clip that is too small leaves a network one number a channel, and batch norm a handful of values: both waste hours before anybody sees it.
using System.Globalization;
using CoCLR.Core.Manifests.Schema;

namespace CoCLR.Core.Manifests;

/// <summary>The last map of a network, by arithmetic on its strides (method.md 1a).</summary>
/// <param name="Frames">Its length in time.</param>
/// <param name="Height">Its height.</param>
/// <param name="Width">Its width.</param>
public readonly record struct ClipShape(int Frames, int Height, int Width)
{
    /// <summary>Smallest side of a last map that keeps some time and space.</summary>
    public const int SmallestSide = 2;

    /// <summary>Values a channel below which batch norm's statistics tell one clip of the batch from another.</summary>
    public const int FewestValues = 64;

    /// <summary>Values a channel.</summary>
    public int Values => Frames * Height * Width;

    /// <summary>The last map of a network for a clip.</summary>
    /// <param name="backbone">The family.</param>
    /// <param name="frames">Frames of the clip.</param>
    /// <param name="size">Its side in pixels.</param>
    public static ClipShape LastMap(BackboneName backbone, int frames, int size)
    {
        int side = backbone == BackboneName.R2Plus1D18 ? Halve(size, 4) : Halve(size, 4) / 2;
        return new ClipShape(backbone == BackboneName.R2Plus1D18 ? Halve(frames, 3) : Halve(frames, 2) / 2, side, side);

        // A stride of 2 with padding rounds up; S3D's last pooling has none and rounds down.
        static int Halve(int length, int times)
        {
            for (int i = 0; i < times; i++)
            {
                length = (length + 1) / 2;
            }

            return length;
        }
    }

    /// <summary>What a person should know before training with a spec: nothing that is forbidden, but what was seen to spoil results.</summary>
    /// <param name="spec">A valid spec.</param>
    /// <param name="path">Its path.</param>
    public static IEnumerable<ManifestProblem> Warnings(ExperimentSpec spec, string path = "spec")
    {
        ArgumentNullException.ThrowIfNull(spec);
        ClipShape map = LastMap(spec.Model.Backbone, spec.Clip.Frames, spec.Clip.Size);
        if (map.Frames < SmallestSide || map.Height < SmallestSide)
        {
            (int frames, int size) = Fitting(spec.Model.Backbone);
            yield return new ManifestProblem(
                $"{path}.clip",
                $"{spec.Clip.Frames} frames of {spec.Clip.Size} pixels leave {spec.Model.Backbone} a last map of {map.Frames}x{map.Height}x{map.Width}, in which motion is hardly seen: give at least {frames} frames of {size} pixels");
        }

        if (BatchNormWarning(spec.Training, map) is { } warning)
        {
            yield return warning with { Path = $"{path}.{warning.Path}" };
        }
    }

    private static ManifestProblem? BatchNormWarning(TrainingSpec training, ClipShape map)
    {
        int shard = training.BatchSize / Math.Max(1, training.Shards);
        int values = shard / Math.Max(1, training.BatchNormGroups) * map.Values;
        return values >= FewestValues ? null
            : training.BatchNormGroups > 1 ? new ManifestProblem("training.batchNormGroups", string.Create(
                CultureInfo.InvariantCulture,
                $"{training.BatchNormGroups} groups normalise keys over {values} values a channel in the last map, which tells the keys apart "
                + $"by their group: {FewestValues} or more are needed, so give {Math.Max(1, shard * map.Values / FewestValues)} or fewer"))
            : training.Shards > 1 ? new ManifestProblem("training.shards", string.Create(
                CultureInfo.InvariantCulture,
                $"batch norm sees {values} values a channel of a shard in the last map; {FewestValues} or more are needed: "
                + $"give larger batches or clips, or fewer shards"))
            : new ManifestProblem("training.batchSize", string.Create(
                CultureInfo.InvariantCulture,
                $"batch norm sees {values} values a channel in the last map; {FewestValues} or more are needed: give larger batches or clips"));
    }

    /// <summary>The smallest clip whose last map has <see cref="SmallestSide"/> in time and space.</summary>
    /// <param name="backbone">The family.</param>
    public static (int Frames, int Size) Fitting(BackboneName backbone) => (
        Enumerable.Range(1, 128).First(frames => LastMap(backbone, frames, 512).Frames >= SmallestSide),
        Enumerable.Range(1, 512).First(size => LastMap(backbone, 128, size).Height >= SmallestSide));
}
