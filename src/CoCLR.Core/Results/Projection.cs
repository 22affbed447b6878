// Why this exists: the page that shows features as a map needs points with their classes and predictions, in one form for PCA and t-SNE.
namespace CoCLR.Core.Results;

/// <summary>The artifact `projection.json`: features as points in the plane.</summary>
public sealed record Projection
{
    /// <summary>The view: `rgb`, `flow` or `two-stream`.</summary>
    public required string View { get; init; }

    /// <summary>`pca` or `tsne`.</summary>
    public required string Method { get; init; }

    /// <summary>Class names, by class index; empty without labels.</summary>
    public string[] ClassNames { get; init; } = [];

    /// <summary>PCA: share of the variance on the two axes; null for t-SNE.</summary>
    public double[]? ExplainedVariance { get; init; }

    /// <summary>The points.</summary>
    public required ProjectedVideo[] Points { get; init; }
}

/// <summary>A video as a point.</summary>
public sealed record ProjectedVideo
{
    /// <summary>The video's id.</summary>
    public required string Id { get; init; }

    /// <summary>`train` or `test`.</summary>
    public required string Split { get; init; }

    /// <summary>The class index, or null when unknown.</summary>
    public int? Label { get; init; }

    /// <summary>The class that the probe predicted, or null when it was not classified.</summary>
    public int? Predicted { get; init; }

    /// <summary>First coordinate, in [-1, 1].</summary>
    public required double X { get; init; }

    /// <summary>Second coordinate, in [-1, 1].</summary>
    public required double Y { get; init; }
}

/// <summary>The artifact `confusion.json`: counts with the videos behind every cell that is not empty.</summary>
public sealed record ConfusionTable
{
    /// <summary>The view: `rgb`, `flow` or `two-stream`.</summary>
    public required string View { get; init; }

    /// <summary>Class names, by class index.</summary>
    public required string[] ClassNames { get; init; }

    /// <summary>Counts, [true class][predicted class].</summary>
    public required int[][] Counts { get; init; }

    /// <summary>The videos of every cell that is not empty, by true class and predicted class.</summary>
    public required ConfusionCell[] Cells { get; init; }
}

/// <summary>The videos of one cell of a confusion matrix.</summary>
public sealed record ConfusionCell
{
    /// <summary>The true class index.</summary>
    public required int Label { get; init; }

    /// <summary>The predicted class index.</summary>
    public required int Predicted { get; init; }

    /// <summary>Ids of the videos.</summary>
    public required string[] Ids { get; init; }
}
