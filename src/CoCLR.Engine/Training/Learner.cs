// Why this exists: what differs between the methods: which encoders there are, what is a positive, what a checkpoint holds.
using CoCLR.Core.Events;
using CoCLR.Core.Manifests;
using CoCLR.Core.Planning;
using CoCLR.Engine.Contrastive;
using CoCLR.Engine.Interop;
using CoCLR.Engine.Models;
using CoCLR.Engine.Stages;
using CoCLR.Engine.Training.Optimization;
using TorchSharp;
using static TorchSharp.torch;

namespace CoCLR.Engine.Training;

/// <summary>What one step gave.</summary>
/// <param name="Loss">Scalar with a graph.</param>
/// <param name="Values">Measured numbers by <see cref="MetricNames"/>.</param>
/// <param name="Trains">False while the reference waits for its queue.</param>
internal sealed record StepOutcome(Tensor Loss, IReadOnlyDictionary<string, double> Values, bool Trains = true);

/// <summary>A method at work on the encoders of one stage.</summary>
internal abstract class Learner : IDisposable
{
    private static readonly ulong s_keyOrder = CounterRandom.Purpose("training/key-order");
    private static readonly ulong s_selfMasking = CounterRandom.Purpose("training/self-masking");

    protected Learner(StageContext context)
    {
        Context = context;
        Temperature = Decimals.Parse(context.Spec.Training.Temperature);
    }

    /// <summary>What the optimizer moves.</summary>
    public abstract IEnumerable<ParameterGroup> Parameters { get; }

    protected StageContext Context { get; }

    protected double Temperature { get; }

    protected TrainingSpec Training => Context.Spec.Training;

    protected CotrainSpec Cotrain => Context.Spec.Cotrain;

    /// <summary>The learner of a stage, with the encoders that its plan names.</summary>
    public static Learner Create(StageContext context, TrainingData data)
    {
        Stage stage = context.Stage;
        return stage.Joint ? new JointLearner(context, data)
            : stage.Kind == StageKind.Cotrain && stage.MineWith != null ? new CoClrLearner(context, data)
            : new SingleViewLearner(context);
    }

    /// <summary>Forward passes and loss of one batch; nothing is changed but batch-norm buffers and the key encoder.</summary>
    public abstract StepOutcome Learn(TrainingBatch batch, int epoch, long step);

    /// <summary>Ends a step: the batch's keys are in the queue from now on.</summary>
    public void Remember(long step)
    {
        if (!BatchNegatives)
        {
            Enqueue(step);
        }
    }

    /// <summary>Fills the queue with forward passes only, so that every step has all its negatives (method.md part 2).</summary>
    public void FillQueue(TrainingData data, Action<long, long> progress, CancellationToken stop)
    {
        using var frozen = no_grad();
        long steps = Training.QueueSize / Training.BatchSize;
        for (long done = 0, pass = 1; done < steps; pass++) // negative epochs: the clips of a pass before training
        {
            foreach (TrainingBatch batch in data.Epoch(-(int)pass, 0))
            {
                stop.ThrowIfCancellationRequested();
                using DisposeScope scope = NewDisposeScope();
                EncodeKeys(batch, -(int)pass, -steps + done);
                Enqueue(-steps + done);
                progress(++done * Training.BatchSize, Training.QueueSize);
                if (done == steps)
                {
                    break;
                }
            }
        }
    }

    /// <summary>A few anchors of the last batch with the clips that were mined for them.</summary>
    public virtual IReadOnlyList<MinedAnchor> MinedAnchors(TrainingBatch batch, int count) => [];

    /// <summary>Everything a resume needs, by name. The encoder that later stages take is <c>encoder.*</c>.</summary>
    public abstract IReadOnlyDictionary<string, Tensor> State();

    /// <summary>Takes over a checkpoint of the same stage.</summary>
    public abstract void Load(Checkpoint checkpoint, string where);

    /// <summary>Adds the architecture to a checkpoint's description.</summary>
    public CheckpointInfo Describe(CheckpointInfo info) => info with
    {
        Architecture = Context.Spec.Model.Backbone.ToString(),
        Width = Context.Spec.Model.Backbone == BackboneName.S3DMini ? Decimals.Parse(Context.Spec.Model.Width) : 1,
        ProjectionSize = Context.Spec.Model.ProjectionSize,
    };

