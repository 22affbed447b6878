// Why this exists: how fast one core augments, on the same task as the Pillow peer beside this file (pillow_augmentation.py).
using System.Diagnostics;
using System.Globalization;
using System.Runtime.InteropServices;
using System.Text.Json;
using CoCLR.Engine.Video.Augmentation;
using CoCLR.Engine.Video.Loading;
using CoCLR.Engine.Video.Store;

namespace CoCLR.Benchmarks.Augmentation;

/// <summary>
/// Samples a second, a sample being two augmented clips. To compare with Pillow take turns, each on one core:
/// <code>
/// coclr bench augment --mode policy
/// python3 tests/CoCLR.Benchmarks/Augmentation/pillow_augmentation.py --mode policy
/// </code>
/// </summary>
public static class AugmentationBench
{
    /// <summary>Measures and prints one line of JSON.</summary>
    /// <param name="arguments">
    /// `--mode policy|base|null` (the real mix, both clips with the base transform, both with the null transform), `--samples 200 --width
    /// 320 --height 240
    /// --frames 32 --size 128`, each optional. `--through
    /// augmenter` (one core, processor time; the default), `loader` (background workers as in training, wall time; `--workers N --batch
    /// 8`) or `device` (the same with the augmentation on `--device cpu|cuda`).
    /// </param>
    public static void Run(string[] arguments)
    {
        string Option(string name, string fallback) =>
            Array.IndexOf(arguments, "--" + name) is var i && i >= 0 ? arguments[i + 1] : fallback;
        int Number(string name, int fallback) =>
            int.Parse(Option(name, fallback.ToString(CultureInfo.InvariantCulture)), CultureInfo.InvariantCulture);
        var mode = Option("mode", "policy");
        var samples = Number("samples", 200);
        var options = new AugmentationOptions { Size = Number("size", 128), ReferenceCompatibility = true };
        options = mode switch
        {
            "base" => options with { OneClipProbability = 0, TwoClipBaseProbability = 1 },
            "null" => options with { OneClipProbability = 0, TwoClipBaseProbability = 0 },
            _ => options,
        };
        var through = Option("through", "augmenter");
        var loading = new LoaderOptions
        {
            BatchSize = Number("batch", 8),
            Frames = Number("frames", 32),
            Workers = Number("workers", 0),
            Device = new TorchSharp.torch.Device(Option("device", "cpu")),
            AugmentOnDevice = through == "device",
        };
        var source = new SmoothNoise(
            loading.Frames + 1, Number("height", 240), Number("width", 320), through == "augmenter" ? 1 : loading.BatchSize);
        var rate = through == "augmenter" ? OneCore(source, options, loading.Frames, samples) : Loader(source, options, loading, samples);
        Console.WriteLine(JsonSerializer.Serialize(new Dictionary<string, object>
        {
            ["bench"] = "augment",
            ["mode"] = mode,
            ["through"] = through,
            ["samples"] = samples,
            [through == "augmenter" ? "samples_per_second_per_core" : "samples_per_second"] = Math.Round(rate, 2),
        }));
    }

    private static unsafe double OneCore(SmoothNoise source, AugmentationOptions options, int frames, int samples)
    {
        var (_, height, width, _) = source.Shape(0);
        var policy = new PretrainAugmentation(options);
        using var augmenter = new ClipAugmenter();
        var numbers = Enumerable.Range(0, frames).ToArray();
        var clip = 3L * frames * options.Size * options.Size;
        var target = (float*)NativeMemory.AlignedAlloc((nuint)(2 * clip * sizeof(float)), 64);
        void One(int sample)
        {
            var pair = policy.Draw(0, 0, 0, sample, width, height);
            augmenter.Apply(source, 0, numbers, pair.First, options.Size, false, target);
            augmenter.Apply(source, 0, numbers, pair.Second, options.Size, false, target + clip);
        }

        for (var sample = 0; sample < 20; sample++)
        {
            One(sample);
        }

        using var process = Process.GetCurrentProcess();
        var before = process.UserProcessorTime;
        for (var sample = 0; sample < samples; sample++)
        {
            One(sample);
        }

        process.Refresh();
        var seconds = (process.UserProcessorTime - before).TotalSeconds;
        NativeMemory.AlignedFree(target);
        return samples / seconds;
    }

    private static double Loader(SmoothNoise source, AugmentationOptions options, LoaderOptions loading, int samples)
    {
        ClipItem[] items = [.. Enumerable.Range(0, source.Count).Select(video => new ClipItem([video]))];
        using var loader = new ClipBatchLoader([new ClipView(source, false)], items, options, loading);
        loader.StartAt(0);
        for (var warm = 0; warm < 4; warm++)
        {
            loader.Next()!.Dispose();
        }

        var watch = Stopwatch.StartNew();
        var batches = (samples + loading.BatchSize - 1) / loading.BatchSize;
        for (var batch = 0; batch < batches; batch++)
        {
            using var one = loader.Next()!;
            if (loading.Device.type != TorchSharp.DeviceType.CPU)
            {
                // A number on the host means that the device is done.
                one.Views[0].flatten().narrow(0, 0, 1).item<float>();
            }
        }

        return batches * loading.BatchSize / watch.Elapsed.TotalSeconds;
    }

    private sealed class SmoothNoise : IClipSource
    {
        private readonly byte[] _pixels;
        private readonly (int Frames, int Height, int Width, int Channels) _shape;

        public SmoothNoise(int frames, int height, int width, int videos)
        {
            Count = videos;
            _shape = (frames, height, width, 3);
            _pixels = new byte[frames * height * width * 3];
            var random = new Random(0);
            for (var i = 0; i < _pixels.Length; i++)
            {
                var frame = i / (height * width * 3);
                var x = i / 3 % width;
                var y = i / (3 * width) % height;
                _pixels[i] =
                    (byte)(128 + (70 * Math.Sin((x + frame) * 0.05 * ((i % 3) + 1))) + (40 * Math.Cos(y * 0.07)) + random.Next(17));
            }
        }

        public int Count { get; }

        public (int Frames, int Height, int Width, int Channels) Shape(int videoIndex) => _shape;

        public ReadOnlySpan<byte> Frame(int videoIndex, int frame)
        {
            var length = _shape.Height * _shape.Width * 3;
            return _pixels.AsSpan(frame * length, length);
        }
    }
}
