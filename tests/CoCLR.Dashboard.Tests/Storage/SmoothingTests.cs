// Why this exists: a running mean over a thinned curve is one over its extremes; these compare what the store answers with the definition.
using CoCLR.Dashboard.Storage;
using CoCLR.Dashboard.Tests.Fixtures;

namespace CoCLR.Dashboard.Tests.Storage;

public sealed class SmoothingTests : IDisposable
{
    private const double Weight = 0.98;
    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Theory]
    [InlineData(null, null)]
    [InlineData(9_000L, 9_400L)]
    public void Curves_Smoothed_AreTheMeanOverEveryPoint(long? from, long? to)
    {
        const int Count = 20_000;
        double Value(int i) => i % 1000 == 7 ? double.NaN : 1 + Math.Exp(-i / 5000.0) + (i % 2 == 0 ? 0.5 : -0.5) * (i % 50 == 0 ? 6 : 1);
        using RunStore store = Make.Store(_folder.Path);
        store.Apply("r1", "pretrain-rgb", [.. Enumerable.Range(0, Count).Select(i => Make.Metric(i, i, Value(i)))]);

        Curve curve =
            Assert.Single(store.Curves("r1", points: 300, smoothing: Weight, steps: from is null ? null : (from.Value, to!.Value)).Curves);

        double sum = 0, mass = 0;
        var reference = new double[Count];
        for (int i = 0; i < Count; i++)
        {
            if (double.IsFinite(Value(i)))
            {
                (sum, mass) = ((sum * Weight) + ((1 - Weight) * Value(i)), (mass * Weight) + 1 - Weight);
            }

            reference[i] = sum / mass;
        }

        Assert.InRange(curve.Steps.Length, 100, 310);
        Assert.All(
            curve.Steps.Zip(curve.Smoothed!, curve.Values),
            p => Assert.Equal(p.Third is null ? null : reference[p.First], p.Second is { } v ? Math.Round(v, 10) : null, new Close()));
        Assert.Equal(from ?? 0, curve.Steps[0], 2.0);
        Assert.Equal(to ?? Count - 1, curve.Steps[^1], 2.0);
        Assert.Equal(reference[^1], curve.SmoothedState![0] / curve.SmoothedState[1], 10);
    }

    [Fact]
    public void Curves_NotFinite_SayWhatTheyWere()
    {
        using RunStore store = Make.Store(_folder.Path);
        double[] values = [1, double.NaN, double.PositiveInfinity, double.NegativeInfinity, 1e300];
        store.Apply("r1", "pretrain-rgb", [.. values.Select((v, i) => Make.Metric(i, i, v))]);

        Curve curve = Assert.Single(store.Curves("r1").Curves);

        Assert.Equal([1, null, null, null, 1e300], curve.Values);
        Assert.Equal(new Dictionary<int, string> { [1] = "NaN", [2] = "Infinity", [3] = "-Infinity" }, curve.NonFinite);
    }

    private sealed class Close : IEqualityComparer<double?>
    {
        public bool Equals(double? x, double? y) => x is { } a && y is { } b ? Math.Abs(a - b) < 1e-9 : x is null && y is null;

        public int GetHashCode(double? value) => 0;
    }
}
