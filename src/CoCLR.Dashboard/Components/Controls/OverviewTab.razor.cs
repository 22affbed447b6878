// Why this exists: gathers what a person wants to know first.
using System.Globalization;
using System.Security.Claims;
using CoCLR.Core.Events;
using CoCLR.Core.Planning;
using CoCLR.Core.Results;
using CoCLR.Dashboard.Components.Dialogs;
using CoCLR.Dashboard.Formatting;
using CoCLR.Dashboard.Storage;
using Microsoft.AspNetCore.Components;
using MudBlazor;

namespace CoCLR.Dashboard.Components.Controls;

/// <summary>The run at a glance.</summary>
public sealed partial class OverviewTab
{
    private string[] _training = [];
    private ChartSeries[] _loss = [];
    private ChartSeries[] _top1 = [];
    private IReadOnlyList<HistoryEntry> _history = [];
    private RunReport? _report;
    private (string Name, ChartSeries[] Series)[] _watched = [];
    private (string Name, ChartSeries[] Series)[] _pinned = [];
    private double? _chance;

    [Inject]
    private RunStore Store { get; set; } = null!;

    [Inject]
    private RunResults Results { get; set; } = null!;

    [Inject]
    private SettingsFile Settings { get; set; } = null!;

    [Inject]
    private IDialogService Dialogs { get; set; } = null!;

    [Parameter, EditorRequired]
    public RunInfo Info { get; set; } = null!;

    [Parameter, EditorRequired]
    public ClaimsPrincipal User { get; set; } = null!;

    [Parameter]
    public DateTimeOffset Now { get; set; }

    /// <summary>Nothing was heard of the run for a while.</summary>
    [Parameter]
    public bool Silent { get; set; }

    private string Standing => $"{Info.Stages.Count(s => s.Phase == StagePhase.Succeeded)} of {Info.Stages.Length} done"
        + (!Silent && Info.EtaSeconds is { } eta ? $", about {Text.Duration(eta)} left" : "");

    /// <inheritdoc/>
    protected override void OnParametersSet()
    {
        _training = [.. Info.Stages.Where(s => s.Latest.ContainsKey(MetricNames.Loss)).Select(s => s.Name)];
        _loss = [.. _training.Select((s, i) => new ChartSeries(Info.Run, s, MetricNames.Loss, s, Text.Colour(i)))];
        _top1 = SeriesOf(MetricNames.Top1);
        // With labels what neighbours say; without, how the features spread.
        string[] watched = Info.Stages.Any(s => s.Latest.ContainsKey(MetricNames.MonitorKnn))
            ? [MetricNames.MonitorKnn, MetricNames.MonitorRecallAt1] : [MetricNames.MonitorEffectiveRank, MetricNames.MonitorUniformity];
        _watched = [.. watched.Select(m => (m, SeriesOf(m))).Where(w => w.Item2.Length > 0)];
        _pinned = [.. Settings.Current.Pinned.Where(m => m is not (MetricNames.Loss or MetricNames.Top1) && !watched.Contains(m))
            .Select(m => (m, SeriesOf(m))).Where(p => p.Item2.Length > 0)];
        _chance = Results.All(Info).Select(r => r.Outcome).OfType<DataResult>().Select(d => d.ClassNames.Length)
            .FirstOrDefault(n => n > 1) is > 1 and var n
            ? 1.0 / n : null;
        _history = [.. Store.History(Info.Run).Reverse().Take(24)];
        _report = Results.Report(Info);
    }

    private ChartSeries[] SeriesOf(string metric) =>
    [
        .. Info.Stages.Where(s => s.Latest.ContainsKey(metric))
            .Select(s => new ChartSeries(Info.Run, s.Name, metric, s.Name, Text.Colour(Math.Max(0, Array.IndexOf(_training, s.Name))))),
    ];

    private async Task NoteAsync()
    {
        Annotation old = Settings.Of(Info.Run);
        if (await TextDialog.AskAsync(Dialogs, "Note", "Plain text", old.Note, multiLine: true) is { Length: <= 20_000 } note)
        {
            Settings.Annotate(Info.Run, a => a with { Note = note });
        }
    }

    private static string EpochOf(StageInfo stage) =>
        (stage.Epoch is { } epoch ? epoch.ToString("0.0", CultureInfo.InvariantCulture) : "–")
        + (stage.Epochs is { } epochs ? $" of {epochs}" : "");
}
