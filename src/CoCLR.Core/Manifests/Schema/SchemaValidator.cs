// Why this exists: says in one sentence each what is wrong with a manifest, naming the field and the fix; the same words in `coclr run`,
// the form and the operator.
using System.Collections.Concurrent;
using System.Globalization;
using System.Text.Json;
using System.Text.Json.Nodes;
using System.Text.RegularExpressions;

namespace CoCLR.Core.Manifests.Schema;

/// <summary>Something wrong in a manifest.</summary>
/// <param name="Path">Field, such as spec.training.epochs.</param>
/// <param name="Message">What is wrong and how to fix it.</param>
/// <param name="Line">Line in the file, from 1, when known.</param>
public sealed record ManifestProblem(string Path, string Message, int? Line = null)
{
    /// <inheritdoc/>
    public override string ToString() => Path.Length == 0 ? Message : $"{Path}: {Message}";
}

/// <summary>Checks a JSON value against a schema.</summary>
public static class SchemaValidator
{
    private static readonly ConcurrentDictionary<string, Regex> Patterns = new();

    /// <summary>Everything that is wrong with a value.</summary>
    /// <param name="value">The value; null when it is missing.</param>
    /// <param name="schema">Its schema.</param>
    /// <param name="path">Its field path.</param>
    public static IReadOnlyList<ManifestProblem> Check(JsonNode? value, SchemaNode schema, string path)
    {
        var problems = new List<ManifestProblem>();
        Check(value, schema, path, problems);
        return problems;
    }

    private static void Check(JsonNode? value, SchemaNode schema, string path, List<ManifestProblem> problems)
    {
        switch (schema.Type)
        {
            case SchemaType.Object when value is JsonObject fields:
                CheckObject(fields, schema, path, problems);
                break;
            case SchemaType.Array when value is JsonArray items:
                CheckCount(items.Count, "items", schema, path, problems);
                for (int i = 0; i < items.Count; i++)
                {
                    Check(items[i], schema.Items!, $"{path}[{i}]", problems);
                }

                CheckKeys(items, schema, path, problems);
                break;
            case SchemaType.Map when value is JsonObject map:
                CheckCount(map.Count, "entries", schema, path, problems);
                CheckEntries(map, schema, path, problems);
                break;
            case SchemaType.Boolean when Scalar(value) is bool:
                break;
            case SchemaType.Integer when Scalar(value) is long number:
                if (number < schema.Minimum || number > schema.Maximum)
                {
                    problems.Add(new ManifestProblem(path, $"{number} is out of range: give {schema.Minimum} to {schema.Maximum}"));
                }

                break;
            case SchemaType.String when Scalar(value) is string text:
                CheckString(text, schema, path, problems);
                break;
            case SchemaType.String when schema.IntegerOrString && Scalar(value) is long number:
                CheckString(number.ToString(CultureInfo.InvariantCulture), schema, path, problems);
                break;
            default:
                problems.Add(new ManifestProblem(path, WrongType(value, schema)));
                break;
        }
    }

    private static void CheckEntries(JsonObject map, SchemaNode schema, string path, List<ManifestProblem> problems)
    {
        foreach ((string key, JsonNode? value) in map)
        {
            if (schema.Keys is { } keys)
            {
                CheckString(key, keys, path, problems);
                if (key.IndexOf('/', StringComparison.Ordinal) > 253)
                {
                    problems.Add(new ManifestProblem(path, ExperimentRules.LongPrefix));
                }
            }

            Check(value, schema.Items!, $"{path}.{key}", problems);
        }
    }

    private static void CheckObject(JsonObject fields, SchemaNode schema, string path, List<ManifestProblem> problems)
    {
        foreach ((string name, JsonNode? value) in fields)
        {
            string at = path.Length == 0 ? name : $"{path}.{name}";
            if (schema.Field(name) is not { } field)
            {
                problems.Add(new ManifestProblem(at, Unknown(name, schema)));
            }
            else if (value != null)
            {
                Check(value, field.Node, at, problems);
            }
        }

        problems.AddRange(
            schema.Fields.Where(f => f.Required && fields[f.Name] == null)
                .Select(f => new ManifestProblem(path.Length == 0 ? f.Name : $"{path}.{f.Name}", "is required")));
    }

    private static string Unknown(string name, SchemaNode schema)
    {
        string? near = Suggestion(name, schema.Fields.Select(f => f.Name));
        return near != null
            ? $"unknown field; did you mean '{near}'?"
            : $"unknown field; known here: {string.Join(", ", schema.Fields.Select(f => f.Name))}";
    }

