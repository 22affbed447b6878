// Why this exists: the three classic patch formats of the Kubernetes API: JSON patch, JSON merge patch and strategic merge patch.
using System.Globalization;
using System.Text.Json.Nodes;

namespace CoCLR.TrialCluster;

/// <summary>Patches that give a new object from an old one.</summary>
public static class Patches
{
    /// <summary>RFC 6902.</summary>
    public static JsonObject JsonPatch(JsonObject original, JsonNode? patch)
    {
        if (patch is not JsonArray operations)
        {
            throw ApiException.BadRequest("json: cannot unmarshal object into Go value of type jsonpatch.Patch");
        }

        JsonNode? result = original.DeepClone();
        foreach (var operation in operations)
        {
            var op = operation.Text("op") ?? "";
            var path = operation.Text("path") ?? throw ApiException.BadRequest("jsonpatch operation without path");
            switch (op)
            {
                case "add":
                    Add(ref result, path, operation.At("value")?.DeepClone());
                    break;
                case "remove":
                    Remove(ref result, path);
                    break;
                case "replace":
                    Find(result, path);
                    if (path.Length > 0)
                    {
                        Remove(ref result, path);
                    }

                    Add(ref result, path, operation.At("value")?.DeepClone());
                    break;
                case "test":
                    if (!Json.Same(Find(result, path), operation.At("value")))
                    {
                        throw Failed($"testing value {path} failed: test failed");
                    }

                    break;
                case "copy":
                case "move":
                    var from = operation.Text("from") ?? "";
                    var value = Find(result, from)?.DeepClone();
                    if (op == "move")
                    {
                        Remove(ref result, from);
                    }

                    Add(ref result, path, value);
                    break;
                default:
                    throw ApiException.BadRequest($"Unexpected kind: {op}");
            }
        }

        return result as JsonObject ?? throw ApiException.BadRequest("the patch does not give an object");
    }

    private static ApiException Failed(string message) =>
        new(422, "Invalid", $"the server rejected our request due to an error in our request: {message}", []);

    private static string[] Segments(string path) =>
        path.Length == 0 ? [] : [
            .. path[1..].Split('/')
                .Select(s => s.Replace("~1", "/", StringComparison.Ordinal).Replace("~0", "~", StringComparison.Ordinal))];

    private static JsonNode? Find(JsonNode? root, string path)
    {
        foreach (var segment in Segments(path))
        {
            root = root switch
            {
                JsonObject o when o.TryGetPropertyValue(segment, out var v) => v,
                JsonArray a when int.TryParse(segment, NumberStyles.None, CultureInfo.InvariantCulture, out var i) && i < a.Count => a[i],
                _ => throw Failed($"the path \"{path}\" does not exist"),
            };
        }

        return root;
    }

    private static (JsonNode Parent, string Last) Parent(JsonNode? root, string path)
    {
        var cut = path.LastIndexOf('/');
        if (cut < 0)
        {
            throw Failed($"the path \"{path}\" is not a pointer");
        }

        return (Find(root, path[..cut]) ?? throw Failed($"the path \"{path}\" does not exist"), Segments(path[cut..])[0]);
    }

    private static void Add(ref JsonNode? root, string path, JsonNode? value)
    {
        if (path.Length == 0)
        {
            root = value;
            return;
        }

        var (parent, last) = Parent(root, path);
        switch (parent)
        {
            case JsonObject o:
                o[last] = value;
                break;
            case JsonArray a when last == "-":
                a.Add(value);
                break;
            case JsonArray a when int.TryParse(last, NumberStyles.None, CultureInfo.InvariantCulture, out var i) && i <= a.Count:
                a.Insert(i, value);
                break;
            default:
                throw Failed($"add operation does not apply: doc is missing path: \"{path}\"");
        }
    }

    private static void Remove(ref JsonNode? root, string path)
    {
        var (parent, last) = Parent(root, path);
        switch (parent)
        {
            case JsonObject o when o.Remove(last):
                break;
            case JsonArray a when int.TryParse(last, NumberStyles.None, CultureInfo.InvariantCulture, out var i) && i < a.Count:
                a.RemoveAt(i);
                break;
            default:
                throw Failed($"remove operation does not apply: doc is missing path: \"{path}\"");
        }
    }

    /// <summary>RFC 7396.</summary>
    public static JsonNode? MergePatch(JsonNode? original, JsonNode? patch)
    {
        if (patch is not JsonObject changes)
        {
            return patch?.DeepClone();
        }

        var result = original is JsonObject o ? o.Copy() : [];
        foreach (var (name, value) in changes)
        {
            if (value is null)
            {
                result.Remove(name);
            }
            else
            {
                result[name] = MergePatch(result[name], value);
            }
        }

        return result;
    }

