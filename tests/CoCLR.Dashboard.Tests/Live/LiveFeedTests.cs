// Why this exists: one listener that fails must not go deaf, nor make others so.
using CoCLR.Dashboard.Storage;
using Microsoft.Extensions.Logging;

namespace CoCLR.Dashboard.Tests.Live;

public sealed class LiveFeedTests
{
    [Fact]
    public async Task Listener_ThatThrows_IsLoggedAndToldAgain()
    {
        var logs = new Lines();
        var feed = new LiveFeed(logs);
        var calls = new SemaphoreSlim(0);
        int count = 0;
        using Subscription subscription = feed.Listen("r1", TimeSpan.FromMilliseconds(1), () =>
        {
            calls.Release();
            return ++count switch
            {
                1 => throw new InvalidOperationException("at once"),
                2 => Task.FromException(new ObjectDisposedException("a renderer")),
                3 => Task.FromException(new TaskCanceledException("of something else")),
                _ => Task.CompletedTask,
            };
        });
        for (int call = 1; call <= 5; call++)
        {
            feed.Changed("r1");
            Assert.True(await calls.WaitAsync(TimeSpan.FromSeconds(30)), $"call {call}");
        }

        Assert.Equal(3, logs.Count);
    }

    [Fact]
    public async Task Listener_ThatIsDisposedWhileItWorks_EndsWithoutANote()
    {
        var logs = new Lines();
        var feed = new LiveFeed(logs);
        Subscription? subscription = null;
        var begun = new TaskCompletionSource();
        var end = new TaskCompletionSource();
        subscription = feed.Listen("r1", TimeSpan.FromMilliseconds(1), async () =>
        {
            begun.SetResult();
            await end.Task;
            throw new ObjectDisposedException("the page");
        });
        feed.Changed("r1");
        await begun.Task.WaitAsync(TimeSpan.FromSeconds(30));
        subscription.Dispose();
        end.SetResult();
        Assert.Equal(0, feed.Listeners);
        Assert.Equal(0, logs.Count);
    }

    private sealed class Lines : ILogger<LiveFeed>
    {
        private int _count;

        public int Count => Volatile.Read(ref _count);

        public IDisposable? BeginScope<TState>(TState state)
            where TState : notnull => null;

        public bool IsEnabled(LogLevel logLevel) => true;

        public void Log<TState>(
            LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter)
        {
            Assert.NotNull(exception);
            Interlocked.Increment(ref _count);
        }
    }
}
