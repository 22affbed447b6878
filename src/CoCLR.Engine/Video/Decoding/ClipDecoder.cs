// Why this exists: turns any videos into frames in a store, once, on all cores, and says of each one that fails why.
using System.Diagnostics;
using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using CoCLR.Core;
using CoCLR.Engine.Video.Catalogue;
using CoCLR.Engine.Video.Store;

namespace CoCLR.Engine.Video.Decoding;

/// <summary>How videos are decoded.</summary>
public sealed record DecodeSettings
{
    /// <summary>Short side of the stored frames in pixels; see <see cref="ShortSideFor"/>.</summary>
    public int ShortSide { get; init; } = 147;

    /// <summary>Whether smaller videos are enlarged to <see cref="ShortSide"/>; false keeps their own size.</summary>
    public bool Enlarges { get; init; } = true;

    /// <summary>Frames a second of the stored frames; null: every frame of the video (method.md 1d, 1f).</summary>
    public double? FrameRate { get; init; }

    /// <summary>Frames after which a video is cut off; 0: never.</summary>
    public int MaxFrames { get; init; }

    /// <summary>Videos with fewer frames are left out.</summary>
    public int MinFrames { get; init; } = 2;

    /// <summary>Share of videos that may be left out before the data set is refused.</summary>
    public double MaxBadFraction { get; init; } = 0.05;

    /// <summary>Largest picture that is decoded, in pixels: memory grows with it. The default admits 8192 x 8192.</summary>
    public long MaxPixels { get; init; } = 8192L * 8192L;

    /// <summary>Time that one video may take.</summary>
    public TimeSpan Timeout { get; init; } = TimeSpan.FromMinutes(30);

    /// <summary>Videos decoded at once; 0: as many as the process may use processors (a container's limit counts).</summary>
    public int Parallelism { get; init; }

    /// <summary>The short side for a training crop: 1.15 times as much, which leaves room for random crops.</summary>
    /// <param name="resolution">Side of the crop in pixels.</param>
    public static int ShortSideFor(int resolution) => (int)Math.Round(resolution * 1.15, MidpointRounding.AwayFromZero);

    // What the frames depend on.
    internal SortedDictionary<string, string> Describe() => new(StringComparer.Ordinal)
    {
        ["shortSide"] = ShortSide.ToString(CultureInfo.InvariantCulture),
        ["frameRate"] = FrameRate?.ToString("R", CultureInfo.InvariantCulture) ?? "native",
        ["maxFrames"] = MaxFrames.ToString(CultureInfo.InvariantCulture),
        ["minFrames"] = MinFrames.ToString(CultureInfo.InvariantCulture),
        ["maxPixels"] = MaxPixels.ToString(CultureInfo.InvariantCulture),
        ["scaling"] = "bicubic",
    };
}

/// <summary>How far the decoding is.</summary>
/// <param name="Done">Videos that are finished, with those of earlier attempts and those left out.</param>
/// <param name="Total">Videos of the data set.</param>
/// <param name="Rejected">Videos left out.</param>
/// <param name="Frames">Frames decoded by this process.</param>
/// <param name="Bytes">Bytes of these frames.</param>
/// <param name="Elapsed">Time since this process began.</param>
/// <param name="Remaining">Estimated time to the end; null until a video is done.</param>
/// <param name="Video">The video that was finished last.</param>
public sealed record DecodeProgress(
    int Done, int Total, int Rejected, long Frames, long Bytes, TimeSpan Elapsed, TimeSpan? Remaining, string Video);

/// <summary>Decodes the videos of a catalogue through ffmpeg.</summary>
public static class ClipDecoder
{
    private const int RejectionsBeforeGivingUp = 50;

