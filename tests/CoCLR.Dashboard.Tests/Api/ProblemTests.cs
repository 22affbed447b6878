// Why this exists: whatever a script does wrong is answered in one format, with the right status and a sentence that helps.
using System.Net.Http.Headers;
using System.Net.Http.Json;
using System.Text;
using System.Text.Json;
using CoCLR.Dashboard.Configuration;
using CoCLR.Dashboard.Tests.Fixtures;

namespace CoCLR.Dashboard.Tests.Api;

public sealed class ProblemTests(ServerFixture fixture) : IClassFixture<ServerFixture>
{
    private readonly DashboardServer _server = fixture.Server;

    public static TheoryData<string, string, string?, string?, int, string> Wrong() => new()
    {
        { "GET", "/api/v1/runs?filter=nothing:x", null, null, 400, "no field or metric 'nothing'" },
        { "GET", "/api/v1/runs?filter=probe>much", null, null, 400, "is not a number" },
        { "GET", "/api/v1/runs?sort=-nothing", null, null, 400, "no field or metric 'nothing'" },
        { "GET", "/api/v1/runs?columns=loss,nothing", null, null, 400, "no field or metric 'nothing'" },
        { "GET", "/api/v1/runs?group=nothing", null, null, 400, "no field or metric 'nothing'" },
        { "GET", "/api/v1/runs?take=many", null, null, 400, "take" },
        { "GET", "/api/v1/runs/seen/metrics?x=loss", null, null, 400, "use step or time" },
        { "GET", "/api/v1/runs/seen/report?format=pdf", null, null, 400, "use json, csv or markdown" },
        { "GET", "/api/v1/runs/unseen", null, null, 404, "There is no run 'unseen'" },
        { "GET", "/api/v1/runs/seen/plan", null, null, 404, "plan" },
        { "GET", "/api/v1/artifacts/unseen", null, null, 404, "artifact" },
        { "GET", "/api/v1/unknown", null, null, 404, "nothing at this address" },
        { "PUT", "/api/v1/runs", "{}", "application/json", 405, "does not take this method" },
        { "PATCH", "/api/v1/runs/seen", """{"tags":[null]}""", "application/json", 400, "tags" },
        { "PATCH", "/api/v1/runs/seen", """{"tags":[1]}""", "application/json", 400, "$.tags[0]" },
        { "PATCH", "/api/v1/runs/seen", "{", "application/json", 400, "not the JSON that is expected" },
        { "PATCH", "/api/v1/runs/seen", null, null, 400, "body" },
        { "PATCH", "/api/v1/runs/seen", """{"note":"x"}""", "text/plain", 415, "" },
        { "POST", "/api/v1/tokens", "{}", "application/json", 400, "name" },
        { "POST", "/api/v1/tokens", """{"name":"x","role":"viewer","namespaces":[null]}""", "application/json", 400, "namespaces" },
        { "POST", "/api/v1/tokens", """{"name":"x","role":"king"}""", "application/json", 400, "There is no role 'king'" },
        { "POST", "/api/v1/tokens/ingest", """{"run":null}""", "application/json", 400, "run" },
        { "DELETE", "/api/v1/tokens/unseen", null, null, 404, "token" },
        { "POST", "/api/v1/runs", "kind: x", "application/yaml", 400, "apiVersion" },
        { "POST", "/api/v1/runs", "kind: x", "image/png", 415, "application/yaml" },
        { "POST", "/api/v1/runs", "kind: x", null, 415, "no Content-Type" },
        { "POST", "/api/v1/ingest", "{}", "application/x-ndjson", 403, "token does not include" },
    };

    [Theory]
    [MemberData(nameof(Wrong))]
    public async Task Request_ThatIsWrong_IsAnsweredWithAProblem(
        string method, string path, string? body, string? type, int status, string words)
    {
        _server.Store.Apply("seen", "pretrain-rgb", [Make.Started(run: "seen")]);
        using HttpClient client = _server.Admin();
        using var request = new HttpRequestMessage(new HttpMethod(method), path);
        if (body != null)
        {
            request.Content = new ByteArrayContent(Encoding.UTF8.GetBytes(body));
            request.Content.Headers.ContentType = type is null ? null : new MediaTypeHeaderValue(type);
        }

        await AssertProblemAsync(await client.SendAsync(request), status, words);
    }

    [Theory]
    [InlineData("[", "]", 100_000)]
    [InlineData("a: [", "", 200_000)]
    [InlineData("{\"a\":", "", 40_000)]
    public async Task Manifest_NestedTooDeeply_IsRefusedWithItsLine(string open, string close, int times)
    {
        string text = open.StartsWith('a') ? "a: " + new string('[', times) : string.Concat(Enumerable.Repeat(open, times))
            + string.Concat(Enumerable.Repeat(close, times));
        using HttpClient client = _server.Admin();
        foreach (string type in new[] { "application/yaml", "application/json" })
        {
            await AssertProblemAsync(
                await client.PostAsync("/api/v1/runs", new StringContent(text, Encoding.UTF8, type)),
                400,
                "line 1: not valid YAML: nested too deeply");
        }

        await AssertProblemAsync(
            await client.PatchAsync("/api/v1/runs/seen", new StringContent(text, Encoding.UTF8, "application/json")), 400, "");
        using HttpClient sender = _server.Sender("deep");
        using HttpResponseMessage plan =
            await sender.PutAsync("/api/v1/ingest/plan", new StringContent(text, Encoding.UTF8, "application/json"));
        await AssertProblemAsync(plan, 400, "The plan cannot be read");
    }

