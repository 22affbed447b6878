// Why this exists: a local copy of one kind that stays true through lost connections, expired versions, silent streams and unreadable
// objects. KubernetesClient has none.
using System.Globalization;
using System.Net;
using System.Text;
using System.Text.Json;
using CoCLR.Core;
using Microsoft.Extensions.Logging;

namespace CoCLR.Cluster;

/// <summary>How an informer behaves; the defaults suit real clusters, tests shorten them.</summary>
public sealed record InformerOptions
{
    /// <summary>Objects per page of a list.</summary>
    public int PageSize { get; init; } = 500;

    /// <summary>Time the server is asked to keep a watch open.</summary>
    public TimeSpan WatchTimeout { get; init; } = TimeSpan.FromMinutes(5);

    /// <summary>Silence after which a stream is taken for dead; servers send a bookmark about every minute.</summary>
    public TimeSpan Silence { get; init; } = TimeSpan.FromSeconds(150);

    /// <summary>First delay after an error.</summary>
    public TimeSpan MinimumBackoff { get; init; } = TimeSpan.FromMilliseconds(200);

    /// <summary>Longest delay after errors.</summary>
    public TimeSpan MaximumBackoff { get; init; } = TimeSpan.FromSeconds(20);

    /// <summary>How often an optional kind that is absent is looked for.</summary>
    public TimeSpan AbsentInterval { get; init; } = TimeSpan.FromSeconds(30);

    /// <summary>Time without any contact after which the cache counts as out of date.</summary>
    public TimeSpan StaleAfter { get; init; } = TimeSpan.FromMinutes(5);
}

/// <summary>A change in a cache.</summary>
/// <typeparam name="T">Type of the cached objects.</typeparam>
/// <param name="Key">Name of the object.</param>
/// <param name="Old">What was known; null when it is new.</param>
/// <param name="New">What is known now; null when it is gone.</param>
public readonly record struct CacheChange<T>(ObjectKey Key, T? Old, T? New)
    where T : class;

/// <summary>What a controller and the health page need to know of any informer.</summary>
public interface IInformer
{
    /// <summary>Plural name of the kind.</summary>
    string Name { get; }

    /// <summary>Whether the first list is complete, in every scope.</summary>
    bool Synced { get; }

    /// <summary>Why the cache cannot be trusted now; null when it can.</summary>
    string? Problem { get; }

    /// <summary>Lists and watches until cancelled.</summary>
    /// <param name="cancellation">Ends it.</param>
    Task RunAsync(CancellationToken cancellation);
}

