// Why this exists: the door for training processes elsewhere: events are appended to a run folder here, and from then on are treated like those of local runs.
using System.Buffers;
using System.Collections.Concurrent;
using System.Globalization;
using System.IO.Compression;
using System.Security.Claims;
using System.Security.Cryptography;
using CoCLR.Core.Events;
using CoCLR.Dashboard.Api;
using CoCLR.Dashboard.Authentication;
using CoCLR.Dashboard.Configuration;
using CoCLR.Dashboard.Storage;
using Microsoft.Extensions.Options;

namespace CoCLR.Dashboard.Ingest;

/// <summary>What became of a batch.</summary>
/// <param name="Accepted">Events that were new.</param>
/// <param name="Known">Events that had come before.</param>
/// <param name="Refused">Lines that could not be read.</param>
/// <param name="Problems">Why, at most ten.</param>
internal sealed record IngestAnswer(int Accepted, int Known, int Refused, IReadOnlyList<string> Problems);

/// <summary>Where an upload stands.</summary>
/// <param name="Offset">Bytes received.</param>
/// <param name="Complete">Whether the artifact is whole and its checksum right.</param>
internal sealed record UploadAnswer(long Offset, bool Complete);

/// <summary>The ingest API.</summary>
internal static class IngestEndpoints
{
    public static void MapIngest(this IEndpointRouteBuilder app)
    {
        RouteGroupBuilder api = app.MapGroup("/api/v1/ingest").RequireAuthorization(Policies.Ingest).RequireRateLimiting(RateLimits.Ingest).WithTags("Ingest").DisableAntiforgery();

        api.MapPost("", ReceiveAsync).WithSummary("Takes a batch of events: JSON lines, optionally with Content-Encoding: gzip, at most 64 KiB as sent")
            .WithDescription("Idempotent by (run, stage, attempt, seq). Answers 507 while the disk is full and 429 with Retry-After when it is too much.").Accepts<string>("application/x-ndjson");

        api.MapGet("/next", (RunStore store, ClaimsPrincipal user, string stage, int attempt) => TypedResults.Ok(new { seq = store.NextSeq(user.FindFirstValue(Policies.RunClaim)!, stage, attempt) }))
            .WithSummary("Says the first event number of an attempt that is missing");

        api.MapPut("/plan", async (HttpContext context, IngestFolders folders, IOptions<DashboardOptions> options, ClaimsPrincipal user) =>
        {
            string run = user.FindFirstValue(Policies.RunClaim)!;
            (byte[]? body, IResult? refused) = await BodyAsync(context, options.Value.Ingest, 1 << 20);
            return refused ?? (folders.PutPlan(run, body!, user.FindFirstValue(Policies.NamespaceClaim) ?? context.Request.Headers["X-Coclr-Namespace"]) is { } wrong ? Results.BadRequest(wrong) : Results.NoContent());
        }).WithSummary("Takes the plan of the run (plan.json)");

        api.MapMethods("/artifacts/{stage}/{name}", ["HEAD", "GET"], async (HttpContext context, IngestFolders folders, ClaimsPrincipal user, string stage, string name) =>
            await folders.UploadAsync(user.FindFirstValue(Policies.RunClaim)!, stage, name, context.Request.Headers["X-Sha256"].ToString(), context.RequestAborted) is { } upload ? Results.Ok(upload) : Results.BadRequest("The stage or the name of the artifact is not a plain name."))
            .WithSummary("Says how much of an upload has arrived").WithDescription("With X-Sha256, an artifact of that name and other content counts as not arrived.");

        api.MapPut("/artifacts/{stage}/{name}", UploadAsync).WithSummary("Takes an artifact, whole or from an offset on")
            .WithDescription("Headers: Upload-Offset (bytes sent before), Upload-Length (size), X-Sha256 (checksum), Content-Type. Ask with GET how much has arrived, then go on from there. The stage 'previews' takes the films and stills that previews.json lists.");
    }

