// Why this exists: the store is what every stage reads; a torn, damaged or half-finished one must never be taken for whole.
using CoCLR.Core;
using CoCLR.Engine.Video.Catalogue;
using CoCLR.Engine.Video.Store;

namespace CoCLR.Engine.Tests.Video;

public sealed class ClipStoreTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Theory]
    [InlineData(3)]
    [InlineData(2)]
    public void Frames_AfterComplete_AreThoseWritten(int channels)
    {
        using (var writer = ClipStoreWriter.OpenOrCreate(_folder.Path, Header(channels)))
        {
            AddVideos(writer, channels, 0, 5);
            writer.Complete(Enumerable.Range(0, 5).Reverse().Select(Id));
        }

        using var store = ClipStore.Open(_folder.Path);
        Assert.Equal(Enumerable.Range(0, 5).Reverse().Select(Id), store.Videos.Select(video => video.Id));
        Assert.Equal(channels, store.Channels);
        for (var i = 0; i < 5; i++)
        {
            var index = store.IndexOf(Id(i));
            var expected = Pixels(i, channels);
            Assert.Equal(
                Meta(i) with { Checksum = store.Videos[index].Checksum, Offset = store.Videos[index].Offset }, store.Videos[index]);
            Assert.True(store.Frames(index).SequenceEqual(expected));
            Assert.True(store.Frame(index, 1).SequenceEqual(expected.AsSpan(FrameBytes(i, channels), FrameBytes(i, channels))));
            Assert.True(store.Frames(index, 1, 2).SequenceEqual(expected.AsSpan(FrameBytes(i, channels), 2 * FrameBytes(i, channels))));
        }

        Assert.Empty(store.Verify(TestContext.Current.CancellationToken));
        Assert.Throws<ArgumentOutOfRangeException>(() => store.Frames(0, 0, store.Videos[0].Frames + 1).Length);
        Assert.DoesNotContain(Directory.EnumerateFiles(_folder.Path), file => file.EndsWith("journal.jsonl", StringComparison.Ordinal));
    }

    [Fact]
    public void CopyRgb_OfFlow_IsTheImageOfTheReference()
    {
        using (var writer = ClipStoreWriter.OpenOrCreate(_folder.Path, Header(2)))
        {
            writer.Add(new ClipStoreVideo { Id = "a", Frames = 1, Height = 1, Width = 2 }, [10, 20, 30, 40]);
            writer.Complete();
        }

        using var store = ClipStore.Open(_folder.Path);
        var rgb = new byte[6];
        store.CopyRgb(0, 0, rgb);
        Assert.Equal([128, 20, 10, 128, 40, 30], rgb);
    }

    [Fact]
    public void Open_WithoutComplete_SaysThatTheStoreIsMissing()
    {
        using (var writer = ClipStoreWriter.OpenOrCreate(_folder.Path, Header()))
        {
            AddVideos(writer, 3, 0, 2);
        }

        Assert.False(ClipStore.Exists(_folder.Path));
        var error = Assert.Throws<UserErrorException>(() => ClipStore.Open(_folder.Path));
        Assert.Equal(ExitCodes.MissingInput, error.ExitCode);
        Assert.Contains(_folder.Path, error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Writer_OpenedAgain_GoesOnWhereItStopped()
    {
        using (var writer = ClipStoreWriter.OpenOrCreate(_folder.Path, Header()))
        {
            AddVideos(writer, 3, 0, 3);
            writer.Reject("broken.mp4", "moov atom not found");
            using var dropped = writer.Begin();
            dropped.Write(new byte[1000]);
        }

        using (var writer = ClipStoreWriter.OpenOrCreate(_folder.Path, Header()))
        {
            Assert.Equal(3, writer.Videos.Count);
            Assert.True(writer.Contains("broken.mp4"));
            Assert.False(writer.Contains(Id(3)));
            AddVideos(writer, 3, 3, 6);
            writer.Complete();
        }

        AssertStoreHolds(6);
        using var store = ClipStore.Open(_folder.Path);
        Assert.Equal([new RejectedVideo("broken.mp4", "moov atom not found")], store.Header.Rejected);
    }

    [Fact]
    public void Writer_WithAnotherKey_StartsAfresh()
    {
        using (var writer = ClipStoreWriter.OpenOrCreate(_folder.Path, Header()))
        {
            AddVideos(writer, 3, 0, 3);
        }

        using var other = ClipStoreWriter.OpenOrCreate(_folder.Path, Header() with { ContentKey = "other" });
        Assert.Empty(other.Videos);
    }

    [Fact]
    public void Writer_WhileAnotherWrites_IsRefused()
    {
        using var writer = ClipStoreWriter.OpenOrCreate(_folder.Path, Header());
        var error = Assert.Throws<UserErrorException>(() => ClipStoreWriter.OpenOrCreate(_folder.Path, Header()));
        Assert.Equal(ExitCodes.Failed, error.ExitCode);
    }

    [Fact]
    public void Writer_JournalAndDataTornAnywhere_LosesNothingThatWasWholeAndRedoesTheRest()
    {
        using (var writer = ClipStoreWriter.OpenOrCreate(_folder.Path, Header()))
        {
            AddVideos(writer, 3, 0, 6);
        }

        var random = new CounterRandom(7, CounterRandom.Purpose("torn"));
        for (var round = 0; round < 60; round++)
        {
            using var torn = new TemporaryFolder();
            foreach (var file in Directory.EnumerateFiles(_folder.Path))
            {
                File.Copy(file, torn.File(Path.GetFileName(file)), overwrite: true);
            }

            var victim = torn.File(random.Bernoulli(0.5) ? "journal.jsonl" : "frames-000.bin");
            using (var stream = File.OpenWrite(victim))
            {
                var at = random.NextInt((int)stream.Length);
                if (random.Bernoulli(0.5))
                {
                    stream.SetLength(at);
                }
                else
                {
                    stream.Position = at;
                    stream.WriteByte(0xA5);
                }
            }

            using (var writer = ClipStoreWriter.OpenOrCreate(torn.Path, Header()))
            {
                for (var i = 0; i < 6; i++)
                {
                    if (!writer.Contains(Id(i)))
                    {
                        writer.Add(Meta(i), Pixels(i, 3));
                    }
                }

                writer.Complete();
            }

            AssertStoreHolds(6, torn.Path);
        }
    }

    [Theory]
    [InlineData("store.json")]
    [InlineData("index.jsonl")]
    [InlineData("frames-000.bin")]
    public void Open_TruncatedFile_IsReportedAsDamaged(string name)
    {
        Complete(3);
        using (var stream = File.OpenWrite(_folder.File(name)))
        {
            stream.SetLength(stream.Length / 2);
        }

        var error = Assert.Throws<UserErrorException>(() => ClipStore.Open(_folder.Path));
        Assert.Equal(ExitCodes.BadData, error.ExitCode);
        Assert.Contains(name, error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Verify_ChangedByte_NamesTheVideo()
    {
        Complete(3);
        using (var stream = File.OpenWrite(_folder.File("frames-000.bin")))
        {
            stream.Position = Pixels(0, 3).Length + 5;
            stream.WriteByte((byte)(Pixels(1, 3)[5] + 1));
        }

        using var store = ClipStore.Open(_folder.Path);
        Assert.Equal([Id(1)], store.Verify(TestContext.Current.CancellationToken));
    }

    [Fact]
    public void Commit_SizeThatDoesNotAgree_Throws()
    {
        using var writer = ClipStoreWriter.OpenOrCreate(_folder.Path, Header());
        Assert.Throws<ArgumentException>(() => writer.Add(Meta(0), Pixels(0, 3).AsSpan(1)));
        writer.Add(Meta(0), Pixels(0, 3));
        writer.Complete();
    }

    [Fact]
    public void Begin_ManyAtOnce_KeepsVideosContiguous()
    {
        using (var writer = ClipStoreWriter.OpenOrCreate(_folder.Path, Header()))
        {
            Parallel.For(0, 24, new ParallelOptions { MaxDegreeOfParallelism = 4 }, i =>
            {
                using var video = writer.Begin();
                foreach (var part in Pixels(i, 3).Chunk(37))
                {
                    video.Write(part);
                }

                video.Commit(Meta(i));
            });
            writer.Complete();
        }

        AssertStoreHolds(24);
    }

    [Fact]
    public void WriteView_OtherLabels_SharesTheFrames()
    {
        Complete(4);
        var view = _folder.File("views", "split2");
        using (var store = ClipStore.Open(_folder.Path))
        {
            ClipStore.WriteView(store, view, store.Videos.Skip(1).Select(video => video with { Label = 9, Split = VideoSplit.Test }));
        }

        using var opened = ClipStore.Open(view);
        Assert.Equal(3, opened.Count);
        Assert.All(opened.Videos, video => Assert.Equal((9, VideoSplit.Test), (video.Label, video.Split)));
        Assert.True(opened.Frames(opened.IndexOf(Id(2))).SequenceEqual(Pixels(2, 3)));
        Assert.Empty(opened.Verify(TestContext.Current.CancellationToken));
        Assert.DoesNotContain(Directory.EnumerateFiles(view), file => file.EndsWith(".bin", StringComparison.Ordinal));
    }

    private static string Id(int i) => $"class {i % 3}/vidéo-{i}.mp4";

    private static ClipStoreHeader Header(int channels = 3) =>
        new() { Channels = channels, ContentKey = "key", Settings = { ["shortSide"] = "8" } };

    private static ClipStoreVideo Meta(int i) => new()
    {
        Id = Id(i),
        Frames = 4 + i,
        Height = 5 + (i % 2),
        Width = 7,
        Fps = 25,
        Label = i % 3,
        Class = $"class {i % 3}",
        Split = i % 4 == 0 ? VideoSplit.Test : VideoSplit.Train,
        Group = i / 2,
    };

    private static int FrameBytes(int i, int channels) => Meta(i).Pixels * channels;

    private static byte[] Pixels(int i, int channels)
    {
        var random = new CounterRandom(i, CounterRandom.Purpose("pixels"));
        var pixels = new byte[Meta(i).Frames * FrameBytes(i, channels)];
        for (var p = 0; p < pixels.Length; p++)
        {
            pixels[p] = (byte)random.NextInt(256);
        }

        return pixels;
    }

    private static void AddVideos(ClipStoreWriter writer, int channels, int from, int to)
    {
        for (var i = from; i < to; i++)
        {
            writer.Add(Meta(i), Pixels(i, channels));
        }
    }

    private void Complete(int count)
    {
        using var writer = ClipStoreWriter.OpenOrCreate(_folder.Path, Header());
        AddVideos(writer, 3, 0, count);
        writer.Complete();
    }

    private void AssertStoreHolds(int count, string? folder = null)
    {
        using var store = ClipStore.Open(folder ?? _folder.Path);
        Assert.Equal(count, store.Count);
        Assert.Empty(store.Verify(TestContext.Current.CancellationToken));
        for (var i = 0; i < count; i++)
        {
            Assert.True(store.Frames(store.IndexOf(Id(i))).SequenceEqual(Pixels(i, 3)));
        }
    }
}
