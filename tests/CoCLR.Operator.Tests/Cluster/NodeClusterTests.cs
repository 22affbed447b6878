// Why this exists: a node that is lost ends none of its pods, and their Jobs wait for them. What is wrong and what to do is said, and a new
// pod comes when a person, or the experiment's own policy, says that the node is gone.
using System.Text.Json.Nodes;
using CoCLR.Cluster;
using CoCLR.Operator.Tests.Harness;
using CoCLR.TrialCluster;

namespace CoCLR.Operator.Tests.Cluster;

public class NodeClusterTests
{
    private static readonly ResourceKind Node = new("", "v1", "nodes", "Node");

    [Fact]
    public async Task Node_Lost_IsSaidWithWhatToDo_AndHealsWhenItComesBack()
    {
        await using Arena arena = await StartAsync(evictAfter: 300);
        string pod = await RunAsync(arena);
        arena.Cluster.Controllers.Nodes!.Lose("node-1");
        JsonObject status = await arena.ConditionAsync("a", "Ready", "False/NodeLost");
        string message = status["conditions"]!.AsArray().Single(c => c!["type"]!.ToString() == "Ready")!["message"]!.ToString();
        Assert.Contains(pod, message, StringComparison.Ordinal);
        Assert.Contains("kubectl delete node node-1", message, StringComparison.Ordinal);
        Assert.Contains("kubectl taint node node-1 node.kubernetes.io/out-of-service", message, StringComparison.Ordinal);
        await Arena.UntilAsync("an event tells it", async () => (await arena.EventsAsync("a", "NodeLost")).Length == 1);

        arena.Cluster.Controllers.Nodes!.Restore("node-1");
        await PlayAsync(arena, pod);
        await arena.StateAsync("a", "Training");
    }

    [Theory]
    [InlineData("delete")]
    [InlineData("taint")]
    public async Task Node_GivenUpByAPerson_StageContinuesOnAnother(string how)
    {
        await using Arena arena = await StartAsync();
        string pod = await RunAsync(arena);
        arena.Cluster.Controllers.Nodes!.Lose("node-1");
        await arena.ConditionAsync("a", "Ready", "False/NodeLost");
        await Arena.UntilAsync(
            "the pod is being deleted",
            async () => (await arena.GetAsync(ResourceKind.Pod, pod))?["metadata"]!["deletionTimestamp"] != null);
        Assert.Single(await arena.ListAsync(ResourceKind.Pod));
        if (how == "delete")
        {
            using (await arena.Client.SendAsync(HttpMethod.Delete, "api/v1/nodes/node-1", null, null, TestContext.Current.CancellationToken))
            {
            }
        }
        else
        {
            JsonArray taints = arena.Cluster.Store.Get(new ResourceKey("", "nodes"), "", "node-1")!.Value["spec"]!["taints"]!.DeepClone()
                .AsArray();
            taints.Add(
                new JsonObject { ["key"] = "node.kubernetes.io/out-of-service", ["value"] = "nodeshutdown", ["effect"] = "NoExecute" });
            using (await arena.Client.SendAsync(HttpMethod.Patch, "api/v1/nodes/node-1", System.Text.Encoding.UTF8.GetBytes(new JsonObject { ["spec"] = new JsonObject { ["taints"] = taints } }.ToJsonString()),
                "application/merge-patch+json", TestContext.Current.CancellationToken))
            {
            }
        }

        await ContinuesAsync(arena, pod);
    }

    [Fact]
    public async Task Node_LostWithThePolicyReplace_StageContinuesByItself()
    {
        await using Arena arena = await StartAsync(1, ("nodeLostPolicy.action", "replace"), ("nodeLostPolicy.afterSeconds", 1));
        string pod = await RunAsync(arena);
        arena.Cluster.Controllers.Nodes!.Lose("node-1");
        await ContinuesAsync(arena, pod);
        JsonObject told = Assert.Single(await arena.EventsAsync("a", "PodGivenUp"));
        Assert.Contains(pod, told["message"]!.ToString(), StringComparison.Ordinal);
    }

    private static async Task<Arena> StartAsync(int evictAfter = 1, params (string, JsonNode?)[] fields)
    {
        Arena arena = await Arena.StartAsync(new InProcessClusterOptions
        {
            RunPods = false,
            BookmarkInterval = TimeSpan.FromSeconds(1),
            NodeMonitorGracePeriod = TimeSpan.FromMilliseconds(100),
            DefaultTolerationSeconds = evictAfter,
            Nodes = [new TrialNode("node-1")],
        });
        await arena.StartOperatorAsync();
        await arena.ApplyAsync(arena.Experiment("a", fields));
        return arena;
    }

    /// <summary>Waits for the pod of the first stage and lets it run on node-1; node-2 comes then.</summary>
    private static async Task<string> RunAsync(Arena arena)
    {
        string pod = "";
        await Arena.UntilAsync(
            "it has a pod on node-1",
            async () => (pod = await PodAsync(arena, p => p["spec"]!["nodeName"]?.ToString() == "node-1")).Length > 0);
        await PlayAsync(arena, pod);
        await arena.StateAsync("a", "Training");
        await arena.ApplyAsync(Arena.Parse("{apiVersion: v1, kind: Node, metadata: {name: node-2}}"));
        JsonNode capacity = arena.Cluster.Store.Get(new ResourceKey("", "nodes"), "", "node-1")!.Value["status"]!.DeepClone();
        using (await arena.Client.SendAsync(HttpMethod.Patch, "api/v1/nodes/node-2/status", System.Text.Encoding.UTF8.GetBytes(new JsonObject { ["status"] = capacity }.ToJsonString()),
            "application/merge-patch+json", TestContext.Current.CancellationToken))
        {
        }

        return pod;
    }

    private static async Task ContinuesAsync(Arena arena, string lost)
    {
        string next = "";
        await Arena.UntilAsync(
            "a new pod is on node-2",
            async () => (next = await PodAsync(arena, p => p["spec"]!["nodeName"]?.ToString() == "node-2")).Length > 0);
        Assert.Null(await arena.GetAsync(ResourceKind.Pod, lost));
        await PlayAsync(arena, next);
        JsonObject status = await arena.StateAsync("a", "Training");
        Assert.Equal(("1", "0"), (status["restarts"]!["total"]!.ToString(), status["restarts"]!["counted"]!.ToString()));
    }

    private static async Task<string> PodAsync(Arena arena, Func<JsonObject, bool> which)
        => (await arena.ListAsync(ResourceKind.Pod)).FirstOrDefault(which)?["metadata"]!["name"]!.ToString() ?? "";

    /// <summary>A pod that runs, as a kubelet reports it.</summary>
    private static Task PlayAsync(Arena arena, string pod) => arena.PatchAsync(ResourceKind.Pod, pod, new JsonObject
    {
        ["status"] = Arena.Parse("""
            phase: Running
            conditions: [{type: PodScheduled, status: "True"}, {type: ContainersReady, status: "True", lastTransitionTime: "2026-01-02T03:04:05Z"}, {type: Ready, status: "True", lastTransitionTime: "2026-01-02T03:04:05Z"}]
            containerStatuses: [{name: stage, image: x, imageID: x, ready: true, restartCount: 0, state: {running: {startedAt: "2026-01-02T03:04:05Z"}}}]
            """),
    }, "status");
}
