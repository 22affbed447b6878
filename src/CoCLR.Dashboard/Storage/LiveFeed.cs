// Why this exists: tells listeners that something changed, and nothing more; each asks the store for what it has not seen. A slow listener
// merges changes instead of queueing them.
using System.Collections.Concurrent;
using System.Threading.Channels;

namespace CoCLR.Dashboard.Storage;

/// <summary>Notices of change.</summary>
public sealed partial class LiveFeed(ILogger<LiveFeed>? logger = null)
{
    /// <summary>Key of listeners to every run.</summary>
    public const string All = "*";

    /// <summary>Key of listeners to the cluster's objects.</summary>
    public const string Cluster = "*cluster";

    private readonly ConcurrentDictionary<Subscription, byte> _all = new();
    private readonly ConcurrentDictionary<string, ConcurrentDictionary<Subscription, byte>> _byRun = new(StringComparer.Ordinal);

    /// <summary>Listeners now.</summary>
    public int Listeners => _all.Count + _byRun.Values.Sum(l => l.Count);

    /// <summary>Says that a run changed; with <see cref="All"/>, that anything may have.</summary>
    /// <param name="run">Id of the run.</param>
    public void Changed(string run)
    {
        foreach (Subscription listener in _all.Keys)
        {
            listener.Signal();
        }

        if (run == All)
        {
            foreach (ConcurrentDictionary<Subscription, byte> listeners in _byRun.Values)
            {
                Signal(listeners);
            }
        }
        else if (_byRun.TryGetValue(run, out ConcurrentDictionary<Subscription, byte>? listeners))
        {
            Signal(listeners);
        }

        static void Signal(ConcurrentDictionary<Subscription, byte> listeners)
        {
            foreach (Subscription listener in listeners.Keys)
            {
                listener.Signal();
            }
        }
    }

    /// <summary>Listens to one run, or to all with <see cref="All"/>.</summary>
    /// <param name="run">Id of the run.</param>
    public Subscription Listen(string run)
    {
        ConcurrentDictionary<Subscription, byte> listeners =
            run == All ? _all : _byRun.GetOrAdd(run, _ => new ConcurrentDictionary<Subscription, byte>());
        var subscription = new Subscription(listeners);
        listeners[subscription] = 0;
        return subscription;
    }

    /// <summary>
    /// Listens and calls back, at most once an interval, until it is disposed. A call that fails is logged and the next one comes all the
    /// same.
    /// </summary>
    /// <param name="run">Id of the run, or <see cref="All"/>.</param>
    /// <param name="interval">Least time between two calls.</param>
    /// <param name="changed">What to do.</param>
    public Subscription Listen(string run, TimeSpan interval, Func<Task> changed)
    {
        Subscription subscription = Listen(run);
        _ = subscription.CallAsync(interval, changed, e => LogListenerFailed(run, e));
        return subscription;
    }

    private void LogListenerFailed(string run, Exception e)
    {
        if (logger != null)
        {
            LogListenerFailed(logger, run, e);
        }
    }

    [LoggerMessage(Level = LogLevel.Error, Message = "A listener to {Run} failed; it is told of the next change all the same")]
    private static partial void LogListenerFailed(ILogger logger, string run, Exception e);
}

/// <summary>A listener; dispose it to stop.</summary>
public sealed class Subscription : IDisposable
{
    private readonly ConcurrentDictionary<Subscription, byte> _listeners;
    private readonly Channel<bool> _signal =
        Channel.CreateBounded<bool>(new BoundedChannelOptions(1) { FullMode = BoundedChannelFullMode.DropWrite });
    private readonly CancellationTokenSource _stop = new();

    internal Subscription(ConcurrentDictionary<Subscription, byte> listeners) => _listeners = listeners;

    internal void Signal() => _signal.Writer.TryWrite(true);

    /// <summary>Waits for the next change.</summary>
    /// <param name="cancel">Ends the wait.</param>
    /// <returns>False when the listener was disposed.</returns>
    public async ValueTask<bool> NextAsync(CancellationToken cancel)
    {
        if (!await _signal.Reader.WaitToReadAsync(cancel).ConfigureAwait(false))
        {
            return false;
        }

        _signal.Reader.TryRead(out _);
        return true;
    }

    internal async Task CallAsync(TimeSpan interval, Func<Task> changed, Action<Exception> failed)
    {
        CancellationToken stop = _stop.Token;
        while (!stop.IsCancellationRequested)
        {
            try
            {
                if (!await NextAsync(stop).ConfigureAwait(false))
                {
                    return;
                }

                await changed().ConfigureAwait(false);
            }
            catch (Exception e) when (!stop.IsCancellationRequested)
            {
                failed(e);
            }
            catch (Exception)
            {
                return; // disposed while waiting or at work: the end of every listener
            }

            await Task.Delay(interval, stop).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        if (_listeners.TryRemove(this, out _))
        {
            _signal.Writer.TryComplete();
            _stop.Cancel();
            _stop.Dispose();
        }
    }
}
