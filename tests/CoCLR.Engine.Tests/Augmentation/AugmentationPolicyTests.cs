// Why this exists: the distribution of the augmentations is part of the method; a shifted one trains another representation.
using CoCLR.Engine.Video.Augmentation;

namespace CoCLR.Engine.Tests.Augmentation;

public sealed class AugmentationPolicyTests
{
    private const int Samples = 4000;

    [Fact]
    public void Pretrain_SameCoordinates_DrawTheSameAndOthersDiffer()
    {
        var policy = new PretrainAugmentation(new AugmentationOptions());
        var draw = policy.Draw(1, 2, 3, 4, 320, 240);
        Assert.Equal(draw, policy.Draw(1, 2, 3, 4, 320, 240));
        Assert.NotEqual(draw, policy.Draw(2, 2, 3, 4, 320, 240));
        Assert.NotEqual(draw, policy.Draw(1, 3, 3, 4, 320, 240));
        Assert.NotEqual(draw, policy.Draw(1, 2, 4, 4, 320, 240));
        Assert.NotEqual(draw, policy.Draw(1, 2, 3, 5, 320, 240));
    }

    [Fact]
    public void Pretrain_ManyDraws_HaveTheReferencesFrequencies()
    {
        var policy = new PretrainAugmentation(new AugmentationOptions());
        var pairs = Draw(policy, 320, 240);
        var oneClip = pairs.Where(p => p.FirstClip == p.SecondClip).ToList();
        var twoClip = pairs.Where(p => p.FirstClip != p.SecondClip).ToList();
        Near(0.5, oneClip.Count, pairs.Count);
        Near(0.5, oneClip.Count(p => p.FirstClip == 1), oneClip.Count);
        Assert.All(twoClip, p => Assert.Equal((0, 1), (p.FirstClip, p.SecondClip)));

        // OneClip: exactly one of the two copies is base; jitter shows which in 80 % of them, equally often first and second.
        Assert.DoesNotContain(oneClip, p => p.First.Jitter is not null && p.Second.Jitter is not null);
        Near(0.4, oneClip.Count(p => p.First.Jitter is not null), oneClip.Count);
        Near(0.4, oneClip.Count(p => p.Second.Jitter is not null), oneClip.Count);

        // TwoClip: each base with probability 0.3, independently.
        Near(0.3 * 0.8, twoClip.Count(p => p.First.Jitter is not null), twoClip.Count);
        Near(0.3 * 0.3 * 0.64, twoClip.Count(p => p.First.Jitter is not null && p.Second.Jitter is not null), twoClip.Count);
        Near(0.3 * 0.2, twoClip.Count(p => !p.First.Gray.IsNone), twoClip.Count);
        Near(0.3 * 0.5, twoClip.Count(p => p.First.BlurSigma > 0), twoClip.Count);
        Near(0.5, pairs.Count(p => p.First.Flip), pairs.Count);
        Near(0.25, pairs.Count(p => p.First.Flip && p.Second.Flip), pairs.Count);
        Assert.All(pairs.Where(p => p.First.BlurSigma > 0), p => Assert.InRange(p.First.BlurSigma, 0.1f, 2f));
    }

    [Fact]
    public void Pretrain_Jitter_UsesEveryOrderAndItsRanges()
    {
        var policy =
            new PretrainAugmentation(new AugmentationOptions { OneClipProbability = 0, TwoClipBaseProbability = 1, JitterProbability = 1 });
        var jitters = Draw(policy, 320, 240).Select(p => p.First.Jitter!.Value).ToList();
        Assert.Equal(24, jitters.Select(j => j.Order).Distinct().Count());
        Assert.All(jitters, j => Assert.Equal(4, Enumerable.Range(0, 4).Select(j.At).Distinct().Count()));
        (Func<ColorJitter, float> Factor, float Low, float High)[] ranges =
        [
            (j => j.Brightness, 0.6f, 1.4f), (j => j.Contrast, 0.6f, 1.4f), (j => j.Saturation, 0.6f, 1.4f), (j => j.Hue, -0.1f, 0.1f),
        ];
        foreach (var (factor, low, high) in ranges)
        {
            Assert.All(jitters, j => Assert.InRange(factor(j), low, high));
            Assert.InRange(jitters.Min(factor), low, low + (0.01f * (high - low)));
            Assert.InRange(jitters.Max(factor), high - (0.01f * (high - low)), high);
            Assert.InRange(jitters.Average(factor), ((low + high) / 2) - (0.02 * (high - low)), ((low + high) / 2) + (0.02 * (high - low)));
        }
    }

