// Why this exists: a Kubernetes API server answers every failure with a `metav1.Status`; clients read its reason and causes, so they must
// be right.
using System.Text.Json.Nodes;

namespace CoCLR.TrialCluster;

/// <summary>A failure as the API server tells it.</summary>
public sealed class ApiException : Exception
{
    /// <summary>A failure with a status code, a machine-readable reason and a message.</summary>
    public ApiException(int code, string reason, string message, JsonObject? details = null, int? retryAfter = null)
        : base(message)
    {
        Code = code;
        Reason = reason;
        Details = details;
        RetryAfter = retryAfter;
    }

    /// <summary>The HTTP status code.</summary>
    public int Code { get; }

    /// <summary>`metav1.StatusReason`.</summary>
    public string Reason { get; }

    /// <summary>`metav1.StatusDetails`.</summary>
    public JsonObject? Details { get; }

    /// <summary>Seconds for the Retry-After header.</summary>
    public int? RetryAfter { get; }

    /// <summary>The `metav1.Status` object.</summary>
    public JsonObject ToStatus()
    {
        var status = new JsonObject
        {
            ["kind"] = "Status",
            ["apiVersion"] = "v1",
            ["metadata"] = new JsonObject(),
            ["status"] = "Failure",
            ["message"] = Message,
            ["reason"] = Reason.Length > 0 ? Reason : null,
        };
        if (Details is not null)
        {
            status["details"] = Details.DeepClone();
        }

        status["code"] = Code;
        return status;
    }

    /// <summary>A resource version that is no number.</summary>
    public static ApiException BadVersion(string version) =>
        BadRequest($"invalid resource version: resourceVersion: Invalid value: \"{version}\": strconv.ParseUint: parsing \"{version}\": "
            + $"invalid syntax");

    private static JsonObject About(string group, string kind, string name)
    {
        var details = new JsonObject();
        if (name.Length > 0)
        {
            details["name"] = name;
        }

        if (group.Length > 0)
        {
            details["group"] = group;
        }

        details["kind"] = kind;
        return details;
    }

    private static string Qualified(string group, string resource) => group.Length == 0 ? resource : $"{resource}.{group}";

    /// <summary>404 for an object.</summary>
    public static ApiException NotFound(string group, string resource, string name) =>
        new(404, "NotFound", $"{Qualified(group, resource)} \"{name}\" not found", About(group, resource, name));

    /// <summary>404 for a path that names nothing.</summary>
    public static ApiException NoSuchResource() =>
        new(404, "", "404 page not found\n");

    /// <summary>A resource that a built-in group does not have.</summary>
    public static ApiException NoResourceOfGroup() => new(404, "NotFound", "the server could not find the requested resource", []);

    /// <summary>409 when the name is taken.</summary>
    public static ApiException AlreadyExists(string group, string resource, string name) =>
        new(409, "AlreadyExists", $"{Qualified(group, resource)} \"{name}\" already exists", About(group, resource, name));

    /// <summary>409 when the object changed since it was read.</summary>
    public static ApiException Conflict(string group, string resource, string name, string why) =>
        new(
            409,
            "Conflict",
            $"Operation cannot be fulfilled on {Qualified(group, resource)} \"{name}\": {why}",
            About(group, resource, name));

    /// <summary>The words of a resourceVersion conflict.</summary>
    public const string Modified = "the object has been modified; please apply your changes to the latest version and try again";

    /// <summary>403 for an object.</summary>
    public static ApiException Forbidden(string group, string resource, string name, string why) =>
        new(
            403,
            "Forbidden",
            name.Length == 0
                ? $"{Qualified(group, resource)} is forbidden: {why}"
                : $"{Qualified(group, resource)} \"{name}\" is forbidden: {why}",
            About(group, resource, name));

    /// <summary>400.</summary>
    public static ApiException BadRequest(string message) => new(400, "BadRequest", message);

    /// <summary>410 for a resource version that is too old.</summary>
    public static ApiException Expired(string message) => new(410, "Expired", message);

