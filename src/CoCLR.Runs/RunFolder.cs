// Why this exists: the one place that knows the layout of a run folder (docs/architecture.md) and that two processes must not share one.
using System.Text.Json;
using System.Text.RegularExpressions;
using CoCLR.Core;
using CoCLR.Core.Planning;
using CoCLR.Core.Results;

namespace CoCLR.Runs;

/// <summary>A run on disk: <c>plan.json</c>, <c>stages/NAME/...</c>, <c>report.json</c>, <c>report.md</c>.</summary>
/// <param name="path">The folder.</param>
public sealed partial class RunFolder(string path)
{
    /// <summary>Name of the plan; also its key in the ConfigMap of a run.</summary>
    public const string PlanName = "plan.json";

    /// <summary>Name of the report for programs.</summary>
    public const string ReportName = "report.json";

    /// <summary>Name of the report for people.</summary>
    public const string ReportMarkdownName = "report.md";

    /// <summary>Name of the events of a stage.</summary>
    public const string EventsName = "events.jsonl";

    /// <summary>Name of the result of a stage.</summary>
    public const string ResultName = "result.json";

    /// <summary>Name of the newest checkpoint of a stage.</summary>
    public const string CheckpointName = "checkpoint.safetensors";

    /// <summary>Name of the description of the newest checkpoint.</summary>
    public const string CheckpointInfoName = "checkpoint.json";

    /// <summary>Name of the folder of small playing previews of clips.</summary>
    public const string PreviewsName = "previews";

    /// <summary>Name of the folder of a stage's artifacts.</summary>
    public const string ArtifactsName = "artifacts";

    private const string StagesName = "stages";
    private const string FeaturesName = "features";

    /// <summary>The folder.</summary>
    public string Root { get; } = Path.GetFullPath(path);

    /// <summary>The plan.</summary>
    public string PlanFile => Path.Combine(Root, PlanName);

    /// <summary>The report for programs.</summary>
    public string ReportFile => Path.Combine(Root, ReportName);

    /// <summary>The report of a finished run.</summary>
    public RunReport ReadReport() => ResultJson.Read<RunReport>(File.ReadAllText(ReportFile), ReportFile);

    /// <summary>The report for people.</summary>
    public string ReportMarkdownFile => Path.Combine(Root, ReportMarkdownName);

    /// <summary>Small playing previews of clips.</summary>
    public string Previews => Path.Combine(Root, PreviewsName);

    /// <summary>The folder of the stages' folders.</summary>
    public string Stages => Path.Combine(Root, StagesName);

    /// <summary>Stores that the runs beside this one share, where nothing else is said.</summary>
    public string SharedCache => Path.Combine(Path.GetDirectoryName(Path.TrimEndingDirectorySeparator(Root)) ?? Root, Workspace.CacheName);

    /// <summary>Whether an id of a run or a stage is a plain name, so that it may become a folder.</summary>
    /// <param name="name">The name.</param>
    public static bool IsName(string? name) => name is { Length: > 0 and <= 100 } && NamePattern().IsMatch(name);

    /// <summary>Whether a folder looks like a run's.</summary>
    /// <param name="folder">Any folder.</param>
    public static bool IsRun(string folder) =>
        File.Exists(Path.Combine(folder, PlanName)) || Directory.Exists(Path.Combine(folder, StagesName));

    /// <summary>Names of the stages that have a folder, not reached over a link.</summary>
    public IReadOnlyList<string> StageNames() => Directory.Exists(Stages)
        ? [
            .. new DirectoryInfo(Stages).EnumerateDirectories().Where(d => IsName(d.Name) && d.LinkTarget == null).Select(d => d.Name)
                .Order(StringComparer.Ordinal)]
        : [];

    /// <summary>Features that a checkpoint gives, kept for probe, retrieval and fusion.</summary>
    /// <param name="checkpoint">The stage of the checkpoint, or a name for an untrained network.</param>
    public string Features(string checkpoint) => Path.Combine(Root, FeaturesName, checkpoint);

    /// <summary>An artifact, as a path below the run folder with forward slashes.</summary>
    /// <param name="stage">A stage name.</param>
    /// <param name="name">Name of the artifact.</param>
    public static string RelativeArtifact(string stage, string name) => $"{StagesName}/{stage}/{ArtifactsName}/{name}";

    /// <summary>The features of a checkpoint, as a path below the run folder with forward slashes.</summary>
    /// <param name="checkpoint">As in <see cref="Features"/>.</param>
    public static string RelativeFeatures(string checkpoint) => $"{FeaturesName}/{checkpoint}";

    /// <summary>What of a stage's events has reached a dashboard.</summary>
    /// <param name="stage">A stage name.</param>
    public string EventsSentFile(string stage) => Path.Combine(Stage(stage), "events.sent");

    /// <summary>Which of a stage's artifacts have reached a dashboard.</summary>
    /// <param name="stage">A stage name.</param>
    public string ArtifactsSentFile(string stage) => Path.Combine(Stage(stage), "artifacts.sent");

    /// <summary>Folder of a stage.</summary>
    /// <param name="stage">A stage name.</param>
    public string Stage(string stage) => Path.Combine(Root, StagesName, stage);

