// Why this exists: the queue's promises: one reconcile of a name at a time, no lost change, backoff for each name alone.
using System.Diagnostics;
using CoCLR.Cluster;
using CoCLR.Core;
using CoCLR.Operator.Runtime;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Extensions.Time.Testing;

namespace CoCLR.Operator.Tests.Runtime;

public class WorkQueueTests
{
    private static readonly ObjectKey A = new("ns", "a"), B = new("ns", "b");

    [Fact]
    public async Task Add_ManyTimes_GivesOneTurn()
    {
        using var queue = new WorkQueue("test");
        queue.Add(A);
        queue.Add(A);
        queue.Add(A);
        Assert.Equal(1, queue.Depth);
        Assert.Equal(A, await queue.TakeAsync(TestContext.Current.CancellationToken));
        queue.Done(A);
        Assert.Equal(0, queue.Depth);
    }

    [Fact]
    public async Task Add_WhileItIsWorkedOn_ComesBackOnceAfterwards()
    {
        using var queue = new WorkQueue("test");
        queue.Add(A);
        await queue.TakeAsync(TestContext.Current.CancellationToken);
        queue.Add(A);
        queue.Add(A);
        Assert.Equal(0, queue.Depth);
        queue.Done(A);
        Assert.Equal(1, queue.Depth);
        await queue.TakeAsync(TestContext.Current.CancellationToken);
        queue.Done(A);
        Assert.Equal(0, queue.Depth);
    }

    [Fact]
    public async Task Controller_ManyWorkersAndChanges_NeverWorksTwiceOnOneNameAndMissesNothing()
    {
        using var queue = new WorkQueue("test");
        ObjectKey[] keys = [.. Enumerable.Range(0, 5).Select(i => new ObjectKey("ns", $"n{i}"))];
        var wanted = keys.ToDictionary(k => k, _ => 0);
        var seen = new System.Collections.Concurrent.ConcurrentDictionary<ObjectKey, int>();
        var inside = new System.Collections.Concurrent.ConcurrentDictionary<ObjectKey, int>();
        int overlaps = 0;
        using var stop = new CancellationTokenSource();
        var controller = new Controller(queue, async (key, cancellation) =>
        {
            if (inside.AddOrUpdate(key, 1, (_, n) => n + 1) > 1)
            {
                Interlocked.Increment(ref overlaps);
            }

            int value;
            lock (wanted)
            {
                value = wanted[key];
            }

            await Task.Yield();
            seen[key] = value;
            inside.AddOrUpdate(key, 0, (_, n) => n - 1);
            return null;
        }, NullLogger.Instance, workers: 4);
        Task running = controller.RunAsync(stop.Token);
        for (int i = 0; i < 2000; i++)
        {
            ObjectKey key = keys[i % keys.Length];
            lock (wanted)
            {
                wanted[key] = i;
            }

            queue.Add(key);
        }

        while (!queue.IdleFor(TimeSpan.Zero))
        {
            await Task.Delay(5, TestContext.Current.CancellationToken);
        }

        await stop.CancelAsync();
        await running;
        Assert.Equal(0, overlaps);
        Assert.All(keys, k => Assert.Equal(wanted[k], seen[k]));
    }

    [Fact]
    public async Task Controller_ReconcileThrows_BacksOffForThatNameOnly()
    {
        var time = new FakeTimeProvider();
        using var queue = new WorkQueue("test", time, TimeSpan.FromSeconds(1), TimeSpan.FromMinutes(1));
        int failing = 0, fine = 0;
        using var stop = new CancellationTokenSource();
        Task running = new Controller(queue, (key, _) =>
        {
            if (key == A)
            {
                Interlocked.Increment(ref failing);
                throw new InvalidOperationException("broken");
            }

            Interlocked.Increment(ref fine);
            return Task.FromResult<TimeSpan?>(null);
        }, NullLogger.Instance, workers: 2, time: time).RunAsync(stop.Token);
        queue.Add(A);
        queue.Add(B);
        await Until(() => failing == 1 && fine == 1 && queue.Failures(A) == 1);
        var times = new List<double>();
        double elapsed = 0;
        while (times.Count < 7)
        {
            int before = failing;
            time.Advance(TimeSpan.FromMilliseconds(250));
            elapsed += 0.25;
            await Until(() =>
            {
                if (queue.IdleFor(TimeSpan.Zero))
                {
                    return true;
                }

                // What is due in this very millisecond is released with the next.
                time.Advance(TimeSpan.FromMilliseconds(1));
                elapsed += 0.001;
                return false;
            });
            if (failing > before)
            {
                times.Add(elapsed);
            }

            Assert.True(elapsed < 400);
        }

        double[] gaps = [.. times.Zip(times.Skip(1), (a, b) => b - a)];
        Assert.True(gaps[^1] > 3 * gaps[0], $"grows: {string.Join(" ", gaps)}");
        Assert.All(gaps, g => Assert.True(g <= 60.5));
        Assert.Equal(1, fine);
        queue.Forget(A);
        Assert.Equal(0, queue.Failures(A));
        await stop.CancelAsync();
        await running;
    }

    [Fact]
    public async Task Controller_Stopped_LetsWorkInFlightFinish()
    {
        using var queue = new WorkQueue("test");
        var entered = new TaskCompletionSource();
        var release = new TaskCompletionSource();
        bool finished = false;
        using var stop = new CancellationTokenSource();
        Task running = new Controller(queue, async (_, cancellation) =>
        {
            entered.SetResult();
            await release.Task.WaitAsync(cancellation);
            finished = true;
            return null;
        }, NullLogger.Instance, workers: 1, drain: TimeSpan.FromSeconds(20)).RunAsync(stop.Token);
        queue.Add(A);
        await entered.Task;
        queue.Add(B);
        await stop.CancelAsync();
        Assert.False(running.IsCompleted);
        release.SetResult();
        await running;
        Assert.True(finished);
        Assert.Equal(1, queue.Depth);
    }

    [Fact]
    public async Task AddAfter_EarlierTime_Wins()
    {
        var time = new FakeTimeProvider();
        using var queue = new WorkQueue("test", time);
        queue.AddAfter(A, TimeSpan.FromSeconds(100));
        queue.AddAfter(A, TimeSpan.FromSeconds(10));
        queue.AddAfter(A, TimeSpan.FromSeconds(50));
        time.Advance(TimeSpan.FromSeconds(9));
        Assert.Equal(0, queue.Depth);
        time.Advance(TimeSpan.FromSeconds(2));
        Assert.Equal(1, queue.Depth);
        await queue.TakeAsync(TestContext.Current.CancellationToken);
        queue.Done(A);
        time.Advance(TimeSpan.FromSeconds(200));
        Assert.Equal(0, queue.Depth);
    }

    [Fact]
    public void Backoff_OfAnyFailure_StaysInItsBounds()
    {
        for (int failures = 1; failures < 100; failures++)
        {
            TimeSpan delay = Backoff.Of(failures, TimeSpan.FromMilliseconds(50), TimeSpan.FromMinutes(2));
            Assert.InRange(delay, TimeSpan.FromMilliseconds(25), TimeSpan.FromMinutes(2));
        }
    }

    private static async Task Until(Func<bool> condition)
    {
        long begun = Stopwatch.GetTimestamp();
        while (!condition())
        {
            Assert.True(Stopwatch.GetElapsedTime(begun) < TimeSpan.FromMinutes(1), "it never came to pass");
            await Task.Delay(1, TestContext.Current.CancellationToken);
        }
    }
}
