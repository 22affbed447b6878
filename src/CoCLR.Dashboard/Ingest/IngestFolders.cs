// Why this exists: events that come over the network are appended to a run folder here, and from then on are treated like those of local
// runs.
using System.Buffers;
using System.Collections.Concurrent;
using System.Security.Claims;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using CoCLR.Core;
using CoCLR.Core.Events;
using CoCLR.Core.Planning;
using CoCLR.Dashboard.Configuration;
using CoCLR.Dashboard.Formatting;
using CoCLR.Dashboard.Storage;
using CoCLR.Runs;

namespace CoCLR.Dashboard.Ingest;

/// <summary>What became of a batch.</summary>
/// <param name="Accepted">Events that were new.</param>
/// <param name="Known">Events that had come before.</param>
/// <param name="Refused">Lines that could not be read.</param>
/// <param name="Problems">Why, at most ten.</param>
internal sealed record IngestAnswer(int Accepted, int Known, int Refused, IReadOnlyList<string> Problems);

/// <summary>The first event that is missing.</summary>
/// <param name="Seq">Its number.</param>
internal sealed record NextEvent(long Seq);

/// <summary>Where an upload stands.</summary>
/// <param name="Offset">Bytes received.</param>
/// <param name="Complete">Whether the artifact is whole and its checksum right.</param>
internal sealed record UploadAnswer(long Offset, bool Complete);

/// <summary>An upload as its sender describes it.</summary>
/// <param name="Offset">Bytes sent before.</param>
/// <param name="Length">Bytes in all.</param>
/// <param name="Sha256">Checksum, hexadecimal.</param>
internal sealed record Upload(long Offset, long Length, string Sha256);

/// <summary>Who sends, as the token says and nothing beside it.</summary>
/// <param name="Run">The run that may be written.</param>
/// <param name="Namespace">Its namespace; null where the token names none.</param>
internal sealed record Sender(string Run, string? Namespace)
{
    public static Sender Of(HttpContext context) =>
        new(context.User.FindFirstValue(Policies.RunClaim)!, context.User.FindFirstValue(Policies.NamespaceClaim));
}

/// <summary>Run folders that hold what came over the network.</summary>
internal sealed class IngestFolders(RunStore store, RunFolders folders, TimeProvider clock)
{
    /// <summary>Why names of artifacts are refused.</summary>
    public const string NotPlain = "The stage or the name of the artifact is not a plain name.";


    private readonly ConcurrentDictionary<string, Lock> _gates = new(StringComparer.Ordinal);
    private readonly ConcurrentDictionary<string, byte> _uploading = new(StringComparer.Ordinal);

    /// <summary>Why a sender may not write its run: a token of one namespace does not reach into another.</summary>
    public string? Foreign(Sender sender) => store.Find(sender.Run) is { Namespace: { } owner } && owner != sender.Namespace
        ? $"The run {sender.Run} belongs to another namespace than the token."
        : null;

    /// <summary>Appends a batch: first to the files, then to the index.</summary>
    public IngestAnswer Append(string run, byte[] body)
    {
        (List<Line> read, List<string> problems, int lines) = Read(run, body);
        int accepted = 0, known = 0;
        lock (_gates.GetOrAdd(run, _ => new Lock()))
        {
            string folder = Folder(run);
            if (store.Find(run) is { Folder.Length: > 0 } other && other.Folder != folder)
            {
                return new IngestAnswer(0, 0, lines, [$"the run {run} is known here from the folder of a local run."]);
            }

            foreach (IGrouping<string, Line> stage in read.GroupBy(r => r.Event.Stage))
            {
                // A sender may repeat a number within one batch, too: the first counts.
                List<Line> fresh = [.. store.Unseen(run, stage, s => s.Event).DistinctBy(s => (s.Event.Attempt, s.Event.Seq))];
                known += stage.Count() - fresh.Count;
                if (fresh.Count > 0)
                {
                    long? offset = Write(run, stage.Key, body, fresh);
                    accepted += store.Apply(run, stage.Key, [.. fresh.Select(f => f.Event)], offset);
                }
            }
        }

        return new IngestAnswer(accepted, known, problems.Count, [.. problems.Take(10)]);
    }

    /// <summary>The events of a body that are of this run, and what is wrong with its other lines.</summary>
    private static (List<Line> Events, List<string> Problems, int Lines) Read(string run, byte[] body)
    {
        var read = new List<Line>();
        var problems = new List<string>();
        int lines = 0;
        for (int start = 0, end; start < body.Length; start = end + 1)
        {
            end = Array.IndexOf(body, (byte)'\n', start);
            end = end < 0 ? body.Length : end;
            lines++;
            if (!EventLine.Read(body.AsSpan(start, end - start), out RunEvent? item, out string? wrong))
            {
                problems.AddRange(wrong == null ? [] : [$"line {lines}: {wrong}"]);
            }
            else if (item!.Run != run)
            {
                problems.Add($"line {lines}: the token allows run {run} only.");
            }
            else
            {
                read.Add(new Line(item, start..end));
            }
        }

        return (read, problems, lines);
    }

    /// <summary>Appends lines to a stage's file.</summary>
    /// <returns>Its length, when everything before these lines is in the index, too: the tailer then goes on behind them, else it reads
    /// what it lacks.</returns>
    private long? Write(string run, string stage, byte[] body, List<Line> fresh)
    {
        string path = new RunFolder(Folder(run)).EventsFile(stage);
        Directory.CreateDirectory(Path.GetDirectoryName(path)!);
        using var stream = new FileStream(path, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.Read | FileShare.Delete, 64 * 1024);
        bool inStep = store.Offset(run, stage) == stream.Length;
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

        return inStep ? stream.Position : null;
    }

