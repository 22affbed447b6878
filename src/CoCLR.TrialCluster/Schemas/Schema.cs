// Why this exists: one form of OpenAPI v3 schema for built-in kinds and for CRDs, so that validation, pruning, defaults, patches and
// field ownership are written once.
using System.Text.Json;
using System.Text.Json.Nodes;

namespace CoCLR.TrialCluster;

/// <summary>An OpenAPI v3 schema with the Kubernetes extensions.</summary>
public sealed class Schema
{
    /// <summary>A schema that takes anything and keeps everything.</summary>
    public static readonly Schema Anything = new() { PreserveUnknownFields = true };

    /// <summary>The name under `components.schemas`, for built-in types, else null.</summary>
    public string? Reference { get; init; }

    /// <summary>`object`, `array`, `string`, `integer`, `number`, `boolean`, or null for anything.</summary>
    public string? Type { get; set; }

    /// <summary>OpenAPI format, such as `int32` or `date-time`.</summary>
    public string? Format { get; set; }

    /// <summary>What the field means.</summary>
    public string? Description { get; set; }

    /// <summary>Where the description of a built-in field stands; read only when somebody asks for the OpenAPI document.</summary>
    public string? DocumentationKey { get; set; }

    /// <summary>The fields of an object.</summary>
    public Dictionary<string, Schema> Properties { get; } = new(StringComparer.Ordinal);

    /// <summary>The elements of an array.</summary>
    public Schema? Items { get; set; }

    /// <summary>The values of a map.</summary>
    public Schema? AdditionalProperties { get; set; }

    /// <summary>`additionalProperties: true`.</summary>
    public bool AdditionalPropertiesAllowed { get; set; }

    /// <summary>Fields that must be there.</summary>
    public List<string> Required { get; } = [];

    /// <summary>The value used when none is given.</summary>
    public JsonNode? Default { get; set; }

    /// <summary>Whether a default is declared.</summary>
    public bool HasDefault { get; set; }

    /// <summary>Whether null is kept.</summary>
    public bool Nullable { get; set; }

    /// <summary>The values allowed.</summary>
    public List<JsonNode?>? Enum { get; set; }

    /// <summary>Lower bound.</summary>
    public double? Minimum { get; set; }

    /// <summary>Upper bound.</summary>
    public double? Maximum { get; set; }

    /// <summary>Whether the lower bound itself is out.</summary>
    public bool ExclusiveMinimum { get; set; }

    /// <summary>Whether the upper bound itself is out.</summary>
    public bool ExclusiveMaximum { get; set; }

    /// <summary>The number must be a multiple of this.</summary>
    public double? MultipleOf { get; set; }

    /// <summary>Fewest characters.</summary>
    public long? MinLength { get; set; }

    /// <summary>Most characters.</summary>
    public long? MaxLength { get; set; }

    /// <summary>Fewest elements.</summary>
    public long? MinItems { get; set; }

    /// <summary>Most elements.</summary>
    public long? MaxItems { get; set; }

    /// <summary>Fewest properties.</summary>
    public long? MinProperties { get; set; }

    /// <summary>Most properties.</summary>
    public long? MaxProperties { get; set; }

    /// <summary>No element twice.</summary>
    public bool UniqueItems { get; set; }

    /// <summary>A regular expression the string must match somewhere.</summary>
    public string? Pattern { get; set; }

    /// <summary>Value validations that must all hold.</summary>
    public List<Schema> AllOf { get; } = [];

    /// <summary>Value validations of which one must hold.</summary>
    public List<Schema> AnyOf { get; } = [];

    /// <summary>Value validations of which exactly one must hold.</summary>
    public List<Schema> OneOf { get; } = [];

    /// <summary>A value validation that must not hold.</summary>
    public Schema? Not { get; set; }

    /// <summary>`x-kubernetes-preserve-unknown-fields`.</summary>
    public bool PreserveUnknownFields { get; set; }

    /// <summary>`x-kubernetes-int-or-string`.</summary>
    public bool IntOrString { get; set; }

    /// <summary>`x-kubernetes-embedded-resource`.</summary>
    public bool EmbeddedResource { get; set; }

    /// <summary>`x-kubernetes-list-type`: `atomic`, `set` or `map`.</summary>
    public string? ListType { get; set; }

    /// <summary>`x-kubernetes-list-map-keys`.</summary>
    public List<string> ListMapKeys { get; set; } = [];

    /// <summary>`x-kubernetes-map-type`: `granular` or `atomic`.</summary>
    public string? MapType { get; set; }

