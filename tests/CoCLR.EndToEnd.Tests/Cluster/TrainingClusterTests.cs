// Why this exists: the promise itself: one applied manifest really trains through all stages, whatever happens to operator and pods, with the same numbers.
using System.Text.Json.Nodes;
using CoCLR.Cluster;
using CoCLR.Operator.Tests;
using CoCLR.Operator.Tests.Harness;

namespace CoCLR.EndToEnd.Tests.Cluster;

public class TrainingClusterTests
{
    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(8);

    [Fact]
    public async Task Sample_AppliedWithKubectl_TrainsThroughAllStagesAndShowsItsResults()
    {
        await using Arena arena = await Training.StartAsync();
        await using ReachableOperator operatr = await ReachableOperator.StartAsync(arena);
        await Training.KubectlAsync(arena, "apply", "-n", arena.Namespace, "-f", Path.Combine(Repository.Root, "samples", "synthetic-smoke.yaml"));
        await Training.KubectlAsync(arena, "wait", "-n", arena.Namespace, "cexp/synthetic-smoke", "--for=condition=Succeeded", "--timeout=480s");
        string table = await Training.KubectlAsync(arena, "get", "cexp", "-n", arena.Namespace);
        Assert.Matches("synthetic-smoke +Succeeded +Succeeded +100% +linear [0-9.]+%", table);
        string description = await Training.KubectlAsync(arena, "describe", "cexp", "synthetic-smoke", "-n", arena.Namespace);
        Assert.Matches("(?i)linear *probe *top *1", description);
        Assert.Matches("(?i)recall *at *1", description);
        Assert.Contains("StageSucceeded", description, StringComparison.Ordinal);
        JsonObject status = await arena.StatusAsync("synthetic-smoke");
        Assert.Equal(["rgb", "flow", "two-stream"], status["results"]!.AsArray().Select(r => r!["view"]!.ToString()));
        Assert.All(status["stages"]!.AsArray(), s => Assert.Equal("Succeeded", s!["state"]!.ToString()));
        Assert.Equal("0", status["restarts"]!["total"]!.ToString());
    }

    [Fact]
    public async Task Experiment_WithOperatorAndPodsKilledAndSuspended_EndsWithTheNumbersOfTheUnbrokenRun()
    {
        await using Arena arena = await Training.StartAsync();
        ReachableOperator operatr = await ReachableOperator.StartAsync(arena);
        int port = operatr.Port;
        await arena.ApplyAsync(Long(arena, "unbroken"));
        JsonObject unbroken = await FinishAsync(arena, "unbroken");

        await arena.ApplyAsync(Long(arena, "broken"));
        await StageAsync(arena, "broken", "pretrain-rgb", "Running");

        // The pod goes, the operator goes, the pod goes while nobody looks.
        await EpochAsync(arena, "broken");
        string pod = await PodAsync(arena, "broken");
        await arena.DeleteAsync(ResourceKind.Pod, pod);
        await operatr.KillAsync();
        await UntilAsync("its pod has gone", async () => await arena.GetAsync(ResourceKind.Pod, pod) == null);
        operatr = await ReachableOperator.StartAsync(arena, port);

        // Suspended in mid-training, and no pod is left.
        await StageAsync(arena, "broken", "pretrain-rgb", "Running");
        await arena.SetSpecAsync("broken", "suspend", true);
        await UntilAsync("broken is suspended", async () => (await arena.StatusAsync("broken"))["state"]?.ToString() == "Suspended");
        Assert.DoesNotContain(await arena.ListAsync(ResourceKind.Pod, "coclr.dev/experiment=broken"), p => p["status"]!["phase"]!.ToString() is "Running" or "Pending");
        await arena.SetSpecAsync("broken", "suspend", false);
        JsonObject broken = await FinishAsync(arena, "broken");
        await operatr.DisposeAsync();

        Assert.Equal(unbroken["results"]!.ToJsonString(), broken["results"]!.ToJsonString());
        Assert.True(broken["restarts"]!["total"]!.GetValue<int>() >= 1);
        Assert.Equal(0, broken["restarts"]!["counted"]!.GetValue<int>());
    }

