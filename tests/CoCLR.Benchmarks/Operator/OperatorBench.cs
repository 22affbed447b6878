// Why this exists: `coclr bench operator` measures what docs/benchmarks.md promises of the operator: latency, writes, memory, restart, CPU
// of a reconcile. No test is timed.
using System.Collections.Concurrent;
using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Net.Http.Headers;
using System.Net.Sockets;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using CoCLR.Cluster;
using CoCLR.Core;
using CoCLR.Core.Manifests;
using CoCLR.Core.Manifests.Schema;
using CoCLR.Core.Manifests.Status;
using CoCLR.Operator.Api;
using CoCLR.Operator.Reconciling;
using CoCLR.TrialCluster;
using YamlDotNet.Serialization;

namespace CoCLR.Benchmarks.Operator;

/// <summary>The operator, as a process of its own, against the in-process API server.</summary>
public static class OperatorBench
{
    private const string Spec =
        """{"dataset":{"source":{"synthetic":{}}},"training":{"method":"CoCLR","epochs":10},"cotrain":{"cycles":2},"resources":{"gpus":0,"cpu":"10m","memory":"1Mi"}}""";

    /// <summary>Measures and prints one line of JSON.</summary>
    /// <param name="arguments">`--new 500 --finished 5000 --rest 15 --warm-up 40`, and `--operator DIR` for a published operator instead of
    /// the one built here; each optional.</param>
    public static void Run(string[] arguments) => RunAsync(arguments).GetAwaiter().GetResult();

    private static async Task RunAsync(string[] arguments)
    {
        int Option(string name, int fallback) =>
            Array.IndexOf(arguments, "--" + name) is var i && i >= 0 ? int.Parse(arguments[i + 1], CultureInfo.InvariantCulture) : fallback;
        int fresh = Option("new", 500), finished = Option("finished", 5000), rest = Option("rest", 15), warmUp = Option("warm-up", 40);
        string program = Array.IndexOf(arguments, "--operator") is var at
            && at >= 0 ? Path.Combine(arguments[at + 1], "CoCLR.Operator.dll") : typeof(ExperimentReconciler).Assembly.Location;
        (double reconcileMedian, double reconcileWorst) = Reconciles();
        JsonObject burst = await BurstAsync(program, fresh, warmUp, rest);
        JsonObject steady = await FinishedAsync(program, finished);
        var line = new JsonObject
        {
            ["benchmark"] = "operator", ["cores"] = Environment.ProcessorCount, ["reconcileCpuMedianMs"] = Math.Round(reconcileMedian, 3),
            ["reconcileCpuWorstMs"] = Math.Round(reconcileWorst, 3)
        };
        foreach ((string key, JsonNode? value) in burst.Concat(steady))
        {
            line[key] = value?.DeepClone();
        }

        Console.WriteLine(line.ToJsonString());
    }

