// Why this exists: joins the loader of augmented training clips to the training of classifiers.
using CoCLR.Engine.Video;
using CoCLR.Engine.Video.Augmentation;
using CoCLR.Engine.Video.Loading;

namespace CoCLR.Engine.Evaluation;

/// <summary>One random, augmented clip of each training video an epoch, in random order; the last, smaller batch is dropped.</summary>
/// <param name="store">The videos; stays the caller's.</param>
/// <param name="augmentation">Size and augmentation.</param>
/// <param name="loading">Clips a batch, frames, device.</param>
public sealed class RandomClips(ClipStore store, AugmentationOptions augmentation, LoaderOptions loading) : IClipBatches
{
    private readonly IReadOnlyList<ClipItem> _items = [.. ClipItem.FromStores([store], VideoSplit.Train).Where(i => i.Label >= 0)];

    /// <inheritdoc/>
    public IReadOnlyList<string> Ids => [.. _items.Select(i => store.Videos[i.VideoInView[0]].Id)];

    /// <inheritdoc/>
    public IReadOnlyList<int>? Labels => [.. _items.Select(i => i.Label)];

    /// <inheritdoc/>
    public IReadOnlyList<string> ClassNames => store.Classes;

    /// <inheritdoc/>
    public IReadOnlyList<string>? Groups => [.. _items.Select(i => i.Group.ToString(System.Globalization.CultureInfo.InvariantCulture))];

    /// <inheritdoc/>
    public int ClipsInPass
    {
        get
        {
            using ProbeLoader loader = Loader();
            return loader.StepsPerEpoch * Math.Min(loading.BatchSize, _items.Count);
        }
    }

    /// <inheritdoc/>
    public IEnumerable<Evaluation.ClipBatch> Pass(int epoch, CancellationToken cancellationToken = default)
    {
        using ProbeLoader loader = Loader();
        loader.StartAt(epoch, 0, epoch + 1);
        while (loader.Next(cancellationToken) is { } batch)
        {
            using (batch)
            {
                yield return new Evaluation.ClipBatch(batch.Views[0].alias(), batch.Items);
            }
        }
    }

    private ProbeLoader Loader() => new([ClipView.Of(store)], _items, augmentation, loading);
}
