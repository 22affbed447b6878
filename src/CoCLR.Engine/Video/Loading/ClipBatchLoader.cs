// Why this exists: pre-training's stream of two-clip batches, resumable at any step without saved state.
using CoCLR.Core;
using CoCLR.Engine.Video.Augmentation;

namespace CoCLR.Engine.Video.Loading;

/// <summary>
/// Which clips of a batch a loader makes: sample i holds the first clip of the one slot and the second clip of the other.
/// </summary>
/// <param name="First">Slots of the batch, from 0.</param>
/// <param name="Second">As many, in another order.</param>
public readonly record struct BatchSlots(int[] First, int[] Second);

/// <summary>
/// Batches of pre-training: each sample is one video with two augmented clips, in one or two views that share every random choice
/// (method.md 1d). An epoch is a
/// random order of all videos, the incomplete last batch dropped. Everything is a function of (seed, epoch, step, slot): start anywhere
/// and the
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
    private readonly Func<int, int, BatchSlots> _slots;
    private ClipPipeline? _pipeline;

    /// <summary>Creates the loader; nothing is read before <see cref="StartAt"/>.</summary>
    /// <param name="views">One view (InfoNCE, UberNCE) or two (CoCLR, CMC).</param>
    /// <param name="items">The training videos.</param>
    /// <param name="augmentation">Size and augmentation.</param>
    /// <param name="options">Batch size, clip length, workers, device.</param>
    /// <param name="slots">What to make of a batch, by epoch and step; all of it in order when null. The clips of a slot do not depend on
    /// it.</param>
    /// <exception cref="UserErrorException">78: fewer videos than a batch, or a setting out of range.</exception>
    public ClipBatchLoader(
        IReadOnlyList<ClipView> views, IReadOnlyList<ClipItem> items, AugmentationOptions augmentation, LoaderOptions options, Func<int, int, BatchSlots>? slots = null)
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
        int[] all = [.. Enumerable.Range(0, options.BatchSize)];
        _slots = slots ?? ((_, _) => new BatchSlots(all, all));
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
        BatchSlots slots = _slots(epoch, step);
        var requests = new ClipRequest[2 * slots.First.Length];
        for (int i = 0; i < slots.First.Length; i++)
        {
            requests[2 * i] = Draw(epoch, step, slots.First[i], items[slots.First[i]]).First;
            requests[(2 * i) + 1] = Draw(epoch, step, slots.Second[i], items[slots.Second[i]]).Second;
        }

        return new BatchPlan(epoch, step, requests, 2, items);
    }

    /// <summary>The two clips of a slot: a function of its coordinates alone.</summary>
    private (ClipRequest First, ClipRequest Second) Draw(int epoch, int step, int slot, int item)
    {
        var random = new CounterRandom(_options.Seed, StartPurpose, epoch, step, slot);
        int[][] clips = [EpochSequence.DrawClip(ref random, _lengths[item], _options), EpochSequence.DrawClip(ref random, _lengths[item], _options)];
        var (_, height, width, _) = _views[0].Source.Shape(_items[item].VideoInView[0]);
        var pair = _augmentation.Draw(_options.Seed, epoch, step, slot, width, height);
        return (new ClipRequest(item, clips[pair.FirstClip], pair.First, pair.FirstClip), new ClipRequest(item, clips[pair.SecondClip], pair.Second, pair.SecondClip));
    }
}
