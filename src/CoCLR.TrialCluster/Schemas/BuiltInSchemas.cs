// Why this exists: the built-in kinds need schemas too (validation, strategic merge, server-side apply, `kubectl explain`). They are read
// from the model classes of KubernetesClient; what those classes do not say (merge keys, list types, required fields) stands in the tables
// below.
using System.Collections;
using System.Reflection;
using System.Text.Json.Nodes;
using System.Text.Json.Serialization;
using System.Xml.Linq;
using k8s.Models;

namespace CoCLR.TrialCluster;

/// <summary>Schemas of the built-in kinds, made once for each model class.</summary>
public static class BuiltInSchemas
{
    private static readonly Dictionary<Type, Schema> Made = [];
    private static readonly Lock Gate = new();
    private static readonly Lazy<Dictionary<string, string>> Documentation = new(ReadDocumentation);

    // Type name without version prefix + field -> merge key(s) of x-kubernetes-list-type: map. The first key is the patch merge key.
    private static readonly Dictionary<string, string[]> MapLists = new(StringComparer.Ordinal)
    {
        ["ObjectMeta.ownerReferences"] = ["uid"],
        ["PodSpec.containers"] = ["name"],
        ["PodSpec.initContainers"] = ["name"],
        ["PodSpec.ephemeralContainers"] = ["name"],
        ["PodSpec.volumes"] = ["name"],
        ["PodSpec.imagePullSecrets"] = ["name"],
        ["PodSpec.hostAliases"] = ["ip"],
        ["PodSpec.topologySpreadConstraints"] = ["topologyKey", "whenUnsatisfiable"],
        ["PodSpec.schedulingGates"] = ["name"],
        ["PodSpec.resourceClaims"] = ["name"],
        ["Container.env"] = ["name"],
        ["Container.ports"] = ["containerPort", "protocol"],
        ["Container.volumeMounts"] = ["mountPath"],
        ["Container.volumeDevices"] = ["devicePath"],
        ["EphemeralContainer.env"] = ["name"],
        ["EphemeralContainer.volumeMounts"] = ["mountPath"],
        ["ResourceRequirements.claims"] = ["name"],
        ["VolumeResourceRequirements.claims"] = ["name"],
        ["ServiceSpec.ports"] = ["port", "protocol"],
        ["ServiceAccount.secrets"] = ["name"],
        ["PodStatus.conditions"] = ["type"],
        ["PodStatus.podIPs"] = ["ip"],
        ["PodStatus.hostIPs"] = ["ip"],
        ["DeploymentStatus.conditions"] = ["type"],
        ["ReplicaSetStatus.conditions"] = ["type"],
        ["StatefulSetStatus.conditions"] = ["type"],
        ["JobStatus.conditions"] = ["type"],
        ["NamespaceStatus.conditions"] = ["type"],
        ["NodeStatus.conditions"] = ["type"],
        ["NodeStatus.addresses"] = ["type"],
        ["PersistentVolumeClaimStatus.conditions"] = ["type"],
        ["PodDisruptionBudgetStatus.conditions"] = ["type"],
        ["ServiceStatus.conditions"] = ["type"],
        ["CustomResourceDefinitionStatus.conditions"] = ["type"],
        ["SuccessPolicy.rules"] = [],
    };

    private static readonly HashSet<string> SetLists = new(StringComparer.Ordinal)
    {
        "ObjectMeta.finalizers", "NodeSpec.podCIDRs", "UncountedTerminatedPods.succeeded", "UncountedTerminatedPods.failed",
    };

