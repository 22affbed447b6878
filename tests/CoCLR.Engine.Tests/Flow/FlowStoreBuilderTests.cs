// Why this exists: the flow store must hold the flow of its source, whatever interrupts its making.
using CoCLR.Core;
using CoCLR.Core.Manifests;
using CoCLR.Engine.Flow;
using CoCLR.Engine.Tests.Video;
using CoCLR.Engine.Video.Catalogue;
using CoCLR.Engine.Video.Decoding;
using CoCLR.Engine.Video.Store;
using static TorchSharp.torch;

namespace CoCLR.Engine.Tests.Flow;

public sealed class FlowStoreBuilderTests : IDisposable
{
    private static readonly FlowOptions Quick = new() { Algorithm = FlowAlgorithm.Fast, Size = 0, Bound = 20 };
    private readonly TemporaryFolder _folder = new();

    private string Rgb => Path.Combine(_folder.Path, "rgb");

    private string Cache => Path.Combine(_folder.Path, "cache");

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void Prepare_OfAStore_HoldsTheQuantisedFlowOfEveryPair()
    {
        using var source = MakeSource((20, 32, 24), (3, 17, 19));

        using var flow =
            FlowStoreBuilder.Prepare(source, Quick, Cache, threads: 2, cancellationToken: TestContext.Current.CancellationToken);

        Assert.Equal(2, flow.Channels);
        Assert.Equal("20", flow.Header.Settings["flow.bound"]);
        Assert.Empty(flow.Verify(TestContext.Current.CancellationToken));
        Assert.Equal(source.Videos.Select(video => video.Id), flow.Videos.Select(video => video.Id));
        for (var i = 0; i < source.Count; i++)
        {
            var (video, stored) = (source.Videos[i], flow.Videos[i]);
            Assert.Equal(
                video with { Frames = video.Frames - 1, Fingerprint = video.Checksum },
                stored with { Segment = video.Segment, Offset = video.Offset, Checksum = video.Checksum });
            for (var pair = 0; pair < stored.Frames; pair++)
            {
                Assert.Equal(ExpectedFlow(source, i, pair, Quick), flow.Frame(i, pair).ToArray());
            }
        }
    }

    [Fact]
    public void Prepare_OfAStillVideo_Stores128()
    {
        using (var writer = ClipStoreWriter.OpenOrCreate(Rgb, new ClipStoreHeader { ContentKey = "still" }))
        {
            var frame = Colour(FlowImages.Texture(20, 16));
            writer.Add(new ClipStoreVideo { Id = "still.mp4", Frames = 2, Width = 20, Height = 16 }, [.. frame, .. frame]);
            writer.Complete();
        }

        using var source = ClipStore.Open(Rgb);
        using var flow =
            FlowStoreBuilder.Prepare(source, new FlowOptions(), Cache, cancellationToken: TestContext.Current.CancellationToken);

        Assert.All(flow.Frames(0).ToArray(), value => Assert.Equal(128, value));
    }

    [Fact]
    public void Prepare_TwiceAtOnce_ComputesOnce()
    {
        using var source = MakeSource([.. Enumerable.Repeat((4, 24, 20), 6)]);
        var (alone, together) = (new Reports(), new Reports());
        FlowStoreBuilder.Prepare(
            source, Quick, Path.Combine(_folder.Path, "alone"), threads: 1, progress: alone,
            cancellationToken: TestContext.Current.CancellationToken).Dispose();
        Parallel.For(0, 3, _ => FlowStoreBuilder.Prepare(
            source, Quick, Cache, threads: 1, progress: together, cancellationToken: TestContext.Current.CancellationToken).Dispose());
        Assert.Equal(alone.Seen.Count(progress => progress.Pairs > 0), together.Seen.Count(progress => progress.Pairs > 0));
    }

