// Why this exists: without containers a pod has no network of its own. What cluster DNS, kube-proxy and the network plugin do for it is
// done by an
// HTTP proxy of its own: services by name, only ready pods behind them, and NetworkPolicies that drop what they do not allow.
using System.Net;
using System.Net.Sockets;
using System.Text;
using System.Text.Json.Nodes;
using System.Text.RegularExpressions;

namespace CoCLR.TrialCluster;

/// <summary>The way of one pod to services.</summary>
internal sealed partial class PodNetwork : IDisposable
{
    private const int LongestHead = 32 * 1024;
    private static readonly ResourceKey Services = new("", "services");
    private static readonly ResourceKey Policies = new("networking.k8s.io", "networkpolicies");
    private static readonly ResourceKey Namespaces = new("", "namespaces");
    private readonly InProcessCluster _cluster;
    private readonly JsonObject _pod;
    private readonly TcpListener _listener = new(IPAddress.Loopback, 0);
    private readonly CancellationTokenSource _stop;

    /// <summary>Opens it.</summary>
    public PodNetwork(InProcessCluster cluster, JsonObject pod)
    {
        _cluster = cluster;
        _pod = pod;
        _stop = CancellationTokenSource.CreateLinkedTokenSource(cluster.Stopping);
        _listener.Start();
        _ = Task.Run(AcceptAsync);
    }

    /// <summary>The variables by which programs find it.</summary>
    public IEnumerable<(string Name, string Value)> Environment
    {
        get
        {
            var address = $"http://127.0.0.1:{((IPEndPoint)_listener.LocalEndpoint).Port}";
            foreach (var name in new[] { "http_proxy", "https_proxy", "HTTPS_PROXY" })
            {
                yield return (name, address);
            }

            foreach (var name in new[] { "no_proxy", "NO_PROXY" })
            {
                yield return (name, "127.0.0.1,localhost");
            }
        }
    }

    private async Task AcceptAsync()
    {
        try
        {
            while (true)
            {
                var client = await _listener.AcceptTcpClientAsync(_stop.Token);
                _ = Task.Run(() => ServeAsync(client));
            }
        }
        catch (Exception e) when (e is OperationCanceledException or SocketException or ObjectDisposedException)
        {
            // The pod has ended.
            return;
        }
    }

    private async Task ServeAsync(TcpClient client)
    {
        using var connection = client;
        try
        {
            var from = client.GetStream();
            var head = await HeadAsync(from);
            if (RequestLine().Match(head) is not { Success: true } request)
            {
                return;
            }

            var tunnel = request.Groups["method"].Value == "CONNECT";
            var port = request.Groups["port"] is { Success: true, Value: var given }
                ? int.Parse(given, System.Globalization.CultureInfo.InvariantCulture)
                : 80;
            if (Target(request.Groups["host"].Value, port) is not { } target)
            {
                return; // no such service, or no ready pod behind it: refused
            }

            if (!Allowed(target.Pod, target.Port))
            {
                await Task.Delay(Timeout.InfiniteTimeSpan, _stop.Token); // dropped: no answer ever comes
            }

            using var server = new TcpClient();
            await server.ConnectAsync(target.Address, target.Port, _stop.Token);
            var to = server.GetStream();
            if (tunnel)
            {
                await from.WriteAsync("HTTP/1.1 200 Connection established\r\n\r\n"u8.ToArray(), _stop.Token);
            }
            else
            {
                // One request a connection, so that the next may go elsewhere.
                var rest = ConnectionHeader().Replace(head[(request.Index + request.Length)..], "");
                var path = request.Groups["path"].Value is { Length: > 0 } p ? p : "/";
                await to.WriteAsync(
                    Encoding.Latin1.GetBytes($"{request.Groups["method"].Value} {path} HTTP/1.1\r\nConnection: close\r\n{rest}"),
                    _stop.Token);
            }

            await Task.WhenAny(from.CopyToAsync(to, _stop.Token), to.CopyToAsync(from, _stop.Token));
        }
        catch (Exception e) when (e is IOException or SocketException or OperationCanceledException)
        {
            // One of both ends is gone, and so is the connection.
            return;
        }
    }

