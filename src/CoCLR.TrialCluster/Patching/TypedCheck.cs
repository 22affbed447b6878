// Why this exists: server-side apply first reads what was sent as a typed value; an unknown field, a wrong type or a key that comes twice
// ends in a 500 there, not in a validation error.
using System.Globalization;
using System.Text.Json.Nodes;

namespace CoCLR.TrialCluster;

/// <summary>The check of applied configurations against the schema, in the words of structured-merge-diff.</summary>
public static class TypedCheck
{
    /// <summary>Checks an applied configuration.</summary>
    /// <param name="kind">Its kind.</param>
    /// <param name="config">The configuration.</param>
    /// <exception cref="ApiException">It does not fit (500).</exception>
    public static void Check(ResourceDefinition kind, JsonObject config)
    {
        var errors = new List<string>();
        foreach (var (name, value) in config)
        {
            if (name is "apiVersion" or "kind")
            {
                continue;
            }

            if (name == "metadata")
            {
                Walk(value, BuiltInSchemas.Of(typeof(k8s.Models.V1ObjectMeta)), ".metadata", errors);
            }
            else if (kind.Schema.Properties.TryGetValue(name, out var property))
            {
                Walk(value, property, "." + name, errors);
            }
            else if (!kind.Schema.PreserveUnknownFields)
            {
                errors.Add($".{name}: field not declared in schema");
            }
        }

        if (errors.Count > 0)
        {
            errors.Sort(StringComparer.Ordinal);
            var what = $"{config.Text("metadata", "namespace")}/{config.Text("metadata", "name")}; "
                + $"{(kind.Group.Length == 0 ? "/" + kind.Version : kind.ApiVersion)}, Kind={kind.Kind}";
            throw new ApiException(500, "", $"failed to create typed patch object ({what}): "
                + $"{(errors.Count == 1 ? errors[0] : "errors:\n" + string.Join('\n', errors.Select(e => "  " + e)))}");
        }
    }

    private static void Walk(JsonNode? node, Schema schema, string path, List<string> errors)
    {
        if (node is null || schema.IntOrString || schema.Type is null)
        {
            return;
        }

        switch (schema.Type)
        {
            case "object" when node is JsonObject o:
                foreach (var (name, value) in o)
                {
                    if (schema.Properties.TryGetValue(name, out var property))
                    {
                        Walk(value, property, $"{path}.{name}", errors);
                    }
                    else if (schema.AdditionalProperties is { } more)
                    {
                        Walk(value, more, $"{path}.{name}", errors);
                    }
                    else if (!schema.PreserveUnknownFields && !schema.AdditionalPropertiesAllowed && schema.Properties.Count > 0)
                    {
                        errors.Add($"{path}.{name}: field not declared in schema");
                    }
                }

                break;
            case "object":
                errors.Add($"{path}: expected map, got &{{{Go(node)}}}");
                break;
            case "array" when node is JsonArray list:
                Elements(list, schema, path, errors);
                break;
            case "array":
                errors.Add($"{path}: expected list, got &{{{Go(node)}}}");
                break;
            case "string" when Json.TypeName(node) != "string":
                errors.Add($"{path}: expected string, got &value.valueUnstructured{{Value:{Go(node)}}}");
                break;
            case "boolean" when Json.TypeName(node) != "boolean":
                errors.Add($"{path}: expected boolean, got &{{{Go(node)}}}");
                break;
            case "integer" or "number" when Json.TypeName(node) is not ("integer" or "number"):
                errors.Add($"{path}: expected numeric (int or float), got {Json.TypeName(node)}");
                break;
        }
    }

    private static void Elements(JsonArray list, Schema schema, string path, List<string> errors)
    {
        var seen = new HashSet<string>(StringComparer.Ordinal);
        for (var i = 0; i < list.Count; i++)
        {
            var at = $"{path}[{i.ToString(CultureInfo.InvariantCulture)}]";
            if (schema.ListType == "set")
            {
                at = $"{path}[={Text(list[i])}]";
            }
            else if (schema.ListType == "map")
            {
                var keys =
                    schema.ListMapKeys.Select(k => (Key: k, Value: list[i].At(k) ?? schema.Items?.Properties.GetValueOrDefault(k)?.Default))
                    .Where(k => k.Value is not null).ToList();
                if (keys.Count == 0)
                {
                    errors.Add($"{path}: element {i.ToString(CultureInfo.InvariantCulture)}: associative list with keys has an element "
                        + $"that omits all key fields [{string.Join(" ", schema.ListMapKeys.Select(k => $"\"{k}\""))}] (and doesn't have "
                            + $"default values for any key fields)");
                    continue;
                }

                at = $"{path}[{string.Join(',', keys.Select(k => $"{k.Key}={Text(k.Value)}"))}]";
            }

            if (schema.ListType is "set" or "map" && !seen.Add(at))
            {
                errors.Add($"{path}: duplicate entries for key {at[path.Length..]}");
            }

            if (schema.Items is { } items)
            {
                Walk(list[i], items, at, errors);
            }
        }
    }

    private static string Text(JsonNode? node) => node?.ToJsonString(Json.Options) ?? "null";

    // As Go prints a value.
    private static string Go(JsonNode? node) => node switch
    {
        null => "<nil>",
        JsonObject o => $"map[{string.Join(' ', o.OrderBy(p => p.Key, StringComparer.Ordinal).Select(p => $"{p.Key}:{Go(p.Value)}"))}]",
        JsonArray a => $"[{string.Join(' ', a.Select(Go))}]",
        _ => Json.TypeName(node) == "string" ? node.GetValue<string>() : node.ToJsonString(),
    };
}
