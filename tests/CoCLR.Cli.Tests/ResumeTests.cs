// Why this exists: a run that is killed, stopped or damaged goes on exactly where it stood; nothing is lost and nothing is different.
using System.Diagnostics;
using System.Text.Json;
using CoCLR.Core;
using CoCLR.Core.Events;
using CoCLR.Core.Manifests;
using CoCLR.Core.Results;

namespace CoCLR.Cli.Tests;

public sealed class ResumeTests(TinyExperiment tiny) : IClassFixture<TinyExperiment>
{
    private const int Kills = 20;

    [Theory]
    [InlineData("pretrain-rgb", false)]
    [InlineData("cycle-1-rgb", true)]
    [InlineData("cycle-1-rgb", true, true)]
    public async Task KilledAtRandomMoments_EndsBitForBitLikeTheUnbrokenRun(string stage, bool batchNegatives, bool wholeVideos = false)
    {
        ExperimentSpec Change(ExperimentSpec spec) => spec with
        {
            Training = spec.Training with { BatchNegatives = batchNegatives },
            Cotrain = (spec.Cotrain with { MineIn = batchNegatives ? MiningSpace.Features : MiningSpace.Projection }) is var cotrain
                && wholeVideos
                ? cotrain with { MineAmong = MiningScope.Videos, MineWith = MiningViews.Both, Whiten = 4, QueueSize = 12 }
                : cotrain,
        };
        string kind = wholeVideos ? $"{stage}-videos" : stage;
        (string unbrokenPlan, string unbroken) = tiny.NewRun($"unbroken-{kind}", Change);
        (string brokenPlan, string broken) = tiny.NewRun($"broken-{kind}", Change);
        if (stage != "pretrain-rgb")
        {
            foreach (string before in new[] { "pretrain-rgb", "pretrain-flow" })
            {
                (await tiny.RunStageAsync(unbrokenPlan, before)).Expect(0);
                TinyExperiment.TakeOver(unbroken, broken, before);
            }
        }

        (await tiny.RunStageAsync(unbrokenPlan, stage)).Expect(0);

        // Kill after a random time: while the process starts, loads, fills the queue, trains, or writes a checkpoint. The range begins at
        // the time that a start takes here and grows, so that kills fall everywhere on slow machines too.
        var random = new Random(20);
        int kills = 0;
        int reach = 400;
        for (; kills < Kills && !Succeeded(broken, stage); kills++)
        {
            using Process process = Coclr.Start("stage", "--plan", brokenPlan, "--stage", stage, "--cache", tiny.Cache);
            await Task.Delay(random.Next(100, reach), TestContext.Current.CancellationToken);
            process.Kill();
            await process.WaitForExitAsync(TestContext.Current.CancellationToken);
            reach = Math.Min(reach + 150, 4000);
        }

        (await tiny.RunStageAsync(brokenPlan, stage)).Expect(0);
        Assert.True(kills > 0);
        Assert.Equal(DataHash(unbroken, stage), DataHash(broken, stage));
        Assert.Equal(Metrics(unbroken, stage), Metrics(broken, stage));
        Assert.Equal(LossOf(unbroken, stage), LossOf(broken, stage));
    }

    [Fact]
    public async Task Sigterm_WritesACheckpoint_AndExits143_AndTheRunGoesOn()
    {
        (string plan, string run) =
            tiny.NewRun("terminated", spec => spec with { Training = spec.Training with { Epochs = 400, CheckpointEverySteps = null } });
        using Process process = Coclr.Start("stage", "--plan", plan, "--stage", "pretrain-rgb", "--cache", tiny.Cache);
        await Coclr.UntilAsync(
            () => File.Exists(Events(run, "pretrain-rgb"))
                && File.ReadAllText(Events(run, "pretrain-rgb")).Contains("\"phase\":\"train\"", StringComparison.Ordinal));
        Coclr.Signal(process, 15);
        Finished finished = await Coclr.EndAsync(process);
        finished.Expect(ExitCodes.Terminated);
        long step = Checkpoint(run, "pretrain-rgb").GetProperty("step").GetInt64();
        Assert.True(step > 0);
        FinishedEvent last = ReadEvents(run, "pretrain-rgb").OfType<FinishedEvent>().Last();
        Assert.Equal((StageOutcome.Terminated, ExitCodes.Terminated), (last.Outcome, last.ExitCode));

        using Process again = Coclr.Start("stage", "--plan", plan, "--stage", "pretrain-rgb", "--cache", tiny.Cache);
        await Coclr.UntilAsync(() => ReadEvents(run, "pretrain-rgb").OfType<StartedEvent>().Any(e => e.Attempt == 2));
        Assert.Equal(step, ReadEvents(run, "pretrain-rgb").OfType<StartedEvent>().Last().ResumedAtStep);
        Coclr.Signal(again, 15);
        await Coclr.EndAsync(again);
    }

