// Why this exists: results and the large tables beside them (neighbours, projection, confusion) are read from the run folder when a page
// asks, and kept a while.
using System.Globalization;
using System.Text;
using System.Text.Json;
using CoCLR.Core;
using CoCLR.Core.Results;
using CoCLR.Runs;
using Microsoft.Extensions.Caching.Memory;

namespace CoCLR.Dashboard.Storage;

/// <summary>A look at the representation while it was learned.</summary>
/// <param name="Stage">Training stage.</param>
/// <param name="Epoch">Epochs completed.</param>
/// <param name="Artifact">Where it is kept.</param>
public sealed record WatchedLook(string Stage, int Epoch, ArtifactInfo Artifact);

/// <summary>Reads results of runs.</summary>
public sealed class RunResults(IMemoryCache cache, ILogger<RunResults> logger)
{
    private const long MaxTable = 256 << 20;
    private const string WatchedName = "watched-";
    private static readonly string[] Views = ["rgb", "flow", "two-stream"];

    /// <summary>
    /// Linear probe (top-1) of a learned representation, a fraction; null where a stage measured something else or an untrained network.
    /// </summary>
    public static double? LearnedProbe(StageResult result) =>
        Learned(result) switch { ProbeResult p => p.Accuracy.Top1, FusionResult f => f.Probe?.Top1, _ => null };

    /// <summary>Recall at 1 of a learned representation, a fraction; null as above.</summary>
    public static double? LearnedRecallAt1(StageResult result) =>
        Learned(result) switch { RetrievalResult r => r.RecallAt(1), FusionResult f => f.Retrieval?.RecallAt(1), _ => null };

    private static Outcome? Learned(StageResult result) =>
        result.Method.StartsWith("Random", StringComparison.OrdinalIgnoreCase) ? null : result.Outcome;

    /// <summary>Results of all stages that have one, in the order of the plan.</summary>
    /// <param name="run">The run.</param>
    public IReadOnlyList<StageResult> All(RunInfo run)
    {
        ArgumentNullException.ThrowIfNull(run);
        var results = new List<StageResult>();
        foreach (StageInfo stage in run.Stages.Where(s => s.ResultJson != null))
        {
            StageResult? result = cache.GetOrCreate((stage.ResultJson!, typeof(StageResult)), entry =>
            {
                entry.SetSize(stage.ResultJson!.Length * 2).SetSlidingExpiration(TimeSpan.FromMinutes(10));
                try
                {
                    return ResultJson.Read<StageResult>(stage.ResultJson!, stage.Name);
                }
                catch (UserErrorException e)
                {
                    logger.LogWarning("{Message}", e.Message);
                    return null;
                }
            });
            if (result != null)
            {
                results.Add(result);
            }
        }

        return results;
    }

    /// <summary>The run's table, or null while nothing is measured.</summary>
    /// <param name="run">The run.</param>
    public RunReport? Report(RunInfo run)
    {
        // The report stage also knows the untrained network's numbers; before it is done, the table is made of what is there.
        if (run.Stage("report") is { Phase: CoCLR.Core.Planning.StagePhase.Succeeded } && Whole(run) is { } whole)
        {
            return whole;
        }

        IReadOnlyList<StageResult> results = All(run);
        return results.Any(r => r.Outcome is not PretrainResult)
            ? RunReport.From(run.Experiment.Length > 0 ? run.Experiment : run.Run, results)
            : null;
    }

    private RunReport? Whole(RunInfo run) => cache.GetOrCreate(("report", run.Folder, run.Cursor), entry =>
    {
        entry.SetSize(16 << 10).SetSlidingExpiration(TimeSpan.FromMinutes(5));
        using FileStream? stream = ArtifactFiles.Open(run.Folder, RunFolder.ReportName);
        if (stream == null || stream.Length > 16 << 20)
        {
            // An uploaded report may follow the last event.
            entry.SetAbsoluteExpiration(TimeSpan.FromSeconds(2));
            return null;
        }

        try
        {
            using var reader = new StreamReader(stream, Encoding.UTF8);
            return ResultJson.Read<RunReport>(reader.ReadToEnd(), RunFolder.ReportName);
        }
        catch (Exception e) when (e is UserErrorException or IOException)
        {
            logger.LogWarning("{Message}", e.Message);
            return null;
        }
    });