    /// <summary>Many experiments applied at once: time to their first Job, and writes.</summary>
    private static async Task<JsonObject> BurstAsync(string program, int count, int warmUp, int rest)
    {
        await using InProcessCluster cluster = await StartClusterAsync(controllers: true);
        var jobs = new ConcurrentDictionary<string, long>();
        var pods = new ConcurrentDictionary<string, long>();
        cluster.Store.Written += (key, change) =>
        {
            if (change.Before == null && key.Plural is "jobs" or "pods")
            {
                string experiment = change.After.Value["metadata"]?["labels"]?[Labels.Experiment]?.ToString() ?? "";
                (key.Plural == "jobs" ? jobs : pods).TryAdd(experiment, Stopwatch.GetTimestamp());
            }
        };
        using var operatr = await OperatorProcess.StartAsync(cluster, program);
        using HttpClient client = Client(cluster);
        // Unless --warm-up 0: an operator that has been at work before, on a server that has; what is compiled at first use is no part of a
        // burst's cost.
        await ApplyAsync("w", warmUp);
        await UntilAsync(() => pods.Count == warmUp);
        await QuietAsync(cluster);
        cluster.Log.Clear();
        double cpu = operatr.CpuSeconds;
        ConcurrentDictionary<string, long> applied = await ApplyAsync("e", count);
        await UntilAsync(() => pods.Count == warmUp + count);
        double[] seconds = [.. applied.Select(a => Stopwatch.GetElapsedTime(a.Value, jobs[a.Key]).TotalSeconds).Order()];
        await QuietAsync(cluster);
        LoggedRequest[] writes = [.. cluster.Log.Writes.Where(w => w.User == "operator")];
        int[] each = [
            .. writes.Where(w => w.Name.Length >= 6 || w.Resource == "events").GroupBy(w => w.Name.Length >= 6 ? w.Name[..6] : "events")
                .Select(g => g.Count()).Order()];
        cluster.Log.Clear();
        await Task.Delay(TimeSpan.FromSeconds(rest));
        return new JsonObject
        {
            ["experiments"] = count,
            ["applyToFirstJobP50Seconds"] = Math.Round(seconds[count / 2], 3),
            ["applyToFirstJobP99Seconds"] = Math.Round(seconds[(int)(count * 0.99)], 3),
            ["applyToFirstJobWorstSeconds"] = Math.Round(seconds[^1], 3),
            ["writesPerExperiment"] = Math.Round((double)writes.Length / count, 2),
            ["writesPerExperimentWorst"] = each[^1],
            ["operatorCpuSeconds"] = Math.Round(operatr.CpuSeconds - cpu, 2),
            ["writesAtRest"] = cluster.Log.Writes.Count(w => w.User == "operator"),
        };

        async Task<ConcurrentDictionary<string, long>> ApplyAsync(string prefix, int many)
        {
            var times = new ConcurrentDictionary<string, long>();
            await Parallel.ForEachAsync(Enumerable.Range(0, many), new ParallelOptions { MaxDegreeOfParallelism = 16 }, async (i, cancellation) =>
            {
                string name = $"{prefix}{i:00000}";
                times[name] = Stopwatch.GetTimestamp();
                using HttpResponseMessage answer = await client.PatchAsync(
                    new Uri($"apis/coclr.dev/v1alpha1/namespaces/train/coclrexperiments/{name}?fieldManager=bench", UriKind.Relative),
                    Body(Experiment(name)),
                    cancellation);
                answer.EnsureSuccessStatusCode();
            });
            return times;
        }
    }

