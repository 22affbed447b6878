// Why this exists: the stages that measure a representation: probe, fine-tuning, retrieval, fusion, and the report that puts them into one table.
using System.Text.Json;
using CoCLR.Core;
using CoCLR.Core.Manifests;
using CoCLR.Core.Planning;
using CoCLR.Core.Results;
using CoCLR.Engine.Evaluation;
using CoCLR.Engine.Video;

namespace CoCLR.Engine.Stages;

/// <summary>Evaluation.</summary>
internal static class EvaluationStages
{
    private const string RandomFile = "random.json";
    internal const string Probabilities = "probabilities";

    /// <summary>Linear probe and kNN probe of a frozen representation (method.md 1e).</summary>
    public static StageResult Probe(StageContext context)
    {
        context.Events.Started(context.DeviceName, context.Stage.Epochs);
        using var features = new VideoFeatures(context);
        (FeatureSet train, FeatureSet test) = features.Of(context.Stage.Evaluates);
        if (Unlabelled(train, test) is { } reason)
        {
            return context.Result(new SkippedResult(reason));
        }

        ProbeOutcome measured = context.Spec.Evaluation.LinearProbe.Mode == ProbeMode.EndToEnd
            ? ClassifierStages.EndToEndProbe(context, features)
            : LinearProbe.Evaluate(train, test, Options(context.Spec), ImmediateProgress.To<(int Epoch, double Loss)>(p => context.Events.Progress("probe", p.Epoch, context.Spec.Evaluation.LinearProbe.Epochs, "epochs")), context.Stop);
        ProbeResult result = measured.Result with { Knn = KnnProbe.Evaluate(train, test) };
        FeatureFiles.WriteNpy(measured.Probabilities, context.Folder.Artifacts(context.Stage.Name), Probabilities);
        string view = context.View.Name();
        WriteArtifact(context, "confusion.json", Classification.Table(result.Accuracy, result.Predictions, view));
        foreach (string method in new[] { "pca", "tsne" })
        {
            context.Events.Progress($"map ({method})", 0, 1, "map");
            WriteArtifact(context, $"projection-{method}.json", FeatureMap.Create(train, test, result.Predictions, view, method, context.Spec.Seed, cancellationToken: context.Stop));
        }

        if (context.Spec.Evaluation.RandomBaseline)
        {
            (FeatureSet randomTrain, FeatureSet randomTest) = features.Of(null);
            ProbeOutcome random = LinearProbe.Evaluate(randomTrain, randomTest, Options(context.Spec), cancellationToken: context.Stop);
            WriteRandom(context, random.Result with { Knn = KnnProbe.Evaluate(randomTrain, randomTest), Predictions = [] });
        }

        return context.Result(result, epochsTrained: context.EpochsBehind(context.Stage.Evaluates));
    }

    /// <summary>Fine-tuning of the whole network (method.md 1e).</summary>
    public static StageResult Finetune(StageContext context)
    {
        using var features = new VideoFeatures(context);
        return ClassifierStages.Finetune(context, features);
    }

    /// <summary>Nearest-neighbour retrieval: test videos ask, training videos answer (method.md 1e).</summary>
    public static StageResult Retrieve(StageContext context)
    {
        RetrievalSpec spec = context.Spec.Evaluation.Retrieval;
        context.Events.Started(context.DeviceName);
        using var features = new VideoFeatures(context);
        (FeatureSet train, FeatureSet test) = features.Of(context.Stage.Evaluates, spec.Gallery);
        string view = context.View.Name();
        RetrievalOutcome measured = Retrieval.Evaluate(train, test, view, spec.Gallery, spec.Neighbours);
        string file = WriteArtifact(context, "neighbours.json", measured.Neighbours);
        if (spec.Previews)
        {
            MakePreviews(context, measured.Neighbours);
        }

        if (context.Spec.Evaluation.RandomBaseline && measured.Result.Recalls.Length > 0)
        {
            (FeatureSet randomTrain, FeatureSet randomTest) = features.Of(null, spec.Gallery);
            WriteRandom(context, Retrieval.Evaluate(randomTrain, randomTest, view, spec.Gallery, 1).Result);
        }

        return context.Result(measured.Result with { NeighboursFile = file }, epochsTrained: context.EpochsBehind(context.Stage.Evaluates));
    }

