// Why this exists: extraction and the two classifier loops, driven as a stage drives them: clips in, features or accuracies out, stopped
// and resumed in between.
using CoCLR.Core;
using CoCLR.Core.Manifests;
using CoCLR.Engine.Evaluation;
using CoCLR.Engine.Features;
using CoCLR.Engine.Models;
using static TorchSharp.torch;

namespace CoCLR.Engine.Tests.Evaluation;

public class ClassifierTrainingTests
{
    private static CancellationToken Token => TestContext.Current.CancellationToken;

    [Fact]
    public void Extract_SlidingClips_MeanOfNormalisedClips()
    {
        using var backbone = new TinyBackbone();
        backbone.train();
        var clips = new TinyClips(5, 3, batch: 4, clipsPerVideo: 3);
        var told = new List<PassProgress>();
        var features = FeatureExtractor.Extract(backbone, clips, new Told<PassProgress>(told.Add), Token);
        Assert.True(backbone.training);
        Assert.Equal((15, 15), (told[^1].Done, told[^1].Total));
        Assert.Equal(clips.Ids, features.Ids);
        Assert.Equal(clips.Labels, features.Labels);
        for (var video = 0; video < 5; video++)
        {
            using var own = stack([.. Enumerable.Range(3 * video, 3).Select(c => clips.Clip(c, 1))]);
            using var rows = backbone.forward(own).mean([2, 3, 4]);
            using var expected = (rows / rows.norm(1, keepdim: true, p: 2)).mean([0]);
            using var actual = tensor(features[video].ToArray());
            Assert.True(Close.AbsoluteError(actual, expected) < 1e-6);
        }
    }

    [Fact]
    public void Extract_AnyBatchSize_SameFeatures()
    {
        using var backbone = new TinyBackbone();
        var one = FeatureExtractor.Extract(backbone, new TinyClips(7, 3, batch: 1, clipsPerVideo: 2), null, Token);
        var many = FeatureExtractor.Extract(backbone, new TinyClips(7, 3, batch: 5, clipsPerVideo: 2), null, Token);
        Assert.All(one.Values.Zip(many.Values), pair => Assert.Equal(pair.First, pair.Second, 1e-6f));
    }

    [Fact]
    public void Extract_VideoWithoutClips_NamesIt()
    {
        using var backbone = new TinyBackbone();
        Assert.Contains(
            "`video 3`",
            Assert.Throws<UserErrorException>(
                () => FeatureExtractor.Extract(backbone, new TinyClips(5, 3) { Missing = 3 }, null, Token)).Message);
    }

    [Fact]
    public void Extract_DivergedNetwork_NamesTheVideo()
    {
        using var backbone = new TinyBackbone();
        var error = Assert.Throws<UserErrorException>(
            () => FeatureExtractor.Extract(backbone, new TinyClips(5, 3) { Poison = float.NaN }, null, Token));
        Assert.Contains("`video 0`", error.Message);
        Assert.Contains("NaN", error.Message);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Run_ClassesPlainToSee_LearnsThemAndMovesOnlyWhatItMay(bool probe)
    {
        using var classifier = new VideoClassifier(new TinyBackbone(), 3, probe, dropout: 0.2);
        using var before = classifier.Backbone.parameters().First().detach().clone();
        using var training = new ClassifierTraining(
            classifier, probe ? ClassifierOptions.Probe(12) : ClassifierOptions.FineTune(40) with { LearningRate = 0.03 });
        var told = 0;
        var outcome = training.Run(
            new TinyClips(30, 3, batch: 8, shuffle: true),
            new TinyClips(12, 3, clipsPerVideo: 2, seed: 5),
            afterEpoch: _ => told++,
            cancellationToken: Token);
        Assert.Equal(1, outcome.Accuracy.Top1);
        Assert.Equal(training.Progress.LossPerEpoch.Count, told);
        Assert.Equal(told, outcome.Epoch);
        Assert.True(training.Progress.LossPerEpoch[^1] < training.Progress.LossPerEpoch[0]);
        Assert.Equal(probe, Close.Same(classifier.Backbone.parameters().First(), before));
        Assert.All(outcome.Probabilities.Values.Chunk(3), row => Assert.Equal(1, row.Sum(), 1e-5f));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Run_StoppedAndResumed_SameLossesAndProbabilities(bool probe)
    {
        var options = (
            probe
                ? ClassifierOptions.Probe(6)
                : ClassifierOptions.FineTune(6) with { LearningRate = 0.01 }) with
        { Selection = Selection.Test };
        IClipBatches train = new TinyClips(20, 3, batch: 6, shuffle: true), test = new TinyClips(9, 3, seed: 3);
        using var unbroken = new ClassifierTraining(new VideoClassifier(new TinyBackbone(), 3, probe, 0.5), options);
        var expected = unbroken.Run(train, test, test, cancellationToken: Token);

        using var stop = new CancellationTokenSource();
        using var first = new ClassifierTraining(new VideoClassifier(new TinyBackbone(), 3, probe, 0.5), options);
        Assert.Throws<OperationCanceledException>(() => first.Run(train, test, test, t =>
        {
            if (t.Progress.LossPerEpoch.Count == 3)
            {
                stop.Cancel();
            }
        }, cancellationToken: stop.Token));

        using var second = new ClassifierTraining(new VideoClassifier(new TinyBackbone(seed: 77), 3, probe, 0.5, seed: 5), options);
        using (no_grad())
        {
            var saved = first.Classifier.state_dict();
            foreach (var (name, value) in second.Classifier.state_dict())
            {
                value.copy_(saved[name]);
            }
        }

        second.Optimizer.Load(first.Optimizer.State(), first.Optimizer.Steps);
        second.Progress = first.Progress;
        second.BestWeights = first.BestWeights?.ToDictionary(e => e.Key, e => e.Value.clone());
        var actual = second.Run(train, test, test, cancellationToken: Token);
        Assert.Equal(unbroken.Progress.LossPerEpoch, second.Progress.LossPerEpoch);
        Assert.Equal(expected.Epoch, actual.Epoch);
        Assert.Equal(expected.Probabilities.Values, actual.Probabilities.Values);
    }

    [Fact]
    public void Run_LossNotFinite_NamesEpochStepAndRate()
    {
        using var training =
            new ClassifierTraining(new VideoClassifier(new TinyBackbone(), 3, probe: false), ClassifierOptions.FineTune(2));
        var error = Assert.Throws<UserErrorException>(
            () => training.Run(new TinyClips(8, 3) { Poison = float.NaN }, new TinyClips(4, 3), cancellationToken: Token));
        Assert.Contains("epoch 1, step 1, with learning rate 0.001", error.Message);
        Assert.Equal(ExitCodes.Failed, error.ExitCode);
    }

    [Fact]
    public void Run_WithoutLabels_SaysSo()
    {
        using var training = new ClassifierTraining(new VideoClassifier(new TinyBackbone(), 3, probe: true), ClassifierOptions.Probe(2));
        Assert.Contains(
            "labelled",
            Assert.Throws<UserErrorException>(
                () => training.Run(new TinyClips(8, 3) { Labels = null }, new TinyClips(4, 3), cancellationToken: Token)).Message);
    }

    /// <summary>Progress that is told at once, on the same thread.</summary>
    private sealed class Told<T>(Action<T> tell) : IProgress<T>
    {
        public void Report(T value) => tell(value);
    }
}
