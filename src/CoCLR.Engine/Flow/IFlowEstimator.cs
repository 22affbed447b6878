// Why this exists: whoever needs flow pushes the frames of a video one by one and does not care which algorithm answers.
namespace CoCLR.Engine.Flow;

/// <summary>
/// Estimates the optical flow between consecutive grey frames of one size. What two frames share is computed once. An instance is for one
/// thread; it keeps its memory from frame to frame, so reuse it.
/// </summary>
public interface IFlowEstimator : IDisposable
{
    /// <summary>Frame width in pixels.</summary>
    int Width { get; }

    /// <summary>Frame height in pixels.</summary>
    int Height { get; }

    /// <summary>Forgets the frames pushed so far: the next one starts a video.</summary>
    void Reset();

    /// <summary>Takes the next frame of a video and estimates the flow to it from the frame before.</summary>
    /// <param name="gray">Grey values [height, width], uint8.</param>
    /// <param name="u">Receives the flow in x [height, width], pixels to the right.</param>
    /// <param name="v">Receives the flow in y [height, width], pixels downwards.</param>
    /// <returns>False for the first frame of a video, which has no flow; <paramref name="u"/> and <paramref name="v"/> are then
    /// untouched.</returns>
    /// <exception cref="ArgumentException">A span has another length than height · width.</exception>
    bool Push(ReadOnlySpan<byte> gray, Span<float> u, Span<float> v);
}
