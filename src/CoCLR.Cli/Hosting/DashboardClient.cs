// Why this exists: what `coclr get`, `watch` and `apply` ask a dashboard.
using System.Net;
using System.Net.Http.Headers;
using System.Net.Http.Json;
using CoCLR.Core;
using Microsoft.AspNetCore.SignalR.Client;
using Microsoft.Extensions.DependencyInjection;

namespace CoCLR.Cli.Hosting;

/// <summary>A run in a dashboard's list.</summary>
internal sealed record RemoteRun(
    string Run,
    string Experiment,
    string State,
    string? Stage,
    double Progress,
    double? EtaSeconds,
    double? Loss,
    double? BestProbe,
    double? RecallAt1);

/// <summary>A dashboard's list.</summary>
internal sealed record RemoteRuns(int Total, IReadOnlyList<RemoteRun> Runs);

/// <summary>Talks to a dashboard.</summary>
internal sealed class DashboardClient : IDisposable
{
    private readonly Uri _address;
    private readonly string? _token;
    private readonly HttpClient _client;

    /// <summary>Makes a client.</summary>
    /// <param name="address">The dashboard.</param>
    /// <param name="token">An API token; COCLR_DASHBOARD_TOKEN or its file when null.</param>
    public DashboardClient(Uri address, string? token)
    {
        _address = address;
        _token = token ?? Environment.GetEnvironmentVariable("COCLR_DASHBOARD_TOKEN")
            ?? (
                Environment.GetEnvironmentVariable("COCLR_DASHBOARD_TOKEN_FILE") is { Length: > 0 } file
                    && File.Exists(file) ? File.ReadAllText(file).Trim() : null);
        _client = new HttpClient(
            new SocketsHttpHandler { AllowAutoRedirect = false })
        { BaseAddress = address, Timeout = TimeSpan.FromSeconds(30) };
        if (_token != null)
        {
            _client.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", _token);
        }
    }

    /// <summary>The runs.</summary>
    public async Task<IReadOnlyList<RemoteRun>> ListAsync(CancellationToken stop)
    {
        using HttpResponseMessage response = await SendAsync(new HttpRequestMessage(HttpMethod.Get, "api/v1/runs?take=1000"), stop)
            .ConfigureAwait(false);
        RemoteRuns? page = await response.Content.ReadFromJsonAsync<RemoteRuns>(CoclrJson.Compact, stop).ConfigureAwait(false);
        return page?.Runs ?? [];
    }

    /// <summary>A run's details as JSON; null when there is none of that name.</summary>
    public async Task<string?> ReadAsync(string run, CancellationToken stop)
    {
        using HttpResponseMessage response = await SendAsync(
            new HttpRequestMessage(HttpMethod.Get, $"api/v1/runs/{Uri.EscapeDataString(run)}"), stop, HttpStatusCode.NotFound)
            .ConfigureAwait(false);
        return response.StatusCode == HttpStatusCode.NotFound ? null : await response.Content.ReadAsStringAsync(stop).ConfigureAwait(false);
    }

    /// <summary>Starts a manifest; the dashboard's answer as JSON.</summary>
    public async Task<string> StartAsync(string manifest, CancellationToken stop)
    {
        using HttpResponseMessage response = await SendAsync(new HttpRequestMessage(HttpMethod.Post, "api/v1/runs") { Content = new StringContent(manifest, System.Text.Encoding.UTF8, "application/yaml") }, stop)
            .ConfigureAwait(false);
        return await response.Content.ReadAsStringAsync(stop).ConfigureAwait(false);
    }

    /// <summary>The list of runs, live: all first, then those that changed; goes on by itself after a cut.</summary>
    public async IAsyncEnumerable<IReadOnlyList<RemoteRun>> WatchAsync(
        [System.Runtime.CompilerServices.EnumeratorCancellation] CancellationToken stop)
    {
        HubConnection hub = new HubConnectionBuilder()
            .WithUrl(new Uri(_address, "hubs/runs"), options => options.AccessTokenProvider = () => Task.FromResult(_token))
            .WithAutomaticReconnect()
            .AddJsonProtocol(options => options.PayloadSerializerOptions = CoclrJson.Compact)
            .Build();
        await using (hub.ConfigureAwait(false))
        {
            try
            {
                await hub.StartAsync(stop).ConfigureAwait(false);
            }
            catch (HttpRequestException e)
            {
                throw Unreachable(e);
            }

            await foreach (
                IReadOnlyList<RemoteRun> rows in hub.StreamAsync<IReadOnlyList<RemoteRun>>("WatchRuns", stop).ConfigureAwait(false))
            {
                yield return rows;
            }
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _client.Dispose();

    private async Task<HttpResponseMessage> SendAsync(HttpRequestMessage request, CancellationToken stop, params HttpStatusCode[] expected)
    {
        using (request)
        {
            HttpResponseMessage response;
            try
            {
                response = await _client.SendAsync(request, stop).ConfigureAwait(false);
            }
            catch (HttpRequestException e)
            {
                throw Unreachable(e);
            }

            if (response.IsSuccessStatusCode || expected.Contains(response.StatusCode))
            {
                return response;
            }

            string answer = await response.Content.ReadAsStringAsync(stop).ConfigureAwait(false);
            HttpStatusCode status = response.StatusCode;
            response.Dispose();
            throw status is HttpStatusCode.Unauthorized or HttpStatusCode.Forbidden or HttpStatusCode.Redirect
                ? new UserErrorException(
                    $"{_address} refuses: set COCLR_DASHBOARD_TOKEN to an API token with the right role (Settings, API tokens).",
                    ExitCodes.BadConfiguration)
                : new UserErrorException(
                    $"{_address} answers {(int)status}: {answer.Split('\n')[0]}", (int)status < 500 ? ExitCodes.BadData : ExitCodes.Failed);
        }
    }

    private UserErrorException Unreachable(Exception cause) =>
        new($"{_address} cannot be reached: {cause.Message}. Start the dashboard (coclr up) or fix --dashboard.", ExitCodes.Failed, cause);
}
