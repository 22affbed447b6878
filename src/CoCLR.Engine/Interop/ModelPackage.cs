// Why this exists: a checkpoint is for resuming; what other people use is a folder that says what the network is, what it looks at, how good it is
// and whose it is, and that opens without this program.
using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using CoCLR.Core;
using CoCLR.Core.Manifests;
using CoCLR.Core.Planning;
using CoCLR.Core.Results;
using CoCLR.Engine.Interop.Onnx;
using CoCLR.Engine.Models;
using CoCLR.Engine.Training;
using CoCLR.Engine.Video.Augmentation;
using CoCLR.Runs;
using TorchSharp;

namespace CoCLR.Engine.Interop;

/// <summary>What a person says of a package besides what the run says.</summary>
public sealed record PackageOptions
{
    /// <summary>rgb or flow: which encoder of a checkpoint with both.</summary>
    public string View { get; init; } = "rgb";

    /// <summary>Licence of the weights, an SPDX identifier or words; null where nobody has said.</summary>
    public string? License { get; init; }

    /// <summary>Licence or terms of the training videos; null where nobody has said.</summary>
    public string? DataLicense { get; init; }
}

/// <summary><c>config.json</c> of a package.</summary>
public sealed record PackageConfig
{
    /// <summary>Version of this record.</summary>
    public int Format { get; init; } = 1;

    /// <summary>Name of the package: run, stage and view.</summary>
    public required string Name { get; init; }

    /// <summary>The network, one of <see cref="BackboneFactory.Names"/>.</summary>
    public required string Architecture { get; init; }

    /// <summary>Factor on the channel counts of S3DMini.</summary>
    public required double Width { get; init; }

    /// <summary>Length of a feature.</summary>
    public required int FeatureSize { get; init; }

    /// <summary>Length of an embedding.</summary>
    public required int ProjectionSize { get; init; }

    /// <summary>What the network looks at.</summary>
    public required InputDescription Input { get; init; }

    /// <summary>Mean of the pixel values in [0, 1], by channel.</summary>
    public float[] PixelMean { get; init; } = Normalization.Mean;

    /// <summary>Standard deviation of the same.</summary>
    public float[] PixelDeviation { get; init; } = Normalization.StandardDeviation;

    /// <summary>The stage that trained it.</summary>
    public required string Stage { get; init; }

    /// <summary>Epochs of that stage.</summary>
    public required int Epoch { get; init; }

    /// <summary>Licence of the weights.</summary>
    public string? License { get; init; }

    /// <summary>Licence or terms of the training videos.</summary>
    public string? DataLicense { get; init; }

    /// <summary>The manifest's spec, where the run is known.</summary>
    public ExperimentSpec? Spec { get; init; }

    /// <summary>SHA-256 of the fields of the spec that decide the result.</summary>
    public string? SpecHash { get; init; }
}

/// <summary>Writes packages: <c>model.safetensors</c>, <c>model.onnx</c>, <c>config.json</c>, <c>README.md</c>, <c>SHA256SUMS</c>.</summary>
public static class ModelPackage
{
    /// <summary>The weights; <c>coclr embed</c> takes them as a checkpoint.</summary>
    public const string WeightsName = "model.safetensors";

    /// <summary>The network as a graph.</summary>
    public const string OnnxName = "model.onnx";

