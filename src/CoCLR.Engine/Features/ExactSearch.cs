// Why this exists: retrieval, the kNN probe, t-SNE and `coclr search` all need the k largest dot products among many features, exactly and
// with ties decided.
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using CoCLR.Core;

namespace CoCLR.Engine.Features;

/// <summary>A found row and its dot product with the query.</summary>
/// <param name="Index">Row of the gallery.</param>
/// <param name="Score">The dot product.</param>
public readonly record struct SearchHit(int Index, float Score) : IComparable<SearchHit>
{
    /// <summary>Best first: the larger score, then the smaller index.</summary>
    /// <param name="other">The other hit.</param>
    public int CompareTo(SearchHit other) => Score != other.Score ? other.Score.CompareTo(Score) : Index.CompareTo(other.Index);

    /// <summary>Whether <paramref name="left"/> comes before <paramref name="right"/>.</summary>
    /// <param name="left">A hit.</param>
    /// <param name="right">Another.</param>
    public static bool operator <(SearchHit left, SearchHit right) => left.CompareTo(right) < 0;

    /// <summary>Whether <paramref name="left"/> comes after <paramref name="right"/>.</summary>
    /// <param name="left">A hit.</param>
    /// <param name="right">Another.</param>
    public static bool operator >(SearchHit left, SearchHit right) => left.CompareTo(right) > 0;

    /// <summary>Whether <paramref name="left"/> comes before <paramref name="right"/> or equals it.</summary>
    /// <param name="left">A hit.</param>
    /// <param name="right">Another.</param>
    public static bool operator <=(SearchHit left, SearchHit right) => left.CompareTo(right) <= 0;

    /// <summary>Whether <paramref name="left"/> comes after <paramref name="right"/> or equals it.</summary>
    /// <param name="left">A hit.</param>
    /// <param name="right">Another.</param>
    public static bool operator >=(SearchHit left, SearchHit right) => left.CompareTo(right) >= 0;
}

/// <summary>
/// Exact top-k of dot products among N x D float32 features, on all cores. Every score is one and the same sum (sixteen lanes of fused
/// multiply-adds, folded in a fixed order), whatever the batch, the position or the number of threads, so that equal features get
/// equal scores and ties go to the smaller index.
/// </summary>
public sealed unsafe class ExactSearch : IDisposable
{
    private const int Lanes = 16;
    private const int TileQueries = 4;
    private const int TileRows = 4;
    private const int QueryBlock = 64;

    // Rows that one worker takes at a time: as many as stay in its second-level cache while a block of queries passes over them.
    private const int BlockBytes = 256 * 1024;

    private readonly float* _gallery;
    private readonly int _stride;
    private readonly GCHandle _pin;
    private readonly bool _owned;
    private readonly int _threads;
    private bool _disposed;

    /// <summary>Prepares a gallery. Where D is a multiple of 16 the array is used in place and must not change.</summary>
    /// <param name="gallery">N x D features, row by row.</param>
    /// <param name="dimension">D.</param>
    /// <param name="threads">Workers; all cores by default.</param>
    /// <exception cref="UserErrorException">A feature is NaN or infinite (65).</exception>
    public ExactSearch(float[] gallery, int dimension, int? threads = null)
    {
        ArgumentNullException.ThrowIfNull(gallery);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(dimension);
        if (gallery.Length % dimension != 0)
        {
            throw new ArgumentException($"{gallery.Length} values are not rows of {dimension}.", nameof(gallery));
        }

        Dimension = dimension;
        Count = gallery.Length / dimension;
        _threads = Math.Max(1, threads ?? Environment.ProcessorCount);
        _stride = (dimension + Lanes - 1) / Lanes * Lanes;
        FeatureSet.RequireFinite(gallery, dimension, row => $"row {row} of the gallery");
        if (_stride == dimension)
        {
            _pin = GCHandle.Alloc(gallery, GCHandleType.Pinned);
            _gallery = (float*)_pin.AddrOfPinnedObject();
        }
        else
        {
            _owned = true;
            _gallery = Pad(gallery, Count, dimension, _stride);
        }
    }

    /// <summary>Frees the gallery's memory where nobody disposed of it.</summary>
    ~ExactSearch() => Free();

    /// <summary>N, the number of gallery features.</summary>
    public int Count { get; }

    /// <summary>D.</summary>
    public int Dimension { get; }

    /// <summary>
    /// The <paramref name="k"/> rows with the largest dot product for each query, best first; all N rows where k is larger.
    /// </summary>
    /// <param name="queries">Q x D features, row by row.</param>
    /// <param name="k">How many to find.</param>
    /// <returns>Q lists of min(k, N) hits.</returns>
    /// <exception cref="UserErrorException">A query is NaN or infinite (65).</exception>
    public SearchHit[][] Search(ReadOnlySpan<float> queries, int k)
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        ArgumentOutOfRangeException.ThrowIfNegative(k);
        if (queries.Length % Dimension != 0)
        {
            throw new ArgumentException($"{queries.Length} values are not rows of {Dimension}, the gallery's dimension.", nameof(queries));
        }

