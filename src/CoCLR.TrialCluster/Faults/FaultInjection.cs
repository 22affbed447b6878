// Why this exists: everything that goes wrong between a controller and its API server, on demand and in process.
using System.Text.Json.Nodes;

namespace CoCLR.TrialCluster;

/// <summary>What a fault does.</summary>
public enum FaultKind
{
    /// <summary>Answer with <see cref="Fault.Code"/> and <see cref="Fault.Reason"/> instead of doing it.</summary>
    Status,

    /// <summary>Do it, then cut the connection before the answer.</summary>
    CutAfter,

    /// <summary>Cut the connection instead of doing it.</summary>
    CutBefore,

    /// <summary>Wait <see cref="Fault.Delay"/>, then do it.</summary>
    Slow,

    /// <summary>Watch: an ERROR event with a 410 Status, then the end of the stream.</summary>
    WatchGone,

    /// <summary>Watch: half of the next event's line, then the connection is cut.</summary>
    WatchHalfLine,

    /// <summary>Watch: stay connected and say nothing more.</summary>
    WatchSilent,

    /// <summary>Watch: end the stream as a server does when its time is up.</summary>
    WatchClose,

    /// <summary>Watch: the next event carries an object that is no such object.</summary>
    WatchGarbage,
}

/// <summary>One fault waiting for the requests it is for.</summary>
public sealed class Fault
{
    private int _left;

    /// <summary>What it does.</summary>
    public required FaultKind Kind { get; init; }

    /// <summary>Which requests it is for; all, when null.</summary>
    public Func<FaultTarget, bool>? When { get; init; }

    /// <summary>How often; -1 for ever.</summary>
    public int Times
    {
        get => _left;
        init => _left = value;
    }

    /// <summary>Status code of <see cref="FaultKind.Status"/>.</summary>
    public int Code { get; init; } = 500;

    /// <summary>`metav1.StatusReason` of <see cref="FaultKind.Status"/>.</summary>
    public string Reason { get; init; } = "InternalError";

    /// <summary>Message of <see cref="FaultKind.Status"/>.</summary>
    public string Message { get; init; } = "injected fault";

    /// <summary>Seconds for Retry-After.</summary>
    public int? RetryAfter { get; init; }

    /// <summary>How long <see cref="FaultKind.Slow"/> waits.</summary>
    public TimeSpan Delay { get; init; }

    /// <summary>How often it has struck.</summary>
    public int Hits { get; private set; }

    internal bool Take(FaultTarget target)
    {
        if (_left == 0 || (When is not null && !When(target)))
        {
            return false;
        }

        if (_left > 0)
        {
            _left--;
        }

        Hits++;
        return true;
    }
}

/// <summary>A request a fault may be for.</summary>
/// <param name="Verb">Kubernetes verb.</param>
/// <param name="Resource">`plural.group` with `/subresource`.</param>
/// <param name="Namespace">Namespace, or empty.</param>
/// <param name="Name">Object name, or empty.</param>
/// <param name="User">Who asks.</param>
/// <param name="UserAgent">With which program.</param>
/// <param name="Event">For watches: the event about to be sent, else null.</param>
public sealed record FaultTarget(
    string Verb, string Resource, string Namespace, string Name, string User, string UserAgent, JsonObject? Event = null)
{
    /// <summary>Whether it asks to change something.</summary>
    public bool IsWrite => Verb is "create" or "update" or "patch" or "delete" or "deletecollection";
}

/// <summary>The faults of a cluster. All members may be called at any time from any thread.</summary>
public sealed class FaultInjection : IDisposable
{
    private readonly Lock _gate = new();
    private readonly List<Fault> _faults = [];
    private TaskCompletionSource _reachable = Reachable();
    private int _writesUntilCut = -1;
    private int _held;
    private Func<FaultTarget, bool>? _cutFor;
    private CancellationTokenSource _cut = new();

    private static TaskCompletionSource Reachable()
    {
        var source = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        source.SetResult();
        return source;
    }

    /// <summary>Adds a fault; the result tells how often it struck.</summary>
    public Fault Add(Fault fault)
    {
        lock (_gate)
        {
            _faults.Add(fault);
        }

        return fault;
    }

    /// <summary>The next write to that resource meets a 409 Conflict.</summary>
    public Fault ConflictOnce(string resource, string? verb = null, int times = 1) => Add(new Fault
    {
        Kind = FaultKind.Status, Times = times, Code = 409, Reason = "Conflict",
        Message = $"Operation cannot be fulfilled on {resource}: {ApiException.Modified}",
        When = t => t.IsWrite && t.Resource == resource && (verb is null || t.Verb == verb),
    });

    /// <summary>Lists (or watch requests, or both) of that resource meet an HTTP 410.</summary>
    public Fault GoneHttp(string resource, string verb = "watch", int times = 1) => Add(new Fault
    {
        Kind = FaultKind.Status, Times = times, Code = 410, Reason = "Expired", Message = "too old resource version: 1 (2)",
        When = t => t.Event is null && t.Resource == resource && t.Verb == verb,
    });

