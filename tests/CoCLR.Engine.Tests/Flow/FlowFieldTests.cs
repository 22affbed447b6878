// Why this exists: what is stored must be the motion that was computed, whatever the two sizes.
using CoCLR.Core.Manifests;
using CoCLR.Engine.Flow;
using static TorchSharp.torch;

namespace CoCLR.Engine.Tests.Flow;

public sealed class FlowFieldTests
{
    [Theory]
    [InlineData(170, 128, 97, 73)]
    [InlineData(40, 30, 80, 60)]
    [InlineData(31, 17, 31, 17)]
    public void Store_OfAPlane_IsThePlaneInTheOtherPixels(int width, int height, int toWidth, int toHeight)
    {
        var options = new FlowOptions();
        var unit = 240f / Math.Min(width, height);
        var field = new float[width * height];
        for (var i = 0; i < field.Length; i++)
        {
            // Linear in the position of the pixel's centre.
            field[i] = 1 + (0.5f * (((i % width) + 0.5f) / width)) - (0.25f * (((i / width) + 0.5f) / height));
        }

        var stored = new float[toWidth * toHeight];
        new FlowField(options, width, height, toWidth, toHeight).Store(field, stored);

        for (var i = 0; i < stored.Length; i++)
        {
            var (x, y) = (i % toWidth, i / toWidth);
            if (x < 2 || y < 2 || x >= toWidth - 2 || y >= toHeight - 2)
            {
                continue; // the filter is cut off at the border
            }

            Assert.Equal(unit * (1 + (0.5f * ((x + 0.5f) / toWidth)) - (0.25f * ((y + 0.5f) / toHeight))), stored[i], 1e-3f);
        }

        using var scope = NewDisposeScope();
        var onDevice = new FlowField(options, width, height, toWidth, toHeight)
            .Store(tensor(field, [1, 1, height, width]).expand(3, 2, height, width).contiguous());
        Assert.Equal([3, 2, toHeight, toWidth], onDevice.shape);
        Assert.All(onDevice[2, 1].data<float>().ToArray().Zip(stored), pair => Assert.Equal(pair.Second, pair.First, 1e-4f));
    }

    [Fact]
    public void Store_Halved_IsAMean()
    {
        var random = new CounterRandom(1);
        var field = new float[32 * 24];
        foreach (ref var value in field.AsSpan())
        {
            value = (float)random.Uniform(-1, 1);
        }

        var stored = new float[16 * 12];
        new FlowField(new FlowOptions { Size = 0 }, 32, 24, 16, 12).Store(field, stored);
        Assert.Equal(field.Average(), stored.Average(), 0.02f);
        Assert.True(stored.Select(v => v * v).Average() < 0.5 * field.Select(v => v * v).Average());
    }

    [Theory]
    [InlineData("auto", false, null)]
    [InlineData("auto", true, 20.0)]
    [InlineData("7.5", true, 7.5)]
    public void Options_OfAManifest_MeasureTheBoundUnlessItIsGivenOrPublished(string bound, bool reference, double? expected) =>
        Assert.Equal(expected, FlowOptions.From(new FlowSpec { Bound = bound }, reference).Bound);

    [Fact]
    public void Survey_Bound_HoldsAllButAHalfPercent()
    {
        float[] displacements = [.. Enumerable.Range(0, 1000).Select(i => i / 100f)];
        var measured = FlowSurvey.Summary([.. displacements], 3, new FlowOptions());
        Assert.Equal((9.95, true, 3), (measured.Bound, measured.BoundIsMeasured, measured.Videos));
        Assert.Equal(0.004, measured.Clipped, 1e-6);
        Assert.Equal(0.003, measured.RoundedToZero, 1e-6); // 0.01, 0.02, 0.03 of a level of 0.039
        Assert.Equal(5, measured.Median, 1e-5);

        var given = FlowSurvey.Summary([.. displacements], 3, new FlowOptions { Bound = 5 });
        Assert.Equal((5.0, false), (given.Bound, given.BoundIsMeasured));
        Assert.Equal(0.499, given.Clipped, 1e-6);
        Assert.Equal(0.5, FlowSurvey.Summary([0, 0], 1, new FlowOptions()).Bound);
    }
}
