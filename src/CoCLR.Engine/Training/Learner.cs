// Why this exists: a method needs encoders, a queue and an order of things around its formula; they are the same for every method.
using System.Globalization;
using CoCLR.Core.Events;
using CoCLR.Core.Manifests;
using CoCLR.Core.Planning;
using CoCLR.Engine.Context;
using CoCLR.Engine.Contrastive;
using CoCLR.Engine.Contrastive.Methods;
using CoCLR.Engine.Interop;
using CoCLR.Engine.Models;
using CoCLR.Engine.Collectives;
using CoCLR.Engine.Training.Optimization;
using TorchSharp;
using static TorchSharp.torch;

namespace CoCLR.Engine.Training;

/// <summary>The keys of one batch, of all its shards, as the queue takes them.</summary>
/// <param name="First">Keys of the (first) learning view [B,dim].</param>
/// <param name="Second">Keys of the other view, where the stage sees it.</param>
/// <param name="Batch">Whose they are.</param>
/// <param name="Step">The step that made them; negative while the queue is filled before training.</param>
internal sealed record BatchKeys(Tensor First, Tensor? Second, TrainingBatch Batch, long Step)
{
    /// <summary>Where a clip meets its own key in the queue, boolean [B,K]; null where the queue does not hold the batch yet.</summary>
    public Tensor? Own { get; init; }
}

/// <summary>Everything that one shard of a step made.</summary>
/// <param name="Loss">Scalar with a graph.</param>
/// <param name="Positives">Boolean [b,1+K], before the own key is masked.</param>
/// <param name="Numbers">Scalars on the device by <see cref="MetricNames"/>, the loss among them.</param>
/// <param name="Mined">What was mined, if anything.</param>
internal sealed record LearningStep(Tensor Loss, Tensor Positives, IReadOnlyDictionary<string, Tensor> Numbers, MinedEntries? Mined);

/// <summary>A view that learns.</summary>
internal sealed record LearningView(View View, MomentumEncoder Encoder);

/// <summary>
/// A method at work on the encoders of one stage: one view that learns, alone or with a frozen miner beside it, or both views.
/// </summary>
internal sealed class Learner : IDisposable
{
    private static readonly ulong s_selfMasking = CounterRandom.Purpose("training/self-masking");

    private readonly ExperimentSpec _spec;
    private readonly ContrastiveMethod _method;
    private readonly LearningView[] _views;
    private readonly FrozenMiner? _miner;
    private readonly KeyQueue _queue; // keys: the first learning view's; second keys: the other view's
    private readonly QueueClips? _clips;
    private readonly bool _batchNegatives;
    private readonly bool _minesVideos;
    private readonly Device _device;
    private readonly ICollective _ranks;
    private readonly ShardMean _keyMean;
    private VideoNeighbours? _neighbours;

    /// <summary>Sets a method to work. The encoders become the learner's.</summary>
    /// <param name="spec">Sizes, temperature, mining.</param>
    /// <param name="method">The formula.</param>
    /// <param name="views">One view, or RGB and flow.</param>
    /// <param name="miner">The other view's frozen encoder, in a turn of co-training.</param>
    /// <param name="device">Where the encoders are.</param>
    /// <param name="ranks">The processes that learn together; this one alone when null.</param>
    public Learner(
        ExperimentSpec spec, ContrastiveMethod method, LearningView[] views, FrozenMiner? miner, Device device, ICollective? ranks = null)
    {
        (_spec, _method, _views, _miner, _device, _ranks) = (spec, method, views, miner, device, ranks ?? Alone.Instance);
        _keyMean = new ShardMean(OwnShards.Of(spec.Training, _ranks), _ranks, [], [.. views.Select(v => v.Encoder.KeyTensors)]);
        _minesVideos = miner != null && spec.Cotrain.MineAmong == MiningScope.Videos;
        bool second = views.Length > 1 || (miner != null && !_minesVideos);
        _queue = new KeyQueue(views[0].Encoder.Query.Head.Dim, spec.Training.QueueSize, second, spec.Seed, device, second ? miner?.KeySize : null);
        _clips = second || _minesVideos ? new QueueClips(spec.Training.QueueSize) : null;
        // The published code compares with earlier batches only.
        _batchNegatives = spec.Training.BatchNegatives && spec.Training.Compatibility == Compatibility.Platform;
    }

    /// <summary>What the optimizer moves.</summary>
    public IEnumerable<ParameterGroup> Parameters => _views.Select(view => view.Encoder.Trained(ViewPrefix(view)));

    /// <summary>The networks that the optimizer moves, flat.</summary>
    public IReadOnlyList<FlatModule> Networks => [.. _views.Select(view => view.Encoder.QueryTensors)];

