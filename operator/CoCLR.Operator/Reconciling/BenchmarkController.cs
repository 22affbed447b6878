// Why this exists: the I/O around the pure reconciler of suites.
using System.Collections.Concurrent;
using CoCLR.Cluster;
using CoCLR.Core.Manifests;
using CoCLR.Core.Manifests.Status;
using CoCLR.Operator.Api;

namespace CoCLR.Operator.Reconciling;

/// <summary>Controls suites.</summary>
public sealed class BenchmarkController : ResourceController<BenchmarkSpec, BenchmarkStatus>
{
    private readonly Caches _caches;
    private readonly Propagation _propagation;
    private readonly Func<ObjectKey, IReadOnlyList<CustomResource<ExperimentSpec, ExperimentStatus>>> _childrenOf;
    private readonly ConcurrentDictionary<string, (long Generation, Expansion Expansion)> _expansions = new();

    /// <summary>Creates the controller; before the caches run.</summary>
    /// <param name="caches">Caches.</param>
    /// <param name="propagation">What of a suite's labels and annotations its experiments get.</param>
    /// <param name="queue">Queue of suites.</param>
    /// <param name="tools">What it writes with.</param>
    public BenchmarkController(Caches caches, Propagation propagation, WorkQueue queue, ControllerTools tools)
        : base(ResourceKind.Benchmark, caches.Benchmarks, queue, caches, tools)
    {
        (_caches, _propagation) = (caches, propagation);
        _childrenOf = caches.Experiments.IndexBy(e => Owner(e.Meta));
        caches.Benchmarks.OnChange(change =>
        {
            if (change.New == null)
            {
                _expansions.TryRemove(change.Old!.Meta.Uid, out _);
            }

            queue.Add(change.Key);
        });
        caches.Experiments.OnChange(change =>
        {
            // Progress of a child changes nothing for its suite; why it waits does.
            if (Owner((change.New ?? change.Old!).Meta) is { } owner
                && (change.Old?.State, change.Old?.Reason, change.Old?.Meta.Generation) != (
                    change.New?.State, change.New?.Reason, change.New?.Meta.Generation))
            {
                queue.Add(owner);
            }
        });
    }

    /// <inheritdoc/>
    protected override Task<(Decision<BenchmarkStatus> Decision, Func<IReadOnlyList<Refusal>, Decision<BenchmarkStatus>> WhenRefused)> DecideAsync(
        CustomResource<BenchmarkSpec, BenchmarkStatus> resource, CancellationToken cancellation)
    {
        ObjectMeta meta = resource.Meta;
        if (!_expansions.TryGetValue(meta.Uid, out (long Generation, Expansion Expansion) kept) || kept.Generation != meta.Generation)
        {
            _expansions[meta.Uid] = kept = (meta.Generation, Expansion.Of(resource));
        }

        Decision<BenchmarkStatus> Decide(IReadOnlyList<Refusal> refusals) => BenchmarkReconciler.Reconcile(new BenchmarkObservation
        {
            Benchmark = resource,
            Expansion = kept.Expansion,
            Children = [.. _childrenOf(meta.Key).Where(c => c.Meta.Controller?.Uid == meta.Uid)],
            Experiment = name => _caches.Experiments.Get(new ObjectKey(meta.Key.Namespace, name)),
            Propagation = _propagation,
            Refusals = refusals,
            Now = Tools.Time.GetUtcNow(),
        });
        return Task.FromResult<(Decision<BenchmarkStatus>, Func<IReadOnlyList<Refusal>, Decision<BenchmarkStatus>>)>((Decide([]), Decide));
    }

    private static ObjectKey? Owner(ObjectMeta meta) =>
        meta.Controller is { Kind: ApiNames.Benchmark } owner ? new ObjectKey(meta.Key.Namespace, owner.Name) : null;
}
