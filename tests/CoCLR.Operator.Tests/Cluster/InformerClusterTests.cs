// Why this exists: the cache stays true through everything that happens to a watch.
using System.Text.Json.Nodes;
using CoCLR.Cluster;
using CoCLR.Core.Manifests;
using CoCLR.Core.Manifests.Status;
using CoCLR.Operator.Api;
using CoCLR.Operator.Tests.Harness;
using CoCLR.TrialCluster;
using Microsoft.Extensions.Logging.Abstractions;

namespace CoCLR.Operator.Tests.Cluster;

public class InformerClusterTests
{
    private const string Experiments = "coclrexperiments.coclr.dev";

    // Each of these ends a watch in its own way; nothing may be lost, and nothing may spin.
    [Theory]
    [InlineData(FaultKind.WatchGone)]
    [InlineData(FaultKind.WatchHalfLine)]
    [InlineData(FaultKind.WatchClose)]
    [InlineData(FaultKind.WatchGarbage)]
    [InlineData(FaultKind.WatchSilent)]
    public async Task Watch_Ends_NothingIsLostAndNothingSpins(FaultKind kind)
    {
        await using Arena arena = await Arena.StartAsync();
        using var cache = new Cache(arena);
        await arena.ApplyAsync(arena.Experiment("before"));
        await cache.HasAsync("before");
        Fault fault = arena.Cluster.Faults.OnWatch(kind, Experiments, times: 3);
        arena.Cluster.Log.Clear();
        for (int i = 0; i < 6; i++)
        {
            await arena.ApplyAsync(arena.Experiment($"during-{i}"));
            await arena.DeleteAsync(ResourceKind.Experiment, i == 0 ? "before" : $"during-{i - 1}");
        }

        await cache.HasAsync("during-5");
        await cache.LacksAsync("before", "during-0", "during-1", "during-2", "during-3", "during-4");
        Assert.True(fault.Hits > 0);
        int requests = arena.Cluster.Log.All.Count(r => r.Resource == Experiments && r.Verb is "list" or "watch");
        Assert.InRange(requests, 1, 40);
        Assert.All(cache.Told.GroupBy(t => t.Name).Select(g => g.Count(t => t.Gone)), gone => Assert.InRange(gone, 0, 1));
    }

    [Theory]
    [InlineData("watch")]
    [InlineData("list")]
    public async Task Server_AnswersExpired_ListsAnew(string verb)
    {
        await using Arena arena = await Arena.StartAsync();
        arena.Cluster.Faults.GoneHttp(Experiments, verb, times: 3);
        using var cache = new Cache(arena);
        await arena.ApplyAsync(arena.Experiment("a"));
        await cache.HasAsync("a");
    }

    // The continue token of a later page expires.
    [Fact]
    public async Task List_ContinueTokenExpires_ListsInOnePiece()
    {
        await using Arena arena = await Arena.StartAsync();
        for (int i = 0; i < 7; i++)
        {
            await arena.ApplyAsync(arena.Experiment($"e{i}"));
        }

        int lists = 0;
        arena.Cluster.Log.Clear();
        arena.Cluster.Faults.Add(new Fault
        {
            Kind = FaultKind.Status, Times = 1, Code = 410, Reason = "Expired",
            When = t => t.Verb == "list" && t.Resource == Experiments && ++lists == 2,
        });
        using var cache = new Cache(arena, new InformerOptions { PageSize = 3 });
        await cache.HasAsync("e0", "e1", "e2", "e3", "e4", "e5", "e6");
        Assert.Equal(3, arena.Cluster.Log.All.Count(r => r.Verb == "list" && r.Resource == Experiments));
    }

    // The first list is paged.
    [Fact]
    public async Task List_ManyObjects_IsPaged()
    {
        await using Arena arena = await Arena.StartAsync();
        for (int i = 0; i < 7; i++)
        {
            await arena.ApplyAsync(arena.Experiment($"e{i}"));
        }

        arena.Cluster.Log.Clear();
        using var cache = new Cache(arena, new InformerOptions { PageSize = 3 });
        await cache.HasAsync("e0", "e6");
        Assert.Equal(3, arena.Cluster.Log.All.Count(r => r.Verb == "list" && r.Resource == Experiments));
    }

