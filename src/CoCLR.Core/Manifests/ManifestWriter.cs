// Why this exists: a manifest as YAML that can be copied, compared and started again, without what would hold anyway.
using System.Text.Json;
using System.Text.Json.Nodes;
using YamlDotNet.Serialization;

namespace CoCLR.Core.Manifests;

/// <summary>Writes manifests.</summary>
public static class ManifestWriter
{
    private static readonly ISerializer Yaml = new SerializerBuilder().WithQuotingNecessaryStrings(quoteYaml1_1Strings: true)
        .DisableAliases().Build();

    /// <summary>The manifest of an experiment.</summary>
    /// <param name="name">Name of the experiment.</param>
    /// <param name="experiment">Its spec.</param>
    public static string Of(string name, ExperimentSpec experiment)
    {
        ArgumentNullException.ThrowIfNull(experiment);
        JsonObject defaults = JsonSerializer.SerializeToNode(new ExperimentSpec(), CoclrJson.Compact)!.AsObject();
        JsonObject spec = JsonSerializer.SerializeToNode(experiment, CoclrJson.Compact)!.AsObject();
        JsonObject rest = Without(spec, defaults);

        // What a person looks for first is said even where it is the default.
        (rest["training"] as JsonObject ?? (rest["training"] = new JsonObject()).AsObject())["method"] =
            spec["training"]!["method"]!.DeepClone();
        return Write(name, ApiNames.Experiment, rest);
    }

    /// <summary>A manifest as YAML.</summary>
    /// <param name="name">Name of the object.</param>
    /// <param name="kind">Its kind.</param>
    /// <param name="spec">Its spec.</param>
    public static string Write(string name, string kind, JsonObject spec) => Yaml.Serialize(new Dictionary<string, object?>
    {
        ["apiVersion"] = ApiNames.ApiVersion,
        ["kind"] = kind,
        ["metadata"] = new Dictionary<string, object?> { ["name"] = name },
        ["spec"] = Plain(spec),
    });

    /// <summary>A spec without the fields that say what would hold anyway.</summary>
    private static JsonObject Without(JsonObject spec, JsonObject defaults)
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

    /// <summary>JSON as the maps, lists and scalars that a YAML serializer takes.</summary>
    internal static object? Plain(JsonNode? node) => node switch
    {
        JsonObject map => map.ToDictionary(p => p.Key, p => Plain(p.Value)),
        JsonArray list => list.Select(Plain).ToList(),
        JsonValue value when value.TryGetValue(out bool flag) => flag,
        JsonValue value when value.TryGetValue(out long number) => number,
        JsonValue value when value.TryGetValue(out int small) => small,
        JsonValue value when value.TryGetValue(out double number) => number,
        JsonValue value => value.ToString(),
        _ => null,
    };
}