    private static async Task<IResult> ReceiveAsync(HttpContext context, IngestFolders folders, RunStore store, IOptions<DashboardOptions> options, ClaimsPrincipal user)
    {
        (byte[]? body, IResult? refused) = await BodyAsync(context, options.Value.Ingest, options.Value.Ingest.MaxBodyBytes);
        if (refused != null)
        {
            return refused;
        }

        if (store.Health.ReadOnly is { } full)
        {
            return Results.Problem(full, statusCode: StatusCodes.Status507InsufficientStorage);
        }

        try
        {
            return Results.Ok(folders.Append(user.FindFirstValue(Policies.RunClaim)!, body!));
        }
        catch (IOException e)
        {
            return Results.Problem($"The events cannot be kept: {e.Message}", statusCode: StatusCodes.Status507InsufficientStorage);
        }
    }

    private static async Task<IResult> UploadAsync(HttpContext context, IngestFolders folders, IOptions<DashboardOptions> options, ClaimsPrincipal user, string stage, string name)
    {
        string run = user.FindFirstValue(Policies.RunClaim)!;
        string sha = context.Request.Headers["X-Sha256"].ToString();
        if (!long.TryParse(context.Request.Headers["Upload-Length"], NumberStyles.None, CultureInfo.InvariantCulture, out long length) || sha.Length != 64 || !sha.All(char.IsAsciiHexDigit))
        {
            return Results.BadRequest("Upload-Length (bytes) and X-Sha256 (64 hexadecimal digits) are needed.");
        }

        long offset = 0;
        if (context.Request.Headers["Upload-Offset"] is [{ } text] && !long.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out offset))
        {
            return Results.BadRequest("Upload-Offset is not a number of bytes.");
        }

        if (length > options.Value.Ingest.MaxArtifactBytes)
        {
            return Results.StatusCode(StatusCodes.Status413PayloadTooLarge);
        }

