// Why this exists: a CRD that a real server refuses must be refused here: names, versions, structural schemas, defaults, CEL rules and
// their cost.
using System.Globalization;
using System.Text.Json.Nodes;
using System.Text.RegularExpressions;

namespace CoCLR.TrialCluster;

/// <summary>Validation of CustomResourceDefinitions.</summary>
internal static partial class CustomResourceDefinitionRules
{
    private const double RuleLimit = 10_000_000;
    private const double TotalLimit = 100_000_000;
    private static readonly string[] Unsupported = ["definitions", "dependencies", "patternProperties", "additionalItems", "$schema", "id"];
    private static readonly string[] NotInJunctors = ["type", "additionalProperties", "default", "title", "description", "nullable"];
    private static readonly string[] KnownKeys =
    [
        "$ref", "$schema", "additionalItems", "additionalProperties", "allOf", "anyOf", "default", "definitions", "dependencies",
        "description", "enum", "example", "exclusiveMaximum",
        "exclusiveMinimum", "externalDocs", "format", "id", "items", "maxItems", "maxLength", "maxProperties", "maximum", "minItems",
        "minLength", "minProperties", "minimum", "multipleOf",
        "not", "nullable", "oneOf", "pattern", "patternProperties", "properties", "required", "title", "type", "uniqueItems",
        "x-kubernetes-embedded-resource", "x-kubernetes-int-or-string",
        "x-kubernetes-list-map-keys", "x-kubernetes-list-type", "x-kubernetes-map-type", "x-kubernetes-preserve-unknown-fields",
        "x-kubernetes-validations",
    ];

    /// <summary>Adds what is wrong.</summary>
    public static void Validate(AdmissionRequest request, List<FieldError> errors)
    {
        var crd = request.Object;
        var spec = crd["spec"];
        var group = spec.Text("group") ?? "";
        var plural = spec.Text("names", "plural") ?? "";
        if (crd.Text("metadata", "name") != $"{plural}.{group}")
        {
            errors.Add(FieldError.Invalid("metadata.name", crd.Text("metadata", "name"), $"must be spec.names.plural+\".\"+spec.group"));
        }

        if (!group.Contains('.', StringComparison.Ordinal) || !ObjectMetaRules.IsSubdomain(group))
        {
            errors.Add(FieldError.Invalid("spec.group", group, "should be a domain with at least one dot"));
        }

        if ((group.EndsWith(".k8s.io", StringComparison.Ordinal) || group.EndsWith(".kubernetes.io", StringComparison.Ordinal))
            && crd.Text("metadata", "annotations", "api-approved.kubernetes.io") is null)
        {
            errors.Add(
                FieldError.Required("metadata.annotations[api-approved.kubernetes.io]", "protected groups must have approval annotation "
                    + "\"api-approved.kubernetes.io\", see https://github.com/kubernetes/enhancements/pull/1111"));
        }

        if (spec.Text("scope") is not ("Namespaced" or "Cluster"))
        {
            errors.Add(FieldError.NotSupported("spec.scope", spec.Text("scope"), ["\"Cluster\"", "\"Namespaced\""]));
        }

        Names(spec, errors);
        if (spec.Flag("preserveUnknownFields") == true)
        {
            errors.Add(FieldError.Invalid("spec.preserveUnknownFields", true, "must be false"));
        }

        var versions = spec.Items("versions");
        if (versions.Count(v => v.Flag("storage") == true) != 1)
        {
            errors.Add(
                FieldError.Invalid(
                    "spec.versions",
                    spec.At("versions")?.DeepClone() is { } ? "..." : "",
                    "must have exactly one version marked as storage version"));
        }

        var seen = new HashSet<string>(StringComparer.Ordinal);
        foreach (var (version, i) in versions.Select((v, i) => (v, i)))
        {
            var at = $"spec.versions[{i}]";
            var name = version.Text("name") ?? "";
            if (!VersionName().IsMatch(name))
            {
                errors.Add(FieldError.Invalid(at + ".name", name, "a DNS-1035 label must consist of lower case alphanumeric characters or "
                    + "'-', start with an alphabetic character, and end with an alphanumeric character"));
            }

            if (!seen.Add(name))
            {
                errors.Add(FieldError.Invalid(at + ".name", name, "must have unique names"));
            }

            if (version.Map("schema", "openAPIV3Schema") is not { } schema)
            {
                errors.Add(FieldError.Required(at + ".schema.openAPIV3Schema", "schemas are required"));
                continue;
            }

            // With one version the server keeps the schema at the top, and says so in its errors.
            var root = versions.Count == 1 ? "spec.validation.openAPIV3Schema" : at + ".schema.openAPIV3Schema";
            new SchemaCheck(request, errors).Root(schema, root);
            Columns(version!, versions.Count == 1 ? "spec.additionalPrinterColumns" : at + ".additionalPrinterColumns", errors);
            Subresources(version!, at, errors);
        }

        if (request.Old is { } old)
        {
            foreach (var field in new[] { "group", "scope" })
            {
                if (old.Text("spec", field) != spec.Text(field))
                {
                    errors.Add(FieldError.Invalid("spec." + field, spec.Text(field), "field is immutable"));
                }
            }

            foreach (var field in new[] { "plural", "kind" })
            {
                if (old.Text("spec", "names", field) != spec.Text("names", field))
                {
                    errors.Add(FieldError.Invalid("spec.names." + field, spec.Text("names", field), "field is immutable"));
                }
            }

            foreach (var (stored, i) in crd.Items("status", "storedVersions").Select((v, i) => (v.Text(), i)))
            {
                if (!versions.Any(v => v.Text("name") == stored))
                {
                    errors.Add(FieldError.Invalid($"status.storedVersions[{i}]", stored, "missing from spec.versions; it was previously a "
                        + "storage version, and must remain in spec.versions until a storage migration ensures no data remains persisted "
                            + "in that version and removes it from status.storedVersions"));
                }
            }
        }
    }

