// Why this exists: a suite's answer is one table: mean and spread over the seeds of every cell and view, beside the untrained network and
// chance.
using System.Globalization;
using CoCLR.Core.Manifests;

namespace CoCLR.Core.Results;

/// <summary>Makes the table of a suite that ran on this machine.</summary>
public static class SuiteTable
{
    private static readonly int[] Ranks = [1, 5, 10];

    /// <summary>
    /// One row a cell and view: percentages as mean ± standard deviation over the seeds, and the difference of the means to the baseline
    /// cell with its interval. The axes whose mean is taken (folds) are no cells: a seed's value is its mean over them.
    /// </summary>
    /// <param name="runs">The finished experiments with their reports, in the order of the axes.</param>
    /// <param name="baseline">The cell that others are compared with; empty for none.</param>
    /// <param name="matrix">The suite's axes.</param>
    public static ReportTable Of(
        IReadOnlyList<(MatrixExperiment Experiment, RunReport Report)> runs,
        IReadOnlyList<AxisValue> baseline,
        IReadOnlyList<MatrixAxis> matrix)
    {
        ArgumentNullException.ThrowIfNull(runs);
        ArgumentNullException.ThrowIfNull(matrix);
        HashSet<string> means = [.. matrix.Where(a => a.Mean).Select(a => a.Name)];
        Dictionary<string, string> Cell(MatrixExperiment e) =>
            e.Cell.Where(c => !means.Contains(c.Key)).ToDictionary(c => c.Key, c => c.Value);
        string Fold(MatrixExperiment e) =>
            BenchmarkRules.CellText(e.Cell.Where(c => means.Contains(c.Key)).ToDictionary(c => c.Key, c => c.Value));
        IEnumerable<Measured> Rows(IEnumerable<(MatrixExperiment Experiment, RunReport Report)> of, ReportRowKind kind) =>
            of.SelectMany(r => r.Report.Rows.Where(row => row.Kind == kind).Select(row => new Measured(Fold(r.Experiment), row)));

        var cells = runs.GroupBy(r => BenchmarkRules.CellText(Cell(r.Experiment)))
            .Select(g => (Name: g.Key, Cell: Cell(g.First().Experiment), Rows: Rows(g, ReportRowKind.Learned).ToArray())).ToArray();
        var rows = new List<string[]>();
        foreach ((string name, Dictionary<string, string> cell, Measured[] measured) in cells)
        {
            string other = BenchmarkRules.BaselineText(cell, baseline);
            Measured[] reference = other == name ? [] : cells.FirstOrDefault(c => c.Name == other).Rows ?? [];
            foreach (var view in measured.GroupBy(r => r.Row.View))
            {
                rows.Add(
                    Row(
                        name.Length > 0 ? name : view.First().Row.Method,
                        view.Key,
                        [.. view],
                        [.. reference.Where(r => r.Row.View == view.Key)]));
            }
        }

        // The same untrained network stands behind every method of a seed.
        var untrained = Rows(runs.DistinctBy(r => (r.Experiment.Seed, Fold(r.Experiment))), ReportRowKind.Random);
        rows.AddRange(untrained.GroupBy(r => r.Row.View).Select(view => Row(view.First().Row.Method, view.Key, [.. view], [])));
        rows.AddRange(Rows(runs, ReportRowKind.Chance).Take(1).Select(r => Row(r.Row.Method, r.Row.View, [r], [])));
        return new ReportTable(
            [
                "cell", "view", "epochs", "seeds", "linear probe", "kNN", .. Ranks.Select(k => $"R@{k}"),
                .. baseline.Count > 0 ? ["probe, difference", "R@1, difference"] : Array.Empty<string>()
            ],
            [.. rows.Select(r => baseline.Count > 0 ? r : r[..^2])],
            [
                means.Count == 0
                    ? "Percent; mean ± standard deviation over the seeds."
                    : $"Percent; mean over {string.Join(" and ", means)}, then mean ± standard deviation over the seeds.",
                .. baseline.Count > 0 ? [ReportWriter.IntervalNote] : Array.Empty<string>(),
            ]);
    }

    private static string[] Row(string name, string view, Measured[] rows, Measured[] reference) =>
    [
        name, view, rows[0].Row.Epochs?.ToString(CultureInfo.InvariantCulture)
            ?? "-", rows.Select(r => r.Row.Seed).Distinct().Count().ToString(CultureInfo.InvariantCulture),
        Spread(rows, r => r.LinearProbe), Spread(rows, r => r.Knn), .. Ranks.Select(k => Spread(rows, r => Recall(r, k))),
        Difference(rows, reference, r => r.LinearProbe, r => r.ProbeHits),
        Difference(rows, reference, r => Recall(r, 1), r => r.RecallHits),
    ];

    private static double? Recall(ReportRow row, int k) => Array.Find(row.Recalls, r => r.K == k)?.Value;

    // One value a seed.
    private static double[] Values(Measured[] rows, Func<ReportRow, double?> measure) =>
        [
            .. rows.GroupBy(r => r.Row.Seed).Select(seed => seed.Select(r => measure(r.Row)).OfType<double>().ToArray())
                .Where(v => v.Length > 0).Select(v => v.Average())];

    private static string Spread(Measured[] rows, Func<ReportRow, double?> measure)
    {
        double[] values = Values(rows, measure);
        if (values.Length == 0)
        {
            return "-";
        }

        string text = (100 * values.Average()).ToString("0.0", CultureInfo.InvariantCulture);
        return Statistics.StandardDeviation(values) is { } deviation
            ? string.Create(CultureInfo.InvariantCulture, $"{text} ± {100 * deviation:0.0}")
            : text;
    }

    private static string Difference(
        Measured[] rows, Measured[] reference, Func<ReportRow, double?> measure, Func<ReportRow, VideoHits?> hits)
    {
        double[] values = Values(rows, measure), others = Values(reference, measure);
        return values.Length == 0 || others.Length == 0
            ? "-"
            : ReportWriter.Difference(values.Average() - others.Average(), PairedBootstrap.OfDifference(
                rows.GroupBy(r => r.Fold).Select(fold => (Hits(fold), Hits(reference.Where(r => r.Fold == fold.Key))))));

        IReadOnlyList<VideoHits?> Hits(IEnumerable<Measured> of) => [.. of.Select(r => hits(r.Row))];
    }

    private sealed record Measured(string Fold, ReportRow Row);
}
