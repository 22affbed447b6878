// Why this exists: exact resume and worker-independent loading rest on random numbers that are a pure function of their coordinates.
namespace CoCLR.Engine.Tests.Augmentation;

public sealed class CounterRandomTests
{
    [Fact]
    public void Stream_SameCoordinates_RepeatsItsDraws()
    {
        var first = new CounterRandom(7, CounterRandom.Purpose("crop"), 1, 2, 3, 4);
        var second = new CounterRandom(7, CounterRandom.Purpose("crop"), 1, 2, 3, 4);
        for (var i = 0; i < 100; i++)
        {
            Assert.Equal(first.NextUInt64(), second.NextUInt64());
        }
    }

    [Fact]
    public void Stream_AnyCoordinateChanged_DrawsOtherNumbers()
    {
        var purpose = CounterRandom.Purpose("crop");
        CounterRandom[] streams =
        [
            new(7, purpose, 1, 2, 3, 4), new(8, purpose, 1, 2, 3, 4), new(7, CounterRandom.Purpose("clip"), 1, 2, 3, 4),
            new(7, purpose, 2, 2, 3, 4), new(7, purpose, 1, 3, 3, 4), new(7, purpose, 1, 2, 4, 4), new(7, purpose, 1, 2, 3, 5),
            new(7, purpose, 2, 1, 3, 4), new(7, purpose, 1, 2, 4, 3),
        ];
        var draws = new HashSet<ulong>();
        for (var i = 0; i < streams.Length; i++)
        {
            draws.Add(streams[i].NextUInt64());
        }

        Assert.Equal(streams.Length, draws.Count);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(7)]
    [InlineData(1000)]
    public void NextInt_ManyDraws_StaysInRangeAndIsUniform(int max)
    {
        var random = new CounterRandom(3, 0, max);
        var counts = new int[max];
        const int PerBin = 400;
        for (var i = 0; i < max * PerBin; i++)
        {
            counts[random.NextInt(max)]++;
        }

        var chiSquare = counts.Sum(c => (c - PerBin) * (double)(c - PerBin) / PerBin);
        Assert.True(chiSquare <= max + (6 * Math.Sqrt(2.0 * max)), $"chi-square {chiSquare} for {max} bins");
    }

    [Fact]
    public void NextDoubleAndGaussian_ManyDraws_HaveTheirMoments()
    {
        var random = new CounterRandom(11);
        double sum = 0, normalSum = 0, normalSquares = 0;
        const int Count = 50_000;
        for (var i = 0; i < Count; i++)
        {
            var uniform = random.NextDouble();
            Assert.InRange(uniform, 0.0, 0.9999999999999999);
            sum += uniform;
            var normal = random.NextGaussian();
            normalSum += normal;
            normalSquares += normal * normal;
        }

        Assert.InRange(sum / Count, 0.49, 0.51);
        Assert.InRange(normalSum / Count, -0.03, 0.03);
        Assert.InRange(normalSquares / Count, 0.97, 1.03);
    }

    [Fact]
    public void Permutation_AnyEpoch_HoldsEveryIndexOnceInAnotherOrder()
    {
        var first = new CounterRandom(0, CounterRandom.Purpose("epoch"), 0).Permutation(500);
        var second = new CounterRandom(0, CounterRandom.Purpose("epoch"), 1).Permutation(500);
        Assert.Equal(Enumerable.Range(0, 500), first.Order());
        Assert.Equal(Enumerable.Range(0, 500), second.Order());
        Assert.NotEqual(first, second);
    }
}
