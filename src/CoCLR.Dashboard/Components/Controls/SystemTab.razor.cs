// Why this exists: which metrics tell how the machine is used, and where the time of each stage went.
using CoCLR.Dashboard.Hosting;
using CoCLR.Dashboard.Storage;
using Microsoft.AspNetCore.Components;

namespace CoCLR.Dashboard.Components.Controls;

/// <summary>Whether the machine is well used.</summary>
public sealed partial class SystemTab
{
    private static readonly TimeSpan Interval = TimeSpan.FromSeconds(5);
    private string[] _groups = [];
    private IReadOnlyList<StageBudget> _budgets = [];
    private DateTimeOffset _added;
    private long _cursor = -1;

    [Parameter, EditorRequired]
    public RunInfo Info { get; set; } = null!;

    [Inject]
    private RunStore Store { get; set; } = null!;

    [Inject]
    private TimeProvider Clock { get; set; } = null!;

    /// <inheritdoc/>
    protected override void OnParametersSet()
    {
        _groups =
        [
            .. Info.Stages.SelectMany(s => s.Latest.Keys)
                .Where(n => n.StartsWith("system/", StringComparison.Ordinal) || n.StartsWith("speed/", StringComparison.Ordinal))
                .Distinct().OrderBy(n => n, StringComparer.Ordinal),
        ];
        if (_cursor != Info.Cursor && Clock.GetUtcNow() - _added >= Interval)
        {
            (_cursor, _added) = (Info.Cursor, Clock.GetUtcNow());
            _budgets = StageBudgets.Of(Info, Store);
        }
    }

    private ChartSeries[] SeriesOf(string name) =>
        [.. Info.Stages.Where(s => s.Latest.ContainsKey(name)).Select(s => new ChartSeries(Info.Run, s.Name, name, s.Name))];
}
