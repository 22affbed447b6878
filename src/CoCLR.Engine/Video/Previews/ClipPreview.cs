// Why this exists: people judge neighbours and mined positives by looking; browsers play these few kilobytes and the store they cannot
// read.
using System.Globalization;
using System.IO.Hashing;
using System.Text;
using CoCLR.Core;
using CoCLR.Engine.Video.Decoding;
using CoCLR.Engine.Video.Store;
using CoCLR.Runs;

namespace CoCLR.Engine.Video.Previews;

/// <summary>The files of a preview.</summary>
/// <param name="Video">MP4 (H.264, yuv420p, faststart) to be played in a loop.</param>
/// <param name="Poster">JPEG of the middle frame.</param>
public sealed record PreviewFiles(string Video, string Poster);

/// <summary>A clip of a store that is to be seen.</summary>
/// <param name="Store">RGB frames, or flow, which is drawn with the usual colour wheel.</param>
/// <param name="VideoIndex">Position in the store.</param>
/// <param name="Start">First frame.</param>
/// <param name="Count">Number of frames; cut off at the end of the video.</param>
public sealed record PreviewClip(ClipStore Store, int VideoIndex, int Start, int Count)
{
    internal ClipStoreVideo Video => Store.Videos[VideoIndex];

    internal int Frames => Math.Clamp(Count, 1, Video.Frames - Start);

    /// <summary>Frame rate at which it is played.</summary>
    internal double Fps => Video.Fps is > 0 and < 240 ? Video.Fps : 25;

    /// <summary>The files, named by their content, so that equal clips share them.</summary>
    /// <param name="folder">Folder of all previews.</param>
    public PreviewFiles FilesIn(string folder)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(Start);
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(Start, Video.Frames);
        var name = ClipStore.Hex(XxHash3.HashToUInt64(Encoding.UTF8.GetBytes(
            string.Create(
                CultureInfo.InvariantCulture, $"{Store.Channels}\n{Video.Checksum}\n{Video.Width}x{Video.Height}\n{Start}\n{Frames}"))));
        return new PreviewFiles(Path.Combine(folder, name + ".mp4"), Path.Combine(folder, name + ".jpg"));
    }
}

/// <summary>Encodes clips of a store for browsers, each once, many by one process.</summary>
public static class ClipPreview
{
    /// <summary>Clips that one process encodes: more would only delay the first.</summary>
    public const int Batch = 64;

    private const int SmallestSide = 112;

    /// <summary>Encodes a clip, or finds it encoded.</summary>
    /// <param name="clip">The clip.</param>
    /// <param name="folder">Folder of all previews; made when missing.</param>
    /// <param name="cancellationToken">Stops.</param>
    /// <exception cref="UserErrorException">66: no ffmpeg; 74: the disk is full; 1: the encoder failed.</exception>
    public static PreviewFiles Make(PreviewClip clip, string folder, CancellationToken cancellationToken = default)
    {
        var files = clip.FilesIn(folder);
        if (!Exist(files))
        {
            Encode([clip], folder, cancellationToken);
        }

        return files;
    }

    /// <summary>Batches of the clips that are not encoded yet: those of one size and rate together.</summary>
    /// <param name="clips">Clips.</param>
    /// <param name="folder">Folder of all previews.</param>
    public static IReadOnlyList<PreviewClip[]> Missing(IEnumerable<PreviewClip> clips, string folder) =>
    [
        .. clips.Select(clip => (Clip: clip, Files: clip.FilesIn(folder)))
            .DistinctBy(entry => entry.Files.Video, StringComparer.Ordinal)
            .Where(entry => !Exist(entry.Files))
            .GroupBy(entry => (entry.Clip.Video.Width, entry.Clip.Video.Height, entry.Clip.Fps), entry => entry.Clip)
            .SelectMany(alike => alike.Chunk(Batch)),
    ];

