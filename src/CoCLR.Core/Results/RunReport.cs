// Why this exists: a run ends with one table in the form of the paper's Table 1; this gathers the stages' results into its rows, purely.
using System.Text.Json.Serialization;
using CoCLR.Core.Manifests;

namespace CoCLR.Core.Results;

/// <summary>What a row of the table stands for.</summary>
public enum ReportRowKind
{
    /// <summary>A learned representation.</summary>
    [JsonStringEnumMemberName("learned")]
    Learned,

    /// <summary>The same network, untrained.</summary>
    [JsonStringEnumMemberName("random")]
    Random,

    /// <summary>A guess.</summary>
    [JsonStringEnumMemberName("chance")]
    Chance,
}

/// <summary>One row of the table: a method and a view with its measures, all fractions in [0, 1].</summary>
public sealed record ReportRow
{
    /// <summary>The method, or `Random features`, or `Chance`.</summary>
    public required string Method { get; init; }

    /// <summary>The view: `rgb`, `flow`, `two-stream`, or `-` for chance.</summary>
    public required string View { get; init; }

    /// <summary>What the row stands for.</summary>
    public ReportRowKind Kind { get; init; }

    /// <summary>Epochs trained, or null where it means nothing.</summary>
    public int? Epochs { get; init; }

    /// <summary>The seed.</summary>
    public long? Seed { get; init; }

    /// <summary>Linear probe, top-1.</summary>
    public double? LinearProbe { get; init; }

    /// <summary>Linear probe, top-5.</summary>
    public double? LinearProbeTop5 { get; init; }

    /// <summary>How the probe's epoch was chosen.</summary>
    public Selection? ProbeSelection { get; init; }

    /// <summary>The probe's epoch, counted from 1.</summary>
    public int? ProbeEpoch { get; init; }

    /// <summary>kNN probe, top-1, at <see cref="KnnK"/> weighted neighbours.</summary>
    public double? Knn { get; init; }

    /// <summary>The k of <see cref="Knn"/>.</summary>
    public int? KnnK { get; init; }

    /// <summary>Fine-tuning, top-1.</summary>
    public double? FineTune { get; init; }

    /// <summary>How the fine-tuned network's epoch was chosen.</summary>
    public Selection? FineTuneSelection { get; init; }

    /// <summary>Retrieval recalls.</summary>
    public Recall[] Recalls { get; init; } = [];

    /// <summary>What stood for a gallery video.</summary>
    public Gallery? Gallery { get; init; }

    /// <summary>Which test videos the linear probe got right.</summary>
    public VideoHits? ProbeHits { get; init; }

    /// <summary>Which test videos have a video of their class nearest.</summary>
    public VideoHits? RecallHits { get; init; }
}

/// <summary>A stage in the report's list.</summary>
/// <param name="Stage">Its name.</param>
/// <param name="WallSeconds">Its wall time in seconds.</param>
/// <param name="Device">Its device in words.</param>
public sealed record ReportStage(string Stage, double WallSeconds, string Device);

/// <summary>The report of a run: `RUN/report.json`, and `RUN/report.md` for people.</summary>
public sealed record RunReport
{
    /// <summary>The experiment's name.</summary>
    public required string Name { get; init; }

    /// <summary>The data set's name.</summary>
    public required string DataSet { get; init; }

    /// <summary>The split evaluated.</summary>
    public string? Split { get; init; }

    /// <summary>The number of classes, or null without labels.</summary>
    public int? Classes { get; init; }

    /// <summary>Gallery (training) videos, or null when nothing was evaluated.</summary>
    public int? TrainVideos { get; init; }

    /// <summary>Query (test) videos, or null when nothing was evaluated.</summary>
    public int? TestVideos { get; init; }

    /// <summary>The seed.</summary>
    public long Seed { get; init; }

    /// <summary>The device in words.</summary>
    public required string Device { get; init; }

    /// <summary>Wall time of the stages in seconds, added up.</summary>
    public double WallSeconds { get; init; }

