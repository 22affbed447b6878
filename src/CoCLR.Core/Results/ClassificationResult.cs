// Why this exists: linear probe, fine-tuning and two-stream fusion all classify videos; their accuracies, confusion and predictions have
// one form.
using CoCLR.Core.Manifests;

namespace CoCLR.Core.Results;

/// <summary>How one test video was classified.</summary>
public sealed record Prediction
{
    /// <summary>The video's id.</summary>
    public required string Id { get; init; }

    /// <summary>The true class index.</summary>
    public required int Label { get; init; }

    /// <summary>The predicted class index.</summary>
    public required int Predicted { get; init; }

    /// <summary>Up to five classes, most probable first.</summary>
    public required int[] Top5 { get; init; }

    /// <summary>Probability of the predicted class, in [0, 1].</summary>
    public double Probability { get; init; }
}

/// <summary>Accuracy of a set of classified videos. All accuracies are fractions in [0, 1].</summary>
public sealed record Accuracy
{
    /// <summary>Share of videos whose most probable class is right.</summary>
    public required double Top1 { get; init; }

    /// <summary>Share of videos whose class is among the five most probable.</summary>
    public required double Top5 { get; init; }

    /// <summary>Accuracy of a uniform guess: 1 / classes.</summary>
    public required double Chance { get; init; }

    /// <summary>The number of videos classified.</summary>
    public required int Videos { get; init; }

    /// <summary>Class names, by class index.</summary>
    public required string[] ClassNames { get; init; }

    /// <summary>Top-1 accuracy of each class; null for a class without test videos.</summary>
    public required double?[] PerClass { get; init; }

    /// <summary>Counts, [true class][predicted class].</summary>
    public required int[][] Confusion { get; init; }
}

/// <summary>Accuracy of the k nearest training videos' vote.</summary>
public sealed record KnnAccuracy
{
    /// <summary>The number of neighbours that vote; at most the number of training videos.</summary>
    public required int K { get; init; }

    /// <summary>`plain` (one vote each) or `weighted` (vote exp(cosine / 0.07), as in instance discrimination).</summary>
    public required string Vote { get; init; }

    /// <summary>Top-1 accuracy, a fraction.</summary>
    public required double Top1 { get; init; }

    /// <summary>Top-5 accuracy, a fraction.</summary>
    public required double Top5 { get; init; }
}

/// <summary>Linear probe: a linear classifier on a frozen backbone (paper section 4.1, method.md 1e).</summary>
public sealed record ProbeResult : Outcome
{
    /// <summary>`features` (classifier on stored features) or `endToEnd` (clips through the frozen backbone each epoch).</summary>
    public required string Mode { get; init; }

    /// <summary>The accuracy on the test videos.</summary>
    public required Accuracy Accuracy { get; init; }

    /// <summary>How the epoch was chosen.</summary>
    public required Selection Selection { get; init; }

    /// <summary>The epoch whose classifier is reported, counted from 1.</summary>
    public required int Epoch { get; init; }

    /// <summary>The number of epochs that the classifier was trained for.</summary>
    public required int Epochs { get; init; }

    /// <summary>
    /// Learning rate it began with: the manifest's, or a tenth, hundredth or thousandth of it where the loss climbed; null where an older
    /// version measured.
    /// </summary>
    public double? LearningRate { get; init; }

    /// <summary>Top-1 accuracy on the training videos of the reported epoch, a fraction.</summary>
    public double TrainTop1 { get; init; }

    /// <summary>Mean training loss of each epoch.</summary>
    public double[] LossPerEpoch { get; init; } = [];

    /// <summary>The kNN probe, for several k; empty when it was not asked for.</summary>
    public KnnAccuracy[] Knn { get; init; } = [];

    /// <summary>How each test video was classified.</summary>
    public Prediction[] Predictions { get; init; } = [];

    /// <summary>Which test videos were classified right; null where an older version measured.</summary>
    public VideoHits? Hits { get; init; }

    /// <summary>The same measure of the same network, untrained; null when it was not asked for.</summary>
    public ProbeResult? RandomFeatures { get; init; }
}

/// <summary>Fine-tuning: backbone and classifier trained together (paper section 4.1, method.md 1e).</summary>
public sealed record FineTuneResult : Outcome
{
    /// <summary>The accuracy on the test videos, softmax averaged over clips and crops.</summary>
    public required Accuracy Accuracy { get; init; }

    /// <summary>How the epoch was chosen.</summary>
    public required Selection Selection { get; init; }

    /// <summary>The epoch whose network is reported, counted from 1.</summary>
    public required int Epoch { get; init; }

    /// <summary>The number of epochs trained.</summary>
    public required int Epochs { get; init; }

    /// <summary>Mean training loss of each epoch.</summary>
    public double[] LossPerEpoch { get; init; } = [];

    /// <summary>How each test video was classified.</summary>
    public Prediction[] Predictions { get; init; } = [];
}

/// <summary>Two streams together: mean of the two softmax vectors, sum of the two cosine similarities (method.md 1e).</summary>
public sealed record FusionResult : Outcome
{
    /// <summary>Linear probes fused, or null without labels or probes.</summary>
    public Accuracy? Probe { get; init; }

    /// <summary>How the fused probes' epochs were chosen; the more optimistic of the two.</summary>
    public Selection Selection { get; init; }

    /// <summary>Fine-tuned networks fused, or null when they were not trained.</summary>
    public Accuracy? FineTune { get; init; }

    /// <summary>Retrieval with the sum of the similarities, or null when it was not asked for.</summary>
    public RetrievalResult? Retrieval { get; init; }

    /// <summary>How each test video was classified by the fused probes (or fine-tuned networks, without probes).</summary>
    public Prediction[] Predictions { get; init; } = [];

    /// <summary>Which test videos the fused probes classified right; null without probes.</summary>
    public VideoHits? Hits { get; init; }

    /// <summary>The same measure of the two untrained networks; null when it was not asked for.</summary>
    public FusionResult? RandomFeatures { get; init; }
}
