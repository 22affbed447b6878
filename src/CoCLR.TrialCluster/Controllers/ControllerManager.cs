// Why this exists: the part of kube-controller-manager and kube-scheduler that experiments meet, started and stopped together.
using System.Text.Json.Nodes;

namespace CoCLR.TrialCluster;

/// <summary>The built-in controllers.</summary>
public sealed class ControllerManager : IAsyncDisposable
{
    /// <summary>Table of pods.</summary>
    public static readonly ResourceKey Pods = new("", "pods");

    private readonly InProcessCluster _cluster;
    private readonly List<Controller> _controllers = [];
    private readonly List<Task> _running = [];

    internal ControllerManager(InProcessCluster cluster)
    {
        _cluster = cluster;
        Events = new EventRecorder(cluster);
        Owners = new OwnerIndex();
        cluster.Store.Written += Owners.OnWritten;
        _controllers.Add(new GarbageCollector(cluster, Owners));
        _controllers.Add(new NamespaceController(cluster));
        if (cluster.Options.RunControllers)
        {
            _controllers.Add(new JobController(cluster, Owners));
            _controllers.Add(new DeploymentController(cluster, Owners));
            _controllers.Add(new ReplicaSetController(cluster, Owners));
            _controllers.Add(new ClaimController(cluster));
            _controllers.Add(new BudgetController(cluster));
            Scheduler = new Scheduler(cluster);
            _controllers.Add(Scheduler);
            Nodes = new NodeController(cluster);
            _controllers.Add(Nodes);
        }

        foreach (var controller in _controllers)
        {
            cluster.Store.Written += controller.OnWritten;
        }
    }

    /// <summary>Writes events.</summary>
    public EventRecorder Events { get; }

    /// <summary>Who owns what.</summary>
    public OwnerIndex Owners { get; }

    /// <summary>The scheduler, or null where no controllers run.</summary>
    public Scheduler? Scheduler { get; }

    /// <summary>The nodes' life cycle, or null where no controllers run.</summary>
    public NodeController? Nodes { get; }

    /// <summary>Starts them.</summary>
    public void Start() => _running.AddRange(_controllers.Select(c => Task.Run(() => c.RunAsync(_cluster.Stopping))));

    /// <summary>Puts a pod on a node.</summary>
    public void Assign(string ns, string name, string node)
    {
        var kind = _cluster.Kind("v1", "Pod");
        for (var attempt = 0; attempt < 10; attempt++)
        {
            var pod = _cluster.Resources.Get(kind, ns, name);
            var next = pod.Value.Copy();
            next.Ensure("spec")["nodeName"] = node;
            var conditions = next.Ensure("status").EnsureItems("conditions");
            var scheduled = conditions.OfType<JsonObject>().FirstOrDefault(c => c.Text("type") == "PodScheduled");
            if (scheduled is not null)
            {
                conditions.Remove(scheduled);
            }

            conditions.Add(
                new JsonObject
                {
                    ["type"] = "PodScheduled", ["status"] = "True", ["lastTransitionTime"] = Json.Time(_cluster.Clock.GetUtcNow())
                });
            if (_cluster.Store.TrySwap(Pods, pod, next) is not null)
            {
                return;
            }
        }

        throw ApiException.Conflict("", "pods/binding", name, ApiException.Modified);
    }

    /// <summary>Says on a pod that it is ended from outside, not by its own fault (`DisruptionTarget`).</summary>
    public void MarkDisrupted(string ns, string name, string reason, string message)
    {
        var kind = _cluster.Kind("v1", "Pod");
        for (var attempt = 0; attempt < 10; attempt++)
        {
            if (_cluster.Store.Get(Pods, ns, name) is not { } pod)
            {
                return;
            }

            var next = pod.Value.Copy();
            var conditions = next.Ensure("status").EnsureItems("conditions");
            if (conditions.Any(c => c.Text("type") == "DisruptionTarget"))
            {
                return;
            }

            conditions.Add(new JsonObject
            {
                ["type"] = "DisruptionTarget", ["status"] = "True", ["reason"] = reason, ["message"] = message,
                ["lastTransitionTime"] = Json.Time(_cluster.Clock.GetUtcNow()),
            });
            if (_cluster.Store.TrySwap(Pods, pod, next) is not null)
            {
                return;
            }
        }

        throw ApiException.Conflict("", kind.Plural, name, ApiException.Modified);
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync() => await Task.WhenAll(_running);
}

/// <summary>Which objects name which owner.</summary>
public sealed class OwnerIndex
{
    private readonly Lock _gate = new();
    private readonly Dictionary<string, HashSet<WorkItem>> _dependents = new(StringComparer.Ordinal);

