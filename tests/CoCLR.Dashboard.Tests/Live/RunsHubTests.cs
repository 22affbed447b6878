// Why this exists: a listener that comes, goes and comes back sees every point once, and only of runs that it may see.
using System.Runtime.CompilerServices;
using System.Text.Json;
using CoCLR.Dashboard.Authentication;
using CoCLR.Dashboard.Configuration;
using CoCLR.Dashboard.Tests.Fixtures;
using Microsoft.AspNetCore.SignalR;
using Microsoft.AspNetCore.SignalR.Client;
using Microsoft.Extensions.DependencyInjection;

namespace CoCLR.Dashboard.Tests.Live;

public sealed class RunsHubTests(ServerFixture fixture) : IClassFixture<ServerFixture>
{
    private readonly DashboardServer _server = fixture.Server;
    private readonly string _run = "r" + Guid.NewGuid().ToString("N");

    [Fact]
    public async Task WatchRun_GapAndReturn_ShowsEveryPointOnce()
    {
        var seen = new List<long>();
        long cursor = 0;
        long written = 0;
        void Write(int count)
        {
            for (int i = 0; i < count; i++, written++)
            {
                _server.Store.Apply(_run, "pretrain-rgb", [Make.Metric(written, written, 1, run: _run)]);
            }
        }

        Write(1);
        for (int round = 0; round < 4; round++)
        {
            await using HubConnection hub = await ConnectAsync(DashboardServer.Token);
            using var stop = new CancellationTokenSource(TimeSpan.FromSeconds(20));
            Write(37);
            long target = written + 20;
            await foreach (JsonElement delta in hub.StreamAsync<JsonElement>("WatchRun", _run, cursor, null, true, false, stop.Token))
            {
                Assert.Equal(cursor, delta.GetProperty("from").GetInt64());
                cursor = delta.GetProperty("to").GetInt64();
                seen.AddRange(
                    delta.GetProperty("curves").EnumerateArray()
                        .SelectMany(c => c.GetProperty("steps").EnumerateArray().Select(s => s.GetInt64())));
                if (written < target)
                {
                    Write(20);
                }

                if (seen.Count >= written)
                {
                    break;
                }
            }

            // While nobody listens.
            Write(113);
        }

        await using HubConnection last = await ConnectAsync(DashboardServer.Token);
        await foreach (JsonElement delta in last.StreamAsync<JsonElement>("WatchRun", _run, cursor, null, true, false))
        {
            seen.AddRange(
                delta.GetProperty("curves").EnumerateArray()
                    .SelectMany(c => c.GetProperty("steps").EnumerateArray().Select(s => s.GetInt64())));
            break;
        }

        Assert.Equal(Enumerable.Range(0, (int)written).Select(i => (long)i), seen);
    }

    [Fact]
    public async Task WatchRuns_SendsAllRowsThenOnlyThoseThatChanged()
    {
        _server.Store.Apply(_run, "pretrain-rgb", [Make.Started(run: _run)]);
        await using HubConnection hub = await ConnectAsync(DashboardServer.Token);
        using var stop = new CancellationTokenSource(TimeSpan.FromSeconds(20));
        int message = 0;
        await foreach (JsonElement rows in hub.StreamAsync<JsonElement>("WatchRuns", stop.Token))
        {
            if (message++ == 0)
            {
                Assert.Contains(rows.EnumerateArray(), r => r.GetProperty("run").GetString() == _run);
                _server.Store.Apply(_run, "pretrain-rgb", [Make.Metric(1, 1, 0.25, run: _run)]);
            }
            else if (rows.EnumerateArray().FirstOrDefault(r => r.GetProperty("run").GetString() == _run) is { ValueKind: JsonValueKind.Object } row)
            {
                Assert.Equal(0.25, row.GetProperty("loss").GetDouble());
                break;
            }
        }
    }

    [Fact]
    public async Task WatchRun_RunIsDeleted_SaysSoAndEnds()
    {
        _server.Store.Apply(_run, "pretrain-rgb", [Make.Started(run: _run)]);
        await using HubConnection hub = await ConnectAsync(DashboardServer.Token);
        var deleted = new List<bool>();
        await foreach (JsonElement delta in hub.StreamAsync<JsonElement>("WatchRun", _run, 0, null, true, true))
        {
            deleted.Add(delta.TryGetProperty("deleted", out JsonElement gone) && gone.GetBoolean());
            _server.Store.Remove(_run);
        }

        Assert.True(deleted[^1]);
    }

