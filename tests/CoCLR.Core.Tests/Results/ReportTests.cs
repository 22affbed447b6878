// Why this exists: the table at the end of a run is what people believe; its rows, marks and footnotes are tested as they are printed.
using CoCLR.Core.Manifests;
using CoCLR.Core.Results;

namespace CoCLR.Core.Tests.Results;

public class ReportTests
{
    private static readonly Recall[] Recalls =
        [new() { K = 1, Value = 0.518, Chance = 0.25 }, new() { K = 5, Value = 0.694, Chance = 0.75 }];

    [Fact]
    public void From_ProbeAndRetrievalOfTwoViews_OneRowEachThenRandomThenChance()
    {
        var report = RunReport.From("demo", Results());
        Assert.Equal(
            [("CoCLR", "rgb"), ("CoCLR", "flow"), ("CoCLR", "two-stream"), ("Random features", "rgb"), ("Chance", "-")],
            report.Rows.Select(r => (r.Method, r.View)));
        Assert.Equal(0.702, report.Rows[0].LinearProbe);
        Assert.Equal(0.518, report.Rows[0].Recalls[0].Value);
        Assert.Equal(0.721, report.Rows[2].LinearProbe);
        Assert.Equal(0.25, report.Rows[^1].LinearProbe);
        Assert.Equal(0.75, report.Rows[^1].Recalls[1].Value);
        Assert.Equal(500, report.Rows[0].Epochs);
        Assert.Equal(80, report.TestVideos);
    }

    [Fact]
    public void Markdown_AnyReport_HoldsTheTableAndItsConditions()
    {
        var lines = ReportWriter.Markdown(RunReport.From("a|b <x>", Results())).Split('\n');
        Assert.Equal("# a\\|b &lt;x>", lines[0]);
        Assert.Contains("| method | view | epochs | linear probe | kNN (k=20) | fine-tune | R@1 | R@5 |", lines);
        Assert.Contains("| CoCLR | rgb | 500 | 70.2 | 61.0 | - | 51.8 | 69.4 |", lines);
        Assert.Contains("| Random features | rgb | 0 | 20.0 † | - | - | - | - |", lines);
        Assert.Contains("| Chance | - | - | 25.0 | 25.0 | - | 25.0 | 75.0 |", lines);
        Assert.Contains("The epoch of a classifier is the last one.", lines);
        Assert.Contains(lines, l => l.StartsWith("† The epoch of the classifier was chosen on the test set", StringComparison.Ordinal));
        Assert.Contains("| data set | synthetic |", lines);
        Assert.Contains("| wall time | 1 min 40 s |", lines);
        Assert.Contains("| seed | 7 |", lines);
        Assert.Contains("| device | CPU |", lines);
    }

    [Fact]
    public void Table_SeveralRuns_ChanceAndRandomOnce()
    {
        var first = RunReport.From("a", Results());
        var second = RunReport.From("b", [.. Results().Select(r => r.Method == "CoCLR" ? r with { Method = "InfoNCE" } : r)]);
        var methods = ReportWriter.Table(first, second).Rows.Select(r => r[0]).ToArray();
        Assert.Equal(["CoCLR", "CoCLR", "CoCLR", "InfoNCE", "InfoNCE", "InfoNCE", "Random features", "Chance"], methods);
    }

    [Fact]
    public void From_StagesSideBySide_CountTheirTimeOnceAndTheirDeviceByItsLargestShare()
    {
        var end = new DateTimeOffset(2026, 1, 1, 0, 0, 0, TimeSpan.Zero);
        var one = Results()[0] with { WallSeconds = 60, Device = "CPU, 2 threads" };
        RunReport report = RunReport.From("e", [
            one with { FinishedAt = end },
            one with { FinishedAt = end.AddSeconds(80), WallSeconds = 80, Device = "CPU, 1 thread" },
            one with { FinishedAt = end.AddSeconds(90), Device = "CPU, 1 thread" },
            one with { FinishedAt = end.AddSeconds(200), WallSeconds = 10, Device = "GPU 0" }]);
        Assert.Equal(160, report.WallSeconds);
        Assert.Equal("CPU, 2 threads and GPU 0", report.Device);
    }

    [Fact]
    public void From_NoResults_SaysSo() =>
        Assert.Equal(ExitCodes.MissingInput, Assert.Throws<UserErrorException>(() => RunReport.From("x", [])).ExitCode);

    [Fact]
    public void Json_EveryKind_ComesBackAsWritten()
    {
        foreach (var result in Results())
        {
            var json = ResultJson.Write(result);
            Assert.Equal(json, ResultJson.Write(ResultJson.Read<StageResult>(json, "result.json")));
            Assert.Contains("\"kind\":", json);
        }

        Assert.Contains("\"kind\": \"probe\"", ResultJson.Write(Results()[0]));
        Assert.Contains("\"selection\": \"last\"", ResultJson.Write(Results()[0]));
    }

    [Theory]
    [InlineData("")]
    [InlineData("null")]
    [InlineData("{\"stage\":")]
    [InlineData("{\"stage\":\"probe-rgb\",\"outcome\":{\"kind\":\"other\"}}")]
    public void Read_DamagedFile_NamesIt(string json)
    {
        var error = Assert.Throws<UserErrorException>(() => ResultJson.Read<StageResult>(json, "RUN/stages/x/result.json"));
        Assert.StartsWith("RUN/stages/x/result.json", error.Message, StringComparison.Ordinal);
        Assert.Equal(ExitCodes.BadData, error.ExitCode);
    }

    private static StageResult[] Results()
    {
        var common = new StageResult
        {
            Stage = "", View = "rgb", Method = "CoCLR", DataSet = "synthetic", Split = "1", EpochsTrained = 500, Seed = 7, Device = "CPU",
            WallSeconds = 20,
            Outcome = new PretrainResult { Epochs = 100, Steps = 10, Loss = 1, PretextTop1 = 0.5 },
        };
        var retrieval = new RetrievalResult { Recalls = Recalls, Queries = 80, GallerySize = 300, Gallery = Gallery.AllClips };
        return
        [
            common with
            {
                Stage = "probe-rgb",
                Outcome = Probe(0.702, Selection.Last, new KnnAccuracy { K = 20, Vote = "weighted", Top1 = 0.61, Top5 = 0.9 }) with { RandomFeatures = Probe(0.2, Selection.Test) }
            },
            common with { Stage = "retrieve-rgb", Outcome = retrieval },
            common with { Stage = "probe-flow", View = "flow", Outcome = Probe(0.687, Selection.Last) },
            common with
            {
                Stage = "fuse", View = "two-stream",
                Outcome = new FusionResult { Probe = Probe(0.721, Selection.Last).Accuracy, Retrieval = retrieval }
            },
            common with { Stage = "cycle-1-rgb" },
        ];
    }

    private static ProbeResult Probe(double top1, Selection selection, params KnnAccuracy[] knn) => new()
    {
        Mode = "features",
        Accuracy = new Accuracy
        {
            Top1 = top1, Top5 = 1, Chance = 0.25, Videos = 80, ClassNames = ["a", "b", "c", "d"], PerClass = [1, null, 0, 0.5],
            Confusion = [[1]]
        },
        Selection = selection,
        Epoch = 100,
        Epochs = 100,
        Knn = knn,
    };
}
