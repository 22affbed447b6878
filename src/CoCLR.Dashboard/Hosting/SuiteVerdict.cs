// Why this exists: how a suite stands, as its page, its badge and its Markdown table say it: experiments, expectations, one table.
using CoCLR.Core.Manifests;
using CoCLR.Core.Results;
using CoCLR.Dashboard.Storage;

namespace CoCLR.Dashboard.Hosting;

/// <summary>How a suite stands.</summary>
/// <param name="Name">Name of the suite.</param>
/// <param name="Experiments">Experiments that it makes.</param>
/// <param name="Finished">Those that have ended, with success or without.</param>
/// <param name="Failed">Those that failed.</param>
/// <param name="Met">Whether its expectations are met; null while that is open, or when it expects nothing.</param>
/// <param name="Expectations">How each stands, those that are not met first.</param>
internal sealed record SuiteVerdict(
    string Name, int Experiments, int Finished, int Failed, bool? Met, IReadOnlyList<ExpectationOutcome> Expectations)
{
    /// <summary>Judges a suite by the runs at hand.</summary>
    /// <param name="suite">The suite.</param>
    /// <param name="runs">Its runs.</param>
    /// <param name="reportOf">The table of a run.</param>
    public static SuiteVerdict Of(Suite suite, IEnumerable<RunInfo> runs, Func<RunInfo, RunReport?> reportOf)
    {
        IReadOnlyList<MatrixExperiment> experiments = BenchmarkRules.Expand(suite.Name, suite.Spec);
        Dictionary<string, RunInfo> newest = NewestOf(runs);
        Dictionary<string, RunReport> reports = ReportsOf(newest, reportOf);
        bool Ended(MatrixExperiment e) => newest.GetValueOrDefault(e.Name)?.State is RunState.Succeeded or RunState.Failed;
        IReadOnlyList<ExpectationOutcome> outcomes = Acceptance.Judge(
            suite.Spec, experiments, (e, view, measure) =>
                reports.TryGetValue(e.Name, out RunReport? report) ? Acceptance.Value(report, view, measure) : null, Ended);
        return new SuiteVerdict(
            suite.Name,
            experiments.Count,
            experiments.Count(Ended),
            experiments.Count(e => newest.GetValueOrDefault(e.Name)?.State == RunState.Failed),
            Acceptance.All(outcomes),
            outcomes);
    }

    /// <summary>The suite's table over the runs that have succeeded, and how its expectations stand, as Markdown.</summary>
    /// <param name="suite">The suite.</param>
    /// <param name="runs">Its runs.</param>
    /// <param name="reportOf">The table of a run.</param>
    public static string Markdown(Suite suite, IReadOnlyList<RunInfo> runs, Func<RunInfo, RunReport?> reportOf)
    {
        Dictionary<string, RunReport> reports = ReportsOf(NewestOf(runs), reportOf);
        (MatrixExperiment Experiment, RunReport Report)[] done =
            [.. BenchmarkRules.Expand(suite.Name, suite.Spec).Where(e => reports.ContainsKey(e.Name)).Select(e => (e, reports[e.Name]))];
        string table = done.Length > 0
            ? ReportWriter.MarkdownTable(SuiteTable.Of(done, suite.Spec.Baseline, suite.Spec.Matrix))
            : "No experiment has ended yet.\n";
        SuiteVerdict verdict = Of(suite, runs, reportOf);
        return table + (
            verdict.Expectations.Count == 0 ? "" : "\n" + string.Concat(verdict.Expectations.Select(o => $"- {Word(o.Met)}: {o.Text}\n")));
    }

    /// <summary>Met, not met or open.</summary>
    /// <param name="met">Whether it is met.</param>
    public static string Word(bool? met) => met switch { true => "met", false => "not met", null => "open" };

    private static Dictionary<string, RunInfo> NewestOf(IEnumerable<RunInfo> runs) =>
        runs.GroupBy(r => r.Experiment).ToDictionary(g => g.Key, g => g.MaxBy(r => r.Created)!);

    private static Dictionary<string, RunReport> ReportsOf(Dictionary<string, RunInfo> runs, Func<RunInfo, RunReport?> reportOf) =>
        runs.Where(r => r.Value.State == RunState.Succeeded).Select(r => (r.Key, Report: reportOf(r.Value))).Where(r => r.Report != null)
            .ToDictionary(r => r.Key, r => r.Report!);
}
