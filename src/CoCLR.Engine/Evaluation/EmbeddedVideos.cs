// Why this exists: `coclr embed` leaves features of any videos in a folder, and `coclr search` finds a video's nearest among them, without
// the data set or the run.
using CoCLR.Core;
using CoCLR.Core.Manifests;
using CoCLR.Core.Results;
using CoCLR.Engine.Features;
using CoCLR.Engine.Flow;
using CoCLR.Engine.Training;
using CoCLR.Engine.Video.Decoding;
using CoCLR.Runs;

namespace CoCLR.Engine.Evaluation;

/// <summary>How the features of a collection were made; a query must be made the same way.</summary>
public sealed record EmbeddingModel
{
    /// <summary>The network, as named in the checkpoint (for example `S3D`).</summary>
    public required string Architecture { get; init; }

    /// <summary>The view: `rgb` or `flow`.</summary>
    public required string View { get; init; }

    /// <summary>The checkpoint's path when the collection was made.</summary>
    public required string Checkpoint { get; init; }

    /// <summary>SHA-256 of the checkpoint, hexadecimal.</summary>
    public required string CheckpointSha256 { get; init; }

    /// <summary>Frames of a clip.</summary>
    public required int Frames { get; init; }

    /// <summary>Native frames from one frame of a clip to the next.</summary>
    public required int FrameStride { get; init; }

    /// <summary>Side of the square input in pixels.</summary>
    public required int Resolution { get; init; }

    /// <summary>Mean of the pixel values that the input was normalised with, in [0, 1], by channel.</summary>
    public double[] PixelMean { get; init; } = [0.485, 0.456, 0.406];

    /// <summary>Standard deviation of the same.</summary>
    public double[] PixelDeviation { get; init; } = [0.229, 0.224, 0.225];

    /// <summary>Crops averaged: `center`, `five` or `ten`.</summary>
    public string Crops { get; init; } = "center";

    /// <summary>Short side of the stored frames in pixels; 1.15 times the resolution where null.</summary>
    public int? StoredSize { get; init; }

    /// <summary>Frames per second of the stored frames; the video's own rate where null.</summary>
    public int? FrameRate { get; init; }

    /// <summary>How flow is computed.</summary>
    public FlowAlgorithm FlowAlgorithm { get; init; } = FlowAlgorithm.TvL1;

    /// <summary>Largest displacement in pixels.</summary>
    public double FlowBound { get; init; } = FlowOptions.PublishedBound;

    /// <summary>Short side at most of the frames that flow is computed on; 0: the stored frames.</summary>
    public int FlowSize { get; init; }

    /// <summary>Whether the median displacement of each frame is subtracted.</summary>
    public bool FlowCenter { get; init; }

    /// <summary>What a query has to look like.</summary>
    public InputDescription Input() =>
        new(
            View,
            Frames,
            FrameStride,
            Resolution,
            StoredSize ?? DecodeSettings.ShortSideFor(Resolution),
            FrameRate,
            FlowAlgorithm,
            FlowBound,
            FlowSize,
            FlowCenter);
}

/// <summary>A video found in a collection.</summary>
/// <param name="Rank">From 1.</param>
/// <param name="Id">Its id.</param>
/// <param name="Path">Its file when the collection was made.</param>
/// <param name="Class">Its class, or null.</param>
/// <param name="Similarity">Cosine after centring, in [-1, 1].</param>
/// <param name="Distance">1 - similarity, never negative.</param>
public sealed record CollectionHit(int Rank, string Id, string Path, string? Class, double Similarity, double Distance);

/// <summary>Features of videos with all that a search needs: `features.npy` (N x D float32, as extracted) and `index.json`.</summary>
public sealed class EmbeddedVideos : IDisposable
{
    private const int CurrentFormat = 1;
    private readonly Lazy<ExactSearch> _search;
    private readonly float[] _mean;

    /// <summary>Makes a collection in memory.</summary>
    /// <param name="features">The features.</param>
    /// <param name="paths">Each video's file.</param>
    /// <param name="model">How they were made.</param>
    /// <exception cref="UserErrorException">There are no videos (65).</exception>
    public EmbeddedVideos(FeatureSet features, string[] paths, EmbeddingModel model)
        : this(features, paths, model, null)
    {
    }

    private EmbeddedVideos(FeatureSet features, string[] paths, EmbeddingModel model, float[]? mean)
    {
        ArgumentNullException.ThrowIfNull(features);
        ArgumentNullException.ThrowIfNull(paths);
        ArgumentNullException.ThrowIfNull(model);
        if (features.Count == 0)
        {
            throw new UserErrorException("a collection needs at least one video: none could be embedded.", ExitCodes.BadData);
        }

        if (paths.Length != features.Count || (mean is not null && mean.Length != features.Dimension))
        {
            throw new UserErrorException($"the collection has {features.Count} features of {features.Dimension} values but {paths.Length} "
                + $"paths and a mean of {mean?.Length} values: embed the videos again.", ExitCodes.BadData);
        }

        Features = features;
        Paths = paths;
        Model = model;
        _mean = mean ?? features.Mean();
        _search = new Lazy<ExactSearch>(() => new ExactSearch(Features.Centred(_mean), Features.Dimension));
    }

