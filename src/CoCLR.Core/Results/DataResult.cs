// Why this exists: what decoding and optical flow left behind, so that later stages find the store and people see what was left out.
namespace CoCLR.Core.Results;

/// <summary>A finished clip store: decoded frames or optical flow.</summary>
public sealed record DataResult : Outcome
{
    /// <summary>Folder of the store, relative to the cache folder.</summary>
    public required string Store { get; init; }

    /// <summary>Videos stored.</summary>
    public required int Videos { get; init; }

    /// <summary>Training videos among them.</summary>
    public int TrainVideos { get; init; }

    /// <summary>Test videos among them.</summary>
    public int TestVideos { get; init; }

    /// <summary>Frames stored.</summary>
    public required long Frames { get; init; }

    /// <summary>Size of the frames in bytes.</summary>
    public required long Bytes { get; init; }

    /// <summary>Class names; empty without labels.</summary>
    public string[] ClassNames { get; init; } = [];

    /// <summary>Videos that were left out.</summary>
    public LeftOutVideo[] LeftOut { get; init; } = [];
}

/// <summary>A video that could not be used.</summary>
/// <param name="Id">The video's id.</param>
/// <param name="Reason">Why.</param>
public sealed record LeftOutVideo(string Id, string Reason);
