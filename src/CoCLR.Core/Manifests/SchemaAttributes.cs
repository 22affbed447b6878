// Why this exists: the few facts a CRD schema, a form and a validation message need beyond a C# type, said once beside the property.
namespace CoCLR.Core.Manifests;

/// <summary>The property is a decimal number written as a string: Kubernetes specs hold no floats.</summary>
[AttributeUsage(AttributeTargets.Property)]
public sealed class DecimalStringAttribute(double minimum, double maximum) : Attribute
{
    /// <summary>Smallest allowed value.</summary>
    public double Minimum { get; } = minimum;

    /// <summary>Largest allowed value.</summary>
    public double Maximum { get; } = maximum;

    /// <summary>What every decimal string looks like that cannot be negative.</summary>
    public const string Pattern = @"^[0-9]{1,12}(\.[0-9]{1,12})?([eE][-+]?[0-9]{1,2})?$";

    /// <summary>The same with a sign.</summary>
    public const string SignedPattern = @"^[-+]?[0-9]{1,12}(\.[0-9]{1,12})?([eE][-+]?[0-9]{1,2})?$";
}

/// <summary>Bounds of an integer (inclusive), of a string's length, or of a list's or map's number of items.</summary>
[AttributeUsage(AttributeTargets.Property)]
public sealed class BoundsAttribute(long minimum, long maximum) : Attribute
{
    /// <summary>Smallest integer, shortest string or fewest items.</summary>
    public long Minimum { get; } = minimum;

    /// <summary>Largest integer, longest string or most items.</summary>
    public long Maximum { get; } = maximum;
}

/// <summary>The pattern (RE2 syntax) of a string, or of each string of a list.</summary>
[AttributeUsage(AttributeTargets.Property)]
public sealed class PatternAttribute(string pattern, string meaning) : Attribute
{
    /// <summary>Regular expression, anchored.</summary>
    public string Pattern { get; } = pattern;

    /// <summary>What the pattern allows, in words for a message.</summary>
    public string Meaning { get; } = meaning;
}

/// <summary>The string may also be written as a whole number without quotes (x-kubernetes-int-or-string).</summary>
[AttributeUsage(AttributeTargets.Property)]
public sealed class IntegerOrStringAttribute : Attribute;

/// <summary>Longest string of a list of strings.</summary>
[AttributeUsage(AttributeTargets.Property)]
public sealed class ItemLengthAttribute(int maximum) : Attribute
{
    /// <summary>Most characters.</summary>
    public int Maximum { get; } = maximum;
}

/// <summary>The keys and values of the map are those of Kubernetes' labels.</summary>
[AttributeUsage(AttributeTargets.Property)]
public sealed class LabelMapAttribute : Attribute;

/// <summary>The property must be given.</summary>
[AttributeUsage(AttributeTargets.Property)]
public sealed class RequiredFieldAttribute : Attribute;

/// <summary>The field may change after an experiment has started; every other field of its spec may not.</summary>
[AttributeUsage(AttributeTargets.Property)]
public sealed class MutableFieldAttribute : Attribute;

/// <summary>The field concerns a cluster only; a run on one machine ignores it.</summary>
[AttributeUsage(AttributeTargets.Property)]
public sealed class ClusterOnlyAttribute : Attribute;

/// <summary>A list that behaves as a set, or as a map by the named key (x-kubernetes-list-type).</summary>
[AttributeUsage(AttributeTargets.Property)]
public sealed class ListKeyAttribute(string? key = null) : Attribute
{
    /// <summary>The key property of the items; null for a set of scalars.</summary>
    public string? Key { get; } = key;
}

/// <summary>A cross-field rule in CEL for admission (x-kubernetes-validations).</summary>
[AttributeUsage(AttributeTargets.Class, AllowMultiple = true)]
public sealed class CelRuleAttribute(string rule, string message, string? fieldPath = null) : Attribute
{
    /// <summary>The CEL expression; true means valid.</summary>
    public string Rule { get; } = rule;

    /// <summary>What is wrong and how to fix it.</summary>
    public string Message { get; } = message;

    /// <summary>The field to blame, such as <c>.cotrain</c>.</summary>
    public string? FieldPath { get; } = fieldPath;
}
