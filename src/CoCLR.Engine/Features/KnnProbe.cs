// Why this exists: the nearest neighbours' vote measures a representation without any training and any choice of a learning rate.
using CoCLR.Core.Results;

namespace CoCLR.Engine.Features;

/// <summary>
/// kNN probe: the k training videos with the largest cosine similarity vote, each once (`plain`) or with exp(cosine / 0.07)
/// (`weighted`; Wu et al. 2018). Both sets are centred by the training mean. Ties go to the class of the nearest voter.
/// </summary>
public static class KnnProbe
{
    private const double Temperature = 0.07;

    private static readonly bool[] Votes = [false, true];

    /// <summary>The numbers of neighbours measured.</summary>
    public static IReadOnlyList<int> Ks { get; } = [1, 5, 20, 200];

    /// <summary>
    /// Measures the vote for every k (at most the number of training videos) and both kinds of vote; nothing without labels.
    /// </summary>
    /// <param name="train">Training features.</param>
    /// <param name="test">Test features.</param>
    public static KnnAccuracy[] Evaluate(FeatureSet train, FeatureSet test)
    {
        ArgumentNullException.ThrowIfNull(train);
        ArgumentNullException.ThrowIfNull(test);
        (train, test) = (train.Labelled(), test.Labelled());
        if (train.Count == 0 || test.Count == 0)
        {
            return [];
        }

        var mean = train.Mean();
        using var search = new ExactSearch(train.Centred(mean), train.Dimension);
        var hits = search.Search(test.Centred(mean), Ks.Max());
        var classes = train.ClassNames.Length;
        return
        [
            .. from k in Ks.Select(k => Math.Min(k, train.Count)).Distinct()
               from weighted in Votes
               select Measure(k, weighted),
        ];

        KnnAccuracy Measure(int k, bool weighted)
        {
            var (top1, top5) = (0, 0);
            for (var row = 0; row < test.Count; row++)
            {
                var votes = new double[classes];
                var nearest = new int[classes];
                Array.Fill(nearest, int.MaxValue);
                for (var rank = 0; rank < k; rank++)
                {
                    var label = train.Labels![hits[row][rank].Index];
                    votes[label] += weighted ? Math.Exp(hits[row][rank].Score / Temperature) : 1;
                    nearest[label] = Math.Min(nearest[label], rank);
                }

                var best = Enumerable.Range(0, classes).OrderByDescending(c => votes[c]).ThenBy(c => nearest[c]).Take(5).ToArray();
                top1 += best[0] == test.Labels![row] ? 1 : 0;
                // A class without a vote was not found, wherever it stands.
                top5 += Array.Exists(best, c => c == test.Labels[row] && votes[c] > 0) ? 1 : 0;
            }

            return new KnnAccuracy
            {
                K = k, Vote = weighted ? "weighted" : "plain", Top1 = top1 / (double)test.Count, Top5 = top5 / (double)test.Count
            };
        }
    }
}