    private async Task<string> HeadAsync(NetworkStream from)
    {
        // Byte by byte: what follows the head belongs to the server.
        var head = new StringBuilder();
        var one = new byte[1];
        while (head.Length < LongestHead && await from.ReadAsync(one, _stop.Token) == 1)
        {
            head.Append((char)one[0]);
            if (one[0] == '\n' && head.Length >= 4 && head[^2] == '\r' && head[^3] == '\n')
            {
                break;
            }
        }

        return head.ToString();
    }

    private (StoredObject Pod, string Address, int Port)? Target(string host, int port)
    {
        var parts = host.Split('.');
        var ns = parts.Length > 1 ? parts[1] : _pod.Text("metadata", "namespace")!;
        var service = _cluster.Store.Get(Services, ns, parts[0]);
        var wanted = service?.Value.Items("spec", "ports").FirstOrDefault(p => p.Number("port") == port);
        if (wanted is null)
        {
            return null;
        }

        var selector = new JsonObject { ["matchLabels"] = service!.Value.At("spec", "selector")?.DeepClone() };
        var pod = _cluster.Store.All(ControllerManager.Pods)
            .FirstOrDefault(p => p.Namespace == ns && Selector.Matches(selector, p.Value.At("metadata", "labels"))
            && p.Value.Items("status", "conditions").Any(c => c.Text("type") == "Ready" && c.Text("status") == "True"));
        return pod?.Value.Text("status", "podIP") is { } address
            ? (pod, address, (int)(PortOf(pod.Value, wanted["targetPort"]) ?? port))
            : null;
    }

    private static long? PortOf(JsonObject pod, JsonNode? port) => Json.AsLong(port)
        ?? pod.Items("spec", "containers").SelectMany(c => c.Items("ports")).FirstOrDefault(p => p.Text("name") == port.Text())
            .Number("containerPort");

    /// <summary>Whether the policies that concern a pod let this one in; without any, everybody may.</summary>
    private bool Allowed(StoredObject target, int port)
    {
        var policies = _cluster.Store.All(Policies)
            .Where(p => p.Namespace == target.Namespace && Selector.Matches(p.Value.At("spec", "podSelector"), target.Value.At("metadata", "labels"))
            && (p.Value.Items("spec", "policyTypes").Count == 0 || p.Value.Items("spec", "policyTypes").Any(t => t.Text() == "Ingress")))
                .ToList();
        return policies.Count == 0 || policies.SelectMany(p => p.Value.Items("spec", "ingress")).Any(rule =>
            (
                rule.Items("ports").Count == 0
                    || rule.Items("ports").Any(p => p.At("port") is not { } only || PortOf(target.Value, only) == port))
            && (rule.Items("from").Count == 0 || rule.Items("from").Any(peer => IsPeer(peer!, target.Namespace))));
    }

    private bool IsPeer(JsonNode peer, string policyNamespace)
    {
        var ns = _pod.Text("metadata", "namespace")!;
        if (peer.At("ipBlock") is not null)
        {
            return false; // a pod's address is none that a block would name
        }

        return (
            peer.At("namespaceSelector") is { } spaces
                ? Selector.Matches(spaces, _cluster.Store.Get(Namespaces, "", ns)?.Value.At("metadata", "labels"))
                : ns == policyNamespace)
            && (peer.At("podSelector") is not { } pods || Selector.Matches(pods, _pod.At("metadata", "labels")));
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _stop.Cancel();
        _listener.Dispose();
        _stop.Dispose();
    }

    [
        GeneratedRegex(
            @"^(?<method>[A-Z]+) (?:http://)?(?<host>[^/: ]+)(?::(?<port>\d+))?(?<path>/[^ ]*)? HTTP/1\.1\r\n",
            RegexOptions.CultureInvariant)]
    private static partial Regex RequestLine();

    [GeneratedRegex(@"(?im)^(proxy-)?connection:[^\n]*\n", RegexOptions.CultureInvariant)]
    private static partial Regex ConnectionHeader();
}
