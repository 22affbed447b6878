// Why this exists: runs end in many ways before their end; each must say why, in the documented exit code, and lose nothing that was finished.
using System.Diagnostics;
using System.Text.Json;
using CoCLR.Core;
using CoCLR.Core.Events;
using CoCLR.Core.Manifests;
using CoCLR.Runs;

namespace CoCLR.Cli.Tests;

[System.Runtime.Versioning.UnsupportedOSPlatform("windows")]
public sealed class FailureTests(TinyExperiment tiny) : IClassFixture<TinyExperiment>
{
    private static readonly string[] s_mountPrefix = ["-rm", "sh", "-c"];

    [Fact]
    public async Task LossThatIsNotANumber_StopsTheStage_NamingStepRateAndTheLastGoodCheckpoint()
    {
        (string plan, string run) = tiny.NewRun("not-a-number", spec => spec with { Training = spec.Training with { Epochs = 40, Optimizer = spec.Training.Optimizer with { Name = OptimizerName.Sgd, LearningRate = "1000", WeightDecay = "1" } } });
        Finished finished = (await tiny.RunStageAsync(plan, "pretrain-rgb")).Expect(ExitCodes.Failed);
        string folder = Path.Combine(run, "stages", "pretrain-rgb");
        long step = JsonDocument.Parse(await File.ReadAllTextAsync(Path.Combine(folder, "checkpoint.json"), TestContext.Current.CancellationToken)).RootElement.GetProperty("step").GetInt64();
        Assert.Matches($"(NaN|∞|Infinity) at step {step} with learning rate 1000\\. The last good checkpoint is .*checkpoint-0*{step}\\.safetensors \\(step {step}\\)\\.", finished.Errors);
        Assert.Contains("training.optimizer.learningRate", finished.Errors, StringComparison.Ordinal);
        Assert.True(File.Exists(Path.Combine(folder, $"checkpoint-{step:D9}.safetensors")));
        Assert.False(File.Exists(Path.Combine(folder, "result.json")));
    }

    // A node that does not answer may still run the old pod: the new one must not write beside it.
    [Theory]
    [InlineData(false, ExitCodes.Done)]
    [InlineData(true, ExitCodes.Terminated)]
    public async Task StageInAPod_WhoseFolderAnotherProcessHas_WaitsUntilItIsFreeOrItIsAskedToStop(bool asked, int exitCode)
    {
        (string plan, string run) = tiny.NewRun($"taken-{asked}", takeOver: false);
        var environment = new Dictionary<string, string> { ["COCLR_POD_NAME"] = "second", ["COCLR_CACHE_DIR"] = tiny.Cache };
        RunLock held = RunLock.TryTake(new RunFolder(run).Stage("decode"))!;
        using Process second = Coclr.StartWith(environment, "stage", "--plan", plan, "--stage", "decode");
        string? told;
        do
        {
            told = await second.StandardError.ReadLineAsync(TestContext.Current.CancellationToken);
        }
        while (told?.Contains("another process still works on this stage", StringComparison.Ordinal) == false);
        Assert.NotNull(told);
        if (asked)
        {
            Coclr.Signal(second, 15);
            (await Coclr.EndAsync(second)).Expect(exitCode);
            Assert.False(File.Exists(new RunFolder(run).EventsFile("decode")));
        }

        held.Dispose();
        if (!asked)
        {
            (await Coclr.EndAsync(second)).Expect(exitCode);
        }
    }

    [Theory]
    [InlineData("0.5", ExitCodes.Done)]
    [InlineData("0.05", ExitCodes.BadData)]
    public async Task BrokenVideos_AreListedAndLeftOut_UpToTheFractionThatIsAllowed(string maxBadFraction, int exitCode)
    {
        string videos = Path.Combine(tiny.Folder, "broken-" + maxBadFraction);
        Directory.CreateDirectory(videos);
        foreach ((int i, string file) in Videos().Take(4).Index())
        {
            File.Copy(file, Path.Combine(videos, $"whole{i}.mp4"));
        }

        await File.WriteAllTextAsync(Path.Combine(videos, "text.mp4"), "this is not a video", TestContext.Current.CancellationToken);
        await File.WriteAllBytesAsync(Path.Combine(videos, "empty.mp4"), [], TestContext.Current.CancellationToken);
        (string plan, string run) = tiny.NewRun("bad-" + maxBadFraction, spec => spec with { Dataset = spec.Dataset with { Source = new DatasetSource { Path = videos }, MaxBadFraction = maxBadFraction } }, takeOver: false);
        Finished finished = (await tiny.RunStageAsync(plan, "decode")).Expect(exitCode);
        string told = finished.Errors + string.Join('\n', Events(run, "decode").OfType<LogEvent>().Select(e => e.Message));
        Assert.Contains("text.mp4", told, StringComparison.Ordinal);
        Assert.Contains("empty.mp4", told, StringComparison.Ordinal);
        if (exitCode != ExitCodes.Done)
        {
            Assert.Contains("maxBadFraction", finished.Errors, StringComparison.Ordinal);
        }
    }

