// Why this exists: what is said of an experiment that is under way: its state, its conditions and its events.
using System.Text.Json;
using CoCLR.Core;
using CoCLR.Core.Manifests.Status;
using CoCLR.Core.Planning;
using CoCLR.Operator.Runtime;
using CoCLR.Operator.Status;

namespace CoCLR.Operator.Reconciling;

internal sealed partial class ExperimentRun
{
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
            || next.State == ExperimentState.Failed && _spec.TtlSecondsAfterFinished?.Failed != null
            || next.Undelivered == true ? TimeSpan.FromSeconds(1) : null;
        return next with
        {
            Stage = null,
            CompletionTime = _observed.Now,
            Gpus = 0,
            ActiveSince = null,
            ActiveSeconds = (next.ActiveSeconds ?? 0)
                + (next.ActiveSince is { } since ? Math.Max(0, (long)(_observed.Now - since).TotalSeconds) : 0),
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
                .Set(
                    ConditionTypes.Running,
                    live > 0 && stages.Any(s => s.Live is { Running: true }) ? ConditionStatus.True : ConditionStatus.False,
                    ConditionReasons.Suspending,
                    "being suspended");
            return next with { State = ExperimentState.Suspending, Conditions = ending.Build() };
        }

        var conditions = Open().True(ConditionTypes.Ready, ConditionReasons.Suspended, "suspended; set spec.suspend to false to continue")
            .True(ConditionTypes.Suspended, ConditionReasons.Suspended, "no pod runs and no device is held")
            .False(ConditionTypes.Running, ConditionReasons.Suspended, "suspended");
        return next with { State = ExperimentState.Suspended, Conditions = conditions.Build() };
    }

    private ConditionSet Of(ExperimentStatus next)
    {
        ConditionSet conditions = Conditions();
        foreach (Condition condition in next.Conditions)
        {
            conditions.Set(condition.Type, condition.Status, condition.Reason, condition.Message);
        }

        return conditions;
    }

    /// <summary>
    /// Says whether the network learns, as far as its stages have looked at it. The last word stays: it is not taken back by a pod that ends.
    /// </summary>
    private ExperimentStatus Health(ExperimentStatus next, List<SeenStage> stages)
    {
        SeenStage[] looked = [.. stages.Where(s => s.Report?.Collapsed != null)];
        ConditionSet conditions = Of(next);
        if (looked.FirstOrDefault(s => s.Report!.Collapsed == true) is { } sick)
        {
            string message = $"{sick.Status.Name}: the embeddings of different videos are all alike, so nothing is learned; suspend it, and try "
                + "a lower training.optimizer.learningRate, a larger training.queueSize or training.batchSize, or a higher training.temperature";
            conditions.False(ConditionTypes.Healthy, ConditionReasons.Collapsed, message);
            if (_known.Condition(ConditionTypes.Healthy)?.Reason != ConditionReasons.Collapsed)
            {
                _events.Add(ObjectEvent.Warning(ConditionReasons.Collapsed, message));
            }
        }
        else if (looked.Length > 0)
        {
            string names = string.Join(", ", looked.Select(s => s.Status.Name));
            conditions.True(ConditionTypes.Healthy, ConditionReasons.Learning, $"{names}: different videos have different embeddings");
        }
        else
        {
            conditions.Keep(ConditionTypes.Healthy);
        }

        return next with { Conditions = conditions.Build() };
    }

    /// <summary>
    /// Says what keeps the experiment from going on, over whatever else there is to say: a write that was refused, or a node that is lost.
    /// </summary>
    private ExperimentStatus Trouble(ExperimentStatus next, (string Reason, string Message)? lost)
    {
        if (_observed.Refusals.Count > 0)
        {
            LookAgain(Refusal.Retry);
            lost = (_observed.Refusals[0].Reason, string.Join("; ", _observed.Refusals.Select(r => r.Message)));
        }

        if (lost is not { } trouble)
        {
            return next;
        }

        ConditionSet conditions = Of(next).False(ConditionTypes.Ready, trouble.Reason, trouble.Message)
            .True(ConditionTypes.Reconciling, trouble.Reason, trouble.Message);
        if (_known.Condition(ConditionTypes.Ready)?.Reason != trouble.Reason)
        {
            _events.Add(ObjectEvent.Warning(trouble.Reason, trouble.Message));
        }

        bool waits = _observed.Refusals.Count > 0
            && next.State is ExperimentState.Starting or ExperimentState.Queued or ExperimentState.Pending;
        return next with { State = waits ? ExperimentState.Waiting : next.State, Conditions = conditions.Build() };
    }

    private ExperimentStatus Wait(ExperimentStatus next, string reason, string message)
    {
        LookAgain(ExperimentReconciler.SlowRetry);
        return Waits(next, ExperimentState.Waiting, Open(), reason, message);
    }

    private static string? Current(List<SeenStage> stages)
    {
        string[] busy = [
            .. stages.Where(s => s.Job is { Finished: false } && s.Status.State is not (StageState.Succeeded or StageState.Failed))
                .Select(s => s.Status.Name)];
        string text = string.Join(
            ",", busy.Length > 0 ? busy : stages.Where(s => s.Status.State != StageState.Succeeded).Select(s => s.Status.Name).Take(1));
        return text.Length == 0 ? null : EventRecorder.Truncate(text, 253);
    }

    private ExperimentStatus Describe(ExperimentStatus next, List<SeenStage> stages, NextActions actions, string? missing)
    {
        next = next with { Stage = actions.Start.Count > 0 && !stages.Any(s => s.Job is { Finished: false }) ? string.Join(",", actions.Start) : Current(stages) };
        SeenStage? First(StageState state) => stages.FirstOrDefault(s => s.Status.State == state && (s.Job != null || s.Live != null));
        SeenStage? running = First(StageState.Running), starting = First(StageState.Starting);
        SeenStage? dependent = stages.FirstOrDefault(s => s.MissingDependency);
        missing ??= running == null && dependent != null ? $"{dependent.Status.Name}: {dependent.Status.Message}" : null;

        ConditionSet conditions = Open();
        if (missing != null)
        {
            conditions.False(ConditionTypes.Accepted, ConditionReasons.DependencyNotReady, missing);
            if (running == null)
            {
                LookAgain(ExperimentReconciler.SlowRetry);
                return Waits(next, ExperimentState.Waiting, conditions, ConditionReasons.DependencyNotReady, missing);
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

        if (First(StageState.Restarting) is { Status: var restarting })
        {
            string message = $"{restarting.Name} is being started again{Because(restarting)}";
            Queueless(conditions).False(ConditionTypes.Ready, ConditionReasons.Restarting, message)
                .True(ConditionTypes.Reconciling, ConditionReasons.ProgressingWithRetry, message)
                .False(ConditionTypes.Running, ConditionReasons.Restarting, message)
                .True(ConditionTypes.Interrupted, restarting.Reason ?? ConditionReasons.Restarting, restarting.Message ?? message);
            return next with { State = ExperimentState.Restarting, Conditions = conditions.Build() };
        }

        if (starting == null && First(StageState.Queued) is { Status: var queued })
        {
            string message = queued.Message ?? "waits for its queue";
            conditions.False(ConditionTypes.Ready, ConditionReasons.Queued, message)
                .True(ConditionTypes.Reconciling, ConditionReasons.Queued, message)
                .False(ConditionTypes.Admitted, queued.Reason ?? ConditionReasons.Queued, message)
                .False(ConditionTypes.Running, ConditionReasons.Queued, message);
            return next with { State = ExperimentState.Queued, Conditions = conditions.Build() };
        }

        string words = starting?.Status is { Reason: not null } status
            ? $"{status.Name} waits for its pod{Because(status)}"
            : $"{next.Stage} is being started";
        return Waits(next, ExperimentState.Starting, conditions, starting?.Status.Reason ?? ConditionReasons.Starting, words);
    }

    private ExperimentStatus Waits(ExperimentStatus next, ExperimentState state, ConditionSet conditions, string reason, string message)
    {
        Queueless(conditions).False(ConditionTypes.Ready, reason, message)
            .True(ConditionTypes.Reconciling, reason, message)
            .False(ConditionTypes.Running, state == ExperimentState.Waiting ? ConditionReasons.NotRunning : reason, message);
        return next with { State = state, Conditions = conditions.Build() };
    }

    private static string Because(StageStatus status) =>
        status.Reason == null ? "" : $" ({status.Reason}{(status.Message == null ? "" : ": " + status.Message)})";

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
                    _events.Add(
                        ObjectEvent.Normal(stage.Attempts > 1 ? "StageResumed" : "StageStarted", $"{stage.Name} runs in pod {stage.Pod}"));
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
            case ExperimentState.Failed or ExperimentState.Waiting when _observed.Refusals.Count == 0:
                _events.Add(ObjectEvent.Warning(next.Condition(ConditionTypes.Ready)!.Reason, message));
                break;
        }
    }

    /// <summary>Holds back a status that differs in nothing but progress until its time has come.</summary>
    private Decision<ExperimentStatus> Throttle(ExperimentStatus next)
    {
        if (next.Progress?.UpdatedAt is { } told && _known.Progress?.UpdatedAt is { } written && told > written && told - written < _settings.ProgressInterval
            && JsonSerializer.Serialize(Still(next), CoclrJson.Compact) == JsonSerializer.Serialize(Still(_known), CoclrJson.Compact))
        {
            LookAgain(written + _settings.ProgressInterval - _observed.Now);
            next = _known;
        }

        return new Decision<ExperimentStatus> { Writes = _writes, Suspects = _suspects, Status = next, Events = _events, Again = _again };
    }

    private static ExperimentStatus Still(ExperimentStatus status) =>
        status with { Progress = null, Stages = [.. status.Stages.Select(s => s with { Epoch = null })] };
}
