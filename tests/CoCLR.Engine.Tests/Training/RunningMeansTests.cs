// Why this exists: what an epoch is reported with must be the same whether or not a checkpoint lies in the middle of it.
using CoCLR.Core.Events;
using CoCLR.Engine.Training;
using static TorchSharp.torch;

namespace CoCLR.Engine.Tests.Training;

public sealed class RunningMeansTests
{
    private static readonly (double Loss, double Precision, double Agreement)[] s_steps =
        [(3, double.NaN, 0.25), (2, 0.5, 0.75), (double.NaN, 0.25, 0.5), (1, double.NaN, 0.5)];

    [Theory]
    [InlineData(0)]
    [InlineData(2)]
    [InlineData(4)]
    public void EndEpoch_WhateverWasSavedWithinIt_IsTheMeanOfWhatIsFinite(int savedAfter)
    {
        var means = new RunningMeans();
        foreach ((int step, (double loss, double precision, double agreement)) in s_steps.Index())
        {
            means = step == savedAfter ? Reload(means) : means;
            means.Add(new StepReading(step, 0.1, new Dictionary<string, double>
            {
                [MetricNames.Loss] = loss,
                [MetricNames.MiningPrecision] = precision,
                [MetricNames.MiningAgreement] = agreement,
                [MetricNames.MiningAge] = 7,
                [MetricNames.GradientNorm] = 9,
            }));
        }

        means.EndEpoch(1);
        means = Reload(means);
        Assert.Equal(2, means.LastEpoch(MetricNames.Loss), 1e-12);
        Assert.Equal(0, means.LastEpoch(MetricNames.GradientNorm));
        Core.Results.MiningQuality mining = Assert.Single(means.Mining);
        Assert.Equal((1, 0.375, 0.5, 7.0), (mining.Epoch, mining.Precision, mining.Agreement, mining.MeanQueueAge));
    }

    [Fact]
    public void StepNumbers_ReadLater_AreThoseOfEachStepInOrder_AndGivenOnce()
    {
        using var scope = NewDisposeScope();
        using var numbers = new StepNumbers();
        numbers.Note(4, 0.1, new Dictionary<string, Tensor> { ["a"] = tensor(1.5f), ["b"] = tensor(0.1) });
        numbers.Note(5, 0.2, new Dictionary<string, Tensor> { ["b"] = tensor(double.NaN) });
        StepReading[] read = [.. numbers.Read()];
        Assert.Equal([(4L, 0.1), (5L, 0.2)], read.Select(r => (r.Step, r.LearningRate)));
        Assert.Equal((1.5, 0.1), (read[0].Values["a"], read[0].Values["b"]));
        Assert.True(double.IsNaN(Assert.Single(read[1].Values).Value));
        Assert.Empty(numbers.Read());
    }

    private static RunningMeans Reload(RunningMeans means)
    {
        var copy = new RunningMeans();
        copy.Load(means.State().ToDictionary(s => s.Key, s => s.Value));
        return copy;
    }
}
