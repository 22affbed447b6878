// Why this exists: pods land on nodes that have room for them, and say why when none has: the message people search for.
using System.Text.Json.Nodes;

namespace CoCLR.TrialCluster;

/// <summary>
/// A scheduler with the filters experiments meet: resources, node selector, node affinity, taints, claims; and preemption by priority.
/// </summary>
public sealed class Scheduler(InProcessCluster cluster) : Controller(cluster, "default-scheduler")
{
    private static readonly ResourceKey Nodes = new("", "nodes");
    private readonly Lock _gate = new();
    private readonly Dictionary<(string, string), (string Node, Dictionary<string, decimal> Requests, long Priority)> _placed = [];
    private readonly HashSet<WorkItem> _waiting = [];

    /// <inheritdoc/>
    public override void OnWritten(ResourceKey key, StoreEvent e)
    {
        if (key == ControllerManager.Pods)
        {
            var id = (e.After.Namespace, e.After.Name);
            var pod = e.After.Value;
            var node = pod.Text("spec", "nodeName");
            var freed = false;
            lock (_gate)
            {
                if (e.Deleted || pod.Text("status", "phase") is "Succeeded" or "Failed")
                {
                    freed = _placed.Remove(id);
                }
                else if (!string.IsNullOrEmpty(node))
                {
                    _placed[id] = (node, Quantities.RequestsOf(pod), pod.Number("spec", "priority") ?? 0);
                }
            }

            if (!e.Deleted && string.IsNullOrEmpty(node) && pod.At("metadata", "deletionTimestamp") is null
                && (e.Before is null || !Json.Same(e.Before.Value["spec"], pod["spec"])))
            {
                Enqueue(new WorkItem(key, e.After.Namespace, e.After.Name));
            }

            if (freed)
            {
                EnqueueWaiting();
            }
        }
        else if (key == Nodes || key == ClaimController.Claims)
        {
            EnqueueWaiting();
        }
    }

    private void EnqueueWaiting()
    {
        WorkItem[] waiting;
        lock (_gate)
        {
            waiting = [.. _waiting];
        }

        foreach (var item in waiting)
        {
            Enqueue(item);
        }
    }

    /// <summary>Whether one toleration of a pod is for a taint.</summary>
    internal static bool Tolerates(JsonNode toleration, JsonNode? taint) =>
        (string.IsNullOrEmpty(toleration.Text("effect")) || toleration.Text("effect") == taint.Text("effect"))
        && (toleration.Text("operator") == "Exists"
            ? string.IsNullOrEmpty(toleration.Text("key")) || toleration.Text("key") == taint.Text("key")
            : toleration.Text("key") == taint.Text("key") && (toleration.Text("value") ?? "") == (taint.Text("value") ?? ""));

    /// <inheritdoc/>
    protected override void Reconcile(WorkItem item)
    {
        if (Find(ControllerManager.Pods, item.Namespace, item.Name) is not { } stored
            || !string.IsNullOrEmpty(stored.Value.Text("spec", "nodeName")) || stored.Value.At("metadata", "deletionTimestamp") is not null)
        {
            lock (_gate)
            {
                _waiting.Remove(item);
            }

            return;
        }

        var pod = stored.Value;
        if (pod.Text("spec", "schedulerName") is { } scheduler && scheduler != "default-scheduler")
        {
            return;
        }

        if (pod.Items("spec", "schedulingGates").Count > 0)
        {
            SetPodCondition(item, "SchedulingGated", "Scheduling is blocked due to non-empty scheduling gates");
            return;
        }

        if (ClaimProblem(item.Namespace, pod) is { } claim)
        {
            Wait(
                item,
                stored,
                $"0/{Cluster.Store.All(Nodes).Count()} nodes are available: {claim}. preemption: 0/{Cluster.Store.All(Nodes).Count()} "
                    + $"nodes are available: {Cluster.Store.All(Nodes).Count()} Preemption is not helpful for scheduling.");
            return;
        }

        var requests = Quantities.RequestsOf(pod);
        var reasons = new Dictionary<string, int>(StringComparer.Ordinal);
        var nodes = Cluster.Store.All(Nodes).ToList();
        string? best = null;
        var bestLoad = decimal.MaxValue;
        foreach (var node in nodes)
        {
            var why = Unfit(pod, node.Value, requests);
            if (why.Count == 0)
            {
                var load = UsedOn(node.Name).GetValueOrDefault("pods");
                if (load < bestLoad)
                {
                    (best, bestLoad) = (node.Name, load);
                }
            }

            foreach (var reason in why)
            {
                reasons[reason] = reasons.GetValueOrDefault(reason) + 1;
            }
        }

        if (best is null)
        {
            if (Preempt(stored, requests, nodes))
            {
                lock (_gate)
                {
                    _waiting.Add(item);
                }

                return;
            }

            var text = string.Join(", ", reasons.OrderBy(r => r.Key, StringComparer.Ordinal).Select(r => $"{r.Value} {r.Key}"));
            var helpless = $"{nodes.Count} {(reasons.Keys.All(r => r.StartsWith("Insufficient", StringComparison.Ordinal)) ? "No preemption victims found for incoming pod" : "Preemption is not helpful for scheduling")}";
            Wait(item, stored, nodes.Count == 0
                ? "no nodes available to schedule pods"
                : $"0/{nodes.Count} nodes are available: {text}. preemption: 0/{nodes.Count} nodes are available: {helpless}.");
            return;
        }

        lock (_gate)
        {
            _waiting.Remove(item);
            _placed[(item.Namespace, item.Name)] = (best, requests, pod.Number("spec", "priority") ?? 0);
        }

        Cluster.Controllers.Assign(item.Namespace, item.Name, best);
        Record(pod, "Normal", "Scheduled", $"Successfully assigned {item.Namespace}/{item.Name} to {best}");
    }

