// Why this exists: `kubectl get` prints what the server puts into a table, so printer columns are tried here as people will see them.
using System.Globalization;
using System.Text.Json.Nodes;

namespace CoCLR.TrialCluster;

/// <summary>Server-side tables.</summary>
public static class Tables
{
    private sealed record Column(
        string Name, string Type, string Format, string Description, int Priority, Func<JsonObject, DateTimeOffset, JsonNode?> Value);

    /// <summary>What the client wants in `object` of each row (`Metadata`, `None`, `Object`), or null when it wants no table.</summary>
    public static string? Wanted(HttpRequest request)
    {
        foreach (var type in request.Headers.Accept.ToString().Split(','))
        {
            if (type.Contains("as=Table", StringComparison.Ordinal) && type.Contains("g=meta.k8s.io", StringComparison.Ordinal))
            {
                var include = request.Query["includeObject"].ToString();
                return include.Length == 0 ? "Metadata" : include;
            }
        }

        return null;
    }

    /// <summary>`PartialObjectMetadata` of an object.</summary>
    public static JsonObject MetadataOnly(JsonObject o) => new()
    {
        ["kind"] = "PartialObjectMetadata",
        ["apiVersion"] = "meta.k8s.io/v1",
        ["metadata"] = o["metadata"]?.DeepClone(),
    };

    /// <summary>The table of an object or a list.</summary>
    public static JsonObject Of(ResourceDefinition kind, JsonObject o, string include, DateTimeOffset now)
    {
        var list = o["items"] as JsonArray;
        if (list is null && o.Text("kind") is "Status")
        {
            return o;
        }

        var columns = Columns(kind);
        var rows = new JsonArray();
        foreach (var item in list?.OfType<JsonObject>() ?? [o])
        {
            if (item.At("metadata", "name") is null)
            {
                continue;
            }

            var row = new JsonObject
            {
                ["cells"] = new JsonArray([.. columns.Select(c => c.Value(item, now))]),
                ["object"] = include switch
                {
                    "None" => null,
                    "Object" => item.DeepClone(),
                    _ => MetadataOnly(item),
                },
            };
            rows.Add(row);
        }

        return new JsonObject
        {
            ["kind"] = "Table",
            ["apiVersion"] = "meta.k8s.io/v1",
            ["metadata"] =
                list is null ? new JsonObject { ["resourceVersion"] = o.Text("metadata", "resourceVersion") } : o["metadata"]?.DeepClone(),
            ["columnDefinitions"] = new JsonArray([.. columns.Select(c => (JsonNode)new JsonObject
            {
                ["name"] = c.Name, ["type"] = c.Type, ["format"] = c.Format, ["description"] = c.Description, ["priority"] = c.Priority,
            })]),
            ["rows"] = rows,
        };
    }

    private static Column Text(string name, Func<JsonObject, string?> value, int priority = 0) =>
        new(name, "string", name == "Name" ? "name" : "", "", priority, (o, _) => value(o));

    private static readonly Column Name = Text("Name", o => o.Text("metadata", "name"));

    private static readonly Column Age = new("Age", "string", "", "", 0, (o, now) => Ago(o.TimeAt("metadata", "creationTimestamp"), now));

    /// <summary>How long ago, in the words of kubectl.</summary>
    public static string Ago(DateTimeOffset? time, DateTimeOffset now) => time is { } t ? Human(now - t) : "<unknown>";

    private static string Human(TimeSpan d)
    {
        if (d < TimeSpan.Zero)
        {
            return d < TimeSpan.FromSeconds(-2) ? "<invalid>" : "0s";
        }

        var seconds = (long)d.TotalSeconds;
        return seconds switch
        {
            < 120 => $"{seconds}s",
            < 600 => seconds % 60 == 0 ? $"{seconds / 60}m" : $"{seconds / 60}m{seconds % 60}s",
            < 10800 => $"{seconds / 60}m",
            < 28800 => seconds % 3600 / 60 == 0 ? $"{seconds / 3600}h" : $"{seconds / 3600}h{seconds % 3600 / 60}m",
            < 172800 => $"{seconds / 3600}h",
            < 691200 => seconds % 86400 / 3600 == 0 ? $"{seconds / 86400}d" : $"{seconds / 86400}d{seconds % 86400 / 3600}h",
            _ => $"{seconds / 86400}d",
        };
    }

