// Why this exists: on a GPU S3D is a graph of two-dimensional operations; it must be the same network, value by value and gradient by
// gradient.
using CoCLR.Core.Manifests;
using CoCLR.Engine.Models;
using TorchSharp;
using static TorchSharp.torch;

namespace CoCLR.Engine.Tests.Models;

public sealed class PlanesTests
{
    [Theory]
    [InlineData(false, false)]
    [InlineData(false, true)]
    [InlineData(true, false)]
    [InlineData(true, true)]
    public void Planes_AreTheThreeDimensionalNetwork_ForwardAndBackward(bool gating, bool training)
    {
        using var scope = NewDisposeScope();
        using var generator = new Generator(5);
        // Small maps and odd sizes: every padding and every remainder of a stride is met.
        Tensor clips = randn([3, 3, 11, 41, 37], generator: generator).to(ScalarType.Float64);
        using S3D planes = Make(gating, planes: true), solid = Make(gating, planes: false);
        planes.train(training);
        solid.train(training);
        Tensor input = clips.clone().requires_grad_(true), solidInput = clips.clone().requires_grad_(true);
        Tensor map = planes.forward(input), expected = solid.forward(solidInput);
        Assert.Equal(expected.shape, map.shape);
        Assert.InRange(Close.RelativeError(map, expected), 0, 1e-9);

        Tensor direction = randn(expected.shape, generator: generator).to(ScalarType.Float64);
        map.backward([direction]);
        expected.backward([direction]);
        Assert.InRange(Close.RelativeError(input.grad!, solidInput.grad!), 0, 1e-7);
        // Some are zero but for rounding: what shifts a channel before another batch norm changes nothing.
        double largest = solid.parameters().Max(p => p.grad!.abs().max().item<double>());
        Assert.All(
            planes.named_parameters().Zip(solid.named_parameters()),
            pair => Assert.InRange(Close.AbsoluteError(pair.First.parameter.grad!, pair.Second.parameter.grad!), 0, 1e-9 * largest));
        Assert.All(
            planes.named_buffers().Zip(solid.named_buffers()),
            pair => Assert.InRange(Close.AbsoluteError(pair.First.buffer, pair.Second.buffer), 0, 1e-9));
        Assert.Contains(
            planes.named_buffers(),
            b => b.name.EndsWith("num_batches_tracked", StringComparison.Ordinal) && b.buffer.item<long>() == (training ? 1 : 0));
    }

    [Fact]
    public void GroupsOfBatchNorm_AreThoseOfTheThreeDimensionalNetwork()
    {
        using var scope = NewDisposeScope();
        using var frozen = no_grad();
        using var generator = new Generator(5);
        Tensor clips = randn([4, 3, 8, 32, 32], generator: generator).to(ScalarType.Float64);
        using S3D planes = Make(gating: false, planes: true), solid = Make(gating: false, planes: false);
        planes.train();
        solid.train();
        using (Layers.NormalizingInGroups(2))
        {
            Assert.InRange(Close.RelativeError(planes.forward(clips), solid.forward(clips)), 0, 1e-9);
        }

        Assert.All(
            planes.named_buffers().Zip(solid.named_buffers()),
            pair => Assert.InRange(Close.AbsoluteError(pair.First.buffer, pair.Second.buffer), 0, 1e-9));
    }

    [Fact]
    public void ClipsThatLieChannelsLast_AreNotCopied()
    {
        using var scope = NewDisposeScope();
        Tensor last = zeros([2, 8, 16, 16, 3]).permute(0, 4, 1, 2, 3);
        Tensor activations = Planes.From(last);
        activations.fill_(1);
        Assert.Equal(last.numel(), last.sum().item<float>());
        Assert.True(Planes.ToClips(activations).permute(0, 2, 3, 4, 1).is_contiguous());
    }

    [Fact]
    public void Bf16_IsNearFp32_OnPlanes()
    {
        using var scope = NewDisposeScope();
        using var frozen = no_grad();
        Backbone[] pair = [.. Enumerable.Range(0, 2).Select(_ => Engine.Checks.NetworkChecks.Healthy("S3DMini", 0.0625))];
        foreach (S3D network in pair.Cast<S3D>())
        {
            network.TakesPlanes = true;
            network.eval();
        }

        pair[1].Precision = Precision.Bf16;
        Tensor clips = Engine.Checks.NetworkChecks.Clips(7, 1, 8, 32);
        Assert.InRange(Close.NormError(pair[1].Features(clips), pair[0].Features(clips)), 1e-7, 0.05);
    }

    [Fact]
    public void LeavesNothingBehind()
    {
        using var scope = NewDisposeScope();
        using var frozen = no_grad();
        using S3D planes = Make(gating: true, planes: true);
        Tensor clips = zeros([1, 3, 8, 32, 32], ScalarType.Float64);
        long before = scope.DisposablesCount;
        _ = planes.forward(clips);
        Assert.Equal(before + 1, scope.DisposablesCount);
    }

    private static S3D Make(bool gating, bool planes)
    {
        using var generator = new Generator(3);
        var network = (S3D)new S3D(generator, gating, width: 0.0625).to(ScalarType.Float64);
        using var frozen = no_grad();
        foreach ((string name, TorchSharp.Modules.Parameter bias) in network.named_parameters().Where(p => p.name.EndsWith("bias", StringComparison.Ordinal)))
        {
            // A channel that is the same everywhere would be normalised to rounding around 0, where ReLU has its kink.
            bias.add_(randn(bias.shape, generator: generator).to(ScalarType.Float64) * 0.1);
        }

        network.TakesPlanes = planes;
        return network;
    }
}
