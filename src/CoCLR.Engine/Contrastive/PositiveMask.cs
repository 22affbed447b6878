// Why this exists: which queue entries count as positives is the whole difference between the methods; these are the parts their masks are
// made of.
using static TorchSharp.torch;

namespace CoCLR.Engine.Contrastive;

/// <summary>Boolean masks [B,1+K] over the logits: column 0 is the own key, columns 1 to K the queue.</summary>
public static class PositiveMask
{
    /// <summary>The queue entries of the same source video, boolean [B,K].</summary>
    /// <param name="videos">int64 [B].</param>
    /// <param name="queueVideos">int64 [K]; -1 where empty.</param>
    public static Tensor Siblings(Tensor videos, Tensor queueVideos)
    {
        using var scope = NewDisposeScope();
        return videos.unsqueeze(1).eq(queueVideos.unsqueeze(0)).MoveToOuterDisposeScope();
    }

    /// <summary>
    /// Cosine similarities of features as retrieval compares them: all centred by the mean of the queue's. [method.md 1e]
    /// </summary>
    /// <param name="features">[B,F].</param>
    /// <param name="queue">[F,K].</param>
    /// <returns>[B,K].</returns>
    public static Tensor CentredSimilarity(Tensor features, Tensor queue)
    {
        using var scope = NewDisposeScope();
        using var frozen = no_grad();
        var centre = queue.mean([1], keepdim: true);
        return nn.functional.normalize(features - centre.t(), 2, 1).matmul(nn.functional.normalize(queue - centre, 2, 0))
            .MoveToOuterDisposeScope();
    }

    /// <summary>Indices int64 [B,topK] of the most similar queue entries that are not siblings (siblings come last).</summary>
    /// <param name="secondSimilarity">[B,K]; not changed.</param>
    /// <param name="siblings">Boolean [B,K].</param>
    /// <param name="topK">At least 1; at most K are returned.</param>
    public static Tensor Mined(Tensor secondSimilarity, Tensor siblings, int topK)
    {
        using var scope = NewDisposeScope();
        var candidates = secondSimilarity.detach().masked_fill(siblings, float.NegativeInfinity);
        var (_, indices) = candidates.topk((int)Math.Min(topK, candidates.shape[1]), 1);
        return indices.MoveToOuterDisposeScope();
    }

    /// <summary>
    /// Self-masking: rows that have another positive lose the own key (column 0), which stays in the softmax's denominator. The
    /// reference does this with probability 0.9 per step. [method.md 1a]
    /// </summary>
    /// <param name="positives">Boolean [B,1+K]; not changed.</param>
    public static Tensor WithoutOwnKey(Tensor positives)
    {
        using var scope = NewDisposeScope();
        var result = positives.clone();
        var own = result.select(1, 0);
        own.logical_and_(positives.sum(1).eq(1));
        return result.MoveToOuterDisposeScope();
    }

    /// <summary>The same positives without entries that do not count.</summary>
    /// <param name="positives">Boolean [B,1+K]; not changed.</param>
    /// <param name="excluded">Boolean [B,K], or null for none.</param>
    public static Tensor Without(Tensor positives, Tensor? excluded)
    {
        using var scope = NewDisposeScope();
        return (
            excluded is null
                ? positives.alias()
                : cat([positives.narrow(1, 0, 1), positives.narrow(1, 1, positives.shape[1] - 1).logical_and(excluded.logical_not())], 1))
            .MoveToOuterDisposeScope();
    }

    /// <summary>A mask over the queue with the own key before it, which is a positive.</summary>
    /// <param name="queueMask">Boolean [B,K].</param>
    /// <returns>Boolean [B,1+K].</returns>
    public static Tensor WithOwnKey(Tensor queueMask)
    {
        ArgumentNullException.ThrowIfNull(queueMask);
        using var scope = NewDisposeScope();
        return cat([ones(queueMask.shape[0], 1, ScalarType.Bool, queueMask.device), queueMask], 1).MoveToOuterDisposeScope();
    }
}
