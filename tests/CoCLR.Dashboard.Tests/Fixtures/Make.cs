// Why this exists: short names for events and stores in tests.
using CoCLR.Core.Events;
using CoCLR.Dashboard.Configuration;
using CoCLR.Dashboard.Storage;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Extensions.Options;

namespace CoCLR.Dashboard.Tests.Fixtures;

internal static class Make
{
    public static readonly DateTimeOffset Start = new(2026, 3, 1, 12, 0, 0, TimeSpan.Zero);

    public static RunStore Store(string folder, Action<DashboardOptions>? configure = null, TimeProvider? clock = null)
    {
        var options = new DashboardOptions { WorkDir = folder };
        configure?.Invoke(options);
        return new RunStore(Options.Create(options), new LiveFeed(), clock ?? TimeProvider.System, NullLogger<RunStore>.Instance);
    }

    public static MetricEvent Metric(
        long seq,
        long step,
        double value,
        string name = "loss",
        string run = "r1",
        string stage = "pretrain-rgb",
        int attempt = 1,
        double? epoch = null) => new()
        {
            Run = run, Stage = stage, Attempt = attempt, Seq = seq, Time = Start.AddSeconds(seq), Step = step, Epoch = epoch,
            Values = new Dictionary<string, double> { [name] = value },
        };

    public static LogEvent Log(long seq, string message, string level = "info", string run = "r1", string stage = "pretrain-rgb") =>
        new() { Run = run, Stage = stage, Attempt = 1, Seq = seq, Time = Start.AddSeconds(seq), Level = level, Message = message };

    public static StartedEvent Started(
        long seq = 0, int attempt = 1, long? resumedAt = null, string run = "r1", string stage = "pretrain-rgb") => new()
        {
            Run = run, Stage = stage, Attempt = attempt, Seq = seq, Time = Start, Device = "CPU", Epochs = 10, ResumedAtStep = resumedAt
        };

    public static FinishedEvent Finished(
        long seq, StageOutcome outcome = StageOutcome.Succeeded, int code = 0, string? message = null, int attempt = 1) => new()
        {
            Run = "r1", Stage = "pretrain-rgb", Attempt = attempt, Seq = seq, Time = Start.AddSeconds(seq), Outcome = outcome, ExitCode = code,
            Message = message, WallSeconds = seq
        };
}
