// Why this exists: training, validation and test are kept apart from the catalogue to the last table.
using System.Text.Json.Serialization;

namespace CoCLR.Engine.Video.Catalogue;

/// <summary>Which part of the data set a video belongs to.</summary>
[JsonConverter(typeof(JsonStringEnumConverter<VideoSplit>))]
public enum VideoSplit
{
    /// <summary>No split is known (videos without lists).</summary>
    None,

    /// <summary>Training.</summary>
    Train,

    /// <summary>Held out from training to pick settings.</summary>
    Validation,

    /// <summary>Test.</summary>
    Test,
}
