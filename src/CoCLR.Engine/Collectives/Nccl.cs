// Why this exists: NCCL moves tensors between GPUs as fast as their links allow; this is its C interface, and CUDA's few functions that
// it needs, bound at run time.
using System.Runtime.InteropServices;
using CoCLR.Core;

namespace CoCLR.Engine.Collectives;

/// <summary>What NCCL is asked for, as its header numbers it.</summary>
internal enum NcclType
{
    Int64 = 4,
    Float32 = 7,
    Float64 = 8,
}

/// <summary>NCCL's answers that are told apart here.</summary>
internal enum NcclResult
{
    Success = 0,
    RemoteError = 6,
    InProgress = 7,
}

/// <summary>A loaded NCCL (2.14 or later, for communicators that do not block) and CUDA runtime. [nccl.h, cuda_runtime_api.h]</summary>
internal sealed unsafe class Nccl
{
    /// <summary>Names a folder or file where NCCL is looked for before anywhere else.</summary>
    public const string Variable = "COCLR_NCCL";

    private const int OldestVersion = 21400;
    private readonly delegate* unmanaged<int*, int> _getVersion;
    private readonly delegate* unmanaged<UniqueId*, int> _getUniqueId;
    private readonly delegate* unmanaged<nint*, int, UniqueId, int, Config*, int> _commInitRankConfig;
    private readonly delegate* unmanaged<nint, int*, int> _commGetAsyncError;
    private readonly delegate* unmanaged<nint, int> _commAbort;
    private readonly delegate* unmanaged<nint, int> _commFinalize;
    private readonly delegate* unmanaged<nint, int> _commDestroy;
    private readonly delegate* unmanaged<nint, nint, nuint, int, int, nint, nint, int> _allReduce;
    private readonly delegate* unmanaged<nint, nint, nuint, int, nint, nint, int> _allGather;
    private readonly delegate* unmanaged<nint, nint, nuint, int, int, nint, nint, int> _broadcast;
    private readonly delegate* unmanaged<int, byte*> _getErrorString;
    private readonly delegate* unmanaged<int, int> _setDevice;
    private readonly delegate* unmanaged<nint*, uint, int> _streamCreate;
    private readonly delegate* unmanaged<nint, int> _streamDestroy;
    private readonly delegate* unmanaged<nint, nint, uint, int> _streamWaitEvent;
    private readonly delegate* unmanaged<nint*, uint, int> _eventCreate;
    private readonly delegate* unmanaged<nint, nint, int> _eventRecord;
    private readonly delegate* unmanaged<nint, int> _eventDestroy;

    private Nccl(nint nccl, nint cuda, string path)
    {
        Path = path;
        _getVersion = (delegate* unmanaged<int*, int>)Find(nccl, "ncclGetVersion", path);
        _getUniqueId = (delegate* unmanaged<UniqueId*, int>)Find(nccl, "ncclGetUniqueId", path);
        int version;
        Check(_getVersion(&version), "ncclGetVersion");
        Version = version;
        if (version < OldestVersion)
        {
            throw new UserErrorException($"{path} is NCCL {Describe(version)}; 2.14 or later is needed.", ExitCodes.BadConfiguration);
        }

        _commInitRankConfig = (delegate* unmanaged<nint*, int, UniqueId, int, Config*, int>)Find(nccl, "ncclCommInitRankConfig", path);
        _commGetAsyncError = (delegate* unmanaged<nint, int*, int>)Find(nccl, "ncclCommGetAsyncError", path);
        _commAbort = (delegate* unmanaged<nint, int>)Find(nccl, "ncclCommAbort", path);
        _commFinalize = (delegate* unmanaged<nint, int>)Find(nccl, "ncclCommFinalize", path);
        _commDestroy = (delegate* unmanaged<nint, int>)Find(nccl, "ncclCommDestroy", path);
        _allReduce = (delegate* unmanaged<nint, nint, nuint, int, int, nint, nint, int>)Find(nccl, "ncclAllReduce", path);
        _allGather = (delegate* unmanaged<nint, nint, nuint, int, nint, nint, int>)Find(nccl, "ncclAllGather", path);
        _broadcast = (delegate* unmanaged<nint, nint, nuint, int, int, nint, nint, int>)Find(nccl, "ncclBroadcast", path);
        _getErrorString = (delegate* unmanaged<int, byte*>)Find(nccl, "ncclGetErrorString", path);
        const string Runtime = "the CUDA runtime";
        _setDevice = (delegate* unmanaged<int, int>)Find(cuda, "cudaSetDevice", Runtime);
        _streamCreate = (delegate* unmanaged<nint*, uint, int>)Find(cuda, "cudaStreamCreateWithFlags", Runtime);
        _streamDestroy = (delegate* unmanaged<nint, int>)Find(cuda, "cudaStreamDestroy", Runtime);
        _streamWaitEvent = (delegate* unmanaged<nint, nint, uint, int>)Find(cuda, "cudaStreamWaitEvent", Runtime);
        _eventCreate = (delegate* unmanaged<nint*, uint, int>)Find(cuda, "cudaEventCreateWithFlags", Runtime);
        _eventRecord = (delegate* unmanaged<nint, nint, int>)Find(cuda, "cudaEventRecord", Runtime);
        _eventDestroy = (delegate* unmanaged<nint, int>)Find(cuda, "cudaEventDestroy", Runtime);
    }

