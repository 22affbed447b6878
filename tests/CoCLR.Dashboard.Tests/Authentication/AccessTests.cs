// Why this exists: nothing is open that does not say so; browsers of other sites, foreign names and wrong tokens get nothing.
using System.Net;
using System.Net.Http.Json;
using System.Net.WebSockets;
using System.Security.Claims;
using System.Text.Json;
using CoCLR.Core.Manifests;
using CoCLR.Dashboard.Authentication;
using CoCLR.Dashboard.Configuration;
using CoCLR.Dashboard.Storage;
using CoCLR.Dashboard.Tests.Fixtures;
using CoCLR.Dashboard.Tests.Ingest;
using Microsoft.AspNetCore.Authorization;
using Microsoft.AspNetCore.Routing;
using Microsoft.Extensions.DependencyInjection;

namespace CoCLR.Dashboard.Tests.Authentication;

public sealed class AccessTests(ServerFixture fixture) : IClassFixture<ServerFixture>
{
    /// <summary>Everything that is open on purpose.</summary>
    private static readonly string[] Open = ["/login", "/login/link", "/login/token", "/error", "/not-found", "/denied", "/healthz"];

    private readonly DashboardServer _server = fixture.Server;

    [Fact]
    public void EveryEndpoint_HasAPolicyOrIsOpenOnPurpose()
    {
        RouteEndpoint[] endpoints = [.. _server.App.Services.GetRequiredService<EndpointDataSource>().Endpoints.OfType<RouteEndpoint>()];
        Assert.True(endpoints.Length > 40);
        string[] without = [.. endpoints
            .Where(
                e => e.Metadata.GetMetadata<IAuthorizeData>() == null && !e.Metadata.OfType<AuthorizationPolicy>().Any()
                    && e.Metadata.GetMetadata<IAllowAnonymous>() == null)
            .Select(e => "/" + e.RoutePattern.RawText?.TrimStart('/'))
            // Blazor's own transport is behind the fallback policy, which the next test asks for.
            .Where(p => !p.StartsWith("/_blazor", StringComparison.Ordinal) && !p.StartsWith("/_framework", StringComparison.Ordinal))
            // Files of wwwroot that were made after the build, also behind it.
            .Where(p => p != "/{**path:file}")];
        Assert.Empty(without);

        string[] open = [.. endpoints.Where(e => e.Metadata.GetMetadata<IAllowAnonymous>() != null && e.Metadata.GetMetadata<Microsoft.AspNetCore.StaticAssets.StaticAssetDescriptor>() == null)
            .Select(e => "/" + e.RoutePattern.RawText?.TrimStart('/')).Distinct().Except(Open)];
        Assert.DoesNotContain(open, p => !p.Contains('.', StringComparison.Ordinal) && !p.StartsWith("/_", StringComparison.Ordinal));
    }

    [Theory]
    [InlineData("/", HttpStatusCode.Redirect)]
    [InlineData("/experiments/x", HttpStatusCode.Redirect)]
    [InlineData("/new", HttpStatusCode.Redirect)]
    [InlineData("/settings", HttpStatusCode.Redirect)]
    [InlineData("/api/v1/runs", HttpStatusCode.Unauthorized)]
    [InlineData("/api/v1/artifacts/x", HttpStatusCode.Unauthorized)]
    [InlineData("/api/v1/tokens", HttpStatusCode.Unauthorized)]
    [InlineData("/openapi/v1.json", HttpStatusCode.Unauthorized)]
    [InlineData("/hubs/runs", HttpStatusCode.Unauthorized)]
    [InlineData("/_blazor", HttpStatusCode.Unauthorized)]
    [InlineData("/healthz", HttpStatusCode.OK)]
    public async Task Get_WithoutSignIn_IsRefused(string path, HttpStatusCode status)
    {
        using HttpClient client = _server.Anonymous();
        using HttpResponseMessage answer = await client.GetAsync(path);
        Assert.Equal(status, answer.StatusCode);
        if (status == HttpStatusCode.Redirect)
        {
            Assert.StartsWith(
                "/login",
                answer.Headers.Location!.IsAbsoluteUri ? answer.Headers.Location.AbsolutePath : answer.Headers.Location.OriginalString,
                StringComparison.Ordinal);
        }
    }

