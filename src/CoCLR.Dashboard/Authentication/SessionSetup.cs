// Why this exists: how people and machines come in: a session of a browser, a token in a header, or a provider of identities.
using CoCLR.Dashboard.Configuration;
using CoCLR.Dashboard.Formatting;
using Microsoft.AspNetCore.Authentication;
using Microsoft.AspNetCore.Authentication.Cookies;
using Microsoft.AspNetCore.Components.Authorization;

namespace CoCLR.Dashboard.Authentication;

/// <summary>Sets up the sign-in.</summary>
internal static class SessionSetup
{
    public static void Add(IServiceCollection services, DashboardOptions options, AuthenticationMode mode, string instance)
    {
        services.AddSingleton<Tokens>();
        services.AddSingleton<TokenUse>();
        services.AddSingleton<StillAllowed>();
        services.AddSingleton(new SignInMode(mode));
        services.AddScoped<AuthenticationStateProvider, RevalidatingUser>();
        string session = mode == AuthenticationMode.Unsecured ? UnsecuredHandler.SchemeName : Policies.CookieScheme;
        AuthenticationBuilder authentication =
            services.AddAuthentication(o => o.DefaultScheme = o.DefaultChallengeScheme = Policies.AnyScheme)
            .AddPolicyScheme(
                Policies.AnyScheme,
                null,
                o => o.ForwardDefaultSelector = c => BearerHandler.TokenOf(c.Request) != null ? Policies.BearerScheme : session)
            .AddScheme<AuthenticationSchemeOptions, BearerHandler>(Policies.BearerScheme, null)
            .AddScheme<AuthenticationSchemeOptions, UnsecuredHandler>(UnsecuredHandler.SchemeName, null)
            .AddCookie(Policies.CookieScheme, o => Configure(o, options, instance));
        if (mode == AuthenticationMode.OpenIdConnect)
        {
            authentication.AddOpenIdConnect(o => OidcSetup.Configure(o, options.Authentication.Oidc));
        }

        services.AddAuthorization(Policies.Add);
    }

    private static void Configure(CookieAuthenticationOptions o, DashboardOptions options, string instance)
    {
        o.Cookie.Name = "coclr-session-" + instance;
        o.Cookie.HttpOnly = true;

        // A link on another site leads to the page and not to the sign-in. What changes something needs the antiforgery token, and sockets
        // the right origin.
        o.Cookie.SameSite = SameSiteMode.Lax;
        o.Cookie.SecurePolicy = CookieSecurePolicy.SameAsRequest;
        o.ExpireTimeSpan = TimeSpan.FromHours(options.Authentication.SessionHours);
        o.SlidingExpiration = true;
        o.LoginPath = "/login";
        o.AccessDeniedPath = "/denied";
        o.Events.OnRedirectToLogin = c => ToLogin(c, StatusCodes.Status401Unauthorized);
        o.Events.OnRedirectToAccessDenied = c => ToLogin(c, StatusCodes.Status403Forbidden);
        o.Events.OnValidatePrincipal = c =>
        {
            // A session that a link made ends when the token of the link changed its role or is no longer the way to sign in.
            if (!c.HttpContext.RequestServices.GetRequiredService<StillAllowed>().Is(c.Principal))
            {
                c.RejectPrincipal();
            }

            return Task.CompletedTask;
        };
    }

    private static Task ToLogin(RedirectContext<CookieAuthenticationOptions> context, int status)
    {
        // Pages lead to the sign-in; everything else gets its status.
        if (PageRequests.IsPage(context.HttpContext))
        {
            context.Response.Redirect(context.RedirectUri);
        }
        else
        {
            context.Response.StatusCode = status;
        }

        return Task.CompletedTask;
    }
}
