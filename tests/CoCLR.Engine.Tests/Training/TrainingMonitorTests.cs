// Why this exists: settings are chosen by the monitor, so nothing of what it asks may be known to what answers.
using CoCLR.Core.Manifests;
using CoCLR.Engine.Training;
using CoCLR.Engine.Video.Loading;

namespace CoCLR.Engine.Tests.Training;

public sealed class TrainingMonitorTests
{
    [Theory]
    [InlineData("0.2", 0)]
    [InlineData("0.5", 3)]
    public void Split_HoldsOutWholeGroups_TheSameWhateverTheOrder(string fraction, int seed)
    {
        ClipItem[] items = [.. Enumerable.Range(0, 100).Select(i => new ClipItem([i], i % 4, i / 5))];
        var spec =
            new ExperimentSpec { Seed = seed, Evaluation = new EvaluationSpec { Monitor = new MonitorSpec { Fraction = fraction } } };
        (int[] kept, int[] held) = TrainingMonitor.Split(spec, items);

        Assert.Equal(Enumerable.Range(0, 100), kept.Concat(held).Order());
        Assert.Empty(kept.Select(i => items[i].Group).Intersect(held.Select(i => items[i].Group)));
        Assert.InRange(held.Length, 100 * Decimals.Parse(fraction), (100 * Decimals.Parse(fraction)) + 4);
        ClipItem[] reversed = [.. items.Reverse()];
        (_, int[] again) = TrainingMonitor.Split(spec, reversed);
        Assert.Equal(held.Select(i => items[i].Group).Distinct().Order(), again.Select(i => reversed[i].Group).Distinct().Order());
        Assert.Empty(TrainingMonitor.Split(spec, [.. items.Select(i => i with { Group = 1 })]).Held);
    }
}
