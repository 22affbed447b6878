// Why this exists: which queue entries count as positives is the whole difference between the methods.
using static TorchSharp.torch;

namespace CoCLR.Engine.Contrastive;

/// <summary>Boolean masks [B,1+K] over the logits: column 0 is the own key, columns 1 to K the queue.</summary>
public static class PositiveMask
{
    /// <summary>P_i = {0}. [InfoNCE]</summary>
    /// <param name="batch">B.</param>
    /// <param name="queueLength">K.</param>
    /// <param name="device">Where the mask lives.</param>
    public static Tensor ForInfoNce(long batch, long queueLength, Device? device = null)
    {
        using var scope = NewDisposeScope();
        var mask = zeros(batch, 1 + queueLength, ScalarType.Bool, device);
        mask.select(1, 0).fill_(true);
        return mask.MoveToOuterDisposeScope();
    }

    /// <summary>P_i = {0} ∪ { j : label_i = queueLabel_j, queueLabel_j ≥ 0 }. [UberNCE; method.md 1b]</summary>
    /// <param name="labels">int64 [B].</param>
    /// <param name="queueLabels">int64 [K]; -1 where the queue is empty or the label unknown.</param>
    public static Tensor ForUberNce(Tensor labels, Tensor queueLabels)
    {
        using var scope = NewDisposeScope();
        var same = labels.unsqueeze(1).eq(queueLabels.unsqueeze(0)).logical_and(queueLabels.ge(0).unsqueeze(0));
        return WithOwnKey(same).MoveToOuterDisposeScope();
    }

    /// <summary>
    /// P_i = {0} ∪ { j : video_i = queueVideo_j } ∪ the top-K of the other entries by similarity in the second view (once the queue
    /// is full). With fewer than K others the remainder falls on entries that are positives already. [method.md 1a]
    /// </summary>
    /// <param name="videos">Source video of each query, int64 [B].</param>
    /// <param name="queueVideos">Source video of each queue entry, int64 [K]; -1 where empty.</param>
    /// <param name="secondSimilarity">Similarity of the second view's keys to the second queue [B,K]; not changed.</param>
    /// <param name="topK">How many to mine; 0 mines none.</param>
    /// <param name="queueFull">True once every queue entry was written.</param>
    public static Tensor ForCoClr(Tensor videos, Tensor queueVideos, Tensor secondSimilarity, int topK, bool queueFull)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(topK);
        using var scope = NewDisposeScope();
        var siblings = Siblings(videos, queueVideos);
        if (queueFull && topK > 0)
        {
            siblings = siblings.scatter(1, Mined(secondSimilarity, siblings, topK), ones([], ScalarType.Bool, siblings.device).expand(siblings.shape[0], Math.Min(topK, siblings.shape[1])));
        }

        return WithOwnKey(siblings).MoveToOuterDisposeScope();
    }

    /// <summary>The queue entries of the same source video, boolean [B,K].</summary>
    /// <param name="videos">int64 [B].</param>
    /// <param name="queueVideos">int64 [K]; -1 where empty.</param>
    public static Tensor Siblings(Tensor videos, Tensor queueVideos)
    {
        using var scope = NewDisposeScope();
        return videos.unsqueeze(1).eq(queueVideos.unsqueeze(0)).MoveToOuterDisposeScope();
    }

    /// <summary>Cosine similarities of features as retrieval compares them: all centred by the mean of the queue's. [method.md 1e]</summary>
    /// <param name="features">[B,F].</param>
    /// <param name="queue">[F,K].</param>
    /// <returns>[B,K].</returns>
    public static Tensor CentredSimilarity(Tensor features, Tensor queue)
    {
        using var scope = NewDisposeScope();
        using var frozen = no_grad();
        var centre = queue.mean([1], keepdim: true);
        return nn.functional.normalize(features - centre.t(), 2, 1).matmul(nn.functional.normalize(queue - centre, 2, 0)).MoveToOuterDisposeScope();
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
        return (excluded is null ? positives.alias() : cat([positives.narrow(1, 0, 1), positives.narrow(1, 1, positives.shape[1] - 1).logical_and(excluded.logical_not())], 1)).MoveToOuterDisposeScope();
    }

    private static Tensor WithOwnKey(Tensor queueMask)
        => cat([ones(queueMask.shape[0], 1, ScalarType.Bool, queueMask.device), queueMask], 1);
}
