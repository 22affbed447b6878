// Why this exists: flow is stored as bytes, exactly as the reference stores it, so that published networks see what they were trained on.
namespace CoCLR.Engine.Flow;

/// <summary>
/// Flow in pixels to and from bytes: clipped to ±bound, then round((f + bound) · 255 / (2 · bound)), halves to even, so that no motion is
/// 128 (method.md 1f).
/// </summary>
/// <param name="bound">Largest displacement in pixels.</param>
public readonly struct FlowQuantizer(double bound)
{
    /// <summary>The byte of no motion: it stays what it is when a clip is mirrored.</summary>
    public const byte NoMotion = 128;

    /// <summary>Largest displacement in pixels.</summary>
    public float Bound { get; } = (float)bound;

    /// <summary>The byte of a displacement.</summary>
    /// <param name="flow">Displacement in pixels; not NaN.</param>
    public byte Encode(float flow) =>
        (byte)MathF.Round((Math.Clamp(flow, -Bound, Bound) + Bound) * 255f / (2 * Bound), MidpointRounding.ToEven);

    /// <summary>
    /// The displacement of a byte, in pixels; at most half a step off (<see cref="Bound"/> / 255) from what was encoded and not clipped.
    /// 128 is the byte of no motion and decodes to 0.
    /// </summary>
    /// <param name="value">A stored byte.</param>
    public float Decode(byte value) => value == NoMotion ? 0f : (value * (2f * Bound) / 255f) - Bound;

    /// <summary>Interleaves and encodes a flow field.</summary>
    /// <param name="u">Flow in x, pixels.</param>
    /// <param name="v">Flow in y, pixels.</param>
    /// <param name="uv">Receives [height, width, 2], u first.</param>
    /// <exception cref="ArgumentException">The lengths do not fit.</exception>
    public void Encode(ReadOnlySpan<float> u, ReadOnlySpan<float> v, Span<byte> uv)
    {
        if (u.Length != v.Length || uv.Length != 2 * u.Length)
        {
            throw new ArgumentException($"{u.Length} values of u and {v.Length} of v do not make {uv.Length} bytes.", nameof(uv));
        }

        for (var i = 0; i < u.Length; i++)
        {
            uv[2 * i] = Encode(u[i]);
            uv[(2 * i) + 1] = Encode(v[i]);
        }
    }

    /// <summary>Decodes a stored flow image.</summary>
    /// <param name="uv">[height, width, 2], u first.</param>
    /// <param name="u">Receives the flow in x, pixels.</param>
    /// <param name="v">Receives the flow in y, pixels.</param>
    /// <exception cref="ArgumentException">The lengths do not fit.</exception>
    public void Decode(ReadOnlySpan<byte> uv, Span<float> u, Span<float> v)
    {
        if (u.Length != v.Length || uv.Length != 2 * u.Length)
        {
            throw new ArgumentException($"{uv.Length} bytes do not make {u.Length} values of u and {v.Length} of v.", nameof(uv));
        }

        for (var i = 0; i < u.Length; i++)
        {
            u[i] = Decode(uv[2 * i]);
            v[i] = Decode(uv[(2 * i) + 1]);
        }
    }
}
