// Why this exists: numbers are half of it: a training on this device must also end as documented when it is stopped, killed or out of
// memory, and go on.
using System.Diagnostics;
using System.Globalization;
using System.Text.Json;
using CoCLR.Core;
using CoCLR.Core.Events;
using CoCLR.Core.Manifests;
using CoCLR.Core.Planning;
using CoCLR.Core.Results;
using CoCLR.Engine;
using CoCLR.Engine.Checks;
using CoCLR.Runs;
using TorchSharp;

namespace CoCLR.Cli.Hosting;

/// <summary>Small trainings as processes of their own, ended in every way.</summary>
/// <param name="device">The device to train on.</param>
/// <param name="small">Sizes for tests.</param>
/// <param name="only">Part of the names of the checks to make.</param>
/// <param name="stop">Ends the processes.</param>
internal sealed class StageChecks(torch.Device device, bool small, string only, CancellationToken stop) : IDisposable
{
    private const string Training = "pretrain-rgb";
    private const string Train = "train";
    private const string FillQueue = "fill queue";
    private const int TooLarge = 12;
    private const string Manifest = """
        apiVersion: coclr.dev/v1alpha1
        kind: CoCLRExperiment
        metadata: {name: check}
        spec:
          views: [RGB]
          dataset:
            source: {synthetic: {classes: 2, trainGroups: 3, testGroups: 2, groupSize: 2, frames: 12, size: 36}}
            storedSize: 36
          model: {backbone: S3DMini, width: "0.0625", projectionSize: 16}
          clip: {frames: 8, size: 32}
          training: {method: InfoNCE, epochs: 60, batchSize: 4, queueSize: 8, checkpointEverySteps: 1}
          evaluation: {retrieval: {previews: false}}
        """;

    private static readonly TimeSpan s_look = TimeSpan.FromMilliseconds(20);
    private readonly string _folder = Directory.CreateTempSubdirectory("coclr-check-").FullName;
    private readonly ExperimentSpec _spec = Spec(device, small);

    /// <summary>Makes the checks, one after the other.</summary>
    public async IAsyncEnumerable<CheckRow> RunAsync()
    {
        var checks = new List<(string Name, double Tolerance, Func<Task<(double, string?)>> Check)>
        {
            ("a training from its beginning to its end, exit code", 0, UnbrokenAsync),
            ("SIGTERM while a training begins, exit code off from 143", 0, () => StoppedAsync("begins", FillQueue)),
            ("SIGTERM and kill -9 in the steps, then resume, change of the loss", device.type == DeviceType.CPU ? 0 : 0.05, BrokenAsync),
        };
        if (device.type != DeviceType.CPU)
        {
            // A processor's memory is everybody's: there the system ends a process, and nothing can be checked.
            checks.Add(("memory full: exit code off from 1, one sentence", 0, MemoryFullAsync));
        }

        if (!checks.Any(c => c.Name.Contains(only, StringComparison.OrdinalIgnoreCase)))
        {
            yield break;
        }

        (int code, string errors) = await EndAsync(Start(NewRun("prepare", _spec), "decode")).ConfigureAwait(false);
        if (code != ExitCodes.Done)
        {
            yield return new CheckRow("data for the trainings", null, 0, code, 0, errors);
            yield break;
        }

        checks.RemoveAll(c => !c.Name.Contains(only, StringComparison.OrdinalIgnoreCase));
        foreach ((string name, double tolerance, Func<Task<(double, string?)>> check) in checks)
        {
            long begun = Stopwatch.GetTimestamp();
            (double difference, string? note) = await check().ConfigureAwait(false);
            yield return new CheckRow(name, null, tolerance, difference, Stopwatch.GetElapsedTime(begun).TotalSeconds, note);
        }
    }

    /// <inheritdoc/>
    public void Dispose() => Directory.Delete(_folder, recursive: true);

    private static ExperimentSpec Spec(torch.Device device, bool small)
    {
        ExperimentSpec spec = ManifestReader.ReadExperiment(Manifest).Manifest!.Spec;
        string name =
            device.type == DeviceType.CPU ? "cpu" : string.Create(CultureInfo.InvariantCulture, $"cuda:{Math.Max(0, device.index)}");
        return spec with { Device = name, Training = spec.Training with { Epochs = small ? 12 : spec.Training.Epochs } };
    }

    private async Task<(double Difference, string? Note)> UnbrokenAsync()
    {
        (int code, string errors) = await EndAsync(Start(NewRun("unbroken", _spec), Training)).ConfigureAwait(false);
        return (code, code == ExitCodes.Done ? null : errors);
    }

    /// <summary>Stops a training when it reaches a phase.</summary>
    private async Task<(double Difference, string? Note)> StoppedAsync(string run, string phase)
    {
        RunFolder folder = NewRun(run, _spec);
        Process process = Start(folder, Training);
        await ReachedAsync(process, folder, phase, 0).ConfigureAwait(false);
        ProcessSignals.Terminate(process);
        (int code, string errors) = await EndAsync(process).ConfigureAwait(false);
        return (Math.Abs(code - ExitCodes.Terminated), code == ExitCodes.Terminated ? null : Ended(code, errors));
    }

