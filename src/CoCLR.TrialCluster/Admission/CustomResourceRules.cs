// Why this exists: what a CRD's schema demands of an object: OpenAPI validation, CEL rules, and ratcheting for fields that did not change.
using System.Runtime.CompilerServices;
using System.Text.Json.Nodes;

namespace CoCLR.TrialCluster;

/// <summary>Validation of custom objects.</summary>
public static class CustomResourceRules
{
    private static readonly ConditionalWeakTable<Schema, StrongBox<bool>> HasRules = [];

    /// <summary>Checks a custom object against its schema.</summary>
    public static void Validate(AdmissionRequest request, List<FieldError> errors)
    {
        var found = new List<FieldError>();
        SchemaOperations.Validate(request.Object, request.Kind.Schema, "", found, true);
        if (CustomResources.MetadataSchemas.TryGetValue(request.Kind.Schema, out var metadata))
        {
            foreach (var (name, property) in metadata.Properties)
            {
                if (request.Object.At("metadata", name) is { } value)
                {
                    SchemaOperations.Validate(value, property, "metadata." + name, found);
                }
            }
        }

        if (request.Old is not null && found.Count > 0)
        {
            // Ratcheting: what was wrong before and did not change does not block the write.
            found = [.. found.Where(e => !Json.Same(AtPath(request.Old, e.Field), AtPath(request.Object, e.Field)))];
        }

        errors.AddRange(found);
        if (!found.Any(e => e.Reason is "FieldValueNotSupported" or "FieldValueRequired" or "FieldValueTooLong" or "FieldValueTooMany" or "FieldValueTypeInvalid"))
        {
            CelRules.Validate(request, errors);
        }
        else if (HasRules.GetValue(request.Kind.Schema, s => new StrongBox<bool>(Ruled(s))).Value)
        {
            errors.Add(FieldError.Invalid("<nil>", null, "some validation rules were not checked because the object was invalid; correct "
                + "the existing errors to complete validation"));
        }
    }

    private static bool Ruled(Schema schema) => schema.Rules.Count > 0 || schema.Properties.Values.Any(Ruled)
        || (schema.Items is { } items && Ruled(items)) || (schema.AdditionalProperties is { } more && Ruled(more));

    /// <summary>The value a field path names, or null.</summary>
    public static JsonNode? AtPath(JsonNode? node, string path)
    {
        var i = 0;
        while (i < path.Length && node is not null)
        {
            if (path[i] == '.')
            {
                i++;
                continue;
            }

            if (path[i] == '[')
            {
                var end = path.IndexOf(']', i);
                var key = path[(i + 1)..end];
                node = node is JsonArray a && int.TryParse(key, System.Globalization.CultureInfo.InvariantCulture, out var index)
                    && index < a.Count ? a[index] : node.At(key);
                i = end + 1;
                continue;
            }

            var stop = path.AsSpan(i).IndexOfAny('.', '[');
            var name = stop < 0 ? path[i..] : path.Substring(i, stop);
            node = node.At(name);
            i += name.Length;
        }

        return node;
    }
}
