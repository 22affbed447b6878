// Why this exists: the hand-written validation of built-in kinds: what a Job, a pod, a CRD or a binding must and must not say, and what may
// never change.
using System.Text.Json.Nodes;

namespace CoCLR.TrialCluster;

/// <summary>Validation of built-in kinds beyond their schema.</summary>
internal static class BuiltInRules
{
    private static readonly string[] PodMutable =
        ["activeDeadlineSeconds", "tolerations", "terminationGracePeriodSeconds", "schedulingGates", "nodeName"];

    /// <summary>Adds what is wrong.</summary>
    public static void Validate(AdmissionRequest request, List<FieldError> errors)
    {
        var o = request.Object;
        switch (request.Kind.Key.ToString())
        {
            case "pods":
                Pod(o["spec"], "spec", errors, true);
                if (request.Old is not null)
                {
                    PodUnchanged(request.Old["spec"], o["spec"], errors);
                }

                break;
            case "jobs.batch":
                Job(request, errors);
                break;
            case "deployments.apps":
            case "replicasets.apps":
            case "statefulsets.apps":
                Workload(request, errors);
                break;
            case "persistentvolumeclaims":
                Claim(request, errors);
                break;
            case "configmaps":
            case "secrets":
                Data(request, errors);
                break;
            case "services":
                if (o.Items("spec", "ports").Count == 0 && o.Text("spec", "clusterIP") != "None"
                    && o.Text("spec", "type") != "ExternalName")
                {
                    errors.Add(FieldError.Required("spec.ports"));
                }

                Immutable(request, errors, "spec", "clusterIP");
                break;
            case "rolebindings.rbac.authorization.k8s.io":
            case "clusterrolebindings.rbac.authorization.k8s.io":
                if (request.Old is not null && !Json.Same(request.Old["roleRef"], o["roleRef"]))
                {
                    errors.Add(FieldError.Invalid("roleRef", o["roleRef"], "cannot change roleRef"));
                }

                foreach (var (subject, i) in o.Items("subjects").Select((s, i) => (s, i)))
                {
                    if (subject.Text("kind") == "ServiceAccount" && string.IsNullOrEmpty(subject.Text("namespace")))
                    {
                        errors.Add(FieldError.Required($"subjects[{i}].namespace"));
                    }
                }

                break;
            case "roles.rbac.authorization.k8s.io":
            case "clusterroles.rbac.authorization.k8s.io":
                foreach (var (rule, i) in o.Items("rules").Select((r, i) => (r, i)))
                {
                    if (rule.Items("verbs").Count == 0)
                    {
                        errors.Add(FieldError.Required($"rules[{i}].verbs", "verbs must contain at least one value"));
                    }

                    if (rule.Items("nonResourceURLs").Count == 0)
                    {
                        if (rule.Items("apiGroups").Count == 0)
                        {
                            errors.Add(FieldError.Required($"rules[{i}].apiGroups", "resource rules must supply at least one api group"));
                        }

                        if (rule.Items("resources").Count == 0)
                        {
                            errors.Add(FieldError.Required($"rules[{i}].resources", "resource rules must supply at least one resource"));
                        }
                    }
                }

                break;
            case "leases.coordination.k8s.io":
                if (o.Number("spec", "leaseDurationSeconds") is <= 0)
                {
                    errors.Add(
                        FieldError.Invalid("spec.leaseDurationSeconds", o.At("spec", "leaseDurationSeconds"), "must be greater than 0"));
                }

                if (o.Number("spec", "leaseTransitions") is < 0)
                {
                    errors.Add(
                        FieldError.Invalid(
                            "spec.leaseTransitions", o.At("spec", "leaseTransitions"), "must be greater than or equal to 0"));
                }

                break;
            case "events":
                if (o.Text("message") is { Length: > 1024 } && o["eventTime"] is not null)
                {
                    errors.Add(FieldError.Invalid("message", "", "can have at most 1024 characters"));
                }

                if (o.Text("involvedObject", "namespace") is { } ns && ns.Length > 0 && ns != request.Namespace)
                {
                    errors.Add(FieldError.Invalid("involvedObject.namespace", ns, "does not match event.namespace"));
                }

                break;
            case "customresourcedefinitions.apiextensions.k8s.io":
                CustomResourceDefinitionRules.Validate(request, errors);
                break;
        }
    }

