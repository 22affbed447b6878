// Why this exists: galleries show small playing previews; a clip's video id leads to its file over an index, never over a path.
using System.Text;
using System.Text.Json;
using Microsoft.Extensions.Caching.Memory;

namespace CoCLR.Dashboard.Storage;

/// <summary>Previews of clips of a run.</summary>
public sealed class Previews(IMemoryCache cache)
{
    /// <summary>Opens the preview of a clip.</summary>
    /// <param name="run">The run.</param>
    /// <param name="id">Video id.</param>
    /// <param name="view">rgb or flow.</param>
    /// <param name="video">The playing video, else its poster.</param>
    /// <returns>The open file, or null, and its media type.</returns>
    public (FileStream? Stream, string Type) Open(RunInfo run, string id, string view, bool video)
    {
        ArgumentNullException.ThrowIfNull(run);
        string type = video ? "video/mp4" : "image/jpeg";
        foreach (string file in Candidates(run, id, view, video ? ".mp4" : ".jpg"))
        {
            if (ArtifactFiles.Open(run.Folder, file) is { } stream)
            {
                return (stream, type);
            }
        }

        return (null, type);
    }

    /// <summary>The name of a preview file: the id with everything but letters, digits, dot, hyphen and underscore replaced.</summary>
    /// <param name="id">Video id.</param>
    public static string FileName(string id)
    {
        ArgumentNullException.ThrowIfNull(id);
        var name = new StringBuilder(id.Length);
        foreach (char c in id)
        {
            name.Append(char.IsAsciiLetterOrDigit(c) || c is '.' or '-' or '_' ? c : '_');
        }

        return name.ToString();
    }

    private IEnumerable<string> Candidates(RunInfo run, string id, string view, string extension)
    {
        if (Index(run).TryGetValue((id, view), out string? listed))
        {
            yield return Path.ChangeExtension(listed, extension);
        }

        yield return $"previews/{view}/{FileName(id)}{extension}";
        yield return $"previews/{FileName(id)}-{view}{extension}";
        if (view == "rgb")
        {
            yield return $"previews/{FileName(id)}{extension}";
        }
    }

    /// <summary>previews/index.json, when the run has one: <c>{"ID": {"rgb": "previews/rgb/x.mp4", "flow": "..."}}</c>.</summary>
    private Dictionary<(string Id, string View), string> Index(RunInfo run) => cache.GetOrCreate(("previews", run.Folder), entry =>
    {
        entry.SetSize(64 << 10).SetAbsoluteExpiration(TimeSpan.FromSeconds(5));
        var index = new Dictionary<(string, string), string>();
        using FileStream? stream = ArtifactFiles.Open(run.Folder, "previews/index.json");
        if (stream != null && stream.Length < 64 << 20)
        {
            try
            {
                foreach ((string id, Dictionary<string, string> files) in JsonSerializer.Deserialize<Dictionary<string, Dictionary<string, string>>>(stream) ?? [])
                {
                    foreach ((string view, string file) in files)
                    {
                        index[(id, view)] = file;
                    }
                }
            }
            catch (JsonException)
            {
                // Half-written by a process that died: names by convention remain.
                return index;
            }
        }

        return index;
    })!;
}
