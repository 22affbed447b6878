// Why this exists: decoding takes hours and machines die; what is written stays, what is torn is done again, and a store is finished
// in one step or not at all.
using System.Buffers;
using System.IO.Hashing;
using System.Text;
using System.Text.Json;
using CoCLR.Core;
using CoCLR.Runs;
using Microsoft.Win32.SafeHandles;

namespace CoCLR.Engine.Video.Store;

/// <summary>
/// Writes a <see cref="ClipStore"/>. Several videos may be written at once, each through its own <see cref="VideoWriter"/> into its own
/// data file. Frames are written first, then a line of the journal; opened again after a kill, the writer keeps all videos whose line and
/// frames are whole and cuts off the rest. <see cref="Complete"/> makes the store appear. A pool that may grow, for data sets that change,
/// is never completed itself: <see cref="CompleteView"/> makes stores that show a part of it.
/// </summary>
public sealed class ClipStoreWriter : IDisposable
{
    private const string JournalName = "journal.jsonl";
    private const int CommitsBetweenSyncs = 64;
    private readonly Lock _gate = new();
    private readonly string _folder;
    private readonly ClipStoreHeader _header;
    private readonly FileStream _lock;
    private readonly FileStream _journal;
    private readonly Dictionary<string, ClipStoreVideo> _done = new(StringComparer.Ordinal);
    private readonly Dictionary<string, RejectedVideo> _rejected = new(StringComparer.Ordinal);
    private readonly List<SegmentFile> _segments = [];
    private readonly Stack<int> _free = new();
    private int _unsynced;
    private bool _completed;

    private ClipStoreWriter(string folder, ClipStoreHeader header, FileStream @lock)
    {
        _folder = folder;
        _header = header;
        _lock = @lock;
        WholeFile.Sweep(folder, recursive: true);
        var path = Path.Combine(folder, JournalName);
        var keep = Recover(path);
        _journal = new FileStream(path, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.Read);
        _journal.SetLength(keep);
        _journal.Seek(0, SeekOrigin.End);
        if (keep == 0)
        {
            AppendLine(new JournalLine { Open = header });
        }
    }

    /// <summary>The videos that are in the store so far.</summary>
    public IReadOnlyCollection<ClipStoreVideo> Videos
    {
        get
        {
            lock (_gate)
            {
                return [.. _done.Values];
            }
        }
    }

    /// <summary>The videos that were left out so far.</summary>
    public IReadOnlyCollection<RejectedVideo> Rejected
    {
        get
        {
            lock (_gate)
            {
                return [.. _rejected.Values];
            }
        }
    }

    /// <summary>
    /// Opens a folder for writing, and goes on where an earlier writer with the same key stopped. Other content is replaced.
    /// </summary>
    /// <param name="folder">Made when missing.</param>
    /// <param name="header">Channels, content key and settings.</param>
    /// <exception cref="UserErrorException">1: another process is writing there, or the disk is full; 78: no permission.</exception>
    /// <exception cref="InvalidOperationException">The store is finished already (see <see cref="ClipStore.Exists"/>).</exception>
    public static ClipStoreWriter OpenOrCreate(string folder, ClipStoreHeader header)
    {
        if (header.Channels is not (2 or 3))
        {
            throw new ArgumentOutOfRangeException(nameof(header), header.Channels, "A store has 2 or 3 channels.");
        }

        return Open(folder, header, () => WriterLock.TryAcquire(folder) ?? throw new UserErrorException(
            $"Another process is preparing {folder}: wait until it is done and run again.",
            ExitCodes.Failed));
    }

    /// <summary>As <see cref="OpenOrCreate"/>, but waits while another process is writing there.</summary>
    /// <param name="folder">Made when missing.</param>
    /// <param name="header">Channels, content key and settings.</param>
    /// <param name="cancellationToken">Stops waiting.</param>
    public static ClipStoreWriter OpenWhenFree(string folder, ClipStoreHeader header, CancellationToken cancellationToken) =>
        Open(folder, header, () => WriterLock.Wait(folder, cancellationToken));

    private static ClipStoreWriter Open(string folder, ClipStoreHeader header, Func<FileStream> acquire)
    {
        FileStream? writerLock = null;
        try
        {
            Directory.CreateDirectory(folder);
            writerLock = acquire();
            if (ClipStore.Exists(folder, header.ContentKey))
            {
                throw new InvalidOperationException($"{folder} is finished: open it with ClipStore.Open.");
            }

            return new ClipStoreWriter(folder, header, writerLock);
        }
        catch (Exception error)
        {
            writerLock?.Dispose();
            if (WholeFile.Explain(error, folder) is { } explained)
            {
                throw explained;
            }

            throw;
        }
    }

