// Why this exists: a benchmark is a matrix over runs: from a suite's manifest, or from the fields in which the runs at hand differ.
using System.Globalization;
using System.Text;
using CoCLR.Core.Manifests;
using CoCLR.Core.Results;
using CoCLR.Dashboard.Configuration;
using CoCLR.Dashboard.Formatting;
using CoCLR.Dashboard.Storage;
using Microsoft.Extensions.Options;

namespace CoCLR.Dashboard.Hosting;

/// <summary>A suite whose manifest lies in the work folder.</summary>
/// <param name="Name">Name.</param>
/// <param name="Spec">Spec.</param>
internal sealed record Suite(string Name, BenchmarkSpec Spec);

/// <summary>A cell: the runs of one combination, and the mean and standard deviation over them.</summary>
/// <param name="Runs">Runs, one a seed.</param>
/// <param name="Mean">Mean; null while nothing is measured.</param>
/// <param name="Deviation">Sample standard deviation; null with fewer than two values.</param>
/// <param name="Count">Values.</param>
internal sealed record MatrixCell(IReadOnlyList<RunInfo> Runs, double? Mean, double? Deviation, int Count);

/// <summary>A table of cells.</summary>
/// <param name="RowField">Field of the rows.</param>
/// <param name="ColumnField">Field of the columns; empty for one column.</param>
/// <param name="Rows">Values of the rows.</param>
/// <param name="Columns">Values of the columns.</param>
/// <param name="Cells">[row][column].</param>
internal sealed record SuiteMatrix(string RowField, string ColumnField, string[] Rows, string[] Columns, MatrixCell[][] Cells);

/// <summary>Benchmarks over runs.</summary>
internal sealed class Suites(IOptions<DashboardOptions> options, IServiceProvider services)
{
    /// <summary>Measures of a cell.</summary>
    public static readonly (string Key, string Name)[] Measures =
        [("probe", "Linear probe, top-1"), ("recall", "Retrieval, R@1"), ("loss", "Loss")];

    /// <summary>Views of a run whose measures a cell may show; the last is the best of the others.</summary>
    public static readonly (string Key, string Name)[] Views =
        [("rgb", "RGB"), ("flow", "Flow"), ("two-stream", "Two-stream"), ("best", "Best of all")];

    /// <summary>
    /// How a run's measure is read. Which view is the best is known only of a run that is done: until then it has no best.
    /// </summary>
    /// <param name="measure">One of <see cref="Measures"/>.</param>
    /// <param name="view">One of <see cref="Views"/>; the loss has none.</param>
    /// <param name="resultsOf">Results of a run's stages; asked for a single view only.</param>
    public static Func<RunInfo, double?> Reader(string measure, string view, Func<RunInfo, IReadOnlyList<StageResult>> resultsOf) =>
        (measure, view) switch
        {
            ("loss", _) => run => run.Loss,
            ("recall", "best") => run => run.State == RunState.Succeeded ? run.RecallAt1 : null,
            (_, "best") => run => run.State == RunState.Succeeded ? run.BestProbe : null,
            ("recall", _) => run => resultsOf(run).Where(r => r.View == view).Max(RunResults.LearnedRecallAt1),
            _ => run => resultsOf(run).Where(r => r.View == view).Max(RunResults.LearnedProbe),
        };

    /// <summary>Suites whose manifests lie in the work folder.</summary>
    public IReadOnlyList<Suite> All()
    {
        var suites = new List<Suite>();
        suites.AddRange(
            (services.GetService<Cluster.ClusterWatch>()?.Benchmarks ?? []).Where(b => b.Spec != null)
                .Select(b => new Suite(b.Name, b.Spec!)));
        foreach (string folder in new[] { options.Value.ResolvedWorkDir, Path.Combine(options.Value.ResolvedWorkDir, "suites"), Path.Combine(options.Value.ResolvedDataDir, "manifests") }.Where(Directory.Exists))
        {
            foreach (string file in Directory.EnumerateFiles(folder, "*.yaml").Take(200))
            {
                if (new FileInfo(file).Length < 1 << 20 && File.ReadAllText(file) is var text
                    && text.Contains(ApiNames.Benchmark, StringComparison.Ordinal)
                    && ManifestReader.ReadBenchmark(text).Manifest is { } manifest)
                {
                    suites.Add(new Suite(manifest.Metadata.Name, manifest.Spec));
                }
            }
        }

        return suites;
    }

    /// <summary>The suite of that name, or null.</summary>
    /// <param name="name">Its name.</param>
    public Suite? Find(string name) => All().FirstOrDefault(s => s.Name == name);

