// Why this exists: puts caches, leader election and controllers together, in the one order in which they are safe.
using System.Diagnostics.Metrics;
using CoCLR.Cluster;
using CoCLR.Core;
using CoCLR.Core.Manifests;
using CoCLR.Core.Manifests.Status;
using CoCLR.Operator.Api;
using CoCLR.Operator.Progress;
using CoCLR.Operator.Reconciling;
using CoCLR.Operator.Runtime;
using k8s;
using k8s.Exceptions;

namespace CoCLR.Operator.Hosting;

/// <summary>A running operator, without its web server.</summary>
public sealed class OperatorRuntime : IDisposable
{
    private readonly OperatorOptions _options;
    private readonly LeaderElector? _elector;
    private readonly ApiClient _client;
    private readonly ApiWriter _writer;
    private readonly ILogger _logger;
    private readonly TimeProvider _time;
    private readonly Meter _state = new(OperatorMetrics.MeterName + ".State");
    private readonly IReconciler[] _reconcilers;
    private volatile bool _abandoned;

    /// <summary>Creates an operator.</summary>
    /// <param name="options">Settings.</param>
    /// <param name="loggers">Loggers.</param>
    /// <param name="time">Clock.</param>
    /// <param name="informers">Behaviour of the caches.</param>
    /// <param name="leader">Behaviour of the leader election; from the settings when null.</param>
    /// <param name="beforeWrite">Called before every write; tests stop the operator there.</param>
    public OperatorRuntime(
        OperatorOptions options,
        ILoggerFactory loggers,
        TimeProvider? time = null,
        InformerOptions? informers = null,
        LeaderOptions? leader = null,
        Func<string,
        Task>? beforeWrite = null)
    {
        _options = options;
        _time = time ?? TimeProvider.System;
        _logger = loggers.CreateLogger<OperatorRuntime>();
        _client = new ApiClient(Configuration(options));
        string identity = options.Identity
            ?? $"{Environment.MachineName}_{Guid.NewGuid():N}"[..Math.Min(63, Environment.MachineName.Length + 9)];
        if (options.LeaderElect)
        {
            _elector = new LeaderElector(
                _client,
                leader ?? new LeaderOptions { Namespace = options.LeaseNamespace, Name = options.LeaseName, Identity = identity },
                loggers.CreateLogger<LeaderElector>(),
                _time);
        }

        _writer = new ApiWriter(
            _client,
            () => !_abandoned && Leads,
            new WriterOptions { WritesPerSecond = options.WritesPerSecond, Burst = options.WriteBurst },
            _time)
        {
            BeforeWrite = beforeWrite,
            OlderDefinition = (kind, words) =>
                _logger.LogWarning("The CRD {Definition} is older than this operator, so some of the status is not kept: {Words}. Upgrade "
                    + "it: kubectl apply --server-side -f crds/", $"{kind.Plural}.{kind.Group}", words),
        };
        string[] namespaces = OperatorOptions.Split(options.Namespaces);
        Informer<T> Cache<T>(
            ResourceKind kind,
            Func<System.Text.Json.JsonElement,
            T> read,
            string? selector = null,
            bool optional = false,
            Func<T,
            bool>? relevant = null)
            where T : class, ICachedObject
            => new(
                _client,
                kind,
                read,
                loggers.CreateLogger("CoCLR.Operator.Cache"),
                _time,
                namespaces,
                informers,
                selector,
                optional,
                relevant);

        string ours = "labelSelector=" + Uri.EscapeDataString(Labels.ExperimentUid);
        var propagation = new Propagation
        {
            Labels = OperatorOptions.Split(options.PropagatedLabels),
            Annotations = OperatorOptions.Split(options.PropagatedAnnotations),
            ServiceAccounts = OperatorOptions.Split(options.AllowedServiceAccounts),
            ImagePullSecrets = OperatorOptions.Split(options.AllowedImagePullSecrets),
        };
        var experiments = Cache(ResourceKind.Experiment, item => CustomResource.Read<ExperimentSpec, ExperimentStatus>(item, propagation));
        bool UnderWay(ObjectMeta child) =>
            child.Label(Labels.ExperimentUid) is not { } uid || child.Label(Labels.Experiment) is not { } name
            || experiments.Get(new ObjectKey(child.Key.Namespace, name)) is not { } experiment || experiment.Meta.Uid != uid
                || !experiment.Finished;
        Caches = new Caches
        {
            Experiments = experiments,
            Benchmarks = Cache(ResourceKind.Benchmark, item => CustomResource.Read<BenchmarkSpec, BenchmarkStatus>(item, propagation)),
            Jobs = Cache(ResourceKind.Job, JobView.Read, ours, relevant: j => !j.Finished || UnderWay(j.Meta)),
            Pods = Cache(ResourceKind.Pod, PodView.Read, ours, relevant: p => !p.Over || UnderWay(p.Meta)),
            Plans = Cache(ResourceKind.ConfigMap, PlanView.Read, ours, relevant: p => UnderWay(p.Meta)),
            Claims = Cache(ResourceKind.Claim, ClaimView.Read),
            PodFailures = Cache(
                ResourceKind.Event,
                PodFailureView.Read,
                "fieldSelector=" + Uri.EscapeDataString("involvedObject.kind=Job,reason=FailedCreate")),
            Workloads = Cache(ResourceKind.Workload, WorkloadView.Read, null, optional: true),
        };
        Progress = new ProgressStore();
        var settings = new ChildSettings
        {
            DefaultImage = options.Image,
            ImagePullPolicy = options.ImagePullPolicy,
            ImagePullSecrets = OperatorOptions.Split(options.ImagePullSecrets),
            Version = OperatorVersion.Text,
            RunAsUser = options.RunAsUser,
            GracePeriodSeconds = options.GracePeriodSeconds,
            ContinuingPriorityClass = options.ContinuingPriorityClass,
            ProgressUrl = options.ProgressUrl,
            Propagation = propagation,
            DashboardUrl = options.DashboardUrl,
            DashboardIngestUrl = options.DashboardIngestUrl,
        };
        var events = new EventRecorder(_writer, identity, loggers.CreateLogger<EventRecorder>(), _time);
        ControllerTools Tools<T>() => new(_writer, events, _time, loggers.CreateLogger<T>());
        Secrets = new ReleaseSecrets(options, _client, loggers.CreateLogger<ReleaseSecrets>(), _time);
        var authority = new ProgressAuthority(_client, _writer, () => Secrets.Authority);
        var experimentController = new ExperimentController(
            Caches, _client, Progress, authority, settings, new WorkQueue("experiment", _time), Tools<ExperimentController>());
        Secrets.AuthorityChanged = experimentController.EnqueueAll;
        _reconcilers =
        [
            experimentController,
            new BenchmarkController(Caches, propagation, new WorkQueue("benchmark", _time), Tools<BenchmarkController>())
        ];
        ProgressEndpoint = new ProgressEndpoint(
            key => Caches.Experiments.Get(key)?.Meta, Caches.Pods.Get, new TokenReviewer(_client, _time), Progress, experimentController.Told, () => Leads, _time);
        var drain = TimeSpan.FromSeconds(options.DrainSeconds);
        Controllers = [.. _reconcilers.Select((r, i) => new Controller(
            r.Queue, r.ReconcileAsync, loggers.CreateLogger<Controller>(), Math.Max(1, i == 0 ? options.Workers : options.Workers / 4),
            drain, _time))];
        AddGauges();
    }

