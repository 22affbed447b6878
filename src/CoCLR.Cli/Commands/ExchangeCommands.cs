// Why this exists: `coclr export` and `coclr import`: checkpoints to and from safetensors and PyTorch, under the reference's names.
using System.CommandLine;
using CoCLR.Cli.Terminal;
using CoCLR.Core;
using CoCLR.Core.Manifests;
using CoCLR.Engine;
using CoCLR.Engine.Interop;
using CoCLR.Engine.Interop.Onnx;
using CoCLR.Engine.Models;
using CoCLR.Engine.Packaging;
using CoCLR.Engine.Training;
using CoCLR.Engine.Video.Decoding;
using CoCLR.Runs;
using TorchSharp;

namespace CoCLR.Cli.Commands;

internal static class ExchangeCommands
{
    private const string EncoderPrefix = "encoder.";
    private const string OriginKey = "coclr.origin";

    public static Command CreateExport()
    {
        var checkpoint = new Argument<string>("checkpoint")
        {
            Description = $"A {RunFolder.CheckpointName}, or the folder of a training stage.", HelpName = "CHECKPOINT"
        };
        var output = new Argument<string>("output")
        {
            Description = "File to write: .pth (PyTorch), .safetensors or .onnx; with --package the folder.", HelpName = "FILE"
        };
        var package = new Option<bool>("--package")
        {
            Description = "Writes a folder for other people: weights, ONNX, config.json, a model "
            + "card with the run's results, checksums."
        };
        var license = new Option<string?>("--license")
        {
            Description = "Licence of the weights for the package, such as cc-by-4.0.", HelpName = "ID"
        };
        var dataLicense = new Option<string?>("--data-license")
        {
            Description = "Licence or terms of the training videos for the package.", HelpName = "TEXT"
        };
        var what = new Option<string>("--what")
        {
            Description =
                "backbone: what load_state_dict of an S3D takes; encoder: backbone and head under the reference's encoder_q names.",
            DefaultValueFactory = _ => "backbone"
        };
        what.AcceptOnlyFromAmong("backbone", "encoder");
        Option<string> view = View();
        var command = new Command("export", "Writes the encoder of a checkpoint for PyTorch or as safetensors.\n\nExample:\n  coclr export "
            + "coclr-runs/first-1a2b3c4d/stages/cycle-2-rgb s3d.pth\n  coclr export coclr-runs/first-1a2b3c4d/stages/cycle-2-rgb first-rgb "
                + "--package --license cc-by-4.0")
        {
            checkpoint, output, what, view, package, license, dataLicense,
        };
        command.SetAction(parsed =>
        {
            TorchRuntime.Initialize();
            string file = parsed.GetValue(output)!;
            if (parsed.GetValue(package))
            {
                var options = new PackageOptions
                {
                    View = parsed.GetValue(view)!, License = parsed.GetValue(license), DataLicense = parsed.GetValue(dataLicense)
                };
                PackageConfig config = ModelPackage.Write(parsed.GetValue(checkpoint)!, file, options);
                Say.Note($"{file}: {config.Name} ({config.Architecture}, {config.Input.View}) as model.safetensors, model.onnx, "
                    + $"config.json, README.md, SHA256SUMS");
                return ExitCodes.Done;
            }

            using Checkpoint loaded = CheckpointStore.Load(parsed.GetValue(checkpoint)!);
            IReadOnlyDictionary<string, torch.Tensor> encoder = Encoder(loaded, parsed.GetValue(view)!, parsed.GetValue(checkpoint)!);
            IReadOnlyList<KeyValuePair<string, torch.Tensor>> tensors = parsed.GetValue(what) == "encoder"
                ? ReferenceLayout.FromEncoder(encoder)
                : ReferenceLayout.FromBackbone(
                    encoder.Where(t => t.Key.StartsWith("backbone.", StringComparison.Ordinal))
                        .ToDictionary(t => t.Key["backbone.".Length..], t => t.Value));
            switch (Path.GetExtension(file))
            {
                case ".pth" or ".pt" or ".tar":
                    PyTorchWriter.Write(file, tensors, parsed.GetValue(what) == "encoder" ? "state_dict" : null);
                    break;
                case ".safetensors":
                    Safetensors.Write(file, tensors.DistinctBy(t => t.Key).ToDictionary(t => t.Key, t => t.Value), new Dictionary<string, string>
                    {
                        ["architecture"] = loaded.Info.Architecture,
                        ["source"] = "coclr export",
                        [OriginKey] = loaded.Info.OriginJson(),
                    });
                    break;
                case ".onnx":
                    WriteOnnx(file, loaded.Info, encoder, parsed.GetValue(checkpoint)!);
                    break;
                default:
                    throw new UserErrorException(
                        $"{file}: give a name that ends in .pth, .safetensors or .onnx, or --package for a folder.", ExitCodes.Usage);
            }

            Say.Note($"{file}: {tensors.Count} tensors of {loaded.Info.Architecture} (epoch {loaded.Info.Epoch} of {loaded.Info.Stage})");
            return ExitCodes.Done;
        });
        return command;
    }

