// Why this exists: every stage ends with one `result.json` of one form, whatever it measured, so that the report, the dashboard and scripts
// read all stages alike.
using System.Text.Json.Serialization;

namespace CoCLR.Core.Results;

/// <summary>What a stage measured and under which conditions: the whole of `RUN/stages/NAME/result.json`.</summary>
public sealed record StageResult
{
    /// <summary>The stage's name in the plan, for example `probe-rgb` or `cycle-1-flow`.</summary>
    public required string Stage { get; init; }

    /// <summary>The view: `rgb`, `flow` or `two-stream`.</summary>
    public required string View { get; init; }

    /// <summary>
    /// How the representation was learned: `InfoNCE`, `UberNCE`, `CMC`, `CoCLR`, or `Random features` for an untrained network.
    /// </summary>
    public required string Method { get; init; }

    /// <summary>The data set's name.</summary>
    public required string DataSet { get; init; }

    /// <summary>The split evaluated, for example `1` or `test`.</summary>
    public string? Split { get; init; }

    /// <summary>Epochs that the evaluated representation was trained for, all stages before it together; 0 for random features.</summary>
    public int EpochsTrained { get; init; }

    /// <summary>The seed of the run.</summary>
    public long Seed { get; init; }

    /// <summary>The device in words, for example `CPU (2 threads)` or `NVIDIA H100`.</summary>
    public required string Device { get; init; }

    /// <summary>Wall time of the stage in seconds, all attempts together.</summary>
    public double WallSeconds { get; init; }

    /// <summary>When the stage ended (UTC).</summary>
    public DateTimeOffset? FinishedAt { get; init; }

    /// <summary>True when `training.compatibility: reference` was set (method.md part 2).</summary>
    public bool ReferenceCompatible { get; init; }

    /// <summary>What was measured; its `kind` says which record it is.</summary>
    public required Outcome Outcome { get; init; }
}

/// <summary>What one stage measured. In JSON the property `kind` tells the records apart.</summary>
[JsonPolymorphic(TypeDiscriminatorPropertyName = "kind")]
[JsonDerivedType(typeof(DataResult), "data")]
[JsonDerivedType(typeof(PretrainResult), "pretrain")]
[JsonDerivedType(typeof(ProbeResult), "probe")]
[JsonDerivedType(typeof(FineTuneResult), "fineTune")]
[JsonDerivedType(typeof(RetrievalResult), "retrieval")]
[JsonDerivedType(typeof(FusionResult), "fusion")]
[JsonDerivedType(typeof(SkippedResult), "skipped")]
public abstract record Outcome;