    private static List<Column> Columns(ResourceDefinition kind)
    {
        if (kind.IsCustom)
        {
            var custom = new List<Column> { Name };
            foreach (var c in kind.Columns ?? [])
            {
                custom.Add(new Column(c.Name, c.Type, c.Format, c.Description, c.Priority, (o, now) =>
                {
                    var value = JsonPath.First(o, c.JsonPath);
                    return value is null ? null : c.Type switch
                    {
                        "date" => Ago(DateTimeOffset.TryParse(value.Text(), CultureInfo.InvariantCulture, out var t) ? t : null, now),
                        "integer" => Json.AsLong(value),
                        "number" => value.DeepClone(),
                        "boolean" => value.DeepClone(),
                        _ => value is JsonValue v && v.TryGetValue<string>(out var s) ? s : value.ToJsonString(Json.Options),
                    };
                }));
            }

            if (kind.Columns is null)
            {
                custom.Add(Age);
            }

            return custom;
        }

        return kind.Plural switch
        {
            "pods" =>
            [
                Name,
                Text("Ready", o => $"{o.Items("status", "containerStatuses").Count(c => c.Flag("ready") == true)}/{o.Items("spec", "containers").Count}"),
                Text("Status", PodStatus),
                new(
                    "Restarts",
                    "string",
                    "",
                    "",
                    0,
                    (o, _) => o.Items("status", "containerStatuses").Sum(c => c.Number("restartCount") ?? 0)
                        .ToString(CultureInfo.InvariantCulture)),
                Age,
                Text("IP", o => o.Text("status", "podIP") ?? "<none>", 1),
                Text("Node", o => o.Text("spec", "nodeName") ?? "<none>", 1),
                Text("Nominated Node", _ => "<none>", 1),
                Text("Readiness Gates", _ => "<none>", 1),
            ],
            "jobs" =>
            [
                Name,
                Text("Status", JobStatus),
                Text("Completions", o => $"{o.Number("status", "succeeded") ?? 0}/{o.Number("spec", "completions") ?? o.Number("spec", "parallelism") ?? 1}"),
                new(
                    "Duration",
                    "string",
                    "",
                    "",
                    0,
                    (o, now) =>
                        o.TimeAt("status", "startTime") is { } start ? Human((o.TimeAt("status", "completionTime") ?? now) - start) : ""),
                Age,
            ],
            "deployments" =>
            [
                Name,
                Text("Ready", o => $"{o.Number("status", "readyReplicas") ?? 0}/{o.Number("spec", "replicas") ?? 0}"),
                Text("Up-to-date", o => (o.Number("status", "updatedReplicas") ?? 0).ToString(CultureInfo.InvariantCulture)),
                Text("Available", o => (o.Number("status", "availableReplicas") ?? 0).ToString(CultureInfo.InvariantCulture)),
                Age,
            ],
            "replicasets" =>
            [
                Name,
                Text("Desired", o => (o.Number("spec", "replicas") ?? 0).ToString(CultureInfo.InvariantCulture)),
                Text("Current", o => (o.Number("status", "replicas") ?? 0).ToString(CultureInfo.InvariantCulture)),
                Text("Ready", o => (o.Number("status", "readyReplicas") ?? 0).ToString(CultureInfo.InvariantCulture)),
                Age,
            ],
            "services" =>
            [
                Name,
                Text("Type", o => o.Text("spec", "type")),
                Text("Cluster-IP", o => o.Text("spec", "clusterIP") ?? "<none>"),
                Text("External-IP", _ => "<none>"),
                Text("Port(s)", o => string.Join(",", o.Items("spec", "ports").Select(p => $"{p.Number("port")}/{p.Text("protocol")}"))),
                Age,
            ],
            "secrets" =>
            [
                Name, Text("Type", o => o.Text("type")),
                Text("Data", o => (o.Map("data")?.Count ?? 0).ToString(CultureInfo.InvariantCulture)), Age
            ],
            "configmaps" =>
            [
                Name,
                Text("Data", o => ((o.Map("data")?.Count ?? 0) + (o.Map("binaryData")?.Count ?? 0)).ToString(CultureInfo.InvariantCulture)),
                Age
            ],
            "namespaces" => [Name, Text("Status", o => o.Text("status", "phase")), Age],
            "nodes" =>
            [
                Name,
                Text(
                    "Status",
                    o => o.Items("status", "conditions")
                        .Any(c => c.Text("type") == "Ready" && c.Text("status") == "True") ? "Ready" : "NotReady"),
                Text("Roles", _ => "<none>"),
                Age,
                Text("Version", o => o.Text("status", "nodeInfo", "kubeletVersion")),
            ],
            "persistentvolumeclaims" =>
            [
                Name,
                Text("Status", o => o.At("metadata", "deletionTimestamp") is null ? o.Text("status", "phase") : "Terminating"),
                Text("Volume", o => o.Text("spec", "volumeName") ?? ""),
                Text("Capacity", o => o.Text("status", "capacity", "storage") ?? ""),
                Text(
                    "Access Modes",
                    o => string.Join(
                        ",",
                        o.Items("status", "accessModes")
                            .Select(
                                m => m.Text() switch
                                {
                                    "ReadWriteOnce" => "RWO", "ReadWriteMany" => "RWX", "ReadOnlyMany" => "ROX",
                                    "ReadWriteOncePod" => "RWOP", var x => x
                                }))),
                Text("StorageClass", o => o.Text("spec", "storageClassName") ?? ""),
                Age,
            ],
            "events" =>
            [
                new(
                    "Last Seen",
                    "string",
                    "",
                    "",
                    0,
                    (o, now) => Ago(
                        o.TimeAt("lastTimestamp") ?? o.TimeAt("deprecatedLastTimestamp") ?? o.TimeAt("eventTime")
                            ?? o.TimeAt("metadata", "creationTimestamp"),
                        now)),
                Text("Type", o => o.Text("type")),
                Text("Reason", o => o.Text("reason")),
                Text(
                    "Object",
                    o => (o.Map("involvedObject") ?? o.Map("regarding")) is { } r
                        ? $"{r.Text("kind")?.ToLowerInvariant()}/{r.Text("name")}"
                        : ""),
                Text("Message", o => o.Text("message") ?? o.Text("note")),
                Text("Name", o => o.Text("metadata", "name"), 1),
            ],
            "leases" => [Name, Text("Holder", o => o.Text("spec", "holderIdentity") ?? ""), Age],
            "serviceaccounts" => [Name, Text("Secrets", o => o.Items("secrets").Count.ToString(CultureInfo.InvariantCulture)), Age],
            "customresourcedefinitions" => [Name, Text("Created At", o => o.Text("metadata", "creationTimestamp"))],
            "roles" or "clusterroles" => [Name, Text("Created At", o => o.Text("metadata", "creationTimestamp"))],
            "rolebindings" or "clusterrolebindings" =>
                [Name, Text("Role", o => $"{o.Text("roleRef", "kind")}/{o.Text("roleRef", "name")}"), Age],
            "poddisruptionbudgets" =>
            [
                Name,
                Text("Min Available", o => o.At("spec", "minAvailable")?.ToString() ?? "N/A"),
                Text("Max Unavailable", o => o.At("spec", "maxUnavailable")?.ToString() ?? "N/A"),
                Text("Allowed Disruptions", o => (o.Number("status", "disruptionsAllowed") ?? 0).ToString(CultureInfo.InvariantCulture)),
                Age,
            ],
            "storageclasses" => [Name, Text("Provisioner", o => o.Text("provisioner")), Age],
            _ => [Name, Age],
        };
    }