    /// <summary>Keeps the plan.</summary>
    /// <returns>What is wrong with it, or null.</returns>
    public string? PutPlan(Sender sender, byte[] json)
    {
        StagePlan? plan;
        try
        {
            plan = JsonSerializer.Deserialize<StagePlan>(json, CoclrJson.Compact);
        }
        catch (JsonException e)
        {
            return $"The plan cannot be read: {e.Message}";
        }

        string run = sender.Run;
        if (plan?.Run != run)
        {
            return $"The plan is of run '{plan?.Run}', the token allows '{run}'.";
        }

        string folder = Folder(run);
        lock (_gates.GetOrAdd(run, _ => new Lock()))
        {
            WholeFile.Write(new RunFolder(folder).PlanFile, stream => stream.Write(json));
        }

        store.Change(run, entry =>
        {
            if (sender.Namespace is { } space)
            {
                entry.SetNamespace(space);
            }

            return entry.SetPlan(Encoding.UTF8.GetString(json), folder, remote: true, clock.GetUtcNow());
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
            if (sha.Length == 0 || await HasChecksumAsync(path, sha, cancel))
            {
                return new UploadAnswer(new FileInfo(path).Length, true);
            }
        }

        return new UploadAnswer(File.Exists(part) ? new FileInfo(part).Length : 0, false);
    }

    /// <summary>Receives (the rest of) an artifact.</summary>
    public async Task<IResult> ReceiveAsync(string run, string stage, string name, Upload upload, Stream body, CancellationToken cancel)
    {
        (string? path, string? part) = Paths(run, stage, name);
        if (path == null)
        {
            return Problems.Wrong(NotPlain);
        }

        if (!_uploading.TryAdd(part!, 0))
        {
            return Problems.Of(StatusCodes.Status409Conflict, "The artifact is being sent over another connection.");
        }

        try
        {
            Directory.CreateDirectory(Path.GetDirectoryName(path)!);
            if (await WriteAsync(part!, upload, body, cancel) is { } unfinished)
            {
                return unfinished;
            }

            if (!await HasChecksumAsync(part!, upload.Sha256, cancel))
            {
                File.Delete(part!);
                return Problems.Of(StatusCodes.Status422UnprocessableEntity, "The checksum does not match; the upload starts over.");
            }

            File.Move(part!, path, overwrite: true);
            store.Change(run, entry =>
            {
                // Pages that wait for the file look again.
                entry.Touch();
                return true;
            });
            return TypedResults.Ok(new UploadAnswer(upload.Length, true));
        }
        finally
        {
            _uploading.TryRemove(part!, out _);
        }
    }

    /// <summary>Writes what comes behind what is there; the answer where that is not yet, or cannot become, the whole artifact.</summary>
    private static async Task<IResult?> WriteAsync(string part, Upload upload, Stream body, CancellationToken cancel)
    {
        await using var file = new FileStream(part, FileMode.OpenOrCreate, FileAccess.Write, FileShare.None, 128 * 1024, useAsync: true);
        if (file.Length < upload.Offset)
        {
            return TypedResults.Problem(
                $"Only {file.Length} bytes have arrived: go on from there.", statusCode: StatusCodes.Status409Conflict,
                extensions: [new("offset", file.Length)]);
        }

        file.SetLength(upload.Offset);
        file.Seek(upload.Offset, SeekOrigin.Begin);
        byte[] buffer = ArrayPool<byte>.Shared.Rent(128 * 1024);
        try
        {
            for (int read; (read = await body.ReadAsync(buffer, cancel)) > 0;)
            {
                if (file.Position + read > upload.Length)
                {
                    return Problems.Wrong("More bytes came than Upload-Length says.");
                }

                await file.WriteAsync(buffer.AsMemory(0, read), cancel);
            }
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(buffer);
        }

        await file.FlushAsync(cancel);
        return file.Position < upload.Length
            ? Results.Json(new UploadAnswer(file.Position, false), statusCode: StatusCodes.Status202Accepted)
            : null;
    }

    private static async Task<bool> HasChecksumAsync(string path, string sha, CancellationToken cancel)
    {
        await using FileStream whole = File.OpenRead(path);
        return Convert.ToHexString(await SHA256.HashDataAsync(whole, cancel)).Equals(sha, StringComparison.OrdinalIgnoreCase);
    }

    private string Folder(string run) => Path.Combine(folders.RemoteRoot, run);

    private (string? Path, string? Part) Paths(string run, string stage, string name)
    {
        bool plain = ArtifactFiles.IsSafe(name) && !name.Contains('/', StringComparison.Ordinal) && name.Length <= 200
            && !name.StartsWith('.');
        if (!RunFolder.IsName(run) || !RunFolder.IsName(stage) || !plain)
        {
            return (null, null);
        }

        // Where the run folder of the sender has it: previews are shared by stages, the report lies on top.
        var folder = new RunFolder(Folder(run));
        string path = stage switch
        {
            RunFolder.PreviewsName => Path.Combine(folder.Previews, name),
            Planner.ReportStage when name is RunFolder.ReportName or RunFolder.ReportMarkdownName => Path.Combine(folder.Root, name),
            _ => Path.Combine(folder.Artifacts(stage), name),
        };
        return (path, path + ".part");
    }

    /// <summary>An event and where its line lies in the body.</summary>
    private sealed record Line(RunEvent Event, Range At);
}
