// Why this exists: thousands of negatives (and mined positives) cost nothing when keys of earlier batches are kept.
using static TorchSharp.torch;

namespace CoCLR.Engine.Contrastive;

/// <summary>
/// A ring of the last K keys with their second view's keys, source videos, labels and the step that wrote them. [MoCo; method.md 1a]
/// </summary>
[System.Diagnostics.CodeAnalysis.SuppressMessage("Naming", "CA1711", Justification = "The field calls it a queue.")]
public sealed class KeyQueue : IDisposable
{
    private readonly Tensor _writtenAt;
    private int _pointer;
    private int _count;

    /// <summary>Makes a queue of random unit vectors, marked empty.</summary>
    /// <param name="dim">Length of a key.</param>
    /// <param name="length">K.</param>
    /// <param name="second">True to keep a second view's keys too.</param>
    /// <param name="seed">Seed of the random vectors.</param>
    /// <param name="device">Where the queue lives.</param>
    /// <param name="secondDim">Length of a second view's key; <paramref name="dim"/> when null.</param>
    public KeyQueue(int dim, int length, bool second = false, long seed = 0, Device? device = null, int? secondDim = null)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(dim, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(length, 1);
        TorchRuntime.Initialize();
        device ??= CPU;
        Length = length;
        using var generator = new Generator((ulong)seed, CPU);
        Keys = RandomUnitVectors(dim, length, generator, device);
        SecondKeys = second ? RandomUnitVectors(secondDim ?? dim, length, generator, device) : null;
        Videos = full([length], -1L, ScalarType.Int64, device).DetachFromDisposeScope();
        Labels = full([length], -1L, ScalarType.Int64, device).DetachFromDisposeScope();
        _writtenAt = full([length], -1L, ScalarType.Int64, device).DetachFromDisposeScope();
    }

    /// <summary>K.</summary>
    public int Length { get; }

    /// <summary>Keys [dim,K]; enqueueing writes them in place.</summary>
    public Tensor Keys { get; }

    /// <summary>Keys of the second view [dim,K] (or [secondDim,K]), if kept.</summary>
    public Tensor? SecondKeys { get; }

    /// <summary>Source video of each entry, int64 [K]; -1 where empty.</summary>
    public Tensor Videos { get; }

    /// <summary>Label of each entry, int64 [K]; -1 where empty or unknown.</summary>
    public Tensor Labels { get; }

    /// <summary>Step that wrote each entry, int64 [K]; -1 where empty.</summary>
    public Tensor WrittenAt => _writtenAt;

    /// <summary>The next column to be written.</summary>
    public int Next => _pointer;

    /// <summary>Entries written so far, at most K.</summary>
    public int Count => _count;

    /// <summary>True once every entry was written; ask before enqueueing the batch at hand, as the reference does.</summary>
    public bool IsFull => _count == Length;

    /// <summary>Replaces the oldest entries by a batch.</summary>
    /// <param name="keys">[B,dim]; batches fill the queue exactly, as the manifest's rules demand (queueSize is a multiple of
    /// batchSize).</param>
    /// <param name="secondKeys">[B,dim]; needed exactly when the queue keeps a second view.</param>
    /// <param name="videos">int64 [B] or null.</param>
    /// <param name="labels">int64 [B] or null for unknown.</param>
    /// <param name="step">The training step, for <see cref="Age"/>.</param>
    /// <exception cref="ArgumentException">Shapes do not fit, or the second keys are missing or unexpected.</exception>
    public void Enqueue(Tensor keys, Tensor? secondKeys = null, Tensor? videos = null, Tensor? labels = null, long step = 0)
    {
        ArgumentNullException.ThrowIfNull(keys);
        int batch = (int)keys.shape[0];
        RequireRoom(batch);
        if ((SecondKeys is null) != (secondKeys is null))
        {
            throw new ArgumentException(
                SecondKeys is null ? "This queue keeps no second view." : "The second view's keys are missing.", nameof(secondKeys));
        }

        using var frozen = no_grad();
        using var scope = NewDisposeScope();
        Keys.narrow(1, _pointer, batch).copy_(keys.t());
        SecondKeys?.narrow(1, _pointer, batch).copy_(secondKeys!.t());
        Set(Videos, videos);
        Set(Labels, labels);
        _writtenAt.narrow(0, _pointer, batch).fill_(step);
        _pointer = (_pointer + batch) % Length;
        _count = Math.Min(Length, _count + batch);

        void Set(Tensor target, Tensor? values)
        {
            Tensor part = target.narrow(0, _pointer, batch);
            _ = values is null ? part.fill_(-1L) : part.copy_(values);
        }
    }