    /// <summary>Open watches of that resource get a 410 as ERROR event at their next turn.</summary>
    public Fault GoneEvent(string resource, int times = 1) =>
        Add(new Fault { Kind = FaultKind.WatchGone, Times = times, When = t => t.Resource == resource });

    /// <summary>Requests meet 429 with Retry-After.</summary>
    public Fault TooManyRequests(Func<FaultTarget, bool>? when, int retryAfter, int times = 1) => Add(new Fault
    {
        Kind = FaultKind.Status, Times = times, Code = 429, Reason = "TooManyRequests", RetryAfter = retryAfter,
        Message = "the server has received too many requests and has asked us to try again later",
        When = t => t.Event is null && (when is null || when(t)),
    });

    /// <summary>Requests meet 403.</summary>
    public Fault Forbid(Func<FaultTarget, bool> when, int times = -1) => Add(new Fault
    {
        Kind = FaultKind.Status, Times = times, Code = 403, Reason = "Forbidden", Message = "forbidden by the test", When = t =>
            t.Event is null && when(t),
    });

    /// <summary>Lists of that resource take that long.</summary>
    public Fault SlowList(string resource, TimeSpan delay, int times = 1) =>
        Add(new Fault { Kind = FaultKind.Slow, Delay = delay, Times = times, When = t => t.Verb == "list" && t.Resource == resource });

    /// <summary>A fault of open watches of that resource.</summary>
    public Fault OnWatch(FaultKind kind, string resource, int times = 1) =>
        Add(new Fault { Kind = kind, Times = times, When = t => t.Resource == resource });

    /// <summary>Takes a fault away.</summary>
    public void Remove(Fault fault)
    {
        lock (_gate)
        {
            _faults.Remove(fault);
        }
    }

    /// <summary>Takes all faults away and lets the server answer again.</summary>
    public void Clear()
    {
        lock (_gate)
        {
            _faults.Clear();
            _writesUntilCut = -1;
            _cutFor = null;
        }

        Restore();
    }

    /// <summary>
    /// After the <paramref name="writes"/>-th write from now has been stored, the connection is cut before the answer and the requests of
    /// the client are refused until <see cref="Restore"/>: what a client killed between two writes leaves behind.
    /// </summary>
    public void KillBetweenWrites(int writes, Func<FaultTarget, bool>? when = null)
    {
        lock (_gate)
        {
            _writesUntilCut = writes;
            _cutFor = when;
        }
    }

    /// <summary>Raised when <see cref="KillBetweenWrites"/> strikes.</summary>
    public event Action<FaultTarget>? Killed;

    /// <summary>The server cannot be reached: requests hang and open watches fall silent until <see cref="Restore"/>.</summary>
    public void Cut()
    {
        lock (_gate)
        {
            if (_reachable.Task.IsCompleted)
            {
                _reachable = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
            }
        }
    }

    /// <summary>All open connections are closed at once.</summary>
    public void DropConnections()
    {
        CancellationTokenSource old;
        lock (_gate)
        {
            old = _cut;
            _cut = new CancellationTokenSource();
        }

        old.Cancel();
        old.Dispose();
    }

    /// <summary>Ends <see cref="Cut"/>.</summary>
    public void Restore()
    {
        lock (_gate)
        {
            _reachable.TrySetResult();
        }
    }

    /// <summary>Requests that have arrived and wait until the server can be reached.</summary>
    public int Held => Volatile.Read(ref _held);

    /// <summary>Lets a request in as soon as the server can be reached.</summary>
    internal async Task EnterAsync(CancellationToken stop)
    {
        Interlocked.Increment(ref _held);
        try
        {
            await WhenReachable.WaitAsync(stop);
        }
        finally
        {
            Interlocked.Decrement(ref _held);
        }
    }

    internal Task WhenReachable
    {
        get
        {
            lock (_gate)
            {
                return _reachable.Task;
            }
        }
    }

    internal CancellationToken Dropped
    {
        get
        {
            lock (_gate)
            {
                return _cut.Token;
            }
        }
    }

    internal Fault? Take(FaultTarget target, Func<FaultKind, bool> kinds)
    {
        lock (_gate)
        {
            return _faults.Find(f => kinds(f.Kind) && f.Take(target));
        }
    }

    internal bool CountWrite(FaultTarget target)
    {
        lock (_gate)
        {
            if (_writesUntilCut <= 0 || !target.IsWrite || (_cutFor is not null && !_cutFor(target)))
            {
                return false;
            }

            if (--_writesUntilCut > 0)
            {
                return false;
            }
        }

        Killed?.Invoke(target);
        return true;
    }

    /// <inheritdoc/>
    public void Dispose() => _cut.Dispose();
}
