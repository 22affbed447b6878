// Why this exists: all methods here compare the same similarities; they differ only in which of them count as positive.
using static TorchSharp.torch;

namespace CoCLR.Engine.Contrastive;

/// <summary>Similarities of queries to their own key and to the queue.</summary>
public static class ContrastiveLogits
{
    /// <summary>
    /// l_i = [ q_i·k_i , q_i·queue_1 , ... , q_i·queue_K ] / τ. [MoCo; method.md 1a]
    /// </summary>
    /// <param name="query">Unit vectors q [B,dim]; gradients flow here only.</param>
    /// <param name="key">Unit vectors k [B,dim] of the other clip; column 0.</param>
    /// <param name="queue">Unit vectors [dim,K] of earlier keys; columns 1 to K. Must not change before the backward pass.</param>
    /// <param name="temperature">τ above 0; 0.07 in the paper.</param>
    /// <param name="excluded">Boolean [B,K]: entries that do not count for a query (probability 0), such as its own key where the queue
    /// holds it already.</param>
    /// <returns>[B,1+K].</returns>
    /// <exception cref="ArgumentOutOfRangeException">τ is not above 0.</exception>
    public static Tensor Of(Tensor query, Tensor key, Tensor queue, double temperature, Tensor? excluded = null)
    {
        if (!(temperature > 0) || double.IsInfinity(temperature))
        {
            throw new ArgumentOutOfRangeException(nameof(temperature), temperature, "The temperature must be above 0.");
        }

        using var scope = NewDisposeScope();
        var own = (query * key.detach()).sum(1, keepdim: true);
        // The queue itself, not a copy: autograd refuses a backward pass after the queue has changed.
        var negatives = query.matmul(queue);
        if (excluded is not null)
        {
            negatives = negatives.masked_fill(excluded, float.NegativeInfinity);
        }

        return cat([own, negatives], 1).div_(temperature).MoveToOuterDisposeScope();
    }
}
