// Why this exists: the stages that measure a representation, and the report that puts them into one table: extraction here, measuring in
// Evaluation.
using CoCLR.Core.Events;
using CoCLR.Core.Manifests;
using CoCLR.Core.Planning;
using CoCLR.Core.Results;
using CoCLR.Engine.Collectives;
using CoCLR.Engine.Context;
using CoCLR.Engine.Evaluation;
using CoCLR.Engine.Features;
using CoCLR.Engine.Video.Store;
using CoCLR.Runs;

namespace CoCLR.Engine.Stages;

/// <summary>Probe, fine-tuning, retrieval, fusion, report.</summary>
internal static class MeasuringStages
{
    private const int MostMined = 400;

    /// <summary>Linear probe and kNN probe of a frozen representation (method.md 1e).</summary>
    public static StageResult Probe(StageContext context)
    {
        ProbeSpec spec = context.Spec.Evaluation.LinearProbe;
        context.Events.Started(context.DeviceName, context.Stage.Epochs);
        using var features = new VideoFeatures(context);
        FeaturePair? trained = features.Of(context.Stage.Evaluates);
        bool unlabelled = context.Ranks.Any(
            trained is not null && (trained.Train.Labelled().Count == 0 || trained.Test.Labelled().Count == 0));
        FeaturePair? untrained = unlabelled || spec.Mode == ProbeMode.EndToEnd ? null : Untrained(context, features);
        if (trained is null)
        {
            return Helped(context);
        }

        string folder = context.Folder.Stage(context.Stage.Name);
        if (unlabelled)
        {
            EvaluationStages.WriteMaps(folder, context.View.Name(), trained, [], context.Spec.Seed, context.Stop);
            TellArtifacts(context);
            return context.Result(new SkippedResult("the training or the test videos have no labels, so there is nothing to classify"));
        }

        ProbeResult result = spec.Mode == ProbeMode.EndToEnd
            ? ClassifierStages.EndToEndProbe(context, features)
            : EvaluationStages.Probe(
                folder,
                context.View.Name(),
                trained,
                untrained,
                spec,
                context.Spec.Seed,
                context.Spec.Training.Compatibility == Compatibility.Platform,
                ImmediateProgress.To<(int Epoch, double Loss)>(p => context.Events.Progress("probe", p.Epoch, spec.Epochs, "epochs")),
                context.Stop);
        TellArtifacts(context);
        return context.Result(result, epochsTrained: context.EpochsBehind(context.Stage.Evaluates));
    }

    /// <summary>Fine-tuning of the whole network (method.md 1e).</summary>
    public static StageResult Finetune(StageContext context)
    {
        using var features = new VideoFeatures(context);
        StageResult result = ClassifierStages.Finetune(context, features);
        TellArtifacts(context);
        return result;
    }

    /// <summary>Nearest-neighbour retrieval: test videos are the queries, training videos the gallery (method.md 1e).</summary>
    public static StageResult Retrieve(StageContext context)
    {
        context.Events.Started(context.DeviceName);
        using var features = new VideoFeatures(context);
        FeaturePair? trained = features.Of(context.Stage.Evaluates, context.Spec.Evaluation.Retrieval.Gallery);
        FeaturePair? untrained = Untrained(context, features);
        if (trained is null)
        {
            return Helped(context);
        }

        RetrievalResult result = EvaluationStages.Retrieve(
            context.Folder.Stage(context.Stage.Name), context.View.Name(), trained, untrained, context.Spec.Evaluation.Retrieval);
        TellArtifacts(context);
        return context.Result(result, epochsTrained: context.EpochsBehind(context.Stage.Evaluates));
    }

    /// <summary>Two-stream fusion: mean of the class probabilities, sum of the cosine similarities (method.md 1e).</summary>
    public static StageResult Fuse(StageContext context)
    {
        context.Events.Started(context.DeviceName);
        EvaluationSpec spec = context.Spec.Evaluation;
        FeaturePair? Features(View view, bool random) =>
            context.Plan.Stages.FirstOrDefault(s => s.Kind == StageKind.Retrieve && s.View == view) is { } stage
                && (!random || spec.RandomBaseline)
                ? VideoFeatures.Stored(context, view, random ? null : stage.Evaluates, spec.Retrieval.Gallery)
                : null;

        FusionResult result = EvaluationStages.Fuse(
            context.Folder.Stages, spec, Features(View.Rgb, false), Features(View.Flow, false), Features(View.Rgb, true),
            Features(View.Flow, true));
        TellArtifacts(context);
        return context.Result(result, "two-stream", context.Plan.Stages.Max(s => context.EpochsBehind(s.Evaluates)));
    }

