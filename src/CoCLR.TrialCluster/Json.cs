// Why this exists: every object of the API server is a JSON tree; these helpers keep reading and changing such trees short.
using System.Globalization;
using System.Text.Json;
using System.Text.Json.Nodes;
using CoCLR.Core.Manifests;
using YamlDotNet.Core;
using YamlDotNet.RepresentationModel;

namespace CoCLR.TrialCluster;

/// <summary>Helpers over <see cref="JsonNode"/> trees in Kubernetes form.</summary>
public static class Json
{
    private const int MaxDepth = 256;

    /// <summary>How the server writes JSON: no escaping of characters that need none.</summary>
    public static readonly JsonSerializerOptions Options = new()
    {
        Encoder = System.Text.Encodings.Web.JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
        MaxDepth = MaxDepth,
    };

    /// <summary>The node at a path of property names, or null.</summary>
    public static JsonNode? At(this JsonNode? node, params ReadOnlySpan<string> path)
    {
        foreach (var name in path)
        {
            if (node is not JsonObject o || !o.TryGetPropertyValue(name, out node))
            {
                return null;
            }
        }

        return node;
    }

    /// <summary>The string at a path, or null when absent or of another type.</summary>
    public static string? Text(this JsonNode? node, params ReadOnlySpan<string> path) =>
        node.At(path) is JsonValue v && v.TryGetValue<string>(out var s) ? s : null;

    /// <summary>The integer at a path, or null.</summary>
    public static long? Number(this JsonNode? node, params ReadOnlySpan<string> path) =>
        node.At(path) is JsonValue v ? AsLong(v) : null;

    /// <summary>The boolean at a path, or null.</summary>
    public static bool? Flag(this JsonNode? node, params ReadOnlySpan<string> path) =>
        node.At(path) is JsonValue v && v.TryGetValue<bool>(out var b) ? b : null;

    /// <summary>The array at a path, or an empty one that belongs to no tree.</summary>
    public static JsonArray Items(this JsonNode? node, params ReadOnlySpan<string> path) => node.At(path) as JsonArray ?? [];

    /// <summary>The object at a path, or null.</summary>
    public static JsonObject? Map(this JsonNode? node, params ReadOnlySpan<string> path) => node.At(path) as JsonObject;

    /// <summary>The object at a path, made where it is missing.</summary>
    public static JsonObject Ensure(this JsonObject node, params ReadOnlySpan<string> path)
    {
        foreach (var name in path)
        {
            if (node[name] is not JsonObject next)
            {
                next = [];
                node[name] = next;
            }

            node = next;
        }

        return node;
    }

    /// <summary>The array of that name, made where it is missing.</summary>
    public static JsonArray EnsureItems(this JsonObject node, string name)
    {
        if (node[name] is not JsonArray array)
        {
            array = [];
            node[name] = array;
        }

        return array;
    }

    /// <summary>A copy that belongs to no tree.</summary>
    public static JsonObject Copy(this JsonObject node) => (JsonObject)node.DeepClone();

    /// <summary>The integer of a JSON number, or null.</summary>
    public static long? AsLong(JsonNode? node)
    {
        if (node is not JsonValue v || v.GetValueKind() != JsonValueKind.Number)
        {
            return null;
        }

        if (v.TryGetValue<long>(out var l))
        {
            return l;
        }

        if (v.TryGetValue<int>(out var i))
        {
            return i;
        }

        return AsDouble(v) is { } d && Math.Floor(d) == d && Math.Abs(d) < 9e18 ? (long)d : null;
    }

    /// <summary>The floating point value of a JSON number, or null.</summary>
    public static double? AsDouble(JsonNode? node) =>
        node is JsonValue v && v.GetValueKind() == JsonValueKind.Number
            ? double.Parse(v.ToJsonString(), CultureInfo.InvariantCulture)
            : null;

    /// <summary>What Kubernetes calls the type of this value.</summary>
    public static string TypeName(JsonNode? node) => node switch
    {
        null => "null",
        JsonObject => "object",
        JsonArray => "array",
        JsonValue v => v.GetValueKind() switch
        {
            JsonValueKind.String => "string",
            JsonValueKind.True or JsonValueKind.False => "boolean",
            JsonValueKind.Number =>
                AsLong(v) is not null && !v.ToJsonString().Contains('.', StringComparison.Ordinal) ? "integer" : "number",
            _ => "null",
        },
        _ => "null",
    };

    /// <summary>Whether both trees say the same.</summary>
    public static bool Same(JsonNode? a, JsonNode? b) => JsonNode.DeepEquals(a, b);

    /// <summary>Now, or the given time, as `metav1.Time` is written.</summary>
    public static string Time(DateTimeOffset time) => time.UtcDateTime.ToString("yyyy-MM-dd'T'HH:mm:ss'Z'", CultureInfo.InvariantCulture);

