// Why this exists: `kubectl auth can-i`, helm and token-checking services ask the server who somebody is and what they may do.
using System.Text.Json.Nodes;

namespace CoCLR.TrialCluster;

/// <summary>Answers access and token reviews.</summary>
public sealed class Reviews(InProcessCluster cluster)
{
    /// <summary>The review with its status filled in.</summary>
    public JsonObject Answer(ResourceDefinition kind, string ns, JsonObject body, UserInfo user)
    {
        var o = body.Copy();
        o["apiVersion"] = kind.ApiVersion;
        o["kind"] = kind.Kind;
        o.Ensure("metadata");
        switch (kind.Plural)
        {
            case "selfsubjectaccessreviews":
                o["status"] = Access(o["spec"], user);
                break;
            case "subjectaccessreviews" or "localsubjectaccessreviews":
                var spec = o["spec"];
                if (kind.Namespaced && spec.Map("resourceAttributes") is { } attributes)
                {
                    attributes["namespace"] = ns;
                }

                o["status"] =
                    Access(spec, new UserInfo(spec.Text("user") ?? "", [.. spec.Items("groups").Select(g => g!.GetValue<string>())]));
                break;
            case "selfsubjectrulesreviews":
                var rules = user.IsMaster
                    ? [
                        new JsonObject
                        {
                            ["verbs"] = new JsonArray("*"), ["apiGroups"] = new JsonArray("*"), ["resources"] = new JsonArray("*")
                        }]
                    : cluster.Authorizer.RulesOf(user, o.Text("spec", "namespace") ?? "default").Select(r => r.DeepClone()).ToList();
                o["status"] = new JsonObject
                {
                    ["resourceRules"] = new JsonArray([.. rules]), ["nonResourceRules"] = new JsonArray(), ["incomplete"] = false
                };
                break;
            case "selfsubjectreviews":
                o["status"] = new JsonObject { ["userInfo"] = Info(user) };
                break;
            case "tokenreviews":
                var audiences = o.Items("spec", "audiences").Select(a => a!.GetValue<string>()).ToList();
                var found = cluster.Tokens.Check(o.Text("spec", "token") ?? "", audiences, out var why, out var matched);
                o["status"] = found is null
                    ? new JsonObject { ["authenticated"] = false, ["user"] = new JsonObject(), ["error"] = why }
                    : new JsonObject
                    {
                        ["authenticated"] = true, ["user"] = Info(found),
                        ["audiences"] = new JsonArray([.. matched.Select(m => (JsonNode)m)])
                    };
                break;
        }

        return o;
    }

    private static JsonObject Info(UserInfo user)
    {
        var o = new JsonObject { ["username"] = user.Name, ["groups"] = new JsonArray([.. user.Groups.Select(g => (JsonNode)g)]) };
        if (user.Uid.Length > 0)
        {
            o["uid"] = user.Uid;
        }

        if (user.Extra.Count > 0)
        {
            o["extra"] = new JsonObject(user.Extra.Select(e => KeyValuePair.Create(e.Key, (JsonNode?)new JsonArray(e.Value))));
        }

        return o;
    }

    private JsonObject Access(JsonNode? spec, UserInfo user)
    {
        AccessAttributes what;
        if (spec.Map("resourceAttributes") is { } r)
        {
            var resource = r.Text("resource") ?? "";
            what = new AccessAttributes(
                r.Text("verb") ?? "",
                r.Text("group") ?? "",
                r.Text("subresource") is { Length: > 0 } sub ? $"{resource}/{sub}" : resource,
                r.Text("namespace") ?? "",
                r.Text("name") ?? "");
        }
        else
        {
            what = new AccessAttributes(
                spec.Text("nonResourceAttributes", "verb") ?? "", "", "", "", "", spec.Text("nonResourceAttributes", "path") ?? "");
        }

        var allowed = cluster.Authorizer.Allows(user, what);
        return new JsonObject { ["allowed"] = allowed, ["reason"] = allowed ? "RBAC: allowed" : "" };
    }
}
