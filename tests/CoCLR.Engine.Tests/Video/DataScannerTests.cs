// Why this exists: the report of a folder is what people repair their data by.
using System.Text.Json;
using CoCLR.Engine.Video.Catalogue;
using CoCLR.Engine.Video.Decoding;

namespace CoCLR.Engine.Tests.Video;

public sealed class DataScannerTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Scan_MixedFolder_ReportsWhatIsThereAndWhatIsBroken(bool thorough)
    {
        Directory.CreateDirectory(_folder.File("walk"));
        Directory.CreateDirectory(_folder.File("run"));
        TestVideos.Make(_folder.File("walk", "a.mp4"), 25);
        TestVideos.Make(_folder.File("walk", "b.mkv"), 50, "32x32");
        TestVideos.Make(_folder.File("run", "half.mp4"), 100, "64x48", "-movflags", "+faststart", "-g", "10");
        File.WriteAllText(_folder.File("run", "text.mp4"), "no video");
        using (var cut = File.OpenWrite(_folder.File("run", "half.mp4")))
        {
            cut.SetLength(cut.Length / 2);
        }

        var report = DataScanner.Scan(
            new CatalogueOptions { Root = _folder.Path }, thorough, leaks: true, null, TestContext.Current.CancellationToken);
        Assert.Equal(4, report.Videos);
        Assert.Equal(["run", "walk"], report.Classes.Select(item => item.Name));
        Assert.Equal(2, report.Classes[1].Train + report.Classes[1].Test);
        // Damage in the middle is found by decoding only.
        Assert.Equal(thorough ? ["run/half.mp4", "run/text.mp4"] : ["run/text.mp4"], report.Broken.Select(video => video.Id));
        Assert.Contains(new ScannedCount("64x48", thorough ? 1 : 2), report.Sizes);
        Assert.Contains(report.FrameRates, rate => rate.Value == "25");
        Assert.Equal(25, report.Frames!.Min);
        Assert.Equal(1, report.Duration!.Min, 2);
        Assert.True(report.Bytes > 1000);
        var json = JsonSerializer.Serialize(report);
        Assert.Contains("\"text.mp4\"", json.Replace("run/", "", StringComparison.Ordinal), StringComparison.Ordinal);
    }
}
