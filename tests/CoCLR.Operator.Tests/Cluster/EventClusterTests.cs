// Why this exists: events are few and short, and nothing holds a namespace hostage.
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using CoCLR.Cluster;
using CoCLR.Operator.Runtime;
using CoCLR.Operator.Tests.Harness;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Extensions.Time.Testing;

namespace CoCLR.Operator.Tests.Cluster;

public class EventClusterTests
{
    [Fact]
    public async Task Events_Flood_IsCutShort()
    {
        await using Arena arena = await Arena.StartAsync();
        var time = new FakeTimeProvider(DateTimeOffset.UtcNow);
        using var writer = new ApiWriter(arena.Client, () => true);
        var recorder = new EventRecorder(writer, "test", NullLogger.Instance, time);
        var about = new ObjectMeta { Key = new ObjectKey(arena.Namespace, "a"), Uid = "u-1", ResourceVersion = "1" };
        for (int i = 0; i < 200; i++)
        {
            await recorder.RecordAsync(
                ResourceKind.Experiment, about, ObjectEvent.Warning("Same", "the same again"), TestContext.Current.CancellationToken);
            await recorder.RecordAsync(
                ResourceKind.Experiment, about, ObjectEvent.Warning("Other", $"number {i}"), TestContext.Current.CancellationToken);
        }

        Assert.Single(await arena.EventsAsync("a", "Same"));
        Assert.InRange((await arena.EventsAsync("a", "Other")).Length, 1, 25);
        time.Advance(TimeSpan.FromMinutes(11));
        await recorder.RecordAsync(
            ResourceKind.Experiment, about, ObjectEvent.Warning("Same", "the same again"), TestContext.Current.CancellationToken);
        Assert.Equal(2, (await arena.EventsAsync("a", "Same")).Length);
    }

    [Fact]
    public async Task Event_Long_IsAtMostAKilobyte()
    {
        await using Arena arena = await Arena.StartAsync();
        using var writer = new ApiWriter(arena.Client, () => true);
        var recorder = new EventRecorder(writer, "test", NullLogger.Instance);
        await recorder.RecordAsync(
            ResourceKind.Experiment,
            new ObjectMeta { Key = new ObjectKey(arena.Namespace, "a"), Uid = "u-1", ResourceVersion = "1" },
            ObjectEvent.Normal("Long", string.Concat(Enumerable.Repeat("gr\u00fc\u00dfe \ud83d\ude80 ", 400))),
            TestContext.Current.CancellationToken);
        string message = Assert.Single(await arena.EventsAsync("a", "Long"))["message"]!.ToString();
        Assert.InRange(Encoding.UTF8.GetByteCount(message), 900, 1024);
        Assert.DoesNotContain('\ufffd', message);
    }

    // Nothing that the operator makes waits for the operator when it is deleted.
    [Fact]
    public async Task Objects_OfAnExperiment_HaveNoFinalizersOfTheOperator()
    {
        await using Arena arena = await Arena.StartAsync();
        TestOperator operatr = await arena.StartOperatorAsync();
        await arena.ApplyAsync(arena.Experiment("a"));
        await arena.StateAsync("a", "Starting");
        await operatr.KillAsync();
        Assert.Null((await arena.GetAsync(ResourceKind.Experiment, "a"))!["metadata"]!["finalizers"]);
        Assert.All(await arena.ListAsync(ResourceKind.Job), j => Assert.Null(j["metadata"]!["finalizers"]));
        await arena.DeleteAsync(ResourceKind.Experiment, "a");
        await Arena.UntilAsync(
            "everything is gone",
            async () => (await arena.ListAsync(ResourceKind.Job)).Length == 0
                && (await arena.ListAsync(ResourceKind.ConfigMap, "coclr.dev/experiment=a")).Length == 0);
        Assert.Null(await arena.GetAsync(ResourceKind.Experiment, "a"));
    }

    // An object that an older, laxer CRD has stored can still be labelled and deleted.
    [Fact]
    public async Task Experiment_OfAnOlderSchema_CanStillBeLabelled()
    {
        await using Arena arena = await Arena.StartAsync();
        JsonObject old = await arena.ApplyAsync(arena.Experiment("old"));
        old["spec"]!["retries"] = 99;
        arena.Cluster.StoreUnchecked(old);
        await arena.PatchAsync(
            ResourceKind.Experiment,
            "old",
            new JsonObject { ["metadata"] = new JsonObject { ["labels"] = new JsonObject { ["team"] = "a" } } });
        await arena.StartOperatorAsync();
        JsonObject status = await arena.ConditionAsync("old", "Stalled", "True/InvalidSpec");
        Assert.Contains("retries", status["conditions"]![0]!["message"]!.ToString(), StringComparison.Ordinal);
        await arena.DeleteAsync(ResourceKind.Experiment, "old");
        Assert.Null(await arena.GetAsync(ResourceKind.Experiment, "old"));
    }

