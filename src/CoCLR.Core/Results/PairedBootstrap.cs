// Why this exists: a table that says one method is better must say how far chance in the choice of test videos could have made it so.
namespace CoCLR.Core.Results;

/// <summary>An interval.</summary>
/// <param name="Low">Lower end.</param>
/// <param name="High">Upper end.</param>
public readonly record struct Interval(double Low, double High);

/// <summary>
/// Interval of the difference of two measures on the same test videos (Efron and Tibshirani 1993, chapter 13: percentile intervals). Whole
/// source groups are drawn with replacement, because clips cut from one recording are right or wrong together; both measures are taken on
/// the same draw, because they are easy or hard on the same videos.
/// </summary>
public static class PairedBootstrap
{
    /// <summary>Share of intervals that hold the true difference.</summary>
    public const double Confidence = 0.95;

    /// <summary>Draws for an interval.</summary>
    public const int Draws = 2000;

    /// <summary>The interval of the mean difference.</summary>
    /// <param name="differences">For each video, the first measure minus the second (means over seeds where there are several).</param>
    /// <param name="groups">Source group of each video; null: each video is its own.</param>
    /// <param name="draws">Number of draws.</param>
    /// <param name="seed">Seed of the draws.</param>
    /// <returns>Null with fewer than two groups.</returns>
    public static Interval? OfDifference(IReadOnlyList<double> differences, IReadOnlyList<int>? groups, int draws = Draws, int seed = 0)
    {
        ArgumentNullException.ThrowIfNull(differences);
        (double Sum, int Count)[] units =
        [
            .. Enumerable.Range(0, differences.Count).GroupBy(i => groups is null ? i : groups[i])
                .Select(g => (g.Sum(i => differences[i]), g.Count())),
        ];
        if (units.Length < 2)
        {
            return null;
        }

        // Needs no secrecy, but must be the same on every machine: a seeded Random is.
#pragma warning disable CA5394
        var random = new Random(seed);
        var means = new double[draws];
        for (int draw = 0; draw < draws; draw++)
        {
            double sum = 0;
            int count = 0;
            for (int i = 0; i < units.Length; i++)
            {
                (double unitSum, int unitCount) = units[random.Next(units.Length)];
                (sum, count) = (sum + unitSum, count + unitCount);
            }

            means[draw] = sum / count;
        }
#pragma warning restore CA5394

        Array.Sort(means);
        int tail = (int)((1 - Confidence) / 2 * draws);
        return new Interval(means[tail], means[draws - 1 - tail]);
    }

    /// <summary>The interval of the difference of two rows' measures, averaged over their seeds.</summary>
    /// <param name="first">Hits of the first measure, one for each seed.</param>
    /// <param name="second">Hits of the second.</param>
    /// <returns>Null where the rows do not have the same videos, or an older version measured one.</returns>
    public static Interval? OfDifference(IReadOnlyList<VideoHits?> first, IReadOnlyList<VideoHits?> second) =>
        OfDifference([(first, second)]);

    /// <summary>The same over several folds, whose test videos are taken together.</summary>
    /// <param name="folds">For each fold the hits of both measures, one for each seed.</param>
    public static Interval? OfDifference(IEnumerable<(IReadOnlyList<VideoHits?> First, IReadOnlyList<VideoHits?> Second)> folds)
    {
        ArgumentNullException.ThrowIfNull(folds);
        var differences = new List<double>();
        var groups = new List<int>();
        foreach ((IReadOnlyList<VideoHits?> first, IReadOnlyList<VideoHits?> second) in folds)
        {
            if (Differences(first, second) is not { } fold)
            {
                return null;
            }

            int before = groups.Count == 0 ? 0 : groups.Max() + 1;
            groups.AddRange((first[0]!.Groups ?? Enumerable.Range(0, fold.Length)).Select(g => before + g));
            differences.AddRange(fold);
        }

        return OfDifference(differences, groups);
    }

    private static double[]? Differences(IReadOnlyList<VideoHits?> first, IReadOnlyList<VideoHits?> second)
    {
        if (first.Count == 0 || second.Count == 0 || first[0] is not { } one
            || first.Concat(second).Any(h => h?.Videos != one.Videos || h.Right.Length != one.Right.Length))
        {
            return null;
        }

        double Mean(IReadOnlyList<VideoHits?> hits, int video) => hits.Count(h => h!.Right[video] == '1') / (double)hits.Count;
        return [.. Enumerable.Range(0, one.Right.Length).Select(v => Mean(first, v) - Mean(second, v))];
    }
}
