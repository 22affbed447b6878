// Why this exists: the same table is printed on a terminal, kept as Markdown and exported as CSV; its columns, marks and footnotes are
// decided once.
using System.Globalization;
using System.Text;
using CoCLR.Core.Manifests;

namespace CoCLR.Core.Results;

/// <summary>A table of text, ready to be drawn.</summary>
/// <param name="Headers">Column headers.</param>
/// <param name="Rows">Cells, as many in each row as there are headers.</param>
/// <param name="Notes">Footnotes: how epochs were chosen and what the marks mean.</param>
public sealed record ReportTable(string[] Headers, string[][] Rows, string[] Notes);

/// <summary>Writes reports in the form of the paper's Table 1.</summary>
public static class ReportWriter
{
    /// <summary>What the brackets of a difference mean.</summary>
    public const string IntervalNote =
        "Brackets: 95 % interval of a difference, by a paired bootstrap over the test videos (whole source groups where known); it holds "
            + "the chance in the choice of test videos, not in the seed.";

    private static readonly int[] DefaultRanks = [1, 5, 10, 20, 50];

    /// <summary>The table of one report, or of several runs on the same data set under one another.</summary>
    /// <param name="reports">The reports; random features and chance are taken once.</param>
    public static ReportTable Table(params IReadOnlyList<RunReport> reports)
    {
        ArgumentNullException.ThrowIfNull(reports);
        var all = reports.SelectMany(r => r.Rows).ToArray();
        var rows = all.Where(r => r.Kind == ReportRowKind.Learned)
            .Concat(
                all.Where(r => r.Kind == ReportRowKind.Random).DistinctBy(r => (r.View, r.LinearProbe, r.Seed))
                    .OrderBy(r => r.View == "rgb" ? 0 : r.View == "flow" ? 1 : 2))
            .Concat(all.Where(r => r.Kind == ReportRowKind.Chance).DistinctBy(r => r.LinearProbe))
            .ToArray();
        var measured = rows.SelectMany(r => r.Recalls.Select(x => x.K)).Distinct().Order().ToArray();
        var ranks = measured.Length > 0 ? measured : DefaultRanks;
        var knnK = rows.Select(r => r.KnnK).FirstOrDefault(k => k is not null);
        var seeds = rows.Where(r => r.Seed is not null).Select(r => r.Seed).Distinct().Count() > 1;
        string[] headers =
        [
            "method", "view", "epochs",.. seeds ? ["seed"] : Array.Empty<string>(), "linear probe",
            knnK is null ? "kNN" : $"kNN (k={knnK})", "fine-tune",
            .. ranks.Select(k => $"R@{k}"),
        ];
        string[][] cells =
        [
            .. rows.Select(row => (string[])
            [
                row.Method, row.View, row.Epochs?.ToString(CultureInfo.InvariantCulture) ?? "-",
                .. seeds ? [row.Seed?.ToString(CultureInfo.InvariantCulture) ?? "-"] : Array.Empty<string>(),
                Percent(row.LinearProbe) + Mark(row.ProbeSelection), Percent(row.Knn), Percent(row.FineTune) + Mark(row.FineTuneSelection),
                .. ranks.Select(k => Percent(Array.Find(row.Recalls, r => r.K == k)?.Value)),
            ]),
        ];
        return new ReportTable(
            headers, cells, [.. Notes(rows), .. reports.SelectMany(r => r.Warnings.Select(w => $"Careful: {w}")).Distinct()]);
    }

    /// <summary>A report as Markdown: the table, its conditions, the stages.</summary>
    /// <param name="report">The report.</param>
    public static string Markdown(RunReport report)
    {
        ArgumentNullException.ThrowIfNull(report);
        var text = new StringBuilder();
        text.Append(CultureInfo.InvariantCulture, $"# {Escape(report.Name)}\n\n");
        AppendTable(text, Table(report));
        AppendTraining(text, report);
        text.Append("\n| | |\n| --- | --- |\n");
        AppendFact("data set", report.DataSet);
        AppendFact("split", report.Split);
        AppendFact("classes", Number(report.Classes));
        AppendFact("gallery (training) videos", Number(report.TrainVideos));
        AppendFact("query (test) videos", Number(report.TestVideos));
        AppendFact("seed", Number(report.Seed));
        AppendFact("device", report.Device);
        AppendFact("wall time", Duration(report.WallSeconds));
        AppendFact("finished", report.FinishedAt?.UtcDateTime.ToString("u", CultureInfo.InvariantCulture));
        AppendFact("motion", report.Motion?.ToString());
        AppendFact("behaviour", report.ReferenceCompatible ? "as the reference code (`training.compatibility: reference`)" : null);
        foreach ((string name, string value) in report.Provenance?.Facts() ?? [])
        {
            AppendFact(name, value);
        }

        if (report.Stages.Length > 0)
        {
            text.Append("\n| stage | wall time | device |\n| --- | ---: | --- |\n");
            foreach (var stage in report.Stages)
            {
                text.Append(
                    CultureInfo.InvariantCulture, $"| {Escape(stage.Stage)} | {Duration(stage.WallSeconds)} | {Escape(stage.Device)} |\n");
            }
        }

        return text.ToString();

        void AppendFact(string name, string? value)
        {
            if (!string.IsNullOrEmpty(value))
            {
                text.Append(CultureInfo.InvariantCulture, $"| {name} | {Escape(value)} |\n");
            }
        }
    }

    /// <summary>Several reports as one Markdown table with its footnotes.</summary>
    /// <param name="reports">The reports.</param>
    public static string MarkdownTable(params IReadOnlyList<RunReport> reports)
    {
        var text = new StringBuilder();
        AppendTable(text, Table(reports));
        return text.ToString();
    }

