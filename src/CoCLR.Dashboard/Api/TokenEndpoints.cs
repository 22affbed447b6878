// Why this exists: an admin's script gives other scripts and training processes their tokens, takes them away, and reads who did what.
using CoCLR.Core;
using CoCLR.Dashboard.Authentication;
using CoCLR.Dashboard.Configuration;
using CoCLR.Dashboard.Formatting;
using CoCLR.Dashboard.Storage;
using CoCLR.Runs;
using Microsoft.AspNetCore.Http.HttpResults;

namespace CoCLR.Dashboard.Api;

/// <summary>Tokens and the record of actions.</summary>
internal static class TokenEndpoints
{
    public static void MapTokens(this IEndpointRouteBuilder app)
    {
        RouteGroupBuilder admin = app.MapGroup("/api/v1").RequireAuthorization(Policies.Administer).RequireRateLimiting(RateLimits.Api)
            .WithTags("Tokens")
            .AddEndpointFilter<CookieNeedsAntiforgery>().WithProblems();
        admin.MapGet(
            "/tokens",
            (SettingsFile settings, TokenUse use) => TypedResults.Ok(settings.Current.Tokens.Select(t => TokenInfo.Of(t, use)).ToArray()))
            .Named("listTokens", "Lists API tokens without their secrets");
        admin.MapPost("/tokens", Make).Named("makeToken", "Makes an API token; its secret is shown this once");
        admin.MapDelete("/tokens/{id}", Revoke).Named("revokeToken", "Ends an API token; its open streams end within seconds");
        admin.MapPost("/tokens/ingest", MakeForRun).Named("makeRunToken", "Makes the ingest token of a run");
        admin.MapGet("/audit", (AuditLog audit, int? take) => TypedResults.Ok(audit.Newest(Math.Clamp(take ?? 200, 1, 10_000))))
            .Named("readAudit", "Reads who did what, newest first");
    }

    private static Results<Ok<MadeToken>, ProblemHttpResult> Make(HttpContext context, Tokens tokens, AuditLog audit, NewToken wanted)
    {
        if (string.IsNullOrWhiteSpace(wanted.Name) || wanted.Name.Length > 100)
        {
            return Problems.Wrong("name: 1 to 100 characters are needed.");
        }

        if (wanted.Namespaces?.Any(n => !RunFolder.IsName(n)) == true)
        {
            return Problems.Wrong("namespaces: each must be a plain name, such as team-a.");
        }

        try
        {
            (ApiToken token, string secret) =
                tokens.CreateApi(wanted.Name, wanted.Role ?? "", wanted.Namespaces?.OfType<string>() ?? [], wanted.Expires);
            audit.Add(context.User, "make-token", $"{token.Id} ({token.Role})");
            return TypedResults.Ok(new MadeToken(token.Id, token.Name, token.Role, token.Expires, secret));
        }
        catch (UserErrorException e)
        {
            return Problems.Wrong(e.Message);
        }
    }

    private static Results<NoContent, ProblemHttpResult> Revoke(HttpContext context, Tokens tokens, AuditLog audit, string id)
    {
        if (!tokens.Revoke(id))
        {
            return Problems.Missing("token of this id");
        }

        audit.Add(context.User, "revoke-token", id);
        return TypedResults.NoContent();
    }

    private static Results<Ok<MadeRunToken>, ProblemHttpResult> MakeForRun(
        HttpContext context, Tokens tokens, AuditLog audit, NewIngestToken wanted)
    {
        if (!RunFolder.IsName(wanted.Run))
        {
            return Problems.Wrong("run: a plain name is needed.");
        }

        if (wanted.Namespace is { } space && !RunFolder.IsName(space))
        {
            return Problems.Wrong("namespace: a plain name is needed, or none.");
        }

        var lifetime = TimeSpan.FromHours(Math.Clamp(wanted.Hours ?? 24 * 30, 1, 24 * 366));
        audit.Add(context.User, "make-run-token", wanted.Run!);
        return TypedResults.Ok(new MadeRunToken(wanted.Run!, wanted.Namespace, tokens.ForRun(wanted.Run!, lifetime, wanted.Namespace)));
    }
}

/// <summary>A token as it is listed.</summary>
/// <param name="Id">Public part.</param>
/// <param name="Name">What it is for.</param>
/// <param name="Role">Role.</param>
/// <param name="Namespaces">Namespaces it may see; all when empty.</param>
/// <param name="Created">When it was made.</param>
/// <param name="Expires">When it ends, or null.</param>
/// <param name="Used">When it was used last, to the minute; null for never.</param>
internal sealed record TokenInfo(
    string Id, string Name, string Role, string[] Namespaces, DateTimeOffset Created, DateTimeOffset? Expires, DateTimeOffset? Used)
{
    public static TokenInfo Of(ApiToken token, TokenUse use) =>
        new(token.Id, token.Name, token.Role, [.. token.Namespaces], token.Created, token.Expires, use.Of(token.Id));
}

internal sealed record NewToken(string? Name, string? Role, string?[]? Namespaces, DateTimeOffset? Expires);

internal sealed record MadeToken(string Id, string Name, string Role, DateTimeOffset? Expires, string Secret);

internal sealed record NewIngestToken(string? Run, double? Hours, string? Namespace);

internal sealed record MadeRunToken(string Run, string? Namespace, string Secret);
