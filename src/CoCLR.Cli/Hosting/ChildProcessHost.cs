// Why this exists: runs a plan on this machine, one child process a stage, in the order that the planner decides, side by side where it
// allows: what the operator does with Jobs.
using System.Diagnostics;
using CoCLR.Cli.Terminal;
using CoCLR.Core;
using CoCLR.Core.Events;
using CoCLR.Core.Planning;
using CoCLR.Runs;

namespace CoCLR.Cli.Hosting;

/// <summary>Runs plans with child processes.</summary>
/// <param name="plan">The plan.</param>
/// <param name="folder">The run folder.</param>
/// <param name="cache">Folder of the shared stores.</param>
/// <param name="dashboard">Address of a dashboard that is told too, or null.</param>
/// <param name="observer">Sees what happens.</param>
/// <param name="processors">Processors of this run; 0 is all of them.</param>
/// <param name="ranks">Processes that train a stage together.</param>
internal sealed class ChildProcessHost(
    StagePlan plan, RunFolder folder, string cache, Uri? dashboard, IRunObserver observer, int processors = 0, int ranks = 1)
{
    private static readonly TimeSpan SlowLook = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan GracePeriod = TimeSpan.FromSeconds(25);
    private readonly int _processors = Processors(processors);
    private readonly IReadOnlyDictionary<string, int> _shares = UsesGpu(plan.Spec.Device)
        ? plan.Stages.ToDictionary(s => s.Name, _ => Processors(processors))
        : ProcessorShares.Of(plan, Processors(processors));
    private readonly Lock _telling = new();

    /// <summary>Runs what is left of the plan.</summary>
    /// <param name="stop">Asks the running stages to write a checkpoint and end.</param>
    /// <returns>Exit code and, unless it is 0, why.</returns>
    public async Task<(int ExitCode, string? Message)> RunAsync(CancellationToken stop)
    {
        folder.Adopt(plan);
        using IDisposable hold = folder.Lock();
        WholeFile.Sweep(folder.Root, recursive: false);
        using var ends = CancellationTokenSource.CreateLinkedTokenSource(stop);
        var observed = plan.Stages.Where(s => folder.HasSucceeded(s.Name))
            .ToDictionary(s => s.Name, _ => new StageObservation(StagePhase.Succeeded));
        var running = new Dictionary<string, Task<(int ExitCode, string? Message)>>(StringComparer.Ordinal);
        int lastFailure = ExitCodes.Failed;
        while (true)
        {
            NextActions next = NextActions.Decide(plan, new PlanObservation(observed, Suspended: stop.IsCancellationRequested));
            if (next.Outcome == RunOutcome.Succeeded)
            {
                if (dashboard != null)
                {
                    // What stages could not send while the dashboard was away.
                    var sender = new EventSender(dashboard, folder, folder.PlanFile, plan.Stages[^1].Name, stop);
                    await sender.DisposeAsync().ConfigureAwait(false);
                }

                return (ExitCodes.Done, null);
            }

            if (next.Outcome == RunOutcome.Failed)
            {
                return (lastFailure, next.Message);
            }

            if (next.Stop.Count > 0)
            {
                await ends.CancelAsync().ConfigureAwait(false);
            }

            foreach (string name in next.Start)
            {
                if (running.Keys.Sum(n => _shares[n]) + _shares[name] <= _processors)
                {
                    observed[name] =
                        (observed.GetValueOrDefault(name) ?? new StageObservation(StagePhase.Pending)) with { Phase = StagePhase.Running };
                    Tell(o => o.StageStarting(plan[name]));
                    running[name] = RunStageAsync(plan[name], ends.Token);
                }
            }

            if (running.Count == 0)
            {
                return (ExitCodes.Terminated, "stopped; run the same command again to go on");
            }

            await Task.WhenAny(running.Values).ConfigureAwait(false);
            foreach ((string name, Task<(int, string?)> task) in running.Where(r => r.Value.IsCompleted).ToList())
            {
                running.Remove(name);
                (int code, string? message) = await task.ConfigureAwait(false);
                StageObservation before = observed[name];
                observed[name] = code switch
                {
                    ExitCodes.Done => new StageObservation(StagePhase.Succeeded),
                    ExitCodes.Terminated => before with { Phase = StagePhase.Stopped },
                    _ => new StageObservation(StagePhase.Failed, before.CountedFailures + 1, ExitCodes.IsPermanent(code), message),
                };
                lastFailure = code is ExitCodes.Done or ExitCodes.Terminated ? lastFailure : code;
                bool again = code != ExitCodes.Done && !ExitCodes.IsPermanent(code) && !ends.IsCancellationRequested
                    && before.CountedFailures < plan.Spec.Retries;
                Tell(o => o.StageEnded(plan[name], code, again));
                if (code == ExitCodes.Terminated && !ends.IsCancellationRequested)
                {
                    await ends.CancelAsync().ConfigureAwait(false);
                    await Task.WhenAll(running.Values).ConfigureAwait(false);
                    return (ExitCodes.Terminated, $"{name} was stopped by a signal; run the same command again to go on");
                }
            }
        }
    }

    private static int Processors(int asked) => asked > 0 ? asked : Environment.ProcessorCount;

    /// <summary>Whether training goes to a GPU, so that nothing is gained by running stages side by side.</summary>
    public static bool UsesGpu(string device) => device != "cpu" && (device != "auto" || File.Exists("/dev/nvidiactl"));

    // Stages that run at once tell one after the other.
    private void Tell(Action<IRunObserver> news)
    {
        lock (_telling)
        {
            news(observer);
        }
    }

    private async Task<(int ExitCode, string? Message)> RunStageAsync(Stage stage, CancellationToken stop)
    {
        string events = folder.EventsFile(stage.Name);
        Directory.CreateDirectory(folder.Stage(stage.Name));
        using var watch = new FolderWatch();
        watch.Add(folder.Stage(stage.Name));
        using CancellationTokenRegistration stopping = stop.Register(watch.Signal);
        EventTail tail = EventTail.AtEnd(events);
        var start = new ProcessStartInfo(Environment.ProcessPath!) { RedirectStandardError = true, RedirectStandardInput = true };
        string count = (stage.TakesRanks ? ranks : 1).ToString(System.Globalization.CultureInfo.InvariantCulture);
        foreach (string argument in new[] { "stage", "--plan", folder.PlanFile, "--stage", stage.Name, "--cache", cache, "--ranks", count })
        {
            start.ArgumentList.Add(argument);
        }

        start.Environment["DOTNET_PROCESSOR_COUNT"] = _shares[stage.Name].ToString(System.Globalization.CultureInfo.InvariantCulture);
        start.Environment["COCLR_PARENT"] = Environment.ProcessId.ToString(System.Globalization.CultureInfo.InvariantCulture);
        if (dashboard != null)
        {
            start.Environment["COCLR_DASHBOARD_URL"] = dashboard.ToString();
        }

        using Process process = Process.Start(start) ?? throw new UserErrorException($"Cannot start {start.FileName}.", ExitCodes.Failed);
        process.StandardInput.Close();
        Task<string> errors = process.StandardError.ReadToEndAsync(CancellationToken.None);
        string? message = null;
        long? stoppedAt = null;
        while (true)
        {
            bool exited = process.HasExited;
            foreach (RunEvent e in tail.Read())
            {
                message = e is FinishedEvent { Message: not null } finished ? finished.Message : message;
                Tell(o => o.StageTold(stage, e));
            }

            if (exited)
            {
                break;
            }

            if (stop.IsCancellationRequested && stoppedAt == null)
            {
                stoppedAt = Stopwatch.GetTimestamp();
                ProcessSignals.Terminate(process);
            }
            else if (stoppedAt is { } at && Stopwatch.GetElapsedTime(at) > GracePeriod)
            {
                process.Kill(entireProcessTree: true);
            }

            await Task.WhenAny(process.WaitForExitAsync(CancellationToken.None), watch.WaitAsync(SlowLook, CancellationToken.None))
                .ConfigureAwait(false);
        }

        string text = (await errors.ConfigureAwait(false)).Trim();
        return (process.ExitCode, message ?? (text.Length > 0 ? text : $"ended with exit code {process.ExitCode}"));
    }
}
