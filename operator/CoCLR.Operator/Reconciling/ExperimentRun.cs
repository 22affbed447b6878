// Why this exists: one reconcile of an experiment that is under way: which children it needs now, and when to look again.
using System.Text.Json.Nodes;
using CoCLR.Cluster;
using CoCLR.Core.Manifests;
using CoCLR.Core.Manifests.Status;
using CoCLR.Core.Planning;
using CoCLR.Operator.Api;
using CoCLR.Operator.Progress;
using CoCLR.Operator.Runtime;

namespace CoCLR.Operator.Reconciling;

/// <summary>One reconcile of an experiment that is under way.</summary>
internal sealed partial class ExperimentRun
{
    private readonly ExperimentStatus _known;
    private readonly ExperimentSpec _spec;
    private readonly PlanSnapshot _snapshot;
    private readonly ExperimentObservation _observed;
    private readonly ChildSettings _settings;
    private readonly ObjectMeta _meta;
    private readonly string _planName;
    private readonly string _claimName;
    private readonly List<DesiredWrite> _writes = [];
    private readonly List<ObjectEvent> _events = [];
    private readonly List<DesiredWrite.Create> _suspects = [];
    private TimeSpan? _again;
    private bool _begun;

    public ExperimentRun(
        ExperimentStatus known, ExperimentSpec spec, PlanSnapshot snapshot, ExperimentObservation observed, ChildSettings settings)
    {
        _known = known;
        _spec = spec;
        _snapshot = snapshot;
        _observed = observed;
        _settings = settings;
        _meta = observed.Experiment.Meta;
        _planName = ChildNames.Child(_meta.Key.Name, _meta.Uid, "plan");
        _claimName = spec.Storage.ClaimName ?? ChildNames.Child(_meta.Key.Name, _meta.Uid, "run");
    }

    public Decision<ExperimentStatus> Decide()
    {
        List<SeenStage> stages = [.. _snapshot.Plan.Stages.Select(Observe)];
        _begun = stages.Exists(s => s.Status.State == StageState.Succeeded);
        ExperimentStatus next = Gather(stages);
        (string Reason, string Message)? failure = Deadline(next, stages);
        string? missing = MissingClaim();
        NextActions actions = NextActions.Decide(_snapshot.Plan, new PlanObservation(
            stages.ToDictionary(s => s.Status.Name, s => s.Observation(_spec.Retries)), _spec.Suspend, Parallelism()));
        if (failure == null && actions.FailedStage is { } failed)
        {
            failure = (stages.First(s => s.Status.Name == failed).Status.Reason ?? ConditionReasons.RetriesExhausted, actions.Message!);
        }

        if (failure is { } end)
        {
            Stop(stages.Where(s => s.Job is { Finished: false, Meta.Deleting: null }));
            next = Failed(next with { Undelivered = Undelivered(stages) }, end.Reason, end.Message);
        }
        else if (actions.Outcome == RunOutcome.Succeeded)
        {
            next = Succeeded(next);
        }
        else if (_spec.Suspend)
        {
            Stop(stages.Where(s => actions.Stop.Contains(s.Status.Name)));
            next = Trouble(Suspend(next, stages), GiveUpLost(stages.Select(s => s.Live)));
        }
        else if (missing == null && Predecessors() is { Length: > 0 } predecessors)
        {
            next = Wait(
                next,
                ConditionReasons.WaitingForPredecessor,
                $"{predecessors.Length} pods of a deleted experiment of this name are still ending");
            next = Trouble(next, GiveUpLost(predecessors));
        }
        else
        {
            if (missing == null)
            {
                Start(actions.Start, stages);
            }

            ReplaceStalled(stages);
            ReplaceOutgrown(stages);
            next = Trouble(Describe(next, stages, actions, missing), GiveUpLost(stages.Select(s => s.Live)));
        }

        next = Health(next, stages);
        Tell(next);
        return Throttle(next);
    }

    /// <summary>The status as far as it follows from what is seen.</summary>
    private ExperimentStatus Gather(List<SeenStage> stages)
    {
        ExperimentStatus next = _known with
        {
            ObservedGeneration = _meta.Generation,
            Run = _snapshot.Plan.Run,
            Queue = _spec.QueueName,
            Image = ResolvedImage() ?? _known.Image,
            DashboardUrl = _settings.DashboardUrl == null ? null : $"{_settings.DashboardUrl.TrimEnd('/')}/runs/{_snapshot.Plan.Run}",
            Stages = [.. stages.Select(s => s.Status)],
            Results = ExperimentReconciler.Results(_known.Results, _snapshot.Plan, stages),
            Gpus = stages.Sum(s => s.Live is { Running: true } ? JobBuilder.GpusOf(_spec, _snapshot.Plan[s.Status.Name]) : 0),
            Restarts = Restarts(stages),
        };
        next = Clock(next with { Best = ExperimentReconciler.Best(next.Results) }, stages);
        next = next with { Undelivered = (LastWord(stages)?.Unsent ?? _known.Undelivered) == true ? true : null };
        return next with
        {
            Progress = ProgressCalculator.Of(_snapshot.Plan, stages, _known.Progress),
            StartTime = next.StartTime ?? FirstStart(stages)
        };
    }

