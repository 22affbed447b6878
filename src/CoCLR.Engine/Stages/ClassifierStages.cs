// Why this exists: the end-to-end probe and fine-tuning as stages: a checkpoint each epoch, exact resume, the result.
using System.Globalization;
using System.Text.Json;
using CoCLR.Core;
using CoCLR.Core.Events;
using CoCLR.Core.Manifests;
using CoCLR.Core.Planning;
using CoCLR.Core.Results;
using CoCLR.Engine.Context;
using CoCLR.Engine.Evaluation;
using CoCLR.Engine.Features;
using CoCLR.Engine.Interop;
using CoCLR.Engine.Models;
using CoCLR.Engine.Training;
using CoCLR.Engine.Video.Catalogue;
using CoCLR.Engine.Video.Loading;
using TorchSharp;
using static TorchSharp.torch;

namespace CoCLR.Engine.Stages;

/// <summary>Training of classifiers on clips (method.md 1e).</summary>
internal static class ClassifierStages
{

    /// <summary>The linear probe trained through the frozen backbone.</summary>
    public static ProbeResult EndToEndProbe(StageContext context, VideoFeatures features)
    {
        ProbeSpec spec = context.Spec.Evaluation.LinearProbe;
        ClassifierOptions options = ClassifierOptions.Probe(spec.Epochs) with
        {
            LearningRate = Decimals.Parse(spec.LearningRate),
            WeightDecay = Decimals.Parse(spec.WeightDecay),
            Selection = spec.Selection,
            Seed = context.Spec.Seed,
        };
        (ClassifierOutcome outcome, ClassifierProgress progress) =
            Train(context, features, options, spec.BatchSize, probe: true, dropout: 0);
        return new ProbeResult
        {
            Mode = "endToEnd",
            Accuracy = outcome.Accuracy,
            Selection = spec.Selection,
            Epoch = outcome.Epoch,
            Epochs = spec.Epochs,
            LossPerEpoch = [.. progress.LossPerEpoch],
            Hits = Classification.Hits(outcome.Probabilities),
            Predictions = EvaluationStages.WriteClassifier(context.Folder.Stage(context.Stage.Name), context.View.Name(), outcome),
        };
    }

    /// <summary>Fine-tuning of the whole network.</summary>
    public static StageResult Finetune(StageContext context, VideoFeatures features)
    {
        FinetuneSpec spec = context.Spec.Evaluation.Finetune;
        context.Events.Started(context.DeviceName, spec.Epochs);
        context.UsePrecision();
        if (features.Store.Videos.All(v => v.Label < 0))
        {
            return context.Result(new SkippedResult("the videos have no labels"));
        }

        ClassifierOptions options = ClassifierOptions.FineTune(spec.Epochs) with
        {
            LearningRate = Decimals.Parse(spec.LearningRate),
            WeightDecay = Decimals.Parse(spec.WeightDecay),
            Seed = context.Spec.Seed,
        };
        (ClassifierOutcome outcome, ClassifierProgress progress) =
            Train(context, features, options, spec.BatchSize, probe: false, Decimals.Parse(spec.Dropout));
        return context.Result(
            new FineTuneResult
            {
                Accuracy = outcome.Accuracy,
                Selection = Selection.Last,
                Epoch = outcome.Epoch,
                Epochs = spec.Epochs,
                LossPerEpoch = [.. progress.LossPerEpoch],
                Predictions = EvaluationStages.WriteClassifier(context.Folder.Stage(context.Stage.Name), context.View.Name(), outcome),
            },
            epochsTrained: context.EpochsBehind(context.Stage.Evaluates));
    }

