// Why this exists: chooses runs, fields and measures, and makes one matrix of each data set: what was measured on other videos never
// stands in one table.
using System.Globalization;
using CoCLR.Core.Manifests;
using CoCLR.Dashboard.Authentication;
using CoCLR.Dashboard.Formatting;
using CoCLR.Dashboard.Hosting;
using CoCLR.Dashboard.Storage;
using Microsoft.AspNetCore.Components;
using Microsoft.JSInterop;

namespace CoCLR.Dashboard.Components.Pages;

/// <summary>Benchmarks.</summary>
public sealed partial class BenchmarksPage
{
    private IReadOnlyList<Suite> _suites = [];
    private Suite? _suite;
    private SuiteVerdict? _verdict;
    private int _expected;
    private IReadOnlyList<RunInfo> _runs = [];
    private IReadOnlyList<string> _fields = [];
    private Table[] _tables = [];
    private string[] _rowNames = [];
    private string _rows = "";
    private string _columns = "";
    private string _measure = "probe";
    private string _view = "rgb";
    private string _base = "";

    /// <inheritdoc/>
    protected override TimeSpan Interval => TimeSpan.FromSeconds(2);

    [Inject]
    private Suites Benchmarks { get; set; } = null!;

    [Inject]
    private RunResults Results { get; set; } = null!;

    [Inject]
    private IJSRuntime Script { get; set; } = null!;

    [SupplyParameterFromQuery(Name = "suite")]
    private string? SuiteAsked { get; set; }

    [SupplyParameterFromQuery(Name = "rows")]
    private string? RowsAsked { get; set; }

    [SupplyParameterFromQuery(Name = "columns")]
    private string? ColumnsAsked { get; set; }

    [SupplyParameterFromQuery(Name = "measure")]
    private string? MeasureAsked { get; set; }

    [SupplyParameterFromQuery(Name = "view")]
    private string? ViewAsked { get; set; }

    [SupplyParameterFromQuery(Name = "base")]
    private string? BaseAsked { get; set; }

    private string Sub => _suite is null ? "Runs as a matrix over the fields in which they differ, one for each data set."
        : $"The suite {_suite.Name}: {_expected} experiments, {_runs.Count} here.";

    private string Legend => _measure == "loss" ? "Newest loss;"
        : _view == "best" ? "In percent, the best view of each run that is done;"
        : $"In percent, {Suites.Views.First(v => v.Key == _view).Name};";

    private IEnumerable<(string Key, string Name)> MeasuresOffered =>
        [.. _columns.Length == 0 ? [("all", "All")] : Array.Empty<(string, string)>(), .. Suites.Measures];

    /// <inheritdoc/>
    protected override void Refresh()
    {
        _suites = Benchmarks.All();
        _suite = _suites.FirstOrDefault(s => s.Name == SuiteAsked);
        RunInfo[] visible = [.. Store.Runs.Where(r => User.MaySee(r) && r.PlanJson != null && !Settings.Of(r.Run).Archived)];
        _runs = _suite is null ? [.. visible.OrderByDescending(r => r.Created).Take(500)] : Suites.RunsOf(_suite, visible);
        _verdict = _suite is null ? null : SuiteVerdict.Of(_suite, _runs, Results.Report);
        _expected = _suite is null ? 0 : BenchmarkRules.Expand(_suite.Name, _suite.Spec).Count;
        _fields = _suite is { Spec.Matrix.Count: > 0 } ? [.. _suite.Spec.Matrix.Select(a => a.Field)] : Suites.Differing(_runs);
        if (_fields.Count == 0)
        {
            return;
        }

        _rows = _fields.Contains(RowsAsked) ? RowsAsked! : _fields[0];
        _columns = ColumnsAsked == "none" ? "" : _fields.Contains(ColumnsAsked) ? ColumnsAsked!
            : _suite is not null && _fields.Count > 1 ? _fields.First(f => f != _rows) : "";
        _measure = Suites.Measures.Any(m => m.Key == MeasureAsked) ? MeasureAsked! : _columns.Length == 0 ? "all" : "probe";
        _view = Suites.Views.Any(v => v.Key == ViewAsked) ? ViewAsked! : "rgb";
        string[] measures = _measure == "all" ? [.. Suites.Measures.Select(m => m.Key).Where(m => m != "loss")] : [_measure];
        _tables =
        [
            .. DataSets.Group(_runs, Results.Report).Select(g => new Table(g,
                [.. measures.Select(m => (m, Suites.Matrix(g.Runs, _rows, _columns, Suites.Reader(m, _view, Results.All))))])),
        ];
        _rowNames = [.. _tables.SelectMany(t => t.Shown[0].Matrix.Rows).Distinct()];
        string? suiteBase = _suite?.Spec.Baseline.FirstOrDefault(b =>
            _suite.Spec.Matrix.Any(a => a.Name == b.Axis && a.Field == _rows))?.Value;
        _base = BaseAsked ?? suiteBase ?? (_rowNames.Length > 1 && _rowNames.Contains("InfoNCE") ? "InfoNCE" : "none");
    }

