// Why this exists: what `kubectl get`, `describe` and `wait` show of an experiment: small, bounded, no floats. History lives in the dashboard.
using System.Text.Json.Serialization;

namespace CoCLR.Core.Manifests.Status;

/// <summary>What is observed of an experiment.</summary>
public sealed record ExperimentStatus
{
    /// <summary>Generation of the spec that this status is about; -1 until the operator has seen the experiment.</summary>
    [Bounds(-1, long.MaxValue)]
    public long ObservedGeneration { get; init; } = -1;

    /// <summary>State in one word.</summary>
    public ExperimentState? State { get; init; }

    /// <summary>Stage that runs or comes next; several with commas between them.</summary>
    [Bounds(0, 253)]
    public string? Stage { get; init; }

    /// <summary>Id of the run: its folder on the claim, and its name in the dashboard.</summary>
    [Bounds(0, 63)]
    public string? Run { get; init; }

    /// <summary>Image of the stages as a node has resolved it, with its digest.</summary>
    [Bounds(0, 1024)]
    public string? Image { get; init; }

    /// <summary>Conditions: Ready, Reconciling, Stalled, Succeeded, Suspended, Accepted, Admitted, Running, Healthy, Interrupted.</summary>
    [Bounds(0, 16), ListKey("type")]
    public IReadOnlyList<Condition> Conditions { get; init; } = [];

    /// <summary>How far the experiment is.</summary>
    public ProgressStatus? Progress { get; init; }

    /// <summary>State of each stage.</summary>
    [Bounds(0, 64), ListKey("name")]
    public IReadOnlyList<StageStatus> Stages { get; init; } = [];

    /// <summary>Results per view.</summary>
    [Bounds(0, 4), ListKey("view")]
    public IReadOnlyList<ResultStatus> Results { get; init; } = [];

    /// <summary>The best result, in words.</summary>
    [Bounds(0, 64)]
    public string? Best { get; init; }

    /// <summary>Restarts of stages.</summary>
    public RestartStatus? Restarts { get; init; }

    /// <summary>Queue that admits the Jobs.</summary>
    [Bounds(0, 63)]
    public string? Queue { get; init; }

    /// <summary>GPUs that running stages hold.</summary>
    [Bounds(0, 1024)]
    public int? Gpus { get; init; }

    /// <summary>Page of the run in the dashboard.</summary>
    [Bounds(0, 1024)]
    public string? DashboardUrl { get; init; }

    /// <summary>Whether the dashboard has not got everything that the stages told; once the experiment has ended, a Job sends the rest.</summary>
    public bool? Undelivered { get; init; }

    /// <summary>When the first stage was started.</summary>
    [JsonConverter(typeof(NullableSecondsConverter))]
    public DateTimeOffset? StartTime { get; init; }

    /// <summary>When the experiment ended.</summary>
    [JsonConverter(typeof(NullableSecondsConverter))]
    public DateTimeOffset? CompletionTime { get; init; }

    /// <summary>Seconds in which a pod ran, up to activeSince.</summary>
    [Bounds(0, long.MaxValue)]
    public long? ActiveSeconds { get; init; }

    /// <summary>Since when a pod runs.</summary>
    [JsonConverter(typeof(NullableSecondsConverter))]
    public DateTimeOffset? ActiveSince { get; init; }

    /// <summary>Value of the annotation coclr.dev/retry that was acted upon.</summary>
    [Bounds(0, 63)]
    public string? Retry { get; init; }

    /// <summary>A condition, or null.</summary>
    /// <param name="type">One of <see cref="ConditionTypes"/>.</param>
    public Condition? Condition(string type) => Conditions.FirstOrDefault(c => c.Type == type);

    /// <summary>Whether the condition is there and true.</summary>
    /// <param name="type">One of <see cref="ConditionTypes"/>.</param>
    public bool Is(string type) => Condition(type)?.Status == ConditionStatus.True;
}

/// <summary>State of an experiment in one word, for people; scripts use the conditions.</summary>
public enum ExperimentState
{
    /// <summary>Being looked at.</summary>
    Pending,

    /// <summary>Something it refers to is missing.</summary>
    Waiting,

    /// <summary>Waits for its queue.</summary>
    Queued,

    /// <summary>Its pod is being scheduled or its image pulled.</summary>
    Starting,

    /// <summary>A stage runs.</summary>
    Training,

    /// <summary>A stage is being started again.</summary>
    Restarting,

    /// <summary>Being suspended.</summary>
    Suspending,

    /// <summary>Suspended.</summary>
    Suspended,

    /// <summary>Done.</summary>
    Succeeded,

    /// <summary>Failed for good.</summary>
    Failed,

    /// <summary>Cannot start: its spec is invalid or a name is taken.</summary>
    Stalled,
}

/// <summary>How far an experiment is.</summary>
public sealed record ProgressStatus
{
    /// <summary>Percent of the whole experiment.</summary>
    [Bounds(0, 100)]
    public int Percent { get; init; }

    /// <summary>The same for a column, such as 42%.</summary>
    [Bounds(0, 16)]
    public string? Text { get; init; }

    /// <summary>Stage that told last.</summary>
    [Bounds(0, 63)]
    public string? Stage { get; init; }

