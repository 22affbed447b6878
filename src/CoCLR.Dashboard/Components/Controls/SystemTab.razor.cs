// Why this exists: which metrics tell how the machine is used.
using CoCLR.Dashboard.Storage;
using Microsoft.AspNetCore.Components;

namespace CoCLR.Dashboard.Components.Controls;

/// <summary>Whether the machine is well used.</summary>
public sealed partial class SystemTab
{
    private string[] _groups = [];

    [Parameter, EditorRequired]
    public RunInfo Info { get; set; } = null!;

    /// <inheritdoc/>
    protected override void OnParametersSet() =>
        _groups = [.. Info.Stages.SelectMany(s => s.Latest.Keys)
        .Where(n => n.StartsWith("system/", StringComparison.Ordinal) || n.StartsWith("speed/", StringComparison.Ordinal)).Distinct()
        .OrderBy(n => n, StringComparer.Ordinal)];

    private ChartSeries[] SeriesOf(string name) =>
        [.. Info.Stages.Where(s => s.Latest.ContainsKey(name)).Select(s => new ChartSeries(Info.Run, s.Name, name, s.Name))];
}