    [Theory]
    [InlineData(320, 240)]
    [InlineData(240, 320)]
    [InlineData(170, 128)]
    [InlineData(1, 1)]
    [InlineData(7, 500)]
    public void Crops_AnyFrame_LieInsideIt(int width, int height)
    {
        var probe = new ProbeAugmentation(new AugmentationOptions());
        foreach (var pair in Draw(new PretrainAugmentation(new AugmentationOptions()), width, height, 500))
        {
            Inside(pair.First.Crop);
            Inside(pair.Second.Crop);
        }

        for (var slot = 0; slot < 500; slot++)
        {
            Inside(probe.Draw(0, 0, 0, slot, width, height).Crop);
        }

        void Inside(CropBox crop)
        {
            Assert.True(
                crop.X >= 0 && crop.Y >= 0 && crop.Width >= 1 && crop.Height >= 1 && crop.X + crop.Width <= width
                    && crop.Y + crop.Height <= height,
                $"{crop}");
        }
    }

    [Fact]
    public void PretrainCrop_BoxThatDoesNotFit_TakesTheWholeFrame()
    {
        var crops = Draw(new PretrainAugmentation(new AugmentationOptions()), 320, 240).Select(p => p.First.Crop).ToList();
        var whole = crops.Count(c => c == new CropBox(0, 0, 320, 240));

        // A probe crop tries again instead, so whole frames are as good as never drawn.
        var probe = new ProbeAugmentation(new AugmentationOptions());
        var probeCrops = Enumerable.Range(0, Samples).Select(slot => probe.Draw(0, 0, 0, slot, 320, 240).Crop).ToList();
        Assert.InRange(whole, crops.Count / 10, crops.Count / 2);
        Assert.DoesNotContain(new CropBox(0, 0, 320, 240), probeCrops);
        Assert.All(crops.Where(c => c.Width != 320), c => Assert.InRange(c.Width * c.Height / (320.0 * 240), 0.19, 1));
        Assert.All(crops.Where(c => c.Width != 320), c => Assert.InRange((double)c.Width / c.Height, 0.73, 1.36));
    }

    [Fact]
    public void Gray_PerClipOrPerFrame_FollowsTheOption()
    {
        var always = new AugmentationOptions { OneClipProbability = 0, TwoClipBaseProbability = 1, GrayProbability = 1 };
        var perClip = Draw(new PretrainAugmentation(always), 320, 240, 60).Select(p => p.First.Gray).ToList();
        Assert.All(perClip, g => Assert.Single(Enumerable.Range(0, 32).Select(g.Of).Distinct()));
        Assert.Equal(3, perClip.Select(g => g.Of(0)).Distinct().Count());
        foreach (var flickering in new[] { always with { GrayPerFrame = true }, always with { ReferenceCompatibility = true } })
        {
            Assert.All(
                Draw(new PretrainAugmentation(flickering), 320, 240, 20),
                p => Assert.Equal([0, 1, 2], Enumerable.Range(0, 32).Select(p.First.Gray.Of).Distinct().Order()));
        }
    }

    [Fact]
    public void ReferenceCompatibility_ChangesFlipAndProbeResize()
    {
        var reference = new AugmentationOptions { ReferenceCompatibility = true };
        Assert.False(new PretrainAugmentation(reference).Draw(0, 0, 0, 0, 320, 240).First.NegateFlippedFlow);
        Assert.True(new PretrainAugmentation(new AugmentationOptions()).Draw(0, 0, 0, 0, 320, 240).First.NegateFlippedFlow);
        Assert.Equal(224, new ProbeAugmentation(reference).Draw(0, 0, 0, 0, 320, 240).Via);
        Assert.Equal(0, new ProbeAugmentation(new AugmentationOptions()).Draw(0, 0, 0, 0, 320, 240).Via);
    }

