// Why this exists: decides which curves the tab shows, and keeps its choices in the address.
using System.Collections.Immutable;
using System.Globalization;
using System.Security.Claims;
using CoCLR.Core.Events;
using CoCLR.Dashboard.Api;
using CoCLR.Dashboard.Authentication;
using CoCLR.Dashboard.Components.Dialogs;
using CoCLR.Dashboard.Formatting;
using CoCLR.Dashboard.Storage;
using Microsoft.AspNetCore.Components;
using MudBlazor;

namespace CoCLR.Dashboard.Components.Controls;

/// <summary>Curves of a run.</summary>
public sealed partial class CurvesTab
{
    /// <summary>Steps of small batches are noisy; what was measured stays visible behind the running mean.</summary>
    internal const double DefaultSmoothing = 0.6;

    private const int MostPinned = 12;
    private const int MostLayouts = 50;

    // Thousands of metrics are offered by a search, and drawn some at a time.
    private const int MostListed = 60;
    private const int OnAPage = 24;

    private static readonly (string Key, string Name)[] Axes = [("step", "Step"), ("epoch", "Epoch"), ("relative", "Time"),
        ("time", "Clock")];

    private List<(string Title, string Name, ChartSeries[] Series)> _groups = [];
    private string[] _stages = [];
    private string[] _metrics = [];
    private int _panels;

    [Parameter, EditorRequired]
    public RunInfo Info { get; set; } = null!;

    [Parameter, EditorRequired]
    public ClaimsPrincipal User { get; set; } = null!;

    [Inject]
    private SettingsFile Settings { get; set; } = null!;

    [Inject]
    private NavigationManager Navigation { get; set; } = null!;

    [SupplyParameterFromQuery]
    private string? X { get; set; }

    [SupplyParameterFromQuery]
    private string? Smooth { get; set; }

    [SupplyParameterFromQuery(Name = "log")]
    private bool? LogScale { get; set; }

    [SupplyParameterFromQuery]
    private string? Outliers { get; set; }

    [SupplyParameterFromQuery]
    private string? Stage { get; set; }

    [SupplyParameterFromQuery]
    private string? Metric { get; set; }

    /// <summary>Metrics that have a panel, in their order; all when empty.</summary>
    [SupplyParameterFromQuery]
    private string? Panels { get; set; }

    [SupplyParameterFromQuery(Name = "page")]
    private int? PageAsked { get; set; }

    private int PageNumber => Math.Clamp(PageAsked ?? 0, 0, Math.Max(0, (_panels - 1) / OnAPage));

    [Inject]
    private IDialogService Dialogs { get; set; } = null!;

    [SupplyParameterFromQuery(Name = "ymin")]
    private double? YMin { get; set; }

    [SupplyParameterFromQuery(Name = "ymax")]
    private double? YMax { get; set; }

    private string Axis => X is "epoch" or "relative" or "time" ? X : "step";

    private double Weight => WeightOf(Smooth);

    private bool HideOutliers => Outliers == "hide";

    private bool Single => !string.IsNullOrEmpty(Metric) && _groups.Count == 1;

    /// <summary>A metric's name in words.</summary>
    internal static string Title(string name) => name switch
    {
        MetricNames.Loss => "Loss",
        MetricNames.Top1 => "Pretext top-1",
        MetricNames.Top5 => "Pretext top-5",
        MetricNames.SelfTop1 => "Own key first",
        MetricNames.LearningRate => "Learning rate",
        MetricNames.GradientNorm => "Gradient norm",
        MetricNames.MiningPrecision => "Precision of mining",
        MetricNames.MiningAgreement => "Agreement of the views",
        MetricNames.MiningAge => "Age of mined keys (steps)",
        MetricNames.ClipsPerSecond => "Clips per second",
        MetricNames.StepSeconds => "Seconds a step",
        MetricNames.WaitShare => "Share of waiting for data",
        MetricNames.Memory => "Memory",
        MetricNames.CpuCores => "CPU cores",
        MetricNames.GpuMemory => "GPU memory",
        MetricNames.GpuUse => "GPU use",
        MetricNames.MonitorKnn => "kNN on held-out training videos",
        MetricNames.MonitorRecallAt1 => "R@1 on held-out training videos",
        MetricNames.MonitorEffectiveRank => "Effective rank of the features",
        MetricNames.MonitorAlignment => "Alignment (smaller is better)",
        MetricNames.MonitorUniformity => "Uniformity (smaller is better)",
        MetricNames.MonitorCollapsed => "Collapsed",
        MetricNames.MonitorSeconds => "Seconds of a look at the representation",
        _ => name,
    };

