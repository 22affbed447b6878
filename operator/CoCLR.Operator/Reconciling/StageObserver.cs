// Why this exists: turns a Job and its pods into the state of a stage, with the reason a person looks for: out of memory, image,
// unschedulable, quota, queue.
using CoCLR.Core;
using CoCLR.Core.Manifests.Status;
using CoCLR.Core.Planning;
using CoCLR.Operator.Api;
using CoCLR.Operator.Progress;

namespace CoCLR.Operator.Reconciling;

/// <summary>What is seen of a stage.</summary>
/// <param name="Status">Its status.</param>
/// <param name="Job">Its Job.</param>
/// <param name="Live">Its pod that is not over.</param>
/// <param name="Report">What it said last.</param>
/// <param name="MissingDependency">Whether it waits for something that is missing.</param>
/// <param name="Permanent">Whether it failed so that trying again cannot help.</param>
public sealed record SeenStage(
    StageStatus Status, JobView? Job, PodView? Live, StageReport? Report, bool MissingDependency = false, bool Permanent = false)
{
    /// <summary>The same, as <see cref="NextActions"/> wants it.</summary>
    /// <param name="retries">Allowed retries.</param>
    public StageObservation Observation(int retries) => Status.State switch
    {
        StageState.Succeeded => new StageObservation(StagePhase.Succeeded),
        StageState.Failed => new StageObservation(
            StagePhase.Failed, Permanent ? 0 : Math.Max(Status.Failures ?? 0, retries + 1), Permanent, Status.Message ?? Status.Reason),
        _ when Job == null => new StageObservation(Live == null ? StagePhase.Pending : StagePhase.Running),
        _ when Job is { Suspended: true, HasQueue: false, Meta.Deleting: null } => new StageObservation(StagePhase.Stopped),
        _ => new StageObservation(StagePhase.Running),
    };
}

/// <summary>Observes stages.</summary>
public static class StageObserver
{
    private static readonly string[] Harmless = ["", "ContainerCreating", "PodInitializing"];

    /// <summary>Observes a stage.</summary>
    /// <param name="name">Name of the stage.</param>
    /// <param name="known">What the status says of it.</param>
    /// <param name="job">Its Job.</param>
    /// <param name="observed">Everything that is observed.</param>
    public static SeenStage Observe(string name, StageStatus known, JobView? job, ExperimentObservation observed)
    {
        if (known.State == StageState.Succeeded)
        {
            return new SeenStage(known, job, null, null);
        }

        if (job == null)
        {
            return WithoutJob(name, known, observed);
        }

        PodView[] pods =
        [
            .. observed.Pods.Where(p => p.Meta.Controller?.Uid == job.Meta.Uid)
                .OrderBy(p => p.Meta.Created).ThenBy(p => p.Meta.Key.Name, StringComparer.Ordinal),
        ];
        PodView? live = pods.LastOrDefault(p => !p.Over);
        PodView? ended = pods.LastOrDefault(p => p.Over);
        StageReport? report = Newest(
            StageReport.Read(ended?.Ended?.Message, ended?.Ended?.At ?? observed.Now),
            observed.Pushed.GetValueOrDefault(name));
        StageStatus status = StatusOf(known, job, pods, report);

        if (job.Complete != null)
        {
            DateTimeOffset end = ended?.Ended?.At ?? job.Complete.Since ?? observed.Now;
            return new SeenStage(status with { State = StageState.Succeeded, WaitingSince = null, EndTime = end }, job, null, report);
        }

        if (job.FailedFor != null)
        {
            return Failed(status, job, ended, report, observed.Now);
        }

        if (live?.LostSince(observed.Now) != null)
        {
            StageStatus lost = status with
            {
                State = StageState.Restarting,
                WaitingSince = status.WaitingSince ?? observed.Now,
                Reason = ConditionReasons.NodeLost,
                Message = Lost(live)
            };
            return new SeenStage(lost, job, live, report);
        }

        if (job.Suspended)
        {
            return Suspended(status, job, live, report, observed);
        }

        if (live is { Running: true, Meta.Deleting: null })
        {
            return new SeenStage(status with { State = StageState.Running, WaitingSince = null }, job, live, report);
        }

        bool over = ended is { Phase: "Succeeded" }
            || (ended is { Disruption: null, Ended: { } exit } && ExitCodes.IsPermanent((int)exit.ExitCode));
        if (live == null && over)
        {
            // Its Job will say so in a moment.
            return new SeenStage(status with { State = StageState.Running, WaitingSince = null }, job, null, report);
        }

        return Waiting(status, job, live, ended, report, observed);
    }

