// Why this exists: a checkpoint says what its encoder looks at, so that `coclr embed` can show it any video in the same way.
using System.Globalization;
using CoCLR.Core.Manifests;
using CoCLR.Core.Planning;
using CoCLR.Core.Results;
using CoCLR.Engine.Context;
using CoCLR.Engine.Flow;
using CoCLR.Engine.Video.Decoding;

namespace CoCLR.Engine.Training;

/// <summary>What an encoder looks at.</summary>
/// <param name="View">rgb, flow, or both for a checkpoint with two encoders.</param>
/// <param name="Frames">Frames of a clip.</param>
/// <param name="Stride">Distance of neighbouring frames.</param>
/// <param name="Size">Side of the crop in pixels.</param>
/// <param name="StoredSize">Short side of the stored frames in pixels.</param>
/// <param name="FrameRate">Frames per second; the video's own when null.</param>
/// <param name="FlowAlgorithm">How flow is computed.</param>
/// <param name="FlowBound">Largest displacement in pixels.</param>
/// <param name="FlowSize">Short side at most of the frames that flow is computed on; 0: the stored frames, whose pixels are the unit
/// then.</param>
/// <param name="FlowCenter">Whether the median displacement of each frame is subtracted.</param>
public sealed record InputDescription(
    string View, int Frames, int Stride, int Size, int StoredSize, int? FrameRate, FlowAlgorithm FlowAlgorithm, double FlowBound,
    int FlowSize = FlowOptions.UnitLines, bool FlowCenter = false)
{
    /// <summary>Name of the view among a checkpoint's texts.</summary>
    internal const string ViewKey = Prefix + "view";

    private const string Prefix = "input.";

    /// <summary>Reads it from a checkpoint.</summary>
    /// <param name="info">The checkpoint's description.</param>
    /// <returns>Null when the checkpoint does not say (an imported one).</returns>
    public static InputDescription? From(CheckpointInfo info)
    {
        ArgumentNullException.ThrowIfNull(info);
        IReadOnlyDictionary<string, string> texts = info.Texts;
        if (!texts.TryGetValue(ViewKey, out string? view))
        {
            return null;
        }

        int Number(string name) => int.Parse(texts[Prefix + name], CultureInfo.InvariantCulture);
        return new InputDescription(
            view, Number("frames"), Number("stride"), Number("size"), Number("storedSize"),
            texts.ContainsKey(Prefix + "frameRate") ? Number("frameRate") : null,
            Enum.Parse<FlowAlgorithm>(texts[Prefix + "flowAlgorithm"]),
            double.Parse(texts[Prefix + "flowBound"], CultureInfo.InvariantCulture),
            texts.ContainsKey(Prefix + "flowSize") ? Number("flowSize") : 0, // an earlier version's
            texts.GetValueOrDefault(Prefix + "flowCenter") == "true");
    }

    /// <summary>The texts of a checkpoint of a training stage.</summary>
    internal static Dictionary<string, string> Of(StageContext context)
    {
        ExperimentSpec spec = context.Spec;
        var input = new InputDescription(
            context.Stage.Joint ? "both" : context.View.Name(), spec.Clip.Frames, spec.Clip.Stride, spec.Clip.Size,
            spec.Dataset.StoredSize ?? DecodeSettings.ShortSideFor(spec.Clip.Size), spec.Dataset.FrameRate,
            spec.Flow.Algorithm, BoundOf(context), spec.Flow.Size, spec.Flow.Center);
        return new Dictionary<string, string>(input.Texts()) { ["specHash"] = context.Plan.SpecHash };
    }

    /// <summary>The texts by which a checkpoint says it.</summary>
    public Dictionary<string, string> Texts()
    {
        string Text(int number) => number.ToString(CultureInfo.InvariantCulture);
        var texts = new Dictionary<string, string>
        {
            [ViewKey] = View,
            [Prefix + "frames"] = Text(Frames),
            [Prefix + "stride"] = Text(Stride),
            [Prefix + "size"] = Text(Size),
            [Prefix + "storedSize"] = Text(StoredSize),
            [Prefix + "flowAlgorithm"] = FlowAlgorithm.ToString(),
            [Prefix + "flowBound"] = FlowBound.ToString(CultureInfo.InvariantCulture),
            [Prefix + "flowSize"] = Text(FlowSize),
            [Prefix + "flowCenter"] = FlowCenter ? "true" : "false",
        };
        if (FrameRate is { } rate)
        {
            texts[Prefix + "frameRate"] = Text(rate);
        }

        return texts;
    }

    /// <summary>The bound of the run's flow: measured on its videos where the manifest says auto.</summary>
    private static double BoundOf(StageContext context) =>
        context.Folder.HasSucceeded("flow") && context.Folder.ReadResult("flow").Outcome is DataResult { Motion: { } motion }
            ? motion.Bound
            : FlowOptions.From(context.Spec.Flow, reference: true).Bound ?? FlowOptions.PublishedBound;
}