    /// <summary>Many finished experiments: memory and time to synced.</summary>
    private static async Task<JsonObject> FinishedAsync(string program, int count)
    {
        await using InProcessCluster cluster = await StartClusterAsync(controllers: false);
        (ExperimentObservation done, JsonObject status) = Played(int.MaxValue);
        for (int i = 0; i < count; i++)
        {
            string name = $"e{i:00000}", uid = Guid.NewGuid().ToString();
            JsonObject experiment = Experiment(name);
            experiment["metadata"]!["uid"] = uid;
            experiment["status"] = status.DeepClone();
            cluster.StoreUnchecked(experiment);
            foreach (JobView job in done.Jobs)
            {
                cluster.StoreUnchecked(
                    Child(
                        "batch/v1",
                        "Job",
                        $"{name}-{job.Meta.Label(Labels.Stage)}",
                        name,
                        uid,
                        job.Meta.Label(Labels.Stage)!,
                        """{"conditions":[{"type":"Complete","status":"True"}],"succeeded":1}"""));
                cluster.StoreUnchecked(Child("v1", "Pod", $"{name}-{job.Meta.Label(Labels.Stage)}-x", name, uid, job.Meta.Label(Labels.Stage)!, """{"phase":"Succeeded","containerStatuses":[{"name":"stage","state":{"terminated":{"exitCode":0,"reason":"Completed","message":"{\"stage\":\"probe-rgb\",\"outcome\":\"succeeded\",\"result\":{\"linearProbeTop1\":0.61}}","startedAt":"2026-01-31T12:00:00Z","finishedAt":"2026-01-31T12:00:00Z"}}}]}"""));
            }

            JsonObject plan = Child("v1", "ConfigMap", $"{name}-plan", name, uid, "plan", "{}");
            plan["data"] = new JsonObject { [PlanView.PlanKey] = done.Plan!.Plan, [PlanView.ImageKey] = "coclr-engine:0.1.0" };
            cluster.StoreUnchecked(plan);
        }

        long started = Stopwatch.GetTimestamp();
        using var operatr = await OperatorProcess.StartAsync(cluster, program);
        double synced = Stopwatch.GetElapsedTime(started).TotalSeconds;
        await QuietAsync(cluster);
        await Task.Delay(TimeSpan.FromSeconds(5));
        double settled = operatr.Megabytes("VmRSS"), highest = operatr.Megabytes("VmHWM");
        await operatr.StopAsync();
        long again = Stopwatch.GetTimestamp();
        using var second = await OperatorProcess.StartAsync(cluster, program);
        return new JsonObject
        {
            ["finished"] = count,
            ["jobsAndPods"] = count * done.Jobs.Count * 2,
            ["startToSyncedSeconds"] = Math.Round(synced, 2),
            ["restartToSyncedSeconds"] = Math.Round(Stopwatch.GetElapsedTime(again).TotalSeconds, 2),
            ["restartCpuSeconds"] = Math.Round(second.CpuSeconds, 2),
            ["residentMegabytes"] = Math.Round(settled),
            ["residentMegabytesHighest"] = Math.Round(highest),
        };
    }

    /// <summary>
    /// CPU of one reconcile of an experiment in mid-training: reading its status and spec, deciding, writing the status as JSON.
    /// </summary>
    private static (double Median, double Worst) Reconciles()
    {
        (ExperimentObservation observed, _) = Played(7);
        var settings = new ChildSettings();
        var times = new List<double>();
        for (int i = 0; i < 400; i++)
        {
            TimeSpan before = Process.GetCurrentProcess().TotalProcessorTime;
            for (int n = 0; n < 10; n++)
            {
                Decision<ExperimentStatus> decision = ExperimentReconciler.Reconcile(observed, settings);
                JsonSerializer.SerializeToUtf8Bytes(decision.Status, CoclrJson.Compact);
            }

            if (i >= 100)
            {
                times.Add((Process.GetCurrentProcess().TotalProcessorTime - before).TotalMilliseconds / 10);
            }
        }

        times.Sort();
        return (times[times.Count / 2], times[^1]);
    }

    /// <summary>An experiment whose first stages have succeeded.</summary>
    private static (ExperimentObservation Observed, JsonObject Status) Played(int stages)
    {
        JsonObject resource = Experiment("e00000");
        resource["metadata"]!["uid"] = "00000000-0000-0000-0000-000000000000";
        resource["metadata"]!["generation"] = 1;
        var jobs = new List<JobView>();
        var pods = new List<PodView>();
        var claims = new Dictionary<string, ClaimView>();
        PlanView? plan = null;
        ExperimentObservation Observe() => new()
        {
            Experiment = CustomResource.Read<ExperimentSpec, ExperimentStatus>(Element(resource)),
            Jobs = jobs,
            Pods = pods,
            Plan = plan,
            Claim = name => claims.GetValueOrDefault(name),
            Now = new DateTimeOffset(2026, 1, 31, 12, 0, 0, TimeSpan.Zero),
        };
        for (int i = 0; i < 100; i++)
        {
            Decision<ExperimentStatus> decision = ExperimentReconciler.Reconcile(Observe(), new ChildSettings());
            resource["status"] = JsonSerializer.SerializeToNode(decision.Status, CoclrJson.Compact);
            if (decision.Status!.State == ExperimentState.Succeeded || jobs.Count > stages)
            {
                break;
            }

            foreach (DesiredWrite.Create create in decision.Writes.OfType<DesiredWrite.Create>())
            {
                JsonObject made = (JsonObject)create.Object.DeepClone();
                made["metadata"]!["uid"] = Guid.NewGuid().ToString();
                if (create.Kind == ResourceKind.ConfigMap)
                {
                    plan = PlanView.Read(Element(made));
                }
                else if (create.Kind == ResourceKind.Claim)
                {
                    claims[create.Name] = ClaimView.Read(Element(made));
                }
                else
                {
                    if (jobs.Count < stages)
                    {
                        made["status"] = JsonNode.Parse("""{"conditions":[{"type":"Complete","status":"True"}]}""");
                    }

                    jobs.Add(JobView.Read(Element(made)));
                    JsonObject pod = Child("v1", "Pod", create.Name + "-x", "e00000", "00000000-0000-0000-0000-000000000000", made["metadata"]!["labels"]![Labels.Stage]!.ToString(), """{"phase":"Running","containerStatuses":[{"name":"stage","state":{"running":{"startedAt":"2026-01-31T12:00:00Z"}}}]}""");
                    pod["metadata"]!["ownerReferences"]![0]!["uid"] = made["metadata"]!["uid"]!.ToString();
                    pods.Add(PodView.Read(Element(pod)));
                }
            }
        }

        return (Observe(), resource["status"]!.AsObject());
    }

