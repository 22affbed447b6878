// Why this exists: people judge neighbours and mined positives by looking; browsers play these few kilobytes and the store they cannot read.
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

/// <summary>Encodes clips of a store for browsers, each once.</summary>
public static class ClipPreview
{
    private const int SmallestSide = 112;

    /// <summary>Encodes a clip, or finds it encoded.</summary>
    /// <param name="store">RGB frames, or flow, which is drawn with the usual colour wheel.</param>
    /// <param name="videoIndex">Position in the store.</param>
    /// <param name="start">First frame.</param>
    /// <param name="count">Number of frames; cut off at the end of the video.</param>
    /// <param name="folder">Folder of all previews; made when missing.</param>
    /// <param name="name">File name without extension; null: made of the content, so that equal clips share a file.</param>
    /// <param name="cancellationToken">Stops.</param>
    /// <exception cref="UserErrorException">66: no ffmpeg; 1: the disk is full or the encoder failed.</exception>
    public static PreviewFiles Make(
        ClipStore store,
        int videoIndex,
        int start,
        int count,
        string folder,
        string? name = null,
        CancellationToken cancellationToken = default)
    {
        var video = store.Videos[videoIndex];
        ArgumentOutOfRangeException.ThrowIfNegative(start);
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(start, video.Frames);
        count = Math.Clamp(count, 1, video.Frames - start);
        name ??= ClipStore.Hex(XxHash3.HashToUInt64(Encoding.UTF8.GetBytes(
            string.Create(CultureInfo.InvariantCulture, $"{store.Channels}\n{video.Checksum}\n{video.Width}x{video.Height}\n{start}\n{count}"))));
        var files = new PreviewFiles(Path.Combine(folder, name + ".mp4"), Path.Combine(folder, name + ".jpg"));
        if (File.Exists(files.Video) && File.Exists(files.Poster))
        {
            return files;
        }

        try
        {
            Directory.CreateDirectory(folder);
            Encode(store, videoIndex, start, count, files, cancellationToken);
            return files;
        }
        catch (Exception error) when (WholeFile.Explain(error, folder) is { } explained)
        {
            throw explained;
        }
    }

    private static void Encode(ClipStore store, int videoIndex, int start, int count, PreviewFiles files, CancellationToken cancellationToken)
    {
        var video = store.Videos[videoIndex];
        // Two processes may make the same preview: each has a temporary name of its own, and the last one wins with the same content.
        var suffix = $".{Environment.ProcessId}-{Environment.CurrentManagedThreadId}.tmp";
        var (temporaryVideo, temporaryPoster) = (files.Video + suffix, files.Poster + suffix);
        var fps = video.Fps is > 0 and < 240 ? video.Fps : 25;
        var grow = Math.Max(1, (double)SmallestSide / Math.Min(video.Width, video.Height));
        var (width, height) = (Even(video.Width * grow), Even(video.Height * grow));
        string[] arguments =
        [
            "-hide_banner", "-loglevel", "level+error", "-y", "-protocol_whitelist", "pipe", "-f", "rawvideo", "-pix_fmt", "rgb24",
            "-video_size", $"{video.Width}x{video.Height}", "-framerate", fps.ToString("R", CultureInfo.InvariantCulture), "-i", "pipe:0",
            "-vf", $"scale={width}:{height}:flags=bicubic", "-c:v", "libx264", "-preset", "veryfast", "-crf", "23", "-pix_fmt", "yuv420p",
            "-threads", "1", "-movflags", "+faststart", "-f", "mp4", FfmpegTool.FileArgument(temporaryVideo),
            "-vf", $"select=eq(n\\,{count / 2}),scale={width}:{height}:flags=bicubic", "-frames:v", "1", "-c:v", "mjpeg", "-q:v", "4",
            "-pix_fmt", "yuvj420p", "-f", "image2", "-update", "1", FfmpegTool.FileArgument(temporaryPoster),
        ];
        try
        {
            var (status, _, log) = FfmpegTool.Run("ffmpeg", arguments, stream => WriteFrames(store, videoIndex, start, count, stream), cancellationToken: cancellationToken);
            if (status != 0 || !File.Exists(temporaryPoster))
            {
                throw new UserErrorException($"ffmpeg could not write {files.Video}: {log.Summary(temporaryVideo)}.", ExitCodes.Failed);
            }

            File.Move(temporaryVideo, files.Video, overwrite: true);
            File.Move(temporaryPoster, files.Poster, overwrite: true);
        }
        finally
        {
            File.Delete(temporaryVideo);
            File.Delete(temporaryPoster);
        }
    }

    private static void WriteFrames(ClipStore store, int videoIndex, int start, int count, Stream stream)
    {
        var rgb = new byte[store.Videos[videoIndex].Pixels * 3];
        var bound = store.Header.Settings.TryGetValue("flow.bound", out var text)
            && double.TryParse(text, CultureInfo.InvariantCulture, out var set) && set > 0 ? set : 20;
        // One scale for the whole clip, so that fast looks fast; below two pixels is hardly motion.
        var full = 2.0;
        for (var i = 0; i < count && store.Channels == 2; i++)
        {
            full = Math.Max(full, FlowColors.Longest(store.Frame(videoIndex, start + i), bound));
        }

        for (var i = 0; i < count; i++)
        {
            if (store.Channels == 2)
            {
                FlowColors.Draw(store.Frame(videoIndex, start + i), bound, full, rgb);
                stream.Write(rgb);
            }
            else
            {
                stream.Write(store.Frame(videoIndex, start + i));
            }
        }
    }

    private static int Even(double side) => Math.Max(2, (int)Math.Round(side / 2) * 2);
}
