// Why this exists: names a curve of a chart.
namespace CoCLR.Dashboard.Components.Controls;

/// <summary>A curve.</summary>
/// <param name="Run">Run.</param>
/// <param name="Stage">Stage.</param>
/// <param name="Name">Metric.</param>
/// <param name="Label">Words in the legend.</param>
/// <param name="Color">CSS colour; by position when null.</param>
/// <param name="Dash">Dashed line.</param>
/// <param name="Group">Curves of one group are drawn as their mean with a band of one standard deviation; each by itself when null.</param>
public sealed record ChartSeries(string Run, string Stage, string Name, string Label, string? Color = null, bool Dash = false,
    string? Group = null);
