// Why this exists: raw JSON over KubernetesClient's connection: an object that this version cannot read affects only itself, never the list it stands in.
using System.Net;
using System.Net.Http.Headers;
using System.Runtime.CompilerServices;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using CoCLR.Core;
using CoCLR.Dashboard.Configuration;
using k8s;
using k8s.Exceptions;
using Microsoft.Extensions.Options;

namespace CoCLR.Dashboard.Cluster;

/// <summary>The API server refused a request.</summary>
/// <param name="code">Status.</param>
/// <param name="message">In the server's words.</param>
internal sealed class ClusterException(HttpStatusCode code, string message) : Exception(message)
{
    /// <summary>Status.</summary>
    public HttpStatusCode Code { get; } = code;
}

/// <summary>Talks to the API server as the dashboard's own account.</summary>
internal sealed class ClusterApi : IDisposable
{
    private readonly TimeSpan _limit;
    private readonly TimeSpan _silence;
    private readonly Kubernetes _kubernetes;

    /// <summary>Connects with the service account of the pod, or with the kubeconfig of the settings.</summary>
    /// <exception cref="UserErrorException">Neither is there (78).</exception>
    public ClusterApi(IOptions<DashboardOptions> options)
    {
        string file = options.Value.Cluster.Kubeconfig;
        (_limit, _silence) = (TimeSpan.FromSeconds(options.Value.Cluster.TimeoutSeconds), TimeSpan.FromSeconds(options.Value.Cluster.SilentSeconds));
        try
        {
            KubernetesClientConfiguration configuration = file.Length > 0 ? KubernetesClientConfiguration.BuildConfigFromConfigFile(file) : KubernetesClientConfiguration.BuildDefaultConfig();
            configuration.HttpClientTimeout = Timeout.InfiniteTimeSpan;
            _kubernetes = new Kubernetes(configuration);
        }
        catch (Exception e) when (e is KubeConfigException or IOException)
        {
            throw new UserErrorException($"Dashboard:Cluster:Enabled is set, but no cluster can be found: {e.Message} Run in a pod with a service account, or set Dashboard:Cluster:Kubeconfig.", ExitCodes.BadConfiguration, e);
        }
    }

    /// <summary>Reads an object or a list.</summary>
    public Task<JsonObject> GetAsync(string path, CancellationToken cancel) => SendAsync(HttpMethod.Get, path, null, null, cancel);

    /// <summary>Makes an object.</summary>
    public Task<JsonObject> PostAsync(string path, JsonObject body, CancellationToken cancel) => SendAsync(HttpMethod.Post, path, body, "application/json", cancel);

    /// <summary>Changes an object (merge patch).</summary>
    public Task<JsonObject> PatchAsync(string path, JsonObject body, CancellationToken cancel) => SendAsync(HttpMethod.Patch, path, body, "application/merge-patch+json", cancel);

    /// <summary>Deletes an object; its children follow.</summary>
    public Task<JsonObject> DeleteAsync(string path, CancellationToken cancel) =>
        SendAsync(HttpMethod.Delete, path, new JsonObject { ["apiVersion"] = "v1", ["kind"] = "DeleteOptions", ["propagationPolicy"] = "Background" }, "application/json", cancel);

    /// <summary>Changes after a version, until the server ends the watch.</summary>
    public async IAsyncEnumerable<JsonObject> WatchAsync(string path, string? selector, string version, [EnumeratorCancellation] CancellationToken cancel)
    {
        using var silence = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        silence.CancelAfter(_silence);
        using HttpRequestMessage request = await CreateAsync(HttpMethod.Get, $"{path}?watch=1&allowWatchBookmarks=true&timeoutSeconds=240&resourceVersion={Uri.EscapeDataString(version)}{(selector == null ? "" : "&" + selector)}", cancel);
        using HttpResponseMessage response = await _kubernetes.HttpClient.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, silence.Token);
        await ThrowIfRefusedAsync(response, silence.Token);
        using var reader = new StreamReader(await response.Content.ReadAsStreamAsync(silence.Token), Encoding.UTF8);
        while (await reader.ReadLineAsync(silence.Token) is { } line)
        {
            silence.CancelAfter(_silence);
            if (JsonNode.Parse(line) is JsonObject change)
            {
                yield return change;
            }
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _kubernetes.Dispose();

    private async Task<JsonObject> SendAsync(HttpMethod method, string path, JsonObject? body, string? type, CancellationToken cancel)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        limit.CancelAfter(_limit);
        using HttpRequestMessage request = await CreateAsync(method, path, limit.Token);
        if (body != null)
        {
            request.Content = new ByteArrayContent(Encoding.UTF8.GetBytes(body.ToJsonString()));
            request.Content.Headers.ContentType = new MediaTypeHeaderValue(type!);
        }

        using HttpResponseMessage response = await _kubernetes.HttpClient.SendAsync(request, limit.Token);
        await ThrowIfRefusedAsync(response, limit.Token);
        return await JsonNode.ParseAsync(await response.Content.ReadAsStreamAsync(limit.Token), cancellationToken: limit.Token) as JsonObject ?? [];
    }

    private async Task<HttpRequestMessage> CreateAsync(HttpMethod method, string path, CancellationToken cancel)
    {
        var request = new HttpRequestMessage(method, new Uri(_kubernetes.BaseUri, path));
        request.Headers.Accept.Add(new MediaTypeWithQualityHeaderValue("application/json"));
        if (_kubernetes.Credentials != null)
        {
            await _kubernetes.Credentials.ProcessHttpRequestAsync(request, cancel);
        }

        return request;
    }

    private static async Task ThrowIfRefusedAsync(HttpResponseMessage response, CancellationToken cancel)
    {
        if (response.IsSuccessStatusCode)
        {
            return;
        }

        string text = await response.Content.ReadAsStringAsync(cancel);
        string message = text.Length > 1000 ? text[..1000] : text;
        try
        {
            message = (JsonNode.Parse(text) as JsonObject)?["message"]?.ToString() ?? message;
        }
        catch (JsonException)
        {
            // A proxy's page: its beginning is the message.
        }

        throw new ClusterException(response.StatusCode, message);
    }
}
