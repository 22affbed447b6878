// Why this exists: a video as a whole says more about what happens in it than any of its clips.
using CoCLR.Core.Manifests;
using CoCLR.Engine.Context;
using CoCLR.Engine.Features;
using CoCLR.Engine.Models;
using CoCLR.Engine.Video.Loading;
using CoCLR.Engine.Video.Store;

namespace CoCLR.Engine.Training;

/// <summary>Describes the training videos of a stage under an encoder that stands still.</summary>
internal static class VideoDescriptions
{
    private const int ClipsPerBatch = 32;

    /// <summary>One row of unit length a video: the mean over its sliding clips, centred by the mean of all, whitened if asked.</summary>
    /// <param name="context">The stage.</param>
    /// <param name="encoder">Left as it was.</param>
    /// <param name="store">The videos of the encoder's view.</param>
    /// <param name="items">The training videos, of that store alone.</param>
    /// <param name="space">The encoder's features or its projection.</param>
    /// <param name="phase">What the progress is called.</param>
    /// <returns>N x D values.</returns>
    public static float[] Of(
        StageContext context, VideoEncoder encoder, ClipStore store, IReadOnlyList<ClipItem> items, MiningSpace space, string phase)
    {
        using StoreClips clips = StoreClips.ForTesting(
            store, items, Augmentations.Of(context.Spec), Augmentations.Loading(context, ClipsPerBatch), ranks: context.Ranks);
        var progress = ImmediateProgress.To<PassProgress>(p => context.Events.Progress(phase, p.Done, p.Total, "clips"));
        bool training = encoder.training;
        encoder.eval();
        try
        {
            FeatureSet means = space == MiningSpace.Features
                ? FeatureExtractor.Extract(encoder.Backbone, clips, progress, context.Stop)
                : FeatureExtractor.Mean(clips, encoder.forward, progress, context.Stop);
            return context.Spec.Cotrain.Whiten is > 0 and var dimensions ? Whitened(means, dimensions) : means.Centred();
        }
        finally
        {
            encoder.train(training);
        }
    }

    /// <summary>
    /// The first principal components, each of variance 1, then rows of length 1: directions in which everything varies no longer drown the
    /// others.
    /// </summary>
    /// <param name="features">N videos.</param>
    /// <param name="dimensions">Components, at most.</param>
    internal static float[] Whitened(FeatureSet features, int dimensions)
    {
        (float[] values, _) = PrincipalComponents.Project(features.Values, features.Dimension, dimensions);
        int width = values.Length / features.Count;
        for (int d = 0; d < width; d++)
        {
            double square = 0;
            for (int row = 0; row < features.Count; row++)
            {
                square += (double)values[(row * width) + d] * values[(row * width) + d];
            }

            // Centred coordinates: the mean square is the variance. What hardly varies is noise and stays small.
            float scale = square > 1e-12 ? (float)Math.Sqrt(features.Count / square) : 0;
            for (int row = 0; row < features.Count; row++)
            {
                values[(row * width) + d] *= scale;
            }
        }

        for (int row = 0; row < features.Count; row++)
        {
            FeatureSet.Normalize(values.AsSpan(row * width, width));
        }

        return values;
    }
}
