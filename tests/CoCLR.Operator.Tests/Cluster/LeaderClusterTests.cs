// Why this exists: two operators never write at once, whatever happens to one of them.
using CoCLR.Cluster;
using CoCLR.Operator.Runtime;
using CoCLR.Operator.Tests.Harness;
using CoCLR.TrialCluster;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Extensions.Time.Testing;

namespace CoCLR.Operator.Tests.Cluster;

public class LeaderClusterTests
{
    private static LeaderOptions Short(Arena arena, string identity) => new()
    {
        Namespace = arena.Namespace,
        Identity = identity,
        LeaseDuration = TimeSpan.FromSeconds(4),
        RenewDeadline = TimeSpan.FromSeconds(2),
        RetryPeriod = TimeSpan.FromMilliseconds(300),
    };

    private static string Kubeconfig(Arena arena, string user)
    {
        string file = Path.Combine(arena.Cluster.Folder, user + ".kubeconfig");
        File.WriteAllText(file, arena.Cluster.AddUser(user, "system:masters"));
        return file;
    }

    [Fact]
    public async Task Leader_CutOff_StopsWritingBeforeAnotherLeads()
    {
        await using Arena arena = await Arena.StartAsync();
        TestOperator a = await arena.StartOperatorAsync(
            new TestOperatorOptions { LeaderElect = true, Leader = Short(arena, "a"), Kubeconfig = Kubeconfig(arena, "a") });
        await Arena.UntilAsync("a leads", () => Task.FromResult(a.Runtime.Leads));
        TestOperator b = await arena.StartOperatorAsync(
            new TestOperatorOptions { LeaderElect = true, Leader = Short(arena, "b"), Kubeconfig = Kubeconfig(arena, "b") });
        Assert.False(b.Runtime.Leads);
        await arena.ApplyAsync(arena.Experiment("one"));
        await arena.Play.JobAsync("one", "decode");
        Assert.DoesNotContain(arena.Cluster.Log.Writes, w => w.User == "b");

        Fault cut =
            arena.Cluster.Faults.Add(new Fault { Kind = FaultKind.CutBefore, Times = -1, When = t => t.User == "a" && t.Event is null });
        await Arena.UntilAsync("b leads", () =>
        {
            Assert.False(a.Runtime.Leads && b.Runtime.Leads);
            return Task.FromResult(b.Runtime.Leads);
        });
        arena.Cluster.Faults.Remove(cut);
        arena.Cluster.Log.Clear();
        await arena.ApplyAsync(arena.Experiment("two"));
        await arena.Play.JobAsync("two", "decode");
        await arena.StateAsync("two", "Starting");
        Assert.DoesNotContain(arena.Cluster.Log.Writes, w => w.User == "a");
        Assert.True(b.Runtime.Leads);

        // Once b has gone, a leads again.
        await b.StopAsync();
        await Arena.UntilAsync("a leads again", () => Task.FromResult(a.Runtime.Leads));
        await arena.ApplyAsync(arena.Experiment("three"));
        await arena.Play.JobAsync("three", "decode");
    }

    [Fact]
    public async Task Leader_StopsGracefully_FollowerDoesNotWaitForTheLeaseToExpire()
    {
        await using Arena arena = await Arena.StartAsync();

        // Who waits for such a lease to expire waits longer than this test.
        TestOperatorOptions Patient(string identity) =>
            new() { LeaderElect = true, Leader = Short(arena, identity) with { LeaseDuration = TimeSpan.FromHours(1) } };
        TestOperator a = await arena.StartOperatorAsync(Patient("a"));
        await Arena.UntilAsync("a leads", () => Task.FromResult(a.Runtime.Leads));
        TestOperator b = await arena.StartOperatorAsync(Patient("b"));
        await a.StopAsync();
        await Arena.UntilAsync("b leads", () => Task.FromResult(b.Runtime.Leads));
    }

    [Fact]
    public async Task Leader_PausedPastItsLease_KnowsWithoutAskingAnybody()
    {
        await using Arena arena = await Arena.StartAsync();
        var time = new FakeTimeProvider();
        var elector = new LeaderElector(arena.Client, Short(arena, "paused"), NullLogger.Instance, time);
        using var stop = new CancellationTokenSource();
        Task running = elector.RunAsync(async c => await Task.Delay(Timeout.InfiniteTimeSpan, c), stop.Token);
        await Arena.UntilAsync("it leads", () => Task.FromResult(elector.MayWrite));
        using var writer = new ApiWriter(arena.Client, () => elector.MayWrite);
        using (var made = await writer.CreateAsync(ResourceKind.ConfigMap, arena.Namespace, Map("before"), TestContext.Current.CancellationToken))
        {
            Assert.NotNull(await arena.GetAsync(ResourceKind.ConfigMap, "before"));
        }

        // The clock moves on while nothing of the process runs: its first act must not be a write.
        arena.Cluster.Faults.Add(
            new Fault { Kind = FaultKind.CutBefore, Times = -1, When = t => t.Resource.StartsWith("leases", StringComparison.Ordinal) });
        time.Advance(TimeSpan.FromSeconds(10));
        Assert.False(elector.MayWrite);
        await Assert.ThrowsAsync<NotLeaderException>(
            () => writer.CreateAsync(ResourceKind.ConfigMap, arena.Namespace, Map("after"), TestContext.Current.CancellationToken));
        Assert.Null(await arena.GetAsync(ResourceKind.ConfigMap, "after"));
        arena.Cluster.Faults.Clear();
        await EndAsync(running, stop, time);
    }

