// Why this exists: what a host (operator or local) has to do next, from what is observed: no clock, no cluster, no process.
using System.Text.Json.Serialization;

namespace CoCLR.Core.Planning;

/// <summary>What is observed of one stage.</summary>
/// <param name="Phase">Where it stands.</param>
/// <param name="CountedFailures">Failures that count against <c>spec.retries</c>; disruptions and terminations do not.</param>
/// <param name="Permanent">The last failure cannot pass (exit code 64 to 78).</param>
/// <param name="Reason">Why it failed or waits.</param>
public sealed record StageObservation(StagePhase Phase, int CountedFailures = 0, bool Permanent = false, string? Reason = null);

/// <summary>Where a stage stands.</summary>
public enum StagePhase
{
    /// <summary>Nothing runs.</summary>
    [JsonStringEnumMemberName("pending")] Pending,

    /// <summary>Its process or Job exists.</summary>
    [JsonStringEnumMemberName("running")] Running,

    /// <summary>Done; never started again.</summary>
    [JsonStringEnumMemberName("succeeded")] Succeeded,

    /// <summary>Its last attempt failed.</summary>
    [JsonStringEnumMemberName("failed")] Failed,

    /// <summary>Stopped with a checkpoint; goes on when started.</summary>
    [JsonStringEnumMemberName("stopped")] Stopped,
}

/// <summary>What a host decides from.</summary>
/// <param name="Stages">Observations by stage name; a stage that is missing is pending.</param>
/// <param name="Suspended">Nothing may run.</param>
/// <param name="MaxParallel">Stages that may run at once.</param>
public sealed record PlanObservation(
    IReadOnlyDictionary<string, StageObservation> Stages, bool Suspended = false, int MaxParallel = int.MaxValue);

/// <summary>What is to be done.</summary>
/// <param name="Start">Stages to start, in order.</param>
/// <param name="Stop">Running stages to stop.</param>
/// <param name="Outcome">The end of the run, once nothing is left to do.</param>
/// <param name="FailedStage">The stage that failed for good.</param>
/// <param name="Message">Why the run failed.</param>
public sealed record NextActions(
    IReadOnlyList<string> Start, IReadOnlyList<string> Stop, RunOutcome? Outcome = null, string? FailedStage = null, string? Message = null)
{
    /// <summary>Decides what to do next; a pure function.</summary>
    /// <param name="plan">The plan.</param>
    /// <param name="observed">What is observed.</param>
    public static NextActions Decide(StagePlan plan, PlanObservation observed)
    {
        StageObservation Of(string name) => observed.Stages.GetValueOrDefault(name) ?? new StageObservation(StagePhase.Pending);

        string[] running = [.. plan.Stages.Select(s => s.Name).Where(n => Of(n).Phase == StagePhase.Running)];
        Stage? lost = plan.Stages.FirstOrDefault(
            s => Of(s.Name) is { Phase: StagePhase.Failed } f && (f.Permanent || f.CountedFailures > plan.Spec.Retries));
        if (lost != null)
        {
            StageObservation failure = Of(lost.Name);
            string tries = failure.Permanent ? "and trying again cannot help" : $"{failure.CountedFailures} times";
            return new NextActions(
                [],
                running,
                running.Length == 0 ? RunOutcome.Failed : null,
                lost.Name,
                $"{lost.Name} failed {tries}: {failure.Reason ?? "no reason given"}");
        }

        if (plan.Stages.All(s => Of(s.Name).Phase == StagePhase.Succeeded))
        {
            return new NextActions([], [], RunOutcome.Succeeded);
        }

        if (observed.Suspended)
        {
            return new NextActions([], running);
        }

        var ready = plan.Stages.Where(s => Of(s.Name).Phase is StagePhase.Pending or StagePhase.Failed or StagePhase.Stopped
            && s.DependsOn.All(d => Of(d).Phase == StagePhase.Succeeded));
        return new NextActions([.. ready.Take(Math.Max(0, observed.MaxParallel - running.Length)).Select(s => s.Name)], []);
    }
}

/// <summary>How a run ended.</summary>
public enum RunOutcome
{
    /// <summary>Every stage succeeded.</summary>
    [JsonStringEnumMemberName("succeeded")] Succeeded,

    /// <summary>A stage failed for good.</summary>
    [JsonStringEnumMemberName("failed")] Failed,
}