    [Theory]
    [InlineData("POST", "/api/v1/runs/x/stop")]
    [InlineData("POST", "/api/v1/runs/x/resume")]
    [InlineData("DELETE", "/api/v1/runs/x")]
    [InlineData("POST", "/api/v1/tokens")]
    [InlineData("PATCH", "/api/v1/runs/x")]
    [InlineData("POST", "/api/v1/ingest")]
    public async Task Write_WithoutSignIn_IsRefused(string method, string path)
    {
        using HttpClient client = _server.Anonymous();
        using HttpResponseMessage answer = await client.SendAsync(
            new HttpRequestMessage(new HttpMethod(method), path) { Content = JsonContent.Create(new { name = "x" }) });
        Assert.Equal(HttpStatusCode.Unauthorized, answer.StatusCode);
    }

    [Fact]
    public async Task Viewer_MayLookButNotAct()
    {
        using HttpClient viewer = _server.Role(Roles.Viewer);
        using HttpClient editor = _server.Role(Roles.Editor);
        Assert.Equal(HttpStatusCode.OK, await Status(viewer, "GET", "/api/v1/runs"));
        Assert.Equal(HttpStatusCode.Forbidden, await Status(viewer, "DELETE", "/api/v1/runs/x"));
        Assert.Equal(HttpStatusCode.Forbidden, await Status(viewer, "GET", "/api/v1/tokens"));
        Assert.Equal(HttpStatusCode.NotFound, await Status(editor, "DELETE", "/api/v1/runs/x"));
        Assert.Equal(HttpStatusCode.Forbidden, await Status(editor, "GET", "/api/v1/tokens"));
    }

    [Fact]
    public async Task Namespaces_OfOthersAreAsIfTheyWereNot()
    {
        using HttpClient sender = _server.Sender("team-b-run", "team-b");
        Assert.Equal(HttpStatusCode.NoContent, await PutPlanAsync(sender, "team-b-run"));

        using HttpClient a = _server.Role(Roles.Admin, "team-a");
        using HttpClient b = _server.Role(Roles.Viewer, "team-b");
        foreach (string path in new[] { "", "/metrics", "/logs", "/artifacts", "/plan", "/manifest", "/history", "/mining", "/results", "/metrics.csv", "/logs.txt" })
        {
            Assert.Equal(HttpStatusCode.NotFound, await Status(a, "GET", "/api/v1/runs/team-b-run" + path));
            Assert.Equal(HttpStatusCode.OK, await Status(b, "GET", "/api/v1/runs/team-b-run" + path));
        }

        Assert.Equal(0, (await a.GetFromJsonAsync<JsonElement>("/api/v1/runs")).GetProperty("total").GetInt32());
        Assert.Equal(1, (await b.GetFromJsonAsync<JsonElement>("/api/v1/runs")).GetProperty("total").GetInt32());
        Assert.Equal(HttpStatusCode.NotFound, await Status(a, "DELETE", "/api/v1/runs/team-b-run"));
    }

