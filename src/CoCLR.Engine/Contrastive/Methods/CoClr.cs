// Why this exists: CoCLR: the positives are the own key, clips of the same source, and what the other view finds most similar.
using CoCLR.Core.Manifests;
using static TorchSharp.torch;

namespace CoCLR.Engine.Contrastive.Methods;

/// <summary>
/// Co-training, learned in turns: one view learns while the other's frozen encoder mines its positives; or both at once, each mining for
/// the other as it learns. [paper section 3.2; method.md 1a]
/// </summary>
public sealed class CoClr : ContrastiveMethod
{
    /// <inheritdoc/>
    public override Method Name => Method.CoCLR;

    /// <inheritdoc/>
    public override bool WaitsForFullQueue => true;

    /// <summary>
    /// L = mean_i( -log Σ_{j in P_i} softmax(l_i)_j ): the logarithm of the summed probability (MIL-NCE), so that a wrong positive
    /// costs little. [paper eq. 3]
    /// </summary>
    /// <param name="logits">[B,1+K].</param>
    /// <param name="positives">Boolean [B,1+K]; each row has at least one true. See <see cref="PositiveMask.WithoutOwnKey"/> for
    /// self-masking.</param>
    /// <returns>A scalar.</returns>
    public static Tensor Loss(Tensor logits, Tensor positives)
    {
        using var scope = NewDisposeScope();
        // log Σ_P softmax = logsumexp over P - logsumexp over all: exact where the softmax itself would underflow.
        Tensor among = logits.masked_fill(positives.logical_not(), float.NegativeInfinity).logsumexp(1);
        return (logits.logsumexp(1) - among).mean().MoveToOuterDisposeScope();
    }

    /// <summary>
    /// P_i = {0} ∪ { j : video_i = queueVideo_j } ∪ the top-K of the other entries by similarity in the other view (once the queue
    /// is full). With fewer than K others the remainder falls on entries that are positives already.
    /// </summary>
    /// <param name="videos">Source video of each query, int64 [B].</param>
    /// <param name="queueVideos">Source video of each queue entry, int64 [K]; -1 where empty.</param>
    /// <param name="otherSimilarity">Similarity of the queue entries in the other view [B,K]; not changed.</param>
    /// <param name="topK">How many to mine; 0 mines none.</param>
    /// <param name="queueFull">True once every queue entry was written.</param>
    /// <returns>Boolean [B,1+K].</returns>
    public static Tensor Positives(Tensor videos, Tensor queueVideos, Tensor otherSimilarity, int topK, bool queueFull)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(topK);
        using var scope = NewDisposeScope();
        Tensor positives = PositiveMask.Siblings(videos, queueVideos);
        if (queueFull && topK > 0)
        {
            Tensor mined = PositiveMask.Mined(otherSimilarity, positives, topK);
            positives = positives.scatter(1, mined, ones([], ScalarType.Bool, positives.device).expand(mined.shape));
        }

        return PositiveMask.WithOwnKey(positives).MoveToOuterDisposeScope();
    }

    /// <inheritdoc/>
    public override MethodStep Learn(Comparison batch)
    {
        ArgumentNullException.ThrowIfNull(batch);
        return batch.Neighbours is { } neighbours ? LearnFromNeighbours(batch, neighbours)
            : batch.MinerSimilarity is { } similarity ? LearnTurn(batch, similarity)
            : batch.Second is { Query: not null } second ? LearnTogether(batch, second)
            : throw new ArgumentException("CoCLR needs the other view: frozen with its similarities, or learning too.", nameof(batch));
    }

    private static MethodStep LearnTurn(Comparison batch, Tensor minerSimilarity)
    {
        MethodStep made = OneView(batch, batch.First, minerSimilarity);
        return made with { Mined = Mined(batch, made.Logits.detach().narrow(1, 1, batch.Queue.Length) * batch.Temperature, minerSimilarity) };
    }

    // P_i = {0} ∪ { j : video_i = queueVideo_j } ∪ { j : j's video is a neighbour of i's }.
    private static MethodStep LearnFromNeighbours(Comparison batch, Tensor neighbours)
    {
        Tensor logits = batch.Logits(batch.First, batch.First);
        Tensor mask = PositiveMask.WithOwnKey(PositiveMask.Siblings(batch.Groups, batch.Queue.Videos).logical_or(neighbours));
        MethodStep made = Among(batch, logits, mask);
        return made with { Mined = PretextMetrics.OfNeighbours(logits.detach().narrow(1, 1, batch.Queue.Length), neighbours, batch.Groups, batch.Labels, batch.Queue, batch.Step) };
    }

    private static MethodStep LearnTogether(Comparison batch, ViewEmbeddings second)
    {
        Tensor first = batch.First.Keys.matmul(batch.First.Queue);
        Tensor other = second.Keys.matmul(second.Queue);
        MethodStep made = OneView(batch, batch.First, other);
        Tensor loss = made.Loss + OneView(batch, second, first).Loss;
        return made with { Loss = loss, Mined = Mined(batch, first, other) };
    }

    private static MethodStep OneView(Comparison batch, ViewEmbeddings view, Tensor otherSimilarity)
    {
        Tensor logits = batch.Logits(view, view);
        return Among(batch, logits, Positives(batch.Groups, batch.Queue.Videos, otherSimilarity, batch.TopK, batch.Queue.IsFull));
    }

    private static MethodStep Among(Comparison batch, Tensor logits, Tensor mask)
    {
        Tensor positives = PositiveMask.Without(mask, batch.Own);
        return new MethodStep(Loss(logits, batch.MasksSelf ? PositiveMask.WithoutOwnKey(positives) : positives), logits, positives);
    }

    private static MinedEntries? Mined(Comparison batch, Tensor learnerSimilarity, Tensor minerSimilarity) =>
        batch.TopK > 0 && batch.Queue.IsFull
        ? PretextMetrics.Mining(learnerSimilarity, minerSimilarity, batch.Groups, batch.Labels, batch.Queue, batch.TopK, batch.Step)
        : null;
}