    private static void Immutable(AdmissionRequest request, List<FieldError> errors, params string[] path)
    {
        if (request.Old is not null && request.Old.At(path) is { } before && !Json.Same(before, request.Object.At(path)))
        {
            errors.Add(FieldError.Invalid(string.Join('.', path), request.Object.At(path), "field is immutable"));
        }
    }

    private static void Data(AdmissionRequest request, List<FieldError> errors)
    {
        var size = 0L;
        foreach (var field in new[] { "data", "binaryData" })
        {
            foreach (var (key, value) in request.Object.Map(field) ?? [])
            {
                if (key.Length is 0 or > 253 || !key.All(c => char.IsAsciiLetterOrDigit(c) || c is '-' or '_' or '.'))
                {
                    errors.Add(
                        FieldError.Invalid($"{field}[{key}]", key, "a valid config key must consist of alphanumeric characters, '-', '_' "
                            + "or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')"));
                }

                size += value.Text()?.Length ?? 0;
            }
        }

        if (size > 1024 * 1024)
        {
            errors.Add(FieldError.TooLong(request.Kind.Plural == "secrets" ? "data" : "[]", 1024 * 1024));
        }

        if (request.Old?.Flag("immutable") == true && request.Object.Flag("immutable") != true)
        {
            errors.Add(FieldError.Forbidden("immutable", "field is immutable when `immutable` is set"));
        }

        if (request.Old?.Flag("immutable") == true && !Json.Same(request.Old["data"], request.Object["data"]))
        {
            errors.Add(FieldError.Forbidden("data", "field is immutable when `immutable` is set"));
        }

        if (request.Kind.Plural == "secrets")
        {
            Immutable(request, errors, "type");
        }
    }

    private static void Claim(AdmissionRequest request, List<FieldError> errors)
    {
        var spec = request.Object["spec"];
        if (spec.Items("accessModes").Count == 0)
        {
            errors.Add(FieldError.Required("spec.accessModes", "at least 1 access mode is required"));
        }

        foreach (var mode in spec.Items("accessModes"))
        {
            if (mode.Text() is not ("ReadWriteOnce" or "ReadOnlyMany" or "ReadWriteMany" or "ReadWriteOncePod"))
            {
                errors.Add(
                    FieldError.NotSupported(
                        "spec.accessModes", mode, ["\"ReadOnlyMany\"", "\"ReadWriteMany\"", "\"ReadWriteOnce\"", "\"ReadWriteOncePod\""]));
            }
        }

        if (spec.At("resources", "requests", "storage") is null)
        {
            errors.Add(FieldError.Required("spec.resources[storage]"));
        }
        else if (!(Quantities.Parse(spec.At("resources", "requests", "storage")) > 0))
        {
            errors.Add(
                FieldError.Invalid("spec.resources[storage]", spec.At("resources", "requests", "storage"), "must be greater than zero"));
        }

        if (spec.Text("storageClassName") is { Length: > 0 } className && !ObjectMetaRules.IsSubdomain(className))
        {
            errors.Add(FieldError.Invalid("spec.storageClassName", className, ObjectMetaRules.SubdomainMessage));
        }

        if (request.Old is { } old)
        {
            static JsonObject Fixed(JsonNode? s)
            {
                var copy = (s as JsonObject)?.Copy() ?? [];
                copy.Remove("resources");
                copy.Remove("volumeName");
                copy.Remove("volumeAttributesClassName");
                return copy;
            }

            if (!Json.Same(Fixed(old["spec"]), Fixed(spec)))
            {
                errors.Add(
                    FieldError.Forbidden(
                        "spec",
                        "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims"));
            }
        }
    }

    private static void Workload(AdmissionRequest request, List<FieldError> errors)
    {
        var o = request.Object;
        if (o.Number("spec", "replicas") is < 0)
        {
            errors.Add(FieldError.Invalid("spec.replicas", o.At("spec", "replicas"), "must be greater than or equal to 0"));
        }

        var selector = o.At("spec", "selector");
        if ((selector.Map("matchLabels")?.Count ?? 0) == 0 && selector.Items("matchExpressions").Count == 0)
        {
            errors.Add(FieldError.Invalid("spec.selector", selector, "empty selector is invalid for deployment"));
        }
        else if (!Selector.Matches(selector, o.At("spec", "template", "metadata", "labels")))
        {
            errors.Add(
                FieldError.Invalid(
                    "spec.template.metadata.labels",
                    o.At("spec", "template", "metadata", "labels"),
                    "`selector` does not match template `labels`"));
        }

        Immutable(request, errors, "spec", "selector");
        if (o.Text("spec", "template", "spec", "restartPolicy") is { } policy and not "Always")
        {
            errors.Add(FieldError.NotSupported("spec.template.spec.restartPolicy", policy, ["\"Always\""]));
        }

        if (o.Text("spec", "strategy", "type") == "Recreate" && o.At("spec", "strategy", "rollingUpdate") is not null)
        {
            errors.Add(FieldError.Forbidden("spec.strategy.rollingUpdate", "may not be specified when strategy `type` is 'Recreate'"));
        }

        ObjectMetaRules.Labels(o.At("spec", "template", "metadata", "labels"), "spec.template.metadata.labels", errors);
        Pod(o.At("spec", "template", "spec"), "spec.template.spec", errors, false);
    }

