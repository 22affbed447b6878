// Why this exists: many changes of one object must become one reconcile, never two at once, and a failing object must not hold up the
// others.
using CoCLR.Core;

namespace CoCLR.Cluster;

/// <summary>
/// A queue of names with a dirty set: a name that changes while it is worked on comes back once, afterwards. Semantics of client-go.
/// </summary>
#pragma warning disable CA1711 // It is a queue.
public sealed class WorkQueue : IDisposable
#pragma warning restore CA1711
{
    private readonly TimeProvider _time;
    private readonly TimeSpan _minimumBackoff;
    private readonly TimeSpan _maximumBackoff;
    private readonly Lock _gate = new();
    private readonly Queue<(ObjectKey Key, long Added)> _ready = new();
    private readonly HashSet<ObjectKey> _dirty = [];
    private readonly Dictionary<ObjectKey, long> _processing = [];
    private readonly Dictionary<ObjectKey, int> _failures = [];
    private readonly PriorityQueue<ObjectKey, long> _later = new();
    private readonly Dictionary<ObjectKey, long> _due = [];
    private readonly SemaphoreSlim _available = new(0);
    private readonly ITimer _timer;
    private bool _stopped;

    /// <summary>Creates a queue.</summary>
    /// <param name="name">Name in metrics.</param>
    /// <param name="time">Clock.</param>
    /// <param name="minimumBackoff">First delay after a failure.</param>
    /// <param name="maximumBackoff">Longest delay after failures.</param>
    public WorkQueue(string name, TimeProvider? time = null, TimeSpan? minimumBackoff = null, TimeSpan? maximumBackoff = null)
    {
        Name = name;
        _time = time ?? TimeProvider.System;
        _minimumBackoff = minimumBackoff ?? TimeSpan.FromMilliseconds(50);
        _maximumBackoff = maximumBackoff ?? TimeSpan.FromMinutes(2);
        _timer = _time.CreateTimer(_ => Release(), null, Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
    }

    /// <summary>Name in metrics.</summary>
    public string Name { get; }

    /// <summary>Names that wait to be worked on now.</summary>
    public int Depth
    {
        get
        {
            lock (_gate)
            {
                return _ready.Count;
            }
        }
    }

    /// <summary>How long the work that takes longest has been running.</summary>
    public TimeSpan LongestRunning
    {
        get
        {
            lock (_gate)
            {
                return _processing.Count == 0 ? TimeSpan.Zero : _processing.Values.Max(started => _time.GetElapsedTime(started));
            }
        }
    }

    /// <summary>Whether nothing waits, runs or is due before a time.</summary>
    /// <param name="horizon">How far ahead delayed names count.</param>
    public bool IdleFor(TimeSpan horizon)
    {
        lock (_gate)
        {
            return _ready.Count == 0 && _processing.Count == 0 && !_due.Values.Any(d => d <= After(horizon));
        }
    }

    /// <summary>Adds a name; nothing happens when it waits already.</summary>
    /// <param name="key">The name.</param>
    public void Add(ObjectKey key)
    {
        lock (_gate)
        {
            AddLocked(key);
        }
    }

    /// <summary>Adds a name later; the earliest time wins.</summary>
    /// <param name="key">The name.</param>
    /// <param name="delay">When.</param>
    public void AddAfter(ObjectKey key, TimeSpan delay)
    {
        lock (_gate)
        {
            if (delay <= TimeSpan.Zero)
            {
                AddLocked(key);
                return;
            }

            long due = After(delay);
            if (_stopped || (_due.TryGetValue(key, out long known) && known <= due))
            {
                return;
            }

            _due[key] = due;
            _later.Enqueue(key, due);
            Arm();
        }
    }

    /// <summary>Adds a name after its next backoff.</summary>
    /// <param name="key">The name.</param>
    /// <param name="atLeast">A delay that the server asked for.</param>
    public void AddAfterFailure(ObjectKey key, TimeSpan? atLeast = null)
    {
        TimeSpan delay;
        lock (_gate)
        {
            int failures = _failures.GetValueOrDefault(key) + 1;
            _failures[key] = failures;
            delay = Backoff.Of(failures, _minimumBackoff, _maximumBackoff);
        }

        ClusterMetrics.QueueRetries.Add(1, new KeyValuePair<string, object?>("name", Name));
        AddAfter(key, atLeast > delay ? atLeast.Value : delay);
    }

    /// <summary>Forgets the failures of a name.</summary>
    /// <param name="key">The name.</param>
    public void Forget(ObjectKey key)
    {
        lock (_gate)
        {
            _failures.Remove(key);
        }
    }

    /// <summary>Failures in a row of a name.</summary>
    /// <param name="key">The name.</param>
    public int Failures(ObjectKey key)
    {
        lock (_gate)
        {
            return _failures.GetValueOrDefault(key);
        }
    }

    /// <summary>Waits for a name to work on; the caller must call <see cref="Done"/>.</summary>
    /// <param name="cancellation">Stops waiting.</param>
    public async Task<ObjectKey> TakeAsync(CancellationToken cancellation)
    {
        await _available.WaitAsync(cancellation).ConfigureAwait(false);
        lock (_gate)
        {
            (ObjectKey key, long added) = _ready.Dequeue();
            _dirty.Remove(key);
            _processing[key] = _time.GetTimestamp();
            ClusterMetrics.QueueDuration.Record(_time.GetElapsedTime(added).TotalSeconds, new KeyValuePair<string, object?>("name", Name));
            return key;
        }
    }

    /// <summary>Ends the work on a name; if it was added meanwhile it waits again.</summary>
    /// <param name="key">The name.</param>
    public void Done(ObjectKey key)
    {
        lock (_gate)
        {
            if (_processing.Remove(key, out long started))
            {
                ClusterMetrics.WorkDuration.Record(
                    _time.GetElapsedTime(started).TotalSeconds, new KeyValuePair<string, object?>("name", Name));
            }

            if (_dirty.Contains(key))
            {
                Enqueue(key);
            }
        }
    }

    /// <summary>Forgets everything that waits.</summary>
    public void Clear()
    {
        lock (_gate)
        {
            while (_ready.Count > 0 && _available.Wait(0))
            {
                _ready.Dequeue();
            }

            _dirty.Clear();
            _later.Clear();
            _due.Clear();
            _failures.Clear();
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        lock (_gate)
        {
            _stopped = true;
        }

        _timer.Dispose();
        _available.Dispose();
    }

    private void AddLocked(ObjectKey key)
    {
        if (_stopped || !_dirty.Add(key))
        {
            return;
        }

        ClusterMetrics.QueueAdds.Add(1, new KeyValuePair<string, object?>("name", Name));
        _due.Remove(key);
        if (!_processing.ContainsKey(key))
        {
            Enqueue(key);
        }
    }

    private void Enqueue(ObjectKey key)
    {
        _ready.Enqueue((key, _time.GetTimestamp()));
        _available.Release();
    }

    private long After(TimeSpan delay) => _time.GetTimestamp() + (long)(delay.TotalSeconds * _time.TimestampFrequency);

    private void Arm()
    {
        if (_later.TryPeek(out _, out long due))
        {
            long ticks = Math.Max(0, due - _time.GetTimestamp());
            _timer.Change(
                TimeSpan.FromSeconds((double)ticks / _time.TimestampFrequency) + TimeSpan.FromMilliseconds(1), Timeout.InfiniteTimeSpan);
        }
    }

    private void Release()
    {
        lock (_gate)
        {
            if (_stopped)
            {
                return;
            }

            while (_later.TryPeek(out ObjectKey key, out long due) && due <= _time.GetTimestamp())
            {
                _later.Dequeue();
                if (_due.TryGetValue(key, out long wanted) && wanted == due)
                {
                    _due.Remove(key);
                    AddLocked(key);
                }
            }

            Arm();
        }
    }
}
