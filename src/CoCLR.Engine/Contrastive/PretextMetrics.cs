// Why this exists: how well the pretext task and the mining go is what a person watches while training.
using static TorchSharp.torch;

namespace CoCLR.Engine.Contrastive;

/// <summary>Accuracy of the instance task of one batch: scalars on the batch's device, each 0 to 1.</summary>
/// <param name="Top1">Share of queries whose most similar candidate is a positive.</param>
/// <param name="Top5">Share of queries with a positive among the five most similar.</param>
/// <param name="SelfTop1">Share of queries whose most similar candidate is the own key.</param>
/// <param name="SelfTop5">Share of queries with the own key among the five most similar.</param>
public sealed record PretextAccuracy(Tensor Top1, Tensor Top5, Tensor SelfTop1, Tensor SelfTop5);

/// <summary>What mining found in one batch, all on the batch's device.</summary>
/// <param name="Precision">Scalar: share of mined entries with the query's label; NaN when no labels are known.</param>
/// <param name="Agreement">Scalar: mean share of the top-K that both views have in common, 0 to 1.</param>
/// <param name="MeanAge">Scalar: mean age of the mined entries, in steps.</param>
/// <param name="Columns">Mined queue columns int64 [B,topK], most similar first; null where neighbours are whole videos.</param>
/// <param name="MinerSimilarity">What mining ranked, [B,K].</param>
/// <param name="LearnerSimilarity">What the learning view sees, [B,K].</param>
public sealed record MinedEntries(
    Tensor Precision, Tensor Agreement, Tensor MeanAge, Tensor? Columns, Tensor MinerSimilarity, Tensor LearnerSimilarity);

/// <summary>Numbers for people, computed without gradients and left on the device: reading one would make the next step wait.</summary>
public static class PretextMetrics
{
    /// <summary>Top-1 and top-5 of the pretext task. Metrics use the full mask, also in self-masked steps. [method.md 1a]</summary>
    /// <param name="logits">[B,1+K].</param>
    /// <param name="positives">Boolean [B,1+K].</param>
    public static PretextAccuracy Accuracy(Tensor logits, Tensor positives)
    {
        ArgumentNullException.ThrowIfNull(logits);
        ArgumentNullException.ThrowIfNull(positives);
        using var frozen = no_grad();
        using var scope = NewDisposeScope();
        var (_, best) = logits.detach().topk((int)Math.Min(5, logits.shape[1]), 1);
        Tensor hits = positives.gather(1, best);
        Tensor own = best.eq(0);
        return new PretextAccuracy(First(hits), Any(hits), First(own), Any(own));

        static Tensor First(Tensor hits) => hits.select(1, 0).to_type(ScalarType.Float32).mean().MoveToOuterDisposeScope();
        static Tensor Any(Tensor hits) => hits.any(1, false).to_type(ScalarType.Float32).mean().MoveToOuterDisposeScope();
    }

    /// <summary>Precision, agreement and age of the queue entries that are clips of neighbouring videos.</summary>
    /// <param name="learnerSimilarity">Query's similarity to the learning view's queue [B,K], at any scale.</param>
    /// <param name="neighbours">Boolean [B,K].</param>
    /// <param name="videos">Source videos int64 [B].</param>
    /// <param name="labels">Labels int64 [B]; -1 is unknown.</param>
    /// <param name="queue">The queue before this batch is enqueued.</param>
    /// <param name="step">The present step.</param>
    /// <returns>Numbers only: people look at the neighbours themselves. Agreement is the share of a clip's m neighbours among the m entries
    /// that the learner finds most similar.</returns>
    public static MinedEntries OfNeighbours(
        Tensor learnerSimilarity, Tensor neighbours, Tensor videos, Tensor labels, KeyQueue queue, long step)
    {
        ArgumentNullException.ThrowIfNull(neighbours);
        ArgumentNullException.ThrowIfNull(labels);
        ArgumentNullException.ThrowIfNull(queue);
        using var frozen = no_grad();
        using var scope = NewDisposeScope();
        Tensor count = neighbours.sum(1, keepdim: true);
        Tensor others = learnerSimilarity.masked_fill(PositiveMask.Siblings(videos, queue.Videos), float.NegativeInfinity);
        Tensor rank = others.argsort(1, descending: true).argsort(1);
        Tensor agreement = Ratio(rank.lt(count).logical_and(neighbours), neighbours);
        Tensor known = neighbours.logical_and(labels.unsqueeze(1).ge(0)).logical_and(queue.Labels.unsqueeze(0).ge(0));
        Tensor precision = Ratio(labels.unsqueeze(1).eq(queue.Labels.unsqueeze(0)).logical_and(known), known);
        Tensor age =
            (queue.Age(step).unsqueeze(0) * neighbours).sum().to_type(ScalarType.Float64) / neighbours.sum().to_type(ScalarType.Float64);
        return new MinedEntries(
            precision.MoveToOuterDisposeScope(), agreement.MoveToOuterDisposeScope(), age.MoveToOuterDisposeScope(), null, neighbours,
            learnerSimilarity);

        // 0/0 is NaN: no entry of a neighbour in the queue, or no labels.
        static Tensor Ratio(Tensor part, Tensor whole) => part.sum().to_type(ScalarType.Float64) / whole.sum().to_type(ScalarType.Float64);
    }

    /// <summary>Precision, agreement and age of the mined positives of one batch.</summary>
    /// <param name="learnerSimilarity">Query's similarity to the learning view's queue [B,K].</param>
    /// <param name="minerSimilarity">The other view's similarity to its queue [B,K]: what mining ranks.</param>
    /// <param name="videos">Source videos int64 [B].</param>
    /// <param name="labels">Labels int64 [B]; -1 is unknown.</param>
    /// <param name="queue">The queue before this batch is enqueued.</param>
    /// <param name="topK">How many are mined, at least 1.</param>
    /// <param name="step">The present step.</param>
    public static MinedEntries Mining(
        Tensor learnerSimilarity, Tensor minerSimilarity, Tensor videos, Tensor labels, KeyQueue queue, int topK, long step)
    {
        ArgumentNullException.ThrowIfNull(labels);
        ArgumentNullException.ThrowIfNull(queue);
        ArgumentOutOfRangeException.ThrowIfLessThan(topK, 1);
        using var frozen = no_grad();
        using var scope = NewDisposeScope();
        Tensor siblings = PositiveMask.Siblings(videos, queue.Videos);
        Tensor mined = PositiveMask.Mined(minerSimilarity, siblings, topK);
        Tensor wouldBe = PositiveMask.Mined(learnerSimilarity, siblings, topK);
        Tensor agreement = mined.unsqueeze(2).eq(wouldBe.unsqueeze(1)).any(2, false).to_type(ScalarType.Float64).mean();
        Tensor age = queue.Age(step).index_select(0, mined.flatten()).to_type(ScalarType.Float64).mean();
        Tensor minedLabels = queue.Labels.index_select(0, mined.flatten()).view_as(mined);
        Tensor known = labels.unsqueeze(1).ge(0).logical_and(minedLabels.ge(0));
        Tensor right = minedLabels.eq(labels.unsqueeze(1)).logical_and(known);
        Tensor precision = right.sum().to_type(ScalarType.Float64) / known.sum().to_type(ScalarType.Float64); // 0/0 is NaN: no labels
        return new MinedEntries(
            precision.MoveToOuterDisposeScope(),
            agreement.MoveToOuterDisposeScope(),
            age.MoveToOuterDisposeScope(),
            mined.MoveToOuterDisposeScope(),
            minerSimilarity,
            learnerSimilarity);
    }
}