    [Fact]
    public void Prepare_AfterACancelledOne_DoesTheRestAndEndsTheSame()
    {
        var sizes = Enumerable.Repeat((4, 24, 20), 6).Prepend((2 * FlowSequence.PairsPerPart, 24, 20)).ToArray();
        var total = sizes.Sum(size => size.Item1 - 1);
        using var source = MakeSource(sizes);
        using var unbroken = FlowStoreBuilder.Prepare(
            source, Quick, Path.Combine(_folder.Path, "unbroken"), threads: 1, cancellationToken: TestContext.Current.CancellationToken);
        using var cancel = new CancellationTokenSource();
        var stop = new Reports(progress =>
        {
            if (progress.Done == 3)
            {
                cancel.Cancel();
            }
        });

        Assert.ThrowsAny<OperationCanceledException>(
            () => FlowStoreBuilder.Prepare(source, Quick, Cache, null, 2, stop, cancellationToken: cancel.Token));
        var reports = new Reports();
        using var resumed =
            FlowStoreBuilder.Prepare(source, Quick, Cache, null, 1, reports, cancellationToken: TestContext.Current.CancellationToken);

        // At least three videos of three pairs were finished before.
        Assert.InRange(reports.Seen[^1].Pairs, 1, total - 9);
        Assert.Equal(
            (sizes.Length, 0L, TimeSpan.Zero), (reports.Seen[^1].Done, reports.Seen[^1].RemainingPairs, reports.Seen[^1].Remaining));
        Assert.Equal(unbroken.Videos.Select(video => video.Checksum), resumed.Videos.Select(video => video.Checksum));
    }

    [Fact]
    public void Prepare_OfASourceThatGrewOrWasRelabelled_ComputesOnlyWhatIsNew()
    {
        using (MakeSource((3, 16, 16), (1, 16, 16)))
        {
        }

        long Pairs(FlowOptions options, Func<ClipStoreVideo, ClipStoreVideo> relabel, int videos = 2)
        {
            var view = Path.Combine(Rgb, "view");
            using (var source = ClipStore.Open(Rgb))
            {
                ClipStore.WriteView(source, view, source.Videos.Take(videos).Select(relabel));
            }

            var reports = new Reports();
            using var relabelled = ClipStore.Open(view);
            using var flow = FlowStoreBuilder.Prepare(
                relabelled, options, Cache, null, 0, reports, cancellationToken: TestContext.Current.CancellationToken);
            Assert.Equal(
                relabelled.Videos.Where(video => video.Frames > 1).Select(video => video.Label), flow.Videos.Select(video => video.Label));
            Assert.Equal(relabelled.Videos.Count(video => video.Frames < 2), flow.Header.Rejected.Count);
            return reports.Seen.Count == 0 ? 0 : reports.Seen[^1].Pairs;
        }

        Assert.Equal(2, Pairs(Quick, video => video, videos: 1));
        Assert.Equal(0, Pairs(Quick, video => video, videos: 1));
        Assert.Equal(0, Pairs(Quick, video => video with { Label = 7 }));
        Assert.Equal(2, Pairs(Quick with { Bound = 5 }, video => video));

        Directory.Delete(Rgb, recursive: true);
        using (MakeSource((3, 16, 16), (1, 16, 16), (5, 16, 16)))
        {
        }

        Assert.Equal(4, Pairs(Quick, video => video, videos: 3));
    }

    [Fact]
    public void Prepare_OfAOneFrameVideo_SaysWhyItIsLeftOut()
    {
        using var source = MakeSource((1, 16, 16), (2, 16, 16));

        using var flow = FlowStoreBuilder.Prepare(source, Quick, Cache, cancellationToken: TestContext.Current.CancellationToken);

        var rejected = Assert.Single(flow.Header.Rejected);
        Assert.Equal(source.Videos[0].Id, rejected.Id);
        Assert.Contains("two", rejected.Reason, StringComparison.Ordinal);
        Assert.Equal(source.Videos[1].Id, Assert.Single(flow.Videos).Id);
    }

    [Fact]
    public void Prepare_InBatches_IsThatOfTheCpu()
    {
        using var source = MakeSource((4, 24, 20), (3, 31, 17));
        using var expected = PrepareIn("cpu", source, batch: null);
        using var batched = PrepareIn("batch", source, new TvL1FlowTorch(CPU, Quick.Effective));

        for (var i = 0; i < source.Count; i++)
        {
            var different = expected.Frames(i).ToArray().Zip(batched.Frames(i).ToArray(), (a, b) => Math.Abs(a - b)).ToArray();
            Assert.InRange(different.Max(), 0, 1);
            Assert.InRange(different.Average(), 0, 0.02);
        }
    }

