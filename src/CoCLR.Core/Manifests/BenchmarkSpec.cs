// Why this exists: what a person writes in a CoCLRBenchmark manifest: one experiment, varied along named axes and over seeds.
using System.Text.Json.Serialization;

namespace CoCLR.Core.Manifests;

/// <summary>A suite: a template experiment, varied along the axes of a matrix and over seeds.</summary>
public sealed record BenchmarkSpec
{
    /// <summary>The experiment that is varied.</summary>
    [RequiredField]
    public ExperimentSpec Template { get; init; } = new();

    /// <summary>The axes; every combination of their values is one cell.</summary>
    [Bounds(0, 6), ListKey("name")]
    public IReadOnlyList<MatrixAxis> Matrix { get; init; } = [];

    /// <summary>Combinations that are left out.</summary>
    [Bounds(0, 64)]
    public IReadOnlyList<MatrixExclusion> Exclude { get; init; } = [];

    /// <summary>Seeds; every cell is run once for each.</summary>
    [Bounds(1, 32), ListKey]
    public IReadOnlyList<int> Seeds { get; init; } = [0];

    /// <summary>Experiments at once.</summary>
    [MutableField, Bounds(1, 100)]
    public int Parallelism { get; init; } = 1;

    /// <summary>What one failed experiment means for the rest.</summary>
    [MutableField]
    public FailurePolicy FailurePolicy { get; init; } = FailurePolicy.Continue;

    /// <summary>What happens to experiments that an edit of the suite no longer names.</summary>
    [MutableField]
    public PrunePolicy Prune { get; init; } = PrunePolicy.Keep;

    /// <summary>The cell that others are compared with.</summary>
    [Bounds(0, 6), ListKey("axis")]
    public IReadOnlyList<AxisValue> Baseline { get; init; } = [];

    /// <summary>Stop every experiment of the suite after a checkpoint.</summary>
    [MutableField, ClusterOnly]
    public bool Suspend { get; init; }
}

/// <summary>One axis of the matrix.</summary>
public sealed record MatrixAxis
{
    /// <summary>Name in tables.</summary>
    [RequiredField, Bounds(1, 63), Pattern(@"^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$", "a short name")]
    public string Name { get; init; } = "";

    /// <summary>Field of the template, such as training.method or cotrain.topK.</summary>
    [RequiredField, Bounds(1, 128), Pattern(@"^[a-z][A-Za-z0-9]*(\.[a-z][A-Za-z0-9]*)*$", "a field path such as training.method")]
    public string Field { get; init; } = "";

    /// <summary>Values, written as strings; numbers and lists are read as the field's type asks.</summary>
    [RequiredField, Bounds(1, 32), ListKey]
    public IReadOnlyList<string> Values { get; init; } = [];

    /// <summary>The table takes the mean over the values, as over the folds or official splits of a data set (field dataset.split).</summary>
    public bool Mean { get; init; }
}

/// <summary>A combination that is left out: all of its values must match.</summary>
public sealed record MatrixExclusion
{
    /// <summary>Axis values.</summary>
    [RequiredField, Bounds(1, 6), ListKey("axis")]
    public IReadOnlyList<AxisValue> Match { get; init; } = [];
}

/// <summary>A value of an axis.</summary>
public sealed record AxisValue
{
    /// <summary>Name of the axis.</summary>
    [RequiredField, Bounds(1, 63)]
    public string Axis { get; init; } = "";

    /// <summary>Value as written in the axis.</summary>
    [RequiredField, Bounds(0, 128)]
    public string Value { get; init; } = "";
}

/// <summary>What one failed experiment means for the rest of a suite.</summary>
public enum FailurePolicy
{
    /// <summary>The others go on; the suite ends as failed.</summary>
    Continue,

    /// <summary>The others are stopped.</summary>
    Stop,
}

/// <summary>What happens to experiments that an edit of the suite no longer names.</summary>
public enum PrunePolicy
{
    /// <summary>What has run is kept with its results and checkpoints, and stopped if it still runs; naming it again continues it. Only what has not started is deleted.</summary>
    [JsonStringEnumMemberName("keep")] Keep,

    /// <summary>Deleted with their claims, whatever they have learned; an event names those that had results.</summary>
    [JsonStringEnumMemberName("delete")] Delete,
}
