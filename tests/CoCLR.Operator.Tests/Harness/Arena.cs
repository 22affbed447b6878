// Why this exists: a test talks to an API server (the in-process one, or a real one where a kubeconfig names it) and to operators that it
// starts, kills and pauses.
using System.Net;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using CoCLR.Cluster;
using CoCLR.Core.Manifests.Schema;
using CoCLR.TrialCluster;
using Microsoft.Extensions.Logging;
using YamlDotNet.Serialization;
using k8s;
using ApiException = CoCLR.Cluster.ApiException;

namespace CoCLR.Operator.Tests.Harness;

/// <summary>An API server with the CRDs, a namespace of its own, and helpers.</summary>
internal sealed class Arena : IAsyncDisposable
{
    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(2);
    private readonly List<TestOperator> _operators = [];
    private readonly InProcessCluster? _cluster;
    private readonly RealServer? _real;

    private Arena(InProcessCluster? cluster, RealServer? real, string ns)
    {
        _cluster = cluster;
        _real = real;
        Kubeconfig = real?.KubeconfigPath ?? cluster!.KubeconfigPath;
        Namespace = ns;
        Client = new ApiClient(KubernetesClientConfiguration.BuildConfigFromConfigFile(Kubeconfig));
        Play = new Player(this);
    }

    /// <summary>Whether the API server is a real one.</summary>
    public bool IsReal => _real != null;

    /// <summary>Whether Kubernetes' own controllers run, so that nobody has to play them.</summary>
    public bool HasControllers => _real?.HasControllers == true;

    public string Kubeconfig { get; }

    public string Namespace { get; }

    public ApiClient Client { get; }

    /// <summary>Plays the Job controller and the kubelet.</summary>
    public Player Play { get; }

    /// <summary>The in-process cluster; tests that need it skip against a real server.</summary>
    public InProcessCluster Cluster
    {
        get
        {
            Assert.SkipWhen(_cluster == null, "injects faults, which only the in-process API server can");
            return _cluster!;
        }
    }

    public static async Task<Arena> StartAsync(InProcessClusterOptions? options = null, bool crds = true)
    {
        if (options == null && await RealServer.FindAsync() is { } server)
        {
            Assert.SkipUnless(crds, "other tests have installed the CRDs on this server");
            var real = new Arena(null, server, "coclr-test-" + Guid.NewGuid().ToString("N")[..8]);
            await real.PrepareAsync(crds);
            return real;
        }

        InProcessCluster cluster = await InProcessCluster.StartAsync(
            options ?? new InProcessClusterOptions { RunControllers = false, RunPods = false, BookmarkInterval = TimeSpan.FromSeconds(1) },
            TestContext.Current.CancellationToken);
        var arena = new Arena(cluster, null, "train");
        await arena.PrepareAsync(crds);
        return arena;
    }

    private async Task PrepareAsync(bool crds)
    {
        if (crds)
        {
            await InstallCrdsAsync();
        }

        await ApplyAsync(
            new JsonObject { ["apiVersion"] = "v1", ["kind"] = "Namespace", ["metadata"] = new JsonObject { ["name"] = Namespace } });
        if (IsReal && !HasControllers)
        {
            await ApplyAsync(
                new JsonObject
                {
                    ["apiVersion"] = "v1", ["kind"] = "ServiceAccount",
                    ["metadata"] = new JsonObject { ["name"] = "default", ["namespace"] = Namespace }
                });
        }
        else if (IsReal)
        {
            await UntilAsync(
                "the namespace is ready",
                async () => await GetAsync(new ResourceKind("", "v1", "serviceaccounts", "ServiceAccount"), "default") != null);
        }
    }