    private static StageReport? LastWord(List<SeenStage> stages) =>
        stages.Select(s => s.Report).Where(r => r?.Unsent != null).MaxBy(r => r!.At);

    /// <summary>A stage that failed may have had no time for a last word: then something is assumed to be unsent.</summary>
    private bool? Undelivered(List<SeenStage> stages) =>
        _settings.DashboardIngestUrl == null
            || stages.Where(s => s.Status.State == StageState.Failed || s.Live != null).All(s => s.Report?.Unsent == false) ? null : true;

    /// <summary>The image of the newest pod, with the digest that its node has found.</summary>
    private string? ResolvedImage() =>
        _observed.Pods.Where(
            p => p.Meta.Label(Labels.ExperimentUid) == _meta.Uid && p.ImageId?.Contains("@sha256:", StringComparison.Ordinal) == true)
            .MaxBy(p => p.Meta.Created)?.ImageId?.Replace("docker-pullable://", "", StringComparison.Ordinal);

    private SeenStage Observe(Stage stage)
    {
        StageStatus known = _known.Stages.FirstOrDefault(s => s.Name == stage.Name) ?? new StageStatus { Name = stage.Name };
        string name = JobName(stage.Name);
        JobView? job = _observed.Jobs.FirstOrDefault(j => j.Meta.Key.Name == name && ExperimentReconciler.Mine(j, _meta));
        SeenStage seen = StageObserver.Observe(stage.Name, known, job, _observed);
        if (job == null && seen.Live is { Meta.Deleting: null })
        {
            // Nobody has stopped its pod, so the Job may be there and have lost the labels by which it is found.
            _suspects.Add(CreateJob(name, stage));
        }

        return seen;
    }

    private DesiredWrite.Create CreateJob(string name, Stage stage)
    {
        string? priority = (_begun ? _settings.ContinuingPriorityClass : null) ?? _meta.Label(Labels.QueuePriority);
        JsonObject job = JobBuilder.Job(_meta, name, stage, _snapshot, _planName, _claimName, _spec, _settings);
        if (_snapshot.Plan.Spec.QueueName != null && priority != null)
        {
            job["metadata"]!["labels"]![Labels.QueuePriority] = priority;
        }

        return new DesiredWrite.Create(ResourceKind.Job, name, job);
    }

    private string JobName(string stage) => ChildNames.Child(_meta.Key.Name, _meta.Uid, stage, _known.Retry);

    // Of one node's claim only one pod at a time is sure to get hold.
    private int Parallelism()
    {
        bool shared = _spec.Storage.ClaimName == null
            ? _spec.Storage.AccessMode == AccessMode.ReadWriteMany
            : _observed.Claim(_claimName)?.AccessModes.Contains("ReadWriteMany") == true;
        return shared ? int.MaxValue : 1;
    }

    private PodView[] Predecessors() => _observed.Jobs.Any(j => ExperimentReconciler.Mine(j, _meta))
        ? []
        : [.. _observed.Pods.Where(p => !p.Over && p.Meta.Label(Labels.ExperimentUid) is { } uid && uid != _meta.Uid)];

    private string? MissingClaim()
    {
        if (_spec.Storage.ClaimName is { } storage)
        {
            switch (_observed.Claim(storage))
            {
                case null:
                    return $"spec.storage.claimName: the claim {storage} does not exist in this namespace; create it and the experiment "
                        + $"starts by itself";
                case { Phase: "Lost" }:
                    return $"spec.storage.claimName: the claim {storage} has lost its volume";
                case { } claim when claim.AccessModes.Count > 0
                    && !claim.AccessModes.Any(m => m is "ReadWriteOnce" or "ReadWriteMany" or "ReadWriteOncePod"):
                    return $"spec.storage.claimName: the claim {storage} is read-only; the run folder needs ReadWriteOnce or ReadWriteMany";
            }
        }

        if (_spec.Dataset.Source.VolumeClaim is { } dataset)
        {
            switch (_observed.Claim(dataset.Name))
            {
                case null:
                    return $"spec.dataset.source.volumeClaim.name: the claim {dataset.Name} does not exist in this namespace; create it "
                        + $"and the experiment starts by itself";
                case { Phase: "Lost" }:
                    return $"spec.dataset.source.volumeClaim.name: the claim {dataset.Name} has lost its volume";
            }
        }

        return null;
    }

