// Why this exists: the one way in which a resource is reconciled: look, decide, write the children, write the status, tell. What a child's
// write meets is part of the status, so a child that the API server refuses is seen by whoever looks at its owner.
using System.Net;
using System.Text.Json;
using System.Text.Json.Nodes;
using CoCLR.Cluster;
using CoCLR.Core;
using CoCLR.Operator.Api;
using CoCLR.Operator.Progress;
using CoCLR.Operator.Runtime;

namespace CoCLR.Operator.Reconciling;

/// <summary>Brings resources of one kind to where their specs want them.</summary>
public interface IReconciler
{
    /// <summary>Names that wait to be reconciled.</summary>
    WorkQueue Queue { get; }

    /// <summary>Adds every resource to the queue; a new leader starts so.</summary>
    void EnqueueAll();

    /// <summary>Reconciles one resource.</summary>
    /// <param name="key">Its name.</param>
    /// <param name="cancellation">Stops it.</param>
    /// <returns>When to come back without a change.</returns>
    Task<TimeSpan?> ReconcileAsync(ObjectKey key, CancellationToken cancellation);
}

/// <summary>What controllers write with.</summary>
/// <param name="Writer">Writes.</param>
/// <param name="Events">Events.</param>
/// <param name="Time">Clock.</param>
/// <param name="Logger">Logger.</param>
public sealed record ControllerTools(ApiWriter Writer, EventRecorder Events, TimeProvider Time, ILogger Logger);

