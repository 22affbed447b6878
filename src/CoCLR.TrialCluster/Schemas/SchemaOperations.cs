// Why this exists: what an API server does to every object with its schema before anything else: drop unknown fields (and say so), fill in
// defaults, check types and bounds, in the words a real server uses.
using System.Globalization;
using System.Text.Json;
using System.Text.Json.Nodes;
using System.Text.RegularExpressions;

namespace CoCLR.TrialCluster;

/// <summary>Pruning, defaulting and validation by schema.</summary>
public static class SchemaOperations
{
    private static readonly System.Collections.Concurrent.ConcurrentDictionary<string, Regex> Patterns = new(StringComparer.Ordinal);

    /// <summary>Removes fields the schema does not know; their paths are added to <paramref name="unknown"/>.</summary>
    public static void Prune(JsonNode? node, Schema schema, List<string> unknown, string path = "", bool root = true)
    {
        switch (node)
        {
            case JsonObject o:
                foreach (var (name, value) in o.ToList())
                {
                    var at = path.Length == 0 ? name : $"{path}.{name}";
                    if (root && name is "apiVersion" or "kind" or "metadata")
                    {
                        if (name == "metadata")
                        {
                            Prune(value, BuiltInSchemas.Of(typeof(k8s.Models.V1ObjectMeta)), unknown, at, false);
                        }

                        continue;
                    }

                    if (schema.EmbeddedResource && name is "apiVersion" or "kind" or "metadata")
                    {
                        continue;
                    }

                    if (schema.Properties.TryGetValue(name, out var known))
                    {
                        Prune(value, known, unknown, at, false);
                    }
                    else if (schema.AdditionalProperties is { } more)
                    {
                        Prune(value, more, unknown, at, false);
                    }
                    else if (!schema.PreserveUnknownFields && !schema.AdditionalPropertiesAllowed)
                    {
                        o.Remove(name);
                        unknown.Add(at);
                    }
                }

                break;
            case JsonArray a when schema.Items is { } items:
                for (var i = 0; i < a.Count; i++)
                {
                    Prune(a[i], items, unknown, $"{path}[{i}]", false);
                }

                break;
        }
    }

    /// <summary>
    /// Fills in defaults, bottom of the tree last, as structural defaulting does; nulls where null is not allowed count as absent.
    /// </summary>
    public static void Default(JsonNode? node, Schema schema)
    {
        switch (node)
        {
            case JsonObject o:
                foreach (var (name, property) in schema.Properties)
                {
                    if (!property.HasDefault)
                    {
                        continue;
                    }

                    if (!o.TryGetPropertyValue(name, out var present) || (present is null && !property.Nullable))
                    {
                        o[name] = property.Default?.DeepClone();
                    }
                }

                foreach (var (name, value) in o)
                {
                    if (schema.Property(name) is { } property)
                    {
                        Default(value, property);
                    }
                }

                break;
            case JsonArray a when schema.Items is { } items:
                foreach (var item in a)
                {
                    Default(item, items);
                }

                break;
        }
    }

    /// <summary>Removes nulls that the schema does not allow (they mean absent), as a CRD's decoder does.</summary>
    public static void DropNulls(JsonNode? node, Schema schema)
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

