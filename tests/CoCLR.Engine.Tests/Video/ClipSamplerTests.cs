// Why this exists: the frames of a clip must be those of the reference, and the same again after a resume.
using System.Text.Json;
using CoCLR.Engine.Video;

namespace CoCLR.Engine.Tests.Video;

public sealed class ClipSamplerTests
{
    [Fact]
    public void TestStarts_GoldenFrameSampler_AreEqual()
    {
        var file = GoldenFolder.Require("frame_sampler.json");
        using var cases = JsonDocument.Parse(File.ReadAllBytes(file));
        Assert.NotEmpty(cases.RootElement.EnumerateArray());
        foreach (var golden in cases.RootElement.EnumerateArray())
        {
            var sampler = new ClipSampler(golden.GetProperty("num_frames").GetInt32(), golden.GetProperty("ds").GetInt32());
            var total = golden.GetProperty("total").GetInt32();
            var starts = sampler.TestStarts(total);
            Assert.Equal(golden.GetProperty("n_clips").GetInt32(), starts.Length);
            Assert.Equal(
                golden.GetProperty("index").EnumerateArray().Select(index => index.GetInt32()),
                starts.SelectMany(start => sampler.FrameIndices(total, start)));
        }
    }

    [Theory]
    [InlineData(33, 32, 1, 1)]
    [InlineData(40, 32, 1, 8)]
    [InlineData(40, 16, 2, 8)]
    [InlineData(32, 32, 1, 1)]
    [InlineData(5, 32, 1, 1)]
    [InlineData(20, 16, 2, 2)]
    [InlineData(1, 16, 4, 1)]
    public void TrainStarts_OverManyDraws_AreUniformIndependentAndNeverTheLast(int total, int frames, int stride, int expectedStarts)
    {
        var sampler = new ClipSampler(frames, stride);
        var counts = new int[expectedStarts, expectedStarts];
        const int Draws = 6400;
        for (var i = 0; i < Draws; i++)
        {
            var (first, second) = sampler.TrainStarts(total, 5, i / 100, i % 100 / 10, i % 10);
            counts[first, second]++;
            Assert.Equal((first, second), sampler.TrainStarts(total, 5, i / 100, i % 100 / 10, i % 10));
            foreach (var start in new[] { first, second })
            {
                Assert.All(sampler.FrameIndices(total, start), index => Assert.InRange(index, 0, total - 1));
            }
        }

        var expected = (double)Draws / counts.Length;
        foreach (var count in counts)
        {
            Assert.InRange(count, expected - (6 * Math.Sqrt(expected)), expected + (6 * Math.Sqrt(expected)));
        }
    }

    [Fact]
    public void FrameIndices_ShortVideo_ArePaddedOnTheLeftWithFrameZero()
    {
        Assert.Equal([0, 0, 0, 0, 1, 2], new ClipSampler(6).FrameIndices(3, 0));
        Assert.Equal([0, 0, 1, 3], new ClipSampler(4, 2).FrameIndices(5, 1));
        Assert.Equal([3, 5, 7, 9], new ClipSampler(4, 2).FrameIndices(12, 3));
    }

    [Theory]
    [InlineData(17, ClipDropRule.HalfPadding, false)]
    [InlineData(18, ClipDropRule.HalfPadding, true)]
    [InlineData(33, ClipDropRule.NoPadding, false)]
    [InlineData(34, ClipDropRule.NoPadding, true)]
    [InlineData(1, ClipDropRule.KeepAll, true)]
    public void Keeps_AtTheLimit_IsTheReference(int frames, ClipDropRule rule, bool keeps) =>
        Assert.Equal(keeps, new ClipSampler(32).Keeps(frames, rule));

    [Fact]
    public void EpochOrder_OfTwoEpochs_ArePermutationsThatDiffer()
    {
        var first = ClipSampler.EpochOrder(50, 1, 0);
        Assert.Equal(Enumerable.Range(0, 50), first.Order());
        Assert.Equal(first, ClipSampler.EpochOrder(50, 1, 0));
        Assert.NotEqual(first, ClipSampler.EpochOrder(50, 1, 1));
        Assert.NotEqual(first, ClipSampler.EpochOrder(50, 2, 0));
    }
}