    public static Command CreateImport()
    {
        var input = new Argument<string>("input") { Description = "A .pth, .pth.tar or .safetensors file.", HelpName = "FILE" };
        var output = new Argument<string>("output") { Description = "Folder to write the checkpoint to.", HelpName = "DIR" };
        var backbone = new Option<string?>("--backbone")
        {
            Description = "S3D, S3DG, S3DMini or R2Plus1D18; what coclr export wrote says "
            + "it itself, for others S3D."
        };
        var width = new Option<double?>("--width") { Description = "Width of an S3DMini; 0.25 where the file does not say." };
        Option<string> view = View();
        view.Description = "rgb or flow: what the network looks at.";
        var frames = new Option<int?>("--frames")
        {
            Description = "Frames of a clip; with --size the checkpoint says what it looks at, and "
            + "other verbs need not ask."
        };
        var size = new Option<int?>("--size") { Description = "Side of the crop in pixels." };
        var command = new Command(
            "import",
            "Reads a PyTorch or safetensors file (tensors only: nothing in it is executed) into a checkpoint.\n\nExample:\n"
            + "  coclr import CoCLR-ucf101-rgb-128-s3d-ep182.pth.tar imported/rgb --frames 32 --size 128")
            {
                input, output, backbone, width, view, frames, size
            };
        command.SetAction(parsed =>
        {
            TorchRuntime.Initialize();
            string file = parsed.GetValue(input)!;
            (Dictionary<string, torch.Tensor> raw, CheckpointInfo? origin) = ReadForeign(file);
            InputDescription? looks = parsed.GetValue(frames) is { } length && parsed.GetValue(size) is { } side
                ? new InputDescription(
                    parsed.GetValue(view)!, length, 1, side, DecodeSettings.ShortSideFor(side), null, FlowAlgorithm.TvL1, 20) : null;
            IReadOnlyDictionary<string, torch.Tensor> encoder = ReferenceLayout.ToEncoder(raw, file);
            int projection = encoder.TryGetValue("head.2.weight", out torch.Tensor? head) ? (int)head.shape[0] : 128;
            double factor = parsed.GetValue(width) ?? origin?.Width ?? 0.25;
            using VideoEncoder network =
                VideoEncoder.Create(parsed.GetValue(backbone) ?? origin?.Architecture ?? "S3D", projection, 0, width: factor);
            bool hasHead = head is not null;
            ModuleState.Load(
                hasHead ? network : network.Backbone,
                hasHead ? encoder : encoder.ToDictionary(t => t.Key["backbone.".Length..], t => t.Value),
                file);
            var store = new CheckpointStore(parsed.GetValue(output)!);
            store.Save(
                new CheckpointInfo
                {
                    Architecture = network.Backbone.Architecture, Width = factor, ProjectionSize = projection, Stage = "import",
                    Texts = Texts(origin, looks, file)
                },
                ModuleState.Of(network, EncoderPrefix));
            Say.Note($"{parsed.GetValue(output)}: {network.Backbone.Architecture} from {raw.Count} "
                + $"tensors{(hasHead ? "" : "; the file has no projection head, so that of the checkpoint is fresh")}");
            return ExitCodes.Done;
        });
        return command;
    }

    private static void WriteOnnx(string file, CheckpointInfo info, IReadOnlyDictionary<string, torch.Tensor> tensors, string checkpoint)
    {
        using VideoEncoder network = VideoEncoder.Create(info.Architecture, info.ProjectionSize, 0, width: info.Width);
        ModuleState.Load(network, tensors, checkpoint);
        network.eval();
        WholeFile.Write(file, stream => OnnxExport.Write(stream, network));
    }

    private static (Dictionary<string, torch.Tensor> Tensors, CheckpointInfo? Origin) ReadForeign(string file)
    {
        if (Path.GetExtension(file) != ".safetensors")
        {
            return (PyTorchReader.Read(file), null);
        }

        (Dictionary<string, torch.Tensor> tensors, IReadOnlyDictionary<string, string> metadata) = Safetensors.Read(file);
        return (tensors, CheckpointInfo.FromOrigin(metadata.GetValueOrDefault(OriginKey)));
    }

    private static Dictionary<string, string> Texts(CheckpointInfo? origin, InputDescription? looks, string file) =>
        new(looks?.Texts() ?? origin?.Texts ?? new Dictionary<string, string>()) { ["source"] = Path.GetFileName(file) };

    internal static Option<string> View()
    {
        var view = new Option<string>("--view")
        {
            Description = "rgb or flow: which encoder of a checkpoint that holds both.", DefaultValueFactory = _ => "rgb"
        };
        view.AcceptOnlyFromAmong("rgb", "flow");
        return view;
    }

    /// <summary>The encoder's tensors in a checkpoint: its only one, or that of a view when both were trained together.</summary>
    internal static IReadOnlyDictionary<string, torch.Tensor> Encoder(Checkpoint checkpoint, string view, string where)
    {
        IReadOnlyDictionary<string, torch.Tensor> encoder = checkpoint.Under(EncoderPrefix);
        encoder = encoder.Count > 0 ? encoder : checkpoint.Under($"{view}.{EncoderPrefix}");
        return encoder.Count > 0
            ? encoder
            : throw new UserErrorException(
                $"{where} holds no encoder (it is of the stage {checkpoint.Info.Stage}): name the folder of a pretrain or cycle stage.",
                ExitCodes.BadData);
    }
}
