// Why this exists: the admission plugins a default cluster has on, as far as pods, claims, quotas and roles of this project meet them.
using System.Globalization;
using System.Text.Json.Nodes;

namespace CoCLR.TrialCluster;

/// <summary>Admission plugins.</summary>
internal static class Admission
{
    private static readonly ResourceKey Accounts = new("", "serviceaccounts");
    private static readonly ResourceKey Classes = new("storage.k8s.io", "storageclasses");
    private static readonly ResourceKey Priorities = new("scheduling.k8s.io", "priorityclasses");
    private static readonly ResourceKey Quotas = new("", "resourcequotas");
    private static readonly ResourceKey Limits = new("", "limitranges");

    /// <summary>Puts all plugins in place.</summary>
    public static void Register(InProcessCluster cluster)
    {
        var service = cluster.Resources;
        service.Mutating.Add(r => ServiceAccount(cluster, r));
        service.Mutating.Add(r => DefaultStorageClass(cluster, r));
        service.Mutating.Add(r => Priority(cluster, r));
        service.Mutating.Add(r => LimitRange(cluster, r));
        service.Mutating.Add(r => DefaultTolerations(cluster, r));
        service.Validating.Add(r => Escalation(cluster, r));
        service.Validating.Add(r => PodSecurity.Check(cluster, r));
        service.Validating.Add(r => Quota(cluster, r));
        service.Rules = BuiltInRules.Validate;
    }

    private static void ServiceAccount(InProcessCluster cluster, AdmissionRequest request)
    {
        if (!request.Is("", "pods") || request.Old is not null)
        {
            return;
        }

        var spec = request.Object.Ensure("spec");
        var name = spec.Text("serviceAccountName") is { Length: > 0 } given ? given : "default";
        spec["serviceAccountName"] = name;
        spec["serviceAccount"] = name;
        var account = cluster.Store.Get(Accounts, request.Namespace, name)
            ?? throw ApiException.Forbidden(
                "",
                "pods",
                request.Object.Text("metadata", "name") ?? "",
                $"error looking up service account {request.Namespace}/{name}: serviceaccount \"{name}\" not found");
        if ((spec.Flag("automountServiceAccountToken") ?? account.Value.Flag("automountServiceAccountToken")) == false)
        {
            return;
        }

        const string Mount = "/var/run/secrets/kubernetes.io/serviceaccount";
        var volume = "kube-api-access-" + cluster.Resources.RandomSuffix();
        var used = false;
        foreach (var container in spec.Items("containers").Concat(spec.Items("initContainers")).OfType<JsonObject>())
        {
            if (container.Items("volumeMounts").Any(m => m.Text("mountPath") == Mount))
            {
                continue;
            }

            container.EnsureItems("volumeMounts").Add(new JsonObject { ["name"] = volume, ["readOnly"] = true, ["mountPath"] = Mount });
            used = true;
        }

        if (used)
        {
            spec.EnsureItems("volumes").Add(new JsonObject
            {
                ["name"] = volume,
                ["projected"] = new JsonObject
                {
                    ["defaultMode"] = 420,
                    ["sources"] = new JsonArray(
                        new JsonObject { ["serviceAccountToken"] = new JsonObject { ["expirationSeconds"] = 3607, ["path"] = "token" } },
                        new JsonObject { ["configMap"] = new JsonObject { ["name"] = "kube-root-ca.crt", ["items"] = new JsonArray(new JsonObject { ["key"] = "ca.crt", ["path"] = "ca.crt" }) } },
                        new JsonObject
                        {
                            ["downwardAPI"] = new JsonObject
                            {
                                ["items"] = new JsonArray(
                                    new JsonObject
                                    {
                                        ["path"] = "namespace",
                                        ["fieldRef"] = new JsonObject { ["apiVersion"] = "v1", ["fieldPath"] = "metadata.namespace" }
                                    }),
                            },
                        }),
                },
            });
        }
    }

    private static void DefaultTolerations(InProcessCluster cluster, AdmissionRequest request)
    {
        if (!request.Is("", "pods") || request.Old is not null)
        {
            return;
        }

        var tolerations = request.Object.Ensure("spec").EnsureItems("tolerations");
        foreach (var key in new[] { "node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable" })
        {
            var taint = new JsonObject { ["key"] = key, ["effect"] = "NoExecute" };
            if (!tolerations.Any(t => Scheduler.Tolerates(t!, taint)))
            {
                tolerations.Add(
                    new JsonObject
                    {
                        ["key"] = key, ["operator"] = "Exists", ["effect"] = "NoExecute",
                        ["tolerationSeconds"] = cluster.Options.DefaultTolerationSeconds
                    });
            }
        }
    }

