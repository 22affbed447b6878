// Why this exists: shows a local run: bars with time left on a terminal, plain lines otherwise.
using System.Diagnostics;
using System.Globalization;
using CoCLR.Core;
using CoCLR.Core.Events;
using CoCLR.Core.Planning;
using CoCLR.Runs;
using Spectre.Console;

namespace CoCLR.Cli.Terminal;

/// <summary>Shows runs.</summary>
internal static class RunView
{
    /// <summary>Shows a run while it goes on.</summary>
    public static async Task<(int ExitCode, string? Message)> ShowAsync(
        StagePlan plan, RunFolder folder, Func<IRunObserver, Task<(int ExitCode, string? Message)>> run)
    {
        if (!Say.Interactive)
        {
            return await run(new Lines(plan)).ConfigureAwait(false);
        }

        IAnsiConsole console = AnsiConsole.Create(new AnsiConsoleSettings { Out = new AnsiConsoleOutput(Console.Error) });
        return await console.Progress().AutoClear(false).HideCompleted(false)
            .Columns(
                new TaskDescriptionColumn { Alignment = Justify.Left },
                new ProgressBarColumn(),
                new PercentageColumn(),
                new RemainingTimeColumn())
            .StartAsync(context => run(new Bars(plan, folder, context))).ConfigureAwait(false);
    }

    /// <summary>A view of plain lines, for runs beside one another.</summary>
    public static IRunObserver AsLines(StagePlan plan) => new Lines(plan);

    private static string Number(double value) => value.ToString(Math.Abs(value) >= 100 ? "0" : "0.###", CultureInfo.InvariantCulture);

    private static string? Measured(RunEvent e) => e is MetricEvent metric && metric.Values.TryGetValue(MetricNames.Loss, out double loss)
        ? $"loss {Number(loss)}"
            + (metric.Values.TryGetValue(MetricNames.Top1, out double top1) ? $", pretext top-1 {Number(100 * top1)} %" : "")
            + (
                metric.Values.TryGetValue(MetricNames.MiningPrecision, out double precision)
                    && double.IsFinite(precision) ? $", mined right {Number(100 * precision)} %" : "")
        : null;

    /// <summary>One line at a stage's start and end, and one now and then.</summary>
    private sealed class Lines(StagePlan plan) : IRunObserver
    {
        private static readonly TimeSpan Interval = TimeSpan.FromSeconds(10);
        private readonly Stopwatch _clock = Stopwatch.StartNew();
        private readonly Dictionary<string, (TimeSpan Began, TimeSpan Last, string Measured)> _stages = new(StringComparer.Ordinal);

        public void StageStarting(Stage stage)
        {
            _stages[stage.Name] = (_clock.Elapsed, _clock.Elapsed, "");
            Say.Note($"{plan.Experiment} {stage.Name}: starting");
        }

        public void StageTold(Stage stage, RunEvent e)
        {
            (TimeSpan began, TimeSpan last, string measured) = _stages[stage.Name];
            measured = Measured(e) is { } news ? ", " + news : measured;
            if (e is LogEvent { Level: "warning" or "error" } log)
            {
                Say.Note($"{plan.Experiment} {stage.Name}: {log.Level}: {log.Message}");
            }
            else if (e is ProgressEvent progress && _clock.Elapsed - last > Interval)
            {
                last = _clock.Elapsed;
                string eta = progress.EtaSeconds is { } seconds ? $", {TimeSpan.FromSeconds(Math.Ceiling(seconds)):g} left" : "";
                Say.Note(
                    $"{plan.Experiment} {stage.Name}: {progress.Phase} {progress.Done}/{progress.Total} {progress.Unit}{eta}{measured}");
            }

            _stages[stage.Name] = (began, last, measured);
        }

        public void StageEnded(Stage stage, int exitCode, bool again)
        {
            string how =
                exitCode == ExitCodes.Done ? "done" : again ? $"failed (exit {exitCode}), trying again" : $"ended with exit {exitCode}";
            Say.Note($"{plan.Experiment} {stage.Name}: {how} after {(_clock.Elapsed - _stages[stage.Name].Began).TotalSeconds:0.0} "
                + $"s{_stages[stage.Name].Measured}");
        }
    }

    /// <summary>A bar a stage.</summary>
    private sealed class Bars : IRunObserver
    {
        private readonly Dictionary<string, ProgressTask> _tasks;
        private readonly int _width;

        public Bars(StagePlan plan, RunFolder folder, ProgressContext context)
        {
            _width = plan.Stages.Max(s => s.Name.Length);
            _tasks = plan.Stages.ToDictionary(s => s.Name, s => context.AddTask(Title(s.Name, ""), autoStart: false, maxValue: 1));
            foreach (Stage stage in plan.Stages.Where(s => folder.HasSucceeded(s.Name)))
            {
                Complete(_tasks[stage.Name]);
            }
        }

        public void StageStarting(Stage stage) => _tasks[stage.Name].StartTask();

        public void StageTold(Stage stage, RunEvent e)
        {
            ProgressTask task = _tasks[stage.Name];
            if (e is ProgressEvent progress)
            {
                task.MaxValue = Math.Max(1, progress.Total);
                task.Value = progress.Done;
            }
            else if (Measured(e) is { } measured)
            {
                task.Description = Title(stage.Name, measured);
            }
        }

        public void StageEnded(Stage stage, int exitCode, bool again)
        {
            if (exitCode == ExitCodes.Done)
            {
                Complete(_tasks[stage.Name]);
            }
            else
            {
                _tasks[stage.Name].Description = Title(stage.Name, $"exit {exitCode}{(again ? ", trying again" : "")}");
            }
        }

        private static void Complete(ProgressTask task)
        {
            task.StartTask();
            task.Value = task.MaxValue;
            task.StopTask();
        }

        private string Title(string stage, string more) => Markup.Escape($"{stage.PadRight(_width)} {more}".TrimEnd());
    }
}
