// Why this exists: one place decides how results are written as JSON, so that a file written by a stage is read by every host.
using System.Text.Json;

namespace CoCLR.Core.Results;

/// <summary>Results as JSON, in the platform's one dialect (<see cref="CoclrJson"/>).</summary>
public static class ResultJson
{
    /// <summary>Writes a value.</summary>
    /// <param name="value">A record of this namespace.</param>
    /// <param name="indented">Whether people will read it.</param>
    /// <typeparam name="T">The record's type.</typeparam>
    public static string Write<T>(T value, bool indented = true) =>
        JsonSerializer.Serialize(value, indented ? CoclrJson.Indented : CoclrJson.Compact);

    /// <summary>Reads a value.</summary>
    /// <param name="json">The text.</param>
    /// <param name="source">Where it came from, for the error message.</param>
    /// <typeparam name="T">The record's type.</typeparam>
    /// <exception cref="UserErrorException">The text is not such a record (65).</exception>
    public static T Read<T>(string json, string source)
    {
        try
        {
            return JsonSerializer.Deserialize<T>(json, CoclrJson.Indented)
                ?? throw new UserErrorException($"{source} is empty: run the stage that writes it again.", ExitCodes.BadData);
        }
        catch (Exception e) when (e is JsonException or NotSupportedException)
        {
            throw new UserErrorException(
                $"{source} is not a {typeof(T).Name}: {e.Message} Run the stage that writes it again.", ExitCodes.BadData, e);
        }
    }
}
