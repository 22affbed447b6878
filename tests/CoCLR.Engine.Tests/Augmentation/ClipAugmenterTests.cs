// Why this exists: the fused path must equal its parts, on every kind of processor and for sizes that fit no vector.
using System.Runtime.InteropServices;
using CoCLR.Engine.Video.Augmentation;

namespace CoCLR.Engine.Tests.Augmentation;

public sealed unsafe partial class ClipAugmenterTests
{
    public static TheoryData<int, int, int> Sizes => new()
    {
        { 1, 1, 1 }, { 1, 1, 8 }, { 3, 2, 5 }, { 5, 40, 16 }, { 40, 5, 33 }, { 64, 48, 32 }, { 64, 48, 31 }, { 170, 128, 112 },
        { 170, 128, 128 }, { 97, 61, 130 }, { 320, 240, 128 }, { 341, 256, 7 }, { 19, 23, 100 },
    };

    [Theory]
    [MemberData(nameof(Sizes))]
    public void Apply_AnyVectorWidth_GivesTheSameBytes(int width, int height, int size)
    {
        var source = SyntheticSource.Uniform(1, 1, 1, height, width);
        using var widest = new ClipAugmenter();
        using var avx2 = new ClipAugmenter(VectorWidth.Avx2);
        using var portable = new ClipAugmenter(VectorWidth.Portable);
        var policy = new PretrainAugmentation(new AugmentationOptions { Size = size, OneClipProbability = 0, TwoClipBaseProbability = 1 });
        for (var slot = 0; slot < 12; slot++)
        {
            var transform = policy.Draw(5, 0, 0, slot, width, height).First;
            var expected = Bytes(portable, source, transform, size);
            Assert.Equal(expected, Bytes(avx2, source, transform, size));
            Assert.Equal(expected, Bytes(widest, source, transform, size));
        }
    }

    [Fact]
    public void Apply_CropOfOutputSize_CopiesThePixels()
    {
        var source = SyntheticSource.Uniform(2, 1, 1, 40, 50);
        using var augmenter = new ClipAugmenter();
        var actual = Bytes(augmenter, source, new ClipTransform { Crop = new CropBox(7, 3, 32, 32) }, 32);
        for (var y = 0; y < 32; y++)
        {
            Assert.True(source.Frame(0, 0).Slice((((y + 3) * 50) + 7) * 3, 96).SequenceEqual(actual.AsSpan(y * 96, 96)));
        }
    }

    [Theory]
    [MemberData(nameof(Sizes))]
    public void Apply_Flip_MirrorsTheUnflippedResult(int width, int height, int size)
    {
        var source = SyntheticSource.Uniform(3, 1, 1, height, width);
        using var augmenter = new ClipAugmenter();
        var transform = new ClipTransform
        {
            Crop = new CropBox(0, 0, width, height), BlurSigma = 0.8f,
            Jitter = new ColorJitter(1.2f, 0.7f, 1.3f, 0.05f, ColorJitter.NaturalOrder)
        };
        var plain = Bytes(augmenter, source, transform, size);
        var mirrored = Bytes(augmenter, source, transform with { Flip = true }, size);
        Assert.Equal(plain, ImageOperations.HorizontalFlip(mirrored, size));
    }

    [Fact]
    public void Apply_AllOperations_EqualsThemOneByOne()
    {
        var source = SyntheticSource.Uniform(4, 1, 1, 60, 80);
        var jitter = new ColorJitter(0.8f, 1.3f, 0.6f, -0.08f, 0b00_01_10_11);
        var transform = new ClipTransform
        {
            Crop = new CropBox(10, 5, 57, 44), Flip = true, Jitter = jitter, BlurSigma = 1.4f, Gray = new GrayChannel(1)
        };
        using var augmenter = new ClipAugmenter();
        var expected = ImageOperations.CropResize(source.Frame(0, 0), 80, 60, transform.Crop, 48);
        foreach (var operation in new[] { ColorOperation.Hue, ColorOperation.Saturation, ColorOperation.Contrast, ColorOperation.Brightness })
        {
            expected = ImageOperations.Adjust(expected, operation, jitter.Factor(operation));
        }

        expected = ImageOperations.KeepChannel(expected, 1);
        expected = ImageOperations.GaussianBlur(expected, 48, 48, 1.4f);
        expected = ImageOperations.HorizontalFlip(expected, 48);
        Assert.Equal(expected, Bytes(augmenter, source, transform, 48));
    }

