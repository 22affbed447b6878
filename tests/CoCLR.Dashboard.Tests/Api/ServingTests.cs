// Why this exists: the server as a whole over its life: restarts, a path below another server, large files, slow listeners, secrets.
using System.Net;
using System.Net.Http.Headers;
using System.Net.WebSockets;
using System.Security.Claims;
using System.Text;
using System.Text.Json;
using CoCLR.Core.Events;
using CoCLR.Core.Manifests;
using CoCLR.Dashboard.Authentication;
using CoCLR.Dashboard.Configuration;
using CoCLR.Dashboard.Storage;
using CoCLR.Dashboard.Tests.Fixtures;
using CoCLR.Dashboard.Tests.Ingest;
using CoCLR.Dashboard.Tests.Live;
using Microsoft.AspNetCore.Components.Authorization;
using Microsoft.AspNetCore.SignalR.Client;
using Microsoft.Extensions.DependencyInjection;

namespace CoCLR.Dashboard.Tests.Api;

/// <summary>Tests that weigh the process's memory, which tests beside them would change.</summary>
[CollectionDefinition(nameof(AloneInTheProcess), DisableParallelization = true)]
public sealed class AloneInTheProcess;

[Collection(nameof(AloneInTheProcess))]
public sealed class ServingTests
{
    [Fact]
    public async Task Restart_PeopleStaySignedIn()
    {
        using var folder = new TemporaryFolder();
        var cookies = new CookieContainer();
        await using (DashboardServer first = await DashboardServer.StartAsync(folder.Path))
        {
            using HttpClient browser = first.Anonymous(cookies: cookies);
            Assert.Equal(HttpStatusCode.Redirect, (await browser.GetAsync($"/login/link?t={DashboardServer.Token}")).StatusCode);
            Assert.Equal(HttpStatusCode.OK, (await browser.GetAsync("/data")).StatusCode);
        }

        await using DashboardServer second = await DashboardServer.StartAsync(folder.Path);
        using HttpClient again = second.Anonymous(cookies: cookies);
        Assert.Equal(HttpStatusCode.OK, (await again.GetAsync("/data")).StatusCode);
        using HttpClient nobody = second.Anonymous();
        Assert.NotEqual(HttpStatusCode.OK, (await nobody.GetAsync("/data")).StatusCode);
    }

    [Fact]
    public async Task PathBelowAnotherServer_PagesApiHubAndSignInLiveThere()
    {
        await using DashboardServer server = await DashboardServer.StartAsync(null, "--path-base", "/team/coclr");
        using HttpClient browser = server.Anonymous();
        using HttpResponseMessage signIn = await browser.GetAsync($"/team/coclr/login/link?t={DashboardServer.Token}");
        Assert.StartsWith("/team/coclr", signIn.Headers.Location!.OriginalString, StringComparison.Ordinal);
        Assert.Contains("<base href=\"/team/coclr/\"", await browser.GetStringAsync("/team/coclr/"), StringComparison.Ordinal);
        Assert.Equal(HttpStatusCode.OK, (await browser.GetAsync("/team/coclr/api/v1/runs")).StatusCode);
        Assert.Equal(HttpStatusCode.OK, (await browser.PostAsync("/team/coclr/hubs/runs/negotiate?negotiateVersion=1", null)).StatusCode);
        using HttpResponseMessage strange = await server.Anonymous().GetAsync("/team/coclr/data");
        Assert.StartsWith(
            "/team/coclr/login",
            strange.Headers.Location!.IsAbsoluteUri ? strange.Headers.Location.AbsolutePath : strange.Headers.Location.OriginalString,
            StringComparison.Ordinal);
    }

