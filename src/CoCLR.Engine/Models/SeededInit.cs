// Why this exists: TorchSharp 0.107's nn.init.normal_ and uniform_ take a generator but draw from the global one, so the same seed gave
// other weights each time.
using static TorchSharp.torch;

namespace CoCLR.Engine.Models;

/// <summary>Fills weights with random numbers of a given generator, and of no other.</summary>
internal static class SeededInit
{
    /// <summary>Normal(0, <paramref name="deviation"/>).</summary>
    public static void Normal(Tensor target, double deviation, Generator generator)
    {
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        target.copy_(randn(target.shape, generator: generator).mul_(deviation));
    }

    /// <summary>Uniform in [-<paramref name="bound"/>, <paramref name="bound"/>).</summary>
    public static void Uniform(Tensor target, double bound, Generator generator)
    {
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        target.copy_(rand(target.shape, generator: generator).mul_(2 * bound).sub_(bound));
    }
}