    /// <summary>Fields in which runs differ, seeds apart.</summary>
    public static IReadOnlyList<string> Differing(IReadOnlyList<RunInfo> runs)
    {
        IReadOnlyDictionary<string, string>[] fields = [.. runs.Select(ManifestText.Flat)];
        return [
            .. fields.SelectMany(f => f.Keys).Distinct()
                .Where(k => k != "seed" && fields.Select(f => f.GetValueOrDefault(k, "")).Distinct().Take(2).Count() > 1)
                .OrderByDescending(k => k == "training.method").ThenBy(k => k, StringComparer.Ordinal)];
    }

    /// <summary>Runs of a suite.</summary>
    public static IReadOnlyList<RunInfo> RunsOf(Suite suite, IEnumerable<RunInfo> runs)
    {
        var names = BenchmarkRules.Expand(suite.Name, suite.Spec).Select(e => e.Name).ToHashSet(StringComparer.Ordinal);
        return [.. runs.Where(r => names.Contains(r.Experiment))];
    }

    /// <summary>The matrix of a measure over two fields.</summary>
    public static SuiteMatrix Matrix(IReadOnlyList<RunInfo> runs, string rowField, string columnField, Func<RunInfo, double?> measure)
    {
        var fields = runs.ToDictionary(r => r, ManifestText.Flat);
        string Of(RunInfo run, string field) => field.Length == 0 ? "all" : fields[run].GetValueOrDefault(field, "–");
        string[] rows = [.. runs.Select(r => Of(r, rowField)).Distinct().OrderBy(Key)];
        string[] columns = [.. runs.Select(r => Of(r, columnField)).Distinct().OrderBy(Key)];
        return new SuiteMatrix(
            rowField,
            columnField,
            rows,
            columns,
            [
                .. rows.Select(
                    row => columns.Select(
                        column => Cell([.. runs.Where(r => Of(r, rowField) == row && Of(r, columnField) == column)], measure)).ToArray())]);

        static (int, double, string) Key(string value) => value switch
        {
            // Methods with labels are the ceiling: they come last.
            _ when MethodTraits.Named(value) is { } method => (0, (double)method + (method.Traits().NeedsLabels ? 100 : 0), ""),
            _ when double.TryParse(value, CultureInfo.InvariantCulture, out double number) => (1, number, ""),
            _ => (2, 0, value),
        };
    }

    /// <summary>The matrix as Markdown.</summary>
    public static string Markdown(SuiteMatrix matrix, string measure)
    {
        var text = new StringBuilder().Append("| ").Append(matrix.RowField).Append(" | ").AppendJoin(" | ", matrix.Columns.Select(Escape))
            .Append(" |\n| --- |").Append(string.Concat(matrix.Columns.Select(_ => " ---: |"))).Append('\n');
        for (int i = 0; i < matrix.Rows.Length; i++)
        {
            text.Append("| ").Append(Escape(matrix.Rows[i])).Append(" | ").AppendJoin(" | ", matrix.Cells[i].Select(c => Show(c, measure)))
                .Append(" |\n");
        }

        return text.ToString();

        static string Escape(string s) => s.Replace("|", "\\|", StringComparison.Ordinal);
    }

    /// <summary>The matrix as formula-safe CSV.</summary>
    public static string CsvOf(SuiteMatrix matrix, string measure)
    {
        var text = new StringBuilder().AppendCsvRow(matrix.RowField, matrix.ColumnField, "mean", "std", "runs");
        for (int i = 0; i < matrix.Rows.Length; i++)
        {
            for (int j = 0; j < matrix.Columns.Length; j++)
            {
                MatrixCell cell = matrix.Cells[i][j];
                double scale = measure == "loss" ? 1 : 100;
                text.AppendCsvRow(matrix.Rows[i], matrix.Columns[j], cell.Mean * scale, cell.Deviation * scale, cell.Count);
            }
        }

        return text.ToString();
    }

    /// <summary>A cell in words: mean ± standard deviation.</summary>
    public static string Show(MatrixCell cell, string measure)
    {
        if (cell.Mean is not { } mean)
        {
            return cell.Runs.Count > 0 ? "…" : "–";
        }

        double scale = measure == "loss" ? 1 : 100;
        string format = measure == "loss" ? "0.000" : "0.0";
        return (mean * scale).ToString(format, CultureInfo.InvariantCulture)
            + (cell.Deviation is { } d ? " ± " + (d * scale).ToString(format, CultureInfo.InvariantCulture) : "");
    }

    private static MatrixCell Cell(IReadOnlyList<RunInfo> runs, Func<RunInfo, double?> measure)
    {
        double[] values = [.. runs.Select(measure).OfType<double>()];
        double? mean = values.Length > 0 ? values.Average() : null;
        double? deviation = Statistics.StandardDeviation(values);
        return new MatrixCell(runs, mean, deviation, values.Length);
    }
}
