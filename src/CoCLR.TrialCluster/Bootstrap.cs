// Why this exists: what every new cluster has before anybody comes: namespaces, accounts, roles, nodes, storage classes.
using System.Text.Json.Nodes;

namespace CoCLR.TrialCluster;

/// <summary>Fills a new cluster.</summary>
internal static class Bootstrap
{
    private static readonly WriteContext Context = new() { Manager = "kube-apiserver" };

    public static void Fill(InProcessCluster cluster)
    {
        foreach (var ns in new[] { "default", "kube-system", "kube-public", "kube-node-lease" }.Concat(cluster.Options.Namespaces))
        {
            Create(cluster, "v1", "Namespace", "", ns, []);
        }

        foreach (var (name, i) in cluster.Options.StorageClasses.Select((n, i) => (n, i)))
        {
            Create(cluster, "storage.k8s.io/v1", "StorageClass", "", name, new JsonObject { ["provisioner"] = "coclr.dev/folder", ["reclaimPolicy"] = "Delete" },
                i == 0 ? new JsonObject { ["storageclass.kubernetes.io/is-default-class"] = "true" } : null);
        }

        foreach (var (name, value) in new[] { ("system-cluster-critical", 2_000_000_000), ("system-node-critical", 2_000_001_000) })
        {
            Create(cluster, "scheduling.k8s.io/v1", "PriorityClass", "", name, new JsonObject { ["value"] = value });
        }

        Roles(cluster);
        foreach (var node in cluster.Options.Nodes)
        {
            Node(cluster, node);
        }
    }

    /// <summary>What can only be said when the address is known.</summary>
    public static void Publish(InProcessCluster cluster) =>
        Create(cluster, "v1", "Service", "default", "kubernetes", new JsonObject
        {
            ["spec"] = new JsonObject
            {
                ["clusterIP"] = "10.96.0.1",
                ["ports"] = new JsonArray(
                    new JsonObject { ["name"] = "https", ["port"] = 443, ["protocol"] = "TCP", ["targetPort"] = cluster.Url.Port }),
            },
        });

    private static void Create(
        InProcessCluster cluster,
        string apiVersion,
        string kind,
        string ns,
        string name,
        JsonObject body,
        JsonObject? annotations = null,
        JsonObject? labels = null)
    {
        var definition = cluster.Kind(apiVersion, kind);
        var o = body.Copy();
        o["apiVersion"] = apiVersion;
        o["kind"] = kind;
        var metadata = new JsonObject { ["name"] = name };
        if (annotations is not null)
        {
            metadata["annotations"] = annotations;
        }

        if (labels is not null)
        {
            metadata["labels"] = labels;
        }

        o["metadata"] = metadata;
        if (cluster.Store.Get(ResourceService.StorageKey(definition), ns, name) is null)
        {
            cluster.Resources.Create(definition, ns, o, Context);
        }
    }

    private static JsonObject Rule(string verbs, string groups, string resources) => new()
    {
        ["verbs"] = new JsonArray([.. verbs.Split(' ').Select(v => (JsonNode)v)]),
        ["apiGroups"] = new JsonArray([.. groups.Split(' ').Select(v => (JsonNode)(v == "core" ? "" : v))]),
        ["resources"] = new JsonArray([.. resources.Split(' ').Select(v => (JsonNode)v)]),
    };

