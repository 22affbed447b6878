// Why this exists: pure reconciles without a cluster: an experiment with its Jobs and pods as values, moved on by hand with a clock that
// tests turn.
using System.Text.Json;
using System.Text.Json.Nodes;
using CoCLR.Cluster;
using CoCLR.Core;
using CoCLR.Core.Manifests;
using CoCLR.Core.Manifests.Status;
using CoCLR.Operator.Api;
using CoCLR.Operator.Progress;
using CoCLR.Operator.Reconciling;
using CoCLR.Operator.Runtime;

namespace CoCLR.Operator.Tests.Harness;

/// <summary>A scene of one experiment.</summary>
internal sealed class Scene
{
    public static readonly DateTimeOffset Start = new(2026, 1, 31, 12, 0, 0, TimeSpan.Zero);

    private readonly JsonObject _resource;
    private readonly Dictionary<string, JsonObject> _jobs = [];
    private readonly Dictionary<string, JsonObject> _pods = [];
    private readonly Dictionary<string, ClaimView> _claims = [];
    private int _versions = 1;

    public Scene(string spec = "{}", string name = "exp", string uid = "11111111-aaaa")
    {
        JsonObject fields = JsonNode.Parse(
            """{"dataset":{"source":{"synthetic":{}}},"views":["RGB"],"training":{"method":"InfoNCE","epochs":10}}""")!.AsObject();
        Merge(fields, JsonNode.Parse(spec)!.AsObject());
        _resource = new JsonObject
        {
            ["metadata"] = new JsonObject
            {
                ["name"] = name, ["namespace"] = "ns", ["uid"] = uid, ["generation"] = 1, ["creationTimestamp"] = "2026-01-31T11:59:00Z"
            },
            ["spec"] = fields,
            ["status"] = new JsonObject { ["observedGeneration"] = -1 },
        };
    }

    public DateTimeOffset Now { get; set; } = Start;

    public DateTimeOffset ListeningSince { get; set; }

    public ChildSettings Settings { get; set; } = new();

    public PlanView? Plan { get; set; }

    public Dictionary<string, StageReport> Pushed { get; } = [];

    public Dictionary<string, WorkloadView> Workloads { get; } = [];

    public Dictionary<string, PodFailureView> PodFailures { get; } = [];

    public string[] Foreign { get; set; } = [];

    public IReadOnlyList<Refusal> Refusals { get; set; } = [];

    public List<ObjectEvent> Events { get; } = [];

    public ExperimentStatus Status => Resource.ParseStatus();

    public CustomResource<ExperimentSpec, ExperimentStatus> Resource =>
        CustomResource.Read<ExperimentSpec, ExperimentStatus>(Element(_resource));

    public IReadOnlyCollection<string> JobNames => _jobs.Keys;

    public static JsonElement Element(JsonNode node) => JsonDocument.Parse(node.ToJsonString()).RootElement;

    public void SetSpec(string json)
    {
        Merge(_resource["spec"]!.AsObject(), JsonNode.Parse(json)!.AsObject());
        _resource["metadata"]!["generation"] = _resource["metadata"]!["generation"]!.GetValue<int>() + 1;
    }

    public void Annotate(string key, string value) => (_resource["metadata"]!["annotations"] ??= new JsonObject())[key] = value;

    public void MarkDeleted() => _resource["metadata"]!["deletionTimestamp"] = "2026-01-31T12:00:00Z";

    public void AddClaim(string name, string phase = "Bound", string mode = "ReadWriteOnce") => _claims[name] = new ClaimView
    {
        Meta = new ObjectMeta { Key = new ObjectKey("ns", name), Uid = "c-" + name, ResourceVersion = "1" },
        Phase = phase,
        AccessModes = [mode],
    };

    public void RemoveClaim(string name) => _claims.Remove(name);

    /// <summary>Reconciles until nothing is left to write, and applies what it decides.</summary>
    public Decision<ExperimentStatus> Reconcile()
    {
        Decision<ExperimentStatus> last = new();
        for (int i = 0; i < 10; i++)
        {
            Decision<ExperimentStatus> decision = Once();
            if (i == 0 || decision.Writes.Count > 0)
            {
                last = decision;
            }

            if (decision.Writes.Count == 0 && i > 0)
            {
                return last.Writes.Count == 0 ? decision : last;
            }
        }

        throw new InvalidOperationException("The reconciler does not come to rest.");
    }

