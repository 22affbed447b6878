// Why this exists: where and when a shard is computed must not change a bit of a result, and ranks must end together, whatever becomes of
// one of them. Seen from outside: real processes.
using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text;
using System.Text.Json;
using CoCLR.Core;
using CoCLR.Core.Events;
using CoCLR.Core.Manifests;
using CoCLR.Engine.Collectives;

namespace CoCLR.Cli.Tests;

public sealed class RankTests(TinyExperiment tiny) : IClassFixture<TinyExperiment>
{
    private const int Kills = 30;
    private const string Stage = "pretrain-rgb";

    [Theory]
    [InlineData(Method.InfoNCE, "pretrain-rgb", false)]
    [InlineData(Method.InfoNCE, "pretrain-flow", true)]
    [InlineData(Method.UberNCE, "pretrain-rgb", true)]
    [InlineData(Method.Cmc, "pretrain-rgb", false)]
    [InlineData(Method.CoCLR, "cycle-1-rgb", true)]
    public async Task AnyNumberOfRanks_GivesTheBitsOfOneProcess(Method method, string stage, bool batchNegatives)
    {
        ExperimentSpec Change(ExperimentSpec spec) => spec with
        {
            Training = Sharded(spec).Training with { Method = method, Epochs = 3, BatchNegatives = batchNegatives, CheckpointEverySteps = null },
            Cotrain = spec.Cotrain with { MineIn = MiningSpace.Features },
        };
        string kind = $"{method}-{stage}";
        (string onePlan, string one) = tiny.NewRun($"{kind}-1", Change);
        string[] before = stage.StartsWith("cycle", StringComparison.Ordinal) ? ["pretrain-rgb", "pretrain-flow"] : [];
        foreach (string earlier in before)
        {
            (await tiny.RunStageAsync(onePlan, earlier)).Expect(0);
        }

        (await tiny.RunStageAsync(onePlan, stage)).Expect(0);
        foreach (int ranks in new[] { 2, 4 })
        {
            (string plan, string run) = tiny.NewRun($"{kind}-{ranks}", Change);
            Array.ForEach(before, earlier => TinyExperiment.TakeOver(one, run, earlier));
            (await Coclr.RunAsync("stage", "--plan", plan, "--stage", stage, "--cache", tiny.Cache, "--ranks", Text(ranks))).Expect(0);
            Assert.Equal(DataHash(one, stage), DataHash(run, stage));
            Assert.Equal(Metrics(one, stage), Metrics(run, stage));
            Assert.StartsWith($"{ranks} ranks", Events(run, stage).OfType<StartedEvent>().Single().Device, StringComparison.Ordinal);
        }

        // Shards are not a matter of speed: other shards are another training.
        (string otherPlan, string other) = tiny.NewRun(
            $"{kind}-unsharded", spec => Change(spec) with { Training = Change(spec).Training with { Shards = 1 } });
        Array.ForEach(before, earlier => TinyExperiment.TakeOver(one, other, earlier));
        (await tiny.RunStageAsync(otherPlan, stage)).Expect(0);
        Assert.NotEqual(DataHash(one, stage), DataHash(other, stage));
    }

    [Fact]
    public async Task RanksKilledAtRandomMoments_EndTogether_AndGoOnWithTheSameBits_WithAnyNumberOfRanks()
    {
        (string onePlan, string one) = tiny.NewRun("kill-one", Sharded);
        (await tiny.RunStageAsync(onePlan, Stage)).Expect(0);
        (string plan, string run) = tiny.NewRun("kill", Sharded);
        var random = new Random(30);
        int reach = 600, kills = 0;
        for (; kills < Kills && !File.Exists(Path.Combine(run, "stages", Stage, "result.json")); kills++)
        {
            int world = kills % 2 == 0 ? 2 : 4;
            using Process launcher = Coclr.Start("stage", "--plan", plan, "--stage", Stage, "--cache", tiny.Cache, "--ranks", Text(world));
            await Coclr.UntilAsync(() => launcher.HasExited || Children(launcher).Length == world);
            await Task.Delay(random.Next(0, reach), TestContext.Current.CancellationToken);
            foreach (int victim in Children(launcher).Take(random.Next(world) + 1).TakeLast(1))
            {
                Coclr.Signal(victim, 9);
            }

            Assert.Contains((await Coclr.EndAsync(launcher)).ExitCode, new[] { ExitCodes.Done, ExitCodes.Failed });
            reach = Math.Min(reach + 200, 6000);
        }

        Assert.True(kills > 0);
        (await tiny.RunStageAsync(plan, Stage)).Expect(0);
        Assert.Equal(DataHash(one, Stage), DataHash(run, Stage));
        Assert.Equal(Metrics(one, Stage), Metrics(run, Stage));
    }

