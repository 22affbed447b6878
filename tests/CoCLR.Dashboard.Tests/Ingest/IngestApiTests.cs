// Why this exists: the door for training processes: idempotent, bounded, one run a token, resumable uploads.
using System.Net;
using System.Net.Http.Json;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using CoCLR.Core;
using CoCLR.Core.Events;
using CoCLR.Core.Manifests;
using CoCLR.Core.Planning;
using CoCLR.Dashboard.Storage;
using CoCLR.Dashboard.Tests.Fixtures;

namespace CoCLR.Dashboard.Tests.Ingest;

public sealed class IngestApiTests(ServerFixture fixture) : IClassFixture<ServerFixture>
{
    private readonly DashboardServer _server = fixture.Server;

    /// <summary>Each test sends a run of its own.</summary>
    private readonly string _run = "r" + Guid.NewGuid().ToString("N");

    [Fact]
    public async Task Post_SameBatchTwice_CountsOnce()
    {
        using HttpClient sender = _server.Sender(_run);
        RunEvent[] events = [Make.Started(run: _run), .. Enumerable.Range(1, 200).Select(i => Make.Metric(i, i, i, run: _run))];
        JsonElement first = await PostAsync(sender, DashboardServer.Batch(events));
        JsonElement second = await PostAsync(sender, DashboardServer.Batch(events.Reverse()));

        Assert.Equal((201, 0), (first.GetProperty("accepted").GetInt32(), first.GetProperty("known").GetInt32()));
        Assert.Equal((0, 201), (second.GetProperty("accepted").GetInt32(), second.GetProperty("known").GetInt32()));
        Assert.Equal(200, _server.Store.Curves(_run).Curves.Single().Values.Length);
        Assert.Equal(
            201,
            (await sender.GetFromJsonAsync<JsonElement>("/api/v1/ingest/next?stage=pretrain-rgb&attempt=1")).GetProperty("seq").GetInt64());
    }

    [Fact]
    public async Task Post_ThenServerRestarts_NothingIsLost()
    {
        using var folder = new TemporaryFolder();
        await using (DashboardServer first = await DashboardServer.StartAsync(folder.Path))
        {
            using HttpClient sender = first.Sender("r1");
            await PostAsync(sender, DashboardServer.Batch([Make.Started(), .. Enumerable.Range(1, 700).Select(i => Make.Metric(i, i, i))]));
        }

        File.Delete(IndexDatabase.PathIn(folder[".coclr", "dashboard"]));
        await using DashboardServer again = await DashboardServer.StartAsync(folder.Path);
        await Until(() => again.Store.Curves("r1").Curves is [{ Count: 700 }]);
    }

    [Fact]
    public async Task Post_NumberTwiceInOneBatch_TheFirstCounts()
    {
        using HttpClient sender = _server.Sender(_run);
        JsonElement answer =
            await PostAsync(sender, DashboardServer.Batch(Make.Metric(1, 1, 0.25, run: _run), Make.Metric(1, 1, 0.75, run: _run)));
        Assert.Equal((1, 1), (answer.GetProperty("accepted").GetInt32(), answer.GetProperty("known").GetInt32()));
        string file = Path.Combine(_server.Folder, ".coclr", "dashboard", "runs", _run, "stages", "pretrain-rgb", "events.jsonl");
        Assert.Single(await File.ReadAllLinesAsync(file));
        Assert.Equal(0.25, _server.Store.Curves(_run).Curves[0].Values[0]);
    }

    [Fact]
    public async Task Post_MalformedLines_AreRefusedOneByOne()
    {
        using HttpClient sender = _server.Sender(_run);
        string good = JsonSerializer.Serialize<RunEvent>(Make.Metric(1, 1, 1, run: _run), CoclrJson.Compact);
        string body = string.Join('\n',
            "not json", "{}", "null", "[]", good, "", $$"""{"kind":"metric","run":"{{_run}}"}""",
            good.Replace("\"attempt\":1", "\"attempt\":-4", StringComparison.Ordinal),
            good.Replace("\"seq\":1", "\"seq\":-1", StringComparison.Ordinal),
            good.Replace("\"stage\":\"pretrain-rgb\"", "\"stage\":\"../../etc\"", StringComparison.Ordinal),
            $$"""{"kind":"of the future","run":"{{_run}}"}""", new string('[', 5000),
            good.Replace("\"loss\":1", "\"loss\":\"NaN\"", StringComparison.Ordinal)
                .Replace("\"seq\":1", "\"seq\":2", StringComparison.Ordinal));
        JsonElement answer = await PostAsync(sender, DashboardServer.Packed(body));

        Assert.Equal(2, answer.GetProperty("accepted").GetInt32());
        Assert.InRange(answer.GetProperty("refused").GetInt32(), 6, 10);
        Assert.NotEmpty(answer.GetProperty("problems").EnumerateArray());
    }

