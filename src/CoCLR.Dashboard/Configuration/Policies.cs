// Why this exists: every endpoint names one of these; a test fails when one names none.
using Microsoft.AspNetCore.Authorization;

namespace CoCLR.Dashboard.Configuration;

/// <summary>Names of the authorisation policies.</summary>
public static class Policies
{
    /// <summary>Reads.</summary>
    public const string View = "View";

    /// <summary>Starts, stops, deletes, annotates.</summary>
    public const string Edit = "Edit";

    /// <summary>Manages tokens.</summary>
    public const string Administer = "Administer";

    /// <summary>Sends events of its own run.</summary>
    public const string Ingest = "Ingest";

    /// <summary>Scheme of the browser's session.</summary>
    public const string CookieScheme = "coclr-session";

    /// <summary>Scheme of API tokens and ingest tokens in the Authorization header.</summary>
    public const string BearerScheme = "coclr-bearer";

    /// <summary>Scheme that picks one of the two.</summary>
    public const string AnyScheme = "coclr-any";

    /// <summary>Claim with the run that an ingest token may write.</summary>
    public const string RunClaim = "coclr:run";

    /// <summary>Claim with a namespace that a person may see; absent means all.</summary>
    public const string NamespaceClaim = "coclr:namespace";

    /// <summary>Claim with a person's name to the cluster.</summary>
    public const string ClusterUserClaim = "coclr:cluster-user";

    /// <summary>Claim with a group of a person to the cluster.</summary>
    public const string ClusterGroupClaim = "coclr:cluster-group";

    /// <summary>Claim with the id of the API token, or of the token that made the session.</summary>
    public const string TokenClaim = "coclr:token";

    /// <summary>Value of <see cref="TokenClaim"/> for a session that came by the printed link or the configured token.</summary>
    public const string LinkToken = "browser";

    /// <summary>Adds the policies. Nothing is open that does not say so.</summary>
    /// <param name="options">Authorisation options.</param>
    public static void Add(AuthorizationOptions options)
    {
        ArgumentNullException.ThrowIfNull(options);
        options.AddPolicy(View, p => p.RequireAuthenticatedUser().RequireRole(Roles.AtLeast(Roles.Viewer)));
        options.AddPolicy(Edit, p => p.RequireAuthenticatedUser().RequireRole(Roles.AtLeast(Roles.Editor)));
        options.AddPolicy(Administer, p => p.RequireAuthenticatedUser().RequireRole(Roles.AtLeast(Roles.Admin)));
        options.AddPolicy(Ingest, p => p.AddAuthenticationSchemes(BearerScheme).RequireAuthenticatedUser().RequireClaim(RunClaim));
        options.DefaultPolicy = options.GetPolicy(View)!;
        options.FallbackPolicy = options.GetPolicy(View)!;
    }
}
