// Why this exists: every loss is checked against the same formula written as plain loops in double precision.
namespace CoCLR.Engine.Tests.Contrastive;

internal static class SlowReference
{
    /// <summary>Rows [own key, queue] of similarities over the temperature.</summary>
    public static double[][] Logits(double[][] query, double[][] key, double[][] queueColumns, double temperature)
        =>
            [
                .. query.Select(
                    (q, i) => new[] { Dot(q, key[i]) / temperature }.Concat(queueColumns.Select(k => Dot(q, k) / temperature)).ToArray())];

    public static double InfoNce(double[][] logits) => logits.Average(row => -LogSoftmax(row)[0]);

    public static double UberNce(double[][] logits, bool[][] positives)
        => logits.Select((row, i) => -LogSoftmax(row).Where((_, j) => positives[i][j]).Average()).Average();

    public static double CoClr(double[][] logits, bool[][] positives)
        => logits.Select((row, i) => -Math.Log(LogSoftmax(row).Where((_, j) => positives[i][j]).Sum(Math.Exp))).Average();

    public static bool[][] CoClrMask(long[] videos, long[] queueVideos, double[][] secondSimilarity, int topK, bool full)
    {
        var rows = new bool[videos.Length][];
        for (var i = 0; i < rows.Length; i++)
        {
            rows[i] = new bool[queueVideos.Length + 1];
            rows[i][0] = true;
            var others = new List<int>();
            for (var j = 0; j < queueVideos.Length; j++)
            {
                if (queueVideos[j] == videos[i])
                {
                    rows[i][j + 1] = true;
                }
                else
                {
                    others.Add(j);
                }
            }

            foreach (var j in full ? others.OrderByDescending(j => secondSimilarity[i][j]).Take(topK) : [])
            {
                rows[i][j + 1] = true;
            }
        }

        return rows;
    }

    private static double[] LogSoftmax(double[] row)
    {
        var max = row.Max();
        var sum = Math.Log(row.Sum(x => Math.Exp(x - max)));
        return [.. row.Select(x => x - max - sum)];
    }

    private static double Dot(double[] a, double[] b) => a.Zip(b, (x, y) => x * y).Sum();
}