    /// <summary>The features as extracted.</summary>
    public FeatureSet Features { get; }

    /// <summary>Each video's file.</summary>
    public string[] Paths { get; }

    /// <summary>How the features were made.</summary>
    public EmbeddingModel Model { get; }

    /// <summary>Reads a collection.</summary>
    /// <param name="folder">What `coclr embed` wrote.</param>
    /// <exception cref="UserErrorException">A file is missing (66), damaged, or of a newer version (65).</exception>
    public static EmbeddedVideos Open(string folder)
    {
        var path = Path.Combine(folder, "index.json");
        if (!File.Exists(path))
        {
            throw new UserErrorException(
                $"{path} is missing: {folder} is not a collection. Make one with `coclr embed`.", ExitCodes.MissingInput);
        }

        var index = ResultJson.Read<CollectionIndex>(File.ReadAllText(path), path);
        if (index.Format != CurrentFormat)
        {
            throw new UserErrorException(
                $"{path} has format {index.Format}, this version reads format {CurrentFormat}: embed the videos again.", ExitCodes.BadData);
        }

        var (values, shape) = Npy.ReadFloat32(Path.Combine(folder, "features.npy"));
        if (shape.Length != 2 || shape[0] != index.Ids.Length)
        {
            throw new UserErrorException($"{Path.Combine(folder, "features.npy")} has the shape ({string.Join(", ", shape)}) but {path} "
                + $"names {index.Ids.Length} videos: embed the videos again.", ExitCodes.BadData);
        }

        return new EmbeddedVideos(new FeatureSet(index.Ids, values, index.Labels, index.ClassNames), index.Paths, index.Model, index.Mean);
    }

    /// <summary>Writes the collection; the index comes last, so that a folder with an index is whole.</summary>
    /// <param name="folder">Where to.</param>
    /// <exception cref="UserErrorException">The folder cannot be written (1).</exception>
    public void Save(string folder)
    {
        WholeFile.Write(
            Path.Combine(folder, "features.npy"), stream => Npy.Write(stream, Features.Values, Features.Count, Features.Dimension));
        var index = new CollectionIndex
        {
            Format = CurrentFormat,
            Model = Model,
            Mean = _mean,
            ClassNames = Features.ClassNames,
            Labels = Features.Labels,
            Ids = Features.Ids,
            Paths = Paths,
        };
        WholeFile.WriteText(Path.Combine(folder, "index.json"), ResultJson.Write(index));
    }

    /// <summary>Refuses a query network that is not the collection's.</summary>
    /// <param name="checkpointSha256">SHA-256 of the query's checkpoint, hexadecimal.</param>
    /// <exception cref="UserErrorException">It is another (78).</exception>
    public void RequireCheckpoint(string checkpointSha256)
    {
        if (!string.Equals(checkpointSha256, Model.CheckpointSha256, StringComparison.OrdinalIgnoreCase))
        {
            throw new UserErrorException(
                $"the collection was made with another checkpoint ({Model.Checkpoint}, SHA-256 {Short(Model.CheckpointSha256)}) than the "
                    + $"query ({Short(checkpointSha256)}): their features cannot be compared. Use that checkpoint or embed "
                        + $"the videos again.",
                ExitCodes.BadConfiguration);
        }

        static string Short(string hash) => hash.Length > 12 ? hash[..12] + "…" : hash;
    }

    /// <summary>The nearest videos of one query: centred by the collection's mean, scaled to length 1, largest cosine first.</summary>
    /// <param name="query">D values, as extracted.</param>
    /// <param name="k">How many; all where k is larger.</param>
    /// <exception cref="UserErrorException">The query has another length or is not finite (65).</exception>
    public IReadOnlyList<CollectionHit> Search(float[] query, int k)
    {
        ArgumentNullException.ThrowIfNull(query);
        if (query.Length != Features.Dimension)
        {
            throw new UserErrorException($"the query has {query.Length} values, the collection's features {Features.Dimension}: they come "
                + $"from different networks. Use the collection's checkpoint.", ExitCodes.BadData);
        }

        var centred = new FeatureSet(["the query"], query).Centred(_mean);
        return
        [
            .. _search.Value.Search(centred, k)[0].Select((hit, i) => new CollectionHit(
                i + 1, Features.Ids[hit.Index], Paths[hit.Index], Features.ClassOf(hit.Index), Math.Round(hit.Score, 6),
                Math.Round(Math.Max(0, 1.0 - hit.Score), 6))),
        ];
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        if (_search.IsValueCreated)
        {
            _search.Value.Dispose();
        }
    }

    private sealed record CollectionIndex
    {
        public required int Format { get; init; }

        public required EmbeddingModel Model { get; init; }

        public required float[] Mean { get; init; }

        public required string[] ClassNames { get; init; }

        public int[]? Labels { get; init; }

        public required string[] Ids { get; init; }

        public required string[] Paths { get; init; }
    }
}
