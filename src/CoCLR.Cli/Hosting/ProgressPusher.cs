// Why this exists: pushes a stage's progress to the operator every few seconds, with the pod's own token; a lost push is made good by the
// next.
using System.Net.Http.Headers;
using System.Net.Http.Json;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using CoCLR.Core;

namespace CoCLR.Cli.Hosting;

/// <summary>Posts <see cref="StageSummary"/> to COCLR_PROGRESS_URL.</summary>
internal sealed class ProgressPusher : IAsyncDisposable
{
    private static readonly TimeSpan Interval = TimeSpan.FromSeconds(10);

    // The termination message says the same: the end of a stage does not wait for an operator that is away.
    private static readonly TimeSpan Farewell = TimeSpan.FromSeconds(2);
    private readonly Uri _address;
    private readonly string? _tokenFile;
    private readonly string? _caFile;
    private HttpClient? _client;
    private string _trusted = "";
    private readonly CancellationTokenSource _stop = new();
    private Task _loop = Task.CompletedTask;
    private Func<StageSummary>? _current;

    private ProgressPusher(Uri address, string? tokenFile, string? caFile)
    {
        _address = address;
        _tokenFile = tokenFile;
        _caFile = caFile;
    }

    /// <summary>A pusher to where the environment says; null when it says nothing.</summary>
    public static ProgressPusher? FromEnvironment() =>
        Uri.TryCreate(Environment.GetEnvironmentVariable("COCLR_PROGRESS_URL"), UriKind.Absolute, out Uri? address)
            ? new ProgressPusher(
                address,
                Environment.GetEnvironmentVariable("COCLR_PROGRESS_TOKEN_FILE"),
                Environment.GetEnvironmentVariable("COCLR_PROGRESS_CA_FILE") is { Length: > 0 } ca ? ca : null)
            : null;

    /// <summary>Begins to push.</summary>
    /// <param name="current">The summary of the moment.</param>
    public void Begin(Func<StageSummary> current)
    {
        _current = current;
        _loop = Task.Run(LoopAsync);
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync().ConfigureAwait(false);
        await _loop.ConfigureAwait(false);
        using var limit = new CancellationTokenSource(Farewell);
        await PushAsync(limit.Token).ConfigureAwait(false);
        _client?.Dispose();
        _stop.Dispose();
    }

    private async Task LoopAsync()
    {
        using var timer = new PeriodicTimer(Interval);
        try
        {
            while (await timer.WaitForNextTickAsync(_stop.Token).ConfigureAwait(false))
            {
                await PushAsync(_stop.Token).ConfigureAwait(false);
            }
        }
        catch (OperationCanceledException)
        {
            // The stage ends; the last push follows.
        }
    }

    /// <summary>
    /// A client that trusts what the CA file says now: the kubelet renews it too. Without the file the system's authorities count.
    /// </summary>
    private HttpClient Client()
    {
        string authorities = _caFile != null && File.Exists(_caFile) ? File.ReadAllText(_caFile) : "";
        if (_client != null && authorities == _trusted)
        {
            return _client;
        }

        var handler = new SocketsHttpHandler { AllowAutoRedirect = false };
        if (authorities.Length > 0)
        {
            X509Certificate2Collection roots = [];
            roots.ImportFromPem(authorities);
            handler.SslOptions.CertificateChainPolicy =
                new X509ChainPolicy { TrustMode = X509ChainTrustMode.CustomRootTrust, RevocationMode = X509RevocationMode.NoCheck };
            handler.SslOptions.CertificateChainPolicy.CustomTrustStore.AddRange(roots);
        }

        _client?.Dispose();
        _trusted = authorities;
        return _client = new HttpClient(handler) { Timeout = TimeSpan.FromSeconds(10) };
    }

    private async Task PushAsync(CancellationToken cancellation)
    {
        if (_current?.Invoke() is not { Run: not null } summary)
        {
            return;
        }

        try
        {
            using var request =
                new HttpRequestMessage(HttpMethod.Post, _address) { Content = JsonContent.Create(summary, options: CoclrJson.Compact) };
            if (_tokenFile != null)
            {
                // Read each time: the kubelet renews projected tokens.
                request.Headers.Authorization = new AuthenticationHeaderValue(
                    "Bearer", (await File.ReadAllTextAsync(_tokenFile, cancellation).ConfigureAwait(false)).Trim());
            }

            using HttpResponseMessage response = await Client().SendAsync(request, cancellation).ConfigureAwait(false);
        }
        catch (Exception e) when (
            e is HttpRequestException or IOException or UnauthorizedAccessException or OperationCanceledException or CryptographicException)
        {
            // Progress is never worth a failed training; the termination message brings the end result.
        }
    }
}
