// Why this exists: follows the cluster's experiments, suites, pods, events and nodes, so that pages answer from memory and the list shows what is applied before its first event.
using System.Collections.Concurrent;
using System.Text.Json.Nodes;
using CoCLR.Core;
using CoCLR.Core.Planning;
using CoCLR.Dashboard.Configuration;
using CoCLR.Dashboard.Ingest;
using CoCLR.Dashboard.Storage;
using CoCLR.Runs;
using Microsoft.Extensions.Options;

namespace CoCLR.Dashboard.Cluster;

/// <summary>What the cluster holds, kept up to date by watches.</summary>
internal sealed partial class ClusterWatch(ClusterApi api, IOptions<DashboardOptions> options, RunStore store, IngestFolders folders, LiveFeed feed, TimeProvider clock, ILogger<ClusterWatch> logger) : BackgroundService
{
    /// <summary>Path of experiments below a namespace.</summary>
    public const string ExperimentsPath = "apis/coclr.dev/v1alpha1";

    private const int PageSize = 500;
    private static readonly TimeSpan MaxBackoff = TimeSpan.FromSeconds(20);
    private readonly ConcurrentDictionary<string, ClusterExperiment> _experiments = new();
    private readonly ConcurrentDictionary<string, ClusterBenchmark> _benchmarks = new();
    private readonly ConcurrentDictionary<string, ClusterPod> _pods = new();
    private readonly ConcurrentDictionary<string, ClusterNode> _nodes = new();
    private readonly ConcurrentDictionary<string, ClusterEvent> _events = new();
    private readonly ConcurrentDictionary<string, string> _problems = new();

    /// <summary>Experiments.</summary>
    public IEnumerable<ClusterExperiment> Experiments => _experiments.Values;

    /// <summary>Suites.</summary>
    public IEnumerable<ClusterBenchmark> Benchmarks => _benchmarks.Values;

    /// <summary>Pods of stages.</summary>
    public IEnumerable<ClusterPod> Pods => _pods.Values;

    /// <summary>Nodes.</summary>
    public IEnumerable<ClusterNode> Nodes => _nodes.Values;

    /// <summary>Why the nodes are not shown; null when they are.</summary>
    public string? NodesHidden { get; private set; }

    /// <summary>Why what is shown may be old; null while every watch is open.</summary>
    public string? Problem => _problems.Values.FirstOrDefault();

    /// <summary>Events about an experiment, its Jobs and its pods, newest first.</summary>
    public IReadOnlyList<ClusterEvent> EventsOf(string space, string name) =>
        [.. _events.Values.Where(e => e.Namespace == space && (e.Name == name || e.Name.StartsWith(name + "-", StringComparison.Ordinal))).OrderByDescending(e => e.At).Take(100)];

    /// <summary>An experiment, or null.</summary>
    public ClusterExperiment? Find(string space, string name) => _experiments.GetValueOrDefault($"{space}/{name}");

    /// <summary>A pod, or null.</summary>
    public ClusterPod? FindPod(string space, string name) => _pods.GetValueOrDefault($"{space}/{name}");

    /// <inheritdoc/>
    protected override Task ExecuteAsync(CancellationToken stoppingToken)
    {
        string[] spaces = options.Value.Cluster.Namespaces;
        string[] prefixes = spaces.Length == 0 ? [""] : [.. spaces.Select(s => $"namespaces/{s}/")];
        var watches = new List<Task>();
        foreach (string prefix in prefixes)
        {
            watches.Add(Follow($"{ExperimentsPath}/{prefix}coclrexperiments", _experiments, ClusterExperiment.Read, Told, stoppingToken));
            watches.Add(Follow($"{ExperimentsPath}/{prefix}coclrbenchmarks", _benchmarks, ClusterBenchmark.Read, null, stoppingToken));
            watches.Add(Follow($"api/v1/{prefix}pods", _pods, ClusterPod.Read, null, stoppingToken, selector: "labelSelector=coclr.dev%2Fstage"));
            watches.Add(Follow($"api/v1/{prefix}events", _events, ClusterEvent.Read, null, stoppingToken, wanted: o => o.Text("involvedObject", "kind") is "CoCLRExperiment" or "CoCLRBenchmark" or "Job" or "Pod"));
        }

        watches.Add(Follow("api/v1/nodes", _nodes, ClusterNode.Read, null, stoppingToken, mayBeHidden: true));
        return Task.WhenAll(watches);
    }

