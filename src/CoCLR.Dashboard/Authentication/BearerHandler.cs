// Why this exists: machines come with a token in the Authorization header: an API token with a role, or the ingest token of one run.
using System.Security.Claims;
using System.Text.Encodings.Web;
using CoCLR.Dashboard.Configuration;
using CoCLR.Dashboard.Storage;
using Microsoft.AspNetCore.Authentication;
using Microsoft.Extensions.Options;

namespace CoCLR.Dashboard.Authentication;

/// <summary>Reads <c>Authorization: Bearer TOKEN</c>.</summary>
internal sealed class BearerHandler(
    IOptionsMonitor<AuthenticationSchemeOptions> options, ILoggerFactory logger, UrlEncoder encoder, Tokens tokens, TokenUse use,
    IOptions<Configuration.DashboardOptions> settings)
    : AuthenticationHandler<AuthenticationSchemeOptions>(options, logger, encoder)
{
    private const string Scheme1 = "Bearer ";

    /// <summary>Whether a request brings a token in its header (or, for WebSockets of hubs, in its query).</summary>
    public static string? TokenOf(HttpRequest request)
    {
        if (request.Headers.Authorization is [{ } header] && header.StartsWith(Scheme1, StringComparison.Ordinal))
        {
            return header[Scheme1.Length..];
        }

        return request.Headers.Authorization.Count == 0 && request.Path.StartsWithSegments("/hubs", StringComparison.Ordinal)
            && request.Query["access_token"] is [{ Length: > 0 } query] ? query : null;
    }

    protected override async Task<AuthenticateResult> HandleAuthenticateAsync()
    {
        if (TokenOf(Request) is not { } given)
        {
            return AuthenticateResult.NoResult();
        }

        ClaimsIdentity? identity = null;
        if (tokens.RunOf(given) is var (run, space))
        {
            identity = OfRun(run, space);
        }
        else if (tokens.FindApi(given) is { } token)
        {
            use.Note(token.Id);
            identity = Of(token);
        }
        else if (settings.Value.Authentication.Token.Length > 0 && Tokens.Equal(given, settings.Value.Authentication.Token))
        {
            identity = new ClaimsIdentity(
                [new Claim(ClaimTypes.Name, "configured token"), new Claim(ClaimTypes.Role, settings.Value.Authentication.TokenRole)],
                Policies.BearerScheme);
        }
        else if (Context.RequestServices.GetService<PodTokens>() is { } pods
            && await pods.RunOfAsync(given, Context.RequestAborted) is { } pod)
        {
            identity = OfRun(pod.Run, pod.Namespace);
        }

        return identity == null
            ? AuthenticateResult.Fail("The token is unknown, expired or revoked.")
            : AuthenticateResult.Success(new AuthenticationTicket(new ClaimsPrincipal(identity), Scheme.Name));
    }

    private static ClaimsIdentity OfRun(string run, string? space) =>
        new(
            [new Claim(Policies.RunClaim, run), .. space is null ? Array.Empty<Claim>() : [new Claim(Policies.NamespaceClaim, space)]],
            Policies.BearerScheme);

    private static ClaimsIdentity Of(ApiToken token) => new(
        [
            new Claim(ClaimTypes.Name, token.Name), new Claim(ClaimTypes.Role, token.Role), new Claim(Policies.TokenClaim, token.Id),
            .. token.Namespaces.Select(n => new Claim(Policies.NamespaceClaim, n)),
        ],
        Policies.BearerScheme);
}
