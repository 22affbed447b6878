// Why this exists: an experiment so small that whole runs are tested: its data is made and decoded once for all tests.
using CoCLR.Core.Manifests;
using CoCLR.Core.Planning;

namespace CoCLR.Cli.Tests;

/// <summary>A folder with a manifest of a few synthetic clips and an S3D of a sixteenth of the width.</summary>
public sealed class TinyExperiment : IAsyncLifetime
{
    public const string Manifest = """
        apiVersion: coclr.dev/v1alpha1
        kind: CoCLRExperiment
        metadata: {name: tiny}
        spec:
          dataset:
            source: {synthetic: {classes: 2, trainGroups: 3, testGroups: 2, groupSize: 2, frames: 12, size: 36}}
            storedSize: 36
          model: {backbone: S3DMini, width: "0.0625", projectionSize: 16}
          clip: {frames: 8, size: 32}
          flow: {algorithm: Fast}
          training: {epochs: 3, batchSize: 4, queueSize: 8, checkpointEverySteps: 1}
          cotrain: {cycles: 1, epochsPerTurn: 3, topK: 2}
          evaluation:
            linearProbe: {epochs: 5}
            retrieval: {previews: false}
        """;

    public string Folder { get; } = Directory.CreateTempSubdirectory("coclr-tiny-").FullName;

    public string ManifestFile => Path.Combine(Folder, "tiny.yaml");

    public async ValueTask InitializeAsync()
    {
        await File.WriteAllTextAsync(ManifestFile, Manifest);
        (string plan, string run) = NewRun("prepare");
        foreach (string stage in new[] { "decode", "flow" })
        {
            (await RunStageAsync(plan, stage)).Expect(0);
        }

        Prepared = run;
    }

    public ValueTask DisposeAsync()
    {
        Directory.Delete(Folder, recursive: true);
        return ValueTask.CompletedTask;
    }

    /// <summary>A run folder in which decode and flow are done.</summary>
    public string Prepared { get; private set; } = "";

    public string Cache => Path.Combine(Folder, "cache");

    /// <summary>A fresh run folder with a plan; decode and flow are taken over from the prepared run.</summary>
    public (string Plan, string Run) NewRun(string name, Func<ExperimentSpec, ExperimentSpec>? change = null, bool takeOver = true)
    {
        ExperimentSpec spec = ManifestReader.ReadExperiment(Manifest).Manifest!.Spec;
        StagePlan plan = Planner.Plan("tiny", change == null ? spec : change(spec), name);
        string run = Path.Combine(Folder, name);
        Directory.CreateDirectory(run);
        string file = Path.Combine(run, "plan.json");
        File.WriteAllText(file, System.Text.Json.JsonSerializer.Serialize(plan, CoCLR.Core.CoclrJson.Indented));
        foreach (string stage in Prepared.Length == 0 || !takeOver ? [] : new[] { "decode", "flow" })
        {
            TakeOver(Prepared, run, stage);
        }

        return (file, run);
    }

    /// <summary>Copies a finished stage into another run, or under another name.</summary>
    public static void TakeOver(string from, string to, string stage, string? under = null)
    {
        string target = Path.Combine(to, "stages", under ?? stage);
        Directory.CreateDirectory(target);
        foreach (string file in Directory.EnumerateFiles(Path.Combine(from, "stages", stage)).Where(f => !f.EndsWith(".lock", StringComparison.Ordinal)))
        {
            File.Copy(file, Path.Combine(target, Path.GetFileName(file)), overwrite: true);
        }
    }

    internal Task<Finished> RunStageAsync(string plan, string stage) =>
        Coclr.RunAsync("stage", "--plan", plan, "--stage", stage, "--cache", Cache);
}
