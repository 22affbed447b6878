// Why this exists: a chart of 2,000 pixels needs 2,000 points of 100,000; largest-triangle-three-buckets keeps those that make its shape
// (S. Steinarsson, "Downsampling Time Series for Visual Representation", 2013).
namespace CoCLR.Dashboard.Storage;

/// <summary>Thins curves out without losing their shape.</summary>
internal static class Downsample
{
    /// <summary>
    /// Picks at most <paramref name="count"/> points by largest triangles; values that are not finite are kept as they mark gaps, up to a
    /// tenth of the picks.
    /// </summary>
    /// <param name="points">Points in order of <paramref name="x"/>.</param>
    /// <param name="count">Points wanted, at least 3.</param>
    /// <param name="x">The horizontal coordinate.</param>
    public static List<Point> Lttb(List<Point> points, int count, Func<Point, double> x)
    {
        if (points.Count <= count)
        {
            return points;
        }

        var finite = new List<Point>(points.Count);
        var odd = new List<Point>();
        foreach (Point point in points)
        {
            (double.IsFinite(point.Value) ? finite : odd).Add(point);
        }

        int room = Math.Max(1, count / 10);
        if (odd.Count > room)
        {
            double stride = (double)odd.Count / room;
            odd = [.. Enumerable.Range(0, room).Select(i => odd[(int)(i * stride)])];
        }

        List<Point> picked = Pick(finite, Math.Max(3, count - odd.Count), x);
        if (odd.Count > 0)
        {
            picked.AddRange(odd);
            picked.Sort((a, b) => x(a).CompareTo(x(b)));
        }

        return picked;
    }

    private static List<Point> Pick(List<Point> points, int count, Func<Point, double> x)
    {
        if (points.Count <= count)
        {
            return points;
        }

        var picked = new List<Point>(count) { points[0] };
        double bucket = (double)(points.Count - 2) / (count - 2);
        int last = 0;
        for (int i = 0; i < count - 2; i++)
        {
            int nextFrom = (int)((i + 1) * bucket) + 1;
            int nextTo = Math.Min((int)((i + 2) * bucket) + 1, points.Count);
            double meanX = 0, meanY = 0;
            for (int j = nextFrom; j < nextTo; j++)
            {
                meanX += x(points[j]);
                meanY += points[j].Value;
            }

            meanX /= nextTo - nextFrom;
            meanY /= nextTo - nextFrom;
            double lastX = x(points[last]), lastY = points[last].Value, best = -1;
            int chosen = nextFrom - 1;
            for (int j = (int)(i * bucket) + 1; j < nextFrom; j++)
            {
                double area = Math.Abs(((lastX - meanX) * (points[j].Value - lastY)) - ((lastX - x(points[j])) * (meanY - lastY)));
                if (area > best)
                {
                    best = area;
                    chosen = j;
                }
            }

            picked.Add(points[chosen]);
            last = chosen;
        }

        picked.Add(points[^1]);
        return picked;
    }
}
