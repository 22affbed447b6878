// Why this exists: a suite's table is what a claim rests on: its means, spreads and differences are checked by hand-made reports.
using CoCLR.Core.Manifests;
using CoCLR.Core.Results;

namespace CoCLR.Core.Tests.Results;

public sealed class SuiteTableTests
{
    [Fact]
    public void Of_TwoCellsAndSeeds_GivesMeansSpreadsAndDifferences()
    {
        ReportTable table = SuiteTable.Of(
            [Run("InfoNCE", 0, 0.30, 0.20), Run("InfoNCE", 1, 0.40, 0.30), Run("CoCLR", 0, 0.50, 0.45), Run("CoCLR", 1, 0.50, 0.55)],
            [new AxisValue { Axis = "method", Value = "InfoNCE" }],
            []);
        Assert.Equal(
            ["cell", "view", "epochs", "seeds", "linear probe", "kNN", "R@1", "R@5", "R@10", "probe, difference", "R@1, difference"],
            table.Headers);
        Assert.Equal(
            [
                ["method=InfoNCE", "rgb", "7", "2", "35.0 ± 7.1", "-", "25.0 ± 7.1", "-", "-", "-", "-"],
                ["method=CoCLR", "rgb", "7", "2", "50.0 ± 0.0", "-", "50.0 ± 7.1", "-", "-", "+15.0", "+25.0"],
                ["Random features", "rgb", "-", "2", "12.5 ± 0.7", "-", "-", "-", "-", "-", "-"],
                ["Chance", "-", "-", "1", "25.0", "-", "-", "-", "-", "-", "-"],
            ],
            table.Rows);
    }

    [Fact]
    public void Of_RowsWithTheirHits_GivesTheIntervalOfADifference()
    {
        VideoHits Hits(Func<int, bool> right) =>
            VideoHits.Of(Enumerable.Range(0, 200).Select(v => ($"v{v:000}", (string?)$"g{v / 4}", right(v))))!;
        (MatrixExperiment, RunReport) With((MatrixExperiment Experiment, RunReport Report) run, VideoHits hits) =>
            (run.Experiment, run.Report with { Rows = [run.Report.Rows[0] with { ProbeHits = hits, RecallHits = hits }] });
        ReportTable table = SuiteTable.Of(
            [With(Run("InfoNCE", 0, 0.25, 0.25), Hits(v => v % 4 == 0)), With(Run("CoCLR", 0, 0.5, 0.5), Hits(v => v % 2 == 0))],
            [new AxisValue { Axis = "method", Value = "InfoNCE" }],
            []);
        // Every group differs by the same quarter: nothing is left to chance.
        Assert.Equal("+25.0 [+25.0, +25.0]", table.Rows[1][^1]);
        Assert.Contains(ReportWriter.IntervalNote, table.Notes);
    }

    [Fact]
    public void Of_AnAxisWhoseMeanIsTaken_IsNoCell_AndItsTestVideosCountTogether()
    {
        VideoHits Hits(string fold, Func<int, bool> right) =>
            VideoHits.Of(Enumerable.Range(0, 40).Select(v => ($"{fold}-{v:00}", (string?)$"{v}", right(v))))!;
        (MatrixExperiment, RunReport) Fold(string method, string fold, double probe, Func<int, bool> right)
        {
            (MatrixExperiment experiment, RunReport report) = Run(method, 0, probe, probe);
            return (
                experiment with { Cell = new Dictionary<string, string> { ["method"] = method, ["fold"] = fold } },
                report with { Rows = [report.Rows[0] with { ProbeHits = Hits(fold, right), RecallHits = Hits(fold, right) }] });
        }

        ReportTable table = SuiteTable.Of(
            [
                Fold("InfoNCE", "1", 0.25, v => v % 4 == 0), Fold("InfoNCE", "2", 0.25, v => v % 4 == 0),
                Fold("CoCLR", "1", 0.5, v => v % 2 == 0), Fold("CoCLR", "2", 0.75, v => v % 4 < 3),
            ],
            [new AxisValue { Axis = "method", Value = "InfoNCE" }],
            [new MatrixAxis { Name = "method" }, new MatrixAxis { Name = "fold", Field = "dataset.split", Mean = true }]);
        Assert.Equal(["method=InfoNCE", "method=CoCLR"], table.Rows.Select(r => r[0]));
        Assert.Equal("62.5", table.Rows[1][4]);
        Assert.Matches(@"^\+37\.5 \[\+(2[5-9]|3[0-6])\.\d, \+(3[89]|4\d)\.\d\]$", table.Rows[1][^1]);
        Assert.Contains("mean over fold", table.Notes[0], StringComparison.Ordinal);
    }

    private static (MatrixExperiment, RunReport) Run(string method, int seed, double probe, double recall) =>
        (new MatrixExperiment($"s-{method}-{seed}", new Dictionary<string, string> { ["method"] = method }, seed, new ExperimentSpec()), new RunReport
        {
            Name = "s", DataSet = "d", Device = "CPU", Seed = seed,
            Rows =
            [
                new ReportRow
                {
                    Method = method, View = "rgb", Kind = ReportRowKind.Learned, Epochs = 7, Seed = seed, LinearProbe = probe,
                    Recalls = [new Recall { K = 1, Value = recall, Chance = 0.25 }]
                },
                new ReportRow
                {
                    Method = "Random features", View = "rgb", Kind = ReportRowKind.Random, Seed = seed, LinearProbe = 0.12 + (0.01 * seed)
                },
                new ReportRow { Method = "Chance", View = "-", Kind = ReportRowKind.Chance, LinearProbe = 0.25 },
            ],
        });
}
