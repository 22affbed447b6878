// Why this exists: label and field selectors of lists and watches.
using System.Text.Json.Nodes;
using System.Text.RegularExpressions;

namespace CoCLR.TrialCluster;

/// <summary>A label selector and a field selector together.</summary>
public sealed partial class Selector
{
    private readonly List<Func<JsonObject, bool>> _tests = [];

    /// <summary>Selects everything.</summary>
    public static readonly Selector All = new();

    /// <summary>Whether it selects everything.</summary>
    public bool IsEmpty => _tests.Count == 0;

    /// <summary>Whether the object is selected.</summary>
    public bool Matches(JsonObject o) => _tests.TrueForAll(t => t(o));

    /// <summary>Reads both selectors from their query form.</summary>
    /// <exception cref="ApiException">400 where the text is no selector or the field is not selectable.</exception>
    public static Selector Parse(string? labels, string? fields, ResourceDefinition kind)
    {
        var selector = new Selector();
        if (!string.IsNullOrWhiteSpace(labels))
        {
            foreach (var requirement in Split(labels))
            {
                selector._tests.Add(Label(requirement));
            }
        }

        if (!string.IsNullOrWhiteSpace(fields))
        {
            foreach (var requirement in fields.Split(',', StringSplitOptions.RemoveEmptyEntries))
            {
                selector._tests.Add(Field(requirement, kind));
            }
        }

        return selector;
    }

    /// <summary>Whether labels match a `metav1.LabelSelector`.</summary>
    public static bool Matches(JsonNode? labelSelector, JsonNode? labels)
    {
        foreach (var (key, value) in labelSelector.Map("matchLabels") ?? [])
        {
            if (labels.Text(key) != value?.GetValue<string>())
            {
                return false;
            }
        }

        foreach (var e in labelSelector.Items("matchExpressions"))
        {
            var actual = labels.Text(e.Text("key") ?? "");
            var values = e.Items("values").Select(v => v!.GetValue<string>()).ToList();
            var holds = e.Text("operator") switch
            {
                "In" => actual is not null && values.Contains(actual),
                "NotIn" => actual is null || !values.Contains(actual),
                "Exists" => actual is not null,
                "DoesNotExist" => actual is null,
                _ => false,
            };
            if (!holds)
            {
                return false;
            }
        }

        return true;
    }

    private static IEnumerable<string> Split(string labels)
    {
        var depth = 0;
        var start = 0;
        for (var i = 0; i < labels.Length; i++)
        {
            depth += labels[i] == '(' ? 1 : labels[i] == ')' ? -1 : 0;
            if (labels[i] == ',' && depth == 0)
            {
                yield return labels[start..i].Trim();
                start = i + 1;
            }
        }

        yield return labels[start..].Trim();
    }

    private static Func<JsonObject, bool> Label(string text)
    {
        if (SetRequirement().Match(text) is { Success: true } set)
        {
            var key = set.Groups[1].Value;
            var values = set.Groups[3].Value.Split(',', StringSplitOptions.TrimEntries).ToHashSet(StringComparer.Ordinal);
            var wanted = set.Groups[2].Value == "in";
            return o => Value(o, key) is { } v ? values.Contains(v) == wanted : !wanted;
        }

        if (EqualityRequirement().Match(text) is { Success: true } equal)
        {
            var (key, value) = (equal.Groups[1].Value, equal.Groups[3].Value);
            return equal.Groups[2].Value == "!=" ? o => Value(o, key) != value : o => Value(o, key) == value;
        }

        if (ExistsRequirement().Match(text) is { Success: true } exists)
        {
            var key = exists.Groups[2].Value;
            return exists.Groups[1].Length > 0 ? o => Value(o, key) is null : o => Value(o, key) is not null;
        }

        throw ApiException.BadRequest(text.Split(' ', StringSplitOptions.RemoveEmptyEntries) is [_, var second, ..]
            ? $"unable to parse requirement: found '{second}', expected: in, notin, =, ==, !=, gt, lt"
            : $"unable to parse requirement: found '{text}'");

        static string? Value(JsonObject o, string key) => o.Text("metadata", "labels", key);
    }

    private static Func<JsonObject, bool> Field(string text, ResourceDefinition kind)
    {
        var match = FieldRequirement().Match(text);
        if (!match.Success)
        {
            throw ApiException.BadRequest($"invalid selector: '{text}'; can't understand '{text}'");
        }

        var field = match.Groups[1].Value;
        if (field is not ("metadata.name" or "metadata.namespace") && !kind.SelectableFields.Contains(field))
        {
            throw ApiException.BadRequest((kind.Group, kind.Plural) switch
            {
                ("", "configmaps") => $"\"{field}\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\"",
                ("batch", "jobs") => $"field label \"{field}\" not supported for Job",
                _ => $"field label not supported: {field}",
            });
        }

        var path = field.Split('.');
        var value = match.Groups[3].Value;
        var negative = match.Groups[2].Value == "!=";
        return o => (Show(o, field, path) == value) != negative;

        static string Show(JsonObject o, string field, string[] path)
        {
            if (field == "source")
            {
                return o.Text("source", "component") ?? o.Text("reportingComponent") ?? "";
            }

            return o.At(path) switch
            {
                null => field == "spec.unschedulable" ? "false" : "",
                JsonValue v when v.TryGetValue<string>(out var s) => s,
                { } n => n.ToJsonString(),
            };
        }
    }

    [GeneratedRegex(@"^([^\s!=(),]+)\s+(in|notin)\s+\(([^)]*)\)$")]
    private static partial Regex SetRequirement();

    [GeneratedRegex(@"^([^\s!=(),]+)\s*(==|=|!=)\s*([^\s!=(),]*)$")]
    private static partial Regex EqualityRequirement();

    [GeneratedRegex(@"^(!?)\s*([^\s!=(),]+)$")]
    private static partial Regex ExistsRequirement();

    [GeneratedRegex(@"^([^!=]+)(==|=|!=)(.*)$")]
    private static partial Regex FieldRequirement();
}