    [Fact]
    public void Apply_Clip_IsNormalizedFramesInChannelOrder()
    {
        var source = SyntheticSource.Uniform(5, 2, 9, 30, 40);
        var transform = new ClipTransform { Crop = new CropBox(3, 2, 25, 20), Gray = new GrayChannel(-2, 99) };
        int[] frames = [0, 0, 2, 8];
        using var augmenter = new ClipAugmenter();
        var clip = Floats(augmenter, source, 1, frames, transform, 16, false);
        for (var t = 0; t < frames.Length; t++)
        {
            var bytes = new byte[16 * 16 * 3];
            augmenter.ApplyToBytes(source.Frame(1, frames[t]), 40, 30, transform, 16, false, t, bytes);
            var expected = ImageOperations.Normalize(bytes);
            for (var channel = 0; channel < 3; channel++)
            {
                Assert.True(expected.AsSpan(channel * 256, 256).SequenceEqual(clip.AsSpan(((channel * frames.Length) + t) * 256, 256)));
            }
        }
    }

    [Fact]
    public void Apply_AnyVectorWidth_WritesTheSameFloats()
    {
        var source = SyntheticSource.Uniform(6, 1, 3, 30, 40);
        var transform = new ClipTransform
        {
            Crop = new CropBox(1, 2, 37, 26), Jitter = new ColorJitter(1.3f, 0.8f, 0.9f, 0.07f, ColorJitter.NaturalOrder)
        };
        foreach (var size in new[] { 16, 17 })
        {
            var clips = Enum.GetValues<VectorWidth>().Select(vectors =>
            {
                using var augmenter = new ClipAugmenter(vectors);
                return Floats(augmenter, source, 0, [0, 1, 2], transform, size, false);
            }).ToList();
            Assert.All(clips, clip => Assert.Equal(clips[0], clip));
        }
    }

    [Fact]
    public void Apply_RepeatedFrames_EqualTheFirst()
    {
        var source = SyntheticSource.Uniform(6, 1, 3, 30, 40);
        var transform = new ClipTransform { Crop = new CropBox(0, 0, 40, 30), BlurSigma = 1 };
        using var augmenter = new ClipAugmenter();
        var clip = Floats(augmenter, source, 0, [1, 1, 2], transform, 16, false);
        Assert.True(clip.AsSpan(0, 256).SequenceEqual(clip.AsSpan(256, 256)));
        Assert.False(clip.AsSpan(0, 256).SequenceEqual(clip.AsSpan(512, 256)));
    }