    /// <summary>`x-kubernetes-patch-merge-key`.</summary>
    public string? PatchMergeKey { get; set; }

    /// <summary>`x-kubernetes-patch-strategy`.</summary>
    public string? PatchStrategy { get; set; }

    /// <summary>`x-kubernetes-validations`.</summary>
    public List<ValidationRule> Rules { get; } = [];

    /// <summary>Whether elements of this list are told apart by keys.</summary>
    public bool IsMapList => Type == "array" && ListType == "map";

    /// <summary>Whether this value is owned as a whole.</summary>
    public bool IsAtomic => Type switch
    {
        "array" => ListType is null or "atomic",
        "object" => MapType == "atomic",
        null => false,
        _ => true,
    };

    /// <summary>The schema of a property, or null when the schema knows none.</summary>
    public Schema? Property(string name) => Properties.TryGetValue(name, out var s) ? s : AdditionalProperties;

    /// <summary>Reads a schema written as JSON (a CRD's `openAPIV3Schema`).</summary>
    public static Schema FromJson(JsonObject json)
    {
        var s = new Schema
        {
            Type = json.Text("type"),
            Format = json.Text("format"),
            Description = json.Text("description"),
            Nullable = json.Flag("nullable") ?? false,
            Minimum = Json.AsDouble(json["minimum"]),
            Maximum = Json.AsDouble(json["maximum"]),
            ExclusiveMinimum = json.Flag("exclusiveMinimum") ?? false,
            ExclusiveMaximum = json.Flag("exclusiveMaximum") ?? false,
            MultipleOf = Json.AsDouble(json["multipleOf"]),
            MinLength = json.Number("minLength"),
            MaxLength = json.Number("maxLength"),
            MinItems = json.Number("minItems"),
            MaxItems = json.Number("maxItems"),
            MinProperties = json.Number("minProperties"),
            MaxProperties = json.Number("maxProperties"),
            UniqueItems = json.Flag("uniqueItems") ?? false,
            Pattern = json.Text("pattern"),
            PreserveUnknownFields = json.Flag("x-kubernetes-preserve-unknown-fields") ?? false,
            IntOrString = json.Flag("x-kubernetes-int-or-string") ?? false,
            EmbeddedResource = json.Flag("x-kubernetes-embedded-resource") ?? false,
            ListType = json.Text("x-kubernetes-list-type"),
            MapType = json.Text("x-kubernetes-map-type"),
            ListMapKeys = [.. json.Items("x-kubernetes-list-map-keys").Select(k => k!.GetValue<string>())],
        };
        if (json.TryGetPropertyValue("default", out var d))
        {
            s.Default = d?.DeepClone();
            s.HasDefault = d is not null;
        }

        if (json["enum"] is JsonArray values)
        {
            s.Enum = [.. values.Select(v => v?.DeepClone())];
        }

        foreach (var (name, value) in json.Map("properties") ?? [])
        {
            s.Properties[name] = value is JsonObject o ? FromJson(o) : Anything;
        }

        s.Required.AddRange(json.Items("required").Select(r => r!.GetValue<string>()));
        if (json["items"] is JsonObject items)
        {
            s.Items = FromJson(items);
        }

        switch (json["additionalProperties"])
        {
            case JsonObject more:
                s.AdditionalProperties = FromJson(more);
                break;
            case JsonValue v when v.GetValueKind() == JsonValueKind.True:
                s.AdditionalPropertiesAllowed = true;
                break;
        }

        s.AllOf.AddRange(json.Items("allOf").OfType<JsonObject>().Select(FromJson));
        s.AnyOf.AddRange(json.Items("anyOf").OfType<JsonObject>().Select(FromJson));
        s.OneOf.AddRange(json.Items("oneOf").OfType<JsonObject>().Select(FromJson));
        if (json["not"] is JsonObject not)
        {
            s.Not = FromJson(not);
        }

        foreach (var rule in json.Items("x-kubernetes-validations").OfType<JsonObject>())
        {
            s.Rules.Add(new ValidationRule
            {
                Rule = rule.Text("rule") ?? "",
                Message = rule.Text("message"),
                MessageExpression = rule.Text("messageExpression"),
                Reason = rule.Text("reason"),
                FieldPath = rule.Text("fieldPath"),
                OptionalOldSelf = rule.Flag("optionalOldSelf") ?? false,
            });
        }

        return s;
    }

