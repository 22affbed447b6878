// Why this exists: a number that is read makes the processor wait for the device; so a step's numbers stay there until somebody is told.
using CoCLR.Core.Events;
using CoCLR.Engine.Collectives;
using TorchSharp;
using static TorchSharp.torch;

namespace CoCLR.Engine.Training;

/// <summary>The numbers of one step.</summary>
/// <param name="Step">The step, from 0.</param>
/// <param name="LearningRate">Its learning rate.</param>
/// <param name="Values">By <see cref="MetricNames"/>.</param>
internal sealed record StepReading(long Step, double LearningRate, IReadOnlyDictionary<string, double> Values);

/// <summary>Numbers of steps that nobody has read yet, on the device; all of them leave it in one copy.</summary>
internal sealed class StepNumbers : IDisposable
{
    private readonly List<(long Step, double LearningRate, string[] Names, Tensor Values)> _unread = [];

    /// <summary>
    /// One set of numbers for a step of several shards, on all ranks: the means over its shards; of what was mined, over those that know
    /// any (a shard without labels has no precision).
    /// </summary>
    /// <param name="shards">The numbers of this rank's shards, scalars by name.</param>
    /// <param name="ranks">The ranks.</param>
    public static IReadOnlyDictionary<string, Tensor> Mean(IReadOnlyList<IReadOnlyDictionary<string, Tensor>> shards, ICollective ranks)
    {
        if (shards.Count == 1 && ranks.World == 1)
        {
            return shards[0];
        }

        using DisposeScope scope = NewDisposeScope();
        using var frozen = no_grad();
        string[] names = [.. shards[0].Keys];
        Tensor own = stack([.. shards.Select(shard => stack([.. names.Select(name => shard[name].detach().to_type(ScalarType.Float64))]))]);
        Tensor all = ranks.AllGather(own);
        return names.Select((name, i) => (name, Mean: Of(name, all.select(1, i)))).ToDictionary(n => n.name, n => n.Mean.MoveToOuterDisposeScope());

        static Tensor Of(string name, Tensor column)
        {
            if (!name.StartsWith(MetricNames.MiningPrefix, StringComparison.Ordinal))
            {
                return column.mean();
            }

            // NaN is the only number that is not itself. 0/0 is NaN again: no shard knows any.
            Tensor known = column.eq(column);
            return column.masked_fill(known.logical_not(), 0).sum() / known.sum().to_type(ScalarType.Float64);
        }
    }

    /// <summary>Keeps the numbers of a step.</summary>
    /// <param name="step">The step, from 0.</param>
    /// <param name="learningRate">Its learning rate.</param>
    /// <param name="numbers">Scalars on one device.</param>
    public void Note(long step, double learningRate, IEnumerable<KeyValuePair<string, Tensor>> numbers)
    {
        using DisposeScope scope = NewDisposeScope();
        using var frozen = no_grad();
        KeyValuePair<string, Tensor>[] all = [.. numbers];
        Tensor values = stack([.. all.Select(n => n.Value.detach().to_type(ScalarType.Float64))]);
        _unread.Add((step, learningRate, [.. all.Select(n => n.Key)], values.DetachFromDisposeScope()));
    }

    /// <summary>The numbers of every step since the last call, in order.</summary>
    public IReadOnlyList<StepReading> Read()
    {
        if (_unread.Count == 0)
        {
            return [];
        }

        using DisposeScope scope = NewDisposeScope();
        double[] values = cat([.. _unread.Select(u => u.Values)]).to(CPU).data<double>().ToArray();
        var readings = new List<StepReading>(_unread.Count);
        int at = 0;
        foreach ((long step, double rate, string[] names, _) in _unread)
        {
            readings.Add(new StepReading(step, rate, names.ToDictionary(name => name, _ => values[at++])));
        }

        Dispose();
        return readings;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _unread.ForEach(u => u.Values.Dispose());
        _unread.Clear();
    }
}