    /// <summary>Views for which a table of neighbours exists.</summary>
    /// <param name="run">The run.</param>
    public IReadOnlyList<string> NeighbourViews(RunInfo run) => [.. Views.Where(v => Find(run, "neighbours", v) != null)];

    /// <summary>Nearest neighbours of the queries.</summary>
    /// <param name="run">The run.</param>
    /// <param name="view">rgb, flow or two-stream.</param>
    public NeighbourTable? Neighbours(RunInfo run, string view) => Read<NeighbourTable>(run, Find(run, "neighbours", view));

    /// <summary>Looks at the neighbours of a few training videos while the run learned, by stage and epoch.</summary>
    /// <param name="run">The run.</param>
    public static IReadOnlyList<WatchedLook> Watched(RunInfo run) =>
    [
        .. Artifacts(run, WatchedName).Select(a => (Look: a, Epoch: Path.GetFileNameWithoutExtension(a.Name)[WatchedName.Length..]))
            .Where(a => int.TryParse(a.Epoch, NumberStyles.None, CultureInfo.InvariantCulture, out _))
            .Select(a => new WatchedLook(a.Look.Stage, int.Parse(a.Epoch, CultureInfo.InvariantCulture), a.Look)).OrderBy(l => l.Epoch),
    ];

    /// <summary>What was nearest at a look.</summary>
    /// <param name="run">The run.</param>
    /// <param name="look">One of <see cref="Watched"/>.</param>
    public NeighbourTable? Neighbours(RunInfo run, WatchedLook look)
    {
        ArgumentNullException.ThrowIfNull(look);
        return Read<NeighbourTable>(run, look.Artifact);
    }

    /// <summary>Points of the projections, by artifact.</summary>
    /// <param name="run">The run.</param>
    public IReadOnlyList<ArtifactInfo> Projections(RunInfo run) => Artifacts(run, "projection");

    /// <summary>A projection.</summary>
    /// <param name="run">The run.</param>
    /// <param name="artifact">One of <see cref="Projections"/>.</param>
    public Projection? Projection(RunInfo run, ArtifactInfo artifact) => Read<Projection>(run, artifact);

    /// <summary>The confusion of a stage with the videos behind its cells.</summary>
    /// <param name="run">The run.</param>
    /// <param name="stage">A probe, fine-tune or fuse stage.</param>
    public ConfusionTable? Confusion(RunInfo run, string stage) =>
        Read<ConfusionTable>(run, Artifacts(run, "confusion").FirstOrDefault(a => a.Stage == stage));

    private static ArtifactInfo? Find(RunInfo run, string name, string view)
    {
        string stage = view == "two-stream" ? "fuse" : $"retrieve-{view}";
        ArtifactInfo[] found = Artifacts(run, name);
        return found.FirstOrDefault(a => a.Stage == stage) ?? found.FirstOrDefault(a => a.Name.Contains(view, StringComparison.Ordinal));
    }

    private static ArtifactInfo[] Artifacts(RunInfo run, string name) =>
        [
            .. run.Stages.SelectMany(s => s.Artifacts)
                .Where(
                    a => Path.GetFileName(a.Name).StartsWith(name, StringComparison.Ordinal)
                        && a.Name.EndsWith(".json", StringComparison.Ordinal))];

    private T? Read<T>(RunInfo run, ArtifactInfo? artifact)
        where T : class
    {
        if (artifact == null)
        {
            return null;
        }

        return cache.GetOrCreate((artifact.Id, artifact.Sha256, typeof(T)), entry =>
        {
            entry.SetSize(1024).SetSlidingExpiration(TimeSpan.FromMinutes(5));
            using FileStream? stream = ArtifactFiles.Open(run.Folder, artifact.File);
            if (stream == null || stream.Length > MaxTable)
            {
                entry.SetAbsoluteExpiration(TimeSpan.FromSeconds(2));
                return null;
            }

            entry.SetSize(stream.Length * 3);
            try
            {
                using var reader = new StreamReader(stream, Encoding.UTF8);
                return ResultJson.Read<T>(reader.ReadToEnd(), artifact.Name);
            }
            catch (Exception e) when (e is UserErrorException or IOException or JsonException)
            {
                logger.LogWarning("{Message}", e.Message);
                entry.SetAbsoluteExpiration(TimeSpan.FromSeconds(10));
                return null;
            }
        });
    }
}
