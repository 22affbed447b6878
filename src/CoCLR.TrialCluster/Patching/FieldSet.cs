// Why this exists: server-side apply rests on sets of field paths (`fieldsV1`); this is that set, with what is needed to tell who owns
// what.
using System.Text.Json.Nodes;

namespace CoCLR.TrialCluster;

/// <summary>A set of field paths as a tree; keys are written as in `fieldsV1` (`f:name`, `k:{...}`, `v:value`).</summary>
public sealed class FieldSet
{
    /// <summary>Whether this path itself is a member.</summary>
    public bool Self { get; set; }

    /// <summary>The paths below.</summary>
    public SortedDictionary<string, FieldSet> Children { get; } = new(StringComparer.Ordinal);

    /// <summary>Whether the set holds nothing.</summary>
    public bool IsEmpty => !Self && Children.Values.All(c => c.IsEmpty);

    /// <summary>Reads `fieldsV1`.</summary>
    public static FieldSet FromJson(JsonNode? node)
    {
        var set = new FieldSet();
        if (node is not JsonObject o)
        {
            return set;
        }

        foreach (var (key, value) in o)
        {
            if (key == ".")
            {
                set.Self = true;
                continue;
            }

            var child = FromJson(value);
            if (value is JsonObject { Count: 0 })
            {
                child.Self = true;
            }

            set.Children[key] = child;
        }

        return set;
    }

    /// <summary>Writes `fieldsV1`.</summary>
    public JsonObject ToJson()
    {
        var o = new JsonObject();
        var children = Children.Where(c => !c.Value.IsEmpty).ToList();
        if (Self && children.Count > 0)
        {
            o["."] = new JsonObject();
        }

        foreach (var (key, child) in children)
        {
            o[key] = child.ToJson();
        }

        return o;
    }

    /// <summary>The paths in this set or the other.</summary>
    public FieldSet Union(FieldSet? other)
    {
        var result = new FieldSet { Self = Self || (other?.Self ?? false) };
        foreach (var key in Children.Keys.Union(other?.Children.Keys ?? Enumerable.Empty<string>()))
        {
            var a = Children.GetValueOrDefault(key);
            var b = other?.Children.GetValueOrDefault(key);
            result.Children[key] = a is null ? b! : b is null ? a : a.Union(b);
        }

        return result;
    }

    /// <summary>The paths in this set but not in the other.</summary>
    public FieldSet Minus(FieldSet? other)
    {
        if (other is null)
        {
            return this;
        }

        var result = new FieldSet { Self = Self && !other.Self };
        foreach (var (key, child) in Children)
        {
            var left = child.Minus(other.Children.GetValueOrDefault(key));
            if (!left.IsEmpty)
            {
                result.Children[key] = left;
            }
        }

        return result;
    }

    /// <summary>The paths in both sets.</summary>
    public FieldSet Intersect(FieldSet? other)
    {
        var result = new FieldSet();
        if (other is null)
        {
            return result;
        }

        result.Self = Self && other.Self;
        foreach (var (key, child) in Children)
        {
            var both = child.Intersect(other.Children.GetValueOrDefault(key));
            if (!both.IsEmpty)
            {
                result.Children[key] = both;
            }
        }

        return result;
    }

    /// <summary>The paths as people read them, such as `.spec.containers[name="a"].image`.</summary>
    public IEnumerable<string> Paths(string prefix = "")
    {
        if (Self)
        {
            yield return prefix;
        }

        foreach (var (key, child) in Children)
        {
            foreach (var path in child.Paths(prefix + Show(key)))
            {
                yield return path;
            }
        }
    }

    private static string Show(string key)
    {
        if (key.StartsWith("f:", StringComparison.Ordinal))
        {
            return "." + key[2..];
        }

        if (key.StartsWith("k:", StringComparison.Ordinal) && JsonNode.Parse(key[2..]) is JsonObject o)
        {
            return "[" + string.Join(",", o.Select(p => $"{p.Key}={p.Value?.ToJsonString(Json.Options)}")) + "]";
        }

        return key.StartsWith("v:", StringComparison.Ordinal) ? $"[={key[2..]}]" : $"[{key[2..]}]";
    }