    private static void Job(AdmissionRequest request, List<FieldError> errors)
    {
        var spec = request.Object["spec"];
        var name = request.Object.Text("metadata", "name") ?? "";
        foreach (var field in new[] { "parallelism", "completions", "backoffLimit", "activeDeadlineSeconds", "ttlSecondsAfterFinished" })
        {
            if (spec.Number(field) is < 0)
            {
                errors.Add(FieldError.Invalid($"spec.{field}", spec.At(field), "must be greater than or equal to 0"));
            }
        }

        var policy = spec.Text("template", "spec", "restartPolicy");
        if (policy is not ("Never" or "OnFailure"))
        {
            errors.Add(policy == "Always"
                ? FieldError.NotSupported("spec.template.spec.restartPolicy", policy, ["\"OnFailure\"", "\"Never\""])
                : FieldError.Required("spec.template.spec.restartPolicy", "valid values: \"OnFailure\", \"Never\""));
        }

        if (spec.Map("podFailurePolicy") is { } failure)
        {
            if (policy != "Never")
            {
                errors.Add(
                    FieldError.Invalid(
                        "spec.template.spec.restartPolicy", policy, "only \"Never\" is supported when podFailurePolicy is specified"));
            }

            foreach (var (rule, i) in failure.Items("rules").Select((r, i) => (r, i)))
            {
                var path = $"spec.podFailurePolicy.rules[{i}]";
                if (rule.Text("action") is not ("FailJob" or "FailIndex" or "Ignore" or "Count"))
                {
                    errors.Add(
                        FieldError.NotSupported(
                            path + ".action", rule.Text("action"), ["\"Count\"", "\"FailIndex\"", "\"FailJob\"", "\"Ignore\""]));
                }

                var codes = rule.Map("onExitCodes");
                var conditions = rule.Items("onPodConditions");
                if (codes is not null && conditions.Count > 0)
                {
                    errors.Add(FieldError.Invalid(path, "", "specifying both OnExitCodes and OnPodConditions is not supported"));
                }
                else if (codes is null && conditions.Count == 0)
                {
                    errors.Add(FieldError.Invalid(path, "", "specifying one of OnExitCodes and OnPodConditions is required"));
                }

                if (codes is not null)
                {
                    var values = codes.Items("values").Select(Json.AsLong).ToList();
                    if (values.Count is 0)
                    {
                        errors.Add(FieldError.Invalid(path + ".onExitCodes.values", codes.At("values"), "at least one value is required"));
                    }

                    if (values.Count > 255)
                    {
                        errors.Add(FieldError.TooMany(path + ".onExitCodes.values", values.Count, 255));
                    }

                    if (codes.Text("operator") == "In" && values.Contains(0))
                    {
                        errors.Add(FieldError.Invalid(path + ".onExitCodes.values", 0, "must not be 0 for the In operator"));
                    }

                    for (var k = 1; k < values.Count; k++)
                    {
                        if (values[k] == values[k - 1])
                        {
                            errors.Add(FieldError.Duplicate($"{path}.onExitCodes.values[{k}]", values[k]));
                        }
                        else if (values[k] < values[k - 1])
                        {
                            errors.Add(FieldError.Invalid(path + ".onExitCodes.values", codes.At("values"), "must be ordered"));
                            break;
                        }
                    }

                    if (codes.Text("operator") is not ("In" or "NotIn"))
                    {
                        errors.Add(
                            FieldError.NotSupported(path + ".onExitCodes.operator", codes.Text("operator"), ["\"In\"", "\"NotIn\""]));
                    }

                    if (codes.Text("containerName") is { } container
                        && !spec.Items("template", "spec", "containers").Concat(spec.Items("template", "spec", "initContainers"))
                            .Any(c => c.Text("name") == container))
                    {
                        errors.Add(
                            FieldError.Invalid(
                                path + ".onExitCodes.containerName",
                                container,
                                "must be one of the container or initContainer names in the pod template"));
                    }
                }

                if (conditions.Count > 20)
                {
                    errors.Add(FieldError.TooMany(path + ".onPodConditions", conditions.Count, 20));
                }
            }

            if (failure.Items("rules").Count > 20)
            {
                errors.Add(FieldError.TooMany("spec.podFailurePolicy.rules", failure.Items("rules").Count, 20));
            }

            if (spec.Text("podReplacementPolicy") == "TerminatingOrFailed")
            {
                errors.Add(FieldError.NotSupported("spec.podReplacementPolicy", "TerminatingOrFailed", ["\"Failed\""]));
            }
        }

        if (spec.Text("managedBy") is { } manager && (manager.Length > 63 || !manager.Contains('/', StringComparison.Ordinal)))
        {
            errors.Add(FieldError.Invalid("spec.managedBy", manager, "must be a domain-prefixed path (such as \"acme.io/foo\")"));
        }

        if (request.Old is null && name.Length > 63)
        {
            // Pod labels take the job's name: above 63 characters the pods are refused for their labels.
            errors.Add(FieldError.Invalid("spec.template.labels", name, "must be no more than 63 bytes"));
        }

        ObjectMetaRules.Labels(spec.At("template", "metadata", "labels"), "spec.template.metadata.labels", errors);
        Pod(spec.At("template", "spec"), "spec.template.spec", errors, false);
        if (request.Old is not { } old)
        {
            return;
        }

        foreach (var field in new[] { "completions", "selector", "completionMode", "podFailurePolicy", "backoffLimitPerIndex", "managedBy", "successPolicy" })
        {
            if (!Json.Same(old.At("spec", field), spec.At(field)))
            {
                errors.Add(FieldError.Invalid($"spec.{field}", spec.At(field), "field is immutable"));
            }
        }

        // Scheduling directives may change while the job is suspended and has not started: this is how a queue places it.
        var free = old.Flag("spec", "suspend") == true && old.At("status", "startTime") is null;
        if (!Json.Same(Template(old.At("spec", "template"), free), Template(spec.At("template"), free)))
        {
            errors.Add(FieldError.Invalid("spec.template", spec.At("template"), "field is immutable"));
        }
    }

