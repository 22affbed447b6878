// Why this exists: GPUs exchange gradients over their own links. NCCL moves the tensors; whether all ranks still live is watched over
// TCP, because a kernel of NCCL waits for ever.
using System.Diagnostics;
using CoCLR.Core;
using static TorchSharp.torch;

namespace CoCLR.Engine.Collectives;

/// <summary>
/// Ranks with a GPU each. Tensors on the GPU go through NCCL, on a stream of its own that waits for libtorch's and that libtorch's waits
/// for; tensors in memory go over TCP. One thread
/// works with the communicator; only <see cref="Abort"/> comes from another, and then nothing else does.
/// </summary>
/// <remarks>Tested against a library that records its calls, and with one rank on a real card; several real GPUs have not been seen by
/// its authors (docs/scale.md).</remarks>
public sealed class NcclCollective : ICollective
{
    private static readonly TimeSpan Poll = TimeSpan.FromMilliseconds(20);
    private static readonly TimeSpan Beat = TimeSpan.FromSeconds(1);
    private readonly Nccl _nccl;
    private readonly TcpCollective _control;
    private readonly Device _device;
    private readonly Lock _gate = new();
    private readonly nint _stream;
    private readonly nint _event;
    private readonly CancellationTokenRegistration _onLoss;
    private readonly Timer _poll;
    private nint _communicator;
    private CollectiveUse _use;

    private NcclCollective(Nccl nccl, TcpCollective control, Device device)
    {
        (_nccl, _control, _device) = (nccl, control, device);
        nccl.SetDevice(device.index);
        (_stream, _event) = (nccl.CreateStream(), nccl.CreateEvent());
        _onLoss = control.Lost.Register(AbortCommunicator);
        using Tensor id = zeros([128], ScalarType.Byte);
        if (control.Rank == 0)
        {
            nccl.NewUniqueId().CopyTo(id.bytes);
        }

        control.Broadcast(id);
        lock (_gate)
        {
            _communicator = nccl.BeginCommunicator(id.bytes.ToArray(), control.Rank, control.World);
        }

        Await();
        _poll = new Timer(_ => PollErrors(), null, Beat, Beat);
    }

    /// <inheritdoc/>
    public int Rank => _control.Rank;

    /// <inheritdoc/>
    public int World => _control.World;

    /// <inheritdoc/>
    public string Transport => $"{_nccl.Name} ({_nccl.Path})";

    /// <inheritdoc/>
    public CollectiveUse Use => new(_use.Bytes + _control.Use.Bytes, _use.Elapsed + _control.Use.Elapsed);

    /// <summary>Makes the communicator of ranks that have met.</summary>
    /// <param name="nccl">The library.</param>
    /// <param name="control">The ranks; become this object's.</param>
    /// <param name="device">This rank's GPU.</param>
    /// <exception cref="UserErrorException">NCCL cannot connect them (1), or a rank was lost (1).</exception>
    internal static NcclCollective Create(Nccl nccl, TcpCollective control, Device device)
    {
        try
        {
            return new NcclCollective(nccl, control, device);
        }
        catch (Exception e)
        {
            control.Abort(e.Message);
            control.Dispose();
            if (e is NcclException failed)
            {
                throw Failure(failed);
            }

            throw;
        }
    }

    /// <inheritdoc/>
    public void AllReduceSum(Tensor tensor)
    {
        ArgumentNullException.ThrowIfNull(tensor);
        if (tensor.device_type != _device.type)
        {
            _control.AllReduceSum(tensor);
            return;
        }

        nint address = TorchRuntime.AddressOf(tensor);
        Enqueue(tensor, 2, () => _nccl.AllReduceSum(address, tensor.numel(), TypeOf(tensor), _communicator, _stream));
    }

    /// <inheritdoc/>
    public Tensor AllGather(Tensor own)
    {
        ArgumentNullException.ThrowIfNull(own);
        if (own.device_type != _device.type)
        {
            return _control.AllGather(own);
        }

        Tensor all = empty([World * own.shape[0], .. own.shape[1..]], own.dtype, own.device);
        (nint from, nint to) = (TorchRuntime.AddressOf(own), TorchRuntime.AddressOf(all));
        Enqueue(all, 1, () => _nccl.AllGather(from, to, own.numel(), TypeOf(own), _communicator, _stream));
        return all;
    }

    /// <inheritdoc/>
    public void Broadcast(Tensor tensor)
    {
        ArgumentNullException.ThrowIfNull(tensor);
        if (tensor.device_type != _device.type)
        {
            _control.Broadcast(tensor);
            return;
        }

        Enqueue(tensor, 1, () => _nccl.Broadcast(TorchRuntime.AddressOf(tensor), tensor.numel(), TypeOf(tensor), _communicator, _stream));
    }

