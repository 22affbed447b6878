// Why this exists: puts the rows of several reports under common headers and finds the best of each column.
using System.Globalization;
using CoCLR.Core.Results;
using CoCLR.Dashboard.Hosting;
using CoCLR.Dashboard.Storage;
using Microsoft.AspNetCore.Components;

namespace CoCLR.Dashboard.Components.Controls;

/// <summary>Results of several runs.</summary>
public sealed partial class CompareResults
{
    private static readonly string[] Words = ["run", "method", "view", "epochs", "seed"];
    private Table[] _tables = [];

    /// <summary>The runs.</summary>
    [Parameter, EditorRequired]
    public IReadOnlyList<RunInfo> Runs { get; set; } = [];

    /// <summary>Names of the runs, by id.</summary>
    [Parameter, EditorRequired]
    public IReadOnlyDictionary<string, string> Names { get; set; } = new Dictionary<string, string>();

    /// <summary>Colour of a run.</summary>
    [Parameter, EditorRequired]
    public Func<RunInfo, string> ColourOf { get; set; } = _ => "";

    [Inject]
    private RunResults Results { get; set; } = null!;

    /// <inheritdoc/>
    protected override void OnParametersSet() =>
        _tables = [.. DataSets.Group([.. Runs.Where(r => Results.Report(r) != null)], Results.Report).Select(TableOf)];

    private static bool IsMeasure(string header) => !Words.Contains(header);

    private Table TableOf(DataSetGroup group)
    {
        var parts = new List<(RunInfo? Run, ReportTable Table)>();
        foreach (RunInfo run in group.Runs)
        {
            RunReport report = Results.Report(run)!;
            parts.Add((run, ReportWriter.Table(report with { Rows = [.. report.Rows.Where(r => r.Kind == ReportRowKind.Learned)] })));
        }

        // Untrained networks and chance are the same for all runs of a data set: once, at the end.
        RunReport[] reports = [.. group.Runs.Select(r => Results.Report(r)!)];
        ReportRow[] others = [.. reports.SelectMany(r => r.Rows).Where(r => r.Kind != ReportRowKind.Learned)
            .DistinctBy(r => (r.Kind, r.View, r.LinearProbe))];
        if (others.Length > 0)
        {
            parts.Add((null, ReportWriter.Table(reports[0] with { Rows = others })));
        }

        // Only rows that were measured say their k: the others stand in the same column.
        string knn = parts.SelectMany(p => p.Table.Headers).FirstOrDefault(h => h.StartsWith("kNN (", StringComparison.Ordinal)) ?? "kNN";
        parts = [.. parts.Select(p => (p.Run, p.Table with { Headers = [.. p.Table.Headers.Select(h => h == "kNN" ? knn : h)] }))];
        string[] headers = [.. parts.SelectMany(p => p.Table.Headers).Distinct().OrderBy(Place)];
        Row[] rows =
        [
            .. parts.SelectMany(p => p.Table.Rows.Select(cells => new Row(p.Run,
                [.. headers.Select(h => Array.IndexOf(p.Table.Headers, h) is >= 0 and var at ? cells[at] : "-")],
                    new bool[headers.Length]))),
        ];
        MarkBest(headers, rows);
        return new Table(group.Name, ["run", .. headers], rows, [.. parts.SelectMany(p => p.Table.Notes).Distinct()]);

        static int Place(string header) => header switch
        {
            "method" => 0,
            "view" =>
                1,
            "epochs" => 2,
            "seed" => 3,
            "linear probe" => 4,
            _ when header.StartsWith("kNN", StringComparison.Ordinal) => 5,
            "fine-tune" => 6,
            _ => 7 + (int.TryParse(header.AsSpan(2), CultureInfo.InvariantCulture, out int k) ? k : 0),
        };
    }

    /// <summary>The best of a view in each column, where at least two runs were measured.</summary>
    private static void MarkBest(string[] headers, Row[] rows)
    {
        int view = Array.IndexOf(headers, "view");
        foreach (int column in Enumerable.Range(0, headers.Length).Where(i => IsMeasure(headers[i])))
        {
            foreach (IGrouping<string, Row> alike in rows.Where(r => r.Run != null && Number(r.Cells[column]) != null)
                .GroupBy(r => r.Cells[view]))
            {
                double? most = alike.Max(r => Number(r.Cells[column]));
                foreach (Row row in alike.Where(r => alike.Count() > 1 && Number(r.Cells[column]) == most))
                {
                    row.Best[column] = true;
                }
            }
        }
    }

    private static double? Number(string cell) =>
        double.TryParse(cell.TrimEnd(' ', '†', '‡', '*'), CultureInfo.InvariantCulture, out double number) ? number : null;

    private sealed record Row(RunInfo? Run, string[] Cells, bool[] Best);

    private sealed record Table(string Name, string[] Headers, Row[] Rows, string[] Notes);
}
