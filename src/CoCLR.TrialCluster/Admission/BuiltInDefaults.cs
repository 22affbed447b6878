// Why this exists: a real server fills in a good many fields of built-in kinds; controllers that compare desired with observed must cope
// with them.
using System.Text.Json.Nodes;

namespace CoCLR.TrialCluster;

/// <summary>Defaults of the built-in kinds.</summary>
public static class BuiltInDefaults
{
    /// <summary>Fills in what a real server would.</summary>
    public static void Apply(ResourceDefinition kind, JsonObject o, JsonObject? old)
    {
        Quantities(o, kind.Schema);
        if (kind.IsCustom || kind.Group is "rbac.authorization.k8s.io" && kind.Plural is not ("rolebindings" or "clusterrolebindings"))
        {
            return;
        }

        switch (kind.Plural)
        {
            case "pods":
                PodSpec(o.Ensure("spec"));
                if (old is null)
                {
                    o["status"] = new JsonObject { ["phase"] = "Pending", ["qosClass"] = Quality(o) };
                }

                break;
            case "jobs":
                Job(o, old);
                break;
            case "cronjobs":
                var cron = o.Ensure("spec");
                Set(cron, "concurrencyPolicy", "Allow");
                Set(cron, "suspend", false);
                Set(cron, "successfulJobsHistoryLimit", 3);
                Set(cron, "failedJobsHistoryLimit", 1);
                PodSpec(cron.Ensure("jobTemplate", "spec", "template", "spec"));
                break;
            case "deployments":
                var deployment = o.Ensure("spec");
                Set(deployment, "replicas", 1);
                Set(deployment, "progressDeadlineSeconds", 600);
                Set(deployment, "revisionHistoryLimit", 10);
                var strategy = deployment.Ensure("strategy");
                Set(strategy, "type", "RollingUpdate");
                if (strategy.Text("type") == "RollingUpdate")
                {
                    var rolling = strategy.Ensure("rollingUpdate");
                    Set(rolling, "maxSurge", "25%");
                    Set(rolling, "maxUnavailable", "25%");
                }

                PodSpec(deployment.Ensure("template", "spec"));
                break;
            case "replicasets":
                Set(o.Ensure("spec"), "replicas", 1);
                PodSpec(o.Ensure("spec", "template", "spec"));
                break;
            case "statefulsets":
                Set(o.Ensure("spec"), "replicas", 1);
                PodSpec(o.Ensure("spec", "template", "spec"));
                break;
            case "services":
                Service(o.Ensure("spec"), old);
                break;
            case "secrets":
                Secret(o);
                break;
            case "persistentvolumeclaims":
                Set(o.Ensure("spec"), "volumeMode", "Filesystem");
                break;
            case "namespaces":
                Set(o.Ensure("metadata").Ensure("labels"), "kubernetes.io/metadata.name", o.Text("metadata", "name") ?? "");
                if (o.At("spec", "finalizers") is null && old is null)
                {
                    o.Ensure("spec")["finalizers"] = new JsonArray("kubernetes");
                    o.Ensure("status")["phase"] = "Active";
                }

                break;
            case "networkpolicies":
                if (o.At("spec", "policyTypes") is null)
                {
                    o.Ensure("spec")["policyTypes"] =
                        o.At("spec", "egress") is null ? new JsonArray("Ingress") : new JsonArray("Ingress", "Egress");
                }

                break;
            case "storageclasses":
                Set(o, "reclaimPolicy", "Delete");
                Set(o, "volumeBindingMode", "Immediate");
                break;
            case "roles" or "clusterroles":
                break;
            case "rolebindings" or "clusterrolebindings":
                Set(o.Ensure("roleRef"), "apiGroup", "rbac.authorization.k8s.io");
                foreach (var subject in o.Items("subjects").OfType<JsonObject>())
                {
                    if (subject.Text("kind") is "User" or "Group")
                    {
                        Set(subject, "apiGroup", "rbac.authorization.k8s.io");
                    }
                }

                break;
            case "poddisruptionbudgets":
                break;
            case "customresourcedefinitions":
                Crd(o);
                break;
        }
    }

