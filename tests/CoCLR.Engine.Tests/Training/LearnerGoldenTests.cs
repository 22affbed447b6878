// Why this exists: each method's first steps, from clips to new weights, must be those that plain PyTorch computes (tests/golden/learners/make.py).
using System.Text.Json;
using CoCLR.Core.Events;
using CoCLR.Core.Manifests;
using CoCLR.Engine.Contrastive;
using CoCLR.Engine.Contrastive.Methods;
using CoCLR.Engine.Interop;
using CoCLR.Engine.Models;
using CoCLR.Engine.Training;
using CoCLR.Engine.Training.Optimization;
using TorchSharp;
using static TorchSharp.torch;

namespace CoCLR.Engine.Tests.Training;

public sealed class LearnerGoldenTests
{
    public static TheoryData<string> Cases() => GoldenFolder.Cases("learners");

    [Theory]
    [MemberData(nameof(Cases))]
    public void LearnerGolden_ThreeSteps_ArePyTorchs(string name)
    {
        using DisposeScope scope = NewDisposeScope();
        var golden = new GoldenCase(GoldenFolder.Require(Path.Combine("learners", name)));
        JsonElement meta = golden.Root.GetProperty("meta");
        ExperimentSpec spec = Spec(meta);
        View[] views = [.. meta.GetProperty("views").EnumerateArray().Select(v => Enum.Parse<View>(v.GetString()!))];
        View? minerView = meta.GetProperty("miner").GetString() is { } m ? Enum.Parse<View>(m) : null;
        using var learner = new Learner(
            spec,
            ContrastiveMethod.Of(spec.Training.Method),
            [.. views.Select(v => new LearningView(v, Momentum(golden, meta, v)))],
            minerView is { } mv ? new FrozenMiner(Encoder(golden, meta, "before/miner/"), mv, spec.Cotrain.MineIn) : null,
            CPU);
        learner.Queue.Load(golden.Under("before/queue/"));
        using Optimizer optimizer = Optimizer.Create(spec.Training.Optimizer, learner.Parameters);
        using var numbers = new StepNumbers();
        foreach ((int step, JsonElement expected) in meta.GetProperty("steps").EnumerateArray().Index())
        {
            BatchKeys keys = learner.EncodeKeys(Batch(golden, step), step);
            bool trains = learner.Trains;
            LearningStep made = learner.Learn(keys);
            Assert.Equal(expected.GetProperty("trains").GetBoolean(), trains);
            Near(golden.Tensor($"{step}/keys"), keys.First);
            if (golden.Has($"{step}/second_keys"))
            {
                Near(golden.Tensor($"{step}/second_keys"), keys.Second!);
            }

            Assert.True(Close.Same(made.Positives, golden.Tensor($"{step}/positives").to_type(ScalarType.Bool)), $"positives of step {step}");
            var told = new Dictionary<string, Tensor>(made.Numbers);
            if (trains)
            {
                optimizer.ZeroGradients();
                made.Loss.backward();
                told[MetricNames.GradientNorm] = optimizer.GradientNorm();
                optimizer.Step();
            }

            learner.Remember(keys);
            numbers.Note(step, optimizer.LearningRate, told);
            Check(learner.Queue, golden.Under($"{step}/queue/"));
        }

        foreach ((StepReading reading, JsonElement expected) in numbers.Read().Zip(meta.GetProperty("steps").EnumerateArray()))
        {
            Assert.Equal(expected.GetProperty("numbers").EnumerateObject().Select(n => n.Name).Order(StringComparer.Ordinal), reading.Values.Keys.Order(StringComparer.Ordinal));
            Assert.All(expected.GetProperty("numbers").EnumerateObject(), n => Assert.Equal(n.Value.GetDouble(), reading.Values[n.Name], 2e-4));
        }

        CheckWeights(golden, views, learner, optimizer);
    }

    private static void CheckWeights(GoldenCase golden, View[] views, Learner learner, Optimizer optimizer)
    {
        IReadOnlyDictionary<string, Tensor> state = learner.State(), moments = optimizer.State();
        foreach (View view in views)
        {
            string prefix = views.Length > 1 ? view.ToString().ToLowerInvariant() + "." : "";
            foreach ((string part, string own) in new[] { ("query", "encoder."), ("key", "key.") })
            {
                IReadOnlyDictionary<string, Tensor> expected = golden.Under($"after/{view}/{part}/");
                Assert.NotEmpty(expected);
                Assert.All(expected, e => Near(e.Value, state[prefix + own + e.Key]));
            }

            foreach (string moment in new[] { "exp_avg", "exp_avg_sq" })
            {
                IReadOnlyDictionary<string, Tensor> expected = golden.Under($"after/{view}/{moment}/");
                Assert.NotEmpty(expected);
                Assert.All(expected, e => Near(e.Value, moments[$"{moment}/{prefix}{e.Key}"]));
            }
        }
    }

