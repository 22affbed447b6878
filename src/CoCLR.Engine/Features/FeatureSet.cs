// Why this exists: probes, retrieval and projections all start from "one feature a video, with its id and perhaps its class"; this is that,
// checked once.
using System.Globalization;
using System.Numerics;
using System.Runtime.InteropServices;
using CoCLR.Core;

namespace CoCLR.Engine.Features;

/// <summary>One feature for each video of a set: N x D float32, with ids and optional labels.</summary>
public sealed class FeatureSet
{
    /// <summary>Makes a set; the arrays are kept, not copied.</summary>
    /// <param name="ids">N unique video ids.</param>
    /// <param name="values">N x D features, row by row.</param>
    /// <param name="labels">N class indices, -1 where unknown; null without labels.</param>
    /// <param name="classNames">Class names by class index; empty without labels.</param>
    /// <param name="groups">N source groups (videos of one recording), or null.</param>
    /// <exception cref="UserErrorException">A feature is NaN or infinite, an id is there twice, or a label has no class (65).</exception>
    public FeatureSet(string[] ids, float[] values, int[]? labels = null, string[]? classNames = null, string[]? groups = null)
    {
        ArgumentNullException.ThrowIfNull(ids);
        ArgumentNullException.ThrowIfNull(values);
        if ((ids.Length == 0 && values.Length != 0) || (ids.Length > 0 && (values.Length == 0 || values.Length % ids.Length != 0)))
        {
            throw new UserErrorException(
                $"{ids.Length} videos cannot share {values.Length} feature values: make the features again.", ExitCodes.BadData);
        }

        if ((labels is not null && labels.Length != ids.Length) || (groups is not null && groups.Length != ids.Length))
        {
            throw new UserErrorException(
                $"{ids.Length} videos have {labels?.Length} labels and {groups?.Length} groups: make the features again.",
                ExitCodes.BadData);
        }

        Ids = ids;
        Values = values;
        Dimension = ids.Length == 0 ? 0 : values.Length / ids.Length;
        Labels = labels is not null && Array.Exists(labels, l => l >= 0) ? labels : null;
        ClassNames = classNames
            ?? (Labels is null ? [] : [.. Enumerable.Range(0, Labels.Max() + 1).Select(i => i.ToString(CultureInfo.InvariantCulture))]);
        Groups = groups;
        if (Labels is not null && Labels.Max() >= ClassNames.Length)
        {
            throw new UserErrorException(
                $"a video has class {Labels.Max()} but only {ClassNames.Length} class names are known: make the features again.",
                ExitCodes.BadData);
        }

        var seen = new HashSet<string>(ids.Length, StringComparer.Ordinal);
        foreach (var id in ids)
        {
            if (!seen.Add(id))
            {
                throw new UserErrorException($"video `{id}` has two features: each id may be there once.", ExitCodes.BadData);
            }
        }

        RequireFinite(values, Math.Max(1, Dimension), row => $"the feature of video `{ids[row]}`");
    }

    /// <summary>N video ids.</summary>
    public string[] Ids { get; }

    /// <summary>N x D features, row by row.</summary>
    public float[] Values { get; }

    /// <summary>N class indices, -1 where unknown; null without any label.</summary>
    public int[]? Labels { get; }

    /// <summary>Class names by class index; empty without labels.</summary>
    public string[] ClassNames { get; }

    /// <summary>N source groups, or null.</summary>
    public string[]? Groups { get; }

    /// <summary>N.</summary>
    public int Count => Ids.Length;

    /// <summary>D; 0 for an empty set.</summary>
    public int Dimension { get; }

    /// <summary>The feature of one video.</summary>
    /// <param name="row">Its row.</param>
    public ReadOnlySpan<float> this[int row] => Values.AsSpan(row * Dimension, Dimension);

    /// <summary>The class of one video, or null when unknown.</summary>
    /// <param name="row">Its row.</param>
    public int? LabelOf(int row) => Labels is { } labels && labels[row] >= 0 ? labels[row] : null;

    /// <summary>The class name of one video, or null when unknown.</summary>
    /// <param name="row">Its row.</param>
    public string? ClassOf(int row) => LabelOf(row) is { } label ? ClassNames[label] : null;

