// Why this exists: recalls are compared with the paper's; they are held against a slow reference and against what must not matter.
using CoCLR.Core;
using CoCLR.Core.Results;
using CoCLR.Engine.Features;
using CoCLR.Engine.Tests.Evaluation;

namespace CoCLR.Engine.Tests.Features;

public class RetrievalTests
{
    [Theory]
    [InlineData(60, 20, 7, 5, 1.5)]
    [InlineData(9, 4, 3, 3, 1.0)]
    [InlineData(200, 30, 40, 10, 2.5)]
    public void Evaluate_RandomFeatures_AgreesWithSlowReference(int train, int test, int dimension, int classes, double spread)
    {
        var gallery = FeatureSamples.Clusters(train, dimension, classes, spread, 1, "g");
        var queries = FeatureSamples.Clusters(test, dimension, classes, spread, 2, "q");
        var (result, _) = Retrieval.Evaluate(gallery, queries, "rgb");
        var rankings = SlowRankings(gallery, queries);
        foreach (var recall in result.Recalls)
        {
            var hits = rankings.Where((ranking, q) => ranking.Take(recall.K).Any(g => gallery.Labels![g] == queries.Labels![q])).Count();
            Assert.Equal(hits / (double)test, recall.Value, 1e-9);
        }

        Assert.Equal(Retrieval.Ranks, result.Recalls.Select(r => r.K));
        Assert.Equal(
            rankings.Select((ranking, q) => SlowPrecision(ranking, gallery, queries.Labels![q])).Average(),
            result.MeanAveragePrecision!.Value,
            1e-9);
    }

    [Fact]
    public void Evaluate_OtherOrder_SameResult()
    {
        var gallery = FeatureSamples.Clusters(80, 12, 6, 1.5, 1, "g");
        var queries = FeatureSamples.Clusters(25, 12, 6, 1.5, 2, "q");
        var expected = Retrieval.Evaluate(gallery, queries, "rgb");
        var actual = Retrieval.Evaluate(FeatureSamples.Shuffled(gallery, 5), FeatureSamples.Shuffled(queries, 6), "rgb");
        Assert.Equal(expected.Result.Recalls, actual.Result.Recalls);
        Assert.Equal(expected.Result.MeanAveragePrecision!.Value, actual.Result.MeanAveragePrecision!.Value, 1e-9);
        foreach (var query in expected.Neighbours.Queries)
        {
            var same = Assert.Single(actual.Neighbours.Queries, q => q.Id == query.Id);
            Assert.Equal(query.Neighbours.Select(n => n.Id), same.Neighbours.Select(n => n.Id));
        }
    }

    [Fact]
    public void Evaluate_Neighbours_HoldWhatAGalleryShows()
    {
        var gallery = FeatureSamples.Clusters(40, 8, 4, 0.3, 1, "g");
        var queries = FeatureSamples.Clusters(6, 8, 4, 0.3, 2, "q");
        var table = Retrieval.Evaluate(gallery, queries, "flow", neighbours: 7).Neighbours;
        Assert.Equal("flow", table.View);
        Assert.Equal(queries.Ids, table.Queries.Select(q => q.Id));
        foreach (var query in table.Queries)
        {
            Assert.Equal(7, query.Neighbours.Length);
            Assert.Equal(1, query.FirstHit);
            Assert.Equal($"class {query.Label}", query.Class);
            Assert.Equal(query.Neighbours.OrderByDescending(n => n.Similarity).Select(n => n.Id), query.Neighbours.Select(n => n.Id));
            Assert.All(query.Neighbours, n =>
            {
                Assert.Equal(n.Label == query.Label, n.Hit);
                Assert.Equal(1 - n.Similarity, n.Distance, 1e-6);
                Assert.InRange(n.Similarity, -1.000001, 1.000001);
            });
        }
    }

    [Fact]
    public void Evaluate_WithoutLabels_NeighboursOnly()
    {
        var gallery = Unlabelled(FeatureSamples.Clusters(30, 8, 3, 1, 1, "g"));
        var outcome = Retrieval.Evaluate(gallery, FeatureSamples.Clusters(5, 8, 3, 1, 2, "q"), "rgb");
        Assert.Empty(outcome.Result.Recalls);
        Assert.Null(outcome.Result.MeanAveragePrecision);
        Assert.All(outcome.Neighbours.Queries, q =>
        {
            Assert.Equal(10, q.Neighbours.Length);
            Assert.All(q.Neighbours, n => Assert.Null(n.Hit));
        });
    }

    [Fact]
    public void Evaluate_SomeLabelsUnknown_OnlyKnownQueriesCount()
    {
        var gallery = FeatureSamples.Clusters(30, 8, 3, 0.1, 1, "g");
        var full = FeatureSamples.Clusters(9, 8, 3, 0.1, 2, "q");
        var queries = new FeatureSet(full.Ids, full.Values, [.. full.Labels!.Select((l, i) => i < 4 ? -1 : l)], full.ClassNames);
        var outcome = Retrieval.Evaluate(gallery, queries, "rgb");
        Assert.Equal(1, outcome.Result.RecallAt(1));
        Assert.Null(outcome.Neighbours.Queries[0].FirstHit);
        Assert.Equal(1, outcome.Neighbours.Queries[8].FirstHit);
    }