    /// <summary>
    /// The store of a catalogue under these settings; decoded when it is not there yet. Frames are kept by video in a pool below the cache
    /// folder, so that other labels, other splits, or a few more videos cost only what is new. Stopped at any point, the next call goes on;
    /// while another process is decoding into the same pool, it waits.
    /// </summary>
    /// <param name="catalogue">The videos.</param>
    /// <param name="settings">How to decode.</param>
    /// <param name="cacheFolder">Folder for all stores; made when missing.</param>
    /// <param name="progress">Told after each video.</param>
    /// <param name="cancellationToken">Stops; what is finished stays.</param>
    /// <returns>The opened store; its header lists the videos that were left out.</returns>
    /// <exception cref="UserErrorException">
    /// 65: more than <see cref="DecodeSettings.MaxBadFraction"/> of the videos are bad; 66: no ffmpeg; 78: no permission for the cache; 1:
    /// the disk is full.
    /// </exception>
    public static ClipStore Prepare(
        VideoCatalogue catalogue,
        DecodeSettings settings,
        string cacheFolder,
        IProgress<DecodeProgress>? progress = null,
        CancellationToken cancellationToken = default)
    {
        var described = settings.Describe();
        var poolKey = Key([catalogue.Root, .. described.Select(pair => $"{pair.Key}={pair.Value}")]);
        var pool = Path.Combine(Path.GetFullPath(cacheFolder), $"rgb-{settings.ShortSide}-{poolKey[..12]}");
        var work = catalogue.Videos.Select(video => new Work(video, Fingerprint(video))).ToList();
        var key = Key([poolKey, .. work.Select(item => $"{item.Video.Id}\0{item.Fingerprint}\0{item.Video.Label}\0{item.Video.Class}\0{item.Video.Split}\0{item.Video.Group}")]);
        var folder = Path.Combine(pool, key[..16]);
        if (!ClipStore.Exists(folder, key))
        {
            using var writer =
                ClipStoreWriter.OpenWhenFree(pool, new ClipStoreHeader { ContentKey = poolKey, Settings = described }, cancellationToken);
            if (!ClipStore.Exists(folder, key))
            {
                Decode(writer, work, settings, progress, cancellationToken);
                Finish(writer, work, settings, folder, new ClipStoreHeader { ContentKey = key, Settings = described });
            }
        }

        var store = ClipStore.Open(folder);
        try
        {
            CheckRejected(store.Header.Rejected, work.Count, settings);
            return store;
        }
        catch
        {
            store.Dispose();
            throw;
        }
    }

    private static void Decode(
        ClipStoreWriter writer,
        List<Work> work,
        DecodeSettings settings,
        IProgress<DecodeProgress>? progress,
        CancellationToken cancellationToken)
    {
        if (FfmpegTool.Version is null)
        {
            FfmpegTool.Run("ffmpeg", ["-version"], cancellationToken: cancellationToken);
        }

        var pending = work.Where(item => !writer.Contains(item.Video.Id, item.Fingerprint)).ToList();
        var meter = new Meter(work.Count, work.Count - pending.Count, RejectedOf(writer, work).Count, progress);
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        try
        {
            // One item at a time from the list: videos differ a thousandfold in length.
            Parallel.ForEach(
                System.Collections.Concurrent.Partitioner.Create(
                    pending, System.Collections.Concurrent.EnumerablePartitionerOptions.NoBuffering),
                new ParallelOptions
                {
                    MaxDegreeOfParallelism = settings.Parallelism > 0 ? settings.Parallelism : Environment.ProcessorCount,
                    CancellationToken = stop.Token,
                },
                item =>
                {
                    var (rejection, video) = DecodeOne(writer, item, settings, stop.Token);
                    if (rejection is not null)
                    {
                        writer.Reject(item.Video.Id, rejection, item.Fingerprint);
                    }

                    if (meter.Add(item.Video.Id, video) is var rejected
                        && rejected >= RejectionsBeforeGivingUp
                        && rejected > settings.MaxBadFraction * work.Count)
                    {
                        stop.Cancel();
                    }
                });
        }
        catch (AggregateException errors) when (errors.Flatten().InnerExceptions.OfType<UserErrorException>().FirstOrDefault() is { } first)
        {
            throw new UserErrorException(first.Message, first.ExitCode, first);
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            CheckRejected(RejectedOf(writer, work), work.Count, settings);
            throw;
        }
    }

    private static void Finish(ClipStoreWriter writer, List<Work> work, DecodeSettings settings, string folder, ClipStoreHeader header)
    {
        var rejected = RejectedOf(writer, work);
        CheckRejected(rejected, work.Count, settings);
        var bad = rejected.Select(video => video.Id).ToHashSet(StringComparer.Ordinal);
        writer.CompleteView(
            folder, header with { Rejected = rejected }, work.Where(item => !bad.Contains(item.Video.Id)).Select(item => item.Describe()));
    }

    private static List<RejectedVideo> RejectedOf(ClipStoreWriter writer, List<Work> work)
    {
        var rejected = writer.Rejected.ToDictionary(video => video.Id, StringComparer.Ordinal);
        return
        [
            .. work.Where(item => rejected.TryGetValue(item.Video.Id, out var video) && video.Fingerprint == item.Fingerprint)
                .Select(item => rejected[item.Video.Id]),
        ];
    }

