// Why this exists: a video's feature is the mean over its sliding clips; probes, retrieval, maps and `coclr embed` all begin here.
using CoCLR.Core;
using CoCLR.Engine.Models;
using static TorchSharp.torch;

namespace CoCLR.Engine.Features;

/// <summary>
/// Features of videos: each clip's pooled feature scaled to length 1, then the mean over the clips and crops of the video (method.md 1e).
/// </summary>
public static class FeatureExtractor
{
    /// <summary>Extracts one feature for each video. Memory: N x D values, whatever the number of clips.</summary>
    /// <param name="backbone">The network; runs in evaluation mode and is left as it was.</param>
    /// <param name="clips">The videos.</param>
    /// <param name="progress">Told after each batch.</param>
    /// <param name="cancellationToken">Stops between batches.</param>
    /// <exception cref="UserErrorException">A video has no clip, or its feature is NaN or infinite (65).</exception>
    public static FeatureSet Extract(
        Backbone backbone, IClipBatches clips, IProgress<PassProgress>? progress = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(backbone);
        var training = backbone.training;
        backbone.eval();
        try
        {
            return Mean(clips, batch => nn.functional.normalize(backbone.Features(batch), 2, 1), progress, cancellationToken);
        }
        finally
        {
            backbone.train(training);
        }
    }

    /// <summary>The mean over each video's clips of any row that a function gives for a clip.</summary>
    /// <param name="clips">The videos.</param>
    /// <param name="rows">[B,3,T,H,W] to [B,D], without gradients.</param>
    /// <param name="progress">Told after each batch.</param>
    /// <param name="cancellationToken">Stops between batches.</param>
    internal static FeatureSet Mean(
        IClipBatches clips, Func<Tensor, Tensor> rows, IProgress<PassProgress>? progress, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(clips);
        TorchRuntime.Initialize();
        var sums = Array.Empty<float>();
        var counts = new int[clips.Ids.Count];
        var (dimension, done) = (0, 0);
        foreach (var batch in clips.Pass(1, cancellationToken))
        {
            using (batch)
            {
                cancellationToken.ThrowIfCancellationRequested();
                using var scope = NewDisposeScope();
                using var noGrad = no_grad();
                var values = rows(batch.Clips).to_type(ScalarType.Float32).cpu().contiguous();
                if (dimension == 0)
                {
                    dimension = (int)values.shape[1];
                    sums = new float[(long)counts.Length * dimension];
                }

                var flat = values.data<float>().ToArray();
                for (var i = 0; i < batch.Videos.Length; i++)
                {
                    var video = batch.Videos[i];
                    counts[video]++;
                    var sum = sums.AsSpan(video * dimension, dimension);
                    for (var d = 0; d < dimension; d++)
                    {
                        sum[d] += flat[(i * dimension) + d];
                    }
                }

                done += batch.Videos.Length;
            }

            progress?.Report(new PassProgress(done, clips.ClipsInPass));
        }

        for (var video = 0; video < counts.Length; video++)
        {
            if (counts[video] == 0)
            {
                throw new UserErrorException(
                    $"video `{clips.Ids[video]}` has no clip: it is shorter than a clip or broken. Leave it out with `coclr data scan`.",
                    ExitCodes.BadData);
            }

            foreach (ref var value in sums.AsSpan(video * dimension, dimension))
            {
                value /= counts[video];
            }
        }

        return new FeatureSet(
            [.. clips.Ids],
            sums,
            clips.Labels is null ? null : [.. clips.Labels],
            [.. clips.ClassNames],
            clips.Groups is null ? null : [.. clips.Groups]);
    }
}
