// Why this exists: the stages leave a folder behind that the report and every page read; tested through that folder.
using CoCLR.Core.Manifests;
using CoCLR.Core.Results;
using CoCLR.Engine.Evaluation;
using CoCLR.Engine.Tests.Video;
using CoCLR.Engine.Video.Decoding;
using CoCLR.Engine.Video.Store;

namespace CoCLR.Engine.Tests.Evaluation;

public sealed class EvaluationStagesTests : IDisposable
{
    private static readonly EvaluationSpec Spec = new()
    {
        LinearProbe = new ProbeSpec { Epochs = 10, BatchSize = 64, LearningRate = "0.3" }, Retrieval = new RetrievalSpec { Neighbours = 6 }
    };
    private readonly TemporaryFolder _folder = new();

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void ProbeRetrieveFuse_TwoViews_ReportAndArtifactsForThePages()
    {
        var (rgb, flow) = (Pair(8, 1.2, 1), Pair(5, 1.2, 3));
        var (randomRgb, randomFlow) = (Pair(8, 50, 5), Pair(5, 50, 7));
        var results = new List<StageResult>();
        foreach (var (view, features, random) in new[] { ("rgb", rgb, randomRgb), ("flow", flow, randomFlow) })
        {
            results.Add(
                Wrap(
                    "probe-" + view,
                    view,
                    EvaluationStages.Probe(Stage("probe-" + view), view, features, random, Spec.LinearProbe, 0, cancellationToken: Token)));
            results.Add(
                Wrap(
                    "retrieve-" + view,
                    view,
                    EvaluationStages.Retrieve(Stage("retrieve-" + view), view, features, random, Spec.Retrieval)));
        }

        var fused = EvaluationStages.Fuse(_folder.File("stages"), Spec, rgb, flow, randomRgb, randomFlow);
        results.Add(Wrap("fuse", "two-stream", fused));

        // Two independent views of the same classes are better together; untrained networks are near chance.
        var singles = results.Select(r => r.Outcome).OfType<ProbeResult>().ToArray();
        Assert.True(fused.Probe!.Top1 >= singles.Max(p => p.Accuracy.Top1));
        Assert.All(singles, p => Assert.InRange(p.RandomFeatures!.Accuracy.Top1, 0, 0.6));
        Assert.All(singles, p => Assert.NotEmpty(p.Knn));
        Assert.Equal(fused.Probe.Top1, fused.Predictions.Average(p => p.Predicted == p.Label ? 1.0 : 0), 1e-9);
        Assert.NotNull(fused.RandomFeatures!.Probe);
        Assert.NotNull(fused.RandomFeatures.Retrieval);

        var report = RunReport.From("run", results);
        Assert.Equal(
            [
                ("CoCLR", "rgb"), ("CoCLR", "flow"), ("CoCLR", "two-stream"), ("Random features", "rgb"), ("Random features", "flow"),
                ("Random features", "two-stream"), ("Chance", "-")
            ],
            report.Rows.Select(r => (r.Method, r.View)));
        Assert.All(report.Rows, row => Assert.True(row.LinearProbe is not null && row.Recalls.Length == 5));

        foreach (var stage in new[] { "probe-rgb", "fuse" })
        {
            var confusion = EvaluationArtifacts.Read<ConfusionTable>(Stage(stage), EvaluationArtifacts.Confusion);
            Assert.Equal(40, confusion.Counts.Sum(row => row.Sum()));
            Assert.Equal(40, confusion.Cells.Sum(c => c.Ids.Length));
        }

        foreach (var stage in new[] { "retrieve-flow", "fuse" })
        {
            var table = EvaluationArtifacts.Read<NeighbourTable>(Stage(stage), EvaluationArtifacts.Neighbours);
            Assert.Equal(40, table.Queries.Length);
            Assert.All(table.Queries, q => Assert.Equal(6, q.Neighbours.Length));
        }

        foreach (var method in new[] { "pca", "tsne" })
        {
            Assert.Equal(
                120, EvaluationArtifacts.Read<Projection>(Stage("probe-flow"), EvaluationArtifacts.ProjectionOf(method)).Points.Length);
        }
    }

    [Fact]
    public void FeaturePair_WrittenAndRead_Same()
    {
        var pair = Pair(4, 1, 1);
        pair.Write(Stage("probe-rgb"));
        var read = FeaturePair.Read(Stage("probe-rgb"));
        Assert.Equal(pair.Train.Values, read.Train.Values);
        Assert.Equal(pair.Test.Groups, read.Test.Groups);
    }

    [Fact]
    public void PreviewSet_GalleryOfAStore_MadeOnceEach()
    {
        if (FfmpegTool.Version is null)
        {
            Assert.Skip("ffmpeg is not installed");
        }

        using (var writer = ClipStoreWriter.OpenOrCreate(_folder.File("store"), new ClipStoreHeader { Channels = 3, ContentKey = "test" }))
        {
            for (var i = 0; i < 4; i++)
            {
                writer.Add(
                    new ClipStoreVideo { Id = $"v{i}", Frames = 5 + (50 * i), Height = 16, Width = 16, Fps = 25 },
                    new byte[(5 + (50 * i)) * 16 * 16 * 3]);
            }

            writer.Complete();
        }

        using var store = ClipStore.Open(_folder.File("store"));
        var stores = new Dictionary<string, ClipStore> { ["rgb"] = store };
        var table = PreviewSet.Make(
            _folder.Path, Stage("retrieve-rgb"), stores, ["v3", "v0", "v3", "not there"], workers: 2, cancellationToken: Token);
        Assert.Equal(["v0", "v3"], table.Previews.Select(p => p.Id));
        Assert.Empty(table.LeftOut);
        Assert.All(table.Previews, p =>
        {
            Assert.StartsWith("previews/", p.Video, StringComparison.Ordinal);
            Assert.True(new FileInfo(_folder.File(p.Video)).Length > 100);
            Assert.Equal([0xff, 0xd8], File.ReadAllBytes(_folder.File(p.Poster))[..2]);
        });
        var times = Directory.GetFiles(_folder.File("previews")).ToDictionary(f => f, File.GetLastWriteTimeUtc);
        Assert.Equal(4, times.Count);
        var again = PreviewSet.Make(_folder.Path, Stage("fuse"), stores, ["v0", "v1", "v3"], workers: 1, cancellationToken: Token);
        Assert.All(times, file => Assert.Equal(file.Value, File.GetLastWriteTimeUtc(file.Key)));
        Assert.Equal(6, Directory.GetFiles(_folder.File("previews")).Length);
        Assert.Equal(again.Previews, EvaluationArtifacts.Read<PreviewTable>(Stage("fuse"), EvaluationArtifacts.Previews).Previews);
    }

    private static StageResult Wrap(string stage, string view, Outcome outcome) =>
        new() { Stage = stage, View = view, Method = "CoCLR", DataSet = "d", Device = "CPU", EpochsTrained = 10, Outcome = outcome };

    // The seeds of training and test noise differ; the classes' centres are the same for equal dimensions.
    private static FeaturePair Pair(int dimension, double spread, int seed) =>
        new(FeatureSamples.Clusters(80, dimension, 4, spread, seed, "a"), FeatureSamples.Clusters(40, dimension, 4, spread, seed + 1, "b"));

    private string Stage(string name) => _folder.File("stages", name);
}
