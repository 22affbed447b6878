// Why this exists: search must be exact, with ties decided, whatever the sizes, the batch and the number of threads.
using CoCLR.Core;
using CoCLR.Engine.Features;
using CoCLR.Engine.Tests.Evaluation;

namespace CoCLR.Engine.Tests.Features;

public class ExactSearchTests
{
    [Theory]
    [InlineData(1, 1, 1, 1)]
    [InlineData(3, 5, 2, 2)]
    [InlineData(7, 16, 5, 3)]
    [InlineData(100, 17, 9, 10)]
    [InlineData(1003, 33, 6, 50)]
    [InlineData(2500, 128, 70, 20)]
    [InlineData(50, 4, 3, 80)]
    public void Search_AnySizes_AgreesWithSortingEverything(int n, int d, int q, int k)
    {
        // A range of few values makes many equal scores.
        var gallery = FeatureSamples.WholeNumbers(n * d, 1, 2);
        var queries = FeatureSamples.WholeNumbers(q * d, 2, 2);
        using var search = new ExactSearch(gallery, d);
        var found = search.Search(queries, k);
        Assert.Equal(q, found.Length);
        for (var query = 0; query < q; query++)
        {
            Assert.Equal(Slow(gallery, queries.AsSpan(query * d, d).ToArray(), d, k), found[query]);
        }
    }

    [Fact]
    public void Search_AnyThreadsAndBatches_SameBits()
    {
        var set = FeatureSamples.Clusters(1500, 70, 5, 1, 3);
        var queries = FeatureSamples.Clusters(67, 70, 5, 1, 4).Values;
        using var one = new ExactSearch(set.Values, 70, threads: 1);
        var expected = one.Search(queries, 12);
        foreach (var threads in new[] { 2, 3, 8 })
        {
            using var search = new ExactSearch(set.Values, 70, threads);
            Assert.Equal(expected, search.Search(queries, 12));
            for (var i = 0; i < expected.Length; i++)
            {
                Assert.Equal(expected[i], search.Search(queries.AsSpan(i * 70, 70), 12)[0]);
            }
        }
    }

    [Fact]
    public void Search_EqualFeatures_SmallerIndexFirst()
    {
        var row = FeatureSamples.Clusters(1, 48, 1, 1, 5).Values;
        float[] gallery = [.. Enumerable.Repeat(row, 500).SelectMany(r => r)];
        using var search = new ExactSearch(gallery, 48);
        Assert.Equal(Enumerable.Range(0, 60), search.Search(row, 60)[0].Select(h => h.Index));
    }

    [Fact]
    public void Search_NothingToFind_Empty()
    {
        using var empty = new ExactSearch([], 3);
        Assert.Empty(Assert.Single(empty.Search([1, 2, 3], 5)));
        using var search = new ExactSearch([1, 2, 3], 3);
        Assert.Empty(search.Search([], 5));
        Assert.Empty(Assert.Single(search.Search([1, 2, 3], 0)));
    }

    [Theory]
    [InlineData(float.NaN)]
    [InlineData(float.PositiveInfinity)]
    [InlineData(float.NegativeInfinity)]
    public void Search_NotFinite_NamesTheRow(float bad)
    {
        var gallery = new float[40 * 20];
        gallery[(31 * 20) + 3] = bad;
        var error = Assert.Throws<UserErrorException>(() => new ExactSearch(gallery, 20));
        Assert.Contains("row 31", error.Message);
        Assert.Equal(ExitCodes.BadData, error.ExitCode);
        using var search = new ExactSearch(new float[40], 20);
        Assert.Contains("query 1", Assert.Throws<UserErrorException>(() => search.Search(gallery.AsSpan(30 * 20, 40), 3)).Message);
    }

    [Fact]
    public void Search_OtherDimension_Refused()
    {
        using var search = new ExactSearch(new float[40], 20);
        Assert.Throws<ArgumentException>(() => search.Search(new float[21], 1));
    }

    private static SearchHit[] Slow(float[] gallery, float[] query, int d, int k) =>
    [
        .. gallery.Chunk(d).Select((row, i) => new SearchHit(i, row.Zip(query, (a, b) => a * b).Sum()))
            .OrderByDescending(h => h.Score).ThenBy(h => h.Index).Take(k),
    ];
}
