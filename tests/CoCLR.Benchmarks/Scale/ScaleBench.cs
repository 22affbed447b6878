// Why this exists: `coclr bench scale` measures how cost grows with the number of videos, the length of the queue, the batch, the frames
// and the resolution: docs/benchmarks.md extrapolates from it.
using System.Diagnostics;
using System.Globalization;
using System.Text.Json;
using CoCLR.Engine;
using CoCLR.Engine.Contrastive;
using CoCLR.Engine.Contrastive.Methods;
using CoCLR.Engine.Video.Augmentation;
using CoCLR.Engine.Video.Loading;
using CoCLR.Engine.Video.Store;
using static TorchSharp.torch;

namespace CoCLR.Benchmarks.Scale;

/// <summary>Stores of many clips, queues of many keys, training steps of full S3D of many sizes; one line of JSON for each.</summary>
internal static class ScaleBench
{
    private const int Frames = 16;
    private const int Width = 72;
    private const int Height = 54;

    /// <summary>Measures and prints.</summary>
    /// <param name="arguments">`--videos 1000,10000 --queues 512,1024,...,65536 --batch 32`, each optional; `--device cuda` for the
    /// steps.</param>
    public static void Run(string[] arguments)
    {
        int[] List(string name, string fallback) =>
            [
                .. (Array.IndexOf(arguments, "--" + name) is >= 0 and var i ? arguments[i + 1] : fallback)
                    .Split(',', StringSplitOptions.RemoveEmptyEntries).Select(n => int.Parse(n, CultureInfo.InvariantCulture))];
        TorchRuntime.Initialize();
        var batch = List("batch", "32")[0];
        foreach (var videos in List("videos", "1000,10000"))
        {
            Store(videos, batch);
        }

        foreach (var length in List("queues", "512,1024,2048,4096,8192,16384,32768,65536"))
        {
            Queue(length, batch);
        }

        var device = Array.IndexOf(arguments, "--device") is >= 0 and var at ? arguments[at + 1] : "cpu";
        int[][] steps =
        [
            .. new[] { 2, 4, 8, 16, 32 }.Select(b => new[] { b, 16, 64 }),
            .. new[] { 8, 32, 64 }.Select(frames => new[] { 8, frames, 64 }),
            .. new[] { 32, 96, 128, 192 }.Select(size => new[] { 8, 16, size }),
        ];
        foreach (var step in steps)
        {
            Step(step[0], step[1], step[2], device);
        }
    }

    // A process each, so that a size's peak of memory is its own.
    private static void Step(int batch, int frames, int size, string device)
    {
        string Text(int number) => number.ToString(CultureInfo.InvariantCulture);
        using var one = Process.Start(
            Environment.ProcessPath!,
            [
                typeof(ScaleBench).Assembly.Location, "step", "--device", device, "--steps", "3", "--warmup", "1", "--batch", Text(batch),
                "--frames", Text(frames), "--size", Text(size)
            ]);
        one.WaitForExit();
        if (one.ExitCode != 0)
        {
            throw new InvalidOperationException($"bench step ended with {one.ExitCode} at batch {batch}, 3x{frames}x{size}x{size}");
        }
    }

    private static void Store(int videos, int batch)
    {
        var folder = Directory.CreateTempSubdirectory("coclr-bench-scale-").FullName;
        try
        {
            var pixels = new byte[Frames * Width * Height * 3];
            using (var writer = ClipStoreWriter.OpenOrCreate(folder, new ClipStoreHeader { ContentKey = "scale" }))
            {
                var random = new Random(0);
                for (var i = 0; i < videos; i++)
                {
                    random.NextBytes(pixels);
                    writer.Add(
                        new ClipStoreVideo
                        {
                            Id = string.Create(CultureInfo.InvariantCulture, $"class-{i % 100}/video-{i:D7}.mp4"), Frames = Frames,
                            Width = Width, Height = Height, Fps = 25
                        },
                        pixels);
                }

                writer.Complete();
            }

            var bytes = Directory.EnumerateFiles(folder, "*", SearchOption.AllDirectories).Sum(f => new FileInfo(f).Length);
            var watch = Stopwatch.StartNew();
            using var store = ClipStore.Open(folder);
            var open = watch.Elapsed.TotalSeconds;
            ClipItem[] items = [.. Enumerable.Range(0, videos).Select(v => new ClipItem([v]))];
            using var loader = new ClipBatchLoader(
                [new ClipView(store, false)],
                items,
                new AugmentationOptions { Size = 48 },
                new LoaderOptions { BatchSize = batch, Frames = 8 });
            watch.Restart();
            // As a run that is resumed in the middle of its second epoch.
            loader.StartAt(1, loader.StepsPerEpoch / 2);
            loader.Next()!.Dispose();
            var resume = watch.Elapsed.TotalSeconds;
            loader.StartAt(0);
            var steps = loader.StepsPerEpoch;
            var memory = new List<double>();
            watch.Restart();
            for (var step = 0; step < steps; step++)
            {
                loader.Next()!.Dispose();
                if (step == steps / 4 || step == steps - 1)
                {
                    memory.Add(PrivateMebibytes());
                }
            }

            Console.WriteLine(JsonSerializer.Serialize(new
            {
                bench = "scale", videos, bytesPerClip = bytes / videos, overheadPerClip = (bytes / videos) - pixels.Length,
                openSeconds = Math.Round(open, 3), resumeSeconds = Math.Round(resume, 3),
                epochClipsPerSecond = Math.Round(steps * batch / watch.Elapsed.TotalSeconds, 1), quarterEpochMib = Math.Round(memory[0]),
                wholeEpochMib = Math.Round(memory[^1]),
            }));
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    // Pages of the memory-mapped store belong to the file and are given back under pressure: they are not counted.
    private static double PrivateMebibytes()
    {
        var line = File.ReadLines("/proc/self/status").First(l => l.StartsWith("RssAnon:", StringComparison.Ordinal));
        return long.Parse(line.Split(' ', StringSplitOptions.RemoveEmptyEntries)[^2], CultureInfo.InvariantCulture) / 1024.0;
    }

    private static void Queue(int length, int batch)
    {
        using var generator = new Generator(0);
        using var queue = new KeyQueue(128, length, second: true);
        using var videos = arange(batch, ScalarType.Int64);
        var times = new List<double>();
        for (var step = 0; step < 24; step++)
        {
            using var scope = NewDisposeScope();
            var query = nn.functional.normalize(randn([batch, 128], generator: generator), dim: 1).requires_grad_();
            var key = nn.functional.normalize(randn([batch, 128], generator: generator), dim: 1);
            var second = nn.functional.normalize(randn([batch, 128], generator: generator), dim: 1);
            var watch = Stopwatch.StartNew();
            var logits = ContrastiveLogits.Of(query, key, queue.Keys, 0.07);
            var loss = CoClr.Loss(logits, CoClr.Positives(videos, queue.Videos, second.matmul(queue.SecondKeys!), 5, queueFull: true));
            loss.backward();
            queue.Enqueue(key, second, step: step);
            if (step >= 3)
            {
                times.Add(watch.Elapsed.TotalMilliseconds);
            }
        }

        times.Sort();
        Console.WriteLine(
            JsonSerializer.Serialize(
                new
                {
                    bench = "scale", queue = length, batch, lossAndMiningMs = Math.Round(times[times.Count / 2], 2),
                    queueMib = Math.Round(length * 128 * 4 * 2 / 1048576.0, 2)
                }));
    }
}
