// Why this exists: an experiment's whole behaviour in a cluster as one pure function: from what is observed to the children and the status that should be.
using System.Globalization;
using System.Text.Json;
using CoCLR.Cluster;
using CoCLR.Core;
using CoCLR.Core.Manifests;
using CoCLR.Core.Manifests.Schema;
using CoCLR.Core.Manifests.Status;
using CoCLR.Core.Planning;
using CoCLR.Operator.Api;
using CoCLR.Operator.Runtime;
using CoCLR.Operator.Status;

namespace CoCLR.Operator.Reconciling;

/// <summary>Reconciles experiments.</summary>
public static class ExperimentReconciler
{
    private static readonly TimeSpan SlowRetry = TimeSpan.FromSeconds(30);

    /// <summary>Decides what should be.</summary>
    /// <param name="observed">What is observed.</param>
    /// <param name="settings">Settings.</param>
    public static ExperimentDecision Reconcile(ExperimentObservation observed, ChildSettings settings)
    {
        ObjectMeta meta = observed.Experiment.Meta;
        if (observed.Experiment.ManagedBy is { } manager && manager != Labels.Controller)
        {
            return ExperimentDecision.None;
        }

        ExperimentStatus known = observed.Experiment.ParseStatus();
        if (meta.Deleting != null)
        {
            return Deleting(known, observed);
        }

        (ExperimentSpec? spec, string? unreadable) = observed.Experiment.ParseSpec();
        if (spec == null)
        {
            return Refused(known, observed, ConditionReasons.Unparseable, unreadable!);
        }

        bool retry = known.CompletionTime != null && known.State == ExperimentState.Failed
            && meta.Annotations.GetValueOrDefault(Labels.Retry) is { Length: > 0 and <= 63 } asked && asked != known.Retry;
        if (known.CompletionTime != null && !retry)
        {
            return Finished(known, spec, observed);
        }

        if (retry)
        {
            known = Again(known, meta.Annotations[Labels.Retry]);
        }

        if (known.StartTime == null && Problems(observed.Experiment, spec, settings) is { Count: > 0 } problems)
        {
            return Refused(known, observed, ConditionReasons.InvalidSpec, string.Join("; ", problems.Take(8)));
        }

        string[] foreign = [.. observed.Foreign.Concat(ForeignClaim(observed, spec)).Order(StringComparer.Ordinal)];
        if (foreign.Length > 0)
        {
            return Refused(known, observed, ConditionReasons.NameConflict, $"{string.Join(" and ", foreign)} belongs to something else; delete or rename it and the experiment goes on by itself");
        }

        return new Run(known, spec, Snapshot(observed, spec, settings), observed, settings).Decide();
    }

    /// <summary>Results of all stages, gathered by view.</summary>
    /// <param name="known">Results as stored.</param>
    /// <param name="plan">The plan.</param>
    /// <param name="stages">What is seen.</param>
    internal static IReadOnlyList<ResultStatus> Results(IReadOnlyList<ResultStatus> known, StagePlan plan, IReadOnlyList<SeenStage> stages)
    {
        var results = known.ToDictionary(r => r.View);
        foreach (SeenStage seen in stages.Where(s => s.Report is { Result.Count: > 0 }))
        {
            Stage stage = plan.Stages.First(s => s.Name == seen.Status.Name);
            string? view = stage.Kind switch
            {
                StageKind.Fuse => "two-stream",
                StageKind.Probe or StageKind.Finetune or StageKind.Retrieve => stage.View?.Name(),
                _ => null,
            };
            if (view != null)
            {
                results[view] = seen.Report!.Over(results.GetValueOrDefault(view) ?? new ResultStatus { View = view });
            }
        }

        return [.. results.Values.OrderBy(r => r.View switch { "rgb" => 0, "flow" => 1, _ => 2 })];
    }