/// <summary>Controls resources of one kind.</summary>
/// <typeparam name="TSpec">Type of the spec.</typeparam>
/// <typeparam name="TStatus">Type of the status.</typeparam>
public abstract class ResourceController<TSpec, TStatus> : IReconciler
    where TSpec : class
    where TStatus : class, new()
{
    private readonly ResourceKind _kind;
    private readonly Informer<CustomResource<TSpec, TStatus>> _cache;
    private readonly IReadOnlyDictionary<ResourceKind, Action<JsonElement, bool>> _takeOver;

    /// <summary>Creates the controller; before the caches run.</summary>
    /// <param name="kind">The kind.</param>
    /// <param name="cache">Its cache.</param>
    /// <param name="queue">Its queue.</param>
    /// <param name="caches">All caches: what a write returns is taken over at once.</param>
    /// <param name="tools">What it writes with.</param>
    protected ResourceController(
        ResourceKind kind, Informer<CustomResource<TSpec, TStatus>> cache, WorkQueue queue, Caches caches, ControllerTools tools)
    {
        (_kind, _cache, Queue, Tools) = (kind, cache, queue, tools);
        _takeOver = new Dictionary<ResourceKind, Action<JsonElement, bool>>
        {
            [ResourceKind.Job] = caches.Jobs.Observe,
            [ResourceKind.ConfigMap] = caches.Plans.Observe,
            [ResourceKind.Claim] = caches.Claims.Observe,
            [ResourceKind.Experiment] = caches.Experiments.Observe,
            [ResourceKind.Benchmark] = caches.Benchmarks.Observe,
        };
    }

    /// <inheritdoc/>
    public WorkQueue Queue { get; }

    /// <summary>What it writes with.</summary>
    protected ControllerTools Tools { get; }

    /// <inheritdoc/>
    public virtual void EnqueueAll()
    {
        foreach (CustomResource<TSpec, TStatus> resource in _cache.All())
        {
            Queue.Add(resource.Meta.Key);
        }
    }

    /// <inheritdoc/>
    public async Task<TimeSpan?> ReconcileAsync(ObjectKey key, CancellationToken cancellation)
    {
        if (_cache.Get(key) is not { } resource || Tools.Writer.IsLeaving(resource.Meta))
        {
            return null;
        }

        (Decision<TStatus> decision, Func<IReadOnlyList<Refusal>, Decision<TStatus>> again) = await DecideAsync(resource, cancellation)
            .ConfigureAwait(false);
        if (await WriteAllAsync(key, decision.Writes, cancellation).ConfigureAwait(false) is { Count: > 0 } refusals)
        {
            // What was refused is said instead; it is tried again later.
            decision = again(refusals);
        }

        if (decision.Status is { } status)
        {
            await WriteStatusAsync(resource, status, cancellation).ConfigureAwait(false);
        }

        foreach (ObjectEvent value in decision.Events)
        {
            await Tools.Events.RecordAsync(_kind, resource.Meta, value, cancellation).ConfigureAwait(false);
        }

        return decision.Again;
    }

    /// <summary>Decides what should be.</summary>
    /// <param name="resource">The resource.</param>
    /// <param name="cancellation">Stops it.</param>
    /// <returns>The decision, and how to decide anew when writes of it were refused.</returns>
    protected abstract Task<(Decision<TStatus> Decision, Func<IReadOnlyList<Refusal>, Decision<TStatus>> WhenRefused)> DecideAsync(
        CustomResource<TSpec, TStatus> resource, CancellationToken cancellation);

    /// <summary>Called when a new status was stored.</summary>
    /// <param name="resource">The resource as it was.</param>
    /// <param name="known">Its status before.</param>
    /// <param name="next">Its status now.</param>
    protected virtual void OnStatus(CustomResource<TSpec, TStatus> resource, TStatus known, TStatus next)
    {
    }

    /// <summary>Takes over what the server returned, before the watch tells.</summary>
    /// <param name="kind">Kind.</param>
    /// <param name="item">The object.</param>
    /// <param name="justRead">It was read a moment ago.</param>
    protected void TakeOver(ResourceKind kind, JsonElement item, bool justRead = false) =>
        _takeOver.GetValueOrDefault(kind)?.Invoke(item, justRead);

    private async Task<IReadOnlyList<Refusal>> WriteAllAsync(
        ObjectKey key, IReadOnlyList<DesiredWrite> writes, CancellationToken cancellation)
    {
        List<Refusal> refusals = [];
        foreach (DesiredWrite write in writes)
        {
            if (refusals.Count > 0 && write is DesiredWrite.Create)
            {
                continue; // it may need what was refused
            }

            try
            {
                await WriteAsync(key, write, cancellation).ConfigureAwait(false);
            }
            catch (ApiException error) when (error.IsRefusal)
            {
                Tools.Logger.LogWarning("{Object}: {Target} is refused: {Error}", key, write.Target, error.Message);
                refusals.Add(new Refusal(write.Target, StageReport.Clean(error.ServerMessage, 1024) ?? error.Reason));
            }
        }

        return refusals;
    }

    private async Task WriteAsync(ObjectKey key, DesiredWrite write, CancellationToken cancellation)
    {
        switch (write)
        {
            case DesiredWrite.Create create:
                // Not forced: if somebody made the same name in this very moment, their fields conflict and the next reconcile finds out.
                var name = new ObjectKey(key.Namespace, create.Name);
                using (JsonDocument made = await Tools.Writer.ApplyAsync(create.Kind, name, create.Object, force: false, cancellation).ConfigureAwait(false))
                {
                    TakeOver(create.Kind, made.RootElement);
                }

                Tools.Logger.LogInformation("{Object}: made {Target}", key, write.Target);
                break;
            case DesiredWrite.Change change:
                await PatchAsync(change.Kind, change.Meta, change.Fields, cancellation).ConfigureAwait(false);
                break;
            case DesiredWrite.SetSuspend set:
                var fields = new JsonObject { ["spec"] = new JsonObject { ["suspend"] = set.Suspend, ["parallelism"] = 1 } };
                await PatchAsync(ResourceKind.Job, set.Job.Meta, fields, cancellation).ConfigureAwait(false);
                Tools.Logger.LogInformation("{Object}: {Target} {Change}", key, write.Target, set.Suspend ? "suspended" : "resumed");
                break;
            case DesiredWrite.Delete delete:
                await Tools.Writer.DeleteAsync(delete.Kind, delete.Key, delete.Uid, cancellation).ConfigureAwait(false);
                Tools.Logger.LogInformation("{Object}: deleted {Target}", key, write.Target);
                break;
            case DesiredWrite.GiveUp lost:
                await GiveUpAsync(lost, cancellation).ConfigureAwait(false);
                Tools.Logger.LogWarning("{Object}: gave up {Target}: {Reason}", key, write.Target, lost.Message);
                break;
        }
    }

    private async Task PatchAsync(ResourceKind kind, ObjectMeta meta, JsonObject fields, CancellationToken cancellation)
    {
        // Another object of that name is left alone.
        fields["metadata"] = new JsonObject { ["uid"] = meta.Uid };
        try
        {
            using JsonDocument changed = await Tools.Writer.PatchAsync(kind, meta.Key, fields, cancellation).ConfigureAwait(false);
            TakeOver(kind, changed.RootElement);
        }
        catch (ApiException error) when (error.Code == HttpStatusCode.NotFound)
        {
            // Gone meanwhile; the watch says so and the next reconcile decides anew.
        }
    }

    private async Task GiveUpAsync(DesiredWrite.GiveUp lost, CancellationToken cancellation)
    {
        var condition = new JsonObject
        {
            ["type"] = "DisruptionTarget",
            ["status"] = "True",
            ["reason"] = "NodeLost",
            ["message"] = lost.Message,
            ["lastTransitionTime"] =
                Tools.Time.GetUtcNow().UtcDateTime.ToString("yyyy-MM-dd'T'HH:mm:ss'Z'", System.Globalization.CultureInfo.InvariantCulture),
        };
        var failed = new JsonObject
        {
            ["metadata"] = new JsonObject { ["uid"] = lost.Pod.Meta.Uid },
            ["status"] = new JsonObject { ["phase"] = "Failed", ["conditions"] = new JsonArray(condition) },
        };
        try
        {
            using JsonDocument changed = await Tools.Writer.PatchStatusAsync(ResourceKind.Pod, lost.Pod.Meta.Key, failed, cancellation)
                .ConfigureAwait(false);
        }
        catch (ApiException error) when (error.Code == HttpStatusCode.NotFound)
        {
            return; // it is gone by itself
        }

        await Tools.Writer.DeleteAsync(ResourceKind.Pod, lost.Pod.Meta.Key, lost.Pod.Meta.Uid, cancellation, graceSeconds: 0)
            .ConfigureAwait(false);
    }

    private async Task WriteStatusAsync(CustomResource<TSpec, TStatus> resource, TStatus status, CancellationToken cancellation)
    {
        TStatus known = resource.ParseStatus();
        JsonNode next = JsonSerializer.SerializeToNode(status, CoclrJson.Compact)!;
        if (JsonNode.DeepEquals(next, JsonSerializer.SerializeToNode(known, CoclrJson.Compact)))
        {
            return;
        }

        ObjectMeta meta = resource.Meta;
        var body = new JsonObject
        {
            ["apiVersion"] = _kind.ApiVersion,
            ["kind"] = _kind.Kind,
            ["metadata"] = new JsonObject
            {
                ["name"] = meta.Key.Name, ["namespace"] = meta.Key.Namespace, ["uid"] = meta.Uid, ["resourceVersion"] = meta.ResourceVersion
            },
            ["status"] = next,
        };
        try
        {
            using JsonDocument stored = await Tools.Writer.ApplyStatusAsync(_kind, meta.Key, body, cancellation).ConfigureAwait(false);
            _cache.Observe(stored.RootElement);
        }
        catch (ApiException error) when (error.Code == HttpStatusCode.NotFound)
        {
            return; // deleted meanwhile
        }

        OnStatus(resource, known, status);
    }
}
