// Why this exists: who finds a package should see what the network is, how good it is and how to use it, without asking anybody.
using System.Globalization;
using System.Text;
using CoCLR.Core.Results;

namespace CoCLR.Engine.Packaging;

/// <summary>README.md of a package, in the form that model hubs read.</summary>
internal static class ModelCard
{
    /// <summary>The card.</summary>
    public static string Write(PackageConfig config, RunReport? report)
    {
        var text = new StringBuilder();
        text.Append(CultureInfo.InvariantCulture, $"""
            ---
            license: {config.License ?? "unknown"}
            library_name: coclr
            pipeline_tag: feature-extraction
            tags: [video, self-supervised, {config.Architecture}, {config.Input.View}]
            ---

            # {config.Name}

            A video encoder ({config.Architecture}{(config.Architecture == "S3DMini" ? $", width {config.Width}" : "")}) trained {Method(config)} on {(config.Input.View == "flow" ? "optical flow" : "RGB")}, with CoCLR.Platform.
            It turns a clip into a feature of {config.FeatureSize} numbers, for probes and retrieval, and an embedding of {config.ProjectionSize} numbers of length 1.

            | | |
            | --- | --- |
            | input | {config.Input.Frames} frames, every {Ordinal(config.Input.Stride)} one, centre crop {config.Input.Size} x {config.Input.Size} of frames whose short side is {config.Input.StoredSize} |
            | view | {View(config)} |
            | trained by | {config.Stage}, {config.Epoch} epochs |
            | data | {report?.DataSet ?? "not known here"}{(report?.Split is { } split ? $", {split}" : "")} |
            | licence of the weights | {config.License ?? "not stated"} |
            | licence of the training videos | {config.DataLicense ?? "not stated: see the data set's own terms before you use the weights"} |
            | manifest | {config.SpecHash ?? "not known here"} |

            ## Results


            """);
        text.Append(report == null ? "The run has no report, so nothing is claimed.\n" : ReportWriter.MarkdownTable(report));
        text.Append(CultureInfo.InvariantCulture, $"""

            ## Use

            `coclr embed VIDEOS -c THIS_FOLDER -o collection` does all of it: decoding, sliding clips, averaging. Without it, `model.onnx` opens in any language.
            Pixels are scaled to [0, 1] and normalised by channel; the order is batch, channel, frame, row, column.

            Python (`pip install onnxruntime numpy`):

            ```python
            {Python(config)}
            ```

            C# (`dotnet add package Microsoft.ML.OnnxRuntime`):

            ```csharp
            {CSharp(config)}
            ```

            ## Files

            `model.safetensors` (weights), `model.onnx` (the same as a graph; any batch size), `config.json` (what is said here, for programs), `SHA256SUMS` (`sha256sum -c SHA256SUMS`).

            """);
        return text.ToString();
    }

    private static string Python(PackageConfig config) => $"""
        import numpy as np, onnxruntime
        session = onnxruntime.InferenceSession("model.onnx")
        frames = np.zeros(({config.Input.Frames}, {config.Input.Size}, {config.Input.Size}, 3), np.uint8)  # your clip: RGB frames
        pixels = (frames / 255.0 - {List(config.PixelMean)}) / {List(config.PixelDeviation)}
        clips = pixels.transpose(3, 0, 1, 2)[None].astype(np.float32)
        features, embedding = session.run(["features", "embedding"], {"{"}"clips": clips{"}"})
        print(features.shape, embedding.shape)
        """.ReplaceLineEndings("\n");

    private static string CSharp(PackageConfig config) => $"""
        using Microsoft.ML.OnnxRuntime;
        using Microsoft.ML.OnnxRuntime.Tensors;
        using var session = new InferenceSession("model.onnx");
        var clips = new DenseTensor<float>(new[] {"{"} 1, 3, {config.Input.Frames}, {config.Input.Size}, {config.Input.Size} {"}"}); // your clip, normalised
        using var results = session.Run([NamedOnnxValue.CreateFromTensor("clips", clips)]);
        float[] features = results.First(r => r.Name == "features").AsEnumerable<float>().ToArray();
        Console.WriteLine(features.Length);
        """.ReplaceLineEndings("\n");

    private static string List(float[] values) =>
        $"[{string.Join(", ", values.Select(v => v.ToString("R", CultureInfo.InvariantCulture)))}]";

    private static string Method(PackageConfig config) => config.Spec == null
        ? "without labels"
        : $"by {(config.Spec.Training.Method == Core.Manifests.Method.Cmc ? "CMC" : config.Spec.Training.Method)}";

    private static string Ordinal(int stride) => stride switch { 1 => "single", 2 => "second", 3 => "third", _ => $"{stride}th" };

    private static string View(PackageConfig config) => config.Input.View == "flow"
        ? $"optical flow ({config.Input.FlowAlgorithm}, clipped at {config.Input.FlowBound} pixels) as an image: red 128, green vertical, "
            + $"blue horizontal"
        : "RGB";
}
