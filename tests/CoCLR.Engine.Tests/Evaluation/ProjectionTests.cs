// Why this exists: a map that changes from run to run, or tears classes apart, would mislead whoever looks at it.
using CoCLR.Core.Results;
using CoCLR.Engine.Evaluation;
using CoCLR.Engine.Features;

namespace CoCLR.Engine.Tests.Evaluation;

public class ProjectionTests
{
    private static CancellationToken Token => TestContext.Current.CancellationToken;

    [Theory]
    [InlineData(50, 8)]
    [InlineData(8, 50)]
    public void Pca_RandomFeatures_KeepsTheirScalarProducts(int count, int dimension)
    {
        var set = FeatureSamples.Clusters(count, dimension, 3, 1, 1);
        var components = Math.Min(count, dimension);
        var (coordinates, explained) = PrincipalComponents.Project(set.Values, dimension, components);
        Assert.Equal(1, explained.Sum(), 1e-6);
        Assert.Equal(explained.OrderDescending(), explained);
        var mean = set.Mean();
        double Product(int i, int j) =>
            Enumerable.Range(0, dimension).Sum(d => ((double)set[i][d] - mean[d]) * ((double)set[j][d] - mean[d]));
        double Projected(int i, int j) =>
            Enumerable.Range(0, components).Sum(c => (double)coordinates[(i * components) + c] * coordinates[(j * components) + c]);
        for (var i = 0; i < count; i += 3)
        {
            Assert.Equal(Product(i, (i + 1) % count), Projected(i, (i + 1) % count), 1e-3);
        }
    }

    [Fact]
    public void Pca_PointsOnALine_OneComponentHoldsAll()
    {
        float[] values = [.. Enumerable.Range(0, 20).SelectMany(i => new[] { i * 3f, i * -4f, 7 })];
        var (coordinates, explained) = PrincipalComponents.Project(values, 3, 2);
        Assert.Equal([1, 0], explained.Select(e => Math.Round(e, 6)));
        Assert.Equal(5, Math.Abs(coordinates[2] - coordinates[0]), 1e-4);
    }

    [Fact]
    public void Tsne_SeparatedClasses_StayTogether()
    {
        var set = FeatureSamples.Clusters(150, 20, 5, 0.3, 1);
        var map = Tsne.Project(set.Values, 20, new TsneOptions { Iterations = 300, Perplexity = 15 }, cancellationToken: Token);
        for (var i = 0; i < 150; i++)
        {
            var nearest = Enumerable.Range(0, 150).Where(j => j != i)
                .MinBy(j => Math.Pow(map[2 * i] - map[2 * j], 2) + Math.Pow(map[(2 * i) + 1] - map[(2 * j) + 1], 2));
            Assert.Equal(set.Labels![i], set.Labels[nearest]);
        }
    }

    [Fact]
    public void Tsne_BarnesHut_FollowsTheExactForces()
    {
        // The forces are chaotic in the long run; over the first steps the approximation must follow the exact sum.
        var set = FeatureSamples.Clusters(300, 10, 6, 0.8, 2);
        var options = new TsneOptions { Iterations = 20, Perplexity = 10, Theta = 0 };
        var exact = Tsne.Project(set.Values, 10, options, cancellationToken: Token);
        var approximate = Tsne.Project(set.Values, 10, options with { Theta = 0.5 }, cancellationToken: Token);
        var scale = exact.Max(Math.Abs);
        Assert.True(scale > 1);
        Assert.True(exact.Zip(approximate, (a, b) => Math.Abs(a - b)).Average() < 0.02 * scale);
    }

    [Fact]
    public void Tsne_Repeated_SameBits()
    {
        var set = FeatureSamples.Clusters(120, 10, 4, 1, 2);
        var options = new TsneOptions { Iterations = 100 };
        Assert.Equal(
            Tsne.Project(set.Values, 10, options, cancellationToken: Token),
            Tsne.Project(set.Values, 10, options, cancellationToken: Token));
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(4)]
    [InlineData(7)]
    public void Tsne_FewOrEqualPoints_FiniteMap(int count)
    {
        var options = new TsneOptions { Iterations = 50 };
        Assert.All(
            Tsne.Project(FeatureSamples.Clusters(count, 5, 2, 1, 1).Values, 5, options, cancellationToken: Token),
            x => Assert.True(double.IsFinite(x)));
        var map = Tsne.Project([.. Enumerable.Repeat(0.5f, count * 5)], 5, options, cancellationToken: Token);
        Assert.Equal(2 * count, map.Length);
        Assert.All(map, x => Assert.True(double.IsFinite(x)));
    }

    [Theory]
    [InlineData("pca")]
    [InlineData("tsne")]
    public void FeatureMap_TrainAndTest_PointsCarryWhatThePageShows(string method)
    {
        var (train, test) = (FeatureSamples.Clusters(30, 6, 3, 0.5, 1, "a"), FeatureSamples.Clusters(8, 6, 3, 0.5, 2, "b"));
        Prediction[] predictions = [new() { Id = test.Ids[2], Label = 2, Predicted = 1, Top5 = [1] }];
        var map = FeatureMap.Create(train, test, predictions, "rgb", method, cancellationToken: Token);
        Assert.Equal(38, map.Points.Length);
        Assert.Equal(8, map.Points.Count(p => p.Split == "test"));
        Assert.Equal(1, Assert.Single(map.Points, p => p.Predicted is not null).Predicted);
        Assert.All(map.Points, p => Assert.True(p.X is >= -1 and <= 1 && p.Y is >= -1 and <= 1));
        Assert.Equal(1, map.Points.Max(p => Math.Max(Math.Abs(p.X), Math.Abs(p.Y))), 1e-9);
        Assert.Equal(method == "pca", map.ExplainedVariance is not null);
    }

    [Fact]
    public void FeatureMap_TooManyVideos_KeepsTheTestVideosAndDrawsTheRest()
    {
        var (train, test) = (FeatureSamples.Clusters(100, 6, 3, 0.5, 1, "a"), FeatureSamples.Clusters(10, 6, 3, 0.5, 2, "b"));
        var map = FeatureMap.Create(train, test, [], "rgb", "pca", maxPoints: 40, cancellationToken: Token);
        Assert.Equal((10, 30), (map.Points.Count(p => p.Split == "test"), map.Points.Count(p => p.Split == "train")));
        Assert.Equal(40, map.Points.Select(p => p.Id).Distinct().Count());
    }

    [Fact]
    public void FeatureMap_NoVideosOrOne_NoError()
    {
        var none = FeatureSamples.Clusters(0, 6, 3, 0.5, 1);
        Assert.Empty(FeatureMap.Create(none, none, [], "rgb", "pca", cancellationToken: Token).Points);
        Assert.Single(FeatureMap.Create(none, FeatureSamples.Clusters(1, 6, 3, 0.5, 1), [], "rgb", "pca", cancellationToken: Token).Points);
    }
}