    /// <summary>When the last stage ended (UTC).</summary>
    public DateTimeOffset? FinishedAt { get; init; }

    /// <summary>True when the run followed the reference code in everything (method.md part 2).</summary>
    public bool ReferenceCompatible { get; init; }

    /// <summary>Where the numbers come from; null in reports of older versions.</summary>
    public Provenance? Provenance { get; init; }

    /// <summary>Learned rows first, then random features, then chance.</summary>
    public required ReportRow[] Rows { get; init; }

    /// <summary>What moves in the videos, as their flow was measured; null without flow.</summary>
    public MotionResult? Motion { get; init; }

    /// <summary>The stages, in the order given.</summary>
    public ReportStage[] Stages { get; init; } = [];

    /// <summary>What flatters every measure, such as videos on both sides of the split.</summary>
    public string[] Warnings { get; init; } = [];

    /// <summary>Gathers the results of a run's stages.</summary>
    /// <param name="name">The experiment's name.</param>
    /// <param name="results">The stages' results, in the order of the plan.</param>
    /// <exception cref="UserErrorException">There are no results (66).</exception>
    public static RunReport From(string name, IReadOnlyList<StageResult> results)
    {
        ArgumentNullException.ThrowIfNull(results);
        if (results.Count == 0)
        {
            throw new UserErrorException(
                $"{name}: no stage has a result yet, so there is nothing to report. Run the stages first.", ExitCodes.MissingInput);
        }

        var evaluated = results.Where(r => r.Outcome is not (PretrainResult or DataResult or SkippedResult)).SelectMany(WithRandomFeatures)
            .ToArray();
        var rows = evaluated.GroupBy(r => (r.Method, View: r.Outcome is FusionResult ? "two-stream" : r.View, r.Seed)).Select(Row)
            .OrderBy(r => r.Kind).ThenBy(r => ViewOrder(r.View)).ToList();
        var accuracy = evaluated.Select(r => AccuracyOf(r.Outcome)).FirstOrDefault(a => a is not null);
        var retrieval = evaluated.Select(r => RetrievalOf(r.Outcome)).FirstOrDefault(r => r is not null);
        if (accuracy is not null || retrieval is { Recalls.Length: > 0 })
        {
            rows.Add(new ReportRow
            {
                Method = "Chance",
                View = "-",
                Kind = ReportRowKind.Chance,
                LinearProbe = accuracy?.Chance,
                Knn = rows.Any(r => r.Knn is not null) ? accuracy?.Chance : null,
                FineTune = rows.Any(r => r.FineTune is not null) ? accuracy?.Chance : null,
                Recalls = [.. (retrieval?.Recalls ?? []).Select(r => r with { Value = r.Chance })],
            });
        }

        var last = results[^1];
        return new RunReport
        {
            Name = name,
            DataSet = last.DataSet,
            Split = last.Split,
            Classes = accuracy?.ClassNames.Length ?? (retrieval is { ClassNames.Length: > 0 } ? retrieval.ClassNames.Length : null),
            TrainVideos = retrieval?.GallerySize,
            TestVideos = accuracy?.Videos ?? retrieval?.Queries,
            Seed = last.Seed,
            // Stages that ran side by side had a share of the threads: the device is named once, by its largest share.
            Device = string.Join(
                " and ",
                results.Select(r => r.Device).Distinct().GroupBy(d => d.Split(',')[0])
                    .Select(g => g.OrderBy(d => d.Length).ThenBy(d => d, StringComparer.Ordinal).Last())),
            WallSeconds = WallSecondsOf(results),
            FinishedAt = results.Max(r => r.FinishedAt),
            ReferenceCompatible = results.Any(r => r.ReferenceCompatible),
            Rows = [.. rows],
            Motion = results.Select(r => r.Outcome).OfType<DataResult>().Select(d => d.Motion).LastOrDefault(m => m is not null),
            Warnings = [.. results.Select(r => r.Outcome).OfType<DataResult>().SelectMany(d => d.Warnings).Distinct()],
            Stages = [.. results.Select(r => new ReportStage(r.Stage, r.WallSeconds, r.Device))],
        };
    }

