// Why this exists: resuming exactly, and results that do not depend on the machine's cores, rest on the order and content of batches.
using System.Text.Json;
using CoCLR.Core;
using CoCLR.Engine.Video.Augmentation;
using CoCLR.Engine.Video.Loading;
using CoCLR.Engine.Video.Store;

namespace CoCLR.Engine.Tests.Augmentation;

public sealed unsafe class LoaderTests
{
    private const int Size = 16;
    private const int T = 4;
    private static readonly AugmentationOptions Augmentation = new() { Size = Size };

    [Fact]
    public void Golden_FrameSampler_SlidingClipsAreTheReferences()
    {
        var path = GoldenFolder.Require("frame_sampler.json");
        using var cases = JsonDocument.Parse(File.ReadAllText(path));
        foreach (var one in cases.RootElement.EnumerateArray())
        {
            var (total, frames, stride) =
                (one.GetProperty("total").GetInt32(), one.GetProperty("num_frames").GetInt32(), one.GetProperty("ds").GetInt32());
            var starts = ClipSampling.EvaluationStarts(total, frames, stride);
            Assert.Equal(one.GetProperty("n_clips").GetInt32(), starts.Length);
            Assert.Equal(
                one.GetProperty("index").EnumerateArray().Select(e => e.GetInt32()),
                starts.SelectMany(start => ClipSampling.Frames(total, frames, stride, start)));
        }
    }

    [Theory]
    [InlineData(40, 32, 1)]
    [InlineData(33, 32, 1)]
    [InlineData(100, 16, 2)]
    [InlineData(32, 32, 1)]
    [InlineData(5, 32, 1)]
    [InlineData(1, 8, 3)]
    public void DrawStart_ManyDraws_CoverEveryStartButTheLast(int length, int frames, int stride)
    {
        var random = new CounterRandom(1);
        var starts = new HashSet<int>();
        for (var i = 0; i < 3000; i++)
        {
            var start = ClipSampling.DrawStart(ref random, length, frames, stride);
            var numbers = ClipSampling.Frames(length, frames, stride, start);
            Assert.Equal(frames, numbers.Length);
            Assert.All(numbers, n => Assert.InRange(n, 0, length - 1));
            Assert.Equal(numbers, numbers.Order());
            starts.Add(start);
        }

        Assert.Equal(Enumerable.Range(0, Math.Max(length - (frames * stride), 1)), starts.Order());
    }