    private static string JobStatus(JsonObject o)
    {
        if (o.At("metadata", "deletionTimestamp") is not null)
        {
            return "Terminating";
        }

        foreach (var type in new[] { "Complete", "Failed", "SuccessCriteriaMet", "Suspended", "FailureTarget" })
        {
            if (o.Items("status", "conditions").Any(c => c.Text("type") == type && c.Text("status") == "True"))
            {
                return type;
            }
        }

        return "Running";
    }

    private static string PodStatus(JsonObject o)
    {
        var reason = o.Text("status", "reason") ?? o.Text("status", "phase") ?? "Unknown";
        foreach (var c in o.Items("status", "containerStatuses"))
        {
            if (c.Text("state", "waiting", "reason") is { } waiting)
            {
                reason = waiting;
            }
            else if (c.Map("state", "terminated") is { } ended)
            {
                reason = ended.Text("reason") ?? $"ExitCode:{ended.Number("exitCode")}";
            }
        }

        if (o.Items("spec", "schedulingGates").Count > 0)
        {
            reason = "SchedulingGated";
        }

        return o.At("metadata", "deletionTimestamp") is not null
            && o.Text("status", "phase") is not ("Succeeded" or "Failed") ? "Terminating" : reason;
    }
}

/// <summary>The JSONPath of printer columns: fields, indexes, and filters on equality.</summary>
public static class JsonPath
{
    /// <summary>The first value at a path such as `.status.conditions[?(@.type=="Ready")].status`, or null.</summary>
    public static JsonNode? First(JsonNode root, string path)
    {
        IEnumerable<JsonNode?> nodes = [root];
        var i = path.StartsWith('$') ? 1 : 0;
        while (i < path.Length)
        {
            if (path[i] == '.')
            {
                i++;
                continue;
            }

            if (path[i] == '[')
            {
                var end = FindEnd(path, i);
                var inner = path[(i + 1)..end].Trim();
                i = end + 1;
                nodes = Index(nodes, inner);
                continue;
            }

            var start = i;
            while (i < path.Length && path[i] is not ('.' or '['))
            {
                i += path[i] == '\\' ? 2 : 1;
            }

            var name = path[start..Math.Min(i, path.Length)].Replace("\\", "", StringComparison.Ordinal);
            nodes = name == "*"
                ? nodes.SelectMany(n => n is JsonArray a ? a : n is JsonObject o ? o.Select(p => p.Value) : [])
                : nodes.Select(n => n.At(name));
        }

        return nodes.FirstOrDefault(n => n is not null);
    }

