// Why this exists: a video that is in training and in test flatters every measure, and public data sets have such pairs. They are found by
// the bytes of their frames, and where those differ by a small fingerprint of a few frames.
using System.Collections.Concurrent;
using System.Numerics;
using CoCLR.Engine.Video.Catalogue;
using CoCLR.Engine.Video.Store;

namespace CoCLR.Engine.Video.Decoding;

/// <summary>A training and a test video that show the same.</summary>
/// <param name="Train">Id of the training video.</param>
/// <param name="Test">Id of the test video.</param>
/// <param name="Identical">True: byte for byte; false: nearly.</param>
public sealed record LeakedPair(string Train, string Test, bool Identical);

/// <summary>What is known of one video's content.</summary>
/// <param name="Id">Id of the video.</param>
/// <param name="IsTest">On which side of the split it is.</param>
/// <param name="Checksum">Equal for equal bytes; null when unknown.</param>
/// <param name="Length">Frames or seconds.</param>
/// <param name="Thumbnails">Gray thumbnails of a few frames, see <see cref="SplitLeaks.Thumbnails(ClipStore, int)"/>; null when
/// unknown.</param>
internal sealed record VideoContent(string Id, bool IsTest, string? Checksum, double Length, float[]? Thumbnails);

/// <summary>Finds videos that are on both sides of a split.</summary>
public static class SplitLeaks
{
    /// <summary>Frames of a fingerprint, spread evenly over the video.</summary>
    internal const int Frames = 4;

    /// <summary>Side of a fingerprint's thumbnails in pixels.</summary>
    internal const int Side = 8;

    // Mean difference in levels of 255: another encoding of a video differs by about one, another take of the same scene by more than four.
    private const float Alike = 2;

    // Below this standard deviation a fingerprint says nothing: black frames and plain colours are all alike.
    private const float Plain = 6;

    /// <summary>The pairs of a store.</summary>
    /// <param name="store">Decoded frames.</param>
    /// <param name="cancellationToken">Stops.</param>
    public static IReadOnlyList<LeakedPair> Find(ClipStore store, CancellationToken cancellationToken = default)
    {
        if (!store.Videos.Any(video => video.Split == VideoSplit.Test) || store.Videos.All(video => video.Split == VideoSplit.Test))
        {
            return [];
        }

        var contents = new VideoContent[store.Count];
        Parallel.For(0, contents.Length, new ParallelOptions { CancellationToken = cancellationToken, MaxDegreeOfParallelism = Environment.ProcessorCount }, i =>
        {
            var video = store.Videos[i];
            contents[i] = new VideoContent(
                video.Id,
                video.Split == VideoSplit.Test,
                $"{video.Width}x{video.Height} {video.Checksum}",
                video.Frames,
                Thumbnails(store, i));
        });
        return Find(contents, cancellationToken);
    }

    /// <summary>The pairs in one sentence a kind; empty when there are none.</summary>
    /// <param name="pairs">The pairs.</param>
    public static IReadOnlyList<string> Describe(IReadOnlyList<LeakedPair> pairs) =>
    [
        .. pairs.GroupBy(pair => pair.Identical).OrderByDescending(kind => kind.Key).Select(kind =>
        {
            var tests = kind.Select(pair => pair.Test).Distinct(StringComparer.Ordinal).Count();
            var first = kind.First();
            return $"{tests} test video{(tests == 1 ? " is" : "s are")} in training too, {(kind.Key ? "byte for byte" : "nearly alike")} "
                + $"(for example {first.Test} and {first.Train}): "
                + "every measure is flattered. Remove one of each pair, or put both on one side.";
        }),
    ];

    /// <summary>Gray thumbnails of a few frames of a video, [frame, row, column] in levels of 255.</summary>
    internal static float[] Thumbnails(ClipStore store, int videoIndex)
    {
        var video = store.Videos[videoIndex];
        var thumbnails = new float[Frames * Side * Side];
        for (var i = 0; i < Frames; i++)
        {
            Shrink(
                store.Frame(videoIndex, (int)(video.Frames * ((2 * i) + 1L) / (2 * Frames))),
                video.Width,
                video.Height,
                store.Channels,
                thumbnails.AsSpan(i * Side * Side, Side * Side));
        }

        return thumbnails;
    }

