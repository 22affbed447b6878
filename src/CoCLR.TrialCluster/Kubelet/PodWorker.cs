// Why this exists: the life of one pod: pull, mount, start, probe, end, restart, report.
using System.Diagnostics;
using System.Diagnostics.CodeAnalysis;
using System.Globalization;
using System.Text;
using System.Text.Json.Nodes;
using System.Text.RegularExpressions;
using System.Threading.Channels;

namespace CoCLR.TrialCluster;

/// <summary>Runs one pod.</summary>
[SuppressMessage("Design", "CA1001", Justification = "The pod's network ends with the pod, at the end of Start's task.")]
internal sealed partial class PodWorker
{
    private readonly InProcessCluster _cluster;
    private readonly string _ns;
    private readonly string _name;
    private readonly string _uid;
    private readonly string _address;
    private readonly PodFolders _folders;
    private readonly PodNetwork _network;
    private readonly JsonObject _pod;
    private readonly Channel<bool> _news =
        Channel.CreateBounded<bool>(new BoundedChannelOptions(1) { FullMode = BoundedChannelFullMode.DropWrite });
    private readonly Dictionary<string, ContainerRun> _runs = new(StringComparer.Ordinal);
    private readonly Lock _gate = new();
    private readonly TaskCompletionSource _ended = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private volatile JsonObject _latest;
    private volatile bool _gone;
    private bool _abandoned;
    private string _reported = "";

    public PodWorker(InProcessCluster cluster, JsonObject pod, string address)
    {
        _cluster = cluster;
        _pod = pod;
        _latest = pod;
        _ns = pod.Text("metadata", "namespace")!;
        _name = pod.Text("metadata", "name")!;
        _uid = pod.Text("metadata", "uid")!;
        _address = address;
        _folders = new PodFolders(cluster, pod);
        _network = new PodNetwork(cluster, pod);
    }

    /// <summary>What is known of one container.</summary>
    private sealed class ContainerRun
    {
        public required JsonNode Spec { get; init; }

        public bool Init { get; init; }

        public Process? Process { get; set; }

        public DateTimeOffset? Started { get; set; }

        public JsonObject? Ended { get; set; }

        public JsonObject? Last { get; set; }

        public int Restarts { get; set; }

        public bool Ready { get; set; }

        public bool OutOfMemory { get; set; }

        public (string Reason, string Message)? Waiting { get; set; } = ("ContainerCreating", "");

        public DateTimeOffset NextTry { get; set; }

        public Task Running { get; set; } = Task.CompletedTask;

        public string Name => Spec.Text("name")!;
    }

    public void See(JsonObject pod, bool deleted)
    {
        _latest = pod;
        _gone |= deleted;
        _news.Writer.TryWrite(true);
    }

    public void Start(Action done) => _ = Task.Run(async () =>
    {
        try
        {
            await RunAsync(_cluster.Stopping);
        }
        catch (OperationCanceledException)
        {
            KillAll();
        }
        catch (Exception e) when (e is IOException or ApiException or InvalidOperationException or UnauthorizedAccessException)
        {
            _cluster.Report($"pod {_ns}/{_name}: {e}");
            KillAll();
        }
        finally
        {
            _network.Dispose();
            done();
            _ended.TrySetResult();
        }
    });

    /// <summary>Kills what runs and waits for its end.</summary>
    public async Task AbandonAsync()
    {
        _abandoned = true;
        KillAll();
        await _ended.Task;
    }

    public int? ProcessId(string? container)
    {
        lock (_gate)
        {
            return _runs.Values.FirstOrDefault(r => (container is null || r.Name == container) && r.Process is not null)?.Process?.Id;
        }
    }

    public bool Signal(string? container, int signal, bool oom)
    {
        lock (_gate)
        {
            var run = _runs.Values.FirstOrDefault(r => (container is null || r.Name == container) && r.Process is not null);
            if (run is null)
            {
                return false;
            }

            run.OutOfMemory = oom;
            return Native.Kill(run.Process!.Id, signal) == 0;
        }
    }

    private void KillAll()
    {
        lock (_gate)
        {
            foreach (var run in _runs.Values.Where(r => r.Process is not null))
            {
                try
                {
                    run.Process!.Kill(entireProcessTree: true);
                }
                catch (InvalidOperationException)
                {
                    // It ended by itself in the meantime.
                    continue;
                }
            }
        }
    }