    // The header chose the namespace once: a run could be put into the list of another team.
    [Fact]
    public async Task RunToken_Namespace_IsThatOfTheTokenWhateverIsSaidBesideIt()
    {
        using HttpClient none = _server.Sender("free-run");
        Assert.Equal(HttpStatusCode.NoContent, await PutPlanAsync(none, "free-run", "team-d"));
        Assert.Null(_server.Store.Find("free-run")!.Namespace);

        using HttpClient a = _server.Sender("team-c-run", "team-c");
        Assert.Equal(HttpStatusCode.NoContent, await PutPlanAsync(a, "team-c-run", "team-d"));
        Assert.Equal("team-c", _server.Store.Find("team-c-run")!.Namespace);

        // A token of another namespace, or of none, for the same run reaches neither plan, events nor artifacts.
        foreach (HttpClient foreign in new[] { _server.Sender("team-c-run", "team-d"), _server.Sender("team-c-run") })
        {
            Assert.Equal(HttpStatusCode.Conflict, await PutPlanAsync(foreign, "team-c-run"));
            Assert.Equal(
                HttpStatusCode.Conflict,
                (await foreign.PostAsync("/api/v1/ingest", DashboardServer.Batch(Make.Metric(0, 0, 0, run: "team-c-run")))).StatusCode);
            using var artifact =
                new HttpRequestMessage(HttpMethod.Put, "/api/v1/ingest/artifacts/report/report.md") { Content = new ByteArrayContent([1]) };
            artifact.Headers.Add("Upload-Length", "1");
            artifact.Headers.Add("X-Sha256", new string('0', 64));
            Assert.Equal(HttpStatusCode.Conflict, (await foreign.SendAsync(artifact)).StatusCode);
            foreign.Dispose();
        }

        Assert.Equal("team-c", _server.Store.Find("team-c-run")!.Namespace);
        Assert.Equal(0, _server.Store.Find("team-c-run")!.Cursor);
    }

    [Fact]
    public async Task Cookies_OfTwoDashboardsOnOneHost_DoNotMeet()
    {
        await using DashboardServer second = await DashboardServer.StartAsync();
        var cookies = new CookieContainer();
        foreach (DashboardServer server in new[] { _server, second })
        {
            using HttpClient browser = server.Anonymous(cookies: cookies);
            using HttpResponseMessage signedIn = await browser.GetAsync($"/login/link?t={DashboardServer.Token}");
            string session = signedIn.Headers.GetValues("Set-Cookie").Single(c => c.StartsWith("coclr-session-", StringComparison.Ordinal));
            Assert.Contains("samesite=lax", session, StringComparison.OrdinalIgnoreCase);
            Assert.Contains("httponly", session, StringComparison.OrdinalIgnoreCase);
        }

        foreach (DashboardServer server in new[] { _server, second })
        {
            using HttpClient browser = server.Anonymous(cookies: cookies);
            Assert.Equal(HttpStatusCode.OK, await Status(browser, "GET", "/api/v1/runs"));
        }
    }

    [Theory]
    [InlineData("http://evil.example")]
    [InlineData("null")]
    [InlineData("https://127.0.0.1.evil.example")]
    [InlineData("")]
    public async Task BlazorSocket_OfAnotherOrigin_IsRefused(string origin)
    {
        var cookies = new CookieContainer();
        using HttpClient browser = _server.Anonymous(cookies: cookies);
        await browser.GetAsync($"/login/link?t={DashboardServer.Token}");
        foreach (string path in origin.Length == 0 ? ["/_blazor"] : new[] { "/_blazor", "/hubs/runs" })
        {
            using var socket = new ClientWebSocket();
            socket.Options.Cookies = cookies;
            if (origin.Length > 0)
            {
                socket.Options.SetRequestHeader("Origin", origin);
            }

            var refused = await Assert.ThrowsAsync<WebSocketException>(
                () => socket.ConnectAsync(new Uri($"ws://{_server.Address.Authority}{path}"), CancellationToken.None));
            Assert.Contains("403", refused.Message, StringComparison.Ordinal);
        }
    }

    [Fact]
    public async Task HubSocket_OfTheSameOrigin_Works()
    {
        var cookies = new CookieContainer();
        using HttpClient browser = _server.Anonymous(cookies: cookies);
        await browser.GetAsync($"/login/link?t={DashboardServer.Token}");
        using var socket = new ClientWebSocket();
        socket.Options.Cookies = cookies;
        socket.Options.SetRequestHeader("Origin", _server.Address.GetLeftPart(UriPartial.Authority));
        await socket.ConnectAsync(new Uri($"ws://{_server.Address.Authority}/hubs/runs"), CancellationToken.None);
        Assert.Equal(WebSocketState.Open, socket.State);
    }