    // Time in which at least one stage ran.
    private static double WallSecondsOf(IReadOnlyList<StageResult> results)
    {
        var total = results.Where(r => r.FinishedAt is null).Sum(r => r.WallSeconds);
        var until = DateTimeOffset.MinValue;
        foreach (var (start, end) in results.Where(r => r.FinishedAt is not null)
            .Select(r => (Start: r.FinishedAt!.Value - TimeSpan.FromSeconds(r.WallSeconds), End: r.FinishedAt.Value)).OrderBy(i => i.Start))
        {
            total += Math.Max(0, (end - (start > until ? start : until)).TotalSeconds);
            until = end > until ? end : until;
        }

        return total;
    }

    private static ReportRow Row(IGrouping<(string Method, string View, long Seed), StageResult> group)
    {
        var random = group.Key.Method.StartsWith("Random", StringComparison.OrdinalIgnoreCase);
        var probe = group.Select(r => r.Outcome).OfType<ProbeResult>().LastOrDefault();
        var fineTune = group.Select(r => r.Outcome).OfType<FineTuneResult>().LastOrDefault();
        var fusion = group.Select(r => r.Outcome).OfType<FusionResult>().LastOrDefault();
        var retrieval = group.Select(r => RetrievalOf(r.Outcome)).LastOrDefault(r => r is not null);
        var knn = probe?.Knn.Where(k => k.Vote == "weighted").OrderBy(k => Math.Abs(k.K - 20)).FirstOrDefault();
        return new ReportRow
        {
            Method = group.Key.Method,
            View = group.Key.View,
            Kind = random ? ReportRowKind.Random : ReportRowKind.Learned,
            Epochs = random ? 0 : group.Max(r => r.EpochsTrained),
            Seed = group.Key.Seed,
            LinearProbe = probe?.Accuracy.Top1 ?? fusion?.Probe?.Top1,
            LinearProbeTop5 = probe?.Accuracy.Top5 ?? fusion?.Probe?.Top5,
            ProbeSelection = probe?.Selection ?? (fusion?.Probe is null ? null : fusion.Selection),
            ProbeEpoch = probe?.Epoch,
            Knn = knn?.Top1,
            KnnK = knn?.K,
            FineTune = fineTune?.Accuracy.Top1 ?? fusion?.FineTune?.Top1,
            FineTuneSelection = fineTune?.Selection,
            Recalls = retrieval?.Recalls ?? [],
            Gallery = retrieval?.Gallery,
            ProbeHits = probe?.Hits ?? fusion?.Hits,
            RecallHits = retrieval?.Hits,
        };
    }

    // An evaluation may carry the measure of the untrained network; in the table it is a row of its own.
    private static IEnumerable<StageResult> WithRandomFeatures(StageResult result)
    {
        yield return result;
        Outcome? random = result.Outcome switch
        {
            ProbeResult probe => probe.RandomFeatures,
            RetrievalResult retrieval => retrieval.RandomFeatures,
            FusionResult fusion => fusion.RandomFeatures,
            _ => null,
        };
        if (random is not null)
        {
            yield return result with { Method = "Random features", EpochsTrained = 0, Outcome = random };
        }
    }

    private static Accuracy? AccuracyOf(Outcome outcome) => outcome switch
    {
        ProbeResult probe => probe.Accuracy,
        FineTuneResult fineTune => fineTune.Accuracy,
        FusionResult fusion => fusion.Probe ?? fusion.FineTune,
        _ => null,
    };

    private static RetrievalResult? RetrievalOf(Outcome outcome) => outcome switch
    {
        RetrievalResult retrieval => retrieval,
        FusionResult fusion => fusion.Retrieval,
        _ => null,
    };

    private static int ViewOrder(string view) => view switch
    {
        "rgb" => 0,
        "flow" => 1,
        _ => 2,
    };
}