    [Fact]
    public async Task Post_TooLargeOrBomb_IsRefused()
    {
        using HttpClient sender = _server.Sender(_run);
        using HttpResponseMessage large = await sender.PostAsync("/api/v1/ingest", Lines(new byte[70_000]));
        using HttpResponseMessage bomb = await sender.PostAsync("/api/v1/ingest", DashboardServer.Packed(new string(' ', 20_000_000)));
        using ByteArrayContent broken = Lines([1, 2, 3]);
        broken.Headers.ContentEncoding.Add("gzip");
        using HttpResponseMessage notGzip = await sender.PostAsync("/api/v1/ingest", broken);
        using var chunked =
            new HttpRequestMessage(HttpMethod.Post, "/api/v1/ingest") { Content = new StreamContent(new MemoryStream(new byte[200_000])) };
        chunked.Content.Headers.ContentType = new System.Net.Http.Headers.MediaTypeHeaderValue("application/x-ndjson");
        chunked.Headers.TransferEncodingChunked = true;
        using HttpResponseMessage endless = await sender.SendAsync(chunked);

        Assert.Equal(
            [
                HttpStatusCode.RequestEntityTooLarge, HttpStatusCode.RequestEntityTooLarge, HttpStatusCode.BadRequest,
                HttpStatusCode.RequestEntityTooLarge
            ],
            [large.StatusCode, bomb.StatusCode, notGzip.StatusCode, endless.StatusCode]);
    }

    [Fact]
    public async Task Post_Flood_IsSlowedWithRetryAfter()
    {
        await using DashboardServer slow = await DashboardServer.StartAsync(null, "--Dashboard:Ingest:BatchesPerSecond", "5");
        using HttpClient sender = slow.Sender("r1");
        HttpStatusCode[] codes = await Task.WhenAll(Enumerable.Range(0, 40).Select(async i =>
        {
            using HttpResponseMessage answer = await sender.PostAsync("/api/v1/ingest", DashboardServer.Batch(Make.Metric(i, i, i)));
            Assert.True(answer.IsSuccessStatusCode || answer.Headers.RetryAfter != null);
            return answer.StatusCode;
        }));
        Assert.Contains(HttpStatusCode.TooManyRequests, codes);
        using HttpClient other = slow.Sender("r2");
        using HttpResponseMessage free = await other.PostAsync("/api/v1/ingest", DashboardServer.Batch(Make.Metric(0, 0, 0, run: "r2")));
        Assert.Equal(HttpStatusCode.OK, free.StatusCode);
    }

    public static TheoryData<string, string> BadTokens()
    {
        const string Key = "an-ingest-key-of-22-characters";
        string good = IngestToken.Create(Key, "r1", DateTimeOffset.UtcNow.AddHours(1));
        string spaced = IngestToken.Create(Key, "r1", DateTimeOffset.UtcNow.AddHours(1), "team-a");
        string[] parts = spaced.Split('.');
        return new TheoryData<string, string>
        {
            { "none", "" },
            { "expired", "Bearer " + IngestToken.Create(Key, "r1", DateTimeOffset.UtcNow.AddSeconds(-1)) },
            { "other key", "Bearer " + IngestToken.Create("another-key-of-22-characters!", "r1", DateTimeOffset.UtcNow.AddHours(1)) },
            { "tampered run", "Bearer " + good.Replace(".cjE.", ".cjI.", StringComparison.Ordinal) },
            { "tampered expiry", "Bearer " + string.Join('.', good.Split('.').Select((p, i) => i == 2 ? "9999999999" : p)) },
            {
                "tampered namespace",
                "Bearer " + string.Join('.', parts.Select((p, i) => i == 2 ? System.Buffers.Text.Base64Url.EncodeToString("team-b"u8) : p))
            },
            { "namespace taken out", "Bearer " + string.Join('.', (string[])["ci1", parts[1], parts[3], parts[4]]) },
            { "cut", "Bearer " + good[..^1] },
            { "lower-case scheme", "bearer " + good },
            { "no space", "Bearer" + good },
            { "basic", "Basic " + good },
            { "two tokens", $"Bearer {good}, Bearer {good}" },
            { "empty", "Bearer " },
            { "viewer token", "Bearer " + DashboardServer.Token },
        };
    }