    /// <summary>The nearest of some names, when it is near enough to be what was meant.</summary>
    /// <param name="name">What was written.</param>
    /// <param name="known">What could be meant.</param>
    public static string? Suggestion(string name, IEnumerable<string> known) => known
        .Select(k => (Name: k, Distance: EditDistance(name.ToLowerInvariant(), k.ToLowerInvariant())))
        .Where(k => k.Distance <= Math.Max(1, k.Name.Length / 3))
        .OrderBy(k => k.Distance).Select(k => k.Name).FirstOrDefault();

    private static int EditDistance(string a, string b)
    {
        int[] row = [.. Enumerable.Range(0, b.Length + 1)];
        for (int i = 1; i <= a.Length; i++)
        {
            int diagonal = row[0];
            row[0] = i;
            for (int j = 1; j <= b.Length; j++)
            {
                int substitution = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
                diagonal = row[j];
                row[j] = Math.Min(Math.Min(row[j], row[j - 1]) + 1, substitution);
            }
        }

        return row[b.Length];
    }

    private static void CheckString(string text, SchemaNode schema, string path, List<ManifestProblem> problems)
    {
        if (schema.EnumValues is { } values)
        {
            if (values.All(v => v.Value != text))
            {
                string? near = Suggestion(text, values.Select(v => v.Value));
                problems.Add(new ManifestProblem(path, $"'{text}' is not one of "
                    + $"{string.Join(", ", values.Select(v => v.Value))}{(near == null ? "" : $"; did you mean '{near}'?")}"));
            }

            return;
        }

        if (text.Length < schema.Minimum || text.Length > schema.Maximum)
        {
            problems.Add(new ManifestProblem(path, $"has {text.Length} characters: give {schema.Minimum} to {schema.Maximum}"));
        }
        else if (schema.Pattern != null && !Matches(text, schema.Pattern))
        {
            problems.Add(new ManifestProblem(path, $"'{text}' is not {schema.PatternMeaning}"));
        }
        else if (schema.Decimal is { } range && (Decimals.Parse(text) < range.Minimum || Decimals.Parse(text) > range.Maximum))
        {
            problems.Add(
                new ManifestProblem(
                    path, string.Create(CultureInfo.InvariantCulture, $"{text} is out of range: give {range.Minimum} to {range.Maximum}")));
        }
    }

    // As the API server matches: in linear time, and "$" is the end of the text and not that of its last line.
    private static bool Matches(string text, string pattern) => Patterns.GetOrAdd(
        pattern,
        static p =>
            new Regex(p.EndsWith('$') ? p[..^1] + @"\z" : p, RegexOptions.CultureInvariant | RegexOptions.NonBacktracking)).IsMatch(text);

    private static void CheckCount(int count, string unit, SchemaNode schema, string path, List<ManifestProblem> problems)
    {
        if (count < schema.Minimum || count > schema.Maximum)
        {
            problems.Add(new ManifestProblem(path, $"has {count} {unit}: give {schema.Minimum} to {schema.Maximum}"));
        }
    }

    private static void CheckKeys(JsonArray items, SchemaNode schema, string path, List<ManifestProblem> problems)
    {
        if (schema.ListKey is not { } key)
        {
            return;
        }

        var seen = new HashSet<string>();
        for (int i = 0; i < items.Count; i++)
        {
            string? value = key.Length == 0 ? items[i]?.ToJsonString() : (items[i] as JsonObject)?[key]?.ToJsonString();
            if (value != null && !seen.Add(value))
            {
                problems.Add(new ManifestProblem($"{path}[{i}]", $"{(key.Length == 0 ? "" : key + " ")}{value} is given twice"));
            }
        }
    }

    private static string WrongType(JsonNode? value, SchemaNode schema)
    {
        string wanted = schema.Type switch
        {
            SchemaType.Object or SchemaType.Map => "must be a group of fields",
            SchemaType.Array => "must be a list",
            SchemaType.Boolean => "must be true or false",
            SchemaType.Integer => "must be a whole number",
            _ => "must be a string",
        };
        bool quoteIt = schema.Type == SchemaType.String && value is JsonValue;
        string given = value?.ToJsonString() ?? "nothing";
        return quoteIt ? $"{wanted}: write \"{given}\" in quotes" : $"{wanted}, not {(given.Length > 60 ? given[..60] + "..." : given)}";
    }

    // By JSON text: a JsonValue made from an int does not convert to long.
    private static object? Scalar(JsonNode? node) => node?.GetValueKind() switch
    {
        JsonValueKind.String => node.GetValue<string>(),
        JsonValueKind.True => true,
        JsonValueKind.False => false,
        JsonValueKind.Number =>
            long.TryParse(node.ToJsonString(), NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out long number)
                ? (object)number
                : double.NaN,
        _ => null,
    };
}