    /// <summary>The best result in words.</summary>
    /// <param name="results">Results by view.</param>
    internal static string? Best(IReadOnlyList<ResultStatus> results)
    {
        foreach ((string name, Func<ResultStatus, string?> measure) in new (string, Func<ResultStatus, string?>)[] { ("finetune", r => r.FinetuneTop1), ("linear", r => r.LinearProbeTop1), ("R@1", r => r.RecallAt1), ("kNN", r => r.KnnTop1) })
        {
            ResultStatus? best = results.Where(r => measure(r) != null).MaxBy(r => double.Parse(measure(r)!, CultureInfo.InvariantCulture));
            if (best != null)
            {
                return string.Create(CultureInfo.InvariantCulture, $"{name} {100 * double.Parse(measure(best)!, CultureInfo.InvariantCulture):0.0}% ({best.View})");
            }
        }

        return null;
    }

    // A claim of somebody else under this name would be used as if it were the run's.
    private static string[] ForeignClaim(ExperimentObservation observed, ExperimentSpec spec)
    {
        ObjectMeta meta = observed.Experiment.Meta;
        string name = ChildNames.Child(meta.Key.Name, meta.Uid, "run");
        return spec.Storage.ClaimName == null && observed.Claim(name) is { } claim && claim.Meta.Controller?.Uid != meta.Uid && (claim.Meta.Controller != null || claim.Meta.Label(Labels.ExperimentUid) != meta.Uid)
            ? [$"persistentvolumeclaims/{name}"]
            : [];
    }

    private static List<ManifestProblem> Problems(CustomResource<ExperimentSpec, ExperimentStatus> experiment, ExperimentSpec spec, ChildSettings settings)
    {
        List<ManifestProblem> problems = [.. experiment.CheckFields(SchemaModel.Experiment)];
        return problems.Count > 0 ? problems : [.. ExperimentRules.Check(spec), .. settings.Propagation.Check(spec)];
    }

    private static PlanSnapshot Snapshot(ExperimentObservation observed, ExperimentSpec spec, ChildSettings settings)
    {
        ObjectMeta meta = observed.Experiment.Meta;
        if (observed.Plan is { Plan.Length: > 0 } kept)
        {
            try
            {
                if (JsonSerializer.Deserialize<StagePlan>(kept.Plan, CoclrJson.Indented) is { } plan)
                {
                    return new PlanSnapshot(plan, kept.Image ?? spec.Image ?? settings.DefaultImage);
                }
            }
            catch (JsonException)
            {
                // Written by a version that this one cannot read: plan anew; stages that are done stay done.
            }
        }

        return new PlanSnapshot(Planner.Plan(meta.Key.Name, spec, ChildNames.Run(meta.Key.Name, meta.Uid)), spec.Image ?? settings.DefaultImage);
    }

    private static ExperimentStatus Again(ExperimentStatus known, string retry) => known with
    {
        Retry = retry,
        CompletionTime = null,
        Stages = [.. known.Stages.Select(s => s.State == StageState.Failed ? s with { State = StageState.Pending, StartTime = null, EndTime = null, Reason = null, Message = null, Failures = null } : s)],
        Conditions = [.. known.Conditions.Where(c => c.Type is not (ConditionTypes.Stalled or ConditionTypes.Succeeded))],
    };

    private static ExperimentDecision Deleting(ExperimentStatus known, ExperimentObservation observed)
    {
        var conditions = new ConditionSet(known.Conditions, observed.Experiment.Meta.Generation, observed.Now)
            .False(ConditionTypes.Ready, ConditionReasons.Terminating, "the experiment is being deleted")
            .True(ConditionTypes.Reconciling, ConditionReasons.Terminating, "waits for its pods to end")
            .Keep(ConditionTypes.Accepted).Keep(ConditionTypes.Succeeded);
        return new ExperimentDecision { Status = known with { ObservedGeneration = observed.Experiment.Meta.Generation, Conditions = conditions.Build() } };
    }