    private static JsonObject Template(JsonNode? template, bool withoutScheduling)
    {
        var copy = (template as JsonObject)?.Copy() ?? [];
        if (withoutScheduling)
        {
            if (copy.Map("spec") is { } spec)
            {
                spec.Remove("nodeSelector");
                spec.Remove("tolerations");
                spec.Remove("schedulingGates");
                spec.Map("affinity")?.Remove("nodeAffinity");
                if (spec.Map("affinity") is { Count: 0 })
                {
                    spec.Remove("affinity");
                }
            }

            copy.Map("metadata")?.Remove("labels");
            copy.Map("metadata")?.Remove("annotations");
            if (copy.Map("metadata") is { Count: 0 })
            {
                copy.Remove("metadata");
            }
        }

        return copy;
    }

    private static void PodUnchanged(JsonNode? before, JsonNode? after, List<FieldError> errors)
    {
        static JsonObject Fixed(JsonNode? spec)
        {
            var copy = (spec as JsonObject)?.Copy() ?? [];
            foreach (var field in PodMutable)
            {
                copy.Remove(field);
            }

            foreach (var container in copy.Items("containers").Concat(copy.Items("initContainers")).OfType<JsonObject>())
            {
                container.Remove("image");
            }

            return copy;
        }

        if (!Json.Same(Fixed(before), Fixed(after)))
        {
            errors.Add(FieldError.Forbidden("spec", "pod updates may not change fields other than "
                + "`spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only "
                    + "additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was "
                        + "previously negative)"));
        }
    }