    /// <summary>
    /// Which column the next batch will write for each of its clips: where a clip meets its own key when the batch is enqueued before the
    /// comparison.
    /// </summary>
    /// <param name="batch">B.</param>
    /// <returns>Boolean [B,K], one true in each row.</returns>
    public Tensor OwnColumns(int batch)
    {
        RequireRoom(batch);
        using var scope = NewDisposeScope();
        Tensor own = zeros(batch, Length, ScalarType.Bool, Keys.device);
        own.narrow(1, _pointer, batch).diagonal().fill_(true);
        return own.MoveToOuterDisposeScope();
    }

    /// <summary>Steps since each entry was written, int64 [K]; meaningless where empty.</summary>
    /// <param name="step">The present step.</param>
    public Tensor Age(long step)
    {
        using var scope = NewDisposeScope();
        return _writtenAt.neg().add(step).MoveToOuterDisposeScope();
    }

    /// <summary>The state by name, for a checkpoint. The tensors are the queue's own (not copies), except the scalars.</summary>
    /// <returns><c>keys</c>, <c>second_keys</c> if kept, <c>videos</c>, <c>labels</c>, <c>written_at</c>, <c>pointer</c>,
    /// <c>count</c>.</returns>
    public IReadOnlyDictionary<string, Tensor> State()
    {
        var state = new Dictionary<string, Tensor>
        {
            ["keys"] = Keys,
            ["videos"] = Videos,
            ["labels"] = Labels,
            ["written_at"] = _writtenAt,
            ["pointer"] = tensor((long)_pointer),
            ["count"] = tensor((long)_count),
        };
        if (SecondKeys is not null)
        {
            state["second_keys"] = SecondKeys;
        }

        return state;
    }

    /// <summary>Takes over a state of <see cref="State"/>.</summary>
    /// <param name="state">By name; further entries are ignored.</param>
    /// <exception cref="ArgumentException">An entry is missing or has another shape.</exception>
    public void Load(IReadOnlyDictionary<string, Tensor> state)
    {
        ArgumentNullException.ThrowIfNull(state);
        using var frozen = no_grad();
        Copy("keys", Keys);
        if (SecondKeys is not null)
        {
            Copy("second_keys", SecondKeys);
        }

        Copy("videos", Videos);
        Copy("labels", Labels);
        Copy("written_at", _writtenAt);
        _pointer = (int)Find("pointer").to(CPU).item<long>();
        _count = (int)Find("count").to(CPU).item<long>();

        Tensor Find(string name) => state.TryGetValue(name, out var value)
            ? value
            : throw new ArgumentException($"The queue's state lacks '{name}'.", nameof(state));
        void Copy(string name, Tensor target)
        {
            var value = Find(name);
            if (!value.shape.SequenceEqual(target.shape))
            {
                throw new ArgumentException(
                    $"The queue's '{name}' has shape [{string.Join(',', value.shape)}], expected [{string.Join(',', target.shape)}].",
                    nameof(state));
            }

            target.copy_(value);
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        Keys.Dispose();
        SecondKeys?.Dispose();
        Videos.Dispose();
        Labels.Dispose();
        _writtenAt.Dispose();
    }

    private void RequireRoom(int batch)
    {
        if (batch < 1 || _pointer + batch > Length)
        {
            throw new ArgumentException($"A batch of {batch} does not fit the {Length - _pointer} entries up to the end of a queue of "
                + $"{Length}: its length must be a multiple of the batch.");
        }
    }

    private static Tensor RandomUnitVectors(int dim, int length, Generator generator, Device device)
    {
        using var scope = NewDisposeScope();
        return nn.functional.normalize(randn(dim, length, generator: generator), 2, 0).to(device).DetachFromDisposeScope();
    }
}
