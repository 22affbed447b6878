// Why this exists: what decoding and optical flow left behind, so that later stages find the store and people see what was left out.
namespace CoCLR.Core.Results;

/// <summary>A finished clip store: decoded frames or optical flow.</summary>
public sealed record DataResult : Outcome
{
    /// <summary>Folder of the store, relative to the cache folder.</summary>
    public required string Store { get; init; }

    /// <summary>SHA-256 over the id, class, group, split and length of every video, wherever they lie.</summary>
    public string? Fingerprint { get; init; }

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

    /// <summary>What moves in a sample of the videos, in the unit of the stored flow; null for frames.</summary>
    public MotionResult? Motion { get; init; }

    /// <summary>Videos that are kept although a part of them could not be decoded.</summary>
    public LeftOutVideo[] Damaged { get; init; } = [];

    /// <summary>What flatters every measure on this split, such as videos on both of its sides.</summary>
    public string[] Warnings { get; init; } = [];

    /// <summary>Videos that were left out.</summary>
    public LeftOutVideo[] LeftOut { get; init; } = [];
}

/// <summary>The displacements |u| and |v| between neighbouring frames of a sample of videos, in pixels of a frame of 240 lines.</summary>
public sealed record MotionResult
{
    /// <summary>Largest displacement that is stored.</summary>
    public required double Bound { get; init; }

    /// <summary>True when the bound is the sample's 99.5th percentile; false when the manifest gives it.</summary>
    public bool BoundIsMeasured { get; init; }

    /// <summary>Videos of the sample.</summary>
    public required int Videos { get; init; }

    /// <summary>Median.</summary>
    public required double Median { get; init; }

    /// <summary>90th percentile.</summary>
    public required double Percentile90 { get; init; }

    /// <summary>99th percentile.</summary>
    public required double Percentile99 { get; init; }

    /// <summary>99.5th percentile.</summary>
    public required double Percentile995 { get; init; }

    /// <summary>Share of displacements beyond the bound, which are clipped.</summary>
    public required double Clipped { get; init; }

    /// <summary>Share of displacements that are not zero but stored as none.</summary>
    public required double RoundedToZero { get; init; }

    /// <summary>The distribution in one sentence.</summary>
    public override string ToString() => string.Create(
        System.Globalization.CultureInfo.InvariantCulture,
        $"motion of {Videos} videos, in pixels of a 240-line frame: median {Median:0.00}, 90 % {Percentile90:0.00}, 99 % "
            + $"{Percentile99:0.00}; bound {Bound:0.##} ({(BoundIsMeasured ? "99.5th percentile" : "as given")}): {Clipped:0.0 %} clipped, "
                + $"{RoundedToZero:0.0 %} rounded to zero");
}

/// <summary>A video that could not be used, or not wholly.</summary>
/// <param name="Id">The video's id.</param>
/// <param name="Reason">Why.</param>
public sealed record LeftOutVideo(string Id, string Reason);
