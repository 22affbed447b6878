// Why this exists: gives training its batches: clips of both views, augmented, in an order that depends on seed, epoch and step alone.
using CoCLR.Core;
using CoCLR.Core.Manifests;
using CoCLR.Core.Planning;
using CoCLR.Engine.Context;
using CoCLR.Engine.Models;
using CoCLR.Engine.Video.Augmentation;
using CoCLR.Engine.Video.Catalogue;
using CoCLR.Engine.Video.Loading;
using CoCLR.Engine.Video.Store;
using static TorchSharp.torch;

namespace CoCLR.Engine.Training;

/// <summary>
/// The training clips of one step, for each view two augmented clips of every video: whose they are is known of the whole batch, the
/// clips are those of this rank's shards.
/// </summary>
/// <param name="views">Tensors [n,2,3,T,S,S] by view: of row i, the query clip of the batch's row i and the key clip of its row
/// KeyOrder[i], from the first of this rank's rows on.</param>
/// <param name="Items">For each of the B videos its number in <see cref="TrainingData"/>.</param>
/// <param name="Labels">int64 [B]; -1 where unknown.</param>
/// <param name="Groups">Source video, int64 [B].</param>
internal sealed record TrainingBatch(IReadOnlyDictionary<View, Tensor> views, int[] Items, Tensor Labels, Tensor Groups)
{
    /// <summary>Videos in the batch.</summary>
    public int Size => Items.Length;

    /// <summary>Which of the shards are here.</summary>
    public OwnShards Shards { get; init; } = new(0, 1, 1, Items.Length);

    /// <summary>
    /// The order in which keys are normalised, a permutation of the rows: what batch statistics tell of a key's neighbours says nothing
    /// about its query (shuffle-BN).
    /// </summary>
    public int[] KeyOrder { get; init; } = [.. Enumerable.Range(0, Items.Length)];

    /// <summary>Query clips of one of the shards that are here, [b,3,T,S,S], in the order of the batch.</summary>
    public Tensor Queries(View view, int shard) => Clips(view, shard, 0);

    /// <summary>Key clips of one of the shards that are here, [b,3,T,S,S], in <see cref="KeyOrder"/>.</summary>
    public Tensor Keys(View view, int shard) => Clips(view, shard, 1);

    /// <summary>Rows of one of the shards that are here in a tensor over the whole batch.</summary>
    public Tensor RowsOf(Tensor batch, int shard) => batch.narrow(0, Shards.FirstRow + (shard * Shards.Size), Shards.Size);

    private Tensor Clips(View view, int shard, int which) => views[view].narrow(0, shard * Shards.Size, Shards.Size).select(1, which);
}

/// <summary>The training videos of a stage.</summary>
internal sealed class TrainingData : IDisposable
{
    private static readonly ulong s_keyOrder = CounterRandom.Purpose("training/key-order");
    private readonly IReadOnlyList<ClipStore> _stores;
    private readonly IReadOnlyList<View> _views;
    private readonly ClipBatchLoader _loader;
    private readonly Device _device;
    private readonly OwnShards _shards;
    private readonly Func<int, int, int[]> _keyOrder;
    private TimeSpan _waitedBefore;

    // The loader runs on over the end of an epoch; it is set anew only for a jump.
    private (int Epoch, int Step)? _next;

    private TrainingData(IReadOnlyList<ClipStore> stores, IReadOnlyList<View> views, IReadOnlyList<ClipItem> items, StageContext context)
    {
        TrainingSpec training = context.Spec.Training;
        _stores = stores;
        _views = views;
        _device = context.Device;
        _shards = OwnShards.Of(training, context.Ranks);

        // Negative epochs are passes before training, which fill the queue: their steps count up to -1.
        ExperimentSpec own = context.Stage.Kind == StageKind.Cotrain ? context.Spec.AsTurn() : context.Spec;
        int fillSteps = own.Training.QueueSize / training.BatchSize;
        long StepOf(int epoch, int step) =>
            step + (epoch >= 0 ? (long)epoch * StepsPerEpoch : ((-epoch - 1L) * StepsPerEpoch) - fillSteps);

        // Drawn from its coordinates, so that a resume normalises the key batch in the same order.
        _keyOrder = (epoch, step) => new CounterRandom(context.Spec.Seed, s_keyOrder, StepOf(epoch, step)).Permutation(training.BatchSize);
        Range rows = _shards.FirstRow..(_shards.FirstRow + _shards.Rows);
        int[] queries = [.. Enumerable.Range(_shards.FirstRow, _shards.Rows)];
        _loader = new ClipBatchLoader(
            [.. stores.Select(ClipView.Of)],
            items,
            Augmentations.Of(context.Spec),
            Augmentations.Loading(context, training.BatchSize),
            (epoch, step) => new BatchSlots(queries, _keyOrder(epoch, step)[rows]));
    }

    /// <summary>Steps of an epoch; the last, smaller batch is dropped.</summary>
    public int StepsPerEpoch => _loader.StepsPerEpoch;

    /// <summary>Time that steps have waited for batches.</summary>
    public TimeSpan Waited => _waitedBefore + _loader.Wait.Waited;

