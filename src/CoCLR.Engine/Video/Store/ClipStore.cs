// Why this exists: decoded frames are read many thousand times, by several processes at once; mapped into memory they are shared, cost
// no copies and need no server.
using System.IO.Hashing;
using System.IO.MemoryMappedFiles;
using System.Text.Json;
using CoCLR.Core;
using CoCLR.Runs;

namespace CoCLR.Engine.Video.Store;

/// <summary>
/// A finished store, mapped read-only: uint8 frames of many videos, the frames of a video contiguous, pixels interleaved
/// ([frames, height, width, channels]). Written by <see cref="ClipStoreWriter"/>. Safe to read from many threads and processes.
/// </summary>
/// <remarks>
/// A folder: `store.json` (<see cref="ClipStoreHeader"/>; written last, so its presence means that the store is whole), `index.jsonl` (one
/// <see cref="ClipStoreVideo"/> a line) and the data files `frames-NNN.bin`. A view has a header and an index of its own and the data of
/// another folder, so that other labels or splits cost no second decoding. Spans point into the mapping: do not use them after
/// <see cref="Dispose"/>.
/// </remarks>
public sealed unsafe class ClipStore : IClipSource, IDisposable
{
    internal const string HeaderName = "store.json";
    internal const string IndexName = "index.jsonl";
    private readonly List<Segment> _segments = [];
    private readonly Dictionary<string, int> _byId;
    private readonly ClipStoreVideo[] _videos;
    private bool _disposed;

    private ClipStore(string folder, ClipStoreHeader header, ClipStoreVideo[] videos)
    {
        Folder = folder;
        Header = header;
        _videos = videos;
        _byId = new Dictionary<string, int>(videos.Length, StringComparer.Ordinal);
        for (var i = 0; i < videos.Length; i++)
        {
            _byId.Add(videos[i].Id, i);
        }
    }

    /// <summary>The store's folder.</summary>
    public string Folder { get; }

    /// <summary>What the store says of itself.</summary>
    public ClipStoreHeader Header { get; }

    /// <summary>Bytes a pixel: 3 (R, G, B) or 2 (quantised flow u, v).</summary>
    public int Channels => Header.Channels;

    /// <summary>The videos, in the catalogue's order.</summary>
    public IReadOnlyList<ClipStoreVideo> Videos => _videos;

    /// <summary>Number of videos.</summary>
    public int Count => _videos.Length;

    /// <inheritdoc/>
    public (int Frames, int Height, int Width, int Channels) Shape(int videoIndex) =>
        (_videos[videoIndex].Frames, _videos[videoIndex].Height, _videos[videoIndex].Width, Channels);

    /// <summary>All frames of all videos.</summary>
    public long TotalFrames => _videos.Sum(video => (long)video.Frames);

    /// <summary>All frame bytes.</summary>
    public long TotalBytes => _videos.Sum(video => video.Length(Channels));

    /// <summary>Class names by label; empty without labels.</summary>
    public IReadOnlyList<string> Classes
    {
        get
        {
            var count = _videos.Length == 0 ? 0 : _videos.Max(video => video.Label) + 1;
            var classes = new string[count];
            for (var label = 0; label < count; label++)
            {
                classes[label] = Array.Find(_videos, video => video.Label == label)?.Class ?? $"{label}";
            }

            return classes;
        }
    }

    /// <summary>True when a finished store with this key lies in the folder.</summary>
    /// <param name="folder">The folder.</param>
    /// <param name="contentKey">Key that must match; null accepts any.</param>
    public static bool Exists(string folder, string? contentKey = null) =>
        TryReadHeader(folder) is { } header && (contentKey is null || header.ContentKey == contentKey);

    /// <summary>Maps a finished store.</summary>
    /// <param name="folder">The store's folder.</param>
    /// <exception cref="UserErrorException">66: no finished store there; 65: its index or data files are damaged.</exception>
    public static ClipStore Open(string folder)
    {
        var header = TryReadHeader(folder) ?? throw new UserErrorException(
            $"There is no finished clip store in {folder}: prepare the data set first (coclr data prepare).",
            ExitCodes.MissingInput);
        var store = new ClipStore(folder, header, ReadIndex(folder, header));
        try
        {
            store.Map();
            return store;
        }
        catch
        {
            store.Dispose();
            throw;
        }
    }