    /// <inheritdoc/>
    public void Barrier() => _control.Barrier();

    /// <inheritdoc/>
    public void Abort(string why)
    {
        _control.Abort(why);
        AbortCommunicator();
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _poll.Dispose();
        _onLoss.Dispose();
        nint communicator;
        lock (_gate)
        {
            (communicator, _communicator) = (_communicator, 0);
        }

        if (communicator != 0)
        {
            End(communicator);
        }

        _nccl.DestroyEvent(_event);
        _nccl.DestroyStream(_stream);
        _control.Dispose();
    }

    private static NcclType TypeOf(Tensor tensor) => tensor.dtype switch
    {
        ScalarType.Float32 => NcclType.Float32,
        ScalarType.Float64 => NcclType.Float64,
        ScalarType.Int64 => NcclType.Int64,
        _ => throw new ArgumentException($"Ranks exchange 32- and 64-bit floats and 64-bit integers, not {tensor.dtype}.", nameof(tensor)),
    };

    private static UserErrorException Failure(NcclException e) =>
        new(
            $"The GPUs cannot work together: {e.Message} (NCCL_DEBUG=INFO says more). "
            + "Started again, the stage goes on from its newest checkpoint.",
            ExitCodes.Failed,
            e);

    /// <summary>
    /// Gives NCCL an operation: it begins when libtorch's stream has come so far, and libtorch's goes on when it is done. The processor
    /// does not wait.
    /// </summary>
    private void Enqueue(Tensor tensor, int times, Action operation)
    {
        if (!tensor.is_contiguous())
        {
            throw new ArgumentException("Ranks exchange contiguous tensors.", nameof(tensor));
        }

        long begun = Stopwatch.GetTimestamp();
        try
        {
            lock (_gate)
            {
                RequireAlive();
                _nccl.LetWait(_stream, forStream: 0, _event);
                operation();
            }

            Await();
            lock (_gate)
            {
                RequireAlive();
                _nccl.LetWait(0, forStream: _stream, _event);
            }
        }
        catch (NcclException e)
        {
            Abort(e.Message);
            throw Failure(e);
        }

        _use = _use.Plus(times * tensor.numel() * tensor.element_size(), begun);
    }

    /// <summary>Waits until the communicator has taken what it was asked for; a lost rank ends the wait.</summary>
    private void Await()
    {
        while (true)
        {
            NcclResult state;
            lock (_gate)
            {
                RequireAlive();
                state = _nccl.AsyncError(_communicator);
            }

            if (state == NcclResult.Success)
            {
                return;
            }

            if (state != NcclResult.InProgress)
            {
                throw new NcclException(_nccl.Explain(state));
            }

            _control.Lost.WaitHandle.WaitOne(Poll);
        }
    }

    private void RequireAlive()
    {
        if (_communicator == 0)
        {
            throw new RankLostException(_control.LostBecause ?? "The ranks have ended.");
        }
    }

    /// <summary>Errors of the network or of another rank's GPU are noticed by NCCL's own threads; nobody else would ask.</summary>
    private void PollErrors()
    {
        string? error = null;
        lock (_gate)
        {
            if (_communicator != 0)
            {
                try
                {
                    NcclResult state = _nccl.AsyncError(_communicator);
                    error = state is NcclResult.Success or NcclResult.InProgress ? null : _nccl.Explain(state);
                }
                catch (NcclException e)
                {
                    error = e.Message;
                }
            }
        }

        if (error is not null)
        {
            Abort(error);
        }
    }

    private void AbortCommunicator()
    {
        lock (_gate)
        {
            if (_communicator != 0)
            {
                _nccl.Abort(_communicator);
                _communicator = 0;
            }
        }
    }

    /// <summary>Ends a communicator after its last operation; one that cannot end is aborted.</summary>
    private void End(nint communicator)
    {
        try
        {
            _nccl.Finalize(communicator);
            for (long begun = Stopwatch.GetTimestamp(); _nccl.AsyncError(communicator) == NcclResult.InProgress;)
            {
                if (Stopwatch.GetElapsedTime(begun) > TimeSpan.FromSeconds(10) || _control.Lost.WaitHandle.WaitOne(Poll))
                {
                    _nccl.Abort(communicator);
                    return;
                }
            }

            _nccl.Destroy(communicator);
        }
        catch (NcclException)
        {
            _nccl.Abort(communicator);
        }
    }
}