    /// <summary>False while the published code waits for its queue.</summary>
    public bool Trains => !_method.WaitsForFullQueue || _queue.IsFull || _spec.Training.Compatibility == Compatibility.Platform;

    /// <summary>The encoder of the (first) learning view.</summary>
    public VideoEncoder Trained => _views[0].Encoder.Query;

    /// <summary>The keys that batches are compared with.</summary>
    public KeyQueue Queue => _queue;

    /// <summary>The learner of a stage, with the encoders that its plan names.</summary>
    public static Learner Create(StageContext context)
    {
        Stage stage = context.Stage;
        Method method = context.Spec.Training.Method;
        bool seesBoth = stage.Joint || stage.MineWith != null;
        // Before its turns, and where a shared stage has trained both, a view alone is InfoNCE's.
        Method here = method.Traits().NeedsBothViews && !seesBoth ? Method.InfoNCE : method;
        LearningView[] views = stage.Joint
            ? [Momentum(context, stage.InitializeFrom, View.Rgb), Momentum(context, stage.MineWith, View.Flow)]
            : [Momentum(context, stage.InitializeFrom, context.View)];
        FrozenMiner? miner = seesBoth && !stage.Joint
            ? new FrozenMiner(Encoder(context, stage.MineWith, context.View.Other()), context.View.Other(), context.Spec.Cotrain.MineIn)
            : null;
        ExperimentSpec spec = stage.Kind == StageKind.Cotrain ? context.Spec.AsTurn() : context.Spec;
        return new Learner(spec, ContrastiveMethod.Of(here), views, miner, context.Device, context.Ranks);
    }

    /// <summary>
    /// With <c>cotrain.mineAmong: videos</c>, describes every training video once and finds its neighbours for the whole turn. Call it
    /// before the first step; a resumed turn has them
    /// from its checkpoint.
    /// </summary>
    public void FindNeighbours(StageContext context, TrainingData data)
    {
        if (!_minesVideos)
        {
            return;
        }

        MiningSpace space = _spec.Cotrain.MineIn;
        var descriptions = new List<float[]> { data.Describe(context, _miner!.Encoder, _miner.View, space) };
        if (_spec.Cotrain.MineWith == MiningViews.Both)
        {
            descriptions.Add(data.Describe(context, Trained, _views[0].View, space));
        }

        _neighbours = VideoNeighbours.Find(descriptions, data.Groups, _spec.Cotrain.TopK, _spec.Cotrain.Mutual, _device);
        (double precision, double chance) = _neighbours.Quality(data.Labels, data.Groups);
        context.Events.Log(double.IsFinite(precision)
            ? string.Create(CultureInfo.InvariantCulture, $"neighbours of {data.Labels.Count} videos, {_spec.Cotrain.TopK} each: {100 * precision:0.0} % of their own class (chance {100 * chance:0.0} %)")
            : $"neighbours of {data.Labels.Count} videos, {_spec.Cotrain.TopK} each");
    }

    /// <summary>
    /// The first half of a step: moves the key encoders and makes the keys of all shards, on all ranks. With <see
    /// cref="TrainingSpec.BatchNegatives"/> the queue takes them now, so that
    /// every shard is compared with the keys of the whole batch; else after the step.
    /// </summary>
    public BatchKeys EncodeKeys(TrainingBatch batch, long step)
    {
        Array.ForEach(_views, v => v.Encoder.Update());
        BatchKeys keys = Keys(batch, step);
        if (_batchNegatives)
        {
            keys = keys with { Own = _queue.OwnColumns(batch.Size) };
            Enqueue(keys);
        }

        return keys;
    }

