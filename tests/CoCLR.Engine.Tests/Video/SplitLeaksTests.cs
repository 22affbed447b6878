// Why this exists: a test video that was trained on flatters every number; copies and re-encoded copies must be told, look-alikes must not.
using CoCLR.Engine.Video.Catalogue;
using CoCLR.Engine.Video.Decoding;
using CoCLR.Engine.Video.Synthetic;

namespace CoCLR.Engine.Tests.Video;

public sealed class SplitLeaksTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void ScanAndStore_TellCopiesAndReencodedCopiesOnBothSides()
    {
        Make("train/walk/one.mp4", "testsrc2=size=96x72:rate=25");
        Make("train/walk/two.mp4", "mandelbrot=size=96x72:rate=25");
        Make("train/run/three.mp4", "cellauto=size=96x72:rate=25:rule=110");
        Make("train/run/black.mp4", "color=black:size=96x72:rate=25");
        Make("test/run/black.mp4", "color=black:size=64x64:rate=25");
        Make("test/run/four.mp4", "smptebars=size=96x72:rate=25");
        Directory.CreateDirectory(_folder.File("test", "walk"));
        File.Copy(_folder.File("train", "run", "three.mp4"), _folder.File("test", "run", "copy.mp4"));
        Run(
            [
                "-i", _folder.File("train", "walk", "two.mp4"), "-vf", "scale=128:96", "-crf", "32",
                _folder.File("test", "walk", "again.mkv")
            ]);

        var options = new CatalogueOptions { Root = _folder.Path };
        var report = DataScanner.Scan(options, cancellationToken: TestContext.Current.CancellationToken);
        LeakedPair[] expected =
            [new("train/run/three.mp4", "test/run/copy.mp4", true), new("train/walk/two.mp4", "test/walk/again.mkv", false)];
        Assert.Equal(expected, report.Leaks);
        Assert.Equal(2, report.Warnings.Count);
        Assert.Contains(
            "1 test video is in training too, byte for byte (for example test/run/copy.mp4 and train/run/three.mp4)",
            report.Warnings[0],
            StringComparison.Ordinal);
        Assert.Empty(DataScanner.Scan(options, leaks: false, cancellationToken: TestContext.Current.CancellationToken).Leaks);

        using var store = ClipDecoder.Prepare(
            VideoCatalogue.Open(options),
            new DecodeSettings { ShortSide = 48 },
            _folder.File("cache"),
            null,
            TestContext.Current.CancellationToken);
        Assert.Equal(expected, SplitLeaks.Find(store, TestContext.Current.CancellationToken));
    }

    [Fact]
    public void SyntheticActions_HaveNone()
    {
        var source = new CoCLR.Core.Manifests.SyntheticSource
        {
            Classes = 2, TrainGroups = 4, TestGroups = 3, GroupSize = 2, Frames = 12, Size = 48, Clutter = 20
        };
        SyntheticActions.Create(source, _folder.File("actions"), null, TestContext.Current.CancellationToken);
        var report = DataScanner.Scan(
            new CatalogueOptions { Root = _folder.File("actions") }, cancellationToken: TestContext.Current.CancellationToken);
        Assert.Equal((20 + 8, 0), (report.Videos, report.Leaks.Count));
    }

    private void Make(string path, string source)
    {
        Directory.CreateDirectory(Path.GetDirectoryName(_folder.File(path))!);
        Run(["-f", "lavfi", "-i", source, "-t", "2", "-pix_fmt", "yuv420p", _folder.File(path)]);
    }

    private static void Run(string[] arguments) =>
        Assert.Equal(
            0,
            FfmpegTool.Run(
                "ffmpeg",
                ["-nostdin", "-loglevel", "error", "-y", .. arguments],
                cancellationToken: TestContext.Current.CancellationToken).Status);
}
