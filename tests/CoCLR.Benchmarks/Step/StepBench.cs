// Why this exists: the training step side by side with plain PyTorch: the options of peers/pytorch_step.py, the same JSON keys.
using System.Diagnostics;
using System.Globalization;
using System.Text.Json;
using CoCLR.Core.Manifests;
using CoCLR.Engine;
using CoCLR.Engine.Contrastive;
using CoCLR.Engine.Contrastive.Methods;
using CoCLR.Engine.Models;
using CoCLR.Engine.Training.Optimization;
using TorchSharp;
using static TorchSharp.torch;

namespace CoCLR.Benchmarks.Step;

/// <summary>Times full-size training steps (InfoNCE, CoCLR) and feature extraction on random clips.</summary>
internal static class StepBench
{
    /// <summary>Runs the benchmark and prints one JSON object.</summary>
    /// <param name="args">
    /// The peer's options; <c>--cudnn-benchmark</c> for cuDNN's trials, which long stages use; <c>--plain</c> for the same network in
    /// libtorch's own operators (3-D convolutions, batch norm, pooling, TorchSharp's Adam, momentum tensor by tensor): the harder peer.
    /// </param>
    public static void Run(string[] args)
    {
        var o = Options.Parse(args);
        TorchRuntime.Initialize();
        if (o.Threads > 0)
        {
            set_num_threads(o.Threads);
        }

        var device = TorchRuntime.Select(o.Device);
        var cuda = device.type == DeviceType.CUDA;
        backends.cuda.matmul.allow_tf32 = backends.cudnn.allow_tf32 = o.Tf32;
        using var gpu = GpuMeter.Open(device);
        if (cuda)
        {
            TorchRuntime.SetCudnnBenchmark(o.CudnnBenchmark);
        }

        using var session = new Session(o, device);
        var times = new List<double>();
        long peak = 0;
        for (var i = 0; i < o.Warmup + o.Steps; i++)
        {
            var start = Stopwatch.GetTimestamp();
            session.Work(i);
            if (cuda)
            {
                torch.cuda.synchronize();
            }

            peak = Math.Max(peak, gpu?.Read()?.MemoryBytes ?? 0);
            if (i >= o.Warmup)
            {
                times.Add(Stopwatch.GetElapsedTime(start).TotalSeconds);
            }
        }

        times.Sort();
        var median = times.Count % 2 == 1 ? times[times.Count / 2] : (times[(times.Count / 2) - 1] + times[times.Count / 2]) / 2;
        Console.WriteLine(JsonSerializer.Serialize(new Dictionary<string, object>
        {
            ["step"] = o.Step, ["device"] = o.Device, ["batch"] = o.Batch, ["frames"] = o.Frames, ["size"] = o.Size, ["queue"] = o.Queue,
            ["topk"] = o.TopK,
            ["steps"] = o.Steps, ["warmup"] = o.Warmup, ["threads"] = get_num_threads(), ["amp"] = o.Amp, ["tf32"] = o.Tf32,
            ["channels_last"] = o.ChannelsLast, ["cudnn_benchmark"] = o.CudnnBenchmark, ["plain"] = o.Plain,
            ["torch"] = TorchRuntime.Describe().LibraryVersion, ["chip"] = cuda ? gpu?.Name() ?? "cuda" : "cpu",
            ["median_s"] = Math.Round(median, 5), ["min_s"] = Math.Round(times[0], 5), ["max_s"] = Math.Round(times[^1], 5),
            ["clips_per_s"] =
                Math.Round(o.Batch / median, 3), ["parameters"] = session.Parameters, ["peak_mib"] = cuda ? peak >> 20 : PeakMebibytes(),
        }));
    }

    /// <summary>The process's largest resident set, as the peer's ru_maxrss.</summary>
    private static long PeakMebibytes()
    {
        var line = File.ReadLines("/proc/self/status").First(l => l.StartsWith("VmHWM:", StringComparison.Ordinal));
        return long.Parse(line.Split(' ', StringSplitOptions.RemoveEmptyEntries)[^2], CultureInfo.InvariantCulture) / 1024;
    }

    private sealed record Options(
        string Step,
        string Device,
        int Batch,
        int Frames,
        int Size,
        int Queue,
        int TopK,
        int Steps,
        int Warmup,
        int Threads,
        string Amp,
        bool Tf32,
        bool ChannelsLast,
        bool CudnnBenchmark,
        bool Plain)
    {
        public static Options Parse(string[] args)
        {
            string Text(string name, string fallback) =>
                Array.IndexOf(args, name) is >= 0 and var i && i + 1 < args.Length ? args[i + 1] : fallback;
            int Number(string name, int fallback) =>
                int.Parse(Text(name, fallback.ToString(CultureInfo.InvariantCulture)), CultureInfo.InvariantCulture);
            return new Options(
                Text("--step", "infonce"), Text("--device", "cpu"), Number("--batch", 8), Number("--frames", 16), Number("--size", 64),
                Number("--queue", 2048), Number("--topk", 5),
                Number("--steps", 9), Number("--warmup", 2), Number("--threads", 0),
                Text("--amp", "off") is ("off" or "bf16") and var amp ? amp : throw new ArgumentException("--amp takes off or bf16"),
                args.Contains("--tf32"), args.Contains("--channels-last"), args.Contains("--cudnn-benchmark"), args.Contains("--plain"));
        }
    }