    private void Start(IReadOnlyList<string> names, List<SeenStage> stages)
    {
        if (names.Count > 0 || stages.Any(s => s.Job is { Finished: false }))
        {
            // A plan or claim that somebody has deleted is made again: the next pod needs it.
            if (_observed.Plan == null)
            {
                _writes.Add(
                    new DesiredWrite.Create(
                        ResourceKind.ConfigMap, _planName, JobBuilder.PlanConfigMap(_meta, _planName, _snapshot, _settings)));
            }

            if (_spec.Storage.ClaimName == null && _observed.Claim(_claimName) == null)
            {
                _writes.Add(
                    new DesiredWrite.Create(ResourceKind.Claim, _claimName, JobBuilder.Claim(_meta, _claimName, _snapshot, _settings)));
            }
        }

        foreach (string name in names)
        {
            SeenStage seen = stages.First(s => s.Status.Name == name);
            if (seen.Job == null)
            {
                string job = JobName(name);
                _writes.Add(CreateJob(job, _snapshot.Plan[name]));
            }
            else if (seen.Job.Suspended)
            {
                _writes.Add(new DesiredWrite.SetSuspend(seen.Job, false));
            }
        }

        // Somebody set parallelism to 0 by hand: the stage would wait for ever.
        _writes.AddRange(
            stages.Where(s => s.Job is { Finished: false, HasQueue: false, Parallelism: not 1, Suspended: false, Meta.Deleting: null })
                .Select(s => new DesiredWrite.SetSuspend(s.Job!, false)));
    }

    private void Stop(IEnumerable<SeenStage> stop)
    {
        foreach (JobView job in stop.Select(s => s.Job).OfType<JobView>())
        {
            if (job.HasQueue && job.Meta.Deleting == null)
            {
                // The suspend field of a queued Job is the queue's: deleting the Job gives its quota back, and a new one continues from the
                // checkpoint.
                _writes.Add(new DesiredWrite.Delete(ResourceKind.Job, job.Meta.Key, job.Meta.Uid));
            }
            else if (!job.Suspended && !job.HasQueue)
            {
                _writes.Add(new DesiredWrite.SetSuspend(job, true));
            }
        }
    }

    private ExperimentStatus Clock(ExperimentStatus next, List<SeenStage> stages)
    {
        bool active = stages.Any(s => s.Live is { Running: true });
        return (active, _known.ActiveSince) switch
        {
            (true, null) => next with { ActiveSince = _observed.Now },
            (false, { } since) => next with
            {
                ActiveSince = null,
                ActiveSeconds = (_known.ActiveSeconds ?? 0) + Math.Max(0, (long)(_observed.Now - since).TotalSeconds)
            },
            _ => next,
        };
    }

    private (string Reason, string Message)? Deadline(ExperimentStatus next, List<SeenStage> stages) =>
        _spec.Suspend ? null : ActiveDeadline(next) ?? PreRunningDeadline(stages);

    private (string Reason, string Message)? ActiveDeadline(ExperimentStatus next)
    {
        if (_spec.ActiveDeadlineSeconds is not { } active)
        {
            return null;
        }

        TimeSpan used = TimeSpan.FromSeconds(next.ActiveSeconds ?? 0)
            + (next.ActiveSince is { } since ? _observed.Now - since : TimeSpan.Zero);
        if (used >= TimeSpan.FromSeconds(active))
        {
            return (ConditionReasons.DeadlineExceeded, $"it ran longer than activeDeadlineSeconds ({active} s)");
        }

        if (next.ActiveSince != null)
        {
            LookAgain(TimeSpan.FromSeconds(active) - used);
        }

        return null;
    }

    private (string Reason, string Message)? PreRunningDeadline(List<SeenStage> stages)
    {
        if (_spec.PreRunningDeadlineSeconds is not { } waiting)
        {
            return null;
        }

        foreach (StageStatus stage in stages.Select(s => s.Status).Where(s => s.WaitingSince != null && s.State is StageState.Starting or StageState.Restarting))
        {
            TimeSpan left = stage.WaitingSince!.Value.AddSeconds(waiting) - _observed.Now;
            if (left <= TimeSpan.Zero)
            {
                string why = stage.Message == null ? "" : $": {stage.Reason}: {stage.Message}";
                return (
                    ConditionReasons.PreRunningDeadlineExceeded,
                    $"the pod of {stage.Name} did not run within preRunningDeadlineSeconds ({waiting} s){why}");
            }

            LookAgain(left);
        }

        return null;
    }

