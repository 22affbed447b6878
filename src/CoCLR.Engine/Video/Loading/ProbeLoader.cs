// Why this exists: supervised training on top of a representation takes one clip a video and milder augmentation.
using CoCLR.Core;
using CoCLR.Engine.Video.Augmentation;

namespace CoCLR.Engine.Video.Loading;

/// <summary>
/// Batches for the end-to-end linear probe and fine-tuning: one random clip a video (method.md 1d, 1e), an epoch being a random order of
/// all videos, the incomplete last batch dropped. A pure function of (seed, epoch, step, slot) like <see cref="ClipBatchLoader"/>.
/// </summary>
public sealed class ProbeLoader : IDisposable
{
    private static readonly ulong OrderPurpose = CounterRandom.Purpose("probe-epoch-order");
    private static readonly ulong StartPurpose = CounterRandom.Purpose("probe-clip-start");
    private readonly IReadOnlyList<ClipView> _views;
    private readonly IReadOnlyList<ClipItem> _items;
    private readonly ProbeAugmentation _augmentation;
    private readonly LoaderOptions _options;
    private readonly EpochSequence _epochs;
    private readonly int[] _lengths;
    private ClipPipeline? _pipeline;

    /// <summary>Creates the loader; nothing is read before <see cref="StartAt"/>.</summary>
    /// <param name="views">Usually one view.</param>
    /// <param name="items">The training videos, labelled.</param>
    /// <param name="augmentation">Size and augmentation.</param>
    /// <param name="options">Batch size (lowered to the number of videos), clip length, workers, device.</param>
    /// <exception cref="UserErrorException">66: no videos; 78: a setting out of range.</exception>
    public ProbeLoader(
        IReadOnlyList<ClipView> views, IReadOnlyList<ClipItem> items, AugmentationOptions augmentation, LoaderOptions options)
    {
        options.Check();
        if (items.Count == 0)
        {
            throw new UserErrorException(
                "There are no training videos for the probe: check the split and the labels of the data set.", ExitCodes.MissingInput);
        }

        _views = views;
        _items = items;
        _augmentation = new ProbeAugmentation(augmentation);
        _options = options with { BatchSize = Math.Min(options.BatchSize, items.Count) };
        _epochs = new EpochSequence(items.Count, _options.BatchSize, options.Seed, OrderPurpose);
        _lengths = [.. items.Select(item => item.Length(views))];
    }

    /// <summary>Steps of an epoch.</summary>
    public int StepsPerEpoch => _epochs.StepsPerEpoch;

    /// <summary>How long the consumer waited since <see cref="StartAt"/>.</summary>
    public LoaderWait Wait => _pipeline?.Wait ?? default;

    /// <summary>Starts making batches from this place on. Batches of an earlier start must have been disposed.</summary>
    /// <param name="epoch">Epoch.</param>
    /// <param name="step">Step in the epoch.</param>
    /// <param name="endEpoch">Epoch to stop before; null goes on for ever.</param>
    public void StartAt(int epoch, int step = 0, int? endEpoch = null)
    {
        _pipeline?.Dispose();
        _pipeline = new ClipPipeline(_views, _items, _options, _augmentation.Options.Size, _epochs.From(epoch, step, endEpoch, Plan));
    }

    /// <summary>The next batch; waits until it is made. Null after the end epoch.</summary>
    /// <param name="cancellationToken">Stops waiting.</param>
    /// <exception cref="InvalidOperationException"><see cref="StartAt"/> was not called.</exception>
    public ClipBatch? Next(CancellationToken cancellationToken = default) =>
        (_pipeline ?? throw new InvalidOperationException("StartAt has not been called.")).Next(cancellationToken);

    /// <inheritdoc/>
    public void Dispose() => _pipeline?.Dispose();

    private BatchPlan Plan(int epoch, int step, int[] items)
    {
        var requests = new ClipRequest[items.Length];
        for (var slot = 0; slot < items.Length; slot++)
        {
            var item = items[slot];
            var random = new CounterRandom(_options.Seed, StartPurpose, epoch, step, slot);
            var frames = EpochSequence.DrawClip(ref random, _lengths[item], _options);
            var (_, height, width, _) = _views[0].Source.Shape(_items[item].VideoInView[0]);
            requests[slot] = new ClipRequest(item, frames, _augmentation.Draw(_options.Seed, epoch, step, slot, width, height));
        }

        return new BatchPlan(epoch, step, requests, 1);
    }
}
