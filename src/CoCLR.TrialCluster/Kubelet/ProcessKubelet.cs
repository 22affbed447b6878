// Why this exists: pods that really run. Each container is a child process of the test; everything a Job, an operator or a person can see
// of it (phases, exit codes, messages, logs, restarts, probes) is reported as a kubelet would.
using System.Collections.Concurrent;

namespace CoCLR.TrialCluster;

/// <summary>Runs the pods of all nodes as processes.</summary>
public sealed class ProcessKubelet : IAsyncDisposable
{
    private readonly InProcessCluster _cluster;
    private readonly ConcurrentDictionary<string, PodWorker> _workers = new(StringComparer.Ordinal);
    private readonly ConcurrentDictionary<string, bool> _finished = new(StringComparer.Ordinal);
    private int _addresses;
    private volatile bool _started;

    internal ProcessKubelet(InProcessCluster cluster)
    {
        _cluster = cluster;
        cluster.Store.Written += OnWritten;
    }

    /// <summary>Starts it.</summary>
    public void Start()
    {
        _started = true;
        foreach (var pod in _cluster.Store.All(ControllerManager.Pods))
        {
            Look(pod, false);
        }
    }

    private void OnWritten(ResourceKey key, StoreEvent e)
    {
        if (_started && key == ControllerManager.Pods)
        {
            Look(e.After, e.Deleted);
        }
    }

    private void Look(StoredObject pod, bool deleted)
    {
        if (string.IsNullOrEmpty(pod.Value.Text("spec", "nodeName")) || _cluster.Stopping.IsCancellationRequested)
        {
            return;
        }

        if (_workers.TryGetValue(pod.Uid, out var worker))
        {
            worker.See(pod.Value, deleted);
            return;
        }

        if (deleted || pod.Value.Text("status", "phase") is "Succeeded" or "Failed" || _finished.ContainsKey(pod.Uid))
        {
            return;
        }

        worker = new PodWorker(_cluster, pod.Value, NextAddress());
        if (_workers.TryAdd(pod.Uid, worker))
        {
            worker.See(pod.Value, false);
            worker.Start(() =>
            {
                _finished[pod.Uid] = true;
                _workers.TryRemove(pod.Uid, out _);
            });
        }
    }

    // All of 127/8 is this machine: every pod gets an address of its own, so that two pods may listen on one port.
    private string NextAddress()
    {
        var n = Interlocked.Increment(ref _addresses);
        return $"127.{64 + (n >> 16 & 63)}.{n >> 8 & 255}.{1 + (n & 127)}";
    }

    private PodWorker? Worker(string ns, string pod) =>
        _cluster.Store.Get(ControllerManager.Pods, ns, pod) is { } stored
            && _workers.TryGetValue(stored.Uid, out var worker) ? worker : null;

    /// <summary>The log of a container, or null.</summary>
    public string? LogFile(string uid, string container, bool previous) =>
        Path.Combine(_cluster.Folder, "pods", uid, "logs", container + (previous ? ".previous.log" : ".log"));

    /// <summary>Whether a container runs now.</summary>
    public bool IsRunning(string uid, string container) =>
        _workers.TryGetValue(uid, out var worker) && worker.ProcessId(container) is not null;

    /// <summary>Process id of a running container, or null.</summary>
    public int? ProcessId(string ns, string pod, string? container = null) => Worker(ns, pod)?.ProcessId(container);

    /// <summary>Kills a container as the kernel does when memory runs out: signal 9, reason `OOMKilled`.</summary>
    public bool OutOfMemory(string ns, string pod, string? container = null) =>
        Worker(ns, pod)?.Signal(container, Native.SIGKILL, oom: true) ?? false;

    /// <summary>Sends a signal to a container's process.</summary>
    public bool Signal(string ns, string pod, int signal, string? container = null) =>
        Worker(ns, pod)?.Signal(container, signal, oom: false) ?? false;

    /// <summary>The folder of a claim.</summary>
    public string ClaimFolder(string ns, string claim) => Path.Combine(_cluster.Folder, "claims", ns, claim);

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        await Task.WhenAll(_workers.Values.Select(w => w.AbandonAsync()));
    }
}
