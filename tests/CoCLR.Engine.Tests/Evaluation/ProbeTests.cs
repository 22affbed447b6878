// Why this exists: probes are how a representation is judged; nothing but the features, the labels and the seed may change what they say.
using CoCLR.Core;
using CoCLR.Core.Manifests;
using CoCLR.Engine.Evaluation;
using CoCLR.Engine.Features;

namespace CoCLR.Engine.Tests.Evaluation;

public class ProbeTests
{
    private static readonly LinearProbeOptions Short = new() { Epochs = 20, Milestones = [12, 16], BatchSize = 32, LearningRate = 0.3 };

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    [Fact]
    public void LinearProbe_SeparableClasses_AllRight()
    {
        var (result, _) = LinearProbe.Evaluate(
            FeatureSamples.Clusters(90, 16, 6, 0.2, 1, "a"),
            FeatureSamples.Clusters(30, 16, 6, 0.2, 2, "b"),
            Short,
            cancellationToken: Token);
        Assert.Equal(1, result.Accuracy.Top1);
        Assert.Equal(1, result.TrainTop1);
        Assert.Equal(1 / 6.0, result.Accuracy.Chance, 1e-12);
        Assert.Equal(20, result.Epoch);
        Assert.Equal(20, result.LossPerEpoch.Length);
        Assert.True(result.LossPerEpoch[^1] < result.LossPerEpoch[0]);
    }

    [Fact]
    public void LinearProbe_LabelsAtRandom_NearChance()
    {
        // Features without any class in them: the classes' centres are drawn away by a spread that drowns them.
        var (train, test) = (FeatureSamples.Clusters(400, 8, 4, 300, 1, "a"), FeatureSamples.Clusters(400, 8, 4, 300, 2, "b"));
        Assert.InRange(LinearProbe.Evaluate(train, test, Short, cancellationToken: Token).Result.Accuracy.Top1, 0.15, 0.35);
    }

    [Fact]
    public void LinearProbe_OtherOrderOfVideos_SameBits()
    {
        var (train, test) = (FeatureSamples.Clusters(70, 12, 5, 1.5, 1, "a"), FeatureSamples.Clusters(30, 12, 5, 1.5, 2, "b"));
        var expected = LinearProbe.Evaluate(train, test, Short, cancellationToken: Token);
        var actual = LinearProbe.Evaluate(FeatureSamples.Shuffled(train, 8), test, Short, cancellationToken: Token);
        Assert.Equal(expected.Result.LossPerEpoch, actual.Result.LossPerEpoch);
        Assert.Equal(expected.Probabilities.Values, actual.Probabilities.Values);
        var other = LinearProbe.Evaluate(train, test, Short with { Seed = 1 }, cancellationToken: Token);
        Assert.NotEqual(expected.Result.LossPerEpoch, other.Result.LossPerEpoch);
    }

    [Theory]
    [InlineData(Selection.Last)]
    [InlineData(Selection.Holdout)]
    [InlineData(Selection.Test)]
    public void LinearProbe_AnySelection_SaysWhichEpochAndHow(Selection selection)
    {
        // A learning rate that is far too high makes the accuracy jump from epoch to epoch.
        var options = Short with { Selection = selection, LearningRate = 4, Milestones = [], TestEvery = 1, HoldoutFraction = 0.25 };
        var (train, test) = (FeatureSamples.Clusters(80, 6, 5, 1.5, 1, "a", 4), FeatureSamples.Clusters(60, 6, 5, 1.5, 2, "b"));
        var (result, _) = LinearProbe.Evaluate(train, test, options, cancellationToken: Token);
        var (last, _) = LinearProbe.Evaluate(train, test, options with { Selection = Selection.Last }, cancellationToken: Token);
        Assert.Equal(selection, result.Selection);
        Assert.InRange(result.Epoch, 1, 20);
        if (selection == Selection.Last)
        {
            Assert.Equal(20, result.Epoch);
        }
        else if (selection == Selection.Test)
        {
            Assert.True(result.Accuracy.Top1 > last.Accuracy.Top1, "the best of all epochs on the test set beats the last one");
            Assert.NotEqual(20, result.Epoch);
        }
        else
        {
            Assert.NotEqual(last.LossPerEpoch, result.LossPerEpoch);
        }
    }

    [Fact]
    public void LinearProbe_OneLeftOverVideo_JoinsTheBatchBefore() =>
        Assert.Equal(
            1,
            LinearProbe.Evaluate(
                FeatureSamples.Clusters(33, 8, 3, 0.1, 1, "a"),
                FeatureSamples.Clusters(6, 8, 3, 0.1, 2, "b"),
                Short,
                cancellationToken: Token).Result.Accuracy.Top1);

