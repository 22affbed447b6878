// Why this exists: a copy from ordinary memory waits until the device has done all that it was given, many times a step; one from pinned
// memory does not.
using TorchSharp;
using static TorchSharp.torch;

namespace CoCLR.Engine;

/// <summary>Small tensors on their way to a device.</summary>
internal static class DeviceTensors
{
    /// <summary>
    /// A tensor of the processor on a device, sent without waiting for it: libtorch keeps the pinned memory until the copy is done.
    /// </summary>
    /// <param name="values">On the processor; nobody may write to it until it is disposed.</param>
    /// <param name="device">Where it goes.</param>
    public static Tensor SendTo(this Tensor values, Device device)
    {
        if (device.type != DeviceType.CUDA)
        {
            return values.to(device);
        }

        using Tensor pinned = values.pin_memory();
        return pinned.to(device, non_blocking: true);
    }

    /// <summary>Numbers as int64 [n] on a device, as <see cref="SendTo"/> sends them.</summary>
    /// <param name="values">The numbers.</param>
    /// <param name="device">Where they go.</param>
    public static Tensor Longs(long[] values, Device device)
    {
        using Tensor plain = tensor(values);
        return plain.SendTo(device);
    }
}
