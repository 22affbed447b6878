// Why this exists: what a training or evaluation step gets.
using CoCLR.Engine.Video.Augmentation;
using static TorchSharp.torch;

namespace CoCLR.Engine.Video.Loading;

/// <summary>One augmented clip of a batch: which frames of which video, and how.</summary>
/// <param name="Item">Index in the loader's items.</param>
/// <param name="Frames">T frame numbers.</param>
/// <param name="Transform">Drawn for the first view's frame size.</param>
/// <param name="Clip">Temporal clip: 0 or 1 in pre-training, the number of the sliding clip in evaluation.</param>
/// <param name="Crop">Number of the crop in evaluation.</param>
public readonly record struct ClipRequest(int Item, int[] Frames, ClipTransform Transform, int Clip = 0, int Crop = 0);

/// <summary>
/// A batch. Dispose it after the step: its memory is used again for a later batch, so nothing may keep its tensors (nor a graph that saved them)
/// beyond that.
/// </summary>
public sealed class ClipBatch : IDisposable
{
    private readonly Action _release;
    private bool _disposed;

    internal ClipBatch(BatchPlan plan, IReadOnlyList<ClipItem> items, Tensor[] views, Action release)
    {
        Epoch = plan.Epoch;
        Step = plan.Step;
        Requests = plan.Requests;
        Views = views;
        _release = release;
        Items = plan.Items ?? [.. plan.Requests.Where((_, i) => i % plan.ClipsPerSample == 0).Select(request => request.Item)];
        Videos = new long[Items.Length];
        Labels = new long[Items.Length];
        Groups = new long[Items.Length];
        for (var i = 0; i < Items.Length; i++)
        {
            var item = items[Items[i]];
            Videos[i] = item.VideoInView[0];
            Labels[i] = item.Label;
            Groups[i] = item.Group;
        }
    }

    /// <summary>Epoch of the batch.</summary>
    public int Epoch { get; }

    /// <summary>Step in the epoch.</summary>
    public int Step { get; }

    /// <summary>
    /// One tensor a view, float32, contiguous: [B, 2, 3, T, S, S] in pre-training, [B, 3, T, S, S] for the probe and in evaluation. Where a loader makes a part of
    /// the batch (<see cref="BatchSlots"/>), fewer than B.
    /// </summary>
    public IReadOnlyList<Tensor> Views { get; }

    /// <summary>B indices into the loader's items.</summary>
    public int[] Items { get; }

    /// <summary>B video indices in the first view's source.</summary>
    public long[] Videos { get; }

    /// <summary>B labels, -1 where there is none.</summary>
    public long[] Labels { get; }

    /// <summary>B source-video numbers.</summary>
    public long[] Groups { get; }

    /// <summary>Every clip of the batch, in the order of the tensors' leading dimensions.</summary>
    public IReadOnlyList<ClipRequest> Requests { get; }

    /// <summary>Gives the memory back.</summary>
    public void Dispose()
    {
        if (!_disposed)
        {
            _disposed = true;
            foreach (var view in Views)
            {
                view.Dispose();
            }

            _release();
        }
    }
}

/// <summary>What goes into one batch, before any pixel is touched.</summary>
/// <param name="Epoch">Epoch.</param>
/// <param name="Step">Step in the epoch.</param>
/// <param name="Requests">Samples x clips a sample.</param>
/// <param name="ClipsPerSample">2 in pre-training, else 1.</param>
/// <param name="Items">Items of the whole batch, where the requests may be a part of it.</param>
internal sealed record BatchPlan(int Epoch, int Step, ClipRequest[] Requests, int ClipsPerSample, int[]? Items = null);

/// <summary>How long the consumer waited for batches.</summary>
/// <param name="Batches">Batches taken after the first of a start.</param>
/// <param name="Waited">Time spent waiting for them.</param>
/// <param name="Elapsed">Time since the first batch was handed out.</param>
/// <param name="FirstBatch">Time that the first batch took: unavoidable, not counted in <paramref name="Waited"/>.</param>
public readonly record struct LoaderWait(long Batches, TimeSpan Waited, TimeSpan Elapsed, TimeSpan FirstBatch)
{
    /// <summary>Share of the time that the consumer waited, 0 to 1.</summary>
    public double Share => Elapsed > TimeSpan.Zero ? Waited / Elapsed : 0;
}