    [Theory]
    [MemberData(nameof(BadTokens))]
    public async Task Post_WithoutAValidToken_IsRefused(string kind, string header)
    {
        Assert.NotEmpty(kind);
        using HttpClient client = _server.Anonymous();
        if (header.Length > 0)
        {
            client.DefaultRequestHeaders.TryAddWithoutValidation("Authorization", header);
        }

        using HttpResponseMessage answer = await client.PostAsync("/api/v1/ingest", DashboardServer.Batch(Make.Metric(0, 0, 0)));
        Assert.Contains(answer.StatusCode, new[] { HttpStatusCode.Unauthorized, HttpStatusCode.Forbidden });
        Assert.Null(_server.Store.Find("r1"));
    }

    [Fact]
    public async Task Post_EventsOfAnotherRun_AreRefused()
    {
        using HttpClient sender = _server.Sender(_run);
        JsonElement answer = await PostAsync(sender, DashboardServer.Batch(Make.Metric(0, 0, 0, run: "r2")));
        Assert.Equal(1, answer.GetProperty("refused").GetInt32());
        Assert.Null(_server.Store.Find("r2"));
        using HttpResponseMessage plan = await sender.PutAsync(
            "/api/v1/ingest/plan", JsonContent.Create(Planner.Plan("x", new ExperimentSpec(), "r2"), options: CoclrJson.Compact));
        Assert.Equal(HttpStatusCode.BadRequest, plan.StatusCode);
        using HttpResponseMessage read = await sender.GetAsync("/api/v1/runs");
        Assert.Equal(HttpStatusCode.Forbidden, read.StatusCode);
    }

    [Fact]
    public async Task Put_ArtifactInPieces_IsResumedAndChecked()
    {
        using HttpClient sender = _server.Sender(_run);
        byte[] bytes = Encoding.UTF8.GetBytes(string.Join('\n', Enumerable.Range(0, 20_000)));
        string sha = Convert.ToHexStringLower(SHA256.HashData(bytes));
        Assert.Equal(HttpStatusCode.Accepted, await PutAsync(sender, bytes[..50_000], 0, bytes.Length, sha));
        JsonElement state = await sender.GetFromJsonAsync<JsonElement>("/api/v1/ingest/artifacts/retrieve-rgb/neighbours.json");
        Assert.Equal((50_000, false), (state.GetProperty("offset").GetInt64(), state.GetProperty("complete").GetBoolean()));
        Assert.Equal(HttpStatusCode.Conflict, await PutAsync(sender, bytes[90_000..], 90_000, bytes.Length, sha));
        Assert.Equal(HttpStatusCode.OK, await PutAsync(sender, bytes[50_000..], 50_000, bytes.Length, sha));

        await PostAsync(
            sender,
            DashboardServer.Batch(
                new ArtifactEvent
                {
                    Run = _run, Stage = "retrieve-rgb", Attempt = 1, Seq = 0, Time = Make.Start, Name = "neighbours.json",
                    File = "stages/retrieve-rgb/artifacts/neighbours.json", MediaType = "application/json", Bytes = bytes.Length,
                    Sha256 = sha
                }));
        using HttpClient admin = _server.Admin();
        await Until(() => _server.Store.Find(_run)?.Folder.Length > 0);
        JsonElement[] artifacts = (await admin.GetFromJsonAsync<JsonElement[]>($"/api/v1/runs/{_run}/artifacts"))!;
        string id = artifacts.Single().GetProperty("id").GetString()!;
        Assert.Equal(bytes, await admin.GetByteArrayAsync($"/api/v1/artifacts/{id}"));

        using var range = new HttpRequestMessage(HttpMethod.Get, $"/api/v1/artifacts/{id}");
        range.Headers.Range = new System.Net.Http.Headers.RangeHeaderValue(10, 19);
        using HttpResponseMessage part = await admin.SendAsync(range);
        Assert.Equal((HttpStatusCode.PartialContent, 10), (part.StatusCode, (await part.Content.ReadAsByteArrayAsync()).Length));
    }

