// Why this exists: YAML or JSON text in, a typed manifest or a list of problems with field paths and lines out. Nothing in a manifest is
// evaluated.
using System.Globalization;
using System.Text.Json;
using System.Text.Json.Nodes;
using System.Text.RegularExpressions;
using CoCLR.Core.Manifests.Schema;
using YamlDotNet.Core;
using YamlDotNet.RepresentationModel;

namespace CoCLR.Core.Manifests;

/// <summary>A manifest that was read, or why it could not be.</summary>
/// <typeparam name="TSpec">Type of the spec.</typeparam>
/// <param name="Manifest">The manifest; null when there are problems.</param>
/// <param name="Problems">What is wrong.</param>
public sealed record ManifestReading<TSpec>(Manifest<TSpec>? Manifest, IReadOnlyList<ManifestProblem> Problems)
    where TSpec : new();

/// <summary>A manifest of any kind as it was read: once, because a pipe can be read only once.</summary>
/// <param name="File">Where it came from, for people.</param>
/// <param name="Text">Its text.</param>
/// <param name="Experiment">The experiment, or null.</param>
/// <param name="Suite">The suite, or null.</param>
public sealed record LoadedManifest(string File, string Text, Manifest<ExperimentSpec>? Experiment, Manifest<BenchmarkSpec>? Suite)
{
    /// <summary>Its name.</summary>
    public string Name => Experiment?.Metadata.Name ?? Suite!.Metadata.Name;

    /// <summary>The experiment, where nothing else will do.</summary>
    /// <param name="verb">What needs one, for people.</param>
    /// <exception cref="UserErrorException">It is a suite (78).</exception>
    public Manifest<ExperimentSpec> RequireExperiment(string verb) => Experiment ?? throw new UserErrorException(
        $"{File} is a {ApiNames.Benchmark}, and {verb} takes one experiment: `coclr run -f {File} --dry-run` lists those that "
            + $"it stands for.", ExitCodes.BadConfiguration);
}

/// <summary>Reads manifests.</summary>
public static partial class ManifestReader
{
    /// <summary>Reads an experiment.</summary>
    /// <param name="text">YAML or JSON.</param>
    /// <param name="overrides">Fields to set over it, such as ("training.epochs", "10").</param>
    public static ManifestReading<ExperimentSpec> ReadExperiment(
        string text, IEnumerable<KeyValuePair<string, string>>? overrides = null) =>
        Read<ExperimentSpec>(text, ApiNames.Experiment, overrides ?? [], s => ExperimentRules.Check(s));

    /// <summary>Reads a benchmark suite.</summary>
    /// <param name="text">YAML or JSON.</param>
    public static ManifestReading<BenchmarkSpec> ReadBenchmark(string text) =>
        Read<BenchmarkSpec>(text, ApiNames.Benchmark, [], BenchmarkRules.Check);

    /// <summary>The kind that a manifest names; null when it names none.</summary>
    /// <param name="text">YAML or JSON.</param>
    public static string? KindOf(string text) => TryToJson(text)?["kind"]?.ToString();

    /// <summary>Checks a spec that is at hand as JSON, such as one from an API server or a form.</summary>
    /// <param name="spec">The spec.</param>
    public static (ExperimentSpec? Spec, IReadOnlyList<ManifestProblem> Problems) CheckExperiment(JsonNode? spec)
    {
        List<ManifestProblem> problems = [.. SchemaValidator.Check(spec, SchemaModel.Experiment, "spec")];
        return (ToSpec<ExperimentSpec>(spec, problems, s => ExperimentRules.Check(s)), problems);
    }

    /// <summary>Reads a manifest, an experiment or a suite, or fails with everything that is wrong with it.</summary>
    /// <param name="file">A file, a pipe, or - for standard input.</param>
    /// <param name="overrides">Fields to set over an experiment.</param>
    /// <exception cref="UserErrorException">The file is missing (66), the manifest is wrong (78), or a suite is to be overridden
    /// (64).</exception>
    public static LoadedManifest Load(string file, IEnumerable<KeyValuePair<string, string>>? overrides = null)
    {
        string text = LoadText(file);
        string shown = file == "-" ? "standard input" : file;
        if (KindOf(text) != ApiNames.Benchmark)
        {
            return new LoadedManifest(shown, text, ManifestOf(ReadExperiment(text, overrides), shown), null);
        }

        return overrides?.Any() == true
            ? throw new UserErrorException("--set changes an experiment; a suite says what varies in spec.matrix.", ExitCodes.Usage)
            : new LoadedManifest(shown, text, null, ManifestOf(ReadBenchmark(text), shown));
    }

