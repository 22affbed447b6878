// Why this exists: points, log lines and mining events all grow at the end and are read by range: the newest chunks live in memory, the
// older ones in the index.
namespace CoCLR.Dashboard.Storage;

/// <summary>A list that only grows; full chunks that are saved leave memory. Not thread-safe: the run's gate guards it.</summary>
/// <param name="chunkSize">Items in a full chunk.</param>
/// <param name="count">Items that are saved already.</param>
/// <param name="first">First chunk that is still kept.</param>
/// <typeparam name="T">Items.</typeparam>
internal sealed class ChunkedList<T>(int chunkSize, int count = 0, int first = 0)
{
    private List<T>? _buffer = count == 0 ? [] : null;
    private int _bufferStart = count / chunkSize * chunkSize;
    private int _dirtyFrom = count;

    /// <summary>Items ever added.</summary>
    public int Count { get; private set; } = count;

    /// <summary>First chunk that is still kept.</summary>
    public int FirstChunk { get; private set; } = first;

    /// <summary>Adds an item at the end.</summary>
    public void Add(T item, Func<int, List<T>> load)
    {
        Fill(load);
        _buffer!.Add(item);
        Count++;
    }

    /// <summary>Copies what is in memory from <paramref name="index"/> on and tells which chunks before it must be loaded.</summary>
    /// <returns>Chunk numbers [from, to) to be loaded outside of the gate, and the items in memory.</returns>
    public (int From, int To, T[] Tail) Read(int index, Func<int, List<T>> load)
    {
        Fill(load);
        index = Math.Max(index, FirstChunk * chunkSize);
        int start = Math.Max(index, _bufferStart);
        T[] tail = start >= Count ? [] : [.. _buffer!.Skip(start - _bufferStart)];
        return (index / chunkSize, index >= _bufferStart ? index / chunkSize : _bufferStart / chunkSize, tail);
    }

    /// <summary>Items in memory, the newest of all.</summary>
    public List<T> Tail(Func<int, List<T>> load)
    {
        Fill(load);
        return _buffer!;
    }

    /// <summary>Index of the first item of <see cref="Tail"/>.</summary>
    public int TailStart => _bufferStart;

    /// <summary>Copies of the chunks that changed since the last call.</summary>
    public List<(int Chunk, T[] Items)> TakeDirty()
    {
        var dirty = new List<(int, T[])>();
        if (_dirtyFrom >= Count || _buffer == null)
        {
            return dirty;
        }

        for (int chunk = _dirtyFrom / chunkSize; chunk * chunkSize < Count; chunk++)
        {
            int from = (chunk * chunkSize) - _bufferStart;
            dirty.Add((chunk, [.. _buffer.Skip(from).Take(chunkSize)]));
        }

        _dirtyFrom = Count;
        return dirty;
    }

    /// <summary>Says that a save failed: everything in memory is dirty again.</summary>
    public void Unsaved() => _dirtyFrom = Math.Min(_dirtyFrom, _bufferStart);

    /// <summary>Forgets saved full chunks but the newest.</summary>
    public void Trim()
    {
        int keepFrom = (Math.Min(_dirtyFrom, Count) / chunkSize * chunkSize) - chunkSize;
        if (_buffer != null && keepFrom > _bufferStart)
        {
            _buffer.RemoveRange(0, keepFrom - _bufferStart);
            _bufferStart = keepFrom;
        }
    }

    /// <summary>Gives up the oldest saved chunks so that about <paramref name="limit"/> items remain.</summary>
    /// <returns>Chunk numbers to be deleted.</returns>
    public IEnumerable<int> Drop(int limit)
    {
        int keep = Math.Min(Math.Max(0, (Count - limit) / chunkSize), _bufferStart / chunkSize);
        for (; FirstChunk < keep; FirstChunk++)
        {
            yield return FirstChunk;
        }
    }

    private void Fill(Func<int, List<T>> load)
    {
        if (_buffer == null)
        {
            _buffer = Count % chunkSize == 0 ? [] : load(Count / chunkSize);
        }
    }
}