    /// <summary>Writes the schema as OpenAPI; references stay references.</summary>
    public JsonObject ToJson(bool root = true, string prefix = "#/components/schemas/")
    {
        var o = new JsonObject();
        if (Reference is not null && !root)
        {
            o["$ref"] = prefix + Reference;
            return o;
        }

        void Put(string name, JsonNode? value)
        {
            if (value is not null)
            {
                o[name] = value;
            }
        }

        Put("description", Description ?? (DocumentationKey is null ? null : BuiltInSchemas.Describe(DocumentationKey)));
        Put("type", Type);
        Put("format", Format);
        Put("default", Default?.DeepClone());
        Put("nullable", Nullable ? true : null);
        Put("minimum", Minimum);
        Put("maximum", Maximum);
        Put("exclusiveMinimum", ExclusiveMinimum ? true : null);
        Put("exclusiveMaximum", ExclusiveMaximum ? true : null);
        Put("multipleOf", MultipleOf);
        Put("minLength", MinLength);
        Put("maxLength", MaxLength);
        Put("minItems", MinItems);
        Put("maxItems", MaxItems);
        Put("minProperties", MinProperties);
        Put("maxProperties", MaxProperties);
        Put("uniqueItems", UniqueItems ? true : null);
        Put("pattern", Pattern);
        if (Enum is not null)
        {
            o["enum"] = new JsonArray([.. Enum.Select(e => e?.DeepClone())]);
        }

        if (Required.Count > 0)
        {
            o["required"] = new JsonArray([.. Required.Select(r => (JsonNode)r)]);
        }

        if (Properties.Count > 0)
        {
            var properties = new JsonObject();
            foreach (var (name, value) in Properties)
            {
                properties[name] = value.ToJson(false, prefix);
            }

            o["properties"] = properties;
        }

        Put("items", Items?.ToJson(false, prefix));
        Put(
            "additionalProperties",
            AdditionalProperties is { } more ? more.ToJson(false, prefix) : AdditionalPropertiesAllowed ? JsonValue.Create(true) : null);
        foreach (var (name, list) in new[] { ("allOf", AllOf), ("anyOf", AnyOf), ("oneOf", OneOf) })
        {
            if (list.Count > 0)
            {
                o[name] = new JsonArray([.. list.Select(e => e.ToJson(false, prefix))]);
            }
        }

        Put("not", Not?.ToJson(false, prefix));
        Put("x-kubernetes-preserve-unknown-fields", PreserveUnknownFields && this != Anything ? true : null);
        Put("x-kubernetes-int-or-string", IntOrString ? true : null);
        Put("x-kubernetes-embedded-resource", EmbeddedResource ? true : null);
        Put("x-kubernetes-list-type", ListType);
        Put("x-kubernetes-map-type", MapType);
        Put("x-kubernetes-patch-merge-key", PatchMergeKey);
        Put("x-kubernetes-patch-strategy", PatchStrategy);
        if (ListMapKeys.Count > 0)
        {
            o["x-kubernetes-list-map-keys"] = new JsonArray([.. ListMapKeys.Select(k => (JsonNode)k)]);
        }

        if (Rules.Count > 0)
        {
            o["x-kubernetes-validations"] = new JsonArray([.. Rules.Select(r => (JsonNode)r.ToJson())]);
        }

        return o;
    }
}

/// <summary>One CEL rule of a schema.</summary>
public sealed class ValidationRule
{
    /// <summary>The expression; true means valid.</summary>
    public required string Rule { get; init; }

    /// <summary>What to say when it does not hold.</summary>
    public string? Message { get; init; }

    /// <summary>An expression giving what to say.</summary>
    public string? MessageExpression { get; init; }

    /// <summary>The reason of the field error.</summary>
    public string? Reason { get; init; }

    /// <summary>The field the error is about, relative to the schema.</summary>
    public string? FieldPath { get; init; }

    /// <summary>Whether a transition rule also runs on create.</summary>
    public bool OptionalOldSelf { get; init; }

    /// <summary>The rule as written in a CRD.</summary>
    public JsonObject ToJson()
    {
        var o = new JsonObject { ["rule"] = Rule };
        if (Message is not null)
        {
            o["message"] = Message;
        }

        if (MessageExpression is not null)
        {
            o["messageExpression"] = MessageExpression;
        }

        if (Reason is not null)
        {
            o["reason"] = Reason;
        }

        if (FieldPath is not null)
        {
            o["fieldPath"] = FieldPath;
        }

        return o;
    }
}