    [Fact]
    public void Apply_FlowOfTwoChannels_EqualsItsImage()
    {
        var flow = SyntheticSource.Uniform(7, 1, 1, 30, 40, 2);
        var image = new byte[30 * 40 * 3];
        for (var i = 0; i < 1200; i++)
        {
            image[3 * i] = 128;
            image[(3 * i) + 1] = flow.Frame(0, 0)[(2 * i) + 1];
            image[(3 * i) + 2] = flow.Frame(0, 0)[2 * i];
        }

        foreach (var vectors in Enum.GetValues<VectorWidth>())
        {
            using var augmenter = new ClipAugmenter(vectors);
            var transform = new ClipTransform { Crop = new CropBox(5, 6, 35, 24), Flip = true };
            var fromFlow = Bytes(augmenter, flow, transform, 20, true);
            var fromImage = new byte[1200];
            augmenter.ApplyToBytes(image, 40, 30, transform, 20, true, 0, fromImage);
            Assert.Equal(fromImage, fromFlow);
        }
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Apply_FlippedFlow_NegatesUOnlyWhenAsked(bool negate)
    {
        var flow = SyntheticSource.Uniform(8, 1, 1, 20, 20, 2);
        using var augmenter = new ClipAugmenter();
        var transform = new ClipTransform { Crop = new CropBox(0, 0, 20, 20), NegateFlippedFlow = negate };
        var plain = Bytes(augmenter, flow, transform, 20, true);
        var flipped = ImageOperations.HorizontalFlip(Bytes(augmenter, flow, transform with { Flip = true }, 20, true), 20);
        for (var i = 0; i < plain.Length; i++)
        {
            Assert.Equal(i % 3 == 2 && negate && plain[i] != 128 ? 255 - plain[i] : plain[i], flipped[i]);
        }
    }

    [Fact]
    public void Apply_FlippedFlowWithoutMotion_StaysWithoutMotion()
    {
        byte[] still = [.. Enumerable.Repeat((byte)128, 2 * 20 * 20)];
        using var augmenter = new ClipAugmenter();
        var flipped = new byte[3 * 20 * 20];
        augmenter.ApplyToBytes(still, 20, 20, new ClipTransform { Crop = new CropBox(0, 0, 20, 20), Flip = true }, 20, true, 0, flipped);
        Assert.All(flipped, value => Assert.Equal(128, value));
    }

    [Fact]
    public void Hue_EveryKindOfColor_IsPillowsToTheLevel()
    {
        var random = new CounterRandom(9);
        var colors = new byte[3 * 60_000];
        for (var i = 0; i < colors.Length; i++)
        {
            colors[i] = (byte)random.NextInt(256);
        }

        foreach (var factor in new[] { -0.5f, -0.1f, 0f, 0.037f, 0.5f })
        {
            foreach (var vectors in Enum.GetValues<VectorWidth>())
            {
                var actual = ImageOperations.Adjust(colors, ColorOperation.Hue, factor, vectors);
                var different = 0;
                for (var i = 0; i < colors.Length; i += 3)
                {
                    var (r, g, b) = PillowHue(colors[i], colors[i + 1], colors[i + 2], factor);
                    var distance = Math.Max(Math.Abs(r - actual[i]), Math.Max(Math.Abs(g - actual[i + 1]), Math.Abs(b - actual[i + 2])));
                    Assert.InRange(distance, 0, 1);
                    different += distance;
                }

                // Floats and doubles round a few ties differently.
                Assert.InRange(different, 0, colors.Length / 3 / 1000);
            }
        }
    }

    [Fact]
    public void Apply_LastPixelsOfTheMapping_ReadNothingBehindIt()
    {
        // 64 x 64 x 3 bytes are exactly three pages; the page behind them cannot be read.
        const int Page = 4096;
        var start = Map(0, 4 * Page, 3, 0x22, -1, 0);
        Assert.NotEqual(-1, start);
        Assert.Equal(0, Protect(start + (3 * Page), Page, 0));
        using var augmenter = new ClipAugmenter();
        using var portable = new ClipAugmenter(VectorWidth.Portable);
        var result = new byte[64 * 64 * 3];
        foreach (var crop in new[] { new CropBox(0, 0, 64, 64), new CropBox(63, 63, 1, 1), new CropBox(20, 60, 44, 4), new CropBox(0, 63, 64, 1) })
        {
            foreach (var size in new[] { 4, 33, 64 })
            {
                var frame = new ReadOnlySpan<byte>((void*)start, 3 * Page);
                augmenter.ApplyToBytes(frame, 64, 64, new ClipTransform { Crop = crop }, size, false, 0, result);
                portable.ApplyToBytes(frame, 64, 64, new ClipTransform { Crop = crop }, size, false, 0, result);
            }
        }

        Assert.Equal(0, Unmap(start, 4 * Page));
    }

    [Theory]
    [InlineData(-1, 0, 10, 10)]
    [InlineData(0, 0, 41, 10)]
    [InlineData(35, 0, 10, 10)]
    [InlineData(0, 25, 10, 10)]
    [InlineData(0, 0, 0, 10)]
    public void Apply_CropOutsideTheFrame_IsRefused(int x, int y, int width, int height)
    {
        var source = SyntheticSource.Uniform(1, 1, 1, 30, 40);
        using var augmenter = new ClipAugmenter();
        Assert.Throws<ArgumentException>(() => Bytes(augmenter, source, new ClipTransform { Crop = new CropBox(x, y, width, height) }, 8));
    }

    private static byte[] Bytes(ClipAugmenter augmenter, SyntheticSource source, ClipTransform transform, int size, bool flow = false)
    {
        var (_, height, width, _) = source.Shape(0);
        var result = new byte[size * size * 3];
        augmenter.ApplyToBytes(source.Frame(0, 0), width, height, transform, size, flow, 0, result);
        return result;
    }

    private static float[] Floats(
        ClipAugmenter augmenter, SyntheticSource source, int video, int[] frames, ClipTransform transform, int size, bool flow)
    {
        var result = new float[3 * frames.Length * size * size];
        fixed (float* target = result)
        {
            augmenter.Apply(source, video, frames, transform, size, flow, target);
        }

        return result;
    }

    // Pillow's Convert.c (rgb2hsv, hsv2rgb) and torchvision's adjust_hue, value by value.
    private static (byte R, byte G, byte B) PillowHue(byte r, byte g, byte b, float factor)
    {
        var highest = Math.Max(r, Math.Max(g, b));
        var lowest = Math.Min(r, Math.Min(g, b));
        byte hue = 0, saturation = 0;
        if (highest != lowest)
        {
            var range = (float)(highest - lowest);
            var (rc, gc, bc) = ((highest - r) / range, (highest - g) / range, (highest - b) / range);
            var sixth = r == highest ? bc - gc : g == highest ? (float)(2.0 + rc - bc) : (float)(4.0 + gc - rc);
            var h = (float)(((sixth / 6.0) + 1.0) % 1.0);
            hue = (byte)(int)(h * 255.0);
            saturation = (byte)(int)((double)(range / highest) * 255.0);
        }

        hue += (byte)((int)((double)factor * 255) & 255);
        if (saturation == 0)
        {
            return (highest, highest, highest);
        }

        var sector = (int)Math.Floor(hue * 6.0 / 255.0);
        var f = (float)((hue * 6.0 / 255.0) - sector);
        var fs = (float)(saturation / 255.0);
        var p = (byte)Math.Round(highest * (1.0 - fs), MidpointRounding.AwayFromZero);
        var q = (byte)Math.Round(highest * (1.0 - (fs * f)), MidpointRounding.AwayFromZero);
        var t = (byte)Math.Round(highest * (1.0 - (fs * (1.0 - f))), MidpointRounding.AwayFromZero);
        return (sector % 6) switch
        {
            0 => (highest, t, p),
            1 => (q, highest, p),
            2 => (p, highest, t),
            3 => (p, q, highest),
            4 => (t, p, highest),
            _ => (highest, p, q),
        };
    }

    [LibraryImport("libc", EntryPoint = "mmap", SetLastError = true)]
    private static partial nint Map(nint address, nint length, int protection, int flags, int file, nint offset);

    [LibraryImport("libc", EntryPoint = "mprotect", SetLastError = true)]
    private static partial int Protect(nint address, nint length, int protection);

    [LibraryImport("libc", EntryPoint = "munmap", SetLastError = true)]
    private static partial int Unmap(nint address, nint length);
}