    /// <summary>The caches.</summary>
    public Caches Caches { get; }

    /// <summary>What pods pushed.</summary>
    public ProgressStore Progress { get; }

    /// <summary>Receives progress.</summary>
    public ProgressEndpoint ProgressEndpoint { get; }

    /// <summary>The Secrets of the release.</summary>
    public ReleaseSecrets Secrets { get; }

    /// <summary>Whether this replica leads.</summary>
    public bool Leads => _elector?.MayWrite ?? true;

    /// <summary>Why it is not ready; empty when it is.</summary>
    public IReadOnlyList<string> Problems =>
        [.. Caches.All.Select(c => c.Problem).Append(_elector?.Problem).Append(Secrets.Problem).OfType<string>()];

    private Controller[] Controllers { get; }

    /// <summary>Runs until cancelled.</summary>
    /// <param name="cancellation">Ends it: what is in flight may finish, then the lease is released.</param>
    public async Task RunAsync(CancellationToken cancellation)
    {
        using var caching = new CancellationTokenSource();
        Task caches = Task.WhenAll(CacheAsync(caching.Token), Secrets.RunAsync(caching.Token));
        try
        {
            if (_elector == null)
            {
                await LeadAsync(cancellation).ConfigureAwait(false);
            }
            else
            {
                await _elector.RunAsync(LeadAsync, cancellation).ConfigureAwait(false);
            }
        }
        finally
        {
            await caching.CancelAsync().ConfigureAwait(false);
            await caches.ConfigureAwait(false);
        }
    }

