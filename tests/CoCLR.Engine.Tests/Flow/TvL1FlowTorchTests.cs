// Why this exists: flow made on a GPU and flow made on a CPU are mixed freely, so they must be the same flow.
using CoCLR.Engine.Flow;
using static TorchSharp.torch;

namespace CoCLR.Engine.Tests.Flow;

public class TvL1FlowTorchTests
{
    // With a fixed number of iterations only rounding differs (also that of positions to 1/32 pixel); with an early stop a pair may stop
    // one iteration sooner or later.
    [Theory]
    [InlineData(64, 48, 5, 0f, 0.004)]
    [InlineData(64, 48, 5, 0.01f, 0.05)]
    [InlineData(45, 38, 3, 0f, 0.004)]
    [InlineData(45, 38, 3, 0.01f, 0.05)]
    [InlineData(45, 38, 1, 0f, 0.004)]
    [InlineData(5, 7, 5, 0.01f, 0.001)]
    [InlineData(1, 1, 5, 0.01f, 0.001)]
    [InlineData(1, 6, 5, 0.01f, 0.001)]
    public void Estimate_OfABatch_IsThatOfTheCpu(int width, int height, int median, float epsilon, double tolerance)
    {
        var options = epsilon > 0
            ? new TvL1Options { MedianFiltering = median }
            : new TvL1Options { MedianFiltering = median, Epsilon = 0, Warps = 3, OuterIterations = 2, InnerIterations = 12 };
        byte[][] frames =
            [FlowImages.Texture(width, height), FlowImages.Texture(width, height, 1.5, -1), FlowImages.Texture(width, height, 1.5, 0.5)];

        using var scope = NewDisposeScope();
        var flow = new TvL1FlowTorch(CPU, options)
            .EstimateSequence(tensor(frames.SelectMany(frame => frame).ToArray(), [3, height, width]));

        Assert.Equal([2, 2, height, width], flow.shape);
        for (var pair = 0; pair < 2; pair++)
        {
            var expected = FlowImages.Flow(frames[pair], frames[pair + 1], width, height, options);
            var actual = (flow[pair, 0].flatten().data<float>().ToArray(), flow[pair, 1].flatten().data<float>().ToArray());
            Assert.InRange(FlowImages.MeanEndpointDifference(actual, expected), 0, tolerance);
        }
    }

    [Fact]
    public void Estimate_OfAPair_DoesNotDependOnTheRestOfTheBatch()
    {
        const int Width = 40;
        const int Height = 32;
        Tensor Frame(byte[] frame) => tensor(frame, [1, Height, Width]);
        using var scope = NewDisposeScope();
        var still = Frame(FlowImages.Texture(Width, Height));
        var moved = Frame(FlowImages.Texture(Width, Height, 1, 1));
        var noise = Frame(FlowImages.Noise(Width, Height, 1));
        var estimator = new TvL1FlowTorch(CPU);

        var alone = estimator.Estimate(still, moved);
        var together = estimator.Estimate(cat([still, noise, still]), cat([moved, still, still]));

        Assert.True(allclose(alone[0], together[0], 1e-4, 1e-4));
        Assert.Equal(0f, together[2].abs().max().item<float>());
    }

    [Theory]
    [InlineData("t1")]
    [InlineData("t2")]
    public void FlowGolden_OfTensors_IsOpenCvs(string name)
    {
        var golden = GoldenFlow.Load(name);
        using var scope = NewDisposeScope();
        Tensor Frame(byte[] frame) => tensor(frame, [1, golden.Height, golden.Width]);

        var flow = new TvL1FlowTorch(CPU).Estimate(Frame(golden.First), Frame(golden.Second));

        var actual = (flow[0, 0].flatten().data<float>().ToArray(), flow[0, 1].flatten().data<float>().ToArray());
        Assert.InRange(FlowImages.MeanEndpointDifference(actual, (golden.U, golden.V)), 0, 0.25);
    }

    [Fact]
    public void Estimate_LeavesNoTensorsBehind()
    {
        using var scope = NewDisposeScope();
        var frames = tensor(FlowImages.Texture(20, 20).Concat(FlowImages.Texture(20, 20, 1)).ToArray(), [2, 20, 20]);
        var before = scope.DisposablesCount;

        _ = new TvL1FlowTorch(CPU).EstimateSequence(frames);

        Assert.Equal(before + 1, scope.DisposablesCount);
    }

    [Fact]
    public void Create_WithAWarmStart_Refuses() =>
        Assert.Throws<ArgumentException>(() => new TvL1FlowTorch(CPU, new TvL1Options { WarmStart = true }));
}
