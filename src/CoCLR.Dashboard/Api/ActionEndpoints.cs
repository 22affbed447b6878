// Why this exists: what the buttons of the pages do, for scripts.
using System.Security.Claims;
using CoCLR.Core;
using CoCLR.Core.Manifests;
using CoCLR.Core.Planning;
using CoCLR.Dashboard.Authentication;
using CoCLR.Dashboard.Cluster;
using CoCLR.Dashboard.Hosting;
using CoCLR.Dashboard.Storage;
using Microsoft.AspNetCore.Antiforgery;
using Microsoft.AspNetCore.Mvc;

namespace CoCLR.Dashboard.Api;

/// <summary>Actions on runs and tokens.</summary>
internal static class ActionEndpoints
{
    public static void MapActions(this IEndpointRouteBuilder app)
    {
        RouteGroupBuilder edit = app.MapGroup("/api/v1").RequireAuthorization(Policies.Edit).RequireRateLimiting(RateLimits.Api).WithTags("Actions").AddEndpointFilter<CookieNeedsAntiforgery>();
        edit.MapPost("/runs", async (HttpContext context, LocalHost host, IServiceProvider services, ClaimsPrincipal user, [FromQuery(Name = "namespace")] string? space) =>
        {
            using var reader = new StreamReader(context.Request.Body);
            string text = await reader.ReadToEndAsync(context.RequestAborted);
            ManifestReading<ExperimentSpec> reading = ManifestReader.ReadExperiment(text);
            if (reading.Manifest is not { } manifest)
            {
                return Results.Problem(string.Join("\n", reading.Problems), statusCode: StatusCodes.Status400BadRequest, title: "The manifest is not valid");
            }

            try
            {
                if (services.GetService<ClusterHost>() is { } cluster)
                {
                    string name = await cluster.ApplyAsync(user, space ?? cluster.NamespacesOf(user)[0], text, context.RequestAborted);
                    return Results.Accepted(null, new { name, @namespace = space ?? cluster.NamespacesOf(user)[0] });
                }

                string run = Planner.Plan(manifest.Metadata.Name, manifest.Spec).Run;
                host.Start(run, text);
                return Results.Created($"/api/v1/runs/{run}", new { run });
            }
            catch (UserErrorException e)
            {
                return Results.Problem(e.Message, statusCode: StatusCodes.Status409Conflict);
            }
        }).Accepts<string>("application/yaml").WithMetadata(new RequestSizeLimitAttribute(1 << 20)).WithSummary("Starts an experiment from its manifest (YAML or JSON), in a cluster in the namespace of the query");
        edit.MapPost("/runs/{run}/stop", (RunStore store, LocalHost host, IServiceProvider services, ClaimsPrincipal user, string run, CancellationToken cancel) => OnAsync(store, services, user, run, _ => host.Stop(run), (cluster, c) => cluster.SuspendAsync(user, c, true, cancel)))
            .WithSummary("Stops a run after a checkpoint");
        edit.MapPost("/runs/{run}/suspend", (RunStore store, LocalHost host, IServiceProvider services, ClaimsPrincipal user, string run, CancellationToken cancel) => OnAsync(store, services, user, run, _ => host.Stop(run), (cluster, c) => cluster.SuspendAsync(user, c, true, cancel)))
            .WithSummary("Stops a run after a checkpoint; resume continues it");
        edit.MapPost("/runs/{run}/resume", (RunStore store, LocalHost host, IServiceProvider services, ClaimsPrincipal user, string run, CancellationToken cancel) => OnAsync(store, services, user, run, host.Resume, (cluster, c) => c.Suspend ? cluster.SuspendAsync(user, c, false, cancel) : cluster.RetryAsync(user, c, cancel)))
            .WithSummary("Continues a run");
        edit.MapDelete("/runs/{run}", (RunStore store, LocalHost host, IServiceProvider services, ClaimsPrincipal user, string run, CancellationToken cancel) => OnAsync(store, services, user, run, host.Delete, (cluster, c) => cluster.DeleteAsync(user, c, cancel)))
            .WithSummary("Deletes a run with its folder; in a cluster the resource, and what is kept of the run here once it is gone");

        RouteGroupBuilder admin = app.MapGroup("/api/v1/tokens").RequireAuthorization(Policies.Administer).RequireRateLimiting(RateLimits.Api).WithTags("Tokens").AddEndpointFilter<CookieNeedsAntiforgery>();
        admin.MapGet("", (SettingsFile settings) => settings.Current.Tokens.Select(t => new TokenInfo(t.Id, t.Name, t.Role, [.. t.Namespaces], t.Created, t.Expires)).ToArray()).WithSummary("Lists API tokens without their secrets");
        admin.MapPost("", (Tokens tokens, NewToken wanted) =>
        {
            if (string.IsNullOrWhiteSpace(wanted.Name) || wanted.Name.Length > 100)
            {
                return Results.BadRequest("A name of 1 to 100 characters is needed.");
            }

            try
            {
                (ApiToken token, string secret) = tokens.CreateApi(wanted.Name, wanted.Role, wanted.Namespaces ?? [], wanted.Expires);
                return Results.Ok(new { token.Id, token.Name, token.Role, token.Expires, secret });
            }
            catch (UserErrorException e)
            {
                return Results.BadRequest(e.Message);
            }
        }).WithSummary("Makes an API token; its secret is shown this once");
        admin.MapDelete("/{id}", (Tokens tokens, string id) => tokens.Revoke(id) ? Results.NoContent() : Results.NotFound()).WithSummary("Ends an API token");
        admin.MapPost("/ingest", (Tokens tokens, NewIngestToken wanted) => Ingest.RunFolders.IsName(wanted.Run)
            ? Results.Ok(new { wanted.Run, secret = tokens.ForRun(wanted.Run, TimeSpan.FromHours(Math.Clamp(wanted.Hours ?? 24 * 30, 1, 24 * 366))) })
            : Results.BadRequest("The run is not a plain name.")).WithSummary("Makes the ingest token of a run");
    }

