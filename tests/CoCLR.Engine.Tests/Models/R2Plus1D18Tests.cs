// Why this exists: the second family must be torchvision's r2plus1d_18 in names, shapes and size, so that its weights can be exchanged.
using CoCLR.Engine.Models;
using static TorchSharp.torch;

namespace CoCLR.Engine.Tests.Models;

public sealed class R2Plus1D18Tests
{
    [Fact]
    public void Network_HasTorchvisionsNamesShapesAndSize()
    {
        using var network = BackboneFactory.Create("R2Plus1D18");
        var shapes = network.state_dict().ToDictionary(e => e.Key, e => string.Join('x', e.Value.shape));
        // torchvision's 31,505,325 parameters less its classifier of 400 classes (512 x 400 + 400).
        Assert.Equal(31_505_325 - 205_200, network.parameters().Sum(p => p.numel()));
        Assert.Equal(512, network.FeatureSize);
        foreach (var (name, shape) in new[]
        {
            ("stem.0.weight", "45x3x1x7x7"), ("stem.1.running_mean", "45"), ("stem.3.weight", "64x45x3x1x1"),
            ("layer1.0.conv1.0.0.weight", "144x64x1x3x3"), ("layer1.0.conv1.0.3.weight", "64x144x3x1x1"), ("layer1.0.conv1.1.weight", "64"),
            ("layer2.0.conv1.0.0.weight", "230x64x1x3x3"), ("layer2.0.conv2.0.0.weight", "230x128x1x3x3"),
            ("layer2.0.downsample.0.weight", "128x64x1x1x1"),
            ("layer2.0.downsample.1.running_var", "128"), ("layer4.1.conv2.0.3.weight", "512x1152x3x1x1"),
        })
        {
            Assert.Equal(shape, shapes.GetValueOrDefault(name));
        }
    }

    [Theory]
    [InlineData(8, 32)]
    [InlineData(9, 50)]
    public void Forward_HalvesTimeThreeTimesAndSpaceFourTimes(int frames, int size)
    {
        using var scope = NewDisposeScope();
        using var frozen = no_grad();
        using var network = BackboneFactory.Create("R2Plus1D18", seed: 1);
        network.eval();
        static long Halved(int n, int times) => Enumerable.Range(0, times).Aggregate((long)n, (x, _) => (x + 1) / 2);
        var map = network.forward(zeros([1, 3, frames, size, size]));
        Assert.Equal([1, 512, Halved(frames, 3), Halved(size, 4), Halved(size, 4)], map.shape);
    }

    [Fact]
    public void Backward_ReachesEveryParameter_AndTheSameSeedGivesTheSameWeights()
    {
        using var scope = NewDisposeScope();
        using var network = BackboneFactory.Create("R2Plus1D18", seed: 1);
        using var same = BackboneFactory.Create("R2Plus1D18", seed: 1);
        Assert.All(network.parameters().Zip(same.parameters()), pair => Assert.True(Close.Same(pair.First, pair.Second)));
        network.train();
        using var generator = new Generator(5);
        network.Features(randn([2, 3, 8, 32, 32], generator: generator)).square().sum().backward();
        Assert.All(network.named_parameters(), p => Assert.True(p.parameter.grad is { } g && g.isfinite().all().item<bool>(), p.name));
    }
}