    [Theory]
    [InlineData("neighbours.json", 5, "wrong", HttpStatusCode.UnprocessableEntity)]
    [InlineData("..%2Fplan.json", 5, "right", HttpStatusCode.BadRequest)]
    [InlineData(".hidden", 5, "right", HttpStatusCode.BadRequest)]
    [InlineData("huge.bin", long.MaxValue, "right", HttpStatusCode.RequestEntityTooLarge)]
    [InlineData("short.bin", 3, "right", HttpStatusCode.BadRequest)]
    public async Task Put_BadArtifact_IsRefused(string name, long length, string checksum, HttpStatusCode status)
    {
        using HttpClient sender = _server.Sender(_run);
        byte[] bytes = "12345"u8.ToArray();
        string sha = checksum == "right" ? Convert.ToHexString(SHA256.HashData(bytes)) : new string('0', 64);
        Assert.Equal(status, await PutAsync(sender, bytes, 0, length, sha, name));
        Assert.False(
            File.Exists(
                Path.Combine(
                    _server.Folder, ".coclr", "dashboard", "runs", _run, "stages", "retrieve-rgb", "artifacts", "neighbours.json")));
    }

    [Fact]
    public async Task Artifact_ThatBecomesALink_IsGone()
    {
        (string run, string folder, _) = new SampleRuns(Path.Combine(_server.Folder, "runs"))
            .Write("sample", Method.InfoNCE, epochs: 2, previews: false);
        await Until(() => _server.Store.Find(run)?.State == RunState.Succeeded);
        string file = Path.Combine(folder, "stages", "retrieve-rgb", "artifacts", "neighbours.json");
        File.Delete(file);
        File.CreateSymbolicLink(file, "/etc/passwd");
        using HttpClient admin = _server.Admin();
        string id = _server.Store.Find(run)!.Stage("retrieve-rgb")!.Artifacts.Single().Id;
        using HttpResponseMessage answer = await admin.GetAsync($"/api/v1/artifacts/{id}");
        Assert.Equal(HttpStatusCode.Gone, answer.StatusCode);
    }

    internal static Task Until(Func<bool> reached) => Until(() => Task.FromResult(reached()));

    internal static async Task Until(Func<Task<bool>> reached)
    {
        for (int i = 0; i < 2400 && !await reached(); i++)
        {
            await Task.Delay(50);
        }

        Assert.True(await reached());
    }

    private static ByteArrayContent Lines(byte[] bytes)
    {
        var content = new ByteArrayContent(bytes);
        content.Headers.ContentType = new System.Net.Http.Headers.MediaTypeHeaderValue("application/x-ndjson");
        return content;
    }

    private static async Task<JsonElement> PostAsync(HttpClient sender, HttpContent body)
    {
        using HttpResponseMessage answer = await sender.PostAsync("/api/v1/ingest", body);
        Assert.True(answer.IsSuccessStatusCode, await answer.Content.ReadAsStringAsync());
        return await answer.Content.ReadFromJsonAsync<JsonElement>();
    }

    private static async Task<HttpStatusCode> PutAsync(
        HttpClient sender, byte[] bytes, long offset, long length, string sha, string name = "neighbours.json")
    {
        using var request = new HttpRequestMessage(
            HttpMethod.Put, $"/api/v1/ingest/artifacts/retrieve-rgb/{name}")
        { Content = new ByteArrayContent(bytes) };
        request.Headers.Add("Upload-Offset", $"{offset}");
        request.Headers.Add("Upload-Length", $"{length}");
        request.Headers.Add("X-Sha256", sha);
        using HttpResponseMessage answer = await sender.SendAsync(request);
        return answer.StatusCode;
    }
}
