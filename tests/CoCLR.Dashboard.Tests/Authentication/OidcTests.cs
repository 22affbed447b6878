// Why this exists: the sign-in over OpenID Connect against a real issuer in this process: code flow, PKCE, state, nonce, audience and
// roles.
using System.Buffers.Text;
using System.Net;
using System.Security.Claims;
using System.Security.Cryptography;
using System.Text;
using CoCLR.Dashboard.Configuration;
using CoCLR.Dashboard.Hosting;
using CoCLR.Dashboard.Tests.Fixtures;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.WebUtilities;
using Microsoft.Extensions.Logging;
using Microsoft.IdentityModel.JsonWebTokens;
using Microsoft.IdentityModel.Tokens;

namespace CoCLR.Dashboard.Tests.Authentication;

/// <summary>An issuer that signs everybody in, as the test says.</summary>
internal sealed class Issuer : IAsyncDisposable
{
    private readonly RSA _key = RSA.Create(2048);
    private readonly Dictionary<string, (string Challenge, string Nonce)> _codes = [];
    private readonly WebApplication _app;

    private Issuer()
    {
        WebApplicationBuilder builder = WebApplication.CreateSlimBuilder();
        builder.WebHost.UseUrls("http://127.0.0.1:0");
        builder.Logging.SetMinimumLevel(LogLevel.Error);
        _app = builder.Build();
        var security = new RsaSecurityKey(_key) { KeyId = "one" };
        _app.MapGet("/.well-known/openid-configuration", () => new Dictionary<string, object>
        {
            ["issuer"] = Address, ["authorization_endpoint"] = $"{Address}/authorize", ["token_endpoint"] = $"{Address}/token",
            ["jwks_uri"] = $"{Address}/keys",
            ["userinfo_endpoint"] = $"{Address}/userinfo", ["response_types_supported"] = new[] { "code" },
            ["subject_types_supported"] = new[] { "public" }, ["id_token_signing_alg_values_supported"] = new[] { "RS256" },
        });
        _app.MapGet("/keys", () =>
        {
            JsonWebKey key =
                JsonWebKeyConverter.ConvertFromRSASecurityKey(new RsaSecurityKey(_key.ExportParameters(false)) { KeyId = "one" });
            return new { keys = new[] { new { kty = key.Kty, kid = key.Kid, n = key.N, e = key.E, alg = "RS256", use = "sig" } } };
        });
        _app.MapGet("/authorize", (HttpContext context) =>
        {
            IQueryCollection q = context.Request.Query;
            Assert.Equal(
                ("code", "S256", "dash"),
                (q["response_type"].ToString(), q["code_challenge_method"].ToString(), q["client_id"].ToString()));
            string code = Guid.NewGuid().ToString("N");
            _codes[code] = (q["code_challenge"].ToString(), Nonce ?? q["nonce"].ToString());
            return Results.Redirect(
                QueryHelpers.AddQueryString(
                    q["redirect_uri"].ToString(),
                    new Dictionary<string,
                    string?>
                    { ["code"] = code, ["state"] = State ?? q["state"].ToString() }));
        });
        _app.MapPost("/token", async (HttpContext context) =>
        {
            IFormCollection form = await context.Request.ReadFormAsync();
            if (!_codes.Remove(form["code"].ToString(), out (string Challenge, string Nonce) code)
                || Base64Url.EncodeToString(SHA256.HashData(Encoding.ASCII.GetBytes(form["code_verifier"].ToString()))) != code.Challenge)
            {
                return Results.BadRequest(new { error = "invalid_grant" });
            }

            string token = new JsonWebTokenHandler().CreateToken(new SecurityTokenDescriptor
            {
                Issuer = Address, Audience = Audience, Expires = DateTime.UtcNow.AddMinutes(5),
                Subject = new ClaimsIdentity(
                    [
                        new Claim("sub", "u-1"), new Claim("nonce", code.Nonce), new Claim("name", "Ada"),
                        .. Roles.Select(r => new Claim("roles", r)), new Claim("groups", "vision"), new Claim("groups", "video")
                    ]),
                SigningCredentials = new SigningCredentials(security, SecurityAlgorithms.RsaSha256),
            });
            return Results.Json(new { access_token = "a", token_type = "Bearer", expires_in = 300, id_token = token });
        });
        _app.MapGet("/userinfo", () => new { sub = "u-1" });
    }

    public string Address => _app.Urls.First();

    public string[] Roles { get; set; } = ["coclr-editor"];

    public string Audience { get; set; } = "dash";

    public string? Nonce { get; set; }

    public string? State { get; set; }

    public static async Task<Issuer> StartAsync()
    {
        var issuer = new Issuer();
        await issuer._app.StartAsync();
        return issuer;
    }

