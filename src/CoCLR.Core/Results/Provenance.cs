// Why this exists: a number is worth what can be said of where it comes from; this is what a report says, and how to get it again.
namespace CoCLR.Core.Results;

/// <summary>Where a report's numbers come from.</summary>
public sealed record Provenance
{
    /// <summary>Version of the program, such as 0.1.0.</summary>
    public required string Version { get; init; }

    /// <summary>Commit that it was built from; null when the build did not know it.</summary>
    public string? Commit { get; init; }

    /// <summary>Image of the container, with its digest where the operator has seen it; null outside a cluster.</summary>
    public string? Image { get; init; }

    /// <summary>SHA-256 of the fields of the manifest that decide the result.</summary>
    public required string ManifestHash { get; init; }

    /// <summary>SHA-256 over the id, class, group, split and length of every video; null for data that an older version decoded.</summary>
    public string? DataFingerprint { get; init; }

    /// <summary>Libraries with their versions.</summary>
    public required IReadOnlyDictionary<string, string> Libraries { get; init; }

    /// <summary>The command that runs it again, from the run folder.</summary>
    public required string Command { get; init; }

    /// <summary>The facts in the order in which people read them; those that are not known are left out.</summary>
    public IEnumerable<(string Name, string Value)> Facts()
    {
        (string, string?)[] facts =
        [
            ("program", Commit == null ? Version : $"{Version}, commit {Commit}"),
            ("image", Image),
            ("manifest, SHA-256", ManifestHash),
            ("data, SHA-256", DataFingerprint),
            ("libraries", string.Join(", ", Libraries.Select(l => $"{l.Key} {l.Value}"))),
            ("run it again", Command),
        ];
        return facts.Where(f => f.Item2 is { Length: > 0 }).Select(f => (f.Item1, f.Item2!));
    }
}