    /// <summary>The smoothing of an address.</summary>
    /// <param name="asked">What stands there.</param>
    internal static double WeightOf(string? asked) =>
        double.TryParse(asked, CultureInfo.InvariantCulture, out double weight) ? Math.Clamp(weight, 0, 0.99) : DefaultSmoothing;

    /// <summary>Whether a metric is a fraction, shown in percent.</summary>
    /// <param name="name">The metric.</param>
    internal static bool IsFraction(string name) =>
        name.StartsWith("pretext/", StringComparison.Ordinal) || name is MetricNames.MiningPrecision
            or MetricNames.MiningAgreement or MetricNames.MonitorKnn or MetricNames.MonitorRecallAt1;

    /// <inheritdoc/>
    protected override void OnParametersSet()
    {
        StageInfo[] training = [.. Info.Stages.Where(s => s.Latest.Keys.Any(Shown))];
        _stages = [.. training.Select(s => s.Name)];
        _metrics = [.. training.SelectMany(s => s.Latest.Keys).Where(Shown).Distinct().OrderBy(Order)
            .ThenBy(n => n, StringComparer.Ordinal)];
        string[] panels = [.. (Panels ?? "").Split(',', StringSplitOptions.RemoveEmptyEntries).Where(_metrics.Contains)];
        IEnumerable<string> shown = !string.IsNullOrEmpty(Metric) ? _metrics.Where(n => n == Metric) : panels.Length > 0 ? panels : _metrics;
        string[] all = [.. shown];
        _panels = all.Length;
        _groups = [.. all.Skip(PageNumber * OnAPage).Take(OnAPage)
            .Select(name => (Title(name), name, SeriesOf(training, name))).Where(g => g.Item3.Length > 0)];
    }

    private EventCallback<bool> PinOf(string name) => !User.MayEdit() ? default : EventCallback.Factory.Create<bool>(this, on =>
        Settings.Change(s => s with { Pinned = on ? s.Pinned.Contains(name) ? s.Pinned : [.. s.Pinned.TakeLast(MostPinned - 1), name] : s.Pinned.Remove(name) }));

    private Task<IEnumerable<string>> FindMetricAsync(string? text, CancellationToken cancel)
    {
        string words = text is null || text == Title(Metric ?? "") ? "" : text;
        return Task.FromResult(_metrics.Where(m => m.Contains(words, StringComparison.OrdinalIgnoreCase)
            || Title(m).Contains(words, StringComparison.OrdinalIgnoreCase)));
    }

    private async Task ChoosePanelsAsync()
    {
        FieldName[] offered = [.. _metrics.Select(m => new FieldName(m, "metric"))];
        if (await ChoiceDialog.AskAsync(Dialogs, "Panels", "Add a metric", [.. _groups.Select(g => g.Name)], offered, Title) is { } keys)
        {
            Set("panels", keys.Count == 0 || keys.SequenceEqual(_metrics) ? null : string.Join(',', keys));
        }
    }

    private async Task SaveLayoutAsync()
    {
        string query = new Uri(Navigation.Uri).Query.TrimStart('?');
        if (await TextDialog.AskAsync(Dialogs, "Save this layout", "Name", "") is { Length: > 0 and <= 60 } name)
        {
            Keep(l => [.. l.Where(v => v.Name != name).TakeLast(MostLayouts - 1), new SavedView(name, query)]);
        }
    }

    private void Keep(Func<ImmutableArray<SavedView>, ImmutableArray<SavedView>> change) =>
        Settings.Change(s => s with { Layouts = change(s.Layouts) });

    private static bool Shown(string name) =>
        name != MetricNames.MonitorCollapsed && !name.StartsWith("system/", StringComparison.Ordinal)
            && !name.StartsWith("speed/", StringComparison.Ordinal);

    private static int Order(string name) => name switch
    {
        MetricNames.Loss => 0,
        MetricNames.Top1 => 1,
        MetricNames.Top5 => 2,
        MetricNames.MiningPrecision => 3,
        _ => 9,
    };

    private ChartSeries[] SeriesOf(StageInfo[] training, string name) =>
    [
        .. training.Where(s => s.Latest.ContainsKey(name) && (string.IsNullOrEmpty(Stage) || s.Name == Stage))
            .Select(s => new ChartSeries(Info.Run, s.Name, name, s.Name, Text.Colour(Array.IndexOf(_stages, s.Name)))),
    ];

    private void Set(string name, object? value) =>
        Navigation.NavigateTo(Navigation.GetUriWithQueryParameters(new Dictionary<string, object?> { [name] = value is "" ? null : value }),
            replace: true);
}
