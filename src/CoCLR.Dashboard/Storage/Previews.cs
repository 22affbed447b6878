// Why this exists: galleries show small playing previews; a clip's video id leads to its file over an index, never over a path.
using System.Text;
using System.Text.Json;
using CoCLR.Runs;
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
        foreach (string file in Candidates(run, id, view, video))
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

    private IEnumerable<string> Candidates(RunInfo run, string id, string view, bool video)
    {
        if (Index(run).TryGetValue((id, view), out (string Video, string Poster) listed))
        {
            yield return video ? listed.Video : listed.Poster;
        }

        string extension = video ? ".mp4" : ".jpg";
        yield return $"{RunFolder.PreviewsName}/{view}/{FileName(id)}{extension}";
        if (view == "rgb")
        {
            yield return $"{RunFolder.PreviewsName}/{FileName(id)}{extension}";
        }
    }

    /// <summary>The stages' artifacts/previews.json together: which file shows which video.</summary>
    private Dictionary<(string Id, string View), (string Video, string Poster)> Index(RunInfo run) =>
        cache.GetOrCreate(("previews", run.Folder), entry =>
    {
        var index = new Dictionary<(string, string), (string, string)>();
        long size = 4096;
        foreach (StageInfo stage in run.Stages.Where(s => s.Attempt > 0))
        {
            using FileStream? stream = ArtifactFiles.Open(run.Folder, RunFolder.RelativeArtifact(stage.Name, "previews.json"));
            if (stream == null || stream.Length > 64 << 20)
            {
                continue;
            }

            try
            {
                foreach (Listed preview in JsonSerializer.Deserialize<ListedTable>(stream, JsonSerializerOptions.Web)?.Previews ?? [])
                {
                    index[(preview.Id, preview.View)] = (preview.Video, preview.Poster);
                }

                size += stream.Length * 3;
            }
            catch (JsonException)
            {
                // Half-written by a process that died: the others, and names by convention, remain.
                continue;
            }
        }

        entry.SetSize(size)
            .SetAbsoluteExpiration(run.State == RunState.Running || index.Count == 0 ? TimeSpan.FromSeconds(5) : TimeSpan.FromMinutes(2));
        return index;
    })!;

    private sealed record ListedTable(Listed[] Previews);

    private sealed record Listed(string Id, string View, string Video, string Poster);
}