    private static ExperimentDecision Refused(ExperimentStatus known, ExperimentObservation observed, string reason, string message)
    {
        bool conflict = reason == ConditionReasons.NameConflict;
        var conditions = new ConditionSet(known.Conditions, observed.Experiment.Meta.Generation, observed.Now)
            .False(ConditionTypes.Ready, reason, message)
            .True(ConditionTypes.Stalled, reason, message)
            .Set(ConditionTypes.Succeeded, ConditionStatus.Unknown, ConditionReasons.NotFinished, "not ended yet")
            .Set(ConditionTypes.Accepted, conflict ? ConditionStatus.True : ConditionStatus.False, conflict ? ConditionReasons.Valid : reason, conflict ? "the spec is valid" : message)
            .False(ConditionTypes.Running, ConditionReasons.NotRunning, "no stage runs");
        return new ExperimentDecision
        {
            Status = known with { ObservedGeneration = observed.Experiment.Meta.Generation, State = ExperimentState.Stalled, Conditions = conditions.Build() },
            Events = known.Condition(ConditionTypes.Stalled)?.Reason == reason ? [] : [ObjectEvent.Warning(reason, message)],
            Again = conflict ? SlowRetry : null,
        };
    }

    private static ExperimentDecision Finished(ExperimentStatus known, ExperimentSpec spec, ExperimentObservation observed)
    {
        ObjectMeta meta = observed.Experiment.Meta;
        var conditions = new ConditionSet(known.Conditions, meta.Generation, observed.Now);
        foreach (Condition condition in known.Conditions)
        {
            conditions.Keep(condition.Type);
        }

        List<DesiredWrite> writes = [.. observed.Jobs.Where(j => Mine(j, meta) && !j.Finished && j.Meta.Deleting == null && (j.HasQueue || !j.Suspended))
            .Select(j => j.HasQueue ? (DesiredWrite)new DesiredWrite.Delete(ResourceKind.Job, j.Meta.Key, j.Meta.Uid) : new DesiredWrite.SetSuspend(j, true))];
        int? ttl = known.State == ExperimentState.Succeeded ? spec.TtlSecondsAfterFinished?.Succeeded : spec.TtlSecondsAfterFinished?.Failed;
        TimeSpan? left = null;
        if (ttl is { } seconds)
        {
            left = known.CompletionTime!.Value.AddSeconds(seconds) - observed.Now;
            if (left <= TimeSpan.Zero)
            {
                writes.Add(new DesiredWrite.Delete(ResourceKind.Experiment, meta.Key, meta.Uid));
                left = null;
            }
        }

        return new ExperimentDecision
        {
            Writes = writes,
            Status = known with { ObservedGeneration = meta.Generation, Conditions = conditions.Build(), Gpus = writes.Count > 0 ? known.Gpus : 0 },
            Again = left > TimeSpan.FromHours(1) ? TimeSpan.FromHours(1) : left,
        };
    }

    private static bool Mine(JobView job, ObjectMeta experiment) => job.Meta.Controller?.Uid == experiment.Uid;

    /// <summary>One reconcile of an experiment that is under way.</summary>
    private sealed class Run
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

        public Run(ExperimentStatus known, ExperimentSpec spec, PlanSnapshot snapshot, ExperimentObservation observed, ChildSettings settings)
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

