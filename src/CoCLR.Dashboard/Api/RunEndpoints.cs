// Why this exists: everything a page shows can be read by a script: the REST API under /api/v1.
using System.Security.Claims;
using CoCLR.Core.Planning;
using CoCLR.Core.Results;
using CoCLR.Dashboard.Authentication;
using CoCLR.Dashboard.Configuration;
using CoCLR.Dashboard.Formatting;
using CoCLR.Dashboard.Live;
using CoCLR.Dashboard.Storage;
using Microsoft.AspNetCore.Http.HttpResults;

namespace CoCLR.Dashboard.Api;

/// <summary>Reads about runs.</summary>
internal static class RunEndpoints
{
    private const string Json = "application/json";

    public static void MapRuns(this IEndpointRouteBuilder app)
    {
        RouteGroupBuilder api = app.MapGroup("/api/v1").RequireAuthorization(Policies.View).RequireRateLimiting(RateLimits.Api)
            .WithTags("Runs")
            .WithProblems(StatusCodes.Status400BadRequest);
        api.MapGet("/runs", List).Named("listRuns", "Lists runs", $"""
            filter: words and terms such as `state:failed method:CoCLR probe>0.5 or training.momentum!=0.999`; terms side by side must all hold, `or`, `-` (not)
            and parentheses combine them, `:` finds a part of a text, `=` the whole. Fields: {string.Join(", ", RunFields.BuiltIn)}, any field of the manifest,
            any metric. sort: one of them with an optional - in front. columns: fields, comma-separated, that each row has, too. group: a field, by whose
            values the answer also has groups with means; over: a field, mostly seed, for groups of runs that differ in nothing else.
            """);
        api.MapGet("/fields", (RunStore store, ClaimsPrincipal user) => TypedResults.Ok(RunFields.All(RunQuery.Visible(store, user))))
            .Named("listFields", "Lists the fields that filter, sort and group take");

        RouteGroupBuilder run = api.MapGroup("/runs/{run}").AddEndpointFilter<SeenRun>().WithProblems(StatusCodes.Status404NotFound);
        run.MapGet("", Read).Named("readRun", "Reads a run with its stages");
        run.MapGet(
            "/plan",
            (HttpContext context, string run) =>
                SeenRun.Of(context).PlanJson is { } plan ? Results.Content(plan, Json) : Problems.Missing($"plan of '{run}'"))
            .Produces<StagePlan>().Named("readPlan", "Reads the stage plan");
        run.MapGet("/manifest", (HttpContext context, string run) =>
                ManifestText.Of(SeenRun.Of(context)) is { Length: > 0 } yaml
                    ? Results.Content(yaml, "application/yaml")
                    : Problems.Missing($"plan of '{run}'"))
            .Produces<string>(contentType: "application/yaml").Named("readManifest", "Reads the manifest as YAML");
        run.MapGet("/metrics", Metrics).Named("readMetrics", "Reads curves",
            "names: comma-separated; points: most points of each curve (largest-triangle-three-buckets); x: step or time, the axis along "
                + "which is thinned; "
            + "smoothing: weight of the past (0 to 1) in a running mean over every point, which is added; from and to: only these steps.");
        run.MapGet("/logs", (RunStore store, string run, string? stage, long? before, int? take, string? contains, string? level) =>
                TypedResults.Ok(store.Logs(run, stage, before, take ?? 500, contains, level)))
            .Named(
                "readLogs",
                "Reads lines of log, oldest first",
                "before: the cursor of a line, for the lines before it; level: debug, info, warning or error.");
        run.MapGet("/history", (RunStore store, string run) => TypedResults.Ok(store.History(run)))
            .Named("readHistory", "Reads starts, checkpoints, results and ends");
        run.MapGet("/mining", (RunStore store, string run) => TypedResults.Ok(store.Mining(run)))
            .Named("readMining", "Reads what was mined");
        run.MapGet("/results", (HttpContext context, string run) =>
                Results.Content($"[{string.Join(',', SeenRun.Of(context).Stages.Select(s => s.ResultJson).OfType<string>())}]", Json))
            .Produces<StageResult[]>().Named("readResults", "Reads every stage's result");
        run.MapGet("/neighbours/{view}", Neighbours).Produces<NeighbourTable>()
            .Named(
                "readNeighbours",
                "Reads the nearest neighbours of the queries",
                "view: rgb, flow or two-stream; query: only of this clip.");
        run.MapGet(
            "/artifacts",
            (HttpContext context, string run) => TypedResults.Ok(SeenRun.Of(context).Stages.SelectMany(s => s.Artifacts).ToArray()))
            .Named("listArtifacts", "Lists artifacts");
        run.MapPatch("", Annotate).RequireAuthorization(Policies.Edit).AddEndpointFilter<CookieNeedsAntiforgery>()
            .Named("annotateRun", "Changes tags, note and archive mark");
        FileEndpoints.Map(api, run);
    }

