// Why this exists: the spec types as data: the CRD, the form of the dashboard, the reference pages and the validation all read this one
// tree.
using System.Collections.Concurrent;
using System.Reflection;
using System.Text.Json;
using System.Text.Json.Nodes;
using System.Text.Json.Serialization;

namespace CoCLR.Core.Manifests.Schema;

/// <summary>JSON types of a field.</summary>
public enum SchemaType
{
    /// <summary>An object with named fields.</summary>
    Object,

    /// <summary>A list.</summary>
    Array,

    /// <summary>A map from strings to strings.</summary>
    Map,

    /// <summary>A string, perhaps one of <see cref="SchemaNode.EnumValues"/>, perhaps a decimal number.</summary>
    String,

    /// <summary>An integer.</summary>
    Integer,

    /// <summary>A truth value.</summary>
    Boolean,
}

/// <summary>A cross-field rule.</summary>
/// <param name="Rule">CEL expression.</param>
/// <param name="Message">What is wrong and how to fix it.</param>
/// <param name="FieldPath">Field to blame, such as <c>.cotrain</c>.</param>
public sealed record SchemaRule(string Rule, string Message, string? FieldPath);

/// <summary>One of the values of an enumeration.</summary>
/// <param name="Value">As written in a manifest.</param>
/// <param name="Description">What it means.</param>
public sealed record SchemaEnumValue(string Value, string Description);

/// <summary>A field of an object.</summary>
/// <param name="Name">Name as written in a manifest.</param>
/// <param name="Node">Its schema.</param>
/// <param name="Required">It must be given.</param>
/// <param name="Mutable">It may change after the experiment has started.</param>
/// <param name="ClusterOnly">It concerns a cluster only.</param>
/// <param name="Default">Its default; null without one.</param>
public sealed record SchemaField(string Name, SchemaNode Node, bool Required, bool Mutable, bool ClusterOnly, JsonNode? Default);

/// <summary>The schema of a value.</summary>
public sealed record SchemaNode
{
    /// <summary>JSON type.</summary>
    public required SchemaType Type { get; init; }

    /// <summary>C# type it was made from.</summary>
    public required Type ClrType { get; init; }

    /// <summary>What it means, in a sentence.</summary>
    public string Description { get; init; } = "";

    /// <summary>Fields of an object, in order.</summary>
    public IReadOnlyList<SchemaField> Fields { get; init; } = [];

    /// <summary>Items of a list, or values of a map.</summary>
    public SchemaNode? Items { get; init; }

    /// <summary>Keys of a map; any when null.</summary>
    public SchemaNode? Keys { get; init; }

    /// <summary>Smallest integer, shortest string, fewest items.</summary>
    public long? Minimum { get; init; }

    /// <summary>Largest integer, longest string, most items.</summary>
    public long? Maximum { get; init; }

    /// <summary>Pattern of a string.</summary>
    public string? Pattern { get; init; }

    /// <summary>What the pattern allows, in words.</summary>
    public string? PatternMeaning { get; init; }

    /// <summary>The string may be written as a whole number without quotes.</summary>
    public bool IntegerOrString { get; init; }

    /// <summary>Format of a string, such as date-time.</summary>
    public string? Format { get; init; }

    /// <summary>Bounds of a decimal number written as a string.</summary>
    public (double Minimum, double Maximum)? Decimal { get; init; }

    /// <summary>Values of an enumeration.</summary>
    public IReadOnlyList<SchemaEnumValue>? EnumValues { get; init; }

    /// <summary>A list is a set or a map by key: null for a plain list, empty for a set, else the key field.</summary>
    public string? ListKey { get; init; }

    /// <summary>Cross-field rules of an object.</summary>
    public IReadOnlyList<SchemaRule> Rules { get; init; } = [];

    /// <summary>The field of that name, or null.</summary>
    /// <param name="name">Name as written in a manifest.</param>
    public SchemaField? Field(string name) => Fields.FirstOrDefault(f => f.Name == name);
}

/// <summary>Makes schemas from types.</summary>
public static class SchemaModel
{
    private const int DefaultStringLength = 316;
    private static readonly ConcurrentDictionary<Type, SchemaNode> Cache = new();

    /// <summary>Schema of an experiment's spec.</summary>
    public static SchemaNode Experiment => For(typeof(ExperimentSpec));

    /// <summary>Schema of a benchmark's spec.</summary>
    public static SchemaNode Benchmark => For(typeof(BenchmarkSpec));

    /// <summary>Schema of a record type whose properties carry the attributes of this namespace.</summary>
    /// <param name="type">A record with a parameterless constructor.</param>
    public static SchemaNode For(Type type) => Cache.GetOrAdd(type, static t => ObjectNode(t));

