// Why this exists: a rank that is killed, stopped or cut off must not leave the others waiting: each is heard of every second, and when
// one is lost all are told and end.
using System.Diagnostics;
using System.Net.Sockets;
using System.Text;

namespace CoCLR.Engine.Collectives;

/// <summary>
/// Signs of life between rank 0 and the others, on connections and a thread of their own, so that a rank that computes for minutes is not
/// taken for a lost one.
/// </summary>
internal sealed class RankWatch : IDisposable
{
    private const byte Alive = 1;
    private const byte Done = 2;
    private const byte Aborts = 3;
    private static readonly TimeSpan Beat = TimeSpan.FromSeconds(1);

    // Work that waits for nobody ends within this after a rank was lost; then the process is ended.
    private static readonly TimeSpan Grace = TimeSpan.FromSeconds(12);

    // The last answer of rank 0 has arrived everywhere within this.
    private static readonly TimeSpan LastAnswer = TimeSpan.FromSeconds(30);
    private readonly RankOptions _options;
    private readonly Socket?[] _sockets;
    private readonly long[] _heard;
    private readonly bool[] _ended;
    private readonly Action _cutOff;
    private readonly Action _end;
    private readonly Lock _gate = new();
    private readonly CancellationTokenSource _lost = new();
    private readonly ManualResetEventSlim _done = new();
    private readonly Thread _thread;
    private string? _reason;
    private long _lostAt;

    /// <summary>Watches from now on.</summary>
    /// <param name="options">Who this is.</param>
    /// <param name="sockets">By rank; null where there is none. Become the watch's.</param>
    /// <param name="cutOff">Ends the connections on which an operation may be waiting.</param>
    /// <param name="end">Ends the process.</param>
    public RankWatch(RankOptions options, Socket?[] sockets, Action cutOff, Action end)
    {
        (_options, _sockets, _cutOff, _end) = (options, sockets, cutOff, end);
        _heard = [.. sockets.Select(_ => Stopwatch.GetTimestamp())];
        _ended = new bool[sockets.Length];
        foreach (Socket socket in sockets.OfType<Socket>())
        {
            socket.Blocking = false;
        }

        _thread = new Thread(Watch) { IsBackground = true, Name = "rank watch" };
        _thread.Start();
    }

    /// <summary>Why all end; null as long as nobody is lost.</summary>
    public string? Reason
    {
        get
        {
            lock (_gate)
            {
                return _reason;
            }
        }
    }

    /// <summary>Set when a rank was lost.</summary>
    public CancellationToken Lost => _lost.Token;

    /// <summary>Tells all ranks to end. The first reason counts.</summary>
    public void Abort(string reason)
    {
        lock (_gate)
        {
            if (_reason is not null)
            {
                return;
            }

            _reason = reason;
            _lostAt = Stopwatch.GetTimestamp();
            byte[] message = [Aborts, .. Encoding.UTF8.GetBytes(reason)];
            foreach (Socket socket in _sockets.OfType<Socket>())
            {
                TrySend(socket, message);
            }
        }

        _cutOff();
        _lost.Cancel();
    }

    /// <summary>As <see cref="Abort"/>, where a broken connection was seen: waits a moment for a better reason than that.</summary>
    /// <returns>The reason that counts.</returns>
    public string AbortBecause(string seen)
    {
        for (long begun = Stopwatch.GetTimestamp(); Reason is null && Stopwatch.GetElapsedTime(begun) < 2 * Beat;)
        {
            Lost.WaitHandle.WaitOne(Beat / 10);
        }

        Abort(seen);
        return Reason!;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        Leave();
        _done.Set();
        _thread.Join();
        foreach (Socket socket in _sockets.OfType<Socket>())
        {
            socket.Dispose();
        }

        _done.Dispose();
        _lost.Dispose();
    }

    /// <summary>
    /// Ranks that end as they should say so and stay until rank 0 has ended, which ends last: a connection that is closed can cut off
    /// what is still under way on it. With a lost rank
    /// nobody waits.
    /// </summary>
    private void Leave()
    {
        if (_options.Rank > 0)
        {
            TellDone();
        }

        long begun = Stopwatch.GetTimestamp();
        while (Reason is null && !AllHaveEnded() && (_options.Rank > 0 || Stopwatch.GetElapsedTime(begun) < LastAnswer))
        {
            _done.Wait(Beat / 50);
        }

        if (_options.Rank == 0)
        {
            TellDone();
        }
    }

    private void TellDone()
    {
        foreach (Socket socket in _sockets.OfType<Socket>())
        {
            TrySend(socket, [Done]);
        }
    }

    private bool AllHaveEnded() =>
        Enumerable.Range(0, _sockets.Length).All(rank => _sockets[rank] is null || Volatile.Read(ref _ended[rank]));

    private void Watch()
    {
        byte[] buffer = new byte[4096];
        long sent = 0;
        while (!_done.Wait(Beat / 10))
        {
            if (Stopwatch.GetElapsedTime(sent) >= Beat)
            {
                sent = Stopwatch.GetTimestamp();
                foreach (Socket socket in _sockets.OfType<Socket>())
                {
                    TrySend(socket, [Alive]);
                }
            }

            for (int rank = 0; rank < _sockets.Length; rank++)
            {
                if (_sockets[rank] is { } socket && !_ended[rank] && Reason is null)
                {
                    Listen(rank, socket, buffer);
                }
            }

            if (Reason is not null && Stopwatch.GetElapsedTime(_lostAt) > Grace)
            {
                _end();
                return;
            }
        }
    }

    private void Listen(int rank, Socket socket, byte[] buffer)
    {
        try
        {
            int count = socket.Receive(buffer);
            _heard[rank] = Stopwatch.GetTimestamp();
            if (count == 0)
            {
                Abort($"Rank {rank} of {_options.World} has ended.");
            }
            else if (buffer.AsSpan(0, count).IndexOf(Aborts) is >= 0 and var at)
            {
                Abort(Encoding.UTF8.GetString(buffer, at + 1, count - at - 1).TrimEnd((char)Alive, (char)Done));
            }
            else
            {
                Volatile.Write(ref _ended[rank], buffer.AsSpan(0, count).Contains(Done));
            }
        }
        catch (SocketException e) when (e.SocketErrorCode == SocketError.WouldBlock)
        {
            if (Stopwatch.GetElapsedTime(_heard[rank]) > _options.Silence)
            {
                Abort(
                    $"Rank {rank} of {_options.World} has not been heard of for {_options.Silence.TotalSeconds:0} s: "
                    + "its process hangs, or the network does.");
            }
        }
        catch (SocketException)
        {
            Abort($"Rank {rank} of {_options.World} has ended.");
        }
    }

    private static void TrySend(Socket socket, byte[] bytes)
    {
        try
        {
            socket.Send(bytes);
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
            // Listening finds out what became of it.
        }
    }
}
