// Why this exists: fields that once were whole numbers are still written so, in manifests, in clusters and in the plans of older runs.
using System.Globalization;
using System.Text.Json;
using System.Text.Json.Serialization;

namespace CoCLR.Core.Manifests;

/// <summary>Reads a string, or a whole number as one; writes a string.</summary>
public sealed class IntegerOrStringConverter : JsonConverter<string>
{
    /// <inheritdoc/>
    public override string? Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options)
        => reader.TokenType == JsonTokenType.Number ? reader.GetInt64().ToString(CultureInfo.InvariantCulture) : reader.GetString();

    /// <inheritdoc/>
    public override void Write(Utf8JsonWriter writer, string value, JsonSerializerOptions options) => writer.WriteStringValue(value);
}