/// <summary>A cache of one kind.</summary>
/// <typeparam name="T">What is kept of each object.</typeparam>
public sealed class Informer<T> : IInformer
    where T : class, ICachedObject
{
    private readonly ApiClient _client;
    private readonly Func<JsonElement, T> _read;
    private readonly InformerOptions _options;
    private readonly TimeProvider _time;
    private readonly ILogger _logger;
    private readonly string _selector;
    private readonly bool _optional;
    private readonly Func<T, bool>? _relevant;
    private readonly Scope[] _scopes;
    private readonly Lock _gate = new();
    private readonly Dictionary<ObjectKey, T> _objects = [];
    private readonly List<Index> _indexes = [];
    private readonly List<Action<CacheChange<T>>> _handlers = [];
    private Action? _failureChanged;
    private ResourceKind _kind;

    /// <summary>Creates a cache.</summary>
    /// <param name="client">The API server.</param>
    /// <param name="kind">The kind.</param>
    /// <param name="read">Turns raw JSON into what is kept; may throw for objects that make no sense.</param>
    /// <param name="logger">Logger.</param>
    /// <param name="time">Clock.</param>
    /// <param name="namespaces">Namespaces to watch; all when empty.</param>
    /// <param name="options">Behaviour.</param>
    /// <param name="selector">Query such as <c>labelSelector=a%3Db</c>.</param>
    /// <param name="optional">The kind may not exist, or be served in another version (a CRD of another project): an absent kind is an
    /// empty cache.</param>
    /// <param name="relevant">Objects that nobody will ask for again are not kept: children of finished experiments are most of a cluster's
    /// objects.</param>
    public Informer(
        ApiClient client,
        ResourceKind kind,
        Func<JsonElement, T> read,
        ILogger logger,
        TimeProvider? time = null,
        IReadOnlyList<string>? namespaces = null,
        InformerOptions? options = null,
        string? selector = null,
        bool optional = false,
        Func<T, bool>? relevant = null)
    {
        _client = client;
        _kind = kind;
        _read = read;
        _logger = logger;
        _time = time ?? TimeProvider.System;
        _options = options ?? new InformerOptions();
        _selector = selector == null ? "" : "&" + selector;
        _optional = optional;
        _relevant = relevant;
        _scopes = namespaces is { Count: > 0 } ? [.. namespaces.Select(n => new Scope(n, TellFailure))] : [new Scope(null, TellFailure)];
    }

    /// <inheritdoc/>
    public string Name => _kind.Plural;

    /// <inheritdoc/>
    public bool Synced => _scopes.All(s => s.Synced);

    /// <summary>Objects that could not be read at all, since the start.</summary>
    public long Unreadable { get; private set; }

    /// <inheritdoc/>
    public string? Problem
    {
        get
        {
            foreach (Scope scope in _scopes)
            {
                string where = scope.Namespace == null ? Name : $"{Name} in {scope.Namespace}";
                if (!scope.Synced)
                {
                    return scope.Error == null ? $"{where}: not yet listed" : $"{where}: {scope.Error}";
                }

                if (_time.GetElapsedTime(scope.LastContact) > _options.StaleAfter)
                {
                    return $"{where}: no contact for "
                        + $"{_time.GetElapsedTime(scope.LastContact).TotalMinutes.ToString("0.#", CultureInfo.InvariantCulture)} "
                            + $"minutes{(scope.Error == null ? "" : ": " + scope.Error)}";
                }
            }

            return null;
        }
    }

    /// <summary>
    /// Why the server could not be asked the last time; null while every watch is open. <see cref="Problem"/> waits until the cache is out
    /// of date.
    /// </summary>
    public string? Failure => Array.Find(_scopes, s => s.Error != null)?.Error;

    /// <summary>Whether the server refuses (403): what it holds is not for this account.</summary>
    public bool Forbidden => Array.Exists(_scopes, s => s.Forbidden);

    /// <summary>Number of cached objects.</summary>
    public int Count
    {
        get
        {
            lock (_gate)
            {
                return _objects.Count;
            }
        }
    }

    /// <summary>Everything in the cache.</summary>
    public IReadOnlyList<T> All()
    {
        lock (_gate)
        {
            return [.. _objects.Values];
        }
    }

    /// <summary>An object, or null.</summary>
    /// <param name="key">Its name.</param>
    public T? Get(ObjectKey key)
    {
        lock (_gate)
        {
            return _objects.GetValueOrDefault(key);
        }
    }

    /// <summary>Adds an index; before the informer runs.</summary>
    /// <param name="of">The indexed value of an object; null leaves it out.</param>
    /// <returns>Objects by indexed value.</returns>
    public Func<ObjectKey, IReadOnlyList<T>> IndexBy(Func<T, ObjectKey?> of)
    {
        var index = new Index(of);
        _indexes.Add(index);
        return value =>
        {
            lock (_gate)
            {
                return index.Keys.TryGetValue(value, out HashSet<ObjectKey>? keys) ? [.. keys.Order().Select(k => _objects[k])] : [];
            }
        };
    }

    /// <summary>Adds a handler of changes; before the informer runs. It must be quick and must not throw.</summary>
    /// <param name="handler">The handler.</param>
    public void OnChange(Action<CacheChange<T>> handler) => _handlers.Add(handler);

    /// <summary>
    /// Adds a handler of <see cref="Failure"/>, which has come or gone; before the informer runs. It must be quick and must not throw.
    /// </summary>
    /// <param name="handler">The handler.</param>
    public void OnFailure(Action handler) => _failureChanged += handler;

    /// <summary>Takes over what a write returned, so that the next reconcile sees it before the watch tells.</summary>
    /// <param name="item">The object as the server returned it.</param>
    /// <param name="justRead">It was read a moment ago, so it exists even if the cache is ahead of it.</param>
    public void Observe(JsonElement item, bool justRead = false)
    {
        T value = _read(item);
        Scope? scope = _scopes.FirstOrDefault(s => s.Namespace == null || s.Namespace == value.Meta.Key.Namespace);
        if (scope == null || !scope.Synced || !ulong.TryParse(value.Meta.ResourceVersion, CultureInfo.InvariantCulture, out ulong version))
        {
            return;
        }

        // Behind the watch it would bring back an object that has been deleted since.
        Change(value.Meta.Key, value, () => justRead || version > scope.Seen);
    }

    /// <summary>Forgets objects that have become irrelevant; nobody is told.</summary>
    /// <param name="keys">Their names.</param>
    public void Prune(IEnumerable<ObjectKey> keys)
    {
        lock (_gate)
        {
            foreach (ObjectKey key in keys)
            {
                if (_objects.TryGetValue(key, out T? value) && _relevant?.Invoke(value) == false)
                {
                    foreach (Index index in _indexes)
                    {
                        index.Move(key, value, null);
                    }

                    _objects.Remove(key);
                }
            }
        }
    }

    /// <inheritdoc/>
    public Task RunAsync(CancellationToken cancellation) => Task.WhenAll(_scopes.Select(s => RunAsync(s, cancellation)));

    private async Task RunAsync(Scope scope, CancellationToken cancellation)
    {
        int failures = 0;
        string? version = null;
        while (!cancellation.IsCancellationRequested)
        {
            TimeSpan? wait = null;
            long started = _time.GetTimestamp();
            try
            {
                string from = version ?? await ListAsync(scope, cancellation).ConfigureAwait(false);
                failures = version == null ? 0 : failures;
                version = from;
                (version, string reason) = await WatchAsync(scope, from, cancellation).ConfigureAwait(false);
                ClusterMetrics.WatchRestarts.Add(1, new("resource", Name), new("reason", reason));
                failures = _time.GetElapsedTime(started) > TimeSpan.FromSeconds(5) ? 0 : failures + 1;
            }
            catch (OperationCanceledException) when (cancellation.IsCancellationRequested)
            {
                break;
            }
            catch (ApiException error) when (_optional && error.Code == HttpStatusCode.NotFound)
            {
                version = null;
                wait = await FindVersionAsync(scope, cancellation).ConfigureAwait(false);
                failures++;
            }
#pragma warning disable CA1031 // Whatever happens, the cache must go on; it is logged and shown as not ready.
            catch (Exception error)
#pragma warning restore CA1031
            {
                failures++;
                string text = Describe(error);
                if (scope.Error != text)
                {
                    _logger.LogWarning(
                        "Watching {Resource}{Namespace}: {Error}", Name, scope.Namespace == null ? "" : " in " + scope.Namespace, text);
                }

                scope.Fail(text, error is ApiException { Code: HttpStatusCode.Forbidden });
                ClusterMetrics.WatchRestarts.Add(
                    1, new("resource", Name), new("reason", error is ApiException { Code: var code } ? "http-" + (int)code : "error"));
                if (error is ApiException api)
                {
                    version = api.Code == HttpStatusCode.Gone || api.Reason == "Expired" ? null : version;
                    wait = api.RetryAfter;
                }
            }

            if (failures > 0 || wait != null)
            {
                await DelayAsync(wait ?? Backoff.Of(failures, _options.MinimumBackoff, _options.MaximumBackoff), cancellation)
                    .ConfigureAwait(false);
            }
        }
    }

    /// <summary>
    /// Changes over to a version in which the server has the kind; what is known stays until the next list. Without any, nothing of it
    /// exists.
    /// </summary>
    /// <returns>When to look again; null at once.</returns>
    private async Task<TimeSpan?> FindVersionAsync(Scope scope, CancellationToken cancellation)
    {
        try
        {
            using JsonDocument group = await _client.GetAsync($"apis/{_kind.Group}", cancellation).ConfigureAwait(false);
            string[] served = [.. group.RootElement.Items("versions").Select(v => v.Text("version")).OfType<string>()];
            foreach (string version in served.Where(v => v != _kind.Version).Append(_kind.Version))
            {
                using JsonDocument resources = await _client.GetAsync($"apis/{_kind.Group}/{version}", cancellation).ConfigureAwait(false);
                if (resources.RootElement.Items("resources").Any(r => r.Text("name") == _kind.Plural))
                {
                    _logger.LogInformation("{Resource} are served as {Group}/{Version}", Name, _kind.Group, version);
                    _kind = _kind with { Version = version };
                    return null;
                }
            }
        }
        catch (ApiException error) when (error.Code == HttpStatusCode.NotFound)
        {
            // The whole group is not there, or went away meanwhile.
        }
        catch (Exception error) when (error is ApiException or HttpRequestException or TimeoutException)
        {
            scope.Fail(Describe(error), forbidden: false);
            return _options.MaximumBackoff;
        }

        Replace(scope, []);
        scope.Contact(_time.GetTimestamp());
        return _options.AbsentInterval;
    }

    private string Describe(Exception error) => error switch
    {
        ApiException { Code: HttpStatusCode.NotFound } when _kind.Group == CoCLR.Core.Manifests.ApiNames.Group =>
            $"the resource {_kind.Plural}.{_kind.Group} {_kind.Version} is not installed; apply crds/ or install the chart with "
                + $"crds.enabled=true",
        ApiException { Code: HttpStatusCode.Forbidden } forbidden => $"not allowed: {forbidden.ServerMessage}",
        _ => error.Message,
    };

    private async Task DelayAsync(TimeSpan wait, CancellationToken cancellation)
    {
        try
        {
            await Task.Delay(wait, _time, cancellation).ConfigureAwait(false);
        }
        catch (OperationCanceledException)
        {
            // The loop's condition ends it.
        }
    }

    private async Task<string> ListAsync(Scope scope, CancellationToken cancellation)
    {
        var found = new Dictionary<ObjectKey, T>();
        string? next = null;
        string version = "";
        bool paged = true;
        while (true)
        {
            string query = $"{_kind.Path(scope.Namespace)}?{(paged ? $"limit={_options.PageSize}" : "limit=0")}{_selector}{(next == null ? "" : "&continue=" + Uri.EscapeDataString(next))}";
            JsonDocument page;
            try
            {
                page = await _client.GetAsync(query, cancellation).ConfigureAwait(false);
            }
            catch (ApiException error) when (error.Code == HttpStatusCode.Gone && next != null)
            {
                // The continue token expired between two pages: once more, in one piece.
                found.Clear();
                next = null;
                paged = false;
                continue;
            }

            using (page)
            {
                foreach (JsonElement item in page.RootElement.Items("items"))
                {
                    if (TryRead(item, out T? value) && _relevant?.Invoke(value) != false)
                    {
                        found[value.Meta.Key] = value;
                    }
                }

                JsonElement? meta = page.RootElement.Child("metadata");
                version = meta?.Text("resourceVersion") ?? throw new FormatException($"The list of {Name} has no resourceVersion.");
                next = meta?.Text("continue");
            }

            if (string.IsNullOrEmpty(next))
            {
                break;
            }
        }

        scope.See(version);
        Replace(scope, found);
        bool first = !scope.Synced;
        scope.Contact(_time.GetTimestamp());
        if (first)
        {
            _logger.LogInformation(
                "Listed {Count} {Resource}{Namespace}", found.Count, Name, scope.Namespace == null ? "" : " in " + scope.Namespace);
        }

        return version;
    }

    private async Task<(string? Version, string Reason)> WatchAsync(Scope scope, string version, CancellationToken cancellation)
    {
        // Not all at the same second after a restart of the server.
        double seconds = _options.WatchTimeout.TotalSeconds * (0.9 + (0.2 * Random.Shared.NextDouble()));
        string query = $"{_kind.Path(scope.Namespace)}?watch=true&allowWatchBookmarks=true&resourceVersion={Uri.EscapeDataString(version)}&timeoutSeconds={Math.Max(1, (int)seconds)}{_selector}";
        using var silence = new CancellationTokenSource(_options.Silence, _time);
        using var watchdog = CancellationTokenSource.CreateLinkedTokenSource(cancellation, silence.Token);
        bool open = false;
        try
        {
            using HttpResponseMessage response = await _client.OpenWatchAsync(query, watchdog.Token).ConfigureAwait(false);
            open = true;
            scope.Contact(_time.GetTimestamp());
            Stream stream = await response.Content.ReadAsStreamAsync(watchdog.Token).ConfigureAwait(false);
            using var reader = new StreamReader(stream, Encoding.UTF8, false, 16 * 1024);
            while (await reader.ReadLineAsync(watchdog.Token).ConfigureAwait(false) is { } line)
            {
                silence.CancelAfter(_options.Silence);
                scope.Contact(_time.GetTimestamp());
                if (line.Length == 0)
                {
                    continue;
                }

                (version, string? end) = Apply(scope, version, line);
                if (end != null)
                {
                    return (null, end);
                }
            }

            return (version, "closed");
        }
        catch (OperationCanceledException) when (!cancellation.IsCancellationRequested)
        {
            scope.Fail("it does not answer", forbidden: false);
            return (version, "silent");
        }
        catch (Exception error) when (open && (error is HttpRequestException or IOException))
        {
            return (version, "broken");
        }
    }

    /// <summary>Applies one line of a watch.</summary>
    /// <returns>The new version; a reason when the cache has to be listed anew.</returns>
    private (string Version, string? Relist) Apply(Scope scope, string version, string line)
    {
        JsonDocument document;
        try
        {
            document = JsonDocument.Parse(line);
        }
        catch (JsonException)
        {
            // What the line said is unknown, so only a list is sure.
            _logger.LogWarning("Watching {Resource}: an unreadable line of {Length} characters; listing anew", Name, line.Length);
            return (version, "unreadable");
        }

        using (document)
        {
            JsonElement item = document.RootElement.Child("object") ?? default;
            string type = document.RootElement.Text("type") ?? "";
            if (type == "ERROR")
            {
                long? code = item.ValueKind == JsonValueKind.Object ? item.Number("code") : null;
                _logger.LogInformation(
                    "Watching {Resource}: the server ended the watch ({Code} {Message}); listing anew",
                    Name,
                    code,
                    item.ValueKind == JsonValueKind.Object ? item.Text("message") : null);
                return (version, code == 410 ? "expired" : "error-event");
            }

            string? seen = item.At("metadata", "resourceVersion") is { ValueKind: JsonValueKind.String } text ? text.GetString() : null;
            switch (type)
            {
                case "BOOKMARK":
                    break;
                case "ADDED" or "MODIFIED" or "DELETED":
                    if (!TryRead(item, out T? value))
                    {
                        // Which object it was about is unknown, so only a list is sure.
                        return (version, "unreadable");
                    }

                    scope.See(seen);
                    Change(value.Meta.Key, type == "DELETED" || _relevant?.Invoke(value) == false ? null : value);
                    break;
                default:
                    return (version, "unreadable");
            }

            scope.See(seen);
            return (seen ?? version, null);
        }
    }

    private bool TryRead(JsonElement item, [System.Diagnostics.CodeAnalysis.NotNullWhen(true)] out T? value)
    {
        try
        {
            value = _read(item);
            return true;
        }
        catch (Exception error) when (error is FormatException or InvalidOperationException or JsonException)
        {
            Unreadable++;
            _logger.LogWarning("One of {Resource} cannot be read and is left alone: {Error}", Name, error.Message);
            value = null;
            return false;
        }
    }

    private void Replace(Scope scope, Dictionary<ObjectKey, T> found)
    {
        ObjectKey[] gone;
        lock (_gate)
        {
            gone = [.. _objects.Keys.Where(k => (scope.Namespace == null || k.Namespace == scope.Namespace) && !found.ContainsKey(k))];
        }

        foreach (ObjectKey key in gone)
        {
            Change(key, null);
        }

        foreach ((ObjectKey key, T value) in found)
        {
            Change(key, value);
        }
    }

    private void Change(ObjectKey key, T? value, Func<bool>? onlyIf = null)
    {
        T? old;
        lock (_gate)
        {
            if (onlyIf?.Invoke() == false)
            {
                return;
            }

            old = _objects.GetValueOrDefault(key);
            if (old == null && value == null)
            {
                return;
            }

            if (old != null && value != null && IsOlder(value, old))
            {
                return;
            }

            foreach (Index index in _indexes)
            {
                index.Move(key, old, value);
            }

            if (value == null)
            {
                _objects.Remove(key);
            }
            else
            {
                _objects[key] = value;
            }
        }

        if (old != null && value != null)
        {
            if (old.Meta.ResourceVersion == value.Meta.ResourceVersion && old.Meta.Uid == value.Meta.Uid)
            {
                return;
            }

            if (old.Meta.Uid != value.Meta.Uid)
            {
                // Deleted and made anew while nobody looked: two objects, not one that changed.
                Tell(new CacheChange<T>(key, old, null));
                old = null;
            }
        }

        Tell(new CacheChange<T>(key, old, value));
    }

    private void TellFailure() => _failureChanged?.Invoke();

    private void Tell(CacheChange<T> change)
    {
        foreach (Action<CacheChange<T>> handler in _handlers)
        {
            handler(change);
        }
    }

    // The same object, told twice: a write's answer may overtake the watch.
    private static bool IsOlder(T value, T than) => value.Meta.Uid == than.Meta.Uid
        && ulong.TryParse(value.Meta.ResourceVersion, CultureInfo.InvariantCulture, out ulong a)
        && ulong.TryParse(than.Meta.ResourceVersion, CultureInfo.InvariantCulture, out ulong b)
        && a < b;

    private sealed class Index(Func<T, ObjectKey?> of)
    {
        public Dictionary<ObjectKey, HashSet<ObjectKey>> Keys { get; } = [];

        public void Move(ObjectKey key, T? old, T? value)
        {
            ObjectKey? before = old == null ? null : of(old);
            ObjectKey? after = value == null ? null : of(value);
            if (before == after)
            {
                return;
            }

            if (before is { } b && Keys.TryGetValue(b, out HashSet<ObjectKey>? set) && set.Remove(key) && set.Count == 0)
            {
                Keys.Remove(b);
            }

            if (after is { } a)
            {
                if (!Keys.TryGetValue(a, out HashSet<ObjectKey>? members))
                {
                    Keys[a] = members = [];
                }

                members.Add(key);
            }
        }
    }

    private sealed class Scope(string? ns, Action failureChanged)
    {
        private long _lastContact;
        private ulong _seen;
        private volatile string? _error;

        public string? Namespace => ns;

        public volatile bool Synced;

        public string? Error => _error;

        public bool Forbidden { get; private set; }

        public long LastContact => Interlocked.Read(ref _lastContact);

        public ulong Seen => Interlocked.Read(ref _seen);

        public void Contact(long timestamp)
        {
            Interlocked.Exchange(ref _lastContact, timestamp);
            Synced = true;
            Set(null, forbidden: false);
        }

        public void Fail(string error, bool forbidden) => Set(error, forbidden);

        private void Set(string? error, bool forbidden)
        {
            if (_error != error)
            {
                (_error, Forbidden) = (error, forbidden);
                failureChanged();
            }
        }

        public void See(string? version)
        {
            if (ulong.TryParse(version, CultureInfo.InvariantCulture, out ulong seen) && seen > _seen)
            {
                Interlocked.Exchange(ref _seen, seen);
            }
        }
    }
}
