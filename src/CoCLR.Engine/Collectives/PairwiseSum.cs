// Why this exists: floating-point sums depend on their order; a fixed binary tree gives one result wherever its branches are added up.
using static TorchSharp.torch;

namespace CoCLR.Engine.Collectives;

/// <summary>
/// Adds up sets of tensors that come one after the other as a binary tree does: ((0 + 1) + (2 + 3)) + ... With a power of two of them,
/// any aligned part whose length is a power of two is
/// a branch of the tree: ranks that each add up their own part, and then add those alike, get the same bits as one process.
/// </summary>
/// <remarks>A binary counter: at most log2(n) sums are kept at a time.</remarks>
internal sealed class PairwiseSum
{
    private readonly Stack<(int Count, Tensor[] Sum)> _branches = new();

    /// <summary>Takes the next tensors; they are written to and kept until the sum is taken.</summary>
    /// <param name="tensors">Of the same shapes each time.</param>
    public void Add(Tensor[] tensors)
    {
        using var frozen = no_grad();
        int count = 1;
        while (_branches.TryPeek(out var left) && left.Count == count)
        {
            _branches.Pop();
            Merge(left.Sum, tensors);
            (count, tensors) = (2 * count, left.Sum);
        }

        _branches.Push((count, tensors));
    }

    /// <summary>The sum of all that were added; forgets them.</summary>
    /// <exception cref="InvalidOperationException">Nothing was added.</exception>
    public Tensor[] Take()
    {
        using var frozen = no_grad();
        Tensor[] sum = _branches.Pop().Sum;
        while (_branches.TryPop(out var left))
        {
            Merge(left.Sum, sum);
            sum = left.Sum;
        }

        return sum;
    }

    private static void Merge(Tensor[] left, Tensor[] right)
    {
        foreach ((Tensor a, Tensor b) in left.Zip(right))
        {
            a.add_(b);
            b.Dispose();
        }
    }
}