    private static int FindEnd(string path, int open)
    {
        var depth = 0;
        var quote = '\0';
        for (var i = open; i < path.Length; i++)
        {
            if (quote != 0)
            {
                quote = path[i] == quote ? '\0' : quote;
            }
            else if (path[i] is '"' or '\'')
            {
                quote = path[i];
            }
            else if (path[i] == '[')
            {
                depth++;
            }
            else if (path[i] == ']' && --depth == 0)
            {
                return i;
            }
        }

        return path.Length - 1;
    }

    private static IEnumerable<JsonNode?> Index(IEnumerable<JsonNode?> nodes, string inner)
    {
        if (inner == "*")
        {
            return nodes.SelectMany(n => n is JsonArray a ? a : n is JsonObject o ? o.Select(p => p.Value) : []);
        }

        if (int.TryParse(inner, CultureInfo.InvariantCulture, out var index))
        {
            return nodes.Select(
                n => n is JsonArray a && (index < 0 ? a.Count + index : index) is var at && at >= 0 && at < a.Count ? a[at] : null);
        }

        if (inner.StartsWith("?(", StringComparison.Ordinal))
        {
            var test = inner[2..^1];
            var cut = test.IndexOf("==", StringComparison.Ordinal);
            var field = (cut < 0 ? test : test[..cut]).Trim().TrimStart('@').Trim('.').Split('.');
            var value = cut < 0 ? null : test[(cut + 2)..].Trim().Trim('"', '\'');
            return nodes.SelectMany(n => n is JsonArray a ? a : [])
                .Where(e => e.At(field) is { } v && (value is null || (v.Text() ?? v.ToJsonString()) == value));
        }

        var name = inner.Trim('\'', '"');
        return nodes.Select(n => n.At(name));
    }
}
