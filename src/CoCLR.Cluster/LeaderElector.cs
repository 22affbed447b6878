// Why this exists: two operators must never write at once. KubernetesClient's elector keeps its lease on shutdown and believes in a
// leadership that it has lost.
using System.Globalization;
using System.Net;
using System.Text.Json;
using System.Text.Json.Nodes;
using Microsoft.Extensions.Logging;

namespace CoCLR.Cluster;

/// <summary>How a lease is held.</summary>
public sealed record LeaderOptions
{
    /// <summary>Namespace of the lease.</summary>
    public required string Namespace { get; init; }

    /// <summary>Name of the lease.</summary>
    public string Name { get; init; } = "coclr-operator";

    /// <summary>Who this is; unique for each process.</summary>
    public required string Identity { get; init; }

    /// <summary>Time after which others may take a lease that is not renewed.</summary>
    public TimeSpan LeaseDuration { get; init; } = TimeSpan.FromSeconds(15);

    /// <summary>Time after the last renewal from which nothing is written any more; shorter than <see cref="LeaseDuration"/>.</summary>
    public TimeSpan RenewDeadline { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>Time between tries.</summary>
    public TimeSpan RetryPeriod { get; init; } = TimeSpan.FromSeconds(2);
}

/// <summary>Holds a Lease, leads while it holds it, and gives it back.</summary>
public sealed class LeaderElector
{
    private readonly ApiClient _client;
    private readonly LeaderOptions _options;
    private readonly TimeProvider _time;
    private readonly ILogger _logger;
    private readonly ObjectKey _key;

    // What is known of the lease, and when (by this process's monotonic clock) it was seen to change: other machines' clocks mean nothing.
    private string? _observed;
    private long _observedAt;
    private long _renewedAt;
    private volatile bool _leading;

    /// <summary>Creates an elector.</summary>
    /// <param name="client">The API server.</param>
    /// <param name="options">The lease.</param>
    /// <param name="logger">Logger.</param>
    /// <param name="time">Clock.</param>
    public LeaderElector(ApiClient client, LeaderOptions options, ILogger logger, TimeProvider? time = null)
    {
        _client = client;
        _options = options;
        _logger = logger;
        _time = time ?? TimeProvider.System;
        _key = new ObjectKey(options.Namespace, options.Name);
    }

    /// <summary>
    /// Whether this process may write at this moment: it holds the lease and has renewed it recently by the monotonic clock, so a process
    /// that was paused finds out by itself.
    /// </summary>
    public bool MayWrite => _leading && _time.GetElapsedTime(Interlocked.Read(ref _renewedAt)) < _options.RenewDeadline;

    /// <summary>Why the lease cannot be read or written; null when it can.</summary>
    public string? Problem { get; private set; }

    /// <summary>Who holds the lease, as far as known.</summary>
    public string? Holder { get; private set; }

    /// <summary>Waits for the lease, leads while it is held, and starts over when it is lost.</summary>
    /// <param name="lead">What to do while leading; it must end soon after its token is cancelled.</param>
    /// <param name="cancellation">Ends it; the lease is released when <paramref name="lead"/> has ended.</param>
    public async Task RunAsync(Func<CancellationToken, Task> lead, CancellationToken cancellation)
    {
        while (!cancellation.IsCancellationRequested)
        {
            if (!await TryAcquireOrRenewAsync(cancellation).ConfigureAwait(false))
            {
                await DelayAsync(cancellation).ConfigureAwait(false);
                continue;
            }

            _leading = true;
            _logger.LogInformation("{Identity} leads", _options.Identity);
            await LeadAsync(lead, cancellation).ConfigureAwait(false);
        }
    }

