// Why this exists: whether a representation learns or collapses can be told without a label, from how its embeddings lie on the sphere.
using static TorchSharp.torch;

namespace CoCLR.Engine.Features;

/// <summary>How features spread.</summary>
public static class Spread
{
    /// <summary>
    /// The exponential of the entropy of the singular values of the centred features, scaled to sum 1 (Roy and Vetterli, The effective
    /// rank, 2007).
    /// </summary>
    /// <param name="features">[N, D], N at least 2.</param>
    /// <returns>1 (all on a line, or all alike) to min(N - 1, D).</returns>
    public static double EffectiveRank(Tensor features)
    {
        ArgumentNullException.ThrowIfNull(features);
        using var scope = NewDisposeScope();
        using var frozen = no_grad();
        Tensor values = features.to_type(ScalarType.Float64);
        Tensor singular = linalg.svdvals(values - values.mean([0], keepdim: true));
        double sum = singular.sum().item<double>();
        if (sum <= 0)
        {
            return 1;
        }

        Tensor shares = singular / sum;
        return Math.Exp(-(shares * shares.clamp_min(1e-300).log()).sum().item<double>());
    }

    /// <summary>Mean squared distance of two embeddings of one video (Wang and Isola 2020, with an exponent of 2).</summary>
    /// <param name="embeddings">Unit vectors [N, D].</param>
    /// <param name="videos">N videos; clips of a video lie together.</param>
    /// <returns>0 to 4; NaN when no video has two clips.</returns>
    public static double Alignment(Tensor embeddings, IReadOnlyList<int> videos)
    {
        ArgumentNullException.ThrowIfNull(videos);
        using var scope = NewDisposeScope();
        using var frozen = no_grad();
        long[] first = [.. Enumerable.Range(0, Math.Max(0, videos.Count - 1)).Where(i => videos[i] == videos[i + 1]).Select(i => (long)i)];
        return first.Length == 0
            ? double.NaN
            : (embeddings.index_select(0, tensor(first)) - embeddings.index_select(0, tensor(first).add(1))).square().sum(1).mean().to_type(ScalarType.Float64).item<double>();
    }

    /// <summary>
    /// The logarithm of the mean of exp(-2 d²) over pairs of different videos, the first clip of each (Wang and Isola 2020, with t = 2).
    /// </summary>
    /// <param name="embeddings">Unit vectors [N, D].</param>
    /// <param name="videos">N videos; clips of a video lie together.</param>
    /// <returns>-8 to 0; NaN with fewer than two videos.</returns>
    public static double Uniformity(Tensor embeddings, IReadOnlyList<int> videos)
    {
        ArgumentNullException.ThrowIfNull(videos);
        using var scope = NewDisposeScope();
        using var frozen = no_grad();
        long[] first = [.. Enumerable.Range(0, videos.Count).Where(i => i == 0 || videos[i] != videos[i - 1]).Select(i => (long)i)];
        if (first.Length < 2)
        {
            return double.NaN;
        }

        // d² = 2 - 2 cosine; the pairs of a video with itself have d = 0 and are taken off.
        Tensor clips = embeddings.index_select(0, tensor(first)).to_type(ScalarType.Float64);
        double sum = (clips.matmul(clips.t()) * 4 - 4).clamp_max(0).exp().sum().item<double>() - first.Length;
        return Math.Log(Math.Max(sum, double.Epsilon) / ((double)first.Length * (first.Length - 1)));
    }
}
