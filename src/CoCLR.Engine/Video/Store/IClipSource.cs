// Why this exists: loading and augmentation need frames by number, not how they are stored.
namespace CoCLR.Engine.Video.Store;

/// <summary>Random access to decoded frames. Implementations are safe for concurrent readers.</summary>
public interface IClipSource
{
    /// <summary>Number of videos.</summary>
    int Count { get; }

    /// <summary>Frames, height, width and channels of a video.</summary>
    /// <param name="videoIndex">0 to <see cref="Count"/> - 1.</param>
    (int Frames, int Height, int Width, int Channels) Shape(int videoIndex);

    /// <summary>
    /// One frame: height x width x channels bytes, interleaved RGB or flow as u and v, valid as long as the source is open.
    /// </summary>
    /// <param name="videoIndex">Index of the video.</param>
    /// <param name="frame">0 to frames - 1.</param>
    ReadOnlySpan<byte> Frame(int videoIndex, int frame);
}
