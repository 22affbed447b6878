// Why this exists: names, labels and quantities exactly as Kubernetes' own validation has them (k8s.io/apimachinery, pkg/util/validation
// and pkg/api/resource), so that what the API server would refuse in a child is refused in the manifest, where a person sees it.
namespace CoCLR.Core.Manifests;

/// <summary>Patterns (RE2 syntax) of what Kubernetes takes.</summary>
public static class KubernetesNames
{
    private const string Label = "[a-z0-9]([-a-z0-9]*[a-z0-9])?";
    private const string SubdomainBody = Label + @"(\." + Label + ")*";
    private const string Part = "[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?";
    private const string Positive = @"(0*[1-9][0-9]*(\.[0-9]+)?|0+\.[0-9]*[1-9][0-9]*)";

    /// <summary>A DNS subdomain (RFC 1123): the name of most objects; at most 253 characters.</summary>
    public const string Subdomain = "^" + SubdomainBody + "$";

    /// <summary>
    /// Key of a label or of a taint, such as topology.kubernetes.io/zone; its prefix must keep to <see cref="ShortPrefix"/>.
    /// </summary>
    public const string LabelKey = "^(" + SubdomainBody + "/)?" + Part + "$";

    /// <summary>Longest key of a label.</summary>
    public const int LongestLabelKey = 253 + 1 + 63;

    /// <summary>A prefix of at most 253 characters.</summary>
    public const string ShortPrefix = "^([^/]{1,253}/)?[^/]+$";

    /// <summary>Value of a label or of a taint; at most 63 characters.</summary>
    public const string LabelValue = "^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$";

    /// <summary>Longest value of a label.</summary>
    public const int LongestLabelValue = 63;

    /// <summary>Name of an extended resource, such as nvidia.com/gpu.</summary>
    public const string ExtendedResource = "^" + SubdomainBody + "/" + Part + "$";

    /// <summary>Key of a ConfigMap or Secret.</summary>
    public const string ConfigKey = @"^\.?[-_A-Za-z0-9][-._A-Za-z0-9]*$";

    /// <summary>Processors: more than nothing, in thousandths at the finest.</summary>
    public const string Cpu = "^" + Positive + "m?$";

    /// <summary>Bytes: more than nothing.</summary>
    public const string Bytes = "^" + Positive + "(Ki|Mi|Gi|Ti|k|M|G|T)?$";

    /// <summary>What a name must look like, in words.</summary>
    public const string SubdomainMeaning =
        "a name that Kubernetes takes: lower-case letters, digits, '-' and '.', each part beginning and ending with a letter or digit";

    /// <summary>What a label's key must look like, in words.</summary>
    public const string LabelKeyMeaning =
        "a label key: up to 63 letters, digits, '-', '_' or '.', beginning and ending with a letter or digit, perhaps after a DNS prefix "
            + "of up to 253 characters and '/'";

    /// <summary>What a label's value must look like, in words.</summary>
    public const string LabelValueMeaning =
        "a label value: up to 63 letters, digits, '-', '_' or '.', beginning and ending with a letter or digit, or nothing";
}