    [Fact]
    public void LinearProbe_OneClass_AllRight() =>
        Assert.Equal(
            1,
            LinearProbe.Evaluate(
                FeatureSamples.Clusters(8, 4, 1, 1, 1, "a"),
                FeatureSamples.Clusters(4, 4, 1, 1, 2, "b"),
                Short,
                cancellationToken: Token).Result.Accuracy.Top1);

    [Fact]
    public void LinearProbe_NothingToLearnFrom_SaysSo()
    {
        var test = FeatureSamples.Clusters(5, 4, 2, 1, 2);
        var unlabelled = new FeatureSet(test.Ids, test.Values);
        Assert.Contains(
            "0 training",
            Assert.Throws<UserErrorException>(() => LinearProbe.Evaluate(unlabelled, test, Short, cancellationToken: Token)).Message);
        Assert.Contains(
            "0 test",
            Assert.Throws<UserErrorException>(
                () => LinearProbe.Evaluate(test, FeatureSamples.Clusters(0, 4, 2, 1, 2), Short, cancellationToken: Token)).Message);
        var one = Assert.Throws<UserErrorException>(
            () => LinearProbe.Evaluate(FeatureSamples.Clusters(1, 4, 2, 1, 2), test.Select([0]), Short, cancellationToken: Token));
        Assert.Equal(ExitCodes.BadData, one.ExitCode);
    }

    // Features that are nearly alike: after batch norm all dimensions point one way, and SGD at 1.0 overshoots.
    [Fact]
    public void LinearProbe_LossClimbs_RateIsLoweredUntilItFits()
    {
        static FeatureSet Alike(FeatureSet set)
        {
            var values = new float[set.Count * set.Dimension];
            for (var i = 0; i < values.Length; i++)
            {
                values[i] = set.Values[i / set.Dimension * set.Dimension] + (0.05f * set.Values[i]);
            }

            return new FeatureSet(set.Ids, values, set.Labels, set.ClassNames, set.Groups);
        }

        var (train, test) =
            (Alike(FeatureSamples.Clusters(200, 64, 5, 1.5, 1, "a")), Alike(FeatureSamples.Clusters(100, 64, 5, 1.5, 2, "b")));
        var options = new LinearProbeOptions();
        var (diverged, _) = LinearProbe.Evaluate(train, test, options with { LowersRate = false }, cancellationToken: Token);
        var (fitted, _) = LinearProbe.Evaluate(train, test, options, cancellationToken: Token);
        Assert.Equal(1, diverged.LearningRate);
        Assert.True(diverged.LossPerEpoch.Max() > 1.1 * diverged.LossPerEpoch[0]);
        Assert.True(fitted.LearningRate < 1);
        Assert.True(fitted.LossPerEpoch[^1] < fitted.LossPerEpoch[0]);
        Assert.True(fitted.TrainTop1 >= diverged.TrainTop1);
    }

    [Fact]
    public void LinearProbe_LossNotFinite_NamesEpochAndField()
    {
        var set = FeatureSamples.Clusters(40, 4, 2, 1, 2);
        var error = Assert.Throws<UserErrorException>(
            () => LinearProbe.Evaluate(set, set, Short with { LearningRate = 1e30 }, cancellationToken: Token));
        Assert.Contains("evaluation.linearProbe.learningRate", error.Message);
        Assert.Equal(ExitCodes.Failed, error.ExitCode);
    }

    [Fact]
    public void Holdout_Siblings_StayTogether()
    {
        var set = FeatureSamples.Clusters(200, 2, 5, 1, 1, "v", 4);
        var (kept, held) = Holdout.Split(set.Ids, set.Groups, 0.2, 3);
        Assert.Equal(Enumerable.Range(0, 200), kept.Concat(held).Order());
        Assert.InRange(held.Length, 40, 44);
        Assert.Empty(kept.Select(i => set.Groups![i]).Intersect(held.Select(i => set.Groups![i])));

        var shuffled = FeatureSamples.Shuffled(set, 4);
        var again = Holdout.Split(shuffled.Ids, shuffled.Groups, 0.2, 3).Held;
        Assert.Equal(held.Select(i => set.Ids[i]).Order(), again.Select(i => shuffled.Ids[i]).Order());
    }

    [Fact]
    public void Holdout_OneGroup_SaysSo() =>
        Assert.Contains("selection: last", Assert.Throws<UserErrorException>(() => Holdout.Split(["a", "b"], ["g", "g"], 0.5, 0)).Message);

