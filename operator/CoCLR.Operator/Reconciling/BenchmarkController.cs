// Why this exists: the I/O around the pure reconciler of suites.
using System.Collections.Concurrent;
using System.Net;
using System.Text.Json;
using System.Text.Json.Nodes;
using CoCLR.Cluster;
using CoCLR.Core;
using CoCLR.Core.Manifests;
using CoCLR.Core.Manifests.Status;
using CoCLR.Operator.Api;
using CoCLR.Operator.Runtime;

namespace CoCLR.Operator.Reconciling;

/// <summary>Controls suites.</summary>
public sealed class BenchmarkController
{
    private readonly Caches _caches;
    private readonly ApiWriter _writer;
    private readonly EventRecorder _events;
    private readonly Propagation _propagation;
    private readonly WorkQueue _queue;
    private readonly ILogger _logger;
    private readonly TimeProvider _time;
    private readonly Func<ObjectKey, IReadOnlyList<CustomResource<ExperimentSpec, ExperimentStatus>>> _childrenOf;
    private readonly ConcurrentDictionary<string, (long Generation, Expansion Expansion)> _expansions = new();

    /// <summary>Creates the controller; before the caches run.</summary>
    /// <param name="caches">Caches.</param>
    /// <param name="writer">Writer.</param>
    /// <param name="events">Events.</param>
    /// <param name="propagation">What of a suite's labels and annotations its experiments get.</param>
    /// <param name="queue">Queue of suites.</param>
    /// <param name="logger">Logger.</param>
    /// <param name="time">Clock.</param>
    public BenchmarkController(Caches caches, ApiWriter writer, EventRecorder events, Propagation propagation, WorkQueue queue, ILogger<BenchmarkController> logger, TimeProvider time)
    {
        _caches = caches;
        _writer = writer;
        _events = events;
        _propagation = propagation;
        _queue = queue;
        _logger = logger;
        _time = time;
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
                && (change.Old?.State, change.Old?.Reason, change.Old?.Meta.Generation) != (change.New?.State, change.New?.Reason, change.New?.Meta.Generation))
            {
                queue.Add(owner);
            }
        });
    }

    /// <summary>Adds every suite to the queue; a new leader starts so.</summary>
    public void EnqueueAll()
    {
        foreach (CustomResource<BenchmarkSpec, BenchmarkStatus> benchmark in _caches.Benchmarks.All())
        {
            _queue.Add(benchmark.Meta.Key);
        }
    }

    /// <summary>Reconciles one suite.</summary>
    /// <param name="key">Its name.</param>
    /// <param name="cancellation">Stops it.</param>
    /// <returns>When to come back without a change.</returns>
    public async Task<TimeSpan?> ReconcileAsync(ObjectKey key, CancellationToken cancellation)
    {
        if (_caches.Benchmarks.Get(key) is not { } benchmark)
        {
            return null;
        }

        ObjectMeta meta = benchmark.Meta;
        if (!_expansions.TryGetValue(meta.Uid, out var kept) || kept.Generation != meta.Generation)
        {
            _expansions[meta.Uid] = kept = (meta.Generation, Expansion.Of(benchmark));
        }

        BenchmarkDecision decision = BenchmarkReconciler.Reconcile(new BenchmarkObservation
        {
            Benchmark = benchmark,
            Expansion = kept.Expansion,
            Children = [.. _childrenOf(key).Where(c => c.Meta.Controller?.Uid == meta.Uid)],
            Experiment = name => _caches.Experiments.Get(new ObjectKey(key.Namespace, name)),
            Propagation = _propagation,
            Now = _time.GetUtcNow(),
        });
        foreach (JsonObject child in decision.Create)
        {
            var name = new ObjectKey(key.Namespace, child["metadata"]!["name"]!.GetValue<string>());
            using JsonDocument made = await _writer.ApplyAsync(ResourceKind.Experiment, name, child, force: false, cancellation).ConfigureAwait(false);
            _caches.Experiments.Observe(made.RootElement);
            _logger.LogInformation("{Object}: made experiment {Name}", key, name.Name);
        }

        foreach ((ObjectMeta child, JsonObject patch) in decision.Patch)
        {
            using JsonDocument changed = await _writer.PatchAsync(ResourceKind.Experiment, child.Key, patch, cancellation).ConfigureAwait(false);
            _caches.Experiments.Observe(changed.RootElement);
        }

        foreach (ObjectMeta child in decision.Delete)
        {
            await _writer.DeleteAsync(ResourceKind.Experiment, child.Key, child.Uid, cancellation).ConfigureAwait(false);
            _logger.LogInformation("{Object}: deleted experiment {Name}, which the suite no longer names", key, child.Key.Name);
        }

        if (decision.Status is { } status)
        {
            await WriteStatusAsync(benchmark, status, cancellation).ConfigureAwait(false);
        }

        foreach (ObjectEvent value in decision.Events)
        {
            await _events.RecordAsync(ResourceKind.Benchmark, meta, value, cancellation).ConfigureAwait(false);
        }

        return decision.Again;
    }

    private async Task WriteStatusAsync(CustomResource<BenchmarkSpec, BenchmarkStatus> benchmark, BenchmarkStatus status, CancellationToken cancellation)
    {
        BenchmarkStatus known = benchmark.ParseStatus();
        JsonNode next = JsonSerializer.SerializeToNode(status, CoclrJson.Compact)!;
        if (JsonNode.DeepEquals(next, JsonSerializer.SerializeToNode(known, CoclrJson.Compact)) && known.ObservedGeneration >= 0)
        {
            return;
        }

        var body = new JsonObject
        {
            ["apiVersion"] = ApiNames.ApiVersion,
            ["kind"] = ApiNames.Benchmark,
            ["metadata"] = new JsonObject
            {
                ["name"] = benchmark.Meta.Key.Name,
                ["namespace"] = benchmark.Meta.Key.Namespace,
                ["uid"] = benchmark.Meta.Uid,
                ["resourceVersion"] = benchmark.Meta.ResourceVersion,
            },
            ["status"] = next,
        };
        try
        {
            using JsonDocument stored = await _writer.ApplyStatusAsync(ResourceKind.Benchmark, benchmark.Meta.Key, body, cancellation).ConfigureAwait(false);
            _caches.Benchmarks.Observe(stored.RootElement);
        }
        catch (ApiException error) when (error.Code == HttpStatusCode.NotFound)
        {
            // Deleted meanwhile.
        }
    }

    private static ObjectKey? Owner(ObjectMeta meta) => meta.Controller is { Kind: ApiNames.Benchmark } owner ? new ObjectKey(meta.Key.Namespace, owner.Name) : null;
}
