// Why this exists: who owns which field. Keeps `metadata.managedFields` through every write and merges server-side apply.
using System.Text.Json.Nodes;

namespace CoCLR.TrialCluster;

/// <summary>Field ownership and server-side apply.</summary>
public static class FieldManager
{
    private sealed record Entry(string Manager, string Operation, string ApiVersion, string Subresource, string Time, FieldSet Fields)
    {
        public bool SameAs(string manager, string operation, string subresource) =>
            Manager == manager && Operation == operation && Subresource == subresource;
    }

    private static readonly string[] StrippedMetadata =
        [
            "name", "namespace", "creationTimestamp", "selfLink", "uid", "generation", "managedFields", "resourceVersion",
            "deletionTimestamp", "deletionGracePeriodSeconds"
        ];

    private static List<Entry> Read(JsonObject? o)
    {
        var list = new List<Entry>();
        foreach (var e in o.Items("metadata", "managedFields"))
        {
            list.Add(new Entry(
                e.Text("manager") ?? "",
                e.Text("operation") ?? "Update",
                e.Text("apiVersion") ?? "",
                e.Text("subresource") ?? "",
                e.Text("time") ?? "",
                FieldSet.FromJson(e.At("fieldsV1"))));
        }

        return list;
    }

    private static void Write(JsonObject o, List<Entry> entries)
    {
        var metadata = o.Ensure("metadata");
        metadata.Remove("managedFields");
        var array = new JsonArray();
        foreach (var e in entries.Where(e => !e.Fields.IsEmpty).OrderBy(e => e.Operation, StringComparer.Ordinal).ThenBy(e => e.Time, StringComparer.Ordinal).ThenBy(e => e.Manager, StringComparer.Ordinal))
        {
            var entry = new JsonObject
            {
                ["manager"] = e.Manager,
                ["operation"] = e.Operation,
                ["apiVersion"] = e.ApiVersion,
                ["time"] = e.Time,
                ["fieldsType"] = "FieldsV1",
                ["fieldsV1"] = e.Fields.ToJson(),
            };
            if (e.Subresource.Length > 0)
            {
                entry["subresource"] = e.Subresource;
            }

            array.Add(entry);
        }

        if (array.Count > 0)
        {
            metadata["managedFields"] = array;
        }
    }

    private static FieldSet Strip(FieldSet set, bool hasStatus, string subresource)
    {
        set.Self = false;
        set.Children.Remove("f:apiVersion");
        set.Children.Remove("f:kind");
        if (set.Children.GetValueOrDefault("f:metadata") is { } metadata)
        {
            metadata.Self = false;
            foreach (var name in StrippedMetadata)
            {
                metadata.Children.Remove("f:" + name);
            }

            if (metadata.IsEmpty)
            {
                set.Children.Remove("f:metadata");
            }
        }

        if (hasStatus)
        {
            if (subresource == "status")
            {
                foreach (var key in set.Children.Keys.Where(k => k != "f:status").ToList())
                {
                    set.Children.Remove(key);
                }
            }
            else
            {
                set.Children.Remove("f:status");
            }
        }

        return set;
    }

    /// <summary>Notes an ordinary write (create, update, patch) in `managedFields` of the new object.</summary>
    public static void Track(
        JsonObject? before, JsonObject after, ResourceDefinition kind, string manager, string subresource, DateTimeOffset now)
    {
        // Managers may be dropped by hand: an explicitly empty list resets ownership, anything else a client sends is ignored.
        var reset = after.At("metadata", "managedFields") is JsonArray { Count: 0 } && before is not null;
        var entries = reset ? [] : Read(before);
        var (changed, removed) = FieldSet.Compare(before ?? [], after, kind.Schema);
        changed = Strip(changed, kind.HasStatus, subresource);
        removed = Strip(removed, false, "");
        if (reset)
        {
            after.Ensure("metadata").Remove("managedFields");
            return;
        }

        if (changed.IsEmpty && removed.IsEmpty)
        {
            KeepManaged(before, after);
            return;
        }

        var time = Json.Time(now);
        var result = new List<Entry>();
        var found = false;
        foreach (var e in entries)
        {
            if (e.SameAs(manager, "Update", subresource))
            {
                found = true;
                result.Add(
                    e with
                    {
                        Fields = e.Fields.Minus(removed).Union(changed),
                        Time = changed.IsEmpty ? e.Time : time,
                        ApiVersion = kind.ApiVersion
                    });
            }
            else
            {
                result.Add(e with { Fields = e.Fields.Minus(changed).Minus(removed) });
            }
        }

        if (!found)
        {
            result.Add(new Entry(manager, "Update", kind.ApiVersion, subresource, time, changed));
        }

        Write(after, result);
    }

    /// <summary>Puts the ownership of the old object on the new one.</summary>
    public static void KeepManaged(JsonObject? before, JsonObject after)
    {
        var metadata = after.Ensure("metadata");
        metadata.Remove("managedFields");
        if (before.At("metadata", "managedFields") is { } managed)
        {
            metadata["managedFields"] = managed.DeepClone();
        }
    }