    /// <summary>
    /// The second half, for one shard: its queries, compared with their keys and the queue. Moves batch norms' running statistics.
    /// </summary>
    /// <param name="keys">Keys of the batch.</param>
    /// <param name="shard">A shard of this process, from 0.</param>
    public LearningStep Learn(BatchKeys keys, int shard = 0)
    {
        TrainingBatch batch = keys.Batch;
        Tensor Rows(Tensor whole) => batch.RowsOf(whole, shard);
        Tensor[] queries = [.. _views.Select(v => v.Encoder.Query.forward(batch.Queries(v.View, shard)))];
        Tensor? second = keys.Second is { } all ? Rows(all) : null;
        int first = batch.Shards.FirstRow + (shard * batch.Shards.Size);
        MethodStep made = _method.Learn(new Comparison
        {
            First = new ViewEmbeddings(queries[0], Rows(keys.First), _queue.Keys),
            Second = second is null ? null : new ViewEmbeddings(queries.ElementAtOrDefault(1), second, _queue.SecondKeys!),
            MinerSimilarity = _minesVideos ? null : _miner?.Similarity(second!, _queue.SecondKeys!),
            Neighbours = _neighbours?.Among(batch.Items[first..(first + batch.Shards.Size)], _clips!.Items),
            Queue = _queue,
            Groups = Rows(batch.Groups),
            Labels = Rows(batch.Labels),
            Own = keys.Own is { } own ? Rows(own) : null,
            Temperature = Decimals.Parse(_spec.Training.Temperature),
            TopK = _spec.Cotrain.TopK,
            MasksSelf = new CounterRandom(_spec.Seed, s_selfMasking, keys.Step).Bernoulli(Decimals.Parse(_spec.Cotrain.SelfMasking)),
            Step = keys.Step,
        });
        return new LearningStep(made.Loss, made.Positives, Numbers(made), made.Mined);
    }

    /// <summary>
    /// Takes every pass of a step on blank clips, to see whether it fits the memory. Moves running statistics: not for a learner that goes on.
    /// </summary>
    /// <param name="batch">Clips a view.</param>
    /// <param name="frames">Frames of a clip.</param>
    /// <param name="size">Side of a frame.</param>
    /// <returns>A scalar with a graph.</returns>
    public Tensor Try(int batch, int frames, int size)
    {
        Tensor clips = zeros([batch, 2, 3, frames, size, size], device: _device);
        Tensor[] queries = [.. _views.Select(v => v.Encoder.Query.forward(clips.select(1, 0)))];
        foreach (LearningView view in _views)
        {
            _ = view.Encoder.EncodeKeys(clips.select(1, 1), _spec.Training.BatchNormGroups);
        }

        _ = _miner?.Encode(clips.select(1, 1));
        return stack([.. queries.Select(q => q.sum())]).sum();
    }

    /// <summary>Ends a step: its keys are in the queue from now on.</summary>
    public void Remember(BatchKeys keys)
    {
        if (!_batchNegatives)
        {
            Enqueue(keys);
        }
    }

    /// <summary>Fills the queue with forward passes only, so that every step has all its negatives (method.md part 2).</summary>
    public void FillQueue(TrainingData data, Action<long, long> progress, CancellationToken stop)
    {
        using var frozen = no_grad();
        int batchSize = _spec.Training.BatchSize;
        long steps = _spec.Training.QueueSize / batchSize;
        for (long done = 0, pass = 1; done < steps; pass++) // negative epochs: the clips of a pass before training
        {
            foreach (TrainingBatch batch in data.Epoch(-(int)pass, 0))
            {
                if (_ranks.Any(stop.IsCancellationRequested))
                {
                    throw new OperationCanceledException(stop);
                }

                using DisposeScope scope = NewDisposeScope();
                Enqueue(Keys(batch, -steps + done));
                progress(++done * batchSize, _spec.Training.QueueSize);
                if (done == steps)
                {
                    break;
                }
            }
        }
    }

    /// <summary>
    /// A few anchors of the batch's first shard with the clips that were mined for them; ask before <see cref="Remember"/>, which
    /// replaces some.
    /// </summary>
    public IReadOnlyList<MinedAnchor> MinedAnchors(BatchKeys keys, LearningStep step, TrainingData data, int count) =>
        _neighbours is { } neighbours
        ? neighbours.Anchors(data, keys.Batch.Items.Take(count))
        : step.Mined is { } mined && _clips != null
        ? _clips.Anchors(data, keys.Batch, count, mined, _queue, keys.Step)
        : [];

    /// <summary>
    /// Everything a resume needs, by name. The encoder that later stages take is <c>encoder.*</c>, with the view before it where both
    /// learn.
    /// </summary>
    public IReadOnlyDictionary<string, Tensor> State()
    {
        var state = new Dictionary<string, Tensor>();
        if (_clips != null)
        {
            state[QueueClips.Name] = _clips.Items;
        }

        foreach (LearningView view in _views)
        {
            Add(ViewPrefix(view) + "encoder.", ModuleState.Of(view.Encoder.Query));
            Add(ViewPrefix(view) + "key.", ModuleState.Of(view.Encoder.Key));
        }

        Add("queue.", _queue.State());
        Add("", _neighbours?.State() ?? []);
        return state;

        void Add(string prefix, IEnumerable<KeyValuePair<string, Tensor>> tensors)
        {
            foreach ((string name, Tensor tensor) in tensors)
            {
                state[prefix + name] = tensor;
            }
        }
    }

