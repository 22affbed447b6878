// Why this exists: the fast channels-last path must compute what libtorch's plain operations compute, forward and backward.
using CoCLR.Engine.Models;
using CoCLR.Engine.Models.Fast;
using TorchSharp;
using static TorchSharp.torch;

namespace CoCLR.Engine.Tests.Models;

public sealed class FastS3DTests
{
    /// <summary>Three networks with the same weights: fast, plain operations, and plain operations in double precision.</summary>
    private static (S3D Fast, S3D Plain, Backbone Exact) Trio(string name, double width)
    {
        var networks = Enumerable.Range(0, 3).Select(_ => (S3D)BackboneFactory.Create(name, seed: 3, width: width)).ToArray();
        using var frozen = no_grad();
        using var generator = new Generator(11);
        // Weights of a healthy scale, and batch norms that are not the identity.
        foreach (var (parameterName, parameter) in networks[0].named_parameters())
        {
            if (parameter.dim() > 1)
            {
                parameter.copy_(
                    randn(parameter.shape, generator: generator).mul_(Math.Sqrt(2.0 / (parameter.numel() / parameter.shape[0]))));
            }
            else
            {
                parameter.copy_(
                    randn(parameter.shape, generator: generator).mul_(0.3).add_(
                        parameterName.EndsWith("weight", StringComparison.Ordinal) ? 1 : 0));
            }
        }

        networks[1].load_state_dict(networks[0].state_dict());
        networks[2].load_state_dict(networks[0].state_dict());
        networks[1].AllowFast = false;
        return (networks[0], networks[1], networks[2].to(ScalarType.Float64));
    }

    /// <summary>The fast path may round differently from plain operations, but not much worse.</summary>
    private static void CheckAsGood(Tensor fast, Tensor plain, Tensor exact, string what)
    {
        var (mine, theirs) = (Close.NormError(fast, exact), Close.NormError(plain, exact));
        Assert.True(mine <= Math.Max(1e-3, 5 * theirs), $"{what}: {mine}, plain operations {theirs}");
    }

    [Theory]
    [InlineData("S3D", 1.0, 2, 16, 64)]
    [InlineData("S3DMini", 0.25, 3, 16, 48)]
    [InlineData("S3DMini", 0.13, 2, 17, 69)]
    public void Forward_EveryMode_IsAsGoodAsPlainOperations(string name, double width, int batch, int frames, int size)
    {
        using var scope = NewDisposeScope();
        var (fast, plain, exact) = Trio(name, width);
        using var generator = new Generator(5);
        var clips = randn([batch, 3, frames, size, size], generator: generator);
        foreach (var training in new[] { true, false })
        {
            fast.train(training);
            plain.train(training);
            exact.train(training);
            using var frozen = no_grad();
            CheckAsGood(
                fast.forward(clips), plain.forward(clips), exact.forward(clips.to_type(ScalarType.Float64)), $"training {training}");
        }

        var (a, b, c) = (fast.state_dict(), plain.state_dict(), exact.state_dict());
        foreach (var (key, expected) in c)
        {
            CheckAsGood(a[key], b[key], expected, key);
        }
    }

    [Theory]
    [InlineData("S3D", 1.0, 2, 16, 64)]
    [InlineData("S3DMini", 0.25, 4, 16, 64)]
    [InlineData("S3DMini", 0.13, 3, 17, 69)]
    public void Backward_AllParametersAndTheClips_IsAsGoodAsPlainOperations(string name, double width, int batch, int frames, int size)
    {
        using var scope = NewDisposeScope();
        var (fast, plain, exact) = Trio(name, width);
        using var generator = new Generator(6);
        var clips = randn([batch, 3, frames, size, size], generator: generator);
        var direction = randn([batch, fast.FeatureSize], generator: generator);
        var inputs = new[] { (Backbone)fast, plain, exact }.Select(network =>
        {
            network.train();
            var dtype = network.parameters().First().dtype;
            var input = clips.to_type(dtype, copy: true).requires_grad_();
            (network.Features(input) * direction.to_type(dtype)).sum().backward();
            return input.grad!;
        }).ToArray();

        // A ReLU or a maximum whose inputs are within rounding of one another may fall either way, in plain operations too, and then moves
        // the few gradients below it by some percent. A gradient that is computed wrongly is wrong by its own size, and for every layer of
        // its kind.
        var names = fast.named_parameters().Select(p => p.name).Prepend("clips").ToArray();
        Tensor[] Gradients(Backbone network, Tensor clipsGradient) => [clipsGradient, .. network.parameters().Select(p => p.grad!)];
        var (mine, theirs, truth) = (Gradients(fast, inputs[0]), Gradients(plain, inputs[1]), Gradients(exact, inputs[2]));
        var errors = names.Select(
            (name, i) => (Name: name, Mine: Close.NormError(mine[i], truth[i]), Theirs: Close.NormError(theirs[i], truth[i]))).ToArray();
        Assert.All(errors, e => Assert.True(e.Mine < 0.15, $"{e.Name}: {e.Mine}, plain operations {e.Theirs}"));
        static double Median(IEnumerable<double> values) => values.Order().ElementAt(values.Count() / 2);
        var (median, plainMedian) = (Median(errors.Select(e => e.Mine)), Median(errors.Select(e => e.Theirs)));
        Assert.True(median <= Math.Max(5e-3, 5 * plainMedian), $"median {median}, plain operations {plainMedian}");
    }