    private static void Check(KeyQueue queue, IReadOnlyDictionary<string, Tensor> expected)
    {
        Near(expected["keys"], queue.Keys);
        Assert.Equal(expected.ContainsKey("second_keys"), queue.SecondKeys is not null);
        if (queue.SecondKeys is not null)
        {
            Near(expected["second_keys"], queue.SecondKeys);
        }

        Assert.True(Close.Same(queue.Videos, expected["videos"]));
        Assert.True(Close.Same(queue.Labels, expected["labels"]));
        Assert.True(Close.Same(queue.WrittenAt, expected["written_at"]));
    }

    private static void Near(Tensor expected, Tensor actual) => Assert.InRange(Close.AbsoluteError(actual, expected), 0, 2e-4);

    private static ExperimentSpec Spec(JsonElement meta)
    {
        string Text(string name) => meta.GetProperty(name).GetString()!;
        int Number(string name) => meta.GetProperty(name).GetInt32();
        return new ExperimentSpec
        {
            Training = new TrainingSpec
            {
                Method = MethodTraits.Named(Text("method"))!.Value,
                BatchSize = Number("batch"),
                QueueSize = Number("queue"),
                BatchNegatives = meta.GetProperty("batchNegatives").GetBoolean(),
                Momentum = Text("momentum"),
                Temperature = Text("temperature"),
                Compatibility = meta.GetProperty("reference").GetBoolean() ? Compatibility.Reference : Compatibility.Platform,
                Optimizer = new OptimizerSpec { LearningRate = Text("learningRate"), WeightDecay = Text("weightDecay") },
            },
            Cotrain = new CotrainSpec
            {
                TopK = Number("topK"),
                SelfMasking = Text("selfMasking"),
                MineIn = Text("mineIn") == "features" ? MiningSpace.Features : MiningSpace.Projection,
            },
        };
    }

    private static TrainingBatch Batch(GoldenCase golden, int step)
    {
        Dictionary<View, Tensor> clips = golden.Under($"{step}/clips/").ToDictionary(c => Enum.Parse<View>(c.Key), c => c.Value);
        Tensor groups = golden.Tensor($"{step}/groups");
        return new TrainingBatch(clips, [.. groups.data<long>().Select(g => (int)g)], golden.Tensor($"{step}/labels"), groups);
    }

    private static MomentumEncoder Momentum(GoldenCase golden, JsonElement meta, View view)
    {
        (VideoEncoder query, VideoEncoder key) = (Encoder(golden, meta, $"before/{view}/"), Encoder(golden, meta, $"before/{view}/"));
        query.train();
        key.train();
        return new MomentumEncoder(query, key, Decimals.Parse(meta.GetProperty("momentum").GetString()!));
    }

    private static VideoEncoder Encoder(GoldenCase golden, JsonElement meta, string weights)
    {
        int features = meta.GetProperty("features").GetInt32();
        using var generator = new Generator(0, CPU);
        var encoder = new VideoEncoder(new OneConvolution(features), new ProjectionHead(generator, features, meta.GetProperty("dim").GetInt32()));
        ModuleState.Load(encoder, golden.Under(weights), "the golden case");
        return encoder;
    }

    /// <summary>Convolution, batch norm, ReLU.</summary>
    private sealed class OneConvolution : Backbone
    {
        private readonly TorchSharp.Modules.Conv3d _convolution;
        private readonly TorchSharp.Modules.BatchNorm3d _norm;

        public OneConvolution(int features)
            : base("OneConvolution", features)
        {
            _convolution = nn.Conv3d(3, features, 3, padding: 1);
            _norm = nn.BatchNorm3d(features);
            register_module("conv", _convolution);
            register_module("bn", _norm);
        }

        public override Tensor forward(Tensor input)
        {
            using DisposeScope scope = NewDisposeScope();
            return _norm.forward(_convolution.forward(input)).relu().MoveToOuterDisposeScope();
        }
    }
}
