// Why this exists: TV-L1 must find known motion, take any frame size, and give the same bits on every machine.
using CoCLR.Core;
using CoCLR.Engine.Flow;

namespace CoCLR.Engine.Tests.Flow;

public class TvL1FlowTests
{
    public static TheoryData<int, int> OddSizes => new()
    {
        { 1, 1 }, { 2, 1 }, { 1, 7 }, { 3, 2 }, { 8, 8 }, { 15, 17 }, { 16, 16 }, { 17, 33 }, { 31, 20 }, { 65, 49 },
    };

    [Theory]
    [MemberData(nameof(OddSizes))]
    public void Flow_OfAFrameToItself_IsZeroAtAnySize(int width, int height)
    {
        var frame = FlowImages.Noise(width, height, 3);

        var (u, v) = FlowImages.Flow(frame, frame, width, height);

        Assert.All(u, value => Assert.Equal(0f, value));
        Assert.All(v, value => Assert.Equal(0f, value));
    }

    [Theory]
    [MemberData(nameof(OddSizes))]
    public void Flow_BetweenUnrelatedFrames_IsFiniteAtAnySize(int width, int height)
    {
        var (u, v) = FlowImages.Flow(FlowImages.Noise(width, height, 1), FlowImages.Noise(width, height, 2), width, height);

        Assert.All(u.Concat(v), value => Assert.True(float.IsFinite(value) && Math.Abs(value) < 1000, $"{value}"));
    }

    [Theory]
    [InlineData(0, 255)]
    [InlineData(255, 0)]
    [InlineData(77, 77)]
    public void Flow_BetweenFlatFrames_IsZeroInside(byte first, byte second)
    {
        const int Size = 48;
        var (u, v) = FlowImages.Flow(
            Enumerable.Repeat(first, Size * Size).ToArray(), Enumerable.Repeat(second, Size * Size).ToArray(), Size, Size);

        Assert.Equal(0f, u[(Size / 2 * Size) + (Size / 2)]);
        Assert.Equal(0f, v[(Size / 2 * Size) + (Size / 2)]);
    }

    [Theory]
    [InlineData(1, 0)]
    [InlineData(0, -1)]
    [InlineData(2, 1)]
    [InlineData(-0.5, 0.25)]
    [InlineData(-3, 2)]
    public void Flow_OfAShiftedTexture_IsTheShift(double dx, double dy)
    {
        const int Width = 90;
        const int Height = 70;
        var (u, v) = FlowImages.Flow(FlowImages.Texture(Width, Height), FlowImages.Texture(Width, Height, dx, dy), Width, Height);

        var inside = Enumerable.Range(0, Width * Height)
            .Where(i => i % Width is >= 8 and < Width - 8 && i / Width is >= 8 and < Height - 8)
            .ToArray();
        Assert.InRange(inside.Average(i => Math.Abs(u[i] - dx)), 0, 0.05);
        Assert.InRange(inside.Average(i => Math.Abs(v[i] - dy)), 0, 0.05);
    }

    [Fact]
    public void Flow_OfMirroredFrames_IsMirrored()
    {
        const int Width = 64;
        const int Height = 48;
        static byte[] Mirror(byte[] frame) => [.. frame.Chunk(Width).SelectMany(row => row.Reverse())];
        var first = FlowImages.Texture(Width, Height);
        var second = FlowImages.Texture(Width, Height, 1.3, -0.7);

        var (u, v) = FlowImages.Flow(first, second, Width, Height);
        var (mirroredU, mirroredV) = FlowImages.Flow(Mirror(first), Mirror(second), Width, Height);

        var expectedU = u.Chunk(Width).SelectMany(row => row.Reverse()).Select(value => -value).ToArray();
        var expectedV = v.Chunk(Width).SelectMany(row => row.Reverse()).ToArray();

        // Forward differences and the order of sums are not symmetric: close, not equal.
        Assert.InRange(FlowImages.MeanEndpointDifference((mirroredU, mirroredV), (expectedU, expectedV)), 0, 0.05);
    }

