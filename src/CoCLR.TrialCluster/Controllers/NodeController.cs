// Why this exists: what becomes of pods when their node is lost: kube-controller-manager's node life cycle (unreachable taints, pods not
// ready, eviction by taints) and garbage collector of pods. A Job with podReplacementPolicy Failed waits for a pod that nobody ends: only
// these rules end it.
using System.Collections.Concurrent;
using System.Text.Json.Nodes;

namespace CoCLR.TrialCluster;

/// <summary>Node life cycle, taint eviction and pod garbage collection.</summary>
public sealed class NodeController(InProcessCluster cluster) : Controller(cluster, "node-controller")
{
    private const string Unreachable = "node.kubernetes.io/unreachable";
    private const string OutOfService = "node.kubernetes.io/out-of-service";
    private static readonly ResourceKey Nodes = new("", "nodes");
    private readonly ConcurrentDictionary<string, DateTimeOffset> _silent = new(StringComparer.Ordinal);

    /// <summary>Takes a node off the network: its kubelet reports nothing and hears nothing; what runs there runs on.</summary>
    public void Lose(string node)
    {
        _silent[node] = Now;
        Enqueue(new WorkItem(Nodes, "", node));
    }

    /// <summary>Brings a node back.</summary>
    public void Restore(string node)
    {
        _silent.TryRemove(node, out _);
        Enqueue(new WorkItem(Nodes, "", node));
    }

    /// <summary>Whether the kubelet of a node is cut off.</summary>
    public bool IsSilent(string? node) => node is not null && _silent.ContainsKey(node);

    /// <inheritdoc/>
    public override void OnWritten(ResourceKey key, StoreEvent e)
    {
        if (key == Nodes)
        {
            Enqueue(new WorkItem(key, "", e.After.Name));
        }
        else if (key == ControllerManager.Pods && !e.Deleted && e.After.Value.Text("spec", "nodeName") is { Length: > 0 } node
            && (e.Before?.Value.Text("spec", "nodeName") != node || IsLeaving(e.After) != IsLeaving(e.Before!)))
        {
            Enqueue(new WorkItem(Nodes, "", node));
        }
    }

    private static bool IsLeaving(StoredObject o) => o.Value.At("metadata", "deletionTimestamp") is not null;

    /// <inheritdoc/>
    protected override void Reconcile(WorkItem item)
    {
        var pods = Cluster.Store.All(ControllerManager.Pods)
            .Where(p => p.Value.Text("spec", "nodeName") == item.Name && p.Value.Text("status", "phase") is not ("Succeeded" or "Failed"))
            .ToList();
        if (Find(Nodes, "", item.Name) is not { } node)
        {
            foreach (var pod in pods)
            {
                Cluster.Controllers.MarkDisrupted(pod.Namespace, pod.Name, "DeletionByPodGC", "PodGC: node no longer exists");
                GiveUp(pod);
            }

            return;
        }

        var ready = Lifecycle(item, pods);
        var current = Find(Nodes, "", item.Name)?.Value ?? node.Value;
        Evict(item, current, pods);
        if (!ready && current.Items("spec", "taints").Any(t => t.Text("key") == OutOfService))
        {
            foreach (var pod in pods.Select(p => Find(ControllerManager.Pods, p.Namespace, p.Name)).OfType<StoredObject>().Where(IsLeaving))
            {
                GiveUp(pod);
            }
        }
    }