    /// <summary>Encodes clips of one size and rate by one process.</summary>
    /// <param name="clips">The clips.</param>
    /// <param name="folder">Folder of all previews; made when missing.</param>
    /// <param name="cancellationToken">Stops; no preview of the batch appears.</param>
    /// <exception cref="UserErrorException">As <see cref="Make"/>.</exception>
    public static void Encode(IReadOnlyList<PreviewClip> clips, string folder, CancellationToken cancellationToken = default)
    {
        // A folder of its own: two processes may make the same preview, and the last one wins with the same content.
        var work = Path.Combine(folder, $".{Environment.ProcessId:x}-{Guid.NewGuid().ToString("N")[..8]}.tmp");
        try
        {
            Directory.CreateDirectory(work);
            var (status, _, log) = FfmpegTool.Run(
                "ffmpeg", Arguments(clips, work), stream => WriteFrames(clips, stream), cancellationToken: cancellationToken);
            var made = Enumerable.Range(0, clips.Count)
                .Select(i => (Video: Path.Combine(work, $"{i:D5}.mp4"), Poster: Path.Combine(work, $"{i + 1:D5}.jpg"))).ToArray();
            if (status != 0 || made.Any(files => !File.Exists(files.Video) || !File.Exists(files.Poster)))
            {
                throw new UserErrorException($"ffmpeg could not write previews to {folder}: {log.Summary(work)}.", ExitCodes.Failed);
            }

            for (var i = 0; i < made.Length; i++)
            {
                var files = clips[i].FilesIn(folder);
                File.Move(made[i].Poster, files.Poster, overwrite: true);
                File.Move(made[i].Video, files.Video, overwrite: true);
            }
        }
        catch (Exception error) when (WholeFile.Explain(error, folder) is { } explained)
        {
            throw explained;
        }
        finally
        {
            if (Directory.Exists(work))
            {
                Directory.Delete(work, recursive: true);
            }
        }
    }

    private static bool Exist(PreviewFiles files) => File.Exists(files.Video) && File.Exists(files.Poster);

    // All clips come as one film; a key frame and a new file begin where a clip begins.
    private static string[] Arguments(IReadOnlyList<PreviewClip> clips, string work)
    {
        var video = clips[0].Video;
        var grow = Math.Max(1, (double)SmallestSide / Math.Min(video.Width, video.Height));
        var starts = new int[clips.Count];
        for (var i = 1; i < starts.Length; i++)
        {
            starts[i] = starts[i - 1] + clips[i - 1].Frames;
        }

        string[] cuts = starts.Length == 1 ? [] :
        [
            "-forced-idr", "1", "-force_key_frames", "expr:" + string.Join('+', starts[1..].Select(start => $"eq(n,{start})")),
            "-segment_frames", string.Join(',', starts[1..]),
        ];
        var middles = string.Join('+', starts.Zip(clips).Select(pair => $"eq(n,{pair.First + (pair.Second.Frames / 2)})"));
        return
        [
            "-hide_banner", "-loglevel", "level+error", "-y", "-protocol_whitelist", "pipe", "-f", "rawvideo", "-pix_fmt", "rgb24",
            "-video_size", $"{video.Width}x{video.Height}", "-framerate", clips[0].Fps.ToString("R", CultureInfo.InvariantCulture), "-i",
            "pipe:0",
            "-filter_complex", $"[0:v]scale={Even(video.Width * grow)}:{Even(video.Height * grow)}:flags=bicubic,split[film][all];[all]select='{middles}'[stills]",
            "-map", "[film]", "-c:v", "libx264", "-preset", "veryfast", "-crf", "23", "-bf", "0", "-pix_fmt", "yuv420p", "-threads", "1",
            .. cuts, .. cuts.Length == 0 ? ["-segment_time", "86400"] : Array.Empty<string>(),
            "-f", "segment", "-reset_timestamps", "1", "-segment_format", "mp4", "-segment_format_options", "movflags=+faststart",
            Numbered(work, ".mp4"),
            "-map", "[stills]", .. FfmpegTool.EveryFrameOnce, "-c:v", "mjpeg", "-q:v", "4", "-pix_fmt", "yuvj420p", "-f", "image2",
            Numbered(work, ".jpg"),
        ];
    }

    private static string Numbered(string folder, string extension) =>
        FfmpegTool.FileArgument(folder).Replace("%", "%%", StringComparison.Ordinal) + "/%05d" + extension;

    private static void WriteFrames(IReadOnlyList<PreviewClip> clips, Stream stream)
    {
        var rgb = new byte[clips[0].Video.Pixels * 3];
        foreach (var clip in clips)
        {
            var store = clip.Store;
            var bound = store.Header.Settings.TryGetValue("flow.bound", out var text)
                && double.TryParse(text, CultureInfo.InvariantCulture, out var set) && set > 0 ? set : 20;
            // One scale for the whole clip, so that fast looks fast; below two pixels is hardly motion.
            var full = 2.0;
            for (var i = 0; i < clip.Frames && store.Channels == 2; i++)
            {
                full = Math.Max(full, FlowColors.Longest(store.Frame(clip.VideoIndex, clip.Start + i), bound));
            }

            for (var i = 0; i < clip.Frames; i++)
            {
                var frame = store.Frame(clip.VideoIndex, clip.Start + i);
                if (store.Channels == 2)
                {
                    FlowColors.Draw(frame, bound, full, rgb);
                    frame = rgb;
                }

                stream.Write(frame);
            }
        }
    }

    private static int Even(double side) => Math.Max(2, (int)Math.Round(side / 2) * 2);
}
