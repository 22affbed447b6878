// Why this exists: RGB and flow see different things; together they classify better than either (paper Table 1), as long as the same videos are put together.
using CoCLR.Core;
using CoCLR.Core.Manifests;
using CoCLR.Core.Results;

namespace CoCLR.Engine.Evaluation;

/// <summary>Two streams together: mean of the two softmax vectors with weights 0.5 and 0.5 (method.md 1e).</summary>
public static class Fusion
{
    /// <summary>The videos that both sets hold, in the order of the first.</summary>
    /// <param name="first">One view.</param>
    /// <param name="second">The other view.</param>
    /// <exception cref="UserErrorException">They share no video, or disagree about a class (65).</exception>
    public static (FeatureSet First, FeatureSet Second) Match(FeatureSet first, FeatureSet second)
    {
        ArgumentNullException.ThrowIfNull(first);
        ArgumentNullException.ThrowIfNull(second);
        var rows = second.Ids.Index().ToDictionary(e => e.Item, e => e.Index, StringComparer.Ordinal);
        var shared = Enumerable.Range(0, first.Count).Where(i => rows.ContainsKey(first.Ids[i])).ToArray();
        if (shared.Length == 0 && first.Count + second.Count > 0)
        {
            throw new UserErrorException("the two views share no video, so there is nothing to fuse: make the features of both views from one data set.", ExitCodes.BadData);
        }

        int[] others = [.. shared.Select(i => rows[first.Ids[i]])];
        for (var i = 0; i < shared.Length; i++)
        {
            if (first.ClassOf(shared[i]) is { } one && second.ClassOf(others[i]) is { } two && one != two)
            {
                throw new UserErrorException(
                    $"video `{first.Ids[shared[i]]}` is `{one}` in one view and `{two}` in the other: make the features of both views from one data set.", ExitCodes.BadData);
            }
        }

        return (
            shared.Length == first.Count ? first : first.Select(shared),
            others.SequenceEqual(Enumerable.Range(0, second.Count)) ? second : second.Select(others));
    }

    /// <summary>Mean of the class probabilities of two classifiers.</summary>
    /// <param name="first">Probabilities as features: one row of C values for each test video.</param>
    /// <param name="second">The other classifier's, matched by id.</param>
    /// <returns>The fused probabilities.</returns>
    /// <exception cref="UserErrorException">They share no video, or have different classes (65).</exception>
    public static FeatureSet Average(FeatureSet first, FeatureSet second)
    {
        var (a, b) = Match(first, second);
        if (a.Dimension != b.Dimension || !a.ClassNames.SequenceEqual(b.ClassNames, StringComparer.Ordinal))
        {
            throw new UserErrorException($"the two classifiers have {a.Dimension} and {b.Dimension} classes or name them differently: train both on one data set.", ExitCodes.BadData);
        }

        var values = new float[a.Values.Length];
        for (var i = 0; i < values.Length; i++)
        {
            values[i] = 0.5f * (a.Values[i] + b.Values[i]);
        }

        return new FeatureSet(a.Ids, values, a.Labels, a.ClassNames, a.Groups);
    }

    /// <summary>Fuses what is there of two streams.</summary>
    /// <param name="probes">Test probabilities of the two linear probes, or null.</param>
    /// <param name="fineTuned">Test probabilities of the two fine-tuned networks, or null.</param>
    /// <param name="retrieval">Retrieval by the sum of the similarities, or null.</param>
    /// <param name="selection">How the probes' epochs were chosen; the more optimistic of the two.</param>
    public static FusionResult Fuse(
        (FeatureSet Rgb, FeatureSet Flow)? probes, (FeatureSet Rgb, FeatureSet Flow)? fineTuned, RetrievalResult? retrieval, Selection selection = Selection.Last)
    {
        var fusedProbes = probes is { } p ? Average(p.Rgb, p.Flow) : null;
        var fusedFineTuned = fineTuned is { } f ? Average(f.Rgb, f.Flow) : null;
        return new FusionResult
        {
            Probe = fusedProbes is null ? null : Classification.Measure(fusedProbes),
            Selection = selection,
            FineTune = fusedFineTuned is null ? null : Classification.Measure(fusedFineTuned),
            Retrieval = retrieval,
            Predictions = Classification.Predict(fusedProbes ?? fusedFineTuned),
            Hits = fusedProbes is null ? null : Classification.Hits(fusedProbes),
        };
    }
}
