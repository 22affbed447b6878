// Why this exists: a fault that does not strike, or strikes more than asked, would make every test built on it worthless.
using System.Net;

namespace CoCLR.TrialCluster.Tests;

public sealed class FaultTests : IAsyncLifetime
{
    private InProcessCluster _cluster = null!;
    private Api _api = null!;

    public async ValueTask InitializeAsync()
    {
        _cluster = await InProcessCluster.StartAsync(
            new InProcessClusterOptions { RunPods = false, RunControllers = false }, TestContext.Current.CancellationToken);
        _api = new Api(_cluster);
    }

    public async ValueTask DisposeAsync()
    {
        _api.Dispose();
        await _cluster.DisposeAsync();
    }

    [Fact]
    public async Task ConflictOnce_StrikesOneWrite()
    {
        var fault = _cluster.Faults.ConflictOnce("configmaps");
        Assert.Equal(409, (await _api.Post(Objects.ConfigMaps, Objects.ConfigMap("a"))).Code);
        await _api.Ok(_api.Post(Objects.ConfigMaps, Objects.ConfigMap("a")));
        Assert.Equal(1, fault.Hits);
    }

    [Fact]
    public async Task TooManyRequests_TellsWhenToComeBack()
    {
        _cluster.Faults.TooManyRequests(t => t.Verb == "list", retryAfter: 2);
        var answer = await _api.Get(Objects.ConfigMaps);
        Assert.Equal((429, TimeSpan.FromSeconds(2)), (answer.Code, answer.Headers.RetryAfter!.Delta));
        await _api.Ok(_api.Get(Objects.ConfigMaps));
    }

    [Fact]
    public async Task KillBetweenWrites_StoresTheWriteAndAnswersNobody()
    {
        _cluster.Faults.KillBetweenWrites(2);
        await _api.Ok(_api.Post(Objects.ConfigMaps, Objects.ConfigMap("a")));
        await Assert.ThrowsAnyAsync<HttpRequestException>(() => _api.Post(Objects.ConfigMaps, Objects.ConfigMap("b")));
        Assert.NotNull(_cluster.Store.Get(new ResourceKey("", "configmaps"), "default", "b"));
        var hanging = _api.Get(Objects.ConfigMaps);
        await Objects.Until(() => Task.FromResult(_cluster.Faults.Held == 1), "the request has arrived");
        Assert.False(hanging.IsCompleted);
        _cluster.Faults.Restore();
        await _api.Ok(hanging);
    }

    [Fact]
    public async Task Watch_GoneAsEvent_EndsTheStream()
    {
        _cluster.Faults.GoneEvent("configmaps");
        var types = new List<string?>();
        await foreach (var e in _api.Watch(Objects.ConfigMaps + "?watch=1&resourceVersion=1", TestContext.Current.CancellationToken))
        {
            types.Add(e.Text("type"));
        }

        Assert.Equal("ERROR", types[^1]);
    }

    [Fact]
    public async Task Watch_GoneAsHttp_IsAStatus()
    {
        _cluster.Faults.GoneHttp("configmaps");
        await foreach (var e in _api.Watch(Objects.ConfigMaps + "?watch=1&resourceVersion=1", TestContext.Current.CancellationToken))
        {
            Assert.Equal((int)HttpStatusCode.Gone, e.Number("code"));
            return;
        }

        Assert.Fail("the watch said nothing");
    }

    [Theory]
    [InlineData(FaultKind.WatchHalfLine)]
    [InlineData(FaultKind.WatchClose)]
    public async Task Watch_ThatBreaks_EndsEarly(FaultKind kind)
    {
        _cluster.Faults.OnWatch(kind, "configmaps");
        await _api.Ok(_api.Post(Objects.ConfigMaps, Objects.ConfigMap("a")));
        var complete = 0;
        var broken = false;
        try
        {
            await foreach (
                var _ in _api.Watch(
                    Objects.ConfigMaps + "?watch=1&resourceVersion=1&labelSelector=app", TestContext.Current.CancellationToken))
            {
                complete++;
            }
        }
        catch (Exception e) when (e is HttpIOException or IOException or System.Text.Json.JsonException)
        {
            broken = true;
        }

        Assert.Equal((0, kind == FaultKind.WatchHalfLine), (complete, broken));
    }

    [Fact]
    public async Task Watch_ThatFallsSilent_StaysOpenAndSaysNothing()
    {
        Fault silent = _cluster.Faults.OnWatch(FaultKind.WatchSilent, "configmaps");
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(TestContext.Current.CancellationToken);
        var watching = Task.Run(
            async () =>
            {
                await foreach (
                    var e in _api.Watch(
                        Objects.ConfigMaps + "?watch=1&resourceVersion=1&allowWatchBookmarks=true&fieldSelector=metadata.name%3Da",
                        limit.Token))
                {
                    Assert.Fail("the watch said " + e.ToJsonString());
                }
            },
            TestContext.Current.CancellationToken);
        await Objects.Until(() => Task.FromResult(silent.Hits == 1), "the watch is open and silent");
        await _api.Ok(_api.Post(Objects.ConfigMaps, Objects.ConfigMap("a")));

        // Another watch is told of it meanwhile.
        await foreach (
            var told in _api.Watch(
                Objects.ConfigMaps + "?watch=1&resourceVersion=1&fieldSelector=metadata.name%3Da", TestContext.Current.CancellationToken))
        {
            Assert.Equal("ADDED", told["type"]!.ToString());
            break;
        }

        Assert.False(watching.IsCompleted);
        await limit.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => watching);
    }

    [Fact]
    public async Task Log_CountsTheWritesOfEachObject()
    {
        await _api.Ok(_api.Post(Objects.ConfigMaps, Objects.ConfigMap("a")));
        await _api.Ok(_api.Merge(Objects.ConfigMaps + "/a", """{"data":{"key":"2"}}"""));
        await _api.Ok(_api.Get(Objects.ConfigMaps));
        await Objects.Until(() => Task.FromResult(_cluster.Log.All.Count >= 3), "all are logged");
        Assert.Equal(1, _cluster.Log.WritesByObject["configmaps/default/a"]);
        Assert.Equal(2, _cluster.Log.Writes.Count);
    }

    [Fact]
    public async Task Poison_PastTheSchema_IsServedAsStored()
    {
        await _api.Ok(
            _api.Post(
                "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
                Objects.Crd("""{"type":"object","properties":{"a":{"type":"integer"}}}""")));
        var poison = Objects.Widget("""{"a":{"not":"a number"}}""");
        poison["metadata"]!["namespace"] = "default";
        _cluster.StoreUnchecked(poison);
        Assert.Equal("a number", (await _api.Ok(_api.Get(Objects.Widgets))).Items("items")[0].Text("spec", "a", "not"));
    }
}
