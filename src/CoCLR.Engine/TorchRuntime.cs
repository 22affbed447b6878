// Why this exists: native libraries, OpenMP and devices must be set up once, before the first tensor, or a busy neighbour makes every
// step many times slower and a foreign libtorch is loaded twice.
using System.Globalization;
using System.Reflection;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using CoCLR.Core;
using CoCLR.Core.Manifests;
using TorchSharp;

namespace CoCLR.Engine;

/// <summary>What this process computes with; `coclr doctor` prints it.</summary>
/// <param name="LibraryDirectory">Folder the native libtorch was loaded from.</param>
/// <param name="LibraryVersion">Version of libtorch, where it says so; else the one that TorchSharp was made for.</param>
/// <param name="Foreign">True when <c>COCLR_LIBTORCH</c> chose an installed PyTorch instead of the packaged libraries.</param>
/// <param name="Processors">Processors this process may use (affinity and container limit counted).</param>
/// <param name="Threads">Threads of one operation.</param>
/// <param name="WaitPolicy">OpenMP's wait policy; <c>PASSIVE</c> unless the user chose another.</param>
/// <param name="VectorBits">Widest vector registers that this project's own kernels use.</param>
/// <param name="CudaDevices">Number of CUDA devices that libtorch can use.</param>
public sealed record TorchDescription(
    string LibraryDirectory,
    string LibraryVersion,
    bool Foreign,
    int Processors,
    int Threads,
    string WaitPolicy,
    int VectorBits,
    int CudaDevices);

/// <summary>Loads libtorch once, with settings that make this process a good neighbour, and picks devices.</summary>
public static partial class TorchRuntime
{
    /// <summary>Where the build puts the packaged libtorch, below the program's folder.</summary>
    private const string PackagedFolder = "libtorch";
    private const string Rebuild = "Build or unpack this program again; see docs/native-library.md.";
    private const int RtldLazy = 1;
    private const int RtldNow = 2;
    private const int RtldGlobal = 0x100;

    /// <summary>libtorch in the order of loading; those marked false exist only in some builds of it.</summary>
    private static readonly (string File, bool Required)[] s_libraries =
    [
        ("libtorch_global_deps.so", false), ("libc10.so", true), ("libtorch_cpu.so", true),
        ("libc10_cuda.so", false), ("libtorch_cuda.so", false), ("libtorch.so", true),
    ];

    private static readonly Lazy<string> s_natives = new(LoadNatives);
    private static readonly Lazy<string> s_libraryDirectory = new(Load);
    private static readonly Lazy<nint> s_tensorData = new(() => NativeLibrary.GetExport(NativeLibrary.Load(FindTorchSharp()), "THSTensor_data"));

    /// <summary>Sets the threads of one operation, for a training that goes on as it began.</summary>
    /// <param name="threads">At least 1; may be more than there are processors.</param>
    internal static void UseThreads(int threads)
    {
        Initialize();
        torch.set_num_threads(threads);
    }

    /// <summary>Threads of one tensor operation; also used by this project's own kernels.</summary>
    public static int Threads
    {
        get
        {
            Initialize();
            return torch.get_num_threads();
        }
    }

    /// <summary>Whether native libraries of tensors are in this process.</summary>
    public static bool IsLoaded => s_natives.IsValueCreated;

    /// <summary>Loads the native libraries. Safe to call often and from any thread; must come before any other use of tensors.</summary>
    /// <exception cref="UserErrorException"><c>COCLR_LIBTORCH</c> names a folder without a usable libtorch (exit 78).</exception>
    public static void Initialize() => _ = s_libraryDirectory.Value;

    /// <summary>Picks the device to compute on.</summary>
    /// <param name="device"><c>auto</c> (the first GPU, else the processor), <c>cpu</c>, <c>cuda</c> or <c>cuda:N</c>.</param>
    /// <exception cref="UserErrorException">The name is not known, or the GPU asked for is absent (exit 78).</exception>
    public static torch.Device Select(string device = "auto")
    {
        ArgumentNullException.ThrowIfNull(device);
        return Choose(device, CudaDevices);
    }

    /// <summary>GPUs that libtorch sees.</summary>
    public static int CudaDevices
    {
        get
        {
            Initialize();
            return torch.cuda.is_available() ? torch.cuda.device_count() : 0;
        }
    }