    private static void Roles(InProcessCluster cluster)
    {
        const string Rbac = "rbac.authorization.k8s.io/v1";
        void Role(string name, JsonArray rules, string? aggregatesTo = null, string? aggregatedFrom = null)
        {
            var o = new JsonObject { ["rules"] = rules };
            if (aggregatedFrom is not null)
            {
                o["aggregationRule"] = new JsonObject
                {
                    ["clusterRoleSelectors"] =
                        new JsonArray(new JsonObject { ["matchLabels"] = new JsonObject { [$"rbac.authorization.k8s.io/aggregate-to-{aggregatedFrom}"] = "true" } }),
                };
            }

            var labels = new JsonObject { ["kubernetes.io/bootstrapping"] = "rbac-defaults" };
            if (aggregatesTo is not null)
            {
                labels[$"rbac.authorization.k8s.io/aggregate-to-{aggregatesTo}"] = "true";
            }

            Create(cluster, Rbac, "ClusterRole", "", name, o, labels: labels);
        }

        const string Read = "get list watch";
        const string Write = "create delete deletecollection patch update";
        Role(
            "cluster-admin",
            new JsonArray(
                Rule("*", "*", "*"), new JsonObject { ["verbs"] = new JsonArray("*"), ["nonResourceURLs"] = new JsonArray("*") }));
        Role("view", [], "edit", "view");
        Role("edit", [], "admin", "edit");
        Role("admin", [], null, "admin");
        Role("system:aggregate-to-view", new JsonArray(
            Rule(Read, "core", "pods pods/log pods/status services configmaps persistentvolumeclaims serviceaccounts events endpoints "
                + "resourcequotas limitranges namespaces"),
            Rule(
                Read,
                "apps batch networking.k8s.io policy",
                "deployments replicasets statefulsets jobs cronjobs ingresses networkpolicies poddisruptionbudgets")), "view");
        Role("system:aggregate-to-edit", new JsonArray(
            Rule($"{Read} {Write}", "core", "pods services configmaps secrets persistentvolumeclaims serviceaccounts"),
            Rule("create", "core", "pods/eviction"),
            Rule(
                Write,
                "apps batch networking.k8s.io policy",
                "deployments deployments/scale replicasets statefulsets jobs cronjobs ingresses networkpolicies poddisruptionbudgets")),
            "edit");
        Role(
            "system:aggregate-to-admin",
            new JsonArray(Rule($"{Read} {Write}", "rbac.authorization.k8s.io", "roles rolebindings")),
            "admin");
        Create(cluster, Rbac, "ClusterRoleBinding", "", "cluster-admin", new JsonObject
        {
            ["roleRef"] =
                new JsonObject { ["apiGroup"] = "rbac.authorization.k8s.io", ["kind"] = "ClusterRole", ["name"] = "cluster-admin" },
            ["subjects"] = new JsonArray(
                new JsonObject { ["apiGroup"] = "rbac.authorization.k8s.io", ["kind"] = "Group", ["name"] = "system:masters" }),
        });
    }

    private static void Node(InProcessCluster cluster, TrialNode node)
    {
        var labels =
            new JsonObject { ["kubernetes.io/hostname"] = node.Name, ["kubernetes.io/os"] = "linux", ["kubernetes.io/arch"] = "amd64" };
        foreach (var (key, value) in node.Labels ?? new Dictionary<string, string>())
        {
            labels[key] = value;
        }

        var spec = new JsonObject();
        if (node.Taints is { Count: > 0 } taints)
        {
            spec["taints"] = new JsonArray([.. taints.Select(t =>
            {
                var effect = t.Split(':');
                var pair = effect[0].Split('=');
                var taint = new JsonObject { ["key"] = pair[0], ["effect"] = effect[1] };
                if (pair.Length > 1)
                {
                    taint["value"] = pair[1];
                }

                return (JsonNode)taint;
            })]);
        }

        Create(cluster, "v1", "Node", "", node.Name, new JsonObject { ["spec"] = spec }, labels: labels);
        var capacity = new JsonObject
        {
            ["cpu"] = node.Cpu.ToString(System.Globalization.CultureInfo.InvariantCulture), ["memory"] = node.Memory, ["pods"] = "1100",
            ["ephemeral-storage"] = "100Gi"
        };
        if (node.Gpus > 0)
        {
            capacity[node.GpuResource] = node.Gpus.ToString(System.Globalization.CultureInfo.InvariantCulture);
        }

        var definition = cluster.Kind("v1", "Node");
        var stored = cluster.Resources.Get(definition, "", node.Name).Value.Copy();
        stored["status"] = new JsonObject
        {
            ["capacity"] = capacity,
            ["allocatable"] = capacity.DeepClone(),
            ["conditions"] = new JsonArray(new JsonObject
            {
                ["type"] = "Ready", ["status"] = "True", ["reason"] = "KubeletReady", ["message"] = "kubelet is posting ready status",
                ["lastTransitionTime"] = Json.Time(cluster.Clock.GetUtcNow()),
            }),
            ["nodeInfo"] = new JsonObject { ["kubeletVersion"] = "v1.35.0", ["operatingSystem"] = "linux", ["architecture"] = "amd64" },
        };
        cluster.Resources.Update(definition, "", node.Name, stored, new WriteContext { Manager = "kubelet", Subresource = "status" });
    }
}