    /// <summary>The library's file.</summary>
    public string Path { get; }

    /// <summary>Its version as NCCL counts: 22105 is 2.21.5.</summary>
    public int Version { get; }

    /// <summary>For people and for comparing ranks.</summary>
    public string Name => $"NCCL {Describe(Version)}";

    /// <summary>Loads NCCL: what <see cref="Variable"/> names, what libtorch has brought or loaded, or the system's.</summary>
    /// <param name="folder">Goes before the variable.</param>
    /// <exception cref="UserErrorException">There is none, or one that is too old (78).</exception>
    public static Nccl Load(string? folder = null)
    {
        string? asked = folder ?? (Environment.GetEnvironmentVariable(Variable) is { Length: > 0 } given ? given : null);
        (nint nccl, string path) = Open("libnccl.so.2", asked)
            ?? throw new UserErrorException(
                "NCCL, which several GPUs need, is not there: "
                + (asked is null
                    ? "no libnccl.so.2 beside libtorch or in the system's folders. "
                    : $"{Variable} names {asked}, which holds no usable libnccl.so.2. ")
                + $"Install it (the package libnccl2, or Python's nvidia-nccl-cu12) or name its folder in {Variable}.",
                ExitCodes.BadConfiguration);
        (nint cuda, _) = Open("libcudart.so.12", asked) ?? Open("libcudart.so.13", asked) ?? Open("libcudart.so.11.0", asked)
            ?? throw new UserErrorException(
                $"NCCL is there ({path}), but no CUDA runtime (libcudart.so) is: use a build with CUDA libraries.", ExitCodes.BadConfiguration);
        return new Nccl(nccl, cuda, path);
    }

    /// <summary>A fresh id, by which the ranks of one group find each other; made by one of them.</summary>
    public byte[] NewUniqueId()
    {
        UniqueId id;
        Check(_getUniqueId(&id), "ncclGetUniqueId");
        return new ReadOnlySpan<byte>(&id, sizeof(UniqueId)).ToArray();
    }

    /// <summary>Begins to make a communicator; it is ready when <see cref="AsyncError"/> no longer says that it is in progress.</summary>
    public nint BeginCommunicator(byte[] uniqueId, int rank, int world)
    {
        UniqueId id;
        uniqueId.CopyTo(new Span<byte>(&id, sizeof(UniqueId)));
        Config config = new() { Size = (nuint)sizeof(Config), Magic = Config.Cafebeef, Version = OldestVersion, Blocking = 0 };
        nint communicator;
        Check(_commInitRankConfig(&communicator, world, id, rank, &config), "ncclCommInitRankConfig");
        return communicator;
    }

    /// <summary>What has become of what was asked last.</summary>
    public NcclResult AsyncError(nint communicator)
    {
        int state;
        Check(_commGetAsyncError(communicator, &state), "ncclCommGetAsyncError");
        return (NcclResult)state;
    }

    public void Abort(nint communicator) => _ = _commAbort(communicator);

    public void Finalize(nint communicator) => Check(_commFinalize(communicator), "ncclCommFinalize");

    public void Destroy(nint communicator) => _ = _commDestroy(communicator);

