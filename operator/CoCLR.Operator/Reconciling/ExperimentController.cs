// Why this exists: the I/O around the pure reconciler: gathers what is observed, writes what it decides, and says which changes concern
// which experiment.
using System.Net;
using System.Text.Json;
using System.Text.Json.Nodes;
using CoCLR.Cluster;
using CoCLR.Core.Manifests;
using CoCLR.Core.Manifests.Status;
using CoCLR.Operator.Api;
using CoCLR.Operator.Progress;
using CoCLR.Operator.Runtime;

namespace CoCLR.Operator.Reconciling;

/// <summary>The caches that controllers share.</summary>
public sealed record Caches
{
    /// <summary>Experiments.</summary>
    public required Informer<CustomResource<ExperimentSpec, ExperimentStatus>> Experiments { get; init; }

    /// <summary>Suites.</summary>
    public required Informer<CustomResource<BenchmarkSpec, BenchmarkStatus>> Benchmarks { get; init; }

    /// <summary>Jobs of stages.</summary>
    public required Informer<JobView> Jobs { get; init; }

    /// <summary>Pods of stages.</summary>
    public required Informer<PodView> Pods { get; init; }

    /// <summary>Plans.</summary>
    public required Informer<PlanView> Plans { get; init; }

    /// <summary>All claims: experiments refer to claims that others made.</summary>
    public required Informer<ClaimView> Claims { get; init; }

    /// <summary>Events of Jobs that could not make a pod.</summary>
    public required Informer<PodFailureView> PodFailures { get; init; }

    /// <summary>Kueue's Workloads.</summary>
    public required Informer<WorkloadView> Workloads { get; init; }

    /// <summary>All of them.</summary>
    public IReadOnlyList<IInformer> All => [Experiments, Benchmarks, Jobs, Pods, Plans, Claims, PodFailures, Workloads];
}

/// <summary>Controls experiments.</summary>
public sealed class ExperimentController : ResourceController<ExperimentSpec, ExperimentStatus>
{
    private readonly Caches _caches;
    private readonly ApiClient _client;
    private readonly ProgressStore _progress;
    private readonly ProgressAuthority _authority;
    private readonly ChildSettings _settings;
    private readonly Func<ObjectKey, IReadOnlyList<JobView>> _jobsOf;
    private readonly Func<ObjectKey, IReadOnlyList<PodView>> _podsOf;
    private readonly Func<ObjectKey, IReadOnlyList<PlanView>> _plansOf;
    private readonly Func<ObjectKey, IReadOnlyList<WorkloadView>> _workloadsOf;
    private readonly Func<ObjectKey, IReadOnlyList<PodFailureView>> _failuresOf;
    private DateTimeOffset _listeningSince;

    /// <summary>Creates the controller; before the caches run.</summary>
    /// <param name="caches">Caches.</param>
    /// <param name="client">The API server, for reads that must not come from a cache.</param>
    /// <param name="progress">What pods pushed.</param>
    /// <param name="authority">What pods trust.</param>
    /// <param name="settings">Settings.</param>
    /// <param name="queue">Queue of experiments.</param>
    /// <param name="tools">What it writes with.</param>
    public ExperimentController(
        Caches caches, ApiClient client, ProgressStore progress, ProgressAuthority authority, ChildSettings settings, WorkQueue queue,
        ControllerTools tools)
        : base(ResourceKind.Experiment, caches.Experiments, queue, caches, tools)
    {
        _caches = caches;
        _client = client;
        _progress = progress;
        _authority = authority;
        _settings = settings;
        _listeningSince = tools.Time.GetUtcNow();
        _jobsOf = caches.Jobs.IndexBy(j => Owner(j.Meta));
        _podsOf = caches.Pods.IndexBy(p => p.Meta.Label(Labels.Experiment) is { } name ? new ObjectKey(p.Meta.Key.Namespace, name) : null);
        _plansOf = caches.Plans.IndexBy(p => Owner(p.Meta));
        _workloadsOf =
            caches.Workloads.IndexBy(w => w.Meta.Controller is { Kind: "Job" } job ? new ObjectKey(w.Meta.Key.Namespace, job.Uid) : null);
        _failuresOf = caches.PodFailures.IndexBy(f => new ObjectKey(f.Job.Namespace, f.JobUid));
        caches.Experiments.OnChange(change =>
        {
            if (change.New == null)
            {
                _progress.Forget(change.Old!.Meta.Uid);
            }
            else if (change.New.Finished)
            {
                caches.Jobs.Prune(_jobsOf(change.Key).Select(j => j.Meta.Key));
                caches.Pods.Prune(_podsOf(change.Key).Select(p => p.Meta.Key));
                caches.Plans.Prune(_plansOf(change.Key).Select(p => p.Meta.Key));
                _progress.Forget(change.New.Meta.Uid);
            }

            queue.Add(change.Key);
        });
        caches.Jobs.OnChange(c => Enqueue(Owner((c.New ?? c.Old!).Meta)));
        caches.Pods.OnChange(
            c =>
                Enqueue(
                    (c.New ?? c.Old!) is var pod
                        && pod.Meta.Label(Labels.Experiment) is { } name ? new ObjectKey(c.Key.Namespace, name) : null));
        caches.Plans.OnChange(c => Enqueue(Owner((c.New ?? c.Old!).Meta)));
        caches.Claims.OnChange(OnClaim);
        caches.Workloads.OnChange(
            c => EnqueueJob((c.New ?? c.Old!).Meta.Controller is { Kind: "Job" } job ? new ObjectKey(c.Key.Namespace, job.Name) : null));
        caches.PodFailures.OnChange(c => EnqueueJob((c.New ?? c.Old!).Job));
    }

