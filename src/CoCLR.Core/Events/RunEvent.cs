// Why this exists: the wire format of everything a run tells: one JSON object a line in events.jsonl, the same over the ingest API and SignalR.
using System.Text.Json;
using System.Text.Json.Serialization;

namespace CoCLR.Core.Events;

/// <summary>One event of a run. (<see cref="Run"/>, <see cref="Stage"/>, <see cref="Attempt"/>, <see cref="Seq"/>) is its identity: sending one twice changes nothing.</summary>
[JsonPolymorphic(TypeDiscriminatorPropertyName = "kind")]
[JsonDerivedType(typeof(StartedEvent), "started")]
[JsonDerivedType(typeof(ProgressEvent), "progress")]
[JsonDerivedType(typeof(MetricEvent), "metric")]
[JsonDerivedType(typeof(LogEvent), "log")]
[JsonDerivedType(typeof(CheckpointEvent), "checkpoint")]
[JsonDerivedType(typeof(ArtifactEvent), "artifact")]
[JsonDerivedType(typeof(MiningEvent), "mining")]
[JsonDerivedType(typeof(ResultEvent), "result")]
[JsonDerivedType(typeof(FinishedEvent), "finished")]
public abstract record RunEvent
{
    /// <summary>Id of the run (a lower-case DNS label; see <see cref="Planning.StagePlan.Run"/>).</summary>
    public required string Run { get; init; }

    /// <summary>Name of the stage.</summary>
    public required string Stage { get; init; }

    /// <summary>Attempt of the stage, from 1; every start of the stage's process is one.</summary>
    public required int Attempt { get; init; }

    /// <summary>Number of the event within the attempt, from 0, without gaps.</summary>
    public required long Seq { get; init; }

    /// <summary>When it happened (UTC).</summary>
    public required DateTimeOffset Time { get; init; }
}

/// <summary>A stage's process began.</summary>
public sealed record StartedEvent : RunEvent
{
    /// <summary>Version of the engine.</summary>
    public string? Version { get; init; }

    /// <summary>Device, in words.</summary>
    public string? Device { get; init; }

    /// <summary>Host or pod.</summary>
    public string? Host { get; init; }

    /// <summary>Epochs of the stage, when it has epochs.</summary>
    public int? Epochs { get; init; }

    /// <summary>Steps per epoch, when known.</summary>
    public int? StepsPerEpoch { get; init; }

    /// <summary>Step from which an earlier attempt's checkpoint is continued.</summary>
    public long? ResumedAtStep { get; init; }
}

/// <summary>How far a stage is. Sent a few times a second at most.</summary>
public sealed record ProgressEvent : RunEvent
{
    /// <summary>What is being done, such as decode, fill queue, train or extract.</summary>
    public required string Phase { get; init; }

    /// <summary>Units done.</summary>
    public required long Done { get; init; }

    /// <summary>Units in all; 0 when unknown.</summary>
    public required long Total { get; init; }

    /// <summary>Unit, such as videos, steps or clips.</summary>
    public string? Unit { get; init; }

    /// <summary>Seconds left, as far as can be told.</summary>
    public double? EtaSeconds { get; init; }
}

/// <summary>Measured numbers at a step.</summary>
public sealed record MetricEvent : RunEvent
{
    /// <summary>Optimizer step of the stage, from 0.</summary>
    public required long Step { get; init; }

    /// <summary>Epoch, from 0; fractional inside an epoch.</summary>
    public double? Epoch { get; init; }

    /// <summary>Values by name (see <see cref="MetricNames"/>). NaN and infinities are written as strings.</summary>
    public required IReadOnlyDictionary<string, double> Values { get; init; }
}

/// <summary>A line of the log.</summary>
public sealed record LogEvent : RunEvent
{
    /// <summary>debug, info, warning or error.</summary>
    public required string Level { get; init; }

    /// <summary>The line; plain text, perhaps with ANSI colours.</summary>
    public required string Message { get; init; }
}

/// <summary>A checkpoint was written.</summary>
public sealed record CheckpointEvent : RunEvent
{
    /// <summary>Epochs completed.</summary>
    public required int Epoch { get; init; }

    /// <summary>Steps completed.</summary>
    public required long Step { get; init; }

    /// <summary>File relative to the run folder.</summary>
    public required string File { get; init; }

    /// <summary>Size in bytes.</summary>
    public long Bytes { get; init; }
}

/// <summary>A file was written that people may look at.</summary>
public sealed record ArtifactEvent : RunEvent
{
    /// <summary>Name, unique in the stage, such as neighbours.json.</summary>
    public required string Name { get; init; }

    /// <summary>File relative to the run folder.</summary>
    public required string File { get; init; }

    /// <summary>Media type.</summary>
    public required string MediaType { get; init; }

    /// <summary>Size in bytes.</summary>
    public required long Bytes { get; init; }

    /// <summary>SHA-256, hexadecimal.</summary>
    public required string Sha256 { get; init; }
}

/// <summary>Which clips the other view mined as positives for a few anchors: the heart of co-training.</summary>
public sealed record MiningEvent : RunEvent
{
    /// <summary>Epoch, from 0.</summary>
    public required int Epoch { get; init; }

    /// <summary>Step of the stage.</summary>
    public required long Step { get; init; }

    /// <summary>View that learns.</summary>
    public required string Learner { get; init; }

    /// <summary>View that mines.</summary>
    public required string Miner { get; init; }

    /// <summary>The anchors.</summary>
    public required IReadOnlyList<MinedAnchor> Anchors { get; init; }
}

/// <summary>An anchor clip and the positives mined for it.</summary>
public sealed record MinedAnchor
{
    /// <summary>Video id of the anchor.</summary>
    public required string Video { get; init; }