    /// <summary>Result of a stage; there once the stage has succeeded.</summary>
    /// <param name="stage">A stage name.</param>
    public string ResultFile(string stage) => Path.Combine(Stage(stage), ResultName);

    /// <summary>Events of a stage, all attempts.</summary>
    /// <param name="stage">A stage name.</param>
    public string EventsFile(string stage) => Path.Combine(Stage(stage), EventsName);

    /// <summary>Artifacts of a stage.</summary>
    /// <param name="stage">A stage name.</param>
    public string Artifacts(string stage) => Path.Combine(Stage(stage), ArtifactsName);

    /// <summary>Whether a stage has succeeded.</summary>
    /// <param name="stage">A stage name.</param>
    public bool HasSucceeded(string stage) => File.Exists(ResultFile(stage));

    /// <summary>Reads the result of a stage.</summary>
    /// <param name="stage">A stage name.</param>
    /// <exception cref="UserErrorException">The stage has not succeeded (66) or its result is damaged (65).</exception>
    public StageResult ReadResult(string stage)
    {
        string file = ResultFile(stage);
        return File.Exists(file)
            ? ResultJson.Read<StageResult>(File.ReadAllText(file), file)
            : throw new UserErrorException(
                $"{Stage(stage)} has no {ResultName}: run the stage {stage} first (coclr run does it in order).", ExitCodes.MissingInput);
    }

    /// <summary>Writes the report for programs and the one for people.</summary>
    /// <param name="report">The report.</param>
    /// <exception cref="UserErrorException">The folder cannot be written (1, 78).</exception>
    public void WriteReport(RunReport report)
    {
        WholeFile.WriteText(ReportFile, ResultJson.Write(report));
        WholeFile.WriteText(ReportMarkdownFile, ReportWriter.Markdown(report));
    }

    /// <summary>Reads plan.json.</summary>
    /// <param name="file">The file.</param>
    /// <exception cref="UserErrorException">It is missing (66) or damaged (65).</exception>
    public static StagePlan ReadPlan(string file)
    {
        try
        {
            return JsonSerializer.Deserialize<StagePlan>(File.ReadAllText(file), CoclrJson.Compact) ?? throw new JsonException("is empty");
        }
        catch (JsonException e)
        {
            throw new UserErrorException($"{file} is not a stage plan: {e.Message}", ExitCodes.BadData, e);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new UserErrorException($"Cannot read the plan {file}: {e.Message}", ExitCodes.MissingInput, e);
        }
    }

    /// <summary>Writes plan.json, or accepts the one that is there when it is of the same spec.</summary>
    /// <param name="plan">The plan.</param>
    /// <exception cref="UserErrorException">The folder belongs to another manifest (78) or cannot be written (1).</exception>
    public void Adopt(StagePlan plan)
    {
        if (File.Exists(PlanFile) && ReadPlan(PlanFile) is var there && there.SpecHash != plan.SpecHash)
        {
            throw new UserErrorException($"{Root} holds a run of another manifest ({there.Experiment}, spec {there.SpecHash[..8]}, not "
                + $"{plan.SpecHash[..8]}): choose another --workdir or remove that folder.", ExitCodes.BadConfiguration);
        }

        WholeFile.WriteText(PlanFile, JsonSerializer.Serialize(plan, CoclrJson.Indented));
    }

    /// <summary>
    /// Writes plan.json where there is none: in a pod the plan comes from outside the run folder, which must say by itself what it holds.
    /// </summary>
    /// <param name="plan">The plan.</param>
    public void Complete(StagePlan plan)
    {
        if (!File.Exists(PlanFile))
        {
            WholeFile.WriteText(PlanFile, JsonSerializer.Serialize(plan, CoclrJson.Indented));
        }
    }

    /// <summary>Takes the folder (or one stage of it) for this process; released when disposed or when the process dies.</summary>
    /// <param name="stage">A stage, or null for the whole run.</param>
    /// <exception cref="UserErrorException">Another process has it (1), or it cannot be written.</exception>
    public IDisposable Lock(string? stage = null) => TryLock(stage) ?? throw new UserErrorException(
        $"Another process is working in {Place(stage)}{(RunLock.HolderOf(Place(stage)) is { } holder ? $" ({holder})" : "")}: wait for it "
            + $"or stop it, then run this again.",
        ExitCodes.Failed);

    /// <summary>Takes the folder (or one stage of it) as <see cref="Lock"/> does.</summary>
    /// <param name="stage">A stage, or null for the whole run.</param>
    /// <returns>Null while another process has it.</returns>
    /// <exception cref="UserErrorException">It cannot be written.</exception>
    public IDisposable? TryLock(string? stage = null)
    {
        string folder = Place(stage);
        try
        {
            return RunLock.TryTake(folder);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new UserErrorException(
                $"Cannot write to {folder}: {e.Message} Choose another --workdir or fix its permissions.", ExitCodes.BadConfiguration, e);
        }
    }

    private string Place(string? stage) => stage == null ? Root : Stage(stage);

    [GeneratedRegex("^[a-z0-9]([-a-z0-9._]*[a-z0-9])?$", RegexOptions.NonBacktracking)]
    private static partial Regex NamePattern();
}
