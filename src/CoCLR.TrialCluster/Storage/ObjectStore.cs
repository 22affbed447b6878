// Why this exists: the stand-in for etcd: one revision counter for everything, immutable snapshots for paged lists, a bounded history for
// watches.
using System.Collections.Immutable;
using System.Text.Json.Nodes;
using System.Threading.Channels;

namespace CoCLR.TrialCluster;

/// <summary>An object as stored. The tree is never changed after it was stored.</summary>
public sealed class StoredObject
{
    private byte[]? _bytes;

    /// <summary>Takes the tree over; the caller no longer changes it.</summary>
    public StoredObject(JsonObject value, long revision)
    {
        Value = value;
        Revision = revision;
        Namespace = value.Text("metadata", "namespace") ?? "";
        Name = value.Text("metadata", "name") ?? "";
        Uid = value.Text("metadata", "uid") ?? "";
    }

    /// <summary>The object; read only.</summary>
    public JsonObject Value { get; }

    /// <summary>Revision of the write that made it.</summary>
    public long Revision { get; }

    /// <summary>Namespace, empty for cluster-scoped kinds.</summary>
    public string Namespace { get; }

    /// <summary>Name.</summary>
    public string Name { get; }

    /// <summary>Uid.</summary>
    public string Uid { get; }

    /// <summary>Where it sorts in a list.</summary>
    public string SortKey => Namespace + "/" + Name;

    /// <summary>The object as it goes over the wire.</summary>
    public byte[] Bytes => _bytes ??= System.Text.Encoding.UTF8.GetBytes(Value.ToJsonString(Json.Options));
}

/// <summary>One write.</summary>
/// <param name="Revision">Its revision.</param>
/// <param name="Before">The object before, null for a creation.</param>
/// <param name="After">The object after; for a deletion its last state with the revision of the deletion.</param>
/// <param name="Deleted">Whether the object is gone.</param>
public sealed record StoreEvent(long Revision, StoredObject? Before, StoredObject After, bool Deleted);

/// <summary>A versioned store for all kinds.</summary>
public sealed class ObjectStore
{
    private readonly Lock _gate = new();
    private readonly Dictionary<ResourceKey, Table> _tables = [];
    private readonly Dictionary<(ResourceKey, long), ImmutableSortedDictionary<string, StoredObject>> _pages = [];
    private readonly Queue<(ResourceKey, long)> _pageOrder = new();
    private long _revision;

    /// <summary>How many writes of one kind stay available to watches.</summary>
    public int HistoryLimit { get; init; } = 20_000;

    /// <summary>The newest revision.</summary>
    public long Revision => Volatile.Read(ref _revision);

    /// <summary>Called under no lock after each write.</summary>
    public event Action<ResourceKey, StoreEvent>? Written;

    private Table TableOf(ResourceKey key)
    {
        if (!_tables.TryGetValue(key, out var table))
        {
            table = new Table();
            _tables[key] = table;
        }

        return table;
    }

    /// <summary>The object of that name, or null.</summary>
    public StoredObject? Get(ResourceKey key, string ns, string name)
    {
        lock (_gate)
        {
            return TableOf(key).Objects.GetValueOrDefault(ns + "/" + name);
        }
    }

    /// <summary>All objects of a kind at this moment, with the revision of the moment.</summary>
    public (ImmutableSortedDictionary<string, StoredObject> Objects, long Revision) Snapshot(ResourceKey key)
    {
        lock (_gate)
        {
            return (TableOf(key).Objects, _revision);
        }
    }

    /// <summary>All objects of a kind.</summary>
    public IEnumerable<StoredObject> All(ResourceKey key) => Snapshot(key).Objects.Values;

    /// <summary>Kinds that have or had objects.</summary>
    public IReadOnlyList<ResourceKey> Keys()
    {
        lock (_gate)
        {
            return [.. _tables.Keys];
        }
    }

