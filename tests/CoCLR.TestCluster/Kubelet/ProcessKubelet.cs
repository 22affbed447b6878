// Why this exists: runs pods as processes.
namespace CoCLR.Testing.Cluster;

/// <summary>A kubelet.</summary>
public sealed class ProcessKubelet(TestCluster cluster) : IAsyncDisposable
{
    /// <summary>Starts it.</summary>
    public void Start() => _ = cluster;

    /// <summary>The log of a container.</summary>
    public string? LogFile(string uid, string container, bool previous) => previous ? null : Path.Combine(cluster.Folder, uid, container);

    /// <summary>Whether it runs.</summary>
    public bool IsRunning(string uid, string container) => cluster.Folder == uid + container;

    /// <inheritdoc/>
    public ValueTask DisposeAsync() => ValueTask.CompletedTask;
}