    private sealed class Session : IDisposable
    {
        private readonly Options _o;
        private readonly Tensor[][] _clips;
        private readonly MomentumEncoder _momentum;
        private readonly VideoEncoder? _sampler;
        private readonly KeyQueue _queue;
        private readonly Adam _adam;
        private readonly optim.Optimizer? _plainAdam;
        private readonly Tensor _videos;

        public Session(Options o, Device device)
        {
            _o = o;
            using var generator = new Generator(0);
            _clips = [.. Enumerable.Range(0, 2).Select(_ => Enumerable.Range(0, 3).Select(_ => Clips(o, generator, device)).ToArray())];
            _momentum = new MomentumEncoder(VideoEncoder.Create("S3D", device: device), VideoEncoder.Create("S3D", device: device));
            if (o.Step == "coclr")
            {
                _sampler = VideoEncoder.Create("S3D", seed: 1, device: device);
                _sampler.eval();
            }

            if (o.Step == "extract")
            {
                _momentum.Query.eval();
            }

            foreach (var encoder in Encoders())
            {
                encoder.Backbone.Precision = o.Amp == "bf16" ? Precision.Bf16 : Precision.Fp32;
            }

            foreach (var network in Encoders().Select(e => (S3D)e.Backbone))
            {
                network.AllowFast = !o.Plain;
            }

            _plainAdam = o.Plain ? optim.Adam(_momentum.Query.parameters(), 1e-3, weight_decay: 1e-5) : null;
            _queue = new KeyQueue(128, o.Queue, second: o.Step == "coclr", device: device);
            _adam = new Adam([_momentum.Trained()], 1e-3, 1e-5);
            _videos = arange(o.Batch, ScalarType.Int64, device);
        }

        private IEnumerable<VideoEncoder> Encoders() => new[] { _momentum.Query, _momentum.Key, _sampler }.OfType<VideoEncoder>();

        private static Tensor Clips(Options o, Generator generator, Device device)
        {
            var clips = randn([o.Batch, 3, o.Frames, o.Size, o.Size], generator: generator).to(device);
            return o.ChannelsLast ? clips.permute(0, 2, 3, 4, 1).contiguous().permute(0, 4, 1, 2, 3) : clips;
        }

        public long Parameters => _momentum.Query.parameters().Sum(p => p.numel());

        public void Work(int step)
        {
            using var scope = NewDisposeScope();
            var clips = _clips[step % 2];
            if (_o.Step == "extract")
            {
                using var frozen = no_grad();
                Check(_momentum.Query.Backbone.Features(clips[0]));
                return;
            }

            var query = _momentum.Query.forward(clips[0]);
            UpdateKeys();
            var key = _momentum.EncodeKeys(clips[1]);
            var logits = ContrastiveLogits.Of(query, key, _queue.Keys, 0.07);
            Tensor? second = null;
            Tensor loss;
            if (_sampler is not null)
            {
                using (no_grad())
                {
                    second = _sampler.forward(clips[2]);
                }

                loss = CoClr.Loss(
                    logits, CoClr.Positives(_videos, _queue.Videos, second.matmul(_queue.SecondKeys!), _o.TopK, queueFull: true));
            }
            else
            {
                loss = InfoNce.Loss(logits);
            }

            Descend(loss);
            _queue.Enqueue(key, second, step: step);
            Check(loss);
        }

        private void UpdateKeys()
        {
            if (_plainAdam is null)
            {
                _momentum.Update();
                return;
            }

            using var frozen = no_grad();
            foreach (var (key, query) in _momentum.Key.parameters().Zip(_momentum.Query.parameters()))
            {
                key.mul_(0.999).add_(query, alpha: 0.001);
            }
        }

        private void Descend(Tensor loss)
        {
            if (_plainAdam is null)
            {
                _adam.ZeroGradients();
                loss.backward();
                _adam.Step();
                return;
            }

            _plainAdam.zero_grad();
            loss.backward();
            _plainAdam.step();
        }

        public void Dispose()
        {
            _plainAdam?.Dispose();
            _momentum.Query.Dispose();
            _momentum.Dispose();
            _sampler?.Dispose();
            _queue.Dispose();
            _adam.Dispose();
        }

        private static void Check(Tensor result)
        {
            if (!result.isfinite().all().item<bool>())
            {
                throw new InvalidOperationException("the result is not finite");
            }
        }
    }
}
