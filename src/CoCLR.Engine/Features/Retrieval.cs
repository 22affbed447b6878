// Why this exists: nearest-neighbour retrieval, the paper's measure without any training on top: which training videos does a test video
// find?
using CoCLR.Core;
using CoCLR.Core.Manifests;
using CoCLR.Core.Results;

namespace CoCLR.Engine.Features;

/// <summary>What retrieval found: the numbers and what to look at.</summary>
/// <param name="Result">The recalls.</param>
/// <param name="Neighbours">Each query's nearest gallery videos.</param>
public sealed record RetrievalOutcome(RetrievalResult Result, NeighbourTable Neighbours);

/// <summary>
/// Retrieval (paper section 4.1, method.md 1e): each set centred by its own mean, scaled to length 1, compared by dot product; a query is a
/// hit at k when any of its k nearest gallery videos has its class. Ties go to the gallery video that comes first.
/// </summary>
public static class Retrieval
{
    // Sorting every gallery video for every query is quick up to here; above it, no average precision is reported.
    private const int WholeRankingLimit = 20_000;
    private const int PartialDepth = 1000;

    /// <summary>The k of R@k in the paper.</summary>
    public static IReadOnlyList<int> Ranks { get; } = [1, 5, 10, 20, 50];

    /// <summary>Retrieves with one view.</summary>
    /// <param name="gallery">Training videos.</param>
    /// <param name="queries">Test videos.</param>
    /// <param name="view">`rgb` or `flow`, for the artifacts.</param>
    /// <param name="mode">What stands for a gallery video; written down with the result.</param>
    /// <param name="neighbours">How many neighbours of each query are kept for looking.</param>
    /// <exception cref="UserErrorException">The two sets have features of different length (65).</exception>
    public static RetrievalOutcome Evaluate(
        FeatureSet gallery, FeatureSet queries, string view, Gallery mode = Gallery.AllClips, int neighbours = 10)
    {
        ArgumentNullException.ThrowIfNull(gallery);
        ArgumentNullException.ThrowIfNull(queries);
        RequireComparable(gallery, queries);
        return Rank(gallery, gallery.Centred(), queries, queries.Centred(), view, 1, mode, neighbours);
    }

    /// <summary>Retrieves with two views: the sum of the two cosine similarities (method.md 1e). Videos are matched by id.</summary>
    /// <param name="rgbGallery">Training videos, RGB.</param>
    /// <param name="rgbQueries">Test videos, RGB.</param>
    /// <param name="flowGallery">The same training videos, flow; others are left out.</param>
    /// <param name="flowQueries">The same test videos, flow; others are left out.</param>
    /// <param name="mode">What stands for a gallery video.</param>
    /// <param name="neighbours">How many neighbours of each query are kept for looking.</param>
    /// <exception cref="UserErrorException">The views share no video, or feature lengths differ (65).</exception>
    public static RetrievalOutcome EvaluateTwoStream(
        FeatureSet rgbGallery, FeatureSet rgbQueries, FeatureSet flowGallery, FeatureSet flowQueries, Gallery mode =
            Gallery.AllClips, int neighbours = 10)
    {
        ArgumentNullException.ThrowIfNull(rgbGallery);
        ArgumentNullException.ThrowIfNull(rgbQueries);
        ArgumentNullException.ThrowIfNull(flowGallery);
        ArgumentNullException.ThrowIfNull(flowQueries);
        RequireComparable(rgbGallery, rgbQueries);
        RequireComparable(flowGallery, flowQueries);
        var (rgbTrain, flowTrain) = FeatureSet.Match(rgbGallery, flowGallery);
        var (rgbTest, flowTest) = FeatureSet.Match(rgbQueries, flowQueries);

        // The sum of two dot products is the dot product of the features laid end to end.
        return Rank(rgbTrain, Join(rgbTrain, flowTrain), rgbTest, Join(rgbTest, flowTest), "two-stream", 2, mode, neighbours);
    }

    /// <summary>
    /// Recall that a random order of the gallery has on average: 1 - C(N - n, k) / C(N, k), n being the videos of the query's class, mean
    /// over queries.
    /// </summary>
    /// <param name="gallery">The gallery's labels.</param>
    /// <param name="queries">The queries' labels.</param>
    /// <param name="k">The number of neighbours looked at.</param>
    public static double ChanceRecall(IReadOnlyList<int> gallery, IReadOnlyList<int> queries, int k)
    {
        ArgumentNullException.ThrowIfNull(gallery);
        ArgumentNullException.ThrowIfNull(queries);
        var sizes = gallery.CountBy(l => l).ToDictionary();
        var sum = 0.0;
        foreach (var (label, times) in queries.CountBy(l => l).OrderBy(c => c.Key))
        {
            var miss = 1.0;
            var others = gallery.Count - sizes.GetValueOrDefault(label);
            for (var i = 0; i < Math.Min(k, gallery.Count); i++)
            {
                miss *= Math.Max(0.0, others - i) / (gallery.Count - i);
            }

            sum += times * (1 - miss);
        }

        return queries.Count == 0 ? 0 : sum / queries.Count;
    }