    public async Task InstallCrdsAsync()
    {
        foreach (string text in CrdGenerator.Files().Values)
        {
            await ApplyAsync(Parse(text));
        }

        foreach (ResourceKind kind in new[] { ResourceKind.Experiment, ResourceKind.Benchmark })
        {
            await UntilAsync($"{kind.Plural} are served", async () =>
            {
                try
                {
                    using JsonDocument list = await Client.GetAsync(kind.Path(), TestContext.Current.CancellationToken);
                    return true;
                }
                catch (ApiException error) when (error.Code is HttpStatusCode.NotFound or HttpStatusCode.TooManyRequests)
                {
                    return false;
                }
            });
        }
    }

    /// <summary>Waits until a changed CRD is in effect: a real server takes a moment.</summary>
    public async Task UntilSchemaAsync(string statusField, bool known)
    {
        await ApplyAsync(Experiment("schema-probe", ("managedBy", "example.com/nobody")));
        await UntilAsync($"status.{statusField} is {(known ? "known" : "unknown")}", async () =>
        {
            try
            {
                return (
                    await PatchAsync(
                        ResourceKind.Experiment,
                        "schema-probe",
                        new JsonObject { ["status"] = new JsonObject { [statusField] = "x" } },
                        "status"))["status"]?[statusField] != null == known;
            }
            catch (ApiException error) when (error.Code == HttpStatusCode.TooManyRequests)
            {
                return false;
            }
        });
    }

    public static JsonObject Parse(string yaml) =>
        (JsonObject)JsonNode.Parse(
            new SerializerBuilder().JsonCompatible().Build()
                .Serialize(new DeserializerBuilder().WithAttemptingUnquotedStringTypeDeserialization().Build().Deserialize(yaml)!))!;

    /// <summary>A small experiment; fields of the spec may be overridden by path.</summary>
    public JsonObject Experiment(string name, params (string Path, JsonNode? Value)[] fields)
    {
        JsonObject value = Parse($$"""
            apiVersion: coclr.dev/v1alpha1
            kind: CoCLRExperiment
            metadata: {name: {{name}}, namespace: {{Namespace}}}
            spec:
              dataset: {source: {synthetic: {classes: 2, trainGroups: 2, testGroups: 1} } }
              views: [RGB]
              training: {method: InfoNCE, epochs: 2, batchSize: 4, queueSize: 16, batchNormGroups: 1}
              storage: {size: 1Gi}
            """);
        if (IsReal)
        {
            // No scheduler takes these pods, so that no kubelet interferes with what the test plays.
            value["spec"]!["scheduling"] = new JsonObject { ["schedulerName"] = "played-by-a-test" };
        }

        foreach ((string path, JsonNode? field) in fields)
        {
            JsonObject at = value["spec"]!.AsObject();
            string[] names = path.Split('.');
            foreach (string part in names[..^1])
            {
                at = (at[part] ??= new JsonObject()).AsObject();
            }

            at[names[^1]] = field;
        }

        return value;
    }

    public async Task<JsonObject> ApplyAsync(JsonObject value, bool force = true)
    {
        string ns = value["metadata"]!["namespace"]?.GetValue<string>() ?? "";
        string name = value["metadata"]!["name"]!.GetValue<string>();
        string apiVersion = value["apiVersion"]!.GetValue<string>(), kind = value["kind"]!.GetValue<string>();
        string plural =
            kind switch { "NetworkPolicy" => "networkpolicies", "PriorityClass" => "priorityclasses", _ => kind.ToLowerInvariant() + "s" };
        string[] parts = apiVersion.Split('/');
        var resource =
            parts.Length == 1 ? new ResourceKind("", parts[0], plural, kind) : new ResourceKind(parts[0], parts[1], plural, kind);
        using JsonDocument made = await Client.SendAsync(
            HttpMethod.Patch,
            $"{resource.Path(new ObjectKey(ns, name))}?fieldManager=test&force={(force ? "true" : "false")}",
            Encoding.UTF8.GetBytes(value.ToJsonString()),
            "application/apply-patch+yaml",
            TestContext.Current.CancellationToken);
        return (JsonObject)JsonNode.Parse(made.RootElement.GetRawText())!;
    }

