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

    /// <summary>
    /// What the results must be. A suite that has ended and whose results are not so has failed: condition Met, and the exit code of
    /// `coclr run`.
    /// </summary>
    [MutableField, Bounds(0, 32)]
    public IReadOnlyList<Expectation> Expect { get; init; } = [];

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

    /// <summary>
    /// The table takes the mean over the values, as over the folds or official splits of a data set (field dataset.split).
    /// </summary>
    public bool Mean { get; init; }
}

/// <summary>What a measure must be, as its mean over the seeds.</summary>
[CelRule("has(self.minimum) || has(self.minimumDifference)", BenchmarkRules.NoBound)]
public sealed record Expectation
{
    /// <summary>Axis values of the cells that it is about; every cell when absent.</summary>
    [Bounds(0, 6), ListKey("axis")]
    public IReadOnlyList<AxisValue> Cell { get; init; } = [];

    /// <summary>View of the result.</summary>
    public ResultView View { get; init; } = ResultView.Rgb;

    /// <summary>Measure, a fraction from 0 to 1.</summary>
    [RequiredField]
    public ResultMeasure Measure { get; init; }

    /// <summary>Smallest mean over the seeds.</summary>
    [DecimalString(0, 1)]
    public string? Minimum { get; init; }

    /// <summary>Smallest difference of the mean to that of the baseline's cell; -0.02 allows to be two points worse.</summary>
    [DecimalString(-1, 1)]
    public string? MinimumDifference { get; init; }
}

/// <summary>Views of a result.</summary>
public enum ResultView
{
    /// <summary>Colour frames.</summary>
    [JsonStringEnumMemberName("rgb")] Rgb,

    /// <summary>Optical flow.</summary>
    [JsonStringEnumMemberName("flow")] Flow,

    /// <summary>Both, fused.</summary>
    [JsonStringEnumMemberName("two-stream")] TwoStream,
}

/// <summary>Measures of a result.</summary>
public enum ResultMeasure
{
    /// <summary>Linear probe, top-1.</summary>
    [JsonStringEnumMemberName("linearProbeTop1")] LinearProbeTop1,

    /// <summary>Linear probe, top-5.</summary>
    [JsonStringEnumMemberName("linearProbeTop5")] LinearProbeTop5,

    /// <summary>KNN probe, top-1.</summary>
    [JsonStringEnumMemberName("knnTop1")] KnnTop1,

    /// <summary>Fine-tuning, top-1.</summary>
    [JsonStringEnumMemberName("finetuneTop1")] FinetuneTop1,

    /// <summary>Retrieval recall at 1.</summary>
    [JsonStringEnumMemberName("recallAt1")] RecallAt1,

    /// <summary>Retrieval recall at 5.</summary>
    [JsonStringEnumMemberName("recallAt5")] RecallAt5,

    /// <summary>Retrieval recall at 10.</summary>
    [JsonStringEnumMemberName("recallAt10")] RecallAt10,
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
    /// <summary>
    /// What has run is kept with its results and checkpoints, and stopped if it still runs; naming it again continues it. Only what has not
    /// started is deleted.
    /// </summary>
    [JsonStringEnumMemberName("keep")] Keep,

    /// <summary>Deleted with their claims, whatever they have learned; an event names those that had results.</summary>
    [JsonStringEnumMemberName("delete")] Delete,
}