    private static RetrievalOutcome Rank(
        FeatureSet gallery, float[] galleryValues, FeatureSet queries, float[] queryValues, string view, int streams, Gallery mode,
        int kept)
    {
        var labelled = gallery.Labels is not null && queries.Labels is not null;
        var whole = gallery.Count <= WholeRankingLimit;
        var hits = new SearchHit[queries.Count][];
        var firstHit = new int?[queries.Count];
        var precision = new double?[queries.Count];
        if (gallery.Count > 0 && queries.Count > 0)
        {
            using var search = new ExactSearch(galleryValues, galleryValues.Length / gallery.Count);

            // The average precision needs the whole ranking: a block of queries at a time keeps the memory flat.
            const int block = 64;
            var depth = !labelled ? kept : whole ? gallery.Count : Math.Max(kept, PartialDepth);
            for (var start = 0; start < queries.Count; start += block)
            {
                var size = Math.Min(block, queries.Count - start);
                var found = search.Search(queryValues.AsSpan(start * search.Dimension, size * search.Dimension), depth);
                Parallel.For(0, size, i =>
                {
                    var query = start + i;
                    hits[query] = found[i].Length > kept ? found[i][..kept] : found[i];
                    (firstHit[query], precision[query]) = labelled
                        && queries.LabelOf(query) is { } label ? Precision(gallery.Labels!, found[i], label) : (null, null);
                });
            }
        }
        else
        {
            Array.Fill(hits, []);
        }

        var counted = Enumerable.Range(0, queries.Count).Where(q => labelled && queries.LabelOf(q) is not null).ToArray();
        var known = labelled ? gallery.Labels!.ToArray() : [];
        int[] wanted = [.. counted.Select(q => queries.Labels![q])];
        var result = new RetrievalResult
        {
            Recalls = counted.Length == 0 ? [] :
            [
                .. Ranks.Select(k => new Recall
                {
                    K = k,
                    Value = counted.Count(q => firstHit[q] <= k) / (double)counted.Length,
                    Chance = ChanceRecall(known, wanted, k),
                }),
            ],
            MeanAveragePrecision = counted.Length == 0 || !whole ? null : counted.Average(q => precision[q] ?? 0),
            PerClassRecallAt1 = counted.Length == 0 ? [] :
            [
                .. queries.ClassNames.Select(
                    (_, c) =>
                        counted.Where(q => queries.Labels![q] == c).Select(q => firstHit[q] == 1 ? 1.0 : 0).Cast<double?>().Average()),
            ],
            ClassNames = counted.Length == 0 ? [] : queries.ClassNames,
            Hits = VideoHits.Of(counted.Select(q => (queries.Ids[q], queries.Groups?[q], firstHit[q] == 1))),
            Queries = queries.Count,
            GallerySize = gallery.Count,
            Gallery = mode,
        };
        return new RetrievalOutcome(result, new NeighbourTable
        {
            View = view,
            Similarity = streams == 1 ? "cosine" : "sum of two cosines",
            ClassNames = queries.ClassNames,
            Queries = [.. Enumerable.Range(0, queries.Count).Select(Look)],
        });

        QueryNeighbours Look(int query) => new()
        {
            Id = queries.Ids[query],
            Label = queries.LabelOf(query),
            Class = queries.ClassOf(query),
            FirstHit = firstHit[query],
            AveragePrecision = whole ? precision[query] : null,
            Neighbours =
            [
                .. hits[query].Select(hit => new Neighbour
                {
                    Id = gallery.Ids[hit.Index],
                    Label = gallery.LabelOf(hit.Index),
                    Class = gallery.ClassOf(hit.Index),
                    Similarity = Math.Round(hit.Score, 6),
                    Distance = Math.Round(Math.Max(0, streams - (double)hit.Score), 6),
                    Hit = gallery.LabelOf(hit.Index) is { } found && queries.LabelOf(query) is { } label ? found == label : null,
                }),
            ],
        };
    }

    private static (int? FirstHit, double? Precision) Precision(int[] labels, SearchHit[] ranking, int label)
    {
        int? first = null;
        var found = 0;
        var sum = 0.0;
        for (var rank = 1; rank <= ranking.Length; rank++)
        {
            if (labels[ranking[rank - 1].Index] == label)
            {
                first ??= rank;
                sum += ++found / (double)rank;
            }
        }

        return (first, found == 0 ? null : sum / found);
    }

    private static float[] Join(FeatureSet first, FeatureSet second)
    {
        var (a, b) = (first.Centred(), second.Centred());
        var joined = new float[a.Length + b.Length];
        var width = first.Dimension + second.Dimension;
        for (var row = 0; row < first.Count; row++)
        {
            a.AsSpan(row * first.Dimension, first.Dimension).CopyTo(joined.AsSpan(row * width));
            b.AsSpan(row * second.Dimension, second.Dimension).CopyTo(joined.AsSpan((row * width) + first.Dimension));
        }

        return joined;
    }

    private static void RequireComparable(FeatureSet gallery, FeatureSet queries)
    {
        if (gallery.Labels is not null && queries.Labels is not null
            && !gallery.ClassNames.SequenceEqual(queries.ClassNames, StringComparer.Ordinal))
        {
            throw new UserErrorException(
                "gallery and queries name their classes differently: make the features of both from one data set.", ExitCodes.BadData);
        }

        if (gallery.Count > 0 && queries.Count > 0 && gallery.Dimension != queries.Dimension)
        {
            throw new UserErrorException(
                $"gallery features have {gallery.Dimension} values, query features {queries.Dimension}: they come from different networks. "
                    + $"Make both with one checkpoint.", ExitCodes.BadData);
        }
    }
}