    private static void Names(JsonNode? spec, List<FieldError> errors)
    {
        foreach (var field in new[] { "plural", "singular" })
        {
            if (spec.Text("names", field) is not { } name || !VersionName().IsMatch(name))
            {
                errors.Add(
                    FieldError.Invalid(
                        $"spec.names.{field}",
                        spec.Text("names", field) ?? "",
                        "a DNS-1035 label must consist of lower case alphanumeric characters or '-'"));
            }
        }

        foreach (var (name, i) in spec.Items("names", "shortNames").Concat(spec.Items("names", "categories")).Select((n, i) => (n.Text() ?? "", i)))
        {
            if (!VersionName().IsMatch(name))
            {
                errors.Add(
                    FieldError.Invalid(
                        $"spec.names.shortNames[{i}]", name, "a DNS-1035 label must consist of lower case alphanumeric characters or '-'"));
            }
        }

        var kind = spec.Text("names", "kind") ?? "";
        if (!VersionName().IsMatch(kind.ToLowerInvariant()))
        {
            errors.Add(FieldError.Invalid("spec.names.kind", kind, "may have mixed case, but should otherwise match: a DNS-1035 label"));
        }

        if (kind == spec.Text("names", "listKind"))
        {
            errors.Add(FieldError.Invalid("spec.names.listKind", kind, "kind and listKind may not be the same"));
        }
    }

    private static void Columns(JsonNode version, string at, List<FieldError> errors)
    {
        foreach (var (column, i) in version.Items("additionalPrinterColumns").Select((c, i) => (c, i)))
        {
            var path = $"{at}[{i}]";
            if (string.IsNullOrEmpty(column.Text("name")))
            {
                errors.Add(FieldError.Required(path + ".name"));
            }

            if (column.Text("type") is not ("integer" or "number" or "string" or "boolean" or "date"))
            {
                errors.Add(
                    FieldError.Invalid(path + ".type", column.Text("type") ?? "", "must be one of boolean,date,integer,number,string"));
            }

            if (column.Text("format") is { Length: > 0 } format
                && format is not ("int32" or "int64" or "float" or "double" or "byte" or "date" or "date-time" or "password"))
            {
                errors.Add(
                    FieldError.Invalid(path + ".format", format, "must be one of byte,date,date-time,double,float,int32,int64,password"));
            }

            if (column.Text("jsonPath") is not { Length: > 0 } json)
            {
                errors.Add(FieldError.Required(path + ".jsonPath"));
            }
            else if (!json.StartsWith('.') || json.Count(c => c == '[') != json.Count(c => c == ']')
                || json.Contains("..", StringComparison.Ordinal))
            {
                errors.Add(FieldError.Invalid(path + ".jsonPath", json, "must be a simple json path starting with ."));
            }
        }
    }

