// Why this exists: what is saved or played rather than read: tables and logs as files, artifacts, films. What a training pod wrote never
// runs in a browser.
using System.Security.Claims;
using System.Text;
using CoCLR.Core;
using CoCLR.Core.Results;
using CoCLR.Dashboard.Authentication;
using CoCLR.Dashboard.Configuration;
using CoCLR.Dashboard.Formatting;
using CoCLR.Dashboard.Hosting;
using CoCLR.Dashboard.Storage;
using Microsoft.Net.Http.Headers;

namespace CoCLR.Dashboard.Api;

/// <summary>Files of runs.</summary>
internal static class FileEndpoints
{
    private static readonly string[] Shown =
        ["video/mp4", "video/webm", "image/jpeg", "image/png", "image/webp", "application/json", "text/plain", "text/csv"];

    /// <summary>Adds them to the API and to the addresses of one run.</summary>
    public static void Map(RouteGroupBuilder api, RouteGroupBuilder run)
    {
        run.MapGet(
            "/metrics.csv",
            (RunStore store, string run, string? names, string? stage) =>
                Download(Csv(store, run, names, stage), "text/csv", $"{run}-metrics.csv"))
            .Produces<string>(contentType: "text/csv").Named("exportMetrics", "Exports curves as formula-safe CSV");
        run.MapGet("/logs.txt", (RunStore store, string run, string? stage) => Download(Log(store, run, stage), "text/plain", $"{run}.log"))
            .Produces<string>(contentType: "text/plain").Named("exportLogs", "Exports the log as text");
        run.MapGet("/report", Report)
            .Produces<RunReport>(contentType: "application/json", additionalContentTypes: ["text/csv", "text/markdown"])
            .Named("readReport", "Reads the run's table in the form of the paper's Table 1", "format: json, csv or markdown.");
        run.MapGet("/package", PackageAsync).RequireAuthorization(Policies.Edit).WithMetadata(Refused)
            .Produces<byte[]>(contentType: "application/zip").Named("exportPackage", "Packs a trained network for other people",
                "A ZIP file with weights, ONNX, config.json, a model card and checksums, as coclr export --package writes them. stage: a training stage that is done.");
        run.MapGet("/clips/{view}/{kind}", Clip).Produces<byte[]>(contentType: "video/mp4", additionalContentTypes: ["image/jpeg"])
            .Named("readClip", "Reads the preview of a clip", "view: rgb or flow; kind: video or poster; id: the clip.");
        api.MapGet("/artifacts/{id}", Artifact).Produces<byte[]>(contentType: "application/octet-stream").WithMetadata(NotFound, Gone)
            .Named("readArtifact", "Reads an artifact", "Byte ranges are answered. download: saves it instead of showing it.");
    }

    private static ProducesResponseTypeMetadata NotFound { get; } =
        new(StatusCodes.Status404NotFound, typeof(Microsoft.AspNetCore.Mvc.ProblemDetails), ["application/problem+json"]);

    private static ProducesResponseTypeMetadata Gone { get; } =
        new(StatusCodes.Status410Gone, typeof(Microsoft.AspNetCore.Mvc.ProblemDetails), ["application/problem+json"]);

    private static ProducesResponseTypeMetadata Refused { get; } = new(StatusCodes.Status409Conflict, typeof(Microsoft.AspNetCore.Mvc.ProblemDetails), ["application/problem+json"]);

    private static async Task<IResult> PackageAsync(HttpContext context, ModelPackages packages, string run, string stage, string? license, string? dataLicense)
    {
        try
        {
            Stream archive = await packages.PackAsync(SeenRun.Of(context), stage, license, dataLicense, context.RequestAborted);
            return Results.Stream(archive, "application/zip", SafeName($"{run}-{stage}.zip"));
        }
        catch (UserErrorException e)
        {
            return Problems.Of(StatusCodes.Status409Conflict, e.Message);
        }
    }

