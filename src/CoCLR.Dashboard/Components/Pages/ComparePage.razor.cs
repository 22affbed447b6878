// Why this exists: gathers what the compared runs have in common and where they differ.
using System.Globalization;
using CoCLR.Core.Events;
using CoCLR.Core.Results;
using CoCLR.Dashboard.Authentication;
using CoCLR.Dashboard.Components.Controls;
using CoCLR.Dashboard.Formatting;
using CoCLR.Dashboard.Storage;
using Microsoft.AspNetCore.Components;

namespace CoCLR.Dashboard.Components.Pages;

/// <summary>Runs beside one another.</summary>
public sealed partial class ComparePage
{
    private RunInfo[] _runs = [];
    private RunInfo[] _others = [];
    private string[] _suggested = [];
    private RunReport[] _reports = [];
    private string[] _stages = [];
    private string _stage = "";
    private string[] _metrics = [];
    private List<(string Field, string[] Values)> _differences = [];
    private string[] _queries = [];
    private string _query = "";
    private string[] _views = [];
    private string _view = "rgb";
    private List<string> _axes = [];
    private List<ParallelLine> _lines = [];

    /// <summary>Ids, separated by commas.</summary>
    [SupplyParameterFromQuery(Name = "runs")]
    public string? RunsAsked { get; set; }

    [SupplyParameterFromQuery(Name = "stage")]
    private string? StageAsked { get; set; }

    [SupplyParameterFromQuery(Name = "query")]
    private string? QueryAsked { get; set; }

    [SupplyParameterFromQuery(Name = "view")]
    private string? ViewAsked { get; set; }

    [SupplyParameterFromQuery]
    private string? Smooth { get; set; }

    /// <inheritdoc/>
    protected override TimeSpan Interval => TimeSpan.FromSeconds(1);

    private double Weight => double.TryParse(Smooth, CultureInfo.InvariantCulture, out double weight) ? Math.Clamp(weight, 0, 0.99) : CurvesTab.DefaultSmoothing;

    /// <inheritdoc/>
    protected override void Refresh()
    {
        _runs = [.. (RunsAsked ?? "").Split(',', StringSplitOptions.RemoveEmptyEntries).Distinct().Take(8).Select(Store.Find).OfType<RunInfo>().Where(r => User.MaySee(r))];
        _others = [.. Store.Runs.Where(r => User.MaySee(r) && !_runs.Contains(r)).OrderByDescending(r => r.Created).Take(200)];
        _suggested = [.. _others.Where(r => r.BestProbe != null).GroupBy(r => r.Method).Select(g => g.First().Run).Take(8)];
        _reports = [.. _runs.Select(r => Results.Report(r)).OfType<RunReport>()];
        _stages = [.. _runs.SelectMany(r => r.Stages.Where(s => s.Latest.ContainsKey(MetricNames.Loss)).Select(s => s.Name)).Distinct().Order(StringComparer.Ordinal).OrderByDescending(n => n.StartsWith("pretrain", StringComparison.Ordinal))];
        _stage = _stages.Contains(StageAsked) ? StageAsked! : _stages.FirstOrDefault() ?? "";
        _metrics = [.. new[] { MetricNames.Loss, MetricNames.Top1, MetricNames.Top5, MetricNames.MiningPrecision, MetricNames.ClipsPerSecond }.Where(m => _runs.Any(r => r.Stage(_stage)?.Latest.ContainsKey(m) == true))];
        IReadOnlyDictionary<string, string>[] fields = [.. _runs.Select(ManifestText.Flat)];
        _differences = [.. fields.SelectMany(f => f.Keys).Distinct().Order(StringComparer.Ordinal).Select(k => (k, fields.Select(f => f.GetValueOrDefault(k, "")).ToArray())).Where(d => d.Item2.Distinct().Count() > 1)];
        _views = [.. _runs.SelectMany(r => Results.NeighbourViews(r)).Distinct()];
        _view = _views.Contains(ViewAsked) ? ViewAsked! : _views.FirstOrDefault() ?? "rgb";
        _queries = [.. (_runs.Select(r => Results.Neighbours(r, _view)).FirstOrDefault(t => t != null)?.Queries ?? []).Select(q => q.Id).Take(2000)];
        _query = _queries.Contains(QueryAsked) ? QueryAsked! : _queries.FirstOrDefault() ?? "";
        (_axes, _lines) = ParallelCoordinates.Of(_runs);
    }

    private void Choose(IEnumerable<string> runs) => SetQuery(("runs", string.Join(',', runs.Where(r => r.Length > 0).Distinct())));
}