        public ExperimentDecision Decide()
        {
            List<SeenStage> stages = [.. _snapshot.Plan.Stages.Select(Observe)];
            ExperimentStatus next = _known with
            {
                ObservedGeneration = _meta.Generation,
                Run = _snapshot.Plan.Run,
                Queue = _spec.QueueName,
                DashboardUrl = _settings.DashboardUrl == null ? null : $"{_settings.DashboardUrl.TrimEnd('/')}/runs/{_snapshot.Plan.Run}",
                Stages = [.. stages.Select(s => s.Status)],
                Results = Results(_known.Results, _snapshot.Plan, stages),
                Gpus = stages.Sum(s => s.Live is { Running: true } && JobBuilder.UsesGpu(_spec, _snapshot.Plan[s.Status.Name]) ? _spec.Resources.Gpus : 0),
                Restarts = Restarts(stages),
            };
            next = Clock(next with { Best = Best(next.Results) }, stages);
            next = next with { Progress = ProgressCalculator.Of(_snapshot.Plan, stages, _known.Progress), StartTime = next.StartTime ?? FirstStart(stages) };

            string? failure = Deadline(next, stages, out string failureReason);
            string? missing = MissingClaim();
            NextActions actions = NextActions.Decide(_snapshot.Plan, new PlanObservation(
                stages.ToDictionary(s => s.Status.Name, s => s.Observation(_spec.Retries)),
                _spec.Suspend,
                Parallelism()));
            if (failure == null && actions.FailedStage != null)
            {
                failureReason = stages.First(s => s.Status.Name == actions.FailedStage).Status.Reason ?? ConditionReasons.RetriesExhausted;
                failure = actions.Message;
            }

            if (failure != null)
            {
                Stop(stages.Where(s => s.Job is { Finished: false, Meta.Deleting: null }));
                next = Failed(next, failureReason, failure);
            }
            else if (actions.Outcome == RunOutcome.Succeeded)
            {
                next = Succeeded(next);
            }
            else if (_spec.Suspend)
            {
                Stop(stages.Where(s => actions.Stop.Contains(s.Status.Name)));
                next = Suspend(next, stages);
            }
            else if (missing == null && Predecessors() is { Length: > 0 } predecessors)
            {
                next = Wait(next, ConditionReasons.WaitingForPredecessor, $"{predecessors.Length} pods of a deleted experiment of this name are still ending");
            }
            else
            {
                if (missing == null)
                {
                    Start(actions.Start, stages);
                }

                ReplaceStalled(stages);
                ReplaceOutgrown(stages);
                next = Describe(next, stages, actions, missing);
            }

            Tell(next);
            return Throttle(next);
        }

