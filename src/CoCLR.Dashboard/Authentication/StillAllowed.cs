// Why this exists: whether a user who came in is still allowed is decided in one place, for pages, streams and sessions alike.
using System.Security.Claims;
using CoCLR.Dashboard.Configuration;
using CoCLR.Dashboard.Storage;
using Microsoft.Extensions.Options;

namespace CoCLR.Dashboard.Authentication;

/// <summary>Looks again at users who came in.</summary>
internal sealed class StillAllowed(IOptions<DashboardOptions> options, SettingsFile settings, SignInMode mode, TimeProvider clock)
{
    /// <summary>How often every open page and stream looks.</summary>
    public static readonly TimeSpan LookEvery = TimeSpan.FromSeconds(3);

    /// <summary>
    /// Whether a user may still come in as who they are: a revoked or expired token, or a changed way of signing in, ends that.
    /// </summary>
    public bool Is(ClaimsPrincipal? user)
    {
        if (user?.Identity?.IsAuthenticated != true)
        {
            return false;
        }

        return user.FindFirstValue(Policies.TokenClaim) switch
        {
            null => true,
            Policies.LinkToken => mode.Mode is AuthenticationMode.BrowserToken or AuthenticationMode.Token
                && user.IsInRole(options.Value.Authentication.TokenRole),
            var id => settings.Current.Tokens.FirstOrDefault(t => t.Id == id) is { } token
                && (token.Expires is not { } end || clock.GetUtcNow() < end)
                && user.IsInRole(token.Role),
        };
    }
}