    private DateTimeOffset Now => _cluster.Clock.GetUtcNow();

    private bool Leaving => _gone || _latest.At("metadata", "deletionTimestamp") is not null;

    private void Record(string type, string reason, string message) =>
        _cluster.Controllers.Events.Record(_pod, type, reason, message, "kubelet");

    private async Task WaitAsync(TimeSpan time, CancellationToken stop)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(stop);
        limit.CancelAfter(time);
        try
        {
            await _news.Reader.ReadAsync(limit.Token);
        }
        catch (OperationCanceledException) when (!stop.IsCancellationRequested)
        {
            // The time is up: look again.
            return;
        }
    }

    private async Task RunAsync(CancellationToken stop)
    {
        foreach (var spec in _pod.Items("spec", "initContainers").OfType<JsonNode>())
        {
            _runs[spec.Text("name")!] = new ContainerRun { Spec = spec, Init = true };
        }

        foreach (var spec in _pod.Items("spec", "containers").OfType<JsonNode>())
        {
            _runs[spec.Text("name")!] = new ContainerRun { Spec = spec };
        }

        var mounted = false;
        var policy = _pod.Text("spec", "restartPolicy") ?? "Always";
        var start = Now;
        var deadline = _pod.Number("spec", "activeDeadlineSeconds");
        var renew = Now.AddMinutes(5);
        while (true)
        {
            if (_cluster.Controllers.Nodes?.IsSilent(_pod.Text("spec", "nodeName")) == true)
            {
                // A kubelet without a network hears of nothing and reports nothing.
                await WaitAsync(TimeSpan.FromMilliseconds(250), stop);
                continue;
            }

            if (_gone)
            {
                KillAll();
                await Task.WhenAll(_runs.Values.Select(r => r.Running));
                return;
            }

            if (Leaving)
            {
                await TerminateAsync(stop);
                return;
            }

            if (deadline is { } d && Now > start.AddSeconds(d))
            {
                await StopContainersAsync(stop);
                Report("Failed", "DeadlineExceeded", "Pod was active on the node longer than the specified deadline");
                return;
            }

            if (!mounted)
            {
                try
                {
                    _folders.Prepare();
                    mounted = true;
                }
                catch (MountException e)
                {
                    Record("Warning", "FailedMount", e.Message);
                }
                catch (ApiException e)
                {
                    Record("Warning", "FailedMount", e.Message);
                }
            }

            if (mounted)
            {
                Step(policy, stop);
                if (Now > renew)
                {
                    _folders.WriteTokens();
                    renew = Now.AddMinutes(5);
                }
            }

            var phase = Phase(policy);
            Report(phase, null, null);
            if (phase is "Succeeded" or "Failed")
            {
                return;
            }

            await WaitAsync(TimeSpan.FromMilliseconds(mounted ? 250 : 500), stop);
        }
    }

    private void Step(string policy, CancellationToken stop)
    {
        foreach (var run in _runs.Values)
        {
            if (run.Process is not null)
            {
                if (run.Init)
                {
                    return;
                }

                continue;
            }

            if (run.Ended is not null)
            {
                var code = run.Ended.Number("exitCode") ?? 0;
                var again = run.Init ? code != 0 && policy != "Never" : policy == "Always" || (policy == "OnFailure" && code != 0);
                if (!again)
                {
                    if (run.Init && code != 0)
                    {
                        return;
                    }

                    continue;
                }

                if (run.Waiting is null)
                {
                    // 10 s, 20 s, 40 s, ... as a kubelet backs off, scaled by the option.
                    var pause = TimeSpan.FromSeconds(
                        Math.Min(300, _cluster.Options.CrashBackoff.TotalSeconds * Math.Pow(2, Math.Min(run.Restarts, 10))));
                    run.NextTry = run.Restarts == 0 && !run.Init ? Now : Now + pause;
                    if (run.NextTry > Now)
                    {
                        run.Waiting = (
                            "CrashLoopBackOff",
                            $"back-off {(int)pause.TotalSeconds}s restarting failed container={run.Name} pod={_name}_{_ns}({_uid})");
                        Record("Warning", "BackOff", $"Back-off restarting failed container {run.Name} in pod {_name}_{_ns}({_uid})");
                    }
                }

                if (Now < run.NextTry)
                {
                    if (run.Init)
                    {
                        return;
                    }

                    continue;
                }

                run.Last = run.Ended;
                run.Ended = null;
                run.Restarts++;
                Rotate(run.Name);
            }

            if (Now >= run.NextTry || run.Waiting is null)
            {
                TryStart(run, stop);
            }

            if (run.Init && run.Ended is null)
            {
                return;
            }
        }
    }

    private void Rotate(string container)
    {
        var log = _cluster.Kubelet!.LogFile(_uid, container, false)!;
        if (File.Exists(log))
        {
            File.Move(log, _cluster.Kubelet.LogFile(_uid, container, true)!, true);
        }
    }

    private ImageProgram? Program(string image) =>
        _cluster.Options.Images.FirstOrDefault(
            p => Regex.IsMatch(
                image,
                "^(.*/)?" + Regex.Escape(p.Pattern).Replace("\\*", ".*", StringComparison.Ordinal) + "$",
                RegexOptions.CultureInvariant));

    private void TryStart(ContainerRun run, CancellationToken stop)
    {
        var image = run.Spec.Text("image") ?? "";
        if (Program(image) is not { } program)
        {
            var first = run.Waiting is not { Reason: "ErrImagePull" or "ImagePullBackOff" };
            var why = $"failed to pull and unpack image \"{image}\": failed to resolve reference \"{image}\": {image}: not found";
            run.Waiting = first ? ("ErrImagePull", why) : ("ImagePullBackOff", $"Back-off pulling image \"{image}\": ErrImagePull: {why}");
            run.NextTry = Now.AddSeconds(first ? 1 : 2);
            if (first)
            {
                Record("Normal", "Pulling", $"Pulling image \"{image}\"");
                Record("Warning", "Failed", $"Failed to pull image \"{image}\": {why}");
                Record("Warning", "Failed", "Error: ErrImagePull");
            }
            else
            {
                Record("Normal", "BackOff", $"Back-off pulling image \"{image}\"");
                Record("Warning", "Failed", "Error: ImagePullBackOff");
            }

            return;
        }

        try
        {
            Launch(run, program, stop);
        }
        catch (MountException e)
        {
            if (run.Waiting?.Reason != "CreateContainerConfigError")
            {
                Record("Warning", "Failed", "Error: " + e.Message);
            }

            run.Waiting = ("CreateContainerConfigError", e.Message);
            run.NextTry = Now.AddSeconds(0.5);
        }
        catch (System.ComponentModel.Win32Exception e)
        {
            var message = $"failed to create containerd task: failed to create shim task: OCI runtime create failed: exec: {e.Message}";
            Record("Warning", "Failed", "Error: " + message);
            run.Waiting = null;
            run.Ended = Terminated(128, "StartError", message, Now);
        }
    }

    private static JsonObject Terminated(int code, string reason, string? message, DateTimeOffset started)
    {
        var o = new JsonObject
        {
            ["exitCode"] = code, ["reason"] = reason, ["startedAt"] = Json.Time(started), ["finishedAt"] = Json.Time(DateTimeOffset.UtcNow)
        };
        if (!string.IsNullOrEmpty(message))
        {
            o["message"] = message;
        }

        return o;
    }

    private void Launch(ContainerRun run, ImageProgram program, CancellationToken stop)
    {
        var mounts = _folders.Mounts(run.Spec);
        var messageFile = Path.Combine(_folders.Root, "termination", run.Name);
        Directory.CreateDirectory(Path.GetDirectoryName(messageFile)!);
        File.Delete(messageFile);
        mounts.Add((run.Spec.Text("terminationMessagePath") ?? "/dev/termination-log", messageFile));
        var rewriter = new PathRewriter(mounts);
        var environment = new Dictionary<string, string>(StringComparer.Ordinal);
        foreach (var name in new[] { "PATH", "HOME", "LANG", "TMPDIR", "LD_LIBRARY_PATH", "TZ" }.Concat(Environment.GetEnvironmentVariables().Keys.OfType<string>().Where(k => k.StartsWith("DOTNET_", StringComparison.Ordinal) || k.StartsWith("OMP_", StringComparison.Ordinal))))
        {
            if (Environment.GetEnvironmentVariable(name) is { } value)
            {
                environment[name] = value;
            }
        }

        foreach (var (name, value) in program.Environment ?? new Dictionary<string, string>())
        {
            environment[name] = value;
        }

        environment["HOSTNAME"] = _name;
        environment["KUBERNETES_SERVICE_HOST"] = _cluster.Url.Host;
        environment["KUBERNETES_SERVICE_PORT"] = _cluster.Url.Port.ToString(CultureInfo.InvariantCulture);
        foreach (var (name, value) in _network.Environment)
        {
            environment[name] = value;
        }

        var declared = DeclaredEnvironment(run.Spec);
        foreach (var (name, value) in declared)
        {
            environment[name] = Addresses(rewriter.Forth(value));
        }

        if (mounts.Find(m => m.Mount.TrimEnd('/') == "/tmp") is { Folder: { } temporary })
        {
            environment["TMPDIR"] = temporary;
        }

        // In-cluster configuration lies at a fixed path that cannot be mounted here; a kubeconfig says the same.
        if (mounts.Exists(m => m.Mount.TrimEnd('/') == "/var/run/secrets/kubernetes.io/serviceaccount"))
        {
            var file = Path.Combine(_folders.Root, "kubeconfig");
            var (token, _) =
                _cluster.Tokens.Issue(_ns, _pod.Text("spec", "serviceAccountName") ?? "default", [], TimeSpan.FromDays(365), _name, _uid);
            File.WriteAllText(file, _cluster.Kubeconfig(token, _ns));
            environment["KUBECONFIG"] = file;
        }

        // A server that would listen on every address listens on the pod's.
        if (environment.Remove("ASPNETCORE_HTTP_PORTS", out var ports))
        {
            environment["ASPNETCORE_URLS"] = string.Join(';', ports.Split(';').Select(p => $"http://{_address}:{p}"));
        }

        var command = run.Spec.Items("command").Select(c => c.Text()!).ToList();
        var arguments = run.Spec.Items("args").Select(c => c.Text()!);
        List<string> line;
        if (command.Count == 0)
        {
            line = [.. program.EntryPoint, .. arguments.Select(Expand)];
        }
        else if (program.Commands is { } commands && commands.TryGetValue(command[0], out var replaced))
        {
            line = [.. replaced, .. command.Skip(1).Concat(arguments).Select(Expand)];
        }
        else
        {
            line = [.. command.Concat(arguments).Select(Expand)];
        }

        string Expand(string text) => Addresses(
            rewriter.Forth(
                VariableReference().Replace(
                    text,
                    m => m.Value.StartsWith("$$", StringComparison.Ordinal) ? m.Value[1..] : declared.GetValueOrDefault(m.Groups[1].Value)
                        ?? m.Value)));

        var working = run.Spec.Text("workingDir") is { Length: > 0 } dir ? rewriter.Forth(dir) : Path.Combine(_folders.Root, "work");
        if (!Directory.Exists(working))
        {
            working = Path.Combine(_folders.Root, "work");
        }

        Directory.CreateDirectory(working);
        var info = new ProcessStartInfo(line[0])
        {
            RedirectStandardOutput = true, RedirectStandardError = true, RedirectStandardInput = true, WorkingDirectory = working
        };
        foreach (var argument in line.Skip(1))
        {
            info.ArgumentList.Add(argument);
        }

        info.Environment.Clear();
        foreach (var (name, value) in environment)
        {
            info.Environment[name] = value;
        }

        var log = _cluster.Kubelet!.LogFile(_uid, run.Name, false)!;
        Directory.CreateDirectory(Path.GetDirectoryName(log)!);
        Record("Normal", "Pulled", $"Container image \"{run.Spec.Text("image")}\" already present on machine");
        Process process;
        lock (_gate)
        {
            if (_abandoned)
            {
                return;
            }

            process = Process.Start(info)!;
            run.Process = process;
            run.OutOfMemory = false;
            run.Started = DateTimeOffset.UtcNow;
            run.Waiting = null;
            run.Ready = false;
        }

        process.StandardInput.Close();
        Record("Normal", "Created", $"Container created: {run.Name}");
        Record("Normal", "Started", $"Container started: {run.Name}");
        run.Running = FollowAsync(run, process, log, messageFile, rewriter, stop);
    }

    /// <summary>Addresses that mean all of the machine's mean those of the pod.</summary>
    private string Addresses(string text) =>
        text is "0.0.0.0" or "[::]" or "::" ? _address : EveryAddress().Replace(text, $"://{_address}:");

    private Dictionary<string, string> DeclaredEnvironment(JsonNode container)
    {
        var result = new Dictionary<string, string>(StringComparer.Ordinal);
        foreach (var source in container.Items("envFrom"))
        {
            var isSecret = source.Map("secretRef") is not null;
            var reference = source.Map("secretRef") ?? source.Map("configMapRef");
            var name = reference.Text("name") ?? "";
            if (_cluster.Store.Get(new ResourceKey("", isSecret ? "secrets" : "configmaps"), _ns, name) is not { } stored)
            {
                if (reference.Flag("optional") == true)
                {
                    continue;
                }

                throw new MountException($"{(isSecret ? "secret" : "configmap")} \"{name}\" not found");
            }

            foreach (var (key, value) in stored.Value.Map("data") ?? [])
            {
                result[(source.Text("prefix") ?? "") + key] =
                    isSecret ? Encoding.UTF8.GetString(Convert.FromBase64String(value.Text() ?? "")) : value.Text() ?? "";
            }
        }

        foreach (var env in container.Items("env"))
        {
            var name = env.Text("name")!;
            if (env.Map("valueFrom") is not { } from)
            {
                result[name] = VariableReference().Replace(
                    env.Text("value") ?? "",
                    m => m.Value.StartsWith("$$", StringComparison.Ordinal) ? m.Value[1..] : result.GetValueOrDefault(m.Groups[1].Value)
                        ?? m.Value);
                continue;
            }

            if (from.Text("fieldRef", "fieldPath") is { } field)
            {
                result[name] = field is "status.podIP" or "status.podIPs" ? _address : _folders.FieldOf(field) ?? "";
                continue;
            }

            if (from.At("resourceFieldRef") is { } resource)
            {
                result[name] = PodFolders.ResourceOf(container, resource);
                continue;
            }

            var isSecret = from.Map("secretKeyRef") is not null;
            var reference = from.Map("secretKeyRef") ?? from.Map("configMapKeyRef");
            var stored = _cluster.Store.Get(new ResourceKey("", isSecret ? "secrets" : "configmaps"), _ns, reference.Text("name") ?? "");
            var value = stored?.Value.Text("data", reference.Text("key") ?? "");
            if (value is not null)
            {
                result[name] = isSecret ? Encoding.UTF8.GetString(Convert.FromBase64String(value)) : value;
            }
            else if (reference.Flag("optional") != true)
            {
                throw new MountException(stored is null
                    ? $"{(isSecret ? "secret" : "configmap")} \"{reference.Text("name")}\" not found"
                    : $"couldn't find key {reference.Text("key")} in {(isSecret ? "Secret" : "ConfigMap")} {_ns}/{reference.Text("name")}");
            }
        }

        return result;
    }

    private async Task FollowAsync(
        ContainerRun run, Process process, string log, string messageFile, PathRewriter rewriter, CancellationToken stop)
    {
        await using (var file = new FileStream(log, FileMode.Create, FileAccess.Write, FileShare.ReadWrite | FileShare.Delete))
        {
            var turn = new SemaphoreSlim(1);
            async Task CopyAsync(StreamReader from)
            {
                var buffer = new byte[16 * 1024];
                int read;
                while ((read = await from.BaseStream.ReadAsync(buffer, CancellationToken.None)) > 0)
                {
                    await turn.WaitAsync(CancellationToken.None);
                    try
                    {
                        await file.WriteAsync(buffer.AsMemory(0, read), CancellationToken.None);
                        await file.FlushAsync(CancellationToken.None);
                    }
                    finally
                    {
                        turn.Release();
                    }
                }
            }

            var copies = Task.WhenAll(CopyAsync(process.StandardOutput), CopyAsync(process.StandardError));
            using var probing = CancellationTokenSource.CreateLinkedTokenSource(stop);
            var probe = run.Init ? Task.CompletedTask : ProbeAsync(run, process, probing.Token);
            await process.WaitForExitAsync(CancellationToken.None);
            await probing.CancelAsync();
            await probe;

            // A grandchild may keep the pipes open: the container has ended all the same.
            await Task.WhenAny(copies, Task.Delay(TimeSpan.FromSeconds(1), CancellationToken.None));
            turn.Dispose();
        }

        var code = process.ExitCode;
        string? message = null;
        if (File.Exists(messageFile))
        {
            var bytes = await File.ReadAllBytesAsync(messageFile, CancellationToken.None);
            message = rewriter.Back(Encoding.UTF8.GetString(bytes, 0, Math.Min(bytes.Length, 4096)));
        }

        if (string.IsNullOrEmpty(message) && code != 0 && run.Spec.Text("terminationMessagePolicy") == "FallbackToLogsOnError"
            && File.Exists(log))
        {
            var lines = (await File.ReadAllTextAsync(log, CancellationToken.None)).Split('\n');
            var tail = string.Join('\n', lines.TakeLast(80));
            message = tail.Length > 2048 ? tail[^2048..] : tail;
        }

        lock (_gate)
        {
            run.Ended = Terminated(
                code, run.OutOfMemory ? "OOMKilled" : code == 0 ? "Completed" : "Error", message, run.Started ?? DateTimeOffset.UtcNow);
            run.Process = null;
            run.Ready = false;
        }

        process.Dispose();
        _news.Writer.TryWrite(true);
    }

    private async Task ProbeAsync(ContainerRun run, Process process, CancellationToken stop)
    {
        try
        {
            await Task.WhenAll(ProbeReadinessAsync(run, stop), ProbeLivenessAsync(run, process, stop));
        }
        catch (OperationCanceledException)
        {
            // The container has ended.
            return;
        }
    }

    private async Task ProbeReadinessAsync(ContainerRun run, CancellationToken stop)
    {
        if (run.Spec.Map("readinessProbe") is not { } probe)
        {
            run.Ready = true;
            _news.Writer.TryWrite(true);
            return;
        }

        for (long failures = 0; ;)
        {
            await Task.Delay(
                TimeSpan.FromSeconds(Math.Min(_cluster.Options.ProbePeriod.TotalSeconds, probe.Number("periodSeconds") ?? 10)), stop);
            var ok = await AskAsync(run.Spec, probe, stop);
            failures = ok ? 0 : failures + 1;
            var ready = ok || (run.Ready && failures < (probe.Number("failureThreshold") ?? 3));
            if (ready != run.Ready)
            {
                run.Ready = ready;
                _news.Writer.TryWrite(true);
            }
        }
    }

    // At its own pace: asked more often than it says, a container that starts slowly would be killed again and again.
    private async Task ProbeLivenessAsync(ContainerRun run, Process process, CancellationToken stop)
    {
        if (run.Spec.Map("livenessProbe") is not { } probe)
        {
            return;
        }

        await Task.Delay(TimeSpan.FromSeconds(probe.Number("initialDelaySeconds") ?? 0), stop);
        for (long failures = 0; failures < (probe.Number("failureThreshold") ?? 3);)
        {
            await Task.Delay(TimeSpan.FromSeconds(probe.Number("periodSeconds") ?? 10), stop);
            failures = await AskAsync(run.Spec, probe, stop) ? 0 : failures + 1;
        }

        Record("Warning", "Unhealthy", $"Liveness probe failed; container {run.Name} will be restarted");
        _ = Native.Kill(process.Id, Native.SIGTERM);
    }

    private async Task<bool> AskAsync(JsonNode container, JsonNode probe, CancellationToken stop)
    {
        if (probe.Map("httpGet") is { } get)
        {
            using var client = new HttpClient(new HttpClientHandler { ServerCertificateCustomValidationCallback = HttpClientHandler.DangerousAcceptAnyServerCertificateValidator })
            {
                Timeout = TimeSpan.FromSeconds(Math.Max(1, probe.Number("timeoutSeconds") ?? 1)),
            };
            var port = PortOf(container, get);
            try
            {
                using var request = new HttpRequestMessage(
                    HttpMethod.Get,
                    new Uri($"{(get.Text("scheme") ?? "HTTP").ToLowerInvariant()}://{_address}:{port}{get.Text("path") ?? "/"}"));
                foreach (var header in get.Items("httpHeaders"))
                {
                    request.Headers.TryAddWithoutValidation(header.Text("name") ?? "", header.Text("value"));
                }

                using var answer = await client.SendAsync(request, stop);
                return (int)answer.StatusCode is >= 200 and < 400;
            }
            catch (Exception e) when (e is HttpRequestException or TaskCanceledException && !stop.IsCancellationRequested)
            {
                return false;
            }
        }

        if (probe.Map("tcpSocket") is { } tcp)
        {
            using var socket = new System.Net.Sockets.TcpClient();
            try
            {
                await socket.ConnectAsync(_address, (int)PortOf(container, tcp), stop);
                return true;
            }
            catch (System.Net.Sockets.SocketException)
            {
                return false;
            }
        }

        if (probe.Map("exec") is { } exec)
        {
            var words = exec.Items("command").Select(c => c.Text()!).ToList();
            var info = new ProcessStartInfo(words[0], words.Skip(1)) { RedirectStandardOutput = true, RedirectStandardError = true };
            using var process = Process.Start(info);
            if (process is null)
            {
                return false;
            }

            await process.WaitForExitAsync(stop);
            return process.ExitCode == 0;
        }

        return true;
    }

    private static long PortOf(JsonNode container, JsonNode probe) =>
        probe.Number("port") ?? container.Items("ports").FirstOrDefault(p => p.Text("name") == probe.Text("port")).Number("containerPort")
            ?? 80;

    private string Phase(string policy)
    {
        lock (_gate)
        {
            var init = _runs.Values.Where(r => r.Init).ToList();
            if (policy == "Never" && init.Exists(r => r.Ended is { } e && e.Number("exitCode") != 0))
            {
                return "Failed";
            }

            if (init.Exists(r => r.Ended is null || r.Ended.Number("exitCode") != 0))
            {
                return "Pending";
            }

            var runs = _runs.Values.Where(r => !r.Init).ToList();
            if (runs.TrueForAll(r => r.Ended is not null) && policy != "Always")
            {
                if (runs.TrueForAll(r => r.Ended.Number("exitCode") == 0))
                {
                    return "Succeeded";
                }

                if (policy == "Never")
                {
                    return "Failed";
                }
            }

            return runs.TrueForAll(r => r.Process is null && r.Ended is null && r.Last is null) ? "Pending" : "Running";
        }
    }

    private async Task StopContainersAsync(CancellationToken stop)
    {
        List<ContainerRun> running;
        lock (_gate)
        {
            running = [.. _runs.Values.Where(r => r.Process is not null)];
            foreach (var run in running)
            {
                _ = Native.Kill(run.Process!.Id, Native.SIGTERM);
            }
        }

        if (running.Count > 0)
        {
            Record("Normal", "Killing", $"Stopping container {string.Join(", ", running.Select(r => r.Name))}");
        }

        var all = Task.WhenAll(running.Select(r => r.Running));
        var grace = _latest.Number("metadata", "deletionGracePeriodSeconds") ?? _pod.Number("spec", "terminationGracePeriodSeconds") ?? 30;
        var until = DateTimeOffset.UtcNow.AddSeconds(grace);
        while (!all.IsCompleted && DateTimeOffset.UtcNow < until && !_gone)
        {
            await Task.WhenAny(all, WaitAsync(TimeSpan.FromMilliseconds(200), stop));
            grace = Math.Min(grace, _latest.Number("metadata", "deletionGracePeriodSeconds") ?? grace);
            stop.ThrowIfCancellationRequested();
        }

        KillAll();
        await all;
    }

    private async Task TerminateAsync(CancellationToken stop)
    {
        await StopContainersAsync(stop);
        lock (_gate)
        {
            foreach (var run in _runs.Values.Where(r => r.Ended is null && !r.Init))
            {
                // What never ran is reported as unknown, so that the pod can come to an end.
                run.Waiting = null;
                run.Ended =
                    Terminated(137, "ContainerStatusUnknown", "The container could not be located when the pod was terminated", Now);
            }
        }

        var clean = _runs.Values.Where(r => !r.Init).All(r => r.Ended.Number("exitCode") == 0);
        Report(clean ? "Succeeded" : "Failed", null, null);
        var kind = _cluster.Kind("v1", "Pod");
        try
        {
            _cluster.Resources.Delete(kind, _ns, _name, new DeleteRequest(0, Uid: _uid), new WriteContext { Manager = "kubelet" });
        }
        catch (ApiException e) when (e.Code is 404 or 409)
        {
            // Somebody removed it first.
            return;
        }
    }

    private JsonObject StatusOf(ContainerRun run)
    {
        lock (_gate)
        {
            var state = new JsonObject();
            if (run.Process is not null)
            {
                state["running"] = new JsonObject { ["startedAt"] = Json.Time(run.Started ?? Now) };
            }
            else if (run.Waiting is { } waiting)
            {
                var w = new JsonObject { ["reason"] = waiting.Reason };
                if (waiting.Message.Length > 0)
                {
                    w["message"] = waiting.Message;
                }

                state["waiting"] = w;
            }
            else if (run.Ended is not null)
            {
                state["terminated"] = run.Ended.DeepClone();
            }

            var image = run.Spec.Text("image");
            var o = new JsonObject
            {
                ["name"] = run.Name,
                ["state"] = state,
                ["lastState"] = run.Waiting?.Reason == "CrashLoopBackOff" && run.Ended is not null
                    ? new JsonObject { ["terminated"] = run.Ended.DeepClone() }
                    : run.Last is null ? new JsonObject() : new JsonObject { ["terminated"] = run.Last.DeepClone() },
                ["ready"] = run.Init ? run.Ended is not null && run.Ended.Number("exitCode") == 0 : run.Process is not null && run.Ready,
                ["restartCount"] = run.Restarts,
                ["image"] = image,
                ["imageID"] = "",
                ["started"] = run.Process is not null,
            };
            return o;
        }
    }

    private void Report(string phase, string? reason, string? message)
    {
        var init = _runs.Values.Where(r => r.Init).Select(StatusOf).ToList();
        var main = _runs.Values.Where(r => !r.Init).Select(StatusOf).ToList();
        var ready = phase == "Running" && main.TrueForAll(s => s.Flag("ready") == true);
        var initialized = init.TrueForAll(s => s.Flag("ready") == true);
        var key = $"{phase}|{reason}|{message}|{string.Concat(init.Concat(main).Select(s => s.ToJsonString()))}";
        if (key == _reported)
        {
            return;
        }

        var kind = _cluster.Kind("v1", "Pod");
        for (var attempt = 0; attempt < 10; attempt++)
        {
            if (_cluster.Store.Get(ControllerManager.Pods, _ns, _name) is not { } stored || stored.Uid != _uid)
            {
                return;
            }

            var next = stored.Value.Copy();
            var status = next.Ensure("status");
            status["phase"] = phase;
            status["hostIP"] = "127.0.0.1";
            status["podIP"] = _address;
            status["podIPs"] = new JsonArray(new JsonObject { ["ip"] = _address });
            if (status["startTime"] is null)
            {
                status["startTime"] = Json.Time(Now);
            }

            if (reason is not null)
            {
                status["reason"] = reason;
                status["message"] = message;
            }

            Condition(status, "PodReadyToStartContainers", true, "");
            Condition(
                status, "Initialized", initialized, phase == "Succeeded" ? "PodCompleted" : initialized ? "" : "ContainersNotInitialized");
            var why = ready ? "" : phase is "Succeeded" ? "PodCompleted" : phase is "Failed" ? "PodFailed" : "ContainersNotReady";
            Condition(status, "ContainersReady", ready, why);
            Condition(status, "Ready", ready, why);
            if (init.Count > 0)
            {
                status["initContainerStatuses"] = new JsonArray([.. init.Select(s => s.DeepClone())]);
            }

            status["containerStatuses"] = new JsonArray([.. main.Select(s => s.DeepClone())]);
            try
            {
                _cluster.Resources.Update(kind, _ns, _name, next, new WriteContext { Manager = "kubelet", Subresource = "status" });
                _reported = key;
                return;
            }
            catch (ApiException e) when (e.Code == 409)
            {
                continue;
            }
            catch (ApiException e) when (e.Code == 404)
            {
                return;
            }
        }
    }

    private void Condition(JsonObject status, string type, bool value, string reason)
    {
        var conditions = status.EnsureItems("conditions");
        var present = conditions.OfType<JsonObject>().FirstOrDefault(c => c.Text("type") == type);
        var text = value ? "True" : "False";
        if (present is null)
        {
            present = new JsonObject { ["type"] = type };
            conditions.Add(present);
        }

        if (present.Text("status") != text)
        {
            present["status"] = text;
            present["lastTransitionTime"] = Json.Time(Now);
        }

        if (reason.Length > 0)
        {
            present["reason"] = reason;
        }
        else
        {
            present.Remove("reason");
        }
    }

    [GeneratedRegex(@"\$?\$\(([A-Za-z_][A-Za-z0-9_.-]*)\)")]
    private static partial Regex VariableReference();

    [GeneratedRegex(@"://(0\.0\.0\.0|\*|\+|\[::\]):")]
    private static partial Regex EveryAddress();
}
