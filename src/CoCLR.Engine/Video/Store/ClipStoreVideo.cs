// Why this exists: what the clip store knows of one video, shared by its writer, its readers and everything that samples from it.
using System.Text.Json;
using System.Text.Json.Serialization;
using CoCLR.Engine.Video.Catalogue;

namespace CoCLR.Engine.Video.Store;

/// <summary>One video of a <see cref="ClipStore"/>: what it is and where its frames lie.</summary>
public sealed record ClipStoreVideo
{
    /// <summary>Name of the video: its path below the data folder, with '/' between folders. Unique in a store.</summary>
    public required string Id { get; init; }

    /// <summary>Number of frames.</summary>
    public int Frames { get; init; }

    /// <summary>Height of a frame in pixels.</summary>
    public int Height { get; init; }

    /// <summary>Width of a frame in pixels.</summary>
    public int Width { get; init; }

    /// <summary>Frames a second (the mean of a variable rate); 0 when unknown.</summary>
    public double Fps { get; init; }

    /// <summary>Class number from 0; -1 without a label.</summary>
    public int Label { get; init; } = -1;

    /// <summary>Class name; null without a label.</summary>
    public string? Class { get; init; }

    /// <summary>The part of the data set.</summary>
    public VideoSplit Split { get; init; }

    /// <summary>Source video: sibling clips, cut from one recording, share this number (method.md 1a, video_source.json).</summary>
    public int Group { get; init; } = -1;

    /// <summary>Data file that holds the frames.</summary>
    public int Segment { get; init; }

    /// <summary>Offset of frame 0 in that file, in bytes.</summary>
    public long Offset { get; init; }

    /// <summary>XXH3 (64 bits, hexadecimal) of all frame bytes.</summary>
    public string Checksum { get; init; } = "";

    /// <summary>
    /// What the frames were made from (size and time of the file, checksum of the input ...): another fingerprint, other frames. May be
    /// null.
    /// </summary>
    public string? Fingerprint { get; init; }

    /// <summary>What could not be decoded of it; null for a whole video.</summary>
    public string? Damage { get; init; }

    /// <summary>Pixels of a frame.</summary>
    [JsonIgnore]
    public int Pixels => Height * Width;

    // This video's labels on another's frames.
    internal ClipStoreVideo Placed(ClipStoreVideo frames) =>
        frames with { Label = Label, Class = Class, Split = Split, Group = Group };

    internal long Length(int channels) => (long)Frames * Height * Width * channels;
}

/// <summary>A video that was left out, and why.</summary>
/// <param name="Id">Path below the data folder.</param>
/// <param name="Reason">In one line, with ffmpeg's own message where there is one.</param>
/// <param name="Fingerprint">The state of the file that was tried; see <see cref="ClipStoreVideo.Fingerprint"/>.</param>
public sealed record RejectedVideo(string Id, string Reason, string? Fingerprint = null);

/// <summary>What a store as a whole says of itself (`store.json`).</summary>
public sealed record ClipStoreHeader
{
    /// <summary>The setting that names the unit of a flow store's displacements; absent in stores of earlier versions.</summary>
    public const string FlowUnit = "flow.unit";

    /// <summary>Bytes a pixel: 3 (R, G, B) or 2 (quantised flow u, v).</summary>
    public int Channels { get; init; } = 3;

    /// <summary>Hash of the videos and the settings that the frames were made from; equal keys mean equal frames.</summary>
    public required string ContentKey { get; init; }

    /// <summary>The settings in readable form.</summary>
    public SortedDictionary<string, string> Settings { get; init; } = [];

    /// <summary>Format version of the folder.</summary>
    public int Version { get; init; } = 1;

    /// <summary>Number of videos in the index.</summary>
    public int Count { get; init; }

    /// <summary>Folder of the data files, relative to this folder: "." except for views.</summary>
    public string DataFolder { get; init; } = ".";

    /// <summary>XXH3 of `index.jsonl`.</summary>
    public string IndexChecksum { get; init; } = "";

    /// <summary>Videos that were left out.</summary>
    public IReadOnlyList<RejectedVideo> Rejected { get; init; } = [];
}

/// <summary>How the store's records are written as JSON.</summary>
internal static class VideoJson
{
    public static readonly JsonSerializerOptions Options = new(JsonSerializerDefaults.Web)
    {
        DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull,
        RespectNullableAnnotations = true,
    };

    public static readonly JsonSerializerOptions Indented = new(Options) { WriteIndented = true };
}
