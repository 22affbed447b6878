// Why this exists: what the stages `probe-*`, `retrieve-*` and `fuse` do once features are there: measure, and leave in the stage's folder
// what the pages show.
using CoCLR.Core;
using CoCLR.Core.Manifests;
using CoCLR.Core.Results;
using CoCLR.Engine.Features;

namespace CoCLR.Engine.Evaluation;

/// <summary>Training and test features of one network.</summary>
/// <param name="Train">Training videos: the gallery.</param>
/// <param name="Test">Test videos: the queries.</param>
public sealed record FeaturePair(FeatureSet Train, FeatureSet Test)
{
    /// <summary>Writes `features-train.*` and `features-test.*` into a stage's folder.</summary>
    /// <param name="stageFolder">`RUN/stages/NAME`.</param>
    public void Write(string stageFolder)
    {
        FeatureFiles.WriteNpy(Train, stageFolder, "features-train");
        FeatureFiles.WriteNpy(Test, stageFolder, "features-test");
    }

    /// <summary>Reads what <see cref="Write"/> wrote.</summary>
    /// <param name="stageFolder">`RUN/stages/NAME`.</param>
    /// <exception cref="UserErrorException">A file is missing (66) or damaged (65).</exception>
    public static FeaturePair Read(string stageFolder) =>
        new(FeatureFiles.ReadNpy(stageFolder, "features-train"), FeatureFiles.ReadNpy(stageFolder, "features-test"));
}

/// <summary>The evaluation stages after feature extraction. The caller wraps what they return into a <see cref="StageResult"/>.</summary>
public static class EvaluationStages
{
    private const string Probabilities = "probabilities-test";
    private const string Random = "random";

    /// <summary>
    /// Linear probe and kNN probe on features; leaves the confusion matrix, maps (PCA and t-SNE) and the test probabilities.
    /// </summary>
    /// <param name="stageFolder">`RUN/stages/probe-VIEW`.</param>
    /// <param name="view">`rgb` or `flow`.</param>
    /// <param name="features">Features of the trained network.</param>
    /// <param name="random">Features of the untrained network, or null.</param>
    /// <param name="spec">The manifest's `evaluation.linearProbe`.</param>
    /// <param name="seed">The run's seed.</param>
    /// <param name="lowersRate">As in <see cref="LinearProbeOptions.LowersRate"/>.</param>
    /// <param name="progress">Told after each epoch.</param>
    /// <param name="cancellationToken">Stops between epochs.</param>
    /// <exception cref="UserErrorException">Labels are missing (65), or the loss is not finite (1).</exception>
    public static ProbeResult Probe(
        string stageFolder, string view, FeaturePair features, FeaturePair? random, ProbeSpec spec, long seed, bool lowersRate = true,
        IProgress<(int Epoch, double Loss)>? progress = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(features);
        ArgumentNullException.ThrowIfNull(spec);
        var options = new LinearProbeOptions
        {
            Epochs = spec.Epochs,
            BatchSize = spec.BatchSize,
            LearningRate = Decimals.Parse(spec.LearningRate),
            WeightDecay = Decimals.Parse(spec.WeightDecay),
            Milestones = [spec.Epochs * 60 / 100, spec.Epochs * 80 / 100],
            Selection = spec.Selection,
            Seed = seed,
            LowersRate = lowersRate,
        };
        var outcome = LinearProbe.Evaluate(features.Train, features.Test, options, progress, cancellationToken);
        FeatureFiles.WriteNpy(outcome.Probabilities, stageFolder, Probabilities);
        ProbeResult? floor = null;
        if (random is not null)
        {
            var (result, probabilities) = LinearProbe.Evaluate(random.Train, random.Test, options, null, cancellationToken);
            FeatureFiles.WriteNpy(probabilities, Path.Combine(stageFolder, Random), Probabilities);
            floor = result with
            {
                Predictions = [],
                Hits = Classification.Hits(probabilities),
                Knn = KnnProbe.Evaluate(random.Train, random.Test)
            };
        }

        WriteLooks(stageFolder, view, outcome.Result.Accuracy, outcome.Result.Predictions, features, seed, cancellationToken);
        return outcome.Result with
        {
            Hits = Classification.Hits(outcome.Probabilities),
            Knn = KnnProbe.Evaluate(features.Train, features.Test),
            RandomFeatures = floor
        };
    }

    /// <summary>
    /// What the stages `probe-*` (end to end) and `finetune-*` leave after <see cref="ClassifierTraining.Run"/>: confusion matrix and test
    /// probabilities.
    /// </summary>
    /// <param name="stageFolder">`RUN/stages/NAME`.</param>
    /// <param name="view">`rgb` or `flow`.</param>
    /// <param name="outcome">The trained classifier's.</param>
    public static Prediction[] WriteClassifier(string stageFolder, string view, ClassifierOutcome outcome)
    {
        ArgumentNullException.ThrowIfNull(outcome);
        FeatureFiles.WriteNpy(outcome.Probabilities, stageFolder, Probabilities);
        var predictions = Classification.Predict(outcome.Probabilities);
        EvaluationArtifacts.Write(stageFolder, EvaluationArtifacts.Confusion, Classification.Table(outcome.Accuracy, predictions, view));
        return predictions;
    }

