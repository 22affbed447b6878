// Why this exists: one walk over the data folder; lists are then resolved against what is really there.
using CoCLR.Core;

namespace CoCLR.Engine.Video.Catalogue;

/// <summary>The files of a data folder: ids are paths below it with '/' between folders.</summary>
internal sealed class DataFolder
{
    private readonly Dictionary<string, string> _videos = new(StringComparer.Ordinal);
    private readonly Dictionary<string, List<string>> _byStem = new(StringComparer.Ordinal);
    private readonly Dictionary<string, List<string>> _byName = new(StringComparer.Ordinal);
    private readonly Dictionary<string, string> _aliases = new(StringComparer.Ordinal);
    private readonly List<(string Prefix, string Kept)> _folderAliases = [];
    private readonly Dictionary<FileIdentity, string> _files = [];
    private readonly Dictionary<FileIdentity, string> _folders = [];
    private readonly Queue<(FileSystemInfo Entry, string Id)> _links = new();

    private IReadOnlyDictionary<string, byte[]>? _contents;

    private DataFolder(string root)
    {
        Root = root;
    }

    public string Root { get; }

    /// <summary>Full paths by id.</summary>
    public IReadOnlyDictionary<string, string> Videos => _videos;

    /// <summary>Further names of videos that are there already, by links, with the id that is kept.</summary>
    public IReadOnlyDictionary<string, string> Aliases => _aliases;

    /// <summary>Names that are not UTF-8, as `ls -b` shows them.</summary>
    public List<string> Unnameable { get; } = [];

    /// <summary>What a person should know of the folder.</summary>
    public List<string> Notes { get; } = [];

    /// <summary>Ids of everything that could be a list: .txt and .csv.</summary>
    public List<string> Lists { get; } = [];

    public static DataFolder Read(string root)
    {
        var full = Path.GetFullPath(root);
        if (File.Exists(full))
        {
            throw new UserErrorException($"{root} is a file: give the folder of the videos.", ExitCodes.MissingInput);
        }

        if (!Directory.Exists(full))
        {
            throw new UserErrorException($"There is no data folder {root}. Check the path (dataset.source.path).", ExitCodes.MissingInput);
        }

        var folder = new DataFolder(full);
        folder.Walk();
        folder.Lists.Sort(StringComparer.Ordinal);
        return folder;
    }

    /// <summary>A folder that is only in memory.</summary>
    /// <param name="root">Where it would be.</param>
    /// <param name="videos">Ids of the videos.</param>
    /// <param name="lists">Contents of the lists by id.</param>
    internal static DataFolder Of(string root, IEnumerable<string> videos, IReadOnlyDictionary<string, byte[]> lists)
    {
        var folder = new DataFolder(root) { _contents = lists };
        foreach (var id in videos)
        {
            folder.AddVideo(id, Path.Combine(root, id));
        }

        folder.Lists.AddRange(lists.Keys.Order(StringComparer.Ordinal));
        return folder;
    }

    /// <summary>Opens a list.</summary>
    /// <param name="id">Its id.</param>
    public Stream Open(string id) => _contents is null ? File.OpenRead(FullPath(id)) : new MemoryStream(_contents[id], writable: false);

    public string FullPath(string id) => Path.Combine(Root, id);

    /// <summary>
    /// The id of the video that a list means: the path itself, the same path with another extension, or the only video whose path ends so.
    /// Null when there is none.
    /// </summary>
    public string? Resolve(string listed)
    {
        foreach (var (prefix, kept) in _folderAliases.Where(alias => listed.StartsWith(alias.Prefix, StringComparison.Ordinal)).Take(1))
        {
            listed = kept + listed[prefix.Length..];
        }

        listed = _aliases.GetValueOrDefault(listed, listed);
        if (_videos.ContainsKey(listed))
        {
            return listed;
        }

        if (_byStem.TryGetValue(Stem(listed), out var sameStem) && sameStem.Count == 1)
        {
            return sameStem[0];
        }

        if (!_byName.TryGetValue(Stem(Path.GetFileName(listed)), out var sameName))
        {
            return null;
        }

        // A video of the same name in another class's folder is another video.
        var ending = "/" + Stem(listed);
        var fitting = sameName.FindAll(id => Stem(id).EndsWith(ending, StringComparison.Ordinal));
        return fitting.Count == 1 ? fitting[0] : null;
    }

