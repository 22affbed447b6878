// Why this exists: of Jobs, pods, claims and the rest only the few facts are cached that a reconcile looks at; ten thousand pods must fit
// in memory.
using System.Text.Json;
using CoCLR.Cluster;
using CoCLR.Runs;

namespace CoCLR.Operator.Api;

/// <summary>A condition of a built-in object.</summary>
/// <param name="Reason">Reason.</param>
/// <param name="Message">Message.</param>
/// <param name="Since">Last transition.</param>
public sealed record ChildCondition(string Reason, string Message, DateTimeOffset? Since)
{
    internal static ChildCondition? Of(JsonElement status, string type, string value = "True") => status.Items("conditions")
        .Where(c => c.Text("type") == type && c.Text("status") == value)
        .Select(c => new ChildCondition(c.Text("reason") ?? "", c.Text("message") ?? "", c.Time("lastTransitionTime"))).FirstOrDefault();
}

/// <summary>A Job of a stage.</summary>
public sealed record JobView : ICachedObject
{
    /// <inheritdoc/>
    public required ObjectMeta Meta { get; init; }

    /// <summary>spec.suspend.</summary>
    public bool Suspended { get; init; }

    /// <summary>spec.parallelism.</summary>
    public long Parallelism { get; init; } = 1;

    /// <summary>Pods that are pending or running.</summary>
    public long Active { get; init; }

    /// <summary>Failures that count.</summary>
    public long Failed { get; init; }

    /// <summary>Since when pods may run.</summary>
    public DateTimeOffset? StartTime { get; init; }

    /// <summary>Condition Complete.</summary>
    public ChildCondition? Complete { get; init; }

    /// <summary>Condition Failed.</summary>
    public ChildCondition? FailedFor { get; init; }

    /// <summary>Hash of the resources that its pods ask for; null for a Job of an older operator.</summary>
    public string? Resources { get; init; }

    /// <summary>Whether it carries a queue label.</summary>
    public bool HasQueue => Meta.Label(Labels.Queue) != null;

    /// <summary>Whether it has ended.</summary>
    public bool Finished => Complete != null || FailedFor != null;

    /// <summary>Reads raw JSON.</summary>
    /// <param name="item">The object.</param>
    public static JobView Read(JsonElement item)
    {
        JsonElement spec = item.Child("spec") ?? default;
        JsonElement status = item.Child("status") ?? default;
        return new JobView
        {
            Meta = ObjectMeta.Read(item),
            Resources = item.Child("metadata")?.Child("annotations")?.Text(Labels.Resources),
            Suspended = spec.Flag("suspend") ?? false,
            Parallelism = spec.Number("parallelism") ?? 1,
            Active = status.Number("active") ?? 0,
            Failed = status.Number("failed") ?? 0,
            StartTime = status.Time("startTime"),
            Complete = ChildCondition.Of(status, "Complete"),
            FailedFor = ChildCondition.Of(status, "Failed"),
        };
    }
}

/// <summary>A pod of a stage.</summary>
public sealed record PodView : ICachedObject
{
    /// <summary>Name of the container of a stage.</summary>
    public const string StageContainer = "stage";

    /// <inheritdoc/>
    public required ObjectMeta Meta { get; init; }

    /// <summary>Pending, Running, Succeeded, Failed or Unknown.</summary>
    public string Phase { get; init; } = "Pending";

    /// <summary>Why the pod failed as a whole, such as Evicted.</summary>
    public string? Reason { get; init; }

    /// <summary>Why, for people.</summary>
    public string? Message { get; init; }

    /// <summary>Why it is not scheduled.</summary>
    public ChildCondition? Unscheduled { get; init; }

    /// <summary>Why it is being disrupted.</summary>
    public ChildCondition? Disruption { get; init; }

    /// <summary>Why its container waits.</summary>
    public ChildCondition? Waiting { get; init; }

