// Why this exists: a stage graph for eyes (text), for documents (Mermaid) and for programs (JSON).
using System.Text;
using CoCLR.Core.Manifests;
using CoCLR.Core.Planning;

namespace CoCLR.Cli.Terminal;

internal static class PlanText
{
    /// <summary>One line a stage.</summary>
    public static string Describe(StagePlan plan)
    {
        int width = plan.Stages.Max(s => s.Name.Length);
        return $"{plan.Experiment}: {plan.Stages.Count} stages (run {plan.Run})\n"
            + string.Join('\n', plan.Stages.Select(s => $"  {s.Name.PadRight(width)}  {What(s)}"))
            + string.Concat(ClipShape.Warnings(plan.Spec).Select(w => $"\nwarning: {w}"));
    }

    /// <summary>A Mermaid flow chart.</summary>
    public static string Mermaid(StagePlan plan)
    {
        var text = new StringBuilder("flowchart LR\n");
        foreach (Stage stage in plan.Stages)
        {
            text.Append("  ").Append(stage.Name).Append("[\"").Append(stage.Name)
                .Append(stage.Epochs is { } epochs ? $"<br/>{epochs} epochs" : "").Append("\"]\n");
            foreach (string from in stage.DependsOn)
            {
                string label = from == stage.InitializeFrom
                    ? "|weights|"
                    : from == stage.MineWith
                    ? "|mines|"
                    : from == stage.Evaluates
                    ? "|measures|"
                    : "";
                text.Append("  ").Append(from).Append(" -->").Append(label).Append(' ').Append(stage.Name).Append('\n');
            }
        }

        return text.ToString().TrimEnd();
    }

    private static string What(Stage stage)
    {
        var parts = new List<string>();
        if (stage.Epochs is { } epochs)
        {
            parts.Add($"{epochs} epochs");
        }

        if (stage.InitializeFrom != null)
        {
            parts.Add($"from {stage.InitializeFrom}");
        }

        if (stage.MineWith != null)
        {
            parts.Add($"mines with {stage.MineWith}");
        }

        if (stage.Evaluates != null)
        {
            parts.Add($"measures {stage.Evaluates}");
        }

        if (stage.Joint)
        {
            parts.Add("both views learn together");
        }

        string[] rest = [.. stage.DependsOn.Except(new[] { stage.InitializeFrom, stage.MineWith, stage.Evaluates }.OfType<string>())];
        if (rest.Length > 0)
        {
            parts.Add($"after {string.Join(", ", rest)}");
        }

        return string.Join("; ", parts);
    }
}
