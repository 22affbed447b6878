// Why this exists: before hours of decoding and training, a person wants to know what the folder holds and what is wrong with it.
using System.Globalization;
using System.Text.Json;
using CoCLR.Core;
using CoCLR.Core.Manifests;
using CoCLR.Core.Results;
using CoCLR.Engine.Video.Catalogue;
using CoCLR.Engine.Video.Store;

namespace CoCLR.Engine.Video.Decoding;

/// <summary>Clips of one class.</summary>
/// <param name="Name">Class name.</param>
/// <param name="Label">Class number from 0.</param>
/// <param name="Train">Training clips.</param>
/// <param name="Validation">Validation clips.</param>
/// <param name="Test">Test clips.</param>
/// <param name="Groups">Source groups.</param>
public sealed record ScannedClass(string Name, int Label, int Train, int Validation, int Test, int Groups);

/// <summary>Least, mean and greatest of a measure.</summary>
/// <param name="Min">Least.</param>
/// <param name="Mean">Mean.</param>
/// <param name="Max">Greatest.</param>
public sealed record ScannedRange(double Min, double Mean, double Max);

/// <summary>How many videos have a property.</summary>
/// <param name="Value">For example <c>320x240</c> or <c>h264</c>.</param>
/// <param name="Count">Videos.</param>
public sealed record ScannedCount(string Value, int Count);

/// <summary>What a data folder holds; written as JSON by `coclr data scan --json`.</summary>
public sealed record ScanReport
{
    /// <summary>The folder.</summary>
    public required string Root { get; init; }

    /// <summary>The layout that was recognised.</summary>
    public required DatasetLayout Layout { get; init; }

    /// <summary>Videos that the lists name or the folder holds.</summary>
    public required int Videos { get; init; }

    /// <summary>Videos with a label.</summary>
    public required int Labelled { get; init; }

    /// <summary>Source groups.</summary>
    public required int Groups { get; init; }

    /// <summary>Clips per class.</summary>
    public required IReadOnlyList<ScannedClass> Classes { get; init; }

    /// <summary>Clips per split.</summary>
    public required IReadOnlyList<ScannedCount> Splits { get; init; }

    /// <summary>Videos that cannot be used, and why.</summary>
    public required IReadOnlyList<RejectedVideo> Broken { get; init; }

    /// <summary>Size of the files in bytes.</summary>
    public required long Bytes { get; init; }

    /// <summary>Length of all videos in seconds.</summary>
    public required double Seconds { get; init; }

    /// <summary>Length of a video in seconds; null when no video could be read.</summary>
    public ScannedRange? Duration { get; init; }

    /// <summary>Frames of a video; null when no video could be read.</summary>
    public ScannedRange? Frames { get; init; }

    /// <summary>Picture sizes, the most frequent first.</summary>
    public required IReadOnlyList<ScannedCount> Sizes { get; init; }

    /// <summary>Frame rates, the most frequent first.</summary>
    public required IReadOnlyList<ScannedCount> FrameRates { get; init; }

    /// <summary>Codecs, the most frequent first.</summary>
    public required IReadOnlyList<ScannedCount> Codecs { get; init; }

    /// <summary>Paths of the videos that can be used.</summary>
    [System.Text.Json.Serialization.JsonIgnore]
    public IReadOnlyList<string> Readable { get; init; } = [];

    /// <summary>What moves in a sample of the videos; null when it was not measured.</summary>
    public MotionResult? Motion { get; init; }

    /// <summary>Videos that are on both sides of the split, byte for byte or nearly; empty when they were not looked for.</summary>
    public IReadOnlyList<LeakedPair> Leaks { get; init; } = [];

    /// <summary>What flatters every measure on this split, in words.</summary>
    public required IReadOnlyList<string> Warnings { get; init; }

    /// <summary>What else a person should know.</summary>
    public required IReadOnlyList<string> Notes { get; init; }
}

