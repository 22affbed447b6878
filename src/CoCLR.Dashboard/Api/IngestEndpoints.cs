// Why this exists: the door for training processes elsewhere: what they send is checked for its form and size here, and kept by
// IngestFolders.
using System.Buffers;
using System.Globalization;
using System.IO.Compression;
using CoCLR.Dashboard.Configuration;
using CoCLR.Dashboard.Formatting;
using CoCLR.Dashboard.Ingest;
using CoCLR.Dashboard.Storage;
using CoCLR.Runs;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.Extensions.Options;

namespace CoCLR.Dashboard.Api;

/// <summary>The ingest API.</summary>
internal static class IngestEndpoints
{
    private const int MaxPlanBytes = 1 << 20;
    private static readonly BodyText Events =
        new("JSON lines, one event each; with Content-Encoding: gzip, packed.", "application/x-ndjson", "application/jsonl");
    private static readonly BodyText Plan = new(RunFolder.PlanName, "application/json");
    private static readonly BodyText Bytes = new("The artifact's bytes from Upload-Offset on.", "application/octet-stream");

    public static void MapIngest(this IEndpointRouteBuilder app)
    {
        RouteGroupBuilder api = app.MapGroup("/api/v1/ingest").RequireAuthorization(Policies.Ingest).RequireRateLimiting(RateLimits.Ingest)
            .WithTags("Ingest")
            .DisableAntiforgery().WithProblems(StatusCodes.Status400BadRequest);
        api.MapPost("", ReceiveAsync).AddEndpointFilter(Events).WithMetadata(Events).Produces<IngestAnswer>()
            .ProducesProblem(StatusCodes.Status409Conflict).ProducesProblem(StatusCodes.Status413PayloadTooLarge)
            .ProducesProblem(StatusCodes.Status415UnsupportedMediaType).ProducesProblem(StatusCodes.Status507InsufficientStorage)
            .Named("sendEvents", "Takes a batch of events", """
                JSON lines with Content-Type application/x-ndjson, optionally with Content-Encoding gzip, at most 64 KiB as sent. Idempotent by (run, stage,
                attempt, seq). Answers 507 while the disk is full and 429 with Retry-After when it is too much.
                """);
        api.MapGet(
            "/next",
            (RunStore store, HttpContext context, string stage, int attempt) =>
                TypedResults.Ok(new NextEvent(store.NextSeq(Sender.Of(context).Run, stage, attempt))))
            .Named("nextEvent", "Says the first event number of an attempt that is missing");
        api.MapPut("/plan", TakePlanAsync).AddEndpointFilter(Plan).WithMetadata(Plan).Produces(StatusCodes.Status204NoContent)
            .ProducesProblem(StatusCodes.Status409Conflict).ProducesProblem(StatusCodes.Status413PayloadTooLarge)
            .ProducesProblem(StatusCodes.Status415UnsupportedMediaType)
            .Named(
                "sendPlan", $"Takes the plan of the run ({RunFolder.PlanName})", "The run belongs to the namespace that the token names.");
        api.MapGet("/artifacts/{stage}/{name}", StandAsync)
            .Named(
                "readUpload",
                "Says how much of an upload has arrived",
                "With X-Sha256, an artifact of that name and other content counts as not arrived.");
        api.MapPut("/artifacts/{stage}/{name}", UploadAsync).WithMetadata(Bytes).Produces<UploadAnswer>()
            .Produces<UploadAnswer>(StatusCodes.Status202Accepted)
            .ProducesProblem(StatusCodes.Status409Conflict).ProducesProblem(StatusCodes.Status413PayloadTooLarge)
            .ProducesProblem(StatusCodes.Status422UnprocessableEntity).ProducesProblem(StatusCodes.Status507InsufficientStorage)
            .Named("sendArtifact", "Takes an artifact, whole or from an offset on", """
                Headers: Upload-Offset (bytes sent before), Upload-Length (size), X-Sha256 (checksum). Ask with GET how much has arrived, then go on from
                there. The stage 'previews' takes the films and stills that previews.json lists.
                """);
    }

    private static async Task<IResult> ReceiveAsync(
        HttpContext context, IngestFolders folders, RunStore store, IOptions<DashboardOptions> options)
    {
        IngestSettings limits = options.Value.Ingest;
        (byte[]? body, IResult? refused) = await BodyAsync(context, limits, limits.MaxBodyBytes);
        if (refused != null)
        {
            return refused;
        }

        if (store.Health.ReadOnly is { } full)
        {
            return Problems.Of(StatusCodes.Status507InsufficientStorage, full);
        }

        try
        {
            Sender sender = Sender.Of(context);
            return folders.Foreign(sender) is { } foreign
                ? Problems.Of(StatusCodes.Status409Conflict, foreign)
                : TypedResults.Ok(folders.Append(sender.Run, body!));
        }
        catch (IOException e)
        {
            return Problems.Of(StatusCodes.Status507InsufficientStorage, $"The events cannot be kept: {e.Message}");
        }
    }

