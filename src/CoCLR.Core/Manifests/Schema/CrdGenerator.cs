// Why this exists: the CRDs are made from the spec types, so that admission, the form, the reference pages and `coclr run` can never
// disagree.
using System.Globalization;
using System.Text.Json.Nodes;
using System.Text.RegularExpressions;
using CoCLR.Core.Manifests.Status;
using YamlDotNet.Serialization;

namespace CoCLR.Core.Manifests.Schema;

/// <summary>Makes CustomResourceDefinitions.</summary>
public static partial class CrdGenerator
{
    /// <summary>Largest length of a name: room for the names of Jobs.</summary>
    public const int MaximumNameLength = 52;

    private const string ReadyReason = ".status.conditions[?(@.type=='Ready')].reason";
    private const string NamePattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$";

    /// <summary>The CRDs by file name, in YAML.</summary>
    public static IReadOnlyDictionary<string, string> Files() => new SortedDictionary<string, string>(StringComparer.Ordinal)
    {
        ["coclr.dev_coclrbenchmarks.yaml"] = Yaml(Benchmark()),
        ["coclr.dev_coclrexperiments.yaml"] = Yaml(Experiment()),
    };

    /// <summary>The CRD of CoCLRExperiment.</summary>
    public static JsonObject Experiment() => Definition(
        ApiNames.Experiment,
        "coclrexperiment",
        "cexp",
        "What representation to learn from which videos: a graph of stages, each a pod.",
        SpecSchema(SchemaModel.Experiment, immutable: true),
        StatusSchema(typeof(ExperimentStatus)),
        [
            Column("State", "string", ".status.state", "State in one word."),
            Column("Reason", "string", ReadyReason, "Why it is not ready, in one word."),
            Column("Stage", "string", ".status.stage", "Stage that runs or comes next."),
            Column("Progress", "string", ".status.progress.text", "Percent of the whole experiment."),
            Column("Best", "string", ".status.best", "The best result."),
            Column("Restarts", "integer", ".status.restarts.total", "Restarts of stages."),
            Column("Age", "date", ".metadata.creationTimestamp", "Time since it was made."),
            Column("Queue", "string", ".spec.queueName", "Queue that admits its Jobs.", wide: true),
            Column("GPUs", "integer", ".spec.resources.gpus", "GPUs per stage.", wide: true),
            Column("Dashboard", "string", ".status.dashboardUrl", "Page of the run.", wide: true),
        ]);

    /// <summary>The CRD of CoCLRBenchmark.</summary>
    public static JsonObject Benchmark() => Definition(
        ApiNames.Benchmark,
        "coclrbenchmark",
        "cbench",
        "A suite: a template experiment, varied along the axes of a matrix and over seeds, with one result table.",
        SuiteSchema(),
        StatusSchema(typeof(BenchmarkStatus)),
        [
            Column("State", "string", ".status.state", "State in one word."),
            Column("Reason", "string", ReadyReason, "Why it is not ready, in one word."),
            Column("Finished", "string", ".status.finished", "Finished of all experiments."),
            Column("Active", "integer", ".status.active", "Experiments under way."),
            Column("Failed", "integer", ".status.failed", "Experiments that failed."),
            Column("Met", "string", ".status.conditions[?(@.type=='Met')].status", "Whether the results are what the suite expects."),
            Column("Best", "string", ".status.best", "The best cell."),
            Column("Age", "date", ".metadata.creationTimestamp", "Time since it was made."),
        ]);