/// <summary>Looks at every video of a folder.</summary>
public static class DataScanner
{
    /// <summary>Scans a folder.</summary>
    /// <param name="options">Where and how.</param>
    /// <param name="thorough">True: decode every frame; false: read what the containers say, which is much faster but does not find damage
    /// in the middle.</param>
    /// <param name="leaks">Whether videos are looked for that are on both sides of the split: it reads four frames of each.</param>
    /// <param name="progress">Told the number of looks at a video done and their total.</param>
    /// <param name="cancellationToken">Stops.</param>
    /// <exception cref="UserErrorException">As <see cref="VideoCatalogue.Open"/>; 66: no ffmpeg.</exception>
    public static ScanReport Scan(
        CatalogueOptions options,
        bool thorough = false,
        bool leaks = true,
        IProgress<(int Done, int Total)>? progress = null,
        CancellationToken cancellationToken = default)
    {
        var catalogue = VideoCatalogue.Open(options);
        var seen = new Seen[catalogue.Videos.Count];
        var done = 0;
        var total = seen.Length;
        ForAll(Enumerable.Range(0, seen.Length), i => seen[i] = Look(catalogue.Videos[i], thorough, cancellationToken));
        var contents = leaks ? Contents(catalogue, seen) : [];
        total += contents.Count;
        ForAll(contents, item => item.Read(cancellationToken));
        return Report(catalogue, seen, SplitLeaks.Find([.. contents.Select(item => item.Content)], cancellationToken));

        void ForAll<T>(IEnumerable<T> items, Action<T> act)
        {
            try
            {
                var options =
                    new ParallelOptions { MaxDegreeOfParallelism = Environment.ProcessorCount, CancellationToken = cancellationToken };
                Parallel.ForEach(items, options, item =>
                {
                    act(item);
                    progress?.Report((Interlocked.Increment(ref done), total));
                });
            }
            catch (AggregateException errors) when (
                errors.Flatten().InnerExceptions.OfType<UserErrorException>().FirstOrDefault() is { } first)
            {
                throw new UserErrorException(first.Message, first.ExitCode, first);
            }
        }
    }

    // The videos that could have a twin on the other side of the split: one of the same size in bytes, or of about the same length.
    private static List<ScannedContent> Contents(VideoCatalogue catalogue, Seen[] seen)
    {
        var usable = seen.Zip(catalogue.Videos).Where(pair => pair.First.Broken is null).ToList();
        var sizes = usable.ToLookup(pair => pair.Second.Split == VideoSplit.Test, pair => pair.First.Bytes);
        var (training, testing) = (Lengths(test: false), Lengths(test: true));
        var contents = new List<ScannedContent>();
        foreach (var (look, video) in usable)
        {
            var test = video.Split == VideoSplit.Test;
            var others = test ? training : testing;
            var at = Array.BinarySearch(others, look.Seconds * 0.9);
            at = at < 0 ? ~at : at;
            var near = look.Seconds > 0 && at < others.Length && others[at] <= look.Seconds / 0.9;
            var same = sizes[!test].Contains(look.Bytes);
            if (near || same)
            {
                contents.Add(new ScannedContent(video.Path, new VideoContent(video.Id, test, null, look.Seconds, null), same, near));
            }
        }

        return contents;

        double[] Lengths(bool test) =>
            [.. usable.Where(pair => (pair.Second.Split == VideoSplit.Test) == test).Select(pair => pair.First.Seconds).Order()];
    }

