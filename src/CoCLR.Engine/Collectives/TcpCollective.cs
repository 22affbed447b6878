// Why this exists: processes without GPUs (tests, CPU clusters) train together over plain TCP, and ranks with GPUs agree here on what is
// not the device's business.
// It is made to be simple and to end as it should, not to be fast: every byte goes through rank 0.
using System.Buffers.Binary;
using System.Diagnostics;
using System.Net.Sockets;
using TorchSharp;
using static TorchSharp.torch;

namespace CoCLR.Engine.Collectives;

/// <summary>Ranks that are processes, each with a connection to rank 0.</summary>
public sealed class TcpCollective : ICollective
{
    private const int HeaderBytes = 24;
    private readonly RankOptions _options;
    private readonly Socket?[] _sockets;
    private readonly RankWatch _watch;
    private long _sequence;

    private TcpCollective(RankOptions options, RankConnections connections, Action end)
    {
        _options = options;
        _sockets = connections.Tensors;
        foreach (Socket socket in _sockets.OfType<Socket>())
        {
            socket.ReceiveTimeout = socket.SendTimeout = (int)options.Patience.TotalMilliseconds;
        }

        _watch = new RankWatch(options, connections.Watch, CutOff, end);
    }

    private enum Operation
    {
        AllReduceSum = 1,
        AllGather = 2,
        Broadcast = 3,
        Barrier = 4,
    }

    /// <inheritdoc/>
    public int Rank => _options.Rank;

    /// <inheritdoc/>
    public int World => _options.World;

    /// <inheritdoc/>
    public string Transport => "TCP";

    /// <inheritdoc/>
    public CollectiveUse Use { get; private set; }

    /// <summary>Set when a rank was lost: what waits for a device can be given up.</summary>
    internal CancellationToken Lost => _watch.Lost;

    /// <summary>Why, or null.</summary>
    internal string? LostBecause => _watch.Reason;

    /// <summary>Meets the other ranks.</summary>
    /// <param name="options">This rank's place.</param>
    /// <param name="work">What the ranks have come for: a rank of another run is turned away.</param>
    /// <param name="library">Version of the library that moves tensors between GPUs; all ranks must have the same.</param>
    /// <param name="end">Ends this process, where a rank was lost and it does not notice by itself.</param>
    /// <param name="stop">Gives up meeting.</param>
    /// <exception cref="Core.UserErrorException">The port is taken or a rank does not come (1), or a rank is of another version
    /// (78).</exception>
    public static TcpCollective Meet(
        RankOptions options, string work, string library = "", Action? end = null, CancellationToken stop = default)
    {
        ArgumentNullException.ThrowIfNull(options);
        var hello = new RankHello(
            RankHello.ProgramName, RankHello.ThisBuild, work, options.Rank, options.World, RankHello.TensorChannel, library);
        return new TcpCollective(options, RankMeeting.Meet(options, hello, stop), end ?? (() => Environment.Exit(Core.ExitCodes.Failed)));
    }

    /// <inheritdoc/>
    public void AllReduceSum(Tensor tensor) => OnProcessor(tensor, own =>
    {
        if (Rank > 0)
        {
            Send(0, Operation.AllReduceSum, own);
            Receive(0, Operation.AllReduceSum, own);
            return;
        }

        using var frozen = no_grad();
        var sum = new PairwiseSum();
        sum.Add([own.clone()]);
        for (int rank = 1; rank < World; rank++)
        {
            Tensor theirs = empty_like(own);
            Receive(rank, Operation.AllReduceSum, theirs);
            sum.Add([theirs]);
        }

        using Tensor result = sum.Take()[0];
        SendToAll(Operation.AllReduceSum, result);
        own.copy_(result);
    });

    /// <inheritdoc/>
    public Tensor AllGather(Tensor own)
    {
        ArgumentNullException.ThrowIfNull(own);
        using var frozen = no_grad();
        using var scope = NewDisposeScope();
        Tensor all = empty([World * own.shape[0], .. own.shape[1..]], own.dtype, own.device);
        OnProcessor(all, whole =>
        {
            Tensor[] parts = whole.chunk(World, 0);
            Tensor mine = own.to(CPU).contiguous();
            if (Rank > 0)
            {
                Send(0, Operation.AllGather, mine);
                Receive(0, Operation.AllGather, whole);
                return;
            }

            parts[0].copy_(mine);
            for (int rank = 1; rank < World; rank++)
            {
                Receive(rank, Operation.AllGather, parts[rank]);
            }

            SendToAll(Operation.AllGather, whole);
        });
        return all.MoveToOuterDisposeScope();
    }

