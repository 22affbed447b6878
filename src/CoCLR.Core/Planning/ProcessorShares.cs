// Why this exists: two small networks that learn side by side on half the processors each are done sooner than one after the other on all
// of them. The shares follow from the plan alone: a stage that is resumed computes with as many threads as before, so its numbers stay the
// same.
namespace CoCLR.Core.Planning;

/// <summary>How many processors each stage of a local run gets.</summary>
public static class ProcessorShares
{
    /// <summary>
    /// Divides the processors among the training stages that do not wait for one another; every other stage has all of them to itself.
    /// </summary>
    /// <param name="plan">The plan.</param>
    /// <param name="processors">Processors of this machine.</param>
    /// <returns>Processors by stage name; stages may run at once while their sum is at most <paramref name="processors"/>.</returns>
    public static IReadOnlyDictionary<string, int> Of(StagePlan plan, int processors)
    {
        var before = new Dictionary<string, HashSet<string>>(StringComparer.Ordinal);
        foreach (Stage stage in plan.Stages)
        {
            before[stage.Name] = [.. stage.DependsOn.SelectMany(d => before[d].Append(d))];
        }

        return plan.Stages.ToDictionary(s => s.Name, s => Trains(s)
            ? Math.Max(
                1, processors / plan.Stages.Count(o => Trains(o) && !before[o.Name].Contains(s.Name) && !before[s.Name].Contains(o.Name)))
            : processors);
    }

    private static bool Trains(Stage stage) => stage.Kind is StageKind.Pretrain or StageKind.Cotrain;
}