    public abstract void Dispose();

    // The published code compares with earlier batches only.
    private bool BatchNegatives => Training.BatchNegatives && Training.Compatibility == Compatibility.Platform;

    /// <summary>Puts the batch's keys into the queue.</summary>
    protected abstract void Enqueue(long step);

    /// <summary>With <see cref="TrainingSpec.BatchNegatives"/>, takes the batch's keys into the queue and says where a clip meets its own, boolean [B,K]; null without.</summary>
    protected Tensor? TakeInBatch(KeyQueue queue, TrainingBatch batch, long step)
    {
        if (!BatchNegatives)
        {
            return null;
        }

        Tensor own = queue.OwnColumns(batch.Size);
        Enqueue(step);
        return own;
    }

    protected abstract void EncodeKeys(TrainingBatch batch, int epoch, long step);

    /// <summary>An encoder of this experiment, with the weights of a stage's checkpoint or fresh ones.</summary>
    protected VideoEncoder Encoder(string? fromStage, View view)
    {
        VideoEncoder encoder = EncoderFactory.Create(Context.Spec, view, Context.Device);
        encoder.Backbone.Precision = Training.Precision;
        if (fromStage != null)
        {
            using DisposeScope scope = NewDisposeScope();
            using Checkpoint checkpoint = CheckpointStore.Load(Context.Folder.Stage(fromStage));
            checkpoint.CopyTo(encoder, EncoderFactory.PrefixIn(Context.Plan[fromStage], view), Context.Folder.Stage(fromStage));
        }

        return encoder;
    }

    protected MomentumEncoder Momentum(string? fromStage, View view)
    {
        VideoEncoder query = Encoder(fromStage, view);
        VideoEncoder key = Encoder(fromStage, view); // with the checkpoint's batch-norm buffers, as the reference loads both
        query.train();
        key.train();
        return new MomentumEncoder(query, key, Decimals.Parse(Training.Momentum));
    }

    protected KeyQueue Queue(bool second, int? secondDim = null) => new(Context.Spec.Model.ProjectionSize, Training.QueueSize, second, Context.Spec.Seed, Context.Device, secondDim);

    /// <summary>The order in which the key batch is normalised; drawn from its coordinates, so that a resume draws the same.</summary>
    protected int[] KeyOrder(long step) => new CounterRandom(Context.Spec.Seed, s_keyOrder, step).Permutation(Training.BatchSize);

    /// <summary>Whether this step leaves a clip's own key out of its positives (method.md 1a).</summary>
    protected bool MasksSelf(long step) => new CounterRandom(Context.Spec.Seed, s_selfMasking, step).Bernoulli(Decimals.Parse(Cotrain.SelfMasking));

    protected static Dictionary<string, double> PretextValues(Tensor logits, Tensor positives)
    {
        PretextAccuracy accuracy = PretextMetrics.Accuracy(logits, positives);
        return new Dictionary<string, double> { [MetricNames.Top1] = accuracy.Top1, [MetricNames.Top5] = accuracy.Top5, [MetricNames.SelfTop1] = accuracy.SelfTop1 };
    }

    protected static void AddState(Dictionary<string, Tensor> state, string prefix, IEnumerable<KeyValuePair<string, Tensor>> tensors)
    {
        foreach ((string name, Tensor tensor) in tensors)
        {
            state[prefix + name] = tensor;
        }
    }

    protected static void AddState(Dictionary<string, Tensor> state, string prefix, MomentumEncoder momentum)
    {
        AddState(state, prefix + "encoder.", ModuleState.Of(momentum.Query));
        AddState(state, prefix + "key.", ModuleState.Of(momentum.Key));
    }

    protected static void LoadInto(MomentumEncoder momentum, Checkpoint checkpoint, string prefix, string where)
    {
        checkpoint.CopyTo(momentum.Query, prefix + "encoder.", where);
        checkpoint.CopyTo(momentum.Key, prefix + "key.", where);
    }
}