    [Fact]
    public void Prepare_OfAFlowStore_Refuses()
    {
        using var source = MakeSource((2, 16, 16));
        using var flow = FlowStoreBuilder.Prepare(source, Quick, Cache, cancellationToken: TestContext.Current.CancellationToken);

        var error = Assert.Throws<UserErrorException>(() => FlowStoreBuilder.Prepare(
            flow, Quick, Cache, cancellationToken: TestContext.Current.CancellationToken));

        Assert.Equal(ExitCodes.BadData, error.ExitCode);
    }

    [Fact]
    public void Prepare_WhileAnotherDoes_WaitsUntilItIsStopped()
    {
        using var source = MakeSource((20, 16, 16));
        Exception? second = null;
        var reports = new Reports(_ =>
        {
            using var soon = new CancellationTokenSource(TimeSpan.FromMilliseconds(50));
            second ??= Record.Exception(() => FlowStoreBuilder.Prepare(source, Quick, Cache, cancellationToken: soon.Token));
        });

        using var flow =
            FlowStoreBuilder.Prepare(source, Quick, Cache, null, 1, reports, cancellationToken: TestContext.Current.CancellationToken);

        Assert.IsType<OperationCanceledException>(second);
    }

    [Theory]
    [InlineData(48)]
    [InlineData(24)]
    [InlineData(72)]
    public void Prepare_WithTheFiles_StoresTheVideosOwnMotionInOneUnit(int storedSize)
    {
        // A texture that moves 2 pixels a frame to the right and 1 up, in frames of 48 lines: 10 and 5 pixels of a frame of 240.
        var file = _folder.File("videos", "a", "moving.mkv");
        Directory.CreateDirectory(Path.GetDirectoryName(file)!);
        Encode(file, 64, 48, [.. Enumerable.Range(0, 6).Select(f => FlowImages.Texture(64, 48, 2 * f, -f))]);
        var catalogue = VideoCatalogue.Open(new CatalogueOptions { Root = _folder.File("videos") });
        using var source = ClipDecoder.Prepare(
            catalogue, new DecodeSettings { ShortSide = storedSize }, Cache, cancellationToken: TestContext.Current.CancellationToken);

        using var flow = FlowStoreBuilder.Prepare(
            source, new FlowOptions(), Cache, cancellationToken: TestContext.Current.CancellationToken,
            files: catalogue.Videos.ToDictionary(v => v.Id, v => v.Path));

        Assert.Equal((storedSize, 5), (flow.Videos[0].Height, flow.Videos[0].Frames));
        var motion = FlowStoreBuilder.Survey(flow)!;
        Assert.True(motion.BoundIsMeasured);
        Assert.Equal(motion.Bound, double.Parse(flow.Header.Settings["flow.bound"], System.Globalization.CultureInfo.InvariantCulture));
        Assert.InRange(motion.Clipped, 0, 0.01);
        var (u, v) = (new float[flow.Videos[0].Pixels], new float[flow.Videos[0].Pixels]);
        new FlowQuantizer(motion.Bound).Decode(flow.Frame(0, 2), u, v);
        Assert.InRange(u.Order().ElementAt(u.Length / 2), 9, 11);
        Assert.InRange(v.Order().ElementAt(v.Length / 2), -5.7, -4.3);

        // A scan sees the same before anything is decoded, whatever else lies there.
        File.WriteAllText(_folder.File("videos", "a", "broken.mp4"), "no video");
        var scanned = FlowSurvey.OfFiles(
            [file, _folder.File("videos", "a", "broken.mp4")], new FlowOptions(), TestContext.Current.CancellationToken)!;
        Assert.Equal((1, true), (scanned.Videos, scanned.BoundIsMeasured));
        Assert.InRange(scanned.Percentile90, 9, 12);

        using var centred = FlowStoreBuilder.Prepare(
            source, new FlowOptions { Center = true }, Cache, cancellationToken: TestContext.Current.CancellationToken,
            files: catalogue.Videos.ToDictionary(x => x.Id, x => x.Path));
        new FlowQuantizer(FlowStoreBuilder.Survey(centred)!.Bound).Decode(centred.Frame(0, 2), u, v);
        Assert.InRange(u.Order().ElementAt(u.Length / 2), -0.1, 0.1);
        Assert.InRange(v.Order().ElementAt(v.Length / 2), -0.1, 0.1);
    }

