// Why this exists: a suite guards a representation; its verdict is to be read by scripts, and shown where people look: a README, a pull
// request.
using System.Globalization;
using System.Net;
using System.Security.Claims;
using CoCLR.Dashboard.Authentication;
using CoCLR.Dashboard.Configuration;
using CoCLR.Dashboard.Formatting;
using CoCLR.Dashboard.Hosting;
using CoCLR.Dashboard.Storage;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.Extensions.Options;
using Microsoft.Net.Http.Headers;

namespace CoCLR.Dashboard.Api;

/// <summary>Reads about suites.</summary>
internal static class SuiteEndpoints
{
    public static void MapSuites(this IEndpointRouteBuilder app)
    {
        RouteGroupBuilder api = app.MapGroup("/api/v1/suites").RequireAuthorization(Policies.View).RequireRateLimiting(RateLimits.Api)
            .WithTags("Suites");
        api.MapGroup("").WithProblems().MapGet("", (Suites suites, RunStore store, RunResults results, ClaimsPrincipal user) =>
            TypedResults.Ok(suites.All().Select(s => SuiteVerdict.Of(s, RunsOf(s, store, user), results.Report)).ToArray()))
            .Named("listSuites", "Lists suites: experiments, and how their expectations stand");
        RouteGroupBuilder one = api.MapGroup("/{suite}").WithProblems(StatusCodes.Status404NotFound);
        one.MapGet("", Results<Ok<SuiteVerdict>, ProblemHttpResult> (Suites suites, RunStore store, RunResults results, ClaimsPrincipal user, string suite) =>
            suites.Find(suite) is { } found
                ? TypedResults.Ok(SuiteVerdict.Of(found, RunsOf(found, store, user), results.Report))
                : Problems.Missing($"suite '{suite}'"))
            .Named("readSuite", "Reads how a suite stands");
        RouteHandlerBuilder table =
            one.MapGet("/table.md", (Suites suites, RunStore store, RunResults results, ClaimsPrincipal user, HttpContext context, string suite) =>
            suites.Find(suite) is { } found
                ? Fresh(context, SuiteVerdict.Markdown(found, RunsOf(found, store, user), results.Report), "text/markdown")
                : Problems.Missing($"suite '{suite}'"))
            .Produces<string>(contentType: "text/markdown").Named("readSuiteTable", "Reads a suite's table and expectations as Markdown");
        RouteHandlerBuilder badge =
            one.MapGet("/badge.svg", (Suites suites, RunStore store, RunResults results, ClaimsPrincipal user, HttpContext context, string suite) =>
            suites.Find(suite) is { } found
                ? Fresh(context, Badge(SuiteVerdict.Of(found, RunsOf(found, store, user), results.Report)), "image/svg+xml")
                : Problems.Missing($"suite '{suite}'"))
            .Produces<string>(contentType: "image/svg+xml")
                .Named("readSuiteBadge", "Draws a badge: met, not met, failed, or how far the suite is");
        if (app.ServiceProvider.GetRequiredService<IOptions<DashboardOptions>>().Value.PublicBadges)
        {
            table.AllowAnonymous();
            badge.AllowAnonymous();
        }
    }

    /// <summary>The badge of a verdict: the suite's name, and one word in a colour that also differs in lightness.</summary>
    /// <param name="verdict">The verdict.</param>
    internal static string Badge(SuiteVerdict verdict)
    {
        (string words, string colour) = verdict switch
        {
            { Failed: > 0 } => ($"{verdict.Failed} failed", "#b3261e"),
            { Met: false } => ("not met", "#b3261e"),
            { Met: true } => ($"{verdict.Expectations.Count} met", "#2e7d32"),
            _ => ($"{verdict.Finished}/{verdict.Experiments} done", "#59636e"),
        };

        // Verdana's mean width at 11 px, as badges of this form assume it.
        int left = Width(verdict.Name), right = Width(words), width = left + right;
        string name = WebUtility.HtmlEncode(verdict.Name);
        return string.Create(CultureInfo.InvariantCulture, $"""
            <svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="20" role="img" aria-label="{name}: {words}"><title>{name}: {words}</title>
            <rect width="{left}" height="20" fill="#333"/><rect x="{left}" width="{right}" height="20" fill="{colour}"/>
            <g fill="#fff" text-anchor="middle" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11"><text x="{left / 2.0}" y="14">{name}</text><text x="{left + (right / 2.0)}" y="14">{words}</text></g>
            </svg>

            """);

        static int Width(string text) => (int)Math.Ceiling((text.Length * 6.9) + 14);
    }

    private static RunInfo[] RunsOf(Suite suite, RunStore store, ClaimsPrincipal user) =>
        [.. Suites.RunsOf(suite, store.Runs.Where(r => user.MaySee(r)))];

    // A proxy of a code host keeps pictures for long unless it is told not to.
    private static IResult Fresh(HttpContext context, string text, string type)
    {
        context.Response.Headers[HeaderNames.CacheControl] = "no-cache, max-age=0";
        return Results.Text(text, type, System.Text.Encoding.UTF8);
    }
}