    private static string Quality(JsonObject pod)
    {
        var resources = pod.Items("spec", "containers").Select(c => c.At("resources")).ToList();
        if (resources.TrueForAll(r => r.Map("requests") is null or { Count: 0 } && r.Map("limits") is null or { Count: 0 }))
        {
            return "BestEffort";
        }

        return resources.TrueForAll(
            r => new[] { "cpu", "memory" }.All(n => r.At("limits", n) is { } l && Json.Same(l, r.At("requests", n))))
            ? "Guaranteed"
            : "Burstable";
    }

    private static void Crd(JsonObject o)
    {
        var names = o.Ensure("spec").Ensure("names");
        Set(names, "singular", (names.Text("kind") ?? "").ToLowerInvariant());
        Set(names, "listKind", names.Text("kind") + "List");
        Set(o.Ensure("spec").Ensure("conversion"), "strategy", "None");
    }

    private static void Secret(JsonObject o)
    {
        Set(o, "type", "Opaque");

        // stringData is write-only: it ends up in data.
        if (o["stringData"] is JsonObject plain)
        {
            var data = o.Ensure("data");
            foreach (var (name, value) in plain)
            {
                data[name] = Convert.ToBase64String(System.Text.Encoding.UTF8.GetBytes(value?.GetValue<string>() ?? ""));
            }

            o.Remove("stringData");
        }
    }

    private static void Service(JsonObject spec, JsonObject? old)
    {
        Set(spec, "type", "ClusterIP");
        Set(spec, "sessionAffinity", "None");
        Set(spec, "internalTrafficPolicy", "Cluster");
        if (spec.Text("type") != "ExternalName")
        {
            if (old.Text("spec", "clusterIP") is { } ip)
            {
                Set(spec, "clusterIP", ip);
            }

            Set(spec, "clusterIP", $"10.96.{Random.Shared.Next(1, 255)}.{Random.Shared.Next(1, 255)}");
            if (spec["clusterIPs"] is null)
            {
                spec["clusterIPs"] = new JsonArray(spec.Text("clusterIP"));
            }

            if (spec["ipFamilies"] is null)
            {
                spec["ipFamilies"] = new JsonArray("IPv4");
            }

            Set(spec, "ipFamilyPolicy", "SingleStack");
        }

        foreach (var port in spec.Items("ports").OfType<JsonObject>())
        {
            Set(port, "protocol", "TCP");
            if (port["targetPort"] is null && port["port"] is { } number)
            {
                port["targetPort"] = number.DeepClone();
            }
        }
    }

    private static void Job(JsonObject o, JsonObject? old)
    {
        var spec = o.Ensure("spec");
        if (spec["completions"] is null && spec["parallelism"] is null)
        {
            spec["completions"] = 1;
        }

        Set(spec, "parallelism", 1);
        Set(spec, "backoffLimit", 6);
        Set(spec, "completionMode", "NonIndexed");
        Set(spec, "suspend", false);
        Set(spec, "manualSelector", false);
        Set(spec, "podReplacementPolicy", spec["podFailurePolicy"] is null ? "TerminatingOrFailed" : "Failed");
        foreach (var rule in spec.Items("podFailurePolicy", "rules").OfType<JsonObject>())
        {
            foreach (var pattern in rule.Items("onPodConditions").OfType<JsonObject>())
            {
                Set(pattern, "status", "True");
            }
        }

        if (spec.At("template", "spec") is JsonObject pod)
        {
            PodSpec(pod);
        }

        if (old is null && spec.Flag("manualSelector") != true && spec["template"] is JsonObject template)
        {
            var uid = o.Text("metadata", "uid") ?? "";
            var name = o.Text("metadata", "name") ?? "";
            var labels = template.Ensure("metadata").Ensure("labels");
            foreach (var prefix in new[] { "", "batch.kubernetes.io/" })
            {
                labels[prefix + "controller-uid"] = uid;
                labels[prefix + "job-name"] = name;
            }

            if (spec["selector"] is null)
            {
                spec["selector"] = new JsonObject { ["matchLabels"] = new JsonObject { ["batch.kubernetes.io/controller-uid"] = uid } };
            }
        }

        // The object's labels follow those of its template where it has none of its own.
        if (o.At("metadata", "labels") is null && spec.At("template", "metadata", "labels") is JsonObject all)
        {
            o.Ensure("metadata")["labels"] = all.DeepClone();
        }
    }