    /// <summary>When its container began to run.</summary>
    public DateTimeOffset? RunningSince { get; init; }

    /// <summary>The image that its container runs, as the node has resolved it.</summary>
    public string? ImageId { get; init; }

    /// <summary>How its container ended.</summary>
    public Termination? Ended { get; init; }

    /// <summary>Its node; null before it has one.</summary>
    public string? Node { get; init; }

    /// <summary>
    /// Since when its node has not answered: the node controller calls the pod not ready although its kubelet last said that its containers
    /// are.
    /// </summary>
    public DateTimeOffset? UnreachableSince { get; init; }

    /// <summary>Time after which a pod that should have ended is taken for lost with its node.</summary>
    public static TimeSpan Overdue { get; } = TimeSpan.FromSeconds(15);

    /// <summary>Since when it cannot end because its node does not answer; null while nothing says so.</summary>
    /// <param name="now">Now.</param>
    public DateTimeOffset? LostSince(DateTimeOffset now) => Over || Node == null ? null
        : UnreachableSince ?? (Meta.Deleting is { } due && now >= due + Overdue ? due : null);

    /// <summary>Whether a container runs in it.</summary>
    public bool Running => Phase == "Running" && RunningSince != null && Ended == null;

    /// <summary>Whether it is over.</summary>
    public bool Over => Phase is "Succeeded" or "Failed";

    /// <summary>Reads raw JSON.</summary>
    /// <param name="item">The object.</param>
    public static PodView Read(JsonElement item)
    {
        JsonElement status = item.Child("status") ?? default;
        JsonElement container = status.Items("containerStatuses").FirstOrDefault(c => c.Text("name") == StageContainer);
        JsonElement state = container.Child("state") ?? default;
        JsonElement? waiting = state.Child("waiting");
        JsonElement? ended = state.Child("terminated");
        bool kubeletSaysReady = ChildCondition.Of(status, "ContainersReady") != null || container.Flag("ready") == true;
        return new PodView
        {
            Meta = ObjectMeta.Read(item),
            Phase = status.Text("phase") switch
            {
                "Running" => "Running",
                "Succeeded" => "Succeeded",
                "Failed" => "Failed",
                "Unknown" => "Unknown",
                _ => "Pending"
            },
            Reason = status.Text("reason"),
            Message = status.Text("message"),
            Unscheduled = ChildCondition.Of(status, "PodScheduled", "False"),
            Disruption = ChildCondition.Of(status, "DisruptionTarget"),
            Waiting = waiting is { } w ? new ChildCondition(w.Text("reason") ?? "", w.Text("message") ?? "", null) : null,
            Node = item.Child("spec")?.Text("nodeName"),
            UnreachableSince = kubeletSaysReady
                && state.Child("running") != null ? ChildCondition.Of(status, "Ready", "False")?.Since : null,
            ImageId = container.Text("imageID") is { Length: > 0 } id ? id : null,
            RunningSince = state.Child("running")?.Time("startedAt"),
            Ended = ended is { } e
                ? new Termination(
                    e.Number("exitCode") ?? -1, e.Text("reason") ?? "", e.Text("message"), e.Time("startedAt"), e.Time("finishedAt"))
                : null,
        };
    }
}

/// <summary>How a container ended.</summary>
/// <param name="ExitCode">Exit code.</param>
/// <param name="Reason">Reason, such as OOMKilled.</param>
/// <param name="Message">What the stage wrote as its last word.</param>
/// <param name="Started">When it began to run.</param>
/// <param name="At">When it ended.</param>
public sealed record Termination(long ExitCode, string Reason, string? Message, DateTimeOffset? Started, DateTimeOffset? At);

/// <summary>A persistent volume claim.</summary>
public sealed record ClaimView : ICachedObject
{
    /// <inheritdoc/>
    public required ObjectMeta Meta { get; init; }

    /// <summary>Bound, Pending or Lost.</summary>
    public string Phase { get; init; } = "Pending";

