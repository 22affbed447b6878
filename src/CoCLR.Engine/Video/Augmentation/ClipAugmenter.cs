// Why this exists: the whole augmentation of a clip on a CPU core, from stored frames to the network's input, with no image in between.
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics.X86;
using CoCLR.Engine.Flow;
using CoCLR.Engine.Video.Store;

namespace CoCLR.Engine.Video.Augmentation;

/// <summary>
/// Applies a <see cref="ClipTransform"/> to frames: one crop-and-resize pass pair from the stored bytes into three planes, colour jitter
/// fused between means, blur on the planes that differ, and normalisation while writing. Holds scratch memory: one per worker, not shared
/// between threads. Results do not depend on which instance computed them.
/// </summary>
public sealed unsafe class ClipAugmenter : IDisposable
{
    private const byte FlowRed = 128;
    private const int PrefetchRows = 8;
    private readonly VectorWidth _vectors;
    private byte* _memory;
    private long _memoryBytes;
    private ResizePlan? _direct;
    private ResizePlan? _toVia;
    private ResizePlan? _fromVia;

    /// <summary>Creates an augmenter.</summary>
    public ClipAugmenter()
        : this(VectorWidth.Widest)
    {
    }

    internal ClipAugmenter(VectorWidth vectors)
    {
        _vectors = vectors;
    }

    /// <summary>Frees the scratch memory.</summary>
    ~ClipAugmenter() => Free();

    /// <summary>Augments one clip.</summary>
    /// <param name="source">Where the frames are.</param>
    /// <param name="video">Index of the video in the source.</param>
    /// <param name="frames">Frame numbers of the clip, T of them; a number may repeat (left padding).</param>
    /// <param name="transform">What to do; the crop lies within the source's frames.</param>
    /// <param name="size">Side S of the output.</param>
    /// <param name="flow">True for flow: a flip may negate u. Two channels are u and v and become the image R = 128, G = v, B = u; three
    /// are that image.</param>
    /// <param name="target">Contiguous float32 [3, T, S, S].</param>
    /// <exception cref="ArgumentException">The crop lies outside the frame, or frames have neither 2 nor 3 channels.</exception>
    public void Apply(
        IClipSource source, int video, ReadOnlySpan<int> frames, in ClipTransform transform, int size, bool flow, float* target)
    {
        var (_, height, width, channels) = source.Shape(video);
        if (channels is not (2 or 3))
        {
            throw new ArgumentException($"Frames have {channels} channels, 3 (RGB) or 2 (flow) are needed.", nameof(source));
        }

        var work = Prepare(transform, width, height, size);
        var area = size * size;
        for (var t = 0; t < frames.Length; t++)
        {
            var image = target + ((long)t * area);
            if (t > 0 && frames[t] == frames[t - 1] && !transform.Gray.IsPerFrame)
            {
                for (var channel = 0; channel < 3; channel++)
                {
                    var plane = image + ((long)channel * frames.Length * area);
                    Unsafe.CopyBlockUnaligned(plane, plane - area, (uint)area * sizeof(float));
                }

                continue;
            }

            fixed (byte* pixels = source.Frame(video, frames[t]))
            {
                Resize(pixels, width, height, channels, transform, size, work);
            }

            var planes = work;
            Recolor(transform, size, flow, t, ref planes);
            Normalization.Write(planes.Red, area, 0, image, _vectors);
            Normalization.Write(planes.Green, area, 1, image + ((long)frames.Length * area), _vectors);
            Normalization.Write(planes.Blue, area, 2, image + (2L * frames.Length * area), _vectors);
        }
    }