    [Fact]
    public void KnnProbe_RandomFeatures_AgreesWithSlowVote()
    {
        var (train, test) = (FeatureSamples.Clusters(60, 6, 4, 1.5, 1, "a"), FeatureSamples.Clusters(40, 6, 4, 1.5, 2, "b"));
        var mean = train.Mean();
        var (g, q) = (train.Centred(mean).Chunk(6).ToArray(), test.Centred(mean).Chunk(6).ToArray());
        var result = KnnProbe.Evaluate(train, test);
        Assert.Equal([1, 1, 5, 5, 20, 20, 60, 60], result.Select(r => r.K));
        foreach (var accuracy in result)
        {
            var right = 0;
            for (var i = 0; i < q.Length; i++)
            {
                var near = g.Select((row, n) => (Label: train.Labels![n], Score: row.Zip(q[i], (a, b) => (double)a * b).Sum()))
                    .OrderByDescending(x => x.Score).Take(accuracy.K).ToList();
                var winner = near.GroupBy(x => x.Label)
                    .OrderByDescending(v => v.Sum(x => accuracy.Vote == "weighted" ? Math.Exp(x.Score / 0.07) : 1))
                    .ThenBy(v => near.FindIndex(x => x.Label == v.Key)).First().Key;
                right += winner == test.Labels![i] ? 1 : 0;
            }

            Assert.Equal(right / 40.0, accuracy.Top1, 1e-9);
            Assert.True(accuracy.Top5 >= accuracy.Top1);
        }
    }

    [Fact]
    public void KnnProbe_WithoutLabels_Nothing()
    {
        var set = FeatureSamples.Clusters(6, 4, 2, 1, 1);
        Assert.Empty(KnnProbe.Evaluate(new FeatureSet(set.Ids, set.Values), set));
    }

    [Fact]
    public void Measure_KnownScores_CountsThem()
    {
        var scores = new FeatureSet(
            ["a", "b", "c", "d"],
            [0.7f, 0.2f, 0.1f, /**/ 0.4f, 0.4f, 0.2f, /**/ 0.1f, 0.3f, 0.6f, /**/ 0.5f, 0.3f, 0.2f],
            [0, 1, 2, -1],
            ["x", "y", "z"]);
        var accuracy = Classification.Measure(scores);
        Assert.Equal((2 / 3.0, 1.0, 3), (accuracy.Top1, accuracy.Top5, accuracy.Videos));
        Assert.Equal([[1, 0, 0], [1, 0, 0], [0, 0, 1]], accuracy.Confusion);
        Assert.Equal([1.0, 0.0, 1.0], accuracy.PerClass);
        var predictions = Classification.Predict(scores);
        Assert.Equal(["a", "b", "c"], predictions.Select(p => p.Id));
        Assert.Equal([0, 1, 2], predictions[1].Top5);
        var cell = Assert.Single(Classification.Table(accuracy, predictions, "rgb").Cells, c => c.Label == 1);
        Assert.Equal((0, "b"), (cell.Predicted, Assert.Single(cell.Ids)));
    }

    [Fact]
    public void Fusion_OtherOrderAndMissingVideos_MatchedById()
    {
        string[] names = ["x", "y"];
        var rgb = new FeatureSet(["a", "b", "c"], [0.9f, 0.1f, 0.4f, 0.6f, 0.2f, 0.8f], [0, 0, 1], names);
        var flow = new FeatureSet(["c", "q", "b"], [0.7f, 0.3f, 0.5f, 0.5f, 0.9f, 0.1f], [1, 1, 0], names);
        var fused = Fusion.Average(rgb, flow);
        Assert.Equal(["b", "c"], fused.Ids);
        Assert.Equal([0.65f, 0.35f, 0.45f, 0.55f], fused.Values.Select(v => MathF.Round(v, 5)));
        var result = Fusion.Fuse((rgb, flow), null, null, Selection.Test);
        Assert.Equal((1.0, 2, Selection.Test), (result.Probe!.Top1, result.Probe.Videos, result.Selection));
        Assert.Null(result.FineTune);
        Assert.Equal(2, result.Predictions.Length);
    }

    [Fact]
    public void Fusion_ViewsThatDoNotFit_SayWhy()
    {
        string[] names = ["x", "y"];
        var rgb = new FeatureSet(["a"], [0.9f, 0.1f], [0], names);
        Assert.Contains(
            "share no video",
            Assert.Throws<UserErrorException>(() => Fusion.Average(rgb, new FeatureSet(["z"], [0.9f, 0.1f], [0], names))).Message);
        Assert.Contains(
            "video `a` is `x`",
            Assert.Throws<UserErrorException>(() => Fusion.Average(rgb, new FeatureSet(["a"], [0.9f, 0.1f], [1], names))).Message);
        Assert.Contains(
            "classes",
            Assert.Throws<UserErrorException>(
                () => Fusion.Average(rgb, new FeatureSet(["a"], [0.9f, 0.1f, 0], [0], ["x", "y", "z"]))).Message);
    }
}