    [Theory]
    [InlineData(1, false)]
    [InlineData(3, false)]
    [InlineData(2, true)]
    public void PretrainLoader_AnyWorkersAndStart_RepeatsTheUnbrokenRunBitForBit(int workers, bool onDevice)
    {
        var data = TwoViews();
        var unbroken = Take(data, 1, onDevice, 0, 0, 8);
        Assert.Equal([(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (2, 0), (2, 1)], unbroken.Select(b => (b.Epoch, b.Step)));
        Same(unbroken, Take(data, workers, onDevice, 0, 0, 8));
        Same(unbroken.Skip(4).ToList(), Take(data, workers, onDevice, 1, 1, 4));
        Same(unbroken.Skip(6).ToList(), Take(data, workers, onDevice, 2, 0, 2));
    }

    [Fact]
    public void PretrainLoader_Epoch_TakesVideosAtMostOnceInAnotherOrderEachTime()
    {
        var data = TwoViews();
        var batches = Take(data, 2, false, 0, 0, 6);
        var epochs = batches.GroupBy(b => b.Epoch).Select(g => g.SelectMany(b => b.Items).ToList()).ToList();
        Assert.All(epochs, items => Assert.Equal(9, items.Distinct().Count()));
        Assert.NotEqual(epochs[0], epochs[1]);
        Assert.All(batches, b => Assert.Equal(b.Items.Select(i => (long)data.Items[i].Label), b.Labels));
        Assert.All(batches, b => Assert.Equal(b.Items.Select(i => (long)data.Items[i].Group), b.Groups));
        Assert.All(batches, b => Assert.Equal(b.Items.Select(i => (long)data.Items[i].VideoInView[0]), b.Videos));
    }

    [Fact]
    public void PretrainLoader_TwoViews_AreTheSameClipsUnderTheSameTransforms()
    {
        var data = TwoViews();
        using var loader = new ClipBatchLoader(data.Views, data.Items, Augmentation, Options(3, 2));
        loader.StartAt(0, 1);
        using var batch = loader.Next(TestContext.Current.CancellationToken)!;
        Assert.Equal(2, batch.Views.Count);
        Assert.All(batch.Views, v => Assert.Equal([3, 2, 3, T, Size, Size], v.shape));
        using var augmenter = new ClipAugmenter();
        for (var view = 0; view < 2; view++)
        {
            var values = batch.Views[view].data<float>().ToArray();
            for (var i = 0; i < batch.Requests.Count; i++)
            {
                var request = batch.Requests[i];
                var item = data.Items[request.Item];
                var length = item.Length(data.Views);
                Assert.All(request.Frames, f => Assert.InRange(f, 0, length - 1));
                var (_, height, width, _) = data.Views[0].Source.Shape(item.VideoInView[0]);
                var (_, ownHeight, ownWidth, _) = data.Views[view].Source.Shape(item.VideoInView[view]);
                var expected = new float[3 * T * Size * Size];
                fixed (float* target = expected)
                {
                    var transform = request.Transform.ScaledTo(width, height, ownWidth, ownHeight).ForView(data.Views[view].Flow);
                    augmenter.Apply(
                        data.Views[view].Source, item.VideoInView[view], request.Frames, transform, Size, data.Views[view].Flow, target);
                }

                Assert.True(expected.AsSpan().SequenceEqual(values.AsSpan(i * expected.Length, expected.Length)));
            }
        }
    }

    [Theory]
    [InlineData(false, false)]
    [InlineData(true, false)]
    [InlineData(true, true)]
    public void PretrainLoader_FlowWithoutMotion_KeepsItsValueWhateverTheColours(bool withRgb, bool onDevice)
    {
        // Every clip is jittered, grayed or blurred as RGB; 128 means no motion (127 where it is mirrored), and R is 128 throughout.
        var still = new StillFlow(10, 20, 30, 24);
        ClipView[] views = withRgb
            ? [new ClipView(SyntheticSource.Uniform(1, 10, 20, 48, 60), false), new ClipView(still, true)]
            : [new ClipView(still, true)];
        ClipItem[] items = [.. Enumerable.Range(0, 10).Select(i => new ClipItem([.. views.Select(_ => i)], 0, i))];
        var always = Augmentation with
        {
            OneClipProbability = 0,
            TwoClipBaseProbability = 1,
            JitterProbability = 1,
            GrayProbability = 0.5,
            BlurProbability = 1,
            FlowMagnitude = 0.5
        };
        using var loader = new ClipBatchLoader(views, items, always, Options(5, 1) with { AugmentOnDevice = onDevice });
        loader.StartAt(0);
        using var batch = loader.Next(TestContext.Current.CancellationToken)!;
        var values = batch.Views[^1].data<float>().ToArray();
        for (var i = 0; i < values.Length; i++)
        {
            var channel = i / (T * Size * Size) % 3;
            Assert.InRange(
                (values[i] - Normalization.Bias(channel)) / Normalization.Scale(channel), channel == 0 ? 127.99 : 126.99, 128.01);
        }
    }

    [Fact]
    public void PretrainLoader_OnDevice_StaysCloseToTheCpu()
    {
        var data = TwoViews();
        var cpu = Take(data, 2, false, 0, 0, 3);
        var device = Take(data, 2, true, 0, 0, 3);
        var far = 0;
        var count = 0;
        foreach (var (a, b) in cpu.Zip(device))
        {
            Assert.Equal(a.Items, b.Items);
            for (var view = 0; view < 2; view++)
            {
                far += a.Views[view].Zip(b.Views[view]).Count(p => Math.Abs(p.First - p.Second) > 2.01 * Normalization.Scale(1));
                count += a.Views[view].Length;
            }
        }

        Assert.True(far < count / 200, $"{far} of {count} values differ.");
    }

    [Fact]
    public void PretrainLoader_EndEpoch_EndsTheStream()
    {
        var data = TwoViews();
        using var loader = new ClipBatchLoader(data.Views, data.Items, Augmentation, Options(3, 2));
        loader.StartAt(4, 2, endEpoch: 5);
        using (var last = loader.Next(TestContext.Current.CancellationToken))
        {
            Assert.Equal((4, 2), (last!.Epoch, last.Step));
        }

        Assert.Null(loader.Next(TestContext.Current.CancellationToken));
        Assert.Null(loader.Next(TestContext.Current.CancellationToken));
    }

    [Fact]
    public void PretrainLoader_FewerVideosThanABatch_IsAConfigurationError()
    {
        var data = TwoViews();
        var error = Assert.Throws<UserErrorException>(() => new ClipBatchLoader(data.Views, data.Items, Augmentation, Options(11, 1)));
        Assert.Equal(ExitCodes.BadConfiguration, error.ExitCode);
        Assert.Contains("10 training videos", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void PretrainLoader_SourceThatFails_RaisesItsErrorInTheConsumer()
    {
        var data = TwoViews();
        var views = new[] { new ClipView(new FailingSource(data.Views[0].Source), false) };
        var items = data.Items.Select(i => i with { VideoInView = [i.VideoInView[0]] }).ToList();
        using var loader = new ClipBatchLoader(views, items, Augmentation, Options(3, 2));
        loader.StartAt(0);
        var error = Assert.Throws<IOException>(() => loader.Next(TestContext.Current.CancellationToken));
        Assert.Equal("the disk is gone", error.Message);
    }

    [Fact]
    public void PretrainLoader_DisposedWhileWorking_EndsItsThreads()
    {
        var data = TwoViews();
        for (var i = 0; i < 20; i++)
        {
            using var loader =
                new ClipBatchLoader(data.Views, data.Items, Augmentation, Options(3, 3) with { AugmentOnDevice = i % 2 == 0 });
            loader.StartAt(0);
            if (i % 3 == 0)
            {
                loader.Next(TestContext.Current.CancellationToken)!.Dispose();
            }
        }
    }

    [Fact]
    public void PretrainLoader_Wait_CountsBatchesAfterTheFirst()
    {
        var data = TwoViews();
        using var loader = new ClipBatchLoader(data.Views, data.Items, Augmentation, Options(3, 1));
        loader.StartAt(0);
        for (var i = 0; i < 5; i++)
        {
            loader.Next(TestContext.Current.CancellationToken)!.Dispose();
        }

        Assert.Equal(4, loader.Wait.Batches);
        Assert.True(loader.Wait.FirstBatch > TimeSpan.Zero);
        Assert.InRange(loader.Wait.Share, 0, 1);
        Assert.True(loader.Wait.Waited <= loader.Wait.Elapsed);
    }

    [Theory]
    [InlineData(CropMode.Center, 1)]
    [InlineData(CropMode.Five, 5)]
    [InlineData(CropMode.Ten, 10)]
    public void EvaluationLoader_EveryClipAndCrop_ComesOnceInOrder(CropMode mode, int crops)
    {
        var data = TwoViews();
        var one = new[] { data.Views[0] };
        using var loader = new EvaluationLoader(one, data.Items, Augmentation, Options(7, 2), mode);
        var expected = Enumerable.Range(0, data.Items.Length).SelectMany(item =>
            ClipSampling.EvaluationStarts(data.Items[item].Length(one), T, 1).SelectMany((start, clip) =>
                Enumerable.Range(0, crops).Select(crop => (item, clip, crop, start)))).ToList();
        var rows = new List<(int, int, int, int)>();
        while (loader.Next(TestContext.Current.CancellationToken) is { } batch)
        {
            using (batch)
            {
                Assert.Equal([batch.Items.Length, 3, T, Size, Size], batch.Views[0].shape);
                rows.AddRange(batch.Requests.Select(r => (r.Item, r.Clip, r.Crop, r.Frames[0])));
            }
        }

        Assert.Equal(expected, rows);
        Assert.Equal(expected.Count, loader.Rows);
    }

    [Fact]
    public void EvaluationLoader_OneRandomClip_GivesOneRowAVideo()
    {
        var data = TwoViews();
        using var loader = new EvaluationLoader([data.Views[0]], data.Items, Augmentation, Options(100, 1), oneRandomClip: true);
        using var batch = loader.Next(TestContext.Current.CancellationToken)!;
        Assert.Equal(Enumerable.Range(0, data.Items.Length), batch.Items);
        Assert.Null(loader.Next(TestContext.Current.CancellationToken));
    }

    [Fact]
    public void ProbeLoader_Resume_RepeatsTheUnbrokenRun()
    {
        var data = TwoViews();
        List<float[]> Run(int workers, int epoch, int step, int count)
        {
            using var loader = new ProbeLoader([data.Views[0]], data.Items, Augmentation, Options(4, workers));
            loader.StartAt(epoch, step);
            var result = new List<float[]>();
            for (var i = 0; i < count; i++)
            {
                using var batch = loader.Next(TestContext.Current.CancellationToken)!;
                Assert.Equal([4, 3, T, Size, Size], batch.Views[0].shape);
                result.Add(batch.Views[0].data<float>().ToArray());
            }

            return result;
        }

        var unbroken = Run(1, 0, 0, 5);
        Assert.Equal(unbroken, Run(3, 0, 0, 5));
        Assert.Equal(unbroken.Skip(3), Run(2, 1, 1, 2));
    }

    private static LoaderOptions Options(int batch, int workers) => new() { BatchSize = batch, Frames = T, Workers = workers, Seed = 17 };

    private static (ClipView[] Views, ClipItem[] Items) TwoViews()
    {
        (int, int, int)[] shapes =
        [
            (5, 30, 40), (12, 24, 24), (3, 50, 33), (9, 30, 40), (20, 18, 60), (7, 30, 40), (1, 30, 40), (8, 30, 40), (4, 64, 64),
            (30, 16, 16)
        ];
        var rgb = new SyntheticSource(1, [.. shapes.Select(s => (s.Item1 + 1, s.Item2, s.Item3, 3))]);
        // The flow is stored in another order and, for some videos, at half the size.
        var flow =
            new SyntheticSource(2, [.. shapes.Reverse().Select((s, i) => (s.Item1, s.Item2 / (1 + (i % 2)), s.Item3 / (1 + (i % 2)), 2))]);
        var items = Enumerable.Range(0, shapes.Length).Select(i => new ClipItem([i, shapes.Length - 1 - i], i % 3, i / 2)).ToArray();
        return ([new ClipView(rgb, false), new ClipView(flow, true)], items);
    }

    private static List<Copy> Take((ClipView[] Views, ClipItem[] Items) data, int workers, bool onDevice, int epoch, int step, int count)
    {
        using var loader =
            new ClipBatchLoader(data.Views, data.Items, Augmentation, Options(3, workers) with { AugmentOnDevice = onDevice });
        loader.StartAt(epoch, step);
        var result = new List<Copy>();
        for (var i = 0; i < count; i++)
        {
            using var batch = loader.Next(TestContext.Current.CancellationToken)!;
            result.Add(
                new Copy(
                    batch.Epoch,
                    batch.Step,
                    batch.Items,
                    batch.Videos,
                    batch.Labels,
                    batch.Groups,
                    [.. batch.Views.Select(v => v.data<float>().ToArray())]));
        }

        return result;
    }

    private static void Same(List<Copy> expected, List<Copy> actual)
    {
        Assert.Equal(expected.Count, actual.Count);
        foreach (var (a, b) in expected.Zip(actual))
        {
            Assert.Equal((a.Epoch, a.Step), (b.Epoch, b.Step));
            Assert.Equal(a.Items, b.Items);
            for (var view = 0; view < a.Views.Length; view++)
            {
                Assert.True(a.Views[view].AsSpan().SequenceEqual(b.Views[view]), $"View {view} of step {a.Step} differs.");
            }
        }
    }

    private sealed record Copy(int Epoch, int Step, int[] Items, long[] Videos, long[] Labels, long[] Groups, float[][] Views);

    private sealed class FailingSource(IClipSource source) : IClipSource
    {
        public int Count => source.Count;

        public (int Frames, int Height, int Width, int Channels) Shape(int videoIndex) => source.Shape(videoIndex);

        public ReadOnlySpan<byte> Frame(int videoIndex, int frame) => throw new IOException("the disk is gone");
    }

    private sealed class StillFlow(int videos, int frames, int height, int width) : IClipSource
    {
        private readonly byte[] _frame = [.. Enumerable.Repeat((byte)128, height * width * 2)];

        public int Count => videos;

        public (int Frames, int Height, int Width, int Channels) Shape(int videoIndex) => (frames, height, width, 2);

        public ReadOnlySpan<byte> Frame(int videoIndex, int frame) => _frame;
    }
}