    /// <summary>Nearest-neighbour retrieval; leaves the gallery.</summary>
    /// <param name="stageFolder">`RUN/stages/retrieve-VIEW`.</param>
    /// <param name="view">`rgb` or `flow`.</param>
    /// <param name="features">Features of the trained network.</param>
    /// <param name="random">Features of the untrained network, or null.</param>
    /// <param name="spec">The manifest's `evaluation.retrieval`.</param>
    public static RetrievalResult Retrieve(string stageFolder, string view, FeaturePair features, FeaturePair? random, RetrievalSpec spec)
    {
        ArgumentNullException.ThrowIfNull(features);
        ArgumentNullException.ThrowIfNull(spec);
        var (result, neighbours) = Retrieval.Evaluate(features.Train, features.Test, view, spec.Gallery, spec.Neighbours);
        EvaluationArtifacts.Write(stageFolder, EvaluationArtifacts.Neighbours, neighbours);
        return result with
        {
            NeighboursFile = EvaluationArtifacts.Neighbours,
            RandomFeatures =
                random is null ? null : Retrieval.Evaluate(random.Train, random.Test, view, spec.Gallery, spec.Neighbours).Result,
        };
    }

    /// <summary>
    /// Two streams together, from what the stages of both views left; leaves gallery and confusion matrix of its own. Measures what both
    /// views have: probes, fine-tuned networks, features.
    /// </summary>
    /// <param name="stagesFolder">`RUN/stages`.</param>
    /// <param name="spec">The manifest's `evaluation`.</param>
    /// <param name="rgb">Features of the RGB network, or null where retrieval was not asked for.</param>
    /// <param name="flow">Features of the flow network, or null.</param>
    /// <param name="randomRgb">Features of the untrained RGB network, or null.</param>
    /// <param name="randomFlow">Features of the untrained flow network, or null.</param>
    /// <exception cref="UserErrorException">The views share no video or do not fit (65).</exception>
    public static FusionResult Fuse(
        string stagesFolder,
        EvaluationSpec spec,
        FeaturePair? rgb,
        FeaturePair? flow,
        FeaturePair? randomRgb = null,
        FeaturePair? randomFlow = null)
    {
        ArgumentNullException.ThrowIfNull(spec);
        var stageFolder = Path.Combine(stagesFolder, "fuse");
        RetrievalOutcome? retrieval = null;
        if (rgb is not null && flow is not null)
        {
            retrieval =
                Retrieval.EvaluateTwoStream(rgb.Train, rgb.Test, flow.Train, flow.Test, spec.Retrieval.Gallery, spec.Retrieval.Neighbours);
            EvaluationArtifacts.Write(stageFolder, EvaluationArtifacts.Neighbours, retrieval.Neighbours);
        }

        var fused = Fusion.Fuse(
            Both("probe", ""), Both("finetune", ""), retrieval is null
                ? null
                : retrieval.Result with { NeighboursFile = EvaluationArtifacts.Neighbours }, spec.LinearProbe.Selection);
        if ((fused.Probe ?? fused.FineTune) is { } accuracy)
        {
            EvaluationArtifacts.Write(
                stageFolder, EvaluationArtifacts.Confusion, Classification.Table(accuracy, fused.Predictions, "two-stream"));
        }

        var randomProbes = Both("probe", Random);
        // Of the outcome only the result is wanted; it is a record, nothing is waited for.
        var randomRetrieval = randomRgb is null || randomFlow is null
            ? null
            : Retrieval.EvaluateTwoStream(
                randomRgb.Train,
                randomRgb.Test,
                randomFlow.Train,
                randomFlow.Test,
                spec.Retrieval.Gallery,
                spec.Retrieval.Neighbours).Result;
        return randomProbes is null && randomRetrieval is null
            ? fused
            : fused with { RandomFeatures = Fusion.Fuse(randomProbes, null, randomRetrieval, spec.LinearProbe.Selection) with { Predictions = [] } };

        (FeatureSet Rgb, FeatureSet Flow)? Both(string kind, string part)
        {
            var (rgbFolder, flowFolder) =
                (Path.Combine(stagesFolder, kind + "-rgb", part), Path.Combine(stagesFolder, kind + "-flow", part));
            return File.Exists(Path.Combine(rgbFolder, Probabilities + ".npy"))
                && File.Exists(Path.Combine(flowFolder, Probabilities + ".npy"))
                ? (FeatureFiles.ReadNpy(rgbFolder, Probabilities), FeatureFiles.ReadNpy(flowFolder, Probabilities))
                : null;
        }
    }

    /// <summary>Maps features to the plane, with PCA and with t-SNE, for a stage without labels too.</summary>
    /// <param name="stageFolder">`RUN/stages/NAME`.</param>
    /// <param name="view">`rgb` or `flow`.</param>
    /// <param name="features">Features of the trained network.</param>
    /// <param name="predictions">How test videos were classified; may be empty.</param>
    /// <param name="seed">The run's seed.</param>
    /// <param name="cancellationToken">Stops t-SNE.</param>
    public static void WriteMaps(
        string stageFolder,
        string view,
        FeaturePair features,
        IReadOnlyList<Prediction> predictions,
        long seed,
        CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(features);
        foreach (var method in (string[])["pca", "tsne"])
        {
            var map =
                FeatureMap.Create(features.Train, features.Test, predictions, view, method, seed, cancellationToken: cancellationToken);
            EvaluationArtifacts.Write(stageFolder, EvaluationArtifacts.ProjectionOf(method), map);
        }
    }

    private static void WriteLooks(
        string stageFolder, string view, Accuracy accuracy, Prediction[] predictions, FeaturePair features, long seed,
        CancellationToken cancellationToken)
    {
        EvaluationArtifacts.Write(stageFolder, EvaluationArtifacts.Confusion, Classification.Table(accuracy, predictions, view));
        WriteMaps(stageFolder, view, features, predictions, seed, cancellationToken);
    }
}