    /// <summary>A manifest's text as the JSON that kubectl would send.</summary>
    /// <param name="text">YAML or JSON that has been checked.</param>
    public static JsonObject ToJson(string text) => (JsonObject)Parse(text, [])!;

    /// <summary>The same of text that has not been checked; null when it is no group of fields.</summary>
    /// <param name="text">Any text.</param>
    public static JsonObject? TryToJson(string text)
    {
        try
        {
            return Parse(text, []) as JsonObject;
        }
        catch (YamlException)
        {
            return null;
        }
    }

    private static string LoadText(string file)
    {
        try
        {
            return file == "-" ? Console.In.ReadToEnd() : File.ReadAllText(file);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new UserErrorException($"Cannot read the manifest {file}: {e.Message}", ExitCodes.MissingInput, e);
        }
    }

    private static Manifest<TSpec> ManifestOf<TSpec>(ManifestReading<TSpec> reading, string file)
        where TSpec : new() => reading.Manifest ?? throw new UserErrorException(
            $"{file} is not a valid "
                + $"manifest:{string.Concat(reading.Problems.Select(p => $"\n  {(p.Line == null ? "" : $"line {p.Line}: ")}{p}"))}",
            ExitCodes.BadConfiguration);

    private static ManifestReading<TSpec> Read<TSpec>(
        string text, string kind, IEnumerable<KeyValuePair<string, string>> overrides, Func<TSpec, IEnumerable<ManifestProblem>> rules)
        where TSpec : new()
    {
        var lines = new Dictionary<string, int>();
        JsonNode? root;
        try
        {
            root = Parse(text, lines);
        }
        catch (YamlException e)
        {
            return new ManifestReading<TSpec>(null, [new ManifestProblem("", $"not valid YAML: {e.Message}", (int)e.Start.Line)]);
        }

        if (root is not JsonObject manifest)
        {
            return new ManifestReading<TSpec>(
                null, [new ManifestProblem("", $"a manifest begins with apiVersion: {ApiNames.ApiVersion} and kind: {kind}")]);
        }

        List<ManifestProblem> problems = [.. CheckEnvelope(manifest, kind)];
        JsonNode? specNode = manifest["spec"];
        SchemaNode schema = SchemaModel.For(typeof(TSpec));
        if (specNode is JsonObject spec)
        {
            foreach ((string path, string value) in overrides)
            {
                if (FieldPath.Set(spec, schema, path, value) is { } wrong)
                {
                    problems.Add(wrong);
                }
            }
        }

        problems.AddRange(SchemaValidator.Check(specNode, schema, "spec"));
        TSpec? typed = ToSpec(specNode, problems, rules);
        if (problems.Count > 0)
        {
            return new ManifestReading<TSpec>(null, [.. problems.Select(p => p with { Line = LineOf(p.Path, lines) })]);
        }

        return new ManifestReading<TSpec>(
            new Manifest<TSpec>
            {
                Kind = kind,
                Metadata = manifest["metadata"].Deserialize<ManifestMetadata>(CoclrJson.Compact)!,
                Spec = typed!,
            },
            []);
    }

    private static TSpec? ToSpec<TSpec>(JsonNode? spec, List<ManifestProblem> problems, Func<TSpec, IEnumerable<ManifestProblem>> rules)
    {
        if (problems.Count > 0)
        {
            return default;
        }

        TSpec typed = WithoutNulls(spec).Deserialize<TSpec>(CoclrJson.Compact)!;
        problems.AddRange(rules(typed));
        return problems.Count > 0 ? default : typed;
    }

    /// <summary>A field without a value is one that is not given, as for an API server.</summary>
    private static JsonNode? WithoutNulls(JsonNode? node) => node switch
    {
        JsonObject fields =>
            new JsonObject(fields.Where(f => f.Value != null).Select(f => KeyValuePair.Create(f.Key, WithoutNulls(f.Value)))),
        JsonArray items => new JsonArray([.. items.Select(WithoutNulls)]),
        _ => node?.DeepClone(),
    };