    /// <summary>Adds up (ncclSum is 0), in place.</summary>
    public void AllReduceSum(nint buffer, long count, NcclType type, nint communicator, nint stream) =>
        Check(_allReduce(buffer, buffer, (nuint)count, (int)type, 0, communicator, stream), "ncclAllReduce");

    public void AllGather(nint own, nint all, long count, NcclType type, nint communicator, nint stream) =>
        Check(_allGather(own, all, (nuint)count, (int)type, communicator, stream), "ncclAllGather");

    /// <summary>From rank 0, in place.</summary>
    public void Broadcast(nint buffer, long count, NcclType type, nint communicator, nint stream) =>
        Check(_broadcast(buffer, buffer, (nuint)count, (int)type, 0, communicator, stream), "ncclBroadcast");

    public string Explain(NcclResult result) => Marshal.PtrToStringUTF8((nint)_getErrorString((int)result)) ?? result.ToString();

    public void SetDevice(int device) => CheckCuda(_setDevice(device), "cudaSetDevice");

    /// <summary>A stream that the default one does not wait for (cudaStreamNonBlocking).</summary>
    public nint CreateStream()
    {
        nint stream;
        CheckCuda(_streamCreate(&stream, 1), "cudaStreamCreateWithFlags");
        return stream;
    }

    public void DestroyStream(nint stream) => _ = _streamDestroy(stream);

    /// <summary>An event without a clock (cudaEventDisableTiming).</summary>
    public nint CreateEvent()
    {
        nint made;
        CheckCuda(_eventCreate(&made, 2), "cudaEventCreateWithFlags");
        return made;
    }

    public void DestroyEvent(nint made) => _ = _eventDestroy(made);

    /// <summary>
    /// Lets one stream wait, on the device, for what another has been given so far. 0 is the default stream, on which libtorch works.
    /// </summary>
    public void LetWait(nint stream, nint forStream, nint through)
    {
        CheckCuda(_eventRecord(through, forStream), "cudaEventRecord");
        CheckCuda(_streamWaitEvent(stream, through, 0), "cudaStreamWaitEvent");
    }

    private static (nint Handle, string Path)? Open(string name, string? asked)
    {
        // Python's packages lie beside one another: torch/lib, nvidia/nccl/lib, nvidia/cuda_runtime/lib.
        string torch = TorchRuntime.LibraryFolder;
        string packages = System.IO.Path.GetFullPath(System.IO.Path.Combine(torch, "..", "..", "nvidia"));
        string[] places = asked is not null
            ? [asked, System.IO.Path.Combine(asked, name)]
            :
            [
                System.IO.Path.Combine(torch, name),
                System.IO.Path.Combine(packages, "nccl", "lib", name),
                System.IO.Path.Combine(packages, "cuda_runtime", "lib", name),
                name,
            ];
        foreach (string place in places)
        {
            if ((!System.IO.Path.IsPathRooted(place) || File.Exists(place)) && NativeLibrary.TryLoad(place, out nint handle))
            {
                return (handle, place);
            }
        }

        return null;
    }

    private static nint Find(nint library, string name, string where) => NativeLibrary.TryGetExport(library, name, out nint found)
        ? found
        : throw new UserErrorException($"{where} has no {name}: it is too old, or something else.", ExitCodes.BadConfiguration);

    private static string Describe(int version) => $"{version / 10000}.{version / 100 % 100}.{version % 100}";

    private void Check(int result, string function)
    {
        if (result is not ((int)NcclResult.Success or (int)NcclResult.InProgress))
        {
            throw new NcclException($"{function}: {(_getErrorString == null ? $"error {result}" : Explain((NcclResult)result))}");
        }
    }

    private static void CheckCuda(int result, string function)
    {
        if (result != 0)
        {
            throw new NcclException($"{function}: CUDA error {result}");
        }
    }

    /// <summary>ncclUniqueId.</summary>
    [StructLayout(LayoutKind.Sequential, Size = 128)]
    private struct UniqueId;

    /// <summary>ncclConfig_t as of 2.14; later versions fill in what it lacks.</summary>
    [StructLayout(LayoutKind.Sequential)]
    private struct Config
    {
        public const uint Cafebeef = 0xcafebeef;

        public nuint Size;
        public uint Magic;
        public uint Version;
        public int Blocking;
    }
}

/// <summary>A call of NCCL or CUDA failed.</summary>
/// <param name="message">Which, and what it said.</param>
internal sealed class NcclException(string message) : Exception(message);
