// Why this exists: what the buttons of the pages do, for scripts.
using CoCLR.Core;
using CoCLR.Core.Manifests;
using CoCLR.Dashboard.Authentication;
using CoCLR.Dashboard.Configuration;
using CoCLR.Dashboard.Formatting;
using CoCLR.Dashboard.Hosting;
using CoCLR.Dashboard.Storage;
using Microsoft.AspNetCore.Antiforgery;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.AspNetCore.Mvc;

namespace CoCLR.Dashboard.Api;

/// <summary>Actions on runs.</summary>
internal static class ActionEndpoints
{
    private const int MaxManifestBytes = 1 << 20;

    private static readonly BodyText Manifest = new(
        "A manifest, YAML or JSON, at most 1 MiB.", "application/yaml", "application/x-yaml", "text/yaml", "application/json",
        "text/plain");

    public static void MapActions(this IEndpointRouteBuilder app)
    {
        RouteGroupBuilder edit = app.MapGroup("/api/v1").RequireAuthorization(Policies.Edit).RequireRateLimiting(RateLimits.Api)
            .WithTags("Actions")
            .AddEndpointFilter<CookieNeedsAntiforgery>().WithProblems(StatusCodes.Status400BadRequest, StatusCodes.Status409Conflict);
        edit.MapPost("/runs", StartAsync).AddEndpointFilter(Manifest)
            .WithMetadata(Manifest, new RequestSizeLimitAttribute(MaxManifestBytes))
            .Produces<StartedRun>(StatusCodes.Status201Created).Produces<StartedRun>(StatusCodes.Status202Accepted)
            .ProducesProblem(StatusCodes.Status413PayloadTooLarge).ProducesProblem(StatusCodes.Status415UnsupportedMediaType)
            .Named("startRun", "Starts an experiment from its manifest", "In a cluster, in the namespace of the query.");

        RouteGroupBuilder run = edit.MapGroup("/runs/{run}").AddEndpointFilter<SeenRun>().WithProblems(StatusCodes.Status404NotFound);
        Map(
            run,
            "stop",
            "stopRun",
            "Stops a run after a checkpoint",
            (control, context, info) => control.StopAsync(context.User, info, context.RequestAborted));
        Map(run, "suspend", "suspendRun", "Stops a run after a checkpoint; resume continues it",
            (control, context, info) => control.StopAsync(context.User, info, context.RequestAborted));
        Map(run, "resume", "resumeRun", "Continues a run that was stopped, failed or was lost",
            (control, context, info) => control.ResumeAsync(context.User, info, context.RequestAborted));
        run.MapDelete(
            "",
            (HttpContext context, RunControl control, string run) =>
                DoAsync(() => control.DeleteAsync(context.User, SeenRun.Of(context), context.RequestAborted)))
            .Named(
                "deleteRun",
                "Deletes a run with its folder",
                "In a cluster, the resource; what is kept of the run here goes once the resource is gone.");
    }

    private static void Map(
        RouteGroupBuilder runs, string verb, string id, string summary, Func<RunControl, HttpContext, RunInfo, Task> act) =>
        runs.MapPost(
            "/" + verb, (HttpContext context, RunControl control, string run) => DoAsync(() => act(control, context, SeenRun.Of(context))))
            .Named(id, summary);

    private static async Task<IResult> StartAsync(HttpContext context, RunControl control, [FromQuery(Name = "namespace")] string? space)
    {
        using var reader = new StreamReader(context.Request.Body);
        string text = await reader.ReadToEndAsync(context.RequestAborted);
        ManifestReading<ExperimentSpec> reading = ManifestReader.ReadExperiment(text);
        if (reading.Manifest is not { } manifest)
        {
            string problems = string.Join('\n', reading.Problems.Select(p => p.Line is { } line ? $"line {line}: {p}" : p.ToString()));
            return TypedResults.Problem(problems, statusCode: StatusCodes.Status400BadRequest, title: "The manifest is not valid");
        }

        try
        {
            StartedRun started = await control.StartAsync(context.User, manifest, text, space, context.RequestAborted);
            return started.Run is { } run ? Results.Created($"/api/v1/runs/{run}", started) : Results.Accepted(null, started);
        }
        catch (UserErrorException e)
        {
            return Problems.Of(StatusCodes.Status409Conflict, e.Message);
        }
    }

    private static async Task<Results<NoContent, ProblemHttpResult>> DoAsync(Func<Task> act)
    {
        try
        {
            await act();
            return TypedResults.NoContent();
        }
        catch (UserErrorException e)
        {
            return Problems.Of(StatusCodes.Status409Conflict, e.Message);
        }
    }
}

/// <summary>A browser's session may write only with an antiforgery token; a bearer token is not sent by browsers on their own.</summary>
internal sealed class CookieNeedsAntiforgery(IAntiforgery antiforgery) : IEndpointFilter
{
    public async ValueTask<object?> InvokeAsync(EndpointFilterInvocationContext context, EndpointFilterDelegate next)
    {
        HttpContext http = context.HttpContext;
        bool reads = HttpMethods.IsGet(http.Request.Method) || HttpMethods.IsHead(http.Request.Method);
        return reads || BearerHandler.TokenOf(http.Request) != null || await antiforgery.IsRequestValidAsync(http)
            ? await next(context)
            : Problems.Wrong(
                "Writes of a browser session need the antiforgery token; scripts use an API token in the Authorization header.");
    }
}
