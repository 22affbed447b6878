// Why this exists: a run that does not learn must not cost a night: this says so in words, with what to try.
using System.Globalization;
using CoCLR.Core.Events;
using CoCLR.Core.Planning;
using CoCLR.Dashboard.Storage;

namespace CoCLR.Dashboard.Hosting;

/// <summary>Whether training goes well.</summary>
internal static class RunHealth
{
    /// <summary>What is wrong with the training of a run, a sentence each.</summary>
    /// <param name="run">The run.</param>
    /// <param name="store">Where its curves are.</param>
    public static IEnumerable<string> Of(RunInfo run, RunStore store)
    {
        foreach (StageInfo stage in run.Stages.Where(s => s.Phase is StagePhase.Running or StagePhase.Stopped or StagePhase.Failed))
        {
            if (stage.Latest.TryGetValue(MetricNames.Loss, out double loss) && !double.IsFinite(loss))
            {
                string what = double.IsNaN(loss) ? "NaN" : "infinite";
                string since =
                    Since(run.Run, stage.Name, store) is { } step ? string.Create(CultureInfo.InvariantCulture, $" since step {step}") : "";
                yield return $"{stage.Name}: the loss is {what}{since}, so nothing is learned any more. Try a lower "
                    + $"training.optimizer.learningRate, or "
                    + "more training.optimizer.warmupEpochs.";
            }

            if (stage.Latest.TryGetValue(MetricNames.MonitorCollapsed, out double collapsed) && collapsed > 0)
            {
                yield return $"{stage.Name}: the representation has collapsed, all embeddings are alike. Stop it, and try a lower "
                    + $"training.optimizer.learningRate, a larger "
                    + "training.queueSize or training.batchSize, or a higher training.temperature.";
            }
        }
    }

    /// <summary>The step from which on no loss was finite.</summary>
    private static long? Since(string run, string stage, RunStore store)
    {
        Curve? curve = store.Curves(run, (s, n) => s == stage && n == MetricNames.Loss).Curves.MaxBy(c => c.Attempt);
        long? first = null;
        for (int i = (curve?.Steps.Length ?? 0) - 1; i >= 0 && curve!.Values[i] is null; i--)
        {
            first = curve.Steps[i];
        }

        return first;
    }
}
