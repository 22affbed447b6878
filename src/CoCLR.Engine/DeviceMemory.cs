// Why this exists: a full memory is the most frequent end of a training on a GPU, and libtorch tells it in twenty lines; people need one.
using System.Globalization;
using System.Runtime.InteropServices;
using TorchSharp;

namespace CoCLR.Engine;

/// <summary>Knows a full memory by what libtorch throws, and how large a card's memory is.</summary>
public static class DeviceMemory
{
    // The caching allocator, the processor's allocator, and CUDA's libraries where they need workspace of their own.
    private static readonly string[] s_signs =
        [
            "out of memory", "can't allocate memory", "CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED",
            "CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED"
        ];

    /// <summary>Whether an exception says that the memory of the card or of the machine is full.</summary>
    /// <param name="error">What was thrown.</param>
    public static bool IsFull(Exception error) =>
        error is OutOfMemoryException
            || (error is ExternalException && s_signs.Any(sign => error.Message.Contains(sign, StringComparison.Ordinal)));

    /// <summary>Bytes of a card's memory; null for a processor and where the driver does not say.</summary>
    /// <param name="device">The device.</param>
    public static long? Total(torch.Device device)
    {
        using GpuMeter? meter = GpuMeter.Open(device);
        return meter?.TotalMemory();
    }

    /// <summary>A card's name and the size of its memory, in words; null for a processor and where the driver does not say.</summary>
    /// <param name="device">The device.</param>
    public static string? Card(torch.Device device)
    {
        using GpuMeter? meter = GpuMeter.Open(device);
        return meter?.Name() is { } name
            ? string.Create(CultureInfo.InvariantCulture, $"{name}, {meter.TotalMemory() / (double)(1L << 30):0} GiB")
            : null;
    }
}
