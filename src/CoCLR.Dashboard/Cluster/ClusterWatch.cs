// Why this exists: follows the cluster's experiments, suites, pods, events and nodes, so that pages answer from memory and the list shows
// what is applied before its first event.
using System.Text.Json;
using CoCLR.Cluster;
using CoCLR.Core;
using CoCLR.Core.Planning;
using CoCLR.Dashboard.Configuration;
using CoCLR.Dashboard.Ingest;
using CoCLR.Dashboard.Storage;
using CoCLR.Runs;
using Microsoft.Extensions.Options;

namespace CoCLR.Dashboard.Cluster;

/// <summary>What the cluster holds, kept up to date by informers.</summary>
internal sealed partial class ClusterWatch : BackgroundService
{
    private readonly ApiClient _api;
    private readonly ClusterSettings _settings;
    private readonly RunStore _store;
    private readonly IngestFolders _folders;
    private readonly LiveFeed _feed;
    private readonly TimeProvider _clock;
    private readonly ILogger<ClusterWatch> _logger;
    private readonly Informer<ClusterExperiment> _experiments;
    private readonly Informer<ClusterBenchmark> _benchmarks;
    private readonly Informer<ClusterPod> _pods;
    private readonly Informer<ClusterEvent> _events;
    private readonly Informer<ClusterNode> _nodes;

    /// <summary>Makes the caches; they run with the server.</summary>
    public ClusterWatch(
        ApiClient api, IOptions<DashboardOptions> options, RunStore store, IngestFolders folders, LiveFeed feed, TimeProvider clock,
        ILogger<ClusterWatch> logger)
    {
        (_api, _settings, _store, _folders, _feed, _clock, _logger) = (api, options.Value.Cluster, store, folders, feed, clock, logger);
        string[] spaces = _settings.Namespaces;
        _experiments = Cache(ResourceKind.Experiment, ClusterExperiment.Read, spaces);
        _experiments.OnChange(change => Told(change.Key, change.New));
        _benchmarks = Cache(ResourceKind.Benchmark, ClusterBenchmark.Read, spaces);
        _pods = Cache(ResourceKind.Pod, ClusterPod.Read, spaces, selector: "labelSelector=" + Uri.EscapeDataString(ClusterPod.StageLabel));

        // A field selector cannot say "one of these kinds", so the others are dropped here.
        _events = Cache(
            ResourceKind.Event,
            ClusterEvent.Read,
            spaces,
            relevant: e => e.About is "CoCLRExperiment" or "CoCLRBenchmark" or "Job" or "Pod");
        _nodes = Cache(ResourceKind.Node, ClusterNode.Read, []);
    }

    /// <summary>Experiments.</summary>
    public IEnumerable<ClusterExperiment> Experiments => _experiments.All();

    /// <summary>Suites.</summary>
    public IEnumerable<ClusterBenchmark> Benchmarks => _benchmarks.All();

    /// <summary>Pods of stages.</summary>
    public IEnumerable<ClusterPod> Pods => _pods.All();

    /// <summary>Nodes.</summary>
    public IEnumerable<ClusterNode> Nodes => _nodes.All();

    /// <summary>Why the nodes are not shown; null when they are.</summary>
    public string? NodesHidden => _nodes.Forbidden ? "The dashboard may not read the nodes of this cluster." : null;

    /// <summary>Why what is shown may be old; null while every watch is open.</summary>
    public string? Problem
    {
        get
        {
            string? failure = _experiments.Failure ?? _benchmarks.Failure ?? _pods.Failure ?? _events.Failure
                ?? (_nodes.Forbidden ? null : _nodes.Failure);
            return failure == null
                ? null
                : $"The cluster cannot be asked: {failure}. What is shown may be old, and nothing can be changed at the moment.";
        }
    }

    /// <summary>Events about an experiment, its Jobs and its pods, newest first.</summary>
    public IReadOnlyList<ClusterEvent> EventsOf(string space, string name) =>
    [
        .. _events.All()
            .Where(e => e.Meta.Key.Namespace == space && (e.Name == name || e.Name.StartsWith(name + "-", StringComparison.Ordinal)))
            .OrderByDescending(e => e.At).Take(100),
    ];

    /// <summary>A pod, or null.</summary>
    public ClusterPod? FindPod(ObjectKey pod) => _pods.Get(pod);

    /// <inheritdoc/>
    protected override Task ExecuteAsync(CancellationToken stoppingToken) => Task.WhenAll(
        _experiments.RunAsync(stoppingToken), _benchmarks.RunAsync(stoppingToken), _pods.RunAsync(stoppingToken),
        _events.RunAsync(stoppingToken), _nodes.RunAsync(stoppingToken));

    private Informer<T> Cache<T>(
        ResourceKind kind, Func<JsonElement, T> read, string[] spaces, string? selector = null, Func<T, bool>? relevant = null)
        where T : class, ICachedObject
    {
        var options = new InformerOptions { Silence = TimeSpan.FromSeconds(_settings.SilentSeconds) };
        var cache = new Informer<T>(_api, kind, read, _logger, _clock, spaces, options, selector, relevant: relevant);
        cache.OnChange(_ => _feed.Changed(LiveFeed.Cluster));
        cache.OnFailure(() => _feed.Changed(LiveFeed.All));
        return cache;
    }

    /// <summary>The list shows an experiment as soon as the operator has named its run, and what the cluster says of it.</summary>
    private void Told(ObjectKey key, ClusterExperiment? experiment)
    {
        if (experiment == null)
        {
            foreach (RunInfo run in _store.Runs.Where(r => r.Cluster is { } c && c.Namespace == key.Namespace && c.Name == key.Name))
            {
                _store.Change(run.Run, e => e.SetCluster(null));
            }

            return;
        }

        if (experiment.Status.Run is not { } id || !RunFolder.IsName(id))
        {
            return;
        }

        if (_store.Find(id) is not { PlanJson: not null } && experiment.Spec is { } spec)
        {
            try
            {
                StagePlan plan = Planner.Plan(experiment.Name, spec, id);
                _folders.PutPlan(new Sender(id, experiment.Namespace), JsonSerializer.SerializeToUtf8Bytes(plan, CoclrJson.Compact));
            }
            catch (Exception e) when (e is UserErrorException or IOException)
            {
                LogPlan(key, e.Message);
            }
        }

        _store.Change(id, e =>
        {
            e.SetNamespace(experiment.Namespace);
            return e.SetCluster(new ClusterRef(
                experiment.Namespace, experiment.Name, experiment.State, experiment.Suspend, experiment.Why,
                experiment.Status.Progress?.Percent));
        });
    }

    [LoggerMessage(Level = LogLevel.Warning, Message = "The plan of {Experiment} cannot be shown: {Why}")]
    private partial void LogPlan(ObjectKey experiment, string why);
}
