// Why this exists: the loop every built-in controller runs: a set of keys to look at, now or later, one at a time, retried when it fails.
using System.Text.Json.Nodes;
using System.Threading.Channels;

namespace CoCLR.TrialCluster;

/// <summary>A key to reconcile.</summary>
/// <param name="Key">Kind.</param>
/// <param name="Namespace">Namespace, or empty.</param>
/// <param name="Name">Name.</param>
public readonly record struct WorkItem(ResourceKey Key, string Namespace, string Name);

/// <summary>A level-triggered controller.</summary>
public abstract class Controller(InProcessCluster cluster, string name)
{
    private readonly Lock _gate = new();
    private readonly HashSet<WorkItem> _dirty = [];
    private readonly Channel<WorkItem> _queue = Channel.CreateUnbounded<WorkItem>();
    private readonly Dictionary<WorkItem, int> _failures = [];

    /// <summary>The cluster.</summary>
    protected InProcessCluster Cluster { get; } = cluster;

    /// <summary>The resource service.</summary>
    protected ResourceService Resources => Cluster.Resources;

    /// <summary>Now.</summary>
    protected DateTimeOffset Now => Cluster.Clock.GetUtcNow();

    /// <summary>How its writes are signed.</summary>
    protected WriteContext Context { get; } = new() { Manager = name };

    /// <summary>How its status writes are signed.</summary>
    protected WriteContext StatusContext { get; } = new() { Manager = name, Subresource = "status" };

    /// <summary>Told of every write.</summary>
    public abstract void OnWritten(ResourceKey key, StoreEvent e);

    /// <summary>Brings one object to where it should be.</summary>
    protected abstract void Reconcile(WorkItem item);

    /// <summary>Looks at an object soon.</summary>
    public void Enqueue(WorkItem item)
    {
        lock (_gate)
        {
            if (!_dirty.Add(item))
            {
                return;
            }
        }

        _queue.Writer.TryWrite(item);
    }

    /// <summary>Looks at an object after a while.</summary>
    protected void EnqueueAfter(WorkItem item, TimeSpan delay)
    {
        if (delay <= TimeSpan.Zero)
        {
            Enqueue(item);
            return;
        }

        _ = LaterAsync();

        async Task LaterAsync()
        {
            try
            {
                await Task.Delay(delay, Cluster.Clock, Cluster.Stopping);
                Enqueue(item);
            }
            catch (OperationCanceledException)
            {
                // The cluster stops; nothing is left to look at.
                return;
            }
        }
    }

    /// <summary>Runs until the cluster stops.</summary>
    public async Task RunAsync(CancellationToken stop)
    {
        while (!stop.IsCancellationRequested)
        {
            WorkItem item;
            try
            {
                item = await _queue.Reader.ReadAsync(stop);
            }
            catch (OperationCanceledException)
            {
                return;
            }

            lock (_gate)
            {
                _dirty.Remove(item);
            }

            try
            {
                Reconcile(item);
                _failures.Remove(item);
            }
            catch (ApiException e)
            {
                Retry(item, e);
            }
            catch (Exception e) when (!stop.IsCancellationRequested)
            {
                Cluster.Report($"{GetType().Name} failed on {item}: {e}");
                Retry(item, e);
            }
        }
    }

    private void Retry(WorkItem item, Exception e)
    {
        var failures = _failures.GetValueOrDefault(item) + 1;
        _failures[item] = failures;
        var conflict = e is ApiException { Code: 409 };
        EnqueueAfter(
            item,
            conflict
                ? TimeSpan.FromMilliseconds(5)
                : TimeSpan.FromMilliseconds(Math.Min(10_000, 20 * Math.Pow(2, Math.Min(failures, 12)))));
    }

    /// <summary>The stored object, or null.</summary>
    protected StoredObject? Find(ResourceKey key, string ns, string name) => Cluster.Store.Get(key, ns, name);

    /// <summary>Changes an object as it is now; null when it is gone.</summary>
    protected JsonObject? Change(ResourceKey key, string ns, string name, Action<JsonObject> change, bool status = false)
    {
        for (var attempt = 0; ; attempt++)
        {
            if (Find(key, ns, name) is not { } stored || Resources.Registry.FindAny(key) is not { } kind)
            {
                return null;
            }

            var next = stored.Value.Copy();
            change(next);
            if (Json.Same(next, stored.Value))
            {
                return stored.Value;
            }

            try
            {
                return Resources.Update(kind, ns, name, next, status ? StatusContext : Context);
            }
            catch (ApiException e) when (e.Code == 409 && attempt < 20)
            {
                continue;
            }
            catch (ApiException e) when (e.Code == 404)
            {
                return null;
            }
        }
    }

    /// <summary>Creates an object.</summary>
    protected JsonObject Create(string apiVersion, string kind, string ns, JsonObject body)
    {
        body["apiVersion"] = apiVersion;
        body["kind"] = kind;
        return Resources.Create(Cluster.Kind(apiVersion, kind), ns, body, Context);
    }

    /// <summary>Deletes an object if it is there.</summary>
    protected void Delete(ResourceKey key, string ns, string name, DeleteRequest? request = null)
    {
        if (Resources.Registry.FindAny(key) is not { } kind)
        {
            return;
        }

        try
        {
            Resources.Delete(kind, ns, name, request ?? new DeleteRequest(), Context);
        }
        catch (ApiException e) when (e.Code is 404 or 409)
        {
            // Gone, or another incarnation by now: either way there is nothing to delete.
            return;
        }
    }

    /// <summary>Records an event; the same one again counts up.</summary>
    protected void Record(JsonObject about, string type, string reason, string message) =>
        Cluster.Controllers.Events.Record(about, type, reason, message, name);

    /// <summary>Sets a condition; true when it changed.</summary>
    protected bool SetCondition(JsonObject status, string type, string value, string reason, string message)
    {
        var conditions = status.EnsureItems("conditions");
        var present = conditions.OfType<JsonObject>().FirstOrDefault(c => c.Text("type") == type);
        if (present is not null && present.Text("status") == value && (present.Text("reason") ?? "") == reason
            && (present.Text("message") ?? "") == message)
        {
            return false;
        }

        var time = Json.Time(Now);
        var condition = present ?? [];
        var flipped = present.Text("status") != value;
        condition["type"] = type;
        condition["status"] = value;
        if (flipped)
        {
            condition["lastTransitionTime"] = time;
        }

        if (reason.Length > 0)
        {
            condition["reason"] = reason;
        }
        else
        {
            condition.Remove("reason");
        }

        if (message.Length > 0)
        {
            condition["message"] = message;
        }
        else
        {
            condition.Remove("message");
        }

        if (present is null)
        {
            conditions.Add(condition);
        }

        return true;
    }

    /// <summary>Whether a condition is True.</summary>
    public static bool Has(JsonNode? o, string type) =>
        o.Items("status", "conditions").Any(c => c.Text("type") == type && c.Text("status") == "True");

    /// <summary>An owner reference to the controlling object.</summary>
    protected static JsonObject OwnerOf(JsonObject owner) => new()
    {
        ["apiVersion"] = owner.Text("apiVersion"),
        ["kind"] = owner.Text("kind"),
        ["name"] = owner.Text("metadata", "name"),
        ["uid"] = owner.Text("metadata", "uid"),
        ["controller"] = true,
        ["blockOwnerDeletion"] = true,
    };

    /// <summary>The uid of the controlling owner, or null.</summary>
    public static string? ControllerOf(JsonNode? o) =>
        o.Items("metadata", "ownerReferences").FirstOrDefault(r => r.Flag("controller") == true).Text("uid");
}