    // Experiments first: which children are worth keeping is known from them.
    private async Task CacheAsync(CancellationToken cancellation)
    {
        Task first = Caches.Experiments.RunAsync(cancellation);
        while (!Caches.Experiments.Synced && !cancellation.IsCancellationRequested)
        {
            await Task.WhenAny(first, Task.Delay(TimeSpan.FromMilliseconds(20), CancellationToken.None)).ConfigureAwait(false);
        }

        await Task.WhenAll(Caches.All.Where(c => c != Caches.Experiments).Select(c => c.RunAsync(cancellation)).Append(first))
            .ConfigureAwait(false);
    }

    /// <summary>Stops writing at once and for ever, as if the process had been killed.</summary>
    internal void Abandon() => _abandoned = true;

    /// <summary>Whether no work waits, runs or is due before a time.</summary>
    /// <param name="horizon">How far ahead delayed work counts.</param>
    internal bool IdleFor(TimeSpan horizon) => Array.TrueForAll(_reconcilers, r => r.Queue.IdleFor(horizon));

    /// <inheritdoc/>
    public void Dispose()
    {
        _state.Dispose();
        Secrets.Dispose();
        _writer.Dispose();
        _client.Dispose();
        foreach (IReconciler reconciler in _reconcilers)
        {
            reconciler.Queue.Dispose();
        }
    }

    private async Task LeadAsync(CancellationToken cancellation)
    {
        try
        {
            // Nothing is decided before everything has been seen.
            while (!Caches.All.All(c => c.Synced))
            {
                await Task.Delay(TimeSpan.FromMilliseconds(50), _time, cancellation).ConfigureAwait(false);
            }
        }
        catch (OperationCanceledException)
        {
            return;
        }

        foreach (IReconciler reconciler in _reconcilers)
        {
            reconciler.EnqueueAll();
        }

        await Task.WhenAll(Controllers.Select(c => c.RunAsync(cancellation))).ConfigureAwait(false);
        _logger.LogInformation("The controllers have stopped");
    }

    private void AddGauges()
    {
        WorkQueue[] queues = [.. _reconcilers.Select(r => r.Queue)];
        _state.CreateObservableGauge(
            "coclr.workqueue.depth",
            () => queues.Select(q => new Measurement<int>(q.Depth, new KeyValuePair<string, object?>("name", q.Name))),
            null,
            "Names that wait in a work queue.");
        _state.CreateObservableGauge(
            "coclr.workqueue.longest.running.processor",
            () => queues.Select(
                q => new Measurement<double>(q.LongestRunning.TotalSeconds, new KeyValuePair<string, object?>("name", q.Name))),
            "s",
            "Time of the work that has been running longest.");
        _state.CreateObservableGauge(
            "coclr.leader",
            () => new Measurement<int>(
                Leads ? 1 : 0,
                new KeyValuePair<string,
                object?>("replica_role", _elector == null ? "standalone" : Leads ? "leader" : "follower")),
            null,
            "1 when this replica leads.");
        _ = new ExperimentGauges(_state, Caches.Experiments, () => Leads, _time);
        _state.CreateObservableGauge(
            "coclr.build.info",
            () => new Measurement<int>(1, new KeyValuePair<string, object?>("version", OperatorVersion.Text)),
            null,
            "Version of the operator.");
    }

    /// <summary>
    /// How to reach the cluster: the kubeconfig of the settings, else the pod's service account, else the default kubeconfig.
    /// </summary>
    /// <param name="options">Settings.</param>
    /// <exception cref="UserErrorException">None of them is there (78).</exception>
    internal static KubernetesClientConfiguration Configuration(OperatorOptions options)
    {
        try
        {
            return options.Kubeconfig != null ? KubernetesClientConfiguration.BuildConfigFromConfigFile(options.Kubeconfig)
                : KubernetesClientConfiguration.IsInCluster() ? KubernetesClientConfiguration.InClusterConfig()
                : KubernetesClientConfiguration.BuildConfigFromConfigFile(
                    Environment.GetEnvironmentVariable("KUBECONFIG") is { Length: > 0 } file ? file : null);
        }
        catch (Exception e) when (e is KubeConfigException or IOException)
        {
            throw new UserErrorException($"No cluster can be found: {e.Message.TrimEnd('.')}. Run in a pod with a service account, or set "
                + $"KUBECONFIG or --kubeconfig.", ExitCodes.BadConfiguration, e);
        }
    }
}
