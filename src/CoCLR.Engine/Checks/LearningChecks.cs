// Why this exists: a step of each method joins networks, queue, loss and optimizer; each must give on a device what it gives on a
// processor.
using CoCLR.Core.Manifests;
using CoCLR.Engine.Contrastive;
using CoCLR.Engine.Contrastive.Methods;
using CoCLR.Engine.Models;
using CoCLR.Engine.Training;
using CoCLR.Engine.Training.Optimization;
using TorchSharp;
using static TorchSharp.torch;

namespace CoCLR.Engine.Checks;

/// <summary>The loss of each method on given embeddings, and two steps of each method from clips to weights.</summary>
internal sealed class LearningChecks(DeviceCheck check)
{
    private const int Batch = 8;
    private const int Queue = 32;
    private const int Dim = 16;

    /// <summary>The comparisons.</summary>
    public IEnumerable<Comparison> All()
    {
        foreach (Method method in Enum.GetValues<Method>())
        {
            yield return new Comparison($"loss, {method.DisplayName()}", Precision.Fp32, 1e-5, () => Loss(method));
        }

        foreach (Method method in Enum.GetValues<Method>())
        {
            var exact = new Lazy<Tensor[]>(() => Steps(method, Precision.Fp32, reference: true));
            foreach (Precision precision in Enum.GetValues<Precision>())
            {
                yield return new Comparison(
                    $"step, {method.DisplayName()}",
                    precision,
                    NetworkChecks.Tolerance(precision, 0.02, 0.4),
                    () => Step(method, precision, exact.Value, ..^1));
            }

            // Batch norm over a few clips makes rounding so large here that other precisions' gradients say nothing; those of the networks
            // alone do.
            yield return new Comparison(
                $"step's gradient, {method.DisplayName()}", Precision.Fp32, 0.05, () => Step(method, Precision.Fp32, exact.Value, ^1..));
        }
    }

    /// <summary>Loss and its gradient with respect to the queries, against double precision.</summary>
    private double Loss(Method method)
    {
        string name = $"loss, {method.DisplayName()}";
        (Tensor loss, Tensor gradient) = Of(CPU, ScalarType.Float64);
        (Tensor onDevice, Tensor deviceGradient) = Of(check.Device, ScalarType.Float32);
        return Math.Max(
            DeviceCheck.Distance(check.Through(name, onDevice), loss), DeviceCheck.Distance(check.Through(name, deviceGradient), gradient));

        (Tensor Loss, Tensor Gradient) Of(Device device, ScalarType type)
        {
            using var generator = new Generator(11, CPU);
            using var entries = new KeyQueue(Dim, Queue, second: true, seed: 2, device: device);
            Fill(entries, device);
            Tensor Unit(int rows, int columns, int axis) =>
                nn.functional.normalize(randn([rows, columns], generator: generator), 2, axis).to(type).to(device);
            Tensor query = Unit(Batch, Dim, 1).requires_grad_(true), query2 = Unit(Batch, Dim, 1).requires_grad_(true);
            (Tensor labels, Tensor groups) = Names(0, device);
            var second = new ViewEmbeddings(method == Method.Cmc ? query2 : null, Unit(Batch, Dim, 1), Unit(Dim, Queue, 0));
            MethodStep made = ContrastiveMethod.Of(method).Learn(new Contrastive.Methods.Comparison
            {
                First = new ViewEmbeddings(query, Unit(Batch, Dim, 1), Unit(Dim, Queue, 0)),
                Second = method.Traits().NeedsBothViews ? second : null,
                MinerSimilarity = method == Method.CoCLR ? second.Keys.matmul(second.Queue) : null,
                Queue = entries,
                Groups = groups,
                Labels = labels,
                Temperature = 0.07,
                TopK = 3,
            });
            made.Loss.backward();
            return (made.Loss, query.grad!);
        }
    }

    /// <summary>The largest difference of some of the parts of two steps.</summary>
    private double Step(Method method, Precision precision, Tensor[] exact, Range parts)
    {
        string name = parts.Equals(^1..) ? $"step's gradient, {method.DisplayName()}" : $"step, {method.DisplayName()}";
        Tensor[] made = Steps(method, precision, reference: false);
        return made[parts].Zip(exact[parts]).Max(pair => DeviceCheck.Distance(check.Through(name, pair.First), pair.Second));
    }