    [Fact]
    public void Evaluate_OneClass_AlwaysHits()
    {
        var outcome = Retrieval.Evaluate(FeatureSamples.Clusters(5, 8, 1, 1, 1, "g"), FeatureSamples.Clusters(3, 8, 1, 1, 2, "q"), "rgb");
        Assert.All(outcome.Result.Recalls, r => Assert.Equal((1.0, 1.0), (r.Value, Math.Round(r.Chance, 9))));
        Assert.Equal(1, outcome.Result.MeanAveragePrecision!.Value, 1e-9);
        Assert.All(outcome.Neighbours.Queries, q => Assert.Equal(5, q.Neighbours.Length));
    }

    [Theory]
    [InlineData(0, 3)]
    [InlineData(3, 0)]
    [InlineData(0, 0)]
    public void Evaluate_EmptySets_NoNumbersNoError(int train, int test)
    {
        var outcome =
            Retrieval.Evaluate(FeatureSamples.Clusters(train, 8, 2, 1, 1, "g"), FeatureSamples.Clusters(test, 8, 2, 1, 2, "q"), "rgb");
        Assert.Empty(outcome.Result.Recalls);
        Assert.All(outcome.Neighbours.Queries, q => Assert.Empty(q.Neighbours));
    }

    [Fact]
    public void Evaluate_OtherNetworkOrOtherClasses_Refused()
    {
        var gallery = FeatureSamples.Clusters(10, 8, 2, 1, 1);
        Assert.Equal(
            ExitCodes.BadData,
            Assert.Throws<UserErrorException>(() => Retrieval.Evaluate(gallery, FeatureSamples.Clusters(4, 9, 2, 1, 2), "rgb")).ExitCode);
        Assert.Contains(
            "classes",
            Assert.Throws<UserErrorException>(() => Retrieval.Evaluate(gallery, FeatureSamples.Clusters(4, 8, 3, 1, 2), "rgb")).Message);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(3)]
    [InlineData(6)]
    [InlineData(10)]
    public void ChanceRecall_SmallGallery_AgreesWithEveryOrder(int k)
    {
        int[] gallery = [0, 0, 1, 2, 2, 2];
        int[] queries = [0, 1, 1, 2, 3];
        var subsets = Enumerable.Range(0, 1 << gallery.Length).Where(s => int.PopCount(s) == Math.Min(k, gallery.Length)).ToArray();
        var expected = queries.Average(
            q => subsets.Average(s => Enumerable.Range(0, gallery.Length).Any(i => (s >> i & 1) == 1 && gallery[i] == q) ? 1.0 : 0));
        Assert.Equal(expected, Retrieval.ChanceRecall(gallery, queries, k), 1e-12);
    }

    [Fact]
    public void EvaluateTwoStream_OtherOrderInFlow_MatchedById()
    {
        var (rgbTrain, rgbTest) = (FeatureSamples.Clusters(40, 6, 4, 2, 1, "g"), FeatureSamples.Clusters(12, 6, 4, 2, 2, "q"));
        var (flowTrain, flowTest) = (FeatureSamples.Clusters(40, 9, 4, 2, 3, "g"), FeatureSamples.Clusters(12, 9, 4, 2, 4, "q"));
        var expected = Retrieval.EvaluateTwoStream(rgbTrain, rgbTest, flowTrain, flowTest);
        var actual =
            Retrieval.EvaluateTwoStream(rgbTrain, rgbTest, FeatureSamples.Shuffled(flowTrain, 3), FeatureSamples.Shuffled(flowTest, 4));
        Assert.Equal(ResultJson.Write(expected.Neighbours), ResultJson.Write(actual.Neighbours));

        var (a, b) =
            (Retrieval.Evaluate(rgbTrain, rgbTest, "rgb", neighbours: 40), Retrieval.Evaluate(flowTrain, flowTest, "flow", neighbours: 40));
        var first = expected.Neighbours.Queries[0];
        double Of(RetrievalOutcome outcome, string id) => outcome.Neighbours.Queries[0].Neighbours.Single(n => n.Id == id).Similarity;
        Assert.All(first.Neighbours, n => Assert.Equal(Of(a, n.Id) + Of(b, n.Id), n.Similarity, 1e-5));
        Assert.Equal("two-stream", expected.Neighbours.View);
    }

    private static FeatureSet Unlabelled(FeatureSet set) => new(set.Ids, set.Values);

    private static int[][] SlowRankings(FeatureSet gallery, FeatureSet queries)
    {
        var (g, q) = (SlowCentred(gallery), SlowCentred(queries));
        return [
            .. q.Select(query => Enumerable.Range(0, g.Length).OrderByDescending(i => g[i].Zip(query, (a, b) => a * b).Sum()).ToArray())];
    }

    private static double[][] SlowCentred(FeatureSet set)
    {
        var rows = set.Values.Chunk(set.Dimension).ToArray();
        var mean = Enumerable.Range(0, set.Dimension).Select(d => rows.Average(r => (double)r[d])).ToArray();
        return [
            .. rows.Select(r => r.Zip(mean, (a, b) => a - b).ToArray())
                .Select(r => Math.Sqrt(r.Sum(x => x * x)) is var norm ? r.Select(x => x / norm).ToArray() : r)];
    }

    private static double SlowPrecision(int[] ranking, FeatureSet gallery, int label)
    {
        var relevant = ranking.Select((g, i) => (Hit: gallery.Labels![g] == label, Rank: i + 1)).Where(x => x.Hit).ToArray();
        return relevant.Select((x, i) => (i + 1.0) / x.Rank).Average();
    }
}