    // What the pods of an Indexed Job would run, here on one machine.
    [Fact]
    public async Task TwoMachinesOfTwoRanks_GiveTheBitsOfOneProcess()
    {
        (string onePlan, string one) = tiny.NewRun("nodes-1", Sharded);
        (await tiny.RunStageAsync(onePlan, Stage)).Expect(0);
        (string plan, string run) = tiny.NewRun("nodes-2", Sharded);
        string port = Text(Ranks.FreePort());
        Process[] machines =
        [
            .. new[] { "0", "1" }.Select(index => Coclr.StartWith(
                new() { ["JOB_COMPLETION_INDEX"] = index, ["MASTER_ADDR"] = "127.0.0.1", ["MASTER_PORT"] = port },
                "stage", "--plan", plan, "--stage", Stage, "--cache", tiny.Cache, "--ranks", "2", "--nodes", "2")),
        ];
        Finished[] ended = await Task.WhenAll(machines.Select(Coclr.EndAsync));
        Assert.All(ended, e => e.Expect(ExitCodes.Done));
        Assert.Equal(DataHash(one, Stage), DataHash(run, Stage));
        Array.ForEach(machines, m => m.Dispose());
    }

    [Fact]
    public async Task FeaturesOfSeveralRanks_AreThoseOfOne()
    {
        (string onePlan, string one) = tiny.NewRun("features-1", Sharded);
        foreach (string stage in new[] { Stage, "probe-rgb" })
        {
            (await tiny.RunStageAsync(onePlan, stage)).Expect(0);
        }

        foreach (string ranks in new[] { "2", "4" })
        {
            (string plan, string run) = tiny.NewRun($"features-{ranks}", Sharded);
            TinyExperiment.TakeOver(one, run, Stage);
            (await Coclr.RunAsync("stage", "--plan", plan, "--stage", "probe-rgb", "--cache", tiny.Cache, "--ranks", ranks)).Expect(0);
            string[] files =
            [
                .. Directory.EnumerateFiles(Path.Combine(one, "features"), "*.npy", SearchOption.AllDirectories)
                    .Select(f => Path.GetRelativePath(one, f)),
            ];
            Assert.Equal(4, files.Length); // training and test videos, trained and untrained
            Assert.All(files, f => Assert.Equal(File.ReadAllBytes(Path.Combine(one, f)), File.ReadAllBytes(Path.Combine(run, f))));
            Assert.Single(Events(run, "probe-rgb").OfType<ResultEvent>());
        }
    }

    [Fact]
    public async Task RankThatHangs_EndsAll()
    {
        (string plan, string run) = tiny.NewRun("hang", Endless);
        Process[] ranks = StartRanks(plan, 4);
        await UntilItTrainsAsync(run);
        Coclr.Signal(ranks[2], 19); // SIGSTOP: it neither computes nor answers, and its connections stay open
        Finished[] ended = await Task.WhenAll(ranks.Where((_, rank) => rank != 2).Select(Coclr.EndAsync));
        ranks[2].Kill();
        Assert.All(ended, e => e.Expect(ExitCodes.Failed));
        FinishedEvent last = Events(run, Stage).OfType<FinishedEvent>().Last();
        Assert.Contains("Rank 2 of 4 has not been heard of", last.Message, StringComparison.Ordinal);
        Assert.All(ended, e => Assert.Contains("Rank 2 of 4", e.Errors, StringComparison.Ordinal));
        Array.ForEach(ranks, r => r.Dispose());
    }