    private async Task LeadAsync(Func<CancellationToken, Task> lead, CancellationToken cancellation)
    {
        using var leadership = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        Task work = Task.Run(() => lead(leadership.Token), CancellationToken.None);
        try
        {
            // While work drains after a shutdown was asked for, the lease is still renewed: what is in flight may finish.
            while (!work.IsCompleted)
            {
                Task pause = Task.Delay(_options.RetryPeriod, _time, CancellationToken.None);
                await Task.WhenAny(work, pause).ConfigureAwait(false);
                if (work.IsCompleted)
                {
                    break;
                }

                if (!await TryAcquireOrRenewAsync(CancellationToken.None).ConfigureAwait(false) && !MayWrite)
                {
                    _leading = false;
                    _logger.LogWarning(
                        "{Identity} has lost the lease ({Problem}); nothing is written until it is held again",
                        _options.Identity,
                        Problem ?? $"now held by {Holder}");
                    await leadership.CancelAsync().ConfigureAwait(false);
                }

                if (!_leading)
                {
                    break;
                }
            }

            await work.ConfigureAwait(false);
        }
        catch (OperationCanceledException)
        {
            // Expected when leadership ends.
        }
#pragma warning disable CA1031 // The elector must survive whatever the work throws.
        catch (Exception error)
#pragma warning restore CA1031
        {
            _logger.LogError(error, "The work of the leader ended with an error; trying again");
        }
        finally
        {
            bool held = MayWrite;
            _leading = false;
            if (held)
            {
                await ReleaseAsync().ConfigureAwait(false);
            }
        }
    }

    private async Task<bool> TryAcquireOrRenewAsync(CancellationToken cancellation)
    {
        long asked = _time.GetTimestamp();
        using var late = new CancellationTokenSource(_options.RenewDeadline / 2, _time);
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancellation, late.Token);
        try
        {
            bool held = await TryOnceAsync(limit.Token).ConfigureAwait(false);
            if (held)
            {
                // Counted from before the request: the server may have stored it at any time since.
                Interlocked.Exchange(ref _renewedAt, asked);
            }
            else if (_leading)
            {
                // The lease says that somebody else leads.
                Interlocked.Exchange(ref _renewedAt, asked - (long)(_options.RenewDeadline.TotalSeconds * _time.TimestampFrequency));
            }

            Problem = null;
            return held;
        }
        catch (ApiException error) when (error.Code is HttpStatusCode.Conflict)
        {
            return false;
        }
#pragma warning disable CA1031 // An elector that dies leaves the cluster without a leader; the problem is logged and shown as not ready.
        catch (Exception error)
#pragma warning restore CA1031
        {
            if (cancellation.IsCancellationRequested)
            {
                return false;
            }

            string problem = error switch
            {
                ApiException { Code: HttpStatusCode.Forbidden } forbidden =>
                    $"the lease {_key} is not allowed: {forbidden.ServerMessage}; the role of the operator must let it get, create and "
                        + $"update leases.coordination.k8s.io",
                OperationCanceledException => $"the lease {_key}: no answer",
                _ => $"the lease {_key}: {error.Message}",
            };
            if (Problem != problem)
            {
                _logger.LogError("Leader election: {Problem}", problem);
            }

            Problem = problem;
            return false;
        }
    }

