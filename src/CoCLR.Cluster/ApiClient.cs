// Why this exists: raw JSON over KubernetesClient's connection and credentials. Typed lists lose every object when one cannot be read, so
// nothing is typed here.
using System.Net;
using System.Net.Http.Headers;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using k8s;

namespace CoCLR.Cluster;

/// <summary>Sends requests to the API server and returns raw JSON.</summary>
public sealed class ApiClient : IDisposable
{
    private readonly Kubernetes _kubernetes;
    private readonly TimeSpan _timeout;

    /// <summary>Connects.</summary>
    /// <param name="configuration">Server and credentials.</param>
    /// <param name="timeout">Time a request may take; a watch may take longer.</param>
    public ApiClient(KubernetesClientConfiguration configuration, TimeSpan? timeout = null)
    {
        configuration.HttpClientTimeout = Timeout.InfiniteTimeSpan;
        _kubernetes = new Kubernetes(configuration);
        _timeout = timeout ?? TimeSpan.FromSeconds(30);
    }

    /// <summary>Address of the server.</summary>
    public Uri Server => _kubernetes.BaseUri;

    /// <summary>Reads JSON.</summary>
    /// <param name="path">Path and query.</param>
    /// <param name="cancellation">Stops waiting.</param>
    /// <exception cref="ApiException">The server refuses.</exception>
    public async Task<JsonDocument> GetAsync(string path, CancellationToken cancellation)
        => await SendAsync(HttpMethod.Get, path, null, null, cancellation).ConfigureAwait(false);

    /// <summary>Sends a request and reads the answer.</summary>
    /// <param name="method">Method.</param>
    /// <param name="path">Path and query.</param>
    /// <param name="body">JSON in UTF-8.</param>
    /// <param name="contentType">Type of the body; application/json when null.</param>
    /// <param name="cancellation">Stops waiting.</param>
    /// <exception cref="ApiException">The server refuses.</exception>
    public async Task<JsonDocument> SendAsync(
        HttpMethod method, string path, ReadOnlyMemory<byte>? body, string? contentType, CancellationToken cancellation)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        limit.CancelAfter(_timeout);
        try
        {
            using HttpRequestMessage request = await CreateAsync(method, path, limit.Token).ConfigureAwait(false);
            if (body != null)
            {
                request.Content = new ReadOnlyMemoryContent(body.Value);
                request.Content.Headers.ContentType = new MediaTypeHeaderValue(contentType ?? "application/json");
            }

            using HttpResponseMessage response = await _kubernetes.HttpClient.SendAsync(
                request, HttpCompletionOption.ResponseHeadersRead, limit.Token).ConfigureAwait(false);
            await ThrowIfRefusedAsync(response, limit.Token).ConfigureAwait(false);
            Stream stream = await response.Content.ReadAsStreamAsync(limit.Token).ConfigureAwait(false);
            await using (stream.ConfigureAwait(false))
            {
                return await JsonDocument.ParseAsync(stream, default, limit.Token).ConfigureAwait(false);
            }
        }
        catch (OperationCanceledException) when (!cancellation.IsCancellationRequested)
        {
            throw new TimeoutException($"{method} {path}: no answer within {_timeout.TotalSeconds:0} s");
        }
    }

    /// <summary>Sends JSON and reads the answer.</summary>
    /// <param name="method">Method.</param>
    /// <param name="path">Path and query.</param>
    /// <param name="body">What is sent.</param>
    /// <param name="cancellation">Stops waiting.</param>
    /// <param name="contentType">Type of the body; application/json when null.</param>
    /// <exception cref="ApiException">The server refuses.</exception>
    public Task<JsonDocument> SendAsync(
        HttpMethod method, string path, JsonObject body, CancellationToken cancellation, string? contentType = null)
        => SendAsync(method, path, Encoding.UTF8.GetBytes(body.ToJsonString()), contentType, cancellation);

    /// <summary>Opens a watch; the caller reads its lines and disposes the response.</summary>
    /// <param name="path">Path and query.</param>
    /// <param name="cancellation">Ends the watch.</param>
    /// <exception cref="ApiException">The server refuses.</exception>
    public async Task<HttpResponseMessage> OpenWatchAsync(string path, CancellationToken cancellation)
    {
        using HttpRequestMessage request = await CreateAsync(HttpMethod.Get, path, cancellation).ConfigureAwait(false);
        HttpResponseMessage response =
            await _kubernetes.HttpClient.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, cancellation).ConfigureAwait(false);
        try
        {
            await ThrowIfRefusedAsync(response, cancellation).ConfigureAwait(false);
            return response;
        }
        catch
        {
            response.Dispose();
            throw;
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _kubernetes.Dispose();

    private async Task<HttpRequestMessage> CreateAsync(HttpMethod method, string path, CancellationToken cancellation)
    {
        var request = new HttpRequestMessage(method, new Uri(_kubernetes.BaseUri, path))
        {
            Version = HttpVersion.Version20, VersionPolicy = HttpVersionPolicy.RequestVersionOrLower
        };
        request.Headers.Accept.Add(new MediaTypeWithQualityHeaderValue("application/json"));
        if (_kubernetes.Credentials != null)
        {
            await _kubernetes.Credentials.ProcessHttpRequestAsync(request, cancellation).ConfigureAwait(false);
        }

        return request;
    }

    private static async Task ThrowIfRefusedAsync(HttpResponseMessage response, CancellationToken cancellation)
    {
        if (response.IsSuccessStatusCode)
        {
            return;
        }

        string text = await response.Content.ReadAsStringAsync(cancellation).ConfigureAwait(false);
        string reason = response.StatusCode.ToString();
        string message = text.Length > 1024 ? text[..1024] : text;
        TimeSpan? retryAfter = response.Headers.RetryAfter switch
        {
            { Delta: { } delta } => delta,
            { Date: { } date } => date - DateTimeOffset.UtcNow,
            _ => null,
        };
        try
        {
            using JsonDocument status = JsonDocument.Parse(text);
            if (status.RootElement.ValueKind == JsonValueKind.Object)
            {
                reason = status.RootElement.Text("reason") ?? reason;
                message = status.RootElement.Text("message") ?? message;
                if (status.RootElement.Child("details")?.Number("retryAfterSeconds") is { } seconds and > 0)
                {
                    retryAfter ??= TimeSpan.FromSeconds(seconds);
                }
            }
        }
        catch (JsonException)
        {
            // A proxy's error page: its beginning is the message.
        }

        throw new ApiException(response.StatusCode, reason, message, retryAfter);
    }
}