    [Theory]
    [InlineData("evil.example")]
    [InlineData("127.0.0.1.evil.example")]
    public async Task ForeignHost_IsRefusedWithTheSettingThatMendsIt(string host)
    {
        using HttpClient client = _server.Admin();
        foreach (string path in new[] { "/api/v1/runs", "/healthz", "/hubs/runs", "/_blazor" })
        {
            using var request = new HttpRequestMessage(HttpMethod.Get, path);
            request.Headers.Host = host;
            using HttpResponseMessage answer = await client.SendAsync(request);
            Assert.Equal(HttpStatusCode.MisdirectedRequest, answer.StatusCode);
            Assert.Contains("AllowedHosts", await answer.Content.ReadAsStringAsync(), StringComparison.Ordinal);
        }
    }

    [Theory]
    [InlineData("/login")]
    [InlineData("/api/v1/runs")]
    [InlineData("/nothing/here")]
    [InlineData("/css/app.css")]
    [InlineData("/healthz")]
    public async Task EveryAnswer_HasTheHeaders(string path)
    {
        using HttpClient client = _server.Admin();
        using HttpResponseMessage answer = await client.GetAsync(path);
        string policy = string.Join(' ', answer.Headers.GetValues("Content-Security-Policy"));
        Assert.Contains("script-src 'self';", policy, StringComparison.Ordinal);
        Assert.Contains("frame-ancestors 'none'", policy, StringComparison.Ordinal);
        Assert.DoesNotContain("unsafe-eval", policy, StringComparison.Ordinal);
        Assert.Equal("nosniff", answer.Headers.GetValues("X-Content-Type-Options").Single());
        Assert.Equal("DENY", answer.Headers.GetValues("X-Frame-Options").Single());
        Assert.False(answer.Headers.Contains("Server"));
    }

    [Fact]
    public async Task Data_IsNeverCachedByOthers()
    {
        using HttpClient client = _server.Admin();
        using HttpResponseMessage answer = await client.GetAsync("/api/v1/runs");
        Assert.True(answer.Headers.CacheControl is { NoStore: true, Private: true });
    }

    [Fact]
    public async Task Session_WritesOnlyWithTheAntiforgeryToken()
    {
        using HttpClient browser = await _server.BrowserAsync();
        Assert.Equal(HttpStatusCode.OK, await Status(browser, "GET", "/api/v1/runs"));
        Assert.Equal(HttpStatusCode.BadRequest, await Status(browser, "DELETE", "/api/v1/runs/x"));
        Assert.Equal(HttpStatusCode.BadRequest, await Status(browser, "POST", "/logout"));
        using var cross = new HttpRequestMessage(HttpMethod.Delete, "/api/v1/runs/x");
        cross.Headers.Add("Origin", "http://evil.example");
        Assert.Equal(HttpStatusCode.Forbidden, (await browser.SendAsync(cross)).StatusCode);
    }

    [Theory]
    [InlineData("//evil.example")]
    [InlineData("https://evil.example")]
    [InlineData("/\\evil.example")]
    [InlineData("javascript:alert(1)")]
    [InlineData("/a\\b")]
    public async Task Link_LeadsNowhereElse(string returnUrl)
    {
        using HttpClient client = _server.Anonymous();
        using HttpResponseMessage answer =
            await client.GetAsync($"/login/link?t={DashboardServer.Token}&returnUrl={Uri.EscapeDataString(returnUrl)}");
        Assert.Equal("/", answer.Headers.Location!.OriginalString);
    }

