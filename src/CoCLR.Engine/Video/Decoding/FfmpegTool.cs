// Why this exists: one place that starts ffmpeg and ffprobe: never through a shell, with file names passed so that no name is taken for
// an option or an address, with nothing but the one video open to what the video says, and with their messages made short.
using System.Diagnostics;
using System.Globalization;
using System.Text;
using System.Text.RegularExpressions;
using CoCLR.Core;
using CoCLR.Engine.Video.Catalogue;

namespace CoCLR.Engine.Video.Decoding;

/// <summary>Runs ffmpeg and ffprobe.</summary>
public static partial class FfmpegTool
{
    private const int LongestLog = 400;

    // Containers and streams that hold their own pictures. Whatever names other files (HLS, DASH, concat, IMF, image sequences, scripts) is
    // missing on purpose.
    private const string VideoFormats =
        "mov,matroska,webm,avi,mpeg,mpegts,mpegvideo,m4v,h264,hevc,av1,obu,ivf,vc1,dirac,mjpeg,mjpeg_2000,smjpeg,ogg,flv,asf,rm,mxf,nut,dv,wtv,gif,yuv4mpegpipe";

    private static readonly Lazy<Version?> FfmpegVersion = new(() => ReadVersion("ffmpeg"));

    /// <summary>What `ffmpeg -version` says, or null when it cannot be started; for `coclr doctor`.</summary>
    public static Version? Version => FfmpegVersion.Value;

    /// <summary>The argument that means exactly this file, whatever its name looks like.</summary>
    /// <param name="path">A path.</param>
    internal static string FileArgument(string path) => "file:" + Path.GetFullPath(path);

    /// <summary>
    /// The options that read a video which is not trusted: only formats that hold their own pictures, only from this file. A playlist that
    /// calls itself
    /// .mp4 opens neither other files nor addresses.
    /// </summary>
    /// <param name="path">A path.</param>
    internal static string[] Input(string path) =>
        ["-protocol_whitelist", "file", "-format_whitelist", VideoFormats, "-i", FileArgument(path)];

    /// <summary>The option that keeps every decoded frame once, as variable-rate videos have them.</summary>
    internal static string[] EveryFrameOnce =>
        Version is { } version && version < new Version(5, 1) ? ["-vsync", "0"] : ["-fps_mode", "passthrough"];

    /// <summary>Starts a tool with its standard output and error piped.</summary>
    /// <param name="tool">ffmpeg or ffprobe.</param>
    /// <param name="arguments">Its arguments.</param>
    /// <param name="input">Whether its standard input is written.</param>
    /// <param name="only">The one file that it may read, where the system can enforce that; null: any.</param>
    /// <exception cref="UserErrorException">66: it is not installed.</exception>
    internal static Process Start(string tool, IEnumerable<string> arguments, bool input = false, string? only = null)
    {
        var info = new ProcessStartInfo(Executable(tool))
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            RedirectStandardInput = input,
            StandardErrorEncoding = Encoding.UTF8,
            UseShellExecute = false,
        };
        foreach (var argument in arguments)
        {
            info.ArgumentList.Add(argument);
        }

