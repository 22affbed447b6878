// Why this exists: a folder of videos becomes one list of videos with labels, splits and source groups, whatever data set it comes from.
using CoCLR.Core;
using CoCLR.Core.Manifests;

namespace CoCLR.Engine.Video.Catalogue;

/// <summary>Where the videos are and how their labels and splits are written down.</summary>
public sealed record CatalogueOptions
{
    /// <summary>Folder of the videos.</summary>
    public required string Root { get; init; }

    /// <summary>How files name classes and splits; Auto looks at what is there.</summary>
    public DatasetLayout Layout { get; init; } = DatasetLayout.Auto;

    /// <summary>Number of the split or fold, from 1 (UCF101, HMDB51).</summary>
    public int Split { get; init; } = 1;

    /// <summary>File with the training videos, relative to <see cref="Root"/>; null: the layout's own.</summary>
    public string? TrainList { get; init; }

    /// <summary>File with the test videos, relative to <see cref="Root"/>; null: the layout's own.</summary>
    public string? TestList { get; init; }

    /// <summary>Share of the source groups of each class that become test where nothing says how to split.</summary>
    public double TestFraction { get; init; } = 0.2;
}

/// <summary>One video of a data set.</summary>
/// <param name="Id">Path below the root, with '/' between folders.</param>
/// <param name="Path">Full path of the file.</param>
/// <param name="Label">Class number from 0; -1 without.</param>
/// <param name="Class">Class name; null without.</param>
/// <param name="Split">Part of the data set.</param>
/// <param name="Group">Source video: sibling clips share it; from 0.</param>
public sealed record CatalogueVideo(string Id, string Path, int Label, string? Class, VideoSplit Split, int Group)
{
    /// <summary>
    /// Why the video cannot be used, as far as its name tells (no such file, a name that is not UTF-8); null when the file was seen.
    /// </summary>
    public string? Problem { get; init; }
}

/// <summary>The videos of a data set, in the order of their ids.</summary>
public sealed class VideoCatalogue
{
    private static readonly HashSet<string> VideoExtensions = new(StringComparer.OrdinalIgnoreCase)
    {
        ".3gp", ".asf", ".avi", ".divx", ".flv", ".gif", ".m1v", ".m2ts", ".m2v", ".m4v", ".mjpeg", ".mjpg", ".mkv", ".mov", ".mp4",
        ".mpeg",
        ".mpg", ".mts", ".mxf", ".nut", ".ogv", ".rm", ".ts", ".vob", ".webm", ".wmv", ".y4m",
    };

    internal VideoCatalogue(
        string root,
        DatasetLayout layout,
        IReadOnlyList<CatalogueVideo> videos,
        IReadOnlyList<string> classes,
        IReadOnlyList<string> notes)
    {
        Root = root;
        Layout = layout;
        Videos = videos;
        Classes = classes;
        Notes = notes;
    }

    /// <summary>Full path of the data folder.</summary>
    public string Root { get; }

    /// <summary>The layout that was given or recognised.</summary>
    public DatasetLayout Layout { get; }

    /// <summary>The videos, ordered by id.</summary>
    public IReadOnlyList<CatalogueVideo> Videos { get; }

    /// <summary>Class names by label; empty without labels.</summary>
    public IReadOnlyList<string> Classes { get; }

    /// <summary>What a person should know, for example how many files no list names.</summary>
    public IReadOnlyList<string> Notes { get; }

    /// <summary>What flatters every measure that is made on this split; empty for a sound one.</summary>
    public IReadOnlyList<string> Warnings { get; init; } = [];

    /// <summary>True when every video has a label.</summary>
    public bool HasLabels => Videos.All(video => video.Label >= 0);

    /// <summary>Number of source groups.</summary>
    public int Groups => Videos.Count == 0 ? 0 : Videos.Max(video => video.Group) + 1;

    /// <summary>Reads a data folder.</summary>
    /// <param name="options">Where and how.</param>
    /// <exception cref="UserErrorException">
    /// 66: folder or list missing, unreadable or empty; 65: a list is wrong (file and line are named); 78: options that do not fit the
    /// layout.
    /// </exception>
    public static VideoCatalogue Open(CatalogueOptions options)
    {
        var folder = DataFolder.Read(options.Root);
        return CatalogueReader.Read(folder, options);
    }

    /// <summary>True for the names that video files have.</summary>
    /// <param name="path">A path or a name.</param>
    public static bool IsVideoName(string path) => VideoExtensions.Contains(Path.GetExtension(path));
}