    private static ScanReport Report(VideoCatalogue catalogue, Seen[] seen, IReadOnlyList<LeakedPair> leaks)
    {
        var videos = catalogue.Videos;
        var whole = seen.Where(video => video.Broken is null).ToList();
        return new ScanReport
        {
            Root = catalogue.Root,
            Layout = catalogue.Layout,
            Videos = videos.Count,
            Labelled = videos.Count(video => video.Label >= 0),
            Groups = catalogue.Groups,
            Classes =
            [
                .. catalogue.Classes.Select((name, label) =>
                {
                    var ofClass = videos.Where(video => video.Label == label).ToList();
                    int Of(VideoSplit split) => ofClass.Count(video => video.Split == split);
                    return new ScannedClass(
                        name, label, Of(VideoSplit.Train), Of(VideoSplit.Validation), Of(VideoSplit.Test),
                        ofClass.Select(video => video.Group).Distinct().Count());
                }),
            ],
            Splits = Count(videos.Select(video => video.Split.ToString().ToLowerInvariant())),
            Broken = [
                .. seen.Zip(videos).Where(pair => pair.First.Broken is not null)
                    .Select(pair => new RejectedVideo(pair.Second.Id, pair.First.Broken!))],
            Bytes = seen.Sum(video => video.Bytes),
            Seconds = whole.Sum(video => video.Seconds),
            Duration = Range(whole.Select(video => video.Seconds)),
            Frames = Range(whole.Select(video => video.Frames)),
            Sizes = Count(whole.Select(video => $"{video.Width}x{video.Height}")),
            FrameRates = Count(whole.Select(video => video.Fps.ToString("0.###", CultureInfo.InvariantCulture))),
            Codecs = Count(whole.Select(video => video.Codec)),
            Leaks = leaks,
            Warnings = [.. catalogue.Warnings, .. SplitLeaks.Describe(leaks)],
            Notes = catalogue.Notes,
            Readable = [.. seen.Zip(videos).Where(pair => pair.First.Broken is null).Select(pair => pair.Second.Path)],
        };
    }

    private static ScannedRange? Range(IEnumerable<double> values)
    {
        var list = values.ToList();
        return list.Count == 0 ? null : new ScannedRange(list.Min(), list.Average(), list.Max());
    }

    private static List<ScannedCount> Count(IEnumerable<string> values) =>
    [
        .. values.GroupBy(value => value, StringComparer.Ordinal)
            .Select(group => new ScannedCount(group.Key, group.Count()))
            .OrderByDescending(count => count.Count)
            .ThenBy(count => count.Value, StringComparer.Ordinal),
    ];

    private static Seen Look(CatalogueVideo video, bool thorough, CancellationToken cancellationToken)
    {
        if (video.Problem is { } problem)
        {
            return new Seen { Broken = problem };
        }

        if (!File.Exists(video.Path))
        {
            return new Seen { Broken = "no such file: a link that leads nowhere" };
        }

        var bytes = new FileInfo(video.Path).Length;
        if (bytes == 0)
        {
            return new Seen { Broken = "the file is empty (0 bytes)" };
        }

        var (status, output, log) = FfmpegTool.Run(
            "ffprobe",
            [
                "-loglevel", "level+error", "-select_streams", "V:0", "-show_entries",
                "stream=codec_name,width,height,avg_frame_rate,nb_frames,duration:format=duration", "-of", "json",
                .. FfmpegTool.Input(video.Path),
            ],
            only: video.Path,
            cancellationToken: cancellationToken);
        var seen = status == 0 ? Parse(output) : null;
        if (seen is null)
        {
            var said = log.Summary(video.Path);
            return new Seen
            {
                Bytes = bytes, Broken = status == 0 ? "there is no video stream in it" : said.Length > 0 ? said : "ffprobe cannot read it"
            };
        }

        return (thorough ? Decode(video, seen, cancellationToken) : seen) with { Bytes = bytes };
    }

    /// <summary>What ffprobe said, in a line; null when there is no video.</summary>
    internal static string? Describe(string json) => Parse(json)?.ToString();

    private static Seen? Parse(string json)
    {
        try
        {
            using var document = JsonDocument.Parse(json);
            var root = document.RootElement;
            return root.TryGetProperty("streams", out var streams) && streams.GetArrayLength() > 0 ? Describe(streams[0], root) : null;
        }
        catch (Exception error) when (error is JsonException or InvalidOperationException or FormatException)
        {
            return null; // not what ffprobe says of a video
        }
    }

    private static Seen Describe(JsonElement stream, JsonElement root)
    {
        var fps = Text(stream, "avg_frame_rate")?.Split('/') is [var over, var under]
            && Number(under) > 0 ? Number(over) / Number(under) : 0;
        var seconds = Number(Text(stream, "duration"));
        if (seconds == 0 && root.TryGetProperty("format", out var format))
        {
            seconds = Number(Text(format, "duration"));
        }

        var frames = Number(Text(stream, "nb_frames"));
        return new Seen
        {
            Codec = Text(stream, "codec_name") ?? "unknown",
            Width = stream.TryGetProperty("width", out var width) ? width.GetInt32() : 0,
            Height = stream.TryGetProperty("height", out var height) ? height.GetInt32() : 0,
            Fps = fps,
            Seconds = seconds,
            Frames = frames > 0 ? frames : Math.Round(seconds * fps),
        };
    }

