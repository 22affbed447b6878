// Why this exists: pre-training's stream of two-clip batches, resumable at any step without saved state.
using CoCLR.Core;
using CoCLR.Engine.Video.Augmentation;

namespace CoCLR.Engine.Video.Loading;

/// <summary>
/// Batches of pre-training: each sample is one video with two augmented clips, in one or two views that share every random choice (method.md 1d). An epoch is a
/// random order of all videos, the incomplete last batch dropped. Everything is a function of (seed, epoch, step, slot): start anywhere and the
/// batches are bit for bit those of the unbroken run, with any number of workers.
/// </summary>
/// <example><code>
/// using var loader = new ClipBatchLoader(views, items, augmentation, options);
/// loader.StartAt(epoch, step);
/// while (...) { using var batch = loader.Next()!; ... }
/// </code></example>
public sealed class ClipBatchLoader : IDisposable
{
    private static readonly ulong OrderPurpose = CounterRandom.Purpose("epoch-order");
    private static readonly ulong StartPurpose = CounterRandom.Purpose("clip-start");
    private readonly IReadOnlyList<ClipView> _views;
    private readonly IReadOnlyList<ClipItem> _items;
    private readonly PretrainAugmentation _augmentation;
    private readonly LoaderOptions _options;
    private readonly EpochSequence _epochs;
    private readonly int[] _lengths;
    private ClipPipeline? _pipeline;

    /// <summary>Creates the loader; nothing is read before <see cref="StartAt"/>.</summary>
    /// <param name="views">One view (InfoNCE, UberNCE) or two (CoCLR, CMC).</param>
    /// <param name="items">The training videos.</param>
    /// <param name="augmentation">Size and augmentation.</param>
    /// <param name="options">Batch size, clip length, workers, device.</param>
    /// <exception cref="UserErrorException">78: fewer videos than a batch, or a setting out of range.</exception>
    public ClipBatchLoader(IReadOnlyList<ClipView> views, IReadOnlyList<ClipItem> items, AugmentationOptions augmentation, LoaderOptions options)
    {
        options.Check();
        if (items.Count < options.BatchSize)
        {
            throw new UserErrorException(
                $"There {(items.Count == 1 ? "is 1 training video" : $"are {items.Count} training videos")}, fewer than one batch of {options.BatchSize}: lower training.batchSize or add videos.",
                ExitCodes.BadConfiguration);
        }

        _views = views;
        _items = items;
        _augmentation = new PretrainAugmentation(augmentation);
        _options = options;
        _epochs = new EpochSequence(items.Count, options.BatchSize, options.Seed, OrderPurpose);
        _lengths = [.. items.Select(item => item.Length(views))];
    }

    /// <summary>Steps of an epoch.</summary>
    public int StepsPerEpoch => _epochs.StepsPerEpoch;

    /// <summary>The videos.</summary>
    public IReadOnlyList<ClipItem> Items => _items;

    /// <summary>How long the consumer waited since <see cref="StartAt"/>.</summary>
    public LoaderWait Wait => _pipeline?.Wait ?? default;

    /// <summary>Starts making batches from this place on. Batches of an earlier start must have been disposed.</summary>
    /// <param name="epoch">Epoch; any number, also negative (a pass before training).</param>
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

    /// <summary>The order of the items in an epoch.</summary>
    /// <param name="epoch">Epoch.</param>
    public int[] EpochOrder(int epoch) => _epochs.Order(epoch);

    /// <inheritdoc/>
    public void Dispose() => _pipeline?.Dispose();

    private BatchPlan Plan(int epoch, int step, int[] items)
    {
        var requests = new ClipRequest[2 * items.Length];
        for (var slot = 0; slot < items.Length; slot++)
        {
            var item = items[slot];
            var random = new CounterRandom(_options.Seed, StartPurpose, epoch, step, slot);
            int[][] clips = [EpochSequence.DrawClip(ref random, _lengths[item], _options), EpochSequence.DrawClip(ref random, _lengths[item], _options)];
            var (_, height, width, _) = _views[0].Source.Shape(_items[item].VideoInView[0]);
            var pair = _augmentation.Draw(_options.Seed, epoch, step, slot, width, height);
            requests[2 * slot] = new ClipRequest(item, clips[pair.FirstClip], pair.First, pair.FirstClip);
            requests[(2 * slot) + 1] = new ClipRequest(item, clips[pair.SecondClip], pair.Second, pair.SecondClip);
        }

        return new BatchPlan(epoch, step, requests, 2);
    }
}
