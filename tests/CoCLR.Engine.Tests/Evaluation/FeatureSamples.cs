// Why this exists: tests of evaluation need small feature sets whose answers are known.

using CoCLR.Engine.Features;

namespace CoCLR.Engine.Tests.Evaluation;

internal static class FeatureSamples
{
    /// <summary>Random features around one centre for each class; small spread makes the classes separable.</summary>
    public static FeatureSet Clusters(
        int count, int dimension, int classes, double spread, int seed, string prefix = "v", int groupSize = 1)
    {
        // The centres do not depend on the seed, so that a training and a test set share them.
        var centres = new CounterRandom(99);
        var centre = new double[classes * dimension];
        for (var i = 0; i < centre.Length; i++)
        {
            centre[i] = centres.NextGaussian();
        }

        var random = new CounterRandom(seed, 7);
        var values = new float[count * dimension];
        for (var i = 0; i < values.Length; i++)
        {
            values[i] = (float)(centre[(i / dimension % classes * dimension) + (i % dimension)] + (spread * random.NextGaussian()));
        }

        return new FeatureSet(
            [.. Enumerable.Range(0, count).Select(i => $"{prefix}{i:0000}")],
            values,
            [.. Enumerable.Range(0, count).Select(i => i % classes)],
            [.. Enumerable.Range(0, classes).Select(c => $"class {c}")],
            [.. Enumerable.Range(0, count).Select(i => $"{prefix}-group{i % classes}-{i / classes / groupSize}")]);
    }

    /// <summary>Small whole numbers: their dot products are exact in float32, so that a slow reference must agree to the bit.</summary>
    public static float[] WholeNumbers(int count, int seed, int range = 4)
    {
        var random = new CounterRandom(seed, 8);
        var values = new float[count];
        for (var i = 0; i < count; i++)
        {
            values[i] = random.NextInt((2 * range) + 1) - range;
        }

        return values;
    }

    public static FeatureSet Shuffled(FeatureSet set, int seed) => set.Select(new CounterRandom(seed, 9).Permutation(set.Count));
}
