// Why this exists: which frames a clip takes is part of the method; here it is a pure function of where in the training it is asked for, so
// that a resumed run draws what the unbroken one would have drawn.
namespace CoCLR.Engine.Video;

/// <summary>Which videos are too short to learn from (method.md 1d).</summary>
public enum ClipDropRule
{
    /// <summary>Keep every video; short ones are padded.</summary>
    KeepAll,

    /// <summary>At most about half of a clip may be padding: drops up to frames · stride / 2 + 1 frames (17 for clips of 32; UCF101).</summary>
    HalfPadding,

    /// <summary>No padding: drops up to frames · stride + 1 frames (33 for clips of 32; Kinetics).</summary>
    NoPadding,
}

/// <summary>Chooses the frames of clips (method.md 1d and 1e).</summary>
/// <param name="Frames">Frames of a clip.</param>
/// <param name="Stride">Distance between them in the video.</param>
public sealed record ClipSampler(int Frames, int Stride = 1)
{
    private static readonly ulong StartPurpose = CounterRandom.Purpose("clip-start");
    private static readonly ulong OrderPurpose = CounterRandom.Purpose("epoch-order");

    private int Span => Frames * Stride;

    /// <summary>True when training keeps a video of this length.</summary>
    /// <param name="videoFrames">Frames of the video (of the shorter view, when two are used).</param>
    /// <param name="rule">The rule.</param>
    public bool Keeps(int videoFrames, ClipDropRule rule) => rule switch
    {
        ClipDropRule.HalfPadding => videoFrames > (Span / 2) + 1,
        ClipDropRule.NoPadding => videoFrames > Span + 1,
        _ => videoFrames > 0,
    };

    /// <summary>
    /// A training clip's start: uniform over [0, videoFrames - frames · stride), so the last possible start is never drawn, as in the reference.
    /// A shorter video is padded; its start is then the phase, uniform over [0, stride).
    /// </summary>
    /// <param name="videoFrames">Frames of the video.</param>
    /// <param name="random">The stream to draw from; always exactly one draw is made.</param>
    public int TrainStart(int videoFrames, ref CounterRandom random) => random.NextInt(videoFrames > Span ? videoFrames - Span : Math.Min(Stride, Math.Max(1, videoFrames)));

    /// <summary>The starts of the two clips of a video, drawn independently, as a pure function of the place in the training.</summary>
    /// <param name="videoFrames">Frames of the video.</param>
    /// <param name="seed">The experiment's seed.</param>
    /// <param name="epoch">Epoch.</param>
    /// <param name="step">Step of the epoch.</param>
    /// <param name="slot">Place in the batch.</param>
    public (int First, int Second) TrainStarts(int videoFrames, long seed, long epoch, long step, long slot)
    {
        var random = new CounterRandom(seed, StartPurpose, epoch, step, slot);
        return (TrainStart(videoFrames, ref random), TrainStart(videoFrames, ref random));
    }

    /// <summary>The order in which an epoch visits its videos.</summary>
    /// <param name="count">Number of videos.</param>
    /// <param name="seed">The experiment's seed.</param>
    /// <param name="epoch">Epoch.</param>
    public static int[] EpochOrder(int count, long seed, long epoch) => new CounterRandom(seed, OrderPurpose, epoch).Permutation(count);

    /// <summary>Test clips: starts 0, s, 2s ... up to videoFrames - frames · stride with s = frames · stride / 2 - 1; a short video gives one padded clip.</summary>
    /// <param name="videoFrames">Frames of the video.</param>
    public int[] TestStarts(int videoFrames)
    {
        var available = videoFrames - Span;
        if (available <= 0)
        {
            return [0];
        }

        var step = Math.Max(1, (Span / 2) - 1);
        return [.. Enumerable.Range(0, (available / step) + 1).Select(i => i * step)];
    }

    /// <summary>
    /// The frames of a clip: start, start + stride ... A video not longer than frames · stride is padded on the left with frame 0.
    /// </summary>
    /// <param name="videoFrames">Frames of the video, at least 1.</param>
    /// <param name="start">From <see cref="TrainStart"/> or <see cref="TestStarts"/>.</param>
    /// <param name="indices">Receives <see cref="Frames"/> frame numbers.</param>
    public void FrameIndices(int videoFrames, int start, Span<int> indices)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(videoFrames, 1);
        ArgumentOutOfRangeException.ThrowIfNegative(start);
        indices = indices[..Frames];
        var real = Math.Min(Frames, Math.Max(0, (videoFrames - start + Stride - 1) / Stride));
        indices[..(Frames - real)].Clear();
        for (var i = 0; i < real; i++)
        {
            indices[Frames - real + i] = start + (i * Stride);
        }
    }

    /// <summary>The frames of a clip.</summary>
    /// <param name="videoFrames">Frames of the video, at least 1.</param>
    /// <param name="start">From <see cref="TrainStart"/> or <see cref="TestStarts"/>.</param>
    public int[] FrameIndices(int videoFrames, int start)
    {
        var indices = new int[Frames];
        FrameIndices(videoFrames, start, indices);
        return indices;
    }
}