    [Fact]
    public async Task DamagedCheckpoint_IsNoticed_AndTheOneBeforeIsUsed()
    {
        (string plan, string run) = tiny.NewRun("damaged");
        (string wholePlan, string whole) = tiny.NewRun("damaged-not");
        (await tiny.RunStageAsync(wholePlan, "pretrain-rgb")).Expect(0);
        (await tiny.RunStageAsync(plan, "pretrain-rgb")).Expect(0);
        string stage = Path.Combine(run, "stages", "pretrain-rgb");
        File.Delete(Path.Combine(stage, "result.json"));
        string newest = Directory.EnumerateFiles(stage, "checkpoint-0*.safetensors").Order(StringComparer.Ordinal).Last();
        byte[] bytes = await File.ReadAllBytesAsync(newest, TestContext.Current.CancellationToken);
        bytes[bytes.Length / 2] ^= 0x40;
        await File.WriteAllBytesAsync(newest, bytes, TestContext.Current.CancellationToken);

        (await tiny.RunStageAsync(plan, "pretrain-rgb")).Expect(0);
        Assert.Contains(
            ReadEvents(run, "pretrain-rgb").OfType<LogEvent>(),
            e => e.Level == "warning" && e.Message.Contains("damaged", StringComparison.Ordinal));
        Assert.Equal(DataHash(whole, "pretrain-rgb"), DataHash(run, "pretrain-rgb"));
    }

    [Fact]
    public async Task AnotherNumberOfThreads_GoesOnAsItBegan_WithTheSameBits()
    {
        (string wholePlan, string whole) = tiny.NewRun("threads-whole");
        (string plan, string run) = tiny.NewRun("threads");
        foreach (string file in new[] { wholePlan, plan })
        {
            await WithThreadsAsync(file, 2);
        }

        string stage = Path.Combine(run, "stages", "pretrain-rgb");
        string[] versions = [.. Directory.EnumerateFiles(stage, "checkpoint-0*.safetensors").Order(StringComparer.Ordinal)];
        string stale = versions[0] + ".1f-0123abcd.tmp";
        File.Copy(versions[0], stale);
        foreach (string file in new[] { "result.json", "checkpoint.json", "checkpoint.safetensors", Path.GetFileName(versions[^1]) })
        {
            File.Delete(Path.Combine(stage, file));
        }

        await WithThreadsAsync(plan, 1);
        Assert.NotNull(ReadEvents(run, "pretrain-rgb").OfType<StartedEvent>().Last().ResumedAtStep);
        Assert.Contains(
            ReadEvents(run, "pretrain-rgb").OfType<LogEvent>(),
            e => e.Message.StartsWith("goes on with 2 threads, as it began", StringComparison.Ordinal));
        Assert.Equal(DataHash(whole, "pretrain-rgb"), DataHash(run, "pretrain-rgb"));
        Assert.False(File.Exists(stale), "what a killed writer left is removed");

        async Task WithThreadsAsync(string file, int threads)
        {
            string count = threads.ToString(System.Globalization.CultureInfo.InvariantCulture);
            using Process process = Coclr.StartWith(
                new() { ["OMP_NUM_THREADS"] = count, ["DOTNET_PROCESSOR_COUNT"] = count }, "stage", "--plan", file, "--stage",
                "pretrain-rgb", "--cache", tiny.Cache);
            (await Coclr.EndAsync(process)).Expect(0);
        }
    }