    /// <summary>The rule behind <see cref="Select"/>, as a function of how many GPUs there are.</summary>
    /// <param name="device">As in <see cref="Select"/>.</param>
    /// <param name="cudaDevices">GPUs present.</param>
    /// <exception cref="UserErrorException">As <see cref="Select"/>.</exception>
    internal static torch.Device Choose(string device, int cudaDevices)
    {
        var name = device.Trim();
        if (name.Equals("cpu", StringComparison.OrdinalIgnoreCase))
        {
            return torch.CPU;
        }

        if (name.Length == 0 || name.Equals("auto", StringComparison.OrdinalIgnoreCase))
        {
            return cudaDevices > 0 ? new torch.Device(DeviceType.CUDA, 0) : torch.CPU;
        }

        var index = 0;
        var known = name.Equals("cuda", StringComparison.OrdinalIgnoreCase)
            || (name.StartsWith("cuda:", StringComparison.OrdinalIgnoreCase)
                && int.TryParse(name.AsSpan(5), NumberStyles.None, CultureInfo.InvariantCulture, out index));
        if (!known)
        {
            throw new UserErrorException($"device: '{device}' is not known; use auto, cpu, cuda or cuda:N.", ExitCodes.BadConfiguration);
        }

        if (cudaDevices == 0)
        {
            throw new UserErrorException(
                $"device: '{device}' was asked for, but libtorch sees no CUDA GPU. Use device: auto or cpu, or give this process a GPU "
                + "(driver, container runtime) and libraries that can use it (build with -p:TorchBackend=cuda, or set COCLR_LIBTORCH to an installed PyTorch's lib folder).",
                ExitCodes.BadConfiguration);
        }

        if (index >= cudaDevices)
        {
            throw new UserErrorException($"device: '{device}' was asked for, but there {(cudaDevices == 1 ? "is one GPU" : $"are {cudaDevices} GPUs")}: use cuda:0 to cuda:{cudaDevices - 1}.", ExitCodes.BadConfiguration);
        }

        return new torch.Device(DeviceType.CUDA, index);
    }

    /// <summary>Sets what products and convolutions of 32-bit tensors compute with on a GPU, for the whole process.</summary>
    /// <param name="precision">TF32 allows ten mantissa bits; with the others they are computed in full.</param>
    public static void SetPrecision(Precision precision)
    {
        Initialize();
        Allow(precision);
    }

    private static void Allow(Precision precision)
    {
        torch.backends.cuda.matmul.allow_tf32 = precision == Precision.Tf32;
        torch.backends.cudnn.allow_tf32 = precision == Precision.Tf32;
    }

    /// <summary>
    /// Lets cuDNN try its algorithms on each new shape and keep the fastest: pays off over hundreds of steps of one shape, costs seconds at first. TorchSharp
    /// does not bind this switch, so libtorch's own function is called by its C++ name.
    /// </summary>
    /// <param name="on">The new setting, for the whole process.</param>
    /// <returns>The setting that holds now; null where this libtorch does not export the functions, and nothing was changed.</returns>
    public static unsafe bool? SetCudnnBenchmark(bool on)
    {
        Initialize();
        if (!NativeLibrary.TryLoad(Path.Combine(s_libraryDirectory.Value, "libtorch_cpu.so"), out nint library)
            || !NativeLibrary.TryGetExport(library, "_ZN2at13globalContextEv", out nint context)
            || !NativeLibrary.TryGetExport(library, "_ZN2at7Context17setBenchmarkCuDNNEb", out nint set)
            || !NativeLibrary.TryGetExport(library, "_ZNK2at7Context14benchmarkCuDNNEv", out nint get))
        {
            return null;
        }

        nint global = ((delegate* unmanaged<nint>)context)();
        ((delegate* unmanaged<nint, byte, void>)set)(global, (byte)(on ? 1 : 0));
        return ((delegate* unmanaged<nint, byte>)get)(global) != 0;
    }

    /// <summary>Folder of libtorch, beside whose libraries others are looked for.</summary>
    internal static string LibraryFolder => s_libraryDirectory.Value;

    /// <summary>Where a tensor's elements begin, in the memory of its device; valid as long as the tensor lives. TorchSharp tells it for the processor only.</summary>
    /// <param name="tensor">A contiguous tensor.</param>
    /// <returns>0 on systems other than Linux.</returns>
    internal static unsafe nint AddressOf(torch.Tensor tensor) => OperatingSystem.IsLinux() ? ((delegate* unmanaged<nint, nint>)s_tensorData.Value)(tensor.Handle) : 0;

