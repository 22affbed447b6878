// Why this exists: conditions as kstatus, Flux, Argo CD and `kubectl wait` read them; types and reasons are fixed words, each with its meaning.
using System.Text.Json.Serialization;

namespace CoCLR.Core.Manifests.Status;

/// <summary>One aspect of the state of a resource.</summary>
public sealed record Condition
{
    /// <summary>Aspect, such as Ready.</summary>
    [RequiredField, Bounds(1, 316), Pattern(@"^[A-Za-z]([A-Za-z0-9]*[A-Za-z0-9])?$", "a CamelCase word")]
    public string Type { get; init; } = "";

    /// <summary>Whether it holds.</summary>
    [RequiredField]
    public ConditionStatus Status { get; init; }

    /// <summary>Generation of the spec that the condition is about.</summary>
    [RequiredField, Bounds(0, long.MaxValue)]
    public long ObservedGeneration { get; init; }

    /// <summary>When its status last changed.</summary>
    [RequiredField, JsonConverter(typeof(SecondsConverter))]
    public DateTimeOffset LastTransitionTime { get; init; }

    /// <summary>Why, in one CamelCase word.</summary>
    [RequiredField, Bounds(1, 1024), Pattern(@"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$", "a CamelCase word")]
    public string Reason { get; init; } = "";

    /// <summary>Why, for people.</summary>
    [RequiredField, Bounds(0, 2048)]
    public string Message { get; init; } = "";
}

/// <summary>Whether a condition holds.</summary>
public enum ConditionStatus
{
    /// <summary>Not known yet.</summary>
    Unknown,

    /// <summary>It holds.</summary>
    True,

    /// <summary>It does not hold.</summary>
    False,
}

/// <summary>Types of conditions.</summary>
public static class ConditionTypes
{
    /// <summary>The resource is where its spec wants it: finished with success, or suspended as asked. Always present.</summary>
    public const string Ready = "Ready";

    /// <summary>Work towards the spec goes on; removed when it does not.</summary>
    public const string Reconciling = "Reconciling";

    /// <summary>It cannot go on without a change by a person; removed when it can.</summary>
    public const string Stalled = "Stalled";

    /// <summary>Unknown until the end; then whether it succeeded.</summary>
    public const string Succeeded = "Succeeded";

    /// <summary>It is suspended and holds no device; removed otherwise.</summary>
    public const string Suspended = "Suspended";

    /// <summary>The spec is valid and everything it refers to exists.</summary>
    public const string Accepted = "Accepted";

    /// <summary>A queue has admitted it, or it has no queue.</summary>
    public const string Admitted = "Admitted";

    /// <summary>A pod of a stage runs.</summary>
    public const string Running = "Running";

    /// <summary>A stage was interrupted and is being started again; removed when it runs.</summary>
    public const string Interrupted = "Interrupted";

    /// <summary>The network learns, as far as its stages have looked at it; absent until they have.</summary>
    public const string Healthy = "Healthy";

    /// <summary>The results of a suite are what its spec expects; absent when it expects nothing.</summary>
    public const string Met = "Met";

    /// <summary>Types that are removed when they are not true.</summary>
    public static IReadOnlyList<string> AbnormalTrue { get; } = [Reconciling, Stalled, Suspended, Interrupted];
}

/// <summary>Reasons of conditions. A stage's own reason (OOMKilled, ImagePullBackOff, Unschedulable, ...) may stand in their place.</summary>
public static class ConditionReasons
{
    /// <summary>The first stage is being prepared.</summary>
    public const string Starting = "Starting";

    /// <summary>A stage runs.</summary>
    public const string Training = "Training";

    /// <summary>The representations that were looked at tell videos apart.</summary>
    public const string Learning = "Learning";

    /// <summary>All embeddings are alike, so nothing is learned.</summary>
    public const string Collapsed = "Collapsed";

    /// <summary>A stage is being started again.</summary>
    public const string Restarting = "Restarting";

    /// <summary>Work goes on.</summary>
    public const string Progressing = "Progressing";

