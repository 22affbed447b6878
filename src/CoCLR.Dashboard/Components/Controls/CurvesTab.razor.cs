// Why this exists: decides which curves the tab shows, and keeps its choices in the address.
using System.Globalization;
using CoCLR.Core.Events;
using CoCLR.Dashboard.Formatting;
using CoCLR.Dashboard.Storage;
using Microsoft.AspNetCore.Components;

namespace CoCLR.Dashboard.Components.Controls;

/// <summary>Curves of a run.</summary>
public sealed partial class CurvesTab
{
    /// <summary>Steps of small batches are noisy; what was measured stays visible behind the running mean.</summary>
    internal const double DefaultSmoothing = 0.6;

    private static readonly (string Key, string Name)[] Axes = [("step", "Step"), ("epoch", "Epoch"), ("relative", "Time"),
        ("time", "Clock")];

    private List<(string Title, string Name, ChartSeries[] Series)> _groups = [];
    private string[] _stages = [];
    private string[] _metrics = [];

    [Parameter, EditorRequired]
    public RunInfo Info { get; set; } = null!;

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
        _groups = [.. _metrics.Where(n => string.IsNullOrEmpty(Metric) || n == Metric)
            .Select(name => (Title(name), name, SeriesOf(training, name))).Where(g => g.Item3.Length > 0)];
    }

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