    private static SchemaNode ObjectNode(Type type)
    {
        object defaults = Activator.CreateInstance(type)!;
        var nullability = new NullabilityInfoContext();
        var fields = new List<SchemaField>();
        foreach (PropertyInfo property in type.GetProperties(BindingFlags.Public | BindingFlags.Instance).Where(p => p.SetMethod != null).OrderBy(p => p.MetadataToken))
        {
            object? value = property.GetValue(defaults);
            bool required = property.GetCustomAttribute<RequiredFieldAttribute>() != null;
            fields.Add(new SchemaField(
                JsonNamingPolicy.CamelCase.ConvertName(property.Name),
                Node(property.PropertyType, property),
                required,
                property.GetCustomAttribute<MutableFieldAttribute>() != null,
                property.GetCustomAttribute<ClusterOnlyAttribute>() != null,
                required || value is null ? null : JsonSerializer.SerializeToNode(value, property.PropertyType, CoclrJson.Compact)));
        }

        return new SchemaNode
        {
            Type = SchemaType.Object,
            ClrType = type,
            Description = DocComments.Of(type),
            Fields = fields,
            Rules =
            [
                .. type.IsDefined(typeof(MethodRulesAttribute)) ? MethodRulesAttribute.Rules : [],
                .. type.GetCustomAttributes<CelRuleAttribute>().Select(r => new SchemaRule(r.Rule, r.Message, r.FieldPath))
            ],
        };
    }

    private static SchemaNode Node(Type declared, PropertyInfo property)
    {
        Type type = Nullable.GetUnderlyingType(declared) ?? declared;
        var bounds = property.GetCustomAttribute<BoundsAttribute>();
        var pattern = property.GetCustomAttribute<PatternAttribute>();
        string description = DocComments.Of(property);
        if (ItemType(type) is { } item)
        {
            return new SchemaNode
            {
                Type = SchemaType.Array,
                ClrType = type,
                Description = description,
                Minimum = bounds?.Minimum,
                Maximum = bounds?.Maximum,
                Items = Scalar(
                    item, "", property.GetCustomAttribute<ItemLengthAttribute>() is { } length ? new(0, length.Maximum) : null, pattern)
                    ?? For(item),
                ListKey = property.GetCustomAttribute<ListKeyAttribute>() is { } key ? key.Key ?? "" : null,
            };
        }

        if (typeof(IReadOnlyDictionary<string, string>).IsAssignableFrom(type))
        {
            bool labels = property.GetCustomAttribute<LabelMapAttribute>() != null;
            return new SchemaNode
            {
                Type = SchemaType.Map,
                ClrType = type,
                Description = description,
                Minimum = bounds?.Minimum,
                Maximum = bounds?.Maximum,
                Keys = labels
                    ? Text(new(1, KubernetesNames.LongestLabelKey), new(KubernetesNames.LabelKey, KubernetesNames.LabelKeyMeaning))
                    : null,
                Items = labels
                    ? Text(new(0, KubernetesNames.LongestLabelValue), new(KubernetesNames.LabelValue, KubernetesNames.LabelValueMeaning))
                    : Text(null, null),
            };
        }

        if (property.GetCustomAttribute<DecimalStringAttribute>() is { } number)
        {
            return new SchemaNode
            {
                Type = SchemaType.String,
                ClrType = type,
                Description = description,
                Minimum = 1,
                Maximum = 32,
                Pattern = number.Minimum < 0 ? DecimalStringAttribute.SignedPattern : DecimalStringAttribute.Pattern,
                PatternMeaning = "a decimal number such as \"0.001\"",
                Decimal = (number.Minimum, number.Maximum),
            };
        }

        return Scalar(type, description, bounds, pattern) is { } scalar
            ? scalar with { IntegerOrString = property.IsDefined(typeof(IntegerOrStringAttribute)) }
            : For(type) with { Description = description };
    }

    private static SchemaNode Text(BoundsAttribute? bounds, PatternAttribute? pattern) => Scalar(typeof(string), "", bounds, pattern)!;

    private static SchemaNode? Scalar(Type type, string description, BoundsAttribute? bounds, PatternAttribute? pattern)
    {
        if (type == typeof(bool))
        {
            return new SchemaNode { Type = SchemaType.Boolean, ClrType = type, Description = description };
        }

        if (type == typeof(int) || type == typeof(long))
        {
            return new SchemaNode
            {
                Type = SchemaType.Integer, ClrType = type, Description = description, Minimum = bounds?.Minimum ?? 0,
                Maximum = bounds?.Maximum ?? int.MaxValue
            };
        }

        if (type == typeof(DateTimeOffset))
        {
            return new SchemaNode
            {
                Type = SchemaType.String, ClrType = type, Description = description, Minimum = 0, Maximum = 64, Format = "date-time"
            };
        }

        if (type.IsEnum)
        {
            return new SchemaNode
            {
                Type = SchemaType.String,
                ClrType = type,
                Description = description,
                EnumValues = [
                    .. type.GetFields(BindingFlags.Public | BindingFlags.Static)
                        .Select(
                            f => new SchemaEnumValue(
                                f.GetCustomAttribute<JsonStringEnumMemberNameAttribute>()?.Name ?? f.Name, DocComments.Of(f)))],
            };
        }

        return type != typeof(string) ? null : new SchemaNode
        {
            Type = SchemaType.String,
            ClrType = type,
            Description = description,
            Minimum = bounds?.Minimum ?? 0,
            Maximum = bounds?.Maximum ?? DefaultStringLength,
            Pattern = pattern?.Pattern,
            PatternMeaning = pattern?.Meaning,
        };
    }

    private static Type? ItemType(Type type) =>
        type.IsGenericType && type.GetGenericTypeDefinition() == typeof(IReadOnlyList<>) ? type.GetGenericArguments()[0] : null;
}
