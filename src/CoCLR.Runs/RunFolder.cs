// Why this exists: the one place that knows the layout of a run folder (docs/architecture.md) and that two processes must not share one.
using System.Text.Json;
using CoCLR.Core;
using CoCLR.Core.Planning;
using CoCLR.Core.Results;
using CoCLR.Runs;

namespace CoCLR.Runs;

/// <summary>A run on disk: <c>plan.json</c>, <c>stages/NAME/...</c>, <c>report.json</c>, <c>report.md</c>.</summary>
/// <param name="path">The folder.</param>
public sealed class RunFolder(string path)
{
    /// <summary>The folder.</summary>
    public string Root { get; } = Path.GetFullPath(path);

    /// <summary>The plan.</summary>
    public string PlanFile => Path.Combine(Root, "plan.json");

    /// <summary>The report for programs.</summary>
    public string ReportFile => Path.Combine(Root, "report.json");

    /// <summary>The report of a finished run.</summary>
    public RunReport ReadReport() => ResultJson.Read<RunReport>(File.ReadAllText(ReportFile), ReportFile);

    /// <summary>The report for people.</summary>
    public string ReportMarkdownFile => Path.Combine(Root, "report.md");

    /// <summary>Small playing previews of clips.</summary>
    public string Previews => Path.Combine(Root, "previews");

    /// <summary>Folder of a stage.</summary>
    /// <param name="stage">A stage name.</param>
    public string Stage(string stage) => Path.Combine(Root, "stages", stage);

    /// <summary>Result of a stage; there once the stage has succeeded.</summary>
    /// <param name="stage">A stage name.</param>
    public string ResultFile(string stage) => Path.Combine(Stage(stage), "result.json");

    /// <summary>Events of a stage, all attempts.</summary>
    /// <param name="stage">A stage name.</param>
    public string EventsFile(string stage) => Path.Combine(Stage(stage), "events.jsonl");

    /// <summary>Artifacts of a stage.</summary>
    /// <param name="stage">A stage name.</param>
    public string Artifacts(string stage) => Path.Combine(Stage(stage), "artifacts");

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
            : throw new UserErrorException($"{Stage(stage)} has no result.json: run the stage {stage} first (coclr run does it in order).", ExitCodes.MissingInput);
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
            throw new UserErrorException($"{Root} holds a run of another manifest ({there.Experiment}, spec {there.SpecHash[..8]}, not {plan.SpecHash[..8]}): choose another --workdir or remove that folder.", ExitCodes.BadConfiguration);
        }

        WholeFile.WriteText(PlanFile, JsonSerializer.Serialize(plan, CoclrJson.Indented));
    }

    /// <summary>Takes the folder (or one stage of it) for this process; released when disposed or when the process dies.</summary>
    /// <param name="stage">A stage, or null for the whole run.</param>
    /// <exception cref="UserErrorException">Another process has it (1), or it cannot be written.</exception>
    public IDisposable Lock(string? stage = null)
    {
        string folder = stage == null ? Root : Stage(stage);
        try
        {
            return RunLock.TryTake(folder) ?? throw new UserErrorException(
                $"Another process is working in {folder}{(RunLock.HolderOf(folder) is { } holder ? $" ({holder})" : "")}: wait for it or stop it, then run this again.", ExitCodes.Failed);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new UserErrorException($"Cannot write to {folder}: {e.Message} Choose another --workdir or mend its permissions.", ExitCodes.BadConfiguration, e);
        }
    }
}