    public async ValueTask DisposeAsync()
    {
        await _app.DisposeAsync();
        _key.Dispose();
    }
}

public sealed class OidcTests
{
    [Theory]
    [InlineData("fine", true)]
    [InlineData("state", false)]
    [InlineData("nonce", false)]
    [InlineData("audience", false)]
    [InlineData("role", false)]
    public async Task SignIn_SucceedsOnlyWithEverythingRight(string what, bool succeeds)
    {
        await using Issuer issuer = await Issuer.StartAsync();
        switch (what)
        {
            case "state": issuer.State = "made-up"; break;
            case "nonce": issuer.Nonce = "made-up"; break;
            case "audience": issuer.Audience = "another-client"; break;
            case "role": issuer.Roles = ["cook"]; break;
        }

        await using DashboardServer dashboard = await StartAsync(issuer);
        using HttpClient browser = dashboard.Anonymous();
        string end = await SignInAsync(browser, dashboard.Address, "/login/oidc?returnUrl=%2Fcompare");
        Assert.Equal(succeeds ? "/compare" : "/login?refused=true", end);
        Assert.Equal(succeeds ? HttpStatusCode.OK : HttpStatusCode.Unauthorized, (await browser.GetAsync("/api/v1/runs")).StatusCode);
    }

    [Theory]
    [InlineData("//evil.example/x")]
    [InlineData("https://evil.example/x")]
    [InlineData("/\\evil.example")]
    public async Task SignIn_NeverLeadsElsewhere(string returnUrl)
    {
        await using Issuer issuer = await Issuer.StartAsync();
        await using DashboardServer dashboard = await StartAsync(issuer);
        using HttpClient browser = dashboard.Anonymous();
        Assert.Equal("/", await SignInAsync(browser, dashboard.Address, $"/login/oidc?returnUrl={Uri.EscapeDataString(returnUrl)}"));
    }

    [Fact]
    public async Task Roles_OfTheClaim_DecideWhatIsOpen()
    {
        await using Issuer issuer = await Issuer.StartAsync();
        await using DashboardServer dashboard = await StartAsync(issuer);
        foreach ((string role, HttpStatusCode tokens) in new[] { ("coclr-viewer", HttpStatusCode.Forbidden), ("coclr-admin", HttpStatusCode.OK) })
        {
            issuer.Roles = [role];
            using HttpClient browser = dashboard.Anonymous();
            await SignInAsync(browser, dashboard.Address, "/login/oidc");
            Assert.Equal(HttpStatusCode.OK, (await browser.GetAsync("/api/v1/runs")).StatusCode);
            Assert.Equal(tokens, (await browser.GetAsync("/api/v1/tokens")).StatusCode);
        }
    }

    [Fact]
    public void Subject_OfASession_IsWhatTheClusterKnows()
    {
        var person = new ClaimsPrincipal(
            new ClaimsIdentity(
                [new Claim(Policies.ClusterUserClaim, "oidc:u-1"), new Claim(Policies.ClusterGroupClaim, "oidc:vision")], "test"));
        (string name, string[] groups) = ClusterHost.Subject(person);
        Assert.Equal("oidc:u-1", name);
        Assert.Equal(["oidc:vision", "system:authenticated"], groups);
    }

    private static Task<DashboardServer> StartAsync(Issuer issuer) =>
        DashboardServer.StartAsync(null, "--Dashboard:Authentication:Mode", "OpenIdConnect", "--Dashboard:Authentication:Token", "",
        "--Dashboard:Authentication:Oidc:Authority", issuer.Address, "--Dashboard:Authentication:Oidc:ClientId", "dash",
        "--Dashboard:Authentication:Oidc:ClientSecret", "s", "--Dashboard:Authentication:Oidc:ViewerValues:0", "coclr-viewer");

    /// <summary>Follows redirects as a browser does, until a page of the dashboard; its path.</summary>
    private static async Task<string> SignInAsync(HttpClient browser, Uri dashboard, string path)
    {
        var at = new Uri(dashboard, path);
        for (int i = 0; i < 8; i++)
        {
            using HttpResponseMessage answer = await browser.GetAsync(at);
            if (answer.StatusCode is not (HttpStatusCode.Redirect or HttpStatusCode.Found or HttpStatusCode.SeeOther))
            {
                return at.PathAndQuery;
            }

            at = new Uri(at, answer.Headers.Location!);
            if (at.Authority == dashboard.Authority && !at.AbsolutePath.StartsWith("/signin-oidc", StringComparison.Ordinal))
            {
                return at.PathAndQuery;
            }
        }

        throw new InvalidOperationException("The redirects do not end.");
    }
}