    /// <summary>Class name; null without labels.</summary>
    public string? Class { get; init; }

    /// <summary>The mined clips, most similar first.</summary>
    public required IReadOnlyList<MinedPositive> Positives { get; init; }
}

/// <summary>A mined positive.</summary>
public sealed record MinedPositive
{
    /// <summary>Video id.</summary>
    public required string Video { get; init; }

    /// <summary>Class name; null without labels.</summary>
    public string? Class { get; init; }

    /// <summary>Cosine similarity in the mining view.</summary>
    public required double Similarity { get; init; }

    /// <summary>Cosine similarity of the same clip in the learning view: InfoNCE would have pushed it away as a negative.</summary>
    public double? LearnerSimilarity { get; init; }

    /// <summary>Rank among the queue's keys in the learning view, from 1.</summary>
    public int? LearnerRank { get; init; }

    /// <summary>Age of the key in steps.</summary>
    public long? Age { get; init; }

    /// <summary>Whether the classes agree; null without labels.</summary>
    public bool? Correct { get; init; }

    /// <summary>Clip of the same source video (a positive without mining).</summary>
    public bool Sibling { get; init; }
}

/// <summary>A stage's result (the same JSON as result.json).</summary>
public sealed record ResultEvent : RunEvent
{
    /// <summary>The result.</summary>
    public required JsonElement Result { get; init; }
}

/// <summary>A stage's process ended.</summary>
public sealed record FinishedEvent : RunEvent
{
    /// <summary>How it ended.</summary>
    public required StageOutcome Outcome { get; init; }

    /// <summary>Exit code (see <see cref="ExitCodes"/>).</summary>
    public required int ExitCode { get; init; }

    /// <summary>Why, when it did not succeed.</summary>
    public string? Message { get; init; }

    /// <summary>Wall time of the attempt in seconds.</summary>
    public double? WallSeconds { get; init; }
}

/// <summary>How a stage's process ended.</summary>
public enum StageOutcome
{
    /// <summary>Done.</summary>
    [JsonStringEnumMemberName("succeeded")] Succeeded,

    /// <summary>Failed.</summary>
    [JsonStringEnumMemberName("failed")] Failed,

    /// <summary>Stopped by a signal after a checkpoint.</summary>
    [JsonStringEnumMemberName("terminated")] Terminated,
}

/// <summary>Names of the metrics of training stages. Charts group them by the part before the slash.</summary>
public static class MetricNames
{
    /// <summary>Contrastive loss.</summary>
    public const string Loss = "loss";

    /// <summary>Pretext top-1: a positive ranks first (fraction).</summary>
    public const string Top1 = "pretext/top1";

    /// <summary>Pretext top-5: a positive ranks among the first five (fraction).</summary>
    public const string Top5 = "pretext/top5";

    /// <summary>The own key ranks first (fraction; CoCLR and UberNCE).</summary>
    public const string SelfTop1 = "pretext/self-top1";

    /// <summary>Learning rate.</summary>
    public const string LearningRate = "learning-rate";

    /// <summary>Norm of the gradient.</summary>
    public const string GradientNorm = "gradient-norm";

    /// <summary>Clips per second.</summary>
    public const string ClipsPerSecond = "speed/clips-per-second";

    /// <summary>Seconds a step.</summary>
    public const string StepSeconds = "speed/step-seconds";

    /// <summary>Share of time that steps waited for data (fraction).</summary>
    public const string WaitShare = "speed/wait-share";

    /// <summary>Resident memory in bytes.</summary>
    public const string Memory = "system/memory-bytes";

    /// <summary>CPU use of the process in cores.</summary>
    public const string CpuCores = "system/cpu-cores";

    /// <summary>GPU memory in bytes.</summary>
    public const string GpuMemory = "system/gpu-memory-bytes";

    /// <summary>GPU use (fraction).</summary>
    public const string GpuUse = "system/gpu-use";

    /// <summary>Monitor: share of held-out training videos whose class 20 weighted neighbours of other source groups name (fraction; with labels).</summary>
    public const string MonitorKnn = "monitor/knn";

    /// <summary>Monitor: share of held-out training videos whose nearest video of another source group has their class (fraction; with labels).</summary>
    public const string MonitorRecallAt1 = "monitor/r1";

    /// <summary>Monitor: effective rank of the features, the exponential of the entropy of their singular values (Roy and Vetterli 2007); 1 when all lie on a line.</summary>
    public const string MonitorEffectiveRank = "monitor/effective-rank";

    /// <summary>Monitor: mean squared distance of the embeddings of two clips of a video; smaller is better (Wang and Isola 2020).</summary>
    public const string MonitorAlignment = "monitor/alignment";

    /// <summary>Monitor: logarithm of the mean of exp(-2 d²) over pairs of videos; 0 when all embeddings are alike, about -4 when they spread (Wang and Isola 2020).</summary>
    public const string MonitorUniformity = "monitor/uniformity";

    /// <summary>Monitor: 1 when the representation has collapsed (all embeddings alike), else 0.</summary>
    public const string MonitorCollapsed = "monitor/collapsed";

    /// <summary>Seconds that the monitor took.</summary>
    public const string MonitorSeconds = "speed/monitor-seconds";

    /// <summary>What the names of all numbers about mining begin with.</summary>
    public const string MiningPrefix = "mining/";

    /// <summary>Fraction of the mined positives with the anchor's class.</summary>
    public const string MiningPrecision = "mining/precision";

    /// <summary>Overlap of the positives that the two views would mine (fraction).</summary>
    public const string MiningAgreement = "mining/agreement";

    /// <summary>Mean age of the mined queue entries in steps.</summary>
    public const string MiningAge = "mining/age-steps";
}