    /// <summary>Augments one frame to bytes, before normalisation.</summary>
    /// <param name="frame">height x width x 3 bytes, or x 2 for flow.</param>
    /// <param name="width">Width of the frame.</param>
    /// <param name="height">Height of the frame.</param>
    /// <param name="transform">What to do.</param>
    /// <param name="size">Side S of the output.</param>
    /// <param name="flow">True for flow images.</param>
    /// <param name="position">Position of the frame in its clip (gray may depend on it).</param>
    /// <param name="target">S x S x 3 bytes, interleaved.</param>
    public void ApplyToBytes(
        ReadOnlySpan<byte> frame, int width, int height, in ClipTransform transform, int size, bool flow, int position, Span<byte> target)
    {
        var channels = frame.Length / (width * height);
        if (channels is not (2 or 3) || channels * width * height != frame.Length)
        {
            throw new ArgumentException($"A frame of {width} x {height} pixels cannot have {frame.Length} bytes.", nameof(frame));
        }

        ArgumentOutOfRangeException.ThrowIfLessThan(target.Length, size * size * 3);
        var work = Prepare(transform, width, height, size);
        fixed (byte* pixels = frame)
        {
            Resize(pixels, width, height, channels, transform, size, work);
        }

        Recolor(transform, size, flow, position, ref work);
        for (var i = 0; i < size * size; i++)
        {
            target[3 * i] = work.Red[i];
            target[(3 * i) + 1] = work.Green[i];
            target[(3 * i) + 2] = work.Blue[i];
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        Free();
        GC.SuppressFinalize(this);
    }

    private void Resize(byte* pixels, int width, int height, int channels, in ClipTransform transform, int size, in Workspace work)
    {
        var crop = transform.Crop;
        if (transform.Via == 0)
        {
            ResizeTo(_direct!, pixels, width, height, channels, crop, work);
            return;
        }

        var via = transform.Via;
        ResizeTo(_toVia!, pixels, width, height, channels, crop, work);
        for (var i = 0; i < via * via; i++)
        {
            work.Via[3 * i] = work.Red[i];
            work.Via[(3 * i) + 1] = work.Green[i];
            work.Via[(3 * i) + 2] = work.Blue[i];
        }

        ResizeTo(_fromVia!, work.Via, via, via, 3, new CropBox(0, 0, via, via), work);
    }

    private void ResizeTo(ResizePlan plan, byte* pixels, int width, int height, int channels, CropBox crop, in Workspace work)
    {
        nint stride = plan.Stride;
        // Two more rows: the kernels work on pairs.
        var plane = stride * (crop.Height + 2);
        var rowBytes = width * channels;
        var end = pixels + ((long)height * rowBytes);
        var vectors = _vectors >= VectorWidth.Avx2 && Avx2.IsSupported;
        fixed (nint* offsets = plan.Offsets(channels))
        fixed (short* packed = plan.Packed)
        {
            for (var y = 0; y < crop.Height; y += 2)
            {
                var first = Row(y, work.LastRows);
                var second = y + 1 < crop.Height ? Row(y + 1, work.LastRows + work.LastRowBytes) : first;
                var red = work.Rows + (y * stride);
                Prefetch(y + PrefetchRows);
                Prefetch(y + PrefetchRows + 1);
                if (vectors)
                {
                    ResampleKernels.HorizontalAvx2(
                        first,
                        second,
                        channels,
                        offsets,
                        packed,
                        plan.Blocks,
                        plan.Horizontal.Precision,
                        plan.OutputSize,
                        red,
                        stride,
                        plane);
                }
                else
                {
                    ResampleKernels.HorizontalPortable(first, channels, plan.Horizontal, red, plane);
                    ResampleKernels.HorizontalPortable(second, channels, plan.Horizontal, red + stride, plane);
                }
            }
        }

        // Crops leave gaps that the processor's own prefetching stumbles over.
        void Prefetch(int y)
        {
            var row = pixels + ((long)(crop.Y + y) * rowBytes) + (crop.X * channels);
            var rowEnd = row + (crop.Width * channels);
            if (Sse.IsSupported && rowEnd <= end)
            {
                for (; row < rowEnd; row += 64)
                {
                    Sse.Prefetch0(row);
                }
            }
        }

        byte* Row(int y, byte* copy)
        {
            var row = pixels + ((long)(crop.Y + y) * rowBytes) + (crop.X * channels);
            if (row + (crop.Width * channels) + plan.ReadAhead <= end)
            {
                return row;
            }

            // The kernels read a little past the crop; at the end of the frame they get a copy of the row.
            Unsafe.CopyBlockUnaligned(copy, row, (uint)(crop.Width * channels));
            return copy;
        }

        var area = plan.OutputSize * plan.OutputSize;
        if (channels == 3)
        {
            VerticalPass(plan, work.Rows, work.Red, vectors);
        }
        else
        {
            new Span<byte>(work.Red, area).Fill(FlowRed);
        }

        VerticalPass(plan, work.Rows + plane, work.Green, vectors);
        VerticalPass(plan, work.Rows + (2 * plane), work.Blue, vectors);

        // The mean luma is taken over whole vectors: what lies behind the last pixel must be black.
        new Span<byte>(work.Red + area, ColorKernels.Slack).Clear();
        new Span<byte>(work.Green + area, ColorKernels.Slack).Clear();
        new Span<byte>(work.Blue + area, ColorKernels.Slack).Clear();
    }

    private static void VerticalPass(ResizePlan plan, byte* rows, byte* target, bool vectors)
    {
        var weights = plan.Vertical;
        fixed (short* taps = weights.Fixed)
        {
            for (var y = 0; y < plan.OutputSize; y++)
            {
                var from = rows + ((long)weights.Offsets[y] * plan.Stride);
                var to = target + ((long)y * plan.OutputSize);
                if (vectors)
                {
                    ResampleKernels.VerticalAvx2(
                        from, plan.Stride, taps + (y * weights.Taps), (weights.Counts[y] + 1) & ~1, weights.Precision, plan.OutputSize, to);
                }
                else
                {
                    ResampleKernels.VerticalPortable(
                        from, plan.Stride, taps + (y * weights.Taps), weights.Counts[y], weights.Precision, plan.OutputSize, to);
                }
            }
        }
    }

    private void Recolor(in ClipTransform transform, int size, bool flow, int position, ref Workspace work)
    {
        var area = size * size;
        if (flow && transform.Flip && transform.NegateFlippedFlow)
        {
            var u = new Span<byte>(work.Blue, area);
            for (var i = 0; i < u.Length; i++)
            {
                u[i] = u[i] == FlowQuantizer.NoMotion ? u[i] : (byte)~u[i];
            }
        }

        if (flow && transform.FlowScale != 1)
        {
            ScaleFlow(new Span<byte>(work.Green, area), transform.FlowScale);
            ScaleFlow(new Span<byte>(work.Blue, area), transform.FlowScale);
        }

        if (transform.Jitter is { } jitter)
        {
            ColorKernels.Jitter(work.Red, work.Green, work.Blue, area, jitter, _vectors);
        }

        var gray = transform.Gray.Of(position);
        if (gray >= 0)
        {
            var kept = gray switch { 0 => work.Red, 1 => work.Green, _ => work.Blue };
            work.Red = work.Green = work.Blue = kept;
        }

        if (transform.BlurSigma > 0)
        {
            BlurKernels.Blur(work.Red, size, size, transform.BlurSigma, work.Scratch, _vectors);
            if (gray < 0)
            {
                BlurKernels.Blur(work.Green, size, size, transform.BlurSigma, work.Scratch, _vectors);
                BlurKernels.Blur(work.Blue, size, size, transform.BlurSigma, work.Scratch, _vectors);
            }
        }
    }

    // Around 127.5, which is no motion: its byte, 128, stays.
    private static void ScaleFlow(Span<byte> values, float factor)
    {
        foreach (ref var value in values)
        {
            value = (byte)Math.Clamp((int)MathF.Floor(128f + ((value - 127.5f) * factor)), 0, 255);
        }
    }

    private Workspace Prepare(in ClipTransform transform, int width, int height, int size)
    {
        var crop = transform.Crop;
        if (crop.X < 0 || crop.Y < 0 || crop.Width < 1 || crop.Height < 1 || crop.X + crop.Width > width || crop.Y + crop.Height > height)
        {
            throw new ArgumentException($"The crop {crop} lies outside a frame of {width} x {height}.", nameof(transform));
        }

        var via = transform.Via;
        if (via == 0)
        {
            ResizePlan.Ensure(ref _direct, crop.Width, crop.Height, size, transform.Flip);
        }
        else
        {
            ResizePlan.Ensure(ref _toVia, crop.Width, crop.Height, via, transform.Flip);
            ResizePlan.Ensure(ref _fromVia, via, via, size, false);
        }

        var side = Math.Max(size, via);
        var stride = ResizePlan.StrideOf(side);
        long rows = 3L * stride * (Math.Max(crop.Height, via) + 2);
        long plane = Align(((long)side * side) + Math.Max(ColorKernels.Slack, BlurKernels.Slack));
        long viaBytes = via == 0 ? 0 : Align((3L * via * via) + ResampleKernels.Slack);
        // A row's copy is read ahead of by at most the taps of one output, and taps reach at most twice the crop's width plus a few pixels.
        long lastRow = Align((3L * Math.Max(crop.Width, via) * 3) + 256);
        long scratch = Align(BlurKernels.ScratchBytes(size, size));
        var needed = Align(rows + ResampleKernels.Slack) + (3 * plane) + viaBytes + (2 * lastRow) + scratch;
        if (needed > _memoryBytes)
        {
            Free();
            _memory = (byte*)NativeMemory.AlignedAlloc((nuint)needed, 64);
            NativeMemory.Clear(_memory, (nuint)needed);
            _memoryBytes = needed;
        }

        var work = default(Workspace);
        work.Rows = _memory;
        work.Red = work.Rows + Align(rows + ResampleKernels.Slack);
        work.Green = work.Red + plane;
        work.Blue = work.Green + plane;
        work.Via = work.Blue + plane;
        work.LastRows = work.Via + viaBytes;
        work.LastRowBytes = lastRow;
        work.Scratch = work.LastRows + (2 * lastRow);
        return work;
    }

    private void Free()
    {
        if (_memory is not null)
        {
            NativeMemory.AlignedFree(_memory);
            _memory = null;
            _memoryBytes = 0;
        }
    }

    private static long Align(long bytes) => (bytes + 63) & ~63L;

    private struct Workspace
    {
        public byte* Rows;
        public byte* Red;
        public byte* Green;
        public byte* Blue;
        public byte* Via;
        public byte* LastRows;
        public long LastRowBytes;
        public byte* Scratch;
    }

    private sealed class ResizePlan
    {
        private readonly (int Width, int Height, int Size, bool Mirror) _key;
        private readonly nint[][] _offsets;

        private ResizePlan(int width, int height, int size, bool mirror)
        {
            _key = (width, height, size, mirror);
            OutputSize = size;
            Stride = StrideOf(size);
            Horizontal = new ResampleWeights(width, size, mirror);
            Vertical = new ResampleWeights(height, size);
            Packed = ResampleKernels.PackPairs(Horizontal);
            _offsets = [ResampleKernels.PackOffsets(Horizontal, 2), ResampleKernels.PackOffsets(Horizontal, 3)];
            Blocks = Horizontal.Taps / 4;
            for (var i = 0; i < size; i++)
            {
                ReadAhead = Math.Max(ReadAhead, ((Horizontal.Offsets[i] + Horizontal.Taps - width) * 3) + 16);
            }
        }

        public int OutputSize { get; }

        public int Stride { get; }

        public ResampleWeights Horizontal { get; }

        public ResampleWeights Vertical { get; }

        public short[] Packed { get; }

        public int Blocks { get; }

        /// <summary>Bytes that the horizontal kernel reads past the end of the crop's row.</summary>
        public int ReadAhead { get; }

        public nint[] Offsets(int channels) => _offsets[channels - 2];

        public static int StrideOf(int size) => (size + 31) & ~31;

        public static void Ensure(
            [System.Diagnostics.CodeAnalysis.NotNull] ref ResizePlan? plan, int width, int height, int size, bool mirror)
        {
            if (plan is null || plan._key != (width, height, size, mirror))
            {
                plan = new ResizePlan(width, height, size, mirror);
            }
        }
    }
}