    [Fact]
    public async Task Link_WithAWrongToken_SignsNobodyIn()
    {
        using HttpClient client = _server.Anonymous();
        foreach (string token in new[] { "", "x", DashboardServer.Token + "x", DashboardServer.Token[..^1] })
        {
            using HttpResponseMessage answer = await client.GetAsync($"/login/link?t={token}");
            Assert.StartsWith("/login?wrong", answer.Headers.Location!.OriginalString, StringComparison.Ordinal);
        }

        Assert.Equal(HttpStatusCode.Unauthorized, await Status(client, "GET", "/api/v1/runs"));
        Assert.True(Tokens.Random().Length >= DashboardOptionsValidator.SecretLength);
        Assert.NotEqual(Tokens.Random(), Tokens.Random());
    }

    [Fact]
    public async Task ApiToken_IsKeptAsAHash_EndsWhenRevokedOrExpired()
    {
        using HttpClient admin = _server.Admin();
        using HttpResponseMessage made = await admin.PostAsJsonAsync("/api/v1/tokens", new { name = "ci", role = "editor" });
        JsonElement token = await made.Content.ReadFromJsonAsync<JsonElement>();
        string secret = token.GetProperty("secret").GetString()!;
        using HttpClient user = _server.With(secret);
        Assert.Equal(HttpStatusCode.OK, await Status(user, "GET", "/api/v1/runs"));
        string kept = await File.ReadAllTextAsync(Path.Combine(_server.Folder, ".coclr", "dashboard", "settings.json"));
        Assert.DoesNotContain(secret.Split('_')[^1], kept, StringComparison.Ordinal);
        Assert.DoesNotContain(secret, await admin.GetStringAsync("/api/v1/tokens"), StringComparison.Ordinal);

        Assert.Equal(HttpStatusCode.NoContent, await Status(admin, "DELETE", $"/api/v1/tokens/{token.GetProperty("id").GetString()}"));
        Assert.Equal(HttpStatusCode.Unauthorized, await Status(user, "GET", "/api/v1/runs"));
        string old = _server.App.Services.GetRequiredService<Tokens>()
            .CreateApi("old", Roles.Admin, [], DateTimeOffset.UtcNow.AddSeconds(-1)).Secret;
        using HttpClient late = _server.With(old);
        Assert.Equal(HttpStatusCode.Unauthorized, await Status(late, "GET", "/api/v1/runs"));
    }

    [Theory]
    [InlineData("http://0.0.0.0:5180", null, "", "", false)]
    [InlineData("http://*:5180", null, "", "", false)]
    [InlineData("http://192.168.1.5:5180", null, "", "", false)]
    [InlineData("http://[::]:5180", AuthenticationMode.BrowserToken, "", "", false)]
    [InlineData("http://0.0.0.0:5180", AuthenticationMode.Unsecured, "", "", false)]
    [InlineData("http://0.0.0.0:5180", null, "short", "", false)]
    [InlineData("http://0.0.0.0:5180", AuthenticationMode.Token, "", "", false)]
    [InlineData("http://0.0.0.0:5180", null, "a-token-of-more-than-22-characters", "", true)]
    [InlineData("http://0.0.0.0:5180", null, "", "https://id.example", true)]
    [InlineData("http://127.0.0.1:5180", null, "", "", true)]
    [InlineData("http://localhost:5180", AuthenticationMode.Unsecured, "", "", true)]
    [InlineData("http://[::1]:5180", null, "", "", true)]
    [InlineData("http://127.0.0.1:5180;http://10.0.0.1:80", null, "", "", false)]
    public void Start_OpenToTheNetworkWithoutSignIn_IsRefused(
        string urls, AuthenticationMode? mode, string token, string authority, bool starts)
    {
        using var folder = new TemporaryFolder();
        var options = new DashboardOptions
        {
            WorkDir = folder.Path,
            Authentication = new AuthenticationSettings
            {
                Mode = mode, Token = token,
                Oidc = new OidcSettings { Authority = authority, ClientId = authority.Length > 0 ? "coclr" : "" }
            }
        };
        if (starts)
        {
            DashboardOptionsValidator.Validate(options, urls.Split(';'));
        }
        else
        {
            var refused = Assert.Throws<CoCLR.Core.UserErrorException>(() => DashboardOptionsValidator.Validate(options, urls.Split(';')));
            Assert.Contains("Dashboard:", refused.Message, StringComparison.Ordinal);
            Assert.Equal(CoCLR.Core.ExitCodes.BadConfiguration, refused.ExitCode);
        }
    }

