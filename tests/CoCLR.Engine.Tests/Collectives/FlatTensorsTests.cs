// Why this exists: a network must not notice that its tensors lie in one, and sums over shards must not depend on who adds them up.
using CoCLR.Engine.Collectives;
using CoCLR.Engine.Models;
using CoCLR.Engine.Training;
using CoCLR.Engine.Training.Optimization;
using static TorchSharp.torch;

namespace CoCLR.Engine.Tests.Collectives;

public sealed class FlatTensorsTests
{
    [Theory]
    [InlineData("S3DMini")]
    [InlineData("S3DG")]
    [InlineData("R2Plus1D18")]
    public void Network_ComputesTheSameBits_WhenItsTensorsLieInOne(string backbone)
    {
        using var scope = NewDisposeScope();
        using VideoEncoder apart = VideoEncoder.Create(backbone, 8, 1, width: 0.0625), flat = VideoEncoder.Create(backbone, 8, 1, width: 0.0625);
        using var tensors = new FlatModule(flat);
        using var generator = new Generator(3);
        Tensor clips = randn([2, 3, 8, 32, 32], generator: generator);
        Tensor gradients = tensors.Parameters.Zeros();
        foreach ((var parameter, Tensor gradient) in flat.parameters().Zip(tensors.Parameters.ViewsOf(gradients)))
        {
            parameter.grad = gradient;
        }

        foreach (VideoEncoder encoder in new[] { apart, flat })
        {
            encoder.train();
            encoder.forward(clips).square().narrow(1, 0, 3).sum().backward();
        }

        Assert.All(apart.state_dict().Zip(flat.state_dict()), pair => Assert.True(Close.Same(pair.First.Value, pair.Second.Value), pair.First.Key));
        Assert.All(apart.parameters().Zip(flat.parameters()), pair => Assert.True(Close.Same(pair.First.grad!, pair.Second.grad!)));
        Assert.True(gradients.abs().sum().item<float>() > 0);
    }

    [Theory]
    [InlineData(8, 2)]
    [InlineData(8, 4)]
    [InlineData(16, 8)]
    public void PairwiseSum_OfParts_IsThatOfTheWhole(int terms, int ranks)
    {
        using var scope = NewDisposeScope();
        using var generator = new Generator(5);
        Tensor[] all = [.. Enumerable.Range(0, terms).Select(i => randn([100], generator: generator) * Math.Pow(10, i % 4))];
        Tensor Sum(IEnumerable<Tensor> tensors)
        {
            var sum = new PairwiseSum();
            foreach (Tensor t in tensors)
            {
                sum.Add([t.clone()]);
            }

            return sum.Take()[0];
        }

        Assert.True(Close.Same(Sum(all), Sum(all.Chunk(terms / ranks).Select(Sum))));
        Assert.False(Close.Same(Sum(all), all.Aggregate((a, b) => a + b)), "these numbers do not tell orders apart");
    }

    [Fact]
    public void ShardMean_EachShardBeginsAlike_AndLeavesTheMean()
    {
        using var scope = NewDisposeScope();
        using var norm = nn.BatchNorm3d(1);
        using var network = new FlatModule(norm);
        Tensor gradient = ones(3);
        var mean = new ShardMean(new OwnShards(0, 4, 4, 2), Alone.Instance, [gradient], [network]);
        mean.Over(shard =>
        {
            Assert.Equal(0, gradient.sum().item<float>());
            Assert.Equal(0, norm.running_mean!.item<float>());
            gradient.fill_(shard);
            norm.running_mean!.fill_(10 * shard);
            norm.num_batches_tracked!.add_(1);
        });
        Assert.All(gradient.data<float>().ToArray(), g => Assert.Equal(1.5f, g));
        Assert.Equal(15, norm.running_mean!.item<float>());
        Assert.Equal(1, norm.num_batches_tracked!.item<long>());
    }
}
