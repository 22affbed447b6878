// Why this exists: sets one field of a spec from text, for `--set path=value` and for the axes of a benchmark's matrix.
using System.Globalization;
using System.Text.Json.Nodes;
using YamlDotNet.Core;

namespace CoCLR.Core.Manifests.Schema;

/// <summary>Sets fields by path.</summary>
public static class FieldPath
{
    /// <summary>
    /// Sets a field; the text is read as the field's type asks (lists: values with commas between them; groups and lists also as in YAML or
    /// JSON).
    /// </summary>
    /// <param name="spec">The spec, changed in place.</param>
    /// <param name="schema">Its schema.</param>
    /// <param name="path">Path such as training.epochs; a leading <c>spec.</c> is allowed.</param>
    /// <param name="text">The value.</param>
    /// <returns>What is wrong, or null.</returns>
    public static ManifestProblem? Set(JsonObject spec, SchemaNode schema, string path, string text)
    {
        string[] names = (path.StartsWith("spec.", StringComparison.Ordinal) ? path[5..] : path).Split('.');
        JsonObject at = spec;
        SchemaNode node = schema;
        for (int i = 0; i < names.Length; i++)
        {
            if (node.Field(names[i]) is not { } field)
            {
                string? near = SchemaValidator.Suggestion(names[i], node.Fields.Select(f => f.Name));
                return new ManifestProblem(
                    $"spec.{string.Join('.', names[..(i + 1)])}",
                    near == null ? "unknown field" : $"unknown field; did you mean '{near}'?");
            }

            if (i < names.Length - 1)
            {
                if (at[names[i]] is not JsonObject child)
                {
                    at[names[i]] = child = [];
                }

                at = child;
                node = field.Node;
            }
            else
            {
                at[names[i]] = Value(field.Node, text);
            }
        }

        return null;
    }

    /// <summary>Text as a JSON value of a schema's type; text that does not fit stays a string, for the validator to name.</summary>
    private static JsonNode? Value(SchemaNode schema, string text) => schema.Type switch
    {
        SchemaType.Integer when long.TryParse(text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out long number) =>
            JsonValue.Create(number),
        SchemaType.Boolean when bool.TryParse(text, out bool flag) => JsonValue.Create(flag),
        SchemaType.Array when Yaml(text) is JsonArray list => list,
        SchemaType.Array =>
            new JsonArray(
                [
                    .. text.Trim('[', ']').Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries)
                        .Select(t => Value(schema.Items!, t))]),
        SchemaType.Object or SchemaType.Map when Yaml(text) is JsonObject group => group,
        _ => JsonValue.Create(text),
    };

    /// <summary>A group or a list as a manifest writes it on one line, in YAML or JSON; null for text that is neither.</summary>
    private static JsonNode? Yaml(string text)
    {
        try
        {
            return ManifestReader.ParseValue(text);
        }
        catch (YamlException)
        {
            return null;
        }
    }
}