    private static Seen Decode(CatalogueVideo video, Seen seen, CancellationToken cancellationToken)
    {
        var discard = new PixmapReader(null);
        var (rejection, _, fps) = ClipDecoder.DecodeInto(discard, video.Path, new DecodeSettings { ShortSide = 16 }, cancellationToken);
        return seen with
        {
            Broken = rejection,
            Frames = discard.Frames,
            Seconds = seen.Seconds > 0 ? seen.Seconds : fps > 0 ? discard.Frames / fps : 0,
        };
    }

    private static string? Text(JsonElement element, string name) => element.TryGetProperty(name, out var value) ? value.GetString() : null;

    private static double Number(string? text) =>
        double.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out var number) && double.IsFinite(number) ? number : 0;

    private sealed class ScannedContent(string path, VideoContent content, bool hash, bool look)
    {
        public VideoContent Content { get; private set; } = content;

        public void Read(CancellationToken cancellationToken)
        {
            Content = Content with { Checksum = hash ? Checksum() : null, Thumbnails = look ? Thumbnails(cancellationToken) : null };
        }

        private string? Checksum()
        {
            try
            {
                using var stream = File.OpenRead(path);
                var hash = new System.IO.Hashing.XxHash128();
                hash.Append(stream);
                return Convert.ToHexStringLower(hash.GetCurrentHash());
            }
            catch (Exception error) when (error is IOException or UnauthorizedAccessException)
            {
                return null; // gone or closed since it was looked at
            }
        }

        // One process reads all frames of a fingerprint, each by a seek of its own.
        private float[]? Thumbnails(CancellationToken cancellationToken)
        {
            const int Pixels = SplitLeaks.Side * SplitLeaks.Side;
            List<string> arguments = ["-hide_banner", "-nostdin", "-nostats", "-loglevel", "level+error"];
            for (var i = 0; i < SplitLeaks.Frames; i++)
            {
                var second = Content.Length * ((2 * i) + 1) / (2 * SplitLeaks.Frames);
                arguments.AddRange(
                    ["-threads", "1", "-ss", second.ToString("0.###", CultureInfo.InvariantCulture), .. FfmpegTool.Input(path)]);
            }

            var frames = Enumerable.Range(0, SplitLeaks.Frames).ToList();
            var thumbnails = string.Concat(
                frames.Select(
                    i => $"[{i}:V:0]trim=end_frame=1,scale={SplitLeaks.Side}:{SplitLeaks.Side}:flags=area,format=gray,setsar=1[t{i}];"));
            arguments.AddRange(
                [
                    "-filter_complex", $"{thumbnails}{string.Concat(frames.Select(i => $"[t{i}]"))}concat=n={frames.Count}", "-f",
                    "rawvideo", "-pix_fmt", "gray", "pipe:1"
                ]);
            using var process = FfmpegTool.Start("ffmpeg", arguments, only: path);
            using var kill = cancellationToken.Register(() => FfmpegTool.Kill(process));
            var log = FfmpegTool.FfmpegLog.ReadAsync(process.StandardError);
            var bytes = new byte[SplitLeaks.Frames * Pixels];
            var read = process.StandardOutput.BaseStream.ReadAtLeast(bytes, bytes.Length, throwOnEndOfStream: false);
            process.WaitForExit();
            log.GetAwaiter().GetResult();
            cancellationToken.ThrowIfCancellationRequested();
            return read == bytes.Length ? Array.ConvertAll(bytes, value => (float)value) : null;
        }
    }

    private sealed record Seen
    {
        public string? Broken { get; init; }

        public long Bytes { get; init; }

        public string Codec { get; init; } = "";

        public int Width { get; init; }

        public int Height { get; init; }

        public double Fps { get; init; }

        public double Seconds { get; init; }

        public double Frames { get; init; }
    }
}
