// Why this exists: `coclr bench flow` measures optical flow on the same frames, sizes and threads as its peer beside this file
// (opencv_flow.py).
using System.Diagnostics;
using System.Globalization;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using System.Text.Json;
using CoCLR.Core.Manifests;
using CoCLR.Engine.Flow;
using TorchSharp;

namespace CoCLR.Benchmarks.Flow;

/// <summary>
/// Frame pairs a second. To compare with OpenCV, take turns on one file of frames:
/// <code>
/// ffmpeg -i VIDEO -vf scale=320:240,format=gray -frames:v 17 -f rawvideo frames.gray
/// coclr bench flow --size 320x240 --threads 2 --frames frames.gray
/// python3 tests/CoCLR.Benchmarks/Flow/opencv_flow.py --size 320x240 --threads 2 --frames frames.gray
/// </code>
/// </summary>
public static class FlowBench
{
    /// <summary>Measures and prints one line of JSON.</summary>
    /// <param name="arguments">
    /// `--size 320x240 --threads 2 --pairs 16 --repeats 5 --algorithm TVL1|Fast --device cpu|cuda`, each optional; `--frames FILE` reads
    /// raw grey frames instead of making some, `--write-frames FILE` writes the frames that were made, `--write-flow FILE` the flow
    /// (float32 [pairs, 2, height, width]).
    /// </param>
    public static void Run(string[] arguments)
    {
        string Option(string name, string fallback) =>
            Array.IndexOf(arguments, "--" + name) is var i && i >= 0 ? arguments[i + 1] : fallback;
        int Number(string name, int fallback) =>
            int.Parse(Option(name, fallback.ToString(CultureInfo.InvariantCulture)), CultureInfo.InvariantCulture);
        var size = Option("size", "320x240").Split('x');
        var (width, height) = (int.Parse(size[0], CultureInfo.InvariantCulture), int.Parse(size[1], CultureInfo.InvariantCulture));
        var threads = Number("threads", Environment.ProcessorCount);
        var repeats = Number("repeats", 5);
        var wanted = Number("pairs", 16) + 1;
        var frames = Option("frames", "") is { Length: > 0 } file ? Read(file, wanted, width * height) : Scene(wanted, width, height);
        if (Option("write-frames", "") is { Length: > 0 } framesOut)
        {
            File.WriteAllBytes(framesOut, frames);
        }

        var algorithm = Option("algorithm", "TVL1") == "Fast" ? FlowAlgorithm.Fast : FlowAlgorithm.TvL1;
        var device = Option("device", "cpu");
        var options = new FlowOptions { Algorithm = algorithm };
        var pairs = (frames.Length / (width * height)) - 1;
        var flow = Array.Empty<float>();
        var rates = new double[repeats];
        var cpu = new double[repeats];
        using var process = Process.GetCurrentProcess();
        for (var round = -1; round < repeats; round++)
        {
            process.Refresh();
            var before = process.TotalProcessorTime;
            var watch = Stopwatch.StartNew();
            flow = device == "cpu"
                ? FlowSequence.Estimate(frames, width, height, options, threads)
                : InOneBatch(frames, width, height, options, device);
            var seconds = watch.Elapsed.TotalSeconds;
            process.Refresh();
            if (round >= 0)
            {
                rates[round] = pairs / seconds;
                cpu[round] = (process.TotalProcessorTime - before).TotalMilliseconds / pairs;
            }
        }

        if (Option("write-flow", "") is { Length: > 0 } flowOut)
        {
            File.WriteAllBytes(flowOut, MemoryMarshal.AsBytes<float>(flow).ToArray());
        }

        Array.Sort(rates);
        Array.Sort(cpu);
        Console.WriteLine(JsonSerializer.Serialize(new
        {
            bench = "flow",
            implementation = "coclr",
            algorithm = algorithm.ToString(),
            device,
            width,
            height,
            pairs,
            threads,
            repeats,
            vector512 = Vector512.IsHardwareAccelerated,
            framesPerSecondMedian = Math.Round(rates[repeats / 2], 2),
            framesPerSecondBest = Math.Round(rates[^1], 2),
            framesPerSecondWorst = Math.Round(rates[0], 2),
            cpuMsPerFrameMedian = Math.Round(cpu[repeats / 2], 2),
        }));
    }

    private static byte[] Read(string file, int most, int pixels)
    {
        var bytes = File.ReadAllBytes(file);
        return bytes[..(Math.Min(bytes.Length / pixels, most) * pixels)];
    }

    private static float[] InOneBatch(byte[] frames, int width, int height, FlowOptions options, string device)
    {
        using var scope = torch.NewDisposeScope();
        var video = torch.tensor(frames, [frames.Length / (width * height), height, width]);
        return new TvL1FlowTorch(torch.device(device), options.Effective).EstimateSequence(video).cpu().data<float>().ToArray();
    }

    /// <summary>A textured background that drifts, a textured disc that moves against it, and a little noise.</summary>
    private static byte[] Scene(int count, int width, int height)
    {
        static double Texture(double x, double y, int seed)
        {
            var sum = 0.0;
            for (var k = 1; k <= 6; k++)
            {
                sum += Math.Sin(
                    (x * Math.Cos(seed + (k * 2.4)) * 0.07 * k) + (y * Math.Sin(seed + (k * 2.4)) * 0.07 * k) + (seed * k)) / Math.Sqrt(k);
            }

            return sum;
        }

        var random = new Random(1);
        var frames = new byte[count * width * height];
        for (var f = 0; f < count; f++)
        {
            var (cx, cy) = (width * (0.3 + (0.02 * f)), height * (0.5 + (0.2 * Math.Sin(f * 0.4))));
            for (var i = 0; i < width * height; i++)
            {
                var (x, y) = (i % width, i / width);
                var inside = Math.Pow(x - cx, 2) + Math.Pow(y - cy, 2) < Math.Pow(height * 0.22, 2);
                var value = inside ? Texture(x - cx, y - cy, 3) : Texture(x - (0.7 * f), y + (0.2 * f), 1);
                frames[(f * width * height) + i] = (byte)Math.Clamp(128 + (30 * value) + random.Next(-3, 4), 0, 255);
            }
        }

        return frames;
    }
}