    internal static IReadOnlyList<LeakedPair> Find(IReadOnlyList<VideoContent> contents, CancellationToken cancellationToken)
    {
        var train = contents.Where(video => !video.IsTest).ToList();
        var test = contents.Where(video => video.IsTest).ToList();
        var bySum = train.Where(video => video.Checksum is not null).ToLookup(video => video.Checksum!, StringComparer.Ordinal);
        var pairs = new ConcurrentBag<LeakedPair>(
            test.Where(video => video.Checksum is not null)
                .SelectMany(video => bySum[video.Checksum!].Take(1).Select(twin => new LeakedPair(twin.Id, video.Id, true))));
        var known = pairs.Select(pair => pair.Test).ToHashSet(StringComparer.Ordinal);

        // The mean brightness differs by no more than the thumbnails do: only a window of the videos in its order has to be compared.
        var sorted = train.Where(Tells).Select(video => (Mean: Mean(video), Video: video)).OrderBy(entry => entry.Mean).ToArray();
        var means = Array.ConvertAll(sorted, entry => entry.Mean);
        Parallel.ForEach(
            test.Where(video => !known.Contains(video.Id) && Tells(video)),
            new ParallelOptions { CancellationToken = cancellationToken, MaxDegreeOfParallelism = Environment.ProcessorCount },
            video =>
            {
                var mean = Mean(video);
                for (var i = FirstAtLeast(means, mean - Alike); i < sorted.Length && means[i] <= mean + Alike; i++)
                {
                    var other = sorted[i].Video;
                    if (Math.Abs(other.Length - video.Length) <= 0.1 * Math.Max(other.Length, video.Length)
                        && Difference(other.Thumbnails!, video.Thumbnails!) <= Alike)
                    {
                        pairs.Add(new LeakedPair(other.Id, video.Id, false));
                        break;
                    }
                }
            });
        return [.. pairs.OrderBy(pair => pair.Test, StringComparer.Ordinal)];
    }

    /// <summary>Mean of boxes: what is left of a frame in 8 x 8 gray values.</summary>
    internal static void Shrink(ReadOnlySpan<byte> frame, int width, int height, int channels, Span<float> thumbnail)
    {
        for (var y = 0; y < Side; y++)
        {
            for (var x = 0; x < Side; x++)
            {
                var (top, left) = (y * height / Side, x * width / Side);
                var (bottom, right) = (Math.Max(top + 1, (y + 1) * height / Side), Math.Max(left + 1, (x + 1) * width / Side));
                long sum = 0;
                for (var row = top; row < bottom; row++)
                {
                    foreach (var value in frame.Slice(((row * width) + left) * channels, (right - left) * channels))
                    {
                        sum += value;
                    }
                }

                thumbnail[(y * Side) + x] = (float)sum / ((bottom - top) * (right - left) * channels);
            }
        }
    }

    private static bool Tells(VideoContent video)
    {
        if (video.Thumbnails is not { } thumbnails)
        {
            return false;
        }

        var mean = Mean(video);
        return Math.Sqrt(thumbnails.Average(value => (value - mean) * (value - mean))) >= Plain;
    }

    private static float Mean(VideoContent video) => video.Thumbnails!.Average();

    private static float Difference(float[] a, float[] b)
    {
        var sum = Vector<float>.Zero;
        for (var i = 0; i < a.Length; i += Vector<float>.Count)
        {
            sum += Vector.Abs(new Vector<float>(a, i) - new Vector<float>(b, i));
        }

        return Vector.Sum(sum) / a.Length;
    }

    private static int FirstAtLeast(float[] sorted, float value)
    {
        var (low, high) = (0, sorted.Length);
        while (low < high)
        {
            var middle = (low + high) / 2;
            (low, high) = sorted[middle] < value ? (middle + 1, high) : (low, middle);
        }

        return low;
    }
}