    // A pod may outlive its Job by its grace period; a second one must not write into the same folder meanwhile.
    private static SeenStage WithoutJob(string name, StageStatus known, ExperimentObservation observed)
    {
        PodView? orphan = observed.Pods.FirstOrDefault(
            p => !p.Over && p.Meta.Label(Labels.ExperimentUid) == observed.Experiment.Meta.Uid && p.Meta.Label(Labels.Stage) == name);
        if (orphan == null)
        {
            StageState state = known.State == StageState.Suspended ? known.State : StageState.Pending;
            return new SeenStage(known with { State = state, WaitingSince = null }, null, null, null);
        }

        StageStatus ending = known with
        {
            State = StageState.Restarting,
            WaitingSince = null,
            Reason = ConditionReasons.PodEnding,
            Message = $"its Job is gone and pod {orphan.Meta.Key.Name} is still ending",
        };
        return new SeenStage(ending, null, orphan, null);
    }

    /// <summary>What the status says whatever the state is.</summary>
    private static StageStatus StatusOf(StageStatus known, JobView job, PodView[] pods, StageReport? report)
    {
        PodView? newest = pods.LastOrDefault(p => !p.Over) ?? pods.LastOrDefault();
        int attempts = known.Attempts ?? 0;
        return known with
        {
            Job = job.Meta.Key.Name,
            Pod = newest?.Meta.Key.Name ?? known.Pod,
            Attempts = newest == null ? known.Attempts : Math.Max(newest.Meta.Key.Name == known.Pod ? attempts : attempts + 1, pods.Length),
            Failures = job.Failed > (known.Failures ?? 0) ? (int)job.Failed : known.Failures,
            Epoch = report?.CheckpointEpoch ?? report?.Epoch ?? known.Epoch,
            StartTime = known.StartTime ?? Earliest(pods),
            Reason = null,
            Message = null,
        };
    }

    /// <summary>What is wrong with a pod whose node is lost, and what a person can do.</summary>
    /// <param name="pod">The pod.</param>
    public static string Lost(PodView pod) =>
        $"node {pod.Node} does not answer, so pod {pod.Meta.Key.Name} cannot end and no new one may start; when the machine is "
            + $"off for good, "
        + $"delete the Node (kubectl delete node {pod.Node}) or taint it (kubectl taint node {pod.Node} "
        + "node.kubernetes.io/out-of-service=nodeshutdown:NoExecute), and the stage continues from its checkpoint";

    private static SeenStage Suspended(StageStatus status, JobView job, PodView? live, StageReport? report, ExperimentObservation observed)
    {
        if (!job.HasQueue)
        {
            return new SeenStage(
                status with
                {
                    State = StageState.Suspended,
                    WaitingSince = null,
                    Reason = live == null ? null : ConditionReasons.Suspending
                },
                job,
                live,
                report);
        }

        ChildCondition? why = observed.Workload(job.Meta.Uid)?.WhyNot;
        return new SeenStage(
            status with
            {
                State = StageState.Queued,
                WaitingSince = null,
                Reason = why is { Reason.Length: > 0 } ? why.Reason : ConditionReasons.Queued,
                Message = StageReport.Clean(why?.Message, 1024) ?? $"waits for the queue {job.Meta.Label(Labels.Queue)}",
            },
            job,
            live,
            report);
    }

    private static SeenStage Waiting(
        StageStatus status, JobView job, PodView? live, PodView? ended, StageReport? report, ExperimentObservation observed)
    {
        bool again = (status.Attempts ?? 0) > 1 || ended != null || status.StartTime != null || live is { Meta.Deleting: not null };
        status =
            status with { State = again ? StageState.Restarting : StageState.Starting, WaitingSince = status.WaitingSince ?? observed.Now };
        (string? reason, string? message, bool missing) = WhyWaiting(job, live, observed);
        if (reason == null && again)
        {
            (reason, message) =
                ended != null ? WhyEnded(ended) : (ConditionReasons.PodLost, "its pod is gone; a new one continues from the checkpoint");
        }

        return new SeenStage(status with { Reason = reason, Message = StageReport.Clean(message, 1024) }, job, live, report, missing);
    }

