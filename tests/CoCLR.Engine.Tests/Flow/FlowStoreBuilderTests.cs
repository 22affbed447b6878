// Why this exists: the flow store must hold the flow of its source, whatever interrupts its making.
using CoCLR.Core;
using CoCLR.Core.Manifests;
using CoCLR.Engine.Flow;
using CoCLR.Engine.Tests.Video;
using CoCLR.Engine.Video;
using static TorchSharp.torch;

namespace CoCLR.Engine.Tests.Flow;

public sealed class FlowStoreBuilderTests : IDisposable
{
    private static readonly FlowOptions Quick = new() { Algorithm = FlowAlgorithm.Fast };
    private readonly TemporaryFolder _folder = new();

    private string Rgb => Path.Combine(_folder.Path, "rgb");

    private string Target => Path.Combine(_folder.Path, "flow");

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void Build_OfAStore_HoldsTheQuantisedFlowOfEveryPair()
    {
        using var source = MakeSource((20, 32, 24), (3, 17, 19));

        var result = FlowStoreBuilder.Build(source, Target, Quick, threads: 2, cancellationToken: TestContext.Current.CancellationToken);

        Assert.Equal(21, result.Pairs);
        using var flow = ClipStore.Open(Target);
        Assert.Equal(2, flow.Channels);
        Assert.Equal("20", flow.Header.Settings["flow.bound"]);
        Assert.Empty(flow.Verify(TestContext.Current.CancellationToken));
        Assert.Equal(source.Videos.Select(video => video.Id), flow.Videos.Select(video => video.Id));
        for (var i = 0; i < source.Count; i++)
        {
            var (video, stored) = (source.Videos[i], flow.Videos[i]);
            Assert.Equal(
                video with { Frames = video.Frames - 1 },
                stored with { Segment = video.Segment, Offset = video.Offset, Checksum = video.Checksum });
            for (var pair = 0; pair < stored.Frames; pair++)
            {
                Assert.Equal(ExpectedFlow(source, i, pair, Quick), flow.Frame(i, pair).ToArray());
            }
        }
    }

    [Fact]
    public void Build_OfAStillVideo_Stores128()
    {
        using (var writer = ClipStoreWriter.OpenOrCreate(Rgb, new ClipStoreHeader { ContentKey = "still" }))
        {
            var frame = Colour(FlowImages.Texture(20, 16));
            writer.Add(new ClipStoreVideo { Id = "still.mp4", Frames = 2, Width = 20, Height = 16 }, [.. frame, .. frame]);
            writer.Complete();
        }

        using var source = ClipStore.Open(Rgb);
        FlowStoreBuilder.Build(source, Target, new FlowOptions(), cancellationToken: TestContext.Current.CancellationToken);

        using var flow = ClipStore.Open(Target);
        Assert.All(flow.Frames(0).ToArray(), value => Assert.Equal(128, value));
    }

    [Fact]
    public void Build_AfterACancelledOne_DoesTheRestAndEndsTheSame()
    {
        var sizes = Enumerable.Repeat((4, 24, 20), 6).Prepend((2 * FlowSequence.PairsPerPart, 24, 20)).ToArray();
        using var source = MakeSource(sizes);
        var whole = Path.Combine(_folder.Path, "whole");
        FlowStoreBuilder.Build(source, whole, Quick, threads: 1, cancellationToken: TestContext.Current.CancellationToken);
        using var cancel = new CancellationTokenSource();
        void StopInTheMiddle(FlowProgress progress)
        {
            if (progress.Videos == 3)
            {
                cancel.Cancel();
            }
        }

        Assert.ThrowsAny<OperationCanceledException>(() => FlowStoreBuilder.Build(
            source, Target, Quick, threads: 2, progress: StopInTheMiddle, cancellationToken: cancel.Token));
        Assert.False(ClipStore.Exists(Target));
        var reports = new List<FlowProgress>();
        var result = FlowStoreBuilder.Build(source, Target, Quick, null, 1, reports.Add, TestContext.Current.CancellationToken);

        var total = sizes.Sum(size => size.Item1 - 1);
        Assert.InRange(result.Pairs, 1, total - sizes[0].Item1 + 1);
        Assert.Equal(total - result.Pairs, reports[0].Pairs - Math.Min(3, FlowSequence.PairsPerPart));
        Assert.Equal((sizes.Length, total), (reports[^1].Videos, reports[^1].Pairs));
        Assert.Equal(TimeSpan.Zero, reports[^1].Remaining);
        using var resumed = ClipStore.Open(Target);
        using var unbroken = ClipStore.Open(whole);
        Assert.Equal(unbroken.Videos.Select(video => video.Checksum), resumed.Videos.Select(video => video.Checksum));
    }

    [Fact]
    public void Build_OfAFinishedStore_ComputesNothing()
    {
        using var source = MakeSource((3, 16, 16), (1, 16, 16));
        var first = FlowStoreBuilder.Build(source, Target, Quick, cancellationToken: TestContext.Current.CancellationToken);
        var second = FlowStoreBuilder.Build(source, Target, Quick, cancellationToken: TestContext.Current.CancellationToken);
        var other = FlowStoreBuilder.Build(source, Target, Quick with { Bound = 5 }, cancellationToken: TestContext.Current.CancellationToken);

        Assert.Equal((2L, 0L, 2L), (first.Pairs, second.Pairs, other.Pairs));
        Assert.Equal(1, second.Videos);
        Assert.Contains("two", Assert.Single(second.Rejected).Reason, StringComparison.Ordinal);
    }

