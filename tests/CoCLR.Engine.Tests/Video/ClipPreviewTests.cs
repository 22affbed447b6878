// Why this exists: previews must play in a browser, show the right frames, and be made once.
using CoCLR.Engine.Video.Decoding;
using CoCLR.Engine.Video.Previews;
using CoCLR.Engine.Video.Store;

namespace CoCLR.Engine.Tests.Video;

public sealed class ClipPreviewTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Theory]
    [InlineData(3)]
    [InlineData(2)]
    public void Make_Clip_IsAPlayableVideoAndAPoster(int channels)
    {
        using var store = Store(channels);
        var files = ClipPreview.Make(new PreviewClip(store, 0, 2, 100), _folder.File("previews"), TestContext.Current.CancellationToken);
        var (status, output, _) = FfmpegTool.Run(
            "ffprobe",
            [
                "-v", "error", "-count_frames", "-show_entries", "stream=codec_name,width,height,pix_fmt,nb_read_frames", "-of", "csv=p=0",
                files.Video
            ],
            cancellationToken: TestContext.Current.CancellationToken);
        Assert.Equal(0, status);
        Assert.Equal("h264,148,112,yuv420p,6", output.Trim());
        Assert.True(
            File.ReadAllBytes(files.Video).AsSpan().IndexOf("moov"u8) is > 0 and < 200,
            "the index comes first, so that playing starts at once");
        Assert.Equal([0xFF, 0xD8], File.ReadAllBytes(files.Poster)[..2]);
        Assert.Equal(2, Directory.EnumerateFiles(_folder.File("previews")).Count());

        var before = File.GetLastWriteTimeUtc(files.Video);
        Assert.Equal(
            files, ClipPreview.Make(new PreviewClip(store, 0, 2, 100), _folder.File("previews"), TestContext.Current.CancellationToken));
        Assert.Equal(before, File.GetLastWriteTimeUtc(files.Video));
        Assert.NotEqual(
            files, ClipPreview.Make(new PreviewClip(store, 0, 3, 4), _folder.File("previews"), TestContext.Current.CancellationToken));
    }

    [Fact]
    public void Encode_ManyClips_ByOneProcess_AreEachTheirOwnFrames()
    {
        using var store = Store(3);
        PreviewClip[] clips = [new(store, 0, 0, 3), new(store, 0, 2, 5), new(store, 0, 7, 1), new(store, 0, 0, 8)];
        var folder = _folder.File("odd %05d 'name'");
        PreviewClip[] alike = Assert.Single(ClipPreview.Missing([.. clips, clips[0]], folder));
        ClipPreview.Encode(alike, folder, TestContext.Current.CancellationToken);
        Assert.Empty(ClipPreview.Missing(clips, folder));
        Assert.Equal(2 * clips.Length, Directory.EnumerateFileSystemEntries(folder).Count());
        foreach (var clip in clips)
        {
            var (status, output, _) = FfmpegTool.Run(
                "ffprobe",
                [
                    "-v", "error", "-count_frames", "-show_entries", "stream=start_time,nb_read_frames", "-of", "csv=p=0",
                    FfmpegTool.FileArgument(clip.FilesIn(folder).Video)
                ],
                cancellationToken: TestContext.Current.CancellationToken);
            Assert.Equal((0, $"0.000000,{clip.Frames}"), (status, output.Trim()));
            Assert.Equal([0xFF, 0xD8], File.ReadAllBytes(clip.FilesIn(folder).Poster)[..2]);
        }
    }

    [Fact]
    public void FlowColors_Directions_HaveTheColoursOfTheWheel()
    {
        byte[] Colour(byte u, byte v)
        {
            var rgb = new byte[3];
            FlowColors.Draw([u, v], 20, 20, rgb);
            return rgb;
        }

        Assert.Equal([255, 255, 255], Colour(128, 128));
        var right = Colour(255, 128);
        Assert.True(right[0] > 200 && right[1] < 100, "motion to the right is red");
        var left = Colour(0, 128);
        Assert.True(left[0] < 100 && left[2] > 200, "motion to the left is blue");
        var down = Colour(128, 255);
        Assert.True(down[0] > 200 && down[1] > 150 && down[2] < 100, "motion downwards is yellow");
        Assert.Equal(20, FlowColors.Longest([128, 128, 255, 128], 20), 1);
    }

    private ClipStore Store(int channels)
    {
        var folder = _folder.File($"store{channels}");
        using (var writer = ClipStoreWriter.OpenOrCreate(folder, new ClipStoreHeader { Channels = channels, ContentKey = "k" }))
        {
            var pixels = new byte[8 * 31 * 41 * channels];
            for (var i = 0; i < pixels.Length; i++)
            {
                pixels[i] = (byte)(i % 251);
            }

            writer.Add(new ClipStoreVideo { Id = "a", Frames = 8, Height = 31, Width = 41, Fps = 25 }, pixels);
            writer.Complete();
        }

        return ClipStore.Open(folder);
    }
}
