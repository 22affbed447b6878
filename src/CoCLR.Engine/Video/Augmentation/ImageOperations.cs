// Why this exists: each image operation on its own, as Pillow and torchvision define it, for single frames and for checking the fused path.
using System.Runtime.InteropServices;

namespace CoCLR.Engine.Video.Augmentation;

/// <summary>
/// Pillow's operations on interleaved 8-bit RGB images (height x width x 3 bytes), computed by the kernels that
/// <see cref="ClipAugmenter"/> fuses. Results are within one level of Pillow's (hue: two).
/// </summary>
public static class ImageOperations
{
    /// <summary>Crops and resizes to a square with Pillow's antialiased bicubic filter.</summary>
    /// <param name="image">height x width x 3 bytes.</param>
    /// <param name="width">Width of the image.</param>
    /// <param name="height">Height of the image.</param>
    /// <param name="crop">Box within the image.</param>
    /// <param name="size">Side of the result.</param>
    public static byte[] CropResize(ReadOnlySpan<byte> image, int width, int height, CropBox crop, int size)
    {
        using var augmenter = new ClipAugmenter();
        var result = new byte[size * size * 3];
        augmenter.ApplyToBytes(image, width, height, new ClipTransform { Crop = crop }, size, false, 0, result);
        return result;
    }

    /// <summary>ImageEnhance.Brightness, Contrast, Color, or torchvision's adjust_hue.</summary>
    /// <param name="image">Pixels x 3 bytes.</param>
    /// <param name="operation">Which one.</param>
    /// <param name="factor">Its factor; for the hue a shift in turns, -0.5 to 0.5.</param>
    public static byte[] Adjust(ReadOnlySpan<byte> image, ColorOperation operation, float factor) =>
        Adjust(image, operation, factor, VectorWidth.Widest);

    /// <summary>ImageFilter.GaussianBlur.</summary>
    /// <param name="image">height x width x 3 bytes.</param>
    /// <param name="width">Width of the image.</param>
    /// <param name="height">Height of the image.</param>
    /// <param name="sigma">Standard deviation in pixels, above 0.</param>
    public static byte[] GaussianBlur(ReadOnlySpan<byte> image, int width, int height, float sigma) =>
        GaussianBlur(image, width, height, sigma, VectorWidth.Widest);

    /// <summary>Mirrors left and right.</summary>
    /// <param name="image">Rows x width x 3 bytes.</param>
    /// <param name="width">Width of the image.</param>
    public static byte[] HorizontalFlip(ReadOnlySpan<byte> image, int width)
    {
        var result = image.ToArray();
        for (var row = 0; row < result.Length; row += width * 3)
        {
            MemoryMarshal.Cast<byte, Pixel>(result.AsSpan(row, width * 3)).Reverse();
        }

        return result;
    }

    /// <summary>Copies one channel to all three.</summary>
    /// <param name="image">Pixels x 3 bytes.</param>
    /// <param name="channel">0 to 2.</param>
    public static byte[] KeepChannel(ReadOnlySpan<byte> image, int channel)
    {
        var result = new byte[image.Length];
        for (var i = 0; i < image.Length; i += 3)
        {
            result.AsSpan(i, 3).Fill(image[i + channel]);
        }

        return result;
    }

    /// <summary>Network input of one image: (x / 255 - mean) / std as channels x pixels.</summary>
    /// <param name="image">Pixels x 3 bytes.</param>
    public static float[] Normalize(ReadOnlySpan<byte> image)
    {
        using var planes = new Planes(image);
        var pixels = image.Length / 3;
        var result = new float[image.Length];
        unsafe
        {
            fixed (float* target = result)
            {
                for (var channel = 0; channel < 3; channel++)
                {
                    Normalization.Write(planes.At(channel), pixels, channel, target + (channel * pixels), VectorWidth.Widest);
                }
            }
        }

        return result;
    }

    internal static unsafe byte[] Adjust(ReadOnlySpan<byte> image, ColorOperation operation, float factor, VectorWidth width)
    {
        using var planes = new Planes(image);
        ColorKernels.Apply(planes.At(0), planes.At(1), planes.At(2), image.Length / 3, [new ColorStep(operation, factor)], width);
        return planes.Interleave();
    }

    internal static unsafe byte[] GaussianBlur(ReadOnlySpan<byte> image, int width, int height, float sigma, VectorWidth vectors)
    {
        using var planes = new Planes(image);
        var scratch = (byte*)NativeMemory.Alloc((nuint)BlurKernels.ScratchBytes(width, height));
        for (var channel = 0; channel < 3; channel++)
        {
            BlurKernels.Blur(planes.At(channel), width, height, sigma, scratch, vectors);
        }

        NativeMemory.Free(scratch);
        return planes.Interleave();
    }

    [StructLayout(LayoutKind.Sequential, Size = 3)]
    private readonly struct Pixel;

    private sealed unsafe class Planes : IDisposable
    {
        private readonly int _pixels;
        private readonly nuint _stride;
        private byte* _memory;

        public Planes(ReadOnlySpan<byte> image)
        {
            _pixels = image.Length / 3;
            _stride = (nuint)_pixels + 64;
            _memory = (byte*)NativeMemory.AllocZeroed(3 * _stride);
            for (var i = 0; i < image.Length; i++)
            {
                At(i % 3)[i / 3] = image[i];
            }
        }

        public byte* At(int channel) => _memory + ((nuint)channel * _stride);

        public byte[] Interleave()
        {
            var image = new byte[_pixels * 3];
            for (var i = 0; i < image.Length; i++)
            {
                image[i] = At(i % 3)[i / 3];
            }

            return image;
        }

        public void Dispose()
        {
            NativeMemory.Free(_memory);
            _memory = null;
        }
    }
}