    private static void CheckRejected(IReadOnlyList<RejectedVideo> rejected, int total, DecodeSettings settings)
    {
        if (rejected.Count == 0 || (rejected.Count <= settings.MaxBadFraction * total && rejected.Count < total))
        {
            return;
        }

        var named = string.Join("; ", rejected.Take(5).Select(video => $"{MessageText.OneLine(video.Id, 120)}: {video.Reason}"));
        throw new UserErrorException(
            (total == 1 ? "The video cannot be used: "
                : rejected.Count == total ? $"None of the {total} videos can be used: "
                : string.Create(CultureInfo.InvariantCulture, $"{rejected.Count} of {total} videos cannot be used, more than "
                    + $"dataset.maxBadFraction = {settings.MaxBadFraction:0.###} allows: "))
                + named
                + (rejected.Count > 5 ? $"; and {rejected.Count - 5} more. " : ". ")
                + (rejected.Count == total ? "Give videos that ffmpeg can decode." : "Repair or remove them, or raise "
                    + "dataset.maxBadFraction (--max-bad-fraction of coclr data); what was decoded is kept."),
            ExitCodes.BadData);
    }

    // Decodes one video into the store, or says why it cannot be used.
    private static (string? Rejection, ClipStoreVideo? Video) DecodeOne(
        ClipStoreWriter writer, Work item, DecodeSettings settings, CancellationToken cancellationToken)
    {
        if (item.Video.Problem is { } problem)
        {
            return (problem, null);
        }

        var path = item.Video.Path;
        if (item.Fingerprint is null)
        {
            return ("no such file", null);
        }

        if (new FileInfo(path).Length == 0)
        {
            return ("the file is empty (0 bytes)", null);
        }

        using var video = writer.Begin();
        var pictures = new PixmapReader(video);
        var decoded = DecodeInto(pictures, path, settings, cancellationToken);
        if (decoded.Rejection is not null)
        {
            return (decoded.Rejection, null);
        }

        return (null, video.Commit(item.Describe() with
        {
            Frames = pictures.Frames,
            Height = pictures.Height,
            Width = pictures.Width,
            Fps = settings.FrameRate ?? decoded.Fps,
            Damage = decoded.Damage,
            Fingerprint = item.Fingerprint,
        }));
    }

    // Runs ffmpeg on one video; the reason when it cannot be used, what is missing when it can, and the frame rate that its container
    // states.
    internal static (string? Rejection, string? Damage, double Fps) DecodeInto(
        PixmapReader pictures, string path, DecodeSettings settings, CancellationToken cancellationToken)
    {
        using var process = FfmpegTool.Start("ffmpeg", Arguments(path, settings), only: path);
        using var timeout = new CancellationTokenSource(settings.Timeout);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(timeout.Token, cancellationToken);
        using var kill = either.Token.Register(() => FfmpegTool.Kill(process));
        var reading = FfmpegTool.FfmpegLog.ReadAsync(process.StandardError);
        try
        {
            pictures.ReadToEnd(process.StandardOutput.BaseStream);
        }
        catch
        {
            FfmpegTool.Kill(process);
            process.WaitForExit();
            throw;
        }

        process.WaitForExit();
        var log = reading.GetAwaiter().GetResult();
        cancellationToken.ThrowIfCancellationRequested();
        return timeout.IsCancellationRequested
            ? ($"decoding took longer than {settings.Timeout.TotalMinutes:0.##} minutes", null, 0)
            : Judge(process.ExitCode, log, pictures, path, settings);
    }

    private static (string? Rejection, string? Damage, double Fps) Judge(
        int status, FfmpegTool.FfmpegLog log, PixmapReader pictures, string path, DecodeSettings settings)
    {
        const int Killed = 128 + 9;
        if (log.Interrupted || status is 128 + 2 or 128 + 15)
        {
            // Ctrl-C reaches ffmpeg too: that says nothing about the video.
            throw new UserErrorException("Decoding was interrupted; run again to go on.", ExitCodes.Failed);
        }

        if (status == Killed)
        {
            throw new UserErrorException(
                $"ffmpeg was killed while decoding {MessageText.OneLine(path, 200)}, probably for lack of memory. Give more memory, or "
                    + $"lower the number of processors; run again to go on.",
                ExitCodes.Failed);
        }

        var said = log.Summary(path);
        if (pictures.Frames == 0)
        {
            return (said.Length > 0 ? said : $"ffmpeg found no pictures in it (exit status {status})", null, 0);
        }

        if (pictures.SizeChanged)
        {
            return ("the picture size changes in the middle", null, 0);
        }

        var expected = log.Seconds * (settings.FrameRate ?? log.Fps);
        expected = settings.MaxFrames > 0 ? Math.Min(expected, settings.MaxFrames) : expected;
        var part = string.Create(
            CultureInfo.InvariantCulture,
            $"damaged: {pictures.Frames} of about {Math.Max(expected, pictures.Frames):0} frames could be decoded")
            + (said.Length > 0 ? $" ({said})" : "");
        if (status != 0 || pictures.Torn || (log.Errors.Count > 0 && pictures.Frames < 0.9 * expected))
        {
            return (part, null, 0);
        }

        // Some containers lose packets without a complaint: what is left is used, and said.
        return pictures.Frames < settings.MinFrames
            ? ($"too short: {pictures.Frames} frame{(pictures.Frames == 1 ? "" : "s")}, at least {settings.MinFrames} are needed", null, 0)
            : (null, log.Errors.Count > 0 || pictures.Frames < 0.9 * expected ? part : null, log.Fps);
    }