    private static void Pod(JsonNode? spec, string path, List<FieldError> errors, bool isPod)
    {
        if (spec is null)
        {
            return;
        }

        if (spec.Items("containers").Count == 0)
        {
            errors.Add(FieldError.Required(path + ".containers"));
        }

        var volumes = new HashSet<string>(StringComparer.Ordinal);
        foreach (var (volume, i) in spec.Items("volumes").Select((v, i) => (v, i)))
        {
            var at = $"{path}.volumes[{i}]";
            var name = volume.Text("name") ?? "";
            if (!ObjectMetaRules.IsLabel(name))
            {
                errors.Add(FieldError.Invalid(at + ".name", name, ObjectMetaRules.LabelMessage));
            }

            if (!volumes.Add(name))
            {
                errors.Add(FieldError.Duplicate(at + ".name", name));
            }

            var sources = (volume as JsonObject)?.Count(p => p.Key != "name" && p.Value is not null) ?? 0;
            if (sources != 1)
            {
                errors.Add(
                    sources == 0
                        ? FieldError.Required(at, "must specify a volume type")
                        : FieldError.Forbidden(at, "may not specify more than 1 volume type"));
            }
        }

        var names = new HashSet<string>(StringComparer.Ordinal);
        foreach (var list in new[] { "initContainers", "containers" })
        {
            foreach (var (container, i) in spec.Items(list).Select((c, i) => (c, i)))
            {
                Container(container, $"{path}.{list}[{i}]", names, volumes, errors);
            }
        }

        if (spec.Text("restartPolicy") is { } restart and not ("Always" or "OnFailure" or "Never"))
        {
            errors.Add(FieldError.NotSupported(path + ".restartPolicy", restart, ["\"Always\"", "\"OnFailure\"", "\"Never\""]));
        }

        if (spec.Number("activeDeadlineSeconds") is < 1)
        {
            errors.Add(
                FieldError.Invalid(
                    path + ".activeDeadlineSeconds", spec.At("activeDeadlineSeconds"), "must be between 1 and 2147483647, inclusive"));
        }

        ObjectMetaRules.Labels(spec.At("nodeSelector"), path + ".nodeSelector", errors);
        foreach (var (expression, i) in spec.Items("affinity", "nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution", "nodeSelectorTerms")
            .SelectMany(t => t.Items("matchExpressions")).Select((e, i) => (e, i)))
        {
            if (ObjectMetaRules.QualifiedError(expression.Text("key") ?? "") is { } why)
            {
                errors.Add(FieldError.Invalid($"{path}.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchExpressions[{i}].key", expression.Text("key"), why));
            }
        }

        foreach (var (toleration, i) in spec.Items("tolerations").Select((t, i) => (t, i)))
        {
            var at = $"{path}.tolerations[{i}]";
            if (toleration.Text("operator") is { } op and not ("Exists" or "Equal" or "Lt" or "Gt"))
            {
                errors.Add(FieldError.NotSupported(at + ".operator", op, ["\"Equal\"", "\"Exists\""]));
            }

            if (toleration.Text("operator") == "Exists" && !string.IsNullOrEmpty(toleration.Text("value")))
            {
                errors.Add(
                    FieldError.Invalid(at + ".operator", toleration.Text("value"), "value must be empty when `operator` is 'Exists'"));
            }

            if (string.IsNullOrEmpty(toleration.Text("key")) && toleration.Text("operator") != "Exists")
            {
                errors.Add(
                    FieldError.Invalid(
                        at + ".operator",
                        toleration.Text("operator") ?? "",
                        "operator must be Exists when `key` is empty, which means \"match all values and all keys\""));
            }

            if (toleration.Text("effect") is { Length: > 0 } effect and not ("NoSchedule" or "PreferNoSchedule" or "NoExecute"))
            {
                errors.Add(FieldError.NotSupported(at + ".effect", effect, ["\"NoSchedule\"", "\"PreferNoSchedule\"", "\"NoExecute\""]));
            }

            if (toleration.At("tolerationSeconds") is not null && toleration.Text("effect") != "NoExecute")
            {
                errors.Add(
                    FieldError.Invalid(
                        at + ".effect", toleration.Text("effect") ?? "", "effect must be 'NoExecute' when `tolerationSeconds` is set"));
            }
        }

        _ = isPod;
    }