    private static void Subresources(JsonNode version, string at, List<FieldError> errors)
    {
        if (version.Map("subresources", "scale") is not { } scale)
        {
            return;
        }

        foreach (var (field, prefix) in new[] { ("specReplicasPath", ".spec."), ("statusReplicasPath", ".status.") })
        {
            if (scale.Text(field) is not { } path || !path.StartsWith(prefix, StringComparison.Ordinal))
            {
                errors.Add(
                    FieldError.Invalid(
                        $"{at}.subresources.scale.{field}", scale.Text(field) ?? "", $"should be a json path under {prefix.TrimEnd('.')}"));
            }
        }
    }

    private sealed class SchemaCheck(AdmissionRequest request, List<FieldError> errors)
    {
        private double _total;

        public void Root(JsonObject schema, string at)
        {
            var before = errors.Count;
            if (schema.Text("type") != "object")
            {
                errors.Add(
                    schema.Text("type") is null
                        ? FieldError.Required(at + ".type", "must not be empty at the root")
                        : FieldError.Invalid(at + ".type", schema.Text("type"), "must be object at the root"));
            }

            Structure(schema, at, "at the root", true);
            if (schema.Map("properties", "metadata") is { } metadata && (metadata.Any(p => p.Key is not ("type" or "properties" or "description"))
                || (metadata.Map("properties") ?? []).Any(p => p.Key is not ("name" or "generateName"))))
            {
                errors.Add(
                    FieldError.Forbidden(
                        at + ".properties[metadata]",
                        "must not specify anything other than name and generateName, but metadata is implicitly specified"));
            }

            if (errors.Count > before)
            {
                // Rules and defaults only make sense over a structural schema.
                return;
            }

            var parsed = Schema.FromJson(schema);
            Defaults(parsed, at);
            Rules(parsed, at, 1, true, true);
            if (_total > TotalLimit)
            {
                errors.Add(FieldError.Forbidden(at, $"x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema "
                    + $"exceeds budget by factor of {Factor(_total / TotalLimit)} (try simplifying the rule, or adding maxItems, "
                        + $"maxProperties, and maxLength where arrays, maps, and strings are declared)"));
            }
        }

