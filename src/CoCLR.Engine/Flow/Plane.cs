// Why this exists: the kernels need float images whose rows start on cache lines and whose borders can be read without tests.
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace CoCLR.Engine.Flow;

/// <summary>
/// A float image [Height, Width] inside an <see cref="Arena"/>. Each row has <see cref="Pad"/> floats of zeros before it and is rounded up
/// to <see cref="Pad"/> floats; one row of zeros lies above. The kernels keep everything outside the image at zero.
/// </summary>
internal readonly unsafe struct Plane
{
    /// <summary>Floats before each row, and the multiple that row lengths are rounded to: one cache line, one 512-bit register.</summary>
    public const int Pad = 16;

    public Plane(float* data, int width, int height)
    {
        Data = data;
        Width = width;
        Height = height;
        Stride = StrideOf(width);
    }

    public float* Data { get; }

    public int Width { get; }

    public int Height { get; }

    public int Stride { get; }

    /// <summary>Floats of a row that are worked on: the width rounded up.</summary>
    public int Span => Stride - Pad;

    /// <summary>Floats that a plane of this size takes, with its borders.</summary>
    public static nuint FloatsOf(int width, int height) => ((nuint)(height + 2) * (nuint)StrideOf(width)) + Pad;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public float* Row(int y) => Data + ((nint)y * Stride);

    /// <summary>The same memory seen as an image of another size; its content is undefined until <see cref="Clear"/>.</summary>
    public Plane Resized(int width, int height) => new(Data - Stride + StrideOf(width), width, height);

    /// <summary>Zeros the image and its borders.</summary>
    public void Clear() =>
        NativeMemory.Clear(Data - Stride, ((nuint)(Height + 2) * (nuint)Stride) * sizeof(float));

    private static int StrideOf(int width) => ((width + Pad - 1) / Pad * Pad) + Pad;
}

/// <summary>Owns the memory of planes that live and die together. Not thread-safe.</summary>
internal sealed unsafe class Arena : IDisposable
{
    private readonly List<nint> _blocks = [];
    private int _offset;

    ~Arena()
    {
        Free();
    }

    /// <summary>
    /// A zeroed plane. Successive planes start at different cache sets, for the kernels read a dozen of them side by side.
    /// </summary>
    /// <param name="width">Pixels.</param>
    /// <param name="height">Pixels.</param>
    public Plane Plane(int width, int height)
    {
        const int SetStep = 5 * Flow.Plane.Pad;
        var skew = (nuint)(_offset++ % 13 * SetStep);
        var block = Floats(Flow.Plane.FloatsOf(width, height) + skew);
        var plane = new Plane(block + skew, width, height);
        return new Plane(block + skew + Flow.Plane.Pad + plane.Stride, width, height);
    }

    /// <summary>Zeroed floats that start on a cache line.</summary>
    /// <param name="count">How many.</param>
    public float* Floats(nuint count)
    {
        var bytes = count * sizeof(float);
        var block = NativeMemory.AlignedAlloc(bytes, 64);
        NativeMemory.Clear(block, bytes);
        _blocks.Add((nint)block);
        return (float*)block;
    }

    public void Dispose()
    {
        Free();
        GC.SuppressFinalize(this);
    }

    private void Free()
    {
        foreach (var block in _blocks)
        {
            NativeMemory.AlignedFree((void*)block);
        }

        _blocks.Clear();
    }
}
