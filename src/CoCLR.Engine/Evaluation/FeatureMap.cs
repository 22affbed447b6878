// Why this exists: the embedding page shows every video as a point, with its split, class and prediction; this makes those points.
using CoCLR.Core.Results;
using CoCLR.Engine.Features;

namespace CoCLR.Engine.Evaluation;

/// <summary>Maps features to the plane for looking.</summary>
public static class FeatureMap
{
    /// <summary>More points than this are neither quick to map nor readable: all test videos stay, training videos are drawn.</summary>
    public const int MaxPoints = 10_000;

    private static readonly ulong Purpose = CounterRandom.Purpose("feature map");

    /// <summary>Maps training and test videos together, in the space that retrieval compares in.</summary>
    /// <param name="train">Training features.</param>
    /// <param name="test">Test features.</param>
    /// <param name="predictions">How test videos were classified; may be empty.</param>
    /// <param name="view">`rgb`, `flow` or `two-stream`.</param>
    /// <param name="method">`pca` or `tsne`.</param>
    /// <param name="seed">Seed of the draw where there are more than <paramref name="maxPoints"/> videos.</param>
    /// <param name="maxPoints">Points at most.</param>
    /// <param name="cancellationToken">Stops t-SNE.</param>
    public static Projection Create(
        FeatureSet train, FeatureSet test, IEnumerable<Prediction> predictions, string view, string method, long seed =
            0, int maxPoints = MaxPoints, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(train);
        ArgumentNullException.ThrowIfNull(test);
        (string Split, FeatureSet Set, int Row)[] videos =
        [
            .. Draw(test, maxPoints, seed).Select(row => ("test", test, row)),
            .. Draw(train, maxPoints - Math.Min(test.Count, maxPoints), seed).Select(row => ("train", train, row)),
        ];
        var dimension = Math.Max(train.Dimension, test.Dimension);
        var (trainValues, testValues) = (train.Count == 0 ? [] : train.Centred(), test.Count == 0 ? [] : test.Centred());
        var values = new float[videos.Length * dimension];
        for (var i = 0; i < videos.Length; i++)
        {
            (ReferenceEquals(videos[i].Set, test) ? testValues : trainValues).AsSpan(videos[i].Row * dimension, dimension)
                .CopyTo(values.AsSpan(i * dimension));
        }

        var (coordinates, explained) = method switch
        {
            "pca" => Pca(values, dimension),
            "tsne" => (Tsne.Project(values, dimension, cancellationToken: cancellationToken), null),
            _ => throw new ArgumentException($"`{method}` is neither `pca` nor `tsne`", nameof(method)),
        };
        var scale = coordinates.Length == 0 ? 1 : Math.Max(coordinates.Max(Math.Abs), double.Epsilon);
        var predicted = predictions.ToDictionary(p => p.Id, p => p.Predicted, StringComparer.Ordinal);
        return new Projection
        {
            View = view,
            Method = method,
            ClassNames = test.ClassNames.Length > 0 ? test.ClassNames : train.ClassNames,
            ExplainedVariance = explained,
            Points =
            [
                .. videos.Select((video, i) => new ProjectedVideo
                {
                    Id = video.Set.Ids[video.Row],
                    Split = video.Split,
                    Label = video.Set.LabelOf(video.Row),
                    Predicted = video.Split == "test" && predicted.TryGetValue(video.Set.Ids[video.Row], out var label) ? label : null,
                    X = Math.Round(coordinates[2 * i] / scale, 5),
                    Y = Math.Round(coordinates[(2 * i) + 1] / scale, 5),
                }),
            ],
        };
    }

    private static (double[] Coordinates, double[]? Explained) Pca(float[] values, int dimension)
    {
        if (values.Length == 0)
        {
            return ([], []);
        }

        var (reduced, explained) = PrincipalComponents.Project(values, dimension, 2);
        return explained.Length == 2
            ? (Array.ConvertAll(reduced, v => (double)v), explained)
            : ([.. reduced.SelectMany(v => new[] { (double)v, 0 })], [.. explained, 0]);
    }

    private static IEnumerable<int> Draw(FeatureSet set, int count, long seed) =>
        set.Count <= count ? Enumerable.Range(0, set.Count) : new CounterRandom(seed, Purpose).Permutation(set.Count)
            .Take(Math.Max(0, count)).Order();
}
