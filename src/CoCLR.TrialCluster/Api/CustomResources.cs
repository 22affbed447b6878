// Why this exists: turns stored CustomResourceDefinitions into served kinds, with the conditions clients wait for.
using System.Text.Json.Nodes;

namespace CoCLR.TrialCluster;

/// <summary>Keeps the registry in step with the stored CRDs.</summary>
public sealed class CustomResources(ResourceService service)
{
    /// <summary>Where CRDs are kept.</summary>
    public static readonly ResourceKey Key = new("apiextensions.k8s.io", "customresourcedefinitions");

    private readonly Lock _gate = new();
    private readonly Dictionary<string, List<(string Group, string Version, string Plural)>> _served = new(StringComparer.Ordinal);

    /// <summary>Takes over a write of a CRD.</summary>
    public void OnWritten(ResourceKey key, StoreEvent e)
    {
        if (key != Key)
        {
            return;
        }

        lock (_gate)
        {
            Serve(e.After, e.Deleted);
        }

        if (!e.Deleted && e.After.Value.At("metadata", "deletionTimestamp") is null)
        {
            Establish(e.After.Name);
        }
    }

    private void Serve(StoredObject stored, bool deleted)
    {
        var before = _served.GetValueOrDefault(stored.Name) ?? [];
        var now = new List<(string, string, string)>();
        if (!deleted)
        {
            foreach (var definition in Definitions(stored.Value))
            {
                service.Registry.Put(definition);
                now.Add((definition.Group, definition.Version, definition.Plural));
            }
        }

        foreach (var (group, version, plural) in before)
        {
            if (!now.Contains((group, version, plural)))
            {
                service.Registry.Remove(group, version, plural);
            }
        }

        _served[stored.Name] = now;
        if (deleted)
        {
            service.Store.Drop(
                new ResourceKey(stored.Value.Text("spec", "group") ?? "", stored.Value.Text("spec", "names", "plural") ?? ""));
        }
    }

    /// <summary>The kinds a CRD declares.</summary>
    public static IEnumerable<ResourceDefinition> Definitions(JsonObject crd)
    {
        var names = crd.At("spec", "names");
        foreach (var version in crd.Items("spec", "versions").OfType<JsonObject>())
        {
            if (version.Flag("served") == false)
            {
                continue;
            }

            var schema = Schema.FromJson(version.Map("schema", "openAPIV3Schema") ?? []);
            schema.Type ??= "object";
            schema.Properties["apiVersion"] = new Schema { Type = "string" };
            schema.Properties["kind"] = new Schema { Type = "string" };
            if (schema.Properties.TryGetValue("metadata", out var declared))
            {
                MetadataSchemas.AddOrUpdate(schema, declared);
            }

            schema.Properties["metadata"] = BuiltInSchemas.Of(typeof(k8s.Models.V1ObjectMeta));
            var scale = version.Map("subresources", "scale");
            yield return new ResourceDefinition
            {
                Group = crd.Text("spec", "group") ?? "",
                Version = version.Text("name") ?? "",
                Plural = names.Text("plural") ?? "",
                Singular = names.Text("singular") ?? (names.Text("kind") ?? "").ToLowerInvariant(),
                Kind = names.Text("kind") ?? "",
                ListKind = names.Text("listKind") ?? names.Text("kind") + "List",
                ShortNames = [.. names.Items("shortNames").Select(n => n!.GetValue<string>())],
                Categories = [.. names.Items("categories").Select(n => n!.GetValue<string>())],
                Namespaced = crd.Text("spec", "scope") == "Namespaced",
                Schema = schema,
                IsCustom = true,
                HasGeneration = true,
                HasStatus = version.Map("subresources", "status") is not null,
                Scale = scale is null
                    ? null
                    : new ScalePaths(
                        Split(scale.Text("specReplicasPath")),
                        Split(scale.Text("statusReplicasPath")),
                        scale.Text("labelSelectorPath") is { } p ? Split(p) : null),
                Columns = version["additionalPrinterColumns"] is JsonArray columns
                    ? [
                        .. columns.Select(
                            c => new PrinterColumn(
                                c.Text("name") ?? "",
                                c.Text("type") ?? "string",
                                c.Text("format") ?? "",
                                c.Text("description") ?? "",
                                (int)(c.Number("priority") ?? 0),
                                c.Text("jsonPath") ?? ""))]
                    : null,
                SelectableFields = [.. version.Items("selectableFields").Select(f => (f.Text("jsonPath") ?? "").TrimStart('.'))],
            };
        }
    }

    /// <summary>What a CRD's schema says about metadata (only name and generateName may be bounded there).</summary>
    public static readonly System.Runtime.CompilerServices.ConditionalWeakTable<Schema, Schema> MetadataSchemas = [];

    private static string[] Split(string? path) => (path ?? "").TrimStart('.').Split('.');

    private void Establish(string name)
    {
        for (var attempt = 0; attempt < 10; attempt++)
        {
            if (service.Store.Get(Key, "", name) is not { } stored
                || stored.Value.Items("status", "conditions").Any(c => c.Text("type") == "Established"))
            {
                return;
            }

            var next = stored.Value.Copy();
            var now = Json.Time(service.Clock.GetUtcNow());
            JsonObject Condition(string type, string reason, string message) => new()
            {
                ["type"] = type, ["status"] = "True", ["lastTransitionTime"] = now, ["reason"] = reason, ["message"] = message,
            };
            next["status"] = new JsonObject
            {
                ["conditions"] = new JsonArray(
                    Condition("NamesAccepted", "NoConflicts", "no conflicts found"),
                    Condition("Established", "InitialNamesAccepted", "the initial names have been accepted")),
                ["acceptedNames"] = next.At("spec", "names")?.DeepClone(),
                ["storedVersions"] = new JsonArray(
                    [.. next.Items("spec", "versions").Where(v => v.Flag("storage") == true).Select(v => (JsonNode)v.Text("name")!)]),
            };
            if (service.Store.TrySwap(Key, stored, next) is not null)
            {
                return;
            }
        }
    }
}