    [Theory]
    [InlineData("size=1200k", "The disk is full", ExitCodes.DiskFull)]
    [InlineData("ro", "read-only", ExitCodes.BadConfiguration)]
    public async Task RunFolderThatCannotBeWritten_SaysSo_AndKeepsWhatIsFinished(string mount, string words, int exitCode)
    {
        string folder = Directory.CreateDirectory(Path.Combine(tiny.Folder, $"mount-{exitCode}")).FullName;
        if (!await CanMountAsync(folder, mount))
        {
            Assert.Skip("this user may not mount a file system of its own (unshare -rm)");
        }

        string kept = Path.Combine(tiny.Folder, $"kept-{exitCode}");
        using Process process = StartTool("unshare", [.. s_mountPrefix, $"mount -t tmpfs -o {mount} tmpfs '{folder}' && COCLR_CACHE_DIR='{tiny.Cache}' '{Coclr.Path}' run -f '{tiny.ManifestFile}' -w '{folder}'; code=$?; cp -r '{folder}' '{kept}'; exit $code"]);
        Finished finished = (await Coclr.EndAsync(process)).Expect(exitCode);
        Assert.Contains(words, finished.Errors, StringComparison.Ordinal);
        Assert.Contains(folder, finished.Errors, StringComparison.Ordinal);
        Assert.DoesNotContain(", trying again", finished.Errors, StringComparison.Ordinal);
        if (exitCode == ExitCodes.DiskFull)
        {
            // What was finished before is whole, and nothing half-written is left.
            string run = Assert.Single(Directory.GetDirectories(kept, "tiny-*"));
            Assert.True(File.Exists(Path.Combine(run, "stages", "decode", "result.json")));
            Assert.Empty(Directory.EnumerateFiles(run, "*.tmp", SearchOption.AllDirectories));
        }
    }