    // Of several ranges, the whole file or one of them, never a body put together; many at once cost no memory either.
    [Fact]
    public async Task LargeArtifact_AnyRangeInConstantMemory()
    {
        const long Size = 2L << 30;
        await using DashboardServer server = await DashboardServer.StartAsync();
        (string run, string folder, _) = new SampleRuns(Path.Combine(server.Folder, "runs"))
            .Write("sample", Method.InfoNCE, SampleRuns.Until.Planned);
        string file = Path.Combine(folder, "stages", "report", "artifacts", "features.bin");
        Directory.CreateDirectory(Path.GetDirectoryName(file)!);
        using (FileStream sparse = File.Create(file))
        {
            sparse.SetLength(Size);
            sparse.Position = Size - 5;
            sparse.Write("12345"u8);
        }

        var writer = new StageWriter(folder, run, "report", Make.Start);
        writer.Add(
            new ArtifactEvent
            {
                Run = "", Stage = "", Attempt = 1, Seq = 0, Time = default, Name = "features.bin",
                File = "stages/report/artifacts/features.bin", MediaType = "application/octet-stream", Bytes = Size, Sha256 = ""
            });
        writer.Save();
        await IngestApiTests.Until(() => server.Store.Find(run)?.Stage("report")?.Artifacts.Length == 1);
        string address = $"/api/v1/artifacts/{server.Store.Find(run)!.Stage("report")!.Artifacts[0].Id}";
        using HttpClient client = server.Admin();

        using (HttpResponseMessage end = await client.SendAsync(Range(address, Size - 3, null)))
        {
            Assert.Equal((HttpStatusCode.PartialContent, "345"), (end.StatusCode, await end.Content.ReadAsStringAsync()));
        }

        using (HttpResponseMessage beyond = await client.SendAsync(Range(address, Size, null)))
        {
            Assert.Equal(HttpStatusCode.RequestedRangeNotSatisfiable, beyond.StatusCode);
        }

        var two = new HttpRequestMessage(HttpMethod.Get, address);
        two.Headers.TryAddWithoutValidation("Range", "bytes=0-9,100-109");
        using (HttpResponseMessage answer = await client.SendAsync(two, HttpCompletionOption.ResponseHeadersRead))
        {
            Assert.False(answer.Content.Headers.ContentType?.MediaType?.StartsWith("multipart", StringComparison.Ordinal));
        }

        // Sixteen downloads that were begun and not read on.
        long before = GC.GetTotalMemory(forceFullCollection: true);
        var open = new List<HttpResponseMessage>();
        for (int i = 0; i < 16; i++)
        {
            open.Add(await client.GetAsync(address, HttpCompletionOption.ResponseHeadersRead));
            await (await open[^1].Content.ReadAsStreamAsync()).ReadExactlyAsync(new byte[1 << 20]);
        }

        Assert.InRange(GC.GetTotalMemory(forceFullCollection: true) - before, long.MinValue, 64 << 20);
        open.ForEach(o => o.Dispose());
    }

    // Listeners that do not read: what they miss waits in the store, not in a buffer each.
    [Fact]
    public async Task ListenersThatDoNotRead_CostNoMemory()
    {
        await using DashboardServer server = await DashboardServer.StartAsync();
        server.Store.Apply("r1", "pretrain-rgb", [Make.Started()]);
        var feed = server.App.Services.GetRequiredService<LiveFeed>();
        int others = feed.Listeners;
        var sockets = new List<ClientWebSocket>();
        for (int i = 0; i < 20; i++)
        {
            var socket = new ClientWebSocket();
            socket.Options.SetRequestHeader("Authorization", $"Bearer {DashboardServer.Token}");
            await socket.ConnectAsync(new Uri($"ws://{server.Address.Authority}/hubs/runs"), CancellationToken.None);
            await SendAsync(socket, """{"protocol":"json","version":1}""");
            await SendAsync(socket, """{"type":4,"invocationId":"1","target":"WatchRun","arguments":["r1",0,null,true,true]}""");
            sockets.Add(socket);
        }

        // One that reads tells when the server has told its listeners.
        await using (HubConnection reader = await RunsHubTests.ConnectAsync(server, DashboardServer.Token))
        await using (
            IAsyncEnumerator<JsonElement> deltas = reader.StreamAsync<JsonElement>("WatchRun", "r1", 0, null, true, true)
                .GetAsyncEnumerator())
        {
            long seq = 1;
            for (int batch = 0; batch < 40; batch++)
            {
                server.Store.Apply("r1", "pretrain-rgb", [.. Enumerable.Range(0, 2000).Select(_ => Make.Metric(seq, seq++, 0.5))]);
                do
                {
                    Assert.True(await deltas.MoveNextAsync());
                }
                while (deltas.Current.GetProperty("to").GetInt64() < server.Store.Find("r1")!.Cursor);
            }
        }

        long with = GC.GetTotalMemory(forceFullCollection: true);
        foreach (ClientWebSocket socket in sockets)
        {
            socket.Abort();
            socket.Dispose();
        }

        await IngestApiTests.Until(() => feed.Listeners == others);
        Assert.InRange(with - GC.GetTotalMemory(forceFullCollection: true), long.MinValue, 20L * (1 << 20));
        using HttpClient admin = server.Admin();
        Assert.Equal(HttpStatusCode.OK, (await admin.GetAsync("/api/v1/runs/r1/metrics?names=loss")).StatusCode);
    }

