// Why this exists: bytes become network input in the same pass that writes the batch.
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace CoCLR.Engine.Video.Augmentation;

/// <summary>(x / 255 - mean) / std per channel, for RGB and flow images alike (method.md 1d).</summary>
public static class Normalization
{
    /// <summary>ImageNet channel means.</summary>
    public static readonly float[] Mean = [0.485f, 0.456f, 0.406f];

    /// <summary>ImageNet channel standard deviations.</summary>
    public static readonly float[] StandardDeviation = [0.229f, 0.224f, 0.225f];

    /// <summary>Factor on a byte value of this channel.</summary>
    /// <param name="channel">0 to 2.</param>
    public static float Scale(int channel) => (float)(1.0 / (255.0 * StandardDeviation[channel]));

    /// <summary>What is added after <see cref="Scale"/>.</summary>
    /// <param name="channel">0 to 2.</param>
    public static float Bias(int channel) => (float)(-(double)Mean[channel] / StandardDeviation[channel]);

    internal static unsafe void Write(byte* plane, int pixels, int channel, float* target, VectorWidth width)
    {
        if (width >= VectorWidth.Widest && Vector512.IsHardwareAccelerated && Avx512F.IsSupported)
        {
            Write<Lanes512, Vector512<float>>(plane, pixels, Scale(channel), Bias(channel), target);
        }
        else if (width >= VectorWidth.Avx2 && Avx2.IsSupported)
        {
            Write<Lanes256, Vector256<float>>(plane, pixels, Scale(channel), Bias(channel), target);
        }
        else
        {
            Write<Lanes128, Vector128<float>>(plane, pixels, Scale(channel), Bias(channel), target);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static unsafe void Write<TLanes, TVector>(byte* plane, int pixels, float scale, float bias, float* target)
        where TLanes : struct, IPixelLanes<TVector>
        where TVector : struct
    {
        var by = TLanes.Set(scale);
        var plus = TLanes.Set(bias);
        var i = 0;
        if (((nint)target & ((sizeof(float) * TLanes.Count) - 1)) == 0)
        {
            // A batch is far larger than the caches and read much later.
            for (; i + TLanes.Count <= pixels; i += TLanes.Count)
            {
                TLanes.StreamFloats(target + i, TLanes.Add(TLanes.Multiply(TLanes.LoadBytes(plane + i), by), plus));
            }
        }

        for (; i + TLanes.Count <= pixels; i += TLanes.Count)
        {
            TLanes.StoreFloats(target + i, TLanes.Add(TLanes.Multiply(TLanes.LoadBytes(plane + i), by), plus));
        }

        for (; i < pixels; i++)
        {
            target[i] = (plane[i] * scale) + bias;
        }
    }
}