    /// <summary>Says whether the kubelet reports, as condition, taints and on its pods.</summary>
    private bool Lifecycle(WorkItem item, List<StoredObject> pods)
    {
        var lost = _silent.TryGetValue(item.Name, out var since);
        var left = since + Cluster.Options.NodeMonitorGracePeriod - Now;
        if (lost && left > TimeSpan.Zero)
        {
            EnqueueAfter(item, left + TimeSpan.FromMilliseconds(10));
            return true;
        }

        Change(Nodes, "", item.Name, o =>
        {
            if (lost)
            {
                SetCondition(o.Ensure("status"), "Ready", "Unknown", "NodeStatusUnknown", "Kubelet stopped posting node status.");
            }
            else if (o.Items("status", "conditions").Any(c => c.Text("reason") == "NodeStatusUnknown"))
            {
                SetCondition(o.Ensure("status"), "Ready", "True", "KubeletReady", "kubelet is posting ready status");
            }
        }, status: true);
        Change(Nodes, "", item.Name, o => Taint(o, lost));
        if (lost)
        {
            foreach (var pod in pods)
            {
                MarkNotReady(pod);
            }
        }

        return !lost;
    }

    private void Taint(JsonObject node, bool lost)
    {
        var spec = node.Ensure("spec");
        var taints = spec.EnsureItems("taints");
        foreach (var old in taints.Where(t => !lost && t.Text("key") == Unreachable).ToList())
        {
            taints.Remove(old);
        }

        foreach (var effect in new[] { "NoSchedule", "NoExecute" }.Where(e => lost && !taints.Any(t => t.Text("key") == Unreachable && t.Text("effect") == e)))
        {
            taints.Add(new JsonObject { ["key"] = Unreachable, ["effect"] = effect, ["timeAdded"] = Json.Time(Now) });
        }

        if (taints.Count == 0)
        {
            spec.Remove("taints");
        }
    }

    // Only this condition: what the kubelet said last of its containers stays.
    private void MarkNotReady(StoredObject pod)
    {
        if (pod.Value.Items("status", "conditions").Any(c => c.Text("type") == "Ready" && c.Text("status") == "True"))
        {
            Change(
                ControllerManager.Pods,
                pod.Namespace,
                pod.Name,
                o => SetCondition(o.Ensure("status"), "Ready", "False", "", ""),
                status: true);
            Record(pod.Value, "Warning", "NodeNotReady", "Node is not ready");
        }
    }

    private void Evict(WorkItem item, JsonObject node, List<StoredObject> pods)
    {
        var taints = node.Items("spec", "taints").Where(t => t.Text("effect") == "NoExecute").ToList();
        foreach (var pod in pods.Where(p => taints.Count > 0 && !IsLeaving(p)))
        {
            var times = taints.Select(t => Until(pod.Value, t!)).ToList();
            if (times.Min() is var due && due <= Now)
            {
                Cluster.Controllers.MarkDisrupted(
                    pod.Namespace, pod.Name, "DeletionByTaintManager", "Taint manager: deleting due to NoExecute taint");
                Delete(ControllerManager.Pods, pod.Namespace, pod.Name, new DeleteRequest(Uid: pod.Uid));
                Enqueue(item);
            }
            else if (due < DateTimeOffset.MaxValue)
            {
                EnqueueAfter(item, due - Now + TimeSpan.FromMilliseconds(10));
            }
        }
    }

    /// <summary>Until when a pod stays although of a taint.</summary>
    private DateTimeOffset Until(JsonObject pod, JsonNode taint)
    {
        var tolerations = pod.Items("spec", "tolerations").Where(t => Scheduler.Tolerates(t!, taint)).ToList();
        if (tolerations.Count == 0)
        {
            return DateTimeOffset.MinValue;
        }

        var seconds = tolerations.Select(t => t.Number("tolerationSeconds")).OfType<long>().ToList();
        return seconds.Count == 0 ? DateTimeOffset.MaxValue : (taint.TimeAt("timeAdded") ?? Now).AddSeconds(seconds.Min());
    }

    private void GiveUp(StoredObject pod)
    {
        Change(ControllerManager.Pods, pod.Namespace, pod.Name, o => o.Ensure("status")["phase"] = "Failed", status: true);
        Delete(ControllerManager.Pods, pod.Namespace, pod.Name, new DeleteRequest(0, Uid: pod.Uid));
    }
}