    private static async Task<IResult> OnAsync(RunStore store, IServiceProvider services, ClaimsPrincipal user, string run, Action<RunInfo> act, Func<ClusterHost, ClusterRef, Task> inCluster)
    {
        if (store.Find(run) is not { } info || !user.MaySee(info))
        {
            return Results.NotFound();
        }

        try
        {
            if (info.Cluster is { } resource && services.GetService<ClusterHost>() is { } cluster)
            {
                await inCluster(cluster, resource);
            }
            else
            {
                act(info);
            }

            return Results.NoContent();
        }
        catch (UserErrorException e)
        {
            return Results.Problem(e.Message, statusCode: StatusCodes.Status409Conflict);
        }
    }
}

internal sealed record TokenInfo(string Id, string Name, string Role, string[] Namespaces, DateTimeOffset Created, DateTimeOffset? Expires);

internal sealed record NewToken(string Name, string Role, string[]? Namespaces, DateTimeOffset? Expires);

internal sealed record NewIngestToken(string Run, double? Hours);

/// <summary>A browser's session may write only with an antiforgery token; a bearer token is not sent by browsers on their own.</summary>
internal sealed class CookieNeedsAntiforgery(IAntiforgery antiforgery) : IEndpointFilter
{
    public async ValueTask<object?> InvokeAsync(EndpointFilterInvocationContext context, EndpointFilterDelegate next)
    {
        HttpContext http = context.HttpContext;
        bool reads = HttpMethods.IsGet(http.Request.Method) || HttpMethods.IsHead(http.Request.Method);
        return reads || BearerHandler.TokenOf(http.Request) != null || await antiforgery.IsRequestValidAsync(http)
            ? await next(context)
            : Results.Problem("Writes of a browser session need the antiforgery token; scripts use an API token in the Authorization header.", statusCode: StatusCodes.Status400BadRequest);
    }
}