    /// <summary>
    /// Writes a view: the frames of a finished store under other labels, splits or groups, or only some of its videos.
    /// Whole or not at all.
    /// </summary>
    /// <param name="source">The store that has the frames.</param>
    /// <param name="folder">The view's folder; made when missing.</param>
    /// <param name="videos">Videos of the source, relabelled; where the frames lie is taken from the source.</param>
    public static void WriteView(ClipStore source, string folder, IEnumerable<ClipStoreVideo> videos)
    {
        Directory.CreateDirectory(folder);
        var data = Path.GetRelativePath(folder, Path.Combine(source.Folder, source.Header.DataFolder));
        var placed = videos.Select(video => video.Placed(source.Videos[source.IndexOf(video.Id)]));
        WriteFinished(folder, source.Header with { DataFolder = data }, [.. placed]);
    }

    /// <summary>Position of a video, or an exception.</summary>
    /// <param name="id">Path below the data folder.</param>
    /// <exception cref="KeyNotFoundException">No such video.</exception>
    public int IndexOf(string id) =>
        _byId.TryGetValue(id, out var index) ? index : throw new KeyNotFoundException($"{Folder} holds no video {id}.");

    /// <summary>Position of a video, if it is there.</summary>
    /// <param name="id">Path below the data folder.</param>
    /// <param name="index">Its position.</param>
    public bool TryIndexOf(string id, out int index) => _byId.TryGetValue(id, out index);

    /// <summary>All frames of a video: [frames, height, width, channels].</summary>
    /// <param name="videoIndex">Position in <see cref="Videos"/>.</param>
    /// <exception cref="OverflowException">More than 2 GiB: read it in parts with <see cref="Frames(int, int, int)"/>.</exception>
    public ReadOnlySpan<byte> Frames(int videoIndex) => Frames(videoIndex, 0, _videos[videoIndex].Frames);

    /// <summary>One frame: [height, width, channels].</summary>
    /// <param name="videoIndex">Position in <see cref="Videos"/>.</param>
    /// <param name="frame">From 0.</param>
    public ReadOnlySpan<byte> Frame(int videoIndex, int frame) => Frames(videoIndex, frame, 1);

