// Why this exists: a data set that anyone can make again, whose classes differ in motion alone: what is learned from it is learned from
// motion. Real video files, so that every step from decoding on is the one that real data takes.
using System.Diagnostics;
using System.Globalization;
using System.Text;
using CoCLR.Core;
using CoCLR.Core.Manifests;
using CoCLR.Engine.Video.Decoding;
using CoCLR.Engine.Video.Store;
using CoCLR.Runs;

namespace CoCLR.Engine.Video.Synthetic;

/// <summary>How far the making of the files is.</summary>
/// <param name="Done">Files that are there.</param>
/// <param name="Total">Files of the data set.</param>
/// <param name="Elapsed">Time since the beginning.</param>
/// <param name="Remaining">Estimated time to the end; null until a file is done.</param>
public sealed record SyntheticProgress(int Done, int Total, TimeSpan Elapsed, TimeSpan? Remaining);

/// <summary>
/// Makes the synthetic actions: H.264 files in the layout of UCF101 (`Circle/v_Circle_g01_c01.mp4`, `classInd.txt`, `trainlist01.txt`,
/// `testlist01.txt`, `clips.csv`). Training and test clips are of different groups, and the clips of a group share a look.
/// The encoding is lossless: the same pixels with every version of the encoder, and no traces of the motion in a single frame.
/// </summary>
public static class SyntheticActions
{
    private const string MarkerName = "synthetic.json";

    // Raised whenever equal options give other pixels.
    internal const int GeneratorVersion = 3;

    /// <summary>Class names by label.</summary>
    /// <param name="options">How many.</param>
    public static IReadOnlyList<string> Classes(SyntheticSource options) => [.. Motions(options).Select(motion => motion.ToString())];

    /// <summary>Makes the data set; files that are there already are kept, so that a killed attempt goes on.</summary>
    /// <param name="options">Classes, groups, size and seed.</param>
    /// <param name="folder">Where; made when missing.</param>
    /// <param name="progress">Told after each group of files.</param>
    /// <param name="cancellationToken">Stops; what is finished stays.</param>
    /// <exception cref="UserErrorException">78: the folder holds something else, or cannot be written; 66: no ffmpeg; 1: the disk is
    /// full.</exception>
    public static void Create(
        SyntheticSource options,
        string folder,
        IProgress<SyntheticProgress>? progress = null,
        CancellationToken cancellationToken = default)
    {
        try
        {
            CreateFiles(options, folder, progress, cancellationToken);
        }
        catch (AggregateException errors) when (errors.Flatten().InnerExceptions.OfType<UserErrorException>().FirstOrDefault() is { } first)
        {
            throw new UserErrorException(first.Message, first.ExitCode, first);
        }
        catch (Exception error) when (WholeFile.Explain(error, folder) is { } explained)
        {
            throw explained;
        }
    }

    /// <summary>The file of a clip, below the data folder.</summary>
    /// <param name="motion">The class.</param>
    /// <param name="group">Group from 1; training groups come first.</param>
    /// <param name="clip">Clip of the group from 1.</param>
    public static string FileOf(SyntheticMotion motion, int group, int clip) =>
        string.Create(CultureInfo.InvariantCulture, $"{motion}/v_{motion}_g{group:D2}_c{clip:D2}.mp4");

