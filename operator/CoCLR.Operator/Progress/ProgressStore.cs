// Why this exists: what pods push between two status writes; bounded, in memory only, because the next push brings it again.
using System.Collections.Concurrent;

namespace CoCLR.Operator.Progress;

/// <summary>The newest report of each stage of each experiment.</summary>
public sealed class ProgressStore
{
    private const int MaximumStages = 64;
    private static readonly IReadOnlyDictionary<string, StageReport> Nothing = new Dictionary<string, StageReport>();
    private readonly ConcurrentDictionary<string, ConcurrentDictionary<string, StageReport>> _reports = new();

    /// <summary>Reports of an experiment, by stage.</summary>
    /// <param name="uid">Unique id of the experiment.</param>
    public IReadOnlyDictionary<string, StageReport> Of(string uid) =>
        _reports.TryGetValue(uid, out ConcurrentDictionary<string, StageReport>? found) ? found.ToDictionary() : Nothing;

    /// <summary>Keeps a report, unless it is of an attempt before that of the report that is kept.</summary>
    /// <param name="uid">Unique id of the experiment.</param>
    /// <param name="stage">Stage.</param>
    /// <param name="report">Report.</param>
    public void Put(string uid, string stage, StageReport report)
    {
        ConcurrentDictionary<string, StageReport> stages = _reports.GetOrAdd(uid, _ => new());
        StageReport? before = stages.GetValueOrDefault(stage);
        if (before == null ? stages.Count < MaximumStages : !report.IsOlderAttempt(before))
        {
            stages[stage] = before != null && report.StandsAt(before) ? report with { MovedAt = before.MovedAt } : report;
        }
    }

    /// <summary>Forgets an experiment.</summary>
    /// <param name="uid">Its unique id.</param>
    public void Forget(string uid) => _reports.TryRemove(uid, out _);
}