        FeatureSet.RequireFinite(queries, Dimension, row => $"query {row}");
        var count = queries.Length / Dimension;
        var kept = Math.Min(k, Count);
        var found = new SearchHit[count][];
        if (kept == 0)
        {
            Array.Fill(found, []);
            return found;
        }

        var padded = Pad(queries, count, Dimension, _stride);
        try
        {
            for (var first = 0; first < count; first += QueryBlock)
            {
                SearchBlock(padded + ((long)first * _stride), Math.Min(QueryBlock, count - first), kept, found.AsSpan(first));
            }
        }
        finally
        {
            NativeMemory.AlignedFree(padded);
        }

        GC.KeepAlive(this);
        return found;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        Free();
        GC.SuppressFinalize(this);
    }

    private void SearchBlock(float* queries, int count, int kept, Span<SearchHit[]> found)
    {
        var blockRows = Math.Max(TileRows, BlockBytes / (_stride * sizeof(float)) / TileRows * TileRows);
        var blocks = (Count + blockRows - 1) / blockRows;
        var workers = Math.Min(_threads, blocks);
        var heaps = new TopK[workers][];
        var next = -1;
        void Work(int worker)
        {
            var mine = new TopK[count];
            for (var q = 0; q < count; q++)
            {
                mine[q] = new TopK(kept);
            }

            heaps[worker] = mine;
            for (var block = Interlocked.Increment(ref next); block < blocks; block = Interlocked.Increment(ref next))
            {
                var first = block * blockRows;
                Scan(queries, count, first, Math.Min(Count, first + blockRows), mine);
            }
        }

        if (workers == 1)
        {
            Work(0);
        }
        else
        {
            Parallel.For(0, workers, new ParallelOptions { MaxDegreeOfParallelism = workers }, Work);
        }

        for (var q = 0; q < count; q++)
        {
            var candidates = new List<SearchHit>(kept * workers);
            foreach (var heap in heaps)
            {
                candidates.AddRange(heap[q].Items);
            }

            candidates.Sort();
            found[q] = [.. candidates[..kept]];
        }
    }

    private void Scan(float* queries, int count, int firstRow, int endRow, TopK[] heaps)
    {
        var scores = stackalloc float[TileQueries * TileRows];
        var row = firstRow;
        for (; row + TileRows <= endRow; row += TileRows)
        {
            var rows = _gallery + ((long)row * _stride);
            var q = 0;
            for (; q + TileQueries <= count; q += TileQueries)
            {
                Tile4X4(queries + ((long)q * _stride), rows, _stride, scores);
                for (var i = 0; i < TileQueries; i++)
                {
                    heaps[q + i].Offer(row, scores + (i * TileRows), TileRows);
                }
            }

            for (; q < count; q++)
            {
                Tile1X4(queries + ((long)q * _stride), rows, _stride, scores);
                heaps[q].Offer(row, scores, TileRows);
            }
        }

        for (; row < endRow; row++)
        {
            for (var q = 0; q < count; q++)
            {
                scores[0] = Dot(queries + ((long)q * _stride), _gallery + ((long)row * _stride), _stride);
                heaps[q].Offer(row, scores, 1);
            }
        }
    }

    // The one sum that all paths share: lane l adds the products l, l+16, l+32, ... in order.
    private static float Dot(float* a, float* b, int stride)
    {
        var sum = Vector512<float>.Zero;
        for (var i = 0; i < stride; i += Lanes)
        {
            sum = Vector512.FusedMultiplyAdd(Vector512.Load(a + i), Vector512.Load(b + i), sum);
        }

        return Fold(sum);
    }

    private static void Tile1X4(float* q, float* rows, int stride, float* scores)
    {
        float* r1 = rows + stride, r2 = r1 + stride, r3 = r2 + stride;
        Vector512<float> s0 = default, s1 = default, s2 = default, s3 = default;
        for (var i = 0; i < stride; i += Lanes)
        {
            var a = Vector512.Load(q + i);
            s0 = Vector512.FusedMultiplyAdd(a, Vector512.Load(rows + i), s0);
            s1 = Vector512.FusedMultiplyAdd(a, Vector512.Load(r1 + i), s1);
            s2 = Vector512.FusedMultiplyAdd(a, Vector512.Load(r2 + i), s2);
            s3 = Vector512.FusedMultiplyAdd(a, Vector512.Load(r3 + i), s3);
        }

        scores[0] = Fold(s0);
        scores[1] = Fold(s1);
        scores[2] = Fold(s2);
        scores[3] = Fold(s3);
    }

    private static void Tile4X4(float* q, float* rows, int stride, float* scores)
    {
        float* q1 = q + stride, q2 = q1 + stride, q3 = q2 + stride;
        float* r1 = rows + stride, r2 = r1 + stride, r3 = r2 + stride;
        Vector512<float> s00 = default, s01 = default, s02 = default, s03 = default;
        Vector512<float> s10 = default, s11 = default, s12 = default, s13 = default;
        Vector512<float> s20 = default, s21 = default, s22 = default, s23 = default;
        Vector512<float> s30 = default, s31 = default, s32 = default, s33 = default;
        for (var i = 0; i < stride; i += Lanes)
        {
            var b0 = Vector512.Load(rows + i);
            var b1 = Vector512.Load(r1 + i);
            var b2 = Vector512.Load(r2 + i);
            var b3 = Vector512.Load(r3 + i);
            var a = Vector512.Load(q + i);
            s00 = Vector512.FusedMultiplyAdd(a, b0, s00);
            s01 = Vector512.FusedMultiplyAdd(a, b1, s01);
            s02 = Vector512.FusedMultiplyAdd(a, b2, s02);
            s03 = Vector512.FusedMultiplyAdd(a, b3, s03);
            a = Vector512.Load(q1 + i);
            s10 = Vector512.FusedMultiplyAdd(a, b0, s10);
            s11 = Vector512.FusedMultiplyAdd(a, b1, s11);
            s12 = Vector512.FusedMultiplyAdd(a, b2, s12);
            s13 = Vector512.FusedMultiplyAdd(a, b3, s13);
            a = Vector512.Load(q2 + i);
            s20 = Vector512.FusedMultiplyAdd(a, b0, s20);
            s21 = Vector512.FusedMultiplyAdd(a, b1, s21);
            s22 = Vector512.FusedMultiplyAdd(a, b2, s22);
            s23 = Vector512.FusedMultiplyAdd(a, b3, s23);
            a = Vector512.Load(q3 + i);
            s30 = Vector512.FusedMultiplyAdd(a, b0, s30);
            s31 = Vector512.FusedMultiplyAdd(a, b1, s31);
            s32 = Vector512.FusedMultiplyAdd(a, b2, s32);
            s33 = Vector512.FusedMultiplyAdd(a, b3, s33);
        }

        Fold4(s00, s01, s02, s03, scores);
        Fold4(s10, s11, s12, s13, scores + 4);
        Fold4(s20, s21, s22, s23, scores + 8);
        Fold4(s30, s31, s32, s33, scores + 12);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Fold4(Vector512<float> s0, Vector512<float> s1, Vector512<float> s2, Vector512<float> s3, float* scores)
    {
        scores[0] = Fold(s0);
        scores[1] = Fold(s1);
        scores[2] = Fold(s2);
        scores[3] = Fold(s3);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static float Fold(Vector512<float> sum)
    {
        var half = sum.GetLower() + sum.GetUpper();
        var quarter = half.GetLower() + half.GetUpper();
        return quarter[0] + quarter[1] + (quarter[2] + quarter[3]);
    }

    private static float* Pad(ReadOnlySpan<float> values, int count, int dimension, int stride)
    {
        var memory = (float*)NativeMemory.AlignedAlloc((nuint)Math.Max(1, (long)count * stride) * sizeof(float), 64);
        for (var row = 0; row < count; row++)
        {
            var target = new Span<float>(memory + ((long)row * stride), stride);
            values.Slice(row * dimension, dimension).CopyTo(target);
            target[dimension..].Clear();
        }

        return memory;
    }

    private void Free()
    {
        if (_disposed)
        {
            return;
        }

        _disposed = true;
        if (_owned)
        {
            NativeMemory.AlignedFree(_gallery);
        }

        if (_pin.IsAllocated)
        {
            _pin.Free();
        }
    }

    /// <summary>The best few seen so far: a heap whose root is the worst of them.</summary>
    private sealed class TopK(int capacity)
    {
        private readonly SearchHit[] _heap = new SearchHit[capacity];
        private int _count;
        private float _worst = float.NegativeInfinity;

        public ReadOnlySpan<SearchHit> Items => _heap.AsSpan(0, _count);

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public void Offer(int firstRow, float* scores, int count)
        {
            for (var i = 0; i < count; i++)
            {
                // Blocks reach a worker in rising order, so an equal score always has a larger index than what is kept.
                if (scores[i] > _worst || _count < capacity)
                {
                    Insert(new SearchHit(firstRow + i, scores[i]));
                }
            }
        }

        private void Insert(SearchHit hit)
        {
            if (_count < capacity)
            {
                var child = _count++;
                while (child > 0 && hit > _heap[(child - 1) / 2])
                {
                    _heap[child] = _heap[(child - 1) / 2];
                    child = (child - 1) / 2;
                }

                _heap[child] = hit;
            }
            else
            {
                var parent = 0;
                while ((2 * parent) + 1 < capacity)
                {
                    var child = (2 * parent) + 1;
                    if (child + 1 < capacity && _heap[child + 1] > _heap[child])
                    {
                        child++;
                    }

                    if (hit >= _heap[child])
                    {
                        break;
                    }

                    _heap[parent] = _heap[child];
                    parent = child;
                }

                _heap[parent] = hit;
            }

            if (_count == capacity)
            {
                _worst = _heap[0].Score;
            }
        }
    }
}