    private static JsonObject Experiment(string name) => new()
    {
        ["apiVersion"] = ApiNames.ApiVersion,
        ["kind"] = ApiNames.Experiment,
        ["metadata"] = new JsonObject { ["name"] = name, ["namespace"] = "train" },
        ["spec"] = JsonNode.Parse(Spec),
    };

    private static JsonObject Child(
        string apiVersion, string kind, string name, string experiment, string uid, string stage, string status) => new()
        {
            ["apiVersion"] = apiVersion,
            ["kind"] = kind,
            ["metadata"] = new JsonObject
            {
                ["name"] = name,
                ["namespace"] = "train",
                ["labels"] = new JsonObject
                {
                    [Labels.Experiment] = experiment, [Labels.ExperimentUid] = uid, [Labels.Stage] = stage,
                    ["app.kubernetes.io/managed-by"] = Labels.Manager
                },
                ["ownerReferences"] = new JsonArray(
                new JsonObject
                {
                    ["apiVersion"] = ApiNames.ApiVersion, ["kind"] = ApiNames.Experiment, ["name"] = experiment, ["uid"] = uid,
                    ["controller"] = true
                }),
            },
            ["spec"] = new JsonObject(),
            ["status"] = JsonNode.Parse(status),
        };

    private static JsonElement Element(JsonNode node) => JsonSerializer.SerializeToElement(node);

    private static async Task<InProcessCluster> StartClusterAsync(bool controllers)
    {
        InProcessCluster cluster = await InProcessCluster.StartAsync(
            new InProcessClusterOptions
            {
                RunControllers = controllers, RunPods = false, Namespaces = ["train"], HistoryLimit = 50_000,
                Nodes = [new TrialNode("node-1", Cpu: 100_000, Memory: "100Ti")]
            });
        using HttpClient client = Client(cluster);
        foreach (string yaml in CrdGenerator.Files().Values)
        {
            object parsed = new DeserializerBuilder().WithAttemptingUnquotedStringTypeDeserialization().Build().Deserialize(yaml)!;
            JsonNode crd = JsonNode.Parse(new SerializerBuilder().JsonCompatible().Build().Serialize(parsed))!;
            using HttpResponseMessage answer = await client.PatchAsync(
                new Uri(
                    $"apis/apiextensions.k8s.io/v1/customresourcedefinitions/{crd["metadata"]!["name"]}?fieldManager=bench",
                    UriKind.Relative),
                Body(crd));
            answer.EnsureSuccessStatusCode();
        }

        return cluster;
    }

