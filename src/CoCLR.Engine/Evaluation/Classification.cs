// Why this exists: every classifier here ends with class probabilities for each test video; accuracy, confusion and predictions are counted
// from them in one place.
using CoCLR.Core.Results;
using CoCLR.Engine.Features;

namespace CoCLR.Engine.Evaluation;

/// <summary>Counts what class probabilities got right.</summary>
public static class Classification
{
    /// <summary>Accuracy of class probabilities. Equal probabilities rank the smaller class index first.</summary>
    /// <param name="probabilities">One row of C probabilities (or any scores that rank) for each video; only labelled videos count.</param>
    public static Accuracy Measure(FeatureSet probabilities)
    {
        ArgumentNullException.ThrowIfNull(probabilities);
        var classes = probabilities.ClassNames.Length;
        var confusion = new int[classes][];
        for (var c = 0; c < classes; c++)
        {
            confusion[c] = new int[classes];
        }

        var (top1, top5, videos) = (0, 0, 0);
        for (var row = 0; row < probabilities.Count; row++)
        {
            if (probabilities.LabelOf(row) is not { } label)
            {
                continue;
            }

            var top = Top(probabilities[row], 5);
            videos++;
            top1 += top[0] == label ? 1 : 0;
            top5 += Array.IndexOf(top, label) >= 0 ? 1 : 0;
            confusion[label][top[0]]++;
        }

        return new Accuracy
        {
            Top1 = videos == 0 ? 0 : top1 / (double)videos,
            Top5 = videos == 0 ? 0 : top5 / (double)videos,
            Chance = classes == 0 ? 0 : 1.0 / classes,
            Videos = videos,
            ClassNames = probabilities.ClassNames,
            PerClass = [.. confusion.Select((row, c) => row.Sum() is var all && all > 0 ? row[c] / (double)all : (double?)null)],
            Confusion = confusion,
        };
    }

    /// <summary>How each labelled video was classified.</summary>
    /// <param name="probabilities">One row of C probabilities for each video, or null.</param>
    public static Prediction[] Predict(FeatureSet? probabilities) => probabilities is null ? [] :
    [
        .. from row in Enumerable.Range(0, probabilities.Count)
           where probabilities.LabelOf(row) is not null
           let top = Top(probabilities[row], 5)
           select new Prediction
           {
               Id = probabilities.Ids[row],
               Label = probabilities.Labels![row],
               Predicted = top[0],
               Top5 = top,
               Probability = Math.Round(probabilities[row][top[0]], 6),
           },
    ];

    /// <summary>Which labelled videos were classified right.</summary>
    /// <param name="probabilities">One row of C probabilities for each video.</param>
    public static VideoHits? Hits(FeatureSet probabilities)
    {
        ArgumentNullException.ThrowIfNull(probabilities);
        return VideoHits.Of(Enumerable.Range(0, probabilities.Count).Where(row => probabilities.LabelOf(row) is not null)
            .Select(
                row => (probabilities.Ids[row], probabilities.Groups?[row], Top(probabilities[row], 1)[0] == probabilities.LabelOf(row))));
    }

    /// <summary>The classes with the largest scores, largest first; ties go to the smaller index.</summary>
    /// <param name="scores">One score for each class.</param>
    /// <param name="count">How many.</param>
    public static int[] Top(ReadOnlySpan<float> scores, int count)
    {
        var values = scores.ToArray();
        return [.. Enumerable.Range(0, values.Length).OrderByDescending(c => values[c]).Take(count)];
    }

    /// <summary>The videos behind each cell of a confusion matrix.</summary>
    /// <param name="accuracy">The accuracy.</param>
    /// <param name="predictions">The predictions that it was counted from.</param>
    /// <param name="view">`rgb`, `flow` or `two-stream`.</param>
    public static ConfusionTable Table(Accuracy accuracy, IEnumerable<Prediction> predictions, string view)
    {
        ArgumentNullException.ThrowIfNull(accuracy);
        return new ConfusionTable
        {
            View = view,
            ClassNames = accuracy.ClassNames,
            Counts = accuracy.Confusion,
            Cells =
            [
                .. predictions.GroupBy(p => (p.Label, p.Predicted)).OrderBy(g => g.Key)
                    .Select(g => new ConfusionCell { Label = g.Key.Label, Predicted = g.Key.Predicted, Ids = [.. g.Select(p => p.Id)] }),
            ],
        };
    }
}