    /// <summary>True when the video is in the store or was left out: nothing to do for it.</summary>
    /// <param name="id">Path below the data folder.</param>
    public bool Contains(string id)
    {
        lock (_gate)
        {
            return _done.ContainsKey(id) || _rejected.ContainsKey(id);
        }
    }

    /// <summary>True when there is nothing to do for this state of the video: its frames are there, or it was left out.</summary>
    /// <param name="id">Path below the data folder.</param>
    /// <param name="fingerprint">See <see cref="ClipStoreVideo.Fingerprint"/>.</param>
    public bool Contains(string id, string? fingerprint)
    {
        lock (_gate)
        {
            return (_done.TryGetValue(id, out var video) && video.Fingerprint == fingerprint)
                || (_rejected.TryGetValue(id, out var rejected) && rejected.Fingerprint == fingerprint);
        }
    }

    /// <summary>Starts a video. Dispose the result; without <see cref="VideoWriter.Commit"/> nothing of it stays.</summary>
    public VideoWriter Begin()
    {
        lock (_gate)
        {
            if (!_free.TryPop(out var segment))
            {
                segment = _segments.Count;
                _segments.Add(new SegmentFile(Path.Combine(_folder, ClipStore.SegmentName(segment)), 0));
            }

            return new VideoWriter(this, segment);
        }
    }

    /// <summary>Adds a whole video.</summary>
    /// <param name="video">What it is; frames, height and width must be set.</param>
    /// <param name="frames">[frames, height, width, channels].</param>
    public void Add(ClipStoreVideo video, ReadOnlySpan<byte> frames)
    {
        using var writer = Begin();
        writer.Write(frames);
        writer.Commit(video);
    }

    /// <summary>Notes that a video is left out, so that it is not tried again.</summary>
    /// <param name="id">Path below the data folder.</param>
    /// <param name="reason">In one line.</param>
    /// <param name="fingerprint">The state of the video that was tried.</param>
    public void Reject(string id, string reason, string? fingerprint = null)
    {
        lock (_gate)
        {
            var rejected = new RejectedVideo(id, reason, fingerprint);
            AppendLine(new JournalLine { Rejected = rejected });
            _rejected[id] = rejected;
            _done.Remove(id);
        }
    }

    /// <summary>Makes the store appear: syncs the data, writes the index, then the header. The writer is of no use afterwards.</summary>
    /// <param name="order">
    /// Ids in the order that readers shall see; null: sorted by id. Videos of the store that are not named are left out of the index.
    /// </param>
    /// <exception cref="UserErrorException">1: the disk is full.</exception>
    public void Complete(IEnumerable<string>? order = null)
    {
        lock (_gate)
        {
            Guarded(() =>
            {
                Sync();
                order ??= _done.Keys.Order(StringComparer.Ordinal);
                ClipStore.WriteFinished(
                    _folder,
                    _header with { Rejected = [.. _rejected.Values.OrderBy(video => video.Id, StringComparer.Ordinal)] },
                    [.. order.Where(_done.ContainsKey).Select(id => _done[id])]);
                _completed = true;
            });
        }
    }

    /// <summary>Makes a store appear in another folder that shows some videos of this pool, which stays open and may grow.</summary>
    /// <param name="folder">The store's folder; made when missing.</param>
    /// <param name="header">Its content key and settings.</param>
    /// <param name="videos">
    /// Videos of the pool in the order that readers shall see, with the labels, splits and groups that this store shall have; where their
    /// frames lie is taken from the pool.
    /// </param>
    /// <exception cref="KeyNotFoundException">The pool lacks one of the videos.</exception>
    /// <exception cref="UserErrorException">1: the disk is full.</exception>
    public void CompleteView(string folder, ClipStoreHeader header, IEnumerable<ClipStoreVideo> videos)
    {
        lock (_gate)
        {
            Guarded(() =>
            {
                Sync();
                Directory.CreateDirectory(folder);
                ClipStore.WriteFinished(
                    folder,
                    header with { Channels = _header.Channels, DataFolder = Path.GetRelativePath(folder, _folder) },
                    [.. videos.Select(video => video.Placed(_done[video.Id]))]);
            });
        }
    }

    /// <summary>Closes the files. Without <see cref="Complete"/> the work so far waits for the next writer.</summary>
    public void Dispose()
    {
        lock (_gate)
        {
            _journal.Dispose();
            foreach (var segment in _segments)
            {
                segment.Dispose();
            }

            if (_completed)
            {
                File.Delete(Path.Combine(_folder, JournalName));
            }

            _lock.Dispose();
        }
    }