    // Children of finished experiments are not kept in memory.
    [Fact]
    public async Task Experiment_Finished_ItsChildrenLeaveTheCaches()
    {
        await using Arena arena = await Arena.StartAsync();
        TestOperator operatr = await arena.StartOperatorAsync();
        await arena.ApplyAsync(arena.Experiment("a", ("retries", 0)));
        JsonObject job = await arena.Play.JobAsync("a", "decode");
        JsonObject pod = await arena.Play.PodAsync(job);
        await arena.Play.RunAsync(pod);
        await arena.Play.EndAsync(job, pod, 1);
        await arena.Play.FailAsync(job, "BackoffLimitExceeded", 1);
        await arena.StateAsync("a", "Failed");
        await Arena.UntilAsync(
            "they are forgotten",
            () =>
                Task.FromResult(
                    operatr.Runtime.Caches.Jobs.Count == 0 && operatr.Runtime.Caches.Pods.Count == 0
                        && operatr.Runtime.Caches.Plans.Count == 0));
        await operatr.StopAsync();
        operatr = await arena.StartOperatorAsync();
        Assert.Equal(0, operatr.Runtime.Caches.Jobs.Count);

        // And it can still be tried again: its plan is found past the cache.
        string plan = (await arena.ListAsync(ResourceKind.ConfigMap, "coclr.dev/experiment=a")).Single()["metadata"]!["uid"]!.ToString();
        await arena.PatchAsync(
            ResourceKind.Experiment,
            "a",
            new JsonObject { ["metadata"] = new JsonObject { ["annotations"] = new JsonObject { ["coclr.dev/retry"] = "1" } } });
        await arena.StateAsync("a", "Starting");
        Assert.Equal(2, (await arena.ListAsync(ResourceKind.Job)).Length);
        Assert.Equal(
            plan, (await arena.ListAsync(ResourceKind.ConfigMap, "coclr.dev/experiment=a")).Single()["metadata"]!["uid"]!.ToString());
        await Arena.UntilAsync(
            "nothing is left to do, now or soon", () => Task.FromResult(operatr.Runtime.IdleFor(TimeSpan.FromSeconds(5))));
    }

    [Fact]
    public async Task Rights_OfTheDocumentedRole_SufficeForAWholeExperiment()
    {
        await using Arena arena = await Arena.StartAsync();
        string[][] rules =
        [
            ["coclr.dev", "coclrexperiments", "get,list,watch,create,patch,delete"], ["coclr.dev", "coclrbenchmarks", "get,list,watch"],
            ["coclr.dev", "coclrexperiments/status", "patch"], ["coclr.dev", "coclrbenchmarks/status", "patch"],
            ["batch", "jobs", "get,list,watch,create,patch,delete"], ["", "pods", "list,watch,delete"], ["", "pods/status", "patch"],
            ["", "configmaps", "get,list,watch,create,patch"],
            ["", "persistentvolumeclaims", "get,list,watch,create,patch"], ["", "events", "list,watch,create"],
            ["kueue.x-k8s.io", "workloads", "list,watch"],
            ["coordination.k8s.io", "leases", "get,create,update"],
        ];
        await arena.ApplyAsync(new JsonObject
        {
            ["apiVersion"] = "rbac.authorization.k8s.io/v1",
            ["kind"] = "Role",
            ["metadata"] = new JsonObject { ["name"] = "operator", ["namespace"] = arena.Namespace },
            ["rules"] = new JsonArray(
                [
                    .. rules.Select(
                        r => (JsonNode)new JsonObject
                        {
                            ["apiGroups"] = new JsonArray(r[0]), ["resources"] = new JsonArray(r[1]),
                            ["verbs"] = JsonSerializer.SerializeToNode(r[2].Split(','))
                        })]),
        });
        await arena.ApplyAsync(Arena.Parse($"{{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {{name: operator, "
            + $"namespace: {arena.Namespace}}}, roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: Role, name: operator}}, subjects: "
                + $"[{{kind: User, apiGroup: rbac.authorization.k8s.io, name: narrow}}]}}"));
        string file = Path.Combine(arena.Cluster.Folder, "narrow.kubeconfig");
        await File.WriteAllTextAsync(file, arena.Cluster.AddUser("narrow"), TestContext.Current.CancellationToken);
        TestOperator operatr = await arena.StartOperatorAsync(new TestOperatorOptions { Kubeconfig = file, LeaderElect = true });
        await arena.ApplyAsync(arena.Experiment("a", ("ttlSecondsAfterFinished.succeeded", 0)));
        foreach (string stage in new[] { "decode", "pretrain-rgb", "probe-rgb", "retrieve-rgb", "report" })
        {
            await arena.Play.SucceedAsync("a", stage);
        }

        await Arena.UntilAsync("it was deleted by its TTL", async () => await arena.GetAsync(ResourceKind.Experiment, "a") == null);
        Assert.DoesNotContain(arena.Cluster.Log.All, r => r.User == "narrow" && r.Status == 403);
        Assert.Empty(operatr.Runtime.Problems);
    }
}
