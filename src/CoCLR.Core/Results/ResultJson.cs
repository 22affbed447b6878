// Why this exists: one place decides how results are written as JSON, so that a file written by a stage is read by every host.
using System.Text.Json;
using System.Text.Json.Serialization;

namespace CoCLR.Core.Results;

/// <summary>Results as JSON: camelCase names, absent values left out, numbers exact.</summary>
public static class ResultJson
{
    /// <summary>For files that people open (`result.json`, `report.json`).</summary>
    public static JsonSerializerOptions Readable { get; } = Create(indented: true);

    /// <summary>For large artifacts (`neighbours.json`, `projection.json`).</summary>
    public static JsonSerializerOptions Compact { get; } = Create(indented: false);

    /// <summary>Writes a value.</summary>
    /// <param name="value">A record of this namespace.</param>
    /// <param name="indented">Whether people will read it.</param>
    /// <typeparam name="T">The record's type.</typeparam>
    public static string Write<T>(T value, bool indented = true) => JsonSerializer.Serialize(value, indented ? Readable : Compact);

    /// <summary>Reads a value.</summary>
    /// <param name="json">The text.</param>
    /// <param name="source">Where it came from, for the error message.</param>
    /// <typeparam name="T">The record's type.</typeparam>
    /// <exception cref="UserErrorException">The text is not such a record (65).</exception>
    public static T Read<T>(string json, string source)
    {
        try
        {
            return JsonSerializer.Deserialize<T>(json, Readable)
                ?? throw new UserErrorException($"{source} is empty: run the stage that writes it again.", ExitCodes.BadData);
        }
        catch (Exception e) when (e is JsonException or NotSupportedException)
        {
            throw new UserErrorException($"{source} is not a {typeof(T).Name}: {e.Message} Run the stage that writes it again.", ExitCodes.BadData, e);
        }
    }

    private static JsonSerializerOptions Create(bool indented) => new(JsonSerializerDefaults.Web)
    {
        WriteIndented = indented,
        DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull,
        AllowOutOfOrderMetadataProperties = true,
        NumberHandling = JsonNumberHandling.Strict,
    };
}