        try
        {
            return only is not null && ConfinedProcess.IsSupported ? ConfinedProcess.Start(info, only) : Process.Start(info)!;
        }
        catch (System.ComponentModel.Win32Exception error)
        {
            throw new UserErrorException(
                $"{tool} cannot be started ({error.Message}): install ffmpeg (on Debian and Ubuntu: apt-get install ffmpeg), or name it in "
                    + $"COCLR_{tool.ToUpperInvariant()}.",
                ExitCodes.MissingInput,
                error);
        }
    }

    /// <summary>Runs a tool to its end.</summary>
    /// <param name="tool">ffmpeg or ffprobe.</param>
    /// <param name="arguments">Its arguments.</param>
    /// <param name="input">Writes its standard input; null: none.</param>
    /// <param name="only">The one file that it may read; null: any.</param>
    /// <param name="cancellationToken">Kills it.</param>
    /// <returns>Exit status, standard output, log.</returns>
    internal static (int Status, string Output, FfmpegLog Log) Run(
        string tool,
        IEnumerable<string> arguments,
        Action<Stream>? input = null,
        string? only = null,
        CancellationToken cancellationToken = default)
    {
        using var process = Start(tool, arguments, input is not null, only);
        using var kill = cancellationToken.Register(() => Kill(process));
        var log = FfmpegLog.ReadAsync(process.StandardError);
        var output = process.StandardOutput.ReadToEndAsync(CancellationToken.None);
        if (input is not null)
        {
            try
            {
                using var stdin = process.StandardInput.BaseStream;
                input(stdin);
            }
            catch (IOException)
            {
                // The tool ended before it had read everything: its exit status and its log say why.
            }
        }

        process.WaitForExit();
        cancellationToken.ThrowIfCancellationRequested();
        return (process.ExitCode, output.GetAwaiter().GetResult(), log.GetAwaiter().GetResult());
    }

    internal static void Kill(Process process)
    {
        try
        {
            process.Kill(entireProcessTree: true);
        }
        catch (InvalidOperationException)
        {
            // It has ended already.
        }
    }

    internal static string Executable(string tool) =>
        Environment.GetEnvironmentVariable($"COCLR_{tool.ToUpperInvariant()}") is { Length: > 0 } path ? path : tool;

    private static Version? ReadVersion(string tool)
    {
        try
        {
            var (status, output, _) = Run(tool, ["-version"]);
            var match = VersionText().Match(output);
            return status != 0 ? null
                : match.Success
                    ? new Version(
                        int.Parse(match.Groups[1].Value, CultureInfo.InvariantCulture),
                        int.Parse(match.Groups[2].Value, CultureInfo.InvariantCulture))
                : new Version(99, 0); // A build from the repository names no number: newer than any.
        }
        catch (UserErrorException)
        {
            return null;
        }
    }

    [GeneratedRegex(@"^\w+ version n?(\d+)\.(\d+)")]
    private static partial Regex VersionText();

    /// <summary>What ffmpeg logged, with `-loglevel level+info`.</summary>
    internal sealed partial class FfmpegLog
    {
        private readonly List<string> _errors = [];

        /// <summary>Frames a second that the container states; 0 when unknown.</summary>
        public double Fps { get; private set; }

        /// <summary>Seconds that the container states; 0 when unknown.</summary>
        public double Seconds { get; private set; }

        public IReadOnlyList<string> Errors => _errors;

        public bool Interrupted { get; private set; }

        /// <summary>Why the file is of no format that is read, or null.</summary>
        public string? Refused { get; private set; }

        public static async Task<FfmpegLog> ReadAsync(TextReader reader)
        {
            var log = new FfmpegLog();
            while (await reader.ReadLineAsync().ConfigureAwait(false) is { } line)
            {
                log.Add(line.Length > 2000 ? line[..2000] : line);
            }

            return log;
        }

        /// <summary>The first and the last complaint in one short line, without addresses and the file's own path.</summary>
        public string Summary(string path)
        {
            var argument = FileArgument(path);
            var said =
                _errors.Select(error => MessageText.OneLine(error.Replace(argument, "", StringComparison.Ordinal).TrimStart(':', ' '), 160))
                .Where(error => error.Length > 0)
                .ToList();
            return Refused is not null ? Refused
                : said.Count == 0 ? ""
                : said.Exists(error => error.Contains("matches no streams", StringComparison.Ordinal)) ? "there is no video stream in it"
                : said.Count == 1 || said[0] == said[^1] ? said[0]
                : $"{said[0]}; {said[^1]}";
        }

        private void Add(string line)
        {
            if (OtherFormat().Match(line) is { Success: true } format)
            {
                Refused = Playlist().IsMatch(format.Groups[1].Value)
                    ? "a playlist, not a video: give the files that it names"
                    : $"of the format {format.Groups[1].Value}, which is not read: convert it to mp4 or mkv";
                _errors.Add(Refused);
            }
            else if (Complaint().Match(line) is { Success: true } complaint)
            {
                if (_errors.Count < LongestLog)
                {
                    _errors.Add(complaint.Groups[1].Value);
                }
            }
            else if (Fps == 0 && Rate().Match(line) is { Success: true } rate)
            {
                var fps = Number(rate.Groups[1].Value);
                Fps = rate.Groups[2].Value == "k" ? fps * 1000 : fps;
            }
            else if (Seconds == 0 && Duration().Match(line) is { Success: true } duration)
            {
                Seconds = (Number(duration.Groups[1].Value) * 3600) + (Number(duration.Groups[2].Value) * 60)
                    + Number(duration.Groups[3].Value);
            }
            else if (line.Contains("received signal", StringComparison.Ordinal))
            {
                Interrupted = true;
            }
        }

        // A log may hold a file's own metadata: what looks like a number need not be one.
        private static double Number(string text) =>
            double.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out var number) && double.IsFinite(number) ? number : 0;

        // [hls @ 0x55d] [error] Format not on whitelist 'mov,avi'
        [GeneratedRegex(@"^\[([\w,]+) @ [^\]]*\] \[error\] Format not on whitelist")]
        private static partial Regex OtherFormat();

        [GeneratedRegex("^(hls|applehttp|dash|concat|concatf|imf|sdp|rtsp|webm_dash_manifest|avisynth|avs|vapoursynth)")]
        private static partial Regex Playlist();

        // [mov,mp4 @ 0x55d] [error] moov atom not found
        [GeneratedRegex(@"\[(?:error|fatal|panic)\] (.+)")]
        private static partial Regex Complaint();

        // [info]   Stream #0:0[0x1](und): Video: h264 (High), yuv420p, 160x128, 33 kb/s, 25 fps, 25 tbr
        [GeneratedRegex(@"^\[info\]   Stream #0:\d+.*: Video: .*?([\d.]+)(k?) fps")]
        private static partial Regex Rate();

        // [info]   Duration: 00:00:03.36, start: 0.000000
        [GeneratedRegex(@"^\[info\]   Duration: (\d+):(\d+):([\d.]+)")]
        private static partial Regex Duration();
    }
}
