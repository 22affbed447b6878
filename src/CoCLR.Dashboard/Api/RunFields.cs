// Why this exists: the list is filtered, sorted, grouped and shown by the same fields: what the index knows, any field of the manifest, any metric.
using System.Collections.Concurrent;
using System.Globalization;
using System.Runtime.CompilerServices;
using System.Text.Json;
using System.Text.Json.Nodes;
using CoCLR.Core.Manifests.Schema;
using CoCLR.Dashboard.Storage;

namespace CoCLR.Dashboard.Api;

/// <summary>What a run has in a field: a number, texts (of which any may match), both for a number in words, or nothing.</summary>
internal readonly record struct FieldValue(double? Number, string[] Texts) : IComparable<FieldValue>
{
    public static FieldValue Of(double? number) => new(number, []);

    public static FieldValue Of(params IEnumerable<string?> texts) => new(null, [.. texts.OfType<string>()]);

    public bool IsNothing => Number is null && Texts.Length == 0;

    /// <summary>Numbers come before texts.</summary>
    public int CompareTo(FieldValue other) => (Number, other.Number) switch
    {
        ({ } a, { } b) => a.CompareTo(b),
        ({ }, null) => -1,
        (null, { }) => 1,
        _ => string.Compare(Texts.FirstOrDefault(), other.Texts.FirstOrDefault(), StringComparison.OrdinalIgnoreCase),
    };

    public override string ToString() => Texts.Length > 0 ? string.Join(", ", Texts) : Number?.ToString("R", CultureInfo.InvariantCulture) ?? "";
}

/// <summary>A field of runs.</summary>
/// <param name="Name">As it is written in filters.</param>
/// <param name="IsText">It has no numbers.</param>
/// <param name="Of">Its value.</param>
internal sealed record RunField(string Name, bool IsText, Func<RunInfo, Annotation, FieldValue> Of);

/// <summary>A field for whoever offers a choice of them.</summary>
/// <param name="Name">As it is written in filters.</param>
/// <param name="Kind">run, manifest or metric.</param>
public sealed record FieldName(string Name, string Kind);

/// <summary>Finds fields by their names.</summary>
internal static class RunFields
{
    private static readonly Dictionary<string, RunField> Known = new RunField[]
    {
        new("state", true, (r, _) => FieldValue.Of(r.State.ToString())),
        new("method", true, (r, _) => FieldValue.Of(r.Method)),
        new("name", true, (r, _) => FieldValue.Of(r.Experiment, r.Run)),
        new("data", true, (r, _) => FieldValue.Of(r.DataSet)),
        new("device", true, (r, _) => FieldValue.Of(r.Device)),
        new("stage", true, (r, _) => FieldValue.Of(r.Current?.Name)),
        new("tag", true, (_, a) => FieldValue.Of(a.Tags)),
        new("note", true, (_, a) => FieldValue.Of(a.Note.Length > 0 ? a.Note : null)),
        new("seed", false, (r, _) => FieldValue.Of(r.Seed)),
        new("probe", false, (r, _) => FieldValue.Of(r.BestProbe)),
        new("recall", false, (r, _) => FieldValue.Of(r.RecallAt1)),
        new("loss", false, (r, _) => FieldValue.Of(r.Loss)),
        new("progress", false, (r, _) => FieldValue.Of(r.Progress)),
        new("age", false, (r, _) => FieldValue.Of((DateTimeOffset.UtcNow - r.Created).TotalSeconds)),
        new("created", false, (r, _) => FieldValue.Of(r.Created.ToUnixTimeMilliseconds() / 1000.0)),
        new("updated", false, (r, _) => FieldValue.Of(r.Updated.ToUnixTimeMilliseconds() / 1000.0)),
    }.ToDictionary(f => f.Name, StringComparer.OrdinalIgnoreCase);

    // By the plan's text, which all snapshots of a run share: the values that were asked for.
    private static readonly ConditionalWeakTable<string, ConcurrentDictionary<string, string?>> Read = [];

    private static readonly Lazy<string[]> Paths = new(() => [.. Leaves(SchemaModel.Experiment, "")]);

    /// <summary>Fields that every run has, whatever its manifest.</summary>
    public static IReadOnlyList<string> BuiltIn { get; } = [.. Known.Keys];

    /// <summary>Every field by which runs can be filtered.</summary>
    public static FieldName[] All(IReadOnlyCollection<RunInfo> runs) =>
    [
        .. BuiltIn.Select(f => new FieldName(f, "run")),
        .. Paths.Value.Where(p => !Known.ContainsKey(p)).Select(p => new FieldName(p, "manifest")),
        .. Metrics(runs).Where(m => !Known.ContainsKey(m)).Order(StringComparer.Ordinal).Select(m => new FieldName(m, "metric")),
    ];

