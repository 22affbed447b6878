// Why this exists: a batch is a fixed number of shards, and what a step learns is their mean; where and when each is computed must not
// change a bit of it.
using CoCLR.Core.Manifests;
using CoCLR.Engine.Collectives;
using CoCLR.Engine.Training.Optimization;
using static TorchSharp.torch;

namespace CoCLR.Engine.Training;

/// <summary>The shards of a batch that this process computes: neighbouring ones.</summary>
/// <param name="First">Number of the first, from 0.</param>
/// <param name="Count">How many.</param>
/// <param name="Total">How many the batch has.</param>
/// <param name="Size">Videos of a shard.</param>
internal readonly record struct OwnShards(int First, int Count, int Total, int Size)
{
    /// <summary>The first row of this process's in the batch.</summary>
    public int FirstRow => First * Size;

    /// <summary>Rows of this process.</summary>
    public int Rows => Count * Size;

    /// <summary>This rank's part.</summary>
    /// <param name="training">Batch size and shards.</param>
    /// <param name="ranks">The ranks; they divide the shards.</param>
    public static OwnShards Of(TrainingSpec training, ICollective ranks)
    {
        int count = training.Shards / ranks.World;
        return new OwnShards(ranks.Rank * count, count, training.Shards, training.BatchSize / training.Shards);
    }
}

/// <summary>
/// Runs the shards of a step one after the other, each from the same start, and leaves the mean over all shards of the batch, those of
/// other ranks too: of the gradients, and of batch
/// norms' running statistics. Sums are taken in one binary tree over all shards, so that any number of ranks gives the same bits.
/// </summary>
/// <param name="shards">This process's part of the batch.</param>
/// <param name="ranks">The ranks.</param>
/// <param name="gradients">Flat gradients: 0 when a shard begins.</param>
/// <param name="networks">Networks whose running statistics a shard moves.</param>
internal sealed class ShardMean(OwnShards shards, ICollective ranks, IReadOnlyList<Tensor> gradients, IReadOnlyList<FlatModule> networks)
{
    private readonly Tensor[] _statistics = [.. networks.Select(n => n.Statistics.All)];
    private readonly Tensor[] _counters = [.. networks.Select(n => n.Counters.All)];

    /// <summary>Runs a step. What it allocates is the caller's dispose scope's.</summary>
    /// <param name="work">Computes one shard of this process, numbered from 0.</param>
    public void Over(Action<int> work)
    {
        Tensor[] averaged = [.. gradients, .. _statistics];
        Tensor[] moved = [.. _statistics, .. _counters];
        Tensor[] start = shards.Count > 1 ? Copies(moved) : [];
        var sum = new PairwiseSum();
        for (int shard = 0; shard < shards.Count; shard++)
        {
            Begin(shard > 0 ? moved : [], start);
            work(shard);
            sum.Add(shards.Count > 1 ? Copies(averaged) : averaged);
        }

        if (shards.Total > 1)
        {
            Mean(sum.Take(), averaged);
        }
    }

    private void Begin(Tensor[] moved, Tensor[] start)
    {
        using var frozen = no_grad();
        foreach ((Tensor tensor, Tensor value) in moved.Zip(start))
        {
            tensor.copy_(value);
        }

        foreach (Tensor gradient in gradients)
        {
            gradient.zero_();
        }
    }

    private void Mean(Tensor[] sums, Tensor[] into)
    {
        using var frozen = no_grad();
        foreach ((Tensor sum, Tensor target) in sums.Zip(into))
        {
            ranks.AllReduceSum(sum);
            sum.div_(shards.Total);
            if (!ReferenceEquals(sum, target))
            {
                target.copy_(sum);
            }
        }
    }

    private static Tensor[] Copies(Tensor[] tensors)
    {
        using var frozen = no_grad();
        return [.. tensors.Select(t => t.detach().clone())];
    }
}
