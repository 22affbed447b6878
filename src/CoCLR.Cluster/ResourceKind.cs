// Why this exists: the paths of the API server for a kind, written once.
using CoCLR.Core.Manifests;

namespace CoCLR.Cluster;

/// <summary>A kind as the API server names it.</summary>
/// <param name="Group">API group; empty for core.</param>
/// <param name="Version">Version.</param>
/// <param name="Plural">Plural, as in paths.</param>
/// <param name="Kind">Kind.</param>
public sealed record ResourceKind(string Group, string Version, string Plural, string Kind)
{
    /// <summary>CoCLRExperiment.</summary>
    public static ResourceKind Experiment { get; } = new(ApiNames.Group, ApiNames.Version, "coclrexperiments", ApiNames.Experiment);

    /// <summary>CoCLRBenchmark.</summary>
    public static ResourceKind Benchmark { get; } = new(ApiNames.Group, ApiNames.Version, "coclrbenchmarks", ApiNames.Benchmark);

    /// <summary>batch/v1 Job.</summary>
    public static ResourceKind Job { get; } = new("batch", "v1", "jobs", "Job");

    /// <summary>Pod.</summary>
    public static ResourceKind Pod { get; } = new("", "v1", "pods", "Pod");

    /// <summary>Node; of the whole cluster.</summary>
    public static ResourceKind Node { get; } = new("", "v1", "nodes", "Node");

    /// <summary>ConfigMap.</summary>
    public static ResourceKind ConfigMap { get; } = new("", "v1", "configmaps", "ConfigMap");

    /// <summary>PersistentVolumeClaim.</summary>
    public static ResourceKind Claim { get; } = new("", "v1", "persistentvolumeclaims", "PersistentVolumeClaim");

    /// <summary>Event of the core group, which `kubectl describe` shows.</summary>
    public static ResourceKind Event { get; } = new("", "v1", "events", "Event");

    /// <summary>Kueue's Workload, in its newest version; where that is not served, the informer takes the one that is.</summary>
    public static ResourceKind Workload { get; } = new("kueue.x-k8s.io", "v1beta2", "workloads", "Workload");

    /// <summary>Lease.</summary>
    public static ResourceKind Lease { get; } = new("coordination.k8s.io", "v1", "leases", "Lease");

    /// <summary>apiVersion of objects of this kind.</summary>
    public string ApiVersion => Group.Length == 0 ? Version : $"{Group}/{Version}";

    /// <summary>Path of the collection; of all namespaces when none is given.</summary>
    /// <param name="ns">Namespace.</param>
    public string Path(string? ns = null)
    {
        string root = Group.Length == 0 ? $"api/{Version}" : $"apis/{Group}/{Version}";
        return string.IsNullOrEmpty(ns) ? $"{root}/{Plural}" : $"{root}/namespaces/{Uri.EscapeDataString(ns)}/{Plural}";
    }

    /// <summary>Path of one object.</summary>
    /// <param name="key">Its name.</param>
    /// <param name="subresource">Such as status.</param>
    public string Path(ObjectKey key, string? subresource = null)
        => $"{Path(key.Namespace)}/{Uri.EscapeDataString(key.Name)}{(subresource == null ? "" : "/" + subresource)}";

    /// <summary>Namespace of a path of this kind; empty when it has none.</summary>
    /// <param name="path">A path, perhaps with a query.</param>
    public string NamespaceOf(string path)
    {
        string[] parts = path.Split('?')[0].Split('/');
        int at = Array.IndexOf(parts, "namespaces");
        return at >= 0 && at + 2 < parts.Length && parts[at + 2] == Plural ? Uri.UnescapeDataString(parts[at + 1]) : "";
    }
}