    [Fact]
    public async Task Object_DeletedWhileTheServerWasAway_IsToldAsDeleted()
    {
        await using Arena arena = await Arena.StartAsync();
        await arena.ApplyAsync(arena.Experiment("gone"));
        await arena.ApplyAsync(arena.Experiment("again"));
        using var cache = new Cache(arena);
        await cache.HasAsync("gone", "again");
        string uid = cache.Informer.Get(new ObjectKey(arena.Namespace, "again"))!.Meta.Uid;

        // The stream falls silent and its version expires: what happened meanwhile is known from a list only.
        arena.Cluster.Faults.OnWatch(FaultKind.WatchSilent, Experiments);
        arena.Cluster.Faults.GoneHttp(Experiments);
        await arena.DeleteAsync(ResourceKind.Experiment, "gone");
        await arena.DeleteAsync(ResourceKind.Experiment, "again");
        await arena.ApplyAsync(arena.Experiment("again"));
        await cache.LacksAsync("gone");
        await Arena.UntilAsync(
            "the new object is known",
            () => Task.FromResult(cache.Informer.Get(new ObjectKey(arena.Namespace, "again")) is { } again && again.Meta.Uid != uid));
        Assert.Equal([(uid, true)], cache.Told.Where(t => t.Name == "again" && t.Gone).Select(t => (t.Uid, t.Gone)));
    }

    [Fact]
    public async Task Watch_FallsSilent_IsOpenedAnewAndReadinessDrops()
    {
        await using Arena arena = await Arena.StartAsync();
        using var cache = new Cache(
            arena,
            new InformerOptions
            {
                Silence = TimeSpan.FromSeconds(2), StaleAfter = TimeSpan.FromSeconds(3), MinimumBackoff = TimeSpan.FromMilliseconds(50)
            });
        await arena.ApplyAsync(arena.Experiment("a"));
        await cache.HasAsync("a");
        Assert.Null(cache.Informer.Problem);
        arena.Cluster.Faults.Cut();
        await Arena.UntilAsync(
            "readiness drops", () => Task.FromResult(cache.Informer.Problem?.Contains("no contact", StringComparison.Ordinal) == true));
        arena.Cluster.Faults.Restore();
        await arena.ApplyAsync(arena.Experiment("b"));
        await cache.HasAsync("b");
        await Arena.UntilAsync("readiness is back", () => Task.FromResult(cache.Informer.Problem == null));
    }

    [Fact]
    public async Task Watch_ClosesNormallyManyTimes_StillTells()
    {
        await using Arena arena = await Arena.StartAsync();
        arena.Cluster.Log.Clear();
        using var cache = new Cache(
            arena,
            new InformerOptions
            {
                WatchTimeout = TimeSpan.FromSeconds(1), MinimumBackoff = TimeSpan.FromMilliseconds(10),
                MaximumBackoff = TimeSpan.FromMilliseconds(20)
            });
        await Arena.UntilAsync(
            "the watch was opened five times",
            () => Task.FromResult(arena.Cluster.Log.All.Count(r => r.Resource == Experiments && r.Verb == "watch") >= 5));
        await arena.ApplyAsync(arena.Experiment("late"));
        await cache.HasAsync("late");
        Assert.Equal(1, arena.Cluster.Log.All.Count(r => r.Resource == Experiments && r.Verb == "list"));
    }

    [Theory]
    [InlineData("list")]
    [InlineData("watch")]
    public async Task First_RequestFails_IsTriedAgain(string verb)
    {
        await using Arena arena = await Arena.StartAsync();
        arena.Cluster.Faults.Add(
            new Fault
            {
                Kind = FaultKind.CutBefore, Times = 1, When = t => t.Verb == verb && t.Resource == Experiments && t.Event is null
            });
        arena.Cluster.Faults.Add(
            new Fault
            {
                Kind = FaultKind.Status, Times = 1, Code = 500, When = t => t.Verb == verb && t.Resource == Experiments && t.Event is null
            });
        using var cache = new Cache(arena);
        await arena.ApplyAsync(arena.Experiment("a"));
        await cache.HasAsync("a");
    }

    [Fact]
    public async Task Event_Unreadable_IsCountedAndTheObjectIsStillSeen()
    {
        await using Arena arena = await Arena.StartAsync();
        using var cache = new Cache(arena);
        await arena.ApplyAsync(arena.Experiment("a"));
        await cache.HasAsync("a");
        arena.Cluster.Faults.OnWatch(FaultKind.WatchGarbage, Experiments);
        await arena.ApplyAsync(arena.Experiment("b"));
        await cache.HasAsync("a", "b");
        Assert.Equal(1, cache.Informer.Unreadable);
    }