    internal static List<string> Arguments(string path, DecodeSettings settings)
    {
        // -1 keeps the aspect ratio; the long side is bounded so that a sliver of a picture cannot grow without limit.
        var side = settings.ShortSide.ToString(CultureInfo.InvariantCulture);
        if (!settings.Enlarges)
        {
            side = $"min({side},min(iw,ih))";
        }

        var longest = (settings.ShortSide * 8).ToString(CultureInfo.InvariantCulture);
        var filter = $"scale=w='if(lte(iw,ih),{side},min({longest},max(1,round(iw*{side}/ih))))':h='if(lte(iw,ih),min({longest},max(1,round(ih*{side}/iw))),{side})':flags=bicubic";
        if (settings.FrameRate is { } rate)
        {
            filter = $"fps={rate.ToString("R", CultureInfo.InvariantCulture)},{filter}";
        }

        List<string> arguments =
        [
            "-hide_banner", "-nostdin", "-nostats", "-loglevel", "level+info",
            "-threads", "1", "-max_pixels", settings.MaxPixels.ToString(CultureInfo.InvariantCulture),
            .. FfmpegTool.Input(path),
            "-map", "0:V:0", "-filter_threads", "1", "-vf", filter,
        ];
        arguments.AddRange(FfmpegTool.EveryFrameOnce);
        if (settings.MaxFrames > 0)
        {
            arguments.AddRange(["-frames:v", settings.MaxFrames.ToString(CultureInfo.InvariantCulture)]);
        }

        // Each picture carries its size: no second process has to ask for it, and a change in the middle is seen.
        arguments.AddRange(["-f", "image2pipe", "-c:v", "ppm", "-pix_fmt", "rgb24", "pipe:1"]);
        return arguments;
    }

    private static string? Fingerprint(CatalogueVideo video)
    {
        var file = new FileInfo(video.Path);
        if (!file.Exists)
        {
            return null;
        }

        // A file that could not be read is tried again when its mode has changed.
        var readable = OperatingSystem.IsWindows()
            ? 0
            : (int)(file.UnixFileMode & (UnixFileMode.UserRead | UnixFileMode.GroupRead | UnixFileMode.OtherRead));
        return string.Create(CultureInfo.InvariantCulture, $"{file.Length:x}-{file.LastWriteTimeUtc.Ticks:x}-{readable:x}");
    }

    private static string Key(IEnumerable<string> parts)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        foreach (var part in parts)
        {
            hash.AppendData(Encoding.UTF8.GetBytes(part));
            hash.AppendData([0]);
        }

        return Convert.ToHexStringLower(hash.GetHashAndReset())[..32];
    }

    private sealed record Work(CatalogueVideo Video, string? Fingerprint)
    {
        public ClipStoreVideo Describe() => new()
        {
            Id = Video.Id,
            Label = Video.Label,
            Class = Video.Class,
            Split = Video.Split,
            Group = Video.Group,
        };
    }

    private sealed class Meter(int total, int alreadyDone, int alreadyRejected, IProgress<DecodeProgress>? progress)
    {
        private readonly Lock _gate = new();
        private readonly Stopwatch _clock = Stopwatch.StartNew();
        private int _done;
        private int _rejected = alreadyRejected;
        private long _frames;
        private long _bytes;

        public int Add(string id, ClipStoreVideo? video)
        {
            lock (_gate)
            {
                _done++;
                _rejected += video is null ? 1 : 0;
                _frames += video?.Frames ?? 0;
                _bytes += video?.Length(3) ?? 0;
                var left = total - alreadyDone - _done;
                progress?.Report(new DecodeProgress(
                    alreadyDone + _done, total, _rejected, _frames, _bytes, _clock.Elapsed, _clock.Elapsed / _done * left, id));
                return _rejected;
            }
        }
    }
}
