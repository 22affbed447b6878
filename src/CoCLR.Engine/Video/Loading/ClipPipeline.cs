// Why this exists: batches are made ahead by background threads, in a fixed order that does not depend on how many threads there are.
using System.Collections.Concurrent;
using System.Diagnostics;
using System.Runtime.ExceptionServices;
using CoCLR.Engine.Video.Augmentation;
using static TorchSharp.torch;

namespace CoCLR.Engine.Video.Loading;

/// <summary>
/// Turns a sequence of <see cref="BatchPlan"/>s (a pure function of the position) into batches. One thread plans and hands out clips,
/// workers augment (or, for a device, copy the crops' bytes), and where there is a device one more thread uploads and augments there.
/// Buffers are pooled: no more than prefetch + 2 batches exist at a time.
/// </summary>
internal sealed class ClipPipeline : IDisposable
{
    private readonly IReadOnlyList<ClipView> _views;
    private readonly IReadOnlyList<ClipItem> _items;
    private readonly LoaderOptions _options;
    private readonly int _size;
    private readonly Func<long, BatchPlan?> _plan;
    private readonly CancellationTokenSource _stop = new();
    private readonly BlockingCollection<BatchBuffer> _free = [];
    private readonly BlockingCollection<(PendingBatch Batch, int Request)> _work = [];
    private readonly BlockingCollection<PendingBatch> _ordered = [];
    private readonly BlockingCollection<PendingBatch>? _uploads;
    private readonly List<Thread> _threads = [];
    private readonly List<BatchBuffer> _buffers = [];
    private readonly Stopwatch _sinceFirst = new();
    private TimeSpan _waited;
    private TimeSpan _firstBatch;
    private long _batches = -1;
    private bool _disposed;

    public ClipPipeline(
        IReadOnlyList<ClipView> views, IReadOnlyList<ClipItem> items, LoaderOptions options, int size, Func<long, BatchPlan?> plan)
    {
        _views = views;
        _items = items;
        _options = options;
        _size = size;
        _plan = plan;
        var onDevice = options.Device.type != TorchSharp.DeviceType.CPU || options.AugmentsOnDevice;
        for (var i = 0; i < options.Prefetch + 2; i++)
        {
            var buffer = new BatchBuffer(views.Count, options.Device.type == TorchSharp.DeviceType.CUDA);
            _buffers.Add(buffer);
            _free.Add(buffer);
        }

        Start("clip planner", Plan);
        for (var i = 0; i < options.WorkerCount; i++)
        {
            Start($"clip worker {i}", Augment);
        }

        if (onDevice)
        {
            _uploads = new BlockingCollection<PendingBatch>(Math.Max(options.Prefetch - 1, 1));
            Start("clip uploader", Upload);
        }
    }

    public LoaderWait Wait => new(Math.Max(_batches, 0), _waited, _sinceFirst.Elapsed, _firstBatch);

    /// <summary>The next batch, or null after the last.</summary>
    public ClipBatch? Next(CancellationToken cancellationToken)
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        var watch = Stopwatch.StartNew();
        if (!(_uploads ?? _ordered).TryTake(out var pending, Timeout.Infinite, cancellationToken))
        {
            return null;
        }

        pending.WaitUntilReady(cancellationToken);
        if (++_batches == 0)
        {
            _firstBatch = watch.Elapsed;
            _sinceFirst.Start();
        }
        else
        {
            _waited += watch.Elapsed;
        }