        try
        {
            return await folders.ReceiveAsync(run, stage, name, offset, length, sha, context.Request.Body, context.RequestAborted);
        }
        catch (IOException e) when (e is not BadHttpRequestException)
        {
            return Results.Problem($"The artifact cannot be kept: {e.Message}", statusCode: StatusCodes.Status507InsufficientStorage);
        }
    }

    /// <summary>The body, unpacked, or why it is refused.</summary>
    private static async Task<(byte[]? Body, IResult? Refused)> BodyAsync(HttpContext context, IngestSettings limits, int most)
    {
        IResult tooLarge = Results.StatusCode(StatusCodes.Status413PayloadTooLarge);
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
            return (null, Results.StatusCode(StatusCodes.Status415UnsupportedMediaType));
        }

        try
        {
            using var unpacked = new MemoryStream();
            using var gzip = new GZipStream(new MemoryStream(body), CompressionMode.Decompress);
            return await CopyAsync(gzip, unpacked, limits.MaxUnpackedBytes, context.RequestAborted) ? (unpacked.ToArray(), null) : (null, tooLarge);
        }
        catch (InvalidDataException)
        {
            return (null, Results.BadRequest("The body is not gzip."));
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

/// <summary>Run folders that hold what came over the network.</summary>
internal sealed class IngestFolders(RunStore store, RunFolders folders)
{
    private readonly ConcurrentDictionary<string, Lock> _gates = new(StringComparer.Ordinal);
    private readonly ConcurrentDictionary<string, byte> _uploading = new(StringComparer.Ordinal);

    /// <summary>Appends a batch: first to the files, then to the index.</summary>
    public IngestAnswer Append(string run, byte[] body)
    {
        var read = new List<(RunEvent Event, Range Line)>();
        var problems = new List<string>();
        int refused = 0, lines = 0;
        for (int start = 0; start < body.Length;)
        {
            int end = Array.IndexOf(body, (byte)'\n', start);
            end = end < 0 ? body.Length : end;
            if (EventReader.Read(body.AsSpan(start, end - start), out RunEvent? item, out string? wrong) && item!.Run == run)
            {
                read.Add((item, start..end));
            }
            else if (item != null && wrong == null)
            {
                refused++;
                problems.Add($"line {lines + 1}: the token allows run {run} only.");
            }
            else if (wrong != null)
            {
                refused++;
                problems.Add($"line {lines + 1}: {wrong}");
            }

            lines++;
            start = end + 1;
        }

        int accepted = 0, known = 0;
        lock (_gates.GetOrAdd(run, _ => new Lock()))
        {
            string folder = Folder(run);
            if (store.Find(run) is { Folder.Length: > 0 } other && other.Folder != folder)
            {
                return new IngestAnswer(0, 0, lines, [$"the run {run} is known here from the folder of a local run."]);
            }

            foreach (IGrouping<string, (RunEvent Event, Range Line)> stage in read.GroupBy(r => r.Event.Stage))
            {
                // A sender may repeat a number within one batch, too: the first counts.
                List<(RunEvent Event, Range Line)> fresh = [.. store.Unseen(run, stage, s => s.Event).DistinctBy(s => (s.Event.Attempt, s.Event.Seq))];
                known += stage.Count() - fresh.Count;
                if (fresh.Count == 0)
                {
                    continue;
                }

                string path = Path.Combine(folder, "stages", stage.Key, "events.jsonl");
                Directory.CreateDirectory(Path.GetDirectoryName(path)!);
                long? offset = null;
                using (var stream = new FileStream(path, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.Read | FileShare.Delete, 64 * 1024))
                {
                    bool inStep = store.Offset(run, stage.Key) == stream.Length;
                    stream.Seek(0, SeekOrigin.End);
                    if (stream.Length > 0)
                    {
                        // A line that a crash tore ends here, so that the next one stays whole.
                        stream.Seek(-1, SeekOrigin.End);
                        if (stream.ReadByte() != '\n')
                        {
                            stream.WriteByte((byte)'\n');
                        }
                    }

                    foreach ((_, Range line) in fresh)
                    {
                        stream.Write(body.AsSpan(line));
                        stream.WriteByte((byte)'\n');
                    }

                    offset = inStep ? stream.Position : null;
                }

                accepted += store.Apply(run, stage.Key, [.. fresh.Select(f => f.Event)], offset);
            }
        }

        return new IngestAnswer(accepted, known, refused, [.. problems.Take(10)]);
    }

    /// <summary>Keeps the plan.</summary>
    /// <returns>What is wrong with it, or null.</returns>
    public string? PutPlan(string run, byte[] json, string? space)
    {
        CoCLR.Core.Planning.StagePlan? plan;
        try
        {
            plan = System.Text.Json.JsonSerializer.Deserialize<CoCLR.Core.Planning.StagePlan>(json, CoCLR.Core.CoclrJson.Compact);
        }
        catch (System.Text.Json.JsonException e)
        {
            return $"The plan cannot be read: {e.Message}";
        }

        if (plan?.Run != run)
        {
            return $"The plan is of run '{plan?.Run}', the token allows '{run}'.";
        }

        string folder = Folder(run);
        lock (_gates.GetOrAdd(run, _ => new Lock()))
        {
            Directory.CreateDirectory(folder);
            string path = Path.Combine(folder, "plan.json");
            File.WriteAllBytes(path + ".new", json);
            File.Move(path + ".new", path, overwrite: true);
        }

        store.Change(run, entry =>
        {
            entry.SetNamespace(string.IsNullOrEmpty(space) ? null : space);
            return entry.SetPlan(System.Text.Encoding.UTF8.GetString(json), folder, remote: true, DateTimeOffset.UtcNow);
        });
        return null;
    }

    /// <summary>Where an upload stands, or null for names that are not plain.</summary>
    public async Task<UploadAnswer?> UploadAsync(string run, string stage, string name, string sha, CancellationToken cancel)
    {
        (string? path, string? part) = Paths(run, stage, name);
        if (path == null)
        {
            return null;
        }

        if (File.Exists(path))
        {
            using FileStream whole = File.OpenRead(path);
            if (sha.Length == 0 || Convert.ToHexString(await SHA256.HashDataAsync(whole, cancel)).Equals(sha, StringComparison.OrdinalIgnoreCase))
            {
                return new UploadAnswer(whole.Length, true);
            }
        }

        return new UploadAnswer(File.Exists(part) ? new FileInfo(part).Length : 0, false);
    }

    /// <summary>Receives (the rest of) an artifact.</summary>
    public async Task<IResult> ReceiveAsync(string run, string stage, string name, long offset, long length, string sha, Stream body, CancellationToken cancel)
    {
        (string? path, string? part) = Paths(run, stage, name);
        if (path == null)
        {
            return Results.BadRequest("The stage or the name of the artifact is not a plain name.");
        }

        if (!_uploading.TryAdd(part!, 0))
        {
            return Results.Conflict("The artifact is being sent over another connection.");
        }

        try
        {
            Directory.CreateDirectory(Path.GetDirectoryName(path)!);
            using (var file = new FileStream(part!, FileMode.OpenOrCreate, FileAccess.Write, FileShare.None, 128 * 1024, useAsync: true))
            {
                if (file.Length < offset)
                {
                    return Results.Json(new UploadAnswer(file.Length, false), statusCode: StatusCodes.Status409Conflict);
                }

                file.SetLength(offset);
                file.Seek(offset, SeekOrigin.Begin);
                byte[] buffer = ArrayPool<byte>.Shared.Rent(128 * 1024);
                try
                {
                    for (int read; (read = await body.ReadAsync(buffer, cancel)) > 0;)
                    {
                        if (file.Position + read > length)
                        {
                            return Results.BadRequest("More bytes came than Upload-Length says.");
                        }

                        await file.WriteAsync(buffer.AsMemory(0, read), cancel);
                    }
                }
                finally
                {
                    ArrayPool<byte>.Shared.Return(buffer);
                }

                await file.FlushAsync(cancel);
                if (file.Position < length)
                {
                    return Results.Json(new UploadAnswer(file.Position, false), statusCode: StatusCodes.Status202Accepted);
                }
            }

            using (FileStream whole = File.OpenRead(part!))
            {
                if (!Convert.ToHexString(await SHA256.HashDataAsync(whole, cancel)).Equals(sha, StringComparison.OrdinalIgnoreCase))
                {
                    whole.Dispose();
                    File.Delete(part!);
                    return Results.UnprocessableEntity("The checksum does not match; the upload starts over.");
                }
            }

            File.Move(part!, path, overwrite: true);
            store.Change(run, entry =>
            {
                // Pages that wait for the file look again.
                entry.Touch();
                return true;
            });
            return Results.Ok(new UploadAnswer(length, true));
        }
        finally
        {
            _uploading.TryRemove(part!, out _);
        }
    }

    private string Folder(string run) => Path.Combine(folders.RemoteRoot, run);

    private (string? Path, string? Part) Paths(string run, string stage, string name)
    {
        if (!RunFolders.IsName(run) || !RunFolders.IsName(stage) || !ArtifactFiles.IsSafe(name) || name.Contains('/', StringComparison.Ordinal) || name.Length > 200 || name.StartsWith('.'))
        {
            return (null, null);
        }

        // Where the run folder of the sender has it: previews are shared by stages, the report lies on top.
        string path = stage switch
        {
            "previews" => Path.Combine(Folder(run), "previews", name),
            "report" when name is "report.json" or "report.md" => Path.Combine(Folder(run), name),
            _ => Path.Combine(Folder(run), "stages", stage, "artifacts", name),
        };
        return (path, path + ".part");
    }
}