    private static (ClassifierOutcome Outcome, ClassifierProgress Progress) Train(
        StageContext context, VideoFeatures features, ClassifierOptions options, int batchSize, bool probe, double dropout)
    {
        string folder = context.Folder.Stage(context.Stage.Name);
        IReadOnlyList<ClipItem> videos = features.Labelled();
        using StoreClips test = features.Clips(VideoSplit.Test);
        using StoreClips? heldOut = options.Selection == Selection.Holdout ? HoldOut(ref videos) : null;
        using StoreClips train = features.TrainingClips(videos, batchSize);
        using var classifier = new VideoClassifier(
            VideoFeatures.LoadBackbone(context, context.Stage.Evaluates), features.Store.Classes.Count, probe, dropout, context.Spec.Seed);
        classifier.to(context.Device);
        classifier.Backbone.Precision = probe ? Precision.Fp32 : context.Spec.Training.Precision;
        using var training = new ClassifierTraining(classifier, options);
        var checkpoints =
            new CheckpointStore(folder, context.Spec.Training.KeepCheckpoints, message => context.Events.Log(message, "warning"));
        Resume();

        ClassifierOutcome outcome = training.Run(
            train, test, heldOut ?? test, afterEpoch: AfterEpoch, steps: ImmediateProgress.To<PassProgress>(_ => { }), context.Stop);
        return (outcome, training.Progress);

        StoreClips HoldOut(ref IReadOnlyList<ClipItem> items)
        {
            IReadOnlyList<ClipItem> all = items;
            (int[] kept, int[] held) = Holdout.Split(
                [.. all.Select(i => features.Store.Videos[i.VideoInView[0]].Id)],
                [.. all.Select(i => i.Group.ToString(CultureInfo.InvariantCulture))], Holdout.Fraction, options.Seed);
            items = [.. kept.Select(i => all[i])];
            return features.Clips([.. held.Select(i => all[i])]);
        }

        void AfterEpoch(ClassifierTraining at)
        {
            int epoch = at.Progress.LossPerEpoch.Count;
            using DisposeScope scope = NewDisposeScope();
            var tensors = new Dictionary<string, Tensor>();
            Add("classifier.", ModuleState.Of(classifier));
            Add("optimizer.", at.Optimizer.State());
            Add("best.", at.BestWeights ?? new Dictionary<string, Tensor>());
            var info = new CheckpointInfo
            {
                Architecture = context.Spec.Model.Backbone.ToString(),
                Width = Decimals.Parse(context.Spec.Model.Width),
                Stage = context.Stage.Name,
                Epoch = epoch,
                Step = epoch,
                Scalars = new Dictionary<string, double>
                {
                    ["optimizerSteps"] = at.Optimizer.Steps, [StageContext.ThreadsKey] = TorchRuntime.Threads
                },
                Texts = new Dictionary<string, string>
                {
                    ["progress"] = JsonSerializer.Serialize(at.Progress, CoclrJson.Compact), ["specHash"] = context.Plan.SpecHash
                },
            };
            CheckpointInfo written = checkpoints.Save(info, tensors);
            string file = Path.Combine(folder, written.File);
            context.Events.Checkpoint(
                epoch, at.Optimizer.Steps, Path.GetRelativePath(context.Folder.Root, file), new FileInfo(file).Length);
            context.Events.Metrics(
                at.Optimizer.Steps,
                epoch,
                new Dictionary<string,
                double>
                { [MetricNames.Loss] = at.Progress.LossPerEpoch[^1], [MetricNames.LearningRate] = at.Optimizer.LearningRate });
            context.Events.Progress(probe ? "probe" : "fine-tune", epoch, options.Epochs, "epochs");
            context.Stop.ThrowIfCancellationRequested();

            void Add(string prefix, IReadOnlyDictionary<string, Tensor> state)
            {
                foreach ((string name, Tensor tensor) in state)
                {
                    tensors[prefix + name] = tensor;
                }
            }
        }

        void Resume()
        {
            using Checkpoint? checkpoint = checkpoints.LoadNewest();
            if (checkpoint == null)
            {
                return;
            }

            checkpoint.CopyTo(classifier, "classifier.", folder);
            context.UseThreads(checkpoint.Info.Scalars);
            training.Optimizer.Load(checkpoint.Under("optimizer."), (long)checkpoint.Info.Scalars["optimizerSteps"]);
            training.Progress = JsonSerializer.Deserialize<ClassifierProgress>(checkpoint.Info.Texts["progress"], CoclrJson.Compact)!;
            IReadOnlyDictionary<string, Tensor> best = checkpoint.Under("best.");
            training.BestWeights = best.Count == 0 ? null : best.ToDictionary(b => b.Key, b => b.Value.clone().DetachFromDisposeScope());
        }
    }
}