    // Reads the journal of an earlier writer and returns how much of it can be kept.
    private long Recover(string path)
    {
        foreach (var stale in new[] { ClipStore.HeaderName, ClipStore.IndexName })
        {
            // Only a damaged or replaced store is opened for writing again.
            File.Delete(Path.Combine(_folder, stale));
        }

        var lines = ReadJournal(path, out var ends);
        if (lines.Count == 0 || lines[0].Open is not { } open || open.ContentKey != _header.ContentKey || open.Channels != _header.Channels)
        {
            foreach (var file in Directory.EnumerateFiles(_folder, "frames-*.bin"))
            {
                File.Delete(file);
            }

            return 0;
        }

        var synced = lines.FindLastIndex(line => line.Synced);
        var kept = lines.Count;
        var ids = new Dictionary<string, ClipStoreVideo>(StringComparer.Ordinal);
        for (var i = 0; i < lines.Count; i++)
        {
            if (lines[i].Video is { } video)
            {
                // A kill loses nothing that was written, a power cut may: what was not synced is read again.
                if (!FramesAreWhole(video, verify: i > synced))
                {
                    kept = i;
                    break;
                }

                ids[video.Id] = video;
                _rejected.Remove(video.Id);
            }
            else if (lines[i].Rejected is { } rejected)
            {
                _rejected[rejected.Id] = rejected;
                ids.Remove(rejected.Id);
            }
        }

        foreach (var (id, video) in ids)
        {
            _done[id] = video;
        }

        RecoverSegments(lines.Take(kept));
        return kept == 0 ? 0 : ends[kept - 1];
    }

    private void RecoverSegments(IEnumerable<JournalLine> lines)
    {
        // Frames that were replaced since may still be shown by an older view: they stay.
        var ends = new List<long>();
        foreach (var video in lines.Select(line => line.Video).OfType<ClipStoreVideo>())
        {
            while (ends.Count <= video.Segment)
            {
                ends.Add(0);
            }

            ends[video.Segment] = Math.Max(ends[video.Segment], video.Offset + video.Length(_header.Channels));
        }

        while (File.Exists(Path.Combine(_folder, ClipStore.SegmentName(ends.Count))))
        {
            ends.Add(0);
        }

        for (var i = 0; i < ends.Count; i++)
        {
            _segments.Add(new SegmentFile(Path.Combine(_folder, ClipStore.SegmentName(i)), ends[i]));
            _free.Push(i);
        }
    }

    private bool FramesAreWhole(ClipStoreVideo video, bool verify)
    {
        var path = Path.Combine(_folder, ClipStore.SegmentName(video.Segment));
        var length = video.Length(_header.Channels);
        if (!File.Exists(path) || new FileInfo(path).Length < video.Offset + length)
        {
            return false;
        }

        if (!verify)
        {
            return true;
        }

        using var file = File.OpenHandle(path);
        var buffer = ArrayPool<byte>.Shared.Rent(1 << 20);
        try
        {
            var hash = new XxHash3();
            for (long done = 0; done < length;)
            {
                var read = RandomAccess.Read(file, buffer.AsSpan(0, (int)Math.Min(buffer.Length, length - done)), video.Offset + done);
                if (read == 0)
                {
                    return false;
                }

                hash.Append(buffer.AsSpan(0, read));
                done += read;
            }

            return ClipStore.Hex(hash.GetCurrentHashAsUInt64()) == video.Checksum;
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(buffer);
        }
    }

    private static List<JournalLine> ReadJournal(string path, out List<long> ends)
    {
        var lines = new List<JournalLine>();
        ends = [];
        if (!File.Exists(path))
        {
            return lines;
        }

        var bytes = File.ReadAllBytes(path);
        var start = 0;
        while (start < bytes.Length)
        {
            var length = bytes.AsSpan(start).IndexOf((byte)'\n');
            if (length < 0 || Parse(bytes.AsSpan(start, length)) is not { } line)
            {
                break;
            }

            start += length + 1;
            lines.Add(line);
            ends.Add(start);
        }

        return lines;
    }

    // A line: 8 hexadecimal digits of the CRC-32 of the JSON, a blank, the JSON.
    private static JournalLine? Parse(ReadOnlySpan<byte> line)
    {
        if (line.Length < 10
            || !uint.TryParse(line[..8], System.Globalization.NumberStyles.HexNumber, null, out var crc)
            || Crc32.HashToUInt32(line[9..]) != crc)
        {
            return null;
        }

        return JsonSerializer.Deserialize<JournalLine>(line[9..], VideoJson.Options);
    }

    private void AppendLine(JournalLine line) => Guarded(() =>
    {
        var json = JsonSerializer.SerializeToUtf8Bytes(line, VideoJson.Options);
        var text = new byte[json.Length + 10];
        Encoding.ASCII.GetBytes($"{Crc32.HashToUInt32(json):x8} ", text);
        json.CopyTo(text, 9);
        text[^1] = (byte)'\n';
        var before = _journal.Length;
        try
        {
            _journal.Write(text);
            _journal.Flush();
        }
        catch (IOException)
        {
            _journal.SetLength(before);
            throw;
        }
    });

