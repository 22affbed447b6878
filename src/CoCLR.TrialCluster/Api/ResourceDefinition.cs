// Why this exists: what the server knows about a kind (names, scope, subresources, schema, columns) drives discovery, routing, storage and
// validation alike.
using System.Collections.Immutable;

namespace CoCLR.TrialCluster;

/// <summary>A group and the plural name of a resource in it.</summary>
/// <param name="Group">Empty for the core group.</param>
/// <param name="Plural">Lower-case plural, such as `pods`.</param>
public readonly record struct ResourceKey(string Group, string Plural)
{
    /// <inheritdoc/>
    public override string ToString() => Group.Length == 0 ? Plural : $"{Plural}.{Group}";
}

/// <summary>A printer column of a CRD.</summary>
/// <param name="Name">Header.</param>
/// <param name="Type">OpenAPI type.</param>
/// <param name="Format">OpenAPI format.</param>
/// <param name="Description">What it shows.</param>
/// <param name="Priority">0 always, 1 in wide output.</param>
/// <param name="JsonPath">Where the value stands.</param>
public sealed record PrinterColumn(string Name, string Type, string Format, string Description, int Priority, string JsonPath);

/// <summary>Where the scale subresource of a kind finds its numbers.</summary>
/// <param name="SpecReplicas">Path of the wanted count.</param>
/// <param name="StatusReplicas">Path of the observed count.</param>
/// <param name="Selector">Path of the selector in status, or null.</param>
public sealed record ScalePaths(string[] SpecReplicas, string[] StatusReplicas, string[]? Selector);

/// <summary>One version of a kind.</summary>
public sealed class ResourceDefinition
{
    /// <summary>Empty for the core group.</summary>
    public required string Group { get; init; }

    /// <summary>Version, such as `v1`.</summary>
    public required string Version { get; init; }

    /// <summary>Lower-case plural.</summary>
    public required string Plural { get; init; }

    /// <summary>Lower-case singular.</summary>
    public required string Singular { get; init; }

    /// <summary>Kind, such as `Pod`.</summary>
    public required string Kind { get; init; }

    /// <summary>Kind of the list.</summary>
    public string ListKind { get; init; } = "";

    /// <summary>Whether objects live in a namespace.</summary>
    public required bool Namespaced { get; init; }

    /// <summary>Short names for kubectl.</summary>
    public IReadOnlyList<string> ShortNames { get; init; } = [];

    /// <summary>Categories for kubectl.</summary>
    public IReadOnlyList<string> Categories { get; init; } = [];

    /// <summary>The schema of the whole object.</summary>
    public required Schema Schema { get; init; }

    /// <summary>Whether status is a subresource: writes to the object leave it alone.</summary>
    public bool HasStatus { get; init; }

    /// <summary>Whether every change of anything but metadata and status counts as a new generation.</summary>
    public bool HasGeneration { get; init; }

    /// <summary>The scale subresource, or null.</summary>
    public ScalePaths? Scale { get; init; }

    /// <summary>Columns declared by a CRD, or null for the built-in printers.</summary>
    public IReadOnlyList<PrinterColumn>? Columns { get; init; }

    /// <summary>Field selectors beside metadata.name and metadata.namespace.</summary>
    public IReadOnlyList<string> SelectableFields { get; init; } = [];

    /// <summary>Whether it comes from a CRD.</summary>
    public bool IsCustom { get; init; }

    /// <summary>Whether objects can only be created and are answered, never stored (access reviews).</summary>
    public bool IsReview { get; init; }

    /// <summary>Other subresources for discovery, each with its kind and verbs.</summary>
    public IReadOnlyList<(string Name, string Kind, string Group, string Version, string[] Verbs)> Subresources { get; init; } = [];

    /// <summary>`group/version`, or `version` for the core group.</summary>
    public string ApiVersion => Group.Length == 0 ? Version : $"{Group}/{Version}";

    /// <summary>Key of the storage table; all versions share one.</summary>
    public ResourceKey Key => new(Group, Plural);

    /// <summary>What can be done with it.</summary>
    public string[] Verbs => IsReview ? ["create"] : ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
}

/// <summary>All kinds the server serves now; CRDs come and go.</summary>
public sealed class ResourceRegistry
{
    private ImmutableDictionary<(string Group, string Version, string Plural), ResourceDefinition> _byPath =
        ImmutableDictionary<(string, string, string), ResourceDefinition>.Empty;

    /// <summary>All kinds.</summary>
    public IEnumerable<ResourceDefinition> All => _byPath.Values
        .OrderBy(d => d.Group, StringComparer.Ordinal).ThenBy(d => d.Version, StringComparer.Ordinal)
            .ThenBy(d => d.Plural, StringComparer.Ordinal);

    /// <summary>The kind at a path, or null.</summary>
    public ResourceDefinition? Find(string group, string version, string plural) => _byPath.GetValueOrDefault((group, version, plural));

    /// <summary>The kind by its name, or null.</summary>
    public ResourceDefinition? FindKind(string apiVersion, string kind)
    {
        var slash = apiVersion.IndexOf('/', StringComparison.Ordinal);
        var group = slash < 0 ? "" : apiVersion[..slash];
        var version = slash < 0 ? apiVersion : apiVersion[(slash + 1)..];
        return _byPath.Values.FirstOrDefault(d => d.Group == group && d.Version == version && d.Kind == kind);
    }

    /// <summary>Any version of a resource, or null.</summary>
    public ResourceDefinition? FindAny(ResourceKey key) =>
        _byPath.Values.Where(d => d.Key == key).OrderBy(d => d.Version, StringComparer.Ordinal).FirstOrDefault();

    /// <summary>Adds a kind or puts a newer description in its place.</summary>
    public void Put(ResourceDefinition definition) =>
        ImmutableInterlocked.AddOrUpdate(
            ref _byPath, (definition.Group, definition.Version, definition.Plural), definition, (_, _) => definition);

    /// <summary>Stops serving a kind.</summary>
    public void Remove(string group, string version, string plural) =>
        ImmutableInterlocked.TryRemove(ref _byPath, (group, version, plural), out _);

    /// <summary>Whether the served kinds are the same as at another time (cheap change detection).</summary>
    public object Snapshot => _byPath;
}
