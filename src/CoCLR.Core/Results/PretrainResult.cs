// Why this exists: the heart of co-training is which clips the other view mines; its quality is measured and kept here (method.md part 2).
namespace CoCLR.Core.Results;

/// <summary>What a contrastive training stage ended with.</summary>
public sealed record PretrainResult : Outcome
{
    /// <summary>Epochs trained in this stage.</summary>
    public required int Epochs { get; init; }

    /// <summary>Optimizer steps in this stage.</summary>
    public required long Steps { get; init; }

    /// <summary>Mean loss of the last epoch.</summary>
    public required double Loss { get; init; }

    /// <summary>Top-1 of the pretext task in the last epoch, a fraction.</summary>
    public required double PretextTop1 { get; init; }

    /// <summary>Top-5 of the pretext task in the last epoch, a fraction.</summary>
    public double PretextTop5 { get; init; }

    /// <summary>Clips through the query encoder each second, median over the epochs.</summary>
    public double ClipsPerSecond { get; init; }

    /// <summary>Share of the time that steps waited for data, in [0, 1].</summary>
    public double WaitShare { get; init; }

    /// <summary>How the representation did while it was learned, on training videos alone; empty unless monitored.</summary>
    public MonitorPoint[] Monitor { get; init; } = [];

    /// <summary>Quality of the mined positives by epoch; empty unless positives are mined.</summary>
    public MiningQuality[] Mining { get; init; } = [];
}

/// <summary>One look at the representation while it is learned (method.md part 2). No test video is looked at.</summary>
public sealed record MonitorPoint
{
    /// <summary>Epochs completed in the stage; 0 before the first.</summary>
    public required int Epoch { get; init; }

    /// <summary>kNN top-1 of held-out training videos among those of other groups, a fraction; null without labels.</summary>
    public double? Knn { get; init; }

    /// <summary>R@1 of the same; null without labels.</summary>
    public double? RecallAt1 { get; init; }

    /// <summary>Effective rank of the features.</summary>
    public required double EffectiveRank { get; init; }

    /// <summary>Mean squared distance of the embeddings of two clips of a video.</summary>
    public required double Alignment { get; init; }

    /// <summary>Logarithm of the mean of exp(-2 d²) over pairs of videos.</summary>
    public required double Uniformity { get; init; }

    /// <summary>True when all embeddings are alike.</summary>
    public bool Collapsed { get; init; }

    /// <summary>Seconds that the measurement took.</summary>
    public double Seconds { get; init; }
}

/// <summary>How good the positives were that the other view mined in one epoch (method.md 1a, part 2).</summary>
public sealed record MiningQuality
{
    /// <summary>The epoch within the stage, counted from 1.</summary>
    public required int Epoch { get; init; }

    /// <summary>Share of the mined keys whose class is the anchor's; null without labels.</summary>
    public double? Precision { get; init; }

    /// <summary>The precision that random keys of the queue would have had; null without labels.</summary>
    public double? ChancePrecision { get; init; }

    /// <summary>Share of the mined keys that the trained view's own nearest keys (same number) contain too.</summary>
    public double? Agreement { get; init; }

    /// <summary>Mined keys for each anchor, mean.</summary>
    public double MinedPerAnchor { get; init; }

    /// <summary>Keys of the same source video for each anchor, mean.</summary>
    public double SiblingsPerAnchor { get; init; }

    /// <summary>Age of the mined keys in steps, mean.</summary>
    public double MeanQueueAge { get; init; }

    /// <summary>Age of the oldest key in the queue in steps.</summary>
    public double OldestQueueAge { get; init; }
}
