// Why this exists: retrieval and the linear probe must give the reference code's numbers (method.md 1i).
using CoCLR.Core.Results;
using CoCLR.Engine.Evaluation;
using CoCLR.Engine.Features;
using TorchSharp;

namespace CoCLR.Engine.Tests.Evaluation;

public class EvaluationGoldenTests
{
    [Theory]
    [InlineData("stream1")]
    [InlineData("stream2")]
    public void Retrieval_GoldenOneStream_SameRecalls(string stream)
    {
        var golden = new GoldenCase(GoldenFolder.Require("retrieval"));
        var outcome = Retrieval.Evaluate(Features(golden, stream, "train"), Features(golden, stream, "test"), "rgb");
        AssertRecalls(golden, stream, outcome.Result);
    }

    [Fact]
    public void Retrieval_GoldenTwoStream_SameRecalls()
    {
        var golden = new GoldenCase(GoldenFolder.Require("retrieval"));
        var outcome = Retrieval.EvaluateTwoStream(
            Features(golden, "stream1", "train"), Features(golden, "stream1", "test"), Features(golden, "stream2", "train"),
            Features(golden, "stream2", "test"));
        AssertRecalls(golden, "two_stream", outcome.Result);
    }

    [Theory]
    [InlineData("sim_stream1", false)]
    [InlineData("sim_two_stream", true)]
    public void Retrieval_GoldenSimilarities_Within1e5(string name, bool twoStream)
    {
        var golden = new GoldenCase(GoldenFolder.Require("retrieval"));
        var (train, test) = (Features(golden, "stream1", "train"), Features(golden, "stream1", "test"));
        var table = twoStream
            ? Retrieval.EvaluateTwoStream(
                train, test, Features(golden, "stream2", "train"), Features(golden, "stream2", "test"), neighbours: train.Count).Neighbours
            : Retrieval.Evaluate(train, test, "rgb", neighbours: train.Count).Neighbours;
        var expected = golden.Tensor(name).data<float>().ToArray();
        var compared = 0;
        for (var query = 0; query < test.Count; query++)
        {
            foreach (var neighbour in table.Queries[query].Neighbours)
            {
                var row = int.Parse(neighbour.Id[5..]);
                Assert.Equal(expected[(query * train.Count) + row], neighbour.Similarity, 1e-5);
                compared++;
            }
        }

        Assert.Equal(expected.Length, compared);
    }

    [Fact]
    public void LinearProbe_GoldenFullBatch_SameLossesWeightsAndLogits()
    {
        var golden = new GoldenCase(GoldenFolder.Require("linear_probe"));
        var (train, test) = (Features(golden, null, "train"), Features(golden, null, "test"));
        var hyper = golden.Root.GetProperty("hyper");
        var options = new LinearProbeOptions
        {
            Epochs = hyper.GetProperty("epochs").GetInt32(),
            BatchSize = train.Count,
            LearningRate = hyper.GetProperty("lr").GetDouble(),
            Momentum = hyper.GetProperty("momentum").GetDouble(),
            WeightDecay = hyper.GetProperty("wd").GetDouble(),
            Milestones = [.. hyper.GetProperty("schedule").EnumerateArray().Select(e => e.GetInt32())],
        };
        using var probe = LinearProbe.Fit(
            train,
            options,
            golden.Tensor("fc_weight_init").data<float>().ToArray(),
            cancellationToken: TestContext.Current.CancellationToken);
        var expected = golden.Root.GetProperty("expected");
        var losses = expected.GetProperty("loss_per_epoch").EnumerateArray().Select(e => e.GetDouble()).ToArray();
        Assert.Equal(losses.Length, probe.LossPerEpoch.Count);
        for (var epoch = 0; epoch < losses.Length; epoch++)
        {
            Assert.Equal(losses[epoch], probe.LossPerEpoch[epoch], 1e-4);
        }

        var weight = golden.Tensor("fc_weight_final");
        Assert.True(Close.AbsoluteError(torch.tensor(probe.Weight, weight.shape), weight) < 1e-4);
        var logits = golden.Tensor("test_logits_final");
        Assert.True(Close.AbsoluteError(torch.tensor(probe.Logits(test), logits.shape), logits) < 1e-4);
        Assert.Equal(expected.GetProperty("test_top1").GetDouble(), Classification.Measure(probe.Probabilities(test)).Top1, 1e-6);
    }

    private static void AssertRecalls(GoldenCase golden, string stream, RetrievalResult result)
    {
        var expected = golden.Root.GetProperty("expected").GetProperty(stream).EnumerateObject().ToArray();
        Assert.NotEmpty(expected);
        foreach (var recall in expected)
        {
            Assert.Equal(recall.Value.GetDouble(), result.RecallAt(int.Parse(recall.Name))!.Value, 1e-5);
        }
    }

    private static FeatureSet Features(GoldenCase golden, string? stream, string split)
    {
        var values = golden.Tensor(stream is null ? $"{split}_feature" : $"{stream}_{split}");
        var labels = golden.Tensor($"{split}_label").data<long>().ToArray();
        return new FeatureSet(
            [.. Enumerable.Range(0, labels.Length).Select(i => $"{split,5}{i}")],
            values.data<float>().ToArray(),
            Array.ConvertAll(labels, l => (int)l),
            [.. Enumerable.Range(0, 10).Select(c => $"class {c}")]);
    }
}
