// Why this exists: the one place that writes. It asks the leadership fence before every write, keeps to a rate, and obeys the server's
// Retry-After.
using System.Collections.Concurrent;
using System.Net;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using System.Threading.RateLimiting;
using CoCLR.Cluster;

namespace CoCLR.Operator.Runtime;

/// <summary>This process does not lead (any more), so it must not write.</summary>
public sealed class NotLeaderException() : Exception("this process does not lead, so nothing is written");

/// <summary>Rates of writing.</summary>
public sealed record WriterOptions
{
    /// <summary>Writes a second over a longer time.</summary>
    public int WritesPerSecond { get; init; } = 400;

    /// <summary>Writes at once.</summary>
    public int Burst { get; init; } = 1000;

    /// <summary>Name under which the server keeps what this operator owns.</summary>
    public string FieldManager { get; init; } = "coclr-operator";
}

/// <summary>Writes to the API server.</summary>
public sealed class ApiWriter : IDisposable
{
    private readonly ApiClient _client;
    private readonly Func<bool> _mayWrite;
    private readonly WriterOptions _options;
    private readonly TimeProvider _time;
    private readonly TokenBucketRateLimiter _limiter;
    private readonly ConcurrentDictionary<ResourceKind, DateTimeOffset> _older = new();
    private readonly ConcurrentDictionary<string, DateTimeOffset> _leaving = new();
    private long _pausedUntil;

    /// <summary>Creates the writer.</summary>
    /// <param name="client">The API server.</param>
    /// <param name="mayWrite">The leadership fence.</param>
    /// <param name="options">Rates.</param>
    /// <param name="time">Clock.</param>
    public ApiWriter(ApiClient client, Func<bool> mayWrite, WriterOptions? options = null, TimeProvider? time = null)
    {
        _client = client;
        _mayWrite = mayWrite;
        _options = options ?? new WriterOptions();
        _time = time ?? TimeProvider.System;
        _limiter = new TokenBucketRateLimiter(new TokenBucketRateLimiterOptions
        {
            TokenLimit = _options.Burst,
            TokensPerPeriod = Math.Max(1, _options.WritesPerSecond / 10),
            ReplenishmentPeriod = TimeSpan.FromMilliseconds(100),
            QueueLimit = int.MaxValue,
        });
    }

    /// <summary>Called with a description before every write; tests stop the operator there.</summary>
    public Func<string, Task>? BeforeWrite { get; init; }

    /// <summary>Told when an installed CRD turns out not to have a field that this operator writes, with the server's words.</summary>
    public Action<ResourceKind, string>? OlderDefinition { get; init; }

    /// <summary>Server-side apply: makes the object or changes the fields that this operator owns.</summary>
    /// <param name="kind">Kind.</param>
    /// <param name="key">Name.</param>
    /// <param name="desired">All fields that this operator owns.</param>
    /// <param name="force">Whether to take over fields that another manager has set.</param>
    /// <param name="cancellation">Stops waiting.</param>
    /// <returns>The object as stored.</returns>
    public Task<JsonDocument> ApplyAsync(ResourceKind kind, ObjectKey key, JsonNode desired, bool force, CancellationToken cancellation)
        => WriteAsync(
            "apply",
            kind,
            HttpMethod.Patch,
            $"{kind.Path(key)}?fieldManager={_options.FieldManager}&force={(force ? "true" : "false")}",
            desired,
            "application/apply-patch+yaml",
            cancellation);

    /// <summary>Server-side apply of the status.</summary>
    /// <param name="kind">Kind.</param>
    /// <param name="key">Name.</param>
    /// <param name="desired">Metadata and status.</param>
    /// <param name="cancellation">Stops waiting.</param>
    public async Task<JsonDocument> ApplyStatusAsync(ResourceKind kind, ObjectKey key, JsonNode desired, CancellationToken cancellation)
    {
        string path = kind.Path(key, "status");
        if (_older.GetValueOrDefault(kind) <= _time.GetUtcNow())
        {
            try
            {
                return await WriteAsync(
                    "status",
                    kind,
                    HttpMethod.Patch,
                    $"{path}?fieldManager={_options.FieldManager}&force=true",
                    desired,
                    "application/apply-patch+yaml",
                    cancellation).ConfigureAwait(false);
            }
            catch (ApiException error) when (error.IsUnknownField)
            {
                // The CRD is older than this operator, which server-side apply refuses as a whole; other patches drop the fields it does
                // not know.
                if (!_older.ContainsKey(kind))
                {
                    OlderDefinition?.Invoke(kind, error.ServerMessage);
                }

                _older[kind] = _time.GetUtcNow().AddMinutes(5);
            }
        }

        var replace = new JsonArray(
            new JsonObject
            {
                ["op"] = "test", ["path"] = "/metadata/resourceVersion", ["value"] = desired["metadata"]!["resourceVersion"]!.DeepClone()
            },
            new JsonObject { ["op"] = "add", ["path"] = "/status", ["value"] = desired["status"]!.DeepClone() });
        return await WriteAsync(
            "status",
            kind,
            HttpMethod.Patch,
            $"{path}?fieldManager={_options.FieldManager}",
            replace,
            "application/json-patch+json",
            cancellation).ConfigureAwait(false);
    }