    /// <inheritdoc/>
    public override void EnqueueAll()
    {
        _listeningSince = Tools.Time.GetUtcNow(); // pods push to the leader only
        base.EnqueueAll();
    }

    /// <summary>Called when a pod has pushed progress.</summary>
    /// <param name="key">The experiment.</param>
    public void Told(ObjectKey key) => Queue.Add(key);

    /// <inheritdoc/>
    protected override async Task<(Decision<ExperimentStatus> Decision, Func<IReadOnlyList<Refusal>, Decision<ExperimentStatus>> WhenRefused)> DecideAsync(
        CustomResource<ExperimentSpec, ExperimentStatus> resource, CancellationToken cancellation)
    {
        ExperimentObservation observed = Observe(resource);
        Decision<ExperimentStatus> decision = ExperimentReconciler.Reconcile(observed, _settings);
        string[] foreign = [];
        if (decision.Suspects.Count > 0 || decision.Writes.OfType<DesiredWrite.Create>().Any())
        {
            (foreign, bool adopted) = await InspectAsync(resource.Meta, decision, cancellation).ConfigureAwait(false);
            if (foreign.Length > 0 || adopted)
            {
                // Adopted: the cache was behind; once more with what there is.
                decision = ExperimentReconciler.Reconcile((adopted ? Observe(resource) : observed) with { Foreign = foreign }, _settings);
            }
        }

        if (!resource.Finished && resource.Meta.Deleting == null)
        {
            await PublishAuthorityAsync(
                resource.Meta.Key, decision.Writes.Any(w => w is DesiredWrite.Create { Kind.Plural: "jobs" }), cancellation)
                .ConfigureAwait(false);
        }

        return (
            decision,
            refusals => ExperimentReconciler.Reconcile(Observe(resource) with { Foreign = foreign, Refusals = refusals }, _settings));
    }

    private async Task PublishAuthorityAsync(ObjectKey key, bool starts, CancellationToken cancellation)
    {
        try
        {
            await _authority.EnsureAsync(key.Namespace, starts, cancellation).ConfigureAwait(false);
        }
        catch (ApiException error) when (!error.IsNamespaceTerminating)
        {
            // Progress is a courtesy: the experiment goes on without it.
            Tools.Logger.LogWarning(
                "{Object}: the ConfigMap {Name} was not written, so pods cannot push progress: {Error}", key,
                ProgressAuthority.ConfigMapName, error.Message);
        }
    }

    /// <inheritdoc/>
    protected override void OnStatus(
        CustomResource<ExperimentSpec, ExperimentStatus> resource, ExperimentStatus known, ExperimentStatus next)
    {
        Count(resource.Meta, known, next);
        if (known.State != next.State || known.Stage != next.Stage)
        {
            string? message = next.Condition(ConditionTypes.Ready)?.Message;
            Tools.Logger.LogInformation(
                "{Object} {Uid}: {State} {Stage} {Message}", resource.Meta.Key, resource.Meta.Uid, next.State, next.Stage, message);
        }
    }

    private ExperimentObservation Observe(CustomResource<ExperimentSpec, ExperimentStatus> experiment)
    {
        ObjectKey key = experiment.Meta.Key;
        return new ExperimentObservation
        {
            Experiment = experiment,
            Jobs = _jobsOf(key),
            Pods = _podsOf(key),
            Plan = _plansOf(key).FirstOrDefault(p => p.Meta.Controller?.Uid == experiment.Meta.Uid),
            Claim = name => _caches.Claims.Get(new ObjectKey(key.Namespace, name)),
            Workload = uid => _workloadsOf(new ObjectKey(key.Namespace, uid)) is [var workload, ..] ? workload : null,
            PodFailure = uid => _failuresOf(new ObjectKey(key.Namespace, uid)).MaxBy(f => f.At),
            Pushed = _progress.Of(experiment.Meta.Uid),
            ListeningSince = _listeningSince,
            Now = Tools.Time.GetUtcNow(),
        };
    }