    /// <summary>A time as `metav1.MicroTime` is written.</summary>
    public static string MicroTime(DateTimeOffset time) =>
        time.UtcDateTime.ToString("yyyy-MM-dd'T'HH:mm:ss.ffffff'Z'", CultureInfo.InvariantCulture);

    /// <summary>The time at a path, or null.</summary>
    public static DateTimeOffset? TimeAt(this JsonNode? node, params ReadOnlySpan<string> path) =>
        node.Text(path) is { } s
            && DateTimeOffset.TryParse(s, CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal, out var t) ? t : null;

    /// <summary>Reads JSON, or YAML when it is not JSON; anchors and several documents are not taken.</summary>
    /// <exception cref="ApiException">400 where the text is neither.</exception>
    public static JsonNode? Parse(ReadOnlySpan<byte> utf8, bool yaml, List<string>? duplicates = null)
    {
        try
        {
            if (yaml)
            {
                var stream = new YamlStream();
                using var reader = new StringReader(System.Text.Encoding.UTF8.GetString(utf8));
                stream.Load(new MergingParser(new BoundedParser(new Parser(reader), MaxDepth, YamlText.MaxNodes)));
                return stream.Documents.Count == 0 ? null : FromYaml(stream.Documents[0].RootNode, 0);
            }

            var json = new Utf8JsonReader(utf8, new JsonReaderOptions { MaxDepth = MaxDepth });
            json.Read();
            return Read(ref json, "", duplicates);
        }
        catch (Exception e) when (e is JsonException or YamlException or InvalidOperationException)
        {
            throw ApiException.BadRequest($"error decoding the body: {e.Message}");
        }
    }

    // Utf8JsonReader instead of JsonNode.Parse: Go keeps the last of two equal keys and can say which keys came twice.
    private static JsonNode? Read(ref Utf8JsonReader reader, string path, List<string>? duplicates)
    {
        switch (reader.TokenType)
        {
            case JsonTokenType.StartObject:
                var o = new JsonObject();
                while (reader.Read() && reader.TokenType != JsonTokenType.EndObject)
                {
                    var name = reader.GetString()!;
                    var at = path.Length == 0 ? name : path + "." + name;
                    reader.Read();
                    var value = Read(ref reader, at, duplicates);
                    if (o.ContainsKey(name))
                    {
                        duplicates?.Add(at);
                    }

                    o[name] = value;
                }

                return o;
            case JsonTokenType.StartArray:
                var a = new JsonArray();
                while (reader.Read() && reader.TokenType != JsonTokenType.EndArray)
                {
                    a.Add(Read(ref reader, $"{path}[{a.Count}]", duplicates));
                }

                return a;
            case JsonTokenType.String:
                return JsonValue.Create(reader.GetString());
            case JsonTokenType.True:
                return JsonValue.Create(true);
            case JsonTokenType.False:
                return JsonValue.Create(false);
            case JsonTokenType.Number:
                return reader.TryGetInt64(out var l) ? JsonValue.Create(l) : JsonValue.Create(reader.GetDouble());
            default:
                return null;
        }
    }

    private static JsonNode? FromYaml(YamlNode node, int depth)
    {
        if (depth > MaxDepth)
        {
            throw new YamlException(node.Start, node.End, "an alias leads back into itself");
        }

        switch (node)
        {
            case YamlMappingNode map:
                var o = new JsonObject();
                foreach (var (key, value) in map.Children)
                {
                    o[((YamlScalarNode)key).Value ?? ""] = FromYaml(value, depth + 1);
                }

                return o;
            case YamlSequenceNode list:
                return new JsonArray([.. list.Children.Select(c => FromYaml(c, depth + 1))]);
            case YamlScalarNode scalar:
                return FromScalar(scalar);
            default:
                return null;
        }
    }

    private static JsonValue? FromScalar(YamlScalarNode scalar)
    {
        var text = scalar.Value ?? "";
        if (scalar.Style is ScalarStyle.SingleQuoted or ScalarStyle.DoubleQuoted or ScalarStyle.Literal or ScalarStyle.Folded)
        {
            return JsonValue.Create(text);
        }

        return text switch
        {
            "" or "~" or "null" or "Null" or "NULL" => null,
            "true" or "True" or "TRUE" => JsonValue.Create(true),
            "false" or "False" or "FALSE" => JsonValue.Create(false),
            _ when long.TryParse(text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out var l) => JsonValue.Create(l),
            _ when char.IsAsciiDigit(text[^1]) && double.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out var d) =>
                JsonValue.Create(d),
            _ => JsonValue.Create(text),
        };
    }
}