                    if (value is null && !property.Nullable && property != Schema.Anything)
                    {
                        o.Remove(name);
                    }
                    else
                    {
                        DropNulls(value, property);
                    }
                }

                break;
            case JsonArray a when schema.Items is { } items:
                foreach (var item in a)
                {
                    DropNulls(item, items);
                }

                break;
        }
    }

    /// <summary>What a Go decoder says about a value of the wrong type in a built-in kind, or null when all types fit.</summary>
    public static string? DecodeError(JsonNode? node, Schema schema, string kind, string path = "")
    {
        if (node is null)
        {
            return null;
        }

        var type = Json.TypeName(node);
        if (schema.IntOrString)
        {
            return type is "integer" or "string" || (type == "number" && schema.Format == "quantity") ? null : Wrong("util.IntOrString");
        }

        switch (schema.Type)
        {
            case null:
                return null;
            case "object":
                if (node is not JsonObject o)
                {
                    return Wrong("map");
                }

                foreach (var (name, value) in o)
                {
                    if (schema.Property(name) is { } property
                        && DecodeError(value, property, kind, path.Length == 0 ? name : $"{path}.{name}") is { } error)
                    {
                        return error;
                    }
                }

                return null;
            case "array":
                if (node is not JsonArray a)
                {
                    return Wrong("slice");
                }

                foreach (var item in a)
                {
                    if (schema.Items is { } items && DecodeError(item, items, kind, path) is { } error)
                    {
                        return error;
                    }
                }

                return null;
            case "integer":
                return type == "integer" || (type == "number" && Json.AsLong(node) is not null) ? null : Wrong(schema.Format ?? "int64");
            case "number":
                return type is "integer" or "number" ? null : Wrong("float64");
            case "boolean":
                return type == "boolean" ? null : Wrong("bool");
            default:
                if (type != "string")
                {
                    return Wrong("string");
                }

                if (schema.Format == "date-time" && !DateTimeOffset.TryParse(node.GetValue<string>(), CultureInfo.InvariantCulture, out _))
                {
                    return $"parsing time \"{node.GetValue<string>()}\" as \"2006-01-02T15:04:05Z07:00\": cannot parse";
                }

                return null;
        }

        string Wrong(string wanted) =>
            $"json: cannot unmarshal {(type == "integer" ? "number" : type == "boolean" ? "bool" : type)} into Go struct field "
                + $"{kind}.{path} of type {wanted}";
    }

    /// <summary>Checks a value against its schema. `metadata`, `apiVersion` and `kind` of the root are checked elsewhere.</summary>
    public static void Validate(JsonNode? node, Schema schema, string path, List<FieldError> errors, bool root = false)
    {
        if (node is null)
        {
            if (!schema.Nullable && schema.Type is not null && !root)
            {
                errors.Add(FieldError.TypeInvalid(path, null, $"{path} in body must be of type {schema.Type}: \"null\""));
            }

            return;
        }

        var type = Json.TypeName(node);
        if (schema.IntOrString)
        {
            if (type is not ("integer" or "string"))
            {
                errors.Add(FieldError.TypeInvalid(path, node, $"{path} in body must be of type integer,string: \"{type}\""));
                return;
            }
        }
        else if (schema.Type is not null && !Fits(type, schema.Type, node))
        {
            errors.Add(FieldError.TypeInvalid(path, type, $"{path} in body must be of type {schema.Type}: \"{type}\""));
            return;
        }

        ValidateValue(node, schema, path, errors);
        switch (node)
        {
            case JsonObject o:
                foreach (var name in schema.Required)
                {
                    if (!o.ContainsKey(name))
                    {
                        errors.Add(FieldError.Required(Join(path, name)));
                    }
                }

                foreach (var (name, value) in o)
                {
                    if (root && name is "metadata" or "apiVersion" or "kind")
                    {
                        continue;
                    }

                    if (schema.Properties.TryGetValue(name, out var property))
                    {
                        Validate(value, property, Join(path, name), errors);
                    }
                    else if (schema.AdditionalProperties is { } more)
                    {
                        Validate(value, more, path.Length == 0 ? name : $"{path}.{name}", errors);
                    }
                }

                break;
            case JsonArray a:
                if (schema.Items is { } items)
                {
                    for (var i = 0; i < a.Count; i++)
                    {
                        Validate(a[i], items, $"{path}[{i}]", errors);
                    }
                }

                ValidateUniqueness(a, schema, path, errors);
                break;
        }
    }

    private static void ValidateUniqueness(JsonArray a, Schema schema, string path, List<FieldError> errors)
    {
        if (schema.ListType is not ("map" or "set") || a.Count < 2)
        {
            return;
        }

        var seen = new HashSet<string>(StringComparer.Ordinal);
        for (var i = 0; i < a.Count; i++)
        {
            JsonNode? key = a[i];
            if (schema.ListType == "map")
            {
                var o = new JsonObject();
                foreach (var name in schema.ListMapKeys)
                {
                    if (a[i].At(name) is { } value)
                    {
                        o[name] = value.DeepClone();
                    }
                }

                key = o;
            }

            if (!seen.Add(key?.ToJsonString(Json.Options) ?? "null"))
            {
                errors.Add(FieldError.Duplicate($"{path}[{i}]", key));
            }
        }
    }

    /// <summary>Value validations only: bounds, patterns, enumerations and their combinations.</summary>
    private static void ValidateValue(JsonNode node, Schema schema, string path, List<FieldError> errors)
    {
        if (schema.Enum is { } allowed && !allowed.Any(e => Json.Same(e, node)))
        {
            errors.Add(FieldError.NotSupported(path, node, allowed.Select(e => e?.ToJsonString(Json.Options) ?? "null")));
        }

        switch (node)
        {
            case JsonValue v when v.GetValueKind() == JsonValueKind.String:
                var text = v.GetValue<string>();
                var length = text.EnumerateRunes().Count();
                if (schema.MaxLength is { } max && length > max)
                {
                    errors.Add(FieldError.TooLong(path, max));
                }

                if (schema.MinLength is { } min && length < min)
                {
                    errors.Add(FieldError.Invalid(path, node, $"{path} in body should be at least {min} chars long"));
                }

                if (schema.Pattern is { } pattern && !Regex(pattern).IsMatch(text))
                {
                    errors.Add(FieldError.Invalid(path, node, $"{path} in body should match '{pattern}'"));
                }

                if (schema.Format is { } format && !FormatFits(format, text))
                {
                    errors.Add(
                        FieldError.TypeInvalid(path, node, $"{path} in body must be of type {format}: {node.ToJsonString(Json.Options)}"));
                }

                break;
            case JsonValue v when v.GetValueKind() == JsonValueKind.Number:
                var number = Json.AsDouble(v)!.Value;
                if (schema.Minimum is { } least && (schema.ExclusiveMinimum ? number <= least : number < least))
                {
                    errors.Add(
                        FieldError.Invalid(
                            path,
                            node,
                            $"{path} in body should be greater than {(schema.ExclusiveMinimum ? "" : "or equal to ")}{Show(least)}"));
                }

                if (schema.Maximum is { } most && (schema.ExclusiveMaximum ? number >= most : number > most))
                {
                    errors.Add(
                        FieldError.Invalid(
                            path,
                            node,
                            $"{path} in body should be less than {(schema.ExclusiveMaximum ? "" : "or equal to ")}{Show(most)}"));
                }

                if (schema.MultipleOf is { } factor && Math.Abs((number / factor) - Math.Round(number / factor)) > 1e-9)
                {
                    errors.Add(FieldError.Invalid(path, node, $"{path} in body should be a multiple of {Show(factor)}"));
                }

                if (schema.Format == "int32" && number is > int.MaxValue or < int.MinValue)
                {
                    errors.Add(FieldError.Invalid(path, node, $"{path} in body should be of type int32"));
                }

                break;
            case JsonArray a:
                if (schema.MaxItems is { } maxItems && a.Count > maxItems)
                {
                    errors.Add(FieldError.TooMany(path, a.Count, maxItems));
                }

                if (schema.MinItems is { } minItems && a.Count < minItems)
                {
                    errors.Add(FieldError.Invalid(path, a.Count, $"{path} in body should have at least {minItems} items"));
                }

                break;
            case JsonObject o:
                if (schema.MaxProperties is { } maxProperties && o.Count > maxProperties)
                {
                    errors.Add(FieldError.TooMany(path, o.Count, maxProperties));
                }

                if (schema.MinProperties is { } minProperties && o.Count < minProperties)
                {
                    errors.Add(FieldError.Invalid(path, o.Count, $"{path} in body should have at least {minProperties} properties"));
                }

                break;
        }

        foreach (var all in schema.AllOf)
        {
            Nested(node, all, path, errors);
        }

        if (schema.AnyOf.Count > 0 && !schema.IntOrString && schema.AnyOf.TrueForAll(s => !Holds(node, s, path)))
        {
            errors.Add(FieldError.Invalid(path, Scalar(node), $"{path} in body must validate at least one schema (anyOf)"));
        }

        if (schema.OneOf.Count > 0 && schema.OneOf.Count(s => Holds(node, s, path)) is var held && held != 1)
        {
            errors.Add(FieldError.Invalid(path, Scalar(node), $"{path} in body must validate one and only one schema (oneOf). Found "
                + $"{(held == 0 ? "none valid" : $"{held} valid alternatives")}"));
        }

        if (schema.Not is { } not && Holds(node, not, path))
        {
            errors.Add(FieldError.Invalid(path, Scalar(node), $"{path} in body must not validate the schema (not)"));
        }
    }

    private static void Nested(JsonNode node, Schema schema, string path, List<FieldError> errors) => Validate(node, schema, path, errors);

    private static bool Holds(JsonNode node, Schema schema, string path)
    {
        var errors = new List<FieldError>();
        Validate(node, schema, path, errors);
        return errors.Count == 0;
    }

    private static JsonNode? Scalar(JsonNode node) => node is JsonValue ? node : JsonValue.Create(Json.TypeName(node));

    private static string Show(double d) => d.ToString("R", CultureInfo.InvariantCulture);

    private static bool Fits(string actual, string wanted, JsonNode node) => wanted switch
    {
        "number" => actual is "number" or "integer",
        "integer" => actual == "integer" || (actual == "number" && Json.AsLong(node) is not null),
        _ => actual == wanted,
    };

    // Go's "$" is the end of the text; .NET's would also take a line feed before it.
    private static string EndOfText(string pattern) => pattern.EndsWith('$') ? pattern[..^1] + "\\z" : pattern;

    /// <summary>A pattern in Go's syntax as a .NET regular expression, made once.</summary>
    public static Regex Regex(string pattern) => Patterns.GetOrAdd(pattern, static p =>
        new Regex(
            EndOfText(p.Replace("(?P<", "(?<", StringComparison.Ordinal)), RegexOptions.CultureInvariant | RegexOptions.NonBacktracking));

    private static bool FormatFits(string format, string text) => format switch
    {
        "date-time" => DateTimeOffset.TryParse(text, CultureInfo.InvariantCulture, out _) && text.Contains('T', StringComparison.Ordinal),
        "date" => DateOnly.TryParseExact(text, "yyyy-MM-dd", CultureInfo.InvariantCulture, DateTimeStyles.None, out _),
        "byte" => Convert.TryFromBase64String(text, new byte[text.Length], out _),
        "uri" => Uri.TryCreate(text, UriKind.RelativeOrAbsolute, out _),
        "uuid" => Guid.TryParse(text, out _),
        "ipv4" => System.Net.IPAddress.TryParse(text, out var ip) && ip.AddressFamily == System.Net.Sockets.AddressFamily.InterNetwork,
        "ipv6" => System.Net.IPAddress.TryParse(text, out var ip6) && ip6.AddressFamily == System.Net.Sockets.AddressFamily.InterNetworkV6,
        _ => true,
    };

    private static string Join(string path, string name) => path.Length == 0 ? name : $"{path}.{name}";
}