    // A process that hangs ends no pod by itself.
    private void ReplaceStalled(List<SeenStage> stages)
    {
        if (_spec.StallDeadlineSeconds is not { } allowed)
        {
            return;
        }

        foreach (SeenStage seen in stages.Where(s => s.Live is { Running: true, Meta.Deleting: null, UnreachableSince: null }))
        {
            DateTimeOffset[] signs = [_observed.ListeningSince, seen.Live!.RunningSince!.Value, seen.Report?.MovedAt ?? default];
            TimeSpan left = signs.Max().AddSeconds(allowed) - _observed.Now;
            if (left > TimeSpan.Zero)
            {
                LookAgain(left);
                continue;
            }

            _writes.Add(new DesiredWrite.Delete(ResourceKind.Pod, seen.Live.Meta.Key, seen.Live.Meta.Uid));
            _events.Add(ObjectEvent.Warning("StageStalled", $"{seen.Status.Name} made no progress for {allowed} s (stallDeadlineSeconds); "
                + $"pod {seen.Live.Meta.Key.Name} is replaced and goes on from the checkpoint"));
        }
    }

    /// <summary>A pod whose node is lost never ends by itself, and its Job waits for its end.</summary>
    /// <returns>What is wrong and what to do about it.</returns>
    private (string Reason, string Message)? GiveUpLost(IEnumerable<PodView?> pods)
    {
        (string Reason, string Message)? trouble = null;
        foreach (PodView pod in pods.OfType<PodView>())
        {
            if (pod.LostSince(_observed.Now) is not { } since)
            {
                if (pod.Meta.Deleting is { } due)
                {
                    LookAgain(due + PodView.Overdue - _observed.Now);
                }

                continue;
            }

            string message = StageObserver.Lost(pod);
            if (_spec.NodeLostPolicy.Action == NodeLostAction.Replace)
            {
                TimeSpan left = since.AddSeconds(_spec.NodeLostPolicy.AfterSeconds) - _observed.Now;
                if (left <= TimeSpan.Zero)
                {
                    _writes.Add(
                        new DesiredWrite.GiveUp(
                            pod, $"node {pod.Node} has not answered for {_spec.NodeLostPolicy.AfterSeconds} s (spec.nodeLostPolicy)"));
                    _events.Add(
                        ObjectEvent.Warning(
                            "PodGivenUp",
                            $"pod {pod.Meta.Key.Name} on the lost node {pod.Node} is given up; a new one continues from the checkpoint"));
                    continue;
                }

                LookAgain(left);
                message += $"; without any of it, a new pod takes over {_spec.NodeLostPolicy.AfterSeconds} s after the loss "
                    + $"(spec.nodeLostPolicy)";
            }

            trouble ??= (ConditionReasons.NodeLost, message);
        }

        return trouble;
    }

    // A Job's pods cannot be changed: one whose pod does not run is made again with what the spec asks for now.
    private void ReplaceOutgrown(List<SeenStage> stages)
    {
        foreach (SeenStage seen in stages.Where(s => s.Job is { Finished: false, Meta.Deleting: null, Resources: not null } && s.Live is not { Running: true }))
        {
            JobView job = seen.Job!;
            bool ended = _observed.Pods.Any(p => p.Meta.Controller?.Uid == job.Meta.Uid && p.Phase == "Succeeded");
            string asked =
                JobBuilder.ResourcesHash(_snapshot.Plan.Spec with { Resources = _spec.Resources }, _snapshot.Plan[seen.Status.Name]);
            if (job.Resources != asked && !ended)
            {
                _writes.Add(new DesiredWrite.Delete(ResourceKind.Job, job.Meta.Key, job.Meta.Uid));
                _events.Add(ObjectEvent.Normal(
                    "ResourcesChanged",
                    $"{seen.Status.Name} gets a new Job with the resources that the spec asks for now; it goes on from its checkpoint"));
            }
        }
    }

    private void LookAgain(TimeSpan delay) => _again = _again is { } known && known < delay ? known : delay;

    private static DateTimeOffset? FirstStart(List<SeenStage> stages)
    {
        DateTimeOffset[] times = [.. stages.Select(s => s.Status.StartTime).OfType<DateTimeOffset>()];
        return times.Length == 0 ? null : times.Min();
    }

    private RestartStatus? Restarts(List<SeenStage> stages)
    {
        int total = stages.Sum(s => Math.Max(0, (s.Status.Attempts ?? 0) - 1));
        int counted = stages.Sum(s => Math.Min(s.Status.Failures ?? 0, Math.Max(0, (s.Status.Attempts ?? 0) - 1)));
        return new RestartStatus
        {
            Total = Math.Max(total, _known.Restarts?.Total ?? 0), Counted = counted, Uncounted = Math.Max(0, total - counted)
        };
    }
}