    [Fact]
    public async Task SigtermToOneRank_StopsAllAfterTheSameStep_WithACheckpoint()
    {
        (string plan, string run) = tiny.NewRun("stop", Endless);
        Process[] ranks = StartRanks(plan, 2);
        await UntilItTrainsAsync(run);
        Coclr.Signal(ranks[1], 15);
        Finished[] ended = await Task.WhenAll(ranks.Select(Coclr.EndAsync));
        Assert.All(ended, e => e.Expect(ExitCodes.Terminated));
        Assert.True(Checkpoint(run, Stage).GetProperty("step").GetInt64() > 0);
        Array.ForEach(ranks, r => r.Dispose());
    }

    // Decay beyond 1 turns the weights around and multiplies them by 99,999 in every step.
    [Fact]
    public async Task NotANumber_EndsAllRanksWithTheSentence()
    {
        var optimizer = new OptimizerSpec { Name = OptimizerName.AdamW, LearningRate = "1000", WeightDecay = "100" };
        (string plan, _) = tiny.NewRun(
            "nan", spec => Endless(spec) with { Training = Endless(spec).Training with { Optimizer = optimizer } });
        Process[] ranks = StartRanks(plan, 2);
        Finished[] ended = await Task.WhenAll(ranks.Select(Coclr.EndAsync));
        Assert.All(ended, e => Assert.Contains("became", e.Expect(ExitCodes.Failed).Errors, StringComparison.Ordinal));
        Array.ForEach(ranks, r => r.Dispose());
    }

    [Fact]
    public async Task RankOfAnotherBuild_IsNamed_AndAStrangerIsIgnored()
    {
        (string plan, string run) = tiny.NewRun("version", Sharded);
        int port = Ranks.FreePort();
        using Process first = StartRank(plan, 0, 2, port);
        using var stranger = await ConnectAsync(port);
        await stranger.GetStream().WriteAsync("GET / HTTP/1.1\r\n\r\n"u8.ToArray(), TestContext.Current.CancellationToken);
        using var other = await ConnectAsync(port);
        string text = await File.ReadAllTextAsync(plan, TestContext.Current.CancellationToken);
        string work = $"version/{Stage}/{JsonDocument.Parse(text).RootElement.GetProperty("specHash").GetString()}";
        string hello = JsonSerializer.Serialize(
            new { program = "coclr-rank-1", build = "0.0.1", work, rank = 1, world = 2, channel = "tensors", library = "" }) + "\n";
        await other.GetStream().WriteAsync(Encoding.UTF8.GetBytes(hello), TestContext.Current.CancellationToken);
        using var reader = new StreamReader(other.GetStream());
        string answer = (await reader.ReadLineAsync(TestContext.Current.CancellationToken))!;
        Assert.Contains("Rank 1 runs version 0.0.1", answer, StringComparison.Ordinal);
        Finished ended = (await Coclr.EndAsync(first)).Expect(ExitCodes.BadConfiguration);
        Assert.Contains("install the same everywhere", ended.Errors, StringComparison.Ordinal);
        Assert.Equal(ExitCodes.BadConfiguration, Events(run, Stage).OfType<FinishedEvent>().Last().ExitCode);
    }