    // What a write returned may be read after the watch has told of what came later.
    [Fact]
    public async Task Answer_BehindTheWatch_BringsNothingBack()
    {
        await using Arena arena = await Arena.StartAsync();
        using var cache = new Cache(arena);
        await arena.ApplyAsync(arena.Experiment("changed"));
        JsonObject old = await arena.ApplyAsync(arena.Experiment("deleted"));
        JsonObject first = (await arena.GetAsync(ResourceKind.Experiment, "changed"))!;
        await cache.HasAsync("changed", "deleted");
        string newest = (await arena.SetSpecAsync("changed", "suspend", true))["metadata"]!["resourceVersion"]!.ToString();
        await arena.DeleteAsync(ResourceKind.Experiment, "deleted");
        await cache.LacksAsync("deleted");
        await Arena.UntilAsync("the change is known", () => Task.FromResult(Version() == newest));

        cache.Informer.Observe(Scene.Element(old));
        Assert.Null(cache.Informer.Get(new ObjectKey(arena.Namespace, "deleted")));
        cache.Informer.Observe(Scene.Element(first), justRead: true);
        Assert.Equal(newest, Version());

        string? Version() => cache.Informer.Get(new ObjectKey(arena.Namespace, "changed"))?.Meta.ResourceVersion;
    }

    // The dashboard says that what it shows may be old; it must not wait until readiness drops.
    [Fact]
    public async Task Server_Away_FailureIsToldAndGoesAgain()
    {
        await using Arena arena = await Arena.StartAsync();
        using var cache = new Cache(arena);
        await arena.ApplyAsync(arena.Experiment("a"));
        await cache.HasAsync("a");
        Assert.Null(cache.Informer.Failure);
        int told = 0;
        cache.Informer.OnFailure(() => Interlocked.Increment(ref told));
        Fault forbidden = arena.Cluster.Faults.Forbid(t => t.Resource == Experiments);
        arena.Cluster.Faults.DropConnections();
        await Arena.UntilAsync("it is refused", () => Task.FromResult(cache.Informer.Forbidden));
        Assert.Contains("forbidden by the test", cache.Informer.Failure!, StringComparison.Ordinal);
        Assert.NotNull(cache.Informer.Get(new ObjectKey(arena.Namespace, "a")));
        arena.Cluster.Faults.Remove(forbidden);
        await Arena.UntilAsync("it is well again", () => Task.FromResult(cache.Informer.Failure == null && !cache.Informer.Forbidden));
        Assert.True(Volatile.Read(ref told) >= 2);
    }

    /// <summary>An informer of experiments and what it told.</summary>
    private sealed class Cache : IDisposable
    {
        private readonly Arena _arena;
        private readonly CancellationTokenSource _stop = new();
        private readonly ApiClient _client;

        public Cache(Arena arena, InformerOptions? options = null)
        {
            _arena = arena;
            _client = new ApiClient(k8s.KubernetesClientConfiguration.BuildConfigFromConfigFile(arena.Kubeconfig));
            Informer = new Informer<CustomResource<ExperimentSpec, ExperimentStatus>>(
                _client, ResourceKind.Experiment, item =>
                    CustomResource.Read<ExperimentSpec, ExperimentStatus>(item), NullLogger.Instance, null, [arena.Namespace],
                options ?? new InformerOptions
                {
                    Silence = TimeSpan.FromSeconds(3), MinimumBackoff = TimeSpan.FromMilliseconds(50),
                    MaximumBackoff = TimeSpan.FromSeconds(1)
                });
            Informer.OnChange(c => Told.Enqueue((c.Key.Name, (c.New ?? c.Old!).Meta.Uid, c.New == null)));
            _ = Informer.RunAsync(_stop.Token);
        }

        public Informer<CustomResource<ExperimentSpec, ExperimentStatus>> Informer { get; }

        public System.Collections.Concurrent.ConcurrentQueue<(string Name, string Uid, bool Gone)> Told { get; } = new();

        public Task HasAsync(params string[] names) => Arena.UntilAsync(
            $"the cache has {string.Join(", ", names)}",
            () => Task.FromResult(names.All(n => Informer.Get(new ObjectKey(_arena.Namespace, n)) != null)));

        public Task LacksAsync(params string[] names) => Arena.UntilAsync(
            $"the cache lacks {string.Join(", ", names)}",
            () => Task.FromResult(names.All(n => Informer.Get(new ObjectKey(_arena.Namespace, n)) == null)));

        public void Dispose()
        {
            _stop.Cancel();
            _stop.Dispose();
            _client.Dispose();
        }
    }
}
