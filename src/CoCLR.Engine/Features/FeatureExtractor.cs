// Why this exists: a video's feature is the mean over its sliding clips; probes, retrieval, maps and `coclr embed` all begin here.
using CoCLR.Core;
using CoCLR.Engine.Collectives;
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
        var batches = clips.Ranks.World == 1 ? Rows(clips, rows, cancellationToken) : RowsOfAllRanks(clips, rows, cancellationToken);
        foreach (var (flat, width, videos) in batches)
        {
            if (dimension == 0)
            {
                dimension = width;
                sums = new float[(long)counts.Length * dimension];
            }

            for (var i = 0; i < videos.Length; i++)
            {
                var video = videos[i];
                counts[video]++;
                var sum = sums.AsSpan(video * dimension, dimension);
                for (var d = 0; d < dimension; d++)
                {
                    sum[d] += flat[(i * dimension) + d];
                }
            }

            done += videos.Length;
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

    /// <summary>The rows of the batches that this process is given, and whose they are.</summary>
    private static IEnumerable<ClipRows> Rows(IClipBatches clips, Func<Tensor, Tensor> rows, CancellationToken cancellationToken)
    {
        foreach (var batch in clips.Pass(1, cancellationToken))
        {
            using (batch)
            {
                cancellationToken.ThrowIfCancellationRequested();
                yield return Compute(batch);
            }
        }

        ClipRows Compute(VideoClips batch)
        {
            using var scope = NewDisposeScope();
            using var noGrad = no_grad();
            var values = rows(batch.Clips).to_type(ScalarType.Float32).cpu().contiguous();
            return new ClipRows(values.data<float>().ToArray(), (int)values.shape[1], batch.Videos);
        }
    }

    /// <summary>
    /// The same rows in the same order on every rank, each having computed its share: sums over clips have the bits of one process.
    /// </summary>
    private static IEnumerable<ClipRows> RowsOfAllRanks(IClipBatches clips, Func<Tensor, Tensor> rows, CancellationToken cancellationToken)
    {
        var batches = (clips.ClipsInPass + clips.ClipsPerBatch - 1) / clips.ClipsPerBatch;
        using var own = Rows(clips, rows, cancellationToken).GetEnumerator();
        for (var round = 0; round * clips.Ranks.World < batches; round++)
        {
            // Where there is no batch for this rank in the last round, it takes part with nothing.
            foreach (ClipRows rank in Exchange(clips.Ranks, clips.ClipsPerBatch, own.MoveNext() ? own.Current : new ClipRows([], 0, [])))
            {
                yield return rank;
            }
        }
    }

    /// <summary>The rows of one batch of every rank.</summary>
    private static List<ClipRows> Exchange(ICollective ranks, int most, ClipRows own)
    {
        using var scope = NewDisposeScope();
        var sizes = ranks.AllGather(tensor(new long[] { own.Videos.Length, own.Width }).reshape(1, 2)).data<long>().ToArray();
        var width = (int)sizes[1]; // rank 0 has a batch in every round
        var (values, videos) = (new float[most * width], new long[most]);
        own.Values.CopyTo(values, 0);
        Array.ConvertAll(own.Videos, v => (long)v).CopyTo(videos, 0);
        var allValues = ranks.AllGather(tensor(values, [most, width])).data<float>().ToArray();
        var allVideos = ranks.AllGather(tensor(videos)).data<long>().ToArray();
        var made = new List<ClipRows>();
        for (var rank = 0; rank < ranks.World; rank++)
        {
            var (first, end) = (rank * most, (rank * most) + (int)sizes[2 * rank]);
            if (end > first)
            {
                made.Add(new ClipRows(allValues[(first * width)..(end * width)], width, Array.ConvertAll(allVideos[first..end], v => (int)v)));
            }
        }

        return made;
    }

    /// <summary>What a function gave for the clips of a batch.</summary>
    /// <param name="Values">B x D.</param>
    /// <param name="Width">D.</param>
    /// <param name="Videos">For each clip the row of its video.</param>
    private readonly record struct ClipRows(float[] Values, int Width, int[] Videos);
}
