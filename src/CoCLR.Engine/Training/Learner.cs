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
using CoCLR.Engine.Training.Optimization;
using TorchSharp;
using static TorchSharp.torch;

namespace CoCLR.Engine.Training;

/// <summary>The keys of one batch, as the queue takes them.</summary>
/// <param name="First">Keys of the (first) learning view [B,dim].</param>
/// <param name="Second">Keys of the other view, where the stage sees it.</param>
/// <param name="Batch">Whose they are.</param>
/// <param name="Step">The step that made them; negative while the queue is filled before training.</param>
internal sealed record BatchKeys(Tensor First, Tensor? Second, TrainingBatch Batch, long Step);

/// <summary>Everything that one step made.</summary>
/// <param name="Loss">Scalar with a graph.</param>
/// <param name="Keys">The batch's keys.</param>
/// <param name="Positives">Boolean [B,1+K], before the own key is masked.</param>
/// <param name="Numbers">Scalars on the device by <see cref="MetricNames"/>, the loss among them.</param>
/// <param name="Mined">What was mined, if anything.</param>
/// <param name="Trains">False while the published code waits for its queue.</param>
internal sealed record LearningStep(Tensor Loss, BatchKeys Keys, Tensor Positives, IReadOnlyDictionary<string, Tensor> Numbers, MinedEntries? Mined, bool Trains);

/// <summary>A view that learns.</summary>
internal sealed record LearningView(View View, MomentumEncoder Encoder);

/// <summary>A method at work on the encoders of one stage: one view that learns, alone or with a frozen miner beside it, or both views.</summary>
internal sealed class Learner : IDisposable
{
    private static readonly ulong s_keyOrder = CounterRandom.Purpose("training/key-order");
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
    private VideoNeighbours? _neighbours;

    /// <summary>Sets a method to work. The encoders become the learner's.</summary>
    /// <param name="spec">Sizes, temperature, mining.</param>
    /// <param name="method">The formula.</param>
    /// <param name="views">One view, or RGB and flow.</param>
    /// <param name="miner">The other view's frozen encoder, in a turn of co-training.</param>
    /// <param name="device">Where the encoders are.</param>
    public Learner(ExperimentSpec spec, ContrastiveMethod method, LearningView[] views, FrozenMiner? miner, Device device)
    {
        (_spec, _method, _views, _miner, _device) = (spec, method, views, miner, device);
        _minesVideos = miner != null && spec.Cotrain.MineAmong == MiningScope.Videos;
        bool second = views.Length > 1 || (miner != null && !_minesVideos);
        _queue = new KeyQueue(views[0].Encoder.Query.Head.Dim, spec.Training.QueueSize, second, spec.Seed, device, second ? miner?.KeySize : null);
        _clips = second || _minesVideos ? new QueueClips(spec.Training.QueueSize) : null;
        // The published code compares with earlier batches only.
        _batchNegatives = spec.Training.BatchNegatives && spec.Training.Compatibility == Compatibility.Platform;
    }

    /// <summary>What the optimizer moves.</summary>
    public IEnumerable<ParameterGroup> Parameters => _views.Select(view => new ParameterGroup(
        [.. ParameterGroup.Of(view.Encoder.Query).Parameters.Select(p => (ViewPrefix(view) + p.Name, p.Parameter))]));

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
        return new Learner(stage.Kind == StageKind.Cotrain ? context.Spec.AsTurn() : context.Spec, ContrastiveMethod.Of(here), views, miner, context.Device);
    }

    /// <summary>
    /// With <c>cotrain.mineAmong: videos</c>, describes every training video once and finds its neighbours for the whole turn. Call it before the first step; a resumed turn has them
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

    /// <summary>Forward passes and loss of one batch: moves the key encoders and batch norms' running statistics, and with <see cref="TrainingSpec.BatchNegatives"/> the queue.</summary>
    public LearningStep Learn(TrainingBatch batch, long step)
    {
        Tensor[] queries = [.. _views.Select(v => v.Encoder.Query.forward(batch.Clip(v.View, 0)))];
        Array.ForEach(_views, v => v.Encoder.Update());
        BatchKeys keys = EncodeKeys(batch, step);
        Tensor? own = null;
        if (_batchNegatives)
        {
            own = _queue.OwnColumns(batch.Size);
            Enqueue(keys);
        }

        MethodStep made = _method.Learn(new Comparison
        {
            First = new ViewEmbeddings(queries[0], keys.First, _queue.Keys),
            Second = keys.Second is { } second ? new ViewEmbeddings(queries.ElementAtOrDefault(1), second, _queue.SecondKeys!) : null,
            MinerSimilarity = _minesVideos ? null : _miner?.Similarity(keys.Second!, _queue.SecondKeys!),
            Neighbours = _neighbours?.Among(batch.Items, _clips!.Items),
            Queue = _queue,
            Groups = batch.Groups,
            Labels = batch.Labels,
            Own = own,
            Temperature = Decimals.Parse(_spec.Training.Temperature),
            TopK = _spec.Cotrain.TopK,
            MasksSelf = new CounterRandom(_spec.Seed, s_selfMasking, step).Bernoulli(Decimals.Parse(_spec.Cotrain.SelfMasking)),
            Step = step,
        });
        bool trains = !_method.WaitsForFullQueue || _queue.IsFull || _spec.Training.Compatibility == Compatibility.Platform;
        return new LearningStep(made.Loss, keys, made.Positives, Numbers(made), made.Mined, trains);
    }

    /// <summary>Ends a step: its keys are in the queue from now on.</summary>
    public void Remember(LearningStep step)
    {
        if (!_batchNegatives)
        {
            Enqueue(step.Keys);
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
                stop.ThrowIfCancellationRequested();
                using DisposeScope scope = NewDisposeScope();
                Enqueue(EncodeKeys(batch, -steps + done));
                progress(++done * batchSize, _spec.Training.QueueSize);
                if (done == steps)
                {
                    break;
                }
            }
        }
    }

    /// <summary>A few anchors of a step with the clips that were mined for them; ask before <see cref="Remember"/>, which replaces some.</summary>
    public IReadOnlyList<MinedAnchor> MinedAnchors(LearningStep step, TrainingData data, int count) => _neighbours is { } neighbours
        ? neighbours.Anchors(data, step.Keys.Batch.Items.Take(count))
        : step.Mined is { } mined && _clips != null
        ? _clips.Anchors(data, step.Keys.Batch, count, mined, _queue, step.Keys.Step)
        : [];

    /// <summary>Everything a resume needs, by name. The encoder that later stages take is <c>encoder.*</c>, with the view before it where both learn.</summary>
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

    private BatchKeys EncodeKeys(TrainingBatch batch, long step)
    {
        // Drawn from its coordinates, so that a resume normalises the key batch in the same order.
        int[] order = new CounterRandom(_spec.Seed, s_keyOrder, step).Permutation(_spec.Training.BatchSize);
        Tensor[] keys = [.. _views.Select(v => v.Encoder.EncodeKeys(batch.Clip(v.View, 1), order, _spec.Training.BatchNormGroups))];
        return new BatchKeys(keys[0], keys.ElementAtOrDefault(1) ?? (_minesVideos ? null : _miner?.Encode(batch.Clip(_miner.View, 1))), batch, step);
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
