// Why this exists: `coclr bench scale --ranks 1,2,4` says what several processes gain on this machine, and what they lose to exchanging
// gradients: on GPUs where there are several.
using System.Diagnostics;
using System.Globalization;
using System.Text.Json;
using CoCLR.Core.Manifests;
using CoCLR.Engine;
using CoCLR.Engine.Collectives;
using CoCLR.Engine.Contrastive;
using CoCLR.Engine.Contrastive.Methods;
using CoCLR.Engine.Models;
using CoCLR.Engine.Training;
using CoCLR.Engine.Training.Optimization;
using TorchSharp;
using static TorchSharp.torch;

namespace CoCLR.Benchmarks.Scale;

/// <summary>InfoNCE steps of one batch, shared by several processes; one line of JSON for each number of them.</summary>
internal static class RanksBench
{
    private const string Child = "--as-rank";

    /// <summary>Measures and prints.</summary>
    /// <param name="arguments">`--ranks 1,2,4 --batch 16 --frames 16 --size 64 --backbone S3D --steps 9 --device cpu|cuda`.</param>
    public static void Run(string[] arguments)
    {
        if (arguments.Contains(Child))
        {
            Measure(arguments);
            return;
        }

        int[] worlds = [.. Text(arguments, "ranks", "1,2,4").Split(',').Select(n => int.Parse(n, CultureInfo.InvariantCulture))];
        string shards = worlds.Max().ToString(CultureInfo.InvariantCulture);
        foreach (int world in worlds)
        {
            int port = Ranks.FreePort();
            Process[] ranks = [.. Enumerable.Range(0, world).Select(rank => Start(["scale", Child, "--shards", shards, .. arguments], rank, world, port))];
            foreach (Process rank in ranks)
            {
                rank.WaitForExit();
                int code = rank.ExitCode;
                rank.Dispose();
                if (code != 0)
                {
                    throw new InvalidOperationException($"a rank of {world} ended with {code}");
                }
            }
        }
    }

    private static Process Start(string[] arguments, int rank, int world, int port)
    {
        var start = new ProcessStartInfo(Environment.ProcessPath!, [typeof(RanksBench).Assembly.Location, .. arguments]);
        void Set(string name, int value) => start.Environment[name] = value.ToString(CultureInfo.InvariantCulture);
        Set(RankOptions.RankVariable, rank);
        Set(RankOptions.WorldVariable, world);
        Set(RankOptions.LocalRankVariable, rank);
        Set(RankOptions.MasterPortVariable, port);
        Set("DOTNET_PROCESSOR_COUNT", Math.Max(1, Environment.ProcessorCount / world));
        return Process.Start(start)!;
    }

    private static void Measure(string[] arguments)
    {
        int Number(string name, int fallback) => int.Parse(Text(arguments, name, fallback.ToString(CultureInfo.InvariantCulture)), CultureInfo.InvariantCulture);
        RankOptions place = RankOptions.From(Environment.GetEnvironmentVariable);
        (int batch, int frames, int size, int steps) = (Number("batch", 16), Number("frames", 16), Number("size", 64), Number("steps", 9));
        string backbone = Text(arguments, "backbone", "S3D");
        Device device = TorchRuntime.Select(Ranks.DeviceOf(Text(arguments, "device", "cpu"), place, TorchRuntime.CudaDevices));
        using ICollective ranks = Ranks.Meet(place, "bench", device, CancellationToken.None);
        var spec = new ExperimentSpec { Training = new TrainingSpec { Method = Method.InfoNCE, BatchSize = batch, Shards = Number("shards", 1), QueueSize = 64 * batch } };
        OwnShards own = OwnShards.Of(spec.Training, ranks);
        VideoEncoder Encoder() => VideoEncoder.Create(backbone, device: device);
        using var learner = new Learner(spec, ContrastiveMethod.Of(Method.InfoNCE), [new LearningView(View.Rgb, new MomentumEncoder(Encoder(), Encoder()))], null, device, ranks);
        using Optimizer optimizer = Optimizer.Create(spec.Training.Optimizer, learner.Parameters);
        var mean = new ShardMean(own, ranks, optimizer.Gradients, learner.Networks);
        using var generator = new Generator((ulong)place.Rank);
        using Tensor clips = randn([own.Rows, 2, 3, frames, size, size], generator: generator).to(device);
        using Tensor rows = arange(batch, ScalarType.Int64, device);
        var made = new TrainingBatch(new Dictionary<View, Tensor> { [View.Rgb] = clips }, new int[batch], rows, rows) { Shards = own };
        void Step(long step)
        {
            using DisposeScope scope = NewDisposeScope();
            BatchKeys keys = learner.EncodeKeys(made, step);
            mean.Over(shard => learner.Learn(keys, shard).Loss.backward());
            optimizer.Step();
            learner.Remember(keys);
        }

        Step(0);
        _ = optimizer.GradientNorm().item<double>(); // waits for the device
        ranks.Barrier();
        CollectiveUse before = ranks.Use;
        long begun = Stopwatch.GetTimestamp();
        for (int step = 1; step <= steps; step++)
        {
            Step(step);
        }

        _ = optimizer.GradientNorm().item<double>();
        double seconds = Stopwatch.GetElapsedTime(begun).TotalSeconds;
        if (place.Rank == 0)
        {
            Console.WriteLine(JsonSerializer.Serialize(new
            {
                bench = "ranks",
                ranks = place.World,
                shards = spec.Training.Shards,
                transport = ranks.Transport,
                backbone,
                batch,
                clip = $"3x{frames}x{size}x{size}",
                threadsEach = TorchRuntime.Threads,
                clipsPerSecond = Math.Round(batch * steps / seconds, 2),
                collectiveShare = Math.Round((ranks.Use.Elapsed - before.Elapsed).TotalSeconds / seconds, 4),
                bytesPerStep = (ranks.Use.Bytes - before.Bytes) / steps,
            }));
        }
    }

    private static string Text(string[] arguments, string name, string fallback) => Array.IndexOf(arguments, "--" + name) is >= 0 and var at ? arguments[at + 1] : fallback;
}