    /// <summary>
    /// Whether an object's namespace is known to be going away: nothing can be made there, so nothing is tried. One of its name that was
    /// made since is another.
    /// </summary>
    /// <param name="about">Metadata of the object.</param>
    public bool IsLeaving(ObjectMeta about) => _leaving.TryGetValue(about.Key.Namespace, out DateTimeOffset seen) && about.Created <= seen;

    /// <summary>Changes a few fields of an object.</summary>
    /// <param name="kind">Kind.</param>
    /// <param name="key">Name.</param>
    /// <param name="patch">A JSON merge patch.</param>
    /// <param name="cancellation">Stops waiting.</param>
    public Task<JsonDocument> PatchAsync(ResourceKind kind, ObjectKey key, JsonNode patch, CancellationToken cancellation)
        => WriteAsync(
            "patch",
            kind,
            HttpMethod.Patch,
            $"{kind.Path(key)}?fieldManager={_options.FieldManager}",
            patch,
            "application/merge-patch+json",
            cancellation);

    /// <summary>Changes a few fields of an object's status; lists are merged by their keys.</summary>
    /// <param name="kind">A built-in kind.</param>
    /// <param name="key">Name.</param>
    /// <param name="patch">A strategic merge patch.</param>
    /// <param name="cancellation">Stops waiting.</param>
    public Task<JsonDocument> PatchStatusAsync(ResourceKind kind, ObjectKey key, JsonNode patch, CancellationToken cancellation)
        => WriteAsync(
            "status", kind, HttpMethod.Patch, $"{kind.Path(key, "status")}?fieldManager={_options.FieldManager}", patch,
            "application/strategic-merge-patch+json", cancellation);

    /// <summary>Makes an object.</summary>
    /// <param name="kind">Kind.</param>
    /// <param name="ns">Namespace.</param>
    /// <param name="value">The object.</param>
    /// <param name="cancellation">Stops waiting.</param>
    public Task<JsonDocument> CreateAsync(ResourceKind kind, string ns, JsonNode value, CancellationToken cancellation)
        => WriteAsync(
            "create",
            kind,
            HttpMethod.Post,
            $"{kind.Path(ns)}?fieldManager={_options.FieldManager}",
            value,
            "application/json",
            cancellation);

    /// <summary>Deletes an object; it is no error when it is gone already.</summary>
    /// <param name="kind">Kind.</param>
    /// <param name="key">Name.</param>
    /// <param name="uid">Its unique id: another object of that name is left alone.</param>
    /// <param name="cancellation">Stops waiting.</param>
    /// <param name="graceSeconds">Time to end; the object's own when null, none at all when 0.</param>
    public async Task DeleteAsync(ResourceKind kind, ObjectKey key, string uid, CancellationToken cancellation, int? graceSeconds = null)
    {
        var options = new JsonObject
        {
            ["apiVersion"] = "v1",
            ["kind"] = "DeleteOptions",
            ["propagationPolicy"] = "Background",
            ["preconditions"] = new JsonObject { ["uid"] = uid },
        };
        if (graceSeconds is { } seconds)
        {
            options["gracePeriodSeconds"] = seconds;
        }

        try
        {
            using JsonDocument answer = await WriteAsync(
                "delete", kind, HttpMethod.Delete, kind.Path(key), options, "application/json", cancellation).ConfigureAwait(false);
        }
        catch (ApiException error) when (error.Code == HttpStatusCode.NotFound)
        {
            // Somebody was quicker.
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _limiter.Dispose();

    private async Task<JsonDocument> WriteAsync(
        string verb, ResourceKind kind, HttpMethod method, string path, JsonNode body, string contentType, CancellationToken cancellation)
    {
        using RateLimitLease permit = await _limiter.AcquireAsync(1, cancellation).ConfigureAwait(false);
        long pause = Interlocked.Read(ref _pausedUntil) - _time.GetTimestamp();
        if (pause > 0)
        {
            await Task.Delay(TimeSpan.FromSeconds((double)pause / _time.TimestampFrequency), _time, cancellation).ConfigureAwait(false);
        }

        if (BeforeWrite != null)
        {
            await BeforeWrite($"{verb} {kind.Plural} {path}").ConfigureAwait(false);
        }

        if (!_mayWrite())
        {
            throw new NotLeaderException();
        }

        string result = "ok";
        try
        {
            return await _client.SendAsync(
                method, path, Encoding.UTF8.GetBytes(body.ToJsonString(CoCLR.Core.CoclrJson.Compact)), contentType, cancellation)
                .ConfigureAwait(false);
        }
        catch (ApiException error)
        {
            result = ((int)error.Code).ToString(System.Globalization.CultureInfo.InvariantCulture);
            if (error.Code == HttpStatusCode.TooManyRequests)
            {
                // Everybody waits, not only this object.
                TimeSpan wait = error.RetryAfter ?? TimeSpan.FromSeconds(1);
                Interlocked.Exchange(ref _pausedUntil, _time.GetTimestamp() + (long)(wait.TotalSeconds * _time.TimestampFrequency));
            }

            if (error.IsNamespaceTerminating)
            {
                _leaving[kind.NamespaceOf(path)] = _time.GetUtcNow();
            }

            throw;
        }
        catch
        {
            result = "error";
            throw;
        }
        finally
        {
            OperatorMetrics.ApiWrites.Add(1, new("resource", kind.Plural), new("verb", verb), new("result", result));
        }
    }
}