    [Fact]
    public void Flow_OfTransposedFrames_IsTransposed()
    {
        const int Size = 40;
        static T[] Transpose<T>(T[] frame) => [.. Enumerable.Range(0, Size * Size).Select(i => frame[(i % Size * Size) + (i / Size)])];
        var first = FlowImages.Texture(Size, Size);
        var second = FlowImages.Texture(Size, Size, -1.2, 0.6);

        var (u, v) = FlowImages.Flow(first, second, Size, Size);
        var (transposedU, transposedV) = FlowImages.Flow(Transpose(first), Transpose(second), Size, Size);

        Assert.InRange(FlowImages.MeanEndpointDifference((transposedU, transposedV), (Transpose(v), Transpose(u))), 0, 0.02);
    }

    [Theory]
    [InlineData(64, 48)]
    [InlineData(37, 29)]
    public void Flow_OfOneMachine_EqualsThatOfAnyRegisterWidth(int width, int height)
    {
        var first = FlowImages.Texture(width, height);
        var second = FlowImages.Texture(width, height, 1.7, -0.9, 1);
        FlowImages.Noise(width, height / 4, 5).CopyTo(second, 0);
        (float[] U, float[] V) At(LaneWidth lanes)
        {
            using var estimator = new TvL1Flow(width, height, new TvL1Options(), lanes);
            return FlowImages.Flow(estimator, first, second);
        }

        var scalar = At(LaneWidth.Scalar);

        Assert.Contains(scalar.U, value => Math.Abs(value) > 0.5);
        foreach (var lanes in new[] { LaneWidth.Four, LaneWidth.Eight, LaneWidth.Sixteen })
        {
            var wide = At(lanes);
            Assert.Equal(scalar.U, wide.U);
            Assert.Equal(scalar.V, wide.V);
        }
    }

    [Theory]
    [InlineData(5, false)]
    [InlineData(3, false)]
    [InlineData(1, false)]
    [InlineData(5, true)]
    public void Flow_OfTheKernels_IsThatOfTheTextbook(int median, bool fast)
    {
        const int Width = 45;
        const int Height = 38;
        var options = (fast ? TvL1Options.Fast : new TvL1Options()) with { MedianFiltering = median };
        var first = FlowImages.Texture(Width, Height);
        var second = FlowImages.Texture(Width, Height, 1.4, 0.8);

        var flow = FlowImages.Flow(first, second, Width, Height, options);

        // Rounding can end a warp one iteration earlier or later, which moves the flow by about epsilon.
        Assert.InRange(
            FlowImages.MeanEndpointDifference(flow, SlowTvL1.Estimate(first, second, Width, Height, options)), 0, 2 * options.Epsilon);
    }

    [Theory]
    [InlineData(3, 1, 1)]
    [InlineData(5, 1, 1)]
    [InlineData(5, 1, 9)]
    [InlineData(5, 4, 1)]
    [InlineData(3, 33, 17)]
    [InlineData(5, 33, 17)]
    [InlineData(5, 16, 40)]
    public unsafe void MedianFilter_OfRandomValues_IsTheMiddleOfTheSortedWindow(int side, int width, int height)
    {
        using var arena = new Arena();
        var source = arena.Plane(width, height);
        var destination = arena.Plane(width, height);
        var scratch = arena.Floats((nuint)((source.Stride + Plane.Pad) * MedianFilter<Lanes1>.ScratchRows));
        var random = new CounterRandom(9, CounterRandom.Purpose("median"));
        var image = new double[height, width];
        for (var y = 0; y < height; y++)
        {
            for (var x = 0; x < width; x++)
            {
                // Few different values: ties are where a selection network goes wrong unseen.
                source.Row(y)[x] = random.NextInt(x % 2 == 0 ? 7 : 1000) - 3;
                image[y, x] = source.Row(y)[x];
            }
        }

        var expected = SlowTvL1.Median(image, side);
        foreach (var apply in new Action[]
        {
            () => MedianFilter<Lanes1>.Apply(source, destination, side, scratch),
            () => MedianFilter<Lanes16>.Apply(source, destination, side, scratch),
        })
        {
            apply();
            for (var y = 0; y < height; y++)
            {
                for (var x = 0; x < width; x++)
                {
                    Assert.Equal(expected[y, x], destination.Row(y)[x]);
                }

                Assert.Equal(0f, destination.Row(y)[width]);
            }
        }
    }

