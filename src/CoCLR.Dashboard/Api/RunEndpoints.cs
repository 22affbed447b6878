// Why this exists: everything a page shows can be read, and everything it does can be done, by a script: the REST API under /api/v1.
using System.Security.Claims;
using System.Text;
using CoCLR.Core.Results;
using CoCLR.Dashboard.Authentication;
using CoCLR.Dashboard.Live;
using CoCLR.Dashboard.Storage;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.Net.Http.Headers;

namespace CoCLR.Dashboard.Api;

/// <summary>Reads about runs.</summary>
internal static class RunEndpoints
{
    public static void MapRuns(this IEndpointRouteBuilder app)
    {
        RouteGroupBuilder api = app.MapGroup("/api/v1").RequireAuthorization(Policies.View).RequireRateLimiting(RateLimits.Api).WithTags("Runs");

        api.MapGet("/runs", (RunStore store, SettingsFile settings, ClaimsPrincipal user, string? filter, string? sort, bool? archived, int? skip, int? take) =>
        {
            IEnumerable<RunInfo> runs = RunQuery.Select(store, settings, user, filter, sort, archived ?? false);
            RunInfo[] all = [.. runs];
            return TypedResults.Ok(new RunPage(all.Length, [.. all.Skip(Math.Max(0, skip ?? 0)).Take(Math.Clamp(take ?? 100, 1, 5000)).Select(RunRow.Of)]));
        }).WithSummary("Lists runs").WithDescription("filter: words and terms such as `state:failed method:CoCLR probe>0.5 tag:paper`; sort: created, updated, name, probe, recall, loss with an optional - in front.");

        api.MapGet("/runs/{run}", Results<Ok<RunDetail>, NotFound> (RunStore store, SettingsFile settings, ClaimsPrincipal user, string run) =>
            store.Find(run) is { } info && user.MaySee(info) ? TypedResults.Ok(new RunDetail(info, info.State, info.Progress, info.EtaSeconds, settings.Of(run))) : TypedResults.NotFound())
            .WithSummary("Reads a run with its stages");

        api.MapGet("/runs/{run}/plan", (RunStore store, ClaimsPrincipal user, string run) =>
            store.Find(run) is { PlanJson: { } plan } info && user.MaySee(info) ? Results.Content(plan, "application/json") : Results.NotFound())
            .WithSummary("Reads the stage plan");

        api.MapGet("/runs/{run}/manifest", (RunStore store, ClaimsPrincipal user, string run) =>
            store.Find(run) is { PlanJson: not null } info && user.MaySee(info) ? Results.Content(ManifestText.Of(info), "application/yaml") : Results.NotFound())
            .WithSummary("Reads the manifest as YAML");

        api.MapGet("/runs/{run}/metrics", Results<Ok<MetricPage>, NotFound> (RunStore store, ClaimsPrincipal user, string run, string? names, string? stage, int? points, string? x) =>
        {
            if (!user.MaySee(store.Find(run)))
            {
                return TypedResults.NotFound();
            }

            string[]? wanted = names?.Split(',', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries);
            (long cursor, IReadOnlyList<Curve> curves) = store.Curves(run, (s, n) => (stage == null || s == stage) && (wanted == null || wanted.Contains(n)), points ?? 2000, x ?? "step");
            return TypedResults.Ok(new MetricPage(cursor, curves));
        }).WithSummary("Reads curves").WithDescription("names: comma-separated; points: most points of each curve (largest-triangle-three-buckets); x: step or time, the axis along which is thinned.");

        api.MapGet("/runs/{run}/metrics.csv", (RunStore store, ClaimsPrincipal user, string run, string? names, string? stage) =>
        {
            if (!user.MaySee(store.Find(run)))
            {
                return Results.NotFound();
            }

            string[]? wanted = names?.Split(',', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries);
            var csv = new StringBuilder();
            csv.AppendCsvRow("run", "stage", "attempt", "metric", "step", "epoch", "time", "value");
            foreach (Curve curve in store.Curves(run, (s, n) => (stage == null || s == stage) && (wanted == null || wanted.Contains(n)), int.MaxValue).Curves)
            {
                for (int i = 0; i < curve.Steps.Length; i++)
                {
                    csv.AppendCsvRow(run, curve.Stage, curve.Attempt, curve.Name, curve.Steps[i], curve.Epochs[i], DateTimeOffset.FromUnixTimeMilliseconds(curve.Times[i]), curve.Values[i]);
                }
            }

            return Download(csv.ToString(), "text/csv", $"{run}-metrics.csv");
        }).WithSummary("Exports curves as formula-safe CSV");

        api.MapGet("/runs/{run}/logs", Results<Ok<IReadOnlyList<LogLine>>, NotFound> (RunStore store, ClaimsPrincipal user, string run, string? stage, long? before, int? take, string? contains, string? level) =>
            user.MaySee(store.Find(run)) ? TypedResults.Ok(store.Logs(run, stage, before, take ?? 500, contains, level)) : TypedResults.NotFound())
            .WithSummary("Reads lines of log, oldest first");

        api.MapGet("/runs/{run}/logs.txt", (RunStore store, ClaimsPrincipal user, string run, string? stage) =>
            user.MaySee(store.Find(run))
                ? Download(string.Concat(store.Logs(run, stage, null, int.MaxValue).Select(l => $"{l.Time:O} {l.Stage} {l.Level,-7} {Ansi.Strip(l.Message)}\n")), "text/plain", $"{run}.log")
                : Results.NotFound()).WithSummary("Exports the log as text");

        api.MapGet("/runs/{run}/history", Results<Ok<IReadOnlyList<HistoryEntry>>, NotFound> (RunStore store, ClaimsPrincipal user, string run) =>
            user.MaySee(store.Find(run)) ? TypedResults.Ok(store.History(run)) : TypedResults.NotFound()).WithSummary("Reads starts, checkpoints, results and ends");

        api.MapGet("/runs/{run}/mining", Results<Ok<IReadOnlyList<MiningRecord>>, NotFound> (RunStore store, ClaimsPrincipal user, string run) =>
            user.MaySee(store.Find(run)) ? TypedResults.Ok(store.Mining(run)) : TypedResults.NotFound()).WithSummary("Reads what was mined");

        api.MapGet("/runs/{run}/results", (RunStore store, ClaimsPrincipal user, string run) =>
        {
            if (store.Find(run) is not { } info || !user.MaySee(info))
            {
                return Results.NotFound();
            }

            return Results.Content("[" + string.Join(",", info.Stages.Where(s => s.ResultJson != null).Select(s => s.ResultJson)) + "]", "application/json");
        }).WithSummary("Reads every stage's result");

        api.MapGet("/runs/{run}/report", (RunStore store, RunResults results, ClaimsPrincipal user, string run, string? format) =>
        {
            if (store.Find(run) is not { } info || !user.MaySee(info) || results.Report(info) is not { } report)
            {
                return Results.NotFound();
            }

            return format switch
            {
                "csv" => Download(ReportWriter.CsvTable(report), "text/csv", $"{run}-report.csv"),
                "markdown" => Download(ReportWriter.Markdown(report), "text/markdown", $"{run}-report.md"),
                _ => Results.Content(ResultJson.Write(report), "application/json"),
            };
        }).WithSummary("Reads the run's table in the form of the paper's Table 1 (format: json, csv or markdown)");

        api.MapGet("/runs/{run}/neighbours/{view}", (RunStore store, RunResults results, ClaimsPrincipal user, string run, string view, string? query) =>
        {
            if (store.Find(run) is not { } info || !user.MaySee(info) || results.Neighbours(info, view) is not { } table)
            {
                return Results.NotFound();
            }

            NeighbourTable asked = query == null ? table : table with { Queries = [.. table.Queries.Where(q => q.Id == query)] };
            return Results.Content(ResultJson.Write(asked, indented: false), "application/json");
        }).WithSummary("Reads the nearest neighbours of the queries (view: rgb, flow or two-stream)");

        api.MapGet("/runs/{run}/artifacts", Results<Ok<ArtifactInfo[]>, NotFound> (RunStore store, ClaimsPrincipal user, string run) =>
            store.Find(run) is { } info && user.MaySee(info) ? TypedResults.Ok(info.Stages.SelectMany(s => s.Artifacts).ToArray()) : TypedResults.NotFound())
            .WithSummary("Lists artifacts");

        api.MapGet("/artifacts/{id}", (RunStore store, ClaimsPrincipal user, HttpContext context, string id, bool? download) =>
        {
            if (store.FindArtifact(id) is not var (run, artifact) || !user.MaySee(run))
            {
                return Results.NotFound();
            }

            return ArtifactFiles.Open(run.Folder, artifact.File) is { } stream
                ? Send(context, stream, artifact.MediaType, artifact.Name, download ?? false)
                : Results.Problem("The artifact is listed, but its file is gone or may not be read.", statusCode: StatusCodes.Status410Gone);
        }).WithSummary("Reads an artifact (byte ranges are answered)");

        api.MapGet("/runs/{run}/clips/{view}/{kind}", (RunStore store, Previews previews, ClaimsPrincipal user, HttpContext context, string run, string view, string kind, string id) =>
        {
            if (store.Find(run) is not { } info || !user.MaySee(info) || kind is not ("video" or "poster"))
            {
                return Results.NotFound();
            }

            (FileStream? stream, string type) = previews.Open(info, id, view, kind == "video");
            if (stream == null)
            {
                return Results.NotFound();
            }

            // Previews never change once they are written.
            context.Response.Headers.CacheControl = "private, max-age=3600";
            return Send(context, stream, type, "clip", false);
        }).WithSummary("Reads the preview of a clip (view: rgb or flow; kind: video or poster)");

        api.MapPatch("/runs/{run}", Results<NoContent, NotFound, BadRequest<string>> (RunStore store, SettingsFile settings, ClaimsPrincipal user, string run, AnnotationChange change) =>
        {
            if (!user.MaySee(store.Find(run)))
            {
                return TypedResults.NotFound();
            }

            if (change.Wrong() is { } wrong)
            {
                return TypedResults.BadRequest(wrong);
            }

            settings.Annotate(run, change.On);
            return TypedResults.NoContent();
        }).RequireAuthorization(Policies.Edit).AddEndpointFilter<CookieNeedsAntiforgery>().WithSummary("Changes tags, note and archive mark");
    }