    [Theory]
    [InlineData(Precision.Bf16)]
    [InlineData(Precision.Tf32)]
    public async Task OtherPrecision_KeepsWeightsIn32Bits_ResumesExactly_AndSaysWhatAProcessorMakesOfIt(Precision precision)
    {
        (string plan, string run) =
            tiny.NewRun($"precision-{precision}", spec => spec with { Training = spec.Training with { Precision = precision } });
        string folder = Path.Combine(run, "stages", "pretrain-rgb");
        (await tiny.RunStageAsync(plan, "pretrain-rgb")).Expect(0);
        (string? hash, double loss) = (DataHash(run, "pretrain-rgb"), LossOf(run, "pretrain-rgb"));
        using (var stream = new BinaryReader(File.OpenRead(Path.Combine(folder, "checkpoint.safetensors"))))
        {
            string header = System.Text.Encoding.UTF8.GetString(stream.ReadBytes((int)stream.ReadInt64()));
            Assert.Contains("\"F32\"", header, StringComparison.Ordinal);
            Assert.DoesNotContain("\"BF16\"", header, StringComparison.Ordinal);
        }

        Assert.Single(
            ReadEvents(run, "pretrain-rgb").OfType<LogEvent>(), e => e.Message.StartsWith("training.precision:", StringComparison.Ordinal));

        // Back to the checkpoint before the last, as after a kill.
        foreach (string file in new[] { "result.json", "checkpoint.json", "checkpoint.safetensors", Path.GetFileName(Directory.EnumerateFiles(folder, "checkpoint-0*.safetensors").Order(StringComparer.Ordinal).Last()) })
        {
            File.Delete(Path.Combine(folder, file));
        }

        (await tiny.RunStageAsync(plan, "pretrain-rgb")).Expect(0);
        Assert.NotNull(ReadEvents(run, "pretrain-rgb").OfType<StartedEvent>().Last().ResumedAtStep);
        Assert.Equal((hash, loss), (DataHash(run, "pretrain-rgb"), LossOf(run, "pretrain-rgb")));
    }

    [Fact]
    public async Task SecondProcessInOneStage_IsRefused()
    {
        (string plan, string run) = tiny.NewRun("twice", spec => spec with { Training = spec.Training with { Epochs = 400 } });
        using Process first = Coclr.Start("stage", "--plan", plan, "--stage", "pretrain-rgb", "--cache", tiny.Cache);
        await Coclr.UntilAsync(() => File.Exists(Events(run, "pretrain-rgb")));
        Finished second = (await tiny.RunStageAsync(plan, "pretrain-rgb")).Expect(ExitCodes.Failed);
        Assert.Contains("Another process is working", second.Errors, StringComparison.Ordinal);
        Coclr.Signal(first, 15);
        await Coclr.EndAsync(first);
    }

    private static bool Succeeded(string run, string stage) => File.Exists(Path.Combine(run, "stages", stage, "result.json"));

    private static string Events(string run, string stage) => Path.Combine(run, "stages", stage, "events.jsonl");

    private static JsonElement Checkpoint(string run, string stage) =>
        JsonDocument.Parse(File.ReadAllText(Path.Combine(run, "stages", stage, "checkpoint.json"))).RootElement;

    private static string? DataHash(string run, string stage) => Checkpoint(run, stage).GetProperty("dataHash").GetString();

    private static double LossOf(string run, string stage) =>
        (
            (PretrainResult)ResultJson.Read<StageResult>(
                File.ReadAllText(Path.Combine(run, "stages", stage, "result.json")), stage).Outcome).Loss;

    /// <summary>
    /// The measured numbers by step, the last attempt's counting; speed and system use are of the machine, not of the run.
    /// </summary>
    private static string Metrics(string run, string stage) => string.Join('\n', ReadEvents(run, stage).OfType<MetricEvent>()
        .GroupBy(e => e.Step).OrderBy(g => g.Key)
        .Select(
            g => $"{g.Key}: " + string.Join(
                ", ",
                g.SelectMany(e => e.Values).GroupBy(v => v.Key).Select(v => v.Last()).Where(
                    v => !v.Key.StartsWith("speed/", StringComparison.Ordinal) && !v.Key.StartsWith("system/", StringComparison.Ordinal))
                    .OrderBy(v => v.Key, StringComparer.Ordinal)
                    .Select(v => $"{v.Key}={v.Value:R}"))));

    private static List<RunEvent> ReadEvents(string run, string stage) =>
        [
            .. Coclr.ReadShared(Events(run, stage)).Split('\n').SkipLast(1)
                .Select(line => JsonSerializer.Deserialize<RunEvent>(line, CoclrJson.Compact)!)];
}