    public async Task<JsonObject> CreateAsync(ResourceKind kind, JsonObject value)
    {
        using JsonDocument made = await Client.SendAsync(
            HttpMethod.Post,
            kind.Path(value["metadata"]!["namespace"]!.GetValue<string>()),
            Encoding.UTF8.GetBytes(value.ToJsonString()),
            null,
            TestContext.Current.CancellationToken);
        return (JsonObject)JsonNode.Parse(made.RootElement.GetRawText())!;
    }

    public async Task<JsonObject> PatchAsync(ResourceKind kind, string name, JsonObject patch, string? subresource = null)
    {
        using JsonDocument changed = await Client.SendAsync(
            HttpMethod.Patch,
            kind.Path(new ObjectKey(Namespace, name), subresource),
            Encoding.UTF8.GetBytes(patch.ToJsonString()),
            "application/merge-patch+json",
            TestContext.Current.CancellationToken);
        return (JsonObject)JsonNode.Parse(changed.RootElement.GetRawText())!;
    }

    public Task<JsonObject> SetSpecAsync(string name, string field, JsonNode? value) =>
        PatchAsync(ResourceKind.Experiment, name, new JsonObject { ["spec"] = new JsonObject { [field] = value } });

    public async Task DeleteAsync(ResourceKind kind, string name, int? graceSeconds = null)
    {
        var options = new JsonObject { ["apiVersion"] = "v1", ["kind"] = "DeleteOptions", ["propagationPolicy"] = "Background" };
        if (graceSeconds != null)
        {
            options["gracePeriodSeconds"] = graceSeconds;
        }

        string? uid = IsReal && !HasControllers ? (await GetAsync(kind, name))?["metadata"]!["uid"]!.ToString() : null;
        try
        {
            using JsonDocument answer = await Client.SendAsync(
                HttpMethod.Delete,
                kind.Path(new ObjectKey(Namespace, name)),
                Encoding.UTF8.GetBytes(options.ToJsonString()),
                null,
                TestContext.Current.CancellationToken);
        }
        catch (ApiException error) when (error.Code == HttpStatusCode.NotFound)
        {
            // The garbage collector was quicker.
        }

        // Without one, what it owned is collected by hand.
        foreach (ResourceKind owned in uid == null ? [] : new[] { ResourceKind.Job, ResourceKind.Pod, ResourceKind.ConfigMap, ResourceKind.Claim })
        {
            foreach (JsonObject child in (await ListAsync(owned)).Where(o => o["metadata"]!["ownerReferences"]?.AsArray().Any(r => r!["uid"]!.ToString() == uid) == true))
            {
                await DeleteAsync(owned, child["metadata"]!["name"]!.ToString(), graceSeconds);
            }
        }
    }

    public async Task<JsonObject?> GetAsync(ResourceKind kind, string name)
    {
        try
        {
            using JsonDocument found =
                await Client.GetAsync(kind.Path(new ObjectKey(Namespace, name)), TestContext.Current.CancellationToken);
            return (JsonObject)JsonNode.Parse(found.RootElement.GetRawText())!;
        }
        catch (ApiException error) when (error.Code == HttpStatusCode.NotFound)
        {
            return null;
        }
    }

    public async Task<JsonObject[]> ListAsync(ResourceKind kind, string? selector = null)
    {
        using JsonDocument found = await Client.GetAsync(
            kind.Path(Namespace) + (selector == null ? "" : "?labelSelector=" + Uri.EscapeDataString(selector)),
            TestContext.Current.CancellationToken);
        return [.. JsonNode.Parse(found.RootElement.GetRawText())!["items"]!.AsArray().Select(i => (JsonObject)i!.DeepClone())];
    }

    public async Task<JsonObject> StatusAsync(string experiment) =>
        (await GetAsync(ResourceKind.Experiment, experiment))?["status"]?.AsObject() ?? [];

