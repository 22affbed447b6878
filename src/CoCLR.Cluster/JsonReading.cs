// Why this exists: objects of a cluster may hold anything; reading a field must never throw because another field is strange.
using System.Globalization;
using System.Text.Json;

namespace CoCLR.Cluster;

/// <summary>Forgiving reading of raw JSON.</summary>
public static class JsonReading
{
    /// <summary>A property, or null when it is missing, null, or this is no object.</summary>
    /// <param name="element">An element.</param>
    /// <param name="name">Name of the property.</param>
    public static JsonElement? Child(this JsonElement element, string name)
        => element.ValueKind == JsonValueKind.Object && element.TryGetProperty(name, out JsonElement value)
            && value.ValueKind != JsonValueKind.Null ? value : null;

    /// <summary>A nested property.</summary>
    /// <param name="element">An element.</param>
    /// <param name="path">Names, outermost first.</param>
    public static JsonElement? At(this JsonElement element, params ReadOnlySpan<string> path)
    {
        JsonElement? here = element;
        foreach (string name in path)
        {
            here = here?.Child(name);
        }

        return here;
    }

    /// <summary>A string property.</summary>
    /// <param name="element">An element.</param>
    /// <param name="name">Name of the property.</param>
    public static string? Text(this JsonElement element, string name)
        => element.Child(name) is { ValueKind: JsonValueKind.String } value ? value.GetString() : null;

    /// <summary>A whole-number property.</summary>
    /// <param name="element">An element.</param>
    /// <param name="name">Name of the property.</param>
    public static long? Number(this JsonElement element, string name)
        => element.Child(name) is { ValueKind: JsonValueKind.Number } value && value.TryGetInt64(out long number) ? number : null;

    /// <summary>A boolean property.</summary>
    /// <param name="element">An element.</param>
    /// <param name="name">Name of the property.</param>
    public static bool? Flag(this JsonElement element, string name)
        => element.Child(name) switch
        {
            { ValueKind: JsonValueKind.True } => true,
            { ValueKind: JsonValueKind.False } => false,
            _ => null,
        };

    /// <summary>A time property.</summary>
    /// <param name="element">An element.</param>
    /// <param name="name">Name of the property.</param>
    public static DateTimeOffset? Time(this JsonElement element, string name)
        => DateTimeOffset.TryParse(
            element.Text(name),
            CultureInfo.InvariantCulture,
            DateTimeStyles.AssumeUniversal | DateTimeStyles.AdjustToUniversal,
            out DateTimeOffset time) ? time : null;

    /// <summary>The items of an array property; nothing when there is none.</summary>
    /// <param name="element">An element.</param>
    /// <param name="name">Name of the property.</param>
    public static IEnumerable<JsonElement> Items(this JsonElement element, string name)
        => element.Child(name) is { ValueKind: JsonValueKind.Array } value ? value.EnumerateArray() : [];

    /// <summary>A map of strings.</summary>
    /// <param name="element">An element.</param>
    /// <param name="name">Name of the property.</param>
    public static IReadOnlyDictionary<string, string>? Map(this JsonElement element, string name)
        => element.Child(name) is { ValueKind: JsonValueKind.Object } value
            ? value.EnumerateObject().Where(p => p.Value.ValueKind == JsonValueKind.String)
                .ToDictionary(p => p.Name, p => p.Value.GetString()!, StringComparer.Ordinal)
            : null;
}
