// Why this exists: what people add (tags, notes, saved views, API tokens) is no index of anything, so it lives in one small file that is
// replaced whole, and survives a rebuild.
using System.Collections.Immutable;
using System.Text.Json;
using CoCLR.Core;
using CoCLR.Dashboard.Configuration;
using Microsoft.Extensions.Options;

namespace CoCLR.Dashboard.Storage;

/// <summary>What people added to a run.</summary>
public sealed record Annotation
{
    /// <summary>What was added to a run that nobody added to.</summary>
    public static readonly Annotation None = new();

    /// <summary>Tags.</summary>
    public ImmutableArray<string> Tags { get; init; } = [];

    /// <summary>Note, plain text.</summary>
    public string Note { get; init; } = "";

    /// <summary>Whether the run is hidden from the list.</summary>
    public bool Archived { get; init; }
}

/// <summary>A search that was given a name.</summary>
/// <param name="Name">Name.</param>
/// <param name="Query">Query string of the list, or of a run's curves.</param>
public sealed record SavedView(string Name, string Query);

/// <summary>A token for machines; only its hash is kept.</summary>
/// <param name="Id">Public part.</param>
/// <param name="Name">What it is for.</param>
/// <param name="Hash">SHA-256 of the secret, hexadecimal.</param>
/// <param name="Role">Role.</param>
/// <param name="Namespaces">Namespaces it may see; all when empty.</param>
/// <param name="Created">When it was made.</param>
/// <param name="Expires">When it ends, or null.</param>
public sealed record ApiToken(
    string Id, string Name, string Hash, string Role, ImmutableArray<string> Namespaces, DateTimeOffset Created, DateTimeOffset? Expires);

/// <summary>Everything people added.</summary>
public sealed record Settings
{
    /// <summary>By run.</summary>
    public ImmutableDictionary<string, Annotation> Runs { get; init; } = ImmutableDictionary<string, Annotation>.Empty;

    /// <summary>Saved searches.</summary>
    public ImmutableArray<SavedView> Views { get; init; } = [];

    /// <summary>Saved layouts of a run's curves.</summary>
    public ImmutableArray<SavedView> Layouts { get; init; } = [];

    /// <summary>Metrics whose charts stand on every run's overview.</summary>
    public ImmutableArray<string> Pinned { get; init; } = [];

    /// <summary>Tokens for machines.</summary>
    public ImmutableArray<ApiToken> Tokens { get; init; } = [];
}

/// <summary>The file.</summary>
public sealed class SettingsFile
{
    private readonly string _path;
    private readonly LiveFeed _feed;
    private readonly Lock _gate = new();

    /// <summary>Reads the file, if there is one.</summary>
    public SettingsFile(IOptions<DashboardOptions> options, LiveFeed feed, ILogger<SettingsFile> logger)
    {
        ArgumentNullException.ThrowIfNull(options);
        _feed = feed;
        Directory.CreateDirectory(options.Value.ResolvedDataDir);
        _path = Path.Combine(options.Value.ResolvedDataDir, "settings.json");
        if (!File.Exists(_path))
        {
            return;
        }

        try
        {
            Current = JsonSerializer.Deserialize<Settings>(File.ReadAllBytes(_path), CoclrJson.Indented) ?? new Settings();
        }
        catch (JsonException e)
        {
            string aside = _path + ".damaged";
            File.Move(_path, aside, overwrite: true);
            logger.LogError(e, "settings.json is damaged and was put aside as {File}; tags, notes and tokens start empty", aside);
        }
    }

    /// <summary>What people added.</summary>
    public Settings Current { get; private set; } = new();

    /// <summary>What people added to a run.</summary>
    /// <param name="run">Id.</param>
    public Annotation Of(string run) => Current.Runs.GetValueOrDefault(run) ?? Annotation.None;

    /// <summary>Changes and saves: all of it or nothing.</summary>
    /// <param name="change">The change.</param>
    /// <param name="run">The run that it concerns, for those who look at it.</param>
    public void Change(Func<Settings, Settings> change, string? run = null)
    {
        ArgumentNullException.ThrowIfNull(change);
        lock (_gate)
        {
            Settings next = change(Current);
            string temporary = _path + ".new";
            using (var stream = new FileStream(temporary, FileMode.Create, FileAccess.Write, FileShare.None))
            {
                if (!OperatingSystem.IsWindows())
                {
                    File.SetUnixFileMode(temporary, UnixFileMode.UserRead | UnixFileMode.UserWrite);
                }

                JsonSerializer.Serialize(stream, next, CoclrJson.Indented);
                stream.Flush(flushToDisk: true);
            }

            File.Move(temporary, _path, overwrite: true);
            Current = next;
        }

        _feed.Changed(run ?? LiveFeed.All);
    }

    /// <summary>Changes what people added to a run.</summary>
    /// <param name="run">Id.</param>
    /// <param name="change">The change.</param>
    public void Annotate(string run, Func<Annotation, Annotation> change)
    {
        ArgumentNullException.ThrowIfNull(change);
        Change(s => s with { Runs = s.Runs.SetItem(run, change(s.Runs.GetValueOrDefault(run) ?? Annotation.None)) }, run);
    }
}
