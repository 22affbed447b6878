// Why this exists: a suite in Git guards a representation as tests guard code: what its results must be is judged here, for the operator,
// `coclr run` and the dashboard alike.
using System.Globalization;
using CoCLR.Core.Manifests;
using CoCLR.Core.Manifests.Status;

namespace CoCLR.Core.Results;

/// <summary>How an expectation stands in a cell.</summary>
/// <param name="Met">Whether it is met; null until every seed has its result.</param>
/// <param name="Text">In words.</param>
public sealed record ExpectationOutcome(bool? Met, string Text);

/// <summary>Judges the results of suites.</summary>
public static class Acceptance
{
    // A mean of 0.6 over seeds must not miss a bound of 0.6 by its last bit.
    private const double Rounding = 1e-9;

    private static readonly Dictionary<ResultMeasure, string> Words = new()
    {
        [ResultMeasure.LinearProbeTop1] = "linear probe",
        [ResultMeasure.LinearProbeTop5] = "linear probe (top-5)",
        [ResultMeasure.KnnTop1] = "kNN",
        [ResultMeasure.FinetuneTop1] = "fine-tuning",
        [ResultMeasure.RecallAt1] = "R@1",
        [ResultMeasure.RecallAt5] = "R@5",
        [ResultMeasure.RecallAt10] = "R@10",
    };

    /// <summary>How a suite's expectations stand, those that are not met first.</summary>
    /// <param name="spec">The suite.</param>
    /// <param name="experiments">Its experiments.</param>
    /// <param name="value">A measure of an experiment, a fraction; null while or where it has none.</param>
    /// <param name="ended">Whether an experiment has ended, so that a measure that it has not will not come.</param>
    public static IReadOnlyList<ExpectationOutcome> Judge(
        BenchmarkSpec spec, IReadOnlyList<MatrixExperiment> experiments, Func<MatrixExperiment, ResultView, ResultMeasure, double?> value,
        Func<MatrixExperiment, bool> ended)
    {
        ArgumentNullException.ThrowIfNull(spec);
        var cells = experiments.GroupBy(e => BenchmarkRules.CellText(e.Cell)).ToDictionary(g => g.Key, g => g.ToArray());
        var outcomes = new List<ExpectationOutcome>();
        foreach (Expectation expected in spec.Expect)
        {
            Over Of(string cell) => Over.Seeds(cells.GetValueOrDefault(cell, []), e => value(e, expected.View, expected.Measure), ended);
            foreach ((string name, MatrixExperiment[] seeds) in cells.Where(c => expected.Cell.All(v => c.Value[0].Cell.GetValueOrDefault(v.Axis) == v.Value)))
            {
                string what = $"{(name.Length > 0 ? name + ", " : "")}{(expected.View == ResultView.TwoStream ? "two-stream" : expected.View.ToString().ToLowerInvariant())}, {Words[expected.Measure]}";
                if (expected.Minimum is { } minimum)
                {
                    outcomes.Add(AtLeast(what, Of(name), Decimals.Parse(minimum)));
                }

                string baseline = BenchmarkRules.BaselineText(seeds[0].Cell, spec.Baseline);
                if (expected.MinimumDifference is { } difference && baseline != name)
                {
                    outcomes.Add(Above($"{what} over {baseline}", Of(name), Of(baseline), Decimals.Parse(difference)));
                }
            }
        }

        return [.. outcomes.OrderBy(o => o.Met switch { false => 0, null => 1, true => 2 })];
    }

    /// <summary>Whether all are met: false when one is not, else null when one is not known yet. Null also when there are none.</summary>
    /// <param name="outcomes">What <see cref="Judge"/> says.</param>
    public static bool? All(IReadOnlyList<ExpectationOutcome> outcomes) =>
        outcomes.Any(o => o.Met == false) ? false : outcomes.Count == 0 || outcomes.Any(o => o.Met == null) ? null : true;