    /// <summary>Reconciles once and applies what it decides.</summary>
    public Decision<ExperimentStatus> Once()
    {
        Decision<ExperimentStatus> decision = ExperimentReconciler.Reconcile(Observation(), Settings);
        foreach (DesiredWrite write in decision.Writes)
        {
            Apply(write);
        }

        Events.AddRange(decision.Events);
        if (decision.Status != null)
        {
            StatusRules.Check(decision.Status.Conditions, decision.Status.ObservedGeneration, Resource.Meta.Generation);
            _resource["status"] = JsonSerializer.SerializeToNode(decision.Status, CoclrJson.Compact);
        }

        return decision;
    }

    public ExperimentObservation Observation() => new()
    {
        Experiment = Resource,
        Jobs = [.. _jobs.Values.Select(j => JobView.Read(Element(j)))],
        Pods = [.. _pods.Values.Select(p => PodView.Read(Element(p)))],
        Plan = Plan,
        Claim = name => _claims.GetValueOrDefault(name),
        Workload = uid => Workloads.GetValueOrDefault(uid),
        PodFailure = uid => PodFailures.GetValueOrDefault(uid),
        Pushed = Pushed,
        ListeningSince = ListeningSince,
        Foreign = Foreign,
        Refusals = Refusals,
        Now = Now,
    };

    /// <summary>The newest Job of a stage.</summary>
    public string JobOf(string stage) => _jobs.Last(j => j.Value["metadata"]!["labels"]![Labels.Stage]!.ToString() == stage).Key;

    public JsonObject Job(string stage) => _jobs[JobOf(stage)];

    public string JobUid(string stage) => Job(stage)["metadata"]!["uid"]!.ToString();

    public void RemoveJob(string stage) => _jobs.Remove(JobOf(stage));

    public void SetJob(string stage, Action<JsonObject> change) => change(Job(stage));

    /// <summary>Adds a pod of a stage's Job.</summary>
    public string AddPod(string stage, string phase = "Pending", string? uid = null, string? owner = null)
    {
        string name = $"{stage}-{_versions++:00000}";
        _pods[name] = new JsonObject
        {
            ["metadata"] = new JsonObject
            {
                ["name"] = name,
                ["namespace"] = "ns",
                ["uid"] = "p-" + name,
                ["resourceVersion"] = _versions.ToString(System.Globalization.CultureInfo.InvariantCulture),
                ["creationTimestamp"] = Now.AddSeconds(_versions).UtcDateTime.ToString(
                    "yyyy-MM-dd'T'HH:mm:ss'Z'", System.Globalization.CultureInfo.InvariantCulture),
                ["labels"] = new JsonObject
                {
                    [Labels.Experiment] = Resource.Meta.Key.Name, [Labels.ExperimentUid] = uid ?? Resource.Meta.Uid, [Labels.Stage] = stage
                },
                ["ownerReferences"] = new JsonArray(
                    new JsonObject { ["kind"] = "Job", ["name"] = "j", ["uid"] = owner ?? JobUid(stage), ["controller"] = true }),
            },
            ["status"] = new JsonObject { ["phase"] = phase },
        };
        if (owner == null && uid == null)
        {
            (Job(stage)["status"] ??= new JsonObject())["active"] = 1;
        }

        return name;
    }

    public string RunPod(string stage)
    {
        string pod = AddPod(stage, "Running");
        SetContainer(pod, $$"""{"running":{"startedAt":"{{Text(Now)}}"} }""");
        return pod;
    }

    public void SetContainer(string pod, string state) => _pods[pod]["status"]!["containerStatuses"] =
        new JsonArray(new JsonObject { ["name"] = "stage", ["state"] = JsonNode.Parse(state) });

    public void SetPod(string pod, Action<JsonObject> change) => change(_pods[pod]);

    public void RemovePod(string pod) => _pods.Remove(pod);

    public void EndPod(string stage, string pod, int code, string? message = null, string? reason = null, string? disruption = null)
    {
        _pods[pod]["status"]!["phase"] = code == 0 ? "Succeeded" : "Failed";
        SetContainer(pod, new JsonObject { ["terminated"] = new JsonObject { ["exitCode"] = code, ["reason"] = reason ?? "Error", ["message"] = message, ["startedAt"] = Text(Now), ["finishedAt"] = Text(Now) } }.ToJsonString());
        if (disruption != null)
        {
            _pods[pod]["status"]!["conditions"] = new JsonArray(
                new JsonObject { ["type"] = "DisruptionTarget", ["status"] = "True", ["reason"] = disruption, ["message"] = "gone" });
        }

        (Job(stage)["status"] ??= new JsonObject())["active"] = 0;
    }

    public void Complete(string stage) => (Job(stage)["status"] ??= new JsonObject())["conditions"] =
        new JsonArray(new JsonObject { ["type"] = "Complete", ["status"] = "True", ["reason"] = "CompletionsReached", ["message"] = "" });

