// Why this exists: UberNCE: every queue entry with the query's label is a positive; it is the ceiling of what mining could give.
using CoCLR.Core.Manifests;
using static TorchSharp.torch;

namespace CoCLR.Engine.Contrastive.Methods;

/// <summary>InfoNCE with the positives of perfect mining. [paper section 3.1; Khosla et al. 2020, SupCon-out; method.md 1b]</summary>
public sealed class UberNce : ContrastiveMethod
{
    /// <inheritdoc/>
    public override Method Name => Method.UberNCE;

    /// <summary>L = mean_i( -(1/|P_i|) Σ_{j in P_i} log softmax(l_i)_j ): the mean of logarithms.</summary>
    /// <param name="logits">[B,1+K].</param>
    /// <param name="positives">Boolean [B,1+K]; each row has at least one true.</param>
    /// <returns>A scalar.</returns>
    public static Tensor Loss(Tensor logits, Tensor positives)
    {
        using var scope = NewDisposeScope();
        return logits.log_softmax(1).masked_fill(positives.logical_not(), 0).sum(1).div(positives.sum(1)).mean().neg()
            .MoveToOuterDisposeScope();
    }

    /// <summary>P_i = {0} ∪ { j : label_i = queueLabel_j, queueLabel_j ≥ 0 }.</summary>
    /// <param name="labels">int64 [B].</param>
    /// <param name="queueLabels">int64 [K]; -1 where the queue is empty or the label unknown.</param>
    /// <returns>Boolean [B,1+K].</returns>
    public static Tensor Positives(Tensor labels, Tensor queueLabels)
    {
        using var scope = NewDisposeScope();
        Tensor same = labels.unsqueeze(1).eq(queueLabels.unsqueeze(0)).logical_and(queueLabels.ge(0).unsqueeze(0));
        return PositiveMask.WithOwnKey(same).MoveToOuterDisposeScope();
    }

    /// <inheritdoc/>
    public override MethodStep Learn(Comparison batch)
    {
        ArgumentNullException.ThrowIfNull(batch);
        Tensor logits = batch.Logits(batch.First, batch.First);
        Tensor positives = PositiveMask.Without(Positives(batch.Labels, batch.Queue.Labels), batch.Own);
        return new MethodStep(Loss(logits, positives), logits, positives);
    }
}
