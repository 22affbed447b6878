// Why this exists: the losses of the paper as functions of tensors, each beside its formula.
using static TorchSharp.torch;

namespace CoCLR.Engine.Contrastive;

/// <summary>InfoNCE: a clip's only positive is the other clip of the same video.</summary>
public static class InfoNce
{
    /// <summary>L = mean_i( -log softmax(l_i)_0 ). [Oord et al. 2018; paper eq. 1; method.md 1a]</summary>
    /// <param name="logits">[B,1+K] of <see cref="ContrastiveLogits.Of"/>; column 0 is the own key.</param>
    /// <returns>A scalar.</returns>
    public static Tensor Loss(Tensor logits)
    {
        using var scope = NewDisposeScope();
        return logits.log_softmax(1).select(1, 0).mean().neg().MoveToOuterDisposeScope();
    }
}

/// <summary>UberNCE: every queue entry with the query's label is a positive.</summary>
public static class UberNce
{
    /// <summary>
    /// L = mean_i( -(1/|P_i|) Σ_{j in P_i} log softmax(l_i)_j ): the mean of logarithms. [paper section 3.1; SupCon-out; method.md 1b]
    /// </summary>
    /// <param name="logits">[B,1+K].</param>
    /// <param name="positives">Boolean [B,1+K]; each row has at least one true.</param>
    /// <returns>A scalar.</returns>
    public static Tensor Loss(Tensor logits, Tensor positives)
    {
        using var scope = NewDisposeScope();
        return logits.log_softmax(1).masked_fill(positives.logical_not(), 0).sum(1).div(positives.sum(1)).mean().neg().MoveToOuterDisposeScope();
    }
}

/// <summary>CoCLR: the positives are the own key, clips of the same source, and what the other view finds most similar.</summary>
public static class CoClr
{
    /// <summary>
    /// L = mean_i( -log Σ_{j in P_i} softmax(l_i)_j ): the logarithm of the summed probability (MIL-NCE), so that a wrong positive
    /// costs little. [paper eq. 3; method.md 1a]
    /// </summary>
    /// <param name="logits">[B,1+K].</param>
    /// <param name="positives">Boolean [B,1+K]; each row has at least one true. See <see cref="PositiveMask.WithoutOwnKey"/> for self-masking.</param>
    /// <returns>A scalar.</returns>
    public static Tensor Loss(Tensor logits, Tensor positives)
    {
        using var scope = NewDisposeScope();
        // log Σ_P softmax = logsumexp over P - logsumexp over all: exact where the softmax itself would underflow.
        var among = logits.masked_fill(positives.logical_not(), float.NegativeInfinity).logsumexp(1);
        return (logits.logsumexp(1) - among).mean().MoveToOuterDisposeScope();
    }
}

/// <summary>CMC: two networks learn together; a clip's positive is the same video seen through the other view.</summary>
public static class Cmc
{
    /// <summary>
    /// L = InfoNCE(q_rgb; k_flow, queue_flow) + InfoNCE(q_flow; k_rgb, queue_rgb). [Tian et al. 2020, eq. 5, with queues]
    /// </summary>
    /// <param name="queryRgb">Unit vectors [B,dim].</param>
    /// <param name="queryFlow">Unit vectors [B,dim].</param>
    /// <param name="keyRgb">Unit vectors [B,dim].</param>
    /// <param name="keyFlow">Unit vectors [B,dim].</param>
    /// <param name="queueRgb">Earlier RGB keys [dim,K].</param>
    /// <param name="queueFlow">Earlier flow keys [dim,K].</param>
    /// <param name="temperature">τ above 0.</param>
    /// <param name="excluded">As in <see cref="ContrastiveLogits.Of"/>.</param>
    /// <returns>The loss, and both logits [B,1+K] for metrics.</returns>
    public static (Tensor Loss, Tensor RgbLogits, Tensor FlowLogits) Loss(
        Tensor queryRgb, Tensor queryFlow, Tensor keyRgb, Tensor keyFlow, Tensor queueRgb, Tensor queueFlow, double temperature, Tensor? excluded = null)
    {
        using var scope = NewDisposeScope();
        var rgb = ContrastiveLogits.Of(queryRgb, keyFlow, queueFlow, temperature, excluded);
        var flow = ContrastiveLogits.Of(queryFlow, keyRgb, queueRgb, temperature, excluded);
        var loss = InfoNce.Loss(rgb) + InfoNce.Loss(flow);
        return scope.MoveToOuter(loss, rgb, flow);
    }
}
