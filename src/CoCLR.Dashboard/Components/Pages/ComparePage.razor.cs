// Why this exists: gathers what the compared runs have in common and where they differ, and which of them are drawn as one.
using CoCLR.Core.Events;
using CoCLR.Dashboard.Authentication;
using CoCLR.Dashboard.Components.Controls;
using CoCLR.Dashboard.Formatting;
using CoCLR.Dashboard.Storage;
using Microsoft.AspNetCore.Components;

namespace CoCLR.Dashboard.Components.Pages;

/// <summary>Runs beside one another.</summary>
public sealed partial class ComparePage
{
    /// <summary>Runs that are compared at once.</summary>
    internal const int MaxRuns = 20;

    private static readonly string[] Metrics = [MetricNames.Loss, MetricNames.Top1, MetricNames.Top5, MetricNames.MiningPrecision,
        MetricNames.ClipsPerSecond];

    private RunInfo[] _runs = [];
    private RunInfo[] _others = [];
    private string[] _suggested = [];
    private Dictionary<string, string> _names = [];
    private Dictionary<string, string> _groupOf = [];
    private List<(string Key, string Name)> _groups = [];
    private string _group = "none";
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

    /// <inheritdoc/>
    protected override TimeSpan Interval => TimeSpan.FromSeconds(1);

    [Inject]
    private RunResults Results { get; set; } = null!;

    [SupplyParameterFromQuery(Name = "stage")]
    private string? StageAsked { get; set; }

    [SupplyParameterFromQuery(Name = "group")]
    private string? GroupAsked { get; set; }

    [SupplyParameterFromQuery(Name = "query")]
    private string? QueryAsked { get; set; }

    [SupplyParameterFromQuery(Name = "view")]
    private string? ViewAsked { get; set; }

    [SupplyParameterFromQuery]
    private string? Smooth { get; set; }

    [SupplyParameterFromQuery]
    private string? Brush { get; set; }

    private double Weight => CurvesTab.WeightOf(Smooth);

    /// <inheritdoc/>
    protected override void Refresh()
    {
        string[] asked = [.. (RunsAsked ?? "").Split(',', StringSplitOptions.RemoveEmptyEntries).Distinct().Take(MaxRuns)];
        _runs = [.. asked.Select(Store.Find).OfType<RunInfo>().Where(r => User.MaySee(r))];
        _others = [.. Store.Runs.Where(r => User.MaySee(r) && !_runs.Contains(r)).OrderByDescending(r => r.Created)];
        _suggested = [.. _others.Where(r => r.BestProbe != null).GroupBy(r => r.Method).Select(g => g.First().Run).Take(8)];
        _names = NamesOf(_runs);
        _stages = [.. StagesOf(_runs)];
        _stage = _stages.Contains(StageAsked) ? StageAsked! : _stages.FirstOrDefault() ?? "";
        _metrics = [.. Metrics.Where(m => _runs.Any(r => Has(r, m)))];
        IReadOnlyDictionary<string, string>[] fields = [.. _runs.Select(ManifestText.Flat)];
        _differences = Differing(fields);
        GroupRuns(fields);
        _views = [.. _runs.SelectMany(r => Results.NeighbourViews(r)).Distinct()];
        _view = _views.Contains(ViewAsked) ? ViewAsked! : _views.FirstOrDefault() ?? "rgb";
        _queries = [.. (_runs.Select(r => Results.Neighbours(r, _view)).FirstOrDefault(t => t != null)?.Queries ?? []).Select(q => q.Id)];
        _query = _queries.Contains(QueryAsked) ? QueryAsked! : _queries.FirstOrDefault() ?? "";
        (_axes, _lines) = ParallelCoordinates.Of(_runs);
    }

    private static IEnumerable<string> StagesOf(RunInfo[] runs) =>
        runs.SelectMany(r => r.Stages.Where(s => s.Latest.ContainsKey(MetricNames.Loss)).Select(s => s.Name))
        .Distinct().Order(StringComparer.Ordinal).OrderByDescending(n => n.StartsWith("pretrain", StringComparison.Ordinal));

    /// <summary>Names that tell the runs apart: the experiment's, with the end of the id where several have the same.</summary>
    private static Dictionary<string, string> NamesOf(RunInfo[] runs)
    {
        var often = runs.CountBy(r => r.Experiment).ToDictionary();
        return runs.ToDictionary(r => r.Run, r => r.Experiment.Length == 0 ? Text.Short(r.Run)
            : Text.Short(r.Experiment) + (often[r.Experiment] > 1 ? $" · {Text.Ending(r.Run)}" : ""));
    }

    private static List<(string Field, string[] Values)> Differing(IReadOnlyDictionary<string, string>[] fields) =>
    [
        .. fields.SelectMany(f => f.Keys).Distinct().Order(StringComparer.Ordinal)
            .Select(k => (k, fields.Select(f => f.GetValueOrDefault(k, "")).ToArray())).Where(d => d.Item2.Distinct().Count() > 1),
    ];

    /// <summary>Runs of one group are drawn as their mean; usually those that differ in their seed alone.</summary>
    private void GroupRuns(IReadOnlyDictionary<string, string>[] fields)
    {
        string[] differing = [.. _differences.Select(d => d.Field).Where(f => f != "seed")];
        string KeyOf(int run, IEnumerable<string> by) => string.Join(", ", by.Select(f => fields[run].GetValueOrDefault(f, "–")));
        bool seeds = _runs.Length > Enumerable.Range(0, _runs.Length).Select(i => KeyOf(i, differing)).Distinct().Count();
        _groups = [("none", "Each run"), ("seed", "Over seeds"), .. differing.Select(f => (f, f))];
        _group = _groups.Any(g => g.Key == GroupAsked) ? GroupAsked! : seeds ? "seed" : "none";
        _groupOf = [];
        for (int i = 0; i < _runs.Length; i++)
        {
            string key = _group switch { "none" => "", "seed" => KeyOf(i, differing), _ => KeyOf(i, [_group]) };
            _groupOf[_runs[i].Run] = key.Length > 0 ? Text.Short(key) : _group == "none" ? "" : "all";
        }
    }

    private string ColourOf(RunInfo run) =>
        Text.Colour(_group == "none" ? Array.IndexOf(_runs, run) : _groupOf.Values.Distinct().ToList().IndexOf(_groupOf[run.Run]));

    private bool Has(RunInfo run, string metric) => run.Stage(_stage)?.Latest.ContainsKey(metric) == true;

    private ChartSeries[] SeriesOf(string metric) =>
        [.. _runs.Where(r => Has(r, metric))
            .Select(r =>
            new ChartSeries(r.Run, _stage, metric, _names[r.Run], ColourOf(r), Group: _group == "none" ? null : _groupOf[r.Run]))];

    private Task<IEnumerable<string>> FindQueryAsync(string? text, CancellationToken cancel) =>
        Task.FromResult(_queries.Where(q => string.IsNullOrEmpty(text) || text == _query
            || q.Contains(text, StringComparison.OrdinalIgnoreCase)));

    private void Choose(IEnumerable<string> runs) => SetQuery(("runs", string.Join(',', runs.Where(r => r.Length > 0).Distinct())));
}
