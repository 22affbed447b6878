// Why this exists: motion is lost in frames as small as those that are stored, so flow reads the videos again at a size of its own; nothing
// of them is kept.
using System.Diagnostics;
using System.Globalization;
using CoCLR.Core;
using CoCLR.Engine.Video.Decoding;
using CoCLR.Engine.Video.Store;

namespace CoCLR.Engine.Flow;

/// <summary>Where flow gets a video's frames from.</summary>
/// <param name="store">The store that flow is made for.</param>
/// <param name="size">Short side at most; 0 for the stored frames.</param>
/// <param name="files">The video files by id; null: only the stored frames are there.</param>
internal sealed class GrayFrames(ClipStore store, int size, IReadOnlyDictionary<string, string>? files)
{
    /// <summary>Opens a video at its first frame.</summary>
    /// <param name="index">Its position in the store.</param>
    /// <param name="most">Frames that will be read at most.</param>
    /// <exception cref="UserErrorException">Its file is gone (66).</exception>
    public IGrayVideo Open(int index, int most = int.MaxValue)
    {
        ClipStoreVideo video = store.Videos[index];
        if (size == 0 || files is null)
        {
            return new StoredVideo(store, index);
        }

        return files.TryGetValue(video.Id, out string? path) && File.Exists(path)
            ? new FileVideo(path, Settings(Math.Min(most, video.Frames)))
            : throw new UserErrorException(
                $"{video.Id} was decoded, but its file is gone, and flow is computed on frames of its own size: put it back, or remove the "
                    + $"store of frames and run again.",
                ExitCodes.MissingInput);
    }

    /// <summary>Opens a file that is in no store.</summary>
    /// <param name="path">The file.</param>
    /// <param name="most">Frames that will be read at most.</param>
    /// <param name="size">Short side at most.</param>
    /// <exception cref="UserErrorException">It cannot be decoded (65).</exception>
    public static IGrayVideo OpenFile(string path, int most, int size) =>
        new FileVideo(path, new DecodeSettings { ShortSide = size, Enlarges = false, MaxFrames = most });

    // As the stored frames were decoded, but for their size.
    private DecodeSettings Settings(int most) => new()
    {
        ShortSide = size,
        Enlarges = false,
        FrameRate = store.Header.Settings.TryGetValue("frameRate", out string? rate)
            && double.TryParse(rate, CultureInfo.InvariantCulture, out double number) ? number : null,
        MaxFrames = most,
    };

    private sealed class StoredVideo(ClipStore store, int index) : IGrayVideo
    {
        private int _next;

        public int Width => store.Videos[index].Width;

        public int Height => store.Videos[index].Height;

        public void Read(Span<byte> gray) => GrayImage.FromRgb(store.Frame(index, _next++), gray);

        public void Dispose()
        {
        }
    }

    private sealed class FileVideo : IGrayVideo
    {
        private readonly Process _process;
        private readonly Task<FfmpegTool.FfmpegLog> _log;
        private readonly string _path;
        private readonly int _frames;
        private byte[] _rgb = [];
        private int _read;
        private bool _ahead;

        public FileVideo(string path, DecodeSettings settings)
        {
            (_path, _frames) = (path, settings.MaxFrames);
            _process = FfmpegTool.Start("ffmpeg", ClipDecoder.Arguments(path, settings), only: path);
            _log = FfmpegTool.FfmpegLog.ReadAsync(_process.StandardError);
            Fetch();
            _ahead = true;
        }

        public int Width { get; private set; }

        public int Height { get; private set; }

        public void Read(Span<byte> gray)
        {
            if (!_ahead)
            {
                Fetch();
            }

            _ahead = false;
            GrayImage.FromRgb(_rgb, gray);
        }

        public void Dispose()
        {
            FfmpegTool.Kill(_process);
            _process.WaitForExit();
            _log.GetAwaiter().GetResult();
            _process.Dispose();
        }

        private void Fetch()
        {
            Stream stream = _process.StandardOutput.BaseStream;
            if (PixmapReader.ReadHead(stream) is not var (width, height) || (Width > 0 && (width, height) != (Width, Height)))
            {
                throw Broken();
            }

            (Width, Height) = (width, height);
            if (_rgb.Length != 3 * width * height)
            {
                _rgb = new byte[3 * width * height];
            }

            if (stream.ReadAtLeast(_rgb, _rgb.Length, throwOnEndOfStream: false) < _rgb.Length)
            {
                throw Broken();
            }

            _read++;
        }

        private UserErrorException Broken()
        {
            FfmpegTool.Kill(_process);
            string said = _log.GetAwaiter().GetResult().Summary(_path);
            return new UserErrorException(
                $"{_path} gave {_frames} frames when it was decoded and {_read} now{(said.Length > 0 ? $" ({said})" : "")}: it has "
                    + $"changed. Remove the store of frames and run again.",
                ExitCodes.BadData);
        }
    }
}

/// <summary>A video's frames, one after the other.</summary>
internal interface IGrayVideo : IDisposable
{
    /// <summary>Width of a frame in pixels.</summary>
    int Width { get; }

    /// <summary>Height of a frame in pixels.</summary>
    int Height { get; }

    /// <summary>Reads the next frame.</summary>
    /// <param name="gray">Receives [height, width].</param>
    void Read(Span<byte> gray);
}