    /// <inheritdoc/>
    public void Broadcast(Tensor tensor) => OnProcessor(tensor, own =>
    {
        if (Rank > 0)
        {
            Receive(0, Operation.Broadcast, own);
        }
        else
        {
            SendToAll(Operation.Broadcast, own);
        }
    });

    /// <inheritdoc/>
    public void Barrier()
    {
        using Tensor nothing = zeros([1], ScalarType.Int64);
        OnProcessor(nothing, own =>
        {
            if (Rank > 0)
            {
                Send(0, Operation.Barrier, own);
                Receive(0, Operation.Barrier, own);
                return;
            }

            for (int rank = 1; rank < World; rank++)
            {
                Receive(rank, Operation.Barrier, own);
            }

            SendToAll(Operation.Barrier, own);
        });
    }

    /// <inheritdoc/>
    public void Abort(string why) => _watch.Abort($"Rank {Rank} of {World} has given up: {why}");

    /// <inheritdoc/>
    public void Dispose()
    {
        if (Rank > 0)
        {
            CutOff(); // whoever still waits for this rank learns that it has ended
        }

        _watch.Dispose();
        CutOff();
    }

    /// <summary>Runs an operation on a tensor in this process's memory; what comes from a device goes back there.</summary>
    private void OnProcessor(Tensor tensor, Action<Tensor> operation)
    {
        ArgumentNullException.ThrowIfNull(tensor);
        long begun = Stopwatch.GetTimestamp();
        using var frozen = no_grad();
        _sequence++;
        if (tensor.device_type == DeviceType.CPU)
        {
            operation(tensor);
        }
        else
        {
            using Tensor copy = tensor.to(CPU);
            operation(copy);
            tensor.copy_(copy);
        }

        Use = Use.Plus(2 * tensor.numel() * tensor.element_size() * Math.Max(1, Rank == 0 ? World - 1 : 1), begun);
    }

    private void SendToAll(Operation operation, Tensor tensor)
    {
        for (int rank = 1; rank < World; rank++)
        {
            Send(rank, operation, tensor);
        }
    }

    private void Send(int rank, Operation operation, Tensor tensor) => Guarded(rank, () =>
    {
        Span<byte> payload = tensor.bytes;
        Span<byte> header = stackalloc byte[HeaderBytes];
        BinaryPrimitives.WriteInt64LittleEndian(header, (long)operation);
        BinaryPrimitives.WriteInt64LittleEndian(header[8..], _sequence);
        BinaryPrimitives.WriteInt64LittleEndian(header[16..], payload.Length);
        SendAll(_sockets[rank]!, header);
        SendAll(_sockets[rank]!, payload);
    });

    private void Receive(int rank, Operation operation, Tensor into) => Guarded(rank, () =>
    {
        Span<byte> payload = into.bytes;
        Span<byte> header = stackalloc byte[HeaderBytes];
        ReceiveAll(_sockets[rank]!, header);
        long theirs = BinaryPrimitives.ReadInt64LittleEndian(header);
        long sequence = BinaryPrimitives.ReadInt64LittleEndian(header[8..]);
        long length = BinaryPrimitives.ReadInt64LittleEndian(header[16..]);
        if (theirs != (long)operation || sequence != _sequence || length != payload.Length)
        {
            string message = $"rank {Rank} is at operation {_sequence}, {operation} of {payload.Length} bytes, "
                + $"and rank {rank} at {sequence}, {(Operation)theirs} of {length} bytes: they no longer do the same.";
            Abort(message);
            throw new RankLostException($"Ranks differ: {message}");
        }

        ReceiveAll(_sockets[rank]!, payload);
    });

    private void Guarded(int rank, Action exchange)
    {
        try
        {
            if (_watch.Reason is { } known)
            {
                throw new RankLostException(known);
            }

            exchange();
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException or EndOfStreamException)
        {
            // Somebody may have said why before the connection ended.
            string seen = e is SocketException { SocketErrorCode: SocketError.TimedOut or SocketError.WouldBlock }
                ? $"Rank {rank} of {World} did not come to the next operation within {_options.Patience.TotalMinutes:0} minutes."
                : $"Rank {rank} of {World} has ended.";
            throw new RankLostException(_watch.AbortBecause(seen), e);
        }
    }

    private void CutOff()
    {
        foreach (Socket socket in _sockets.OfType<Socket>())
        {
            socket.Dispose();
        }
    }

    private static void SendAll(Socket socket, ReadOnlySpan<byte> bytes)
    {
        while (bytes.Length > 0)
        {
            bytes = bytes[socket.Send(bytes)..];
        }
    }

    private static void ReceiveAll(Socket socket, Span<byte> bytes)
    {
        while (bytes.Length > 0)
        {
            int count = socket.Receive(bytes);
            bytes = count > 0 ? bytes[count..] : throw new EndOfStreamException();
        }
    }
}
