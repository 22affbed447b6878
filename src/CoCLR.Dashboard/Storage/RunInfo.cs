// Why this exists: what the index knows of a run, as immutable snapshots: pages read them without locks while the writer makes the next
// one.
using System.Collections.Immutable;
using System.Text.Json.Serialization;
using CoCLR.Core.Events;
using CoCLR.Core.Planning;

namespace CoCLR.Dashboard.Storage;

/// <summary>Where a run stands.</summary>
public enum RunState
{
    /// <summary>Nothing has begun.</summary>
    [JsonStringEnumMemberName("pending")] Pending,

    /// <summary>A stage is at work.</summary>
    [JsonStringEnumMemberName("running")] Running,

    /// <summary>Stopped with a checkpoint; goes on when resumed.</summary>
    [JsonStringEnumMemberName("stopped")] Stopped,

    /// <summary>Every stage is done.</summary>
    [JsonStringEnumMemberName("succeeded")] Succeeded,

    /// <summary>A stage failed.</summary>
    [JsonStringEnumMemberName("failed")] Failed,

    /// <summary>A stage was at work, and its process is gone without a word; resuming continues at its checkpoint.</summary>
    [JsonStringEnumMemberName("lost")] Lost,
}

/// <summary>A run.</summary>
public sealed record RunInfo
{
    /// <summary>Id.</summary>
    public required string Run { get; init; }

    /// <summary>Name of the experiment.</summary>
    public string Experiment { get; init; } = "";

    /// <summary>Namespace, when it came from a cluster.</summary>
    public string? Namespace { get; init; }

    /// <summary>The resource of the cluster that it belongs to; null for runs of this machine and after the resource is gone.</summary>
    public ClusterRef? Cluster { get; init; }

    /// <summary>Run folder.</summary>
    [JsonIgnore]
    public string Folder { get; init; } = "";

    /// <summary>Whether events come over the network instead of from a folder that a local process writes.</summary>
    public bool Remote { get; init; }

    /// <summary>The plan, as JSON; null until it is known.</summary>
    [JsonIgnore]
    public string? PlanJson { get; init; }

    /// <summary>Method, from the plan.</summary>
    public string? Method { get; init; }

    /// <summary>Network, from the plan.</summary>
    public string? Backbone { get; init; }

    /// <summary>Data set in words, from the plan or the results.</summary>
    public string? DataSet { get; init; }

    /// <summary>Seed, from the plan.</summary>
    public int? Seed { get; init; }

    /// <summary>When the run was first seen or planned.</summary>
    public DateTimeOffset Created { get; init; }

    /// <summary>Time of the newest event.</summary>
    public DateTimeOffset Updated { get; init; }

    /// <summary>Number of the newest accepted event; rises by one with each.</summary>
    public long Cursor { get; init; }

    /// <summary>When its newest event arrived here.</summary>
    public DateTimeOffset Heard { get; init; }

    /// <summary>Nobody works on it any more, although its stages do not say so.</summary>
    public bool Lost { get; init; }

    /// <summary>Stages in the order of the plan.</summary>
    public ImmutableArray<StageInfo> Stages { get; init; } = [];

    /// <summary>Device in words, of the newest stage that named one.</summary>
    public string? Device { get; init; }

    /// <summary>Newest loss.</summary>
    public double? Loss { get; init; }

    /// <summary>A picture of the loss: at most 64 values in order.</summary>
    public ImmutableArray<float> Sparkline { get; init; } = [];

    /// <summary>Events that one value of <see cref="Sparkline"/> stands for.</summary>
    public int SparklineStride { get; init; } = 1;

    /// <summary>Events since the newest value of <see cref="Sparkline"/>.</summary>
    public int SparklineSkipped { get; init; }

    /// <summary>Best linear probe, top-1, a fraction.</summary>
    public double? BestProbe { get; init; }

    /// <summary>Best recall at 1, a fraction.</summary>
    public double? RecallAt1 { get; init; }

    /// <summary>Things that were wrong with the run's files or events, newest last, at most 20.</summary>
    public ImmutableArray<string> Warnings { get; init; } = [];

    /// <summary>The stage of that name, or null.</summary>
    /// <param name="name">A stage name.</param>
    public StageInfo? Stage(string name) => Stages.FirstOrDefault(s => s.Name == name);