    [Fact]
    public async Task Body_Of300MB_IsTooLarge()
    {
        using HttpClient client = _server.Admin();
        using HttpClient sender = _server.Sender("large");
        foreach ((HttpClient who, string path, string type) in new[] { (client, "/api/v1/runs", "application/yaml"), (sender, "/api/v1/ingest", "application/x-ndjson"), (sender, "/api/v1/ingest/plan", "application/json") })
        {
            using var request = new HttpRequestMessage(HttpMethod.Post, path) { Content = new StreamContent(new Zeros(300 << 20)) };
            request.Method = path.EndsWith("plan", StringComparison.Ordinal) ? HttpMethod.Put : HttpMethod.Post;
            request.Content.Headers.ContentType = new MediaTypeHeaderValue(type);
            request.Content.Headers.ContentLength = 300 << 20;
            request.Headers.ExpectContinue = true;
            await AssertProblemAsync(await who.SendAsync(request), 413, "");
        }
    }

    [Fact]
    public async Task Ingest_WithoutItsContentType_SaysWhichOne()
    {
        using HttpClient sender = _server.Sender("typeless");
        using var content = new ByteArrayContent("{}"u8.ToArray());
        await AssertProblemAsync(await sender.PostAsync("/api/v1/ingest", content), 415, "application/x-ndjson");
    }

    [Fact]
    public async Task Anonymous_IsToldHowToSignIn()
    {
        using HttpClient client = _server.Anonymous();
        await AssertProblemAsync(await client.GetAsync("/api/v1/runs"), 401, "Authorization: Bearer");
        using HttpClient viewer = _server.Role(Roles.Viewer);
        await AssertProblemAsync(await viewer.DeleteAsync("/api/v1/runs/seen"), 403, "");
        client.DefaultRequestHeaders.Host = "evil.example";
        await AssertProblemAsync(await client.GetAsync("/api/v1/runs"), 421, "AllowedHosts");
    }

    [Fact]
    public async Task Fields_AreThoseThatFiltersTake()
    {
        _server.Store.Apply("seen", "pretrain-rgb", [Make.Metric(7, 1, 0.5, "some/metric", "seen")]);
        using HttpClient client = _server.Admin();
        JsonElement[] fields = (await client.GetFromJsonAsync<JsonElement[]>("/api/v1/fields"))!;
        Assert.Contains(
            fields, f => f.GetProperty("name").GetString() == "training.momentum" && f.GetProperty("kind").GetString() == "manifest");
        foreach (string name in fields.Select(f => f.GetProperty("name").GetString()!))
        {
            JsonElement page = await client.GetFromJsonAsync<JsonElement>(
                $"/api/v1/runs?sort=-{Uri.EscapeDataString(name)}&columns={Uri.EscapeDataString(name)}&group={Uri.EscapeDataString(name)}");
            Assert.True(page.GetProperty("runs").GetArrayLength() > 0, name);
        }

        JsonElement row = (await client.GetFromJsonAsync<JsonElement>("/api/v1/runs?filter=some/metric>0.4&columns=some/metric,state"))
            .GetProperty("runs")[0];
        Assert.Equal(
            ("0.5", "Running"),
            (
                row.GetProperty("columns").GetProperty("some/metric").GetString(),
                row.GetProperty("columns").GetProperty("state").GetString()));
    }

    private static async Task AssertProblemAsync(HttpResponseMessage answer, int status, string words)
    {
        using (answer)
        {
            string text = await answer.Content.ReadAsStringAsync();
            Assert.True(status == (int)answer.StatusCode, $"{(int)answer.StatusCode}: {text}");
            Assert.Equal("application/problem+json", answer.Content.Headers.ContentType?.MediaType);
            using JsonDocument problem = JsonDocument.Parse(text);
            Assert.Equal(status, problem.RootElement.GetProperty("status").GetInt32());
            Assert.False(string.IsNullOrEmpty(problem.RootElement.GetProperty("title").GetString()));
            Assert.Contains(
                words,
                problem.RootElement.TryGetProperty("detail", out JsonElement detail) ? detail.GetString()! : "",
                StringComparison.Ordinal);
            Assert.DoesNotContain("CoCLR.Dashboard", text, StringComparison.Ordinal);
        }
    }

    private sealed class Zeros(long length) : Stream
    {
        private long _at;

        public override bool CanRead => true;

        public override bool CanSeek => false;

        public override bool CanWrite => false;

        public override long Length => throw new NotSupportedException();

        public override long Position { get => _at; set => throw new NotSupportedException(); }

        public override int Read(byte[] buffer, int offset, int count)
        {
            int read = (int)Math.Min(count, length - _at);
            _at += read;
            return read;
        }

        public override void Flush()
        {
        }

        public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

        public override void SetLength(long value) => throw new NotSupportedException();

        public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();
    }
}
