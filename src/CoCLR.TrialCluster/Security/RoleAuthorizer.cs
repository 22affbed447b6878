// Why this exists: RBAC decided from the stored roles and bindings, so that a missing rule in a chart fails here as it would in a real
// cluster.
using System.Collections.Immutable;
using System.Text.Json.Nodes;

namespace CoCLR.TrialCluster;

/// <summary>What somebody wants to do.</summary>
/// <param name="Verb">`get`, `list`, `watch`, `create`, ...</param>
/// <param name="Group">API group, empty for core.</param>
/// <param name="Resource">Plural, with `/subresource` where there is one.</param>
/// <param name="Namespace">Namespace, empty for all or none.</param>
/// <param name="Name">Object name, or empty.</param>
/// <param name="Path">For paths that are no resources.</param>
public sealed record AccessAttributes(string Verb, string Group, string Resource, string Namespace, string Name, string? Path = null);

/// <summary>Role based access control.</summary>
public sealed class RoleAuthorizer(ObjectStore store)
{
    private static readonly ResourceKey Roles = new("rbac.authorization.k8s.io", "roles");
    private static readonly ResourceKey ClusterRoles = new("rbac.authorization.k8s.io", "clusterroles");
    private static readonly ResourceKey RoleBindings = new("rbac.authorization.k8s.io", "rolebindings");
    private static readonly ResourceKey ClusterRoleBindings = new("rbac.authorization.k8s.io", "clusterrolebindings");
    private static readonly string[] PublicPaths = ["/healthz", "/readyz", "/livez", "/version", "/api", "/apis", "/openapi"];

    /// <summary>Whether the user may.</summary>
    public bool Allows(UserInfo user, AccessAttributes what)
    {
        if (user.IsMaster)
        {
            return true;
        }

        if (what.Path is { } path && what.Verb == "get"
            && PublicPaths.Any(p => path == p || path.StartsWith(p + "/", StringComparison.Ordinal)))
        {
            return user.Groups.Contains("system:authenticated") || path.StartsWith("/version", StringComparison.Ordinal)
                || path.EndsWith('z');
        }

        // Everybody may ask about themselves (system:basic-user).
        if (what is { Verb: "create", Group: "authorization.k8s.io", Resource: "selfsubjectaccessreviews" or "selfsubjectrulesreviews" }
            or { Verb: "create", Group: "authentication.k8s.io", Resource: "selfsubjectreviews" })
        {
            return true;
        }

        return RulesOf(user, what.Namespace).Any(rule => Covers(rule, what));
    }

    /// <summary>All rules that hold for a user in a namespace.</summary>
    public IEnumerable<JsonNode> RulesOf(UserInfo user, string ns)
    {
        foreach (var binding in store.All(ClusterRoleBindings))
        {
            if (binding.Value.Items("subjects").Any(s => Is(s, user, "")))
            {
                foreach (var rule in RulesOf(binding.Value, ""))
                {
                    yield return rule;
                }
            }
        }

        if (ns.Length == 0)
        {
            yield break;
        }

        foreach (var binding in store.All(RoleBindings))
        {
            if (binding.Namespace == ns && binding.Value.Items("subjects").Any(s => Is(s, user, ns)))
            {
                foreach (var rule in RulesOf(binding.Value, ns))
                {
                    yield return rule;
                }
            }
        }
    }

    private IEnumerable<JsonNode> RulesOf(JsonObject binding, string ns) =>
        RulesOfRole(binding.Text("roleRef", "kind") ?? "", ns, binding.Text("roleRef", "name") ?? "");

    /// <summary>The rules of a role, with those aggregated into it.</summary>
    public IEnumerable<JsonNode> RulesOfRole(string kind, string ns, string name)
    {
        if (kind == "Role")
        {
            return store.Get(Roles, ns, name)?.Value.Items("rules").OfType<JsonNode>() ?? [];
        }

        if (store.Get(ClusterRoles, "", name) is not { } role)
        {
            return [];
        }

        var rules = role.Value.Items("rules").OfType<JsonNode>();
        var selectors = role.Value.Items("aggregationRule", "clusterRoleSelectors");
        if (selectors.Count > 0)
        {
            rules = rules.Concat(store.All(ClusterRoles).Where(r => r.Name != name && selectors.Any(s => Selector.Matches(s, r.Value.At("metadata", "labels"))))
                .SelectMany(r => r.Value.Items("rules").OfType<JsonNode>()));
        }

        return rules;
    }

    private static bool Is(JsonNode? subject, UserInfo user, string bindingNamespace) => subject.Text("kind") switch
    {
        "User" => subject.Text("name") == user.Name,
        "Group" => user.Groups.Contains(subject.Text("name") ?? ""),
        "ServiceAccount" => user.Name == $"system:serviceaccount:{(subject.Text("namespace") is { Length: > 0 } ns ? ns : bindingNamespace)}:{subject.Text("name")}",
        _ => false,
    };

    /// <summary>Whether one rule allows it.</summary>
    public static bool Covers(JsonNode rule, AccessAttributes what)
    {
        bool Has(string field, string value) => rule.Items(field).Any(v => v.Text() is { } t && (t == "*" || t == value));
        if (!Has("verbs", what.Verb))
        {
            return false;
        }

        if (what.Path is { } path)
        {
            return rule.Items("nonResourceURLs")
                .Any(
                    v => v.Text() is { } t
                        && (t == path || t == "*" || (t.EndsWith('*') && path.StartsWith(t[..^1], StringComparison.Ordinal))));
        }

        var slash = what.Resource.IndexOf('/', StringComparison.Ordinal);
        var resource = rule.Items("resources")
            .Any(v => v.Text() is { } t && (t == "*" || t == what.Resource || (slash > 0 && t == "*" + what.Resource[slash..])));
        return resource && Has("apiGroups", what.Group)
            && (rule.Items("resourceNames").Count == 0 || rule.Items("resourceNames").Any(n => n.Text() == what.Name));
    }

    /// <summary>The rules a user lacks to hand out a set of rules; empty when all are covered (no escalation).</summary>
    public IReadOnlyList<string> Missing(UserInfo user, string ns, IEnumerable<JsonNode> wanted)
    {
        if (user.IsMaster)
        {
            return [];
        }

        var own = RulesOf(user, ns).ToList();
        var missing = new List<string>();
        foreach (var rule in wanted)
        {
            foreach (var verb in rule.Items("verbs").Select(v => v.Text()!))
            {
                foreach (var group in rule.Items("apiGroups").Select(v => v.Text()!).DefaultIfEmpty(""))
                {
                    foreach (var resource in rule.Items("resources").Select(v => v.Text()!))
                    {
                        var names = rule.Items("resourceNames").Select(v => v.Text()!).DefaultIfEmpty("").ToList();
                        if (names.Exists(n => !own.Exists(o => Covers(o, new AccessAttributes(verb, group, resource, ns, n)))))
                        {
                            missing.Add($"{{APIGroups:[\"{group}\"], Resources:[\"{resource}\"], Verbs:[\"{verb}\"]}}");
                        }
                    }
                }
            }
        }

        return missing;
    }
}
