// Why this exists: the tests talk to the server as clients do, over HTTP, with short words for what they do most.
using System.Net;
using System.Net.Http.Headers;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using System.Text.Json.Nodes;

namespace CoCLR.TrialCluster.Tests;

/// <summary>A client of one user.</summary>
internal sealed class Api : IDisposable
{
    private readonly X509Certificate2? _authority;
    private readonly HttpClient _http;
    private readonly Func<string, string> _out = text => text;
    private readonly Func<string, string> _in = text => text;

    public Api(InProcessCluster cluster, string? token = null)
    {
        _authority = X509Certificate2.CreateFromPem(cluster.CertificateAuthority);
        var handler = new SocketsHttpHandler();
        handler.SslOptions.CertificateChainPolicy = new X509ChainPolicy
        {
            TrustMode = X509ChainTrustMode.CustomRootTrust, CustomTrustStore = { _authority }, RevocationMode = X509RevocationMode.NoCheck,
        };
        _http = new HttpClient(handler) { BaseAddress = cluster.Url, Timeout = TimeSpan.FromSeconds(30) };
        _http.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", token ?? cluster.AdminToken);
        _http.DefaultRequestHeaders.UserAgent.ParseAdd("tests/1.0");
    }

    /// <summary>A client of a real server, which says "default" and "example.com" and means a namespace and a group of its own.</summary>
    public Api(HttpClient http, string ns, string group)
    {
        _http = http;
        _http.DefaultRequestHeaders.UserAgent.ParseAdd("tests/1.0");
        _out = text => text.Replace("namespaces/default", "namespaces/" + ns, StringComparison.Ordinal)
            .Replace("serviceaccount:default:", $"serviceaccount:{ns}:", StringComparison.Ordinal)
            .Replace("\"namespace\":\"default\"", $"\"namespace\":\"{ns}\"", StringComparison.Ordinal)
            .Replace("\"name\":\"default\"", $"\"name\":\"{ns}\"", StringComparison.Ordinal)
            .Replace("example.com", group, StringComparison.Ordinal);
        _in = text => text.Replace(ns, "default", StringComparison.Ordinal).Replace(group, "example.com", StringComparison.Ordinal);
    }

    public sealed record Answer(int Code, JsonNode? Body, HttpResponseHeaders Headers)
    {
        public string Message => Body.Text("message") ?? "";

        public string Reason => Body.Text("reason") ?? "";
    }

    public async Task<Answer> SendAsync(HttpMethod method, string path, JsonNode? body = null, string type = "application/json")
    {
        using var request = new HttpRequestMessage(method, new Uri(_out(path), UriKind.Relative));
        if (body is not null)
        {
            request.Content = new StringContent(_out(body.ToJsonString()), Encoding.UTF8);
            request.Content.Headers.ContentType = new MediaTypeHeaderValue(type);
        }

        using var response = await _http.SendAsync(request, TestContext.Current.CancellationToken);
        var text = _in(await response.Content.ReadAsStringAsync(TestContext.Current.CancellationToken));
        return new Answer(
            (int)response.StatusCode,
            text.StartsWith('{') ? JsonNode.Parse(text) : text.Length > 0 ? JsonValue.Create(text) : null,
            response.Headers);
    }

    public Task<Answer> Get(string path) => SendAsync(HttpMethod.Get, path);

    public Task<Answer> Post(string path, JsonNode body) => SendAsync(HttpMethod.Post, path, body);

    public Task<Answer> Put(string path, JsonNode body) => SendAsync(HttpMethod.Put, path, body);

    public Task<Answer> Delete(string path, JsonNode? options = null) => SendAsync(HttpMethod.Delete, path, options);

    public Task<Answer> Merge(string path, string patch) =>
        SendAsync(HttpMethod.Patch, path, JsonNode.Parse(patch), "application/merge-patch+json");

    public Task<Answer> Strategic(string path, string patch) =>
        SendAsync(HttpMethod.Patch, path, JsonNode.Parse(patch), "application/strategic-merge-patch+json");

    public Task<Answer> JsonPatch(string path, string patch) =>
        SendAsync(HttpMethod.Patch, path, JsonNode.Parse(patch), "application/json-patch+json");

    public Task<Answer> Apply(string path, string manager, JsonNode body, bool force = false) =>
        SendAsync(HttpMethod.Patch, $"{path}?fieldManager={manager}{(force ? "&force=true" : "")}", body, "application/apply-patch+yaml");

    /// <summary>Makes a definition and waits until a real server serves it, a moment later.</summary>
    public async Task<JsonNode> Define(JsonNode crd)
    {
        var made = await Ok(Post("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", crd));
        await Objects.Until(async () => (await Get(Objects.Widgets)).Code == 200, "the definition is served");
        return made;
    }

#pragma warning disable CA1822 // Reads as what this client may do.
    public Task<JsonNode> Ok(Task<Answer> call) => Unwrap(call);
#pragma warning restore CA1822

    private static async Task<JsonNode> Unwrap(Task<Answer> call)
    {
        var answer = await call;
        Assert.True(answer.Code is 200 or 201, $"{answer.Code}: {answer.Message}");
        return answer.Body!;
    }