    /// <summary>Writes a package.</summary>
    /// <param name="checkpoint">A data file or the folder of a training stage; in a run folder, its manifest and report go into the package.</param>
    /// <param name="folder">Where to; made when missing.</param>
    /// <param name="options">What the run does not say.</param>
    /// <returns>The description that was written.</returns>
    /// <exception cref="UserErrorException">The checkpoint is missing (66) or damaged (65), or does not say what it looks at (65).</exception>
    public static PackageConfig Write(string checkpoint, string folder, PackageOptions options)
    {
        ArgumentNullException.ThrowIfNull(options);
        TorchRuntime.Initialize();
        using Checkpoint loaded = CheckpointStore.Load(checkpoint);
        InputDescription input = InputDescription.From(loaded.Info) ?? throw new UserErrorException(
            $"{checkpoint} does not say what it looks at (an imported checkpoint): import it with --view, --frames and --size first.", ExitCodes.BadData);
        string view = input.View == "both" ? options.View : input.View;
        using VideoEncoder encoder = VideoEncoder.Create(loaded.Info.Architecture, loaded.Info.ProjectionSize, width: loaded.Info.Width);
        loaded.CopyTo(encoder, input.View == "both" ? $"{view}.encoder." : "encoder.", checkpoint);
        encoder.eval();
        (StagePlan? plan, RunReport? report) = RunOf(checkpoint);
        var config = new PackageConfig
        {
            Name = $"{plan?.Run ?? "model"}-{loaded.Info.Stage}{(input.View == "both" ? "-" + view : "")}",
            Architecture = loaded.Info.Architecture,
            Width = loaded.Info.Width,
            FeatureSize = encoder.Backbone.FeatureSize,
            ProjectionSize = loaded.Info.ProjectionSize,
            Input = input with { View = view },
            Stage = loaded.Info.Stage,
            Epoch = loaded.Info.Epoch,
            License = options.License,
            DataLicense = options.DataLicense,
            Spec = plan?.Spec,
            SpecHash = plan?.SpecHash,
        };
        WriteWeights(encoder, loaded.Info, view, Path.Combine(folder, WeightsName));
        WholeFile.Write(Path.Combine(folder, OnnxName), stream => OnnxExport.Write(stream, encoder, new Dictionary<string, string> { ["config"] = JsonSerializer.Serialize(config, CoclrJson.Compact) }));
        WholeFile.WriteText(Path.Combine(folder, "config.json"), JsonSerializer.Serialize(config, CoclrJson.Indented) + "\n");
        WholeFile.WriteText(Path.Combine(folder, "README.md"), ModelCard.Write(config, report));
        string[] files = ["README.md", "config.json", OnnxName, WeightsName];
        WholeFile.WriteText(Path.Combine(folder, "SHA256SUMS"), string.Concat(files.Select(file => $"{Hash(Path.Combine(folder, file))}  {file}\n")));
        return config;
    }

    private static void WriteWeights(VideoEncoder encoder, CheckpointInfo info, string view, string file)
    {
        // A checkpoint without the state of a training: under the names of a checkpoint with one encoder.
        string scratch = Directory.CreateTempSubdirectory("coclr-package-").FullName;
        try
        {
            var texts = new Dictionary<string, string>(info.Texts) { [InputDescription.ViewKey] = view };
            CheckpointInfo plain = info with { Scalars = new Dictionary<string, double>(), Texts = texts };
            CheckpointInfo written = new CheckpointStore(scratch).Save(plain, ModuleState.Of(encoder, "encoder."));
            WholeFile.Write(file, stream =>
            {
                using FileStream source = File.OpenRead(Path.Combine(scratch, written.File));
                source.CopyTo(stream);
            });
        }
        finally
        {
            Directory.Delete(scratch, recursive: true);
        }
    }

    /// <summary>The run that a checkpoint lies in: RUN/stages/NAME.</summary>
    private static (StagePlan? Plan, RunReport? Report) RunOf(string checkpoint)
    {
        string stage = Path.GetFullPath(Directory.Exists(checkpoint) ? checkpoint : Path.GetDirectoryName(Path.GetFullPath(checkpoint))!);
        if (Path.GetDirectoryName(Path.GetDirectoryName(Path.TrimEndingDirectorySeparator(stage))) is not { } root)
        {
            return (null, null);
        }

        var folder = new RunFolder(root);
        return (File.Exists(folder.PlanFile) ? RunFolder.ReadPlan(folder.PlanFile) : null, File.Exists(folder.ReportFile) ? folder.ReadReport() : null);
    }

    private static string Hash(string file)
    {
        using FileStream stream = File.OpenRead(file);
        return Convert.ToHexStringLower(SHA256.HashData(stream));
    }
}

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
        text.Append($"""

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

    private static string List(float[] values) => $"[{string.Join(", ", values.Select(v => v.ToString("R", CultureInfo.InvariantCulture)))}]";

    private static string Method(PackageConfig config) => config.Spec == null ? "without labels" : $"by {(config.Spec.Training.Method == Core.Manifests.Method.Cmc ? "CMC" : config.Spec.Training.Method)}";

    private static string Ordinal(int stride) => stride switch { 1 => "single", 2 => "second", 3 => "third", _ => $"{stride}th" };

    private static string View(PackageConfig config) => config.Input.View == "flow"
        ? $"optical flow ({config.Input.FlowAlgorithm}, clipped at {config.Input.FlowBound} pixels) as an image: red 128, green vertical, blue horizontal"
        : "RGB";
}