    /// <summary>The field of that name, or null (the runs say which metrics there are): first what every run has, then the manifest, then metrics.</summary>
    public static RunField? Find(IReadOnlyCollection<RunInfo> runs, string name)
    {
        if (Known.TryGetValue(name, out RunField? known))
        {
            return known;
        }

        string path = name.StartsWith("spec.", StringComparison.Ordinal) ? name[5..] : name;
        return IsPath(path) ? new RunField(name, false, (r, _) => Manifest(r, path))
            : runs.Any(r => r.Stages.Any(s => s.Latest.ContainsKey(name))) ? new RunField(name, false, (r, _) => Metric(r, name))
            : null;
    }

    /// <summary>What is wrong with a name, or null.</summary>
    public static string? Problem(IReadOnlyCollection<RunInfo> runs, string name)
    {
        if (Find(runs, name) != null)
        {
            return null;
        }

        string? near = SchemaValidator.Suggestion(name, BuiltIn.Concat(Paths.Value).Concat(Metrics(runs)))
            ?? Paths.Value.FirstOrDefault(p => p.EndsWith("." + name, StringComparison.OrdinalIgnoreCase));
        return $"There is no field or metric '{name}'{(near == null ? "; the page API lists all (GET /api/v1/fields)" : $": did you mean '{near}'?")}";
    }

    /// <summary>Values that runs have in a field, the most frequent first; for whoever offers a choice of them.</summary>
    public static IEnumerable<string> ValuesOf(IReadOnlyCollection<RunInfo> runs, SettingsFile settings, string name) =>
        Find(runs, name) is not { } field ? [] : runs.Select(r => field.Of(r, settings.Of(r.Run)))
            .SelectMany(v => v.Texts.Length > 0 ? v.Texts : [v.ToString()]).Where(v => v.Length > 0)
            .CountBy(v => v, StringComparer.OrdinalIgnoreCase)
            .OrderByDescending(v => v.Value).ThenBy(v => v.Key, StringComparer.OrdinalIgnoreCase).Select(v => v.Key);

    /// <summary>A text that two runs share whose manifests differ in nothing but one field.</summary>
    public static string? AlikeBut(RunInfo run, string path) => Cached(run, "\n" + path, spec =>
    {
        JsonObject? whole = JsonSerializer.Deserialize<JsonObject>(spec);
        string[] names = path.Split('.');
        JsonObject? at = whole;
        foreach (string name in names[..^1])
        {
            at = at?[name] as JsonObject;
        }

        at?.Remove(names[^1]);
        return whole?.ToJsonString();
    });

    private static FieldValue Manifest(RunInfo run, string path) => Cached(run, path, spec =>
    {
        JsonElement at = spec;
        foreach (string name in path.Split('.'))
        {
            if (at.ValueKind != JsonValueKind.Object || !at.TryGetProperty(name, out at))
            {
                return null;
            }
        }

        return at.ValueKind == JsonValueKind.Array ? string.Join(", ", at.EnumerateArray()) : at.ToString();
    }) is { } text ? new FieldValue(Number(text), [text]) : FieldValue.Of();

    private static FieldValue Metric(RunInfo run, string name)
    {
        for (int i = run.Stages.Length - 1; i >= 0; i--)
        {
            if (run.Stages[i].Latest.TryGetValue(name, out double value))
            {
                return FieldValue.Of(value);
            }
        }

        return FieldValue.Of();
    }

    private static double? Number(string text) => double.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out double number) ? number : null;

    private static string? Cached(RunInfo run, string key, Func<JsonElement, string?> read)
    {
        if (run.PlanJson is not { } plan)
        {
            return null;
        }

        return Read.GetValue(plan, _ => new ConcurrentDictionary<string, string?>(1, 3)).GetOrAdd(key, _ =>
        {
            try
            {
                using JsonDocument document = JsonDocument.Parse(plan);
                return document.RootElement.TryGetProperty("spec", out JsonElement spec) ? read(spec) : null;
            }
            catch (Exception e) when (e is JsonException or InvalidOperationException)
            {
                return null; // a plan that cannot be read is told on the run's page
            }
        });
    }

    private static HashSet<string> Metrics(IReadOnlyCollection<RunInfo> runs) => runs.SelectMany(r => r.Stages).SelectMany(s => s.Latest.Keys).ToHashSet(StringComparer.Ordinal);

    private static bool IsPath(string path)
    {
        SchemaNode node = SchemaModel.Experiment;
        string[] names = path.Split('.');
        for (int i = 0; i < names.Length; i++)
        {
            if (node.Type == SchemaType.Map)
            {
                return i == names.Length - 1;
            }

            if (node.Field(names[i]) is not { } field)
            {
                return false;
            }

            node = field.Node;
        }

        return node.Type is not (SchemaType.Object or SchemaType.Map);
    }

    private static IEnumerable<string> Leaves(SchemaNode node, string path) => node.Fields.SelectMany(f => f.Node.Type switch
    {
        SchemaType.Object => Leaves(f.Node, $"{path}{f.Name}."),
        SchemaType.Map => [],
        _ => [path + f.Name],
    });
}
