// Why this exists: everything that a run measured, as points, for other tools: from the events of all stages and attempts.
using CoCLR.Core.Events;
using CoCLR.Core.Planning;
using CoCLR.Runs;

namespace CoCLR.Engine.Exports;

/// <summary>One measured number.</summary>
/// <param name="Stage">Name of the stage.</param>
/// <param name="Attempt">Attempt of the stage, from 1.</param>
/// <param name="Step">Optimizer step, from 0.</param>
/// <param name="Epoch">Epoch, with its fraction; null outside training.</param>
/// <param name="Time">When (UTC).</param>
/// <param name="Name">What, one of <see cref="MetricNames"/>.</param>
/// <param name="Value">The number; NaN and infinities are kept.</param>
public sealed record MetricPoint(string Stage, int Attempt, long Step, double? Epoch, DateTimeOffset Time, string Name, double Value);

/// <summary>Reads the points of a run folder.</summary>
public static class RunPoints
{
    /// <summary>
    /// All points in the order of the plan, then of time. A step that a resumed attempt did again is there once for each attempt.
    /// </summary>
    /// <param name="folder">A run folder.</param>
    /// <exception cref="Core.UserErrorException">There is no plan (66) or it is damaged (65).</exception>
    public static IEnumerable<MetricPoint> Read(RunFolder folder)
    {
        ArgumentNullException.ThrowIfNull(folder);
        foreach (Stage stage in RunFolder.ReadPlan(folder.PlanFile).Stages)
        {
            string file = folder.EventsFile(stage.Name);
            foreach (MetricEvent metric in File.Exists(file) ? File.ReadLines(file).Select(Metric).OfType<MetricEvent>() : [])
            {
                foreach ((string name, double value) in metric.Values)
                {
                    yield return new MetricPoint(stage.Name, metric.Attempt, metric.Step, metric.Epoch, metric.Time, name, value);
                }
            }
        }
    }

    /// <summary>The points that count: of a step that was done again, the newest.</summary>
    /// <param name="points">All points.</param>
    public static IEnumerable<MetricPoint> Newest(IEnumerable<MetricPoint> points) =>
        points.GroupBy(p => (p.Stage, p.Name, p.Step)).Select(same => same.MaxBy(p => p.Attempt)!).OrderBy(p => p.Step);

    private static MetricEvent? Metric(string line) =>
        line.Contains("\"metric\"", StringComparison.Ordinal) ? EventLine.Parse(line) as MetricEvent : null;
}
