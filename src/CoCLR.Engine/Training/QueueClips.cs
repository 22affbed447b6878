// Why this exists: people must see which clips were mined, so each key in the queue remembers its clip.
using CoCLR.Core.Events;
using CoCLR.Engine.Contrastive;
using TorchSharp;
using static TorchSharp.torch;

namespace CoCLR.Engine.Training;

/// <summary>Which clip each entry of the queue is, so that people can see what was mined.</summary>
/// <param name="length">K.</param>
internal sealed class QueueClips(int length)
{
    /// <summary>Name in a checkpoint.</summary>
    public const string Name = "queueClips";

    /// <summary>Number in <see cref="TrainingData"/>, int64 [K]; -1 where empty.</summary>
    public Tensor Items { get; } = full([length], -1L, ScalarType.Int64).DetachFromDisposeScope();

    /// <summary>Notes the clips of a batch that is about to be enqueued.</summary>
    public void Remember(int at, int[] items)
    {
        for (int i = 0; i < items.Length; i++)
        {
            Items[(at + i) % length] = items[i];
        }
    }

    /// <summary>A few anchors with the clips that were mined for them.</summary>
    /// <param name="data">Names the clips.</param>
    /// <param name="batch">The anchors are its first.</param>
    /// <param name="count">How many.</param>
    /// <param name="mined">What was mined for them.</param>
    /// <param name="queue">The queue.</param>
    /// <param name="step">The step of the batch.</param>
    public IReadOnlyList<MinedAnchor> Anchors(TrainingData data, TrainingBatch batch, int count, MinedEntries mined, KeyQueue queue, long step)
    {
        using DisposeScope scope = NewDisposeScope();
        using var frozen = no_grad();
        Tensor of = mined.Columns!;
        long[] columns = of.to(CPU).data<long>().ToArray();
        long[] ranks = mined.LearnerSimilarity.argsort(1, descending: true).argsort(1).gather(1, of).to(CPU).data<long>().ToArray();
        float[] miner = mined.MinerSimilarity.gather(1, of).to(CPU).data<float>().ToArray();
        float[] learner = mined.LearnerSimilarity.gather(1, of).to(CPU).data<float>().ToArray();
        long[] ages = queue.Age(step).to(CPU).data<long>().ToArray();
        int topK = (int)of.shape[1];
        return [.. Enumerable.Range(0, (int)Math.Min(count, of.shape[0])).Select(row => new MinedAnchor
        {
            Video = data.Id(batch.Items[row]),
            Class = data.ClassOf(batch.Items[row]),
            Positives = [.. Enumerable.Range(row * topK, topK).Select(i => Positive(batch.Items[row], i))],
        })];

        MinedPositive Positive(int anchor, int i)
        {
            int clip = (int)Items[columns[i]].item<long>();
            string? ownClass = data.ClassOf(anchor);
            return new MinedPositive
            {
                Video = data.Id(clip),
                Class = data.ClassOf(clip),
                Similarity = miner[i],
                LearnerSimilarity = learner[i],
                LearnerRank = (int)ranks[i] + 1,
                Age = ages[columns[i]],
                Correct = ownClass == null ? null : ownClass == data.ClassOf(clip),
            };
        }
    }
}