    private static void DefaultStorageClass(InProcessCluster cluster, AdmissionRequest request)
    {
        if (!request.Is("", "persistentvolumeclaims") || request.Old is not null)
        {
            return;
        }

        request.Object.Ensure("status")["phase"] = "Pending";
        var finalizers = request.Object.Ensure("metadata").EnsureItems("finalizers");
        if (!finalizers.Any(f => f.Text() == "kubernetes.io/pvc-protection"))
        {
            finalizers.Add("kubernetes.io/pvc-protection");
        }

        var spec = request.Object.Ensure("spec");
        if (spec["storageClassName"] is null
            && cluster.Store.All(Classes).FirstOrDefault(
                c => c.Value.Text("metadata", "annotations", "storageclass.kubernetes.io/is-default-class") == "true") is { } standard)
        {
            spec["storageClassName"] = standard.Name;
        }
    }

    private static void Priority(InProcessCluster cluster, AdmissionRequest request)
    {
        if (!request.Is("", "pods") || request.Old is not null)
        {
            return;
        }

        var spec = request.Object.Ensure("spec");
        StoredObject? chosen;
        if (spec.Text("priorityClassName") is { Length: > 0 } name)
        {
            chosen = cluster.Store.Get(Priorities, "", name)
                ?? throw ApiException.Forbidden(
                    "", "pods", request.Object.Text("metadata", "name") ?? "", $"no PriorityClass with name {name} was found");
        }
        else
        {
            chosen = cluster.Store.All(Priorities).FirstOrDefault(p => p.Value.Flag("globalDefault") == true);
            if (chosen is not null)
            {
                spec["priorityClassName"] = chosen.Name;
            }
        }

        var value = chosen?.Value.Number("value") ?? 0;
        if (spec.Number("priority") is { } given && given != value)
        {
            throw ApiException.Forbidden(
                "",
                "pods",
                request.Object.Text("metadata", "name") ?? "",
                "the integer value of priority must not be provided in pod spec; priority admission controller computed "
                    + value.ToString(CultureInfo.InvariantCulture) + " from the given PriorityClass name");
        }

        spec["priority"] = value;
        spec["preemptionPolicy"] ??= chosen?.Value.Text("preemptionPolicy") ?? "PreemptLowerPriority";
    }

    private static void LimitRange(InProcessCluster cluster, AdmissionRequest request)
    {
        if (!request.Is("", "pods") || request.Old is not null)
        {
            return;
        }

        foreach (var limit in cluster.Store.All(Limits).Where(l => l.Namespace == request.Namespace).SelectMany(l => l.Value.Items("spec", "limits")).Where(l => l.Text("type") == "Container"))
        {
            foreach (var container in request.Object.Items("spec", "containers").OfType<JsonObject>())
            {
                foreach (var (from, to) in new[] { ("default", "limits"), ("defaultRequest", "requests") })
                {
                    foreach (var (name, value) in limit.Map(from) ?? [])
                    {
                        container.Ensure("resources", to)[name] ??= value!.DeepClone();
                    }
                }

                foreach (var (name, max) in limit.Map("max") ?? [])
                {
                    if (Quantities.Parse(container.At("resources", "limits", name)) is { } asked && asked > Quantities.Parse(max))
                    {
                        throw ApiException.Forbidden(
                            "",
                            "pods",
                            request.Object.Text("metadata", "name") ?? "",
                            $"maximum {name} usage per Container is {max}, but limit is {container.At("resources", "limits", name)}");
                    }
                }
            }
        }
    }

