// Why this exists: clients find out what a server serves before they ask for anything: discovery (old and aggregated), OpenAPI, version and
// health.
using System.Text.Json.Nodes;

namespace CoCLR.TrialCluster;

/// <summary>Everything that is no resource.</summary>
public sealed class Discovery(ResourceRegistry registry)
{
    private readonly Lock _gate = new();
    private readonly Dictionary<string, byte[]> _documents = [];
    private object? _made;

    /// <summary>Answers a path, or 404.</summary>
    public async Task AnswerAsync(HttpContext http, string path, InProcessCluster cluster)
    {
        if (http.Request.Method is not ("GET" or "HEAD"))
        {
            throw ApiException.MethodNotAllowed();
        }

        var aggregated = http.Request.Headers.Accept.ToString().Contains("as=APIGroupDiscoveryList", StringComparison.Ordinal)
            && http.Request.Headers.Accept.ToString().Contains("v=v2", StringComparison.Ordinal);
        var parts = path.Trim('/').Split('/');
        JsonNode? answer = parts switch
        {
            ["version"] => new JsonObject
            {
                ["major"] = "1", ["minor"] = "35", ["gitVersion"] = "v1.35.0", ["gitCommit"] = "0", ["gitTreeState"] = "clean",
                ["buildDate"] = "2025-12-17T00:00:00Z", ["goVersion"] = "none", ["compiler"] = "dotnet", ["platform"] = "linux/amd64",
            },
            ["api"] when aggregated => Aggregated(true),
            ["apis"] when aggregated => Aggregated(false),
            ["api"] => new JsonObject
            {
                ["kind"] = "APIVersions", ["versions"] = new JsonArray("v1"), ["serverAddressByClientCIDRs"] = new JsonArray()
            },
            ["apis"] => new JsonObject
            {
                ["kind"] = "APIGroupList", ["apiVersion"] = "v1",
                ["groups"] = new JsonArray([.. Groups().Select(g => (JsonNode)Group(g, false))])
            },
            ["apis", var group] when Groups().Contains(group) => Group(group, true),
            ["api", "v1"] => Resources("", "v1"),
            ["apis", var group, var version] when registry.All.Any(d => d.Group == group && d.Version == version) =>
                Resources(group, version),
            ["openapi", "v3"] => OpenApi.Root(registry),
            _ => null,
        };
        if (answer is not null)
        {
            if (aggregated && parts.Length == 1)
            {
                http.Response.StatusCode = 200;
                http.Response.ContentType = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
                await http.Response.WriteAsync(answer.ToJsonString(Json.Options), http.RequestAborted);
                return;
            }

            await ApiServer.AnswerAsync(http, answer, 200);
            return;
        }

        switch (parts)
        {
            case ["healthz" or "livez" or "readyz", ..]:
                http.Response.StatusCode = 200;
                http.Response.ContentType = "text/plain";
                await http.Response.WriteAsync("ok", http.RequestAborted);
                return;
            case ["openapi", "v3", "api", "v1"]:
                await DocumentAsync(http, "v1", () => OpenApi.Document(registry, "", "v1"));
                return;
            case ["openapi", "v3", "apis", var group, var version] when registry.All.Any(d => d.Group == group && d.Version == version):
                await DocumentAsync(http, $"{group}/{version}", () => OpenApi.Document(registry, group, version));
                return;
            case ["openapi", "v2"]:
                await DocumentAsync(http, "v2", () => OpenApi.Swagger(registry));
                return;
            default:
                throw ApiException.NoSuchResource();
        }
    }

    private async Task DocumentAsync(HttpContext http, string key, Func<JsonObject> make)
    {
        byte[]? bytes;
        lock (_gate)
        {
            if (!ReferenceEquals(_made, registry.Snapshot))
            {
                _documents.Clear();
                _made = registry.Snapshot;
            }

            if (!_documents.TryGetValue(key, out bytes))
            {
                bytes = System.Text.Encoding.UTF8.GetBytes(make().ToJsonString(Json.Options));
                _documents[key] = bytes;
            }
        }

        http.Response.StatusCode = 200;
        http.Response.ContentType = "application/json";
        http.Response.ContentLength = bytes.Length;
        await http.Response.Body.WriteAsync(bytes, http.RequestAborted);
    }

    private IEnumerable<string> Groups() => registry.All.Select(d => d.Group).Where(g => g.Length > 0).Distinct();

    private IEnumerable<string> Versions(string group) => registry.All.Where(d => d.Group == group).Select(d => d.Version).Distinct()
        .OrderBy(VersionRank).ThenByDescending(v => v, StringComparer.Ordinal);

    private static int VersionRank(string version) =>
        version.Contains("alpha", StringComparison.Ordinal) ? 2 : version.Contains("beta", StringComparison.Ordinal) ? 1 : 0;

