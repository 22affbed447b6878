// Why this exists: nearest-neighbour retrieval is the paper's second measure of a representation; its recalls and what to look at have one
// form.
using CoCLR.Core.Manifests;

namespace CoCLR.Core.Results;

/// <summary>Share of the queries that have a video of their class among the k nearest.</summary>
public sealed record Recall
{
    /// <summary>The number of neighbours looked at.</summary>
    public required int K { get; init; }

    /// <summary>The recall, a fraction in [0, 1].</summary>
    public required double Value { get; init; }

    /// <summary>The recall that a random order of the gallery has on average.</summary>
    public required double Chance { get; init; }
}

/// <summary>Retrieval of training videos by test videos (paper section 4.1, method.md 1e).</summary>
public sealed record RetrievalResult : Outcome
{
    /// <summary>R@1, 5, 10, 20, 50; empty without labels.</summary>
    public required Recall[] Recalls { get; init; }

    /// <summary>
    /// Mean over the queries of the average precision of the whole ranking; null without labels and for galleries above 20,000 videos.
    /// </summary>
    public double? MeanAveragePrecision { get; init; }

    /// <summary>R@1 of each class, by class index; null for a class without queries; empty without labels.</summary>
    public double?[] PerClassRecallAt1 { get; init; } = [];

    /// <summary>Class names, by class index; empty without labels.</summary>
    public string[] ClassNames { get; init; } = [];

    /// <summary>The number of query videos.</summary>
    public required int Queries { get; init; }

    /// <summary>The number of gallery videos.</summary>
    public required int GallerySize { get; init; }

    /// <summary>What stands for a gallery video.</summary>
    public required Gallery Gallery { get; init; }

    /// <summary>Which queries have a video of their class nearest (R@1); null without labels.</summary>
    public VideoHits? Hits { get; init; }

    /// <summary>The artifact with every query's neighbours, relative to the stage's folder.</summary>
    public string? NeighboursFile { get; init; }

    /// <summary>The same measure of the same network, untrained; null when it was not asked for.</summary>
    public RetrievalResult? RandomFeatures { get; init; }

    /// <summary>Recall at <paramref name="k"/>, or null when it was not measured.</summary>
    /// <param name="k">The number of neighbours looked at.</param>
    public double? RecallAt(int k) => Array.Find(Recalls, r => r.K == k)?.Value;
}

/// <summary>The artifact `neighbours.json`: what each query found.</summary>
public sealed record NeighbourTable
{
    /// <summary>The view: `rgb`, `flow` or `two-stream`.</summary>
    public required string View { get; init; }

    /// <summary>What the similarity is: `cosine`, or `sum of two cosines` for two streams.</summary>
    public required string Similarity { get; init; }

    /// <summary>Class names, by class index; empty without labels.</summary>
    public string[] ClassNames { get; init; } = [];

    /// <summary>One entry for each query.</summary>
    public required QueryNeighbours[] Queries { get; init; }
}

/// <summary>A query video and its nearest gallery videos.</summary>
public sealed record QueryNeighbours
{
    /// <summary>The query's video id.</summary>
    public required string Id { get; init; }

    /// <summary>The query's class index, or null when unknown.</summary>
    public int? Label { get; init; }

    /// <summary>The query's class name, or null when unknown.</summary>
    public string? Class { get; init; }

    /// <summary>
    /// Rank of the first neighbour of the query's class in the gallery (the first 1000 of a gallery above 20,000 videos), counted from 1;
    /// null without one.
    /// </summary>
    public int? FirstHit { get; init; }

    /// <summary>Average precision of the whole ranking; null without labels and for galleries above 20,000 videos.</summary>
    public double? AveragePrecision { get; init; }

    /// <summary>The nearest gallery videos, nearest first.</summary>
    public required Neighbour[] Neighbours { get; init; }
}

/// <summary>A gallery video found for a query.</summary>
public sealed record Neighbour
{
    /// <summary>The gallery video's id.</summary>
    public required string Id { get; init; }

    /// <summary>Its class index, or null when unknown.</summary>
    public int? Label { get; init; }

    /// <summary>Its class name, or null when unknown.</summary>
    public string? Class { get; init; }

    /// <summary>The similarity: a cosine in [-1, 1], or the sum of two.</summary>
    public required double Similarity { get; init; }

    /// <summary>The distance shown to people: 1 - cosine (2 - sum for two streams), never negative.</summary>
    public required double Distance { get; init; }

    /// <summary>Whether its class is the query's; null when either is unknown.</summary>
    public bool? Hit { get; init; }
}
