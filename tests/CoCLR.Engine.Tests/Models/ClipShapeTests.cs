// Why this exists: the arithmetic that warns of too small clips must be that of the networks.
using CoCLR.Core.Manifests;
using CoCLR.Engine.Models;
using static TorchSharp.torch;

namespace CoCLR.Engine.Tests.Models;

public sealed class ClipShapeTests
{
    [Theory]
    [InlineData(BackboneName.S3DMini, 8, 48)]
    [InlineData(BackboneName.S3DMini, 16, 64)]
    [InlineData(BackboneName.S3DMini, 20, 72)]
    [InlineData(BackboneName.S3DMini, 14, 63)]
    [InlineData(BackboneName.R2Plus1D18, 8, 40)]
    [InlineData(BackboneName.R2Plus1D18, 9, 33)]
    public void LastMap_IsThatOfTheNetwork(BackboneName name, int frames, int size)
    {
        using var scope = NewDisposeScope();
        using var frozen = no_grad();
        using Backbone network = BackboneFactory.Create(name.ToString(), 0, width: 0.0625);
        network.eval();
        Tensor map = network.forward(zeros([1, 3, frames, size, size]));
        ClipShape shape = ClipShape.LastMap(name, frames, size);
        Assert.Equal<long>([shape.Frames, shape.Height, shape.Width], map.shape[2..]);
    }
}
