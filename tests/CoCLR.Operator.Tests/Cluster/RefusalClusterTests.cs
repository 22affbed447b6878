// Why this exists: a child that the API server refuses is seen by whoever looks at its owner, in the server's words, and what is left to do
// is done when the cause has gone.
using System.Text.Json.Nodes;
using CoCLR.Cluster;
using CoCLR.Operator.Tests.Harness;
using CoCLR.TrialCluster;
using ApiException = CoCLR.Cluster.ApiException;

namespace CoCLR.Operator.Tests.Cluster;

public class RefusalClusterTests
{
    private static readonly ResourceKind Quota = new("", "v1", "resourcequotas", "ResourceQuota");

    [Fact]
    public async Task Claim_OverTheQuota_IsSaidAndMadeWhenThereIsRoom()
    {
        await using Arena arena = await Arena.StartAsync();
        await arena.StartOperatorAsync();
        await QuotaAsync(arena, "persistentvolumeclaims", "0");
        await arena.ApplyAsync(arena.Experiment("a"));

        JsonObject status = await arena.ConditionAsync("a", "Ready", "False/QuotaExceeded");
        Assert.Equal("Waiting", status["state"]!.ToString());
        Assert.Equal("1", status["observedGeneration"]!.ToString());
        Assert.Contains("persistentvolumeclaims/a-run-", Message(status), StringComparison.Ordinal);
        Assert.Contains(
            "exceeded quota: room, requested: persistentvolumeclaims=1, used: persistentvolumeclaims=0, limited: persistentvolumeclaims=0",
            Message(status),
            StringComparison.Ordinal);
        await Arena.UntilAsync("an event tells it", async () => (await arena.EventsAsync("a", "QuotaExceeded")).Length == 1);
        Assert.Empty(await arena.ListAsync(ResourceKind.Job));

        await arena.DeleteAsync(Quota, "room");
        await arena.Play.JobAsync("a", "decode");
        Assert.StartsWith("False/Starting", Arena.Condition(await arena.StateAsync("a", "Starting"), "Ready"), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Job_AgainstAPolicy_IsSaidAlsoWhenAStageHasEndedBefore()
    {
        await using Arena arena = await Arena.StartAsync();
        await arena.StartOperatorAsync();
        await arena.ApplyAsync(arena.Experiment("a"));
        const string words = "jobs.batch \"a-pretrain-rgb\" is forbidden: ValidatingAdmissionPolicy 'cost-centre' with binding 'all' "
            + "denied request: a Job needs the label cost-centre";
        Fault policy = arena.Cluster.Faults.Add(new Fault
        {
            Kind = FaultKind.Status, Times = -1, Code = 422, Reason = "Invalid", Message = words, When = t =>
                t.Resource == "jobs.batch" && t.IsWrite && t.Name.Contains("pretrain", StringComparison.Ordinal),
        });
        await arena.Play.SucceedAsync("a", "decode");

        JsonObject status = await arena.ConditionAsync("a", "Ready", "False/Refused");
        Assert.Equal("Waiting", status["state"]!.ToString());
        Assert.Contains(words, Message(status), StringComparison.Ordinal);
        await Arena.UntilAsync("an event tells it", async () => (await arena.EventsAsync("a", "Refused")).Length == 1);
        arena.Cluster.Faults.Remove(policy);
        await arena.Play.JobAsync("a", "pretrain-rgb");
    }

    [Fact]
    public async Task Suspension_ThatAPolicyRefuses_IsSaid()
    {
        await using Arena arena = await Arena.StartAsync();
        await arena.StartOperatorAsync();
        await arena.ApplyAsync(arena.Experiment("a"));
        await arena.Play.RunAsync(await arena.Play.PodAsync(await arena.Play.JobAsync("a", "decode")));
        await arena.StateAsync("a", "Training");
        Fault policy = arena.Cluster.Faults.Forbid(t => t.Resource == "jobs.batch" && t.IsWrite);
        await arena.SetSpecAsync("a", "suspend", true);
        JsonObject status = await arena.ConditionAsync("a", "Ready", "False/Refused");
        Assert.Equal("2", status["observedGeneration"]!.ToString());
        arena.Cluster.Faults.Remove(policy);
        await Arena.UntilAsync(
            "its Job is suspended",
            async () => (await arena.ListAsync(ResourceKind.Job)).Single()["spec"]!["suspend"]?.GetValue<bool>() == true);
    }

    [Fact]
    public async Task Experiment_OfASuite_OverTheQuota_IsSaidByTheSuite()
    {
        await using Arena arena = await Arena.StartAsync();
        await arena.StartOperatorAsync();
        await QuotaAsync(arena, "count/coclrexperiments.coclr.dev", "1");
        await arena.ApplyAsync(new JsonObject
        {
            ["apiVersion"] = "coclr.dev/v1alpha1",
            ["kind"] = "CoCLRBenchmark",
            ["metadata"] = new JsonObject { ["name"] = "suite", ["namespace"] = arena.Namespace },
            ["spec"] = new JsonObject
            {
                ["template"] = arena.Experiment("x")["spec"]!.DeepClone(), ["seeds"] = new JsonArray(0, 1), ["parallelism"] = 2
            },
        });
        JsonObject status = [];
        await Arena.UntilAsync(() => "the suite says why; it has " + status.ToJsonString(), async () =>
            Arena.Condition(
                status = (await arena.GetAsync(ResourceKind.Benchmark, "suite"))?["status"]?.AsObject() ?? [],
                "Ready") == "False/QuotaExceeded");
        Assert.Contains("count/coclrexperiments.coclr.dev=1", Message(status), StringComparison.Ordinal);
        Assert.Equal(("1", "1"), (status["active"]!.ToString(), status["pending"]!.ToString()));
        await Arena.UntilAsync("an event tells it", async () => (await arena.EventsAsync("suite", "QuotaExceeded")).Length == 1);
        await arena.DeleteAsync(Quota, "room");
        await Arena.UntilAsync("both are there", async () => (await arena.ListAsync(ResourceKind.Experiment)).Length == 2);
    }

    [Fact]
    public async Task Namespace_GoingAway_IsLeftAlone()
    {
        await using Arena arena = await Arena.StartAsync();
        Fault leaving = arena.Cluster.Faults.Add(new Fault
        {
            Kind = FaultKind.Status, Times = -1, Code = 403, Reason = "Forbidden",
            Message = $"unable to create new content in namespace {arena.Namespace} because it is being terminated", When = t =>
                t.IsWrite && t.Resource is "jobs.batch" or "configmaps" or "events",
        });
        for (int i = 0; i < 10; i++)
        {
            await arena.ApplyAsync(arena.Experiment($"e{i}"));
        }

        TestOperator operatr = await arena.StartOperatorAsync();
        await Arena.UntilAsync(
            "nothing is left to do", () => Task.FromResult(leaving.Hits > 0 && operatr.Runtime.IdleFor(TimeSpan.FromHours(1))));

        // Each worker may have been at one when it was first heard of; then no more, whatever changes there.
        int known = leaving.Hits;
        Assert.InRange(known, 1, 8);
        for (int i = 0; i < 10; i++)
        {
            await arena.SetSpecAsync($"e{i}", "activeDeadlineSeconds", 1000);
        }

        await Arena.UntilAsync(
            "they were looked at",
            () =>
                Task.FromResult(
                    operatr.Runtime.Caches.Experiments.All().All(e => e.Meta.Generation == 2)
                        && operatr.Runtime.IdleFor(TimeSpan.FromHours(1))));
        Assert.Equal(known, leaving.Hits);
    }

    [Theory]
    [InlineData("scheduling.nodeSelector", """{"foo bar":"x"}""", "spec.scheduling.nodeSelector")]
    [InlineData("scheduling.nodeSelector", """{"zone":"no good!"}""", "spec.scheduling.nodeSelector")]
    [InlineData("scheduling.nodeSelector", """{"Example.com/zone":"a"}""", "spec.scheduling.nodeSelector")]
    [InlineData("scheduling.nodeSelector", """{"a/b/c":"a"}""", "spec.scheduling.nodeSelector")]
    [InlineData("scheduling.affinity", """[{"key":"zone-","values":["a"]}]""", "spec.scheduling.affinity[0].key")]
    [InlineData("scheduling.affinity", """[{"key":"zone","values":["-a"]}]""", "spec.scheduling.affinity[0].values[0]")]
    [InlineData("scheduling.tolerations", """[{"key":"gpu/","operator":"Exists"}]""", "spec.scheduling.tolerations[0].key")]
    [InlineData("scheduling.tolerations", """[{"key":"gpu","operator":"Exists","value":"x"}]""", "spec.scheduling.tolerations[0].value")]
    [InlineData("scheduling.tolerations", """[{"effect":"NoSchedule"}]""", "spec.scheduling.tolerations[0].operator")]
    [
        InlineData(
            "scheduling.tolerations",
            """[{"key":"gpu","operator":"Exists","effect":"NoSchedule","tolerationSeconds":5}]""",
            "spec.scheduling.tolerations[0].tolerationSeconds")]
    [InlineData("scheduling.priorityClassName", "\"high..low\"", "spec.scheduling.priorityClassName")]
    [InlineData("storage.className", "\"fast\\n\"", "spec.storage.className")]
    [InlineData("storage.size", "\"0\"", "spec.storage.size")]
    [InlineData("storage.size", "\"0.0Gi\"", "spec.storage.size")]
    [InlineData("storage.className", "\"fast-.x\"", "spec.storage.className")]
    [InlineData("resources.memory", "\"0Gi\"", "spec.resources.memory")]
    [InlineData("resources.cpu", "\"00m\"", "spec.resources.cpu")]
    [InlineData("resources.sharedMemory", "\"0\"", "spec.resources.sharedMemory")]
    [InlineData("resources.gpuResourceName", "\"nvidia.com/\"", "spec.resources.gpuResourceName")]
    [InlineData("resources.gpuResourceName", "\"nvidia..com/gpu\"", "spec.resources.gpuResourceName")]
    [InlineData("resources.gpuResourceName", "\"requests.nvidia.com/gpu\"", "spec.resources.gpuResourceName")]
    [InlineData("resources.gpus", "2", "spec.resources.gpus")]
    [InlineData("env", """[{"name":"A","secretKeyRef":{"name":"s","key":".."}}]""", "spec.env[0].secretKeyRef.key")]
    public async Task Field_ThatAChildWouldBeRefusedFor_IsRefusedAtAdmissionAndInTheManifest(string field, string value, string where)
    {
        await using Arena arena = await Arena.StartAsync();
        JsonObject experiment = arena.Experiment("a", (field, JsonNode.Parse(value)));
        var refused = await Assert.ThrowsAsync<ApiException>(() => arena.CreateAsync(ResourceKind.Experiment, experiment));
        Assert.Equal(System.Net.HttpStatusCode.UnprocessableEntity, refused.Code);
        Assert.Contains(where.Split('[')[0], refused.ServerMessage, StringComparison.Ordinal);
        experiment["metadata"]!.AsObject().Remove("namespace");
        var read = CoCLR.Core.Manifests.ManifestReader.ReadExperiment(experiment.ToJsonString());
        Assert.Contains(read.Problems, p => p.Path.StartsWith(where, StringComparison.Ordinal));
    }

    [Theory]
    [InlineData("scheduling.nodeSelector", """{"zone":"","topology.kubernetes.io/zone":"A_b.c-1","X":"x"}""")]
    [InlineData("scheduling.affinity", """[{"key":"a.b/C_d","values":["","x"]}]""")]
    [
        InlineData(
            "scheduling.tolerations", """[{"operator":"Exists"},{"key":"gpu","value":"","effect":"NoExecute","tolerationSeconds":0}]""")]
    [InlineData("storage", """{"size":"0.5Gi","className":"a.b-c"}""")]
    [InlineData("resources", """{"gpus":1,"gpuResourceName":"amd.com/gpu_1.x","cpu":"0.5","memory":"010Mi","sharedMemory":"1"}""")]
    public async Task Field_ThatKubernetesTakes_IsTaken(string field, string value)
    {
        await using Arena arena = await Arena.StartAsync();
        await arena.StartOperatorAsync();
        await arena.CreateAsync(ResourceKind.Experiment, arena.Experiment("a", (field, JsonNode.Parse(value))));
        await arena.Play.JobAsync("a", "decode");
    }

    private static string Message(JsonObject status) =>
        status["conditions"]!.AsArray().Single(c => c!["type"]!.ToString() == "Ready")!["message"]!.ToString();

    private static Task QuotaAsync(Arena arena, string resource, string limit) => arena.CreateAsync(Quota, new JsonObject
    {
        ["apiVersion"] = "v1",
        ["kind"] = "ResourceQuota",
        ["metadata"] = new JsonObject { ["name"] = "room", ["namespace"] = arena.Namespace },
        ["spec"] = new JsonObject { ["hard"] = new JsonObject { [resource] = limit } },
    });
}