    /// <summary>The videos of some rows, in that order.</summary>
    /// <param name="rows">Rows.</param>
    public FeatureSet Select(IReadOnlyList<int> rows)
    {
        ArgumentNullException.ThrowIfNull(rows);
        var values = new float[rows.Count * Dimension];
        for (var i = 0; i < rows.Count; i++)
        {
            this[rows[i]].CopyTo(values.AsSpan(i * Dimension));
        }

        return new FeatureSet(
            [.. rows.Select(r => Ids[r])], values, Labels is null ? null : [.. rows.Select(r => Labels[r])], ClassNames,
            Groups is null ? null : [.. rows.Select(r => Groups[r])]);
    }

    /// <summary>The rows whose class is known.</summary>
    public FeatureSet Labelled() =>
        Labels is null ? Select([]) : Array.TrueForAll(Labels, l => l >= 0) ? this : Select(
            [.. Enumerable.Range(0, Count).Where(i => Labels[i] >= 0)]);

    /// <summary>The mean feature of the set (sums in double precision).</summary>
    public float[] Mean()
    {
        var sum = new double[Dimension];
        for (var row = 0; row < Count; row++)
        {
            var feature = this[row];
            for (var d = 0; d < feature.Length; d++)
            {
                sum[d] += feature[d];
            }
        }

        return Array.ConvertAll(sum, s => (float)(s / Count));
    }

    /// <summary>The features minus a mean, each scaled to length 1 (method.md 1e, retrieval); a zero feature stays zero.</summary>
    /// <param name="mean">What to subtract; the set's own mean where null.</param>
    /// <returns>N x D values.</returns>
    public float[] Centred(float[]? mean = null)
    {
        mean ??= Mean();
        var result = new float[Values.Length];
        Parallel.For(0, Count, row =>
        {
            var target = result.AsSpan(row * Dimension, Dimension);
            var feature = this[row];
            for (var d = 0; d < target.Length; d++)
            {
                target[d] = feature[d] - mean[d];
            }

            Normalize(target);
        });
        return result;
    }

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
            throw new UserErrorException(
                "the two views share no video, so there is nothing to fuse: make the features of both views from one data set.",
                ExitCodes.BadData);
        }

        int[] others = [.. shared.Select(i => rows[first.Ids[i]])];
        for (var i = 0; i < shared.Length; i++)
        {
            if (first.ClassOf(shared[i]) is { } one && second.ClassOf(others[i]) is { } two && one != two)
            {
                throw new UserErrorException(
                    $"video `{first.Ids[shared[i]]}` is `{one}` in one view and `{two}` in the other: make the features of both views "
                        + $"from one data set.", ExitCodes.BadData);
            }
        }

        return (
            shared.Length == first.Count ? first : first.Select(shared),
            others.SequenceEqual(Enumerable.Range(0, second.Count)) ? second : second.Select(others));
    }

    /// <summary>Scales a feature to length 1, in place; zero stays zero.</summary>
    /// <param name="feature">D values.</param>
    public static void Normalize(Span<float> feature)
    {
        var square = 0.0;
        foreach (var value in feature)
        {
            square += (double)value * value;
        }

        if (square > 0)
        {
            var scale = (float)(1 / Math.Sqrt(square));
            for (var d = 0; d < feature.Length; d++)
            {
                feature[d] *= scale;
            }
        }
    }

    internal static void RequireFinite(ReadOnlySpan<float> values, int dimension, Func<int, string> name)
    {
        // x - x is zero for everything finite and NaN for the rest: one pass of subtractions finds whether there is anything to name.
        const int chunk = 1 << 16;
        for (var start = 0; start < values.Length; start += chunk)
        {
            var part = values.Slice(start, Math.Min(chunk, values.Length - start));
            var vectors = MemoryMarshal.Cast<float, Vector<float>>(part);
            var sum = Vector<float>.Zero;
            foreach (var vector in vectors)
            {
                sum += vector - vector;
            }

            var finite = Vector.Sum(sum) == 0;
            foreach (var value in part[(vectors.Length * Vector<float>.Count)..])
            {
                finite &= float.IsFinite(value);
            }

            if (finite)
            {
                continue;
            }

            for (var i = 0; i < part.Length; i++)
            {
                if (!float.IsFinite(part[i]))
                {
                    throw new UserErrorException(
                        string.Create(
                            CultureInfo.InvariantCulture,
                            $"{name((start + i) / dimension)} holds {part[i]} at position {(start + i) % dimension}: the network diverged "
                                + $"or the file is damaged. Use an earlier checkpoint or make the features again."),
                        ExitCodes.BadData);
                }
            }
        }
    }
}
