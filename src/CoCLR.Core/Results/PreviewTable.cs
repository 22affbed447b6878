// Why this exists: galleries play clips; this says which small video and poster show which video, so that no page has to guess file names.
namespace CoCLR.Core.Results;

/// <summary>The artifact `previews.json`: previews of the clips that a stage's other artifacts show.</summary>
public sealed record PreviewTable
{
    /// <summary>One entry for each video and view, in the order of the ids.</summary>
    public required Preview[] Previews { get; init; }

    /// <summary>Videos that could not be encoded, with the reason.</summary>
    public LeftOutVideo[] LeftOut { get; init; } = [];
}

/// <summary>A small looping video.</summary>
/// <param name="Id">The video's id.</param>
/// <param name="View">`rgb` or `flow`.</param>
/// <param name="Video">MP4 (H.264), relative to the run folder.</param>
/// <param name="Poster">JPEG, relative to the run folder.</param>
public sealed record Preview(string Id, string View, string Video, string Poster);