    private async Task<(double Difference, string? Note)> BrokenAsync()
    {
        (double off, string? note) = await StoppedAsync("broken", Train).ConfigureAwait(false);
        if (off != 0)
        {
            return (double.NaN, note);
        }

        RunFolder folder = new(Path.Combine(_folder, "broken"));
        Process killed = Start(folder, Training);
        await ReachedAsync(killed, folder, Train, 1).ConfigureAwait(false);
        killed.Kill();
        await EndAsync(killed).ConfigureAwait(false);
        (int code, string errors) = await EndAsync(Start(folder, Training)).ConfigureAwait(false);
        if (code != ExitCodes.Done)
        {
            return (double.NaN, Ended(code, errors));
        }

        var whole = new RunFolder(Path.Combine(_folder, "unbroken"));
        if (!whole.HasSucceeded(Training) && await UnbrokenAsync().ConfigureAwait(false) is { Difference: not 0 } failed)
        {
            return (double.NaN, failed.Note);
        }

        (double loss, double expected) = (Loss(folder), Loss(whole));
        return (Math.Abs(loss - expected) / Math.Abs(expected), null);
    }

    /// <summary>A batch that does not fit: libtorch may take no more than a gibibyte of the card.</summary>
    private async Task<(double Difference, string? Note)> MemoryFullAsync()
    {
        if (DeviceMemory.Total(device) is not { } total)
        {
            return (double.NaN, "the driver does not say how large the card's memory is");
        }

        ExperimentSpec spec = _spec with
        {
            Model = _spec.Model with { Backbone = BackboneName.S3D },
            Clip = _spec.Clip with { Frames = 16, Size = 112 },
            Training = _spec.Training with { BatchSize = TooLarge, QueueSize = 2 * TooLarge },
        };
        string limit = string.Create(CultureInfo.InvariantCulture, $"per_process_memory_fraction:{(1L << 30) / (double)total:0.0000}");
        (int code, string errors) =
            await EndAsync(Start(NewRun("full", spec), Training, new Dictionary<string, string> { ["PYTORCH_CUDA_ALLOC_CONF"] = limit }))
            .ConfigureAwait(false);
        string[] wanted =
            [$"a batch of {TooLarge} clips of 3x16x112x112 does not fit the memory of", "training.batchSize to ", "no step was kept yet"];
        bool told = wanted.All(w => errors.Contains(w, StringComparison.Ordinal)) && errors.TrimEnd().Split('\n').Length == 1;
        return (Math.Abs(code - ExitCodes.Failed) + (told ? 0 : 1), errors.Trim());
    }

    private static double Loss(RunFolder folder) => ((PretrainResult)folder.ReadResult(Training).Outcome).Loss;

    private static string Ended(int code, string errors) => $"ended with {code}{(errors.Length == 0 ? "" : ": " + errors.Trim())}";

    /// <summary>A run folder whose data is that of the first one.</summary>
    private RunFolder NewRun(string name, ExperimentSpec spec)
    {
        var folder = new RunFolder(Path.Combine(_folder, name));
        Directory.CreateDirectory(folder.Root);
        File.WriteAllText(folder.PlanFile, JsonSerializer.Serialize(Planner.Plan("check", spec, name), CoclrJson.Indented));
        string decoded = new RunFolder(Path.Combine(_folder, "prepare")).ResultFile("decode");
        if (File.Exists(decoded))
        {
            Directory.CreateDirectory(folder.Stage("decode"));
            File.Copy(decoded, folder.ResultFile("decode"), overwrite: true);
        }

        return folder;
    }

    private Process Start(RunFolder folder, string stage, IReadOnlyDictionary<string, string>? environment = null)
    {
        string[] arguments = ["stage", "--plan", folder.PlanFile, "--stage", stage, "--cache", Path.Combine(_folder, "cache")];
        var start =
            new ProcessStartInfo(Environment.ProcessPath!, arguments) { RedirectStandardOutput = true, RedirectStandardError = true };
        start.Environment.Remove("COCLR_DASHBOARD_URL");
        start.Environment.Remove("COCLR_RUN_DIR");
        foreach ((string name, string value) in environment ?? new Dictionary<string, string>())
        {
            start.Environment[name] = value;
        }

        return Process.Start(start)!;
    }

    private async Task<(int Code, string Errors)> EndAsync(Process process)
    {
        using (process)
        {
            try
            {
                Task<string> errors = process.StandardError.ReadToEndAsync(stop);
                await process.StandardOutput.ReadToEndAsync(stop).ConfigureAwait(false);
                await process.WaitForExitAsync(stop).ConfigureAwait(false);
                return (process.ExitCode, await errors.ConfigureAwait(false));
            }
            catch (OperationCanceledException)
            {
                process.Kill();
                throw;
            }
        }
    }

    /// <summary>Waits until the newest attempt of a training after some has told a phase, or has ended.</summary>
    private async Task ReachedAsync(Process process, RunFolder folder, string phase, int attemptsBefore)
    {
        var tail = new EventTail(folder.EventsFile(Training));
        while (!process.HasExited)
        {
            if (tail.Read().OfType<ProgressEvent>().Any(e => e.Attempt > attemptsBefore && e.Phase == phase))
            {
                return;
            }

            await Task.Delay(s_look, stop).ConfigureAwait(false);
        }
    }
}
