// Why this exists: the link with the token, the form for it, and the way out.
using System.Security.Claims;
using CoCLR.Dashboard.Configuration;
using Microsoft.AspNetCore.Antiforgery;
using Microsoft.AspNetCore.Authentication;
using Microsoft.AspNetCore.Authentication.OpenIdConnect;
using Microsoft.AspNetCore.Mvc;
using Microsoft.Extensions.Options;

namespace CoCLR.Dashboard.Authentication;

/// <summary>Signs people in and out.</summary>
internal static class SignInEndpoints
{
    public static void MapSignIn(this IEndpointRouteBuilder app, AuthenticationMode mode)
    {
        // The link that is printed: a GET with the token. A wrong token leads to the form.
        app.MapGet("/login/link", async (HttpContext context, Tokens tokens, IOptions<DashboardOptions> options, string? t, string? returnUrl) =>
        {
            if (mode is not (AuthenticationMode.BrowserToken or AuthenticationMode.Token) || !Tokens.Equal(t, tokens.Browser))
            {
                return Results.LocalRedirect(WithBase(context, "/login?wrong=true"));
            }

            await SignInAsync(context, options.Value);
            return Results.LocalRedirect(Local(context, returnUrl));
        }).AllowAnonymous().RequireRateLimiting(RateLimits.SignIn).ExcludeFromDescription();

        app.MapPost("/login/token", async (HttpContext context, Tokens tokens, IAntiforgery antiforgery, IOptions<DashboardOptions> options, [FromForm] string? token, [FromForm] string? returnUrl) =>
        {
            if (!await antiforgery.IsRequestValidAsync(context))
            {
                return Results.BadRequest("The form is too old: load the page again.");
            }

            if (mode is not (AuthenticationMode.BrowserToken or AuthenticationMode.Token) || !Tokens.Equal(token?.Trim(), tokens.Browser))
            {
                return Results.LocalRedirect(WithBase(context, "/login?wrong=true"));
            }

            await SignInAsync(context, options.Value);
            return Results.LocalRedirect(Local(context, returnUrl));
        }).AllowAnonymous().RequireRateLimiting(RateLimits.SignIn).ExcludeFromDescription();

        if (mode == AuthenticationMode.OpenIdConnect)
        {
            app.MapGet("/login/oidc", (HttpContext context, string? returnUrl) =>
                Results.Challenge(
                    new AuthenticationProperties { RedirectUri = Local(context, returnUrl) }, [OpenIdConnectDefaults.AuthenticationScheme]))
                .AllowAnonymous().RequireRateLimiting(RateLimits.SignIn).ExcludeFromDescription();
        }

        app.MapPost("/logout", async (HttpContext context, IAntiforgery antiforgery) =>
        {
            if (!await antiforgery.IsRequestValidAsync(context))
            {
                return Results.BadRequest("The form is too old: load the page again.");
            }

            await context.SignOutAsync(Policies.CookieScheme);
            return Results.LocalRedirect(WithBase(context, "/login"));
        }).RequireAuthorization(Policies.View).ExcludeFromDescription();
    }

    /// <summary>An address on this server, or the start page: a sign-in never leads elsewhere.</summary>
    internal static string Local(HttpContext context, string? url) =>
        url is { Length: > 0 and < 2000 } && url[0] == '/' && (url.Length == 1 || (url[1] != '/' && url[1] != '\\'))
            && !url.Any(char.IsControl) && !url.Contains('\\', StringComparison.Ordinal) ? url : WithBase(context, "/");

    private static string WithBase(HttpContext context, string path) => context.Request.PathBase + path;

    private static Task SignInAsync(HttpContext context, DashboardOptions options)
    {
        var identity = new ClaimsIdentity(
            [
                new Claim(ClaimTypes.Name, "you"), new Claim(ClaimTypes.Role, options.Authentication.TokenRole),
                new Claim(Policies.TokenClaim, Policies.LinkToken)
            ],
            Policies.CookieScheme);
        return context.SignInAsync(
            Policies.CookieScheme,
            new ClaimsPrincipal(identity),
            new AuthenticationProperties
            {
                IsPersistent = true, ExpiresUtc = DateTimeOffset.UtcNow.AddHours(options.Authentication.SessionHours)
            });
    }
}
