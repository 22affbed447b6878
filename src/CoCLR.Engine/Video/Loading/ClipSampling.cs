// Why this exists: which frames make a clip, in training and in evaluation, exactly as the reference picks them.
namespace CoCLR.Engine.Video.Loading;

/// <summary>Frame numbers of clips (method.md 1d, 1e).</summary>
public static class ClipSampling
{
    /// <summary>
    /// A random start: uniform in [0, length - frames x stride), so that the last possible start is never drawn, as in the reference; 0
    /// when the video is not longer than a clip.
    /// </summary>
    /// <param name="random">The stream to draw from.</param>
    /// <param name="length">Frames of the video.</param>
    /// <param name="frames">Frames of a clip, T.</param>
    /// <param name="stride">Distance of neighbouring frames.</param>
    public static int DrawStart(ref CounterRandom random, int length, int frames, int stride) =>
        length > frames * stride ? random.NextInt(length - (frames * stride)) : 0;

    /// <summary>The clip's frame numbers; a video that is not longer than a clip is padded on the left with its first frame.</summary>
    /// <param name="length">Frames of the video, at least 1.</param>
    /// <param name="frames">Frames of a clip, T.</param>
    /// <param name="stride">Distance of neighbouring frames.</param>
    /// <param name="start">First frame; ignored when the video is padded.</param>
    /// <exception cref="ArgumentOutOfRangeException">The video is empty, or the clip does not fit from this start.</exception>
    public static int[] Frames(int length, int frames, int stride, int start)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(length, 1);
        var numbers = new int[frames];
        if (length <= frames * stride)
        {
            var available = Math.Min((length + stride - 1) / stride, frames);
            for (var i = 0; i < available; i++)
            {
                numbers[frames - available + i] = i * stride;
            }

            return numbers;
        }

        ArgumentOutOfRangeException.ThrowIfGreaterThan(start, length - (frames * stride));
        for (var i = 0; i < frames; i++)
        {
            numbers[i] = start + (i * stride);
        }

        return numbers;
    }

    /// <summary>
    /// Starts of the sliding clips of evaluation: 0 and every (T x stride / 2 - 1) frames while a whole clip fits; one padded clip for a
    /// short video.
    /// </summary>
    /// <param name="length">Frames of the video, at least 1.</param>
    /// <param name="frames">Frames of a clip, T.</param>
    /// <param name="stride">Distance of neighbouring frames.</param>
    public static int[] EvaluationStarts(int length, int frames, int stride)
    {
        var span = frames * stride;
        if (length <= span)
        {
            return [0];
        }

        var hop = Math.Max((span / 2) - 1, 1);
        var starts = new int[((length - span) / hop) + 1];
        for (var i = 0; i < starts.Length; i++)
        {
            starts[i] = i * hop;
        }

        return starts;
    }
}