    /// <summary>Two-stream fusion: mean of the class probabilities, sum of the cosine similarities (method.md 1e).</summary>
    public static StageResult Fuse(StageContext context)
    {
        context.Events.Started(context.DeviceName);
        (FeatureSet Rgb, FeatureSet Flow)? Pair(string name) => Read(context, $"{name}-rgb") is { } rgb && Read(context, $"{name}-flow") is { } flow ? (rgb, flow) : null;

        RetrievalResult? retrieval = null;
        Gallery gallery = context.Spec.Evaluation.Retrieval.Gallery;
        if (Evaluates(context, "retrieve-rgb") is { } rgbStage && Evaluates(context, "retrieve-flow") is { } flowStage
            && VideoFeatures.Stored(context, rgbStage, gallery) is { } rgb && VideoFeatures.Stored(context, flowStage, gallery) is { } flow)
        {
            RetrievalOutcome measured = Retrieval.EvaluateTwoStream(rgb.Train, rgb.Test, flow.Train, flow.Test, gallery, context.Spec.Evaluation.Retrieval.Neighbours);
            retrieval = measured.Result with { NeighboursFile = WriteArtifact(context, "neighbours.json", measured.Neighbours) };
            if (context.Spec.Evaluation.Retrieval.Previews)
            {
                MakePreviews(context, measured.Neighbours);
            }
        }

        var probes = Pair("probe");
        var finetuned = Pair("finetune");
        if (probes == null && finetuned == null && retrieval == null)
        {
            return context.Result(new SkippedResult("neither view was measured"), "two-stream");
        }

        FusionResult result = Fusion.Fuse(probes, finetuned, retrieval, context.Spec.Evaluation.LinearProbe.Selection);
        if (result.Probe is { } accuracy)
        {
            WriteArtifact(context, "confusion.json", Classification.Table(accuracy, result.Predictions, "two-stream"));
        }

        int epochs = context.Plan.Stages.Where(s => s.Kind == StageKind.Retrieve || s.Kind == StageKind.Probe).Select(s => context.EpochsBehind(s.Evaluates)).DefaultIfEmpty().Max();
        return context.Result(result, "two-stream", epochs);
    }

    /// <summary>One table of everything that was measured: report.json and report.md.</summary>
    public static StageResult Report(StageContext context)
    {
        context.Events.Started(context.DeviceName);
        var results = new List<StageResult>();
        foreach (Stage stage in context.Plan.Stages.Where(s => s.Kind != StageKind.Report))
        {
            results.Add(context.Folder.ReadResult(stage.Name));
            string random = Path.Combine(context.Folder.Stage(stage.Name), RandomFile);
            if (File.Exists(random))
            {
                results.Add(ResultJson.Read<StageResult>(File.ReadAllText(random), random));
            }
        }

        RunReport report = RunReport.From(context.Plan.Experiment, results);
        WholeFile.WriteText(context.Folder.ReportFile, ResultJson.Write(report));
        WholeFile.WriteText(context.Folder.ReportMarkdownFile, ReportWriter.Markdown(report));
        context.Events.Artifact(context.Folder, context.Folder.ReportFile, "application/json");
        context.Events.Artifact(context.Folder, context.Folder.ReportMarkdownFile, "text/markdown");
        return context.Result(new SkippedResult("the table is in report.json and report.md"));
    }

    private static LinearProbeOptions Options(ExperimentSpec spec)
    {
        ProbeSpec probe = spec.Evaluation.LinearProbe;
        return new LinearProbeOptions
        {
            Epochs = probe.Epochs,
            BatchSize = probe.BatchSize,
            LearningRate = Decimals.Parse(probe.LearningRate),
            WeightDecay = Decimals.Parse(probe.WeightDecay),
            Milestones = [probe.Epochs * 60 / 100, probe.Epochs * 80 / 100],
            Selection = probe.Selection,
            Seed = spec.Seed,
        };
    }

    private static string? Unlabelled(FeatureSet train, FeatureSet test) =>
        train.Labelled().Count == 0 ? "the training videos have no labels"
        : test.Labelled().Count == 0 ? "the test videos have no labels"
        : null;

    private static string? Evaluates(StageContext context, string stage) => context.Plan.Stages.FirstOrDefault(s => s.Name == stage)?.Evaluates;

    private static FeatureSet? Read(StageContext context, string stage) =>
        context.Plan.Stages.Any(s => s.Name == stage) && File.Exists(Path.Combine(context.Folder.Artifacts(stage), Probabilities + ".npy"))
            ? FeatureFiles.ReadNpy(context.Folder.Artifacts(stage), Probabilities)
            : null;

    private static string WriteArtifact<T>(StageContext context, string name, T value)
    {
        string file = Path.Combine(context.Folder.Artifacts(context.Stage.Name), name);
        WholeFile.WriteText(file, JsonSerializer.Serialize(value, CoclrJson.Compact));
        context.Events.Artifact(context.Folder, file, "application/json");
        return Path.GetRelativePath(context.Folder.Stage(context.Stage.Name), file);
    }

    /// <summary>The same measure of the untrained network: the floor of every number.</summary>
    private static void WriteRandom(StageContext context, Outcome outcome) => WholeFile.WriteText(
        Path.Combine(context.Folder.Stage(context.Stage.Name), RandomFile),
        ResultJson.Write(context.Result(outcome) with { Method = "Random features" }));

    /// <summary>Small playing clips of every video that a gallery shows, made once for the run.</summary>
    private static void MakePreviews(StageContext context, NeighbourTable table)
    {
        string[] ids = [.. table.Queries.SelectMany(q => q.Neighbours.Select(n => n.Id).Prepend(q.Id)).Distinct()];
        using ClipStore frames = DataStages.OpenStore(context, "decode");
        using ClipStore? flow = context.Plan.Stages.Any(s => s.Kind == StageKind.Flow) ? DataStages.OpenStore(context, "flow") : null;
    }
}