    // Only the fields that the model classes leave optional although the API server insists on them.
    private static readonly Dictionary<string, string[]> RequiredFields = new(StringComparer.Ordinal)
    {
        ["JobSpec"] = ["template"],
        ["DeploymentSpec"] = ["selector", "template"],
        ["ReplicaSetSpec"] = ["selector"],
        ["StatefulSetSpec"] = ["selector", "template"],
        ["CronJobSpec"] = ["schedule", "jobTemplate"],
        ["PodSpec"] = ["containers"],
        ["Container"] = ["name"],
        ["EnvVar"] = ["name"],
        ["SecretKeySelector"] = ["key"],
        ["ConfigMapKeySelector"] = ["key"],
        ["ObjectFieldSelector"] = ["fieldPath"],
        ["Volume"] = ["name"],
        ["VolumeMount"] = ["name", "mountPath"],
        ["KeyToPath"] = ["key", "path"],
        ["OwnerReference"] = ["apiVersion", "kind", "name", "uid"],
        ["PodFailurePolicy"] = ["rules"],
        ["PodFailurePolicyRule"] = ["action"],
        ["PodFailurePolicyOnExitCodesRequirement"] = ["operator", "values"],
        ["PodFailurePolicyOnPodConditionsPattern"] = ["type"],
        ["PersistentVolumeClaimVolumeSource"] = ["claimName"],
        ["ServiceAccountTokenProjection"] = ["path"],
        ["RoleRef"] = ["apiGroup", "kind", "name"],
        ["Subject"] = ["kind", "name"],
        ["RoleBinding"] = ["roleRef"],
        ["ClusterRoleBinding"] = ["roleRef"],
        ["PolicyRule"] = ["verbs"],
        ["Condition"] = ["type", "status", "lastTransitionTime", "reason", "message"],
        ["LabelSelectorRequirement"] = ["key", "operator"],
        ["NodeSelector"] = ["nodeSelectorTerms"],
        ["NodeSelectorRequirement"] = ["key", "operator"],
        ["CustomResourceDefinition"] = ["spec"],
        ["CustomResourceDefinitionSpec"] = ["group", "names", "scope", "versions"],
        ["CustomResourceDefinitionNames"] = ["plural", "kind"],
        ["CustomResourceDefinitionVersion"] = ["name", "served", "storage"],
        ["SubjectAccessReview"] = ["spec"],
        ["SelfSubjectAccessReview"] = ["spec"],
        ["TokenReview"] = ["spec"],
        ["Corev1Event"] = ["metadata", "involvedObject"],
        ["HTTPGetAction"] = ["port"],
        ["StorageClass"] = ["provisioner"],
        ["NetworkPolicySpec"] = [],
        ["ResourceFieldSelector"] = ["resource"],
        ["LocalObjectReference"] = [],
    };

    private static readonly HashSet<string> AtomicMaps = new(StringComparer.Ordinal)
    {
        "LabelSelector", "LocalObjectReference", "ObjectReference", "SecretKeySelector", "ConfigMapKeySelector", "ObjectFieldSelector",
        "ResourceFieldSelector", "NodeSelector", "NodeSelectorTerm", "RoleRef", "Subject", "TypedLocalObjectReference", "OwnerReference",
        "SecretReference",
    };

    private static readonly HashSet<string> AtomicMapFields = new(StringComparer.Ordinal)
    {
        "PodSpec.nodeSelector", "ServiceSpec.selector",
    };

    /// <summary>The schema of a model class.</summary>
    public static Schema Of(Type type)
    {
        lock (Gate)
        {
            return Make(type);
        }
    }

    /// <summary>All schemas made so far that have a name, by name.</summary>
    public static IReadOnlyDictionary<string, Schema> Named()
    {
        lock (Gate)
        {
            return Made.Values.Where(s => s.Reference is not null).ToDictionary(s => s.Reference!, StringComparer.Ordinal);
        }
    }

    private static string ShortName(Type type)
    {
        var name = type.Name;
        return name.StartsWith("V1", StringComparison.Ordinal) ? name[2..] : name;
    }

    private static string ReferenceName(Type type)
    {
        var entity = type.GetCustomAttribute<KubernetesEntityAttribute>();
        var group = entity?.Group ?? "core";
        return $"io.k8s.api.{(group.Length == 0 ? "core" : group.Split('.')[0])}.{type.Name}";
    }