        pending.Error?.Throw();
        var buffer = pending.Buffer;
        // On a device the staging memory was free as soon as the upload was done.
        Action release = _uploads is null ? () => GiveBack(buffer) : () => { };
        return new ClipBatch(pending.Plan, _items, pending.Result ?? buffer.Batch(pending.Plan, _options.Frames, _size), release);
    }

    public void Dispose()
    {
        if (_disposed)
        {
            return;
        }

        _disposed = true;
        _stop.Cancel();
        foreach (var thread in _threads)
        {
            thread.Join();
        }

        foreach (var pending in _uploads ?? [])
        {
            pending.Dispose();
        }

        foreach (var buffer in _buffers)
        {
            buffer.Dispose();
        }

        _free.Dispose();
        _work.Dispose();
        _ordered.Dispose();
        _uploads?.Dispose();
        _stop.Dispose();
    }

    private void Start(string name, Action body)
    {
        var thread = new Thread(() =>
        {
            try
            {
                body();
            }
            catch (OperationCanceledException) when (_stop.IsCancellationRequested)
            {
                // The loader is being disposed or moved elsewhere.
            }
        })
        {
            IsBackground = true,
            Name = name,
        };
        _threads.Add(thread);
        thread.Start();
    }

    private void Plan()
    {
        for (long position = 0; ; position++)
        {
            var buffer = _free.Take(_stop.Token);
            PendingBatch pending;
            try
            {
                if (_plan(position) is not { } plan)
                {
                    break;
                }

                buffer.Prepare(plan, _items, _views, _options, _size);
                pending = new PendingBatch(plan, buffer);
            }
            catch (Exception error) when (error is not OperationCanceledException)
            {
                pending = new PendingBatch(new BatchPlan(0, 0, [], 1), buffer);
                pending.Fail(error);
                _ordered.Add(pending, _stop.Token);
                break;
            }

            _ordered.Add(pending, _stop.Token);
            for (var request = 0; request < pending.Plan.Requests.Length; request++)
            {
                _work.Add((pending, request), _stop.Token);
            }
        }

        _ordered.CompleteAdding();
        _work.CompleteAdding();
    }

    private void Augment()
    {
        using var augmenter = new ClipAugmenter();
        foreach (var (batch, request) in _work.GetConsumingEnumerable(_stop.Token))
        {
            try
            {
                for (var view = 0; view < _views.Count; view++)
                {
                    batch.Buffer.Fill(augmenter, batch.Plan.Requests[request], request, view, _items, _views, _options, _size);
                }
            }
            catch (Exception error) when (error is not OperationCanceledException)
            {
                batch.Fail(error);
            }

            batch.Done();
        }
    }

    private void Upload()
    {
        foreach (var pending in _ordered.GetConsumingEnumerable(_stop.Token))
        {
            pending.WaitUntilReady(_stop.Token);
            if (pending.Error is null)
            {
                try
                {
                    pending.Result = pending.Buffer.Upload(pending.Plan, _views, _options, _size);
                }
                catch (Exception error) when (error is not OperationCanceledException)
                {
                    pending.Fail(error);
                }
            }

            GiveBack(pending.Buffer);
            try
            {
                _uploads!.Add(pending, _stop.Token);
            }
            catch (OperationCanceledException)
            {
                pending.Dispose();
                throw;
            }
        }

        _uploads!.CompleteAdding();
    }

    private void GiveBack(BatchBuffer buffer)
    {
        if (!_disposed)
        {
            _free.Add(buffer);
        }
    }
}

/// <summary>A batch in the making.</summary>
internal sealed class PendingBatch(BatchPlan plan, BatchBuffer buffer) : IDisposable
{
    private readonly ManualResetEventSlim _ready = new(plan.Requests.Length == 0);
    private int _missing = plan.Requests.Length;
    private ExceptionDispatchInfo? _error;

    public BatchPlan Plan => plan;

    public BatchBuffer Buffer => buffer;

    public Tensor[]? Result { get; set; }

    public ExceptionDispatchInfo? Error => Volatile.Read(ref _error);

    public void Fail(Exception error) => Interlocked.CompareExchange(ref _error, ExceptionDispatchInfo.Capture(error), null);

    public void Done()
    {
        if (Interlocked.Decrement(ref _missing) == 0)
        {
            _ready.Set();
        }
    }

    public void WaitUntilReady(CancellationToken cancellationToken) => _ready.Wait(cancellationToken);

    public void Dispose()
    {
        foreach (var tensor in Result ?? [])
        {
            tensor.Dispose();
        }
    }
}