    /// <summary>One table of everything that was measured: report.json and report.md.</summary>
    public static StageResult Report(StageContext context)
    {
        context.Events.Started(context.DeviceName);
        StageResult[] results =
            [.. context.Plan.Stages.Where(s => s.Kind != StageKind.Report).Select(s => context.Folder.ReadResult(s.Name))];
        WholeFile.WriteText(
            Path.Combine(context.Folder.Root, ProvenanceFacts.ManifestFile), ManifestWriter.Of(context.Plan.Experiment, context.Plan.Spec));
        context.Folder.WriteReport(
            RunReport.From(context.Plan.Experiment, results) with { Provenance = ProvenanceFacts.Of(context, results) });
        context.Events.Artifact(context.Folder, context.Folder.ReportFile, "application/json");
        context.Events.Artifact(context.Folder, context.Folder.ReportMarkdownFile, "text/markdown");
        context.AfterResult = () =>
        {
            MakePreviews(context);
            TellArtifacts(context);
        };
        return context.Result(new SkippedResult($"the table is in {RunFolder.ReportName} and {RunFolder.ReportMarkdownName}"));
    }

    /// <summary>What a rank other than 0 has to say: nobody reads it.</summary>
    private static StageResult Helped(StageContext context) => context.Result(new SkippedResult("rank 0 measures what all ranks have extracted"));

    /// <summary>The same network without training: the floor of every number.</summary>
    private static FeaturePair? Untrained(StageContext context, VideoFeatures features) =>
        context.Spec.Evaluation.RandomBaseline
            ? features.Of(null, context.Stage.Kind == StageKind.Retrieve ? context.Spec.Evaluation.Retrieval.Gallery : Gallery.AllClips)
            : null;

    /// <summary>
    /// Small playing clips of every video that a gallery shows, made once for the run, when its results are told: looking can wait.
    /// </summary>
    private static void MakePreviews(StageContext context)
    {
        string[] galleries = [
            .. context.Plan.Stages.Select(s => context.Folder.Stage(s.Name))
                .Where(f => File.Exists(Path.Combine(f, EvaluationArtifacts.Neighbours)))];
        if (!context.Spec.Evaluation.Retrieval.Previews || galleries.Length == 0)
        {
            return;
        }

        IEnumerable<string> watched = context.Plan.Stages
            .SelectMany(s => WatchedNeighbours.Read(context.Folder.Stage(s.Name))).SelectMany(EvaluationArtifacts.VideosOf);
        IEnumerable<string> shown = galleries.SelectMany(
            f => EvaluationArtifacts.VideosOf(EvaluationArtifacts.Read<NeighbourTable>(f, EvaluationArtifacts.Neighbours)));
        using ClipStore frames = context.OpenStore("decode");
        using ClipStore? flow = context.Plan.Stages.Any(s => s.Kind == StageKind.Flow) ? context.OpenStore("flow") : null;
        var stores = new Dictionary<string, ClipStore> { ["rgb"] = frames };
        if (flow != null)
        {
            stores["flow"] = flow;
        }

        // Runs on the same data show the same clips: encoded once, then only linked.
        string shared = Path.Combine(context.Cache, RunFolder.PreviewsName, Path.GetFileName(frames.Folder));
        LinkMissing(shared, context.Folder.Previews);
        PreviewSet.Make(
            context.Folder.Root,
            context.Folder.Stage(context.Stage.Name),
            stores,
            [.. shown, .. Mined(context), .. watched],
            progress: ImmediateProgress.To<PassProgress>(p => context.Events.Progress("previews", p.Done, p.Total, "clips")),
            cancellationToken: context.Stop);
        LinkMissing(context.Folder.Previews, shared);
    }

    /// <summary>Anchors and positives of the newest mining events: people look at what was mined as well as at what was found.</summary>
    private static IEnumerable<string> Mined(StageContext context) =>
        context.Plan.Stages.Where(s => s.Kind == StageKind.Cotrain).Select(s => context.Folder.EventsFile(s.Name)).Where(File.Exists)
            .SelectMany(
                file => File.ReadLines(file).Reverse().Where(l => l.Contains("\"mining\"", StringComparison.Ordinal))
                    .SelectMany(MinedVideos).Distinct(StringComparer.Ordinal).Take(MostMined));

    private static IEnumerable<string> MinedVideos(string line) =>
        EventLine.Parse(line) is MiningEvent mining
            ? mining.Anchors.SelectMany(a => a.Positives.Select(p => p.Video).Prepend(a.Video))
            : [];

    private static void LinkMissing(string from, string to)
    {
        Directory.CreateDirectory(to);
        foreach (string file in Directory.Exists(from) ? Directory.GetFiles(from).Where(f => Path.GetExtension(f) is ".mp4" or ".jpg") : [])
        {
            string target = Path.Combine(to, Path.GetFileName(file));
            if (!File.Exists(target))
            {
                WholeFile.Link(file, target);
            }
        }
    }

    private static void TellArtifacts(StageContext context)
    {
        string folder = context.Folder.Artifacts(context.Stage.Name);
        foreach (string file in Directory.Exists(folder) ? Directory.GetFiles(folder, "*.json").Order(StringComparer.Ordinal).ToArray() : [])
        {
            context.Events.Artifact(context.Folder, file, "application/json");
        }
    }
}
