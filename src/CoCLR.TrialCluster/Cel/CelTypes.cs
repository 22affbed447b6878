// Why this exists: the types of CEL as a CRD's schema declares them, with the greatest size a value can have: costs are estimated from
// sizes.
namespace CoCLR.TrialCluster;

/// <summary>Kinds of type.</summary>
public enum CelKind
{
    /// <summary>Anything; checked when evaluated.</summary>
    Dyn,

    /// <summary>Boolean.</summary>
    Bool,

    /// <summary>64-bit integer.</summary>
    Int,

    /// <summary>64-bit unsigned integer.</summary>
    Uint,

    /// <summary>Floating point.</summary>
    Double,

    /// <summary>Text.</summary>
    String,

    /// <summary>Bytes.</summary>
    Bytes,

    /// <summary>Null.</summary>
    Null,

    /// <summary>List.</summary>
    List,

    /// <summary>Map.</summary>
    Map,

    /// <summary>Object with declared fields.</summary>
    Object,

    /// <summary>Duration.</summary>
    Duration,

    /// <summary>Point in time.</summary>
    Timestamp,

    /// <summary>Optional value.</summary>
    Optional,

    /// <summary>Kubernetes quantity.</summary>
    Quantity,

    /// <summary>The name of a type.</summary>
    Type,
}

/// <summary>A type.</summary>
/// <param name="Kind">Kind.</param>
/// <param name="Element">Element of lists, value of maps and optionals.</param>
/// <param name="Schema">Schema of objects.</param>
/// <param name="MaxSize">Most characters, elements or entries a value can have.</param>
/// <param name="IsRoot">Whether it is the whole resource: metadata.name and generateName can be reached.</param>
public sealed record CelType(CelKind Kind, CelType? Element = null, Schema? Schema = null, double MaxSize = 1, bool IsRoot = false)
{
    /// <summary>Most bytes of a request.</summary>
    public const double MaxRequest = 3 * 1024 * 1024;

    /// <summary>Anything.</summary>
    public static readonly CelType Dyn = new(CelKind.Dyn, MaxSize: MaxRequest);

    /// <summary>Boolean.</summary>
    public static readonly CelType Bool = new(CelKind.Bool);

    /// <summary>Integer.</summary>
    public static readonly CelType Int = new(CelKind.Int);

    /// <summary>Floating point.</summary>
    public static readonly CelType Double = new(CelKind.Double);

    /// <summary>Text of unknown length.</summary>
    public static readonly CelType String = new(CelKind.String, MaxSize: MaxRequest - 2);

    /// <summary>The type a schema declares; null where rules cannot reach it (unknown structure).</summary>
    public static CelType? Of(Schema schema, bool root = false)
    {
        if (schema.IntOrString)
        {
            return Dyn;
        }

        switch (schema.Type)
        {
            case "boolean":
                return Bool;
            case "integer":
                return Int;
            case "number":
                return Double;
            case "string":
                return schema.Format switch
                {
                    "byte" => new CelType(CelKind.Bytes, MaxSize: schema.MaxLength ?? MaxRequest - 2),
                    "duration" => new CelType(CelKind.Duration, MaxSize: 14),
                    "date" or "date-time" => new CelType(CelKind.Timestamp, MaxSize: 20),
                    _ => new CelType(CelKind.String, MaxSize: schema.MaxLength is { } max ? max * 4
                        : schema.Enum is { Count: > 0 } values ? values.Max(v => v.Text()?.Length ?? 0) : MaxRequest - 2),
                };
            case "array":
                var item = schema.Items is null ? null : Of(schema.Items);
                return item is null
                    ? null
                    : new CelType(
                        CelKind.List, item, schema, schema.MaxItems ?? Math.Floor((MaxRequest - 2) / (MinSize(schema.Items!) + 1)));
            case "object":
                if (schema.AdditionalProperties is { } more)
                {
                    var value = Of(more);
                    return value is null
                        ? null
                        : new CelType(
                            CelKind.Map, value, schema, schema.MaxProperties ?? Math.Floor((MaxRequest - 2) / (MinSize(more) + 6)));
                }

                return new CelType(CelKind.Object, null, schema, IsRoot: root || schema.EmbeddedResource);
            default:
                return null;
        }
    }

    /// <summary>The fewest bytes a value needs in a request.</summary>
    public static double MinSize(Schema schema) => schema switch
    {
        { IntOrString: true } => 1,
        { Type: "boolean" } => 4,
        { Type: "integer" or "number" } => 1,
        { Type: "string", Format: "date-time" } => 22,
        { Type: "string", Format: "date" } => 12,
        { Type: "string" } => 2,
        { Type: "object", AdditionalProperties: null } => 2
            + schema.Properties.Sum(p => schema.Required.Contains(p.Key) && !p.Value.HasDefault ? p.Key.Length + 4 + MinSize(p.Value) : 0),
        _ => 2,
    };

    /// <summary>A field of an object as CEL names it, or null.</summary>
    public CelType? Field(string name)
    {
        if (IsRoot)
        {
            switch (name)
            {
                case "apiVersion" or "kind":
                    return String;
                case "metadata":
                    return new CelType(CelKind.Object, null, Metadata);
            }
        }

        if (CelParser.Reserved.Contains(name) || name is "true" or "false" or "null" or "in")
        {
            return null;
        }

        return Schema!.Properties.TryGetValue(Unescape(name), out var property) ? Of(property) : null;
    }

    private static readonly Schema Metadata = new()
    {
        Type = "object",
        Properties =
        {
            ["name"] = new Schema { Type = "string", MaxLength = 253 }, ["generateName"] = new Schema { Type = "string", MaxLength = 253 }
        }
    };

    /// <summary>The property a CEL identifier stands for.</summary>
    public static string Unescape(string name)
    {
        if (!name.Contains("__", StringComparison.Ordinal))
        {
            return name;
        }

        if (name.StartsWith("__", StringComparison.Ordinal) && name.EndsWith("__", StringComparison.Ordinal) && name.Length > 4 && !name[2..^2].Contains("__", StringComparison.Ordinal)
            && name is not ("__underscores__" or "__dot__" or "__dash__" or "__slash__"))
        {
            return name[2..^2];
        }

        return name.Replace("__underscores__", "\u0001", StringComparison.Ordinal).Replace("__dot__", ".", StringComparison.Ordinal)
            .Replace("__dash__", "-", StringComparison.Ordinal).Replace("__slash__", "/", StringComparison.Ordinal)
                .Replace("\u0001", "__", StringComparison.Ordinal);
    }

    /// <summary>Whether both can be compared.</summary>
    public bool Fits(CelType other)
    {
        if (Kind == CelKind.Dyn || other.Kind == CelKind.Dyn)
        {
            return true;
        }

        if (Kind == CelKind.Null || other.Kind == CelKind.Null)
        {
            return (Kind == CelKind.Null ? other : this).Kind is CelKind.Null or CelKind.Duration or CelKind.Timestamp or CelKind.Optional;
        }

        return Kind == other.Kind && (Element is null || other.Element is null || Element.Fits(other.Element))
            && (Kind != CelKind.Object || ReferenceEquals(Schema, other.Schema));
    }

    /// <inheritdoc/>
    public override string ToString() => Kind switch
    {
        CelKind.List => $"list({Element})",
        CelKind.Map => $"map(string, {Element})",
        CelKind.Optional => $"optional_type({Element})",
        CelKind.Object => "object",
        CelKind.Duration => "google.protobuf.Duration",
        CelKind.Timestamp => "google.protobuf.Timestamp",
        _ => Kind.ToString().ToLowerInvariant(),
    };
}
