// Why this exists: which checkpoint a stage's encoders come from, and which view mines, is wired by the plan; a wrong wire still trains.
using CoCLR.Core;
using CoCLR.Core.Manifests;
using CoCLR.Core.Planning;
using CoCLR.Engine.Context;
using CoCLR.Engine.Contrastive.Methods;
using CoCLR.Engine.Models;
using CoCLR.Engine.Tests.Video;
using CoCLR.Engine.Training;
using CoCLR.Runs;
using TorchSharp;
using static TorchSharp.torch;

namespace CoCLR.Engine.Tests.Training;

public sealed class LearnerStageTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Theory]
    [InlineData("cycle-1-rgb", View.Rgb)]
    [InlineData("cycle-1-flow", View.Flow)]
    public void Turn_MinesWithTheOtherViewsEncoder_AndStartsBothOfItsOwnFromItsCheckpoint(string stage, View view)
    {
        using DisposeScope scope = NewDisposeScope();
        StagePlan plan = Plan(new ExperimentSpec());
        foreach (string before in new[] { "pretrain-rgb", "pretrain-flow", "cycle-1-rgb" }.TakeWhile(s => s != stage))
        {
            Train(plan, before);
        }

        using StageScope at = At(plan, stage);
        using Learner learner = Learner.Create(at.Context);
        TrainingBatch batch = Batch(plan.Spec, 50);

        using VideoEncoder own = Encoder(plan, plan[stage].InitializeFrom!, view);
        IReadOnlyDictionary<string, Tensor> state = learner.State();
        Assert.All(own.state_dict(), e => Assert.True(Close.Same(state["encoder." + e.Key], e.Value), e.Key));
        Assert.All(own.state_dict(), e => Assert.True(Close.Same(state["key." + e.Key], e.Value), e.Key));

        BatchKeys keys = learner.EncodeKeys(batch, 0);
        using VideoEncoder miner = Encoder(plan, plan[stage].MineWith!, view.Other());
        miner.eval();
        Assert.InRange(Close.AbsoluteError(keys.Second!, miner.forward(batch.Keys(view.Other(), 0))), 0, 1e-5);
    }

    [Fact]
    public void JointTurn_TakesEachViewFromItsOwnCheckpoint()
    {
        using DisposeScope scope = NewDisposeScope();
        StagePlan plan = Plan(new ExperimentSpec { Cotrain = new CotrainSpec { Order = CotrainOrder.Simultaneous } });
        Train(plan, "pretrain-rgb");
        Train(plan, "pretrain-flow");
        using StageScope at = At(plan, "cycle-1-rgb");
        using Learner learner = Learner.Create(at.Context);
        IReadOnlyDictionary<string, Tensor> state = learner.State();
        foreach (View view in new[] { View.Rgb, View.Flow })
        {
            using VideoEncoder own = Encoder(plan, "pretrain-" + view.Name(), view);
            Assert.All(own.state_dict(), e => Assert.True(Close.Same(state[$"{view.Name()}.encoder.{e.Key}"], e.Value), e.Key));
        }
    }

    [Theory]
    [InlineData(32, 2048, 1, new[] { 16, 8, 4, 2 })]
    [InlineData(12, 24, 1, new[] { 8, 6, 4, 3, 2 })]
    [InlineData(12, 24, 4, new[] { 8, 4 })]
    [InlineData(2, 8, 1, new int[0])]
    public void SmallerBatches_AreThoseThatAManifestTakes(int batch, int queue, int groups, int[] expected) => Assert.Equal(expected, FullMemory.Below(batch, queue, groups));

    // What fills a memory is made up here; what is tried then are the passes of a real step.
    [Theory]
    [InlineData(8, true, "A batch of 8 fits: set training.batchSize to 8")]
    [InlineData(2, false, "A batch of 2 fits: set training.batchSize to 2")]
    [InlineData(1, false, "No smaller batch fits: lower clip.frames or clip.size")]
    public void BatchThatFillsTheMemory_IsNamed_WithOneThatFits_AndWithWhatIsKept(int room, bool kept, string advice)
    {
        using DisposeScope scope = NewDisposeScope();
        StagePlan plan = Plan(new ExperimentSpec());
        plan = plan with { Spec = plan.Spec with { Training = plan.Spec.Training with { BatchSize = 16, QueueSize = 32 } } };
        using StageScope at = At(plan, "pretrain-rgb");
        using Learner learner = Learner.Create(at.Context);
        var tried = new List<int>();
#pragma warning disable CA2201 // As libtorch's errors arrive.
        var full = new System.Runtime.InteropServices.ExternalException("CUDA out of memory. Tried to allocate 2.00 GiB.");
#pragma warning restore CA2201

        UserErrorException error = FullMemory.Error(at.Context, Try, kept ? ("stages/pretrain-rgb/checkpoint-7.safetensors", 7) : null, full);

        Assert.Equal(ExitCodes.Failed, error.ExitCode);
        Assert.StartsWith("pretrain-rgb: a batch of 16 clips of 3x8x32x32 does not fit the memory of CPU, ", error.Message, StringComparison.Ordinal);
        Assert.Contains(advice, error.Message, StringComparison.Ordinal);
        Assert.Contains(kept ? "nothing is lost: step 7 is in stages/pretrain-rgb/checkpoint-7.safetensors" : "no step was kept yet", error.Message, StringComparison.Ordinal);
        Assert.Equal(new[] { 8, 4, 2 }.TakeWhile(b => b > room).Append(room).Where(b => b > 1), tried);

        void Try(int batch)
        {
            tried.Add(batch);
            learner.Try(batch, plan.Spec.Clip.Frames, plan.Spec.Clip.Size).backward();
            if (batch > room)
            {
                throw full;
            }
        }
    }

    [Fact]
    public void EveryMethod_HasItsClass_AndItsRowInTheDocs()
    {
        string docs = File.ReadAllText(Path.Combine(RepositoryRoot(), "docs", "method.md"));
        Assert.All(Enum.GetValues<Method>(), m =>
        {
            Assert.Equal(m, ContrastiveMethod.Of(m).Name);
            Assert.Contains($"| {m.DisplayName()} |", docs, StringComparison.Ordinal);
        });
    }

    private static string RepositoryRoot()
    {
        DirectoryInfo folder = new(AppContext.BaseDirectory);
        while (!File.Exists(Path.Combine(folder.FullName, "CoCLR.Platform.sln")))
        {
            folder = folder.Parent!;
        }

        return folder.FullName;
    }

    private static StagePlan Plan(ExperimentSpec spec) => Planner.Plan("tiny", spec with
    {
        Model = new ModelSpec { Backbone = BackboneName.S3DMini, Width = "0.0625", ProjectionSize = 8 },
        Clip = new ClipSpec { Frames = 8, Size = 32 },
        Training = new TrainingSpec { BatchSize = 4, QueueSize = 8 },
    });

    private static TrainingBatch Batch(ExperimentSpec spec, ulong seed)
    {
        using var generator = new Generator(seed);
        Tensor Clips() => randn([spec.Training.BatchSize, 2, 3, spec.Clip.Frames, spec.Clip.Size, spec.Clip.Size], generator: generator);
        Tensor groups = arange(spec.Training.BatchSize, ScalarType.Int64);
        return new TrainingBatch(new Dictionary<View, Tensor> { [View.Rgb] = Clips(), [View.Flow] = Clips() }, [0, 1, 2, 3], groups, groups);
    }

    private static VideoEncoder Encoder(StagePlan plan, string stage, View view, string folder)
    {
        VideoEncoder encoder = EncoderFactory.Create(plan.Spec, view, CPU);
        using Checkpoint checkpoint = CheckpointStore.Load(folder);
        checkpoint.CopyTo(encoder, EncoderFactory.PrefixIn(plan[stage], view), folder);
        return encoder;
    }

    private VideoEncoder Encoder(StagePlan plan, string stage, View view) => Encoder(plan, stage, view, new RunFolder(_folder.Path).Stage(stage));

    /// <summary>A stage that has seen one batch, so that its weights and its batch-norm statistics are its own.</summary>
    private void Train(StagePlan plan, string stage)
    {
        using DisposeScope scope = NewDisposeScope();
        using StageScope at = At(plan, stage);
        using Learner learner = Learner.Create(at.Context);
        _ = learner.Learn(learner.EncodeKeys(Batch(plan.Spec, (ulong)stage.Length), 0));
        using (no_grad())
        {
            foreach ((_, TorchSharp.Modules.Parameter parameter) in learner.Parameters.SelectMany(g => g.Parameters))
            {
                parameter.add_(0.01 * stage.Length);
            }
        }

        new CheckpointStore(at.Context.Folder.Stage(stage)).Save(new CheckpointInfo { Stage = stage, Architecture = "S3DMini" }, learner.State());
    }

    private StageScope At(StagePlan plan, string stage)
    {
        var folder = new RunFolder(_folder.Path);
        EventLog events = EventLog.Open(folder.EventsFile(stage), plan.Run, stage);
        return new StageScope(
            new StageContext { Plan = plan, Stage = plan[stage], Folder = folder, Cache = _folder.Path, Events = events, Device = CPU, Stop = TestContext.Current.CancellationToken },
            events);
    }

    private sealed record StageScope(StageContext Context, EventLog Events) : IDisposable
    {
        public void Dispose() => Events.Dispose();
    }
}
