// Why this exists: a suite's answer is one table: mean and spread over the seeds of every cell and view, beside the untrained network and chance.
using System.Globalization;
using CoCLR.Core.Manifests;

namespace CoCLR.Core.Results;

/// <summary>Makes the table of a suite that ran on this machine.</summary>
public static class SuiteTable
{
    private static readonly int[] Ranks = [1, 5, 10];

    /// <summary>One row a cell and view: percentages as mean ± standard deviation over the seeds, and the difference of the means to the baseline cell.</summary>
    /// <param name="runs">The finished experiments with their reports, in the order of the axes.</param>
    /// <param name="baseline">The cell that others are compared with; empty for none.</param>
    public static ReportTable Of(IReadOnlyList<(MatrixExperiment Experiment, RunReport Report)> runs, IReadOnlyList<AxisValue> baseline)
    {
        ArgumentNullException.ThrowIfNull(runs);
        var cells = runs.GroupBy(r => BenchmarkRules.CellText(r.Experiment.Cell))
            .Select(g => (Name: g.Key, g.First().Experiment.Cell, Rows: g.SelectMany(r => r.Report.Rows).Where(r => r.Kind == ReportRowKind.Learned).ToArray())).ToArray();
        var rows = new List<string[]>();
        foreach ((string name, IReadOnlyDictionary<string, string> cell, ReportRow[] measured) in cells)
        {
            string other = BenchmarkRules.BaselineText(cell, baseline);
            ReportRow[] reference = other == name ? [] : cells.FirstOrDefault(c => c.Name == other).Rows ?? [];
            foreach (var view in measured.GroupBy(r => r.View))
            {
                rows.Add(Row(name.Length > 0 ? name : view.First().Method, view.Key, [.. view], [.. reference.Where(r => r.View == view.Key)]));
            }
        }

        // The same untrained network stands behind every method of a seed.
        var untrained = runs.DistinctBy(r => r.Experiment.Seed).SelectMany(r => r.Report.Rows).Where(r => r.Kind == ReportRowKind.Random);
        rows.AddRange(untrained.GroupBy(r => r.View).Select(view => Row(view.First().Method, view.Key, [.. view], [])));
        rows.AddRange(runs.SelectMany(r => r.Report.Rows).Where(r => r.Kind == ReportRowKind.Chance).Take(1).Select(r => Row(r.Method, r.View, [r], [])));
        return new ReportTable(
            ["cell", "view", "epochs", "seeds", "linear probe", "kNN", .. Ranks.Select(k => $"R@{k}"), .. baseline.Count > 0 ? ["probe, difference", "R@1, difference"] : Array.Empty<string>()],
            [.. rows.Select(r => baseline.Count > 0 ? r : r[..^2])],
            ["Percent; mean ± standard deviation over the seeds.", .. baseline.Count > 0 ? [ReportWriter.IntervalNote] : Array.Empty<string>()]);
    }

    private static string[] Row(string name, string view, ReportRow[] rows, ReportRow[] reference) =>
    [
        name, view, rows[0].Epochs?.ToString(CultureInfo.InvariantCulture) ?? "-", rows.Select(r => r.Seed).Distinct().Count().ToString(CultureInfo.InvariantCulture),
        Spread(rows, r => r.LinearProbe), Spread(rows, r => r.Knn), .. Ranks.Select(k => Spread(rows, r => Recall(r, k))),
        Difference(rows, reference, r => r.LinearProbe, r => r.ProbeHits), Difference(rows, reference, r => Recall(r, 1), r => r.RecallHits),
    ];

    private static double? Recall(ReportRow row, int k) => Array.Find(row.Recalls, r => r.K == k)?.Value;

    private static string Spread(ReportRow[] rows, Func<ReportRow, double?> measure)
    {
        double[] values = [.. rows.Select(measure).OfType<double>()];
        if (values.Length == 0)
        {
            return "-";
        }

        string text = (100 * values.Average()).ToString("0.0", CultureInfo.InvariantCulture);
        return Statistics.StandardDeviation(values) is { } deviation ? string.Create(CultureInfo.InvariantCulture, $"{text} ± {100 * deviation:0.0}") : text;
    }

    private static string Difference(ReportRow[] rows, ReportRow[] reference, Func<ReportRow, double?> measure, Func<ReportRow, VideoHits?> hits)
    {
        double[] values = [.. rows.Select(measure).OfType<double>()], others = [.. reference.Select(measure).OfType<double>()];
        return values.Length == 0 || others.Length == 0
            ? "-"
            : ReportWriter.Difference(values.Average() - others.Average(), PairedBootstrap.OfDifference([.. rows.Select(hits)], [.. reference.Select(hits)]));
    }
}