    private async Task Follow<T>(string path, ConcurrentDictionary<string, T> into, Func<JsonObject, T> read, Action<string, T?>? told, CancellationToken stop, Func<JsonObject, bool>? wanted = null, string? selector = null, bool mayBeHidden = false)
        where T : class
    {
        var mine = new HashSet<string>(StringComparer.Ordinal);
        TimeSpan wait = TimeSpan.FromMilliseconds(500);
        while (!stop.IsCancellationRequested)
        {
            try
            {
                // In pages and only what is asked for: a cluster holds far more pods and events than ours.
                var seen = new HashSet<string>(StringComparer.Ordinal);
                string version = "";
                for (string? next = ""; next != null;)
                {
                    JsonObject page = await api.GetAsync(Query(path, $"limit={PageSize}", selector, next.Length > 0 ? "continue=" + Uri.EscapeDataString(next) : null), stop);
                    foreach (JsonObject o in page["items"]?.AsArray().OfType<JsonObject>() ?? [])
                    {
                        if (wanted?.Invoke(o) != false)
                        {
                            seen.Add(Put(o));
                        }
                    }

                    version = page.Text("metadata", "resourceVersion") ?? "";
                    next = page.Text("metadata", "continue") is { Length: > 0 } more ? more : null;
                }

                foreach (string gone in mine.Except(seen).ToArray())
                {
                    Drop(gone);
                }

                mine.UnionWith(seen);
                if (_problems.TryRemove(path, out _))
                {
                    feed.Changed(LiveFeed.All);
                }

                if (mayBeHidden)
                {
                    NodesHidden = null;
                }

                wait = TimeSpan.FromMilliseconds(500);
                while (!stop.IsCancellationRequested && version.Length > 0)
                {
                    await foreach (JsonObject change in api.WatchAsync(path, selector, version, stop))
                    {
                        if (change["object"] is not JsonObject o || change.Text("type") is not { } type || type == "ERROR")
                        {
                            version = "";
                            break;
                        }

                        version = o.Text("metadata", "resourceVersion") ?? version;
                        if (type == "DELETED")
                        {
                            Drop(Key(o));
                        }
                        else if (type != "BOOKMARK" && wanted?.Invoke(o) != false)
                        {
                            mine.Add(Put(o));
                        }
                    }
                }
            }
            catch (OperationCanceledException) when (stop.IsCancellationRequested)
            {
                return;
            }
            catch (ClusterException e) when (mayBeHidden && e.Code == System.Net.HttpStatusCode.Forbidden)
            {
                NodesHidden = "The dashboard may not read the nodes of this cluster.";
                wait = TimeSpan.FromMinutes(1);
            }
            catch (ClusterException e) when (e.Code == System.Net.HttpStatusCode.Gone)
            {
                // The pages or the version have expired: after a moment everything is listed anew.
            }
            catch (Exception e) when (e is ClusterException or HttpRequestException or IOException or OperationCanceledException or System.Text.Json.JsonException)
            {
                LogLost(path, e.Message);
                if (_problems.TryAdd(path, $"The cluster cannot be asked: {(e is OperationCanceledException ? "it does not answer." : e.Message)} What is shown may be old, and nothing can be changed at the moment."))
                {
                    feed.Changed(LiveFeed.All);
                }
            }

            try
            {
                await Task.Delay(wait, clock, stop);
            }
            catch (OperationCanceledException)
            {
                return;
            }

            wait = TimeSpan.FromTicks(Math.Min(MaxBackoff.Ticks, wait.Ticks * 2));
        }

        string Put(JsonObject o)
        {
            string key = Key(o);
            T value = read(o);
            into[key] = value;
            told?.Invoke(key, value);
            feed.Changed(LiveFeed.Cluster);
            return key;
        }

        void Drop(string key)
        {
            mine.Remove(key);
            if (into.TryRemove(key, out _))
            {
                told?.Invoke(key, null);
                feed.Changed(LiveFeed.Cluster);
            }
        }

        static string Key(JsonObject o) => $"{o.Text("metadata", "namespace")}/{o.Text("metadata", "name")}";
    }

    private static string Query(string path, params string?[] parts) => $"{path}?{string.Join('&', parts.Where(p => p != null))}";

    /// <summary>The list shows an experiment as soon as the operator has named its run, and what the cluster says of it.</summary>
    private void Told(string key, ClusterExperiment? experiment)
    {
        if (experiment == null)
        {
            foreach (RunInfo run in store.Runs.Where(r => r.Cluster is { } c && $"{c.Namespace}/{c.Name}" == key))
            {
                store.Change(run.Run, e => e.SetCluster(null));
            }

            return;
        }

        if (experiment.Status.Run is not { } id || !RunFolder.IsName(id))
        {
            return;
        }

        if (store.Find(id) is not { PlanJson: not null } && experiment.Spec is { } spec)
        {
            try
            {
                StagePlan plan = Planner.Plan(experiment.Name, spec, id);
                folders.PutPlan(new Sender(id, experiment.Namespace), System.Text.Json.JsonSerializer.SerializeToUtf8Bytes(plan, CoclrJson.Compact));
            }
            catch (UserErrorException e)
            {
                LogLost(key, e.Message);
            }
        }

        store.Change(id, e =>
        {
            e.SetNamespace(experiment.Namespace);
            return e.SetCluster(new ClusterRef(experiment.Namespace, experiment.Name, experiment.State, experiment.Suspend, experiment.Why, experiment.Status.Progress?.Percent));
        });
    }

    [LoggerMessage(Level = LogLevel.Warning, Message = "{Path} cannot be followed at the moment: {Why}")]
    private partial void LogLost(string path, string why);
}