    private static void Escalation(InProcessCluster cluster, AdmissionRequest request)
    {
        if (request.Kind.Group != "rbac.authorization.k8s.io" || request.Context.User.IsMaster)
        {
            return;
        }

        IEnumerable<JsonNode> rules;
        if (request.Kind.Plural is "roles" or "clusterroles")
        {
            if (request.Old is not null && Json.Same(request.Old["rules"], request.Object["rules"]))
            {
                return;
            }

            rules = request.Object.Items("rules").OfType<JsonNode>();
        }
        else
        {
            var role = request.Object.At("roleRef");
            if (cluster.Authorizer.Allows(request.Context.User, new AccessAttributes("bind", "rbac.authorization.k8s.io", role.Text("kind") == "Role" ? "roles" : "clusterroles", request.Namespace, role.Text("name") ?? "")))
            {
                return;
            }

            rules = cluster.Authorizer.RulesOfRole(role.Text("kind") ?? "", request.Namespace, role.Text("name") ?? "");
        }

        var missing = cluster.Authorizer.Missing(request.Context.User, request.Namespace, rules);
        if (missing.Count > 0)
        {
            throw ApiException.Forbidden(request.Kind.Group, request.Kind.Plural, request.Object.Text("metadata", "name") ?? "",
                $"user \"{request.Context.User.Name}\" (groups=[{string.Join(' ', request.Context.User.Groups.Select(g => $"\"{g}\""))}]) "
                    + $"is attempting to grant RBAC permissions not currently held:\n{string.Join('\n', missing)}");
        }
    }

    private static void Quota(InProcessCluster cluster, AdmissionRequest request)
    {
        if (request.Old is not null || request.Namespace.Length == 0)
        {
            return;
        }

        foreach (var quota in cluster.Store.All(Quotas).Where(q => q.Namespace == request.Namespace))
        {
            var hard = quota.Value.Map("spec", "hard") ?? [];
            var wanted = Usage(request.Kind, request.Object);
            var exceeded = new List<(string Name, decimal Wanted, decimal Used, JsonNode Limit)>();
            foreach (var (name, limit) in hard)
            {
                if (!wanted.TryGetValue(name, out var value))
                {
                    // A quota on compute resources makes every pod say how much it asks for.
                    if (request.Is("", "pods")
                        && name is "cpu" or "memory" or "requests.cpu" or "requests.memory" or "limits.cpu" or "limits.memory"
                        && request.Is("", "pods"))
                    {
                        throw ApiException.Forbidden(
                            "",
                            "pods",
                            request.Object.Text("metadata", "name") ?? "",
                            $"failed quota: {quota.Name}: must specify {name} for: "
                                + $"{string.Join(",", request.Object.Items("spec", "containers").Select(c => c.Text("name")))}");
                    }

                    continue;
                }

                var used = cluster.Store.All(request.Kind.Key).Where(o => o.Namespace == request.Namespace)
                    .Sum(o => Usage(request.Kind, o.Value).GetValueOrDefault(name));
                if (used + value > (Quantities.Parse(limit) ?? 0))
                {
                    exceeded.Add((name, value, used, limit!));
                }
            }

            if (exceeded.Count > 0)
            {
                string List(Func<(string Name, decimal Wanted, decimal Used, JsonNode Limit), string> value) =>
                    string.Join(",", exceeded.Select(e => $"{e.Name}={value(e)}"));
                throw ApiException.Forbidden(request.Kind.Group, request.Kind.Plural, request.Object.Text("metadata", "name") ?? "",
                    $"exceeded quota: {quota.Name}, requested: {List(e => e.Wanted.ToString(CultureInfo.InvariantCulture))}, used: "
                        + $"{List(e => e.Used.ToString(CultureInfo.InvariantCulture))}, limited: "
                            + $"{List(e => e.Limit.Text() ?? e.Limit.ToJsonString())}");
            }
        }
    }

    private static Dictionary<string, decimal> Usage(ResourceDefinition kind, JsonObject o)
    {
        var usage = new Dictionary<string, decimal>(StringComparer.Ordinal);
        usage[kind.Group.Length == 0 ? $"count/{kind.Plural}" : $"count/{kind.Plural}.{kind.Group}"] = 1;
        if (kind.Group.Length > 0)
        {
            return usage;
        }

        usage[kind.Plural] = 1;
        if (kind.Plural == "pods")
        {
            if (o.Text("status", "phase") is "Succeeded" or "Failed")
            {
                return [];
            }

            foreach (var (name, value) in Quantities.RequestsOf(o))
            {
                usage["requests." + name] = value;
                usage[name] = value;
            }

            foreach (var container in o.Items("spec", "containers"))
            {
                foreach (var (name, value) in container.Map("resources", "limits") ?? [])
                {
                    usage["limits." + name] = usage.GetValueOrDefault("limits." + name) + (Quantities.Parse(value) ?? 0);
                }
            }
        }
        else if (kind.Plural == "persistentvolumeclaims")
        {
            usage["requests.storage"] = Quantities.Parse(o.At("spec", "resources", "requests", "storage")) ?? 0;
        }

        return usage;
    }
}