    // The user of an open page is asked for again; what no longer holds ends the circuit.
    [Fact]
    public async Task TokenIsRevoked_OpenPageLosesItsUser()
    {
        await using DashboardServer server = await DashboardServer.StartAsync();
        var tokens = server.App.Services.GetRequiredService<Tokens>();
        var made = tokens.CreateApi("page", Roles.Viewer, [], null);
        using IServiceScope scope = server.App.Services.CreateScope();
        var state = (RevalidatingUser)scope.ServiceProvider.GetRequiredService<AuthenticationStateProvider>();
        var user = new ClaimsPrincipal(
            new ClaimsIdentity([new Claim(Policies.TokenClaim, made.Token.Id), new Claim(ClaimTypes.Role, Roles.Viewer)], "token"));
        state.SetAuthenticationState(Task.FromResult(new AuthenticationState(user)));
        Assert.True((await state.GetAuthenticationStateAsync()).User.Identity!.IsAuthenticated);
        tokens.Revoke(made.Token.Id);
        await IngestApiTests.Until(async () => (await state.GetAuthenticationStateAsync()).User.Identity is not { IsAuthenticated: true });
    }

    // Secrets given to the server are in none of its answers and files.
    [Fact]
    public async Task Secrets_AreInNoAnswerAndNoFile()
    {
        const string Canary = "canary-5f0c1d-canary-5f0c1d";
        using var folder = new TemporaryFolder();
        string api;
        await using (DashboardServer server = await DashboardServer.StartAsync(folder.Path, "--Dashboard:Ingest:Key", Canary))
        {
            (string run, _, _) = new SampleRuns(Path.Combine(server.Folder, "runs"))
                .Write("sample", Method.CoCLR, epochs: 2, previews: false);
            await IngestApiTests.Until(() => server.Store.Find(run)?.State == RunState.Succeeded);
            api = server.App.Services.GetRequiredService<Tokens>().CreateApi("robot", Roles.Admin, [], null).Secret;
            using HttpClient browser = await server.BrowserAsync();
            foreach (string path in new[] { "/", $"/experiments/{run}", $"/experiments/{run}/log", $"/experiments/{run}/manifest", "/settings", "/api", "/data", "/api/v1/runs", $"/api/v1/runs/{run}", "/api/v1/tokens", "/openapi/v1.json", "/healthz" })
            {
                HoldsNone(await browser.GetStringAsync(path));
            }
        }

        foreach (string file in Directory.EnumerateFiles(folder.Path, "*", SearchOption.AllDirectories))
        {
            using var stream = new FileStream(file, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete);
            using var reader = new StreamReader(stream, Encoding.Latin1);
            HoldsNone(await reader.ReadToEndAsync());
        }

        void HoldsNone(string text) => Assert.All(
            new[] { Canary, DashboardServer.Token, api }, secret => Assert.DoesNotContain(secret, text, StringComparison.Ordinal));
    }

    // A checkpoint is opened by child processes only. Nothing that a person writes is fetched: outgoing clients are those of the cluster,
    // of sign-in and of webhooks, whose addresses come from the configuration alone (WebhookTests).
    [Fact]
    public void Dashboard_CannotEvenLoadATensor()
    {
        string[] loaded = [.. typeof(DashboardApp).Assembly.GetReferencedAssemblies().Select(a => a.Name!)];
        Assert.DoesNotContain(loaded, n => n.StartsWith("TorchSharp", StringComparison.Ordinal) || n == "CoCLR.Engine");
        var webhooks = new DashboardOptions().Webhooks;
        Assert.Empty(webhooks.Targets);
        Assert.Empty(webhooks.AllowedHosts);
        Assert.False(webhooks.AllowPrivateAddresses);
    }

    private static HttpRequestMessage Range(string address, long from, long? to)
    {
        var request = new HttpRequestMessage(HttpMethod.Get, address);
        request.Headers.Range = new RangeHeaderValue(from, to);
        return request;
    }

    private static ValueTask SendAsync(ClientWebSocket socket, string message) => socket.SendAsync(
        Encoding.UTF8.GetBytes(message + "\u001e"), WebSocketMessageType.Text, WebSocketMessageFlags.EndOfMessage, CancellationToken.None);
}
