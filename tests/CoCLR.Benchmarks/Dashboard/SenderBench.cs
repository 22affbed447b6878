// Why this exists: sending events must not slow training; the same stage is trained without a dashboard, with one, and with one that is
// away, in turns. Its steps are as short as can be: what a step's events cost is then more than the noise of the step, and more often paid
// than in any real training.
using System.Diagnostics;
using System.Globalization;
using System.Text.Json;
using CoCLR.Core.Events;
using CoCLR.Core.Manifests;
using CoCLR.Core.Planning;
using CoCLR.Runs;

namespace CoCLR.Benchmarks.Dashboard;

/// <summary>What the sender costs a training step.</summary>
internal static class SenderBench
{
    private const string Stage = "pretrain-rgb";

    private const string Manifest = """
        apiVersion: coclr.dev/v1alpha1
        kind: CoCLRExperiment
        metadata: {name: sender}
        spec:
          dataset: {source: {synthetic: {classes: 4, trainGroups: 20, testGroups: 2, groupSize: 2, frames: 20, size: 48}}, storedSize: 45}
          views: [RGB]
          model: {backbone: S3DMini, width: "0.25", projectionSize: 64}
          clip: {frames: 8, size: 32}
          training: {method: InfoNCE, epochs: 40, batchSize: 4, queueSize: 128}
        """;

    /// <summary>The mean step of a training stage, as its events say, and what a dashboard adds to it.</summary>
    /// <param name="folder">Work folder.</param>
    /// <param name="rounds">Turns.</param>
    public static async Task<List<(string, string)>> RunAsync(string folder, int rounds)
    {
        Manifest<ExperimentSpec> manifest = ManifestReader.ReadExperiment(Manifest).Manifest
            ?? throw new InvalidOperationException("the manifest is not valid");
        StagePlan plan = Planner.Plan(manifest.Metadata.Name, manifest.Spec);
        string cache = Path.Combine(folder, "cache");
        RunFolder Folder(string run)
        {
            var made = new RunFolder(Path.Combine(folder, run));
            made.Adopt(plan with { Run = run });
            return made;
        }

        RunFolder decoded = Folder("sender-decoded");
        await StageAsync(decoded, "decode", cache, null, null);
        await using DashboardProcess dashboard =
            await DashboardProcess.StartAsync(Directory.CreateDirectory(Path.Combine(folder, "dashboard")).FullName);
        // A port on which nobody listens.
        var away = new Uri("http://127.0.0.1:9");
        (string Name, Uri? Address)[] ways =
            [("no dashboard", null), ("a dashboard beside it", dashboard.Address), ("a dashboard that is away", away)];
        double[][] steps = [.. ways.Select(_ => new double[rounds])];
        double[][] cpu = [.. ways.Select(_ => new double[rounds])];
        double dashboardCpu = 0, listening = 0;
        for (int round = 0; round < rounds; round++)
        {
            for (int way = 0; way < ways.Length; way++)
            {
                string run = string.Create(CultureInfo.InvariantCulture, $"sender-{round}-{way}");
                RunFolder trained = Folder(run);
                Copy(decoded.Stage("decode"), trained.Stage("decode"));
                string token = Path.Combine(folder, run + ".token");
                await File.WriteAllTextAsync(token, IngestToken.Create(DashboardProcess.Key, run, DateTimeOffset.UtcNow.AddHours(4)));
                (double before, long begun) = (dashboard.CpuSeconds, Stopwatch.GetTimestamp());
                await StageAsync(trained, Stage, cache, ways[way].Address, token);
                if (ways[way].Address == dashboard.Address)
                {
                    dashboardCpu += dashboard.CpuSeconds - before;
                    listening += Stopwatch.GetElapsedTime(begun).TotalSeconds;
                }

                (steps[way][round], cpu[way][round]) = Step(trained.EventsFile(Stage));
            }
        }

        string Added(double[][] figures, int way) =>
            (1000 * DashboardBench.Median(figures[way].Zip(figures[0], (with, without) => with - without)))
                .ToString("+0.00;-0.00;0.00", CultureInfo.InvariantCulture);
        string Milliseconds(double seconds) => (seconds * 1000).ToString("0.00", CultureInfo.InvariantCulture);
        return
        [
            (
                "step without a dashboard: time, CPU (ms)",
                $"{Milliseconds(DashboardBench.Median(steps[0]))}, {Milliseconds(DashboardBench.Median(cpu[0]))}"),
            .. Enumerable.Range(1, ways.Length - 1)
                .Select(way => ($"what {ways[way].Name} adds to it (ms)", $"{Added(steps, way)}, {Added(cpu, way)}")),
            ("processors that the dashboard takes meanwhile", (dashboardCpu / listening).ToString("0.000", CultureInfo.InvariantCulture)),
        ];
    }

    private static async Task StageAsync(RunFolder run, string stage, string cache, Uri? dashboard, string? token)
    {
        string command = Environment.GetEnvironmentVariable("COCLR_COMMAND")
            ?? throw new InvalidOperationException("COCLR_COMMAND is not set: start this with ./coclr bench dashboard sender");
        var start = new ProcessStartInfo(command, ["stage", "--plan", run.PlanFile, "--stage", stage, "--cache", cache])
        {
            RedirectStandardOutput = true, RedirectStandardError = true
        };
        start.Environment["OMP_WAIT_POLICY"] = "PASSIVE";
        if (dashboard != null)
        {
            start.Environment["COCLR_DASHBOARD_URL"] = dashboard.ToString();
            start.Environment["COCLR_DASHBOARD_TOKEN_FILE"] = token;
        }

        using Process process = Process.Start(start)!;
        Task<string> output = process.StandardOutput.ReadToEndAsync(), errors = process.StandardError.ReadToEndAsync();
        await process.WaitForExitAsync();
        await output;
        if (process.ExitCode != 0)
        {
            throw new InvalidOperationException(
                $"{stage} ended with {process.ExitCode.ToString(CultureInfo.InvariantCulture)}: {await errors}");
        }
    }

    // Means over the steps of a stage but its first tenth: seconds, and seconds of CPU of its whole process. Medians would pass over what
    // is paid twice a second.
    private static (double Seconds, double Cpu) Step(string events)
    {
        (double Seconds, double Cores)[] steps =
        [
            .. File.ReadLines(events).Select(line => JsonDocument.Parse(line).RootElement)
                .Where(e => e.GetProperty("kind").GetString() == "metric").Select(e => e.GetProperty("values"))
                .Select(v => (v.GetProperty("speed/step-seconds").GetDouble(), v.GetProperty("system/cpu-cores").GetDouble())),
        ];
        (double Seconds, double Cores)[] warm = steps[(steps.Length / 10)..];
        return (warm.Average(s => s.Seconds), warm.Average(s => s.Seconds * s.Cores));
    }

    private static void Copy(string from, string to)
    {
        Directory.CreateDirectory(to);
        foreach (string file in Directory.EnumerateFiles(from))
        {
            File.Copy(file, Path.Combine(to, Path.GetFileName(file)));
        }

        foreach (string folder in Directory.EnumerateDirectories(from))
        {
            Copy(folder, Path.Combine(to, Path.GetFileName(folder)));
        }
    }
}
