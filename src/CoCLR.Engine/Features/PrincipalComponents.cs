// Why this exists: the plainest map of features, and the start of t-SNE: their directions of largest variance.
using static TorchSharp.torch;

namespace CoCLR.Engine.Features;

/// <summary>Principal component analysis, in double precision, with signs fixed so that the same features give the same picture.</summary>
public static class PrincipalComponents
{
    /// <summary>Projects on the components of largest variance.</summary>
    /// <param name="values">N x D features, row by row.</param>
    /// <param name="dimension">D.</param>
    /// <param name="components">How many components, at most; fewer where N or D is smaller.</param>
    /// <returns>N x C coordinates, and each component's share of the variance.</returns>
    public static (float[] Coordinates, double[] Explained) Project(float[] values, int dimension, int components)
    {
        ArgumentNullException.ThrowIfNull(values);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(dimension);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(components);
        var count = values.Length / dimension;
        components = Math.Min(components, Math.Min(count, dimension));
        if (count == 0)
        {
            return ([], []);
        }

        TorchRuntime.Initialize();
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        var centred = tensor(values, [count, dimension]).to_type(ScalarType.Float64);
        centred -= centred.mean([0], keepdim: true);

        // The smaller of the two Gram matrices has the same eigenvalues.
        var wide = dimension > count;
        var gram = wide ? centred.mm(centred.t()) : centred.t().mm(centred);
        var (eigenvalues, eigenvectors) = linalg.eigh(gram);
        var largest = eigenvalues.narrow(0, eigenvalues.shape[0] - components, components).flip(0).clamp_min(0);
        var vectors = eigenvectors.narrow(1, eigenvectors.shape[1] - components, components).flip(1);
        var coordinates = wide ? vectors * largest.sqrt() : centred.mm(vectors);
        var total = eigenvalues.clamp_min(0).sum().item<double>();

        // An eigenvector's sign is arbitrary: the coordinate farthest from zero is made positive.
        var farthest = coordinates.abs().argmax(0, keepdim: true);
        coordinates *= coordinates.gather(0, farthest).sign();
        return (
            coordinates.to_type(ScalarType.Float32).contiguous().data<float>().ToArray(),
            [.. largest.data<double>().ToArray().Select(v => total > 0 ? v / total : 0)]);
    }
}