    /// <summary>A measure of a view's results, as a cluster keeps them.</summary>
    /// <param name="results">Results by view.</param>
    /// <param name="view">The view.</param>
    /// <param name="measure">The measure.</param>
    public static double? Value(IEnumerable<ResultStatus> results, ResultView view, ResultMeasure measure)
    {
        ResultStatus? found = results.FirstOrDefault(r => r.View == Name(view));
        string? text = measure switch
        {
            ResultMeasure.LinearProbeTop1 => found?.LinearProbeTop1,
            ResultMeasure.LinearProbeTop5 => found?.LinearProbeTop5,
            ResultMeasure.KnnTop1 => found?.KnnTop1,
            ResultMeasure.FinetuneTop1 => found?.FinetuneTop1,
            ResultMeasure.RecallAt1 => found?.RecallAt1,
            ResultMeasure.RecallAt5 => found?.RecallAt5,
            _ => found?.RecallAt10,
        };
        return text == null ? null : Decimals.Parse(text);
    }

    /// <summary>A measure of a run's report.</summary>
    /// <param name="report">The report.</param>
    /// <param name="view">The view.</param>
    /// <param name="measure">The measure.</param>
    public static double? Value(RunReport report, ResultView view, ResultMeasure measure)
    {
        ReportRow? row = report.Rows.FirstOrDefault(r => r.Kind == ReportRowKind.Learned && r.View == Name(view));
        double? Recall(int k) => row == null ? null : Array.Find(row.Recalls, r => r.K == k)?.Value;
        return measure switch
        {
            ResultMeasure.LinearProbeTop1 => row?.LinearProbe,
            ResultMeasure.LinearProbeTop5 => row?.LinearProbeTop5,
            ResultMeasure.KnnTop1 => row?.Knn,
            ResultMeasure.FinetuneTop1 => row?.FineTune,
            ResultMeasure.RecallAt1 => Recall(1),
            ResultMeasure.RecallAt5 => Recall(5),
            _ => Recall(10),
        };
    }

    private static string Name(ResultView view) => view switch { ResultView.Rgb => "rgb", ResultView.Flow => "flow", _ => "two-stream" };

    private static ExpectationOutcome AtLeast(string what, Over mean, double minimum) => mean.Value is not { } value
        ? mean.Missing(what, $"at least {Percent(minimum)}")
        : new(value >= minimum - Rounding, $"{what}: {Percent(value)} over {mean.Count} seeds, at least {Percent(minimum)} expected");

    private static ExpectationOutcome Above(string what, Over mean, Over baseline, double minimum)
    {
        if (mean.Value is not { } value || baseline.Value is not { } other)
        {
            return (mean.Value == null ? mean : baseline).Missing(what, $"at least {Signed(minimum)}");
        }

        return new(
            value - other >= minimum - Rounding,
            $"{what}: {Signed(value - other)} ({Percent(value)} against {Percent(other)}), at least {Signed(minimum)} expected");
    }

    private static string Percent(double value) => (100 * value).ToString("0.0", CultureInfo.InvariantCulture);

    private static string Signed(double value) => (100 * value).ToString("+0.0;-0.0;0.0", CultureInfo.InvariantCulture);

    /// <summary>A mean over seeds, when all have their value.</summary>
    private sealed record Over(double? Value, int Count, int Total, bool MayCome)
    {
        public static Over Seeds(MatrixExperiment[] seeds, Func<MatrixExperiment, double?> value, Func<MatrixExperiment, bool> ended)
        {
            double[] values = [.. seeds.Select(value).OfType<double>()];
            bool complete = values.Length == seeds.Length && seeds.Length > 0;
            return new Over(complete ? values.Average() : null, values.Length, seeds.Length, seeds.Any(s => value(s) == null && !ended(s)));
        }

        public ExpectationOutcome Missing(string what, string expected) => new(
            MayCome ? null : false,
            $"{what}: {Count} of {Total} seeds measured{(MayCome ? " so far" : "; the others have ended without this measure")}, "
                + $"{expected} expected");
    }
}