    private static IEnumerable<ManifestProblem> CheckEnvelope(JsonObject manifest, string kind)
    {
        string[] known = ["apiVersion", "kind", "metadata", "spec", "status"];
        foreach (string name in manifest.Select(f => f.Key).Except(known))
        {
            string? near = SchemaValidator.Suggestion(name, known);
            yield return new ManifestProblem(name, near == null ? "unknown field" : $"unknown field; did you mean '{near}'?");
        }

        if (manifest["apiVersion"]?.ToString() is var version && version != ApiNames.ApiVersion)
        {
            yield return new ManifestProblem("apiVersion", $"must be {ApiNames.ApiVersion}{(version == null ? "" : $", not {version}")}");
        }

        if (manifest["kind"]?.ToString() is var given && given != kind)
        {
            yield return new ManifestProblem("kind", $"must be {kind}{(given == null ? "" : $", not {given}")}");
        }

        if (manifest["metadata"] is not JsonObject metadata)
        {
            yield return new ManifestProblem("metadata.name", "is required");
            yield break;
        }

        // A manifest read back from a cluster carries more metadata than a person writes.
        SchemaNode schema = SchemaModel.For(typeof(ManifestMetadata));
        JsonObject written =
            new(metadata.Where(f => schema.Field(f.Key) != null).Select(f => KeyValuePair.Create(f.Key, f.Value?.DeepClone())));
        foreach (ManifestProblem problem in SchemaValidator.Check(written, schema, "metadata"))
        {
            yield return problem;
        }
    }

    private static int? LineOf(string path, Dictionary<string, int> lines)
    {
        for (string at = path; at.Length > 0; at = at[..Math.Max(0, at.LastIndexOfAny(['.', '[']))])
        {
            if (lines.TryGetValue(at, out int line))
            {
                return line;
            }
        }

        return null;
    }

    /// <summary>One value as a manifest writes it.</summary>
    /// <exception cref="YamlException">Not YAML.</exception>
    internal static JsonNode? ParseValue(string text) => Parse(text, []);

    /// <summary>YAML to JSON with the types that kubectl would send; fills the line of every field path.</summary>
    private static JsonNode? Parse(string text, Dictionary<string, int> lines)
    {
        int nodes = 0;
        return YamlText.Load(text) is { } root ? Convert(root, "", 0) : null;

        JsonNode? Convert(YamlNode node, string path, int depth)
        {
            // Aliases repeat what they name, and may name what they stand in.
            if (++nodes > YamlText.MaxNodes || depth > YamlText.MaxDepth)
            {
                throw new YamlException(
                    node.Start, node.End, "holds too many values, or is nested too deeply, once its aliases are followed");
            }

            lines[path] = (int)node.Start.Line;
            return node switch
            {
                YamlMappingNode map =>
                    new JsonObject(
                        map.Children.Select(
                            c => KeyValuePair.Create(
                                KeyOf(c.Key), Convert(c.Value, path.Length == 0 ? KeyOf(c.Key) : $"{path}.{KeyOf(c.Key)}", depth + 1)))),
                YamlSequenceNode list => new JsonArray([.. list.Children.Select((c, i) => Convert(c, $"{path}[{i}]", depth + 1))]),
                YamlScalarNode scalar => Scalar(scalar),
                _ => throw new YamlException(node.Start, node.End, "holds something that is neither a group, a list nor a value"),
            };
        }
    }

    private static string KeyOf(YamlNode key) =>
        (key as YamlScalarNode)?.Value ?? throw new YamlException(key.Start, key.End, "a field name must be plain text");

    private static JsonValue? Scalar(YamlScalarNode scalar)
    {
        string text = scalar.Value ?? "";
        return scalar.Style != ScalarStyle.Plain ? JsonValue.Create(text)
            : text is "" or "~" or "null" or "Null" or "NULL" ? null
            : text is "true" or "True" or "TRUE" or "yes" or "Yes" or "YES" or "on" or "On" or "ON" ? JsonValue.Create(true)
            : text is "false" or "False" or "FALSE" or "no" or "No" or "NO" or "off" or "Off" or "OFF" ? JsonValue.Create(false)
            : Integer().IsMatch(text) && long.TryParse(text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out long integer)
                ? JsonValue.Create(integer)
            : Real().IsMatch(text) && double.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out double real)
                && double.IsFinite(real) ? JsonValue.Create(real)
            : JsonValue.Create(text);
    }

    [GeneratedRegex("^[-+]?(0|[1-9][0-9]*)$", RegexOptions.CultureInvariant)]
    private static partial Regex Integer();

    [GeneratedRegex(@"^[-+]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?$", RegexOptions.CultureInvariant)]
    private static partial Regex Real();
}
