// Why this exists: RGB and flow see different things; together they classify better than either (paper Table 1), as long as the same videos
// are put together.
using CoCLR.Core;
using CoCLR.Core.Manifests;
using CoCLR.Core.Results;
using CoCLR.Engine.Features;

namespace CoCLR.Engine.Evaluation;

/// <summary>Two streams together: mean of the two softmax vectors with weights 0.5 and 0.5 (method.md 1e).</summary>
public static class Fusion
{
    /// <summary>Mean of the class probabilities of two classifiers.</summary>
    /// <param name="first">Probabilities as features: one row of C values for each test video.</param>
    /// <param name="second">The other classifier's, matched by id.</param>
    /// <returns>The fused probabilities.</returns>
    /// <exception cref="UserErrorException">They share no video, or have different classes (65).</exception>
    public static FeatureSet Average(FeatureSet first, FeatureSet second)
    {
        var (a, b) = FeatureSet.Match(first, second);
        if (a.Dimension != b.Dimension || !a.ClassNames.SequenceEqual(b.ClassNames, StringComparer.Ordinal))
        {
            throw new UserErrorException(
                $"the two classifiers have {a.Dimension} and {b.Dimension} classes or name them differently: train both on one data set.",
                ExitCodes.BadData);
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
        (FeatureSet Rgb, FeatureSet Flow)? probes, (FeatureSet Rgb, FeatureSet Flow)? fineTuned, RetrievalResult? retrieval,
        Selection selection = Selection.Last)
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
