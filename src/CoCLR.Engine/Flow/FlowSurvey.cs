// Why this exists: a bound far above what moves in a data set throws the motion away in rounding, one far below it clips it; so the bound
// is measured.
using CoCLR.Core;
using CoCLR.Core.Results;
using CoCLR.Engine.Video.Catalogue;
using CoCLR.Engine.Video.Store;

namespace CoCLR.Engine.Flow;

/// <summary>Measures the displacements of a sample of a data set.</summary>
public static class FlowSurvey
{
    /// <summary>The share of displacements that an automatic bound holds.</summary>
    public const double BoundShare = 0.995;

    private const int MostVideos = 64;
    private const int MostFiles = 24;
    // Early ones too: how long a file is shows only at its end.
    private static readonly int[] s_framesOfAFile = [2, 15, 31, 47];
    private const int PairsPerVideo = 3;
    private const int ValuesPerPair = 8192;
    private const double SmallestBound = 0.5;

    /// <summary>Measures video files that are not decoded yet, from their first frames.</summary>
    /// <param name="paths">The files; some of them are looked at, spread evenly.</param>
    /// <param name="options">At what size, and the bound if one is given.</param>
    /// <param name="cancellationToken">Stops.</param>
    /// <returns>Null where no file has two frames that can be decoded.</returns>
    public static MotionResult? OfFiles(IReadOnlyList<string> paths, FlowOptions options, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(paths);
        ArgumentNullException.ThrowIfNull(options);
        int count = Math.Min(MostFiles, paths.Count);
        var values = new List<float>[count];
        Parallel.For(0, count, new ParallelOptions { CancellationToken = cancellationToken }, i =>
        {
            values[i] = [];
            try
            {
                using IGrayVideo frames =
                    GrayFrames.OpenFile(paths[(int)((long)i * paths.Count / count)], s_framesOfAFile[^1] + 1, options.Size);
                Add(values[i], frames, s_framesOfAFile, frames.Width, frames.Height, options);
            }
            catch (UserErrorException)
            {
                // Shorter than that, or broken, which the scan says: what was seen of it counts.
            }
        });
        return values.Any(v => v.Count > 0) ? Summary([.. values.SelectMany(v => v)], values.Count(v => v.Count > 0), options) : null;
    }

    internal static MotionResult Measure(ClipStore source, FlowOptions options, GrayFrames input, CancellationToken cancellationToken)
    {
        int[] candidates =
            [.. Enumerable.Range(0, source.Count).Where(i => source.Videos[i].Frames >= 2 && source.Videos[i].Split != VideoSplit.Test)];
        candidates = candidates.Length > 0 ? candidates : [.. Enumerable.Range(0, source.Count).Where(i => source.Videos[i].Frames >= 2)];
        int[] sample = [
            .. Enumerable.Range(0, Math.Min(MostVideos, candidates.Length))
                .Select(i => candidates[(int)((long)i * candidates.Length / Math.Min(MostVideos, candidates.Length))])];
        var values = new float[sample.Length][];
        try
        {
            Parallel.For(
                0,
                sample.Length,
                new ParallelOptions { CancellationToken = cancellationToken },
                i => values[i] = OfVideo(source.Videos[sample[i]], options, input, sample[i]));
        }
        catch (AggregateException errors) when (errors.Flatten().InnerExceptions.OfType<UserErrorException>().FirstOrDefault() is { } first)
        {
            throw new UserErrorException(first.Message, first.ExitCode, first);
        }

        return Summary([.. values.SelectMany(v => v)], sample.Length, options);
    }

    /// <summary>The distribution of displacements.</summary>
    /// <param name="displacements">|u| and |v| of many pixels; sorted in place.</param>
    /// <param name="videos">Videos that they are from.</param>
    /// <param name="options">The bound, if one is given.</param>
    internal static MotionResult Summary(float[] displacements, int videos, FlowOptions options)
    {
        Array.Sort(displacements);
        double At(double share) =>
            displacements.Length == 0 ? 0 : displacements[Math.Min((int)(share * displacements.Length), displacements.Length - 1)];
        double bound = options.Bound ?? Math.Max(Math.Round(At(BoundShare), 2), SmallestBound);

        // Zero is byte 128: what lies within half a level (bound / 255) of its two sides becomes it or its neighbour 127.
        double level = bound / 255;
        return new MotionResult
        {
            Bound = bound,
            BoundIsMeasured = options.Bound is null,
            Videos = videos,
            Median = At(0.5),
            Percentile90 = At(0.9),
            Percentile99 = At(0.99),
            Percentile995 = At(BoundShare),
            Clipped = Share(d => d > bound),
            RoundedToZero = Share(d => d > 0 && d < level),
        };

        double Share(Predicate<float> holds) =>
            displacements.Length == 0 ? 0 : displacements.Count(d => holds(d)) / (double)displacements.Length;
    }

    private static float[] OfVideo(ClipStoreVideo video, FlowOptions options, GrayFrames input, int index)
    {
        // Pairs from the first two hundred frames, so that a film costs no more than a clip.
        int last = Math.Min(video.Frames, 200) - 1;
        using IGrayVideo frames = input.Open(index, last + 1);
        var values = new List<float>();
        Add(
            values,
            frames,
            [.. Enumerable.Range(1, PairsPerVideo).Select(i => Math.Max(1, i * last / PairsPerVideo)).Distinct()],
            video.Width,
            video.Height,
            options);
        return [.. values];
    }

    private static void Add(List<float> values, IGrayVideo frames, int[] wanted, int storedWidth, int storedHeight, FlowOptions options)
    {
        int pixels = frames.Width * frames.Height;
        var (gray, before, flow, stored) =
            (new byte[pixels], new byte[pixels], new float[2 * pixels], new float[storedWidth * storedHeight]);
        var field = new FlowField(options, frames.Width, frames.Height, storedWidth, storedHeight);
        using IFlowEstimator estimator = options.CreateEstimator(frames.Width, frames.Height);
        for (int frame = 0; frame <= wanted[^1]; frame++)
        {
            (gray, before) = (before, gray);
            frames.Read(gray);
            if (!wanted.Contains(frame))
            {
                continue;
            }

            estimator.Reset();
            estimator.Push(before, flow.AsSpan(0, pixels), flow.AsSpan(pixels));
            estimator.Push(gray, flow.AsSpan(0, pixels), flow.AsSpan(pixels));
            for (int component = 0; component < 2; component++)
            {
                field.Store(flow.AsSpan(component * pixels, pixels), stored);
                int step = Math.Max(1, stored.Length / ValuesPerPair);
                for (int i = 0; i < stored.Length; i += step)
                {
                    values.Add(Math.Abs(stored[i]));
                }
            }
        }
    }
}