/// <summary>InfoNCE and UberNCE: one view, its queue (paper, section 3.1).</summary>
internal sealed class SingleViewLearner : Learner
{
    private readonly MomentumEncoder _momentum;
    private readonly KeyQueue _queue;
    private Tensor _keys = null!;
    private TrainingBatch _batch = null!;

    public SingleViewLearner(StageContext context)
        : base(context)
    {
        _momentum = Momentum(context.Stage.InitializeFrom, context.View);
        _queue = Queue(second: false);
        Parameters = [ParameterGroup.Of(_momentum.Query)];
    }

    public override IEnumerable<ParameterGroup> Parameters { get; }

    public override StepOutcome Learn(TrainingBatch batch, int epoch, long step)
    {
        Tensor query = _momentum.Query.forward(batch.Clip(Context.View, 0));
        _momentum.Update();
        EncodeKeys(batch, epoch, step);
        Tensor? own = TakeInBatch(_queue, batch, step);
        Tensor logits = ContrastiveLogits.Of(query, _keys, _queue.Keys, Temperature, own);
        if (Training.Method == Method.UberNCE)
        {
            Tensor same = PositiveMask.Without(PositiveMask.ForUberNce(batch.Labels, _queue.Labels), own);
            return new StepOutcome(UberNce.Loss(logits, same), PretextValues(logits, same));
        }

        return new StepOutcome(InfoNce.Loss(logits), PretextValues(logits, PositiveMask.ForInfoNce(batch.Size, _queue.Length, Context.Device)));
    }

    protected override void Enqueue(long step) => _queue.Enqueue(_keys, null, _batch.Groups, _batch.Labels, step);

    public override IReadOnlyDictionary<string, Tensor> State()
    {
        var state = new Dictionary<string, Tensor>();
        AddState(state, "", _momentum);
        AddState(state, "queue.", _queue.State());
        return state;
    }

    public override void Load(Checkpoint checkpoint, string where)
    {
        LoadInto(_momentum, checkpoint, "", where);
        _queue.Load(checkpoint.Under("queue."));
    }

    public override void Dispose()
    {
        _momentum.Query.Dispose();
        _momentum.Dispose();
        _queue.Dispose();
    }

    protected override void EncodeKeys(TrainingBatch batch, int epoch, long step)
    {
        _batch = batch;
        _keys = _momentum.EncodeKeys(batch.Clip(Context.View, 1), KeyOrder(step), Training.BatchNormGroups);
    }
}

/// <summary>A turn of CoCLR: one view learns, the frozen encoder of the other mines its positives (paper, section 3.2, eq. 3).</summary>
internal sealed class CoClrLearner : Learner
{
    private readonly MomentumEncoder _momentum;
    private readonly VideoEncoder _miner;
    private readonly KeyQueue _queue;
    private readonly QueueClips _queueClips;
    private readonly TrainingData _data;
    private Tensor _keys = null!;
    private Tensor _minerKeys = null!;
    private TrainingBatch _batch = null!;
    private Tensor? _mined;
    private Tensor _minerSimilarity = null!;
    private Tensor _learnerSimilarity = null!;
    private long _step;

    public CoClrLearner(StageContext context, TrainingData data)
        : base(context)
    {
        _data = data;
        _momentum = Momentum(context.Stage.InitializeFrom, context.View);
        _miner = Encoder(context.Stage.MineWith, context.View.Other());
        _miner.eval();
        foreach (var parameter in _miner.parameters())
        {
            parameter.requires_grad = false;
        }

        _queue = Queue(second: true, MinesFeatures ? _miner.Backbone.FeatureSize : null);
        _queueClips = new QueueClips(Training.QueueSize);
        Parameters = [ParameterGroup.Of(_momentum.Query)];
    }

    public override IEnumerable<ParameterGroup> Parameters { get; }

    private bool MinesFeatures => Cotrain.MineIn == MiningSpace.Features;

