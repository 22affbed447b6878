// Why this exists: keys must come back in the order they were given, normalised in the groups that were asked for, whatever the shuffle.
using CoCLR.Engine.Contrastive;
using CoCLR.Engine.Models;
using TorchSharp;
using static TorchSharp.torch;

namespace CoCLR.Engine.Tests.Contrastive;

public sealed class MomentumEncoderTests
{
    private static VideoEncoder Encoder(long seed = 1) => VideoEncoder.Create("S3DMini", 8, seed, width: 0.0625);

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public void EncodeKeys_InGroups_IsEachGroupOfTheShuffledBatchByItself_PutBack(int groups)
    {
        using var scope = NewDisposeScope();
        using var query = Encoder();
        using var momentum = new MomentumEncoder(query, Encoder(seed: 9));
        using var alone = Encoder();
        momentum.Key.train();
        alone.train();
        using var generator = new Generator(3);
        var clips = randn([6, 3, 8, 32, 32], generator: generator);
        int[] order = [4, 0, 5, 2, 1, 3];

        var keys = momentum.EncodeKeys(clips, order, groups);

        using var frozen = no_grad();
        foreach (var group in order.Chunk(6 / groups))
        {
            var expected = alone.forward(clips.index_select(0, tensor(group.Select(i => (long)i).ToArray())));
            foreach (var (place, video) in group.Index())
            {
                Assert.InRange(Close.AbsoluteError(keys[video], expected[place]), 0, 1e-5);
            }
        }

        Assert.All(momentum.Key.named_buffers().Zip(alone.named_buffers()), pair => Assert.InRange(Close.AbsoluteError(pair.First.buffer, pair.Second.buffer), 0, 1e-5));
        Assert.All(keys.norm(1).data<float>().ToArray(), norm => Assert.Equal(1, norm, 1e-5));
    }

    // A GPU gets the whole batch at once, with statistics by group; it must be what one forward pass a group gives, running statistics too.
    [Theory]
    [InlineData("S3DMini", 2)]
    [InlineData("S3DMini", 3)]
    [InlineData("R2Plus1D18", 2)]
    public void EncodeKeys_GroupsTogether_AreGroupsOneAfterTheOther(string backbone, int groups)
    {
        using var scope = NewDisposeScope();
        VideoEncoder Make() => (VideoEncoder)VideoEncoder.Create(backbone, 8, 1, width: 0.0625).to(ScalarType.Float64); // single precision would add rounding to it
        using var query = Make();
        using var one = new MomentumEncoder(query, Make()) { NormalizesTogether = true };
        using var each = new MomentumEncoder(query, Make()) { NormalizesTogether = false };
        one.Key.train();
        each.Key.train();
        using var generator = new Generator(3);
        var clips = randn([6, 3, 8, 32, 32], generator: generator).to(ScalarType.Float64);
        int[] order = [4, 0, 5, 2, 1, 3];
        for (var step = 0; step < 2; step++)
        {
            Assert.InRange(Close.AbsoluteError(one.EncodeKeys(clips, order, groups), each.EncodeKeys(clips, order, groups)), 0, 1e-8);
        }

        foreach (var (a, b) in one.Key.named_buffers().Zip(each.Key.named_buffers()))
        {
            Assert.InRange(Close.AbsoluteError(a.buffer, b.buffer), 0, 1e-8 * Math.Max(1, b.buffer.to_type(ScalarType.Float64).abs().max().item<double>()));
        }
    }

    [Fact]
    public void EncodeKeys_OtherGroups_NormaliseOtherwise()
    {
        using var scope = NewDisposeScope();
        using var query = Encoder();
        using var momentum = new MomentumEncoder(query, Encoder());
        momentum.Key.train();
        using var generator = new Generator(3);
        var clips = randn([4, 3, 8, 32, 32], generator: generator);
        Assert.True(Close.AbsoluteError(momentum.EncodeKeys(clips, [0, 1, 2, 3], 1), momentum.EncodeKeys(clips, [0, 1, 2, 3], 2)) > 1e-3);
    }

    [Theory]
    [InlineData(4)]
    [InlineData(0)]
    public void EncodeKeys_GroupsThatDoNotDivideTheBatch_AreRefused(int groups)
    {
        using var query = Encoder();
        using var momentum = new MomentumEncoder(query, Encoder());
        using var clips = zeros([6, 3, 8, 32, 32]);
        Assert.Throws<ArgumentException>(() => momentum.EncodeKeys(clips, [0, 1, 2, 3, 4, 5], groups));
    }

    [Fact]
    public void Key_StartsAsTheQuery_MovesBySmallSteps_AndWantsNoGradient()
    {
        using var scope = NewDisposeScope();
        using var query = Encoder();
        using var momentum = new MomentumEncoder(query, Encoder(seed: 9), 0.75);
        Assert.All(momentum.Key.parameters().Zip(query.parameters()), pair => Assert.True(Close.Same(pair.First, pair.Second)));
        Assert.All(momentum.Key.parameters(), p => Assert.False(p.requires_grad));
        using (no_grad())
        {
            foreach (var parameter in query.parameters())
            {
                parameter.add_(1);
            }
        }

        momentum.Update();
        Assert.All(momentum.Key.parameters().Zip(query.parameters()), pair => Assert.InRange(Close.AbsoluteError(pair.First, pair.Second - 0.75), 0, 1e-5));
    }
}