    private static Results<Ok<RunPage>, ProblemHttpResult> List(
        RunStore store, SettingsFile settings, ClaimsPrincipal user, string? filter, string? sort, string? columns, string? group,
        string? over, bool? archived, int? skip, int? take)
    {
        string[] shown = columns?.Split(',', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries) ?? [];
        if (RunQuery.Problem(store, user, filter, sort, [.. shown, .. new[] { group, over }.OfType<string>()]) is { } wrong)
        {
            return Problems.Wrong(wrong);
        }

        RunInfo[] all = [.. RunQuery.Select(store, settings, user, filter, sort, archived ?? false)];
        IReadOnlyCollection<RunInfo> visible = RunQuery.Visible(store, user);
        RunField[] fields = [.. shown.Select(f => RunFields.Find(visible, f)!)];
        RunRow[] rows = [.. all.Skip(Math.Max(0, skip ?? 0)).Take(Math.Clamp(take ?? 100, 1, 10_000)).Select(r => RunRow.Of(r) with
        {
            Columns = fields.Length == 0 ? null : fields.ToDictionary(f => f.Name, f => f.Of(r, settings.Of(r.Run)).ToString()),
        })];
        IReadOnlyList<RunGroup>? groups = group != null
            ? RunQuery.Group(settings, all, RunFields.Find(visible, group)!)
            : over != null
            ? RunQuery.Alike(all, over)
            : null;
        return TypedResults.Ok(new RunPage(all.Length, rows, groups));
    }

    private static Ok<RunDetail> Read(HttpContext context, SettingsFile settings, string run)
    {
        RunInfo info = SeenRun.Of(context);
        return TypedResults.Ok(new RunDetail(info, info.State, info.Progress, info.EtaSeconds, settings.Of(run)));
    }

    private static Results<Ok<MetricPage>, ProblemHttpResult> Metrics(
        RunStore store, string run, string? names, string? stage, int? points, string? x, double? smoothing, long? from, long? to)
    {
        if (x is not (null or "step" or "time"))
        {
            return Problems.Wrong($"x is '{x}': use step or time.");
        }

        if (smoothing is < 0 or >= 1)
        {
            return Problems.Wrong(
                string.Create(
                    System.Globalization.CultureInfo.InvariantCulture, $"smoothing is {smoothing}: use a weight from 0 to below 1."));
        }

        (long, long)? steps = from is null && to is null ? null : (from ?? 0, to ?? long.MaxValue);
        (long cursor, IReadOnlyList<Curve> curves) =
            store.Curves(run, Wanted(names, stage), points ?? 2000, x ?? "step", smoothing ?? 0, steps);
        return TypedResults.Ok(new MetricPage(cursor, curves));
    }

    /// <summary>Curves of these names (comma-separated) and this stage; all where null.</summary>
    internal static Func<string, string, bool> Wanted(string? names, string? stage)
    {
        string[]? wanted = names?.Split(',', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries);
        return (s, n) => (stage == null || s == stage) && (wanted == null || wanted.Contains(n));
    }

    private static IResult Neighbours(HttpContext context, RunResults results, string run, string view, string? query)
    {
        if (results.Neighbours(SeenRun.Of(context), view) is not { } table)
        {
            return Problems.Missing($"table of neighbours of '{run}' for the view '{view}'");
        }

        NeighbourTable asked = query == null ? table : table with { Queries = [.. table.Queries.Where(q => q.Id == query)] };
        return Results.Content(ResultJson.Write(asked, indented: false), Json);
    }

    private static Results<NoContent, ProblemHttpResult> Annotate(
        HttpContext context, SettingsFile settings, AuditLog audit, string run, AnnotationChange change)
    {
        if (change.Wrong() is { } wrong)
        {
            return Problems.Wrong(wrong);
        }

        settings.Annotate(run, change.On);
        audit.Add(context.User, "annotate", run);
        return TypedResults.NoContent();
    }
}

/// <summary>Rows and how many there are in all.</summary>
/// <param name="Total">Runs that match.</param>
/// <param name="Runs">Those of this page.</param>
/// <param name="Groups">All that match by the values of a field, when that was asked for.</param>
internal sealed record RunPage(int Total, RunRow[] Runs, IReadOnlyList<RunGroup>? Groups);

/// <summary>A run with what people added.</summary>
internal sealed record RunDetail(RunInfo Run, RunState State, double Progress, double? EtaSeconds, Annotation Annotation);

/// <summary>Curves with the cursor at which a live stream continues.</summary>
internal sealed record MetricPage(long Cursor, IReadOnlyList<Curve> Curves);

/// <summary>A change of what people added; what is null stays.</summary>
internal sealed record AnnotationChange(string?[]? Tags, string? Note, bool? Archived)
{
    public string? Wrong() =>
        Tags is { Length: > 20 } || Tags?.Any(t => t is null or { Length: 0 or > 40 } || t.Any(char.IsControl)) == true
            ? "tags: at most 20 of 1 to 40 characters each."
        : Note is { Length: > 20_000 } ? "note: at most 20,000 characters." : null;

    public Annotation On(Annotation old) => old with
    {
        Tags = Tags is null ? old.Tags : [.. Tags.OfType<string>().Distinct()],
        Note = Note ?? old.Note,
        Archived = Archived ?? old.Archived,
    };
}
