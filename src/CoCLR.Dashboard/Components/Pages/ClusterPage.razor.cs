// Why this exists: gathers nodes, pods and what waits.
using CoCLR.Dashboard.Authentication;
using CoCLR.Dashboard.Cluster;
using CoCLR.Dashboard.Storage;
using Microsoft.AspNetCore.Components;

namespace CoCLR.Dashboard.Components.Pages;

/// <summary>Who has the GPUs, what waits, and why.</summary>
public sealed partial class ClusterPage
{
    private ClusterWatch? _watch;
    private ClusterExperiment[] _open = [];
    private ClusterPod[] _pods = [];
    private ClusterPod[] _all = [];
    private ClusterNode[] _nodes = [];
    private int _gpus;
    private int _gpusUsed;
    private string _summary = "";

    [Inject]
    private IServiceProvider Services { get; set; } = null!;

    /// <inheritdoc/>
    protected override string? Listening => LiveFeed.Cluster;

    /// <inheritdoc/>
    protected override TimeSpan Interval => TimeSpan.FromSeconds(1);

    /// <inheritdoc/>
    protected override void Refresh()
    {
        _watch = Services.GetService<ClusterWatch>();
        if (_watch is null)
        {
            return;
        }

        _open = [.. _watch.Experiments.Where(e => User.MaySee(e.Namespace) && !e.Over)
            .OrderBy(e => e.State is "Training" or "Starting" ? 0 : 1).ThenBy(e => e.Created)];
        _all = [.. _watch.Pods];
        _pods = [.. _all.Where(p => User.MaySee(p.Namespace))];
        _nodes = [.. _watch.Nodes.OrderByDescending(n => n.Gpus).ThenBy(n => n.Name, StringComparer.Ordinal)];
        _gpus = _nodes.Where(n => n.Ready).Sum(n => n.Gpus);
        _gpusUsed = _all.Where(p => p.Node != null && p.Phase is "Running" or "Pending").Sum(p => p.Gpus);
        int done = _watch.Experiments.Count(e => User.MaySee(e.Namespace) && e.Over);
        _summary = $"{_nodes.Length} {(_nodes.Length == 1 ? "node" : "nodes")}, {_open.Length} experiments not done, {done} done";
    }

    private string WhyOf(ClusterExperiment e) =>
        e.Why ?? _pods.FirstOrDefault(p => p.Namespace == e.Namespace && p.Experiment == e.Name && p.Phase == "Pending")?.Why ?? "";
}