    /// <summary>405.</summary>
    public static ApiException MethodNotAllowed() =>
        new(405, "MethodNotAllowed", "the server does not allow this method on the requested resource", []);

    /// <summary>415.</summary>
    public static ApiException UnsupportedMediaType(string what) =>
        new(415, "UnsupportedMediaType", $"the body of the request was in an unknown format - accepted media types include: {what}");

    /// <summary>422 with the list of field errors.</summary>
    public static ApiException Invalid(string group, string kind, string name, IReadOnlyCollection<FieldError> errors)
    {
        var causes = new JsonArray();
        foreach (var e in errors)
        {
            causes.Add(new JsonObject { ["reason"] = e.Reason, ["message"] = e.Body, ["field"] = e.Field });
        }

        var details = About(group, kind, name);
        details["causes"] = causes;
        var texts = errors.Select(e => e.ToString()).Distinct().ToList();
        var all = texts.Count == 1 ? texts[0] : "[" + string.Join(", ", texts) + "]";
        return new(422, "Invalid", $"{Qualified(group, kind)} \"{name}\" is invalid: {all}", details);
    }
}

/// <summary>One wrong field, in the words of `field.Error`.</summary>
/// <param name="Reason">`FieldValueInvalid`, `FieldValueRequired`, ...</param>
/// <param name="Field">The path of the field.</param>
/// <param name="Body">What is wrong, without the path.</param>
public sealed record FieldError(string Reason, string Field, string Body)
{
    /// <inheritdoc/>
    public override string ToString() => $"{Field}: {Body}";

    private static string Show(JsonNode? value) => value is null ? "null" : value.ToJsonString(Json.Options);

    /// <summary>A value that is not allowed here.</summary>
    public static FieldError Invalid(string field, JsonNode? value, string detail) =>
        new("FieldValueInvalid", field, $"Invalid value: {Show(value)}" + (detail.Length > 0 ? ": " + detail : ""));

    /// <summary>A value that a rule refuses: scalars are shown, objects and lists are not.</summary>
    public static FieldError Refused(string field, JsonNode value, string detail) =>
        value is JsonObject or JsonArray ? new("FieldValueInvalid", field, $"Invalid value: {detail}") : Invalid(field, value, detail);

    /// <summary>A value of the wrong type.</summary>
    public static FieldError TypeInvalid(string field, JsonNode? value, string detail) =>
        new("FieldValueTypeInvalid", field, $"Invalid value: {Show(value)}: {detail}");

    /// <summary>A value that must be there.</summary>
    public static FieldError Required(string field, string detail = "") =>
        new("FieldValueRequired", field, "Required value" + (detail.Length > 0 ? ": " + detail : ""));

    /// <summary>A value that must not be there.</summary>
    public static FieldError Forbidden(string field, string detail) => new("FieldValueForbidden", field, $"Forbidden: {detail}");

    /// <summary>A value outside an enumeration.</summary>
    public static FieldError NotSupported(string field, JsonNode? value, IEnumerable<string> allowed) =>
        new("FieldValueNotSupported", field, $"Unsupported value: {Show(value)}: supported values: {string.Join(", ", allowed)}");

    /// <summary>A value that comes twice.</summary>
    public static FieldError Duplicate(string field, JsonNode? value) =>
        new("FieldValueDuplicate", field, $"Duplicate value: {Show(value)}");

    /// <summary>A string over its bound.</summary>
    public static FieldError TooLong(string field, long max) =>
        new("FieldValueTooLong", field, $"Too long: may not be more than {max} bytes");

    /// <summary>A list over its bound.</summary>
    public static FieldError TooMany(string field, long count, long max) =>
        new("FieldValueTooMany", field, $"Too many: {count}: must have at most {max} item{(max == 1 ? "" : "s")}");

    /// <summary>A reference to nothing.</summary>
    public static FieldError NotFound(string field, JsonNode? value) => new("FieldValueNotFound", field, $"Not found: {Show(value)}");
}
