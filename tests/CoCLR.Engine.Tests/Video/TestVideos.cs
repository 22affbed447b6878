// Why this exists: tests decode real files; ffmpeg makes them on the spot.
using CoCLR.Engine.Video.Decoding;

namespace CoCLR.Engine.Tests.Video;

internal static class TestVideos
{
    /// <summary>Encodes ffmpeg's moving test picture.</summary>
    public static void Make(string path, int frames = 10, string size = "64x48", params string[] options)
    {
        string[] source = ["-f", "lavfi", "-i", $"testsrc=size={size}:rate=25", "-frames:v", $"{frames}"];
        string[] encoder = options.Contains("-c:v") ? [] : ["-c:v", "libx264", "-preset", "ultrafast"];
        string[] pixels = options.Contains("-pix_fmt") || options.Contains("-c:v") ? [] : ["-pix_fmt", "yuv420p"];
        Ffmpeg([.. source, .. encoder, .. pixels, .. options, FfmpegTool.FileArgument(path)]);
    }

    public static void Ffmpeg(params string[] arguments)
    {
        if (FfmpegTool.Version is null)
        {
            Assert.Skip("ffmpeg is not installed.");
        }

        var (status, _, log) = FfmpegTool.Run("ffmpeg", ["-hide_banner", "-nostdin", "-loglevel", "level+warning", "-y", .. arguments]);
        Assert.True(status == 0, string.Join('\n', log.Errors));
    }
}
