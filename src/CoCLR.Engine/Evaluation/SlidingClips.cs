// Why this exists: joins the loaders of clips to the evaluation, which asks for videos and gets batches.
using CoCLR.Engine.Video;
using CoCLR.Engine.Video.Augmentation;
using CoCLR.Engine.Video.Loading;

namespace CoCLR.Engine.Evaluation;

/// <summary>Sliding clips and crops of a store's videos, in order.</summary>
/// <param name="store">The videos; stays the caller's.</param>
/// <param name="split">Which videos; null for all.</param>
/// <param name="augmentation">Size of the clips.</param>
/// <param name="loading">Clips a batch, frames, device.</param>
/// <param name="crops">Crops a clip.</param>
/// <param name="oneRandomClip">One random clip a video instead of all.</param>
public sealed class SlidingClips(ClipStore store, VideoSplit? split, AugmentationOptions augmentation, LoaderOptions loading, CropMode crops = CropMode.Center, bool oneRandomClip = false) : IClipBatches
{
    private readonly IReadOnlyList<ClipItem> _items = ClipItem.FromStores([store], split);

    /// <inheritdoc/>
    public IReadOnlyList<string> Ids => [.. _items.Select(i => store.Videos[i.VideoInView[0]].Id)];

    /// <inheritdoc/>
    public IReadOnlyList<int>? Labels => _items.All(i => i.Label < 0) ? null : [.. _items.Select(i => i.Label)];

    /// <inheritdoc/>
    public IReadOnlyList<string> ClassNames => store.Classes;

    /// <inheritdoc/>
    public IReadOnlyList<string>? Groups => [.. _items.Select(i => i.Group.ToString(System.Globalization.CultureInfo.InvariantCulture))];

    /// <inheritdoc/>
    public int ClipsInPass
    {
        get
        {
            using EvaluationLoader loader = Loader();
            return (int)loader.Rows;
        }
    }

    /// <inheritdoc/>
    public IEnumerable<Evaluation.ClipBatch> Pass(int epoch, CancellationToken cancellationToken = default)
    {
        using EvaluationLoader loader = Loader();
        while (loader.Next(cancellationToken) is { } batch)
        {
            using (batch)
            {
                yield return new Evaluation.ClipBatch(batch.Views[0].alias(), batch.Items);
            }
        }
    }

    private EvaluationLoader Loader() => new([ClipView.Of(store)], _items, augmentation, loading, crops, oneRandomClip);
}
