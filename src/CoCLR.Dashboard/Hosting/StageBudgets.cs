// Why this exists: whether a training stage waits for data, computes, or is busy with something else decides what to change; wall time
// alone does not say it.
using System.Globalization;
using CoCLR.Core.Events;
using CoCLR.Dashboard.Formatting;
using CoCLR.Dashboard.Storage;

namespace CoCLR.Dashboard.Hosting;

/// <summary>A part of a stage's time.</summary>
/// <param name="Css">Its class.</param>
/// <param name="Share">Share of the whole, a fraction.</param>
/// <param name="Words">What it is, with its time.</param>
public sealed record BudgetPart(string Css, double Share, string Words)
{
    /// <summary>The share in percent, for a style.</summary>
    public string Percent => (Share * 100).ToString("0.##", CultureInfo.InvariantCulture);
}

/// <summary>Where the time of a stage went.</summary>
/// <param name="Stage">Stage.</param>
/// <param name="Parts">Its parts, the largest shares of what can be told apart.</param>
public sealed record StageBudget(string Stage, IReadOnlyList<BudgetPart> Parts)
{
    /// <summary>All parts in words.</summary>
    public string Words => string.Join(", ", Parts.Select(p => p.Words));
}

/// <summary>Adds times up.</summary>
internal static class StageBudgets
{
    private static readonly string[] Names = [MetricNames.StepSeconds, MetricNames.WaitShare, MetricNames.MonitorSeconds];

    /// <summary>Budgets of the stages that told the time of their steps.</summary>
    /// <param name="run">The run.</param>
    /// <param name="store">Where its curves are.</param>
    public static IReadOnlyList<StageBudget> Of(RunInfo run, RunStore store)
    {
        ILookup<string, Curve> curves = store.Curves(run.Run, (_, n) => Names.Contains(n), 5000).Curves.ToLookup(c => c.Stage);
        return [.. run.Stages.Select(s => Of(s, curves[s.Name])).OfType<StageBudget>()];
    }

    private static StageBudget? Of(StageInfo stage, IEnumerable<Curve> curves)
    {
        double[] Values(string name) => [.. curves.Where(c => c.Name == name).SelectMany(c => c.Values).OfType<double>()];
        double[] steps = Values(MetricNames.StepSeconds), waits = Values(MetricNames.WaitShare);
        double all = Text.AtWork(stage);
        if (steps.Length == 0 || stage.Step is not > 0 || all <= 0)
        {
            return null;
        }

        // Told every few steps: their mean stands for the steps between.
        double training = Math.Min(all, steps.Average() * stage.Step.Value);
        double waiting = training * (waits.Length > 0 ? Math.Clamp(waits.Average(), 0, 1) : 0);
        double watching = Math.Min(all - training, Values(MetricNames.MonitorSeconds).Sum());
        return new StageBudget(stage.Name,
        [
            .. new[]
            {
                Part("compute", training - waiting, "computing"), Part("wait", waiting, "waiting for data"),
                Part("watch", watching, "looking at the representation"),
                Part("rest", all - training - watching, "start, checkpoints and the rest"),
            }.Where(p => p.Share >= 0.001),
        ]);

        BudgetPart Part(string css, double seconds, string what) => new(css, seconds / all,
            $"{what} {Text.Duration(seconds)} ({(100 * seconds / all).ToString("0.#", CultureInfo.InvariantCulture)} %)");
    }
}