        private void Structure(JsonObject s, string at, string where, bool root = false)
        {
            foreach (var (key, _) in s)
            {
                if (!KnownKeys.Contains(key))
                {
                    // Unknown keywords are dropped by the decoder like unknown fields.
                    request.Context.Warnings.Add($"unknown field \"{at}.{key}\"");
                    if (request.Context.FieldValidation == "Strict")
                    {
                        throw ApiException.BadRequest($"CustomResourceDefinition in version \"v1\" cannot be handled as a "
                            + $"CustomResourceDefinition: strict decoding error: unknown field \"{at}.{key}\"");
                    }
                }
            }

            foreach (var key in Unsupported.Where(s.ContainsKey))
            {
                errors.Add(FieldError.Forbidden($"{at}.{key}", $"{key} is not supported"));
            }

            if (s.ContainsKey("$ref"))
            {
                errors.Add(FieldError.Forbidden(at + ".$ref", "$ref is not supported"));
            }

            var type = s.Text("type");
            var free = s.Flag("x-kubernetes-int-or-string") == true || s.Flag("x-kubernetes-preserve-unknown-fields") == true;
            if (string.IsNullOrEmpty(type) && !free && !root)
            {
                errors.Add(FieldError.Required(at + ".type", $"must not be empty for {where}"));
            }

            if (type is not (null or "" or "object" or "array" or "string" or "integer" or "number" or "boolean"))
            {
                errors.Add(
                    FieldError.NotSupported(
                        at + ".type", type, ["\"array\"", "\"boolean\"", "\"integer\"", "\"number\"", "\"object\"", "\"string\""]));
            }

            if (s.Flag("x-kubernetes-int-or-string") == true && !string.IsNullOrEmpty(type))
            {
                errors.Add(FieldError.Forbidden(at + ".type", "must be empty if x-kubernetes-int-or-string is true"));
            }

            if (s["x-kubernetes-preserve-unknown-fields"] is { } preserve
                && preserve.GetValueKind() == System.Text.Json.JsonValueKind.False)
            {
                errors.Add(FieldError.Invalid(at + ".x-kubernetes-preserve-unknown-fields", false, "must be true or undefined"));
            }

            if (s.Flag("uniqueItems") == true)
            {
                errors.Add(
                    FieldError.Forbidden(
                        at + ".uniqueItems", "uniqueItems cannot be set to true since the runtime complexity becomes quadratic"));
            }

            if (s["additionalProperties"] is JsonValue v && v.GetValueKind() == System.Text.Json.JsonValueKind.False)
            {
                errors.Add(FieldError.Forbidden(at + ".additionalProperties", "additionalProperties cannot be set to false"));
            }

            if (s.ContainsKey("properties") && s.ContainsKey("additionalProperties"))
            {
                errors.Add(FieldError.Forbidden(at + ".additionalProperties", "additionalProperties and properties are mutual exclusive"));
            }

            if (s.Text("pattern") is { } pattern)
            {
                try
                {
                    SchemaOperations.Regex(pattern);
                }
                catch (Exception e) when (e is ArgumentException or NotSupportedException)
                {
                    errors.Add(FieldError.Invalid(at + ".pattern", pattern, $"must be a valid regular expression, but isn't: {e.Message}"));
                }
            }

            if (type == "array" && s["items"] is not JsonObject)
            {
                errors.Add(FieldError.Required(at + ".items", "must be specified"));
            }

            if (s.ContainsKey("items") && type is not ("array" or null))
            {
                errors.Add(FieldError.Invalid(at + ".items", type, "must be array if items is specified"));
            }

            ListRules(s, at, type);
            foreach (var junctor in new[] { "allOf", "anyOf", "oneOf" })
            {
                foreach (var (inner, i) in s.Items(junctor).OfType<JsonObject>().Select((n, i) => (n, i)))
                {
                    Junctor(inner, $"{at}.{junctor}[{i}]", s, s.Flag("x-kubernetes-int-or-string") == true);
                }
            }

            if (s["not"] is JsonObject not)
            {
                Junctor(not, at + ".not", s, false);
            }

            foreach (var (name, property) in s.Map("properties") ?? [])
            {
                if (property is JsonObject o)
                {
                    if (root && name is "metadata")
                    {
                        continue;
                    }

                    Structure(o, $"{at}.properties[{name}]", "specified object fields");
                }
            }

            if (s["items"] is JsonObject items)
            {
                Structure(items, at + ".items", "specified array items");
            }

            if (s["additionalProperties"] is JsonObject more)
            {
                Structure(more, at + ".additionalProperties", "specified object fields");
            }
        }

        private void Junctor(JsonObject s, string at, JsonObject parent, bool intOrString)
        {
            foreach (var key in NotInJunctors)
            {
                if (s.ContainsKey(key) && !(intOrString && key == "type"))
                {
                    errors.Add(FieldError.Forbidden($"{at}.{key}", "must be empty to be structural"));
                }
            }

            foreach (var (name, inner) in s.Map("properties") ?? [])
            {
                if (parent.Map("properties")?.ContainsKey(name) != true)
                {
                    errors.Add(
                        FieldError.Required(
                            $"{at.Split(".allOf")[0].Split(".anyOf")[0].Split(".oneOf")[0].Split(".not")[0]}.properties[{name}]",
                            $"because it is defined in {at}.properties[{name}]"));
                }
                else if (inner is JsonObject o)
                {
                    Junctor(o, $"{at}.properties[{name}]", parent.Map("properties", name)!, false);
                }
            }
        }

