// Why this exists: kubectl asks the OpenAPI document whether the server validates fields, how to explain a kind and how to patch it.
using System.Text.Json.Nodes;

namespace CoCLR.TrialCluster;

/// <summary>OpenAPI documents of what is served.</summary>
public static class OpenApi
{
    /// <summary>The index at `/openapi/v3`.</summary>
    public static JsonObject Root(ResourceRegistry registry)
    {
        var paths = new JsonObject();
        foreach (var gv in registry.All.Select(d => d.Group.Length == 0 ? $"api/{d.Version}" : $"apis/{d.Group}/{d.Version}").Distinct())
        {
            paths[gv] = new JsonObject { ["serverRelativeURL"] = $"/openapi/v3/{gv}" };
        }

        return new JsonObject { ["paths"] = paths };
    }

    private static string NameOf(ResourceDefinition d) =>
        d.Schema.Reference ?? string.Join('.', d.Group.Split('.').Reverse()) + $".{d.Version}.{d.Kind}";

    private static JsonObject SchemaOf(ResourceDefinition d, string prefix)
    {
        var schema = d.Schema.ToJson(true, prefix);
        schema["x-kubernetes-group-version-kind"] = new JsonArray(Gvk(d));
        if (d.IsCustom)
        {
            var properties = schema.Ensure("properties");
            properties["apiVersion"] = new JsonObject
            {
                ["type"] = "string", ["description"] = "APIVersion defines the versioned schema of this representation of an object."
            };
            properties["kind"] = new JsonObject
            {
                ["type"] = "string", ["description"] = "Kind is a string value representing the REST resource this object represents."
            };
            properties["metadata"] = new JsonObject
            {
                ["description"] = "Standard object's metadata.",
                ["allOf"] =
                    new JsonArray(new JsonObject { ["$ref"] = prefix + BuiltInSchemas.Of(typeof(k8s.Models.V1ObjectMeta)).Reference })
            };
        }

        return schema;
    }

    private static JsonObject Gvk(ResourceDefinition d) => new() { ["group"] = d.Group, ["version"] = d.Version, ["kind"] = d.Kind };

    private static void AddReferenced(Schema schema, JsonObject into, string prefix, HashSet<Schema> seen)
    {
        if (!seen.Add(schema))
        {
            return;
        }

        if (schema.Reference is { } name && !into.ContainsKey(name))
        {
            into[name] = schema.ToJson(true, prefix);
        }

        foreach (var child in schema.Properties.Values.Append(schema.Items).Append(schema.AdditionalProperties))
        {
            if (child is not null)
            {
                AddReferenced(child, into, prefix, seen);
            }
        }
    }

    private static IEnumerable<(string Path, string Method, string Action, ResourceDefinition Kind)> Operations(IEnumerable<ResourceDefinition> kinds)
    {
        foreach (var d in kinds)
        {
            var root = d.Group.Length == 0 ? $"/api/{d.Version}" : $"/apis/{d.Group}/{d.Version}";
            var many = d.Namespaced ? $"{root}/namespaces/{{namespace}}/{d.Plural}" : $"{root}/{d.Plural}";
            yield return (many, "post", "post", d);
            if (d.IsReview)
            {
                continue;
            }

            yield return (many, "get", "list", d);
            yield return (many + "/{name}", "get", "get", d);
            yield return (many + "/{name}", "put", "put", d);
            yield return (many + "/{name}", "patch", "patch", d);
            yield return (many + "/{name}", "delete", "delete", d);
        }
    }

    private static JsonArray Parameters(string action, bool v3)
    {
        var parameters = new JsonArray();
        if (action is "post" or "put" or "patch")
        {
            foreach (var name in new[] { "dryRun", "fieldManager", "fieldValidation" })
            {
                parameters.Add(v3
                    ? new JsonObject { ["name"] = name, ["in"] = "query", ["schema"] = new JsonObject { ["type"] = "string" } }
                    : new JsonObject { ["name"] = name, ["in"] = "query", ["type"] = "string", ["uniqueItems"] = true });
            }
        }

        return parameters;
    }

    /// <summary>The document of one group and version.</summary>
    public static JsonObject Document(ResourceRegistry registry, string group, string version)
    {
        const string Prefix = "#/components/schemas/";
        var kinds = registry.All.Where(d => d.Group == group && d.Version == version).ToList();
        var schemas = new JsonObject();
        var seen = new HashSet<Schema>();
        foreach (var d in kinds)
        {
            schemas[NameOf(d)] = SchemaOf(d, Prefix);
            foreach (var child in d.Schema.Properties.Values)
            {
                AddReferenced(child, schemas, Prefix, seen);
            }
        }

        AddReferenced(BuiltInSchemas.Of(typeof(k8s.Models.V1ObjectMeta)), schemas, Prefix, seen);
        var paths = new JsonObject();
        foreach (var (path, method, action, kind) in Operations(kinds))
        {
            var reference = new JsonObject { ["$ref"] = Prefix + NameOf(kind) };
            var operation = new JsonObject
            {
                ["parameters"] = Parameters(action, true),
                ["responses"] = new JsonObject { ["200"] = new JsonObject { ["description"] = "OK", ["content"] = new JsonObject { ["application/json"] = new JsonObject { ["schema"] = reference } } } },
                ["x-kubernetes-action"] = action,
                ["x-kubernetes-group-version-kind"] = Gvk(kind),
            };
            if (action == "patch")
            {
                var content = new JsonObject();
                foreach (var type in new[] { "application/apply-patch+yaml", "application/json-patch+json", "application/merge-patch+json" }.Concat(kind.IsCustom ? [] : ["application/strategic-merge-patch+json"]))
                {
                    content[type] = new JsonObject { ["schema"] = new JsonObject { ["type"] = "object" } };
                }

                operation["requestBody"] = new JsonObject { ["content"] = content };
            }

            paths.Ensure(path)[method] = operation;
        }

        return new JsonObject
        {
            ["openapi"] = "3.0.0",
            ["info"] = new JsonObject { ["title"] = "Kubernetes", ["version"] = "v1.35.0" },
            ["paths"] = paths,
            ["components"] = new JsonObject { ["schemas"] = schemas },
        };
    }

    /// <summary>The OpenAPI v2 document of everything.</summary>
    public static JsonObject Swagger(ResourceRegistry registry)
    {
        const string Prefix = "#/definitions/";
        var definitions = new JsonObject();
        var seen = new HashSet<Schema>();
        foreach (var d in registry.All)
        {
            definitions[NameOf(d)] = SchemaOf(d, Prefix);
            foreach (var child in d.Schema.Properties.Values)
            {
                AddReferenced(child, definitions, Prefix, seen);
            }
        }

        AddReferenced(BuiltInSchemas.Of(typeof(k8s.Models.V1ObjectMeta)), definitions, Prefix, seen);
        var paths = new JsonObject();
        foreach (var (path, method, action, kind) in Operations(registry.All))
        {
            paths.Ensure(path)[method] = new JsonObject
            {
                ["parameters"] = Parameters(action, false),
                ["responses"] = new JsonObject { ["200"] = new JsonObject { ["description"] = "OK" } },
                ["x-kubernetes-action"] = action,
                ["x-kubernetes-group-version-kind"] = Gvk(kind),
            };
        }

        return new JsonObject
        {
            ["swagger"] = "2.0", ["info"] = new JsonObject { ["title"] = "Kubernetes", ["version"] = "v1.35.0" }, ["paths"] = paths,
            ["definitions"] = definitions
        };
    }
}