    private static IResult Download(string text, string type, string name) => Results.File(Encoding.UTF8.GetBytes(text), type + "; charset=utf-8", SafeName(name));

    private static string SafeName(string name) => string.Concat(name.Select(c => char.IsAsciiLetterOrDigit(c) || c is '-' or '_' or '.' ? c : '_'));

    /// <summary>Sends a file so that a browser shows media and plain JSON, and saves everything else: what a training pod wrote never runs here.</summary>
    private static IResult Send(HttpContext context, FileStream stream, string type, string name, bool download)
    {
        string shown = type.Split(';')[0].Trim().ToLowerInvariant();
        bool inline = !download && shown is "video/mp4" or "video/webm" or "image/jpeg" or "image/png" or "image/webp" or "application/json" or "text/plain" or "text/csv";
        context.Response.Headers.ContentSecurityPolicy = "sandbox; default-src 'none'; media-src 'self'; img-src 'self'; style-src 'unsafe-inline'";
        var disposition = new ContentDispositionHeaderValue(inline ? "inline" : "attachment");
        disposition.SetHttpFileName(SafeName(Path.GetFileName(name)));
        context.Response.Headers.ContentDisposition = disposition.ToString();
        return Results.Stream(stream, inline ? shown : "application/octet-stream", enableRangeProcessing: true);
    }
}

/// <summary>Rows and how many there are in all.</summary>
internal sealed record RunPage(int Total, RunRow[] Runs);

/// <summary>A run with what people added.</summary>
internal sealed record RunDetail(RunInfo Run, RunState State, double Progress, double? EtaSeconds, Annotation Annotation);

/// <summary>Curves with the cursor at which a live stream continues.</summary>
internal sealed record MetricPage(long Cursor, IReadOnlyList<Curve> Curves);

/// <summary>A change of what people added; what is null stays.</summary>
internal sealed record AnnotationChange(string[]? Tags, string? Note, bool? Archived)
{
    public string? Wrong() => Tags is { Length: > 20 } || Tags?.Any(t => t.Length is 0 or > 40 || t.Any(char.IsControl)) == true ? "At most 20 tags of 1 to 40 characters."
        : Note is { Length: > 20_000 } ? "A note has at most 20,000 characters." : null;

    public Annotation On(Annotation old) => old with { Tags = Tags is null ? old.Tags : [.. Tags.Distinct()], Note = Note ?? old.Note, Archived = Archived ?? old.Archived };
}
