// Why this exists: policies of a cluster (cost centres, mesh, autoscaler) look at labels and annotations of Jobs, pods and claims; which of
// an experiment's may reach them, and which accounts and Secrets an experiment may name, is for whoever runs the operator to say.
using CoCLR.Core.Manifests;
using CoCLR.Core.Manifests.Schema;

namespace CoCLR.Operator.Api;

/// <summary>What of an experiment may reach its children. Nothing by default.</summary>
public sealed record Propagation
{
    private static readonly string[] Reserved = ["coclr.dev/", "app.kubernetes.io/", "batch.kubernetes.io/", "helm.sh/", "kueue.x-k8s.io/"];

    /// <summary>Keys of labels; <c>example.com/*</c> stands for all of a prefix.</summary>
    public IReadOnlyList<string> Labels { get; init; } = [];

    /// <summary>Keys of annotations; <c>example.com/*</c> stands for all of a prefix.</summary>
    public IReadOnlyList<string> Annotations { get; init; } = [];

    /// <summary>Service accounts that stages may run as; <c>*</c> stands for all.</summary>
    public IReadOnlyList<string> ServiceAccounts { get; init; } = [];

    /// <summary>Secrets that may pull images; <c>*</c> stands for all.</summary>
    public IReadOnlyList<string> ImagePullSecrets { get; init; } = [];

    /// <summary>Whether children carry a label.</summary>
    /// <param name="key">Its key.</param>
    public bool Label(string key) => Allows(Labels, key);

    /// <summary>Whether children carry an annotation.</summary>
    /// <param name="key">Its key.</param>
    public bool Annotation(string key) => Allows(Annotations, key);

    /// <summary>What a spec names that it may not.</summary>
    /// <param name="spec">A spec.</param>
    public IEnumerable<ManifestProblem> Check(ExperimentSpec spec)
    {
        if (spec.ServiceAccountName is { } account && !Names(ServiceAccounts, account))
        {
            yield return Refusal("spec.serviceAccountName", account, ServiceAccounts, "AllowedServiceAccounts");
        }

        foreach (string secret in spec.ImagePullSecrets.Where(s => !Names(ImagePullSecrets, s)))
        {
            yield return Refusal("spec.imagePullSecrets", secret, ImagePullSecrets, "AllowedImagePullSecrets");
        }
    }

    private static ManifestProblem Refusal(string path, string name, IReadOnlyList<string> allowed, string setting) =>
        new(path, $"'{name}' is not allowed here ({(allowed.Count == 0 ? "none is" : string.Join(", ", allowed) + " are")}); the "
            + $"operator's setting {setting} says which are");

    private static bool Names(IReadOnlyList<string> allowed, string name) => allowed.Contains("*") || allowed.Contains(name);

    // What the operator and Kubernetes themselves go by is never taken from an experiment.
    private static bool Allows(IReadOnlyList<string> patterns, string key) =>
        !Reserved.Any(r => key.StartsWith(r, StringComparison.Ordinal))
        && patterns.Any(p => p == key || (p.EndsWith("/*", StringComparison.Ordinal) && key.StartsWith(p[..^1], StringComparison.Ordinal)));
}