    private static string MeasureName(string measure) => Suites.Measures.First(m => m.Key == measure).Name;

    private static string Of(Table table) =>
        $"{table.Group.Runs.Count} {(table.Group.Runs.Count == 1 ? "run" : "runs")}"
        + (table.Group.Chance is { } chance ? $", chance {Text.Percent(chance)}" : "");

    private static string LinkOf(MatrixCell cell) => cell.Runs.Count == 1 ? Links.Run(cell.Runs[0].Run)
        : $"compare?runs={string.Join(',', cell.Runs.Take(8).Select(x => Uri.EscapeDataString(x.Run)))}";

    private static string Signed(double difference, string measure) =>
        (difference >= 0 ? "+" : "−") + Math.Abs(difference).ToString(measure == "loss" ? "0.000" : "0.0", CultureInfo.InvariantCulture);

    private static string NoteOf(MatrixCell cell)
    {
        int open = cell.Runs.Count(r => r.State != RunState.Succeeded);
        return string.Join(", ",
            new[] { cell.Count > 1 ? $"{cell.Count} runs" : "", open > 0 ? $"{open} unfinished" : "" }.Where(n => n.Length > 0));
    }

    private IEnumerable<Shown> Cells(Table table, int row)
    {
        foreach ((string measure, SuiteMatrix matrix) in table.Shown)
        {
            for (int column = 0; column < matrix.Columns.Length; column++)
            {
                MatrixCell cell = matrix.Cells[row][column];
                double?[] all = [.. matrix.Cells.Select(r => r[column].Mean)];
                bool best = cell.Mean is { } mean && all.Count(v => v != null) > 1 && mean == (measure == "loss" ? all.Min() : all.Max());
                yield return new Shown(measure, cell, Delta(matrix, measure, row, column), best, NoteOf(cell));
            }
        }
    }

    private double? Delta(SuiteMatrix matrix, string measure, int row, int column)
    {
        int at = Array.IndexOf(matrix.Rows, _base);
        return at < 0 || at == row || matrix.Cells[row][column].Mean is not { } mine || matrix.Cells[at][column].Mean is not { } theirs
            ? null : (mine - theirs) * (measure == "loss" ? 1 : 100);
    }

    private ValueTask CopyAsync(Func<SuiteMatrix, string, string> write) =>
        Script.InvokeVoidAsync("coclr.copy",
            string.Join('\n', _tables.SelectMany(t => t.Shown.Select(s => $"{t.Group.Name}\n\n{write(s.Matrix, s.Measure)}"))));

    private sealed record Table(DataSetGroup Group, (string Measure, SuiteMatrix Matrix)[] Shown);

    private sealed record Shown(string Measure, MatrixCell Cell, double? Delta, bool Best, string Note);
}