    /// <summary>Opens the stores that a stage needs.</summary>
    /// <exception cref="UserErrorException">A store is missing (66), or there are too few or unlabelled videos (65, 78).</exception>
    public static TrainingData Open(StageContext context)
    {
        ExperimentSpec spec = context.Spec;
        View[] views = context.Stage.Joint || context.Stage.MineWith != null ? [context.View, context.View.Other()] : [context.View];
        var stores = new List<ClipStore>();
        try
        {
            stores.AddRange(views.Select(v => context.OpenStore(v == View.Rgb ? "decode" : "flow")));

            IReadOnlyList<ClipItem> items = Videos(spec, stores);
            if (spec.Evaluation.Monitor is { Enabled: true, HoldOut: true })
            {
                items = [.. TrainingMonitor.Split(spec, items).Kept.Select(i => items[i])];
            }

            if (spec.Training.Method.Traits().NeedsLabels && items.Any(i => i.Label < 0))
            {
                throw new UserErrorException(
                    $"training.method: {spec.Training.Method.DisplayName()} needs a label for every training video, and {items.Count(i => i.Label < 0)} of {items.Count} have none: "
                    + "label them or choose InfoNCE or CoCLR.",
                    ExitCodes.BadData);
            }

            return new TrainingData(stores, views, items, context);
        }
        catch
        {
            stores.ForEach(s => s.Dispose());
            throw;
        }
    }

    /// <summary>
    /// The training videos that every store has; all videos where there is no split. Half a clip of padding is allowed, as in the
    /// reference: for 32 frames, videos of 17 or
    /// fewer are left out (method.md 1d).
    /// </summary>
    public static IReadOnlyList<ClipItem> Videos(ExperimentSpec spec, IReadOnlyList<ClipStore> stores)
    {
        int minimumFrames = (spec.Clip.Frames / 2) + 2;
        IReadOnlyList<ClipItem> items = ClipItem.FromStores(stores, VideoSplit.Train, minimumFrames);
        return items.Count > 0 ? items : ClipItem.FromStores(stores, VideoSplit.None, minimumFrames);
    }

    /// <summary>The batches of an epoch from a step on; each is valid until the next is asked for.</summary>
    /// <param name="epoch">Epoch; negative ones are passes before training.</param>
    /// <param name="fromStep">Step to begin at.</param>
    public IEnumerable<TrainingBatch> Epoch(int epoch, int fromStep)
    {
        if (_next != (epoch, fromStep))
        {
            _waitedBefore += _loader.Wait.Waited;
            _loader.StartAt(epoch, fromStep);
        }

        for (int step = fromStep; step < StepsPerEpoch; step++)
        {
            using ClipBatch batch = _loader.Next()!;
            _next = step + 1 < StepsPerEpoch ? (epoch, step + 1) : (epoch + 1, 0);
            using Tensor labels = DeviceTensors.Longs(batch.Labels, _device);
            using Tensor groups = DeviceTensors.Longs(batch.Groups, _device);
            Dictionary<View, Tensor> clips = _views.Select((v, i) => (v, i)).ToDictionary(v => v.v, v => batch.Views[v.i]);
            yield return new TrainingBatch(clips, batch.Items, labels, groups)
            {
                Shards = _shards,
                KeyOrder = _keyOrder(epoch, step),
            };
        }
    }

    /// <summary>Labels of the videos, -1 where unknown.</summary>
    public IReadOnlyList<int> Labels => [.. _loader.Items.Select(i => i.Label)];

    /// <summary>Source groups of the videos.</summary>
    public IReadOnlyList<int> Groups => [.. _loader.Items.Select(i => i.Group)];

    /// <summary>
    /// Every video as a whole under an encoder of one of the views, one row of unit length each (<see cref="VideoDescriptions"/>).
    /// </summary>
    public float[] Describe(StageContext context, VideoEncoder encoder, View view, MiningSpace space)
    {
        int which = _views.ToList().IndexOf(view);
        return VideoDescriptions.Of(
            context, encoder, _stores[which], [.. _loader.Items.Select(i => i with { VideoInView = [i.VideoInView[which]] })], space, $"describe videos, {view.Name()}");
    }

    /// <summary>Id of a video.</summary>
    public string Id(int item) => Video(item).Id;

    /// <summary>Class of a video, or null.</summary>
    public string? ClassOf(int item) => Video(item).Class;

    public void Dispose()
    {
        _loader.Dispose();
        foreach (ClipStore store in _stores)
        {
            store.Dispose();
        }
    }

    private ClipStoreVideo Video(int item) => _stores[0].Videos[_loader.Items[item].VideoInView[0]];
}

/// <summary>From a spec to the settings of the loaders.</summary>
internal static class Augmentations
{
    public static AugmentationOptions Of(ExperimentSpec spec)
    {
        AugmentationSpec a = spec.Augmentation;
        bool reference = spec.Training.Compatibility == Compatibility.Reference;
        var options = new AugmentationOptions
        {
            Size = spec.Clip.Size,
            MinimumArea = Decimals.Parse(a.MinCropArea),
            FlipProbability = Decimals.Parse(a.FlipProbability),
            NegateFlippedFlow = a.NegateFlippedFlow && !reference,
            FlowColor = a.FlowColor || reference,
            FlowMagnitude = reference ? 0 : Decimals.Parse(a.FlowMagnitude),
            GrayPerFrame = a.GrayPerFrame || reference,
            ReferenceCompatibility = reference,
        };
        return a.Color ? options : options with { JitterProbability = 0, GrayProbability = 0, BlurProbability = 0, ProbeJitterProbability = 0 };
    }

    public static LoaderOptions Loading(StageContext context, int batchSize) => new()
    {
        BatchSize = batchSize,
        Frames = context.Spec.Clip.Frames,
        FrameStride = context.Spec.Clip.Stride,
        Seed = context.Spec.Seed,
        Device = context.Device,
    };
}
