// Why this exists: what an epoch is reported with must be the same whether or not the training was interrupted in it.
using System.Globalization;
using CoCLR.Core.Events;
using CoCLR.Core.Results;

namespace CoCLR.Engine.Training;

/// <summary>Means over an epoch, kept exactly over a resume.</summary>
internal sealed class RunningMeans
{
    private readonly Dictionary<string, double> _sums = [];
    private readonly Dictionary<string, double> _counts = [];
    private readonly Dictionary<string, double> _last = [];

    /// <summary>Quality of mining by epoch.</summary>
    public List<MiningQuality> Mining { get; } = [];

    /// <summary>Adds a step's numbers; those that are not finite do not count.</summary>
    public void Add(StepReading reading)
    {
        foreach ((string name, double value) in reading.Values.Where(v => v.Key != MetricNames.GradientNorm && double.IsFinite(v.Value)))
        {
            _sums[name] = _sums.GetValueOrDefault(name) + value;
            _counts[name] = _counts.GetValueOrDefault(name) + 1;
        }
    }

    public void EndEpoch(int epoch)
    {
        _last.Clear();
        foreach ((string name, double sum) in _sums)
        {
            _last[name] = sum / _counts[name];
        }

        AddMining(epoch);
        _sums.Clear();
        _counts.Clear();
    }

    public double LastEpoch(string name) => _last.GetValueOrDefault(name);

    public IEnumerable<KeyValuePair<string, double>> State() =>
        _sums.Select(s => KeyValuePair.Create("sum:" + s.Key, s.Value))
            .Concat(_counts.Select(s => KeyValuePair.Create("count:" + s.Key, s.Value)))
            .Concat(_last.Select(s => KeyValuePair.Create("last:" + s.Key, s.Value)))
            .Concat(Mining.SelectMany(m => new[]
            {
                KeyValuePair.Create($"mining:{m.Epoch}:precision", m.Precision ?? double.NaN),
                KeyValuePair.Create($"mining:{m.Epoch}:agreement", m.Agreement ?? double.NaN),
                KeyValuePair.Create($"mining:{m.Epoch}:age", m.MeanQueueAge),
            }));

    public void Load(IReadOnlyDictionary<string, double> state)
    {
        foreach ((string key, double value) in state)
        {
            string[] parts = key.Split(':', 2);
            switch (parts[0])
            {
                case "sum": _sums[parts[1]] = value; break;
                case "count": _counts[parts[1]] = value; break;
                case "last": _last[parts[1]] = value; break;
            }
        }

        foreach (string key in state.Keys.Where(k => k.StartsWith("mining:", StringComparison.Ordinal) && k.EndsWith(":precision", StringComparison.Ordinal)))
        {
            int epoch = int.Parse(key.Split(':')[1], CultureInfo.InvariantCulture);
            Mining.Add(Quality(epoch, state[key], state[$"mining:{epoch}:agreement"], state[$"mining:{epoch}:age"]));
        }

        Mining.Sort((a, b) => a.Epoch.CompareTo(b.Epoch));
    }

    private void AddMining(int epoch)
    {
        if (_last.TryGetValue(MetricNames.MiningAgreement, out double agreement))
        {
            Mining.Add(
                Quality(
                    epoch,
                    _last.GetValueOrDefault(MetricNames.MiningPrecision, double.NaN),
                    agreement,
                    _last.GetValueOrDefault(MetricNames.MiningAge)));
        }
    }

    private static MiningQuality Quality(int epoch, double precision, double agreement, double age) => new()
    {
        Epoch = epoch,
        Precision = double.IsFinite(precision) ? precision : null,
        Agreement = double.IsFinite(agreement) ? agreement : null,
        MeanQueueAge = age,
    };
}