    // The server may have stored a renewal the moment it was asked: another process counts from there.
    [Fact]
    public async Task Renewal_AnsweredLate_CountsFromWhenItWasAsked()
    {
        await using Arena arena = await Arena.StartAsync();
        var time = new FakeTimeProvider();
        LeaderOptions options = Short(arena, "slow");
        var elector = new LeaderElector(arena.Client, options, NullLogger.Instance, time);
        using var stop = new CancellationTokenSource();
        Task running = elector.RunAsync(async c => await Task.Delay(Timeout.InfiniteTimeSpan, c), stop.Token);
        await Arena.UntilAsync("it leads", () => Task.FromResult(elector.MayWrite));
        string? first = await RenewedAsync(arena);

        // The renewal is asked, and answered 0.9 of its 2 seconds later.
        arena.Cluster.Faults.Cut();
        await Arena.UntilAsync("it is asked", () =>
        {
            if (arena.Cluster.Faults.Held == 0)
            {
                time.Advance(options.RetryPeriod);
            }

            return Task.FromResult(arena.Cluster.Faults.Held > 0);
        });
        time.Advance(TimeSpan.FromSeconds(0.9));
        arena.Cluster.Faults.Restore();
        await Arena.UntilAsync("it is answered", async () => await RenewedAsync(arena) != first);

        // No other renewal is answered.
        Fault cut = arena.Cluster.Faults.Add(
            new Fault { Kind = FaultKind.CutBefore, Times = -1, When = t => t.Resource.StartsWith("leases", StringComparison.Ordinal) });
        time.Advance(TimeSpan.FromSeconds(1.2));
        Assert.False(elector.MayWrite);
        arena.Cluster.Faults.Remove(cut);
        await EndAsync(running, stop, time);
    }

    [Fact]
    public async Task Lease_TakenByAnother_IsNotReleased()
    {
        await using Arena arena = await Arena.StartAsync();
        var time = new FakeTimeProvider();
        var elector = new LeaderElector(arena.Client, Short(arena, "mine"), NullLogger.Instance, time);
        using var stop = new CancellationTokenSource();
        Task running = elector.RunAsync(async c => await Task.Delay(Timeout.InfiniteTimeSpan, c), stop.Token);
        await Arena.UntilAsync("it leads", () => Task.FromResult(elector.MayWrite));
        string name = Short(arena, "mine").Name;
        await arena.PatchAsync(
            ResourceKind.Lease,
            name,
            new System.Text.Json.Nodes.JsonObject { ["spec"] = new System.Text.Json.Nodes.JsonObject { ["holderIdentity"] = "other" } });
        await EndAsync(running, stop, time);
        Assert.Equal("other", (await arena.GetAsync(ResourceKind.Lease, name))!["spec"]!["holderIdentity"]!.ToString());
    }

    [Fact]
    public async Task Lease_NotAllowed_IsLoudNotReadyAndHeals()
    {
        await using Arena arena = await Arena.StartAsync();
        Fault forbidden = arena.Cluster.Faults.Forbid(t => t.Resource.StartsWith("leases", StringComparison.Ordinal));
        TestOperator a =
            await arena.StartOperatorAsync(new TestOperatorOptions { LeaderElect = true, Leader = Short(arena, "a") }, ready: false);
        await Arena.UntilAsync(
            "it says so",
            () => Task.FromResult(a.Runtime.Problems.Any(p => p.Contains("leases.coordination.k8s.io", StringComparison.Ordinal))));
        Assert.False(a.Runtime.Leads);
        Assert.Equal(1, a.Loggers.Lines.Count(l => l.Level == Microsoft.Extensions.Logging.LogLevel.Error));
        arena.Cluster.Faults.Remove(forbidden);
        await Arena.UntilAsync("it leads", () => Task.FromResult(a.Runtime.Leads && a.Runtime.Problems.Count == 0));
    }

    [Fact]
    public async Task Work_Throws_LeaderIsElectedAgain()
    {
        await using Arena arena = await Arena.StartAsync();
        var elector = new LeaderElector(arena.Client, Short(arena, "a"), NullLogger.Instance);
        using var stop = new CancellationTokenSource();
        int times = 0;
        Task running = elector.RunAsync(_ => ++times < 3 ? throw new InvalidOperationException("broken") : stop.CancelAsync(), stop.Token);
        await running;
        Assert.Equal(3, times);
    }

    private static async Task<string?> RenewedAsync(Arena arena) =>
        (await arena.GetAsync(ResourceKind.Lease, Short(arena, "").Name))?["spec"]?["renewTime"]?.ToString();

    private static async Task EndAsync(Task running, CancellationTokenSource stop, FakeTimeProvider time)
    {
        await stop.CancelAsync();
        await Arena.UntilAsync("it ends", () =>
        {
            time.Advance(TimeSpan.FromSeconds(0.2));
            return Task.FromResult(running.IsCompleted);
        });
    }

    private static System.Text.Json.Nodes.JsonObject Map(string name) =>
        new() { ["apiVersion"] = "v1", ["kind"] = "ConfigMap", ["metadata"] = new System.Text.Json.Nodes.JsonObject { ["name"] = name } };
}