    /// <summary>
    /// Replaces the object if it is still <paramref name="expected"/> (null: there is none yet); <paramref name="value"/> null deletes it.
    /// Returns null when somebody else was faster.
    /// </summary>
    public StoredObject? TrySwap(ResourceKey key, StoredObject? expected, JsonObject? value)
    {
        StoreEvent written;
        lock (_gate)
        {
            var table = TableOf(key);
            var path = expected?.SortKey ?? (value.Text("metadata", "namespace") ?? "") + "/" + value.Text("metadata", "name");
            if (!ReferenceEquals(table.Objects.GetValueOrDefault(path), expected))
            {
                return null;
            }

            var revision = ++_revision;
            var deleted = value is null;
            value ??= expected!.Value.Copy();
            value.Ensure("metadata")["resourceVersion"] = revision.ToString(System.Globalization.CultureInfo.InvariantCulture);
            var stored = new StoredObject(value, revision);
            table.Objects = deleted ? table.Objects.Remove(path) : table.Objects.SetItem(path, stored);
            written = new StoreEvent(revision, expected, stored, deleted);
            table.History.Add(written);
            if (table.History.Count > HistoryLimit * 2)
            {
                table.Floor = table.History[HistoryLimit - 1].Revision;
                table.History.RemoveRange(0, HistoryLimit);
            }

            foreach (var watcher in table.Watchers)
            {
                watcher.Writer.TryWrite(written);
            }
        }

        Written?.Invoke(key, written);
        return written.After;
    }

    /// <summary>Forgets all history: any older revision is then answered with 410 Gone.</summary>
    public void Compact()
    {
        lock (_gate)
        {
            foreach (var table in _tables.Values)
            {
                table.History.Clear();
                table.Floor = _revision;
            }

            _pages.Clear();
            _pageOrder.Clear();
        }
    }

    /// <summary>Forgets a kind altogether.</summary>
    public void Drop(ResourceKey key)
    {
        lock (_gate)
        {
            if (_tables.Remove(key, out var table))
            {
                foreach (var watcher in table.Watchers)
                {
                    watcher.Writer.TryComplete();
                }
            }
        }
    }

    /// <summary>Keeps a snapshot for the next pages of a list.</summary>
    public void KeepPages(ResourceKey key, long revision, ImmutableSortedDictionary<string, StoredObject> objects)
    {
        lock (_gate)
        {
            if (_pages.TryAdd((key, revision), objects))
            {
                _pageOrder.Enqueue((key, revision));
                if (_pageOrder.Count > 64)
                {
                    _pages.Remove(_pageOrder.Dequeue());
                }
            }
        }
    }

    /// <summary>The snapshot of a list begun at that revision, or null when it was compacted.</summary>
    public ImmutableSortedDictionary<string, StoredObject>? Pages(ResourceKey key, long revision)
    {
        lock (_gate)
        {
            return _pages.GetValueOrDefault((key, revision));
        }
    }

    /// <summary>
    /// Everything written to a kind after a revision, then everything to come. With <paramref name="snapshot"/> the present objects are
    /// given as well, atomically.
    /// </summary>
    /// <exception cref="ApiException">410 where the history no longer reaches back that far.</exception>
    public Watcher Watch(ResourceKey key, long? after, bool snapshot)
    {
        lock (_gate)
        {
            var table = TableOf(key);
            var channel = Channel.CreateUnbounded<StoreEvent>();
            if (after is { } revision && !snapshot)
            {
                if (revision < table.Floor)
                {
                    throw ApiException.Expired($"too old resource version: {revision} ({table.Floor})");
                }

                foreach (var e in table.History)
                {
                    if (e.Revision > revision)
                    {
                        channel.Writer.TryWrite(e);
                    }
                }
            }

            table.Watchers.Add(channel);
            return new Watcher(channel.Reader, snapshot ? [.. table.Objects.Values] : [], _revision, () =>
            {
                lock (_gate)
                {
                    table.Watchers.Remove(channel);
                }
            });
        }
    }

    /// <summary>A running watch.</summary>
    public sealed class Watcher(
        ChannelReader<StoreEvent> events, IReadOnlyList<StoredObject> initial, long revision, Action stop) : IDisposable
    {
        /// <summary>The writes, in order.</summary>
        public ChannelReader<StoreEvent> Events { get; } = events;

        /// <summary>The objects at the start, when asked for.</summary>
        public IReadOnlyList<StoredObject> Initial { get; } = initial;

        /// <summary>The revision at the start.</summary>
        public long Revision { get; } = revision;

        /// <inheritdoc/>
        public void Dispose() => stop();
    }

    private sealed class Table
    {
        public ImmutableSortedDictionary<string, StoredObject> Objects { get; set; } =
            ImmutableSortedDictionary.Create<string, StoredObject>(StringComparer.Ordinal);

        public List<StoreEvent> History { get; } = [];

        public List<Channel<StoreEvent>> Watchers { get; } = [];

        public long Floor { get; set; }
    }
}