    /// <summary>Consecutive frames: [count, height, width, channels].</summary>
    /// <param name="videoIndex">Position in <see cref="Videos"/>.</param>
    /// <param name="start">First frame.</param>
    /// <param name="count">Number of frames.</param>
    public ReadOnlySpan<byte> Frames(int videoIndex, int start, int count)
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        var video = _videos[videoIndex];
        ArgumentOutOfRangeException.ThrowIfNegative(start);
        ArgumentOutOfRangeException.ThrowIfNegative(count);
        ArgumentOutOfRangeException.ThrowIfGreaterThan((long)start + count, video.Frames, nameof(count));
        var frameBytes = (long)video.Pixels * Channels;
        return new ReadOnlySpan<byte>(
            _segments[video.Segment].Pointer + video.Offset + (start * frameBytes),
            checked((int)(count * frameBytes)));
    }

    /// <summary>One frame as RGB. Flow becomes the image of the reference: R = 128, G = v, B = u (method.md 1f).</summary>
    /// <param name="videoIndex">Position in <see cref="Videos"/>.</param>
    /// <param name="frame">From 0.</param>
    /// <param name="rgb">[height, width, 3].</param>
    public void CopyRgb(int videoIndex, int frame, Span<byte> rgb)
    {
        var source = Frame(videoIndex, frame);
        if (Channels == 3)
        {
            source.CopyTo(rgb);
            return;
        }

        for (int i = 0, o = 0; i < source.Length; i += 2, o += 3)
        {
            rgb[o] = 128;
            rgb[o + 1] = source[i + 1];
            rgb[o + 2] = source[i];
        }
    }

    /// <summary>Reads everything and compares checksums.</summary>
    /// <param name="cancellationToken">Stops early.</param>
    /// <returns>Ids of the damaged videos; empty when all is well.</returns>
    public IReadOnlyList<string> Verify(CancellationToken cancellationToken = default)
    {
        var damaged = new List<string>();
        for (var i = 0; i < _videos.Length; i++)
        {
            cancellationToken.ThrowIfCancellationRequested();
            if (Checksum(_videos[i]) != _videos[i].Checksum)
            {
                damaged.Add(_videos[i].Id);
            }
        }

        return damaged;
    }

    /// <summary>Unmaps the data. Spans taken before are invalid from here on.</summary>
    public void Dispose()
    {
        if (!_disposed)
        {
            _disposed = true;
            foreach (var segment in _segments)
            {
                segment.Dispose();
            }
        }
    }

    internal static string SegmentName(int segment) => $"frames-{segment:D3}.bin";

    internal static string Hex(ulong hash) => hash.ToString("x16", System.Globalization.CultureInfo.InvariantCulture);

    internal static ClipStoreHeader? TryReadHeader(string folder)
    {
        try
        {
            using var stream = File.OpenRead(Path.Combine(folder, HeaderName));
            return JsonSerializer.Deserialize<ClipStoreHeader>(stream, VideoJson.Options) is { Version: 1, Channels: 2 or 3 } header
                ? header
                : throw Damaged(folder, $"{HeaderName} is of another version");
        }
        catch (Exception error) when (error is FileNotFoundException or DirectoryNotFoundException)
        {
            return null;
        }
        catch (JsonException error)
        {
            throw Damaged(folder, $"{HeaderName} cannot be read: {error.Message}");
        }
        catch (UnauthorizedAccessException error)
        {
            throw new UserErrorException($"No permission to read {Path.Combine(folder, HeaderName)}.", ExitCodes.MissingInput, error);
        }
    }

    internal static void WriteFinished(string folder, ClipStoreHeader header, IReadOnlyList<ClipStoreVideo> videos)
    {
        using var index = new MemoryStream();
        foreach (var video in videos)
        {
            JsonSerializer.Serialize(index, video, VideoJson.Options);
            index.WriteByte((byte)'\n');
        }

        var bytes = index.ToArray();
        WholeFile.Write(Path.Combine(folder, IndexName), stream => stream.Write(bytes));
        header = header with { Count = videos.Count, IndexChecksum = Hex(XxHash3.HashToUInt64(bytes)) };
        WholeFile.Write(Path.Combine(folder, HeaderName), stream => JsonSerializer.Serialize(stream, header, VideoJson.Indented));
    }

    private static ClipStoreVideo[] ReadIndex(string folder, ClipStoreHeader header)
    {
        var path = Path.Combine(folder, IndexName);
        if (!File.Exists(path))
        {
            throw Damaged(folder, $"{IndexName} is missing");
        }

        var bytes = File.ReadAllBytes(path);
        if (Hex(XxHash3.HashToUInt64(bytes)) != header.IndexChecksum)
        {
            throw Damaged(folder, $"{IndexName} does not have the checksum of {HeaderName}");
        }

        var videos = new ClipStoreVideo[header.Count];
        var rest = bytes.AsSpan();
        for (var i = 0; i < videos.Length; i++)
        {
            var end = rest.IndexOf((byte)'\n');
            videos[i] = JsonSerializer.Deserialize<ClipStoreVideo>(rest[..end], VideoJson.Options)!;
            rest = rest[(end + 1)..];
        }

        return videos;
    }

    private static UserErrorException Damaged(string folder, string what) => new(
        $"The clip store {folder} is damaged ({what}): delete the folder and prepare the data set again.",
        ExitCodes.BadData);

    private void Map()
    {
        var data = Path.Combine(Folder, Header.DataFolder);
        var lengths = new long[_videos.Length == 0 ? 0 : _videos.Max(video => video.Segment) + 1];
        foreach (var video in _videos)
        {
            lengths[video.Segment] = Math.Max(lengths[video.Segment], video.Offset + video.Length(Channels));
        }

        for (var i = 0; i < lengths.Length; i++)
        {
            var path = Path.Combine(data, SegmentName(i));
            if (lengths[i] > 0 && (!File.Exists(path) || new FileInfo(path).Length < lengths[i]))
            {
                // Reading a mapping beyond the end of its file would kill the process.
                throw Damaged(Folder, $"{SegmentName(i)} is missing or too short");
            }

            _segments.Add(new Segment(path, lengths[i]));
        }
    }

    private string Checksum(ClipStoreVideo video)
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        return Hex(HashRange(_segments[video.Segment].Pointer + video.Offset, video.Length(Channels)));
    }

    private static ulong HashRange(byte* pointer, long length)
    {
        var hash = new XxHash3();
        while (length > 0)
        {
            var part = (int)Math.Min(length, 1 << 30);
            hash.Append(new ReadOnlySpan<byte>(pointer, part));
            pointer += part;
            length -= part;
        }

        return hash.GetCurrentHashAsUInt64();
    }

    private sealed class Segment : IDisposable
    {
        private readonly MemoryMappedFile? _file;
        private readonly MemoryMappedViewAccessor? _view;

        public Segment(string path, long length)
        {
            if (length == 0)
            {
                return;
            }

            _file = MemoryMappedFile.CreateFromFile(
                new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite),
                null,
                0,
                MemoryMappedFileAccess.Read,
                HandleInheritability.None,
                leaveOpen: false);
            _view = _file.CreateViewAccessor(0, length, MemoryMappedFileAccess.Read);
            byte* pointer = null;
            _view.SafeMemoryMappedViewHandle.AcquirePointer(ref pointer);
            Pointer = pointer + _view.PointerOffset;
        }

        public byte* Pointer { get; }

        public void Dispose()
        {
            _view?.SafeMemoryMappedViewHandle.ReleasePointer();
            _view?.Dispose();
            _file?.Dispose();
        }
    }
}