    /// <summary>A path of a list as an id, or null when it leaves the data folder.</summary>
    public string? Normalise(string listed)
    {
        var full = Path.GetFullPath(Path.Combine(Root, listed));
        var relative = Path.GetRelativePath(Root, full);
        return relative.StartsWith("..", StringComparison.Ordinal) && (relative.Length == 2 || relative[2] == '/')
            || Path.IsPathRooted(relative)
            ? null
            : relative;
    }

    private static string Stem(string path) =>
        VideoCatalogue.IsVideoName(path) ? path[..^Path.GetExtension(path).Length] : path;

    // Every folder once, and folders before links to them: a link to a folder above, or two links to one folder, add nothing.
    private void Walk()
    {
        var above = FileIdentity.Ancestors(Root);
        Visit(new DirectoryInfo(Root), "");
        while (_links.TryDequeue(out var link))
        {
            var (entry, id) = link;
            if (entry is not DirectoryInfo folder)
            {
                AddFile(entry, id);
            }
            else if (FileIdentity.Of(folder.FullName) is { } identity && above.Contains(identity))
            {
                Notes.Add($"{id} is a link to the data folder itself or to a folder above it: it is not followed.");
            }
            else
            {
                Visit(folder, id + "/");
            }
        }

        if (_aliases.Count > 0)
        {
            var (alias, kept) = _aliases.OrderBy(pair => pair.Key, StringComparer.Ordinal).First();
            Notes.Add($"{_aliases.Count} name{(_aliases.Count == 1 ? " is a link" : "s are links")} to a file that has another name here: "
                + $"each file is one video (for example {alias} is {kept}).");
        }

        if (Unnameable.Count > 0)
        {
            Notes.Add($"{Unnameable.Count} file or folder name{(Unnameable.Count == 1 ? " is" : "s are")} not UTF-8 and cannot be opened: "
                + $"rename {string.Join(", ", Unnameable.Take(3))}{(Unnameable.Count > 3 ? " ..." : "")}");
        }
    }

    private void Visit(DirectoryInfo directory, string prefix)
    {
        if (FileIdentity.Of(directory.FullName) is { } identity && !_folders.TryAdd(identity, prefix))
        {
            _folderAliases.Add((prefix, _folders[identity]));
            return;
        }

        FileSystemInfo[] entries;
        try
        {
            entries = directory.GetFileSystemInfos();
        }
        catch (UnauthorizedAccessException error)
        {
            throw new UserErrorException(
                $"No permission to read the data folder {directory.FullName}. Change its mode or run as its owner.",
                ExitCodes.MissingInput,
                error);
        }

        Array.Sort(entries, (a, b) => string.CompareOrdinal(a.Name, b.Name));
        if (Array.Exists(entries, Garbled))
        {
            Unnameable.AddRange(RawNames.NotUtf8(directory.FullName).Where(name => !name.StartsWith('.')).Select(name => prefix + name));
        }

        foreach (var entry in entries.Where(entry => !entry.Name.StartsWith('.') && !Garbled(entry)))
        {
            if (entry.Attributes.HasFlag(FileAttributes.ReparsePoint))
            {
                _links.Enqueue((entry, prefix + entry.Name));
            }
            else if (entry is DirectoryInfo child)
            {
                Visit(child, prefix + entry.Name + "/");
            }
            else
            {
                AddFile(entry, prefix + entry.Name);
            }
        }
    }

    private static bool Garbled(FileSystemInfo entry) =>
        entry.Name.Contains('\uFFFD', StringComparison.Ordinal) && FileIdentity.Of(entry.FullName) is null;

    private void AddFile(FileSystemInfo entry, string id)
    {
        if (VideoCatalogue.IsVideoName(entry.Name))
        {
            if (FileIdentity.Of(entry.FullName) is { } identity && !_files.TryAdd(identity, id))
            {
                _aliases.Add(id, _files[identity]);
                return;
            }

            AddVideo(id, entry.FullName);
        }
        else if (entry.Name.EndsWith(".txt", StringComparison.OrdinalIgnoreCase)
            || entry.Name.EndsWith(".csv", StringComparison.OrdinalIgnoreCase))
        {
            Lists.Add(id);
        }
    }

    private void AddVideo(string id, string path)
    {
        _videos.Add(id, path);
        Index(_byStem, Stem(id), id);
        Index(_byName, Stem(Path.GetFileName(id)), id);
    }

    private static void Index(Dictionary<string, List<string>> index, string key, string id)
    {
        if (!index.TryGetValue(key, out var ids))
        {
            index[key] = ids = [];
        }

        ids.Add(id);
    }
}
