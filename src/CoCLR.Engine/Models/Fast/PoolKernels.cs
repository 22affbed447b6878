// Why this exists: libtorch's 3-D max pooling was the largest single cost of a training step; over channels-last rows it is a few vector
// instructions.
using System.Runtime.Intrinsics;

namespace CoCLR.Engine.Models.Fast;

/// <summary>Sizes of a 3-D max pooling over activations [clips, T, H, W, channels].</summary>
internal readonly record struct PoolShape(
    int Clips, int T, int H, int W, int Channels, (int T, int H, int W) Kernel, (int T, int H, int W) Stride, (int T, int H, int W) Pad)
{
    /// <summary>Frames of the result.</summary>
    public int OutT => ((T + (2 * Pad.T) - Kernel.T) / Stride.T) + 1;

    /// <summary>Height of the result.</summary>
    public int OutH => ((H + (2 * Pad.H) - Kernel.H) / Stride.H) + 1;

    /// <summary>Width of the result.</summary>
    public int OutW => ((W + (2 * Pad.W) - Kernel.W) / Stride.W) + 1;
}

/// <summary>
/// Max pooling over channels-last activations. Beside each maximum one byte says which tap of the window it came from (the first of
/// equals in order of time, height, width, as in libtorch), where libtorch keeps eight.
/// </summary>
internal static unsafe class PoolKernels
{
    /// <summary>Pools; <paramref name="taps"/> may be null when no gradient is wanted.</summary>
    public static void Forward(PoolShape s, float* input, float* output, byte* taps)
        => CpuParallel.For(s.Clips * s.OutT, job =>
        {
            var (n, t) = (job / s.OutT, job % s.OutT);
            for (var h = 0; h < s.OutH; h++)
            {
                for (var w = 0; w < s.OutW; w++)
                {
                    var place = ((((((long)n * s.OutT) + t) * s.OutH) + h) * s.OutW) + w;
                    Window(
                        s,
                        input + ((long)n * s.T * s.H * s.W * s.Channels),
                        t,
                        h,
                        w,
                        output + (place * s.Channels),
                        taps is null ? null : taps + (place * s.Channels));
                }
            }
        });

    /// <summary>Adds each gradient to the place its maximum came from; <paramref name="dx"/> is added to, not overwritten.</summary>
    public static void Backward(PoolShape s, float* gradient, byte* taps, float* dx)
        => CpuParallel.For(s.Clips * s.T, job =>
        {
            // Gathers: each task owns a frame of dx and asks every window that covers it.
            var (n, t) = (job / s.T, job % s.T);
            for (var h = 0; h < s.H; h++)
            {
                for (var w = 0; w < s.W; w++)
                {
                    Gather(s, n, t, h, w, gradient, taps, dx + (((((((long)n * s.T) + t) * s.H) + h) * s.W) + w) * s.Channels);
                }
            }
        });