    public void Fail(string stage, string reason, int failed)
    {
        JsonNode status = Job(stage)["status"] ??= new JsonObject();
        status["failed"] = failed;
        status["conditions"] =
            new JsonArray(new JsonObject { ["type"] = "Failed", ["status"] = "True", ["reason"] = reason, ["message"] = "the Job failed" });
    }

    public void Succeed(string stage, string? message = null)
    {
        string pod = RunPod(stage);
        EndPod(stage, pod, 0, message);
        Complete(stage);
        Reconcile();
    }

    public string? Condition(string type) => Status.Condition(type) is { } c ? $"{c.Status}/{c.Reason}" : null;

    private static string Text(DateTimeOffset time) =>
        time.UtcDateTime.ToString("yyyy-MM-dd'T'HH:mm:ss'Z'", System.Globalization.CultureInfo.InvariantCulture);

    private void Apply(DesiredWrite write)
    {
        switch (write)
        {
            case DesiredWrite.Create { Kind.Plural: "jobs" } create:
                Assert.DoesNotContain(create.Name, _jobs.Keys);
                Assert.True(create.Name.Length <= 63);
                JsonObject job = (JsonObject)create.Object.DeepClone();
                job["metadata"]!["uid"] = $"j-{create.Name}-{_versions++}";
                job["metadata"]!["resourceVersion"] = "1";
                if (job["metadata"]!["labels"]![Labels.Queue] != null)
                {
                    job["spec"]!["suspend"] = true; // Kueue's webhook.
                }

                _jobs[create.Name] = job;
                break;
            case DesiredWrite.Create { Kind.Plural: "configmaps" } create:
                Plan = PlanView.Read(Element(create.Object));
                break;
            case DesiredWrite.Create create:
                JsonObject claim = (JsonObject)create.Object.DeepClone();
                claim["metadata"]!["uid"] = "c-1";
                _claims[create.Name] = ClaimView.Read(Element(claim));
                break;
            case DesiredWrite.SetSuspend change:
                _jobs[change.Job.Meta.Key.Name]["spec"]!["suspend"] = change.Suspend;
                _jobs[change.Job.Meta.Key.Name]["spec"]!["parallelism"] = 1;
                break;
            case DesiredWrite.Delete { Kind.Plural: "jobs" } delete:
                _jobs.Remove(delete.Key.Name);
                break;
            case DesiredWrite.Delete { Kind.Plural: "pods" } delete:
                _pods.Remove(delete.Key.Name);
                break;
            case DesiredWrite.Delete:
                MarkDeleted();
                break;
        }
    }

    private static void Merge(JsonObject into, JsonObject from)
    {
        foreach ((string key, JsonNode? value) in from)
        {
            if (value is JsonObject inner && into[key] is JsonObject there)
            {
                Merge(there, inner);
            }
            else
            {
                into[key] = value?.DeepClone();
            }
        }
    }
}

/// <summary>The rules of Flux's condition checker (FAIL0001 to FAIL0007), for every status that is ever written.</summary>
internal static class StatusRules
{
    public static void Check(IReadOnlyList<Condition> conditions, long observedGeneration, long generation)
    {
        Condition? Of(string type) => conditions.FirstOrDefault(c => c.Type == type);
        Condition? ready = Of(ConditionTypes.Ready);
        Assert.True(ready != null, "FAIL0001: Ready must always be present");
        bool reconciling = Of(ConditionTypes.Reconciling)?.Status == ConditionStatus.True,
        stalled = Of(ConditionTypes.Stalled)?.Status == ConditionStatus.True;
        Assert.False(
            ready.Status == ConditionStatus.True && (reconciling || stalled),
            "FAIL0002: Ready must not be True while Reconciling or Stalled");
        Assert.False(reconciling && stalled, "FAIL0003: not both Reconciling and Stalled");
        Assert.All(
            conditions.Where(c => ConditionTypes.AbnormalTrue.Contains(c.Type)),
            c => Assert.True(c.Status == ConditionStatus.True, $"FAIL0004: {c.Type} must be removed when it is not True"));
        Assert.All(conditions, c => Assert.True(c.ObservedGeneration > 0, $"FAIL0005: {c.Type} must carry observedGeneration"));
        Assert.True(
            observedGeneration <= generation && conditions.All(c => c.ObservedGeneration <= generation),
            "FAIL0006: observedGeneration must not be ahead of generation");
        Assert.False(
            ready.Status == ConditionStatus.True && observedGeneration < generation, "FAIL0007: Ready must not be True while behind");
        Assert.All(conditions, c => Assert.Matches("^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$", c.Reason));
        Assert.True(ready.Status == ConditionStatus.True || reconciling || stalled, "kstatus: neither done, nor under way, nor failed");
        Assert.Equal(conditions.Count, conditions.Select(c => c.Type).Distinct().Count());
    }
}
