// Why this exists: everything a reconcile may look at, as one value; the reconciler is a pure function of it.
using CoCLR.Cluster;
using CoCLR.Core.Manifests;
using CoCLR.Core.Manifests.Status;
using CoCLR.Core.Planning;
using CoCLR.Operator.Api;
using CoCLR.Operator.Progress;
using CoCLR.Operator.Runtime;

namespace CoCLR.Operator.Reconciling;

/// <summary>What is observed of an experiment and around it.</summary>
public sealed record ExperimentObservation
{
    /// <summary>The experiment.</summary>
    public required CustomResource<ExperimentSpec, ExperimentStatus> Experiment { get; init; }

    /// <summary>Its Jobs.</summary>
    public IReadOnlyList<JobView> Jobs { get; init; } = [];

    /// <summary>Pods that carry its name, also of an earlier experiment of that name.</summary>
    public IReadOnlyList<PodView> Pods { get; init; } = [];

    /// <summary>Its plan.</summary>
    public PlanView? Plan { get; init; }

    /// <summary>A claim of its namespace.</summary>
    public Func<string, ClaimView?> Claim { get; init; } = _ => null;

    /// <summary>Kueue's view of a Job, by the Job's unique id.</summary>
    public Func<string, WorkloadView?> Workload { get; init; } = _ => null;

    /// <summary>Why a Job could not make its pod lately, by the Job's unique id.</summary>
    public Func<string, PodFailureView?> PodFailure { get; init; } = _ => null;

    /// <summary>What pods pushed, by stage.</summary>
    public IReadOnlyDictionary<string, StageReport> Pushed { get; init; } = new Dictionary<string, StageReport>();

    /// <summary>Since when pushes have been received here; what was not heard before says nothing.</summary>
    public DateTimeOffset ListeningSince { get; init; }

    /// <summary>Kinds and names that belong to somebody else although this experiment needs them.</summary>
    public IReadOnlyCollection<string> Foreign { get; init; } = [];

    /// <summary>Now.</summary>
    public required DateTimeOffset Now { get; init; }
}

/// <summary>Settings that concern children.</summary>
public sealed record ChildSettings
{
    /// <summary>Image of the stages when the spec names none.</summary>
    public string DefaultImage { get; init; } = "coclr-engine:0.1.0";

    /// <summary>Pull policy; the cluster's own rule when null.</summary>
    public string? ImagePullPolicy { get; init; }

    /// <summary>Secrets for pulling images.</summary>
    public IReadOnlyList<string> ImagePullSecrets { get; init; } = [];

    /// <summary>Version of the operator, as a label.</summary>
    public string Version { get; init; } = "0.1.0";

    /// <summary>User and group of the stages; 0 leaves it to the image and the cluster.</summary>
    public long RunAsUser { get; init; } = 10001;

    /// <summary>Seconds a stage gets to write its checkpoint.</summary>
    public int GracePeriodSeconds { get; init; } = 120;

    /// <summary>Where pods push progress; no push when null.</summary>
    public string? ProgressUrl { get; init; }

    /// <summary>What of an experiment may reach its children.</summary>
    public Propagation Propagation { get; init; } = new();

    /// <summary>Where pods send events; none when null.</summary>
    public string? DashboardIngestUrl { get; init; }

    /// <summary>Address of the dashboard as people see it; no links when null.</summary>
    public string? DashboardUrl { get; init; }

    /// <summary>Shortest time between two status writes that tell only of progress.</summary>
    public TimeSpan ProgressInterval { get; init; } = TimeSpan.FromSeconds(10);
}

/// <summary>A write that a reconcile wants.</summary>
public abstract record DesiredWrite
{
    /// <summary>Make a child when it is missing.</summary>
    /// <param name="Kind">Kind.</param>
    /// <param name="Name">Name.</param>
    /// <param name="Object">The whole child.</param>
    public sealed record Create(ResourceKind Kind, string Name, System.Text.Json.Nodes.JsonNode Object) : DesiredWrite;

    /// <summary>Suspend or resume a Job.</summary>
    /// <param name="Job">The Job.</param>
    /// <param name="Suspend">Whether its pods stop.</param>
    public sealed record SetSuspend(JobView Job, bool Suspend) : DesiredWrite;

    /// <summary>Delete an object.</summary>
    /// <param name="Kind">Kind.</param>
    /// <param name="Key">Name.</param>
    /// <param name="Uid">Unique id.</param>
    public sealed record Delete(ResourceKind Kind, ObjectKey Key, string Uid) : DesiredWrite;
}

/// <summary>What a reconcile wants.</summary>
public sealed record ExperimentDecision
{
    /// <summary>Nothing at all: not this operator's experiment, or it is going away.</summary>
    public static ExperimentDecision None { get; } = new();

    /// <summary>Writes, in order.</summary>
    public IReadOnlyList<DesiredWrite> Writes { get; init; } = [];

    /// <summary>Children that must be there although no cache shows them; they are looked up before anything else is decided.</summary>
    public IReadOnlyList<DesiredWrite.Create> Suspects { get; init; } = [];

    /// <summary>The status; null leaves it alone.</summary>
    public ExperimentStatus? Status { get; init; }

    /// <summary>Events.</summary>
    public IReadOnlyList<ObjectEvent> Events { get; init; } = [];

    /// <summary>When to look again without a change.</summary>
    public TimeSpan? Again { get; init; }
}

/// <summary>The plan that an experiment follows, and the image it runs.</summary>
/// <param name="Plan">The plan.</param>
/// <param name="Image">The image.</param>
public sealed record PlanSnapshot(StagePlan Plan, string Image);
