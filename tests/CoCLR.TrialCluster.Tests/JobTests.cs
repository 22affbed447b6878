// Why this exists: Jobs and pods are what an experiment is made of; their ends, retries and messages must be those of a real cluster.
using System.Text.Json.Nodes;

namespace CoCLR.TrialCluster.Tests;

public sealed class JobTests : IAsyncLifetime
{
    private const string Jobs = "/apis/batch/v1/namespaces/default/jobs";
    private const string Pods = "/api/v1/namespaces/default/pods";
    private InProcessCluster _cluster = null!;
    private Api _api = null!;

    public async ValueTask InitializeAsync()
    {
        _cluster = await InProcessCluster.StartAsync(
            new InProcessClusterOptions
            {
                Images = [ImageProgram.For("bash:*", ["/bin/bash"])], JobBackoff = TimeSpan.FromSeconds(0.05),
                Nodes = [new TrialNode("node-1", Gpus: 1)]
            },
            TestContext.Current.CancellationToken);
        _api = new Api(_cluster);
        await Objects.Until(
            async () => (await _api.Get("/api/v1/namespaces/default/serviceaccounts/default")).Code == 200, "default service account");
    }

    public async ValueTask DisposeAsync()
    {
        _api.Dispose();
        await _cluster.DisposeAsync();
    }

    private async Task<JsonNode> Finished(string name)
    {
        JsonNode? job = null;
        await Objects.Until(
            async () => (job = (await _api.Get($"{Jobs}/{name}")).Body).Items("status", "conditions")
                .Any(c => c.Text("type") is "Complete" or "Failed"),
            $"job {name} ends");
        return job!;
    }

    private async Task<JsonNode> Pod(string job, Func<JsonNode, bool> when, string what)
    {
        JsonNode? pod = null;
        await Objects.Until(
            async () =>
                (
                    pod = (await _api.Get($"{Pods}?labelSelector=job-name%3D{job}")).Body.Items("items")
                        .FirstOrDefault(p => when(p!))) is not null,
            what);
        return pod!;
    }

    [Fact]
    public async Task Job_ThatSucceeds_CountsItsPodAndReportsItsMessage()
    {
        await _api.Ok(_api.Post(Jobs, Objects.Job("j", "echo out; echo -n '{\"epoch\":3}' > /dev/termination-log")));
        var job = await Finished("j");
        Assert.Equal(["SuccessCriteriaMet", "Complete"], job.Items("status", "conditions").Select(c => c.Text("type")));
        Assert.Equal(1, job.Number("status", "succeeded"));
        var pod = await Pod("j", p => p.Text("status", "phase") == "Succeeded", "pod succeeded");
        Assert.Equal("""{"epoch":3}""", pod.Items("status", "containerStatuses")[0].Text("state", "terminated", "message"));
        Assert.Equal("out\n", (await _api.Get($"{Pods}/{pod.Text("metadata", "name")}/log")).Body!.GetValue<string>());
    }

    [Fact]
    public async Task Job_ThatFails_IsTriedAgainUpToItsLimit()
    {
        await _api.Ok(_api.Post(Jobs, Objects.Job("j", "exit 1", """ "backoffLimit":2, """)));
        var job = await Finished("j");
        Assert.Equal(3, job.Number("status", "failed"));
        var failed = job.Items("status", "conditions").First(c => c.Text("type") == "Failed");
        Assert.Equal(
            ("BackoffLimitExceeded", "Job has reached the specified backoff limit"), (failed.Text("reason"), failed.Text("message")));
    }

    [Fact]
    public async Task FailurePolicy_OnAnExitCode_FailsAtOnce()
    {
        await _api.Ok(
            _api.Post(
                Jobs,
                Objects.Job(
                    "j",
                    "exit 65",
                    """ "podFailurePolicy":{"rules":[{"action":"FailJob","onExitCodes":{"operator":"In","values":[65,66]}}]}, """)));
        var job = await Finished("j");
        var failed = job.Items("status", "conditions").First(c => c.Text("type") == "Failed");
        Assert.Equal("PodFailurePolicy", failed.Text("reason"));
        Assert.Matches(
            "^Container main for pod default/j-.* failed with exit code 65 matching FailJob rule at index 0$", failed.Text("message"));
        Assert.Equal(1, job.Number("status", "failed"));
    }

