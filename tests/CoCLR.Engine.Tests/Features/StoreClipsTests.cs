// Why this exists: from a store of frames to features, probes and retrieval, the way a stage goes.
using CoCLR.Engine.Evaluation;
using CoCLR.Engine.Features;
using CoCLR.Engine.Models;
using CoCLR.Engine.Tests.Evaluation;
using CoCLR.Engine.Tests.Video;
using CoCLR.Engine.Video.Augmentation;
using CoCLR.Engine.Video.Catalogue;
using CoCLR.Engine.Video.Loading;
using CoCLR.Engine.Video.Store;

namespace CoCLR.Engine.Tests.Features;

public sealed class StoreClipsTests : IDisposable
{
    private const int Side = 24;
    private static readonly AugmentationOptions Augmentation = new() { Size = 16 };
    private readonly TemporaryFolder _folder = new();
    private readonly ClipStore _store;

    public StoreClipsTests()
    {
        // A class is a colour; each video has its own length, from shorter than a clip to several clips.
        using (var writer = ClipStoreWriter.OpenOrCreate(_folder.Path, new ClipStoreHeader { Channels = 3, ContentKey = "test" }))
        {
            for (var i = 0; i < 30; i++)
            {
                var random = new CounterRandom(i, 3);
                var frames = 3 + (i * 7 % 20);
                var pixels = new byte[frames * Side * Side * 3];
                for (var p = 0; p < pixels.Length; p++)
                {
                    pixels[p] = (byte)((p % 3 == i % 3 ? 150 : 40) + random.NextInt(60));
                }

                writer.Add(
                    new ClipStoreVideo
                    {
                        Id = $"c{i % 3}/v{i:00}.mp4", Frames = frames, Height = Side, Width = Side, Fps = 25, Label = i % 3,
                        Class = $"colour {i % 3}", Group = i / 3, Split = i < 21 ? VideoSplit.Train : VideoSplit.Test,
                    },
                    pixels);
            }

            writer.Complete();
        }

        _store = ClipStore.Open(_folder.Path);
    }

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    private static LoaderOptions Options => new() { BatchSize = 6, Frames = 8, Workers = 1 };

    public void Dispose()
    {
        _store.Dispose();
        _folder.Dispose();
    }

    [Theory]
    [InlineData(CropMode.Center, false)]
    [InlineData(CropMode.Five, false)]
    [InlineData(CropMode.Center, true)]
    public void ForTesting_SplitOfAStore_FeaturesForProbeAndRetrieval(CropMode crops, bool oneClip)
    {
        using var backbone = new TinyBackbone();
        using var train = StoreClips.ForTesting(_store, Items(VideoSplit.Train), Augmentation, Options, crops, oneClip);
        using var test = StoreClips.ForTesting(_store, Items(VideoSplit.Test), Augmentation, Options, crops);
        var told = new List<int>();
        var gallery = FeatureExtractor.Extract(backbone, train, new Tell(p => told.Add(p.Done)), Token);
        var queries = FeatureExtractor.Extract(backbone, test, null, Token);
        Assert.Equal(train.ClipsInPass, told[^1]);
        Assert.Equal((21, 9), (gallery.Count, queries.Count));
        Assert.Equal(["colour 0", "colour 1", "colour 2"], gallery.ClassNames);
        Assert.All(gallery.Ids.Zip(gallery.Labels!), pair => Assert.StartsWith($"c{pair.Second}/", pair.First, StringComparison.Ordinal));
        Assert.Equal(1, Retrieval.Evaluate(gallery, queries, "rgb").Result.RecallAt(1));
        var probe = LinearProbe.Evaluate(
            gallery, queries, new LinearProbeOptions { Epochs = 30, Milestones = [], LearningRate = 0.3 }, cancellationToken: Token);
        Assert.Equal(1, probe.Result.Accuracy.Top1);
        Assert.Equal(gallery.Values, FeatureExtractor.Extract(backbone, train, null, Token).Values);
    }

    [Fact]
    public void ForTraining_EndToEndProbe_LearnsAndRepeats()
    {
        double[] Losses()
        {
            using var train = StoreClips.ForTraining(_store, Items(VideoSplit.Train), Augmentation, Options);
            using var test = StoreClips.ForTesting(_store, Items(VideoSplit.Test), Augmentation, Options);
            using var classifier = new VideoClassifier(new TinyBackbone(), 3, probe: true);
            using var training = new ClassifierTraining(classifier, ClassifierOptions.Probe(8));
            Assert.Equal(1, training.Run(train, test, cancellationToken: Token).Accuracy.Top1);
            return [.. training.Progress.LossPerEpoch];
        }

        Assert.Equal(Losses(), Losses());
    }

    [Fact]
    public void ForTraining_EpochsOutOfOrder_SameClipsAsInOrder()
    {
        using var clips = StoreClips.ForTraining(_store, Items(VideoSplit.Train), Augmentation, Options);
        float[] Sums(int epoch) => [.. clips.Pass(epoch, Token).Select(batch =>
        {
            using (batch)
            {
                return batch.Clips.sum().item<float>();
            }
        })];
        var (one, two, three) = (Sums(1), Sums(2), Sums(3));
        Assert.NotEqual(one, two);
        using (var abandoned = clips.Pass(2, Token).First())
        {
            Assert.Equal(6, abandoned.Videos.Length);
        }

        Assert.Equal(three, Sums(3));
        Assert.Equal(one, Sums(1));
        Assert.Equal(two, Sums(2));
    }

    private IReadOnlyList<ClipItem> Items(VideoSplit split) => ClipItem.FromStores([_store], split);

    private sealed class Tell(Action<PassProgress> tell) : IProgress<PassProgress>
    {
        public void Report(PassProgress value) => tell(value);
    }
}
