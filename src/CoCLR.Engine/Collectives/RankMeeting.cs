// Why this exists: before ranks can work together they must find one another, whichever starts first, and agree that they belong together.
using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using CoCLR.Core;

namespace CoCLR.Engine.Collectives;

/// <summary>The two connections of this process to each rank that it talks to: rank 0 to all others, the others to rank 0.</summary>
/// <param name="Tensors">By rank; null where there is none.</param>
/// <param name="Watch">By rank; null where there is none.</param>
internal sealed record RankConnections(Socket?[] Tensors, Socket?[] Watch);

/// <summary>Brings ranks together: rank 0 listens, the others come.</summary>
internal static class RankMeeting
{
    private static readonly TimeSpan HelloLimit = TimeSpan.FromSeconds(10);
    private static readonly TimeSpan Pause = TimeSpan.FromMilliseconds(100);

    /// <summary>Waits until all ranks are there.</summary>
    /// <param name="options">This rank's place.</param>
    /// <param name="own">What it says of itself, but for the channel.</param>
    /// <param name="stop">Gives up.</param>
    /// <exception cref="UserErrorException">The port is taken or a rank does not come (1), or a rank is of another version
    /// (78).</exception>
    public static RankConnections Meet(RankOptions options, RankHello own, CancellationToken stop) =>
        options.Rank == 0 ? Listen(options, own, stop) : Come(options, own, stop);

    private static RankConnections Listen(RankOptions options, RankHello own, CancellationToken stop)
    {
        long begun = Stopwatch.GetTimestamp();
        using Socket listener = Bind(options);
        var connections = new RankConnections(new Socket?[options.World], new Socket?[options.World]);
        try
        {
            while (Missing(connections) is { Count: > 0 } missing)
            {
                stop.ThrowIfCancellationRequested();
                if (Stopwatch.GetElapsedTime(begun) > options.Rendezvous)
                {
                    throw new RankLostException(
                        $"Rank {string.Join(", ", missing)} of {options.World} did not come within {options.Rendezvous.TotalSeconds:0} s.");
                }

                if (listener.Poll(Pause, SelectMode.SelectRead))
                {
                    Welcome(listener.Accept(), own, connections);
                }
            }

            // Nobody begins before all are there.
            foreach (Socket socket in connections.Tensors.Concat(connections.Watch).OfType<Socket>())
            {
                RankHello.Send(socket, new RankAnswer(null, ExitCodes.Done));
            }

            return connections;
        }
        catch (Exception e)
        {
            Refuse(connections, e);
            throw;
        }
    }

    private static void Welcome(Socket socket, RankHello own, RankConnections connections)
    {
        RankHello? hello = null;
        try
        {
            Prepare(socket, HelloLimit);
            hello = RankHello.Receive<RankHello>(socket);
        }
        catch (SocketException)
        {
            // Nobody of ours: a port scanner, or a rank that was killed as it came. It comes again or is missed.
        }

        if (hello is not { Program: RankHello.ProgramName } || hello.Work != own.Work)
        {
            socket.Dispose();
            return;
        }

        Socket?[] channel = hello.Channel == RankHello.WatchChannel ? connections.Watch : connections.Tensors;
        string? objection = hello.Objection(own)
            ?? (channel[hello.Rank] is null ? null : $"Two processes say that they are rank {hello.Rank}: start each once.");
        if (objection is not null)
        {
            using (socket)
            {
                RankHello.Send(socket, new RankAnswer(objection, ExitCodes.BadConfiguration));
            }

            throw new UserErrorException(objection, ExitCodes.BadConfiguration);
        }

        channel[hello.Rank] = socket;
    }

    private static RankConnections Come(RankOptions options, RankHello own, CancellationToken stop)
    {
        var connections = new RankConnections(new Socket?[options.World], new Socket?[options.World]);
        try
        {
            connections.Tensors[0] = Connect(options, own with { Channel = RankHello.TensorChannel }, stop);
            connections.Watch[0] = Connect(options, own with { Channel = RankHello.WatchChannel }, stop);
            foreach (Socket socket in new[] { connections.Tensors[0]!, connections.Watch[0]! })
            {
                RankAnswer answer = Answer(socket, options, stop);
                if (answer.Refusal is { } refusal)
                {
                    throw new UserErrorException(refusal, answer.ExitCode);
                }
            }

            return connections;
        }
        catch
        {
            Close(connections);
            throw;
        }
    }