    [Fact]
    public async Task Eviction_IsNotCountedAndThePodIsReplaced()
    {
        // The first pod waits for its end; the one after it finds the mark and succeeds.
        var mark = Path.Combine(_cluster.Folder, "mark");
        await _api.Ok(_api.Post(Jobs, Objects.Job("j", $"if [ -e {mark} ]; then exit 0; fi; trap 'touch {mark}; exit 143' TERM; echo "
            + $"ready; while true; do sleep 0.05; done",
            """ "backoffLimit":0,"podFailurePolicy":{"rules":[{"action":"Ignore","onPodConditions":[{"type":"DisruptionTarget"}]}]}, """)));
        var pod = await Pod("j", p => p.Text("status", "phase") == "Running", "pod runs");
        var name = pod.Text("metadata", "name")!;
        await Objects.Until(
            async () =>
                (await _api.Get($"{Pods}/{name}/log")).Body is JsonValue v && v.ToString().Contains("ready", StringComparison.Ordinal),
            "the trap is set");
        await _api.Ok(
            _api.Post(
                $"{Pods}/{name}/eviction",
                Objects.Parse($$$$"""{"apiVersion":"policy/v1","kind":"Eviction","metadata":{"name":"{{{{name}}}}"}}""")));
        var job = await Finished("j");
        Assert.Contains(job.Items("status", "conditions"), c => c.Text("type") == "Complete");
        Assert.Null(job.Number("status", "failed"));
    }

    [Fact]
    public async Task Suspension_EndsThePodAndResumptionStartsANewOne()
    {
        await _api.Ok(_api.Post(Jobs, Objects.Job("j", "trap 'exit 143' TERM; while true; do sleep 0.05; done")));
        await Pod("j", p => p.Text("status", "phase") == "Running", "pod runs");
        await _api.Ok(_api.Merge($"{Jobs}/j", """{"spec":{"suspend":true}}"""));
        await Objects.Until(
            async () => (await _api.Get($"{Pods}?labelSelector=job-name%3Dj")).Body.Items("items").Count == 0, "no pod is left");
        var job = (await _api.Get($"{Jobs}/j")).Body;
        Assert.Contains(job.Items("status", "conditions"), c => c.Text("type") == "Suspended" && c.Text("status") == "True");
        Assert.Null(job.Text("status", "startTime"));
        await _api.Ok(_api.Merge($"{Jobs}/j", """{"spec":{"suspend":false}}"""));
        await Pod("j", p => p.Text("status", "phase") == "Running", "a new pod runs");
    }

    [Fact]
    public async Task Deadline_EndsTheJob()
    {
        await _api.Ok(
            _api.Post(Jobs, Objects.Job("j", "trap 'exit 143' TERM; while true; do sleep 0.05; done", """ "activeDeadlineSeconds":1, """)));
        var job = await Finished("j");
        Assert.Equal("DeadlineExceeded", job.Items("status", "conditions").First(c => c.Text("type") == "Failed").Text("reason"));
    }

    [Fact]
    public async Task TimeToLive_RemovesTheJobAndItsPods()
    {
        await _api.Ok(_api.Post(Jobs, Objects.Job("j", "true", """ "ttlSecondsAfterFinished":0, """)));
        await Objects.Until(
            async () => (await _api.Get($"{Jobs}/j")).Code == 404
                && (await _api.Get($"{Pods}?labelSelector=job-name%3Dj")).Body.Items("items").Count == 0,
            "job and pods are gone");
    }

    [Theory]
    [InlineData("unknown:1", "ErrImagePull")]
    public async Task Image_ThatIsUnknown_CannotBePulled(string image, string reason)
    {
        var job = Objects.Job("j", "true");
        job["spec"]!["template"]!["spec"]!["containers"]![0]!["image"] = image;
        await _api.Ok(_api.Post(Jobs, job));
        await Pod(
            "j", p => p.Items("status", "containerStatuses").Any(c => c.Text("state", "waiting", "reason") == reason), "the pull fails");
    }

    [Fact]
    public async Task Gpu_ThatIsTaken_LeavesThePodUnschedulableUntilItIsFree()
    {
        JsonObject Job(string name)
        {
            var job = Objects.Job(name, "trap 'exit 0' TERM; while true; do sleep 0.05; done");
            job["spec"]!["template"]!["spec"]!["containers"]![0]!["resources"] =
                new JsonObject { ["limits"] = new JsonObject { ["nvidia.com/gpu"] = "1" } };
            return job;
        }

        await _api.Ok(_api.Post(Jobs, Job("first")));
        await Pod("first", p => p.Text("status", "phase") == "Running", "the first runs");
        await _api.Ok(_api.Post(Jobs, Job("second")));
        var pod =
            await Pod("second", p => p.Items("status", "conditions").Any(c => c.Text("reason") == "Unschedulable"), "the second waits");
        Assert.Equal("0/1 nodes are available: 1 Insufficient nvidia.com/gpu. preemption: 0/1 nodes are available: 1 No preemption victims "
            + "found for incoming pod.",
            pod.Items("status", "conditions").First(c => c.Text("type") == "PodScheduled").Text("message"));
        await _api.Ok(_api.Delete($"{Jobs}/first?propagationPolicy=Background"));
        await Pod("second", p => p.Text("status", "phase") == "Running", "the second runs");
    }