    /// <summary>Where the run stands, from its stages.</summary>
    public RunState State
    {
        get
        {
            switch (Cluster?.State)
            {
                // A pod that is gone sends nothing any more: what the cluster says of the end counts.
                case "Suspended":
                    return RunState.Stopped;
                case "Failed" or "Stalled":
                    return RunState.Failed;
                case "Succeeded":
                    return RunState.Succeeded;
                case "Training" or "Starting" or "Restarting" or "Suspending" when Stages.All(
                    s => s.Phase is StagePhase.Pending or StagePhase.Succeeded):
                    return RunState.Running;
            }

            if (Stages.Length == 0)
            {
                return RunState.Pending;
            }

            bool running = false, failed = false, stopped = false, begun = false, all = true;
            foreach (StageInfo stage in Stages)
            {
                running |= stage.Phase == StagePhase.Running;
                failed |= stage.Phase == StagePhase.Failed;
                stopped |= stage.Phase == StagePhase.Stopped;
                begun |= stage.Phase != StagePhase.Pending;
                all &= stage.Phase == StagePhase.Succeeded;
            }

            // Without a plan the stages that are known may not be all: only the report ends such a run.
            return running ? (Lost ? RunState.Lost : RunState.Running)
                : failed ? RunState.Failed
                : stopped ? RunState.Stopped
                : all && (PlanJson != null || Stages.Any(s => s.Name == "report")) ? RunState.Succeeded
                : begun ? (Lost ? RunState.Lost : RunState.Running)
                : RunState.Pending;
        }
    }

    /// <summary>Share of the work that is done, in [0, 1]: training stages weigh by their epochs.</summary>
    public double Progress
    {
        get
        {
            double done = 0, total = 0;
            foreach (StageInfo stage in Stages)
            {
                double weight = stage.Weight;
                total += weight;
                done += weight * stage.Fraction;
            }

            return Math.Max(total == 0 ? 0 : done / total, (Cluster?.Percent ?? 0) / 100.0);
        }
    }

    /// <summary>Stage that is at work, or that failed, or the first that has not begun.</summary>
    public StageInfo? Current =>
        Stages.FirstOrDefault(s => s.Phase == StagePhase.Running) ?? Stages.FirstOrDefault(s => s.Phase == StagePhase.Failed)
        ?? Stages.FirstOrDefault(s => s.Phase is StagePhase.Stopped or StagePhase.Pending);

    /// <summary>
    /// Seconds left as far as can be told: what running stages say, and for those to come the pace of stages of the same kind that are
    /// done.
    /// </summary>
    public double? EtaSeconds
    {
        get
        {
            if (State != RunState.Running)
            {
                return null;
            }

            double known = 0;
            double pace = 0;
            double paced = 0;
            double open = 0;
            foreach (StageInfo stage in Stages)
            {
                if (stage.Phase == StagePhase.Succeeded && stage.WallSeconds is > 0)
                {
                    pace += stage.WallSeconds.Value;
                    paced += stage.Weight;
                }
                else if (stage.Phase == StagePhase.Running && stage.EtaSeconds is { } eta)
                {
                    known += eta;
                    if (stage.Fraction is > 0.02 and < 1)
                    {
                        pace += eta * stage.Fraction / (1 - stage.Fraction);
                        paced += stage.Weight * stage.Fraction;
                    }
                }
                else if (stage.Phase != StagePhase.Succeeded)
                {
                    open += stage.Weight;
                }
            }

            return paced > 0 ? known + (open * pace / paced) : known > 0 && open == 0 ? known : null;
        }
    }
}

/// <summary>The resource behind a run.</summary>
/// <param name="Namespace">Namespace.</param>
/// <param name="Name">Name.</param>
/// <param name="State">State in the operator's word, such as Queued.</param>
/// <param name="Suspend">Whether it is asked to rest.</param>
/// <param name="Why">Why it waits or failed.</param>
/// <param name="Percent">Progress as the operator sees it.</param>
public sealed record ClusterRef(string Namespace, string Name, string State, bool Suspend, string? Why, int? Percent);

/// <summary>A stage of a run.</summary>
public sealed record StageInfo
{
    /// <summary>Name.</summary>
    public required string Name { get; init; }

    /// <summary>Where it stands.</summary>
    public StagePhase Phase { get; init; } = StagePhase.Pending;

    /// <summary>Newest attempt; 0 before the first.</summary>
    public int Attempt { get; init; }

    /// <summary>What is being done.</summary>
    public string? Doing { get; init; }

    /// <summary>Units done.</summary>
    public long Done { get; init; }

    /// <summary>Units in all; 0 when unknown.</summary>
    public long Total { get; init; }

    /// <summary>Unit.</summary>
    public string? Unit { get; init; }

    /// <summary>Seconds left, as the stage says.</summary>
    public double? EtaSeconds { get; init; }

    /// <summary>Epochs of the stage.</summary>
    public int? Epochs { get; init; }

    /// <summary>Epochs completed, from metrics and checkpoints.</summary>
    public double? Epoch { get; init; }

    /// <summary>Newest optimizer step.</summary>
    public long? Step { get; init; }

    /// <summary>Device in words.</summary>
    public string? Device { get; init; }

    /// <summary>Host or pod.</summary>
    public string? Host { get; init; }

    /// <summary>Start of the first attempt.</summary>
    public DateTimeOffset? Started { get; init; }

    /// <summary>End of the newest attempt.</summary>
    public DateTimeOffset? Finished { get; init; }

