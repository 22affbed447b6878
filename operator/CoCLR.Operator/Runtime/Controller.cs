// Why this exists: workers between a queue and a reconciler: errors stay with their object, and what is in flight may finish when the
// operator stops.
using CoCLR.Cluster;

namespace CoCLR.Operator.Runtime;

/// <summary>Works on the names of a queue.</summary>
public sealed class Controller
{
    private readonly WorkQueue _queue;
    private readonly Func<ObjectKey, CancellationToken, Task<TimeSpan?>> _reconcile;
    private readonly int _workers;
    private readonly TimeSpan _drain;
    private readonly TimeProvider _time;
    private readonly ILogger _logger;

    /// <summary>Creates a controller.</summary>
    /// <param name="queue">Names to work on.</param>
    /// <param name="reconcile">Works on one name; returns when to come back without a change.</param>
    /// <param name="logger">Logger.</param>
    /// <param name="workers">Reconciles at once.</param>
    /// <param name="drain">Time that work in flight gets when the operator stops.</param>
    /// <param name="time">Clock.</param>
    public Controller(
        WorkQueue queue,
        Func<ObjectKey,
        CancellationToken,
        Task<TimeSpan?>> reconcile,
        ILogger logger,
        int workers = 4,
        TimeSpan? drain = null,
        TimeProvider? time = null)
    {
        _queue = queue;
        _reconcile = reconcile;
        _logger = logger;
        _workers = workers;
        _drain = drain ?? TimeSpan.FromSeconds(5);
        _time = time ?? TimeProvider.System;
    }

    /// <summary>Works until cancelled, then lets what is in flight finish.</summary>
    /// <param name="cancellation">Ends it.</param>
    public async Task RunAsync(CancellationToken cancellation)
    {
        using var abort = new CancellationTokenSource();
        using CancellationTokenRegistration registration = cancellation.Register(() => abort.CancelAfter(_drain));

        // As many workers as may run at once: a name leaves the queue only when there is room for it.
        await Task.WhenAll(
            Enumerable.Range(0, _workers).Select(_ => Task.Run(() => WorkAsync(cancellation, abort.Token), CancellationToken.None)))
            .ConfigureAwait(false);
    }

    private async Task WorkAsync(CancellationToken stop, CancellationToken abort)
    {
        while (!stop.IsCancellationRequested)
        {
            ObjectKey key;
            try
            {
                key = await _queue.TakeAsync(stop).ConfigureAwait(false);
            }
            catch (OperationCanceledException)
            {
                return;
            }

            try
            {
                await OneAsync(key, abort).ConfigureAwait(false);
            }
            finally
            {
                _queue.Done(key);
            }
        }
    }

    private async Task OneAsync(ObjectKey key, CancellationToken abort)
    {
        long started = _time.GetTimestamp();
        string result = "success";
        try
        {
            TimeSpan? again = await _reconcile(key, abort).ConfigureAwait(false);
            _queue.Forget(key);
            if (again is { } delay)
            {
                _queue.AddAfter(key, delay > TimeSpan.Zero ? delay : TimeSpan.FromMilliseconds(1));
                result = "requeue_after";
            }
        }
        catch (OperationCanceledException) when (abort.IsCancellationRequested)
        {
            result = "cancelled";
        }
        catch (NotLeaderException)
        {
            // The next leader starts from a full queue.
            result = "not_leader";
        }
        catch (ApiException error) when (error.IsConflict)
        {
            // Somebody wrote meanwhile: once more with what is true now.
            result = "conflict";
            _queue.AddAfterFailure(key);
        }
        catch (ApiException error) when (error.IsNamespaceTerminating)
        {
            result = "terminating";
            _queue.Forget(key);
            _logger.LogInformation("{Controller} {Object}: its namespace is going away, so there is nothing more to do", _queue.Name, key);
        }
#pragma warning disable CA1031 // One object's error must not end the work on the others.
        catch (Exception error)
#pragma warning restore CA1031
        {
            result = "error";
            _queue.AddAfterFailure(key, (error as ApiException)?.RetryAfter);
            if (error is ApiException or HttpRequestException or TimeoutException)
            {
                _logger.LogWarning(
                    "{Controller} {Object}: {Error} (failure {Failures})", _queue.Name, key, error.Message, _queue.Failures(key));
            }
            else
            {
                _logger.LogError(
                    error, "{Controller} {Object}: the reconcile failed (failure {Failures})", _queue.Name, key, _queue.Failures(key));
            }
        }
        finally
        {
            OperatorMetrics.Reconciles.Add(1, new("controller", _queue.Name), new("result", result));
            OperatorMetrics.ReconcileDuration.Record(
                _time.GetElapsedTime(started).TotalSeconds, new KeyValuePair<string, object?>("controller", _queue.Name));
        }
    }
}