    private static void Window(PoolShape s, float* clip, int t, int h, int w, float* output, byte* taps)
    {
        var (t0, h0, w0) = ((t * s.Stride.T) - s.Pad.T, (h * s.Stride.H) - s.Pad.H, (w * s.Stride.W) - s.Pad.W);
        var (t1, h1, w1) = (Math.Min(t0 + s.Kernel.T, s.T), Math.Min(h0 + s.Kernel.H, s.H), Math.Min(w0 + s.Kernel.W, s.W));
        var places = stackalloc float*[s.Kernel.T * s.Kernel.H * s.Kernel.W];
        var names = stackalloc byte[s.Kernel.T * s.Kernel.H * s.Kernel.W];
        var count = 0;
        for (var tt = Math.Max(t0, 0); tt < t1; tt++)
        {
            for (var hh = Math.Max(h0, 0); hh < h1; hh++)
            {
                for (var ww = Math.Max(w0, 0); ww < w1; ww++)
                {
                    names[count] = (byte)(((((tt - t0) * s.Kernel.H) + (hh - h0)) * s.Kernel.W) + (ww - w0));
                    places[count++] = clip + ((((((long)tt * s.H) + hh) * s.W) + ww) * s.Channels);
                }
            }
        }

        var c = 0;
        for (; c <= s.Channels - Vector256<float>.Count; c += Vector256<float>.Count)
        {
            var best = Vector256.Load(places[0] + c);
            if (taps is null)
            {
                for (var i = 1; i < count; i++)
                {
                    best = Vector256.Max(best, Vector256.Load(places[i] + c));
                }
            }
            else
            {
                var tap = Vector256.Create((int)names[0]);
                for (var i = 1; i < count; i++)
                {
                    var value = Vector256.Load(places[i] + c);
                    var larger = Vector256.GreaterThan(value, best);
                    best = Vector256.ConditionalSelect(larger, value, best);
                    tap = Vector256.ConditionalSelect(larger.AsInt32(), Vector256.Create((int)names[i]), tap);
                }

                var narrow = Vector128.Narrow(tap.GetLower(), tap.GetUpper());
                *(ulong*)(taps + c) = Vector128.Narrow(narrow, narrow).AsUInt64().ToScalar();
            }

            best.Store(output + c);
        }

        for (; c < s.Channels; c++)
        {
            var (best, tap) = (places[0][c], names[0]);
            for (var i = 1; i < count; i++)
            {
                if (places[i][c] > best)
                {
                    (best, tap) = (places[i][c], names[i]);
                }
            }

            output[c] = best;
            if (taps is not null)
            {
                taps[c] = tap;
            }
        }
    }

    private static void Gather(PoolShape s, int n, int t, int h, int w, float* gradient, byte* taps, float* dx)
    {
        var (firstT, lastT) = Windows(t, s.Kernel.T, s.Stride.T, s.Pad.T, s.OutT);
        var (firstH, lastH) = Windows(h, s.Kernel.H, s.Stride.H, s.Pad.H, s.OutH);
        var (firstW, lastW) = Windows(w, s.Kernel.W, s.Stride.W, s.Pad.W, s.OutW);
        for (var ot = firstT; ot <= lastT; ot++)
        {
            for (var oh = firstH; oh <= lastH; oh++)
            {
                for (var ow = firstW; ow <= lastW; ow++)
                {
                    var place = ((((((long)n * s.OutT) + ot) * s.OutH) + oh) * s.OutW) + ow;
                    var tap = (byte)(
                        ((((t + s.Pad.T - (ot * s.Stride.T)) * s.Kernel.H) + (h + s.Pad.H - (oh * s.Stride.H))) * s.Kernel.W)
                            + (w + s.Pad.W - (ow * s.Stride.W)));
                    AddWhere(gradient + (place * s.Channels), taps + (place * s.Channels), tap, dx, s.Channels);
                }
            }
        }
    }

    private static (int First, int Last) Windows(int place, int kernel, int stride, int pad, int windows)
        => (Math.Max(0, (place + pad - kernel + stride) / stride), Math.Min(windows - 1, (place + pad) / stride));

    private static void AddWhere(float* gradient, byte* taps, byte tap, float* dx, int channels)
    {
        var c = 0;
        var wanted = Vector256.Create((int)tap);
        for (; c <= channels - Vector256<float>.Count; c += Vector256<float>.Count)
        {
            var names = Vector256.WidenLower(Vector256.WidenLower(Vector256.CreateScalarUnsafe(*(ulong*)(taps + c)).AsByte())).AsInt32();
            var hits = Vector256.Equals(names, wanted).AsSingle();
            (Vector256.Load(dx + c) + (Vector256.Load(gradient + c) & hits)).Store(dx + c);
        }

        for (; c < channels; c++)
        {
            if (taps[c] == tap)
            {
                dx[c] += gradient[c];
            }
        }
    }
}