    /// <summary>Says what this process computes with.</summary>
    public static TorchDescription Describe()
    {
        Initialize();
        return new TorchDescription(
            s_libraryDirectory.Value,
            Environment.GetEnvironmentVariable("COCLR_LIBTORCH") is { Length: > 0 } ? ForeignVersion(s_natives.Value) ?? torch.__version__ : torch.__version__,
            Environment.GetEnvironmentVariable("COCLR_LIBTORCH") is { Length: > 0 },
            Environment.ProcessorCount,
            torch.get_num_threads(),
            NativeEnvironment("OMP_WAIT_POLICY") ?? "default",
            System.Runtime.Intrinsics.Vector512.IsHardwareAccelerated ? 512 : System.Runtime.Intrinsics.Vector256.IsHardwareAccelerated ? 256 : 128,
            CudaDevices);
    }

    /// <summary>
    /// Sets OpenMP's environment when this assembly is loaded: libgomp reads it once, when it is itself loaded, and any use of a
    /// tensor may do that. Spinning threads cost 5 to 15 times a step's time beside a busy process; what the user set is kept.
    /// </summary>
    [ModuleInitializer]
    [System.Diagnostics.CodeAnalysis.SuppressMessage("Usage", "CA2255", Justification = "libgomp reads its environment at load time, before any code of this library could be called.")]
    internal static void PrepareEnvironment()
    {
        if (!OperatingSystem.IsLinux())
        {
            return;
        }

        // TorchSharp's own loading would begin with the first tensor, wherever that is: ours must come before.
        AppDomain.CurrentDomain.AssemblyLoad += (_, e) => LoadBefore(e.LoadedAssembly);
        foreach (Assembly assembly in AppDomain.CurrentDomain.GetAssemblies())
        {
            LoadBefore(assembly);
        }

        // The runtime's processor count already honours affinity and cgroup cpu.max.
        SetEnvironment("OMP_NUM_THREADS", Environment.ProcessorCount.ToString(CultureInfo.InvariantCulture), overwrite: 0);
        SetEnvironment("OMP_WAIT_POLICY", "PASSIVE", overwrite: 0);
        // CUDA and the driver's management library must number the GPUs alike.
        SetEnvironment("CUDA_DEVICE_ORDER", "PCI_BUS_ID", overwrite: 0);
        // Reproducible cuBLAS needs this before the first handle.
        SetEnvironment("CUBLAS_WORKSPACE_CONFIG", ":4096:8", overwrite: 0);
    }

    private static void LoadBefore(Assembly torchSharp)
    {
        if (torchSharp.GetName().Name != "TorchSharp")
        {
            return;
        }

        try
        {
            _ = s_natives.Value;
        }
        catch (UserErrorException)
        {
            // Kept, and thrown by every Initialize.
        }
    }

    private static string Load()
    {
        string folder = s_natives.Value;
        torch.InitializeDeviceType(DeviceType.CPU);
        Allow(Precision.Fp32); // libtorch would allow TF32 in convolutions by itself
        return Path.GetDirectoryName(LoadedFile("libtorch_cpu.so")) ?? folder;
    }

    /// <summary>
    /// Loads libtorch by absolute path, and then TorchSharp's library, which binds to it by name. TorchSharp looks for both by name too: the packaged
    /// libtorch lies in a folder that .NET does not search (build/TorchNative.targets), so that what it finds is what was loaded here.
    /// </summary>
    private static string LoadNatives()
    {
        if (!OperatingSystem.IsLinux())
        {
            return AppContext.BaseDirectory;
        }

        string torchSharp = FindTorchSharp();
        string packaged = Path.Combine(AppContext.BaseDirectory, PackagedFolder);
        bool beside = !Directory.Exists(packaged) && File.Exists(Path.Combine(Path.GetDirectoryName(torchSharp)!, "libtorch_cpu.so"));
        if (Environment.GetEnvironmentVariable("COCLR_LIBTORCH") is { Length: > 0 } directory)
        {
            return beside
                ? throw new UserErrorException("COCLR_LIBTORCH: this build brings CUDA libraries of its own; use a build with -p:TorchBackend=cpu or none for an installed PyTorch, or unset it.", ExitCodes.BadConfiguration)
                : LoadForeign(directory, torchSharp);
        }

        if (Directory.Exists(packaged))
        {
            foreach ((string file, bool required) in s_libraries)
            {
                string path = Path.Combine(packaged, file);
                if (required || File.Exists(path))
                {
                    Open(path, RtldLazy, "libtorch", Rebuild);
                }
            }

            Open(torchSharp, RtldLazy, "libtorch", Rebuild);
            return packaged;
        }

        return beside
            ? Path.GetDirectoryName(torchSharp)! // CUDA packages: TorchSharp loads them itself
            : throw new UserErrorException("libtorch: this build comes without it. Set COCLR_LIBTORCH to the lib folder of an installed PyTorch 2.10 or 2.11 (python3 -c \"import torch, os; print(os.path.dirname(torch.__file__) + '/lib')\"); see docs/native-library.md.", ExitCodes.BadConfiguration);
    }

