// Why this exists: one switch must turn evaluation to the published way too, and nothing else may turn with it.
using CoCLR.Core.Manifests;
using CoCLR.Engine.Context;

namespace CoCLR.Engine.Tests;

public sealed class StageContextTests
{
    [Fact]
    public void Compatibility_Reference_EvaluatesAsThePublishedCode_AndPlatformAsTheManifestSays()
    {
        var spec = new ExperimentSpec { Evaluation = new EvaluationSpec { LinearProbe = new ProbeSpec { Epochs = 7, Selection = Selection.Holdout } } };
        Assert.Same(spec, StageContext.AsReference(spec));
        var reference = spec with { Training = spec.Training with { Compatibility = Compatibility.Reference } };
        var evaluation = StageContext.AsReference(reference).Evaluation;
        Assert.Equal(
            (Selection.Test, 7, Gallery.OneClip),
            (evaluation.LinearProbe.Selection, evaluation.LinearProbe.Epochs, evaluation.Retrieval.Gallery));
    }
}
