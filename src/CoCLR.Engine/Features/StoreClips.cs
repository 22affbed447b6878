// Why this exists: joins the loaders of the clip store to what evaluates: a split of a store as batches, for training a classifier or for
// testing.
using System.Globalization;
using CoCLR.Engine.Collectives;
using CoCLR.Engine.Video.Augmentation;
using CoCLR.Engine.Video.Loading;
using CoCLR.Engine.Video.Store;

namespace CoCLR.Engine.Features;

/// <summary>Videos of a clip store as batches of clips.</summary>
public sealed class StoreClips : IClipBatches, IDisposable
{
    private readonly Func<EvaluationLoader>? _evaluation;
    private readonly ProbeLoader? _training;
    private int _followingEpoch = -1;

    private StoreClips(
        ClipStore store,
        IReadOnlyList<ClipItem> items,
        Func<EvaluationLoader>? evaluation,
        ProbeLoader? training,
        int clipsInPass,
        ICollective? ranks = null,
        int clipsPerBatch = 0)
    {
        (Ranks, ClipsPerBatch) = (ranks ?? Alone.Instance, clipsPerBatch);
        (_evaluation, _training, ClipsInPass) = (evaluation, training, clipsInPass);
        Ids = [.. items.Select(item => store.Videos[item.VideoInView[0]].Id)];
        Labels = items.Any(item => item.Label >= 0) ? [.. items.Select(item => item.Label)] : null;
        Groups = [.. items.Select(item => item.Group.ToString(CultureInfo.InvariantCulture))];
        ClassNames = store.Classes;
    }

    /// <inheritdoc/>
    public IReadOnlyList<string> Ids { get; }

    /// <inheritdoc/>
    public IReadOnlyList<int>? Labels { get; }

    /// <inheritdoc/>
    public IReadOnlyList<string> ClassNames { get; }

    /// <inheritdoc/>
    public IReadOnlyList<string>? Groups { get; }

    /// <inheritdoc/>
    public int ClipsInPass { get; }

    /// <inheritdoc/>
    public ICollective Ranks { get; }

    /// <inheritdoc/>
    public int ClipsPerBatch { get; }

    /// <summary>How long the last training pass waited for batches.</summary>
    public LoaderWait Wait => _training?.Wait ?? default;

    /// <summary>All sliding clips of the videos, and their crops (method.md 1e).</summary>
    /// <param name="store">The frames of one view.</param>
    /// <param name="items">The videos, of this store alone.</param>
    /// <param name="augmentation">Size.</param>
    /// <param name="options">Clips a batch, clip length, device.</param>
    /// <param name="mode">Crops of a clip.</param>
    /// <param name="oneRandomClip">One random clip a video instead: the reference's gallery.</param>
    /// <param name="mostClips">Clips of a video at most, spread evenly over it.</param>
    /// <param name="ranks">Ranks that share the batches; this process takes them all when null.</param>
    public static StoreClips ForTesting(
        ClipStore store,
        IReadOnlyList<ClipItem> items,
        AugmentationOptions augmentation,
        LoaderOptions options,
        CropMode mode = CropMode.Center,
        bool oneRandomClip = false,
        int mostClips = int.MaxValue,
        ICollective? ranks = null)
    {
        (int First, int Every) share = (ranks?.Rank ?? 0, ranks?.World ?? 1);
        EvaluationLoader Open() => new([ClipView.Of(store)], items, augmentation, options, mode, oneRandomClip, mostClips, share);
        using var count = Open();
        return new StoreClips(store, items, Open, null, (int)count.Rows, ranks, options.BatchSize);
    }

    /// <summary>One random, augmented clip a video each epoch (method.md 1d).</summary>
    /// <param name="store">The frames of one view.</param>
    /// <param name="items">The labelled videos, of this store alone.</param>
    /// <param name="augmentation">Size and augmentation.</param>
    /// <param name="options">Clips a batch, clip length, device.</param>
    public static StoreClips ForTraining(
        ClipStore store, IReadOnlyList<ClipItem> items, AugmentationOptions augmentation, LoaderOptions options)
    {
        var loader = new ProbeLoader([ClipView.Of(store)], items, augmentation, options);
        return new StoreClips(store, items, null, loader, loader.StepsPerEpoch * Math.Min(options.BatchSize, items.Count));
    }

    /// <inheritdoc/>
    public IEnumerable<VideoClips> Pass(int epoch, CancellationToken cancellationToken = default) =>
        _training is null ? Test(cancellationToken) : Train(_training, epoch, cancellationToken);

    /// <inheritdoc/>
    public void Dispose() => _training?.Dispose();

    private IEnumerable<VideoClips> Test(CancellationToken cancellationToken)
    {
        using var loader = _evaluation!();
        while (loader.Next(cancellationToken) is { } batch)
        {
            yield return new VideoClips(batch.Views[0], batch.Items, batch);
        }
    }

    // The workers go on into the next epoch, so that no epoch begins with waiting.
    private IEnumerable<VideoClips> Train(ProbeLoader loader, int epoch, CancellationToken cancellationToken)
    {
        if (_followingEpoch != epoch)
        {
            loader.StartAt(epoch);
        }

        _followingEpoch = -1;
        for (var step = 0; step < loader.StepsPerEpoch; step++)
        {
            var batch = loader.Next(cancellationToken)!;
            yield return new VideoClips(batch.Views[0], batch.Items, batch);
        }

        _followingEpoch = epoch + 1;
    }
}
