// Why this exists: the rules every object's metadata must keep, in the words of the API server.
using System.Text.Json.Nodes;
using System.Text.RegularExpressions;

namespace CoCLR.TrialCluster;

/// <summary>Names, labels, annotations, owner references and finalizers.</summary>
public static partial class ObjectMetaRules
{
    private const string SubdomainRule = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', "
        + "and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
            + "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
    private const string LabelRule =
        "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric "
            + "character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
    private const string ServiceRule =
        "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an "
            + "alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";
    private const string LabelValueRule = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', "
        + "and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation "
            + "is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
    private const string QualifiedRule =
        "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. "
            + "'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";

    /// <summary>Checks the metadata of an object.</summary>
    public static void Validate(AdmissionRequest request, List<FieldError> errors)
    {
        var metadata = request.Object.Map("metadata") ?? [];
        if (request.Old is null)
        {
            Name(request.Kind, metadata.Text("name") ?? "", errors);
        }

        Labels(metadata["labels"], "metadata.labels", errors);
        Annotations(metadata, errors);
        Owners(metadata, errors);
        foreach (var (finalizer, i) in metadata.Items("finalizers").Select((f, i) => (f, i)))
        {
            var text = finalizer!.GetValue<string>();
            if (QualifiedError(text) is { } why)
            {
                errors.Add(FieldError.Invalid($"metadata.finalizers[{i}]", text, why));
            }
            else if (!text.Contains('/', StringComparison.Ordinal) && text is not ("orphan" or "foregroundDeletion" or "kubernetes"))
            {
                if (request.Kind.IsCustom)
                {
                    request.Context.Warnings.Add($"metadata.finalizers: \"{text}\": prefer a domain-qualified finalizer name including a "
                        + $"path (/) to avoid accidental conflicts with other finalizer writers");
                }
                else
                {
                    errors.Add(
                        FieldError.Invalid(
                            $"metadata.finalizers[{i}]", text, "name is neither a standard finalizer name nor is it fully qualified"));
                }
            }
        }
    }

    private static void Name(ResourceDefinition kind, string name, List<FieldError> errors)
    {
        var rbac = kind.Group == "rbac.authorization.k8s.io";
        if (rbac)
        {
            if (name is "." or ".." || name.Contains('/', StringComparison.Ordinal) || name.Contains('%', StringComparison.Ordinal))
            {
                errors.Add(FieldError.Invalid("metadata.name", name, "may not contain '/' or '%'"));
            }

            return;
        }

        var isLabel = kind.Key == new ResourceKey("", "namespaces");
        var isService = kind.Key == new ResourceKey("", "services");
        if (isService)
        {
            Check(name, 63, Dns1035(), ServiceRule);
        }
        else if (isLabel)
        {
            Check(name, 63, Label(), LabelRule);
        }
        else
        {
            // A Job's pods carry its name in their host name and labels: the real server warns above 63.
            Check(name, 253, Subdomain(), SubdomainRule);
        }

        void Check(string value, int max, Regex pattern, string rule)
        {
            if (value.Length > max)
            {
                errors.Add(FieldError.Invalid("metadata.name", value, $"must be no more than {max} bytes"));
            }

            if (!pattern.IsMatch(value))
            {
                errors.Add(FieldError.Invalid("metadata.name", value, rule));
            }
        }
    }

    /// <summary>Whether a text is an RFC 1123 subdomain of at most 253 characters.</summary>
    public static bool IsSubdomain(string text) => text.Length <= 253 && Subdomain().IsMatch(text);

    /// <summary>Whether a text is an RFC 1123 label of at most 63 characters.</summary>
    public static bool IsLabel(string text) => text.Length <= 63 && Label().IsMatch(text);

    /// <summary>What is wrong with a label.</summary>
    public static string LabelMessage => LabelRule;

    /// <summary>What is wrong with a subdomain.</summary>
    public static string SubdomainMessage => SubdomainRule;

    /// <summary>Checks a map of labels.</summary>
    public static void Labels(JsonNode? labels, string path, List<FieldError> errors)
    {
        foreach (var (key, value) in labels as JsonObject ?? [])
        {
            if (QualifiedError(key) is { } why)
            {
                errors.Add(FieldError.Invalid(path, key, why));
            }

            var text = value is JsonValue v && v.TryGetValue<string>(out var s) ? s : "";
            if (text.Length > 63)
            {
                errors.Add(FieldError.Invalid(path, text, "must be no more than 63 bytes"));
            }
            else if (!LabelValue().IsMatch(text))
            {
                errors.Add(FieldError.Invalid(path, text, LabelValueRule));
            }
        }
    }

    private static void Annotations(JsonObject metadata, List<FieldError> errors)
    {
        var size = 0L;
        foreach (var (key, value) in metadata.Map("annotations") ?? [])
        {
            if (QualifiedError(key.ToLowerInvariant()) is { } why)
            {
                errors.Add(FieldError.Invalid("metadata.annotations", key, why));
            }

            size += key.Length + (value is null ? 0 : System.Text.Encoding.UTF8.GetByteCount(value.GetValue<string>()));
        }

        if (size > 256 * 1024)
        {
            errors.Add(FieldError.TooLong("metadata.annotations", 256 * 1024));
        }
    }

    private static void Owners(JsonObject metadata, List<FieldError> errors)
    {
        var controllers = 0;
        foreach (var (owner, i) in metadata.Items("ownerReferences").Select((o, i) => (o, i)))
        {
            var path = $"metadata.ownerReferences[{i}]";
            foreach (var field in new[] { "apiVersion", "kind", "name", "uid" })
            {
                if (string.IsNullOrEmpty(owner.Text(field)))
                {
                    errors.Add(
                        FieldError.Invalid(
                            $"{path}.{field}",
                            owner.Text(field) ?? "",
                            field == "apiVersion" ? "version must not be empty" : "must not be empty"));
                }
            }

            if (owner.Flag("controller") == true && ++controllers == 2)
            {
                errors.Add(FieldError.Invalid("metadata.ownerReferences", "object", "Only one reference can have Controller set to true."));
            }
        }
    }

    /// <summary>What is wrong with a qualified name, or null.</summary>
    public static string? QualifiedError(string key)
    {
        var slash = key.IndexOf('/', StringComparison.Ordinal);
        var name = slash < 0 ? key : key[(slash + 1)..];
        if (slash == 0)
        {
            return "prefix part must be non-empty";
        }

        if (slash > 0 && !IsSubdomain(key[..slash]))
        {
            return "prefix part " + SubdomainRule;
        }

        if (name.Length == 0)
        {
            return "name part must be non-empty";
        }

        return name.Length > 63 ? "name part must be no more than 63 bytes" : QualifiedName().IsMatch(name) ? null : QualifiedRule;
    }

    [GeneratedRegex(@"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*\z")]
    private static partial Regex Subdomain();

    [GeneratedRegex(@"^[a-z0-9]([-a-z0-9]*[a-z0-9])?\z")]
    private static partial Regex Label();

    [GeneratedRegex(@"^[a-z]([-a-z0-9]*[a-z0-9])?\z")]
    private static partial Regex Dns1035();

    [GeneratedRegex(@"^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?\z")]
    private static partial Regex LabelValue();

    [GeneratedRegex(@"^([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]\z")]
    private static partial Regex QualifiedName();
}