    /// <summary>Defaults of a pod spec.</summary>
    public static void PodSpec(JsonObject spec)
    {
        Set(spec, "restartPolicy", "Always");
        Set(spec, "dnsPolicy", "ClusterFirst");
        Set(spec, "terminationGracePeriodSeconds", 30);
        Set(spec, "schedulerName", "default-scheduler");
        spec.Ensure("securityContext");
        foreach (var container in spec.Items("containers").Concat(spec.Items("initContainers")).OfType<JsonObject>())
        {
            var image = container.Text("image") ?? "";
            var tag = image.LastIndexOf(':') > image.LastIndexOf('/')
                ? image[(image.LastIndexOf(':') + 1)..]
                : image.Contains('@', StringComparison.Ordinal)
                ? "digest"
                : "latest";
            Set(container, "imagePullPolicy", tag == "latest" ? "Always" : "IfNotPresent");
            Set(container, "terminationMessagePath", "/dev/termination-log");
            Set(container, "terminationMessagePolicy", "File");
            if (container["resources"] is null)
            {
                container["resources"] = new JsonObject();
            }
            else if (container.Map("resources", "limits") is { } limits)
            {
                // What is limited and not requested is requested in full.
                var requests = container.Ensure("resources").Ensure("requests");
                foreach (var (name, value) in limits)
                {
                    Set(requests, name, value!.DeepClone());
                }
            }

            foreach (var port in container.Items("ports").OfType<JsonObject>())
            {
                Set(port, "protocol", "TCP");
            }

            foreach (var probe in new[] { "livenessProbe", "readinessProbe", "startupProbe" })
            {
                if (container[probe] is JsonObject p)
                {
                    Set(p, "timeoutSeconds", 1);
                    Set(p, "periodSeconds", 10);
                    Set(p, "successThreshold", 1);
                    Set(p, "failureThreshold", 3);
                    if (p["httpGet"] is JsonObject get)
                    {
                        Set(get, "path", "/");
                        Set(get, "scheme", "HTTP");
                    }
                }
            }

            foreach (var env in container.Items("env"))
            {
                if (env.Map("valueFrom", "fieldRef") is { } field)
                {
                    Set(field, "apiVersion", "v1");
                }
            }
        }

        foreach (var volume in spec.Items("volumes").OfType<JsonObject>())
        {
            foreach (var source in new[] { "secret", "configMap", "projected", "downwardAPI" })
            {
                if (volume[source] is JsonObject s)
                {
                    Set(s, "defaultMode", 420);
                    foreach (var token in s.Items("sources"))
                    {
                        if (token.Map("serviceAccountToken") is { } t)
                        {
                            Set(t, "expirationSeconds", 3600);
                        }
                    }
                }
            }
        }

        if (spec.Text("serviceAccountName") is { Length: > 0 } account)
        {
            Set(spec, "serviceAccount", account);
        }
    }

    private static void Quantities(JsonNode? node, Schema schema)
    {
        switch (node)
        {
            case JsonObject o:
                foreach (var (name, value) in o.ToList())
                {
                    if (schema.Property(name) is not { } property)
                    {
                        continue;
                    }

                    if (property.Format == "quantity" && property.IntOrString)
                    {
                        if (value is JsonValue v && v.GetValueKind() == System.Text.Json.JsonValueKind.Number)
                        {
                            o[name] = v.ToJsonString();
                        }
                    }
                    else
                    {
                        Quantities(value, property);
                    }
                }

                break;
            case JsonArray a when schema.Items is { } items && items.Type == "object":
                foreach (var item in a)
                {
                    Quantities(item, items);
                }

                break;
        }
    }

    private static void Set(JsonObject o, string name, JsonNode value)
    {
        if (o[name] is null)
        {
            o[name] = value;
        }
    }
}