    [Fact]
    public async Task FolderWithoutPermission_SaysSo()
    {
        string folder = Directory.CreateDirectory(Path.Combine(tiny.Folder, "closed")).FullName;
        using Process who = StartTool("id", "-u");
        bool root = (await Coclr.EndAsync(who)).Output.Trim() == "0";
        if (!root)
        {
            File.SetUnixFileMode(folder, UnixFileMode.UserRead | UnixFileMode.UserExecute);
        }

        // Root may write everywhere: it becomes nobody, who must be able to read the program and the manifest.
        string open = Directory.CreateTempSubdirectory("coclr-open-").FullName;
        File.SetUnixFileMode(open, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute | UnixFileMode.GroupRead | UnixFileMode.GroupExecute | UnixFileMode.OtherRead | UnixFileMode.OtherExecute);
        string manifest = Path.Combine(open, "tiny.yaml");
        File.Copy(tiny.ManifestFile, manifest);
        try
        {
            string runs = root ? open : folder;
            string[] command = [Coclr.Path, "run", "-f", manifest, "-w", Path.Combine(runs, "runs")];
            using Process process = root ? StartTool("setpriv", ["--reuid", "65534", "--regid", "65534", "--clear-groups", .. command]) : StartTool(command[0], command[1..]);
            Finished finished = await Coclr.EndAsync(process);
            if (root && finished.ExitCode is 126 or 127)
            {
                Assert.Skip("nobody may not run the program where it lies");
            }

            Assert.Contains("No permission to write to " + runs, finished.Expect(ExitCodes.BadConfiguration).Errors, StringComparison.Ordinal);
        }
        finally
        {
            Directory.Delete(open, recursive: true);
            File.SetUnixFileMode(folder, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
        }
    }

    [Fact]
    public async Task Sigterm_WhileVideosAreMadeDecodedAndFlowIsComputed_Exits143_AndTheNextStartGoesOn()
    {
        (string plan, string run) = tiny.NewRun(
            "stopped-data",
            spec => spec with
            {
                Dataset = spec.Dataset with { Source = new DatasetSource { Synthetic = new SyntheticSource { Classes = 3, TrainGroups = 6, TestGroups = 2, GroupSize = 2, Frames = 24, Size = 48 } } },
                Flow = spec.Flow with { Algorithm = FlowAlgorithm.TvL1 },
            },
            takeOver: false);
        await StopAsync(plan, run, "decode", "\"phase\":\"make videos\"");
        await StopAsync(plan, run, "decode", "\"phase\":\"decode\"");
        (await tiny.RunStageAsync(plan, "decode")).Expect(0);
        await StopAsync(plan, run, "flow", "\"kind\":\"started\"");
        (await tiny.RunStageAsync(plan, "flow")).Expect(0);
    }

    [Fact]
    public async Task Sigterm_WhileProbing_Exits143()
    {
        (string plan, string run) = tiny.NewRun("stopped-probe", spec => spec with { Training = spec.Training with { Epochs = 0 }, Evaluation = spec.Evaluation with { LinearProbe = spec.Evaluation.LinearProbe with { Epochs = 100_000 } } });
        (await tiny.RunStageAsync(plan, "pretrain-rgb")).Expect(0);
        TinyExperiment.TakeOver(run, run, "pretrain-rgb", "cycle-1-rgb");
        await StopAsync(plan, run, "probe-rgb", "\"phase\":\"probe\"");
    }

    [Fact]
    public async Task CtrlC_StopsTheRunAndItsStage_AndTheSameCommandGoesOn()
    {
        string runs = Path.Combine(tiny.Folder, "interrupted");
        string[] command = ["run", "-f", tiny.ManifestFile, "-w", runs, "--set", "training.epochs=400", "--set", "training.checkpointEverySteps=1000"];
        // A process group of its own and an interrupt that is not ignored, as a terminal gives them: Ctrl-C reaches the run and its stage alike.
        using Process process = StartTool("env", ["--default-signal=INT", "setsid", Coclr.Path, .. command]);
        await UntilInAsync(process, runs, "\"phase\":\"train\"");
        Coclr.SignalGroup(process, 2);
        Finished finished = (await Coclr.EndAsync(process)).Expect(ExitCodes.Terminated);
        Assert.Contains("run the same command again to go on", finished.Errors, StringComparison.Ordinal);
        string stage = Path.Combine(Assert.Single(Directory.GetDirectories(runs, "tiny-*")), "stages", "pretrain-rgb");
        long step = JsonDocument.Parse(await File.ReadAllTextAsync(Path.Combine(stage, "checkpoint.json"), TestContext.Current.CancellationToken)).RootElement.GetProperty("step").GetInt64();

        using Process again = StartTool("env", ["--default-signal=INT", "setsid", Coclr.Path, .. command]);
        await UntilInAsync(again, runs, $"\"resumedAtStep\":{step}");
        Coclr.SignalGroup(again, 2);
        (await Coclr.EndAsync(again)).Expect(ExitCodes.Terminated);
    }

    private static async Task UntilInAsync(Process process, string runs, string words)
    {
        await Coclr.UntilAsync(() => process.HasExited || (Directory.Exists(runs) && Directory.GetDirectories(runs, "tiny-*").Select(d => Path.Combine(d, "stages", "pretrain-rgb", "events.jsonl")).Any(f => File.Exists(f) && Coclr.ReadShared(f).Contains(words, StringComparison.Ordinal))));
        if (process.HasExited)
        {
            Finished finished = await Coclr.EndAsync(process);
            Assert.Fail($"the run ended too early, with exit code {finished.ExitCode}: {finished.Errors}");
        }
    }

    private static Process StartTool(string tool, params string[] arguments)
    {
        var start = new ProcessStartInfo(tool, arguments) { RedirectStandardOutput = true, RedirectStandardError = true };
        start.Environment["OMP_NUM_THREADS"] = "1";
        start.Environment["HOME"] = Path.GetTempPath();
        start.Environment.Remove("COCLR_CACHE_DIR");
        return Process.Start(start)!;
    }

    private static async Task<bool> CanMountAsync(string folder, string mount)
    {
        try
        {
            using Process process = StartTool("unshare", [.. s_mountPrefix, $"mount -t tmpfs -o {mount} tmpfs '{folder}'"]);
            return (await Coclr.EndAsync(process)).ExitCode == 0;
        }
        catch (System.ComponentModel.Win32Exception)
        {
            return false;
        }
    }

    /// <summary>Starts a stage, stops it once its events hold some words, and expects the graceful end.</summary>
    private async Task StopAsync(string plan, string run, string stage, string words)
    {
        string file = Path.Combine(run, "stages", stage, "events.jsonl");
        long before = File.Exists(file) ? new FileInfo(file).Length : 0;
        using Process process = Coclr.Start("stage", "--plan", plan, "--stage", stage, "--cache", tiny.Cache);
        await Coclr.UntilAsync(() => process.HasExited || (File.Exists(file) && Coclr.ReadShared(file) is var text && text.Length > before && text[(int)before..].Contains(words, StringComparison.Ordinal)));
        Coclr.Signal(process, 15);
        (await Coclr.EndAsync(process)).Expect(ExitCodes.Terminated);
        FinishedEvent last = Events(run, stage).OfType<FinishedEvent>().Last();
        Assert.Equal((StageOutcome.Terminated, ExitCodes.Terminated), (last.Outcome, last.ExitCode));
    }

    private static List<RunEvent> Events(string run, string stage) =>
        [.. Coclr.ReadShared(Path.Combine(run, "stages", stage, "events.jsonl")).Split('\n').SkipLast(1).Select(line => JsonSerializer.Deserialize<RunEvent>(line, CoclrJson.Compact)!)];

    private IEnumerable<string> Videos() =>
        Directory.EnumerateFiles(Directory.GetDirectories(tiny.Cache, "synthetic-*").Order(StringComparer.Ordinal).First(), "*.mp4", SearchOption.AllDirectories).Order(StringComparer.Ordinal);
}