        private SeenStage Observe(Stage stage)
        {
            StageStatus known = _known.Stages.FirstOrDefault(s => s.Name == stage.Name) ?? new StageStatus { Name = stage.Name };
            string name = JobName(stage.Name);
            JobView? job = _observed.Jobs.FirstOrDefault(j => j.Meta.Key.Name == name && Mine(j, _meta));
            SeenStage seen = StageObserver.Observe(stage.Name, known, job, _observed);
            if (job == null && seen.Live is { Meta.Deleting: null })
            {
                // Nobody has stopped its pod, so the Job may be there and have lost the labels by which it is found.
                _suspects.Add(new DesiredWrite.Create(ResourceKind.Job, name, JobBuilder.Job(_meta, name, stage, _snapshot, _planName, _claimName, _spec, _settings)));
            }

            return seen;
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

        private PodView[] Predecessors() => _observed.Jobs.Any(j => Mine(j, _meta))
            ? []
            : [.. _observed.Pods.Where(p => !p.Over && p.Meta.Label(Labels.ExperimentUid) is { } uid && uid != _meta.Uid)];

        private string? MissingClaim()
        {
            if (_spec.Storage.ClaimName is { } storage)
            {
                switch (_observed.Claim(storage))
                {
                    case null:
                        return $"spec.storage.claimName: the claim {storage} does not exist in this namespace; create it and the experiment starts by itself";
                    case { Phase: "Lost" }:
                        return $"spec.storage.claimName: the claim {storage} has lost its volume";
                    case { } claim when claim.AccessModes.Count > 0 && !claim.AccessModes.Any(m => m is "ReadWriteOnce" or "ReadWriteMany" or "ReadWriteOncePod"):
                        return $"spec.storage.claimName: the claim {storage} is read-only; the run folder needs ReadWriteOnce or ReadWriteMany";
                }
            }

            if (_spec.Dataset.Source.VolumeClaim is { } dataset)
            {
                switch (_observed.Claim(dataset.Name))
                {
                    case null:
                        return $"spec.dataset.source.volumeClaim.name: the claim {dataset.Name} does not exist in this namespace; create it and the experiment starts by itself";
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
                    _writes.Add(new DesiredWrite.Create(ResourceKind.ConfigMap, _planName, JobBuilder.PlanConfigMap(_meta, _planName, _snapshot, _settings)));
                }

                if (_spec.Storage.ClaimName == null && _observed.Claim(_claimName) == null)
                {
                    _writes.Add(new DesiredWrite.Create(ResourceKind.Claim, _claimName, JobBuilder.Claim(_meta, _claimName, _snapshot, _settings)));
                }
            }

            foreach (string name in names)
            {
                SeenStage seen = stages.First(s => s.Status.Name == name);
                if (seen.Job == null)
                {
                    string job = JobName(name);
                    _writes.Add(new DesiredWrite.Create(ResourceKind.Job, job, JobBuilder.Job(_meta, job, _snapshot.Plan[name], _snapshot, _planName, _claimName, _spec, _settings)));
                }
                else if (seen.Job.Suspended)
                {
                    _writes.Add(new DesiredWrite.SetSuspend(seen.Job, false));
                }
            }

            // Somebody set parallelism to 0 by hand: the stage would wait for ever.
            _writes.AddRange(stages.Where(s => s.Job is { Finished: false, HasQueue: false, Parallelism: not 1, Suspended: false, Meta.Deleting: null }).Select(s => new DesiredWrite.SetSuspend(s.Job!, false)));
        }

        private void Stop(IEnumerable<SeenStage> stop)
        {
            foreach (JobView job in stop.Select(s => s.Job).OfType<JobView>())
            {
                if (job.HasQueue && job.Meta.Deleting == null)
                {
                    // The suspend field of a queued Job is the queue's: deleting the Job gives its quota back, and a new one continues from the checkpoint.
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
                (false, { } since) => next with { ActiveSince = null, ActiveSeconds = (_known.ActiveSeconds ?? 0) + Math.Max(0, (long)(_observed.Now - since).TotalSeconds) },
                _ => next,
            };
        }

        private string? Deadline(ExperimentStatus next, List<SeenStage> stages, out string reason)
        {
            reason = ConditionReasons.DeadlineExceeded;
            if (_spec.Suspend)
            {
                return null;
            }

            if (_spec.ActiveDeadlineSeconds is { } active)
            {
                TimeSpan used = TimeSpan.FromSeconds(next.ActiveSeconds ?? 0) + (next.ActiveSince is { } since ? _observed.Now - since : TimeSpan.Zero);
                if (used >= TimeSpan.FromSeconds(active))
                {
                    return $"it ran longer than activeDeadlineSeconds ({active} s)";
                }

                if (next.ActiveSince != null)
                {
                    LookAgain(TimeSpan.FromSeconds(active) - used);
                }
            }

            if (_spec.PreRunningDeadlineSeconds is { } waiting)
            {
                foreach (SeenStage seen in stages.Where(s => s.Status.WaitingSince != null && s.Status.State is StageState.Starting or StageState.Restarting))
                {
                    TimeSpan left = seen.Status.WaitingSince!.Value.AddSeconds(waiting) - _observed.Now;
                    if (left <= TimeSpan.Zero)
                    {
                        reason = ConditionReasons.PreRunningDeadlineExceeded;
                        return $"the pod of {seen.Status.Name} did not run within preRunningDeadlineSeconds ({waiting} s){(seen.Status.Message == null ? "" : $": {seen.Status.Reason}: {seen.Status.Message}")}";
                    }

                    LookAgain(left);
                }
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

            foreach (SeenStage seen in stages.Where(s => s.Live is { Running: true, Meta.Deleting: null }))
            {
                DateTimeOffset[] signs = [_observed.ListeningSince, seen.Live!.RunningSince!.Value, seen.Report?.MovedAt ?? default];
                TimeSpan left = signs.Max().AddSeconds(allowed) - _observed.Now;
                if (left > TimeSpan.Zero)
                {
                    LookAgain(left);
                    continue;
                }

                _writes.Add(new DesiredWrite.Delete(ResourceKind.Pod, seen.Live.Meta.Key, seen.Live.Meta.Uid));
                _events.Add(ObjectEvent.Warning("StageStalled", $"{seen.Status.Name} made no progress for {allowed} s (stallDeadlineSeconds); pod {seen.Live.Meta.Key.Name} is replaced and goes on from the checkpoint"));
            }
        }

        // A Job's pods cannot be changed: one whose pod does not run is made again with what the spec asks for now.
        private void ReplaceOutgrown(List<SeenStage> stages)
        {
            foreach (SeenStage seen in stages.Where(s => s.Job is { Finished: false, Meta.Deleting: null, Resources: not null } && s.Live is not { Running: true }))
            {
                JobView job = seen.Job!;
                bool ended = _observed.Pods.Any(p => p.Meta.Controller?.Uid == job.Meta.Uid && p.Phase == "Succeeded");
                if (job.Resources != JobBuilder.ResourcesHash(_snapshot.Plan.Spec with { Resources = _spec.Resources }, _snapshot.Plan[seen.Status.Name]) && !ended)
                {
                    _writes.Add(new DesiredWrite.Delete(ResourceKind.Job, job.Meta.Key, job.Meta.Uid));
                    _events.Add(ObjectEvent.Normal("ResourcesChanged", $"{seen.Status.Name} gets a new Job with the resources that the spec asks for now; it goes on from its checkpoint"));
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
            return new RestartStatus { Total = Math.Max(total, _known.Restarts?.Total ?? 0), Counted = counted, Uncounted = Math.Max(0, total - counted) };
        }

        private ConditionSet Conditions() => new(_known.Conditions, _meta.Generation, _observed.Now);

        private ConditionSet Open() => Conditions()
            .Set(ConditionTypes.Succeeded, ConditionStatus.Unknown, ConditionReasons.NotFinished, "not ended yet")
            .True(ConditionTypes.Accepted, ConditionReasons.Valid, "the spec is valid and what it refers to exists");

        private ConditionSet Queueless(ConditionSet conditions) => _spec.QueueName == null
            ? conditions.True(ConditionTypes.Admitted, ConditionReasons.NoQueue, "it has no queue")
            : conditions.True(ConditionTypes.Admitted, ConditionReasons.Admitted, $"the queue {_spec.QueueName} has admitted it");

        private ExperimentStatus Failed(ExperimentStatus next, string reason, string message)
        {
            var conditions = Conditions()
                .False(ConditionTypes.Ready, reason, message)
                .True(ConditionTypes.Stalled, reason, message)
                .False(ConditionTypes.Succeeded, reason, message)
                .True(ConditionTypes.Accepted, ConditionReasons.Valid, "the spec is valid")
                .False(ConditionTypes.Running, ConditionReasons.NotRunning, "it has ended");
            return End(next with { State = ExperimentState.Failed, Conditions = conditions.Build() });
        }

        private ExperimentStatus Succeeded(ExperimentStatus next)
        {
            string message = next.Best == null ? "every stage succeeded" : $"every stage succeeded; best: {next.Best}";
            var conditions = Conditions()
                .True(ConditionTypes.Ready, ConditionReasons.Succeeded, message)
                .True(ConditionTypes.Succeeded, ConditionReasons.Succeeded, message)
                .True(ConditionTypes.Accepted, ConditionReasons.Valid, "the spec is valid")
                .False(ConditionTypes.Running, ConditionReasons.NotRunning, "it has ended");
            return End(next with
            {
                State = ExperimentState.Succeeded,
                Conditions = conditions.Build(),
                Progress = next.Progress! with { Percent = 100, Text = "100%", EtaSeconds = null },
            });
        }

        private ExperimentStatus End(ExperimentStatus next)
        {
            _again = next.State == ExperimentState.Succeeded && _spec.TtlSecondsAfterFinished?.Succeeded != null
                || next.State == ExperimentState.Failed && _spec.TtlSecondsAfterFinished?.Failed != null ? TimeSpan.FromSeconds(1) : null;
            return next with
            {
                Stage = null,
                CompletionTime = _observed.Now,
                Gpus = 0,
                ActiveSince = null,
                ActiveSeconds = (next.ActiveSeconds ?? 0) + (next.ActiveSince is { } since ? Math.Max(0, (long)(_observed.Now - since).TotalSeconds) : 0),
            };
        }

        private ExperimentStatus Suspend(ExperimentStatus next, List<SeenStage> stages)
        {
            int live = stages.Count(s => s.Live != null || s.Job is { HasQueue: true });
            next = next with { Stage = Current(stages), Stages = [.. next.Stages.Select(s => s with { WaitingSince = null })] };
            if (live > 0 || _writes.Count > 0)
            {
                var ending = Open().False(ConditionTypes.Ready, ConditionReasons.Suspending, "its pods write their checkpoints and end")
                    .True(ConditionTypes.Reconciling, ConditionReasons.Suspending, "waits for its pods to end")
                    .Set(ConditionTypes.Running, live > 0 && stages.Any(s => s.Live is { Running: true }) ? ConditionStatus.True : ConditionStatus.False, ConditionReasons.Suspending, "being suspended");
                return next with { State = ExperimentState.Suspending, Conditions = ending.Build() };
            }

            var conditions = Open().True(ConditionTypes.Ready, ConditionReasons.Suspended, "suspended; set spec.suspend to false to continue")
                .True(ConditionTypes.Suspended, ConditionReasons.Suspended, "no pod runs and no device is held")
                .False(ConditionTypes.Running, ConditionReasons.Suspended, "suspended");
            return next with { State = ExperimentState.Suspended, Conditions = conditions.Build() };
        }

        private ExperimentStatus Wait(ExperimentStatus next, string reason, string message)
        {
            LookAgain(SlowRetry);
            var conditions = Queueless(Open()).False(ConditionTypes.Ready, reason, message)
                .True(ConditionTypes.Reconciling, reason, message)
                .False(ConditionTypes.Running, ConditionReasons.NotRunning, message);
            return next with { State = ExperimentState.Waiting, Conditions = conditions.Build() };
        }

        private static string? Current(List<SeenStage> stages)
        {
            string[] busy = [.. stages.Where(s => s.Job is { Finished: false } && s.Status.State is not (StageState.Succeeded or StageState.Failed)).Select(s => s.Status.Name)];
            string text = string.Join(",", busy.Length > 0 ? busy : stages.Where(s => s.Status.State != StageState.Succeeded).Select(s => s.Status.Name).Take(1));
            return text.Length == 0 ? null : EventRecorder.Truncate(text, 253);
        }

        private ExperimentStatus Describe(ExperimentStatus next, List<SeenStage> stages, NextActions actions, string? missing)
        {
            next = next with { Stage = actions.Start.Count > 0 && !stages.Any(s => s.Job is { Finished: false }) ? string.Join(",", actions.Start) : Current(stages) };
            SeenStage? First(StageState state) => stages.FirstOrDefault(s => s.Status.State == state && (s.Job != null || s.Live != null));
            SeenStage? running = First(StageState.Running), restarting = First(StageState.Restarting), starting = First(StageState.Starting), queued = First(StageState.Queued);
            SeenStage? dependent = stages.FirstOrDefault(s => s.MissingDependency);
            missing ??= running == null && dependent != null ? $"{dependent.Status.Name}: {dependent.Status.Message}" : null;

            ConditionSet conditions = Open();
            if (missing != null)
            {
                conditions.False(ConditionTypes.Accepted, ConditionReasons.DependencyNotReady, missing);
                if (running == null)
                {
                    Queueless(conditions).False(ConditionTypes.Ready, ConditionReasons.DependencyNotReady, missing)
                        .True(ConditionTypes.Reconciling, ConditionReasons.DependencyNotReady, missing)
                        .False(ConditionTypes.Running, ConditionReasons.NotRunning, missing);
                    LookAgain(SlowRetry);
                    return next with { State = ExperimentState.Waiting, Conditions = conditions.Build() };
                }
            }

            if (running != null)
            {
                string message = $"{next.Stage} runs";
                Queueless(conditions).False(ConditionTypes.Ready, ConditionReasons.Training, message)
                    .True(ConditionTypes.Reconciling, ConditionReasons.Progressing, message)
                    .True(ConditionTypes.Running, ConditionReasons.Training, $"pod {running.Status.Pod}");
                return next with { State = ExperimentState.Training, Conditions = conditions.Build() };
            }

            if (restarting != null)
            {
                string message = $"{restarting.Status.Name} is being started again{Because(restarting.Status)}";
                Queueless(conditions).False(ConditionTypes.Ready, ConditionReasons.Restarting, message)
                    .True(ConditionTypes.Reconciling, ConditionReasons.ProgressingWithRetry, message)
                    .False(ConditionTypes.Running, ConditionReasons.Restarting, message)
                    .True(ConditionTypes.Interrupted, restarting.Status.Reason ?? ConditionReasons.Restarting, restarting.Status.Message ?? message);
                return next with { State = ExperimentState.Restarting, Conditions = conditions.Build() };
            }

            if (starting == null && queued != null)
            {
                string message = queued.Status.Message ?? "waits for its queue";
                conditions.False(ConditionTypes.Ready, ConditionReasons.Queued, message)
                    .True(ConditionTypes.Reconciling, ConditionReasons.Queued, message)
                    .False(ConditionTypes.Admitted, queued.Status.Reason ?? ConditionReasons.Queued, message)
                    .False(ConditionTypes.Running, ConditionReasons.Queued, message);
                return next with { State = ExperimentState.Queued, Conditions = conditions.Build() };
            }

            string words = starting?.Status is { Reason: not null } status ? $"{status.Name} waits for its pod{Because(status)}" : $"{next.Stage} is being started";
            string reason = starting?.Status.Reason ?? ConditionReasons.Starting;
            Queueless(conditions).False(ConditionTypes.Ready, reason, words)
                .True(ConditionTypes.Reconciling, reason, words)
                .False(ConditionTypes.Running, reason, words);
            return next with { State = ExperimentState.Starting, Conditions = conditions.Build() };
        }

        private static string Because(StageStatus status) => status.Reason == null ? "" : $" ({status.Reason}{(status.Message == null ? "" : ": " + status.Message)})";

        private void Tell(ExperimentStatus next)
        {
            foreach (StageStatus stage in next.Stages)
            {
                StageStatus before = _known.Stages.FirstOrDefault(s => s.Name == stage.Name) ?? new StageStatus { Name = stage.Name };
                if (before.State == stage.State)
                {
                    continue;
                }

                switch (stage.State)
                {
                    case StageState.Running:
                        _events.Add(ObjectEvent.Normal(stage.Attempts > 1 ? "StageResumed" : "StageStarted", $"{stage.Name} runs in pod {stage.Pod}"));
                        break;
                    case StageState.Succeeded:
                        _events.Add(ObjectEvent.Normal("StageSucceeded", $"{stage.Name} succeeded"));
                        break;
                    case StageState.Restarting:
                        _events.Add(ObjectEvent.Warning("StageInterrupted", $"{stage.Name} is being started again{Because(stage)}"));
                        break;
                    case StageState.Failed:
                        _events.Add(ObjectEvent.Warning("StageFailed", $"{stage.Name} failed{Because(stage)}"));
                        break;
                }
            }

            if (next.State == _known.State)
            {
                return;
            }

            string message = next.Condition(ConditionTypes.Ready)?.Message ?? "";
            switch (next.State)
            {
                case ExperimentState.Queued or ExperimentState.Suspended or ExperimentState.Succeeded:
                    _events.Add(ObjectEvent.Normal(next.State.ToString()!, message));
                    break;
                case ExperimentState.Failed or ExperimentState.Waiting:
                    _events.Add(ObjectEvent.Warning(next.Condition(ConditionTypes.Ready)!.Reason, message));
                    break;
            }
        }

        /// <summary>Holds back a status that differs in nothing but progress until its time has come.</summary>
        private ExperimentDecision Throttle(ExperimentStatus next)
        {
            if (next.Progress?.UpdatedAt is { } told && _known.Progress?.UpdatedAt is { } written && told > written && told - written < _settings.ProgressInterval
                && JsonSerializer.Serialize(Still(next), CoclrJson.Compact) == JsonSerializer.Serialize(Still(_known), CoclrJson.Compact))
            {
                LookAgain(written + _settings.ProgressInterval - _observed.Now);
                next = _known;
            }

            return new ExperimentDecision { Writes = _writes, Suspects = _suspects, Status = next, Events = _events, Again = _again };
        }

        private static ExperimentStatus Still(ExperimentStatus status) => status with { Progress = null, Stages = [.. status.Stages.Select(s => s with { Epoch = null })] };
    }
}
