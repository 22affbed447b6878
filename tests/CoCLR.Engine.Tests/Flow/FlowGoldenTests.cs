// Why this exists: the flow that networks see must be that of OpenCV, which the published results were made with.
using System.Runtime.InteropServices;
using System.Text.Json;
using CoCLR.Core.Manifests;
using CoCLR.Engine.Flow;

namespace CoCLR.Engine.Tests.Flow;

public class FlowGoldenTests
{
    [Theory]
    [InlineData("t1")]
    [InlineData("t2")]
    public void FlowGolden_OfEachCase_IsOpenCvs(string name)
    {
        var golden = GoldenFlow.Load(name);

        var flow = Estimate(golden, FlowAlgorithm.TvL1);

        Assert.InRange(FlowImages.MeanEndpointDifference(flow, (golden.U, golden.V)), 0, 0.25);
        var ours = FlowImages.WarpError(golden.First, golden.Second, flow, golden.Width, golden.Height);
        var theirs = FlowImages.WarpError(golden.First, golden.Second, (golden.U, golden.V), golden.Width, golden.Height);
        Assert.InRange(ours, 0, 1.05 * theirs);
    }

    [Theory]
    [InlineData("t1")]
    [InlineData("t2")]
    public void FlowGolden_OfTheFastAlgorithm_IsNearOpenCvs(string name)
    {
        var golden = GoldenFlow.Load(name);

        var flow = Estimate(golden, FlowAlgorithm.Fast);

        Assert.InRange(FlowImages.MeanEndpointDifference(flow, (golden.U, golden.V)), 0, 0.25);
    }

    [Fact]
    public void FlowGolden_OfAShiftTooLargeForTvL1_WarpsNoWorse()
    {
        var golden = GoldenFlow.Load("t3");

        var flow = Estimate(golden, FlowAlgorithm.TvL1);

        var ours = FlowImages.WarpError(golden.First, golden.Second, flow, golden.Width, golden.Height);
        Assert.InRange(
            ours, 0, 1.05 * FlowImages.WarpError(golden.First, golden.Second, (golden.U, golden.V), golden.Width, golden.Height));
    }

    [Theory]
    [InlineData("t1")]
    [InlineData("t2")]
    [InlineData("t3")]
    public void FlowGolden_Quantised_IsTheReferencesBytes(string name)
    {
        var golden = GoldenFlow.Load(name);
        var bytes = new byte[golden.Quantised.Length];

        new FlowQuantizer(20).Encode(golden.U, golden.V, bytes);

        Assert.Equal(golden.Quantised, bytes);
    }

    private static (float[] U, float[] V) Estimate(GoldenFlow golden, FlowAlgorithm algorithm)
    {
        var options = new FlowOptions { Algorithm = algorithm };
        using var estimator = options.CreateEstimator(golden.Width, golden.Height);
        return FlowImages.Flow(estimator, golden.First, golden.Second);
    }
}

/// <summary>One case of the golden folder's flow.</summary>
internal sealed record GoldenFlow(
    int Width, int Height, byte[] First, byte[] Second, float[] U, float[] V, byte[] Quantised, byte[] StoredRgb)
{
    public static GoldenFlow Load(string name)
    {
        var folder = GoldenFolder.Require("flow");
        using var json = JsonDocument.Parse(File.ReadAllText(Path.Combine(folder, "case.json")));
        var entry = json.RootElement.GetProperty("cases").EnumerateArray().Single(item => item.GetProperty("name").GetString() == name);
        byte[] Read(string file) => File.ReadAllBytes(Path.Combine(folder, $"{name}_{file}.bin"));
        var uv = MemoryMarshal.Cast<byte, float>(Read("flow_uv")).ToArray();
        return new GoldenFlow(
            entry.GetProperty("w").GetInt32(),
            entry.GetProperty("h").GetInt32(),
            Read("frame0"),
            Read("frame1"),
            [.. uv.Where((_, i) => i % 2 == 0)],
            [.. uv.Where((_, i) => i % 2 == 1)],
            Read("flow_u8"),
            Read("stored_rgb"));
    }
}
