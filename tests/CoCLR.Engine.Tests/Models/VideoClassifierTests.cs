// Why this exists: a probe must leave the network below as it is, fine-tuning must not, and dropout must repeat after a resume.
using CoCLR.Engine.Models;
using static TorchSharp.torch;

namespace CoCLR.Engine.Tests.Models;

public sealed class VideoClassifierTests
{
    private static VideoClassifier Classifier(bool probe, double dropout = 0.5, long seed = 3) =>
        new(BackboneFactory.Create("S3DMini", seed: 1, width: 0.0625), classes: 4, probe, dropout, seed);

    private static Tensor Clips()
    {
        using var generator = new Generator(5);
        return randn([3, 3, 8, 32, 32], generator: generator);
    }

    [Fact]
    public void Probe_LearnsItsHeadOnly_AndLeavesTheBackboneAndItsStatistics()
    {
        using var scope = NewDisposeScope();
        using var classifier = Classifier(probe: true);
        classifier.train();
        var before = classifier.Backbone.state_dict().ToDictionary(e => e.Key, e => e.Value.clone());
        var scores = classifier.forward(Clips());
        Assert.Equal([3L, 4], scores.shape);
        nn.functional.cross_entropy(scores, tensor(new long[] { 0, 1, 2 })).backward();
        Assert.Equal(
            ["final_bn.bias", "final_bn.weight", "final_fc.bias", "final_fc.weight"],
            classifier.named_parameters().Where(p => p.parameter.grad is not null).Select(p => p.name).Order());
        Assert.All(classifier.Backbone.state_dict(), e => Assert.True(Close.Same(e.Value, before[e.Key]), e.Key));
        Assert.False(classifier.Backbone.training);
    }

    [Fact]
    public void Probe_SeesUnitFeatures()
    {
        using var scope = NewDisposeScope();
        using var classifier = Classifier(probe: true);
        classifier.eval();
        using var generator = new Generator(2);
        var features = randn([5, classifier.Backbone.FeatureSize], generator: generator);
        Assert.InRange(Close.AbsoluteError(classifier.ForwardFeatures(features * 37), classifier.ForwardFeatures(features)), 0, 1e-5);
    }

    [Fact]
    public void FineTuning_LearnsEverything_AndHasNoNormInItsHead()
    {
        using var scope = NewDisposeScope();
        using var classifier = Classifier(probe: false);
        classifier.train();
        nn.functional.cross_entropy(classifier.forward(Clips()), tensor(new long[] { 0, 1, 2 })).backward();
        Assert.All(classifier.named_parameters(), p => Assert.True(p.parameter.grad is not null, p.name));
        Assert.DoesNotContain(classifier.named_parameters(), p => p.name.StartsWith("final_bn", StringComparison.Ordinal));
    }

    [Fact]
    public void Dropout_WithTheSameSeed_Repeats_KeepsTheMean_AndRestsInEvaluation()
    {
        using var scope = NewDisposeScope();
        using var classifier = Classifier(probe: false, dropout: 0.9);
        var features = ones(4000, classifier.Backbone.FeatureSize);
        Tensor Scores(long seed)
        {
            classifier.SeedDropout(seed);
            return classifier.ForwardFeatures(features).detach();
        }

        classifier.train();
        var first = Scores(11);
        Assert.True(Close.Same(Scores(11), first));
        Assert.False(Close.Same(Scores(12), first));
        classifier.eval();
        var rest = Scores(11);
        Assert.True(Close.Same(Scores(12), rest));
        Assert.InRange(Close.AbsoluteError(first.mean([0]), rest.mean([0])), 0, 0.02);
    }

    [Fact]
    public void SameSeed_GivesTheSameHead()
    {
        using var scope = NewDisposeScope();
        using var one = Classifier(probe: true, seed: 3);
        using var same = Classifier(probe: true, seed: 3);
        using var other = Classifier(probe: true, seed: 4);
        Assert.True(Close.Same(same.state_dict()["final_fc.weight"], one.state_dict()["final_fc.weight"]));
        Assert.False(Close.Same(other.state_dict()["final_fc.weight"], one.state_dict()["final_fc.weight"]));
        Assert.InRange(one.state_dict()["final_fc.weight"].std().item<float>(), 0.007, 0.013);
    }
}