    private static (string? Reason, string? Message, bool Missing) WhyWaiting(JobView job, PodView? live, ExperimentObservation observed)
    {
        if (live == null)
        {
            // Said since the Job may run, and no pod has come since.
            return observed.PodFailure(job.Meta.Uid) is { } failure && job.Active == 0
                && (job.StartTime == null || failure.At == null || failure.At >= job.StartTime.Value.AddSeconds(-1))
                ? Classify(failure.Message)
                : (null, null, false);
        }

        if (live.Meta.Deleting != null)
        {
            return live.Disruption is { } disruption ? (disruption.Reason, disruption.Message, false) : (null, null, false);
        }

        if (live.Waiting is { } waiting && !Harmless.Contains(waiting.Reason))
        {
            bool missing = waiting.Reason == "CreateContainerConfigError"
                && waiting.Message.Contains("not found", StringComparison.OrdinalIgnoreCase);
            return (
                waiting.Reason,
                waiting.Message.Length > 0 ? waiting.Message : waiting.Reason,
                missing
                    || (
                        waiting.Reason == "CreateContainerConfigError"
                            && waiting.Message.Contains("find key", StringComparison.OrdinalIgnoreCase)));
        }

        if (live.Unscheduled is { } unscheduled)
        {
            // Not "pod has unbound immediate PersistentVolumeClaims. not found": that claim is there and waits for its volume.
            bool missing = unscheduled.Message.Contains("persistentvolumeclaim \"", StringComparison.Ordinal)
                && unscheduled.Message.Contains("\" not found", StringComparison.Ordinal);
            return (unscheduled.Reason.Length > 0 ? unscheduled.Reason : ConditionReasons.Unschedulable, unscheduled.Message, missing);
        }

        return (null, null, false);
    }

    private static (string Reason, string Message, bool Missing) Classify(string message)
    {
        if (message.Contains("exceeded quota", StringComparison.OrdinalIgnoreCase))
        {
            return (ConditionReasons.QuotaExceeded, message, false);
        }

        bool missing = message.Contains("not found", StringComparison.OrdinalIgnoreCase)
            || (
                message.Contains("no PriorityClass", StringComparison.OrdinalIgnoreCase)
                    && message.Contains("found", StringComparison.OrdinalIgnoreCase));
        return (missing ? ConditionReasons.DependencyNotReady : ConditionReasons.PodCreationFailed, message, missing);
    }

    /// <summary>Why a pod ended, as a reason and in words.</summary>
    /// <param name="pod">A pod that is over.</param>
    public static (string Reason, string Message) WhyEnded(PodView pod)
    {
        if (pod.Disruption is { } disruption)
        {
            return (disruption.Reason.Length > 0 ? disruption.Reason : ConditionReasons.Disrupted, disruption.Message);
        }

        if (pod.Ended is not { } ended)
        {
            return (pod.Reason ?? ConditionReasons.PodFailed, pod.Message ?? "its pod failed");
        }

        string said = StageReport.Read(ended.Message, default)?.Message ?? LastLine(ended.Message);
        if (ended.Reason == ConditionReasons.OutOfMemory)
        {
            return (
                ConditionReasons.OutOfMemory,
                "it used more memory than its limit: raise spec.resources.memory or lower training.batchSize");
        }

        if (ended.ExitCode == ExitCodes.Terminated)
        {
            return (ConditionReasons.Stopped, said.Length > 0 ? said : "it was asked to stop and has written a checkpoint");
        }

        string reason = ExitCodes.IsPermanent((int)ended.ExitCode) ? ConditionReasons.NonRetryableError : pod.Reason
            ?? ConditionReasons.StageFailed;
        return (reason, $"exit code {ended.ExitCode}{(said.Length > 0 ? ": " + said : "")}");
    }

    private static SeenStage Failed(StageStatus status, JobView job, PodView? ended, StageReport? report, DateTimeOffset now)
    {
        (string reason, string message) = ended != null ? WhyEnded(ended) : (job.FailedFor!.Reason, job.FailedFor.Message);
        bool permanent = job.FailedFor!.Reason == "PodFailurePolicy";
        reason = permanent ? ConditionReasons.NonRetryableError
            : reason == ConditionReasons.OutOfMemory ? reason
            : job.FailedFor.Reason == "BackoffLimitExceeded" ? ConditionReasons.RetriesExhausted
            : job.FailedFor.Reason;
        return new SeenStage(
            status with
            {
                State = StageState.Failed,
                WaitingSince = null,
                EndTime = ended?.Ended?.At ?? job.FailedFor.Since ?? now,
                Reason = reason,
                Message = StageReport.Clean(message, 1024)
            },
            job,
            null,
            report,
            Permanent: permanent);
    }

    private static DateTimeOffset? Earliest(PodView[] pods)
    {
        DateTimeOffset[] times = [.. pods.Select(p => p.RunningSince ?? p.Ended?.Started).OfType<DateTimeOffset>()];
        return times.Length == 0 ? null : times.Min();
    }

    // A pod that was replaced may be heard last.
    private static StageReport? Newest(StageReport? a, StageReport? b)
    {
        if (a == null || b == null)
        {
            return a ?? b;
        }

        return a.IsOlderAttempt(b) || (!b.IsOlderAttempt(a) && a.At < b.At) ? b : a;
    }

    private static string LastLine(string? text)
    {
        string[] lines = (text ?? "").Split('\n', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries);
        return lines.Length == 0 ? "" : lines[^1];
    }
}
