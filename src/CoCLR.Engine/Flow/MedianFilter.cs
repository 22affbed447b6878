// Why this exists: the median filter between iterations is the second cost of TV-L1; min and max over whole registers need no branches.
using System.Runtime.CompilerServices;

namespace CoCLR.Engine.Flow;

/// <summary>Exact median filters of 3x3 and 5x5 windows with replicated borders.</summary>
/// <typeparam name="T">The lanes to compute with.</typeparam>
internal static unsafe class MedianFilter<T>
    where T : struct, ILanes<T>
{
    /// <summary>Rows of scratch that <see cref="Apply"/> needs, each as long as a plane's stride plus one pad.</summary>
    public const int ScratchRows = 5;

    /// <summary>Filters an image.</summary>
    /// <param name="source">The image.</param>
    /// <param name="destination">Another image of the same size.</param>
    /// <param name="side">3 or 5.</param>
    /// <param name="scratch"><see cref="ScratchRows"/> rows of stride + pad floats.</param>
    public static void Apply(Plane source, Plane destination, int side, float* scratch)
    {
        var rowFloats = source.Stride + Plane.Pad;
        var sorted = scratch + Plane.Pad;
        for (var y = 0; y < source.Height; y++)
        {
            if (side == 5)
            {
                SortColumns5(source, y, sorted, rowFloats);
            }
            else
            {
                SortColumns3(source, y, sorted, rowFloats);
            }

            for (var k = 0; k < side; k++)
            {
                var row = sorted + (k * rowFloats);
                for (var border = 1; border <= side / 2; border++)
                {
                    row[-border] = row[0];
                    row[source.Width - 1 + border] = row[source.Width - 1];
                }
            }

            var output = destination.Row(y);
            if (side == 5)
            {
                MedianOfColumns5(sorted, rowFloats, output, source.Span);
            }
            else
            {
                MedianOfColumns3(sorted, rowFloats, output, source.Span);
            }

            new Span<float>(output + source.Width, source.Span - source.Width).Clear();
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void SortColumns5(Plane source, int y, float* sorted, int rowFloats)
    {
        var last = source.Height - 1;
        var r0 = source.Row(Math.Max(y - 2, 0));
        var r1 = source.Row(Math.Max(y - 1, 0));
        var r2 = source.Row(y);
        var r3 = source.Row(Math.Min(y + 1, last));
        var r4 = source.Row(Math.Min(y + 2, last));
        var s1 = sorted + rowFloats;
        var s2 = s1 + rowFloats;
        var s3 = s2 + rowFloats;
        var s4 = s3 + rowFloats;
        for (var x = 0; x < source.Span; x += T.Count)
        {
            var a = T.Load(r0 + x);
            var b = T.Load(r1 + x);
            var c = T.Load(r2 + x);
            var d = T.Load(r3 + x);
            var e = T.Load(r4 + x);
            Sort5(ref a, ref b, ref c, ref d, ref e);
            T.Store(sorted + x, a);
            T.Store(s1 + x, b);
            T.Store(s2 + x, c);
            T.Store(s3 + x, d);
            T.Store(s4 + x, e);
        }
    }

    /// <summary>
    /// With columns and then rows of the window in order, the median lies among 13 elements on three diagonals, 4 + 5 + 4. Three of the
    /// first four are exceeded by at least seven of the 13 and three of the last four exceed at least seven, so that seven remain: the
    /// largest of the first, the five in the middle and the smallest of the last; their median is that of the two and the middle's own
    /// median.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void MedianOfColumns5(float* sorted, int rowFloats, float* output, int span)
    {
        for (var x = 0; x < span; x += T.Count)
        {
            var row = sorted + x;
            var low = Top2(row, out var m0);

            row += rowFloats;
            var a = T.Load(row - 2);
            var b = T.Load(row - 1);
            var c = T.Load(row);
            var d = T.Load(row + 1);
            var e = T.Load(row + 2);
            Sort5(ref a, ref b, ref c, ref d, ref e);
            low = T.Max(low, c);
            var m1 = d;
            var high = e;

            row += rowFloats;
            a = T.Load(row - 2);
            b = T.Load(row - 1);
            c = T.Load(row);
            d = T.Load(row + 1);
            e = T.Load(row + 2);
            Sort5(ref a, ref b, ref c, ref d, ref e);
            low = T.Max(low, b);
            var m2 = c;
            high = T.Min(high, d);

            row += rowFloats;
            a = T.Load(row - 2);
            b = T.Load(row - 1);
            c = T.Load(row);
            d = T.Load(row + 1);
            e = T.Load(row + 2);
            Sort5(ref a, ref b, ref c, ref d, ref e);
            low = T.Max(low, a);
            var m3 = b;
            high = T.Min(high, c);

            row += rowFloats;
            high = T.Min(high, Bottom2(row, out var m4));

            Sort5(ref m0, ref m1, ref m2, ref m3, ref m4);
            T.Store(output + x, Median3(low, m2, high));
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void SortColumns3(Plane source, int y, float* sorted, int rowFloats)
    {
        var r0 = source.Row(Math.Max(y - 1, 0));
        var r1 = source.Row(y);
        var r2 = source.Row(Math.Min(y + 1, source.Height - 1));
        for (var x = 0; x < source.Span; x += T.Count)
        {
            var a = T.Load(r0 + x);
            var b = T.Load(r1 + x);
            var c = T.Load(r2 + x);
            Sort2(ref a, ref b);
            Sort2(ref b, ref c);
            Sort2(ref a, ref b);
            T.Store(sorted + x, a);
            T.Store(sorted + rowFloats + x, b);
            T.Store(sorted + (2 * rowFloats) + x, c);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void MedianOfColumns3(float* sorted, int rowFloats, float* output, int span)
    {
        for (var x = 0; x < span; x += T.Count)
        {
            var row = sorted + x;
            var low = T.Max(T.Max(T.Load(row - 1), T.Load(row)), T.Load(row + 1));
            row += rowFloats;
            var middle = Median3(T.Load(row - 1), T.Load(row), T.Load(row + 1));
            row += rowFloats;
            var high = T.Min(T.Min(T.Load(row - 1), T.Load(row)), T.Load(row + 1));
            T.Store(output + x, Median3(low, middle, high));
        }
    }

    /// <summary>The second largest of five neighbours; the largest in <paramref name="largest"/>.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static T Top2(float* row, out T largest)
    {
        var a = T.Load(row - 2);
        var b = T.Load(row - 1);
        var c = T.Load(row);
        var d = T.Load(row + 1);
        var e = T.Load(row + 2);
        Sort2(ref a, ref b);
        Sort2(ref c, ref d);
        var second = T.Max(T.Min(b, d), T.Max(a, c));
        var first = T.Max(b, d);
        largest = T.Max(first, e);
        return T.Max(second, T.Min(first, e));
    }

    /// <summary>The second smallest of five neighbours; the smallest in <paramref name="smallest"/>.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static T Bottom2(float* row, out T smallest)
    {
        var a = T.Load(row - 2);
        var b = T.Load(row - 1);
        var c = T.Load(row);
        var d = T.Load(row + 1);
        var e = T.Load(row + 2);
        Sort2(ref a, ref b);
        Sort2(ref c, ref d);
        var second = T.Min(T.Max(a, c), T.Min(b, d));
        var first = T.Min(a, c);
        smallest = T.Min(first, e);
        return T.Min(second, T.Max(first, e));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static T Median3(T a, T b, T c)
    {
        Sort2(ref a, ref b);
        return T.Max(a, T.Min(b, c));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Sort5(ref T a, ref T b, ref T c, ref T d, ref T e)
    {
        Sort2(ref a, ref d);
        Sort2(ref b, ref e);
        Sort2(ref a, ref c);
        Sort2(ref b, ref d);
        Sort2(ref a, ref b);
        Sort2(ref c, ref e);
        Sort2(ref b, ref c);
        Sort2(ref d, ref e);
        Sort2(ref c, ref d);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Sort2(ref T a, ref T b)
    {
        var smaller = T.Min(a, b);
        b = T.Max(a, b);
        a = smaller;
    }
}
