// Why this exists: one stage, one process: runs it, tells how it went, and turns every end into the documented exit code. Runs again = resumes.
using System.Diagnostics;
using CoCLR.Core;
using CoCLR.Core.Events;
using CoCLR.Core.Manifests;
using CoCLR.Core.Planning;
using CoCLR.Core.Results;
using CoCLR.Engine.Context;
using CoCLR.Engine.Collectives;
using CoCLR.Engine.Training;
using CoCLR.Runs;
using TorchSharp;

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

    /// <summary>This process's place among those that run the stage together.</summary>
    public RankOptions Ranks { get; init; } = RankOptions.One;

    /// <summary>Called when another process works on the stage: this one then waits for its end instead of failing. In a cluster the pod before may still run on a node
    /// that does not answer.</summary>
    public Action? WhenTaken { get; init; }

    /// <summary>Sees every event after it was written.</summary>
    public Action<RunEvent>? Observer { get; init; }
}

/// <summary>Runs stages.</summary>
public static class StageRunner
{
    private const string Stopped = "stopped; run the same command again to go on";
    private static readonly TimeSpan LockInterval = TimeSpan.FromSeconds(1);

    /// <summary>Runs one stage to its end, or continues it.</summary>
    /// <param name="options">Where and how.</param>
    /// <param name="stop">Asks the stage to write a checkpoint and end.</param>
    /// <returns>The exit code (<see cref="ExitCodes"/>) and, unless it is 0, why.</returns>
    public static (int ExitCode, string? Message) Run(StageOptions options, CancellationToken stop)
    {
        StagePlan plan = RunFolder.ReadPlan(options.PlanFile);
        Stage stage = plan[options.Stage];
        RequireUseForRanks(plan, options.Stage, options.Ranks.World);
        var folder = new RunFolder(options.RunFolder ?? Path.GetDirectoryName(Path.GetFullPath(options.PlanFile))!);
        return options.Ranks.Rank == 0 ? RunFirst(options, plan, stage, folder, stop) : RunOther(options, plan, stage, folder, stop);
    }

    /// <summary>The only rank, or rank 0 of several: it holds the stage, tells and writes.</summary>
    private static (int ExitCode, string? Message) RunFirst(
        StageOptions options, StagePlan plan, Stage stage, RunFolder folder, CancellationToken stop)
    {
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
        return Run(options, plan, stage, folder, events, stop);
    }

    private static (int ExitCode, string? Message) RunOther(
        StageOptions options, StagePlan plan, Stage stage, RunFolder folder, CancellationToken stop)
    {
        if (folder.HasSucceeded(stage.Name))
        {
            return (ExitCodes.Done, null);
        }

        using EventLog silent = EventLog.Silent(plan.Run, stage.Name);
        return Run(options, plan, stage, folder, silent, stop);
    }

    private static (int ExitCode, string? Message) Run(
        StageOptions options, StagePlan plan, Stage stage, RunFolder folder, EventLog events, CancellationToken stop)
    {
        if (options.Observer != null)
        {
            events.Written += options.Observer;
        }

        var clock = Stopwatch.StartNew();
        (int code, string? message) = Attempt(options, plan, stage, folder, events, stop);
        StageOutcome outcome = code switch
        {
            ExitCodes.Done => StageOutcome.Succeeded,
            ExitCodes.Terminated => StageOutcome.Terminated,
            _ => StageOutcome.Failed,
        };
        if (outcome == StageOutcome.Failed)
        {
            events.Log(message!, "error");
        }

        events.Finished(outcome, code, outcome == StageOutcome.Terminated ? "asked to stop" : message, clock.Elapsed.TotalSeconds);
        return (code, message);
    }

    private static (int ExitCode, string? Message) Attempt(
        StageOptions options, StagePlan plan, Stage stage, RunFolder folder, EventLog events, CancellationToken stop)
    {
        ICollective ranks = Alone.Instance;
        try
        {
            torch.Device device = TorchRuntime.Select(
                stage.NeedsDevice ? Ranks.DeviceOf(plan.Spec.Device, options.Ranks, TorchRuntime.CudaDevices) : "cpu");
            ranks = Ranks.Meet(options.Ranks, $"{plan.Run}/{stage.Name}/{plan.SpecHash}", device, stop);
            var context = new StageContext
            {
                Plan = plan,
                Stage = stage,
                Folder = folder,
                Cache = Path.GetFullPath(options.Cache),
                Events = events,
                Device = device,
                Ranks = ranks,
                Stop = stop,
            };
            StageResult result = Execute(context);
            if (ranks.Rank == 0)
            {
                WholeFile.WriteText(folder.ResultFile(stage.Name), ResultJson.Write(result));
                events.Result(result);
                Afterwards(context);
            }

            return (ExitCodes.Done, null);
        }
        catch (OperationCanceledException) when (stop.IsCancellationRequested || options.Ranks.World > 1)
        {
            ranks.Abort("it was asked to stop.");
            return (ExitCodes.Terminated, Stopped);
        }
        catch (RankLostException e)
        {
            // Where all were asked to end, some are gone sooner than others notice.
            return stop.IsCancellationRequested ? (ExitCodes.Terminated, Stopped) : (e.ExitCode, e.Message);
        }
        catch (UserErrorException e)
        {
            ranks.Abort(e.Message);
            return (e.ExitCode, e.Message);
        }
        catch (Exception e) when (DeviceMemory.IsFull(e))
        {
            ClipSpec clip = plan.Spec.Clip;
            string message = $"{stage.Name}: batches of clips of 3x{clip.Frames}x{clip.Size}x{clip.Size} do not fit the memory that is free here. "
                + "End what else uses it, lower clip.frames or clip.size, or use a device with more memory; what was done before is kept.";
            ranks.Abort(message);
            events.Log(e.ToString(), "debug");
            return (ExitCodes.Failed, message);
        }
        catch (Exception e) when (!DeviceMemory.IsFull(e))
        {
            string message = $"{stage.Name} failed unexpectedly: {e.GetType().Name}: {FirstLine(e.Message)}";
            ranks.Abort(message);
            events.Log(e.ToString(), "debug");
            return (ExitCodes.Failed, message);
        }
        finally
        {
            ranks.Dispose();
        }
    }

    /// <summary>Several processes on a stage that one process runs would do the same work twice, or hold GPUs idle.</summary>
    /// <param name="plan">The plan.</param>
    /// <param name="stage">Name of the stage.</param>
    /// <param name="ranks">How many processes are to run it.</param>
    /// <exception cref="UserErrorException">The stage cannot use them (64).</exception>
    public static void RequireUseForRanks(StagePlan plan, string stage, int ranks)
    {
        ArgumentNullException.ThrowIfNull(plan);
        int shards = plan.Spec.Training.Shards;
        if (ranks > 1 && !plan[stage].TakesRanks)
        {
            throw new UserErrorException($"{stage} runs in one process: start it once, without --ranks or --world.", ExitCodes.Usage);
        }

        if (ranks > 1 && shards % ranks != 0)
        {
            throw new UserErrorException(
                $"{stage} has {shards} shard{(shards == 1 ? "" : "s")} (training.shards), which {ranks} ranks cannot share equally: "
                + "start as many ranks as divide them, or give the manifest more shards.",
                ExitCodes.Usage);
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