    /// <summary>All fields a value sets.</summary>
    public static FieldSet Of(JsonNode? value, Schema? schema)
    {
        var set = new FieldSet();
        switch (value)
        {
            case JsonObject o when schema?.MapType != "atomic":
                set.Self = o.Count == 0;
                foreach (var (name, child) in o)
                {
                    var inner = Of(child, Child(schema, name));

                    // Entries of a free map are things of their own, fields of a struct are not.
                    if (schema is not null && !schema.Properties.ContainsKey(name))
                    {
                        inner.Self = true;
                    }

                    set.Children["f:" + name] = inner;
                }

                break;
            case JsonArray a when schema?.ListType is "map" or "set":
                set.Self = a.Count == 0;
                foreach (var item in a)
                {
                    var inner = schema!.ListType == "map" ? Of(item, schema.Items) : new FieldSet();
                    inner.Self = true;
                    set.Children[KeyOf(item, schema)] = inner;
                }

                break;
            default:
                set.Self = true;
                break;
        }

        return set;
    }

    /// <summary>The schema of a field; a schema that keeps unknown fields says nothing about them.</summary>
    public static Schema? Child(Schema? schema, string name) =>
        name == "metadata" && schema?.Properties.ContainsKey("metadata") == true && schema.Properties["metadata"].Properties.Count == 0
        ? BuiltInSchemas.Of(typeof(k8s.Models.V1ObjectMeta))
        : schema?.Property(name);

    /// <summary>The path element of a list item.</summary>
    public static string KeyOf(JsonNode? item, Schema schema)
    {
        if (schema.ListType == "set")
        {
            return "v:" + (item?.ToJsonString(Json.Options) ?? "null");
        }

        var key = new JsonObject();
        foreach (var name in schema.ListMapKeys.Order(StringComparer.Ordinal))
        {
            var value = item.At(name) ?? schema.Items?.Properties.GetValueOrDefault(name)?.Default;
            if (value is not null)
            {
                key[name] = value.DeepClone();
            }
        }

        return "k:" + key.ToJsonString(Json.Options);
    }

    /// <summary>What changed from one object to the next: fields added or modified, and fields removed.</summary>
    public static (FieldSet Changed, FieldSet Removed) Compare(JsonNode? before, JsonNode? after, Schema? schema)
    {
        var changed = new FieldSet();
        var removed = new FieldSet();
        switch (before, after)
        {
            case (JsonObject a, JsonObject b) when schema?.MapType != "atomic":
                changed.Self = a.Count > 0 && b.Count == 0;
                foreach (var name in a.Select(p => p.Key).Union(b.Select(p => p.Key)))
                {
                    Sub("f:" + name, Child(schema, name), a.ContainsKey(name), a[name], b.ContainsKey(name), b[name],
                        schema is not null && !schema.Properties.ContainsKey(name));
                }

                break;
            case (JsonArray a, JsonArray b) when schema?.ListType is "map" or "set":
                var left = Index(a, schema!);
                var right = Index(b, schema!);
                foreach (var key in left.Keys.Union(right.Keys))
                {
                    Sub(
                        key,
                        schema!.ListType == "map" ? schema.Items : null,
                        left.ContainsKey(key),
                        left.GetValueOrDefault(key),
                        right.ContainsKey(key),
                        right.GetValueOrDefault(key),
                        true);
                }

                break;
            default:
                if (!Json.Same(before, after))
                {
                    changed = Of(after, schema);
                    changed.Self = true;
                    removed = Of(before, schema).Minus(changed);
                }

                break;
        }

        return (changed, removed);

        void Sub(string key, Schema? inner, bool hasBefore, JsonNode? a, bool hasAfter, JsonNode? b, bool item)
        {
            if (hasBefore && hasAfter)
            {
                var (c, r) = Compare(a, b, inner);
                Put(changed, key, c);
                Put(removed, key, r);
            }
            else
            {
                var set = Of(hasAfter ? b : a, inner);
                set.Self |= item;
                Put(hasAfter ? changed : removed, key, set);
            }
        }

        static void Put(FieldSet set, string key, FieldSet child)
        {
            if (!child.IsEmpty)
            {
                set.Children[key] = child;
            }
        }
    }

    /// <summary>The items of a list by their path element.</summary>
    public static Dictionary<string, JsonNode?> Index(JsonArray array, Schema schema)
    {
        var index = new Dictionary<string, JsonNode?>(StringComparer.Ordinal);
        foreach (var item in array)
        {
            index[KeyOf(item, schema)] = item;
        }

        return index;
    }
}
