// Why this exists: `coclr bench decode` measures filling the clip store against ffmpeg itself writing the same raw frames of the same
// files.
using System.Diagnostics;
using System.Globalization;
using System.Text.Json;
using CoCLR.Engine.Video.Catalogue;
using CoCLR.Engine.Video.Decoding;

namespace CoCLR.Benchmarks.Decode;

/// <summary>Decoded frames a second, in turns with ffmpeg.</summary>
internal static class DecodeBench
{
    /// <summary>Measures and prints one line of JSON.</summary>
    /// <param name="arguments">`--videos FOLDER --rounds 5 --side 147 --limit 40`; without a folder, ../shared/data/ucf101-11 beside the
    /// repository.</param>
    public static void Run(string[] arguments)
    {
        string Option(string name, string fallback) =>
            Array.IndexOf(arguments, "--" + name) is var i && i >= 0 && i + 1 < arguments.Length ? arguments[i + 1] : fallback;
        int Number(string name, int fallback) =>
            int.Parse(Option(name, fallback.ToString(CultureInfo.InvariantCulture)), CultureInfo.InvariantCulture);
        var root = Environment.GetEnvironmentVariable("COCLR_ROOT") ?? Directory.GetCurrentDirectory();
        var folder = Option("videos", Path.GetFullPath(Path.Combine(root, "..", "shared", "data", "ucf101-11")));
        if (!Directory.Exists(folder))
        {
            Console.Error.WriteLine(
                "bench decode: --videos FOLDER names a folder of videos, for example one that `coclr data synth` made.");
            Environment.ExitCode = 66;
            return;
        }

        var (rounds, side, limit) = (Number("rounds", 5), Number("side", 147), Number("limit", 40));
        var scratch = Directory.CreateTempSubdirectory("coclr-bench-decode-").FullName;
        try
        {
            // The same files for both, in a folder of their own.
            var data = Path.Combine(scratch, "data");
            Directory.CreateDirectory(data);
            var files = Directory.EnumerateFiles(folder, "*", SearchOption.AllDirectories).Where(VideoCatalogue.IsVideoName)
                .Order(StringComparer.Ordinal).ToList();
            var step = Math.Max(1, files.Count / limit);
            foreach (var (file, i) in files.Where((_, i) => i % step == 0).Take(limit).Select((f, i) => (f, i)))
            {
                File.Copy(file, Path.Combine(data, string.Create(CultureInfo.InvariantCulture, $"{i:D4}{Path.GetExtension(file)}")));
            }

            var catalogue = VideoCatalogue.Open(new CatalogueOptions { Root = data });
            var (ours, peer) = (new List<double>(), new List<double>());
            long frames = 0, bytes = 0;
            for (var round = -1; round < rounds; round++)
            {
                var cache = Path.Combine(scratch, "cache");
                var watch = Stopwatch.StartNew();
                using (var store = ClipDecoder.Prepare(catalogue, new DecodeSettings { ShortSide = side }, cache))
                {
                    (frames, bytes) = (store.Videos.Sum(v => (long)v.Frames), store.Videos.Sum(v => (long)v.Frames * v.Pixels * 3));
                }

                var mine = watch.Elapsed.TotalSeconds;
                Directory.Delete(cache, recursive: true);
                var raw = Path.Combine(scratch, "raw");
                Directory.CreateDirectory(raw);
                watch.Restart();
                Parallel.ForEach(
                    Directory.EnumerateFiles(data),
                    new ParallelOptions { MaxDegreeOfParallelism = Environment.ProcessorCount },
                    file => Ffmpeg(file, raw, side));
                var its = watch.Elapsed.TotalSeconds;
                Directory.Delete(raw, recursive: true);
                if (round >= 0)
                {
                    ours.Add(frames / mine);
                    peer.Add(frames / its);
                }
            }

            ours.Sort();
            peer.Sort();
            Console.WriteLine(JsonSerializer.Serialize(new
            {
                bench = "decode",
                videos = catalogue.Videos.Count,
                frames,
                storeMib = bytes >> 20,
                side,
                processors = Environment.ProcessorCount,
                rounds,
                framesPerSecond = Math.Round(ours[rounds / 2], 1),
                ffmpegFramesPerSecond = Math.Round(peer[rounds / 2], 1),
                ratio = Math.Round(ours[rounds / 2] / peer[rounds / 2], 3),
            }));
        }
        finally
        {
            Directory.Delete(scratch, recursive: true);
        }
    }

    private static void Ffmpeg(string file, string folder, int side)
    {
        var start = new ProcessStartInfo("ffmpeg")
        {
            ArgumentList =
            {
                "-hide_banner", "-nostdin", "-loglevel", "error", "-threads", "1", "-i", file, "-map", "0:V:0", "-filter_threads", "1",
                "-vf", $"scale=w='if(lte(iw,ih),{side},-1)':h='if(lte(iw,ih),-1,{side})':flags=bicubic", "-f", "rawvideo", "-pix_fmt",
                "rgb24",
                Path.Combine(folder, Path.GetFileName(file) + ".rgb"),
            },
        };
        using var process = Process.Start(start)!;
        process.WaitForExit();
        if (process.ExitCode != 0)
        {
            throw new InvalidOperationException($"ffmpeg ended with {process.ExitCode} on {Path.GetFileName(file)}");
        }
    }
}
