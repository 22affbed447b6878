// Why this exists: every stage makes the encoder of an experiment, and finds it in another stage's checkpoint, in the same way.
using CoCLR.Core.Manifests;
using CoCLR.Core.Planning;
using CoCLR.Engine.Models;
using static TorchSharp.torch;

namespace CoCLR.Engine.Training;

/// <summary>Makes the encoders of an experiment.</summary>
internal static class EncoderFactory
{
    /// <summary>An encoder with fresh weights; the two views of one seed get different ones.</summary>
    public static VideoEncoder Create(ExperimentSpec spec, View view, Device device) =>
        VideoEncoder.Create(
            spec.Model.Backbone.ToString(),
            spec.Model.ProjectionSize,
            (2L * spec.Seed) + (view == View.Flow ? 1 : 0),
            device,
            Decimals.Parse(spec.Model.Width));

    /// <summary>Where the encoder of a view lies in the checkpoint of a training stage.</summary>
    public static string PrefixIn(Stage stage, View view) => stage.Joint ? $"{view.Name()}.encoder." : "encoder.";
}
