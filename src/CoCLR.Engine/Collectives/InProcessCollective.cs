// Why this exists: the training of several ranks is tested in one process, where a debugger sees all of them.
using System.Diagnostics;
using static TorchSharp.torch;

namespace CoCLR.Engine.Collectives;

/// <summary>Ranks that are threads of one process and exchange tensors in memory.</summary>
public sealed class InProcessCollective : ICollective
{
    private readonly Meeting _meeting;

    private InProcessCollective(Meeting meeting, int rank) => (_meeting, Rank) = (meeting, rank);

    /// <inheritdoc/>
    public int Rank { get; }

    /// <inheritdoc/>
    public int World => _meeting.Brought.Length;

    /// <inheritdoc/>
    public string Transport => "memory";

    /// <inheritdoc/>
    public CollectiveUse Use { get; private set; }

    /// <summary>The ranks of a new group; each is for one thread.</summary>
    /// <param name="world">How many.</param>
    public static InProcessCollective[] Create(int world)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(world, 1);
        var meeting = new Meeting(world);
        return [.. Enumerable.Range(0, world).Select(rank => new InProcessCollective(meeting, rank))];
    }

    /// <inheritdoc/>
    public void AllReduceSum(Tensor tensor) => Exchange(tensor, brought =>
    {
        var sum = new PairwiseSum();
        foreach (Tensor each in brought)
        {
            sum.Add([each.clone()]);
        }

        return sum.Take()[0];
    }).CopyInto(tensor);

    /// <inheritdoc/>
    public Tensor AllGather(Tensor own) => Exchange(own, brought => cat(brought, 0)).Value.clone();

    /// <inheritdoc/>
    public void Broadcast(Tensor tensor) => Exchange(tensor, brought => brought[0].clone()).CopyInto(tensor);

    /// <inheritdoc/>
    public void Barrier() => Exchange(null, _ => null);

    /// <inheritdoc/>
    public void Abort(string why) => _meeting.Abort($"Rank {Rank} of {World} has given up: {why}");

    /// <inheritdoc/>
    public void Dispose() => _meeting.Abort($"Rank {Rank} of {World} has ended.");

    private Outcome Exchange(Tensor? own, Func<Tensor[], Tensor?> make)
    {
        long begun = Stopwatch.GetTimestamp();
        Tensor? made = _meeting.Meet(Rank, own?.detach(), make);
        Use = Use.Plus(own is null ? 0 : own.numel() * own.element_size(), begun);
        return new Outcome(made);
    }

    private readonly record struct Outcome(Tensor? Made)
    {
        public Tensor Value => Made!;

        public void CopyInto(Tensor target)
        {
            using var frozen = no_grad();
            target.copy_(Value);
        }
    }

    /// <summary>Where all ranks bring a tensor and take away what the last of them has made of all.</summary>
    private sealed class Meeting(int world)
    {
        private readonly object _gate = new();
        private int _present;
        private long _round;
        private Tensor? _made;
        private string? _aborted;

        public Tensor?[] Brought { get; } = new Tensor?[world];

        public Tensor? Meet(int rank, Tensor? own, Func<Tensor[], Tensor?> make)
        {
            lock (_gate)
            {
                ThrowIfAborted();
                Brought[rank] = own;
                if (++_present < world)
                {
                    long round = _round;
                    while (round == _round)
                    {
                        ThrowIfAborted();
                        Monitor.Wait(_gate);
                    }

                    return _made;
                }

                // What the round before made is no longer used: all are here again.
                _made?.Dispose();
                _made = make([.. Brought.Select(b => b!)])?.DetachFromDisposeScope();
                (_present, _round) = (0, _round + 1);
                Monitor.PulseAll(_gate);
                return _made;
            }
        }

        public void Abort(string why)
        {
            lock (_gate)
            {
                _aborted ??= why;
                Monitor.PulseAll(_gate);
            }
        }

        private void ThrowIfAborted()
        {
            if (_aborted is { } why)
            {
                throw new RankLostException(why);
            }
        }
    }
}