    private async Task<bool> TryOnceAsync(CancellationToken cancellation)
    {
        JsonDocument? found = null;
        try
        {
            found = await _client.GetAsync(ResourceKind.Lease.Path(_key), cancellation).ConfigureAwait(false);
        }
        catch (ApiException error) when (error.Code == HttpStatusCode.NotFound)
        {
            // Nobody has ever led here.
        }

        if (found == null)
        {
            await WriteAsync(HttpMethod.Post, Spec(1, Now(), transitions: 0, version: null), cancellation).ConfigureAwait(false);
            return true;
        }

        using (found)
        {
            JsonElement spec = found.RootElement.Child("spec") ?? default;
            string version = found.RootElement.At("metadata", "resourceVersion")?.GetString() ?? "";
            string? holder = spec.Text("holderIdentity");
            Holder = holder;
            string record = $"{holder}|{spec.Text("renewTime")}|{spec.Number("leaseTransitions")}";
            if (record != _observed)
            {
                _observed = record;
                _observedAt = _time.GetTimestamp();
            }

            bool mine = holder == _options.Identity;
            var duration = TimeSpan.FromSeconds(spec.Number("leaseDurationSeconds") ?? (long)_options.LeaseDuration.TotalSeconds);
            if (!mine && !string.IsNullOrEmpty(holder) && _time.GetElapsedTime(_observedAt) < duration)
            {
                return false;
            }

            long transitions = (spec.Number("leaseTransitions") ?? 0) + (mine ? 0 : 1);
            string acquired = mine ? spec.Text("acquireTime") ?? Now() : Now();
            await WriteAsync(
                HttpMethod.Put, Spec((int)Math.Ceiling(_options.LeaseDuration.TotalSeconds), acquired, transitions, version), cancellation)
                .ConfigureAwait(false);
            Holder = _options.Identity;
            return true;
        }
    }

    private async Task ReleaseAsync()
    {
        using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(5));
        try
        {
            using JsonDocument found = await _client.GetAsync(ResourceKind.Lease.Path(_key), limit.Token).ConfigureAwait(false);
            if (found.RootElement.Child("spec")?.Text("holderIdentity") != _options.Identity)
            {
                return;
            }

            JsonObject lease = Spec(
                1,
                Now(),
                found.RootElement.Child("spec")?.Number("leaseTransitions") ?? 0,
                found.RootElement.At("metadata", "resourceVersion")?.GetString());
            lease["spec"]!["holderIdentity"] = "";
            await WriteAsync(HttpMethod.Put, lease, limit.Token).ConfigureAwait(false);
            _logger.LogInformation("{Identity} has released the lease", _options.Identity);
        }
#pragma warning disable CA1031 // Releasing is a courtesy: without it the lease expires by itself.
        catch (Exception error)
#pragma warning restore CA1031
        {
            _logger.LogWarning("The lease could not be released and expires by itself: {Error}", error.Message);
        }
    }

    private JsonObject Spec(int seconds, string acquired, long transitions, string? version)
    {
        var lease = new JsonObject
        {
            ["apiVersion"] = ResourceKind.Lease.ApiVersion,
            ["kind"] = ResourceKind.Lease.Kind,
            ["metadata"] = new JsonObject { ["name"] = _key.Name, ["namespace"] = _key.Namespace },
            ["spec"] = new JsonObject
            {
                ["holderIdentity"] = _options.Identity,
                ["leaseDurationSeconds"] = version == null ? (int)Math.Ceiling(_options.LeaseDuration.TotalSeconds) : seconds,
                ["acquireTime"] = acquired,
                ["renewTime"] = Now(),
                ["leaseTransitions"] = transitions,
            },
        };
        if (version != null)
        {
            lease["metadata"]!["resourceVersion"] = version;
        }

        return lease;
    }

    private async Task WriteAsync(HttpMethod method, JsonObject lease, CancellationToken cancellation)
    {
        string path = method == HttpMethod.Post ? ResourceKind.Lease.Path(_key.Namespace) : ResourceKind.Lease.Path(_key);
        using JsonDocument answer = await _client.SendAsync(method, path, lease, cancellation).ConfigureAwait(false);
    }

    private string Now() => _time.GetUtcNow().UtcDateTime.ToString("yyyy-MM-dd'T'HH:mm:ss.ffffff'Z'", CultureInfo.InvariantCulture);

    private async Task DelayAsync(CancellationToken cancellation)
    {
        try
        {
            await Task.Delay(_options.RetryPeriod * (0.8 + (0.4 * Random.Shared.NextDouble())), _time, cancellation).ConfigureAwait(false);
        }
        catch (OperationCanceledException)
        {
            // The loop's condition ends it.
        }
    }
}