    private JsonObject Group(string group, bool alone)
    {
        static JsonObject Version(string group, string version) => new() { ["groupVersion"] = $"{group}/{version}", ["version"] = version };
        var versions = Versions(group).ToList();
        var o = new JsonObject();
        if (alone)
        {
            o["kind"] = "APIGroup";
            o["apiVersion"] = "v1";
        }

        o["name"] = group;
        o["versions"] = new JsonArray([.. versions.Select(v => (JsonNode)Version(group, v))]);
        o["preferredVersion"] = Version(group, versions[0]);
        return o;
    }

    private JsonObject Resources(string group, string version)
    {
        var list = new JsonArray();
        foreach (var d in registry.All.Where(d => d.Group == group && d.Version == version))
        {
            var o = new JsonObject
            {
                ["name"] = d.Plural, ["singularName"] = d.Singular, ["namespaced"] = d.Namespaced, ["kind"] = d.Kind,
                ["verbs"] = new JsonArray([.. d.Verbs.Select(v => (JsonNode)v)]),
            };
            if (d.ShortNames.Count > 0)
            {
                o["shortNames"] = new JsonArray([.. d.ShortNames.Select(v => (JsonNode)v)]);
            }

            if (d.Categories.Count > 0)
            {
                o["categories"] = new JsonArray([.. d.Categories.Select(v => (JsonNode)v)]);
            }

            list.Add(o);
            foreach (var sub in Subresources(d))
            {
                var s = new JsonObject { ["name"] = $"{d.Plural}/{sub.Name}", ["singularName"] = "", ["namespaced"] = d.Namespaced };
                if (sub.Group.Length > 0 || sub.Version.Length > 0)
                {
                    s["group"] = sub.Group;
                    s["version"] = sub.Version;
                }

                s["kind"] = sub.Kind;
                s["verbs"] = new JsonArray([.. sub.Verbs.Select(v => (JsonNode)v)]);
                list.Add(s);
            }
        }

        return new JsonObject
        {
            ["kind"] = "APIResourceList", ["apiVersion"] = "v1", ["groupVersion"] = group.Length == 0 ? version : $"{group}/{version}",
            ["resources"] = list
        };
    }

    private static IEnumerable<(string Name, string Kind, string Group, string Version, string[] Verbs)> Subresources(ResourceDefinition d)
    {
        if (d.HasStatus)
        {
            yield return ("status", d.Kind, "", "", ["get", "patch", "update"]);
        }

        if (d.Scale is not null)
        {
            yield return ("scale", "Scale", "autoscaling", "v1", ["get", "patch", "update"]);
        }

        foreach (var s in d.Subresources)
        {
            yield return s;
        }
    }

    private JsonObject Aggregated(bool core)
    {
        var items = new JsonArray();
        foreach (var group in core ? [""] : Groups())
        {
            var versions = new JsonArray();
            foreach (var version in Versions(group))
            {
                var resources = new JsonArray();
                foreach (var d in registry.All.Where(d => d.Group == group && d.Version == version))
                {
                    var subs = new JsonArray([.. Subresources(d).Select(s => (JsonNode)new JsonObject
                    {
                        ["subresource"] = s.Name,
                        ["responseKind"] = new JsonObject
                        {
                            ["group"] = s.Version.Length > 0 ? s.Group : group, ["version"] = s.Version.Length > 0 ? s.Version : version,
                            ["kind"] = s.Kind,
                        },
                        ["verbs"] = new JsonArray([.. s.Verbs.Select(v => (JsonNode)v)]),
                    })]);
                    var o = new JsonObject
                    {
                        ["resource"] = d.Plural,
                        ["responseKind"] = new JsonObject { ["group"] = group, ["version"] = version, ["kind"] = d.Kind },
                        ["scope"] = d.Namespaced ? "Namespaced" : "Cluster",
                        ["singularResource"] = d.Singular,
                        ["verbs"] = new JsonArray([.. d.Verbs.Select(v => (JsonNode)v)]),
                    };
                    if (d.ShortNames.Count > 0)
                    {
                        o["shortNames"] = new JsonArray([.. d.ShortNames.Select(v => (JsonNode)v)]);
                    }

                    if (d.Categories.Count > 0)
                    {
                        o["categories"] = new JsonArray([.. d.Categories.Select(v => (JsonNode)v)]);
                    }

                    if (subs.Count > 0)
                    {
                        o["subresources"] = subs;
                    }

                    resources.Add(o);
                }

                versions.Add(new JsonObject { ["version"] = version, ["resources"] = resources, ["freshness"] = "Current" });
            }

            items.Add(
                new JsonObject { ["metadata"] = core ? new JsonObject() : new JsonObject { ["name"] = group }, ["versions"] = versions });
        }

        return new JsonObject
        {
            ["kind"] = "APIGroupDiscoveryList", ["apiVersion"] = "apidiscovery.k8s.io/v2", ["metadata"] = new JsonObject(),
            ["items"] = items
        };
    }
}
