// Why this exists: an operator inside the test process that can be stopped gracefully or as if it had been killed.
using CoCLR.Cluster;
using CoCLR.Operator.Hosting;

namespace CoCLR.Operator.Tests.Harness;

internal sealed record TestOperatorOptions
{
    public TimeProvider Time { get; init; } = TimeProvider.System;

    public InformerOptions Informers { get; init; } = new()
    {
        PageSize = 50, Silence = TimeSpan.FromSeconds(4), MaximumBackoff = TimeSpan.FromSeconds(1),
        MinimumBackoff = TimeSpan.FromMilliseconds(50)
    };

    public bool LeaderElect { get; init; }

    public string? Identity { get; init; }

    public Func<string, Task>? BeforeWrite { get; init; }

    public Func<OperatorOptions, OperatorOptions> Settings { get; init; } = o => o;

    public string? Kubeconfig { get; init; }

    public LeaderOptions? Leader { get; init; }
}

internal sealed class TestOperator : IAsyncDisposable
{
    private readonly CancellationTokenSource _stop = new();
    private readonly Task _running;
    private bool _gone;

    public TestOperator(Arena arena, TestOperatorOptions options)
    {
        var settings = options.Settings(new OperatorOptions
        {
            Kubeconfig = options.Kubeconfig ?? arena.Kubeconfig,
            LeaderElect = options.LeaderElect,
            LeaseNamespace = arena.Namespace,
            Identity = options.Identity,
            Namespaces = arena.Namespace,
        });
        Runtime = new OperatorRuntime(settings, Loggers.Factory(), options.Time, options.Informers, options.Leader, options.BeforeWrite);
        _running = Task.Run(() => Runtime.RunAsync(_stop.Token));
    }

    public TestLoggers Loggers { get; } = new();

    public OperatorRuntime Runtime { get; }

    /// <summary>SIGTERM: what is in flight may finish.</summary>
    public async Task StopAsync()
    {
        if (!_gone)
        {
            _gone = true;
            await _stop.CancelAsync();
            await _running;
            Runtime.Dispose();
        }
    }

    /// <summary>SIGKILL: from this moment nothing is written, not even the lease.</summary>
    public Task KillAsync()
    {
        Runtime.Abandon();
        return StopAsync();
    }

    public async ValueTask DisposeAsync()
    {
        await StopAsync();
        _stop.Dispose();
    }
}