    private static string LoadForeign(string directory, string torchSharp)
    {
        string folder = new[] { directory, Path.Combine(directory, "lib") }.FirstOrDefault(f => File.Exists(Path.Combine(f, "libtorch_cpu.so")))
            ?? throw new UserErrorException($"COCLR_LIBTORCH: '{directory}' has no libtorch_cpu.so; name the lib folder of an installed PyTorch (python3 -c \"import torch, os; print(os.path.dirname(torch.__file__) + '/lib')\") or unset it.", ExitCodes.BadConfiguration);
        folder = Path.GetFullPath(folder);
        string version = ForeignVersion(folder) is { } found ? $" (PyTorch {found})" : "";
        foreach ((string file, bool required) in s_libraries)
        {
            string path = Path.Combine(folder, file);
            if (File.Exists(path))
            {
                Open(path, RtldNow | RtldGlobal, $"COCLR_LIBTORCH{version}: cannot load", "Fix that installation, or unset COCLR_LIBTORCH.");
            }
            else if (required)
            {
                throw new UserErrorException($"COCLR_LIBTORCH: '{folder}' lacks {file}; its PyTorch is not complete.", ExitCodes.BadConfiguration);
            }
        }

        // Every symbol is bound at once: a PyTorch of another version shows here and not in the middle of a training.
        Open(torchSharp, RtldNow, $"COCLR_LIBTORCH{version} does not fit: TorchSharp's library cannot bind to {folder}", "It needs PyTorch 2.10 or 2.11 as pip or conda install it; name such a folder, or unset COCLR_LIBTORCH.");
        return folder;
    }

    /// <summary>The version that an installed PyTorch or an unpacked libtorch says of itself, or null.</summary>
    private static string? ForeignVersion(string folder)
    {
        string parent = Path.GetDirectoryName(folder) ?? folder;
        string python = Path.Combine(parent, "version.py");
        string plain = Path.Combine(parent, "build-version");
        return File.Exists(python) ? File.ReadLines(python).FirstOrDefault(line => line.Contains("__version__ =", StringComparison.Ordinal))?.Split('=')[1].Trim(' ', '\'', '"')
            : File.Exists(plain) ? File.ReadAllText(plain).Trim()
            : null;
    }

    private static void Open(string path, int flags, string what, string fix)
    {
        _ = DynamicError(); // binds it now: the runtime's own look-up would wipe out the message
        if (DynamicOpen(path, flags) == 0)
        {
            string reason = Marshal.PtrToStringUTF8(DynamicError()) ?? "unknown error";
            throw new UserErrorException($"{what}: {reason}. {fix}", ExitCodes.BadConfiguration);
        }
    }

    private static string FindTorchSharp()
    {
        const string File = "libLibTorchSharp.so";
        string[] places = [Path.Combine(AppContext.BaseDirectory, "runtimes", "linux-x64", "native", File), Path.Combine(AppContext.BaseDirectory, File)];
        return places.FirstOrDefault(System.IO.File.Exists)
            ?? throw new UserErrorException($"libtorch: {File} is in none of {string.Join(", ", places)}: build or unpack this program again.", ExitCodes.BadConfiguration);
    }

    private static string? LoadedFile(string name)
    {
        try
        {
            return File.ReadLines("/proc/self/maps").Select(line => line[(line.LastIndexOf(' ') + 1)..]).FirstOrDefault(path => path.EndsWith('/' + name, StringComparison.Ordinal));
        }
        catch (IOException)
        {
            return null;
        }
    }

    private static string? NativeEnvironment(string name) => OperatingSystem.IsLinux() ? Marshal.PtrToStringUTF8(GetEnvironment(name)) : Environment.GetEnvironmentVariable(name);

    [LibraryImport("libc", EntryPoint = "setenv", StringMarshalling = StringMarshalling.Utf8)]
    private static partial int SetEnvironment(string name, string value, int overwrite);

    [LibraryImport("libc", EntryPoint = "getenv", StringMarshalling = StringMarshalling.Utf8)]
    private static partial nint GetEnvironment(string name);

    [LibraryImport("libc", EntryPoint = "dlopen", StringMarshalling = StringMarshalling.Utf8)]
    private static partial nint DynamicOpen(string path, int flags);

    [LibraryImport("libc", EntryPoint = "dlerror")]
    private static partial nint DynamicError();
}