    private static Socket Connect(RankOptions options, RankHello hello, CancellationToken stop)
    {
        long begun = Stopwatch.GetTimestamp();
        while (true)
        {
            stop.ThrowIfCancellationRequested();
            var socket = new Socket(SocketType.Stream, ProtocolType.Tcp);
            try
            {
                socket.Connect(options.MasterAddress, options.MasterPort);
                Prepare(socket, HelloLimit);
                RankHello.Send(socket, hello);
                return socket;
            }
            catch (SocketException e)
            {
                // Rank 0 has not begun to listen, or its name is not known yet.
                socket.Dispose();
                if (Stopwatch.GetElapsedTime(begun) > options.Rendezvous)
                {
                    string waited = $"{options.Rendezvous.TotalSeconds:0} s ({e.SocketErrorCode})";
                    throw new RankLostException($"Rank 0 does not answer at {options.MasterAddress}:{options.MasterPort} for {waited}.", e);
                }

                stop.WaitHandle.WaitOne(Pause);
            }
        }
    }

    private static RankAnswer Answer(Socket socket, RankOptions options, CancellationToken stop)
    {
        for (long begun = Stopwatch.GetTimestamp(); Stopwatch.GetElapsedTime(begun) < options.Rendezvous;)
        {
            stop.ThrowIfCancellationRequested();
            if (socket.Poll(Pause, SelectMode.SelectRead))
            {
                try
                {
                    return RankHello.Receive<RankAnswer>(socket)
                        ?? throw new RankLostException("Rank 0 has ended before all ranks were there.");
                }
                catch (SocketException e)
                {
                    throw new RankLostException("Rank 0 has ended before all ranks were there.", e);
                }
            }
        }

        throw new RankLostException($"The other ranks did not come within {options.Rendezvous.TotalSeconds:0} s.");
    }

    private static Socket Bind(RankOptions options)
    {
        // The processes of one machine are nobody else's business.
        bool here = Ranks.IsLoopback(options.MasterAddress);
        var listener = new Socket(here ? AddressFamily.InterNetwork : AddressFamily.InterNetworkV6, SocketType.Stream, ProtocolType.Tcp);
        try
        {
            if (!here)
            {
                listener.DualMode = true;
            }

            listener.Bind(new IPEndPoint(here ? IPAddress.Loopback : IPAddress.IPv6Any, options.MasterPort));
            listener.Listen(2 * options.World);
            return listener;
        }
        catch (SocketException e)
        {
            listener.Dispose();
            throw new UserErrorException(
                e.SocketErrorCode == SocketError.AddressAlreadyInUse
                    ? $"Port {options.MasterPort}, where the ranks were to meet, is taken by another program: "
                        + $"set {RankOptions.MasterPortVariable} to a free one."
                    : $"The ranks cannot meet at port {options.MasterPort} ({e.SocketErrorCode}): "
                        + $"set {RankOptions.MasterPortVariable} to one that this process may listen on.",
                ExitCodes.Failed,
                e);
        }
    }

    private static void Prepare(Socket socket, TimeSpan limit)
    {
        socket.NoDelay = true;
        socket.ReceiveTimeout = (int)limit.TotalMilliseconds;
        socket.SendTimeout = (int)limit.TotalMilliseconds;
    }

    private static List<int> Missing(RankConnections connections) =>
    [
        .. Enumerable.Range(1, connections.Tensors.Length - 1)
            .Where(rank => connections.Tensors[rank] is null || connections.Watch[rank] is null),
    ];

    private static void Refuse(RankConnections connections, Exception why)
    {
        RankAnswer answer = why is UserErrorException known
            ? new RankAnswer(known.Message, known.ExitCode)
            : new RankAnswer("Rank 0 was asked to stop before all ranks were there.", ExitCodes.Failed);
        foreach (Socket socket in connections.Tensors.Concat(connections.Watch).OfType<Socket>())
        {
            try
            {
                RankHello.Send(socket, answer);
            }
            catch (SocketException)
            {
                // It has gone already.
            }
        }

        Close(connections);
    }

    private static void Close(RankConnections connections)
    {
        foreach (Socket socket in connections.Tensors.Concat(connections.Watch).OfType<Socket>())
        {
            socket.Dispose();
        }
    }
}
