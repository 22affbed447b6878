// Why this exists: the envelope of both kinds: apiVersion, kind, metadata and spec.
namespace CoCLR.Core.Manifests;

/// <summary>Names of the API group, versions and kinds.</summary>
public static class ApiNames
{
    /// <summary>API group.</summary>
    public const string Group = "coclr.dev";

    /// <summary>Version.</summary>
    public const string Version = "v1alpha1";

    /// <summary>What apiVersion must say.</summary>
    public const string ApiVersion = Group + "/" + Version;

    /// <summary>Kind of an experiment.</summary>
    public const string Experiment = "CoCLRExperiment";

    /// <summary>Kind of a benchmark suite.</summary>
    public const string Benchmark = "CoCLRBenchmark";
}

/// <summary>Name, namespace, labels and annotations.</summary>
public sealed record ManifestMetadata
{
    /// <summary>Name: a DNS label of at most 52 characters, which leaves room for the names of its Jobs.</summary>
    [RequiredField, Bounds(1, 52), Pattern(@"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", "lower-case letters, digits and hyphens")]
    public string Name { get; init; } = "";

    /// <summary>Namespace in a cluster.</summary>
    [Bounds(1, 63), Pattern(@"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", "a DNS label")]
    public string? Namespace { get; init; }

    /// <summary>Labels.</summary>
    [Bounds(0, 64)]
    public IReadOnlyDictionary<string, string>? Labels { get; init; }

    /// <summary>Annotations.</summary>
    [Bounds(0, 64)]
    public IReadOnlyDictionary<string, string>? Annotations { get; init; }
}

/// <summary>A manifest of either kind.</summary>
/// <typeparam name="TSpec"><see cref="ExperimentSpec"/> or <see cref="BenchmarkSpec"/>.</typeparam>
public sealed record Manifest<TSpec>
    where TSpec : new()
{
    /// <summary>coclr.dev/v1alpha1.</summary>
    [RequiredField]
    public string ApiVersion { get; init; } = ApiNames.ApiVersion;

    /// <summary>CoCLRExperiment or CoCLRBenchmark.</summary>
    [RequiredField]
    public string Kind { get; init; } = "";

    /// <summary>Name, namespace, labels and annotations.</summary>
    [RequiredField]
    public ManifestMetadata Metadata { get; init; } = new();

    /// <summary>What is wanted.</summary>
    [RequiredField]
    public TSpec Spec { get; init; } = new();
}