    private static HttpClient Client(InProcessCluster cluster)
    {
        var handler = new SocketsHttpHandler { MaxConnectionsPerServer = 32 };
        handler.SslOptions.CertificateChainPolicy =
            new X509ChainPolicy { TrustMode = X509ChainTrustMode.CustomRootTrust, RevocationMode = X509RevocationMode.NoCheck };
        handler.SslOptions.CertificateChainPolicy.CustomTrustStore.ImportFromPem(cluster.CertificateAuthority);
        var client = new HttpClient(handler) { BaseAddress = cluster.Url };
        client.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", cluster.AdminToken);
        return client;
    }

    private static StringContent Body(JsonNode value) =>
        new(value.ToJsonString(), Encoding.UTF8, new MediaTypeHeaderValue("application/apply-patch+yaml"));

    private static async Task UntilAsync(Func<bool> condition)
    {
        long started = Stopwatch.GetTimestamp();
        while (!condition())
        {
            if (Stopwatch.GetElapsedTime(started) > TimeSpan.FromMinutes(5))
            {
                throw new TimeoutException("The operator did not get there within five minutes.");
            }

            await Task.Delay(20);
        }
    }

    private static async Task QuietAsync(InProcessCluster cluster)
    {
        int before;
        do
        {
            before = cluster.Log.Writes.Count;
            await Task.Delay(2000);
        }
        while (cluster.Log.Writes.Count != before);
    }

    /// <summary>The operator as it runs in its pod.</summary>
    private sealed class OperatorProcess : IDisposable
    {
        private readonly Process _process;

        private OperatorProcess(Process process) => _process = process;

        public static async Task<OperatorProcess> StartAsync(InProcessCluster cluster, string program)
        {
            string kubeconfig = Path.Combine(cluster.Folder, "operator.kubeconfig");
            if (!File.Exists(kubeconfig))
            {
                await File.WriteAllTextAsync(kubeconfig, cluster.AddUser("operator", "system:masters"));
            }

            int port = FreePort();
            var start = new ProcessStartInfo("dotnet") { RedirectStandardOutput = true };
            foreach (string argument in new[] { program, "--Kubeconfig", kubeconfig, "--LeaderElect", "false", "--Listen", "127.0.0.1", "--Port", port.ToString(CultureInfo.InvariantCulture), "--LogLevel", "Error" })
            {
                start.ArgumentList.Add(argument);
            }

            Process process = Process.Start(start)!;
            process.OutputDataReceived += (_, line) => Console.Error.Write(line.Data == null ? "" : line.Data + "\n");
            process.BeginOutputReadLine();
            using var client = new HttpClient { BaseAddress = new Uri($"http://127.0.0.1:{port}") };
            while (true)
            {
                try
                {
                    using HttpResponseMessage answer = await client.GetAsync(new Uri("readyz", UriKind.Relative));
                    if (answer.IsSuccessStatusCode)
                    {
                        return new OperatorProcess(process);
                    }
                }
                catch (HttpRequestException) when (!process.HasExited)
                {
                    // It does not listen yet.
                }

                await Task.Delay(20);
            }
        }

        public double CpuSeconds
        {
            get
            {
                _process.Refresh();
                return _process.TotalProcessorTime.TotalSeconds;
            }
        }

        public double Megabytes(string field)
        {
            string line = File.ReadLines($"/proc/{_process.Id}/status").First(l => l.StartsWith(field + ":", StringComparison.Ordinal));
            return double.Parse(line.Split(' ', StringSplitOptions.RemoveEmptyEntries)[1], CultureInfo.InvariantCulture) / 1024;
        }

        public async Task StopAsync()
        {
            _process.Kill();
            await _process.WaitForExitAsync();
        }

        public void Dispose()
        {
            if (!_process.HasExited)
            {
                _process.Kill();
            }

            _process.Dispose();
        }

        private static int FreePort()
        {
            using var listener = new TcpListener(IPAddress.Loopback, 0);
            listener.Start();
            return ((IPEndPoint)listener.LocalEndpoint).Port;
        }
    }
}