    public override StepOutcome Learn(TrainingBatch batch, int epoch, long step)
    {
        Tensor query = _momentum.Query.forward(batch.Clip(Context.View, 0));
        _momentum.Update();
        EncodeKeys(batch, epoch, step);
        Tensor? own = TakeInBatch(_queue, batch, step);
        Tensor logits = ContrastiveLogits.Of(query, _keys, _queue.Keys, Temperature, own);

        _minerSimilarity = MinesFeatures ? PositiveMask.CentredSimilarity(_minerKeys, _queue.SecondKeys!) : _minerKeys.matmul(_queue.SecondKeys!);
        Tensor positives = PositiveMask.Without(PositiveMask.ForCoClr(batch.Groups, _queue.Videos, _minerSimilarity, Cotrain.TopK, _queue.IsFull), own);
        Tensor targets = MasksSelf(step) ? PositiveMask.WithoutOwnKey(positives) : positives;
        Tensor loss = CoClr.Loss(logits, targets);

        Dictionary<string, double> values = PretextValues(logits, positives);
        _mined = null;
        _step = step;
        if (Cotrain.TopK > 0 && _queue.IsFull)
        {
            _learnerSimilarity = logits.detach().narrow(1, 1, _queue.Length) * Temperature;
            Contrastive.MiningQuality mining = PretextMetrics.Mining(_learnerSimilarity, _minerSimilarity, batch.Groups, batch.Labels, _queue, Cotrain.TopK, step);
            (values[MetricNames.MiningPrecision], values[MetricNames.MiningAgreement], values[MetricNames.MiningAge]) = (mining.Precision, mining.Agreement, mining.MeanAge);
            _mined = mining.Indices;
        }

        return new StepOutcome(loss, values, Trains: _queue.IsFull || Training.Compatibility == Compatibility.Platform);
    }

    protected override void Enqueue(long step)
    {
        _queueClips.Remember(_queue.Next, _batch.Items);
        _queue.Enqueue(_keys, _minerKeys, _batch.Groups, _batch.Labels, step);
    }

    public override IReadOnlyList<MinedAnchor> MinedAnchors(TrainingBatch batch, int count) =>
        _mined is null ? [] : _queueClips.Anchors(_data, batch, count, _mined, _minerSimilarity, _learnerSimilarity, _queue, _step);

    public override IReadOnlyDictionary<string, Tensor> State()
    {
        var state = new Dictionary<string, Tensor> { [QueueClips.Name] = _queueClips.Items };
        AddState(state, "", _momentum);
        AddState(state, "queue.", _queue.State());
        return state;
    }

    public override void Load(Checkpoint checkpoint, string where)
    {
        LoadInto(_momentum, checkpoint, "", where);
        _queue.Load(checkpoint.Under("queue."));
        _queueClips.Items.copy_(checkpoint.Tensors[QueueClips.Name]);
    }

    public override void Dispose()
    {
        _momentum.Query.Dispose();
        _momentum.Dispose();
        _miner.Dispose();
        _queue.Dispose();
        _queueClips.Items.Dispose();
    }

    protected override void EncodeKeys(TrainingBatch batch, int epoch, long step)
    {
        _batch = batch;
        _keys = _momentum.EncodeKeys(batch.Clip(Context.View, 1), KeyOrder(step), Training.BatchNormGroups);
        using var frozen = no_grad();
        Tensor clips = batch.Clip(Context.View.Other(), 1);
        _minerKeys = MinesFeatures ? nn.functional.normalize(_miner.Backbone.Features(clips), 2, 1) : _miner.forward(clips);
    }
}

/// <summary>Which clip each entry of the queue is, so that people can see what was mined.</summary>
/// <param name="length">K.</param>
internal sealed class QueueClips(int length)
{
    /// <summary>Name in a checkpoint.</summary>
    public const string Name = "queueClips";

    /// <summary>Number in <see cref="TrainingData"/>, int64 [K]; -1 where empty.</summary>
    public Tensor Items { get; } = full([length], -1L, ScalarType.Int64).DetachFromDisposeScope();

    /// <summary>Notes the clips of a batch that is about to be enqueued.</summary>
    public void Remember(int at, int[] items)
    {
        for (int i = 0; i < items.Length; i++)
        {
            Items[(at + i) % length] = items[i];
        }
    }

