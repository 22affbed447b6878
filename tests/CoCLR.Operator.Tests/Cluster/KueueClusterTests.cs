// Why this exists: Kueue's API moves on: its Workloads are read in whatever version the server has, and a reason does not vanish when one
// version goes.
using System.Text.Json.Nodes;
using CoCLR.Cluster;
using CoCLR.Operator.Tests.Harness;
using CoCLR.TrialCluster;

namespace CoCLR.Operator.Tests.Cluster;

[Collection(nameof(ChangesDefinitions))]
public class KueueClusterTests
{
    [Theory]
    [InlineData("v1beta1")]
    [InlineData("v1beta2")]
    [InlineData("v1")]
    public async Task Workload_InTheOnlyServedVersion_SaysWhyItWaits(string version)
    {
        await using Arena arena = await Arena.StartAsync(Alone);
        await InstallAsync(arena, version);
        TestOperator operatr = await arena.StartOperatorAsync();
        await QueueAsync(arena, version);
        await arena.ConditionAsync("a", "Admitted", "False/Pending");
        Assert.Empty(operatr.Runtime.Problems);
    }

    [Fact]
    public async Task Workload_WhenItsVersionIsNoLongerServed_KeepsItsReason()
    {
        await using Arena arena = await Arena.StartAsync(Alone);
        await InstallAsync(arena, "v1beta1", "v1beta2");
        TestOperator operatr = await arena.StartOperatorAsync();
        await QueueAsync(arena, "v1beta1");
        await arena.ConditionAsync("a", "Admitted", "False/Pending");
        await InstallAsync(arena, "v1beta1");
        arena.Cluster.Faults.Add(
            new Fault { Kind = FaultKind.WatchClose, When = t => t.Resource.StartsWith("workloads.", StringComparison.Ordinal) });
        await ReasonAsync(arena, "v1beta1", "QuotaFound");
        await arena.ConditionAsync("a", "Admitted", "False/QuotaFound");
        Assert.Empty(operatr.Runtime.Problems);
        Assert.DoesNotContain(arena.Cluster.Log.All, r => r.Resource == "coclrexperiments.coclr.dev/status" && r.Status >= 500);
    }

    [Fact]
    public async Task Kueue_InstalledLater_IsFound()
    {
        await using Arena arena = await Arena.StartAsync(Alone);
        await arena.StartOperatorAsync(
            new TestOperatorOptions { Informers = new() { AbsentInterval = TimeSpan.FromMilliseconds(100), MaximumBackoff = TimeSpan.FromSeconds(1) } });
        await InstallAsync(arena, "v1beta2");
        await QueueAsync(arena, "v1beta2");
        await arena.ConditionAsync("a", "Admitted", "False/Pending");
    }

    private static InProcessClusterOptions Alone =>
        new() { RunControllers = false, RunPods = false, BookmarkInterval = TimeSpan.FromSeconds(1) };

    private static async Task InstallAsync(Arena arena, params string[] versions)
    {
        JsonNode schema = Arena.Parse("openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}");
        await arena.ApplyAsync(new JsonObject
        {
            ["apiVersion"] = "apiextensions.k8s.io/v1",
            ["kind"] = "CustomResourceDefinition",
            ["metadata"] = new JsonObject
            {
                ["name"] = "workloads.kueue.x-k8s.io",
                ["annotations"] = new JsonObject { ["api-approved.kubernetes.io"] = "https://github.com/kubernetes-sigs/kueue" }
            },
            ["spec"] = new JsonObject
            {
                ["group"] = "kueue.x-k8s.io",
                ["scope"] = "Namespaced",
                ["names"] = new JsonObject
                {
                    ["kind"] = "Workload", ["listKind"] = "WorkloadList", ["plural"] = "workloads", ["singular"] = "workload"
                },
                ["versions"] = new JsonArray([.. new[] { "v1beta1" }.Concat(versions).Distinct().Select(v => (JsonNode)new JsonObject
                {
                    ["name"] = v, ["served"] = versions.Contains(v), ["storage"] = v == "v1beta1", ["schema"] = schema.DeepClone(),
                })]),
            },
        });
        await Arena.UntilAsync("workloads are served", async () =>
        {
            try
            {
                using var list =
                    await arena.Client.GetAsync($"apis/kueue.x-k8s.io/{versions[0]}/workloads", TestContext.Current.CancellationToken);
                return true;
            }
            catch (CoCLR.Cluster.ApiException)
            {
                return false;
            }
        });
    }

    /// <summary>An experiment in a queue, and the Workload that Kueue makes of its Job.</summary>
    private static async Task QueueAsync(Arena arena, string version)
    {
        await arena.ApplyAsync(arena.Experiment("a", ("queueName", "gpus")));
        JsonObject job = await arena.Play.JobAsync("a", "decode");
        await arena.PatchAsync(
            ResourceKind.Job, job["metadata"]!["name"]!.ToString(), new JsonObject { ["spec"] = new JsonObject { ["suspend"] = true } });
        await arena.CreateAsync(Workloads(version), new JsonObject
        {
            ["apiVersion"] = "kueue.x-k8s.io/" + version,
            ["kind"] = "Workload",
            ["metadata"] = new JsonObject
            {
                ["name"] = "job-a",
                ["namespace"] = arena.Namespace,
                ["ownerReferences"] = new JsonArray(
                    new JsonObject
                    {
                        ["apiVersion"] = "batch/v1", ["kind"] = "Job", ["name"] = job["metadata"]!["name"]!.ToString(),
                        ["uid"] = job["metadata"]!["uid"]!.ToString(), ["controller"] = true
                    }),
            },
            ["spec"] = new JsonObject(),
        });
        await ReasonAsync(arena, version, "Pending");
    }

    private static Task ReasonAsync(Arena arena, string version, string reason) =>
        arena.PatchAsync(Workloads(version), "job-a", new JsonObject
        {
            ["status"] = new JsonObject { ["conditions"] = new JsonArray(new JsonObject { ["type"] = "QuotaReserved", ["status"] = "False", ["reason"] = reason, ["message"] = "couldn't assign flavors to pod set main" }) },
        });

    private static ResourceKind Workloads(string version) => new("kueue.x-k8s.io", version, "workloads", "Workload");
}

/// <summary>Tests that change definitions which other tests use: on a real server they share them.</summary>
[CollectionDefinition(nameof(ChangesDefinitions), DisableParallelization = true)]
public sealed class ChangesDefinitions;
