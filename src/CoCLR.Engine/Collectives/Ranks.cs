// Why this exists: a stage asks for its ranks in one call; what they have (GPUs or none) decides what moves their tensors.
using System.Net;
using System.Net.Sockets;
using CoCLR.Core;
using TorchSharp;
using static TorchSharp.torch;

namespace CoCLR.Engine.Collectives;

/// <summary>Makes groups of ranks.</summary>
public static class Ranks
{
    /// <summary>Meets the other ranks of a stage.</summary>
    /// <param name="options">This rank's place.</param>
    /// <param name="work">What they have come for.</param>
    /// <param name="device">This rank's device.</param>
    /// <param name="stop">Gives up meeting.</param>
    /// <exception cref="UserErrorException">They cannot meet (1), are not alike or lack NCCL (78).</exception>
    public static ICollective Meet(RankOptions options, string work, Device device, CancellationToken stop)
    {
        ArgumentNullException.ThrowIfNull(options);
        ArgumentNullException.ThrowIfNull(device);
        if (options.World == 1)
        {
            return Alone.Instance;
        }

        if (device.type != DeviceType.CUDA)
        {
            return TcpCollective.Meet(options, work, stop: stop);
        }

        Nccl nccl = Nccl.Load();
        return NcclCollective.Create(nccl, TcpCollective.Meet(options, work, nccl.Name, stop: stop), device);
    }

    /// <summary>NCCL of this machine, in words.</summary>
    /// <returns>Version and path, or why there is none.</returns>
    public static (bool Found, string Text) DescribeNccl()
    {
        try
        {
            Nccl nccl = Nccl.Load();
            return (true, $"{nccl.Name} ({nccl.Path})");
        }
        catch (Exception e) when (e is UserErrorException or NcclException)
        {
            return (false, e.Message);
        }
    }

    /// <summary>The GPU of a rank: the one of its number on its machine; the processor where there is none or none is wanted.</summary>
    /// <param name="device">auto, cpu, cuda or cuda:N, of the manifest.</param>
    /// <param name="options">The rank's place.</param>
    /// <param name="cudaDevices">GPUs that this process sees.</param>
    /// <exception cref="UserErrorException">There are fewer GPUs than ranks on this machine (78).</exception>
    public static string DeviceOf(string device, RankOptions options, int cudaDevices)
    {
        ArgumentNullException.ThrowIfNull(device);
        ArgumentNullException.ThrowIfNull(options);
        if (options.World == 1 || device == "cpu" || (device == "auto" && cudaDevices == 0))
        {
            return device;
        }

        // A pod is given its own GPUs, mostly one: then every rank's is the first.
        int index = cudaDevices == 1 && options.LocalRank == options.Rank && !IsLoopback(options.MasterAddress) ? 0 : options.LocalRank;
        return index < Math.Max(1, cudaDevices) ? $"cuda:{index}" : throw new UserErrorException(
            $"Rank {options.Rank} is number {options.LocalRank} on this machine, which has {cudaDevices} GPU{(cudaDevices == 1 ? "" : "s")}: "
            + "start as many ranks as there are GPUs.",
            ExitCodes.BadConfiguration);
    }

    /// <summary>A port of this machine that nobody listens on now: ranks that meet there soon will mostly have it.</summary>
    public static int FreePort()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        return ((IPEndPoint)listener.LocalEndpoint).Port;
    }

    /// <summary>Whether an address is this machine's alone.</summary>
    internal static bool IsLoopback(string address) =>
        address is "localhost" || (IPAddress.TryParse(address, out IPAddress? ip) && IPAddress.IsLoopback(ip));
}