        private void ListRules(JsonObject s, string at, string? type)
        {
            var listType = s.Text("x-kubernetes-list-type");
            var keys = s.Items("x-kubernetes-list-map-keys").Select(k => k.Text() ?? "").ToList();
            if (listType is null)
            {
                if (keys.Count > 0)
                {
                    errors.Add(
                        FieldError.Required(at + ".x-kubernetes-list-type", "must be map if x-kubernetes-list-map-keys is non-empty"));
                }

                return;
            }

            if (listType is not ("atomic" or "set" or "map"))
            {
                errors.Add(FieldError.NotSupported(at + ".x-kubernetes-list-type", listType, ["\"atomic\"", "\"map\"", "\"set\""]));
            }

            if (type != "array")
            {
                errors.Add(FieldError.Invalid(at + ".type", type ?? "", "must be array if x-kubernetes-list-type is specified"));
            }

            var items = s.Map("items");
            if (listType == "map")
            {
                if (keys.Count == 0)
                {
                    errors.Add(
                        FieldError.Required(at + ".x-kubernetes-list-map-keys", "must not be empty if x-kubernetes-list-type is map"));
                }

                if (items.Text("type") != "object")
                {
                    errors.Add(
                        FieldError.Invalid(
                            at + ".items.type",
                            items.Text("type") ?? "",
                            "must be object if parent array's x-kubernetes-list-type is map"));
                }

                foreach (var (key, i) in keys.Select((k, i) => (k, i)))
                {
                    if (items.Map("properties", key) is not { } property)
                    {
                        errors.Add(
                            FieldError.Invalid(
                                $"{at}.x-kubernetes-list-map-keys[{i}]", key, "entries must all be names of item properties"));
                        continue;
                    }

                    if (property.Text("type") is "array" or "object")
                    {
                        errors.Add(
                            FieldError.Invalid(
                                $"{at}.items.properties[{key}].type",
                                property.Text("type"),
                                "must be a scalar type if parent array's x-kubernetes-list-type is map"));
                    }

                    if (!property.ContainsKey("default") && !items.Items("required").Any(r => r.Text() == key))
                    {
                        errors.Add(
                            FieldError.Required(
                                $"{at}.items.properties[{key}].default",
                                "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property"));
                    }
                }
            }
            else if (listType == "set" && items.Text("type") is "object" or "array" && items.Text("x-kubernetes-map-type") != "atomic"
                && items.Text("x-kubernetes-list-type") != "atomic" && listType == "set")
            {
                errors.Add(
                    FieldError.Invalid(
                        at + ".items.x-kubernetes-map-type", null, "must be atomic as item of a list with x-kubernetes-list-type=set"));
            }
        }

        private void Defaults(Schema s, string at)
        {
            if (s.HasDefault)
            {
                var value = s.Default?.DeepClone();
                var unknown = new List<string>();
                SchemaOperations.Prune(value, s, unknown, "", false);
                if (unknown.Count > 0)
                {
                    errors.Add(
                        FieldError.Invalid(at + ".default", s.Default, "must be pruned: unknown fields " + string.Join(", ", unknown)));
                }

                SchemaOperations.Default(value, s);
                var wrong = new List<FieldError>();
                SchemaOperations.Validate(value, s, at + ".default", wrong);
                errors.AddRange(wrong);
            }

            foreach (var (name, property) in s.Properties)
            {
                Defaults(property, $"{at}.properties[{name}]");
            }

            if (s.Items is { } items)
            {
                Defaults(items, at + ".items");
            }

            if (s.AdditionalProperties is { } more)
            {
                Defaults(more, at + ".additionalProperties");
            }
        }

        // Cardinality: how many values of this schema one request can hold; correlatable: whether old and new values can be matched.
        private void Rules(Schema s, string at, double cardinality, bool correlatable, bool root)
        {
            var type = CelType.Of(s, root);
            foreach (var (rule, i) in s.Rules.Select((r, i) => (r, i)))
            {
                Rule(rule, type, $"{at}.x-kubernetes-validations[{i}]", cardinality, correlatable);
            }

            foreach (var (name, property) in s.Properties)
            {
                if (!(root && name == "metadata"))
                {
                    Rules(property, $"{at}.properties[{name}]", cardinality, correlatable, false);
                }
            }

            if (s.Items is { } items)
            {
                var most = s.MaxItems ?? Math.Floor((CelType.MaxRequest - 2) / (CelType.MinSize(items) + 1));
                Rules(items, at + ".items", cardinality * Math.Max(1, most), correlatable && s.ListType == "map", false);
            }

            if (s.AdditionalProperties is { } more)
            {
                var most = s.MaxProperties ?? Math.Floor((CelType.MaxRequest - 2) / (CelType.MinSize(more) + 6));
                Rules(more, at + ".additionalProperties", cardinality * Math.Max(1, most), correlatable && s.MapType != "atomic", false);
            }
        }

