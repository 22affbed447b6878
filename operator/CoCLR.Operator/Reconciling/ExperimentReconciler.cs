// Why this exists: an experiment's whole behaviour in a cluster as one pure function: from what is observed to the children and the status
// that should be.
using System.Globalization;
using System.Text.Json;
using System.Text.Json.Nodes;
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
    /// <summary>When to look again at what nobody tells of.</summary>
    internal static readonly TimeSpan SlowRetry = TimeSpan.FromSeconds(30);

    private static readonly Decision<ExperimentStatus> Nothing = new();

    /// <summary>Decides what should be.</summary>
    /// <param name="observed">What is observed.</param>
    /// <param name="settings">Settings.</param>
    public static Decision<ExperimentStatus> Reconcile(ExperimentObservation observed, ChildSettings settings)
    {
        ObjectMeta meta = observed.Experiment.Meta;
        if (observed.Experiment.ManagedBy is { } manager && manager != Labels.Controller)
        {
            return Nothing;
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
            return Finished(known, spec, observed, settings);
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
            return Refused(
                known,
                observed,
                ConditionReasons.NameConflict,
                $"{string.Join(" and ", foreign)} belongs to something else; delete or rename it and the experiment goes on by itself");
        }

        return new ExperimentRun(known, spec, Snapshot(observed, spec, settings) with { Resolved = known.Image }, observed, settings)
            .Decide();
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
                return string.Create(
                    CultureInfo.InvariantCulture,
                    $"{name} {100 * double.Parse(measure(best)!, CultureInfo.InvariantCulture):0.0}% ({best.View})");
            }
        }

        return null;
    }

    // A claim of somebody else under this name would be used as if it were the run's.
    private static string[] ForeignClaim(ExperimentObservation observed, ExperimentSpec spec)
    {
        ObjectMeta meta = observed.Experiment.Meta;
        string name = ChildNames.Child(meta.Key.Name, meta.Uid, "run");
        return spec.Storage.ClaimName == null && observed.Claim(name) is { } claim && claim.Meta.Controller?.Uid != meta.Uid
            && (claim.Meta.Controller != null || claim.Meta.Label(Labels.ExperimentUid) != meta.Uid)
            ? [$"persistentvolumeclaims/{name}"]
            : [];
    }

    private static List<ManifestProblem> Problems(
        CustomResource<ExperimentSpec, ExperimentStatus> experiment, ExperimentSpec spec, ChildSettings settings)
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

        return new PlanSnapshot(
            Planner.Plan(meta.Key.Name, spec, ChildNames.Run(meta.Key.Name, meta.Uid)), spec.Image ?? settings.DefaultImage);
    }

    private static ExperimentStatus Again(ExperimentStatus known, string retry) => known with
    {
        Retry = retry,
        CompletionTime = null,
        Undelivered = null,
        Stages = [
            .. known.Stages.Select(
                s => s.State == StageState.Failed
                    ? s with
                    {
                        State = StageState.Pending, StartTime = null, EndTime = null, Reason = null, Message = null, Failures = null
                    }
                    : s)],
        Conditions = [.. known.Conditions.Where(c => c.Type is not (ConditionTypes.Stalled or ConditionTypes.Succeeded))],
    };

    private static Decision<ExperimentStatus> Deleting(ExperimentStatus known, ExperimentObservation observed)
    {
        var conditions = new ConditionSet(known.Conditions, observed.Experiment.Meta.Generation, observed.Now)
            .False(ConditionTypes.Ready, ConditionReasons.Terminating, "the experiment is being deleted")
            .True(ConditionTypes.Reconciling, ConditionReasons.Terminating, "waits for its pods to end")
            .Keep(ConditionTypes.Accepted).Keep(ConditionTypes.Succeeded);
        return new Decision<ExperimentStatus> { Status = known with { ObservedGeneration = observed.Experiment.Meta.Generation, Conditions = conditions.Build() } };
    }

    private static Decision<ExperimentStatus> Refused(ExperimentStatus known, ExperimentObservation observed, string reason, string message)
    {
        bool conflict = reason == ConditionReasons.NameConflict;
        var conditions = new ConditionSet(known.Conditions, observed.Experiment.Meta.Generation, observed.Now)
            .False(ConditionTypes.Ready, reason, message)
            .True(ConditionTypes.Stalled, reason, message)
            .Set(ConditionTypes.Succeeded, ConditionStatus.Unknown, ConditionReasons.NotFinished, "not ended yet")
            .Set(
                ConditionTypes.Accepted,
                conflict ? ConditionStatus.True : ConditionStatus.False,
                conflict ? ConditionReasons.Valid : reason,
                conflict ? "the spec is valid" : message)
            .False(ConditionTypes.Running, ConditionReasons.NotRunning, "no stage runs");
        return new Decision<ExperimentStatus>
        {
            Status = known with
            {
                ObservedGeneration = observed.Experiment.Meta.Generation,
                State = ExperimentState.Stalled,
                Conditions = conditions.Build()
            },
            Events = known.Condition(ConditionTypes.Stalled)?.Reason == reason ? [] : [ObjectEvent.Warning(reason, message)],
            Again = conflict ? SlowRetry : null,
        };
    }

    private static Decision<ExperimentStatus> Finished(
        ExperimentStatus known, ExperimentSpec spec, ExperimentObservation observed, ChildSettings settings)
    {
        ObjectMeta meta = observed.Experiment.Meta;
        var conditions = new ConditionSet(known.Conditions, meta.Generation, observed.Now);
        foreach (Condition condition in known.Conditions)
        {
            conditions.Keep(condition.Type);
        }

        string delivery = ChildNames.Child(meta.Key.Name, meta.Uid, JobBuilder.DeliveryName, known.Retry);
        List<DesiredWrite> writes =
            [.. observed.Jobs.Where(j => Mine(j, meta) && j.Meta.Key.Name != delivery && !j.Finished && j.Meta.Deleting == null && (j.HasQueue || !j.Suspended))
            .Select(
                j => j.HasQueue
                    ? (DesiredWrite)new DesiredWrite.Delete(ResourceKind.Job, j.Meta.Key, j.Meta.Uid)
                    : new DesiredWrite.SetSuspend(j, true))];
        int? ttl =
            known.State == ExperimentState.Succeeded ? spec.TtlSecondsAfterFinished?.Succeeded : spec.TtlSecondsAfterFinished?.Failed;
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

        int? gpus = writes.Count > 0 ? known.Gpus : 0;
        List<ObjectEvent> events = [.. observed.Refusals.Select(r => ObjectEvent.Warning(r.Reason, r.Message))];
        bool? undelivered = known.Undelivered == true ? Deliver(delivery, spec, observed, settings, writes, events) : null;
        return new Decision<ExperimentStatus>
        {
            Writes = writes,
            Status = known with
            {
                ObservedGeneration = meta.Generation,
                Conditions = conditions.Build(),
                Gpus = gpus,
                Undelivered = undelivered
            },
            Events = events,
            Again = observed.Refusals.Count > 0 ? Refusal.Retry : left > TimeSpan.FromHours(1) ? TimeSpan.FromHours(1) : left,
        };
    }

    /// <summary>
    /// What the stages could not tell the dashboard is sent by a Job of its own; otherwise nobody would ever see it there.
    /// </summary>
    /// <returns>Whether something is still undelivered.</returns>
    private static bool? Deliver(
        string name, ExperimentSpec spec, ExperimentObservation observed, ChildSettings settings, List<DesiredWrite> writes,
        List<ObjectEvent> events)
    {
        ObjectMeta meta = observed.Experiment.Meta;
        string claim = spec.Storage.ClaimName ?? ChildNames.Child(meta.Key.Name, meta.Uid, "run");
        JobView? job = observed.Jobs.FirstOrDefault(j => j.Meta.Key.Name == name && Mine(j, meta));
        if (job?.Complete != null)
        {
            events.Add(ObjectEvent.Normal("Delivered", "the dashboard now has everything that the stages told"));
            return null;
        }

        if (job?.FailedFor != null || settings.DashboardIngestUrl == null || observed.Claim(claim) == null || observed.Plan == null)
        {
            events.Add(
                ObjectEvent.Warning(
                    "NotDelivered", "not everything that the stages told reached the dashboard; the run folder on the claim has it"));
            return null;
        }

        if (job == null)
        {
            JsonObject delivery = JobBuilder.Delivery(
                meta, name, Snapshot(observed, spec, settings), ChildNames.Child(meta.Key.Name, meta.Uid, "plan"), claim, spec, settings);
            writes.Add(new DesiredWrite.Create(ResourceKind.Job, name, delivery));
            events.Add(ObjectEvent.Normal("Delivering", "a Job sends the dashboard what the stages could not send"));
        }

        return true;
    }

    internal static bool Mine(JobView job, ObjectMeta experiment) => job.Meta.Controller?.Uid == experiment.Uid;
}
