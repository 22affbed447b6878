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

    /// <summary>Quality of the mined positives by epoch; empty unless positives are mined.</summary>
    public MiningQuality[] Mining { get; init; } = [];
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

/// <summary>The artifact `mining.json`: for a few anchors of each epoch, the clips that the other view mined.</summary>
public sealed record MiningTable
{
    /// <summary>The trained view.</summary>
    public required string View { get; init; }

    /// <summary>The view that mines.</summary>
    public required string MiningView { get; init; }

    /// <summary>Class names, by class index; empty without labels.</summary>
    public string[] ClassNames { get; init; } = [];

    /// <summary>Quality by epoch.</summary>
    public MiningQuality[] Quality { get; init; } = [];

    /// <summary>The anchors kept for looking.</summary>
    public required MinedAnchor[] Anchors { get; init; }
}

/// <summary>An anchor and the keys mined for it.</summary>
public sealed record MinedAnchor
{
    /// <summary>The epoch within the stage, counted from 1.</summary>
    public required int Epoch { get; init; }

    /// <summary>The step within the stage.</summary>
    public long Step { get; init; }

    /// <summary>The anchor's video id.</summary>
    public required string Id { get; init; }

    /// <summary>The anchor's class index, or null when unknown.</summary>
    public int? Label { get; init; }

    /// <summary>The mined keys, most similar in the mining view first.</summary>
    public required MinedKey[] Mined { get; init; }
}

/// <summary>A key of the queue that was made a positive.</summary>
public sealed record MinedKey
{
    /// <summary>The key's video id.</summary>
    public required string Id { get; init; }

    /// <summary>Its class index, or null when unknown.</summary>
    public int? Label { get; init; }

    /// <summary>Cosine similarity in the mining view.</summary>
    public required double MiningSimilarity { get; init; }

    /// <summary>Cosine similarity in the trained view: how InfoNCE, for which this is a negative, sees it.</summary>
    public double? TrainedSimilarity { get; init; }

    /// <summary>Rank among the queue's keys in the trained view, counted from 1.</summary>
    public int? TrainedRank { get; init; }

    /// <summary>Age of the key in steps.</summary>
    public long Age { get; init; }

    /// <summary>Whether its class is the anchor's; null when either is unknown.</summary>
    public bool? Hit { get; init; }

    /// <summary>True when it comes from the same source video (a sibling), not from mining.</summary>
    public bool Sibling { get; init; }
}