    [Fact]
    public void FlowMagnitude_IsDrawnBesideTheOtherChoices_AndColourIsForRgb()
    {
        var plain = new PretrainAugmentation(new AugmentationOptions());
        var scaled = new PretrainAugmentation(new AugmentationOptions { FlowMagnitude = 0.25 });
        var factors = new List<float>();
        for (var slot = 0; slot < 200; slot++)
        {
            var (before, after) = (plain.Draw(1, 2, 3, slot, 97, 73), scaled.Draw(1, 2, 3, slot, 97, 73));
            factors.AddRange([after.First.FlowScale, after.Second.FlowScale]);
            Assert.Equal(before, after with { First = after.First with { FlowScale = 1 }, Second = after.Second with { FlowScale = 1 } });
            var flow = before.First.ForView(flow: true);
            Assert.Equal(before.First with { Jitter = null, Gray = GrayChannel.None, BlurSigma = 0 }, flow);
            Assert.Equal(before.First, before.First.ForView(flow: false));
        }

        Assert.InRange(factors.Min(), 0.75, 0.76);
        Assert.InRange(factors.Max(), 1.24, 1.25);
        var reference = new PretrainAugmentation(
            new AugmentationOptions
            {
                ReferenceCompatibility = true, OneClipProbability = 0, TwoClipBaseProbability = 1, JitterProbability = 1
            });
        Assert.NotNull(reference.Draw(0, 0, 0, 0, 97, 73).First.ForView(flow: true).Jitter);
    }

    [Fact]
    public void Probe_Flip_IsOneCoinABatch()
    {
        var policy = new ProbeAugmentation(new AugmentationOptions());
        var flips = Enumerable.Range(0, 200)
            .Select(step => Enumerable.Range(0, 8).Select(slot => policy.Draw(0, 1, step, slot, 320, 240).Flip).Distinct().Single())
            .ToList();
        Near(0.5, flips.Count(f => f), flips.Count, 0.12);
        Near(0.3, Enumerable.Range(0, Samples).Count(slot => policy.Draw(0, 0, 0, slot, 320, 240).Jitter is not null), Samples);
    }

    [Fact]
    public void EvaluationCrops_Ten_AreCentreAndCornersAndTheirMirrors()
    {
        var crops = new EvaluationCrops(new AugmentationOptions(), CropMode.Ten);
        Assert.Equal(10, crops.Count);
        var side = crops.Side(196, 147);
        Assert.Equal(129, side);
        var boxes = Enumerable.Range(0, 10).Select(i => crops.Get(i, 196, 147)).ToList();
        Assert.Equal(
            [new(34, 9, 129, 129), new(0, 0, 129, 129), new(67, 0, 129, 129), new(0, 18, 129, 129), new(67, 18, 129, 129)],
            boxes.Take(5).Select(t => t.Crop));
        Assert.Equal(boxes.Take(5).Select(t => t.Crop), boxes.Skip(5).Select(t => t.Crop));
        Assert.Equal([false, true], boxes.Chunk(5).Select(five => five.Select(t => t.Flip).Distinct().Single()));
        Assert.All(boxes, t => Assert.True(t.Jitter is null && t.BlurSigma == 0 && t.Gray.IsNone));
    }

    [Fact]
    public void EvaluationCrops_Reference_CropsTwoHundredTwentyFourAndJitters()
    {
        var crops = new EvaluationCrops(new AugmentationOptions { ReferenceCompatibility = true });
        Assert.Equal(224, crops.Side(320, 240));
        Assert.Equal(112, crops.Side(170, 128));
        var jittered = Enumerable.Range(0, Samples).Count(video => crops.Get(0, 320, 240, 0, video).Jitter is not null);
        Near(0.3, jittered, Samples);
    }

    [Fact]
    public void ScaledTo_OtherFrameSize_KeepsTheBoxInPlace()
    {
        Assert.Equal(new CropBox(10, 20, 100, 60), new CropBox(10, 20, 100, 60).ScaledTo(320, 240, 320, 240));
        Assert.Equal(new CropBox(5, 10, 50, 30), new CropBox(10, 20, 100, 60).ScaledTo(320, 240, 160, 120));
        Assert.Equal(new CropBox(0, 0, 33, 21), new CropBox(0, 0, 320, 240).ScaledTo(320, 240, 33, 21));
    }

    private static List<ClipPair> Draw(PretrainAugmentation policy, int width, int height, int samples = Samples) =>
        [.. Enumerable.Range(0, samples).Select(i => policy.Draw(0, i / 1000, i / 50 % 20, i % 50, width, height))];

    private static void Near(double expected, int count, int total, double tolerance = 0.045) =>
        Assert.InRange((double)count / total, expected - tolerance, expected + tolerance);
}