    /// <summary>The lines of a watch, as they come.</summary>
    public async IAsyncEnumerable<JsonNode> Watch(
        string path, [System.Runtime.CompilerServices.EnumeratorCancellation] CancellationToken stop = default)
    {
        using var response = await _http.GetAsync(new Uri(_out(path), UriKind.Relative), HttpCompletionOption.ResponseHeadersRead, stop);
        if (response.StatusCode != HttpStatusCode.OK)
        {
            yield return new JsonObject { ["type"] = "HTTP", ["code"] = (int)response.StatusCode };
            yield break;
        }

        using var reader = new StreamReader(await response.Content.ReadAsStreamAsync(stop));
        while (await reader.ReadLineAsync(stop) is { } line)
        {
            yield return JsonNode.Parse(_in(line))!;
        }
    }

    public void Dispose()
    {
        _http.Dispose();
        _authority?.Dispose();
    }
}

/// <summary>
/// The in-process cluster, or a real server where the environment names one: what the tests say of the one must be true of the other.
/// </summary>
internal sealed class Server : IAsyncDisposable
{
    private readonly InProcessCluster? _cluster;
    private readonly RealServer? _real;
    private readonly string _id = Guid.NewGuid().ToString("N")[..8];

    private Server(InProcessCluster? cluster, RealServer? real)
    {
        _cluster = cluster;
        _real = real;
        Api = As(null);
    }

    public Api Api { get; }

    /// <summary>What only the in-process cluster can do; the test is skipped against a real server.</summary>
    public InProcessCluster Cluster
    {
        get
        {
            Assert.SkipWhen(_cluster == null, "reaches into the in-process API server");
            return _cluster!;
        }
    }

    /// <summary>A client with a token; the administrator's without one.</summary>
    public Api As(string? token)
    {
        if (_cluster != null)
        {
            return new Api(_cluster, token);
        }

        HttpClient http = _real!.Client();
        if (token != null)
        {
            http.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", token);
        }

        return new Api(http, "conformance-" + _id, $"g{_id}.example.org");
    }

    public static async Task<Server> StartAsync(InProcessClusterOptions options, bool needsControllers = false)
    {
        if (await RealServer.FindAsync() is not { } real)
        {
            return new Server(await InProcessCluster.StartAsync(options, TestContext.Current.CancellationToken), null);
        }

        Assert.SkipWhen(needsControllers && !real.HasControllers, "needs the controllers of Kubernetes");
        var server = new Server(null, real);
        await server.Api.Ok(
            server.Api.Post(
                "/api/v1/namespaces", Objects.Parse("""{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"default"}}""")));
        return server;
    }

    public async ValueTask DisposeAsync()
    {
        if (_real != null)
        {
            await Api.Delete("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/widgets.example.com");
            await Api.Delete("/api/v1/namespaces/default");
        }

        Api.Dispose();
        if (_cluster != null)
        {
            await _cluster.DisposeAsync();
        }
    }
}

/// <summary>Objects the tests use again and again.</summary>
internal static class Objects
{
    public const string ConfigMaps = "/api/v1/namespaces/default/configmaps";
    public const string Widgets = "/apis/example.com/v1/namespaces/default/widgets";

    public static JsonObject Parse(string json) => (JsonObject)JsonNode.Parse(json)!;

    public static JsonObject ConfigMap(string name, string value = "1", string? label = null) => Parse($$$$$$$"""
        {"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"{{{{{{{name}}}}}}}","labels":{"app":"{{{{{{{label ?? "none"}}}}}}}"}},"data":{"key":"{{{{{{{value}}}}}}}"}}
        """);

    public static JsonObject Crd(string specSchema, string extra = "") => Parse($$$$$$$"""
        {"apiVersion":"apiextensions.k8s.io/v1","kind":"CustomResourceDefinition","metadata":{"name":"widgets.example.com"},
         "spec":{"group":"example.com","scope":"Namespaced","names":{"plural":"widgets","singular":"widget","kind":"Widget","listKind":"WidgetList","shortNames":["wd"]},
         "versions":[{"name":"v1","served":true,"storage":true,"subresources":{"status":{}},
          "schema":{"openAPIV3Schema":{"type":"object","properties":{"spec":{{{{{{{specSchema}}}}}}},"status":{"type":"object","x-kubernetes-preserve-unknown-fields":true}}}}{{{{{{{extra}}}}}}}}]}}
        """);

    public static JsonObject Widget(string spec, string name = "a") => Parse(
        $$$$$$$"""{"apiVersion":"example.com/v1","kind":"Widget","metadata":{"name":"{{{{{{{name}}}}}}}"},"spec":{{{{{{{spec}}}}}}}}""");

    public static JsonObject Job(string name, string script, string spec = "", string pod = "") => Parse($$$$$$$"""
        {"apiVersion":"batch/v1","kind":"Job","metadata":{"name":"{{{{{{{name}}}}}}}"},"spec":{{{{{{{{spec}}}}}}}"template":{"spec":{{{{{{{{pod}}}}}}}"restartPolicy":"Never","containers":[
         {"name":"main","image":"bash:1","command":["bash","-c"],"args":[{{{{{{{JsonValue.Create(script).ToJsonString()}}}}}}}]}]}}}}
        """);

    public static async Task Until(Func<Task<bool>> condition, string what, int seconds = 120)
    {
        using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(seconds));
        while (!await condition())
        {
            Assert.False(limit.IsCancellationRequested, "never happened: " + what);
            await Task.Delay(25, TestContext.Current.CancellationToken);
        }
    }
}