    private static string Csv(RunStore store, string run, string? names, string? stage)
    {
        var csv = new StringBuilder();
        csv.AppendCsvRow("run", "stage", "attempt", "metric", "step", "epoch", "time", "value");
        foreach (Curve curve in store.Curves(run, RunEndpoints.Wanted(names, stage), int.MaxValue).Curves)
        {
            for (int i = 0; i < curve.Steps.Length; i++)
            {
                DateTimeOffset time = DateTimeOffset.FromUnixTimeMilliseconds(curve.Times[i]);
                csv.AppendCsvRow(run, curve.Stage, curve.Attempt, curve.Name, curve.Steps[i], curve.Epochs[i], time, curve.Values[i]);
            }
        }

        return csv.ToString();
    }

    private static string Log(RunStore store, string run, string? stage) =>
        string.Concat(store.Logs(run, stage, null, int.MaxValue).Select(TextLine));

    /// <summary>
    /// A line of the exported log; further lines of its message are indented, so that none of them looks like a record of its own.
    /// </summary>
    private static string TextLine(LogLine line) =>
        $"{line.Time:O} {line.Stage} {line.Level,-7} {Ansi.Strip(line.Message).Replace("\n", "\n    ", StringComparison.Ordinal)}\n";

    private static IResult Report(HttpContext context, RunResults results, string run, string? format)
    {
        if (format is not (null or "json" or "csv" or "markdown"))
        {
            return Problems.Wrong($"format is '{format}': use json, csv or markdown.");
        }

        return results.Report(SeenRun.Of(context)) is not { } report ? Problems.Missing($"result of '{run}'") : format switch
        {
            "csv" => Download(ReportWriter.CsvTable(report), "text/csv", $"{run}-report.csv"),
            "markdown" => Download(ReportWriter.Markdown(report), "text/markdown", $"{run}-report.md"),
            _ => Results.Content(ResultJson.Write(report), "application/json"),
        };
    }

    private static IResult Artifact(RunStore store, ClaimsPrincipal user, HttpContext context, string id, bool? download)
    {
        if (store.FindArtifact(id) is not var (run, artifact) || !user.MaySee(run))
        {
            return Problems.Missing("artifact of this id");
        }

        return ArtifactFiles.Open(run.Folder, artifact.File) is { } stream
            ? Send(context, stream, artifact.MediaType, artifact.Name, download ?? false)
            : Problems.Of(StatusCodes.Status410Gone, "The artifact is listed, but its file is gone or may not be read.");
    }

    private static IResult Clip(HttpContext context, Previews previews, string run, string view, string kind, string id)
    {
        if (kind is not ("video" or "poster"))
        {
            return Problems.Wrong($"'{kind}' is no kind of preview: use video or poster.");
        }

        (FileStream? stream, string type) = previews.Open(SeenRun.Of(context), id, view, kind == "video");
        if (stream == null)
        {
            return Problems.Missing($"preview of this clip in '{run}'");
        }

        // Previews never change once they are written.
        context.Response.Headers.CacheControl = "private, max-age=3600";
        return Send(context, stream, type, "clip", false);
    }

    private static IResult Download(string text, string type, string name) =>
        Results.File(Encoding.UTF8.GetBytes(text), type + "; charset=utf-8", SafeName(name));

    private static string SafeName(string name) =>
        string.Concat(name.Select(c => char.IsAsciiLetterOrDigit(c) || c is '-' or '_' or '.' ? c : '_'));

    /// <summary>Sends a file so that a browser shows media and plain JSON, and saves everything else.</summary>
    private static IResult Send(HttpContext context, FileStream stream, string type, string name, bool download)
    {
        string kind = type.Split(';')[0].Trim().ToLowerInvariant();
        bool inline = !download && Shown.Contains(kind);
        context.Response.Headers.ContentSecurityPolicy =
            "sandbox; default-src 'none'; media-src 'self'; img-src 'self'; style-src 'unsafe-inline'";
        var disposition = new ContentDispositionHeaderValue(inline ? "inline" : "attachment");
        disposition.SetHttpFileName(SafeName(Path.GetFileName(name)));
        context.Response.Headers.ContentDisposition = disposition.ToString();
        return Results.Stream(stream, inline ? kind : "application/octet-stream", enableRangeProcessing: true);
    }
}
