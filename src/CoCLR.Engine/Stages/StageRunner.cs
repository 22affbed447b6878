// Why this exists: one stage, one process: runs it, tells how it went, and turns every end into the documented exit code. Runs again = resumes.
using System.Diagnostics;
using CoCLR.Core;
using CoCLR.Core.Events;
using CoCLR.Core.Planning;
using CoCLR.Core.Results;
using CoCLR.Engine.Context;
using CoCLR.Engine.Training;
using CoCLR.Runs;

namespace CoCLR.Engine.Stages;

/// <summary>Where and how a stage is run.</summary>
public sealed record StageOptions
{
    /// <summary>plan.json.</summary>
    public required string PlanFile { get; init; }

    /// <summary>Name of the stage.</summary>
    public required string Stage { get; init; }

    /// <summary>The run folder; the folder of the plan when null.</summary>
    public string? RunFolder { get; init; }

    /// <summary>Folder of the stores that several runs share.</summary>
    public required string Cache { get; init; }

    /// <summary>Called when another process works on the stage: this one then waits for its end instead of failing. In a cluster the pod before may still run on a node
    /// that does not answer.</summary>
    public Action? WhenTaken { get; init; }

    /// <summary>Sees every event after it was written.</summary>
    public Action<RunEvent>? Observer { get; init; }
}

/// <summary>Runs stages.</summary>
public static class StageRunner
{
    private static readonly TimeSpan LockInterval = TimeSpan.FromSeconds(1);

    /// <summary>Runs one stage to its end, or continues it.</summary>
    /// <param name="options">Where and how.</param>
    /// <param name="stop">Asks the stage to write a checkpoint and end.</param>
    /// <returns>The exit code (<see cref="ExitCodes"/>) and, unless it is 0, why.</returns>
    public static (int ExitCode, string? Message) Run(StageOptions options, CancellationToken stop)
    {
        StagePlan plan = RunFolder.ReadPlan(options.PlanFile);
        Stage stage = plan[options.Stage];
        var folder = new RunFolder(options.RunFolder ?? Path.GetDirectoryName(Path.GetFullPath(options.PlanFile))!);
        using IDisposable? hold = Hold(folder, stage.Name, options.WhenTaken, stop);
        if (hold == null)
        {
            return (ExitCodes.Terminated, "asked to stop while another process worked on the stage");
        }

        folder.Complete(plan);
        WholeFile.Sweep(folder.Stage(stage.Name), recursive: true);
        if (folder.HasSucceeded(stage.Name))
        {
            return (ExitCodes.Done, null);
        }

        using EventLog events = EventLog.Open(folder.EventsFile(stage.Name), plan.Run, stage.Name);
        if (options.Observer != null)
        {
            events.Written += options.Observer;
        }

        var clock = Stopwatch.StartNew();
        try
        {
            var context = new StageContext
            {
                Plan = plan,
                Stage = stage,
                Folder = folder,
                Cache = Path.GetFullPath(options.Cache),
                Events = events,
                Device = TorchRuntime.Select(stage.NeedsDevice ? plan.Spec.Device : "cpu"),
                Stop = stop,
            };
            StageResult result = Execute(context);
            WholeFile.WriteText(folder.ResultFile(stage.Name), ResultJson.Write(result));
            events.Result(result);
            Afterwards(context);
            events.Finished(StageOutcome.Succeeded, ExitCodes.Done, null, clock.Elapsed.TotalSeconds);
            return (ExitCodes.Done, null);
        }
        catch (OperationCanceledException) when (stop.IsCancellationRequested)
        {
            events.Finished(StageOutcome.Terminated, ExitCodes.Terminated, "asked to stop", clock.Elapsed.TotalSeconds);
            return (ExitCodes.Terminated, "stopped; run the same command again to go on");
        }
        catch (UserErrorException e)
        {
            events.Log(e.Message, "error");
            events.Finished(StageOutcome.Failed, e.ExitCode, e.Message, clock.Elapsed.TotalSeconds);
            return (e.ExitCode, e.Message);
        }
        catch (Exception e) when (e is not OutOfMemoryException)
        {
            string message = $"{stage.Name} failed unexpectedly: {e.GetType().Name}: {FirstLine(e.Message)}";
            events.Log(e.ToString(), "debug");
            events.Log(message, "error");
            events.Finished(StageOutcome.Failed, ExitCodes.Failed, message, clock.Elapsed.TotalSeconds);
            return (ExitCodes.Failed, message);
        }
    }

    private static IDisposable? Hold(RunFolder folder, string stage, Action? whenTaken, CancellationToken stop)
    {
        if (whenTaken == null)
        {
            return folder.Lock(stage);
        }

        IDisposable? hold = folder.TryLock(stage);
        if (hold == null)
        {
            whenTaken();
        }

        while (hold == null && !stop.WaitHandle.WaitOne(LockInterval))
        {
            hold = folder.TryLock(stage);
        }

        return hold;
    }

    private static StageResult Execute(StageContext context) => context.Stage.Kind switch
    {
        StageKind.Decode => DataStages.Decode(context),
        StageKind.Flow => DataStages.Flow(context),
        StageKind.Pretrain or StageKind.Cotrain => ContrastiveTraining.Run(context),
        StageKind.Probe => MeasuringStages.Probe(context),
        StageKind.Finetune => MeasuringStages.Finetune(context),
        StageKind.Retrieve => MeasuringStages.Retrieve(context),
        StageKind.Fuse => MeasuringStages.Fuse(context),
        StageKind.Report => MeasuringStages.Report(context),
        _ => throw new UserErrorException($"The stage {context.Stage.Name} is of a kind that this version does not know ({context.Stage.Kind}): use the version that made the plan.", ExitCodes.BadConfiguration),
    };

    private static void Afterwards(StageContext context)
    {
        try
        {
            context.AfterResult?.Invoke();
        }
        catch (Exception e) when (e is UserErrorException or OperationCanceledException or IOException)
        {
            context.Events.Log($"the result is kept; what comes after it was not finished: {FirstLine(e.Message)}", "warning");
        }
    }

    private static string FirstLine(string text) => text.Split('\n', 2)[0].Trim();
}
