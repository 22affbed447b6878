// Why this exists: keys must be normalised in the groups that were asked for, and the key encoder must follow the query's weights.
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
    public void EncodeKeys_InGroups_IsEachGroupByItself(int groups)
    {
        using var scope = NewDisposeScope();
        using var query = Encoder();
        using var momentum = new MomentumEncoder(query, Encoder(seed: 9));
        using var alone = Encoder();
        momentum.Key.train();
        alone.train();
        using var generator = new Generator(3);
        var clips = randn([6, 3, 8, 32, 32], generator: generator);

        var keys = momentum.EncodeKeys(clips, groups);

        using var frozen = no_grad();
        foreach (var (part, own) in clips.chunk(groups, 0).Zip(keys.chunk(groups, 0)))
        {
            Assert.InRange(Close.AbsoluteError(own, alone.forward(part)), 0, 1e-5);
        }

        Assert.All(momentum.Key.named_buffers().Zip(alone.named_buffers()), pair => Assert.InRange(Close.AbsoluteError(pair.First.buffer, pair.Second.buffer), 0, 1e-5));
        Assert.All(keys.norm(1).data<float>().ToArray(), norm => Assert.Equal(1, norm, 1e-5));
    }

    // A GPU gets the whole batch at once, with statistics by group; it must be what one forward pass a group gives, running statistics too. Double precision leaves
    // nothing to rounding: normalising two or three values, as here, makes single precision's differ by 4e-4.
    [Theory]
    [InlineData("S3DMini", 2)]
    [InlineData("S3DMini", 3)]
    [InlineData("R2Plus1D18", 2)]
    public void EncodeKeys_GroupsTogether_AreGroupsOneAfterTheOther(string backbone, int groups)
    {
        using var scope = NewDisposeScope();
        (int frames, int size) = backbone == "R2Plus1D18" ? (2, 16) : (8, 32);
        using var query = (VideoEncoder)VideoEncoder.Create(backbone, 8, 1, width: 0.0625).to(ScalarType.Float64);
        using var momentum = new MomentumEncoder(query, (VideoEncoder)VideoEncoder.Create(backbone, 8, 1, width: 0.0625).to(ScalarType.Float64));
        momentum.Key.train();
        Dictionary<string, Tensor> start = momentum.Key.named_buffers().ToDictionary(b => b.name, b => b.buffer.clone());
        using var generator = new Generator(3);
        var clips = randn([6, 3, frames, size, size], generator: generator).to(ScalarType.Float64);
        (Tensor[] together, Dictionary<string, Tensor> moved) = Steps(together: true);
        (Tensor[] each, Dictionary<string, Tensor> movedEach) = Steps(together: false);

        Assert.All(together.Zip(each), pair => Assert.InRange(Close.AbsoluteError(pair.First, pair.Second), 0, 1e-9));
        Assert.True(Close.AbsoluteError(each[0], each[1]) > 1e-6, "another order is another normalisation");
        Assert.All(moved, buffer => Assert.InRange(Close.AbsoluteError(buffer.Value, movedEach[buffer.Key]), 0, 1e-9 * Math.Max(1, Largest(movedEach[buffer.Key]))));
        Assert.Contains(moved, buffer => Close.AbsoluteError(buffer.Value, start[buffer.Key]) > 1e-3);

        (Tensor[] Keys, Dictionary<string, Tensor> Buffers) Steps(bool together)
        {
            momentum.NormalizesTogether = together;
            momentum.Key.load_state_dict(start, strict: false);
            Tensor[] keys = [Shuffled(4, 0, 5, 2, 1, 3), Shuffled(0, 5, 3, 1, 2, 4)];
            return (keys, momentum.Key.named_buffers().ToDictionary(b => b.name, b => b.buffer.clone()));
        }

        Tensor Shuffled(params long[] order) => momentum.EncodeKeys(clips.index_select(0, tensor(order)), groups).index_select(0, tensor(order).argsort());

        static double Largest(Tensor values) => values.to_type(ScalarType.Float64).abs().max().item<double>();
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
        Assert.True(Close.AbsoluteError(momentum.EncodeKeys(clips, 1), momentum.EncodeKeys(clips, 2)) > 1e-3);
    }

    [Theory]
    [InlineData(4)]
    [InlineData(0)]
    public void EncodeKeys_GroupsThatDoNotDivideTheBatch_AreRefused(int groups)
    {
        using var query = Encoder();
        using var momentum = new MomentumEncoder(query, Encoder());
        using var clips = zeros([6, 3, 8, 32, 32]);
        Assert.Throws<ArgumentException>(() => momentum.EncodeKeys(clips, groups));
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