    /// <summary>Work goes on after an interruption.</summary>
    public const string ProgressingWithRetry = "ProgressingWithRetry";

    /// <summary>Waits for its queue.</summary>
    public const string Queued = "Queued";

    /// <summary>It has no queue.</summary>
    public const string NoQueue = "NoQueue";

    /// <summary>The queue has admitted it.</summary>
    public const string Admitted = "Admitted";

    /// <summary>Suspended by its spec.</summary>
    public const string Suspended = "Suspended";

    /// <summary>Being suspended: pods write their checkpoints and end.</summary>
    public const string Suspending = "Suspending";

    /// <summary>Everything succeeded.</summary>
    public const string Succeeded = "Succeeded";

    /// <summary>The spec is valid and what it refers to exists.</summary>
    public const string Valid = "Valid";

    /// <summary>The spec is not valid.</summary>
    public const string InvalidSpec = "InvalidSpec";

    /// <summary>The object does not have the form that this version understands.</summary>
    public const string Unparseable = "Unparseable";

    /// <summary>Something that the spec refers to is missing.</summary>
    public const string DependencyNotReady = "DependencyNotReady";

    /// <summary>An object of another owner has a name that this one needs.</summary>
    public const string NameConflict = "NameConflict";

    /// <summary>Pods of a deleted experiment of the same name are still ending.</summary>
    public const string WaitingForPredecessor = "WaitingForPredecessor";

    /// <summary>The same failure came too often.</summary>
    public const string RetriesExhausted = "RetriesExhausted";

    /// <summary>The stage ended with an exit code that says that trying again cannot help.</summary>
    public const string NonRetryableError = "NonRetryableError";

    /// <summary>activeDeadlineSeconds has passed.</summary>
    public const string DeadlineExceeded = "DeadlineExceeded";

    /// <summary>preRunningDeadlineSeconds has passed.</summary>
    public const string PreRunningDeadlineExceeded = "PreRunningDeadlineExceeded";

    /// <summary>The container used more memory than its limit.</summary>
    public const string OutOfMemory = "OOMKilled";

    /// <summary>Being deleted.</summary>
    public const string Terminating = "Terminating";

    /// <summary>Not ended yet.</summary>
    public const string NotFinished = "NotFinished";

    /// <summary>No pod runs.</summary>
    public const string NotRunning = "NotRunning";

    /// <summary>Every expectation of a suite is met.</summary>
    public const string ExpectationsMet = "ExpectationsMet";

    /// <summary>A suite's results are not what its spec expects.</summary>
    public const string ExpectationsNotMet = "ExpectationsNotMet";

    /// <summary>A suite has failed experiments.</summary>
    public const string ExperimentsFailed = "ExperimentsFailed";

    /// <summary>The API server refuses a child: an admission policy, a rule of its kind, a missing right.</summary>
    public const string Refused = "Refused";

    /// <summary>A quota of the namespace leaves no room.</summary>
    public const string QuotaExceeded = "QuotaExceeded";

    /// <summary>The node of a pod does not answer, so the pod cannot end.</summary>
    public const string NodeLost = "NodeLost";

    /// <summary>A pod of a Job that is gone is still ending.</summary>
    public const string PodEnding = "PodEnding";

    /// <summary>The pod is gone without a word.</summary>
    public const string PodLost = "PodLost";

    /// <summary>No node takes the pod.</summary>
    public const string Unschedulable = "Unschedulable";

    /// <summary>The Job cannot make its pod.</summary>
    public const string PodCreationFailed = "PodCreationFailed";

    /// <summary>The pod was ended from outside.</summary>
    public const string Disrupted = "Disrupted";

    /// <summary>The pod failed as a whole.</summary>
    public const string PodFailed = "PodFailed";

    /// <summary>The stage ended with a failure that may pass.</summary>
    public const string StageFailed = "StageFailed";

    /// <summary>The stage was asked to stop and wrote its checkpoint.</summary>
    public const string Stopped = "Terminated";
}
