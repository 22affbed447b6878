// Why this exists: how well the pretext task and the mining go is what a person watches while training.
using static TorchSharp.torch;

namespace CoCLR.Engine.Contrastive;

/// <summary>Accuracy of the instance task of one batch, each 0 to 1.</summary>
/// <param name="Top1">Share of queries whose most similar candidate is a positive.</param>
/// <param name="Top5">Share of queries with a positive among the five most similar.</param>
/// <param name="SelfTop1">Share of queries whose most similar candidate is the own key.</param>
/// <param name="SelfTop5">Share of queries with the own key among the five most similar.</param>
public readonly record struct PretextAccuracy(double Top1, double Top5, double SelfTop1, double SelfTop5);

/// <summary>What mining found in one batch.</summary>
/// <param name="Precision">Share of mined entries with the query's label; NaN when no labels are known.</param>
/// <param name="Agreement">Mean share of the top-K that both views have in common, 0 to 1.</param>
/// <param name="MeanAge">Mean age of the mined entries, in steps.</param>
/// <param name="Indices">Mined queue columns int64 [B,topK], most similar first; the caller disposes it.</param>
public sealed record MiningQuality(double Precision, double Agreement, double MeanAge, Tensor Indices) : IDisposable
{
    /// <inheritdoc/>
    public void Dispose() => Indices.Dispose();
}

/// <summary>Numbers for people, computed without gradients.</summary>
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
        var hits = positives.gather(1, best);
        var own = best.eq(0);
        return new PretextAccuracy(First(hits), Any(hits), First(own), Any(own));

        static double First(Tensor hits) => hits.select(1, 0).to_type(ScalarType.Float32).mean().item<float>();
        static double Any(Tensor hits) => hits.any(1, false).to_type(ScalarType.Float32).mean().item<float>();
    }

    /// <summary>Precision, agreement and age of the mined positives of one batch.</summary>
    /// <param name="firstSimilarity">Query's similarity to the first view's queue [B,K].</param>
    /// <param name="secondSimilarity">Second view's similarity to its queue [B,K]: what mining ranks.</param>
    /// <param name="videos">Source videos int64 [B].</param>
    /// <param name="labels">Labels int64 [B] or null; -1 is unknown.</param>
    /// <param name="queue">The queue before this batch is enqueued.</param>
    /// <param name="topK">How many are mined, at least 1.</param>
    /// <param name="step">The present step.</param>
    public static MiningQuality Mining(Tensor firstSimilarity, Tensor secondSimilarity, Tensor videos, Tensor? labels, KeyQueue queue, int topK, long step)
    {
        ArgumentNullException.ThrowIfNull(queue);
        ArgumentOutOfRangeException.ThrowIfLessThan(topK, 1);
        using var frozen = no_grad();
        using var scope = NewDisposeScope();
        var siblings = PositiveMask.Siblings(videos, queue.Videos);
        var mined = PositiveMask.Mined(secondSimilarity, siblings, topK);
        var wouldBe = PositiveMask.Mined(firstSimilarity, siblings, topK);
        var agreement = mined.unsqueeze(2).eq(wouldBe.unsqueeze(1)).any(2, false).to_type(ScalarType.Float64).mean().item<double>();
        var age = queue.Age(step).index_select(0, mined.flatten()).to_type(ScalarType.Float64).mean().item<double>();
        var precision = double.NaN;
        if (labels is not null)
        {
            var minedLabels = queue.Labels.index_select(0, mined.flatten()).view_as(mined);
            var known = labels.unsqueeze(1).ge(0).logical_and(minedLabels.ge(0));
            var right = minedLabels.eq(labels.unsqueeze(1)).logical_and(known).sum().item<long>();
            var count = known.sum().item<long>();
            precision = count == 0 ? double.NaN : (double)right / count;
        }

        return new MiningQuality(precision, agreement, age, mined.MoveToOuterDisposeScope());
    }
}