    /// <summary>A schema as OpenAPI v3, structural and bounded.</summary>
    /// <param name="node">The schema.</param>
    /// <param name="defaults">Whether defaults are written.</param>
    /// <param name="immutable">Whether fields that are not mutable may not change.</param>
    public static JsonObject OpenApi(SchemaNode node, bool defaults, bool immutable = false)
    {
        var schema = new JsonObject();
        if (node.Description.Length > 0)
        {
            schema["description"] = Describe(node);
        }

        switch (node.Type)
        {
            case SchemaType.Object:
                schema["type"] = "object";
                AddFields(schema, node, defaults, immutable);
                break;
            case SchemaType.Array:
                schema["type"] = "array";
                AddBounds(schema, node, "minItems", "maxItems");
                schema["items"] = OpenApi(node.Items!, defaults);
                if (node.ListKey is { } key)
                {
                    schema["x-kubernetes-list-type"] = key.Length == 0 ? "set" : "map";
                    if (key.Length > 0)
                    {
                        schema["x-kubernetes-list-map-keys"] = new JsonArray(key);
                    }
                }
                else
                {
                    schema["x-kubernetes-list-type"] = "atomic";
                }

                break;
            case SchemaType.Map:
                schema["type"] = "object";
                JsonObject values = [];
                AddString(values, node.Items!);
                schema["additionalProperties"] = values;
                AddBounds(schema, node, "minProperties", "maxProperties");
                if (node.Keys is { Pattern: { } pattern } keys)
                {
                    // Structural schemas have no patterns for keys.
                    string text = pattern.Replace(@"\", @"\\", StringComparison.Ordinal);
                    Rules(schema)
                        .Add(
                            Rule(
                                $"self.all(key, key.matches('{text}') && key.matches('{KubernetesNames.ShortPrefix}'))",
                                $"each key must be {keys.PatternMeaning}",
                                null,
                                null));
                }

                break;
            case SchemaType.Boolean:
                schema["type"] = "boolean";
                break;
            case SchemaType.Integer:
                schema["type"] = "integer";
                schema["format"] = node.Maximum > int.MaxValue ? "int64" : "int32";
                schema["minimum"] = node.Minimum;
                if (node.Maximum < long.MaxValue)
                {
                    schema["maximum"] = node.Maximum;
                }

                break;
            default:
                AddString(schema, node);
                break;
        }

        return schema;
    }

    private static void AddFields(JsonObject schema, SchemaNode node, bool defaults, bool immutable)
    {
        string[] required = [.. node.Fields.Where(f => f.Required).Select(f => f.Name)];
        if (required.Length > 0)
        {
            schema["required"] = new JsonArray([.. required.Select(r => (JsonNode)r)]);
        }

        var properties = new JsonObject();
        foreach (SchemaField field in node.Fields)
        {
            bool mixed = immutable && !field.Mutable && HasMutable(field.Node);
            JsonObject property = OpenApi(field.Node, defaults, mixed);
            if (defaults && field.Default != null && !(field.Node.Type is SchemaType.Array or SchemaType.Map && IsEmpty(field.Default)))
            {
                // {} lets the server fill in the defaults of the fields inside.
                property["default"] = field.Node.Type == SchemaType.Object ? new JsonObject() : field.Default.DeepClone();
            }

            if (immutable && !field.Mutable && !mixed)
            {
                Rules(property)
                    .Insert(0, Rule("self == oldSelf", $"{field.Name} cannot be changed: make a new experiment instead", null, null));
            }

            properties[field.Name] = property;
        }

        schema["properties"] = properties;
        foreach (SchemaRule rule in node.Rules)
        {
            Rules(schema).Add(Rule(rule.Rule, rule.Message, rule.FieldPath, null));
        }

        if (immutable)
        {
            // A transition rule of a field is not asked when the field appears or goes away.
            foreach (string path in Optional(node, ""))
            {
                Rules(schema)
                    .Add(
                        Rule(
                            $"{Has("self", path)} == {Has("oldSelf", path)}",
                            $"{path} cannot be added or removed: make a new experiment instead",
                            null,
                            "FieldValueForbidden"));
            }
        }
    }

    private static bool IsEmpty(JsonNode node) => node is JsonArray { Count: 0 } or JsonObject { Count: 0 };

    private static bool HasMutable(SchemaNode node) =>
        node.Type == SchemaType.Object && node.Fields.Any(f => f.Mutable || HasMutable(f.Node));

    private static IEnumerable<string> Optional(SchemaNode node, string prefix)
    {
        foreach (SchemaField field in node.Fields.Where(f => !f.Mutable && !f.Required))
        {
            string path = prefix + field.Name;
            if (HasMutable(field.Node))
            {
                foreach (string inner in Optional(field.Node, path + "."))
                {
                    yield return inner;
                }
            }
            else if (field.Default == null || IsEmpty(field.Default))
            {
                yield return path;
            }
        }
    }

    private static string Has(string root, string path)
    {
        string[] names = path.Split('.');
        IEnumerable<string> parts = Enumerable.Range(1, names.Length).Select(n => $"has({root}.{string.Join('.', names[..n])})");
        return names.Length == 1 ? parts.Single() : $"({string.Join(" && ", parts)})";
    }

    private static void AddString(JsonObject schema, SchemaNode node)
    {
        schema[node.IntegerOrString ? "x-kubernetes-int-or-string" : "type"] = node.IntegerOrString ? true : "string";
        if (node.EnumValues is { } values)
        {
            schema["enum"] = new JsonArray([.. values.Select(v => (JsonNode)v.Value)]);
            return;
        }

        if (node.Format != null)
        {
            schema["format"] = node.Format;
        }

        AddBounds(schema, node, "minLength", "maxLength");
        if (node.Pattern != null)
        {
            schema["pattern"] = node.Pattern;
        }

        if (node.Decimal is { } range)
        {
            string low = Number(range.Minimum), high = Number(range.Maximum);
            Rules(schema)
                .Add(
                    Rule(
                        $"double(self) >= {low} && double(self) <= {high}",
                        $"give a decimal number from {low} to {high} in quotes",
                        null,
                        null));
        }
    }

    private static string Number(double value)
    {
        string text = value.ToString("0.############", CultureInfo.InvariantCulture);
        return text.Contains('.', StringComparison.Ordinal) ? text : text + ".0";
    }

    private static void AddBounds(JsonObject schema, SchemaNode node, string minimum, string maximum)
    {
        if (node.Minimum > 0)
        {
            schema[minimum] = node.Minimum;
        }

        if (node.Maximum != null)
        {
            schema[maximum] = node.Maximum;
        }
    }

    private static string Describe(SchemaNode node)
    {
        string text = node.Description;
        if (node.EnumValues is { } values)
        {
            text += " " + string.Join(" ", values.Select(v => $"{v.Value}: {Lower(v.Description)}"));
        }

        return text;
    }

    private static string Lower(string text) =>
        text.Length > 1 && char.IsUpper(text[0]) && char.IsLower(text[1]) ? char.ToLowerInvariant(text[0]) + text[1..] : text;

    private static JsonArray Rules(JsonObject schema)
    {
        if (schema["x-kubernetes-validations"] is JsonArray rules)
        {
            return rules;
        }

        rules = [];
        schema["x-kubernetes-validations"] = rules;
        return rules;
    }

    private static JsonObject Rule(string rule, string message, string? fieldPath, string? reason)
    {
        var value = new JsonObject { ["rule"] = rule, ["message"] = message };
        if (fieldPath != null)
        {
            value["fieldPath"] = fieldPath;
        }

        if (reason != null)
        {
            value["reason"] = reason;
        }

        return value;
    }

    private static JsonObject SpecSchema(SchemaNode node, bool immutable) => OpenApi(node, defaults: true, immutable);

    /// <summary>
    /// A suite's schema: a rule of the template is asked at admission only where no axis sets a field of it; the operator checks every
    /// cell.
    /// </summary>
    private static JsonObject SuiteSchema()
    {
        JsonObject schema = SpecSchema(SchemaModel.Benchmark, immutable: false);
        SchemaNode template = SchemaModel.Benchmark.Field("template")!.Node;
        LiftRules(template, schema["properties"]!["template"]!.AsObject(), "", [], Rules(schema));
        return schema;
    }

    private static void LiftRules(SchemaNode node, JsonObject schema, string prefix, string[] optional, JsonArray into)
    {
        foreach (SchemaRule rule in node.Rules)
        {
            IEnumerable<string> fields = FieldOfRule().Matches(rule.Rule).Select(m => m.Groups["path"].Value)
                .Select(f => $"{prefix}{f.TrimStart('.')}".TrimEnd('.')).Distinct().SelectMany(f => new[] { f, "spec." + f });
            string varied = $"has(self.matrix) && self.matrix.exists(a, [{string.Join(", ", fields.Select(f => $"'{f}'"))}]"
                + ".exists(f, (f + '.').startsWith(a.field + '.') || (a.field + '.').startsWith(f + '.')))";
            string absent = string.Concat(optional.Select(o => $"!has(self.template.{o}) || "));
            string moved = SelfOfRule().Replace(rule.Rule, $"self.template.{prefix}");
            into.Add(
                Rule(
                    $"({varied}) || {absent}({moved})",
                    rule.Message,
                    $".template.{prefix}{rule.FieldPath?.TrimStart('.')}".TrimEnd('.'),
                    null));
        }

        schema.Remove("x-kubernetes-validations");
        foreach (SchemaField field in node.Fields.Where(f => f.Node.Type == SchemaType.Object))
        {
            string path = prefix + field.Name;
            LiftRules(
                field.Node,
                schema["properties"]![field.Name]!.AsObject(),
                path + ".",
                field.Required || field.Default != null ? optional : [.. optional, path],
                into);
        }
    }

    // A name before a parenthesis is a function of the field, not a field.
    [GeneratedRegex(@"\bself(?<path>(\.[A-Za-z][A-Za-z0-9]*(?![A-Za-z0-9(]))*)", RegexOptions.CultureInvariant)]
    private static partial Regex FieldOfRule();

    [GeneratedRegex(@"\bself\.", RegexOptions.CultureInvariant)]
    private static partial Regex SelfOfRule();

    private static JsonObject StatusSchema(Type type)
    {
        JsonObject schema = OpenApi(SchemaModel.For(type), defaults: false);

        // Without it, a resource that no operator has seen yet counts as done (kstatus).
        schema["default"] = new JsonObject { ["observedGeneration"] = -1 };
        return schema;
    }

    private static JsonObject Column(string name, string type, string path, string description, bool wide = false)
    {
        var column = new JsonObject { ["name"] = name, ["type"] = type, ["jsonPath"] = path, ["description"] = description };
        if (wide)
        {
            column["priority"] = 1;
        }

        return column;
    }

    private static JsonObject Definition(
        string kind, string singular, string shortName, string description, JsonObject spec, JsonObject status, JsonObject[] columns) =>
        new()
        {
            ["apiVersion"] = "apiextensions.k8s.io/v1",
            ["kind"] = "CustomResourceDefinition",
            ["metadata"] = new JsonObject
            {
                ["name"] = $"{singular}s.{ApiNames.Group}",
                ["labels"] = new JsonObject { ["app.kubernetes.io/name"] = "coclr-platform", ["app.kubernetes.io/part-of"] = "coclr-platform" },
            },
            ["spec"] = new JsonObject
            {
                ["group"] = ApiNames.Group,
                ["scope"] = "Namespaced",
                ["names"] = new JsonObject
                {
                    ["kind"] = kind,
                    ["listKind"] = kind + "List",
                    ["plural"] = singular + "s",
                    ["singular"] = singular,
                    ["shortNames"] = new JsonArray(shortName),
                    ["categories"] = new JsonArray("coclr"),
                },
                ["versions"] = new JsonArray(new JsonObject
                {
                    ["name"] = ApiNames.Version,
                    ["served"] = true,
                    ["storage"] = true,
                    ["subresources"] = new JsonObject { ["status"] = new JsonObject() },
                    ["additionalPrinterColumns"] = new JsonArray([.. columns]),
                    ["schema"] = new JsonObject
                    {
                        ["openAPIV3Schema"] = new JsonObject
                        {
                            ["description"] = description,
                            ["type"] = "object",
                            ["required"] = new JsonArray("spec"),
                            ["x-kubernetes-validations"] = new JsonArray(
                            Rule(
                                $"self.metadata.name.size() <= {MaximumNameLength}",
                                $"the name must not be longer than {MaximumNameLength} characters: names of Jobs are made from it",
                                null,
                                null),
                            Rule(
                                $"self.metadata.name.matches('{NamePattern}')",
                                "the name must be a DNS label: lower-case letters, digits and hyphens, without dots",
                                null,
                                null)),
                            ["properties"] = new JsonObject
                            {
                                ["apiVersion"] = new JsonObject { ["type"] = "string", ["description"] = ApiNames.ApiVersion + "." },
                                ["kind"] = new JsonObject { ["type"] = "string", ["description"] = kind + "." },
                                ["metadata"] = new JsonObject { ["type"] = "object" },
                                ["spec"] = spec,
                                ["status"] = status,
                            },
                        },
                    },
                }),
            },
        };

    private static string Yaml(JsonObject definition)
    {
        ISerializer serializer = new SerializerBuilder().WithQuotingNecessaryStrings().DisableAliases().WithIndentedSequences().Build();
        return $"# Generated from the types of CoCLR.Core by `coclr crd`; a test fails when it is out of date.\n{serializer.Serialize(ManifestWriter.Plain(definition)!)}".ReplaceLineEndings("\n");
    }
}