    /// <summary>Percent of that stage.</summary>
    [Bounds(0, 100)]
    public int? StagePercent { get; init; }

    /// <summary>Epochs completed in that stage.</summary>
    [Bounds(0, 1000000)]
    public int? Epoch { get; init; }

    /// <summary>Epochs of that stage.</summary>
    [Bounds(0, 1000000)]
    public int? Epochs { get; init; }

    /// <summary>Steps completed in that stage.</summary>
    [Bounds(0, long.MaxValue)]
    public long? Step { get; init; }

    /// <summary>Seconds left for that stage, as far as can be told.</summary>
    [Bounds(0, int.MaxValue)]
    public int? EtaSeconds { get; init; }

    /// <summary>When it told.</summary>
    [JsonConverter(typeof(NullableSecondsConverter))]
    public DateTimeOffset? UpdatedAt { get; init; }
}

/// <summary>State of a stage.</summary>
public sealed record StageStatus
{
    /// <summary>Name of the stage.</summary>
    [RequiredField, Bounds(1, 63)]
    public string Name { get; init; } = "";

    /// <summary>State in one word.</summary>
    public StageState State { get; init; }

    /// <summary>Its Job.</summary>
    [Bounds(0, 63)]
    public string? Job { get; init; }

    /// <summary>Its newest pod.</summary>
    [Bounds(0, 253)]
    public string? Pod { get; init; }

    /// <summary>Pods that were started for it.</summary>
    [Bounds(0, 1000000)]
    public int? Attempts { get; init; }

    /// <summary>Failures that count against spec.retries.</summary>
    [Bounds(0, 1000000)]
    public int? Failures { get; init; }

    /// <summary>Epochs in its newest checkpoint.</summary>
    [Bounds(0, 1000000)]
    public int? Epoch { get; init; }

    /// <summary>Since when its pod is waited for.</summary>
    [JsonConverter(typeof(NullableSecondsConverter))]
    public DateTimeOffset? WaitingSince { get; init; }

    /// <summary>When its first pod ran.</summary>
    [JsonConverter(typeof(NullableSecondsConverter))]
    public DateTimeOffset? StartTime { get; init; }

    /// <summary>When it ended.</summary>
    [JsonConverter(typeof(NullableSecondsConverter))]
    public DateTimeOffset? EndTime { get; init; }

    /// <summary>Why it is where it is, in one word.</summary>
    [Bounds(0, 128)]
    public string? Reason { get; init; }

    /// <summary>Why, for people.</summary>
    [Bounds(0, 1024)]
    public string? Message { get; init; }
}

/// <summary>State of a stage in one word.</summary>
public enum StageState
{
    /// <summary>Not started.</summary>
    Pending,

    /// <summary>Waits for its queue.</summary>
    Queued,

    /// <summary>Its pod does not run yet.</summary>
    Starting,

    /// <summary>Its pod runs.</summary>
    Running,

    /// <summary>Its pod has ended and is being replaced.</summary>
    Restarting,

    /// <summary>Stopped with a checkpoint.</summary>
    Suspended,

    /// <summary>Done.</summary>
    Succeeded,

    /// <summary>Failed for good.</summary>
    Failed,
}

/// <summary>Results of a view; fractions as decimal strings.</summary>
public sealed record ResultStatus
{
    /// <summary>rgb, flow or two-stream.</summary>
    [RequiredField, Bounds(1, 16)]
    public string View { get; init; } = "";

    /// <summary>Top-1 accuracy of the linear probe.</summary>
    [DecimalString(0, 1)]
    public string? LinearProbeTop1 { get; init; }

    /// <summary>Top-5 accuracy of the linear probe.</summary>
    [DecimalString(0, 1)]
    public string? LinearProbeTop5 { get; init; }

    /// <summary>Top-1 accuracy of the kNN probe.</summary>
    [DecimalString(0, 1)]
    public string? KnnTop1 { get; init; }

    /// <summary>Top-1 accuracy after fine-tuning.</summary>
    [DecimalString(0, 1)]
    public string? FinetuneTop1 { get; init; }

    /// <summary>Retrieval recall at 1.</summary>
    [DecimalString(0, 1)]
    public string? RecallAt1 { get; init; }

    /// <summary>Retrieval recall at 5.</summary>
    [DecimalString(0, 1)]
    public string? RecallAt5 { get; init; }

    /// <summary>Retrieval recall at 10.</summary>
    [DecimalString(0, 1)]
    public string? RecallAt10 { get; init; }

    /// <summary>Retrieval recall at 20.</summary>
    [DecimalString(0, 1)]
    public string? RecallAt20 { get; init; }

    /// <summary>Retrieval recall at 50.</summary>
    [DecimalString(0, 1)]
    public string? RecallAt50 { get; init; }
}

/// <summary>Restarts of stages.</summary>
public sealed record RestartStatus
{
    /// <summary>All restarts.</summary>
    [Bounds(0, 1000000)]
    public int Total { get; init; }

    /// <summary>Restarts after failures that count against spec.retries.</summary>
    [Bounds(0, 1000000)]
    public int Counted { get; init; }

    /// <summary>Restarts after disruptions.</summary>
    [Bounds(0, 1000000)]
    public int Uncounted { get; init; }
}