    /// <summary>
    /// Kubernetes' strategic merge patch: lists with a merge key are merged by element, `$patch`, `$deleteFromPrimitiveList`,
    /// `$setElementOrder` and `$retainKeys` are directives.
    /// </summary>
    public static JsonObject StrategicMergePatch(JsonObject original, JsonObject patch, Schema schema) =>
        MergeObject(original, patch, schema) ?? [];

    private static JsonObject? MergeObject(JsonObject original, JsonObject patch, Schema? schema)
    {
        switch (patch.Text("$patch"))
        {
            case "delete":
                return [];
            case "replace":
                var replaced = patch.Copy();
                replaced.Remove("$patch");
                return replaced;
        }

        var result = original.Copy();
        if (patch["$retainKeys"] is JsonArray retain)
        {
            var keep = retain.Select(k => k!.GetValue<string>()).ToHashSet();
            foreach (var (name, _) in original)
            {
                if (!keep.Contains(name))
                {
                    result.Remove(name);
                }
            }
        }

        foreach (var (name, value) in patch)
        {
            if (name is "$patch" or "$retainKeys" || name.StartsWith("$setElementOrder/", StringComparison.Ordinal))
            {
                continue;
            }

            if (name.StartsWith("$deleteFromPrimitiveList/", StringComparison.Ordinal))
            {
                var list = name["$deleteFromPrimitiveList/".Length..];
                if (result[list] is JsonArray present)
                {
                    result[list] =
                        new JsonArray([.. present.Where(e => !value!.AsArray().Any(d => Json.Same(d, e))).Select(e => e?.DeepClone())]);
                }

                continue;
            }

            var property = schema?.Property(name);
            switch (value)
            {
                case null:
                    result.Remove(name);
                    break;
                case JsonObject o:
                    result[name] = MergeObject(result[name] as JsonObject ?? [], o, property);
                    break;
                case JsonArray a when property is not null && (property.PatchStrategy ?? "").Contains("merge", StringComparison.Ordinal):
                    var order = patch["$setElementOrder/" + name] as JsonArray;
                    result[name] = MergeList(result[name] as JsonArray ?? [], a, property, order);
                    break;
                default:
                    result[name] = value.DeepClone();
                    break;
            }
        }

        // An order directive without a list still puts the list in order.
        foreach (var (name, value) in patch)
        {
            if (name.StartsWith("$setElementOrder/", StringComparison.Ordinal) && value is JsonArray order)
            {
                var list = name["$setElementOrder/".Length..];
                if (!patch.ContainsKey(list) && result[list] is JsonArray present && schema?.Property(list) is { } property)
                {
                    result[list] = Order([.. present.Select(e => e?.DeepClone())], property, order);
                }
            }
        }

        return result;
    }

    private static JsonArray MergeList(JsonArray original, JsonArray patch, Schema schema, JsonArray? order)
    {
        var result = original.Select(e => e?.DeepClone()).ToList();
        if (schema.PatchMergeKey is not { } key)
        {
            foreach (var value in patch)
            {
                if (!result.Exists(e => Json.Same(e, value)))
                {
                    result.Add(value?.DeepClone());
                }
            }

            return order is null ? new JsonArray([.. result]) : Order(result, schema, order);
        }

        if (patch.OfType<JsonObject>().Any(e => e.Text("$patch") == "replace"))
        {
            return new JsonArray([.. patch.OfType<JsonObject>().Where(e => !e.ContainsKey("$patch")).Select(e => e.DeepClone())]);
        }

        foreach (var element in patch.OfType<JsonObject>())
        {
            var id = element[key]
                ?? throw ApiException.BadRequest($"map: {element.ToJsonString()} does not contain declared merge key: {key}");
            var index = result.FindIndex(e => Json.Same(e.At(key), id));
            if (element.Text("$patch") == "delete")
            {
                if (index >= 0)
                {
                    result.RemoveAt(index);
                }
            }
            else if (index >= 0)
            {
                result[index] = MergeObject((JsonObject)result[index]!, element, schema.Items);
            }
            else
            {
                result.Add(MergeObject([], element, schema.Items));
            }
        }

        return order is null ? new JsonArray([.. result]) : Order(result, schema, order);
    }

    private static JsonArray Order(List<JsonNode?> list, Schema schema, JsonArray order)
    {
        var key = schema.PatchMergeKey;
        int Rank(JsonNode? e)
        {
            for (var i = 0; i < order.Count; i++)
            {
                if (key is null ? Json.Same(order[i], e) : Json.Same(order[i].At(key), e.At(key)))
                {
                    return i;
                }
            }

            return -1;
        }

        // Elements only the server knows stay before the ones they stood before.
        var ranked = list.Select((e, i) => (Element: e, Rank: Rank(e), Index: i)).ToList();
        var known = ranked.Where(r => r.Rank >= 0).OrderBy(r => r.Rank).ToList();
        var result = new List<JsonNode?>();
        var next = 0;
        foreach (var r in ranked)
        {
            result.Add(r.Rank < 0 ? r.Element : known[next++].Element);
        }

        return new JsonArray([.. result]);
    }
}
