// Why this exists: one walk over the data folder; lists are then resolved against what is really there.
using CoCLR.Core;

namespace CoCLR.Engine.Video.Catalogue;

/// <summary>The files of a data folder: ids are paths below it with '/' between folders.</summary>
internal sealed class DataFolder
{
    private readonly Dictionary<string, string> _videos = new(StringComparer.Ordinal);
    private readonly Dictionary<string, List<string>> _byStem = new(StringComparer.Ordinal);
    private readonly Dictionary<string, List<string>> _byName = new(StringComparer.Ordinal);

    private DataFolder(string root)
    {
        Root = root;
    }

    public string Root { get; }

    /// <summary>Full paths by id.</summary>
    public IReadOnlyDictionary<string, string> Videos => _videos;

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
        folder.Walk(new DirectoryInfo(full), "", new HashSet<string>(StringComparer.Ordinal));
        folder.Lists.Sort(StringComparer.Ordinal);
        return folder;
    }

    public string FullPath(string id) => Path.Combine(Root, id);

    /// <summary>
    /// The id of the video that a list means: the path itself, the same path with another extension, or the only video whose path ends so.
    /// Null when there is none.
    /// </summary>
    public string? Resolve(string listed)
    {
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
        return relative.StartsWith("..", StringComparison.Ordinal) && (relative.Length == 2 || relative[2] == '/') || Path.IsPathRooted(relative)
            ? null
            : relative;
    }

    private static string Stem(string path) =>
        VideoCatalogue.IsVideoName(path) ? path[..^Path.GetExtension(path).Length] : path;

    private void Walk(DirectoryInfo directory, string prefix, HashSet<string> ancestors)
    {
        var real = directory.ResolveLinkTarget(returnFinalTarget: true)?.FullName ?? directory.FullName;
        if (!ancestors.Add(real))
        {
            return;
        }

        try
        {
            foreach (var entry in directory.EnumerateFileSystemInfos())
            {
                if (entry.Name.StartsWith('.'))
                {
                    continue;
                }

                var id = prefix + entry.Name;
                if (entry is DirectoryInfo child)
                {
                    Walk(child, id + "/", ancestors);
                }
                else if (VideoCatalogue.IsVideoName(entry.Name))
                {
                    _videos.Add(id, entry.FullName);
                    Index(_byStem, Stem(id), id);
                    Index(_byName, Stem(entry.Name), id);
                }
                else if (entry.Name.EndsWith(".txt", StringComparison.OrdinalIgnoreCase)
                    || entry.Name.EndsWith(".csv", StringComparison.OrdinalIgnoreCase))
                {
                    Lists.Add(id);
                }
            }
        }
        catch (UnauthorizedAccessException error)
        {
            throw new UserErrorException(
                $"No permission to read the data folder {directory.FullName}. Change its mode or run as its owner.",
                ExitCodes.MissingInput,
                error);
        }

        // A folder may be reached twice by two links, but not through itself.
        ancestors.Remove(real);
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