    private static void Container(JsonNode? container, string at, HashSet<string> names, HashSet<string> volumes, List<FieldError> errors)
    {
        var name = container.Text("name") ?? "";
        if (!ObjectMetaRules.IsLabel(name))
        {
            errors.Add(FieldError.Invalid(at + ".name", name, ObjectMetaRules.LabelMessage));
        }

        if (!names.Add(name))
        {
            errors.Add(FieldError.Duplicate(at + ".name", name));
        }

        if (string.IsNullOrEmpty(container.Text("image")))
        {
            errors.Add(FieldError.Required(at + ".image"));
        }
        else if (container.Text("image") is { } image && image.Trim() != image)
        {
            errors.Add(FieldError.Invalid(at + ".image", image, "must not have leading or trailing whitespace"));
        }

        foreach (var (env, i) in container.Items("env").Select((e, i) => (e, i)))
        {
            var envName = env.Text("name") ?? "";
            if (envName.Length == 0)
            {
                errors.Add(FieldError.Required($"{at}.env[{i}].name"));
            }
            else if (envName.Contains('=', StringComparison.Ordinal) || envName.Any(c => c is < ' ' or > '~'))
            {
                errors.Add(
                    FieldError.Invalid(
                        $"{at}.env[{i}].name",
                        envName,
                        "a valid environment variable name must consist only of printable ASCII characters other than '='"));
            }

            if (env.Map("valueFrom") is { } from)
            {
                if (!string.IsNullOrEmpty(env.Text("value")))
                {
                    errors.Add(FieldError.Invalid($"{at}.env[{i}].valueFrom", "", "may not be specified when `value` is not empty"));
                }

                if (from.Count(p => p.Value is not null) != 1)
                {
                    errors.Add(FieldError.Invalid($"{at}.env[{i}].valueFrom", "", "may not have more than one field specified at a time"));
                }
            }
        }

        var mounts = new HashSet<string>(StringComparer.Ordinal);
        foreach (var (mount, i) in container.Items("volumeMounts").Select((m, i) => (m, i)))
        {
            if (!volumes.Contains(mount.Text("name") ?? ""))
            {
                errors.Add(FieldError.NotFound($"{at}.volumeMounts[{i}].name", mount.Text("name") ?? ""));
            }

            if (!mounts.Add(mount.Text("mountPath") ?? ""))
            {
                errors.Add(FieldError.Invalid($"{at}.volumeMounts[{i}].mountPath", mount.Text("mountPath"), "must be unique"));
            }

            if (mount.Text("subPath") is { } sub && (sub.StartsWith('/') || sub.Split('/').Contains("..")))
            {
                errors.Add(FieldError.Invalid($"{at}.volumeMounts[{i}].subPath", sub, "must be a relative path"));
            }
        }

        foreach (var (port, i) in container.Items("ports").Select((p, i) => (p, i)))
        {
            if (port.Number("containerPort") is not (>= 1 and <= 65535))
            {
                errors.Add(
                    FieldError.Invalid(
                        $"{at}.ports[{i}].containerPort", port.At("containerPort"), "must be between 1 and 65535, inclusive"));
            }

            if (port.Text("name") is { Length: > 15 } portName)
            {
                errors.Add(FieldError.Invalid($"{at}.ports[{i}].name", portName, "must be no more than 15 characters"));
            }
        }

        foreach (var kind in new[] { "limits", "requests" })
        {
            foreach (var (resource, value) in container.Map("resources", kind) ?? [])
            {
                var where = $"{at}.resources.{kind}[{resource}]";
                if (Quantities.Parse(value) is not { } quantity)
                {
                    errors.Add(
                        FieldError.Invalid(
                            where, value, "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"));
                    continue;
                }

                if (quantity < 0)
                {
                    errors.Add(FieldError.Invalid(where, value, "must be greater than or equal to 0"));
                }

                if (ObjectMetaRules.QualifiedError(resource) is { } why)
                {
                    errors.Add(FieldError.Invalid(where, resource, why));
                }
                else if (resource.Contains('/', StringComparison.Ordinal))
                {
                    if (resource.StartsWith("requests.", StringComparison.Ordinal))
                    {
                        errors.Add(FieldError.Invalid(where, resource, "doesn't follow extended resource name standard"));
                    }

                    if (quantity != Math.Floor(quantity))
                    {
                        errors.Add(FieldError.Invalid(where, value, "must be an integer"));
                    }

                    if (kind == "requests" && Quantities.Parse(container.At("resources", "limits", resource)) != quantity)
                    {
                        errors.Add(FieldError.Invalid(where, value, $"must be equal to {resource} limit of "
                            + $"{container.At("resources", "limits", resource)?.ToString() ?? "0"}"));
                    }
                }
                else if (resource is not ("cpu" or "memory" or "ephemeral-storage")
                    && !resource.StartsWith("hugepages-", StringComparison.Ordinal))
                {
                    errors.Add(FieldError.Invalid(where, resource, "must be a standard resource for containers"));
                }
                else if (kind == "requests" && Quantities.Parse(container.At("resources", "limits", resource)) is { } limit
                    && quantity > limit)
                {
                    errors.Add(
                        FieldError.Invalid(
                            where,
                            value,
                            $"must be less than or equal to {resource} limit of {container.At("resources", "limits", resource)}"));
                }
            }
        }
    }
}
