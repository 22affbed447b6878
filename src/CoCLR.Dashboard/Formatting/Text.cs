// Why this exists: numbers, times and states are written the same way on every page.
using System.Globalization;
using CoCLR.Core.Planning;
using CoCLR.Core.Results;
using CoCLR.Dashboard.Storage;
using MudBlazor;

namespace CoCLR.Dashboard.Formatting;

/// <summary>Words and numbers of pages; invariant, so that every page and export agrees.</summary>
public static class Text
{
    /// <summary>A fraction as a percentage with one decimal.</summary>
    public static string Percent(double? fraction) =>
        fraction is { } f && double.IsFinite(f) ? (f * 100).ToString("0.0", CultureInfo.InvariantCulture) + " %" : "–";

    /// <summary>A fraction as a bare percentage.</summary>
    public static string Percents(double? fraction) =>
        fraction is { } f && double.IsFinite(f) ? (f * 100).ToString("0.0", CultureInfo.InvariantCulture) : "–";

    /// <summary>A number with four significant digits.</summary>
    public static string Number(double? value) => value switch
    {
        null => "–",
        { } v when double.IsNaN(v) => "NaN",
        { } v when double.IsInfinity(v) => v > 0 ? "∞" : "−∞",
        0 => "0",
        { } v when Math.Abs(v) is >= 1e6 or < 1e-4 => v.ToString("0.###e0", CultureInfo.InvariantCulture),
        { } v when Math.Abs(v) >= 1000 => v.ToString("#,0", CultureInfo.InvariantCulture),
        { } v => v.ToString(Math.Abs(v) >= 100 ? "0.0" : Math.Abs(v) >= 10 ? "0.00" : Math.Abs(v) >= 1 ? "0.000"
            : "0.0000", CultureInfo.InvariantCulture),
    };

    /// <summary>Whole numbers with thin separators.</summary>
    public static string Count(long value) => value.ToString("#,0", CultureInfo.InvariantCulture);

    /// <summary>Bytes in words.</summary>
    public static string Bytes(double bytes)
    {
        string[] units = ["B", "KiB", "MiB", "GiB", "TiB"];
        int unit = 0;
        while (bytes >= 1024 && unit < units.Length - 1)
        {
            bytes /= 1024;
            unit++;
        }

        return bytes.ToString(unit == 0 || bytes >= 100 ? "0" : "0.0", CultureInfo.InvariantCulture) + " " + units[unit];
    }

    /// <summary>Seconds in words.</summary>
    public static string Duration(double? seconds) =>
        seconds is { } s && double.IsFinite(s) && s >= 0 ? ReportWriter.Duration(Math.Min(s, 3e8)) : "–";

    /// <summary>How long ago, in words.</summary>
    public static string Ago(DateTimeOffset time, DateTimeOffset now)
    {
        double s = (now - time).TotalSeconds;
        return time == default ? "–"
            : s < 5 ? "now"
            : s < 60 ? string.Create(CultureInfo.InvariantCulture, $"{s:0} s")
            : s < 3600 ? string.Create(CultureInfo.InvariantCulture, $"{s / 60:0} min")
            : s < 86400 ? string.Create(CultureInfo.InvariantCulture, $"{s / 3600:0} h")
            : string.Create(CultureInfo.InvariantCulture, $"{s / 86400:0} d");
    }

    /// <summary>A name that may be long, with its distinguishing end: at most 48 characters.</summary>
    public static string Short(string name) => name.Length <= 48 ? name : $"{name[..20]}…{name[^27..]}";

    /// <summary>The end of a run's id, which tells runs of one experiment apart.</summary>
    public static string Ending(string run) => run.LastIndexOf('-') is > 0 and var at ? run[(at + 1)..] : run;

    /// <summary>A state in words.</summary>
    public static string State(RunState state) => state switch
    {
        RunState.Running => "Running",
        RunState.Succeeded => "Done",
        RunState.Failed => "Failed",
        RunState.Stopped => "Stopped",
        RunState.Lost => "Lost",
        _ => "Waiting",
    };

    /// <summary>A run's state in words: while the cluster has more to say than that it waits, its word.</summary>
    public static string State(RunInfo run) =>
        run.Cluster is { State: "Queued" or "Starting" or "Suspended" or "Suspending" or "Restarting" or "Stalled" or "Waiting" } c
        && run.State != RunState.Succeeded ? c.State : State(run.State);

    /// <summary>Whether a run that should be at work has sent nothing for so long that its process may be gone.</summary>
    public static bool Silent(RunInfo run, DateTimeOffset now, int seconds) =>
        run.State == RunState.Running && run.Updated != default && now - run.Updated > TimeSpan.FromSeconds(seconds);

    /// <summary>Seconds that stages were at work, the running attempts included as far as they were heard of.</summary>
    public static double AtWork(RunInfo run) => run.Stages.Sum(AtWork);

    /// <summary>Seconds that a stage was at work, its running attempt included as far as it was heard of.</summary>
    public static double AtWork(StageInfo stage)
    {
        DateTimeOffset? begun = stage.Attempts.LastOrDefault()?.Started ?? stage.Started;
        return (stage.WallSeconds ?? 0)
            + (stage.Phase == StagePhase.Running && stage.Updated - begun is { TotalSeconds: > 0 and var running } ? running : 0);
    }

    /// <summary>A stage's state in words.</summary>
    public static string State(StagePhase phase) =>
        phase switch
        {
            StagePhase.Running => "Running",
            StagePhase.Succeeded => "Done",
            StagePhase.Failed => "Failed",
            StagePhase.Stopped => "Stopped",
            _ => "Waiting"
        };

    /// <summary>The icon of a state: state is never told by colour alone.</summary>
    public static string Icon(string state) => state switch
    {
        "Silent" => Icons.Material.Outlined.HelpOutline,
        "Running" or "Starting" or "Restarting" => Icons.Material.Outlined.PlayCircle,
        "Done" => Icons.Material.Outlined.CheckCircle,
        "Failed" or "Stalled" or "Lost" => Icons.Material.Outlined.ErrorOutline,
        "Stopped" or "Suspended" or "Suspending" => Icons.Material.Outlined.PauseCircle,
        _ => Icons.Material.Outlined.Schedule,
    };

    /// <summary>A view in words.</summary>
    public static string View(string view) => view switch { "rgb" => "RGB", "flow" => "Flow", "two-stream" => "Two-stream", _ => view };

    /// <summary>Colour of a method or of the n-th thing, as a CSS variable.</summary>
    public static string Colour(int index) => $"var(--series-{(index % 10) + 1})";
}