    private string? ClaimProblem(string ns, JsonObject pod)
    {
        foreach (var volume in pod.Items("spec", "volumes"))
        {
            if (volume.Text("persistentVolumeClaim", "claimName") is not { } name)
            {
                continue;
            }

            if (Find(ClaimController.Claims, ns, name) is not { } claim)
            {
                return $"persistentvolumeclaim \"{name}\" not found";
            }

            if (claim.Value.At("metadata", "deletionTimestamp") is not null)
            {
                return $"persistentvolumeclaim \"{name}\" is being deleted";
            }

            if (claim.Value.Text("status", "phase") != "Bound")
            {
                return "pod has unbound immediate PersistentVolumeClaims";
            }
        }

        return null;
    }

    private Dictionary<string, decimal> UsedOn(string node, long above = long.MinValue)
    {
        var used = new Dictionary<string, decimal>(StringComparer.Ordinal);
        lock (_gate)
        {
            foreach (var (_, (on, requests, priority)) in _placed)
            {
                if (on != node || priority < above)
                {
                    continue;
                }

                foreach (var (name, value) in requests)
                {
                    used[name] = used.GetValueOrDefault(name) + value;
                }

                used["pods"] = used.GetValueOrDefault("pods") + 1;
            }
        }

        return used;
    }

    private List<string> Unfit(JsonObject pod, JsonObject node, Dictionary<string, decimal> requests, long above = long.MinValue)
    {
        if (node.Flag("spec", "unschedulable") == true)
        {
            return ["node(s) were unschedulable"];
        }

        foreach (var taint in node.Items("spec", "taints").Where(t => t.Text("effect") is "NoSchedule" or "NoExecute"))
        {
            if (!pod.Items("spec", "tolerations").Any(t => Tolerates(t!, taint)))
            {
                return [$"node(s) had untolerated taint {{{taint.Text("key")}: {taint.Text("value")}}}"];
            }
        }

        var labels = node.At("metadata", "labels");
        if (!Selector.Matches(new JsonObject { ["matchLabels"] = pod.At("spec", "nodeSelector")?.DeepClone() }, labels)
            || !Affine(pod, node))
        {
            return ["node(s) didn't match Pod's node affinity/selector"];
        }

        var used = UsedOn(node.Text("metadata", "name")!, above);
        var reasons = new List<string>();
        foreach (var (name, value) in requests)
        {
            var room = (Quantities.Parse(node.At("status", "allocatable", name)) ?? 0) - used.GetValueOrDefault(name);
            if (value > room)
            {
                reasons.Add($"Insufficient {name}");
            }
        }

        return reasons;
    }

    private static bool Affine(JsonObject pod, JsonObject node)
    {
        var terms = pod.Items("spec", "affinity", "nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution", "nodeSelectorTerms");
        return terms.Count == 0
            || terms.Any(t => t.Items("matchExpressions").All(e => Matches(e, node.Text("metadata", "labels", e.Text("key") ?? "")))
            && t.Items("matchFields").All(e => Matches(e, node.Text("metadata", "name"))));

        static bool Matches(JsonNode? e, string? actual)
        {
            var values = e.Items("values").Select(v => v.Text()).ToList();
            return e.Text("operator") switch
            {
                "In" => values.Contains(actual),
                "NotIn" => !values.Contains(actual),
                "Exists" => actual is not null,
                "DoesNotExist" => actual is null,
                "Gt" => long.TryParse(actual, out var a) && long.TryParse(values[0], out var b) && a > b,
                "Lt" => long.TryParse(actual, out var c) && long.TryParse(values[0], out var d) && c < d,
                _ => false,
            };
        }
    }

    private bool Preempt(StoredObject pod, Dictionary<string, decimal> requests, List<StoredObject> nodes)
    {
        var priority = pod.Value.Number("spec", "priority") ?? 0;
        foreach (var node in nodes)
        {
            if (Unfit(pod.Value, node.Value, requests, priority).Count > 0)
            {
                continue;
            }

            List<(string Namespace, string Name)> victims;
            lock (_gate)
            {
                victims = [
                    .. _placed.Where(p => p.Value.Node == node.Name && p.Value.Priority < priority).OrderBy(p => p.Value.Priority)
                        .Select(p => p.Key)];
            }

            foreach (var (ns, name) in victims)
            {
                if (Find(ControllerManager.Pods, ns, name) is not { } victim)
                {
                    continue;
                }

                if (victim.Value.At("metadata", "deletionTimestamp") is null)
                {
                    Cluster.Controllers.MarkDisrupted(
                        ns, name, "PreemptionByScheduler", "default-scheduler: preempting to accommodate a higher priority pod");
                    Record(victim.Value, "Normal", "Preempted", $"Preempted by pod {pod.Uid} on node {node.Name}");
                    Delete(ControllerManager.Pods, ns, name);
                }

                var freed = Quantities.RequestsOf(victim.Value);
                if (requests.All(r => freed.GetValueOrDefault(r.Key) >= r.Value))
                {
                    break;
                }
            }

            return victims.Count > 0;
        }

        return false;
    }

    private void Wait(WorkItem item, StoredObject pod, string message)
    {
        lock (_gate)
        {
            _waiting.Add(item);
        }

        if (SetPodCondition(item, "Unschedulable", message))
        {
            Record(pod.Value, "Warning", "FailedScheduling", message);
        }
    }

    private bool SetPodCondition(WorkItem item, string reason, string message)
    {
        var changed = false;
        Change(
            item.Key,
            item.Namespace,
            item.Name,
            o => changed = SetCondition(o.Ensure("status"), "PodScheduled", "False", reason, message),
            status: true);
        return changed;
    }
}
