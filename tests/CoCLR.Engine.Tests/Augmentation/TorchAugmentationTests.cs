// Why this exists: training on a GPU must see the clips that training on a CPU sees.
using CoCLR.Engine.Video.Augmentation;
using static TorchSharp.torch;

namespace CoCLR.Engine.Tests.Augmentation;

public sealed unsafe class TorchAugmentationTests
{
    [Theory]
    [InlineData(3, false, false)]
    [InlineData(3, false, true)]
    [InlineData(3, true, false)]
    [InlineData(2, true, false)]
    public void Apply_RandomTransforms_StaysWithinTwoLevelsOfTheCpu(int channels, bool flow, bool reference)
    {
        const int Clips = 10;
        const int Length = 3;
        const int Width = 60;
        const int Height = 44;
        const int Size = 40;
        var source = SyntheticSource.Uniform(1, Clips, Length, Height, Width, channels);
        var options = new AugmentationOptions
        {
            Size = Size, OneClipProbability = 0, TwoClipBaseProbability = 1, ReferenceCompatibility = reference, GrayProbability = 0.3
        };
        var pretrain = new PretrainAugmentation(options);
        var probe = new ProbeAugmentation(options with { ProbeJitterProbability = 1 });
        var transforms = new ClipTransform[Clips];
        for (var i = 0; i < Clips; i++)
        {
            transforms[i] = reference
                ? probe.Draw(3, 0, 0, i, Width, Height)
                : pretrain.Draw(3, 0, 0, i, Width, Height).First with { FlowScale = flow ? 0.5f + (0.2f * i) : 1 };
        }

        using var frames = Frames(source, Clips, Length, Height, Width, channels);
        using var actual = TorchAugmentation.Apply(frames, transforms, Size, flow);
        Assert.Equal([Clips, 3, Length, Size, Size], actual.shape);
        Assert.True(actual.is_contiguous());
        var values = actual.data<float>().ToArray();
        var expected = Expected(source, transforms, Length, Size, flow);
        var (worst, beyondTwo) = (0.0, 0);
        for (var i = 0; i < values.Length; i++)
        {
            var channel = i / (Length * Size * Size) % 3;
            var levels = Math.Abs(values[i] - expected[i]) / Normalization.Scale(channel);
            worst = Math.Max(worst, levels);
            beyondTwo += levels > 2.01 ? 1 : 0;
        }

        // A rounding tie that falls the other way before a hue shift can move a saturated pixel by several levels; such pixels are counted,
        // not forbidden.
        Assert.True(
            beyondTwo < values.Length / 500,
            $"{beyondTwo} of {values.Length} values are more than two levels apart, the worst {worst:F1}.");
    }

    [Fact]
    public void Apply_PlainResize_StaysWithinOneLevel()
    {
        var source = SyntheticSource.Uniform(2, 2, 2, 50, 70);
        ClipTransform[] transforms =
            [new() { Crop = new CropBox(0, 0, 70, 50) }, new() { Crop = new CropBox(20, 10, 15, 20), Flip = true }];
        using var frames = Frames(source, 2, 2, 50, 70, 3);
        using var actual = TorchAugmentation.Apply(frames, transforms, 32, false);
        var values = actual.data<float>().ToArray();
        var expected = Expected(source, transforms, 2, 32, false);
        for (var i = 0; i < values.Length; i++)
        {
            Assert.InRange(Math.Abs(values[i] - expected[i]) / Normalization.Scale(i / 2048 % 3), 0, 1.01);
        }
    }

    [Fact]
    public void Apply_WrongShape_IsRefused()
    {
        using var frames = zeros([1, 2, 8, 8, 4], ScalarType.Byte);
        Assert.Throws<ArgumentException>(
            () => TorchAugmentation.Apply(frames, [new ClipTransform { Crop = new CropBox(0, 0, 8, 8) }], 8, false));
        using var rgb = zeros([1, 2, 8, 8, 3], ScalarType.Byte);
        Assert.Throws<ArgumentException>(
            () => TorchAugmentation.Apply(rgb, [new ClipTransform { Crop = new CropBox(4, 0, 8, 8) }], 8, false));
    }

    private static Tensor Frames(SyntheticSource source, int clips, int length, int height, int width, int channels)
    {
        var bytes = new byte[clips * length * height * width * channels];
        var at = bytes.AsSpan();
        for (var i = 0; i < clips * length; i++)
        {
            var frame = source.Frame(i / length, i % length);
            frame.CopyTo(at);
            at = at[frame.Length..];
        }

        return tensor(bytes, [clips, length, height, width, channels], ScalarType.Byte);
    }

    private static float[] Expected(SyntheticSource source, ClipTransform[] transforms, int length, int size, bool flow)
    {
        using var augmenter = new ClipAugmenter();
        var clip = 3 * length * size * size;
        var result = new float[transforms.Length * clip];
        int[] numbers = [.. Enumerable.Range(0, length)];
        fixed (float* target = result)
        {
            for (var i = 0; i < transforms.Length; i++)
            {
                augmenter.Apply(source, i, numbers, transforms[i], size, flow, target + (i * clip));
            }
        }

        return result;
    }
}