    /// <summary>Told of every write.</summary>
    public void OnWritten(ResourceKey key, StoreEvent e)
    {
        var item = new WorkItem(key, e.After.Namespace, e.After.Name);
        lock (_gate)
        {
            foreach (var owner in e.Before?.Value.Items("metadata", "ownerReferences") ?? [])
            {
                if (owner.Text("uid") is { } uid && _dependents.TryGetValue(uid, out var set))
                {
                    set.Remove(item);
                    if (set.Count == 0)
                    {
                        _dependents.Remove(uid);
                    }
                }
            }

            if (e.Deleted)
            {
                return;
            }

            foreach (var owner in e.After.Value.Items("metadata", "ownerReferences"))
            {
                if (owner.Text("uid") is { } uid)
                {
                    if (!_dependents.TryGetValue(uid, out var set))
                    {
                        set = [];
                        _dependents[uid] = set;
                    }

                    set.Add(item);
                }
            }
        }
    }

    /// <summary>The objects that name an owner.</summary>
    public IReadOnlyList<WorkItem> Of(string uid)
    {
        lock (_gate)
        {
            return _dependents.TryGetValue(uid, out var set) ? [.. set] : [];
        }
    }
}

/// <summary>Writes events, counting repeated ones up.</summary>
public sealed class EventRecorder(InProcessCluster cluster)
{
    private static readonly ResourceKey Events = new("", "events");
    private readonly Lock _gate = new();
    private readonly Dictionary<string, (string Namespace, string Name)> _known = new(StringComparer.Ordinal);

    /// <summary>Records an event about an object.</summary>
    public void Record(JsonObject about, string type, string reason, string message, string component)
    {
        var kind = cluster.Kind("v1", "Event");
        var now = Json.Time(cluster.Clock.GetUtcNow());
        var ns = about.Text("metadata", "namespace") is { Length: > 0 } n ? n : "default";
        message = message.Length > 1024 ? message[..1021] + "..." : message;
        var id = $"{about.Text("metadata", "uid")}|{type}|{reason}|{message}";
        lock (_gate)
        {
            try
            {
                if (_known.TryGetValue(id, out var where) && cluster.Store.Get(Events, where.Namespace, where.Name) is { } stored)
                {
                    var next = stored.Value.Copy();
                    next["count"] = (next.Number("count") ?? 1) + 1;
                    next["lastTimestamp"] = now;
                    cluster.Store.TrySwap(Events, stored, next);
                    return;
                }

                var name = $"{about.Text("metadata", "name")}.{Guid.NewGuid().ToString("N")[..16]}";
                cluster.Resources.Create(kind, ns, new JsonObject
                {
                    ["apiVersion"] = "v1",
                    ["kind"] = "Event",
                    ["metadata"] = new JsonObject { ["name"] = name, ["namespace"] = ns },
                    ["involvedObject"] = new JsonObject
                    {
                        ["apiVersion"] = about.Text("apiVersion"),
                        ["kind"] = about.Text("kind"),
                        ["name"] = about.Text("metadata", "name"),
                        ["namespace"] = about.Text("metadata", "namespace"),
                        ["uid"] = about.Text("metadata", "uid"),
                        ["resourceVersion"] = about.Text("metadata", "resourceVersion"),
                    },
                    ["type"] = type,
                    ["reason"] = reason,
                    ["message"] = message,
                    ["count"] = 1,
                    ["firstTimestamp"] = now,
                    ["lastTimestamp"] = now,
                    ["source"] = new JsonObject { ["component"] = component },
                    ["reportingComponent"] = component,
                    ["reportingInstance"] = "",
                }, new WriteContext { Manager = component });
                _known[id] = (ns, name);
            }
            catch (ApiException e) when (e.Code is 403 or 404 or 409)
            {
                // Events are best effort: a namespace on its way out takes none.
                return;
            }
        }
    }
}
