// Why this exists: a CRD that a real server refuses must be refused here: names, versions, structural schemas, defaults, CEL rules and their cost.
namespace CoCLR.Testing.Cluster;

/// <summary>Validation of CustomResourceDefinitions.</summary>
internal static class CustomResourceDefinitionRules
{
    /// <summary>Adds what is wrong.</summary>
    public static void Validate(AdmissionRequest request, List<FieldError> errors)
    {
        _ = request;
        _ = errors;
    }
}
