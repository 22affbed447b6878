// Why this exists: what `kubectl get` and `describe` show of a suite: counts and the result table.
using System.Text.Json.Serialization;

namespace CoCLR.Core.Manifests.Status;

/// <summary>What is observed of a suite.</summary>
public sealed record BenchmarkStatus
{
    /// <summary>Generation of the spec that this status is about; -1 until the operator has seen the suite.</summary>
    [Bounds(-1, long.MaxValue)]
    public long ObservedGeneration { get; init; } = -1;

    /// <summary>State in one word.</summary>
    public ExperimentState? State { get; init; }

    /// <summary>
    /// Conditions: Ready, Reconciling, Stalled, Succeeded, Suspended, Accepted, Running, and Met where the suite expects something.
    /// </summary>
    [Bounds(0, 16), ListKey("type")]
    public IReadOnlyList<Condition> Conditions { get; init; } = [];

    /// <summary>Experiments of the suite.</summary>
    [Bounds(0, 100000)]
    public int? Total { get; init; }

    /// <summary>Experiments that have not been started.</summary>
    [Bounds(0, 100000)]
    public int? Pending { get; init; }

    /// <summary>Experiments under way.</summary>
    [Bounds(0, 100000)]
    public int? Active { get; init; }

    /// <summary>Experiments that succeeded.</summary>
    [Bounds(0, 100000)]
    public int? Succeeded { get; init; }

    /// <summary>Experiments that failed.</summary>
    [Bounds(0, 100000)]
    public int? Failed { get; init; }

    /// <summary>Finished of all, such as 3/4.</summary>
    [Bounds(0, 32)]
    public string? Finished { get; init; }

    /// <summary>One row for each cell of the matrix and view.</summary>
    [Bounds(0, 256)]
    public IReadOnlyList<BenchmarkRow> Results { get; init; } = [];

    /// <summary>Whether rows were left out because the table is long; the dashboard has all.</summary>
    public bool? Truncated { get; init; }

    /// <summary>How each expectation stands in each cell that it is about; those that are not met first.</summary>
    [Bounds(0, 64)]
    public IReadOnlyList<ExpectationStatus> Expectations { get; init; } = [];

    /// <summary>The best cell, in words.</summary>
    [Bounds(0, 253)]
    public string? Best { get; init; }

    /// <summary>When the first experiment was made.</summary>
    [JsonConverter(typeof(NullableSecondsConverter))]
    public DateTimeOffset? StartTime { get; init; }

    /// <summary>When the last experiment ended.</summary>
    [JsonConverter(typeof(NullableSecondsConverter))]
    public DateTimeOffset? CompletionTime { get; init; }

    /// <summary>A condition, or null.</summary>
    /// <param name="type">One of <see cref="ConditionTypes"/>.</param>
    public Condition? Condition(string type) => Conditions.FirstOrDefault(c => c.Type == type);
}

/// <summary>How an expectation stands in a cell.</summary>
public sealed record ExpectationStatus
{
    /// <summary>Whether it is met; Unknown until every seed has its result.</summary>
    [RequiredField]
    public ConditionStatus Met { get; init; }

    /// <summary>In words.</summary>
    [RequiredField, Bounds(0, 512)]
    public string Text { get; init; } = "";
}

/// <summary>A row of the result table: a cell and a view, over its seeds.</summary>
public sealed record BenchmarkRow
{
    /// <summary>Values of the axes, such as method=CoCLR, topK=5.</summary>
    [RequiredField, Bounds(0, 1024)]
    public string Cell { get; init; } = "";

    /// <summary>rgb, flow or two-stream.</summary>
    [RequiredField, Bounds(1, 16)]
    public string View { get; init; } = "";

    /// <summary>Seeds with a result.</summary>
    [Bounds(0, 100)]
    public int Seeds { get; init; }

    /// <summary>Whether it is the baseline.</summary>
    public bool? Baseline { get; init; }

    /// <summary>Linear probe, top-1.</summary>
    public MeasureStatus? LinearProbeTop1 { get; init; }

    /// <summary>Fine-tuning, top-1.</summary>
    public MeasureStatus? FinetuneTop1 { get; init; }

    /// <summary>Retrieval recall at 1.</summary>
    public MeasureStatus? RecallAt1 { get; init; }

    /// <summary>Retrieval recall at 5.</summary>
    public MeasureStatus? RecallAt5 { get; init; }

    /// <summary>Retrieval recall at 10.</summary>
    public MeasureStatus? RecallAt10 { get; init; }
}

/// <summary>A measure over seeds; fractions as decimal strings.</summary>
public sealed record MeasureStatus
{
    /// <summary>Mean over the seeds.</summary>
    [RequiredField, Bounds(1, 32)]
    public string Mean { get; init; } = "";

    /// <summary>Sample standard deviation over the seeds; absent with one seed.</summary>
    [Bounds(1, 32)]
    public string? Std { get; init; }

    /// <summary>Difference of the means to the baseline, with its sign.</summary>
    [Bounds(1, 32)]
    public string? Difference { get; init; }

    /// <summary>For people, such as 61.2 ± 0.4.</summary>
    [Bounds(1, 64)]
    public string? Text { get; init; }
}
