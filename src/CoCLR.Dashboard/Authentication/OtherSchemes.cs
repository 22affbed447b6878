// Why this exists: the two ways of signing in that are neither a session nor a token: none at all on loopback, and OpenID Connect.
using System.Security.Claims;
using System.Text.Encodings.Web;
using CoCLR.Dashboard.Configuration;
using Microsoft.AspNetCore.Authentication;
using Microsoft.AspNetCore.Authentication.OpenIdConnect;
using Microsoft.AspNetCore.Components.Authorization;
using Microsoft.AspNetCore.Components.Server;
using Microsoft.Extensions.Options;
using Microsoft.IdentityModel.Protocols.OpenIdConnect;

namespace CoCLR.Dashboard.Authentication;

/// <summary>Everyone on this machine is an admin; only when asked for by name, and on loopback.</summary>
internal sealed class UnsecuredHandler(
    IOptionsMonitor<AuthenticationSchemeOptions> options,
    ILoggerFactory logger,
    UrlEncoder encoder) : AuthenticationHandler<AuthenticationSchemeOptions>(options, logger, encoder)
{
    public const string SchemeName = "coclr-unsecured";

    protected override Task<AuthenticateResult> HandleAuthenticateAsync() =>
        Task.FromResult(AuthenticateResult.Success(new AuthenticationTicket(
        new ClaimsPrincipal(new ClaimsIdentity([new Claim(ClaimTypes.Name, "you"), new Claim(ClaimTypes.Role, Roles.Admin)], SchemeName)),
        SchemeName)));
}

/// <summary>OpenID Connect with code flow, PKCE, state and nonce; roles come from one claim.</summary>
internal static class OidcSetup
{
    public static void Configure(OpenIdConnectOptions o, OidcSettings settings)
    {
        o.Authority = settings.Authority;
        o.ClientId = settings.ClientId;
        o.ClientSecret = settings.ClientSecret.Length > 0 ? settings.ClientSecret : null;
        o.ResponseType = OpenIdConnectResponseType.Code;
        o.UsePkce = true;

        // The answer comes as a redirect of the same browser, so its cookies need not travel across sites; they work without TLS behind a
        // proxy that has it.
        o.ResponseMode = OpenIdConnectResponseMode.Query;
        o.CorrelationCookie.SameSite = o.NonceCookie.SameSite = SameSiteMode.Lax;
        o.CorrelationCookie.SecurePolicy = o.NonceCookie.SecurePolicy = CookieSecurePolicy.SameAsRequest;
        o.SignInScheme = Policies.CookieScheme;
        o.SaveTokens = false;
        o.MapInboundClaims = false;
        o.GetClaimsFromUserInfoEndpoint = true;
        o.RequireHttpsMetadata = !DashboardOptionsValidator.IsLoopback(settings.Authority);
        o.TokenValidationParameters.NameClaimType = "name";
        o.TokenValidationParameters.RoleClaimType = ClaimTypes.Role;
        o.TokenValidationParameters.ValidAudience = settings.ClientId;
        o.Scope.Clear();
        o.Scope.Add("openid");
        o.Scope.Add("profile");
        foreach (string claim in new[] { settings.RoleClaim, settings.UserClaim, settings.GroupsClaim, settings.NamespaceClaim }.Where(c => c.Length > 0).Distinct())
        {
            o.ClaimActions.MapJsonKey(claim, claim);
        }

        o.Events.OnTicketReceived = context => TakeInAsync(context, settings);
        o.Events.OnRemoteFailure = context =>
        {
            context.HandleResponse();
            return RefuseAsync(context.HttpContext);
        };
    }

    /// <summary>Gives a person a session with what the provider said of them, and nothing more.</summary>
    private static Task TakeInAsync(TicketReceivedContext context, OidcSettings settings)
    {
        ClaimsPrincipal user = context.Principal!;
        if (RoleOf(user, settings) is not { } role)
        {
            // A failure alone would still sign the account in; only an answer of our own does not.
            context.HandleResponse();
            return RefuseAsync(context.HttpContext);
        }

        string name = user.FindFirstValue("name") ?? user.FindFirstValue("preferred_username") ?? user.FindFirstValue("sub") ?? "someone";
        var identity = new ClaimsIdentity(
            [new Claim("name", name), new Claim("sub", user.FindFirstValue("sub") ?? ""), new Claim(ClaimTypes.Role, role)],
            Policies.CookieScheme, "name", ClaimTypes.Role);
        if (user.FindFirstValue(settings.UserClaim) is { Length: > 0 } cluster)
        {
            identity.AddClaim(new Claim(Policies.ClusterUserClaim, settings.UserPrefix + cluster));
            identity.AddClaims(
                user.FindAll(settings.GroupsClaim).Select(c => new Claim(Policies.ClusterGroupClaim, settings.GroupsPrefix + c.Value)));
        }

        if (settings.NamespaceClaim.Length > 0)
        {
            // A person without the claim sees no namespace, not all of them.
            string[] spaces = [.. user.FindAll(settings.NamespaceClaim).Select(c => c.Value)];
            identity.AddClaims((spaces.Length > 0 ? spaces : [""]).Select(s => new Claim(Policies.NamespaceClaim, s)));
        }

        context.Principal = new ClaimsPrincipal(identity);
        return Task.CompletedTask;
    }

    private static Task RefuseAsync(HttpContext context)
    {
        context.Response.Redirect(context.Request.PathBase + "/login?refused=true");
        return Task.CompletedTask;
    }

    /// <summary>The highest role that the claims give, or null.</summary>
    public static string? RoleOf(ClaimsPrincipal user, OidcSettings settings)
    {
        string[] values = [.. user.FindAll(settings.RoleClaim).Select(c => c.Value)];
        return values.Intersect(settings.AdminValues).Any() ? Roles.Admin
            : values.Intersect(settings.EditorValues).Any() ? Roles.Editor
            : settings.ViewerValues.Length == 0 || values.Intersect(settings.ViewerValues).Any() ? Roles.Viewer : null;
    }
}

/// <summary>Checks every few seconds that the user of an open page is still allowed.</summary>
internal sealed class RevalidatingUser(
    ILoggerFactory loggers, StillAllowed allowed) : RevalidatingServerAuthenticationStateProvider(loggers)
{
    protected override TimeSpan RevalidationInterval => StillAllowed.LookEvery;

    protected override Task<bool> ValidateAuthenticationStateAsync(
        AuthenticationState authenticationState, CancellationToken cancellationToken) =>
        Task.FromResult(allowed.Is(authenticationState.User));
}