    /// <summary>Access modes.</summary>
    public IReadOnlyList<string> AccessModes { get; init; } = [];

    /// <summary>Reads raw JSON.</summary>
    /// <param name="item">The object.</param>
    public static ClaimView Read(JsonElement item) => new()
    {
        Meta = ObjectMeta.Read(item),
        Phase = item.Child("status")?.Text("phase") ?? "Pending",
        AccessModes = [.. (item.Child("spec") ?? default).Items("accessModes").Select(m => m.GetString() ?? "")],
    };
}

/// <summary>The ConfigMap with the plan of an experiment: what counts once it has been made.</summary>
public sealed record PlanView : ICachedObject
{
    /// <summary>Key of the plan in the ConfigMap.</summary>
    public const string PlanKey = RunFolder.PlanName;

    /// <summary>Key of the image in the ConfigMap.</summary>
    public const string ImageKey = "image";

    /// <inheritdoc/>
    public required ObjectMeta Meta { get; init; }

    /// <summary>plan.json.</summary>
    public required string Plan { get; init; }

    /// <summary>Image of the stages.</summary>
    public string? Image { get; init; }

    /// <summary>Reads raw JSON.</summary>
    /// <param name="item">The object.</param>
    public static PlanView Read(JsonElement item)
    {
        JsonElement data = item.Child("data") ?? default;
        return new PlanView { Meta = ObjectMeta.Read(item), Plan = data.Text(PlanKey) ?? "", Image = data.Text(ImageKey) };
    }
}

/// <summary>Why a Job could not make its pod.</summary>
public sealed record PodFailureView : ICachedObject
{
    /// <inheritdoc/>
    public required ObjectMeta Meta { get; init; }

    /// <summary>The Job.</summary>
    public required ObjectKey Job { get; init; }

    /// <summary>Unique id of the Job.</summary>
    public required string JobUid { get; init; }

    /// <summary>What the API server said.</summary>
    public required string Message { get; init; }

    /// <summary>When it was last said.</summary>
    public DateTimeOffset? At { get; init; }

    /// <summary>Reads raw JSON.</summary>
    /// <param name="item">The event.</param>
    public static PodFailureView Read(JsonElement item)
    {
        JsonElement about = item.Child("involvedObject") ?? default;
        ObjectMeta meta = ObjectMeta.Read(item);
        return new PodFailureView
        {
            Meta = meta,
            Job = new ObjectKey(about.Text("namespace") ?? meta.Key.Namespace, about.Text("name") ?? ""),
            JobUid = about.Text("uid") ?? "",
            Message = item.Text("message") ?? "",
            At = item.Time("lastTimestamp") ?? item.Time("eventTime") ?? meta.Created,
        };
    }
}

/// <summary>Kueue's view of a Job.</summary>
public sealed record WorkloadView : ICachedObject
{
    /// <inheritdoc/>
    public required ObjectMeta Meta { get; init; }

    /// <summary>Condition Admitted.</summary>
    public ChildCondition? Admitted { get; init; }

    /// <summary>Condition Evicted.</summary>
    public ChildCondition? Evicted { get; init; }

    /// <summary>Why it has no quota.</summary>
    public ChildCondition? NoQuota { get; init; }

    /// <summary>Why it is not admitted, in Kueue's words.</summary>
    public ChildCondition? WhyNot => NoQuota is { Message.Length: > 0 } ? NoQuota : Evicted;

    /// <summary>Reads raw JSON.</summary>
    /// <param name="item">The object.</param>
    public static WorkloadView Read(JsonElement item)
    {
        JsonElement status = item.Child("status") ?? default;
        return new WorkloadView
        {
            Meta = ObjectMeta.Read(item),
            Admitted = ChildCondition.Of(status, "Admitted"),
            Evicted = ChildCondition.Of(status, "Evicted"),
            NoQuota = ChildCondition.Of(status, "QuotaReserved", "False"),
        };
    }
}
