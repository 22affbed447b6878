// Why this exists: an interval that promises 95 % must hold the truth in 95 of 100 data sets, also where siblings are right or wrong
// together.
using CoCLR.Core.Results;

namespace CoCLR.Core.Tests.Results;

public sealed class PairedBootstrapTests
{
    [Theory]
    [InlineData(60, 1, 0.0)]
    [InlineData(60, 6, 0.8)]
    [InlineData(100, 4, 0.5)]
    public void OfDifference_InSimulatedDataSets_HoldsTheTruthAsOftenAsItPromises(int groups, int siblings, double together)
    {
        // Two methods that are right on 55 and 40 % of videos: the truth is 0.15. A sibling copies the first of its group with probability
        // "together".
        const double Truth = 0.15;
        const int DataSets = 600;
        var random = new Random(7);
        int held = 0, heldWithoutGroups = 0;
        for (int set = 0; set < DataSets; set++)
        {
            var differences = new List<double>();
            var numbers = new List<int>();
            for (int group = 0; group < groups; group++)
            {
                double first = Draw();
                for (int sibling = 0; sibling < siblings; sibling++)
                {
                    differences.Add(sibling == 0 || random.NextDouble() < together ? first : Draw());
                    numbers.Add(group);
                }
            }

            held += Holds(PairedBootstrap.OfDifference(differences, numbers, draws: 400, seed: set)!.Value) ? 1 : 0;
            heldWithoutGroups += Holds(PairedBootstrap.OfDifference(differences, (int[]?)null, draws: 400, seed: set)!.Value) ? 1 : 0;
        }

        Assert.InRange(held / (double)DataSets, 0.92, 0.975);
        if (together > 0)
        {
            // Videos drawn one by one promise too much.
            Assert.InRange(heldWithoutGroups / (double)DataSets, 0, 0.88);
        }

        double Draw() => (random.NextDouble() < 0.55 ? 1 : 0) - (random.NextDouble() < 0.40 ? 1 : 0);
        static bool Holds(Interval interval) => interval.Low <= Truth && Truth <= interval.High;
    }

    [Fact]
    public void OfDifference_OfRows_PairsVideosById()
    {
        VideoHits first = VideoHits.Of([("b", "1", false), ("a", "0", true), ("c", "1", true), ("d", "2", true)])!;
        Assert.Equal("1011", first.Right);
        Assert.Equal([0, 1, 1, 2], first.Groups!);
        VideoHits same = VideoHits.Of([("d", "2", true), ("c", "1", true), ("b", "1", false), ("a", "0", true)])!;
        Assert.Equal(new Interval(0, 0), PairedBootstrap.OfDifference([first], [same]));
        VideoHits worse = VideoHits.Of([("a", "0", false), ("b", "1", false), ("c", "1", false), ("d", "2", false)])!;
        Interval interval = PairedBootstrap.OfDifference([first, first], [worse])!.Value;
        Assert.True(interval is { Low: >= 0.5, High: 1 });
        Assert.Equal(interval, PairedBootstrap.OfDifference([first, first], [worse]));

        Assert.Null(
            PairedBootstrap.OfDifference(
                [first], [VideoHits.Of([("a", "0", true), ("x", "1", true), ("c", "1", true), ("d", "2", true)])]));
        Assert.Null(PairedBootstrap.OfDifference([first], [null]));
        Assert.Null(PairedBootstrap.OfDifference([1.0], null));
        Assert.Null(VideoHits.Of([]));
        Assert.Null(VideoHits.Of([("a", null, true)])!.Groups);
    }
}
