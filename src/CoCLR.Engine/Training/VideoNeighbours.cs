// Why this exists: the miner stands still during a turn, so what it finds alike can be found once, over whole videos instead of single
// clips: nearly twice as often right on people's videos, the same for the whole turn, and without the miner's forward pass in every step.
using CoCLR.Core.Events;
using CoCLR.Engine.Features;
using TorchSharp;
using static TorchSharp.torch;

namespace CoCLR.Engine.Training;

/// <summary>
/// The neighbours of every training video in the description of a frozen miner (<c>cotrain.mineAmong: videos</c>; method.md part 2).
/// </summary>
internal sealed class VideoNeighbours : IDisposable
{
    private const string ItemsName = "neighbours.items";
    private const string SimilarityName = "neighbours.similarity";
    private readonly Tensor _items; // on the device of the queue
    private readonly Tensor _similarity;

    private VideoNeighbours(Tensor items, Tensor similarity)
    {
        (_items, _similarity) = (items, similarity);
    }

    /// <summary>Neighbours of the videos, by number in <see cref="TrainingData"/>, int64 [N,k]; -1 where there are fewer.</summary>
    public Tensor Items => _items;

    /// <summary>Finds neighbours of other source groups.</summary>
    /// <param name="descriptions">For each miner, N rows of unit length; their cosines are added.</param>
    /// <param name="groups">N source groups.</param>
    /// <param name="topK">Neighbours of a video.</param>
    /// <param name="mutual">Keep only those that have each other among theirs.</param>
    /// <param name="device">Where the queue is.</param>
    public static VideoNeighbours Find(IReadOnlyList<float[]> descriptions, IReadOnlyList<int> groups, int topK, bool mutual, Device device)
    {
        int count = groups.Count;
        int[] widths = [.. descriptions.Select(d => d.Length / count)];
        int width = widths.Sum();

        // The sum of cosines is the dot product of the rows laid end to end.
        var rows = new float[count * width];
        for (int i = 0; i < count; i++)
        {
            int at = i * width;
            for (int d = 0; d < descriptions.Count; d++)
            {
                descriptions[d].AsSpan(i * widths[d], widths[d]).CopyTo(rows.AsSpan(at));
                at += widths[d];
            }
        }

        // Siblings are positives anyway; enough hits that the others remain.
        int largest = groups.CountBy(g => g).Max(g => g.Value);
        using var search = new ExactSearch(rows, width);
        SearchHit[][] near = [
            .. search.Search(rows, Math.Min(topK + largest, count))
                .Select((hits, i) => hits.Where(h => groups[h.Index] != groups[i]).Take(topK).ToArray())];
        if (mutual)
        {
            HashSet<int>[] sets = [.. near.Select(hits => hits.Select(h => h.Index).ToHashSet())];
            near = [.. near.Select((hits, i) => hits.Where(h => sets[h.Index].Contains(i)).ToArray())];
        }

        var items = new long[count * topK];
        var similarity = new float[count * topK];
        Array.Fill(items, -1);
        for (int i = 0; i < count; i++)
        {
            for (int k = 0; k < near[i].Length; k++)
            {
                (items[(i * topK) + k], similarity[(i * topK) + k]) = (near[i][k].Index, near[i][k].Score);
            }
        }

        return new VideoNeighbours(
            tensor(items, [count, topK]).to(device).DetachFromDisposeScope(), tensor(similarity, [count, topK]).DetachFromDisposeScope());
    }

    /// <summary>Which queue entries are clips of neighbours.</summary>
    /// <param name="anchors">Numbers of B videos.</param>
    /// <param name="queued">Number of the video of each queue entry, int64 [K]; -1 where empty.</param>
    /// <returns>Boolean [B,K].</returns>
    public Tensor Among(int[] anchors, Tensor queued)
    {
        using DisposeScope scope = NewDisposeScope();
        Tensor near = _items.index_select(0, DeviceTensors.Longs(Array.ConvertAll(anchors, a => (long)a), _items.device));
        Tensor entries = queued.to(_items.device);
        return near.unsqueeze(2).eq(entries.unsqueeze(0).unsqueeze(0)).any(1, false).logical_and(entries.ge(0)).MoveToOuterDisposeScope();
    }

    /// <summary>
    /// Share of neighbours of the anchor's class, over all labelled pairs; NaN without labels. And the share that random videos of other
    /// groups would have.
    /// </summary>
    /// <param name="labels">N labels, -1 where unknown.</param>
    /// <param name="groups">N source groups.</param>
    public (double Precision, double Chance) Quality(IReadOnlyList<int> labels, IReadOnlyList<int> groups)
    {
        long[] items = _items.cpu().data<long>().ToArray();
        int topK = items.Length / Math.Max(1, labels.Count);
        var (right, known) = (0, 0);
        for (int i = 0; i < items.Length; i++)
        {
            if (items[i] >= 0 && labels[i / topK] >= 0 && labels[(int)items[i]] >= 0)
            {
                known++;
                right += labels[i / topK] == labels[(int)items[i]] ? 1 : 0;
            }
        }

        // Videos of one group are of one class in every data set that has groups.
        double same = 0, others = 0;
        var classes = labels.Where(l => l >= 0).CountBy(l => l).ToDictionary();
        var siblings = groups.CountBy(g => g).ToDictionary();
        for (int i = 0; i < labels.Count; i++)
        {
            if (labels[i] >= 0)
            {
                same += classes[labels[i]] - siblings[groups[i]];
                others += labels.Count - siblings[groups[i]];
            }
        }

        return (known == 0 ? double.NaN : right / (double)known, others == 0 ? double.NaN : same / others);
    }

    /// <summary>The neighbours of a few anchors, for people: the same throughout a turn.</summary>
    /// <param name="data">Names the videos.</param>
    /// <param name="anchors">Numbers of videos.</param>
    public IReadOnlyList<MinedAnchor> Anchors(TrainingData data, IEnumerable<int> anchors)
    {
        long[] items = _items.cpu().data<long>().ToArray();
        float[] similarity = _similarity.data<float>().ToArray();
        int topK = (int)_items.shape[1];
        return [.. anchors.Select(anchor => new MinedAnchor
        {
            Video = data.Id(anchor),
            Class = data.ClassOf(anchor),
            Positives =
            [
                .. Enumerable.Range(anchor * topK, topK).Where(i => items[i] >= 0).Select(i => new MinedPositive
                {
                    Video = data.Id((int)items[i]),
                    Class = data.ClassOf((int)items[i]),
                    Similarity = similarity[i],
                    Correct = data.ClassOf(anchor) is { } own ? own == data.ClassOf((int)items[i]) : null,
                }),
            ],
        })];
    }

    /// <summary>The state for a checkpoint: on a GPU, finding them again need not give the same.</summary>
    public IEnumerable<KeyValuePair<string, Tensor>> State() => [new(ItemsName, _items), new(SimilarityName, _similarity)];

    /// <summary>Takes over <see cref="State"/>; null where the checkpoint has none.</summary>
    /// <param name="tensors">Tensors of a checkpoint.</param>
    /// <param name="device">Where the queue is.</param>
    public static VideoNeighbours? From(IReadOnlyDictionary<string, Tensor> tensors, Device device) =>
        tensors.TryGetValue(ItemsName, out Tensor? items)
        ? new VideoNeighbours(
            items.to(device, copy: true).DetachFromDisposeScope(), tensors[SimilarityName].clone().DetachFromDisposeScope())
        : null;

    public void Dispose()
    {
        _items.Dispose();
        _similarity.Dispose();
    }
}