    [Fact]
    public async Task PortThatIsTaken_IsNamed()
    {
        (string plan, _) = tiny.NewRun("port", Sharded);
        using var taken = new TcpListener(IPAddress.Loopback, 0);
        taken.Start();
        int port = ((IPEndPoint)taken.LocalEndpoint).Port;
        using Process first = StartRank(plan, 0, 2, port);
        Finished ended = (await Coclr.EndAsync(first)).Expect(ExitCodes.Failed);
        Assert.Contains($"Port {port}, where the ranks were to meet, is taken", ended.Errors, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("pretrain-rgb", "3", "which 3 ranks cannot share equally")]
    [InlineData("decode", "2", "decode runs in one process")]
    [InlineData("report", "2", "report runs in one process")]
    public async Task RanksThatAStageCannotUse_AreRefused(string stage, string ranks, string sentence)
    {
        (string plan, _) = tiny.NewRun($"refused-{stage}-{ranks}", Sharded);
        Finished refused = await Coclr.RunAsync("stage", "--plan", plan, "--stage", stage, "--cache", tiny.Cache, "--ranks", ranks);
        Assert.Contains(sentence, refused.Expect(ExitCodes.Usage).Errors, StringComparison.Ordinal);
    }

    private static ExperimentSpec Sharded(ExperimentSpec spec) => spec with
    {
        Training = spec.Training with
        {
            Method = Method.InfoNCE,
            BatchSize = 8,
            Shards = 4,
            QueueSize = 16,
            Epochs = 8,
            CheckpointEverySteps = 1,
        },
    };

    private static ExperimentSpec Endless(ExperimentSpec spec) =>
        Sharded(spec) with { Training = Sharded(spec).Training with { Epochs = 4000 } };

    private static Task UntilItTrainsAsync(string run) => Coclr.UntilAsync(() => File.Exists(EventFile(run, Stage))
        && Coclr.ReadShared(EventFile(run, Stage)).Contains("\"phase\":\"train\"", StringComparison.Ordinal));

    private static string EventFile(string run, string stage) => Path.Combine(run, "stages", stage, "events.jsonl");

    private static List<RunEvent> Events(string run, string stage) =>
        [.. Coclr.ReadShared(EventFile(run, stage)).Split('\n').SkipLast(1).Select(line => JsonSerializer.Deserialize<RunEvent>(line, CoclrJson.Compact)!)];

    private static JsonElement Checkpoint(string run, string stage) =>
        JsonDocument.Parse(File.ReadAllText(Path.Combine(run, "stages", stage, "checkpoint.json"))).RootElement;

    private static string? DataHash(string run, string stage) => Checkpoint(run, stage).GetProperty("dataHash").GetString();

    private static string Metrics(string run, string stage) => string.Join('\n', Events(run, stage).OfType<MetricEvent>()
        .GroupBy(e => e.Step).OrderBy(g => g.Key)
        .Select(g => $"{g.Key}: " + string.Join(", ", g.SelectMany(e => e.Values).GroupBy(v => v.Key).Select(v => v.Last())
            .Where(v => !v.Key.StartsWith("speed/", StringComparison.Ordinal) && !v.Key.StartsWith("system/", StringComparison.Ordinal))
            .Where(v => !v.Key.EndsWith("seconds", StringComparison.Ordinal))
            .OrderBy(v => v.Key, StringComparer.Ordinal).Select(v => $"{v.Key}={v.Value:R}"))));

    private static int[] Children(Process process)
    {
        try
        {
            string ids = File.ReadAllText($"/proc/{process.Id}/task/{process.Id}/children");
            return [.. ids.Split(' ', StringSplitOptions.RemoveEmptyEntries).Select(id => int.Parse(id, CultureInfo.InvariantCulture))];
        }
        catch (IOException)
        {
            return [];
        }
    }

    private static string Text(int number) => number.ToString(CultureInfo.InvariantCulture);

    private static async Task<TcpClient> ConnectAsync(int port)
    {
        var client = new TcpClient();
        while (true)
        {
            try
            {
                await client.ConnectAsync(IPAddress.Loopback, port, TestContext.Current.CancellationToken);
                return client;
            }
            catch (SocketException)
            {
                await Task.Delay(50, TestContext.Current.CancellationToken);
            }
        }
    }

    private Process[] StartRanks(string plan, int world)
    {
        int port = Ranks.FreePort();
        return [.. Enumerable.Range(0, world).Select(rank => StartRank(plan, rank, world, port))];
    }

    private Process StartRank(string plan, int rank, int world, int port) => Coclr.StartWith(
        new()
        {
            ["RANK"] = Text(rank),
            ["WORLD_SIZE"] = Text(world),
            ["LOCAL_RANK"] = Text(rank),
            ["MASTER_ADDR"] = "127.0.0.1",
            ["MASTER_PORT"] = Text(port),
        },
        "stage", "--plan", plan, "--stage", Stage, "--cache", tiny.Cache);
}