    [Theory]
    [InlineData("coclr-admin,x", Roles.Admin)]
    [InlineData("coclr-editor", Roles.Editor)]
    [InlineData("other", null)]
    [InlineData("", null)]
    [InlineData("people", Roles.Viewer)]
    public void OidcRoles_ComeFromOneClaim(string values, string? role)
    {
        var user = new ClaimsPrincipal(new ClaimsIdentity(values.Split(',').Select(v => new Claim("roles", v))));
        Assert.Equal(role, OidcSetup.RoleOf(user, new OidcSettings { ViewerValues = ["people"] }));
    }

    [Fact]
    public async Task Artifact_WithMarkup_IsSavedNotShown()
    {
        (string run, string folder, _) = new SampleRuns(Path.Combine(_server.Folder, "runs"))
            .Write("sample", Method.InfoNCE, SampleRuns.Until.Planned);
        var writer = new StageWriter(folder, run, "report", Make.Start);
        foreach ((string name, string type) in new[] { ("a.html", "text/html"), ("b.svg", "image/svg+xml"), ("c.js", "text/javascript"), ("d.json", "application/json") })
        {
            Directory.CreateDirectory(Path.Combine(folder, "stages", "report", "artifacts"));
            await File.WriteAllTextAsync(Path.Combine(folder, "stages", "report", "artifacts", name), "<script>alert(1)</script>");
            writer.Add(
                new CoCLR.Core.Events.ArtifactEvent
                {
                    Run = "", Stage = "", Attempt = 1, Seq = 0, Time = default, Name = name, File = $"stages/report/artifacts/{name}",
                    MediaType = type, Bytes = 25, Sha256 = ""
                });
        }

        writer.Save();
        await IngestApiTests.Until(() => _server.Store.Find(run)?.Stage("report")?.Artifacts.Length == 4);
        using HttpClient client = _server.Admin();
        foreach (ArtifactInfo artifact in _server.Store.Find(run)!.Stage("report")!.Artifacts)
        {
            using HttpResponseMessage answer = await client.GetAsync($"/api/v1/artifacts/{artifact.Id}");
            Assert.Equal(
                artifact.Name == "d.json" ? "application/json" : "application/octet-stream", answer.Content.Headers.ContentType!.MediaType);
            Assert.Equal(artifact.Name == "d.json" ? "inline" : "attachment", answer.Content.Headers.ContentDisposition!.DispositionType);
            Assert.Contains("sandbox", string.Join(' ', answer.Headers.GetValues("Content-Security-Policy")), StringComparison.Ordinal);
        }
    }

    private static async Task<HttpStatusCode> PutPlanAsync(HttpClient sender, string run, string? header = null)
    {
        var plan = CoCLR.Core.Planning.Planner.Plan("x", new ExperimentSpec(), run);
        using var request = new HttpRequestMessage(HttpMethod.Put, "/api/v1/ingest/plan") { Content = JsonContent.Create(plan, options: CoCLR.Core.CoclrJson.Compact) };
        if (header != null)
        {
            request.Headers.Add("X-Coclr-Namespace", header);
        }

        using HttpResponseMessage answer = await sender.SendAsync(request);
        return answer.StatusCode;
    }

    private static async Task<HttpStatusCode> Status(HttpClient client, string method, string path)
    {
        using HttpResponseMessage answer = await client.SendAsync(new HttpRequestMessage(new HttpMethod(method), path));
        return answer.StatusCode;
    }
}