    [Fact]
    public async Task WatchRuns_RunIsDeleted_SendsItsLastRow()
    {
        _server.Store.Apply(_run, "pretrain-rgb", [Make.Started(run: _run)]);
        await using HubConnection hub = await ConnectAsync(DashboardServer.Token);
        using var stop = new CancellationTokenSource(TimeSpan.FromSeconds(30));
        await foreach (JsonElement rows in hub.StreamAsync<JsonElement>("WatchRuns", stop.Token))
        {
            JsonElement[] own = [.. rows.EnumerateArray().Where(r => r.GetProperty("run").GetString() == _run)];
            if (own.Length == 1 && own[0].GetProperty("deleted").GetBoolean())
            {
                return;
            }

            _server.Store.Remove(_run);
        }

        Assert.Fail("The stream ended without the word.");
    }

    // A connection is checked when it is made: a token that is revoked later must end what it opened, also streams on which nothing
    // happens.
    [Fact]
    public async Task Token_IsRevoked_EndsItsStreams()
    {
        _server.Store.Apply(_run, "pretrain-rgb", [Make.Started(run: _run)]);
        var tokens = _server.App.Services.GetRequiredService<Tokens>();
        (Dashboard.Storage.ApiToken token, string secret) = tokens.CreateApi("soon revoked", Roles.Viewer, [], null);
        await using HubConnection hub = await ConnectAsync(secret);
        await using HubConnection other = await ConnectAsync(DashboardServer.Token);
        var closed = new TaskCompletionSource();
        hub.Closed += _ =>
        {
            closed.TrySetResult();
            return Task.CompletedTask;
        };
        var begun = new TaskCompletionSource();
        Task<int> stream = Task.Run(async () =>
        {
            int count = 0;
            await foreach (JsonElement delta in hub.StreamAsync<JsonElement>("WatchRun", _run, 0, null, true, true))
            {
                count++;
                begun.TrySetResult();
            }

            return count;
        });
        await begun.Task.WaitAsync(TimeSpan.FromSeconds(30));
        tokens.Revoke(token.Id);
        await closed.Task.WaitAsync(TimeSpan.FromSeconds(60));
        await Assert.ThrowsAnyAsync<Exception>(() => stream);
        Assert.Equal(HubConnectionState.Connected, other.State);
        await Assert.ThrowsAnyAsync<HttpRequestException>(() => ConnectAsync(secret));
    }

    [Fact]
    public async Task WatchRun_OfAnotherNamespaceOrNone_IsRefusedAlike()
    {
        _server.Store.Apply(_run, "pretrain-rgb", [Make.Started(run: _run)]);
        string limited = _server.App.Services.GetRequiredService<Tokens>().CreateApi("limited", Roles.Viewer, ["elsewhere"], null).Secret;
        await using HubConnection hub = await ConnectAsync(limited);
        string[] words = [await Refused(hub, _run), await Refused(hub, "no-such-run")];
        Assert.Equal(words[0].Replace(_run, "X", StringComparison.Ordinal), words[1].Replace("no-such-run", "X", StringComparison.Ordinal));
        await using HubConnection all = await ConnectAsync(limited);
        using var stop = new CancellationTokenSource(TimeSpan.FromSeconds(1));
        await foreach (JsonElement rows in Quiet(all.StreamAsync<JsonElement>("WatchRuns", stop.Token), stop.Token))
        {
            Assert.Fail($"rows of other namespaces: {rows}");
        }
    }

    private static async Task<string> Refused(HubConnection hub, string run)
    {
        HubException refused = await Assert.ThrowsAsync<HubException>(async () =>
        {
            await foreach (JsonElement delta in hub.StreamAsync<JsonElement>("WatchRun", run, 0, null, true, true))
            {
                Assert.Fail($"told something: {delta}");
            }
        });
        return refused.Message;
    }

    private static async IAsyncEnumerable<JsonElement> Quiet(
        IAsyncEnumerable<JsonElement> stream, [EnumeratorCancellation] CancellationToken stop)
    {
        IAsyncEnumerator<JsonElement> at = stream.GetAsyncEnumerator(stop);
        while (true)
        {
            bool more;
            try
            {
                more = await at.MoveNextAsync();
            }
            catch (OperationCanceledException)
            {
                yield break;
            }

            if (!more)
            {
                yield break;
            }

            yield return at.Current;
        }
    }

    internal static async Task<HubConnection> ConnectAsync(DashboardServer server, string token)
    {
        HubConnection hub = new HubConnectionBuilder()
            .WithUrl(new Uri(server.Address, "/hubs/runs"), o => o.AccessTokenProvider = () => Task.FromResult<string?>(token)).Build();
        await hub.StartAsync();
        return hub;
    }

    private Task<HubConnection> ConnectAsync(string token) => ConnectAsync(_server, token);
}