    private static IEnumerable<SyntheticMotion> Motions(SyntheticSource options)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(options.Classes, 2);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(options.Classes, 16);
        return Enumerable.Range(0, options.Classes).Select(label => (SyntheticMotion)label);
    }

    private static List<(SyntheticMotion Motion, int Group, int Clip)> Clips(SyntheticSource options) =>
    [
        .. from motion in Motions(options)
           from @group in Enumerable.Range(1, options.TrainGroups + options.TestGroups)
           from clip in Enumerable.Range(1, options.GroupSize)
           select (motion, @group, clip),
    ];

    private static void CreateFiles(
        SyntheticSource options, string folder, IProgress<SyntheticProgress>? progress, CancellationToken cancellationToken)
    {
        Directory.CreateDirectory(folder);
        using var alone = WriterLock.Wait(folder, cancellationToken);
        var marker = Path.Combine(folder, MarkerName);
        using var wanted = new MemoryStream();
        System.Text.Json.JsonSerializer.Serialize(wanted, new { Generator = GeneratorVersion, Options = options }, VideoJson.Indented);
        if (!File.Exists(marker))
        {
            if (Directory.EnumerateFileSystemEntries(folder).Any(entry => !Path.GetFileName(entry).StartsWith('.')))
            {
                throw new UserErrorException(
                    $"{folder} holds other files: choose an empty folder for the synthetic videos.",
                    ExitCodes.BadConfiguration);
            }

            WholeFile.Write(marker, stream => stream.Write(wanted.ToArray()));
        }
        else if (!File.ReadAllBytes(marker).AsSpan().SequenceEqual(wanted.ToArray()))
        {
            throw new UserErrorException(
                $"{folder} holds synthetic videos made with other settings (see {MarkerName} there): choose another folder or delete it.",
                ExitCodes.BadConfiguration);
        }

        var clips = Clips(options);
        foreach (var motion in Motions(options))
        {
            Directory.CreateDirectory(Path.Combine(folder, motion.ToString()));
        }

        var pending = clips.Where(clip => !File.Exists(Path.Combine(folder, FileOf(clip.Motion, clip.Group, clip.Clip)))).ToList();
        // One encoder for the siblings of a group: starting it costs more than the encoding of a short clip.
        var batches = pending.GroupBy(clip => (clip.Motion, clip.Group)).Select(group => group.ToList()).ToList();
        var clock = Stopwatch.StartNew();
        var made = 0;
        Parallel.ForEach(
            System.Collections.Concurrent.Partitioner.Create(
                batches, System.Collections.Concurrent.EnumerablePartitionerOptions.NoBuffering),
            new ParallelOptions { MaxDegreeOfParallelism = Environment.ProcessorCount, CancellationToken = cancellationToken },
            batch =>
            {
                Encode(options, batch, folder, cancellationToken);
                lock (clock)
                {
                    made += batch.Count;
                    progress?.Report(new SyntheticProgress(
                        clips.Count - pending.Count + made, clips.Count, clock.Elapsed, clock.Elapsed / made * (pending.Count - made)));
                }
            });
        WriteLists(options, folder, clips);
    }

    private static void Encode(
        SyntheticSource options, List<(SyntheticMotion Motion, int Group, int Clip)> siblings, string folder,
        CancellationToken cancellationToken)
    {
        var files = siblings.ConvertAll(clip => Path.Combine(folder, FileOf(clip.Motion, clip.Group, clip.Clip)));
        var size = options.Size.ToString(CultureInfo.InvariantCulture);
        // Half-resolution colour needs an even size.
        var subsampled = options.Size % 2 == 0;
        var cuts = string.Join(',', Enumerable.Range(1, siblings.Count).Select(i => i * options.Frames));
        string[] arguments =
        [
            "-hide_banner", "-loglevel", "level+error", "-y", "-protocol_whitelist", "pipe", "-f", "rawvideo", "-pix_fmt",
            subsampled ? "yuv420p" : "yuv444p",
            "-video_size", $"{size}x{size}", "-framerate", options.FrameRate.ToString(CultureInfo.InvariantCulture), "-i", "pipe:0",
            "-map", "0:v", "-c:v", "libx264", "-qp", "0", "-preset", "veryfast", "-threads", "1", "-bf", "0", "-g", "12",
            "-force_key_frames", string.Create(CultureInfo.InvariantCulture, $"expr:eq(mod(n,{options.Frames}),0)"),
            "-fflags", "+bitexact", "-flags:v", "+bitexact", "-map_metadata", "-1",
            "-f", "segment", "-segment_frames", cuts, "-segment_format", "mp4", "-segment_format_options",
            "movflags=+faststart:fflags=+bitexact",
            "-reset_timestamps", "1", FfmpegTool.FileArgument(files[0]).Replace("%", "%%", StringComparison.Ordinal) + ".%d.tmp",
        ];
        var (status, _, log) = FfmpegTool.Run(
            "ffmpeg",
            arguments,
            stream =>
            {
                foreach (var (motion, group, clip) in siblings)
                {
                    stream.Write(YCbCr(SyntheticClip.Draw(options, motion, group, clip), options.Frames, options.Size, subsampled));
                }
            },
            cancellationToken: cancellationToken);
        var temporary = files.Select((_, i) => string.Create(CultureInfo.InvariantCulture, $"{files[0]}.{i}.tmp")).ToList();
        if (status != 0 || !temporary.TrueForAll(File.Exists))
        {
            temporary.ForEach(File.Delete);
            var said = log.Summary(files[0]);
            throw new UserErrorException(
                said.Contains("No space left", StringComparison.Ordinal)
                    ? $"The disk is full: cannot write {files[0]}. What is finished is kept; free some space and run again to go on."
                    : $"ffmpeg could not write {files[0]}: {said}. Its H.264 encoder libx264 is needed.",
                ExitCodes.Failed);
        }

        for (var i = 0; i < files.Count; i++)
        {
            File.Move(temporary[i], files[i], overwrite: true);
        }
    }

    // BT.601 in whole numbers: the encoder's own conversion differs between versions.
    private static byte[] YCbCr(byte[] rgb, int frames, int size, bool subsampled)
    {
        var pixels = size * size;
        var side = subsampled ? size / 2 : size;
        var step = subsampled ? 2 : 1;
        var planes = new byte[frames * (pixels + (2 * side * side))];
        var at = 0;
        for (var t = 0; t < frames; t++)
        {
            var frame = rgb.AsSpan(t * pixels * 3, pixels * 3);
            for (var p = 0; p < pixels; p++)
            {
                planes[at++] = (byte)(((66 * frame[3 * p]) + (129 * frame[(3 * p) + 1]) + (25 * frame[(3 * p) + 2]) + 4224) >> 8);
            }

            for (var plane = 0; plane < 2; plane++)
            {
                for (var row = 0; row < size; row += step)
                {
                    for (var column = 0; column < size; column += step)
                    {
                        int r = 0, g = 0, b = 0;
                        for (var i = 0; i < step * step; i++)
                        {
                            var p = 3 * (((row + (i / step)) * size) + column + (i % step));
                            r += frame[p];
                            g += frame[p + 1];
                            b += frame[p + 2];
                        }

                        var n = step * step;
                        var value = plane == 0 ? (-38 * r) - (74 * g) + (112 * b) : (112 * r) - (94 * g) - (18 * b);
                        planes[at++] = (byte)((value + (n * 32896)) / (n * 256));
                    }
                }
            }
        }

        return planes;
    }

    private static void WriteLists(SyntheticSource options, string folder, List<(SyntheticMotion Motion, int Group, int Clip)> clips)
    {
        var (classes, train, test) = (new StringBuilder(), new StringBuilder(), new StringBuilder());
        var csv = new StringBuilder("path,class,label,group,frames,fps,width,height,split\n");
        foreach (var motion in Motions(options))
        {
            classes.Append(CultureInfo.InvariantCulture, $"{(int)motion + 1} {motion}\n");
        }

        foreach (var (motion, group, clip) in clips)
        {
            var file = FileOf(motion, group, clip);
            var isTraining = group <= options.TrainGroups;
            if (isTraining)
            {
                train.Append(CultureInfo.InvariantCulture, $"{file} {(int)motion + 1}\n");
            }
            else
            {
                test.Append(file).Append('\n');
            }

            csv.Append(
                CultureInfo.InvariantCulture,
                $"{file},{motion},{(int)motion + 1},{group},{options.Frames},{options.FrameRate},{options.Size},{options.Size},{(isTraining ? "train" : "test")}\n");
        }

        Write("classInd.txt", classes);
        Write("testlist01.txt", test);
        Write("clips.csv", csv);
        Write("trainlist01.txt", train);

        void Write(string name, StringBuilder text) =>
            WholeFile.Write(Path.Combine(folder, name), stream => stream.Write(Encoding.UTF8.GetBytes(text.ToString())));
    }
}