    [Fact]
    public void Sequence_OfAnyNumberOfThreads_GivesTheSameBits()
    {
        const int Width = 40;
        const int Height = 32;
        const int Frames = FlowSequence.PairsPerPart + 3;
        var video = Enumerable.Range(0, Frames).SelectMany(i => FlowImages.Texture(Width, Height, 0.6 * i, -0.3 * i)).ToArray();

        var one = FlowSequence.Estimate(video, Width, Height, new FlowOptions(), threads: 1, TestContext.Current.CancellationToken);
        var four = FlowSequence.Estimate(video, Width, Height, new FlowOptions(), threads: 4, TestContext.Current.CancellationToken);

        Assert.Equal((Frames - 1) * 2 * Width * Height, one.Length);
        Assert.Equal(one, four);
        var last = (Frames - 2) * 2 * Width * Height;
        Assert.Equal(
            FlowImages.Flow(video[^(2 * Width * Height)..^(Width * Height)], video[^(Width * Height)..], Width, Height).U,
            one[last..(last + (Width * Height))]);
    }

    [Fact]
    public void WarmStart_OfMotionThatSpeedsUp_FollowsWhereAColdStartIsLost()
    {
        const int Width = 64;
        const int Height = 40;
        const int Pairs = 9;
        var video = Enumerable.Range(0, Pairs + 1).SelectMany(i => FlowImages.Texture(Width, Height, i * (i + 1), 0)).ToArray();
        double LastError(bool warm)
        {
            var options = new FlowOptions { TvL1 = new TvL1Options { Scales = 1, WarmStart = warm } };
            var u = FlowSequence.Estimate(video, Width, Height, options, 1, TestContext.Current.CancellationToken)
                .AsSpan()[^(2 * Width * Height)..^(Width * Height)].ToArray();
            return u.Where((_, i) => i % Width is >= 16 and < Width - 16).Average(value => Math.Abs(value - (2 * Pairs)));
        }

        Assert.InRange(LastError(warm: true), 0, 0.5);
        Assert.InRange(LastError(warm: false), 2, 100);
    }

    [Fact]
    public void Sequence_OfOneFrame_IsEmpty() =>
        Assert.Empty(FlowSequence.Estimate(FlowImages.Noise(8, 8, 1), 8, 8, new FlowOptions(), 1, TestContext.Current.CancellationToken));

    [Fact]
    public void Sequence_WhenCancelled_Stops() =>
        Assert.ThrowsAny<OperationCanceledException>(() => FlowSequence.Estimate(
            new byte[64 * 64 * 4], 64, 64, new FlowOptions(), 1, new CancellationToken(canceled: true)));

    [Theory]
    [InlineData("tau")]
    [InlineData("warps")]
    [InlineData("medianFiltering")]
    public void Options_OutOfRange_AreNamed(string field)
    {
        var options = field switch
        {
            "tau" => new TvL1Options { Tau = 0.3f },
            "warps" => new TvL1Options { Warps = 0 },
            _ => new TvL1Options { MedianFiltering = 4 },
        };

        var error = Assert.Throws<UserErrorException>(() => new TvL1Flow(8, 8, options));

        Assert.Contains(field, error.Message, StringComparison.Ordinal);
        Assert.Equal(ExitCodes.BadConfiguration, error.ExitCode);
    }

    [Fact]
    public void Push_OfAFrameOfAnotherSize_Refuses()
    {
        using var estimator = new TvL1Flow(8, 8);

        Assert.Throws<ArgumentException>(() => estimator.Push(new byte[63], new float[64], new float[64]));
    }
}