    /// <summary>A table as Markdown with its footnotes.</summary>
    /// <param name="table">The table.</param>
    public static string MarkdownTable(ReportTable table)
    {
        var text = new StringBuilder();
        AppendTable(text, table);
        return text.ToString();
    }

    /// <summary>The table as formula-safe CSV; measures as percentages with one decimal.</summary>
    /// <param name="reports">The reports.</param>
    public static string CsvTable(params IReadOnlyList<RunReport> reports)
    {
        var table = Table(reports);
        var text = new StringBuilder();
        text.AppendCsvRow(table.Headers);
        foreach (var row in table.Rows)
        {
            text.AppendCsvRow([.. row.Select(cell => cell == "-" ? null : cell)]);
        }

        return text.ToString();
    }

    /// <summary>Seconds as people say them: `42 s`, `3 min 05 s`, `2 h 07 min`.</summary>
    /// <param name="seconds">The duration.</param>
    public static string Duration(double seconds)
    {
        var span = TimeSpan.FromSeconds(Math.Round(seconds));
        return span switch
        {
            { TotalMinutes: < 1 } => string.Create(CultureInfo.InvariantCulture, $"{span.Seconds} s"),
            { TotalHours: < 1 } => string.Create(CultureInfo.InvariantCulture, $"{span.Minutes} min {span.Seconds:00} s"),
            _ => string.Create(CultureInfo.InvariantCulture, $"{(int)span.TotalHours} h {span.Minutes:00} min"),
        };
    }

    /// <summary>A difference of two fractions in points, with its interval.</summary>
    /// <param name="difference">The difference, a fraction.</param>
    /// <param name="interval">Its interval, or null where unknown.</param>
    public static string Difference(double difference, Interval? interval)
    {
        static string Points(double value) => (100 * value).ToString("+0.0;-0.0;0.0", CultureInfo.InvariantCulture);
        return interval is { } i ? $"{Points(difference)} [{Points(i.Low)}, {Points(i.High)}]" : Points(difference);
    }

    // What learning added to the same network without training.
    private static void AppendTraining(StringBuilder text, RunReport report)
    {
        string[][] rows =
        [
            .. report.Rows.Where(r => r.Kind == ReportRowKind.Learned)
                .Select(
                    learned =>
                        (Learned: learned, Random: Array.Find(report.Rows, r => r.Kind == ReportRowKind.Random && r.View == learned.View)))
                .Where(pair => pair.Random is not null)
                .Select(pair => (string[])
                [
                    pair.Learned.Method, pair.Learned.View,
                    Against(pair.Learned.LinearProbe, pair.Random!.LinearProbe, pair.Learned.ProbeHits, pair.Random.ProbeHits),
                    Against(First(pair.Learned), First(pair.Random), pair.Learned.RecallHits, pair.Random.RecallHits),
                ]),
        ];
        if (rows.Length > 0)
        {
            text.Append("\nAgainst the same network, untrained:\n\n");
            AppendTable(text, new ReportTable(["method", "view", "linear probe", "R@1"], rows, [IntervalNote]));
        }

        static double? First(ReportRow row) => Array.Find(row.Recalls, r => r.K == 1)?.Value;
        static string Against(double? learned, double? random, VideoHits? hits, VideoHits? others) =>
            learned is { } a && random is { } b ? Difference(a - b, PairedBootstrap.OfDifference([hits], [others])) : "-";
    }

    private static void AppendTable(StringBuilder text, ReportTable table)
    {
        text.Append("| ").AppendJoin(" | ", table.Headers).Append(" |\n|");
        for (var i = 0; i < table.Headers.Length; i++)
        {
            text.Append(i < 2 ? " --- |" : " ---: |");
        }

        text.Append('\n');
        foreach (var row in table.Rows)
        {
            text.Append("| ").AppendJoin(" | ", row.Select(Escape)).Append(" |\n");
        }

        foreach (var note in table.Notes)
        {
            text.Append('\n').Append(Escape(note)).Append('\n');
        }
    }

    private static string[] Notes(ReportRow[] rows)
    {
        var notes = new List<string> { "All measures in percent." };
        var selections = rows.SelectMany(r => new[] { r.ProbeSelection, r.FineTuneSelection }).OfType<Selection>().Distinct().Order();
        foreach (var selection in selections)
        {
            notes.Add(selection switch
            {
                Selection.Last => "The epoch of a classifier is the last one.",
                Selection.Holdout => "‡ The epoch of the classifier was chosen on a held-out part of the training set.",
                _ => "† The epoch of the classifier was chosen on the test set, as the reference code does: optimistic.",
            });
        }

        if (rows.Any(r => r.Gallery == Gallery.OneClip))
        {
            notes.Add("Retrieval: one random clip stands for a gallery video, as in the reference code.");
        }

        return [.. notes];
    }

    private static string Mark(Selection? selection) => selection switch
    {
        Selection.Test => " †",
        Selection.Holdout => " ‡",
        _ => "",
    };

    private static string Percent(double? fraction) =>
        fraction is { } value ? (100 * value).ToString("0.0", CultureInfo.InvariantCulture) : "-";

    private static string? Number(long? value) => value?.ToString(CultureInfo.InvariantCulture);

    private static string Escape(string text) => text.ReplaceLineEndings(" ").Replace("\\", "\\\\", StringComparison.Ordinal)
        .Replace("|", "\\|", StringComparison.Ordinal).Replace("<", "&lt;", StringComparison.Ordinal);
}