    [Fact]
    public void Build_InBatches_IsThatOfTheCpu()
    {
        using var source = MakeSource((4, 24, 20), (3, 31, 17));
        using var expected = BuildAndOpen(source, "cpu", batch: null);
        using var batched = BuildAndOpen(source, "batch", new TvL1FlowTorch(CPU, Quick.Effective));

        for (var i = 0; i < source.Count; i++)
        {
            var different = expected.Frames(i).ToArray().Zip(batched.Frames(i).ToArray(), (a, b) => Math.Abs(a - b)).ToArray();
            Assert.InRange(different.Max(), 0, 1);
            Assert.InRange(different.Average(), 0, 0.02);
        }
    }

    [Fact]
    public void Build_OfAFlowStore_Refuses()
    {
        using var source = MakeSource((2, 16, 16));
        FlowStoreBuilder.Build(source, Target, Quick, cancellationToken: TestContext.Current.CancellationToken);
        using var flow = ClipStore.Open(Target);

        var error = Assert.Throws<UserErrorException>(() => FlowStoreBuilder.Build(
            flow, Path.Combine(_folder.Path, "again"), Quick, cancellationToken: TestContext.Current.CancellationToken));

        Assert.Equal(ExitCodes.BadData, error.ExitCode);
    }

    [Fact]
    public void ContentKey_OfAnythingThatChangesTheFlow_Changes()
    {
        using var source = MakeSource((2, 16, 16));
        string[] keys =
        [
            FlowStoreBuilder.ContentKey(source, new FlowOptions()),
            FlowStoreBuilder.ContentKey(source, new FlowOptions { Bound = 10 }),
            FlowStoreBuilder.ContentKey(source, Quick),
            FlowStoreBuilder.ContentKey(source, new FlowOptions { TvL1 = new TvL1Options { Warps = 4 } }),
        ];

        Assert.Equal(keys.Length, keys.Distinct().Count());
        Assert.Equal(keys[0], FlowStoreBuilder.ContentKey(source, new FlowOptions()));
    }

    [Fact]
    public void FlowGolden_ThroughAStore_IsTheReferencesImage()
    {
        var golden = GoldenFlow.Load("t2");
        using (var writer = ClipStoreWriter.OpenOrCreate(Target, new ClipStoreHeader { ContentKey = "golden", Channels = 2 }))
        {
            var bytes = new byte[2 * golden.U.Length];
            new FlowQuantizer(20).Encode(golden.U, golden.V, bytes);
            writer.Add(new ClipStoreVideo { Id = "t2", Frames = 1, Width = golden.Width, Height = golden.Height }, bytes);
            writer.Complete();
        }

        using var store = ClipStore.Open(Target);
        var rgb = new byte[3 * golden.U.Length];
        store.CopyRgb(0, 0, rgb);

        Assert.Equal(golden.StoredRgb, rgb);
    }

    private static byte[] Colour(byte[] gray) => [.. gray.SelectMany(value => new[] { value, (byte)(255 - value), (byte)(value / 2) })];

    private static byte[] ExpectedFlow(ClipStore source, int video, int pair, FlowOptions options)
    {
        var meta = source.Videos[video];
        byte[] Gray(int frame)
        {
            var gray = new byte[meta.Pixels];
            GrayImage.FromRgb(source.Frame(video, frame), gray);
            return gray;
        }

        var (u, v) = FlowImages.Flow(Gray(pair), Gray(pair + 1), meta.Width, meta.Height, options.Effective);
        var bytes = new byte[2 * meta.Pixels];
        new FlowQuantizer(options.Bound).Encode(u, v, bytes);
        return bytes;
    }

    private ClipStore BuildAndOpen(ClipStore source, string name, TvL1FlowTorch? batch)
    {
        var folder = Path.Combine(_folder.Path, name);
        FlowStoreBuilder.BuildWith(source, folder, Quick, batch, 1, null, TestContext.Current.CancellationToken);
        return ClipStore.Open(folder);
    }

    private ClipStore MakeSource(params (int Frames, int Width, int Height)[] videos)
    {
        using (var writer = ClipStoreWriter.OpenOrCreate(Rgb, new ClipStoreHeader { ContentKey = "source" }))
        {
            for (var i = 0; i < videos.Length; i++)
            {
                var (frames, width, height) = videos[i];
                var pixels = Enumerable.Range(0, frames).SelectMany(f => Colour(FlowImages.Texture(width, height, 0.8 * f, -0.4 * f, i))).ToArray();
                writer.Add(
                    new ClipStoreVideo
                    {
                        Id = $"class/video {i}.mp4",
                        Frames = frames,
                        Width = width,
                        Height = height,
                        Fps = 25,
                        Label = i % 2,
                        Class = $"class {i % 2}",
                        Split = VideoSplit.Train,
                        Group = i / 2,
                    },
                    pixels);
            }

            writer.Complete();
        }

        return ClipStore.Open(Rgb);
    }
}