    [Fact]
    public void Prepare_WhenTheFileIsGone_SaysWhichAndWhatToDo()
    {
        using var source = MakeSource((3, 16, 16));
        var error = Assert.Throws<UserErrorException>(() => FlowStoreBuilder.Prepare(
            source, new FlowOptions(), Cache, cancellationToken: TestContext.Current.CancellationToken,
            files: new Dictionary<string, string>()));
        Assert.Equal(ExitCodes.MissingInput, error.ExitCode);
        Assert.Contains(source.Videos[0].Id, error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Prepare_BesideAnEarlierVersionsStore_MakesFlowAgainAndSaysSo()
    {
        using var source = MakeSource((3, 16, 16));
        var old = _folder.File("cache", "flow-tvl1-0123456789ab");
        using (var writer = ClipStoreWriter.OpenOrCreate(Path.Combine(old, "view"), new ClipStoreHeader { ContentKey = "old", Channels = 2, Settings = new() { ["flow.bound"] = "20" } }))
        {
            writer.Add(new ClipStoreVideo { Id = "a", Frames = 1, Width = 2, Height = 2 }, new byte[8]);
            writer.Complete();
        }

        var said = new List<string>();
        using var flow =
            FlowStoreBuilder.Prepare(source, Quick, Cache, cancellationToken: TestContext.Current.CancellationToken, tell: said.Add);
        Assert.Contains(old, Assert.Single(said), StringComparison.Ordinal);
        Assert.Contains("stored frame", flow.Header.Settings[ClipStoreHeader.FlowUnit], StringComparison.Ordinal);
        using var again =
            FlowStoreBuilder.Prepare(source, Quick, Cache, cancellationToken: TestContext.Current.CancellationToken, tell: said.Add);
        Assert.Single(said);
    }

    [Fact]
    public void FlowGolden_ThroughAStore_IsTheReferencesImage()
    {
        var golden = GoldenFlow.Load("t2");
        using (var writer = ClipStoreWriter.OpenOrCreate(Rgb, new ClipStoreHeader { ContentKey = "golden", Channels = 2 }))
        {
            var bytes = new byte[2 * golden.U.Length];
            new FlowQuantizer(20).Encode(golden.U, golden.V, bytes);
            writer.Add(new ClipStoreVideo { Id = "t2", Frames = 1, Width = golden.Width, Height = golden.Height }, bytes);
            writer.Complete();
        }

        using var store = ClipStore.Open(Rgb);
        var rgb = new byte[3 * golden.U.Length];
        store.CopyRgb(0, 0, rgb);

        Assert.Equal(golden.StoredRgb, rgb);
    }

    // Losslessly, as gray.
    private static void Encode(string file, int width, int height, byte[][] frames)
    {
        var raw = file + ".raw";
        File.WriteAllBytes(raw, [.. frames.SelectMany(f => f)]);
        TestVideos.Ffmpeg(
            "-f",
            "rawvideo",
            "-pix_fmt",
            "gray",
            "-s",
            $"{width}x{height}",
            "-r",
            "25",
            "-i",
            FfmpegTool.FileArgument(raw),
            "-c:v",
            "ffv1",
            FfmpegTool.FileArgument(file));
        File.Delete(raw);
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
        new FlowQuantizer(options.Bound!.Value).Encode(u, v, bytes);
        return bytes;
    }

    private ClipStore PrepareIn(string cache, ClipStore source, TvL1FlowTorch? batch) =>
        FlowStoreBuilder.PrepareWith(
            source, Quick, Path.Combine(_folder.Path, cache), batch, 1, null, cancellationToken: TestContext.Current.CancellationToken);

    private ClipStore MakeSource(params (int Frames, int Width, int Height)[] videos)
    {
        using (var writer = ClipStoreWriter.OpenOrCreate(Rgb, new ClipStoreHeader { ContentKey = "source" }))
        {
            for (var i = 0; i < videos.Length; i++)
            {
                var (frames, width, height) = videos[i];
                var pixels = Enumerable.Range(0, frames).SelectMany(f => Colour(FlowImages.Texture(width, height, 0.8 * f, -0.4 * f, i)))
                    .ToArray();
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

    /// <summary>Keeps every report, and may act on it at once (Progress&lt;T&gt; would report later, on another thread).</summary>
    private sealed class Reports(Action<FlowProgress>? action = null) : IProgress<FlowProgress>
    {
        private readonly Lock _gate = new();

        public List<FlowProgress> Seen { get; } = [];

        public void Report(FlowProgress value)
        {
            lock (_gate)
            {
                Seen.Add(value);
            }

            action?.Invoke(value);
        }
    }
}