    /// <summary>Wall time of the attempts that ended.</summary>
    public double? WallSeconds { get; init; }

    /// <summary>Time of the newest event.</summary>
    public DateTimeOffset? Updated { get; init; }

    /// <summary>Why it failed or stopped.</summary>
    public string? Message { get; init; }

    /// <summary>Exit code of the newest attempt.</summary>
    public int? ExitCode { get; init; }

    /// <summary>Attempts with the steps they began at: where the curves get a mark.</summary>
    public ImmutableArray<AttemptInfo> Attempts { get; init; } = [];

    /// <summary>Newest values by metric.</summary>
    public ImmutableSortedDictionary<string, double> Latest { get; init; } = ImmutableSortedDictionary<string, double>.Empty;

    /// <summary>Artifacts.</summary>
    public ImmutableArray<ArtifactInfo> Artifacts { get; init; } = [];

    /// <summary>Newest checkpoint.</summary>
    public NewestCheckpoint? Checkpoint { get; init; }

    /// <summary>Result, as JSON (a <see cref="Core.Results.StageResult"/>).</summary>
    [JsonIgnore]
    public string? ResultJson { get; init; }

    /// <summary>Whether there is a result.</summary>
    public bool HasResult => ResultJson != null;

    /// <summary>Mining events seen.</summary>
    public int MiningEvents { get; init; }

    /// <summary>Lines of log kept.</summary>
    public int LogLines { get; init; }

    /// <summary>Lines of log at level warning or error.</summary>
    public int Complaints { get; init; }

    /// <summary>Share that is done, in [0, 1].</summary>
    [JsonIgnore]
    public double Fraction => Phase == StagePhase.Succeeded ? 1
        : Epochs is > 0 && Epoch is { } epoch ? Math.Clamp(epoch / Epochs.Value, 0, 1)
        : Total > 0 ? Math.Clamp((double)Done / Total, 0, 1) : 0;

    /// <summary>Weight in the run's progress.</summary>
    [JsonIgnore]
    public double Weight => Name.StartsWith("pretrain", StringComparison.Ordinal) || Name.StartsWith("cycle", StringComparison.Ordinal) ? 10
        : Name.StartsWith("finetune", StringComparison.Ordinal) || Name == "flow" ? 5 : Name is "report" or "fuse" ? 0.2 : 1;
}

/// <summary>An attempt of a stage.</summary>
/// <param name="Attempt">Number, from 1.</param>
/// <param name="Started">When it began.</param>
/// <param name="ResumedAtStep">Step from which it continued; null when it began anew.</param>
public sealed record AttemptInfo(int Attempt, DateTimeOffset Started, long? ResumedAtStep);

/// <summary>A checkpoint.</summary>
/// <param name="Epoch">Epochs completed.</param>
/// <param name="Step">Steps completed.</param>
/// <param name="Bytes">Size.</param>
/// <param name="Time">When it was written.</param>
public sealed record NewestCheckpoint(int Epoch, long Step, long Bytes, DateTimeOffset Time);

/// <summary>An artifact, addressed by its id alone.</summary>
/// <param name="Id">Random id.</param>
/// <param name="Stage">Stage that wrote it.</param>
/// <param name="Name">Name, unique in the stage.</param>
/// <param name="MediaType">Media type.</param>
/// <param name="Bytes">Size.</param>
/// <param name="Sha256">SHA-256, hexadecimal.</param>
/// <param name="Time">When it was written.</param>
public sealed record ArtifactInfo(string Id, string Stage, string Name, string MediaType, long Bytes, string Sha256, DateTimeOffset Time)
{
    /// <summary>File relative to the run folder. Never taken from a request.</summary>
    [JsonIgnore]
    public string File { get; init; } = "";
}

/// <summary>A line of the log.</summary>
/// <param name="Cursor">The run's cursor at this line.</param>
/// <param name="Stage">Stage.</param>
/// <param name="Attempt">Attempt.</param>
/// <param name="Time">Time.</param>
/// <param name="Level">debug, info, warning or error.</param>
/// <param name="Message">Text, perhaps with ANSI colours.</param>
public sealed record LogLine(long Cursor, string Stage, int Attempt, DateTimeOffset Time, string Level, string Message);

/// <summary>A mining event with the run's cursor.</summary>
/// <param name="Cursor">The run's cursor.</param>
/// <param name="Event">The event.</param>
public sealed record MiningRecord(long Cursor, MiningEvent Event);

/// <summary>An entry of the run's history: starts, checkpoints, results, ends.</summary>
/// <param name="Cursor">The run's cursor.</param>
/// <param name="Time">When.</param>
/// <param name="Stage">Stage.</param>
/// <param name="Attempt">Attempt.</param>
/// <param name="Kind">Kind of event.</param>
/// <param name="Text">In words.</param>
public sealed record HistoryEntry(long Cursor, DateTimeOffset Time, string Stage, int Attempt, string Kind, string Text);
