// Why this exists: a GPU augments clips and makes flow itself; both must be what the processor makes.
using CoCLR.Core.Manifests;
using CoCLR.Engine.Flow;
using CoCLR.Engine.Video.Augmentation;
using CoCLR.Engine.Video.Store;
using static TorchSharp.torch;

namespace CoCLR.Engine.Checks;

/// <summary>Augmentation and TV-L1 flow in tensors on the device against this project's own kernels on the processor.</summary>
internal sealed class ClipChecks(DeviceCheck check)
{
    private const string Augmentation = "augmentation, share of values off by more than two levels";
    private const string Flow = "TV-L1 flow, pixels";

    /// <summary>The comparisons.</summary>
    public IEnumerable<Comparison> All() =>
    [
        // A rounding tie that falls the other way before a hue shift can move a saturated pixel by several levels; such pixels are counted,
        // not forbidden.
        new(Augmentation, Precision.Fp32, 0.002, Augment),
        new(Flow, Precision.Fp32, 0.05, Estimate),
    ];

    private unsafe double Augment()
    {
        (int clips, int length, int size) = check.Small ? (6, 2, 32) : (32, 8, 112);
        var source = new Waves(clips, length, size + 12, size + 24, 3);
        var pretrain = new PretrainAugmentation(
            new AugmentationOptions { Size = size, OneClipProbability = 0, TwoClipBaseProbability = 1, GrayProbability = 0.3 });
        ClipTransform[] transforms =
            [.. Enumerable.Range(0, clips).Select(i => pretrain.Draw(3, 0, 0, i, source.Width, source.Height).First)];
        using Tensor bytes = tensor(source.All, [clips, length, source.Height, source.Width, 3], ScalarType.Byte).to(check.Device);
        using Tensor made = check.Through(Augmentation, TorchAugmentation.Apply(bytes, transforms, size, flow: false)).to(CPU);
        float[] values = made.data<float>().ToArray();
        var expected = new float[values.Length];
        int[] frames = [.. Enumerable.Range(0, length)];
        using var augmenter = new ClipAugmenter();
        fixed (float* target = expected)
        {
            for (int i = 0; i < clips; i++)
            {
                augmenter.Apply(source, i, frames, transforms[i], size, flow: false, target + ((long)i * values.Length / clips));
            }
        }

        int channel = length * size * size;
        return (double)Enumerable.Range(0, values.Length)
            .Count(i => !(Math.Abs(values[i] - expected[i]) / Normalization.Scale(i / channel % 3) <= 2.01)) / values.Length;
    }

    private double Estimate()
    {
        (int width, int height, int pairs) = check.Small ? (48, 36, 1) : (160, 120, 4);
        var source = new Waves(1, pairs + 1, height, width, 1);
        using Tensor frames = tensor(source.All, [pairs + 1, height, width], ScalarType.Byte).to(check.Device);
        using Tensor flow = check.Through(Flow, new TvL1FlowTorch(check.Device).EstimateSequence(frames)).to(CPU);
        using var estimator = new TvL1Flow(width, height);
        var (u, v) = (new float[width * height], new float[width * height]);
        double worst = 0;
        for (int frame = 0; frame <= pairs; frame++)
        {
            if (!estimator.Push(source.Frame(0, frame), u, v))
            {
                continue;
            }

            float[] x = flow[frame - 1, 0].flatten().data<float>().ToArray(), y = flow[frame - 1, 1].flatten().data<float>().ToArray();
            double mean = Enumerable.Range(0, u.Length).Average(i => Math.Sqrt(Math.Pow(x[i] - u[i], 2) + Math.Pow(y[i] - v[i], 2)));
            worst = double.IsNaN(mean) ? double.NaN : Math.Max(worst, mean);
        }

        return worst;
    }

    /// <summary>Videos of moving waves with a little noise.</summary>
    private sealed class Waves(int videos, int frames, int height, int width, int channels) : IClipSource
    {
        public byte[] All { get; } = Draw(videos, frames, height, width, channels);

        public int Width => width;

        public int Height => height;

        public int Count => videos;

        public (int Frames, int Height, int Width, int Channels) Shape(int videoIndex) => (frames, height, width, channels);

        public ReadOnlySpan<byte> Frame(int videoIndex, int frame) =>
            All.AsSpan(((videoIndex * frames) + frame) * height * width * channels, height * width * channels);

        private static byte[] Draw(int videos, int frames, int height, int width, int channels)
        {
            var random = new CounterRandom(5, CounterRandom.Purpose("check/waves"));
            var bytes = new byte[videos * frames * height * width * channels];
            for (int i = 0; i < bytes.Length; i++)
            {
                (int c, int x, int y) = (i % channels, i / channels % width, i / (channels * width) % height);
                (int t, int video) = (i / (channels * width * height) % frames, i / (channels * width * height * frames));
                double wave = Math.Sin(video + (0.21 * (x - t) * (c + 1))) + Math.Cos((0.17 * (y + (0.5 * t))) - (0.3 * c))
                    + Math.Sin(0.13 * (x + y - t));
                bytes[i] = (byte)(128 + (35 * wave) + random.NextInt(5));
            }

            return bytes;
        }
    }
}