    [Fact]
    public async Task Claim_IsSharedAndMountPathsAreTranslated()
    {
        await _api.Ok(_api.Post("/api/v1/namespaces/default/persistentvolumeclaims", Objects.Parse("""{"apiVersion":"v1","kind":"PersistentVolumeClaim","metadata":{"name":"runs"},"spec":{"accessModes":["ReadWriteOnce"],"resources":{"requests":{"storage":"1Gi"}}}}""")));
        await _api.Ok(
            _api.Post(
                Objects.ConfigMaps,
                Objects.Parse(
                    """{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"plan"},"data":{"plan.json":"{\"out\":\"/runs/x\"}"}}""")));
        const string Volumes =
            """ "volumes":[{"name":"r","persistentVolumeClaim":{"claimName":"runs"}},{"name":"p","configMap":{"name":"plan"}}], """;
        JsonObject Job(string name, string script)
        {
            var job = Objects.Job(name, script, pod: Volumes);
            var container = job["spec"]!["template"]!["spec"]!["containers"]![0]!;
            container["volumeMounts"] = JsonNode.Parse("""[{"name":"r","mountPath":"/runs"},{"name":"p","mountPath":"/plan"}]""");
            container["env"] = JsonNode.Parse("""[{"name":"RUN","value":"/runs/x"}]""");
            return job;
        }

        await _api.Ok(_api.Post(Jobs, Job("writer", "mkdir -p /runs/x && echo 42 > $RUN/value")));
        Assert.Contains((await Finished("writer")).Items("status", "conditions"), c => c.Text("type") == "Complete");
        await _api.Ok(
            _api.Post(
                Jobs,
                Job("reader", "grep -q \"$RUN\" /plan/plan.json && cat /runs/x/value; echo \"left /runs/x\" > /dev/termination-log")));
        await Finished("reader");
        var pod = await Pod("reader", p => p.Text("status", "phase") == "Succeeded", "the reader ends");
        Assert.Equal("42\n", (await _api.Get($"{Pods}/{pod.Text("metadata", "name")}/log")).Body!.GetValue<string>());
        Assert.Equal("left /runs/x\n", pod.Items("status", "containerStatuses")[0].Text("state", "terminated", "message"));
        Assert.Equal(
            "42\n",
            await File.ReadAllTextAsync(
                Path.Combine(_cluster.Kubelet!.ClaimFolder("default", "runs"), "x", "value"), TestContext.Current.CancellationToken));
    }

    [Fact]
    public async Task OutOfMemory_IsReportedAsSuch()
    {
        await _api.Ok(_api.Post(Jobs, Objects.Job("j", "while true; do sleep 0.05; done", """ "backoffLimit":0, """)));
        var pod = await Pod("j", p => p.Text("status", "phase") == "Running", "pod runs");
        Assert.True(_cluster.Kubelet!.OutOfMemory("default", pod.Text("metadata", "name")!));
        await Finished("j");
        pod = await Pod("j", p => p.Text("status", "phase") == "Failed", "pod failed");
        Assert.Equal(
            ("OOMKilled", 137L),
            (
                pod.Items("status", "containerStatuses")[0].Text("state", "terminated", "reason"),
                pod.Items("status", "containerStatuses")[0].Number("state", "terminated", "exitCode")));
    }

    [Fact]
    public async Task Secret_ThatIsMissing_HoldsTheContainerUntilItComes()
    {
        var job = Objects.Job("j", "echo $TOKEN");
        job["spec"]!["template"]!["spec"]!["containers"]![0]!["env"] =
            JsonNode.Parse("""[{"name":"TOKEN","valueFrom":{"secretKeyRef":{"name":"s","key":"k"}}}]""");
        await _api.Ok(_api.Post(Jobs, job));
        await Pod(
            "j",
            p => p.Items("status", "containerStatuses").Any(c => c.Text("state", "waiting", "reason") == "CreateContainerConfigError"),
            "the container waits");
        await _api.Ok(
            _api.Post(
                "/api/v1/namespaces/default/secrets",
                Objects.Parse("""{"apiVersion":"v1","kind":"Secret","metadata":{"name":"s"},"stringData":{"k":"v"}}""")));
        Assert.Contains((await Finished("j")).Items("status", "conditions"), c => c.Text("type") == "Complete");
    }

    [Theory]
    [InlineData("""{"spec":{"template":{"spec":{"containers":[{"name":"main","image":"bash:2"}]}}}}""", "spec.template: Invalid value")]
    [InlineData("""{"spec":{"completions":3}}""", "spec.completions: Invalid value: 3: field is immutable")]
    public async Task Job_FieldsThatMayNotChange_AreRefused(string patch, string expected)
    {
        await _api.Ok(_api.Post(Jobs, Objects.Job("j", "sleep 1")));
        var answer = await _api.Strategic($"{Jobs}/j", patch);
        Assert.Equal(422, answer.Code);
        Assert.Contains(expected, answer.Message, StringComparison.Ordinal);
    }
}
