// Why this exists: everything a reconcile may look at, as one value; the reconciler is a pure function of it.
using CoCLR.Core.Manifests;
using CoCLR.Core.Manifests.Status;
using CoCLR.Core.Planning;
using CoCLR.Operator.Api;
using CoCLR.Operator.Progress;

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

    /// <summary>Writes of this reconcile that the API server refused.</summary>
    public IReadOnlyList<Refusal> Refusals { get; init; } = [];

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

    /// <summary>Kueue's priority class of the Jobs of experiments that have begun; that of the experiment when null.</summary>
    public string? ContinuingPriorityClass { get; init; }

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

/// <summary>The plan that an experiment follows, and the image it runs.</summary>
/// <param name="Plan">The plan.</param>
/// <param name="Image">The image.</param>
/// <param name="Resolved">The same with the digest that a node has found; null until a pod has run.</param>
public sealed record PlanSnapshot(StagePlan Plan, string Image, string? Resolved = null);