    public static string? Condition(JsonObject status, string type) => status["conditions"]?.AsArray()
        .FirstOrDefault(c => c!["type"]!.GetValue<string>() == type) is { } c ? $"{c["status"]}/{c["reason"]}" : null;

    /// <summary>Waits for a condition such as Ready=False/Training.</summary>
    public async Task<JsonObject> ConditionAsync(string experiment, string type, string wanted)
    {
        JsonObject status = [];
        await UntilAsync(
            () => $"{experiment} has {type}={wanted}; it has {status.ToJsonString()}",
            async () => Condition(status = await StatusAsync(experiment), type)?.StartsWith(wanted, StringComparison.Ordinal) == true);
        return status;
    }

    public async Task<JsonObject> StateAsync(string experiment, string wanted)
    {
        JsonObject status = [];
        await UntilAsync(
            () => $"{experiment} is {wanted}; it has {status.ToJsonString()}",
            async () => (status = await StatusAsync(experiment))["state"]?.ToString() == wanted);
        return status;
    }

    public async Task<JsonObject[]> EventsAsync(string about, string reason)
        =>
            [
                .. (await ListAsync(ResourceKind.Event))
                    .Where(e => e["involvedObject"]?["name"]?.ToString() == about && e["reason"]?.ToString() == reason)];

    public static Task UntilAsync(string what, Func<Task<bool>> condition) => UntilAsync(() => what, condition);

    public static async Task UntilAsync(Func<string> what, Func<Task<bool>> condition)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(TestContext.Current.CancellationToken);
        limit.CancelAfter(Patience);
        while (!await condition())
        {
            try
            {
                await Task.Delay(20, limit.Token);
            }
            catch (OperationCanceledException)
            {
                Assert.Fail($"Not within {Patience.TotalSeconds:0} s: {what()}");
            }
        }
    }

    /// <summary>Starts an operator and waits until it has seen everything.</summary>
    public async Task<TestOperator> StartOperatorAsync(TestOperatorOptions? options = null, bool ready = true)
    {
        var started = new TestOperator(this, options ?? new TestOperatorOptions());
        _operators.Add(started);
        if (ready)
        {
            await UntilAsync(
                () => "the operator is ready: " + string.Join("; ", started.Runtime.Problems),
                () => Task.FromResult(started.Runtime.Problems.Count == 0));
        }

        return started;
    }

    public async ValueTask DisposeAsync()
    {
        foreach (TestOperator started in _operators)
        {
            await started.DisposeAsync();
        }

        if (_cluster == null)
        {
            await Client.SendAsync(HttpMethod.Delete, $"api/v1/namespaces/{Namespace}", null, null, CancellationToken.None);
        }

        Client.Dispose();
        if (_cluster != null)
        {
            await _cluster.DisposeAsync();
        }
    }
}

/// <summary>Writes logs to the test's output.</summary>
internal sealed class TestLoggers : ILoggerProvider, ILogger
{
    public System.Collections.Concurrent.ConcurrentQueue<(LogLevel Level, string Text)> Lines { get; } = new();

    public ILoggerFactory Factory() => LoggerFactory.Create(b => b.SetMinimumLevel(LogLevel.Debug).AddProvider(this));

    public ILogger CreateLogger(string categoryName) => this;

    public IDisposable? BeginScope<TState>(TState state)
        where TState : notnull => null;

    public bool IsEnabled(LogLevel logLevel) => logLevel >= LogLevel.Information;

    public void Log<TState>(
        LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter)
    {
        string line = $"{DateTime.UtcNow:HH:mm:ss.fff} {logLevel} {formatter(state, exception)} {exception}";
        Lines.Enqueue((logLevel, line));
        TestContext.Current.SendDiagnosticMessage(line);
    }

    public void Dispose() => GC.SuppressFinalize(this);
}
