// Why this exists: a run's manifest as YAML that can be copied, compared and started again; made from the plan, which holds the whole spec.
using System.Text.Json;
using System.Text.Json.Nodes;
using CoCLR.Core;
using CoCLR.Core.Manifests;
using CoCLR.Core.Planning;
using CoCLR.Dashboard.Storage;
using YamlDotNet.Serialization;

namespace CoCLR.Dashboard.Formatting;

/// <summary>Manifests as text.</summary>
internal static class ManifestText
{
    private static readonly ISerializer Yaml = new SerializerBuilder().WithQuotingNecessaryStrings(quoteYaml1_1Strings: true).DisableAliases().Build();

    /// <summary>The manifest of a run; empty without a readable plan.</summary>
    public static string Of(RunInfo run)
    {
        if (Plan(run) is not { } plan)
        {
            return "";
        }

        JsonObject defaults = JsonSerializer.SerializeToNode(new ExperimentSpec(), CoclrJson.Compact)!.AsObject();
        JsonObject spec = JsonSerializer.SerializeToNode(plan.Spec, CoclrJson.Compact)!.AsObject();
        JsonObject rest = Without(spec, defaults);

        // What a person looks for first is said even where it is the default.
        (rest["training"] as JsonObject ?? (rest["training"] = new JsonObject()).AsObject())["method"] = spec["training"]!["method"]!.DeepClone();
        return Write(plan.Experiment, ApiNames.Experiment, rest);
    }

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

    /// <summary>A manifest as YAML.</summary>
    public static string Write(string name, string kind, JsonObject spec) => Yaml.Serialize(new Dictionary<string, object?>
    {
        ["apiVersion"] = ApiNames.ApiVersion,
        ["kind"] = kind,
        ["metadata"] = new Dictionary<string, object?> { ["name"] = name },
        ["spec"] = Plain(spec),
    });

    /// <summary>A spec without the fields that say what would hold anyway.</summary>
    public static JsonObject Without(JsonObject spec, JsonObject defaults)
    {
        var rest = new JsonObject();
        foreach ((string name, JsonNode? value) in spec)
        {
            JsonNode? usual = defaults[name];
            if (value is JsonObject map && usual is JsonObject usualMap)
            {
                JsonObject inner = Without(map, usualMap);
                if (inner.Count > 0)
                {
                    rest[name] = inner;
                }
            }
            else if (!JsonNode.DeepEquals(value, usual))
            {
                rest[name] = value?.DeepClone();
            }
        }

        return rest;
    }

    private static object? Plain(JsonNode? node) => node switch
    {
        JsonObject map => map.ToDictionary(p => p.Key, p => Plain(p.Value)),
        JsonArray list => list.Select(Plain).ToList(),
        JsonValue value when value.TryGetValue(out bool flag) => flag,
        JsonValue value when value.TryGetValue(out long number) => number,
        JsonValue value when value.TryGetValue(out double number) => number,
        JsonValue value => value.ToString(),
        _ => null,
    };
}
