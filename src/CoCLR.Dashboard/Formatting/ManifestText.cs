// Why this exists: a run's manifest as YAML that can be copied, compared and started again; made from the plan, which holds the whole spec.
using System.Text.Json;
using System.Text.Json.Nodes;
using CoCLR.Core;
using CoCLR.Core.Manifests;
using CoCLR.Core.Planning;
using CoCLR.Dashboard.Storage;

namespace CoCLR.Dashboard.Formatting;

/// <summary>Manifests as text.</summary>
internal static class ManifestText
{
    /// <summary>The manifest of a run; empty without a readable plan.</summary>
    public static string Of(RunInfo run) => Plan(run) is { } plan ? ManifestWriter.Of(plan.Experiment, plan.Spec) : "";

    /// <summary>The plan of a run, or null.</summary>
    public static StagePlan? Plan(RunInfo run)
    {
        try
        {
            return run.PlanJson == null ? null : JsonSerializer.Deserialize<StagePlan>(run.PlanJson, CoclrJson.Compact);
        }
        catch (JsonException)
        {
            return null;
        }
    }

    /// <summary>Every field of a spec with its value, by path.</summary>
    public static IReadOnlyDictionary<string, string> Flat(RunInfo run)
    {
        var fields = new SortedDictionary<string, string>(StringComparer.Ordinal);
        if (Plan(run) is { } plan)
        {
            Walk("", JsonSerializer.SerializeToNode(plan.Spec, CoclrJson.Compact));
        }

        return fields;

        void Walk(string path, JsonNode? node)
        {
            if (node is JsonObject map)
            {
                foreach ((string name, JsonNode? value) in map)
                {
                    Walk(path.Length == 0 ? name : $"{path}.{name}", value);
                }
            }
            else
            {
                fields[path] = node is JsonArray list ? string.Join(", ", list.Select(i => i?.ToString())) : node?.ToString() ?? "";
            }
        }
    }
}