    /// <summary>Looks, past the cache, whether names that are about to be used are taken.</summary>
    private async Task<(string[] Foreign, bool Adopted)> InspectAsync(
        ObjectMeta experiment, Decision<ExperimentStatus> decision, CancellationToken cancellation)
    {
        var creates = decision.Writes.OfType<DesiredWrite.Create>().Concat(decision.Suspects).ToArray();
        bool?[] mine = await Task.WhenAll(creates.Select(c => IsMineAsync(experiment, c, cancellation))).ConfigureAwait(false);
        return ([.. creates.Where((_, i) => mine[i] == false).Select(c => $"{c.Kind.Plural}/{c.Name}")], mine.Contains(true));
    }

    private async Task<bool?> IsMineAsync(ObjectMeta experiment, DesiredWrite.Create create, CancellationToken cancellation)
    {
        try
        {
            using JsonDocument found = await _client.GetAsync(
                create.Kind.Path(new ObjectKey(experiment.Key.Namespace, create.Name)), cancellation).ConfigureAwait(false);
            ObjectMeta meta = ObjectMeta.Read(found.RootElement);
            bool labelled = meta.Label(Labels.ExperimentUid) == experiment.Uid;
            if (meta.Controller?.Uid != experiment.Uid && !(create.Kind == ResourceKind.Claim && labelled && meta.Controller == null))
            {
                return false;
            }

            if (!labelled)
            {
                // Somebody took its labels away, so the caches do not see it.
                var patch = new JsonObject { ["metadata"] = new JsonObject { ["uid"] = meta.Uid, ["labels"] = create.Object["metadata"]!["labels"]!.DeepClone() } };
                using JsonDocument labelledAgain = await Tools.Writer.PatchAsync(create.Kind, meta.Key, patch, cancellation)
                    .ConfigureAwait(false);
                TakeOver(create.Kind, labelledAgain.RootElement, justRead: true);
                return true;
            }

            TakeOver(create.Kind, found.RootElement, justRead: true);
            return true;
        }
        catch (ApiException error) when (error.Code == HttpStatusCode.NotFound)
        {
            return null;
        }
    }

    private static void Count(ObjectMeta experiment, ExperimentStatus known, ExperimentStatus next)
    {
        if (known.StartTime == null && next.StartTime is { } started)
        {
            OperatorMetrics.QueueWait.Record(Math.Max(0, (started - experiment.Created).TotalSeconds));
        }

        foreach (StageStatus stage in next.Stages)
        {
            StageStatus? before = known.Stages.FirstOrDefault(s => s.Name == stage.Name);
            if (stage.State == StageState.Restarting && before?.State != StageState.Restarting)
            {
                OperatorMetrics.Restarts.Add(1, new KeyValuePair<string, object?>("reason", stage.Reason ?? "Unknown"));
            }
        }

        if (known.Gpus > 0 && known.ActiveSince is { } since && next.ActiveSince == null)
        {
            string outcome = next.State switch
            {
                ExperimentState.Succeeded => "succeeded",
                ExperimentState.Failed => "failed",
                ExperimentState.Suspending or ExperimentState.Suspended => "suspended",
                _ => "running"
            };
            OperatorMetrics.GpuSeconds.Add(
                known.Gpus.Value * Math.Max(0, (next.ActiveSeconds ?? 0) - (known.ActiveSeconds ?? 0)),
                new KeyValuePair<string,
                object?>("outcome", outcome));
            _ = since;
        }
    }

    private static ObjectKey? Owner(ObjectMeta meta) =>
        meta.Controller is { Kind: ApiNames.Experiment } owner ? new ObjectKey(meta.Key.Namespace, owner.Name) : null;

    private void Enqueue(ObjectKey? key)
    {
        if (key is { } experiment)
        {
            Queue.Add(experiment);
        }
    }

    private void EnqueueJob(ObjectKey? job)
    {
        if (job is { } key && _caches.Jobs.Get(key) is { } found)
        {
            Enqueue(Owner(found.Meta));
        }
    }

    private void OnClaim(CacheChange<ClaimView> change)
    {
        if (Owner((change.New ?? change.Old!).Meta) is { } owner)
        {
            Queue.Add(owner);
            return;
        }

        foreach (CustomResource<ExperimentSpec, ExperimentStatus> experiment in _caches.Experiments.All())
        {
            if (experiment.Meta.Key.Namespace == change.Key.Namespace && !experiment.Finished)
            {
                Queue.Add(experiment.Meta.Key);
            }
        }
    }
}