    /// <summary>Merges an applied configuration into the live object (null: there is none yet).</summary>
    /// <exception cref="ApiException">409 with the list of conflicts.</exception>
    public static JsonObject Apply(
        JsonObject? live, JsonObject config, ResourceDefinition kind, string manager, string subresource, bool force, DateTimeOffset now)
    {
        var entries = Read(live);
        var set = Strip(FieldSet.Of(config, kind.Schema), kind.HasStatus, subresource);
        var last = entries.FirstOrDefault(e => e.SameAs(manager, "Apply", subresource));
        var others = entries.Where(e => e != last).ToList();
        var merged = live is null ? config.Copy() : (JsonObject)Merge(live, config, kind.Schema)!;
        if (last is not null)
        {
            var owned = others.Aggregate(set, (all, e) => all.Union(e.Fields));
            Remove(merged, last.Fields, owned, kind.Schema);
        }

        var (changed, removed) = FieldSet.Compare(live ?? [], merged, kind.Schema);
        changed = Strip(changed, false, "");
        removed = Strip(removed, false, "");

        // Only what the configuration itself sets can be in conflict.
        var conflicts = others.Select(e => (Entry: e, Fields: e.Fields.Intersect(changed).Intersect(set))).Where(c => !c.Fields.IsEmpty)
            .ToList();
        if (conflicts.Count > 0 && !force)
        {
            throw Conflict(conflicts.Select(c => (c.Entry, c.Fields)).ToList());
        }

        var result = others.Select(
            e => e with { Fields = e.Fields.Minus(conflicts.FirstOrDefault(c => c.Entry == e).Fields).Minus(removed) }).ToList();
        var unchanged = last is not null && changed.IsEmpty && removed.IsEmpty && Json.Same(last.Fields.ToJson(), set.ToJson());
        result.Add(new Entry(manager, "Apply", kind.ApiVersion, subresource, unchanged ? last!.Time : Json.Time(now), set));
        Write(merged, result);
        return merged;
    }

    private static ApiException Conflict(List<(Entry Entry, FieldSet Fields)> conflicts)
    {
        static string Name(Entry e)
        {
            if (e.Operation != "Update")
            {
                return $"\"{e.Manager}\"";
            }

            var sub = e.Subresource.Length > 0 ? $" with subresource \"{e.Subresource}\"" : "";
            return $"\"{e.Manager}\"{sub} using {e.ApiVersion}";
        }

        var all = conflicts.SelectMany(c => c.Fields.Paths().Select(p => (Manager: Name(c.Entry), Path: p))).ToList();
        var causes = new JsonArray([.. all.Select(c => (JsonNode)new JsonObject
        {
            ["reason"] = "FieldManagerConflict",
            ["message"] = $"conflict with {c.Manager}",
            ["field"] = c.Path,
        })]);
        var message = all.Count == 1
            ? $"Apply failed with 1 conflict: conflict with {all[0].Manager}: {all[0].Path}"
            : $"Apply failed with {all.Count} conflicts: "
                + string.Join("\n", all.GroupBy(c => c.Manager).OrderBy(g => g.Key, StringComparer.Ordinal)
                .SelectMany(g => g.Select(c => $"- {c.Path}").Prepend($"conflicts with {g.Key}:")));
        return new ApiException(409, "Conflict", message, new JsonObject { ["causes"] = causes });
    }

    private static JsonNode? Merge(JsonNode? live, JsonNode? config, Schema? schema)
    {
        switch (live, config)
        {
            case (JsonObject a, JsonObject b) when schema?.MapType != "atomic":
                var o = a.Copy();
                foreach (var (name, value) in b)
                {
                    o[name] = o.ContainsKey(name) ? Merge(o[name], value, FieldSet.Child(schema, name)) : value?.DeepClone();
                }

                return o;
            case (JsonArray a, JsonArray b) when schema?.ListType is "map" or "set":
                return MergeList(a, b, schema!);
            default:
                return config?.DeepClone();
        }
    }

    private static JsonArray MergeList(JsonArray live, JsonArray config, Schema schema)
    {
        // The order of the configuration rules; items it does not name stay behind the one they stood behind.
        var wanted = FieldSet.Index(config, schema);
        var present = FieldSet.Index(live, schema);
        var result = new List<(string Key, JsonNode? Item)>();
        foreach (var (key, item) in wanted)
        {
            result.Add(
                (
                    key,
                    present.TryGetValue(key, out var old)
                        && schema.ListType == "map" ? Merge(old, item, schema.Items) : item?.DeepClone()));
        }

        string? previous = null;
        foreach (var (key, item) in present)
        {
            if (!wanted.ContainsKey(key))
            {
                result.Insert(previous is null ? 0 : result.FindIndex(r => r.Key == previous) + 1, (key, item?.DeepClone()));
            }

            previous = key;
        }

        return new JsonArray([.. result.Select(r => r.Item)]);
    }

    /// <summary>Removes from a value the fields that were owned by the last apply and belong to nobody now.</summary>
    private static void Remove(JsonNode? value, FieldSet last, FieldSet owned, Schema? schema)
    {
        switch (value)
        {
            case JsonObject o when schema?.MapType != "atomic":
                foreach (var (key, fields) in last.Children)
                {
                    var name = key[2..];
                    if (!o.ContainsKey(name))
                    {
                        continue;
                    }

                    var others = owned.Children.GetValueOrDefault(key);
                    if (others is null || others.IsEmpty)
                    {
                        o.Remove(name);
                    }
                    else
                    {
                        Remove(o[name], fields, others, FieldSet.Child(schema, name));
                    }
                }

                break;
            case JsonArray a when schema?.ListType is "map" or "set":
                for (var i = a.Count - 1; i >= 0; i--)
                {
                    var key = FieldSet.KeyOf(a[i], schema!);
                    if (last.Children.GetValueOrDefault(key) is not { } fields)
                    {
                        continue;
                    }

                    var others = owned.Children.GetValueOrDefault(key);
                    if (others is null || others.IsEmpty)
                    {
                        a.RemoveAt(i);
                    }
                    else if (schema!.ListType == "map")
                    {
                        Remove(a[i], fields, others, schema.Items);
                    }
                }

                break;
        }
    }
}
