// Why this exists: a checkpoint is for resuming; what other people use is a folder that says what the network is, what it looks at, how
// good it is and whose it is, and that opens without this program.
using System.Security.Cryptography;
using System.Text.Json;
using CoCLR.Core;
using CoCLR.Core.Manifests;
using CoCLR.Core.Planning;
using CoCLR.Core.Results;
using CoCLR.Engine.Interop;
using CoCLR.Engine.Interop.Onnx;
using CoCLR.Engine.Models;
using CoCLR.Engine.Training;
using CoCLR.Engine.Video.Augmentation;
using CoCLR.Runs;

namespace CoCLR.Engine.Packaging;

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

/// <summary>
/// Writes packages: <c>model.safetensors</c>, <c>model.onnx</c>, <c>config.json</c>, <c>README.md</c>, <c>SHA256SUMS</c>.
/// </summary>
public static class ModelPackage
{
    /// <summary>The weights; <c>coclr embed</c> takes them as a checkpoint.</summary>
    public const string WeightsName = CheckpointStore.PackageWeightsName;

    /// <summary>The network as a graph.</summary>
    public const string OnnxName = "model.onnx";

    /// <summary>Writes a package.</summary>
    /// <param name="checkpoint">A data file or the folder of a training stage; in a run folder, its manifest and report go into the
    /// package.</param>
    /// <param name="folder">Where to; made when missing.</param>
    /// <param name="options">What the run does not say.</param>
    /// <returns>The description that was written.</returns>
    /// <exception cref="UserErrorException">The checkpoint is missing (66) or damaged (65), or does not say what it looks at
    /// (65).</exception>
    public static PackageConfig Write(string checkpoint, string folder, PackageOptions options)
    {
        ArgumentNullException.ThrowIfNull(options);
        TorchRuntime.Initialize();
        using Checkpoint loaded = CheckpointStore.Load(checkpoint);
        InputDescription input = InputDescription.From(loaded.Info) ?? throw new UserErrorException(
            $"{checkpoint} does not say what it looks at (an imported checkpoint): import it with --view, --frames and --size first.",
            ExitCodes.BadData);
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
        WholeFile.Write(
            Path.Combine(folder, OnnxName),
            stream => OnnxExport.Write(
                stream, encoder, new Dictionary<string, string> { ["config"] = JsonSerializer.Serialize(config, CoclrJson.Compact) }));
        WholeFile.WriteText(Path.Combine(folder, "config.json"), JsonSerializer.Serialize(config, CoclrJson.Indented) + "\n");
        WholeFile.WriteText(Path.Combine(folder, "README.md"), ModelCard.Write(config, report));
        string[] files = ["README.md", "config.json", OnnxName, WeightsName];
        WholeFile.WriteText(
            Path.Combine(folder, "SHA256SUMS"), string.Concat(files.Select(file => $"{Hash(Path.Combine(folder, file))}  {file}\n")));
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
        return (
            File.Exists(folder.PlanFile) ? RunFolder.ReadPlan(folder.PlanFile) : null,
            File.Exists(folder.ReportFile) ? folder.ReadReport() : null);
    }

    private static string Hash(string file)
    {
        using FileStream stream = File.OpenRead(file);
        return Convert.ToHexStringLower(SHA256.HashData(stream));
    }
}