    private static Schema Make(Type type)
    {
        if (Made.TryGetValue(type, out var done))
        {
            return done;
        }

        type = Nullable.GetUnderlyingType(type) ?? type;
        if (type == typeof(string))
        {
            return new Schema { Type = "string" };
        }

        if (type == typeof(int) || type == typeof(long))
        {
            return new Schema { Type = "integer", Format = type == typeof(int) ? "int32" : "int64" };
        }

        if (type == typeof(double))
        {
            return new Schema { Type = "number", Format = "double" };
        }

        if (type == typeof(bool))
        {
            return new Schema { Type = "boolean" };
        }

        if (type == typeof(DateTime))
        {
            return new Schema { Type = "string", Format = "date-time" };
        }

        if (type == typeof(byte[]))
        {
            return new Schema { Type = "string", Format = "byte" };
        }

        if (type == typeof(IntOrString))
        {
            return new Schema { IntOrString = true };
        }

        if (type == typeof(ResourceQuantity))
        {
            // Quantities may be written as numbers; the server turns them into strings.
            return new Schema { IntOrString = true, Format = "quantity" };
        }

        if (type == typeof(object) || type == typeof(V1JSONSchemaProps))
        {
            return Schema.Anything;
        }

        if (type.IsGenericType && type.GetGenericTypeDefinition() == typeof(IDictionary<,>))
        {
            return new Schema { Type = "object", AdditionalProperties = Make(type.GetGenericArguments()[1]) };
        }

        if (type.IsGenericType && typeof(IEnumerable).IsAssignableFrom(type))
        {
            return new Schema { Type = "array", Items = Make(type.GetGenericArguments()[0]), ListType = "atomic" };
        }

        if (type.IsEnum)
        {
            return new Schema { Type = "string" };
        }

        var name = ShortName(type);
        var schema = new Schema { Type = "object", Reference = ReferenceName(type), DocumentationKey = "T:" + type.FullName };
        Made[type] = schema;
        if (AtomicMaps.Contains(name))
        {
            schema.MapType = "atomic";
        }

        foreach (var property in type.GetProperties(BindingFlags.Public | BindingFlags.Instance))
        {
            if (property.GetCustomAttribute<JsonPropertyNameAttribute>() is not { } json)
            {
                continue;
            }

            var field = Make(property.PropertyType);
            if (field.Reference is null && field != Schema.Anything)
            {
                field.DocumentationKey = $"P:{type.FullName}.{property.Name}";
            }

            var path = $"{name}.{json.Name}";
            if (MapLists.TryGetValue(path, out var keys) && keys.Length > 0)
            {
                field.ListType = "map";
                field.ListMapKeys = [.. keys];
                field.PatchMergeKey = keys[0];
                field.PatchStrategy = "merge";
            }
            else if (SetLists.Contains(path))
            {
                field.ListType = "set";
                field.PatchStrategy = "merge";
            }
            else if (AtomicMapFields.Contains(path))
            {
                field.MapType = "atomic";
            }

            if (path is "PodSpec.volumes" or "DeploymentSpec.strategy")
            {
                field.PatchStrategy = path == "PodSpec.volumes" ? "merge,retainKeys" : null;
            }

            if (path is "FieldsV1" or "ManagedFieldsEntry.fieldsV1")
            {
                field = Schema.Anything;
            }

            // A value type that cannot be null is a field the API insists on, but Go writes zero values there itself in status objects.
            if (property.PropertyType.IsValueType && Nullable.GetUnderlyingType(property.PropertyType) is null
                && !name.EndsWith("Status", StringComparison.Ordinal) && property.PropertyType != typeof(IntOrString)
                    && property.PropertyType != typeof(ResourceQuantity))
            {
                schema.Required.Add(json.Name);
            }

            schema.Properties[json.Name] = field;
        }

        if (RequiredFields.TryGetValue(name, out var required))
        {
            schema.Required.AddRange(required.Except(schema.Required));
        }

        if (DefaultsOf(name) is { } defaults)
        {
            foreach (var (field, value) in defaults)
            {
                schema.Properties[field].Default = value;
                schema.Properties[field].HasDefault = true;
            }
        }

        return schema;

        // The keys of a list-map need their defaults before server-side apply can tell elements apart.
        static (string Field, JsonNode Value)[]? DefaultsOf(string type) => type switch
        {
            "ContainerPort" or "ServicePort" => [("protocol", "TCP")],
            _ => null,
        };
    }

    /// <summary>The documentation of a member of the model classes, or null.</summary>
    public static string? Describe(string member) => Documentation.Value.TryGetValue(member, out var text) ? text : null;

    private static Dictionary<string, string> ReadDocumentation()
    {
        var result = new Dictionary<string, string>(StringComparer.Ordinal);
        var file = Path.ChangeExtension(typeof(V1Pod).Assembly.Location, ".xml");
        if (!File.Exists(file))
        {
            return result;
        }

        foreach (var member in XDocument.Load(file).Descendants("member"))
        {
            var name = (string?)member.Attribute("name");
            if (name is not null && name.Length > 2 && name[2..].StartsWith("k8s.Models.", StringComparison.Ordinal)
                && member.Element("summary") is { } summary)
            {
                result[name] = string.Join(' ', summary.Value.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries));
            }
        }

        return result;
    }
}