    /// <summary>Takes over a checkpoint of the same stage.</summary>
    public void Load(Checkpoint checkpoint, string where)
    {
        foreach (LearningView view in _views)
        {
            checkpoint.CopyTo(view.Encoder.Query, ViewPrefix(view) + "encoder.", where);
            checkpoint.CopyTo(view.Encoder.Key, ViewPrefix(view) + "key.", where);
        }

        _queue.Load(checkpoint.Under("queue."));
        _clips?.Items.copy_(checkpoint.Tensors[QueueClips.Name]);
        _neighbours = VideoNeighbours.From(checkpoint.Tensors, _device);
    }

    public void Dispose()
    {
        foreach (LearningView view in _views)
        {
            view.Encoder.Query.Dispose();
            view.Encoder.Dispose();
        }

        _miner?.Dispose();
        _neighbours?.Dispose();
        _queue.Dispose();
        _clips?.Items.Dispose();
    }

    private string ViewPrefix(LearningView view) => _views.Length > 1 ? view.View.Name() + "." : "";

    private void Enqueue(BatchKeys keys)
    {
        _clips?.Remember(_queue.Next, keys.Batch.Items);
        _queue.Enqueue(keys.First, keys.Second, keys.Batch.Groups, keys.Batch.Labels, keys.Step);
    }

    private BatchKeys Keys(TrainingBatch batch, long step)
    {
        var parts = new List<Tensor[]>();
        _keyMean.Over(shard =>
        {
            IEnumerable<Tensor> made = _views.Select(v => v.Encoder.EncodeKeys(batch.Keys(v.View, shard), _spec.Training.BatchNormGroups));
            if (_miner is not null && !_minesVideos)
            {
                made = made.Append(_miner.Encode(batch.Keys(_miner.View, shard)));
            }

            parts.Add([.. made]);
        });
        return new BatchKeys(Gather(parts, 0, batch.KeyOrder)!, Gather(parts, 1, batch.KeyOrder), batch, step);
    }

    /// <summary>
    /// The keys of all shards on all ranks, put back from the order in which they were normalised into the batch's; null where there are
    /// none.
    /// </summary>
    private Tensor? Gather(List<Tensor[]> shards, int which, int[] order)
    {
        if (shards[0].Length <= which)
        {
            return null;
        }

        using DisposeScope scope = NewDisposeScope();
        using var frozen = no_grad();
        long[] back = new long[order.Length];
        for (int i = 0; i < order.Length; i++)
        {
            back[order[i]] = i;
        }

        Tensor all = _ranks.AllGather(cat([.. shards.Select(s => s[which])], 0));
        return all.index_select(0, tensor(back, device: _device)).MoveToOuterDisposeScope();
    }

    private static Dictionary<string, Tensor> Numbers(MethodStep made)
    {
        PretextAccuracy accuracy = PretextMetrics.Accuracy(made.Logits, made.Positives);
        var numbers = new Dictionary<string, Tensor>
        {
            [MetricNames.Top1] = accuracy.Top1,
            [MetricNames.Top5] = accuracy.Top5,
            [MetricNames.SelfTop1] = accuracy.SelfTop1,
            [MetricNames.Loss] = made.Loss,
        };
        if (made.Mined is { } mined)
        {
            numbers[MetricNames.MiningPrecision] = mined.Precision;
            numbers[MetricNames.MiningAgreement] = mined.Agreement;
            numbers[MetricNames.MiningAge] = mined.MeanAge;
        }

        return numbers;
    }

    private static LearningView Momentum(StageContext context, string? fromStage, View view)
    {
        VideoEncoder query = Encoder(context, fromStage, view);
        VideoEncoder key = Encoder(context, fromStage, view); // with the checkpoint's batch-norm buffers, as the reference loads both
        query.train();
        key.train();
        return new LearningView(view, new MomentumEncoder(query, key, Decimals.Parse(context.Spec.Training.Momentum)));
    }

    /// <summary>An encoder of this experiment, with the weights of a stage's checkpoint or fresh ones.</summary>
    private static VideoEncoder Encoder(StageContext context, string? fromStage, View view)
    {
        VideoEncoder encoder = EncoderFactory.Create(context.Spec, view, context.Device);
        encoder.Backbone.Precision = context.Spec.Training.Precision;
        if (fromStage != null)
        {
            using DisposeScope scope = NewDisposeScope();
            using Checkpoint checkpoint = CheckpointStore.Load(context.Folder.Stage(fromStage));
            checkpoint.CopyTo(encoder, EncoderFactory.PrefixIn(context.Plan[fromStage], view), context.Folder.Stage(fromStage));
        }

        return encoder;
    }
}