    private static async Task<IResult> TakePlanAsync(HttpContext context, IngestFolders folders, IOptions<DashboardOptions> options)
    {
        (byte[]? body, IResult? refused) = await BodyAsync(context, options.Value.Ingest, MaxPlanBytes);
        Sender sender = Sender.Of(context);
        return refused
            ?? (folders.Foreign(sender) is { } foreign ? Problems.Of(StatusCodes.Status409Conflict, foreign)
                : folders.PutPlan(sender, body!) is { } wrong ? Problems.Wrong(wrong)
                : TypedResults.NoContent());
    }

    private static async Task<Results<Ok<UploadAnswer>, ProblemHttpResult>> StandAsync(
        HttpContext context, IngestFolders folders, string stage, string name) =>
        await folders.UploadAsync(
            Sender.Of(context).Run, stage, name, context.Request.Headers["X-Sha256"].ToString(), context.RequestAborted) is { } upload
            ? TypedResults.Ok(upload)
            : Problems.Wrong(IngestFolders.NotPlain);

    private static async Task<IResult> UploadAsync(
        HttpContext context, IngestFolders folders, IOptions<DashboardOptions> options, string stage, string name)
    {
        IHeaderDictionary headers = context.Request.Headers;
        string sha = headers["X-Sha256"].ToString();
        bool sized = long.TryParse(headers["Upload-Length"], NumberStyles.None, CultureInfo.InvariantCulture, out long length);
        if (!sized || sha.Length != 64 || !sha.All(char.IsAsciiHexDigit))
        {
            return Problems.Wrong("Upload-Length (bytes) and X-Sha256 (64 hexadecimal digits) are needed.");
        }

        long offset = 0;
        if (headers["Upload-Offset"] is [{ } text] && !long.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out offset))
        {
            return Problems.Wrong("Upload-Offset is not a number of bytes.");
        }

        if (length > options.Value.Ingest.MaxArtifactBytes)
        {
            return Problems.Of(
                StatusCodes.Status413PayloadTooLarge,
                $"An artifact has at most {options.Value.Ingest.MaxArtifactBytes} bytes (Dashboard:Ingest:MaxArtifactBytes).");
        }

        Sender sender = Sender.Of(context);
        if (folders.Foreign(sender) is { } foreign)
        {
            return Problems.Of(StatusCodes.Status409Conflict, foreign);
        }

        try
        {
            return await folders.ReceiveAsync(
                sender.Run, stage, name, new Upload(offset, length, sha), context.Request.Body, context.RequestAborted);
        }
        catch (IOException e) when (e is not BadHttpRequestException)
        {
            return Problems.Of(StatusCodes.Status507InsufficientStorage, $"The artifact cannot be kept: {e.Message}");
        }
    }

    /// <summary>The body, unpacked, or why it is refused.</summary>
    private static async Task<(byte[]? Body, IResult? Refused)> BodyAsync(HttpContext context, IngestSettings limits, int most)
    {
        IResult tooLarge = Problems.Of(
            StatusCodes.Status413PayloadTooLarge,
            $"A body has at most {most} bytes as sent and {limits.MaxUnpackedBytes} unpacked: send less at a time.");
        if (context.Request.ContentLength > most)
        {
            return (null, tooLarge);
        }

        using var sent = new MemoryStream();
        if (!await CopyAsync(context.Request.Body, sent, most, context.RequestAborted))
        {
            return (null, tooLarge);
        }

        byte[] body = sent.ToArray();
        string encoding = context.Request.Headers.ContentEncoding.ToString();
        if (encoding.Length == 0)
        {
            return (body, null);
        }

        if (!encoding.Equals("gzip", StringComparison.OrdinalIgnoreCase))
        {
            return (null, Problems.Of(StatusCodes.Status415UnsupportedMediaType, "Content-Encoding is not known here: use gzip, or none."));
        }

        try
        {
            using var unpacked = new MemoryStream();
            using var gzip = new GZipStream(new MemoryStream(body), CompressionMode.Decompress);
            return await CopyAsync(
                gzip, unpacked, limits.MaxUnpackedBytes, context.RequestAborted) ? (unpacked.ToArray(), null) : (null, tooLarge);
        }
        catch (InvalidDataException)
        {
            return (null, Problems.Wrong("The body is not gzip."));
        }
    }

    private static async Task<bool> CopyAsync(Stream from, Stream to, int limit, CancellationToken cancel)
    {
        byte[] buffer = ArrayPool<byte>.Shared.Rent(16 * 1024);
        try
        {
            for (int read, total = 0; (read = await from.ReadAsync(buffer, cancel)) > 0;)
            {
                total += read;
                if (total > limit)
                {
                    return false;
                }

                await to.WriteAsync(buffer.AsMemory(0, read), cancel);
            }

            return true;
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(buffer);
        }
    }
}
