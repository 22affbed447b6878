// Why this exists: plays the Job controller, the scheduler and the kubelet by hand, so that a test says exactly what happens to a pod, also
// on an API server without them.
using System.Text.Json.Nodes;
using CoCLR.Cluster;

namespace CoCLR.Operator.Tests.Harness;

internal sealed class Player(Arena arena)
{
    private readonly HashSet<string> _seen = [];
    private int _pods;

    private static string Now => DateTime.UtcNow.ToString("yyyy-MM-dd'T'HH:mm:ss'Z'", System.Globalization.CultureInfo.InvariantCulture);

    /// <summary>Waits for the Job of a stage.</summary>
    public async Task<JsonObject> JobAsync(string experiment, string stage)
    {
        JsonObject? job = null;
        await Arena.UntilAsync(
            $"{experiment} has a Job for {stage}",
            async () =>
                (
                    job = (await arena.ListAsync(ResourceKind.Job, $"coclr.dev/experiment={experiment},coclr.dev/stage={stage}"))
                        .FirstOrDefault(j => j["metadata"]!["deletionTimestamp"] == null)) != null);
        return job!;
    }

    /// <summary>Makes the pod of a Job, pending.</summary>
    public async Task<JsonObject> PodAsync(JsonObject job)
    {
        string name = job["metadata"]!["name"]!.GetValue<string>();
        if (arena.HasControllers)
        {
            JsonObject? theirs = null;
            await Arena.UntilAsync(
                $"{name} has a pod",
                async () =>
                    (
                        theirs = (await arena.ListAsync(ResourceKind.Pod))
                            .FirstOrDefault(
                                p => p["metadata"]!["ownerReferences"]?[0]?["uid"]?.ToString() == job["metadata"]!["uid"]!.ToString()
                                    && !_seen.Contains(p["metadata"]!["name"]!.ToString()))) != null);
            _seen.Add(theirs!["metadata"]!["name"]!.ToString());
            return theirs;
        }

        var pod = new JsonObject
        {
            ["apiVersion"] = "v1",
            ["kind"] = "Pod",
            ["metadata"] = new JsonObject
            {
                ["name"] = $"{name}-{Interlocked.Increment(ref _pods):00000}",
                ["namespace"] = arena.Namespace,
                ["labels"] = job["spec"]!["template"]!["metadata"]!["labels"]!.DeepClone(),
                ["ownerReferences"] = new JsonArray(
                    new JsonObject
                    {
                        ["apiVersion"] = "batch/v1", ["kind"] = "Job", ["name"] = name,
                        ["uid"] = job["metadata"]!["uid"]!.GetValue<string>(), ["controller"] = true, ["blockOwnerDeletion"] = true
                    }),
            },
            ["spec"] = job["spec"]!["template"]!["spec"]!.DeepClone(),
        };
        if (arena.IsReal)
        {
            // What the admission of service accounts would fill in; a server without controllers runs without it.
            pod["spec"]!["serviceAccountName"] ??= "default";
        }

        JsonObject made = await arena.CreateAsync(ResourceKind.Pod, pod);
        await JobStatusAsync(job, new JsonObject { ["active"] = 1, ["startTime"] = Now });
        return made;
    }

    public Task<JsonObject> PodStatusAsync(JsonObject pod, JsonObject status) =>
        arena.PatchAsync(ResourceKind.Pod, pod["metadata"]!["name"]!.GetValue<string>(), new JsonObject { ["status"] = status }, "status");

    // Where a Job controller runs, it comes to its own conclusions from the pods.
    private Task JobStatusAsync(JsonObject job, JsonObject status) => arena.HasControllers
        ? Task.CompletedTask
        : arena.PatchAsync(
            ResourceKind.Job, job["metadata"]!["name"]!.GetValue<string>(), new JsonObject { ["status"] = status }, "status");

    public Task RunAsync(JsonObject pod) => PodStatusAsync(pod, new JsonObject
    {
        ["phase"] = "Running",
        ["conditions"] = new JsonArray(new JsonObject { ["type"] = "PodScheduled", ["status"] = "True" }),
        ["containerStatuses"] = Container(new JsonObject { ["running"] = new JsonObject { ["startedAt"] = Now } }),
    });

    public Task WaitAsync(JsonObject pod, string reason, string message) => PodStatusAsync(pod, new JsonObject
    {
        ["phase"] = "Pending",
        ["containerStatuses"] = Container(new JsonObject { ["waiting"] = new JsonObject { ["reason"] = reason, ["message"] = message } }),
    });

    public Task UnscheduleAsync(JsonObject pod, string message) => PodStatusAsync(pod, new JsonObject
    {
        ["phase"] = "Pending",
        ["conditions"] = new JsonArray(
            new JsonObject { ["type"] = "PodScheduled", ["status"] = "False", ["reason"] = "Unschedulable", ["message"] = message }),
    });

    public async Task EndAsync(
        JsonObject job, JsonObject pod, int exitCode, string? message = null, string? reason = null, string? disruption = null)
    {
        var status = new JsonObject
        {
            ["phase"] = exitCode == 0 ? "Succeeded" : "Failed",
            ["containerStatuses"] = Container(new JsonObject
            {
                ["terminated"] = new JsonObject
                {
                    ["exitCode"] = exitCode, ["reason"] = reason ?? (exitCode == 0 ? "Completed" : "Error"), ["message"] = message ?? "",
                    ["startedAt"] = Now, ["finishedAt"] = Now
                },
            }),
        };
        if (disruption != null)
        {
            status["conditions"] = new JsonArray(
                new JsonObject
                {
                    ["type"] = "DisruptionTarget", ["status"] = "True", ["reason"] = disruption,
                    ["message"] = "the scheduler needs the place"
                });
        }

        await PodStatusAsync(pod, status);
        await JobStatusAsync(job, new JsonObject { ["active"] = 0 });
    }

    public Task CompleteAsync(JsonObject job) => JobStatusAsync(job, new JsonObject
    {
        ["active"] = 0,
        ["succeeded"] = 1,
        ["completionTime"] = Now,
        ["conditions"] =
            new JsonArray(JobCondition("SuccessCriteriaMet", "CompletionsReached"), JobCondition("Complete", "CompletionsReached")),
    });

    public Task FailAsync(JsonObject job, string reason, int failed) => JobStatusAsync(job, new JsonObject
    {
        ["active"] = 0,
        ["failed"] = failed,
        ["conditions"] = new JsonArray(JobCondition("FailureTarget", reason), JobCondition("Failed", reason)),
    });

    /// <summary>Runs a stage from its Job to its end.</summary>
    public async Task SucceedAsync(string experiment, string stage, string? message = null)
    {
        JsonObject job = await JobAsync(experiment, stage);
        JsonObject pod = await PodAsync(job);
        await RunAsync(pod);
        await EndAsync(job, pod, 0, message);
        await CompleteAsync(job);
    }

    private static JsonArray Container(JsonObject state) =>
        [
            new JsonObject
            {
                ["name"] = "stage", ["image"] = "x", ["imageID"] = "", ["ready"] = false, ["restartCount"] = 0, ["state"] = state
            }];

    private static JsonObject JobCondition(string type, string reason) => new()
    {
        ["type"] = type, ["status"] = "True", ["reason"] = reason, ["message"] = reason, ["lastTransitionTime"] = Now,
        ["lastProbeTime"] = Now
    };
}