        private void Rule(ValidationRule rule, CelType? type, string at, double cardinality, bool correlatable)
        {
            var text = rule.Rule.Trim();
            if (text.Length == 0)
            {
                errors.Add(FieldError.Required(at + ".rule", "rule is not specified"));
                return;
            }

            if (rule.Message is { } message
                && (message.Contains('\n', StringComparison.Ordinal) || message.Trim().Length == 0 || message.Length > 2048))
            {
                errors.Add(
                    FieldError.Invalid(
                        at + ".message",
                        message,
                        message.Contains('\n', StringComparison.Ordinal)
                            ? "message must not contain line breaks"
                            : message.Length > 2048
                            ? "message must have a maximum length of 2048 characters"
                            : "message must be non-empty if specified"));
            }

            if (text.Contains('\n', StringComparison.Ordinal) && string.IsNullOrEmpty(rule.Message)
                && string.IsNullOrEmpty(rule.MessageExpression))
            {
                errors.Add(FieldError.Required(at + ".message", "message must be specified if rule contains line breaks"));
            }

            if (rule.Reason is not (null or "FieldValueInvalid" or "FieldValueForbidden" or "FieldValueRequired" or "FieldValueDuplicate"))
            {
                errors.Add(
                    FieldError.NotSupported(
                        at + ".reason",
                        rule.Reason,
                        ["\"FieldValueDuplicate\"", "\"FieldValueForbidden\"", "\"FieldValueInvalid\"", "\"FieldValueRequired\""]));
            }

            if (type is null)
            {
                errors.Add(
                    FieldError.Invalid(
                        at + ".rule", rule.ToJson(), "rule compile error: rules cannot be set on a schema whose structure is not known"));
                return;
            }

            if (rule.FieldPath is { } path && !FieldExists(type.Schema, path))
            {
                errors.Add(FieldError.Invalid(at + ".fieldPath", path, "fieldPath must be a valid path: does not refer to a valid field"));
            }

            Expression(rule.Rule, "rule", rule, type, at, cardinality, correlatable, CelKind.Bool);
            if (rule.MessageExpression is { } expression)
            {
                Expression(expression, "messageExpression", rule, type, at, cardinality, correlatable, CelKind.String);
            }
        }

        private void Expression(
            string text, string field, ValidationRule rule, CelType type, string at, double cardinality, bool correlatable, CelKind wanted)
        {
            try
            {
                var node = CelParser.Parse(text);
                var old = rule.OptionalOldSelf ? new CelType(CelKind.Optional, type) : type;
                var estimate = CelChecker.Check(node, type, old);
                if (estimate.Type.Kind != wanted && estimate.Type.Kind != CelKind.Dyn)
                {
                    throw new CelException($"must evaluate to a {wanted.ToString().ToLowerInvariant()}");
                }

                if (CelChecker.Uses(node, "oldSelf") && !correlatable)
                {
                    errors.Add(
                        FieldError.Invalid(
                            $"{at}.{field}", text, "oldSelf cannot be used on the uncorrelatable portion of the schema within " + at));
                }

                var cost = estimate.Cost * cardinality;
                _total += cost;
                if (cost > RuleLimit)
                {
                    errors.Add(
                        FieldError.Forbidden(
                            $"{at}.{field}",
                            $"estimated {field} cost exceeds budget by factor of {Factor(cost / RuleLimit)} (try simplifying the rule, or "
                                + $"adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared)"));
                }
            }
            catch (CelException e)
            {
                var place = e.Position < 0 ? "" : string.Create(CultureInfo.InvariantCulture, $"ERROR: <input>:1:{e.Position + 1}: ");
                errors.Add(FieldError.Invalid($"{at}.{field}", rule.ToJson(), $"compilation failed: {place}{e.Message}"));
            }
        }

        private static string Factor(double factor) =>
            factor > 100 ? "more than 100x" : factor.ToString("0.0", CultureInfo.InvariantCulture) + "x";

        private static bool FieldExists(Schema? schema, string path)
        {
            foreach (var part in path.TrimStart('.').Split('.', '[', ']').Where(p => p.Length > 0).Select(p => p.Trim('\'')))
            {
                if (schema is null)
                {
                    return false;
                }

                schema = schema.Properties.TryGetValue(part, out var property) ? property : schema.AdditionalProperties;
            }

            return schema is not null;
        }
    }

    [GeneratedRegex(@"^[a-z]([-a-z0-9]{0,61}[a-z0-9])?\z")]
    private static partial Regex VersionName();
}