    /// <summary>A few anchors with the clips that were mined for them.</summary>
    /// <param name="data">Names the clips.</param>
    /// <param name="batch">The anchors.</param>
    /// <param name="count">How many.</param>
    /// <param name="mined">Queue columns int64 [B,topK].</param>
    /// <param name="minerSimilarity">What mining ranked, [B,K].</param>
    /// <param name="learnerSimilarity">What the learning view sees, [B,K].</param>
    /// <param name="queue">The queue.</param>
    /// <param name="step">The step of the batch.</param>
    public IReadOnlyList<MinedAnchor> Anchors(TrainingData data, TrainingBatch batch, int count, Tensor mined, Tensor minerSimilarity, Tensor learnerSimilarity, KeyQueue queue, long step)
    {
        using DisposeScope scope = NewDisposeScope();
        using var frozen = no_grad();
        long[] columns = mined.to(CPU).data<long>().ToArray();
        long[] ranks = learnerSimilarity.argsort(1, descending: true).argsort(1).gather(1, mined).to(CPU).data<long>().ToArray();
        float[] miner = minerSimilarity.gather(1, mined).to(CPU).data<float>().ToArray();
        float[] learner = learnerSimilarity.gather(1, mined).to(CPU).data<float>().ToArray();
        long[] ages = queue.Age(step).to(CPU).data<long>().ToArray();
        int topK = (int)mined.shape[1];
        return [.. Enumerable.Range(0, Math.Min(count, batch.Size)).Select(row => new MinedAnchor
        {
            Video = data.Id(batch.Items[row]),
            Class = data.ClassOf(batch.Items[row]),
            Positives = [.. Enumerable.Range(row * topK, topK).Select(i => Positive(batch.Items[row], i))],
        })];

        MinedPositive Positive(int anchor, int i)
        {
            int clip = (int)Items[columns[i]].item<long>();
            string? ownClass = data.ClassOf(anchor);
            return new MinedPositive
            {
                Video = data.Id(clip),
                Class = data.ClassOf(clip),
                Similarity = miner[i],
                LearnerSimilarity = learner[i],
                LearnerRank = (int)ranks[i] + 1,
                Age = ages[columns[i]],
                Correct = ownClass == null ? null : ownClass == data.ClassOf(clip),
            };
        }
    }
}

/// <summary>Both views learn at once: CMC (each view's query against the other's keys), or simultaneous co-training (each mines for the other as it learns).</summary>
internal sealed class JointLearner : Learner
{
    private readonly MomentumEncoder _rgb;
    private readonly MomentumEncoder _flow;
    private readonly KeyQueue _queue; // keys: RGB; second keys: flow
    private readonly QueueClips _queueClips;
    private readonly TrainingData _data;
    private Tensor _rgbKeys = null!;
    private Tensor _flowKeys = null!;
    private TrainingBatch _batch = null!;
    private (Tensor Mined, Tensor Miner, Tensor Learner, long Step)? _mining;

    public JointLearner(StageContext context, TrainingData data)
        : base(context)
    {
        _data = data;
        _rgb = Momentum(context.Stage.InitializeFrom, View.Rgb);
        _flow = Momentum(context.Stage.MineWith, View.Flow);
        _queue = Queue(second: true);
        _queueClips = new QueueClips(Training.QueueSize);
        Parameters =
        [
            new ParameterGroup([.. ParameterGroup.Of(_rgb.Query).Parameters.Select(p => ("rgb." + p.Name, p.Parameter))]),
            new ParameterGroup([.. ParameterGroup.Of(_flow.Query).Parameters.Select(p => ("flow." + p.Name, p.Parameter))]),
        ];
    }

    public override IEnumerable<ParameterGroup> Parameters { get; }

    public override StepOutcome Learn(TrainingBatch batch, int epoch, long step)
    {
        Tensor rgb = _rgb.Query.forward(batch.Clip(View.Rgb, 0));
        Tensor flow = _flow.Query.forward(batch.Clip(View.Flow, 0));
        _rgb.Update();
        _flow.Update();
        EncodeKeys(batch, epoch, step);
        Tensor? own = TakeInBatch(_queue, batch, step);
        return Training.Method == Method.Cmc ? LearnAcross(rgb, flow, own) : LearnTogether(batch, rgb, flow, own, step);
    }

    protected override void Enqueue(long step)
    {
        _queueClips.Remember(_queue.Next, _batch.Items);
        _queue.Enqueue(_rgbKeys, _flowKeys, _batch.Groups, _batch.Labels, step);
    }

