// Why this exists: how fast one core augments, on the same task as the Pillow peer beside this file (pillow_augmentation.py).
using System.Diagnostics;
using System.Runtime.InteropServices;
using System.Text.Json;
using CoCLR.Engine.Video.Augmentation;
using CoCLR.Engine.Video.Loading;

namespace CoCLR.Benchmarks.Augmentation;

/// <summary>`coclr bench augment`: samples a second on one core, a sample being two augmented clips.</summary>
public static class AugmentationBench
{
    /// <summary>Runs and prints one JSON line.</summary>
    /// <param name="mode"><c>policy</c> (the real mix), <c>base</c> (both clips with jitter, gray and blur at their probabilities) or <c>null</c>.</param>
    /// <param name="samples">How many samples to time.</param>
    /// <param name="width">Width of the stored frames.</param>
    /// <param name="height">Height of the stored frames.</param>
    /// <param name="frames">Frames of a clip.</param>
    /// <param name="size">Side of the output.</param>
    public static unsafe void Run(string mode = "base", int samples = 200, int width = 320, int height = 240, int frames = 32, int size = 128)
    {
        var source = new SmoothNoise(frames, height, width);
        var options = new AugmentationOptions { Size = size, ReferenceCompatibility = true };
        options = mode switch
        {
            "base" => options with { OneClipProbability = 0, TwoClipBaseProbability = 1 },
            "null" => options with { OneClipProbability = 0, TwoClipBaseProbability = 0 },
            _ => options,
        };
        var policy = new PretrainAugmentation(options);
        using var augmenter = new ClipAugmenter();
        var numbers = Enumerable.Range(0, frames).ToArray();
        var clip = 3L * frames * size * size;
        var target = (float*)NativeMemory.AlignedAlloc((nuint)(2 * clip * sizeof(float)), 64);
        void One(int sample)
        {
            var pair = policy.Draw(0, 0, 0, sample, width, height);
            augmenter.Apply(source, 0, numbers, pair.First, size, false, target);
            augmenter.Apply(source, 0, numbers, pair.Second, size, false, target + clip);
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
        Console.WriteLine(JsonSerializer.Serialize(new
        {
            bench = "augment",
            mode,
            samples,
            samples_per_second_per_core = Math.Round(samples / seconds, 2),
        }));
    }

    private sealed class SmoothNoise : IClipSource
    {
        private readonly byte[] _pixels;
        private readonly (int Frames, int Height, int Width, int Channels) _shape;

        public SmoothNoise(int frames, int height, int width)
        {
            _shape = (frames, height, width, 3);
            _pixels = new byte[frames * height * width * 3];
            var random = new Random(0);
            for (var i = 0; i < _pixels.Length; i++)
            {
                var frame = i / (height * width * 3);
                var x = i / 3 % width;
                var y = i / (3 * width) % height;
                _pixels[i] = (byte)(128 + (70 * Math.Sin((x + frame) * 0.05 * ((i % 3) + 1))) + (40 * Math.Cos(y * 0.07)) + random.Next(17));
            }
        }

        public int Count => 1;

        public (int Frames, int Height, int Width, int Channels) Shape(int videoIndex) => _shape;

        public ReadOnlySpan<byte> Frame(int videoIndex, int frame)
        {
            var length = _shape.Height * _shape.Width * 3;
            return _pixels.AsSpan(frame * length, length);
        }
    }
}
