// Why this exists: the operator as its pod runs it, with its ports, for tests that ask it over HTTP.
using System.Net;
using System.Net.Http.Headers;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using CoCLR.Cluster;
using CoCLR.Operator.Hosting;
using Microsoft.AspNetCore.Builder;
using Microsoft.Extensions.DependencyInjection;

namespace CoCLR.Operator.Tests.Harness;

/// <summary>An operator with its web side.</summary>
internal sealed class Web : IAsyncDisposable
{
    private readonly WebApplication _app;

    private Web(WebApplication app, Arena arena)
    {
        _app = app;
        Arena = arena;
        Client = new HttpClient { BaseAddress = new Uri(app.Urls.First()) };
    }

    public HttpClient Client { get; }

    private Arena Arena { get; }

    public OperatorRuntime Runtime => _app.Services.GetRequiredService<OperatorRuntime>();

    /// <summary>Addresses that it listens on.</summary>
    public ICollection<string> Addresses => _app.Urls;

    public static async Task<Web> StartAsync(
        Arena arena, bool ready = true, Func<OperatorOptions, OperatorOptions>? settings = null, TimeProvider? time = null)
    {
        var options = new OperatorOptions
        {
            Kubeconfig = arena.Kubeconfig,
            LeaderElect = false,
            LeaseNamespace = arena.Namespace,
            Namespaces = arena.Namespace,
            Listen = "127.0.0.1",
            Port = 0,
            JsonLogs = false,
            LogLevel = Microsoft.Extensions.Logging.LogLevel.Error,
            ProgressUrl = "http://127.0.0.1",
        };
        options = settings?.Invoke(options) ?? options;
        WebApplication app = OperatorHost.Build(
            options,
            loggers =>
                new OperatorRuntime(options, loggers, time, informers: new InformerOptions { MaximumBackoff = TimeSpan.FromSeconds(1) }));
        await app.StartAsync(TestContext.Current.CancellationToken);
        var web = new Web(app, arena);
        if (ready)
        {
            await Arena.UntilAsync(
                "it is ready",
                async () => (await web.Client.GetAsync("/readyz", TestContext.Current.CancellationToken)).IsSuccessStatusCode);
        }

        return web;
    }

    public async Task<HttpStatusCode> PushAsync(string experiment, string? authorization, string body)
    {
        using var request = new HttpRequestMessage(
            HttpMethod.Post, CoCLR.Operator.Progress.ProgressEndpoint.UrlOf("", new ObjectKey(Arena.Namespace, experiment)));
        request.Headers.ExpectContinue = true; // a refusal comes before the body: no race between the answer and a body that nobody reads
        request.Content = new StringContent(body, Encoding.UTF8, new MediaTypeHeaderValue("application/json"));
        if (authorization != null)
        {
            request.Headers.TryAddWithoutValidation("Authorization", authorization);
        }

        using HttpResponseMessage answer = await Client.SendAsync(request, TestContext.Current.CancellationToken);
        return answer.StatusCode;
    }

    public async ValueTask DisposeAsync()
    {
        Client.Dispose();
        await _app.StopAsync(CancellationToken.None);
        await _app.DisposeAsync();
    }

    public static async Task<string> TokenAsync(Arena arena, JsonObject pod, string? audience)
    {
        var request = new JsonObject
        {
            ["apiVersion"] = "authentication.k8s.io/v1",
            ["kind"] = "TokenRequest",
            ["spec"] = new JsonObject
            {
                ["audiences"] = audience == null ? new JsonArray() : new JsonArray(audience),
                ["expirationSeconds"] = 3600,
                ["boundObjectRef"] = new JsonObject
                {
                    ["apiVersion"] = "v1", ["kind"] = "Pod", ["name"] = pod["metadata"]!["name"]!.ToString(),
                    ["uid"] = pod["metadata"]!["uid"]!.ToString()
                },
            },
        };
        using JsonDocument answer = await arena.Client.SendAsync(
            HttpMethod.Post,
            $"api/v1/namespaces/{arena.Namespace}/serviceaccounts/default/token",
            Encoding.UTF8.GetBytes(request.ToJsonString()),
            null,
            TestContext.Current.CancellationToken);
        return answer.RootElement.GetProperty("status").GetProperty("token").GetString()!;
    }
}
