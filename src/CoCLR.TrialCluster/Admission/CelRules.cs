// Why this exists: runs the `x-kubernetes-validations` of a schema over an object, old values correlated with new ones as the API server
// does.
using System.Runtime.CompilerServices;
using System.Text.Json.Nodes;

namespace CoCLR.TrialCluster;

/// <summary>CEL validation of custom objects.</summary>
public static class CelRules
{
    private static readonly ConditionalWeakTable<ValidationRule, Compiled> Cache = [];

    private sealed record Compiled(CelNode? Rule, CelNode? Message, bool UsesOldSelf, string? Error);

    private static Compiled Of(ValidationRule rule) => Cache.GetValue(rule, static r =>
    {
        try
        {
            var node = CelParser.Parse(r.Rule);
            return new Compiled(
                node, r.MessageExpression is null ? null : CelParser.Parse(r.MessageExpression), CelChecker.Uses(node, "oldSelf"), null);
        }
        catch (CelException e)
        {
            return new Compiled(null, null, false, e.Message);
        }
    });

    /// <summary>Evaluates all rules.</summary>
    public static void Validate(AdmissionRequest request, List<FieldError> errors)
    {
        var budget = 10_000_000.0;
        Walk(request.Object, request.Old, request.Kind.Schema, "", true, request, errors, ref budget);
    }

    private static void Walk(
        JsonNode? node,
        JsonNode? old,
        Schema schema,
        string path,
        bool root,
        AdmissionRequest request,
        List<FieldError> errors,
        ref double budget)
    {
        if (node is null)
        {
            return;
        }

        foreach (var rule in schema.Rules)
        {
            Run(rule, node, old, schema, path, root, request, errors, ref budget);
        }

        switch (node)
        {
            case JsonObject o:
                foreach (var (name, value) in o)
                {
                    if (root && name is "metadata" or "apiVersion" or "kind")
                    {
                        continue;
                    }

                    if (schema.Properties.TryGetValue(name, out var property))
                    {
                        Walk(value, old.At(name), property, path.Length == 0 ? name : $"{path}.{name}", false, request, errors, ref budget);
                    }
                    else if (schema.AdditionalProperties is { } more)
                    {
                        Walk(value, old.At(name), more, $"{path}[{name}]", false, request, errors, ref budget);
                    }
                }

                break;
            case JsonArray a when schema.Items is { } items:
                var before = schema.ListType == "map" && old is JsonArray oldList ? FieldSet.Index(oldList, schema) : null;
                for (var i = 0; i < a.Count; i++)
                {
                    Walk(
                        a[i],
                        before?.GetValueOrDefault(FieldSet.KeyOf(a[i], schema)),
                        items,
                        $"{path}[{i}]",
                        false,
                        request,
                        errors,
                        ref budget);
                }

                break;
        }
    }

    private static void Run(
        ValidationRule rule,
        JsonNode node,
        JsonNode? old,
        Schema schema,
        string path,
        bool root,
        AdmissionRequest request,
        List<FieldError> errors,
        ref double budget)
    {
        var compiled = Of(rule);
        var type = JsonValue.Create(schema.Type ?? "object");
        if (compiled.Rule is null)
        {
            errors.Add(FieldError.Invalid(path, type, $"rule compile error: {compiled.Error}"));
            return;
        }

        if (compiled.UsesOldSelf && old is null && !rule.OptionalOldSelf)
        {
            return;
        }

        var self = CelEvaluator.Convert(node, schema, root);
        object? oldSelf = old is null ? null : CelEvaluator.Convert(old, schema, root);
        if (rule.OptionalOldSelf)
        {
            oldSelf = new CelOptional(old is not null, oldSelf);
        }

        var shown = (rule.Message ?? rule.Rule).Trim();
        object? value;
        try
        {
            (value, var cost) = CelEvaluator.Run(compiled.Rule, self, oldSelf);
            budget -= cost;
            if (budget < 0)
            {
                errors.Add(
                    FieldError.Invalid(
                        path, type, "validation failed due to running out of cost budget, no further validation rules will be run"));
                return;
            }
        }
        catch (CelException e)
        {
            errors.Add(FieldError.Invalid(path, type, e.Message.StartsWith("no such overload", StringComparison.Ordinal)
                ? $"'{e.Message}': call arguments did not match a supported operator, function or macro signature for rule: {shown}"
                : e.Message.StartsWith("operation cancelled", StringComparison.Ordinal)
                    ? $"'{e.Message}': no further validation rules will be run due to call cost exceeds limit for rule: {shown}"
                    : $"{e.Message} evaluating rule: {shown}"));
            return;
        }

        if (value is true)
        {
            return;
        }

        var detail = string.IsNullOrEmpty(rule.Message) ? $"failed rule: {rule.Rule.Trim()}" : rule.Message.Trim();
        if (compiled.Message is not null)
        {
            try
            {
                if (CelEvaluator.Run(compiled.Message, self, oldSelf).Value is string text
                    && text.Trim() is { Length: > 0 and <= 5120 } trimmed && !trimmed.Contains('\n', StringComparison.Ordinal))
                {
                    detail = trimmed;
                }
            }
            catch (CelException)
            {
                // A message that cannot be made falls back to the fixed one.
                detail = detail.Trim();
            }
        }

        var at = path + (rule.FieldPath ?? "");
        at = at.TrimStart('.');
        var error = rule.Reason switch
        {
            "FieldValueForbidden" => FieldError.Forbidden(at, detail),
            "FieldValueRequired" => FieldError.Required(at, detail),
            "FieldValueDuplicate" => FieldError.Duplicate(at, type),
            _ => FieldError.Refused(at, node, detail),
        };
        if (!compiled.UsesOldSelf && old is not null && Json.Same(node, old))
        {
            // Ratcheting: what was stored like this may stay.
            request.Context.Warnings.Add(error.ToString());
            return;
        }

        errors.Add(error);
    }
}