    [Fact]
    public void Backward_TwoForwardPasses_AddTheirGradients()
    {
        using var scope = NewDisposeScope();
        var (network, _, _) = Trio("S3DMini", 0.25);
        network.train();
        using var generator = new Generator(6);
        Tensor[] clips = [randn([2, 3, 8, 32, 32], generator: generator), randn([2, 3, 8, 32, 32], generator: generator)];
        var separate = clips.Select(c =>
        {
            network.zero_grad();
            network.Features(c).square().sum().backward();
            return network.parameters().Select(p => p.grad!.clone()).ToArray();
        }).ToArray();
        network.zero_grad();
        (network.Features(clips[0]).square().sum() + network.Features(clips[1]).square().sum()).backward();
        foreach (var (parameter, i) in network.parameters().Select((p, i) => (p, i)))
        {
            Assert.InRange(
                Close.AbsoluteError(parameter.grad!, separate[0][i] + separate[1][i]),
                0,
                1e-4 * Math.Max(1, parameter.grad!.abs().max().item<float>()));
        }
    }

    [Fact]
    public void Backward_FrozenLayers_GetNoGradient()
    {
        using var scope = NewDisposeScope();
        var (network, _, _) = Trio("S3DMini", 0.25);
        network.train();
        foreach (var (name, parameter) in network.named_parameters())
        {
            parameter.requires_grad = name.StartsWith("Mixed_5", StringComparison.Ordinal);
        }

        network.Features(randn([2, 3, 8, 32, 32])).square().sum().backward();
        Assert.All(
            network.named_parameters(),
            p => Assert.Equal(p.name.StartsWith("Mixed_5", StringComparison.Ordinal), p.parameter.grad is not null));
    }

    [Fact]
    public void Forward_AnyNumberOfThreads_GivesTheSameBits()
    {
        using var scope = NewDisposeScope();
        using var generator = new Generator(8);
        var clips = randn([2, 3, 8, 32, 32], generator: generator);
        var runs = Enumerable.Range(0, 3).Select(_ =>
        {
            var (network, _, _) = Trio("S3DMini", 0.25);
            network.train();
            network.Features(clips).square().sum().backward();
            return network.parameters().Select(p => p.grad!.clone()).Concat(network.buffers().Select(b => b.clone())).ToArray();
        }).ToArray();
        Assert.All(runs.Skip(1), run => Assert.All(run.Zip(runs[0]), pair => Assert.True(Close.Same(pair.First, pair.Second))));
    }

    [Theory]
    [InlineData(1, 3, 3, 1, 2, 2, 0, 1, 1)]
    [InlineData(3, 3, 3, 2, 2, 2, 1, 1, 1)]
    [InlineData(3, 3, 3, 1, 1, 1, 1, 1, 1)]
    [InlineData(2, 2, 2, 2, 2, 2, 0, 0, 0)]
    public unsafe void MaxPool_WindowsWithTies_MatchesLibtorch(int kt, int kh, int kw, int st, int sh, int sw, int pt, int ph, int pw)
    {
        using var scope = NewDisposeScope();
        using var generator = new Generator(9);
        foreach (var channels in new[] { 3, 8, 21 })
        {
            // Few distinct values, so that windows hold ties: the first of equals must win.
            var clips = randint(0, 4, [2, channels, 5, 7, 9], generator: generator).to_type(ScalarType.Float32).requires_grad_();
            var expected = nn.functional.max_pool3d(clips, [kt, kh, kw], [st, sh, sw], [pt, ph, pw]);
            var direction = randn(expected.shape, generator: generator);
            expected.backward([direction]);
            using var rows = ChannelsLast.From(clips);
            var (output, back) = MaxPoolStep.Run(rows, (kt, kh, kw), (st, sh, sw), (pt, ph, pw), learn: true);
            Assert.True(Close.Same(ChannelsLast.ToClips(output), expected.detach()));
            using var dx = back!.Backward(ChannelsLast.From(direction));
            Assert.InRange(Close.AbsoluteError(ChannelsLast.ToClips(dx), clips.grad!), 0, 1e-5);
            output.Dispose();
        }
    }
}