    public override IReadOnlyList<MinedAnchor> MinedAnchors(TrainingBatch batch, int count) =>
        _mining is { } m ? _queueClips.Anchors(_data, batch, count, m.Mined, m.Miner, m.Learner, _queue, m.Step) : [];

    public override IReadOnlyDictionary<string, Tensor> State()
    {
        var state = new Dictionary<string, Tensor> { [QueueClips.Name] = _queueClips.Items };
        AddState(state, "rgb.", _rgb);
        AddState(state, "flow.", _flow);
        AddState(state, "queue.", _queue.State());
        return state;
    }

    public override void Load(Checkpoint checkpoint, string where)
    {
        LoadInto(_rgb, checkpoint, "rgb.", where);
        LoadInto(_flow, checkpoint, "flow.", where);
        _queue.Load(checkpoint.Under("queue."));
        _queueClips.Items.copy_(checkpoint.Tensors[QueueClips.Name]);
    }

    public override void Dispose()
    {
        _rgb.Query.Dispose();
        _rgb.Dispose();
        _flow.Query.Dispose();
        _flow.Dispose();
        _queue.Dispose();
        _queueClips.Items.Dispose();
    }

    protected override void EncodeKeys(TrainingBatch batch, int epoch, long step)
    {
        _batch = batch;
        int[] order = KeyOrder(step);
        _rgbKeys = _rgb.EncodeKeys(batch.Clip(View.Rgb, 1), order, Training.BatchNormGroups);
        _flowKeys = _flow.EncodeKeys(batch.Clip(View.Flow, 1), order, Training.BatchNormGroups);
    }

    private StepOutcome LearnAcross(Tensor rgb, Tensor flow, Tensor? own)
    {
        (Tensor loss, Tensor rgbLogits, _) = Cmc.Loss(rgb, flow, _rgbKeys, _flowKeys, _queue.Keys, _queue.SecondKeys!, Temperature, own);
        return new StepOutcome(loss, PretextValues(rgbLogits, PositiveMask.ForInfoNce(_batch.Size, _queue.Length, Context.Device)));
    }

    private StepOutcome LearnTogether(TrainingBatch batch, Tensor rgb, Tensor flow, Tensor? own, long step)
    {
        Tensor rgbSimilarity = _rgbKeys.matmul(_queue.Keys);
        Tensor flowSimilarity = _flowKeys.matmul(_queue.SecondKeys!);
        bool masksSelf = MasksSelf(step);
        (Tensor rgbLogits, Tensor rgbPositives, Tensor rgbLoss) = OneView(rgb, _rgbKeys, _queue.Keys, flowSimilarity);
        (_, _, Tensor flowLoss) = OneView(flow, _flowKeys, _queue.SecondKeys!, rgbSimilarity);
        Dictionary<string, double> values = PretextValues(rgbLogits, rgbPositives);
        _mining = null;
        if (Cotrain.TopK > 0 && _queue.IsFull)
        {
            Contrastive.MiningQuality mining = PretextMetrics.Mining(rgbSimilarity, flowSimilarity, batch.Groups, batch.Labels, _queue, Cotrain.TopK, step);
            (values[MetricNames.MiningPrecision], values[MetricNames.MiningAgreement], values[MetricNames.MiningAge]) = (mining.Precision, mining.Agreement, mining.MeanAge);
            _mining = (mining.Indices, flowSimilarity, rgbSimilarity, step);
        }

        return new StepOutcome(rgbLoss + flowLoss, values, Trains: _queue.IsFull || Training.Compatibility == Compatibility.Platform);

        (Tensor Logits, Tensor Positives, Tensor Loss) OneView(Tensor query, Tensor keys, Tensor queue, Tensor otherSimilarity)
        {
            Tensor logits = ContrastiveLogits.Of(query, keys, queue, Temperature, own);
            Tensor positives = PositiveMask.Without(PositiveMask.ForCoClr(batch.Groups, _queue.Videos, otherSimilarity, Cotrain.TopK, _queue.IsFull), own);
            return (logits, positives, CoClr.Loss(logits, masksSelf ? PositiveMask.WithoutOwnKey(positives) : positives));
        }
    }
}