    [Fact]
    public async Task Trainer_ThatHangs_IsReplacedAfterTheStallDeadlineAndGoesOnFromItsCheckpoint()
    {
        const int stop = 19; // SIGSTOP: alive, and deaf to SIGTERM
        await using Arena arena = await Training.StartAsync();
        await using ReachableOperator operatr = await ReachableOperator.StartAsync(arena);
        JsonObject experiment = Long(arena, "hung");
        experiment["spec"]!["stallDeadlineSeconds"] = 60;
        await arena.ApplyAsync(experiment);
        await StageAsync(arena, "hung", "pretrain-rgb", "Running");
        await EpochAsync(arena, "hung");
        string pod = await PodAsync(arena, "hung");
        Assert.True(arena.Cluster.Kubelet!.Signal(arena.Namespace, pod, stop));

        JsonObject status = await FinishAsync(arena, "hung");
        Assert.Equal(2, Stage(status, "pretrain-rgb")!["attempts"]!.GetValue<int>());
        JsonObject told = Assert.Single(await arena.EventsAsync("hung", "StageStalled"));
        Assert.Contains(pod, told["message"]!.ToString(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Operator_KilledAtEveryWriteOfAWholeTraining_StillEndsWithOneJobAStage()
    {
        await using Arena arena = await Training.StartAsync();
        await arena.ApplyAsync(Short(arena, "killed"));
        int port = 0, kills = 0;
        JsonObject status = [];
        for (int life = 0; life < 200 && status["state"]?.ToString() != "Succeeded"; life++)
        {
            Assert.NotEqual("Failed", status["state"]?.ToString());
            var killed = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
            var started = new TaskCompletionSource<ReachableOperator>(TaskCreationOptions.RunContinuationsAsynchronously);
            int writes = 0;
            ReachableOperator operatr = await ReachableOperator.StartAsync(arena, port, async _ =>
            {
                // The first write of each life is stored, the second never leaves.
                if (Interlocked.Increment(ref writes) == 2)
                {
                    (await started.Task).Runtime.Abandon();
                    killed.TrySetResult();
                }
            });
            started.SetResult(operatr);
            port = operatr.Port;
            while (!killed.Task.IsCompleted && status["state"]?.ToString() != "Succeeded")
            {
                await Task.WhenAny(killed.Task, Task.Delay(200, TestContext.Current.CancellationToken));
                status = await arena.StatusAsync("killed");
            }

            kills += killed.Task.IsCompleted ? 1 : 0;
            await operatr.KillAsync();
        }

        Assert.Equal("Succeeded", status["state"]?.ToString());
        Assert.True(kills > 5, $"killed {kills} times");
        JsonObject[] jobs = await arena.ListAsync(ResourceKind.Job, "coclr.dev/experiment=killed");
        Assert.Equal(jobs.Length, jobs.Select(j => j["metadata"]!["labels"]!["coclr.dev/stage"]!.ToString()).Distinct().Count());
        Assert.Equal(status["stages"]!.AsArray().Count, jobs.Length);
    }

    [Fact]
    public async Task Benchmark_TwoMethodsAndTwoSeeds_EndsInItsTable()
    {
        await using Arena arena = await Training.StartAsync();
        await using ReachableOperator operatr = await ReachableOperator.StartAsync(arena);
        JsonObject template = Short(arena, "x")["spec"]!.DeepClone().AsObject();
        template["storage"] = new JsonObject { ["claimName"] = "shared" };
        await arena.ApplyAsync(Arena.Parse($"{{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {{name: shared, namespace: {arena.Namespace}}}, spec: {{accessModes: [ReadWriteMany], resources: {{requests: {{storage: 1Gi}}}}}}}}"));
        await arena.ApplyAsync(new JsonObject
        {
            ["apiVersion"] = "coclr.dev/v1alpha1",
            ["kind"] = "CoCLRBenchmark",
            ["metadata"] = new JsonObject { ["name"] = "two-by-two", ["namespace"] = arena.Namespace },
            ["spec"] = new JsonObject
            {
                ["template"] = template,
                ["matrix"] = new JsonArray(new JsonObject { ["name"] = "method", ["field"] = "training.method", ["values"] = new JsonArray("InfoNCE", "UberNCE") }),
                ["seeds"] = new JsonArray(0, 1),
                ["parallelism"] = 2,
                ["baseline"] = new JsonArray(new JsonObject { ["axis"] = "method", ["value"] = "InfoNCE" }),
            },
        });
        JsonObject status = [];
        await UntilAsync("the suite has ended", async () =>
        {
            status = (await arena.GetAsync(ResourceKind.Benchmark, "two-by-two"))!["status"]!.AsObject();
            return status["state"]?.ToString() is "Succeeded" or "Failed";
        });
        Assert.Equal("Succeeded", status["state"]!.ToString());
        Assert.Equal("4/4", status["finished"]!.ToString());
        JsonArray rows = status["results"]!.AsArray();
        Assert.Equal(["method=InfoNCE", "method=UberNCE"], rows.Select(r => r!["cell"]!.ToString()));
        Assert.All(rows, r => Assert.Equal(2, r!["seeds"]!.GetValue<int>()));
        Assert.All(rows, r => Assert.Matches("^[0-9.]+ \u00b1 [0-9.]+$", r!["recallAt1"]!["text"]!.ToString()));
        Assert.NotNull(rows[1]!["recallAt1"]!["difference"]);
        Assert.Matches(@"two-by-two +Succeeded +\S+ +4/4", await Training.KubectlAsync(arena, "get", "cbench", "-n", arena.Namespace));
    }

    private static JsonObject Short(Arena arena, string name, int epochs = 1) => Arena.Parse($$"""
        apiVersion: coclr.dev/v1alpha1
        kind: CoCLRExperiment
        metadata: {name: {{name}}, namespace: {{arena.Namespace}}}
        spec:
          dataset:
            source: {synthetic: {classes: 2, trainGroups: 4, testGroups: 2, groupSize: 2, frames: 12, size: 32} }
            storedSize: 32
          views: [RGB]
          model: {backbone: S3DMini, width: "0.25", projectionSize: 16}
          clip: {frames: 8, size: 32}
          training: {method: InfoNCE, epochs: {{epochs}}, batchSize: 4, queueSize: 16, checkpointEverySteps: 2}
          evaluation: {linearProbe: {enabled: false}, randomBaseline: false, retrieval: {neighbours: 2, previews: false} }
          resources: {gpus: 0, cpu: "1", memory: 1Gi, sharedMemory: 64Mi}
          storage: {size: 1Gi}
        """);

    // In a real cluster an epoch is told every ten seconds.
    private static JsonObject Long(Arena arena, string name) => Short(arena, name, epochs: arena.IsReal ? 200 : 20);

    private static async Task<JsonObject> FinishAsync(Arena arena, string name)
    {
        JsonObject status = [];
        await UntilAsync($"{name} has ended", async () => (status = await arena.StatusAsync(name))["state"]?.ToString() is "Succeeded" or "Failed");
        Assert.True(status["state"]!.ToString() == "Succeeded", status.ToJsonString());
        return status;
    }

    private static Task StageAsync(Arena arena, string name, string stage, string state)
        => UntilAsync($"{stage} of {name} is {state}", async () => Stage(await arena.StatusAsync(name), stage)?["state"]?.ToString() == state);

    private static Task EpochAsync(Arena arena, string name)
        => UntilAsync($"{name} has a checkpoint", async () =>
        {
            JsonObject status = await arena.StatusAsync(name);
            if (arena.IsReal)
            {
                return Stage(status, "pretrain-rgb")?["epoch"]?.GetValue<int>() >= 1;
            }

            string run = status["run"]!.ToString();
            return Directory.GetFiles(arena.Cluster.Folder, "checkpoint.json", SearchOption.AllDirectories).Any(f => f.Contains($"/{run}/stages/pretrain-rgb/", StringComparison.Ordinal));
        });

    private static async Task<string> PodAsync(Arena arena, string name) => Stage(await arena.StatusAsync(name), "pretrain-rgb")!["pod"]!.ToString();

    private static JsonNode? Stage(JsonObject status, string stage) => status["stages"]?.AsArray().FirstOrDefault(s => s!["name"]!.ToString() == stage);

    private static async Task UntilAsync(string what, Func<Task<bool>> condition)
    {
        long started = TimeProvider.System.GetTimestamp();
        while (!await condition())
        {
            Assert.True(TimeProvider.System.GetElapsedTime(started) < Patience, $"Not in time: {what}");
            await Task.Delay(100, TestContext.Current.CancellationToken);
        }
    }
}
