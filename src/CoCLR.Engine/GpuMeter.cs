// Why this exists: a GPU that idles while it is paid for must be seen; NVML, which comes with the driver, says how busy and how full it is.
using System.Globalization;
using System.Runtime.InteropServices;
using TorchSharp;

namespace CoCLR.Engine;

/// <summary>Use and memory of one NVIDIA GPU, asked of the driver's management library (libnvidia-ml.so.1).</summary>
internal sealed unsafe class GpuMeter : IDisposable
{
    private const int Success = 0;
    private static readonly string[] s_libraries = ["libnvidia-ml.so.1", "libnvidia-ml.so"];
    private readonly nint _library;
    private readonly nint _device;
    private readonly delegate* unmanaged<nint, Utilization*, int> _utilization;
    private readonly delegate* unmanaged<nint, Memory*, int> _memory;
    private readonly delegate* unmanaged<int> _shutdown;

    private GpuMeter(nint library, nint device, nint utilization, nint memory, nint shutdown)
    {
        _library = library;
        _device = device;
        _utilization = (delegate* unmanaged<nint, Utilization*, int>)utilization;
        _memory = (delegate* unmanaged<nint, Memory*, int>)memory;
        _shutdown = (delegate* unmanaged<int>)shutdown;
    }

    /// <summary>
    /// A meter of a device; null for a processor, and where the driver or its library is absent or does not know the device.
    /// </summary>
    /// <param name="device">The device that computes.</param>
    public static GpuMeter? Open(torch.Device device) =>
        device.type == DeviceType.CUDA
            ? Open(s_libraries, Visible(Environment.GetEnvironmentVariable("CUDA_VISIBLE_DEVICES"), Math.Max(0, device.index)))
            : null;

    /// <summary>
    /// What share of the last moments the GPU was busy (0 to 1) and the bytes taken of its memory, by everybody; null when the driver does
    /// not say.
    /// </summary>
    public (double Use, long MemoryBytes)? Read()
    {
        Utilization utilization;
        Memory memory;
        return _utilization(_device, &utilization) == Success && _memory(_device, &memory) == Success
            ? (utilization.Gpu / 100.0, (long)memory.Used)
            : null;
    }

    /// <summary>Bytes of the card's memory; null when the driver does not say.</summary>
    public long? TotalMemory()
    {
        Memory memory;
        return _memory(_device, &memory) == Success ? (long)memory.Total : null;
    }

    /// <summary>The card's name, as the driver says it; null when it does not.</summary>
    public string? Name()
    {
        const int Length = 96; // NVML_DEVICE_NAME_V2_BUFFER_SIZE
        byte* name = stackalloc byte[Length];
        return NativeLibrary.TryGetExport(_library, "nvmlDeviceGetName", out nint get)
            && ((delegate* unmanaged<nint, byte*, uint, int>)get)(_device, name, Length) == Success
            ? Marshal.PtrToStringUTF8((nint)name)
            : null;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _ = _shutdown();
        NativeLibrary.Free(_library);
    }

    /// <summary>As <see cref="Open(torch.Device)"/>, with the names of the library and the GPU's name for it.</summary>
    /// <param name="libraries">Tried in turn.</param>
    /// <param name="gpu">A number or a UUID.</param>
    internal static GpuMeter? Open(IEnumerable<string> libraries, string gpu)
    {
        nint library = 0;
        if (!libraries.Any(name => NativeLibrary.TryLoad(name, out library)))
        {
            return null;
        }

        if (Function("nvmlInit_v2") is not (not 0 and var init) || Function("nvmlShutdown") is not (not 0 and var shutdown)
            || Function("nvmlDeviceGetUtilizationRates") is not (not 0 and var utilization)
                || Function("nvmlDeviceGetMemoryInfo") is not (not 0 and var memory)
            || ((delegate* unmanaged<int>)init)() != Success)
        {
            NativeLibrary.Free(library);
            return null;
        }

        nint device = 0;
        if (Find() == Success)
        {
            return new GpuMeter(library, device, utilization, memory, shutdown);
        }

        _ = ((delegate* unmanaged<int>)shutdown)();
        NativeLibrary.Free(library);
        return null;

        nint Function(string name) => NativeLibrary.TryGetExport(library, name, out nint address) ? address : 0;

        int Find()
        {
            nint found = 0;
            int code = -1;
            if (uint.TryParse(gpu, NumberStyles.None, CultureInfo.InvariantCulture, out uint index))
            {
                if (Function("nvmlDeviceGetHandleByIndex_v2") is not 0 and var byIndex)
                {
                    code = ((delegate* unmanaged<uint, nint*, int>)byIndex)(index, &found);
                }
            }
            else if (Function("nvmlDeviceGetHandleByUUID") is not 0 and var byUuid)
            {
                nint text = Marshal.StringToCoTaskMemUTF8(gpu);
                code = ((delegate* unmanaged<nint, nint*, int>)byUuid)(text, &found);
                Marshal.FreeCoTaskMem(text);
            }

            device = found;
            return code;
        }
    }

    /// <summary>The driver's name of a CUDA device: <c>CUDA_VISIBLE_DEVICES</c> renumbers them for CUDA, but not for the driver.</summary>
    /// <param name="visible">The variable; null when not set.</param>
    /// <param name="index">Number of the CUDA device.</param>
    /// <returns>A number or a UUID.</returns>
    internal static string Visible(string? visible, int index)
    {
        string[] names = (visible ?? "").Split(',', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries);
        return index < names.Length ? names[index] : index.ToString(CultureInfo.InvariantCulture);
    }

    [StructLayout(LayoutKind.Sequential)]
    private struct Utilization
    {
        public uint Gpu;
        public uint MemoryBus;
    }

    [StructLayout(LayoutKind.Sequential)]
    private struct Memory
    {
        public ulong Total;
        public ulong Free;
        public ulong Used;
    }
}