    /// <summary>Loss of the first step, the queue with its keys, loss of a step after the optimizer's, and the first gradient.</summary>
    private Tensor[] Steps(Method method, Precision precision, bool reference)
    {
        using DisposeScope scope = NewDisposeScope();
        Device device = reference ? CPU : check.Device;
        using Learner learner = Make(method, precision, reference, device);
        ParameterGroup[] groups = [.. learner.Parameters];
        using Optimizer optimizer = Optimizer.Create(new OptimizerSpec { LearningRate = "0.001" }, groups);
        Fill(learner.Queue, device);
        BatchKeys made = learner.EncodeKeys(Clips(0, device), 0);
        LearningStep first = learner.Learn(made);
        optimizer.ZeroGradients();
        first.Loss.backward();
        Tensor gradient = cat(
            [
                .. groups.SelectMany(g => g.Parameters)
                    .Select(p => (p.Parameter.grad ?? zeros_like(p.Parameter, requires_grad: false)).detach().flatten())]);
        optimizer.Step();
        learner.Remember(made);
        Tensor keys = learner.Queue.Keys.clone();
        LearningStep next;
        using (no_grad())
        {
            next = learner.Learn(learner.EncodeKeys(Clips(1, device), 1));
        }

        return [.. new[] { first.Loss.detach(), keys, next.Loss.detach(), gradient }.Select(t => t.DetachFromDisposeScope())];
    }

    private Learner Make(Method method, Precision precision, bool reference, Device device)
    {
        var spec = new ExperimentSpec
        {
            // A mild temperature: which entries are mined hangs on rounding here and there, and must not decide the loss.
            Training = new TrainingSpec
            {
                Method = method, BatchSize = Batch, QueueSize = Queue, Momentum = "0.9", Temperature = "1", Precision = precision
            },
            Cotrain = new CotrainSpec { TopK = 3 },
        };
        View[] learning = method.Traits().NeedsBothViews && method != Method.CoCLR ? [View.Rgb, View.Flow] : [View.Rgb];
        return new Learner(
            spec,
            ContrastiveMethod.Of(method),
            [
                .. learning.Select(
                    v => new LearningView(v, new MomentumEncoder(Encoder(v, training: true), Encoder(v, training: true), 0.9)))],
            method == Method.CoCLR ? new FrozenMiner(Encoder(View.Flow, training: false), View.Flow, MiningSpace.Projection) : null,
            device);

        VideoEncoder Encoder(View view, bool training)
        {
            using var generator = new Generator(view == View.Rgb ? 21UL : 22UL, CPU);
            var backbone = (S3D)NetworkChecks.Healthy("S3DMini", check.Small ? 0.0625 : 0.125);
            backbone.AllowFast = !reference;
            backbone.Precision = reference ? Precision.Fp32 : precision;
            var encoder = (VideoEncoder)new VideoEncoder(backbone, new ProjectionHead(generator, backbone.FeatureSize, Dim)).to(device);
            encoder.train(training);
            if (!reference)
            {
                check.Spoil(encoder);
            }

            return encoder;
        }
    }

    private TrainingBatch Clips(int step, Device device)
    {
        (int frames, int size) = check.Small ? (8, 64) : (16, 64);
        (Tensor labels, Tensor groups) = Names(step, device);
        Tensor Two(int view) => stack(
            [
                NetworkChecks.Clips((10 * step) + (2 * view), Batch, frames, size),
                NetworkChecks.Clips((10 * step) + (2 * view) + 1, Batch, frames, size)
            ],
            1).to(device);
        return new TrainingBatch(
            new Dictionary<View,
            Tensor>
            { [View.Rgb] = Two(0), [View.Flow] = Two(1) },
            [.. Enumerable.Range(Batch * step, Batch)],
            labels,
            groups);
    }

    private static (Tensor Labels, Tensor Groups) Names(int step, Device device) =>
        (arange(Batch, ScalarType.Int64, device).remainder(3), arange(Batch, ScalarType.Int64, device) + (step * Batch / 2));

    private static void Fill(KeyQueue queue, Device device)
    {
        using var generator = new Generator(31, CPU);
        for (int step = 0; step < queue.Length / Batch; step++)
        {
            Tensor Unit() => nn.functional.normalize(randn([Batch, queue.Keys.shape[0]], generator: generator), 2, 1).to(device);
            (Tensor labels, Tensor groups) = Names(step, device);
            queue.Enqueue(Unit(), queue.SecondKeys is null ? null : Unit(), groups + 2, labels, step - (queue.Length / Batch));
        }
    }
}
