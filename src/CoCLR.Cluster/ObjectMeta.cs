// Why this exists: the metadata that every cached object keeps, read from raw JSON.
using System.Text.Json;

namespace CoCLR.Cluster;

/// <summary>An object of a cache.</summary>
public interface ICachedObject
{
    /// <summary>Its metadata.</summary>
    ObjectMeta Meta { get; }
}

/// <summary>An owner of an object.</summary>
/// <param name="Kind">Kind.</param>
/// <param name="Name">Name.</param>
/// <param name="Uid">Unique id.</param>
/// <param name="Controller">Whether it is the controlling owner.</param>
public sealed record OwnerReference(string Kind, string Name, string Uid, bool Controller);

/// <summary>Metadata of an object.</summary>
public sealed record ObjectMeta
{
    /// <summary>Name.</summary>
    public required ObjectKey Key { get; init; }

    /// <summary>Unique id.</summary>
    public required string Uid { get; init; }

    /// <summary>Version; grows with every change.</summary>
    public required string ResourceVersion { get; init; }

    /// <summary>Generation of the spec.</summary>
    public long Generation { get; init; }

    /// <summary>When it was made.</summary>
    public DateTimeOffset Created { get; init; }

    /// <summary>When it was asked to be deleted.</summary>
    public DateTimeOffset? Deleting { get; init; }

    /// <summary>The controlling owner.</summary>
    public OwnerReference? Controller { get; init; }

    /// <summary>Labels.</summary>
    public IReadOnlyDictionary<string, string> Labels { get; init; } = Empty;

    /// <summary>Annotations, of kinds where they matter.</summary>
    public IReadOnlyDictionary<string, string> Annotations { get; init; } = Empty;

    private static readonly IReadOnlyDictionary<string, string> Empty = new Dictionary<string, string>();

    /// <summary>A label.</summary>
    /// <param name="name">Its key.</param>
    public string? Label(string name) => Labels.GetValueOrDefault(name);

    /// <summary>Reads metadata.</summary>
    /// <param name="item">The whole object.</param>
    /// <param name="annotations">Which annotations are kept; none when null.</param>
    /// <param name="labels">Which labels are kept beside those of this operator and of Kueue.</param>
    /// <exception cref="FormatException">It is no object of a cluster: metadata has a form of its own on every server, so nothing of this
    /// can be believed.</exception>
    public static ObjectMeta Read(JsonElement item, Func<string, bool>? annotations = null, Func<string, bool>? labels = null)
    {
        JsonElement meta = item.Child("metadata") ?? throw new FormatException("The object has no metadata.");
        foreach (string map in new[] { "labels", "annotations" })
        {
            if (meta.Child(map) is { ValueKind: not JsonValueKind.Object })
            {
                throw new FormatException($"metadata.{map} is no map.");
            }
        }

        OwnerReference? controller = meta.Items("ownerReferences").Where(o => o.Flag("controller") == true)
            .Select(o => new OwnerReference(Intern(o.Text("kind") ?? ""), o.Text("name") ?? "", o.Text("uid") ?? "", true))
                .FirstOrDefault();
        return new ObjectMeta
        {
            Key = new ObjectKey(
                Intern(meta.Text("namespace") ?? ""), meta.Text("name") ?? throw new FormatException("The object has no name.")),
            Uid = meta.Text("uid") ?? "",
            ResourceVersion = meta.Text("resourceVersion") ?? "",
            Generation = meta.Number("generation") ?? 0,
            Created = meta.Time("creationTimestamp") ?? default,
            Deleting = meta.Time("deletionTimestamp"),
            Controller = controller,
            Labels = Interned(meta.Map("labels"), labels),
            Annotations = annotations == null ? Empty : meta.Map("annotations")?.Where(a => annotations(a.Key)).ToDictionary() ?? Empty,
        };
    }

    // Thousands of pods carry the same few labels.
    private static IReadOnlyDictionary<string, string> Interned(IReadOnlyDictionary<string, string>? map, Func<string, bool>? more)
    {
        if (map is not { Count: > 0 })
        {
            return Empty;
        }

        var kept = new Dictionary<string, string>(StringComparer.Ordinal);
        foreach ((string key, string value) in map)
        {
            if (key.StartsWith("coclr.dev/", StringComparison.Ordinal) || key.StartsWith("kueue.x-k8s.io/", StringComparison.Ordinal)
                || more?.Invoke(key) == true)
            {
                kept[Intern(key)] = value;
            }
        }

        return kept.Count == 0 ? Empty : kept;
    }

    private static string Intern(string text) => string.IsInterned(text) ?? (text.Length < 64 ? string.Intern(text) : text);
}