    private void CommitVideo(ClipStoreVideo video, int segment, long end)
    {
        lock (_gate)
        {
            if (_done.TryGetValue(video.Id, out var earlier) && earlier.Fingerprint == video.Fingerprint)
            {
                throw new InvalidOperationException($"{video.Id} is in the store already.");
            }

            AppendLine(new JournalLine { Video = video });
            _done[video.Id] = video;
            _rejected.Remove(video.Id);
            _segments[segment].End = end;
            if (++_unsynced >= CommitsBetweenSyncs)
            {
                Guarded(Sync);
            }
        }
    }

    private void Sync()
    {
        foreach (var segment in _segments)
        {
            segment.Sync();
        }

        AppendLine(new JournalLine { Synced = true });
        _journal.Flush(flushToDisk: true);
        _unsynced = 0;
    }

    private void Release(int segment)
    {
        lock (_gate)
        {
            _free.Push(segment);
        }
    }

    private void Guarded(Action write)
    {
        try
        {
            write();
        }
        catch (Exception error) when (WholeFile.Explain(error, _folder) is { } explained)
        {
            throw explained;
        }
    }

    /// <summary>One video on its way into the store.</summary>
    public sealed class VideoWriter : IDisposable
    {
        private readonly ClipStoreWriter _owner;
        private readonly int _segment;
        private readonly SegmentFile _file;
        private readonly XxHash3 _hash = new();
        private readonly long _offset;
        private long _length;
        private bool _disposed;

        internal VideoWriter(ClipStoreWriter owner, int segment)
        {
            _owner = owner;
            _segment = segment;
            _file = owner._segments[segment];
            _offset = _file.End;
        }

        /// <summary>Bytes written so far.</summary>
        public long Length => _length;

        /// <summary>Appends bytes; they need not be whole frames.</summary>
        /// <param name="bytes">Pixels in the order [frames, height, width, channels].</param>
        /// <exception cref="UserErrorException">1: the disk is full.</exception>
        public void Write(ReadOnlySpan<byte> bytes)
        {
            ObjectDisposedException.ThrowIf(_disposed, this);
            try
            {
                _file.Write(bytes, _offset + _length);
            }
            catch (Exception error) when (WholeFile.Explain(error, _owner._folder) is { } explained)
            {
                throw explained;
            }

            _hash.Append(bytes);
            _length += bytes.Length;
        }

        /// <summary>Keeps the video.</summary>
        /// <param name="video">What it is; its frames, height and width must agree with the bytes written.</param>
        /// <returns>The video with its place and checksum.</returns>
        /// <exception cref="ArgumentException">The size does not agree.</exception>
        public ClipStoreVideo Commit(ClipStoreVideo video)
        {
            ObjectDisposedException.ThrowIf(_disposed, this);
            if (video.Frames < 1 || video.Length(_owner._header.Channels) != _length)
            {
                throw new ArgumentException(
                    $"{video.Id}: {video.Frames} frames of {video.Width}x{video.Height} do not make {_length} bytes.",
                    nameof(video));
            }

            var placed = video with
            {
                Segment = _segment,
                Offset = _offset,
                Checksum = ClipStore.Hex(_hash.GetCurrentHashAsUInt64()),
            };
            _owner.CommitVideo(placed, _segment, _offset + _length);
            return placed;
        }

        /// <summary>Ends the video; drops it when it was not committed.</summary>
        public void Dispose()
        {
            if (!_disposed)
            {
                _disposed = true;
                _owner.Release(_segment);
            }
        }
    }

    internal sealed class SegmentFile : IDisposable
    {
        private readonly SafeFileHandle _handle;

        public SegmentFile(string path, long end)
        {
            _handle = File.OpenHandle(path, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.Read);
            if (RandomAccess.GetLength(_handle) > end)
            {
                RandomAccess.SetLength(_handle, end);
            }

            End = end;
        }

        public long End { get; set; }

        public void Write(ReadOnlySpan<byte> bytes, long offset) => RandomAccess.Write(_handle, bytes, offset);

        public void Sync() => RandomAccess.FlushToDisk(_handle);

        public void Dispose()
        {
            // A video that was begun and dropped may have left bytes behind the last whole one.
            if (RandomAccess.GetLength(_handle) > End)
            {
                RandomAccess.SetLength(_handle, End);
            }

            _handle.Dispose();
        }
    }

    private sealed record JournalLine
    {
        public ClipStoreHeader? Open { get; init; }

        public ClipStoreVideo? Video { get; init; }

        public RejectedVideo? Rejected { get; init; }

        [System.Text.Json.Serialization.JsonIgnore(Condition = System.Text.Json.Serialization.JsonIgnoreCondition.WhenWritingDefault)]
        public bool Synced { get; init; }
    }
}
