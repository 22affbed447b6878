// Why this exists: who may see which run is decided in one place, for pages, API, hub and artifacts alike.
using System.Security.Claims;
using CoCLR.Dashboard.Configuration;
using CoCLR.Dashboard.Storage;

namespace CoCLR.Dashboard.Authentication;

/// <summary>What a person may see.</summary>
public static class Access
{
    /// <summary>Whether a person may see a run. Runs that may not be seen are answered as if they did not exist.</summary>
    /// <param name="user">The person.</param>
    /// <param name="run">The run.</param>
    public static bool MaySee(this ClaimsPrincipal user, RunInfo? run)
    {
        ArgumentNullException.ThrowIfNull(user);
        if (run == null)
        {
            return false;
        }

        return user.MaySee(run.Namespace);
    }

    /// <summary>Whether a person may see a namespace.</summary>
    /// <param name="user">The person.</param>
    /// <param name="space">The namespace; null for what belongs to none.</param>
    public static bool MaySee(this ClaimsPrincipal user, string? space)
    {
        ArgumentNullException.ThrowIfNull(user);
        bool limited = false;
        foreach (Claim claim in user.FindAll(Policies.NamespaceClaim))
        {
            limited = true;
            if (claim.Value == space)
            {
                return true;
            }
        }

        return !limited;
    }

    /// <summary>Whether a person may start, stop and delete.</summary>
    /// <param name="user">The person.</param>
    public static bool MayEdit(this ClaimsPrincipal user) => Roles.AtLeast(Roles.Editor).Any(user.IsInRole);

    /// <summary>Whether a person may manage tokens.</summary>
    /// <param name="user">The person.</param>
    public static bool MayAdminister(this ClaimsPrincipal user) => user.IsInRole(Roles.Admin);
}
