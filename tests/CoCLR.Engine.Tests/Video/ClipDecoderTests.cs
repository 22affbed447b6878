// Why this exists: people bring every kind of file; each must be decoded or be named with a reason, and nothing that is done may be lost.
using System.Diagnostics;
using System.Text;
using CoCLR.Core;
using CoCLR.Engine.Video.Catalogue;
using CoCLR.Engine.Video.Decoding;
using CoCLR.Engine.Video.Store;

namespace CoCLR.Engine.Tests.Video;

public sealed class ClipDecoderTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    public ClipDecoderTests() => Directory.CreateDirectory(Data);

    private string Data => _folder.File("data");

    private string Cache => _folder.File("cache");

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void Prepare_TransportStreamWithoutItsMiddle_SaysWhatIsMissing()
    {
        TestVideos.Make(_folder.File("start.ts"), 20, "160x120");
        TestVideos.Make(_folder.File("end.ts"), 19, "160x120", "-output_ts_offset", "1.24");
        File.WriteAllBytes(
            Path.Combine(Data, "a.ts"), [.. File.ReadAllBytes(_folder.File("start.ts")), .. File.ReadAllBytes(_folder.File("end.ts"))]);
        TestVideos.Make(Path.Combine(Data, "whole.mp4"), 5);
        using var store = Prepare();
        Assert.Null(store.Videos.Single(video => video.Id == "whole.mp4").Damage);
        ClipStoreVideo kept = store.Videos.Single(video => video.Id == "a.ts");
        Assert.Equal(39, kept.Frames);
        Assert.StartsWith("damaged: 39 of about 50 frames could be decoded", kept.Damage, StringComparison.Ordinal);
    }

    [Fact]
    public void Prepare_OddFiles_AreDecodedWithTheirShape()
    {
        var expected = new Dictionary<string, (int Frames, int Width, int Height)>();
        void Add(string name, int frames, string size, int width, int height, params string[] options)
        {
            TestVideos.Make(Path.Combine(Data, name), frames, size, options);
            expected[name] = (frames, width, height);
        }

        Add("plain.mp4", 10, "64x48", 43, 32);
        Add("with space and 'quote' \"two\".mp4", 3, "64x48", 43, 32);
        Add("line\nbreak.mp4", 3, "64x48", 43, 32);
        Add("-dash.mp4", 3, "64x48", 43, 32);
        Add("concat:a|b%d.mp4", 3, "64x48", 43, 32);
        Add("日本語-é.mkv", 3, "64x48", 43, 32);
        Add("portrait.mp4", 3, "48x64", 32, 43);
        Add("odd.mkv", 3, "65x33", 63, 32, "-c:v", "ffv1");
        Add("tenbit.mkv", 3, "64x48", 43, 32, "-c:v", "libx264", "-pix_fmt", "yuv420p10le");
        Add("gray.avi", 3, "64x48", 43, 32, "-c:v", "ffv1", "-pix_fmt", "gray");
        Add("old.avi", 5, "64x48", 43, 32, "-c:v", "mpeg4");
        Add("web.webm", 3, "64x48", 43, 32, "-c:v", "libvpx", "-b:v", "200k");
        Add("sliver.mkv", 2, "640x4", 256, 32, "-c:v", "ffv1");
        Add("8k.mp4", 2, "7680x4320", 57, 32);
        TestVideos.Make(
            Path.Combine(Data, "variable.mkv"), 12, "64x48", ["-vf", "select='not(mod(n,3))+lt(n,4)'", .. FfmpegTool.EveryFrameOnce]);
        TestVideos.Ffmpeg(FfmpegTool.Version < new Version(6, 0)
            ? ["-i", Path.Combine(Data, "plain.mp4"), "-c", "copy", "-metadata:s:v", "rotate=90", Path.Combine(Data, "rotated.mp4")]
            : ["-display_rotation", "90", "-i", Path.Combine(Data, "plain.mp4"), "-c", "copy", Path.Combine(Data, "rotated.mp4")]);
        expected["rotated.mp4"] = (10, 32, 43);
        TestVideos.Ffmpeg(
            "-i",
            Path.Combine(Data, "plain.mp4"),
            "-f",
            "lavfi",
            "-i",
            "sine",
            "-c:v",
            "copy",
            "-shortest",
            Path.Combine(Data, "sound.mp4"));
        expected["sound.mp4"] = (10, 43, 32);

        using var store = Prepare();
        Assert.Empty(store.Header.Rejected);
        foreach (var (name, shape) in expected)
        {
            var video = store.Videos[store.IndexOf(name)];
            Assert.Equal((name, shape), (name, (video.Frames, video.Width, video.Height)));
            Assert.Equal(25, video.Fps, 1);
        }

        Assert.InRange(store.Videos[store.IndexOf("variable.mkv")].Frames, 6, 13);
        Assert.Empty(store.Verify(TestContext.Current.CancellationToken));
        Assert.Contains(store.Frame(0, 0).ToArray(), value => value > 100);
    }

    [Fact]
    public void Prepare_BadFiles_AreLeftOutWithAReason()
    {
        for (var i = 0; i < 12; i++)
        {
            TestVideos.Make(Path.Combine(Data, $"good{i}.mp4"), 3);
        }

        var good = Path.Combine(Data, "good0.mp4");
        File.WriteAllBytes(Path.Combine(Data, "bad-empty.mp4"), []);
        File.WriteAllText(Path.Combine(Data, "bad-text.mp4"), "this is not a video\n");
        File.WriteAllText(Path.Combine(Data, "bad-playlist.mp4"), "#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/x.ts\n#EXT-X-ENDLIST\n");
        File.WriteAllBytes(Path.Combine(Data, "bad-cut.mp4"), File.ReadAllBytes(good)[..500]);
        TestVideos.Make(Path.Combine(Data, "long.mp4"), 200, "64x48", "-movflags", "+faststart", "-g", "10");
        File.WriteAllBytes(Path.Combine(Data, "bad-half.mp4"), File.ReadAllBytes(Path.Combine(Data, "long.mp4"))[..^20000]);
        TestVideos.Make(Path.Combine(Data, "bad-one-frame.mp4"), 1);
        TestVideos.Ffmpeg("-f", "lavfi", "-i", "sine=duration=0.2", Path.Combine(Data, "bad-audio.mp4"));
        var random = new byte[5000];
        new Random(1).NextBytes(random);
        File.WriteAllBytes(Path.Combine(Data, "bad-noise.avi"), random);

        using var store = Prepare(new DecodeSettings { ShortSide = 32, MaxBadFraction = 0.5 });
        Assert.All(store.Videos, video => Assert.DoesNotContain("bad", video.Id, StringComparison.Ordinal));
        Assert.Equal(13, store.Count);
        var reasons = store.Header.Rejected.ToDictionary(video => video.Id, video => video.Reason);
        Assert.Equal(8, reasons.Count);
        Assert.Contains("0 bytes", reasons["bad-empty.mp4"], StringComparison.Ordinal);
        Assert.Contains("Invalid data", reasons["bad-text.mp4"], StringComparison.Ordinal);
        Assert.Contains("moov atom not found", reasons["bad-cut.mp4"], StringComparison.Ordinal);
        Assert.Contains("of about 200 frames", reasons["bad-half.mp4"], StringComparison.Ordinal);
        Assert.Contains("1 frame", reasons["bad-one-frame.mp4"], StringComparison.Ordinal);
        Assert.Contains("no video stream", reasons["bad-audio.mp4"], StringComparison.Ordinal);
        Assert.All(reasons.Values, reason =>
        {
            Assert.DoesNotContain(_folder.Path, reason, StringComparison.Ordinal);
            Assert.InRange(reason.Length, 5, 400);
        });

        var error = Assert.Throws<UserErrorException>(() => Prepare());
        Assert.Equal(ExitCodes.BadData, error.ExitCode);
        Assert.Contains("8 of 21", error.Message, StringComparison.Ordinal);
        Assert.Contains("bad-audio.mp4: there is no video stream", error.Message, StringComparison.Ordinal);
        Assert.Contains("maxBadFraction", error.Message, StringComparison.Ordinal);
    }

    // Names of files, and an address, by the formats that hold names instead of pictures.
    [Theory]
    [InlineData("playlist.mp4", "#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:0\n#EXTINF:10.0,\n@FILE@\n#EXT-X-ENDLIST\n")]
    [InlineData("master.mp4", "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nhttp://127.0.0.1:9/x.m3u8\n")]
    [InlineData("list.avi", "ffconcat version 1.0\nfile '@FILE@'\n")]
    [InlineData("dash.mp4", "<?xml version=\"1.0\"?>\n<MPD xmlns=\"urn:mpeg:dash:schema:mpd:2011\" type=\"static\" "
        + "profiles=\"urn:mpeg:dash:profile:isoff-on-demand:2011\" mediaPresentationDuration=\"PT1S\"><Period><AdaptationSet "
            + "mimeType=\"video/mp4\"><Representation id=\"1\" bandwidth=\"1\" "
                + "codecs=\"avc1\"><BaseURL>@FILE@</BaseURL></Representation></AdaptationSet></Period></MPD>\n")]
    public void Playlist_ThatNamesAVideo_IsNoVideo(string name, string text)
    {
        var other = _folder.File("other.mp4");
        TestVideos.Make(other, 5);
        File.WriteAllText(Path.Combine(Data, name), text.Replace("@FILE@", other, StringComparison.Ordinal));
        var error = Assert.Throws<UserErrorException>(() => Prepare());
        Assert.Equal(ExitCodes.BadData, error.ExitCode);
        Assert.Contains("a playlist, not a video", error.Message, StringComparison.Ordinal);

        ScanReport report =
            DataScanner.Scan(new CatalogueOptions { Root = Data }, cancellationToken: TestContext.Current.CancellationToken);
        Assert.Contains("a playlist, not a video", Assert.Single(report.Broken).Reason, StringComparison.Ordinal);
    }

    [Fact]
    public void Pictures_ThatAreNoVideo_AreNamedByTheirFormat()
    {
        TestVideos.Ffmpeg(
            "-f", "lavfi", "-i", "testsrc=size=64x48", "-frames:v", "1", "-f", "image2", "-c:v", "png", Path.Combine(Data, "picture.mp4"));
        Assert.Contains(
            "of the format png_pipe, which is not read",
            Assert.Throws<UserErrorException>(() => Prepare()).Message,
            StringComparison.Ordinal);
    }

    [Fact]
    public void Prepare_ListedFileThatIsMissing_IsLeftOutWithItsLine()
    {
        TestVideos.Make(Path.Combine(Data, "a.mp4"), 3);
        File.WriteAllText(Path.Combine(Data, "manifest.csv"), "path,label\na.mp4,x\nb.mp4,x\n");
        using var store = Prepare(new DecodeSettings { ShortSide = 32, MaxBadFraction = 0.5 });
        Assert.Contains("manifest.csv, line 3", Assert.Single(store.Header.Rejected).Reason, StringComparison.Ordinal);
    }

    [Fact]
    public void Prepare_Again_DecodesNothing()
    {
        TestVideos.Make(Path.Combine(Data, "a.mp4"), 3);
        TestVideos.Make(Path.Combine(Data, "b.mp4"), 3);
        Prepare().Dispose();
        var again = new List<DecodeProgress>();
        using var store = Prepare(progress: new Collect(again));
        Assert.Empty(again);
        Assert.Equal(2, store.Count);
    }

    [Fact]
    public void Prepare_OtherLabelsOrANewVideo_DecodesOnlyWhatIsNew()
    {
        TestVideos.Make(Path.Combine(Data, "a.mp4"), 3);
        TestVideos.Make(Path.Combine(Data, "b.mp4"), 4);
        using var before = Prepare();
        File.WriteAllText(Path.Combine(Data, "manifest.csv"), "path,label,split\na.mp4,x,test\nb.mp4,y,train\n");
        var decoded = new List<DecodeProgress>();
        using var relabelled = Prepare(progress: new Collect(decoded));
        Assert.Empty(decoded);
        Assert.Equal(["x", "y"], relabelled.Classes);
        Assert.Equal(VideoSplit.Test, relabelled.Videos[0].Split);
        Assert.NotEqual(before.Header.ContentKey, relabelled.Header.ContentKey);

        File.Delete(Path.Combine(Data, "manifest.csv"));
        TestVideos.Make(Path.Combine(Data, "b.mp4"), 6);
        TestVideos.Make(Path.Combine(Data, "c.mp4"), 5);
        using var grown = Prepare(progress: new Collect(decoded));
        Assert.Equal(["b.mp4", "c.mp4"], decoded.Select(progress => progress.Video).Order());
        Assert.Equal([3, 6, 5], grown.Videos.Select(video => video.Frames));
        Assert.Empty(grown.Verify(TestContext.Current.CancellationToken));
        Assert.Empty(before.Verify(TestContext.Current.CancellationToken));
    }

    [Fact]
    public void Prepare_TwiceAtOnce_DecodesOnce()
    {
        for (var i = 0; i < 6; i++)
        {
            TestVideos.Make(Path.Combine(Data, $"v{i}.mp4"), 5);
        }

        var decoded = new System.Collections.Concurrent.ConcurrentBag<string>();
        Parallel.For(0, 3, _ => Prepare(progress: new Collect([], progress => decoded.Add(progress.Video))).Dispose());
        Assert.Equal(Enumerable.Range(0, 6).Select(i => $"v{i}.mp4"), decoded.Order());
    }

    [Fact]
    public void Prepare_FrameRateAndCap_AreKept()
    {
        TestVideos.Make(Path.Combine(Data, "a.mp4"), 50);
        using (var half = Prepare(new DecodeSettings { ShortSide = 32, FrameRate = 12.5 }))
        {
            Assert.InRange(half.Videos[0].Frames, 24, 26);
            Assert.Equal(12.5, half.Videos[0].Fps);
        }

        using var capped = Prepare(new DecodeSettings { ShortSide = 32, MaxFrames = 7 });
        Assert.Equal(7, capped.Videos[0].Frames);
    }

    [Fact]
    public void Prepare_PictureOrTimeOverTheLimit_IsLeftOut()
    {
        TestVideos.Make(Path.Combine(Data, "big.mp4"), 3, "640x480");
        TestVideos.Make(Path.Combine(Data, "small.mp4"), 3);
        using (var store = Prepare(new DecodeSettings { ShortSide = 32, MaxPixels = 64 * 64, MaxBadFraction = 0.5 }))
        {
            Assert.Equal("big.mp4", Assert.Single(store.Header.Rejected).Id);
        }

        var error =
            Assert.Throws<UserErrorException>(() => Prepare(new DecodeSettings { ShortSide = 33, Timeout = TimeSpan.FromTicks(1) }));
        Assert.Contains("longer than", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Prepare_Frames_AreThoseOfFfmpeg()
    {
        var path = Path.Combine(Data, "a.mp4");
        TestVideos.Make(path, 6, "64x48");
        var raw = _folder.File("a.rgb");
        TestVideos.Ffmpeg("-i", path, "-vf", "scale=43:32:flags=bicubic", "-f", "rawvideo", "-pix_fmt", "rgb24", raw);
        using var store = Prepare();
        Assert.True(store.Frames(0).SequenceEqual(File.ReadAllBytes(raw)));
    }

    [Fact]
    public void Prepare_StoppedAtRandomPoints_EndsWithTheSameStore()
    {
        for (var i = 0; i < 16; i++)
        {
            TestVideos.Make(Path.Combine(Data, $"v{i:D2}.mp4"), 10 + i);
        }

        for (var round = 0; round < 4; round++)
        {
            using var stop = new CancellationTokenSource();
            var seen = 0;
            Assert.ThrowsAny<OperationCanceledException>(() => Prepare(
                progress: new Collect([], _ =>
                {
                    if (++seen == 1 + round)
                    {
                        stop.Cancel();
                    }
                }),
                stop: stop));
        }

        var last = new List<DecodeProgress>();
        using var resumed = Prepare(progress: new Collect(last));
        Assert.InRange(last.Count, 1, 6);
        Assert.Equal((16, 16), (last[^1].Done, last[^1].Total));
        AssertSameAsUnbroken(resumed);
    }

    [Fact]
    public async Task Prepare_KilledAtRandomMoments_GoesOnAndEndsWithTheSameStore()
    {
        for (var i = 0; i < 24; i++)
        {
            TestVideos.Make(Path.Combine(Data, $"v{i:D2}.mp4"), 20 + i, "160x128");
        }

        var random = new CounterRandom(11, CounterRandom.Purpose("kill"));
        var kills = 0;
        for (var attempt = 0; attempt < 40; attempt++)
        {
            using var child = StartChild();
            var output = child.StandardOutput;
            var progressed = 0;
            var killAfter = 1 + random.NextInt(6);
            while (await output.ReadLineAsync(TestContext.Current.CancellationToken) is { } line)
            {
                if (line.Contains("decoded", StringComparison.Ordinal) && ++progressed == killAfter)
                {
                    child.Kill(entireProcessTree: true);
                    kills++;
                    break;
                }
            }

            await child.WaitForExitAsync(TestContext.Current.CancellationToken);
            if (child.ExitCode == 0)
            {
                break;
            }
        }

        Assert.InRange(kills, 3, 30);
        using var resumed = Prepare();
        AssertSameAsUnbroken(resumed);
    }

    /// <summary>The process that is killed by the test above: decodes and says so.</summary>
    [Fact(Explicit = true)]
    public void Child_DecodesTheFolderOfTheEnvironment()
    {
        var data = Environment.GetEnvironmentVariable("COCLR_TEST_CHILD_FOLDER");
        Assert.NotNull(data);
        using var console = new StreamWriter(Console.OpenStandardOutput()) { AutoFlush = true };
        ClipDecoder.Prepare(
            VideoCatalogue.Open(new CatalogueOptions { Root = Path.Combine(data, "data") }),
            new DecodeSettings { ShortSide = 32 },
            Path.Combine(data, "cache"),
            new Collect([], progress => console.WriteLine($"decoded {progress.Done}")),
            TestContext.Current.CancellationToken).Dispose();
    }

    [Fact]
    public void Prepare_FullDisk_SaysSoAndKeepsWhatIsDone()
    {
        // A limit on the size of files needs another process; a device that is always full does not.
        if (!File.Exists("/dev/full"))
        {
            Assert.Skip("There is no /dev/full here.");
        }

        TestVideos.Make(Path.Combine(Data, "a.mp4"), 3);
        using var stop = new CancellationTokenSource();
        Assert.ThrowsAny<OperationCanceledException>(() =>
        {
            stop.Cancel();
            Prepare(stop: stop);
        });
        var pool = Directory.EnumerateDirectories(Cache).Single();
        File.Delete(Path.Combine(pool, "frames-000.bin"));
        File.CreateSymbolicLink(Path.Combine(pool, "frames-000.bin"), "/dev/full");
        var error = Assert.Throws<UserErrorException>(() => Prepare());
        Assert.Equal(ExitCodes.DiskFull, error.ExitCode);
        Assert.Contains("disk is full", error.Message, StringComparison.Ordinal);

        File.Delete(Path.Combine(pool, "frames-000.bin"));
        using var store = Prepare();
        Assert.Equal(1, store.Count);
    }

    [Fact]
    public void Prepare_CacheWithoutPermission_SaysSo()
    {
        if (Environment.IsPrivilegedProcess)
        {
            Assert.Skip("A privileged user may write anywhere.");
        }

        TestVideos.Make(Path.Combine(Data, "a.mp4"), 3);
        Directory.CreateDirectory(Cache);
        if (OperatingSystem.IsLinux())
        {
            File.SetUnixFileMode(Cache, UnixFileMode.UserRead);
        }

        var error = Assert.Throws<UserErrorException>(() => Prepare());
        Assert.Equal(ExitCodes.BadConfiguration, error.ExitCode);
    }

    [Fact]
    public void Prepare_Weizmann_DecodesEveryClip()
    {
        var catalogue = VideoCatalogue.Open(new CatalogueOptions { Root = RealData.Folder("weizmann") });
        var progress = new List<DecodeProgress>();
        using var store = ClipDecoder.Prepare(
            catalogue, new DecodeSettings { ShortSide = 64 }, Cache, new Collect(progress), TestContext.Current.CancellationToken);
        Assert.Equal(90, store.Count);
        Assert.Empty(store.Header.Rejected);
        Assert.Equal(84, store.Videos[store.IndexOf("bend/daria_bend.mp4")].Frames);
        Assert.All(store.Videos, video => Assert.Equal((80, 64, 25.0), (video.Width, video.Height, video.Fps)));
        Assert.Equal(Enumerable.Range(1, 90), progress.Select(step => step.Done));
        Assert.Equal(TimeSpan.Zero, progress[^1].Remaining);
    }

    private ClipStore Prepare(
        DecodeSettings? settings = null, IProgress<DecodeProgress>? progress = null, CancellationTokenSource? stop = null) =>
        ClipDecoder.Prepare(
            VideoCatalogue.Open(new CatalogueOptions { Root = Data }),
            settings ?? new DecodeSettings { ShortSide = 32 },
            Cache,
            progress,
            stop?.Token ?? TestContext.Current.CancellationToken);

    private void AssertSameAsUnbroken(ClipStore resumed)
    {
        using var unbroken = ClipDecoder.Prepare(
            VideoCatalogue.Open(new CatalogueOptions { Root = Data }),
            new DecodeSettings { ShortSide = 32 },
            _folder.File("unbroken"),
            null,
            TestContext.Current.CancellationToken);
        Assert.Empty(resumed.Verify(TestContext.Current.CancellationToken));
        Assert.Equal(unbroken.Header.ContentKey, resumed.Header.ContentKey);
        Assert.Equal(
            unbroken.Videos.Select(video => video with { Offset = 0, Segment = 0 }),
            resumed.Videos.Select(video => video with { Offset = 0, Segment = 0 }));
    }

    private Process StartChild()
    {
        var info = new ProcessStartInfo(Environment.ProcessPath!)
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            StandardOutputEncoding = Encoding.UTF8,
        };
        if (Path.GetFileNameWithoutExtension(Environment.ProcessPath) == "dotnet")
        {
            info.ArgumentList.Add(typeof(ClipDecoderTests).Assembly.Location);
        }

        foreach (var argument in new[] { "-explicit", "only", "-method", $"{typeof(ClipDecoderTests).FullName}.{nameof(Child_DecodesTheFolderOfTheEnvironment)}" })
        {
            info.ArgumentList.Add(argument);
        }

        info.Environment["COCLR_TEST_CHILD_FOLDER"] = _folder.Path;
        return Process.Start(info)!;
    }

    /// <summary>Reports in the caller's thread, unlike <see cref="Progress{T}"/>.</summary>
    internal sealed class Collect(List<DecodeProgress> into, Action<DecodeProgress>? then = null) : IProgress<DecodeProgress>
    {
        public void Report(DecodeProgress value)
        {
            into.Add(value);
            then?.Invoke(value);
        }
    }
}
