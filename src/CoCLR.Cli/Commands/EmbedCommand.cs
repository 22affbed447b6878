// Why this exists: `coclr embed`: features of any videos with a trained checkpoint.
using System.CommandLine;
using CoCLR.Cli.Terminal;
using CoCLR.Core;
using CoCLR.Core.Manifests;
using CoCLR.Core.Manifests.Schema;
using CoCLR.Engine.Evaluation;
using CoCLR.Engine.Features;
using CoCLR.Engine.Stages;
using CoCLR.Engine.Training;
using CoCLR.Engine.Video.Catalogue;
using CoCLR.Engine.Video.Decoding;
using CoCLR.Engine.Video.Store;
using CoCLR.Runs;

namespace CoCLR.Cli.Commands;

internal static class EmbedCommand
{
    public static Command Create()
    {
        var videos = new Argument<string>("videos") { Description = "Folder of videos.", HelpName = "DIR" };
        Option<string> checkpoint = Checkpoint();
        var output = new Option<string>("--output", "-o") { Description = "Folder of the collection.", Required = true, HelpName = "DIR" };
        var formats = new Option<string[]>("--format")
        {
            Description = "Also writes features.csv or features.parquet; may be given again.", HelpName = "csv|parquet"
        };
        formats.AcceptOnlyFromAmong("csv", "parquet");
        Option<string> view = ExchangeCommands.View();
        (Option<int> frames, Option<int> size) = InputOptions();
        Option<string> device = Device();
        Option<string?> cache = Cache();
        Option<bool> json = Options.Json();
        var command = new Command("embed", "Features of any videos with a trained checkpoint: features.npy and index.json, which coclr "
            + "search reads.\n\nExample:\n  coclr embed ~/videos -c coclr-runs/first-1a2b3c4d/stages/cycle-2-rgb -o collection")
        {
            videos, checkpoint, output, formats, view, frames, size, device, cache, json
        };
        command.SetAction(async (parsed, _) =>
        {
            using var signals = new StopSignals();
            Options.RequireInRange("--frames", parsed.GetValue(frames), SchemaModel.For(typeof(ClipSpec)).Field("frames")!.Node);
            Options.RequireInRange("--size", parsed.GetValue(size), SchemaModel.For(typeof(ClipSpec)).Field("size")!.Node);
            using VideoEmbedder embedder = VideoEmbedder.Load(
                parsed.GetValue(checkpoint)!, parsed.GetValue(view)!, Input(parsed, view, frames, size), parsed.GetValue(device)!);
            if (embedder.InputIsAssumed)
            {
                Say.Note($"the checkpoint does not say what it looks at; taken: --view {embedder.Input.View} --frames "
                    + $"{embedder.Input.Frames} --size {embedder.Input.Size}");
            }

            VideoCatalogue catalogue = VideoCatalogue.Open(new CatalogueOptions { Root = parsed.GetValue(videos)!, TestFraction = 0 });
            (FeatureSet features, IReadOnlyList<RejectedVideo> leftOut) =
                embedder.Embed(catalogue, CacheFolder(parsed.GetValue(cache)), PhaseLines.Tell, signals.Token);
            foreach (RejectedVideo video in leftOut)
            {
                Say.Error($"left out {video.Id}: {video.Reason}");
            }

            string folder = parsed.GetValue(output)!;
            using var collection =
                new EmbeddedVideos(features, [.. features.Ids.Select(id => Path.Combine(catalogue.Root, id))], embedder.Model);
            collection.Save(folder);
            string[] chosen = parsed.GetValue(formats) ?? [];
            if (chosen.Contains("csv"))
            {
                FeatureFiles.WriteCsv(features, Path.Combine(folder, "features.csv"));
            }

            if (chosen.Contains("parquet"))
            {
                await FeatureFiles.WriteParquetAsync(features, Path.Combine(folder, "features.parquet"), signals.Token)
                    .ConfigureAwait(false);
            }

            if (parsed.GetValue(json))
            {
                Say.Json(
                    new
                    {
                        folder = Path.GetFullPath(folder), videos = features.Count, dimension = features.Dimension, leftOut = leftOut.Count,
                        model = embedder.Model
                    });
            }
            else
            {
                Say.Note($"{folder}: {features.Count} videos x {features.Dimension} numbers ({embedder.Model.Architecture}, "
                    + $"{embedder.Model.View})");
            }

            return ExitCodes.Done;
        });
        return command;
    }

    internal static Option<string> Checkpoint() =>
        new("--checkpoint", "-c")
        {
            Description = $"A {RunFolder.CheckpointName}, the folder of a training stage or a model package.", Required = true,
            HelpName = "CHECKPOINT"
        };

    internal static Option<string> Device() =>
        new("--device") { Description = "auto, cpu, cuda or cuda:N.", DefaultValueFactory = _ => "auto" };

    internal static Option<string?> Cache() => new("--cache") { Description = "Folder of decoded videos.", HelpName = "DIR" };

    internal static (Option<int> Frames, Option<int> Size) InputOptions() => (
        new Option<int>("--frames") { Description = "Frames of a clip, for an imported checkpoint.", DefaultValueFactory = _ => 32 },
        new Option<int>("--size")
        {
            Description = "Side of the crop in pixels, for an imported checkpoint.", DefaultValueFactory = _ => 128
        });

    internal static InputDescription Input(ParseResult parsed, Option<string> view, Option<int> frames, Option<int> size) => new(
        parsed.GetValue(view)!, parsed.GetValue(frames), 1, parsed.GetValue(size), DecodeSettings.ShortSideFor(parsed.GetValue(size)), null,
        FlowAlgorithm.TvL1, 20);

    internal static string CacheFolder(string? given) => given ?? new Workspace(Workspace.Default).Cache;
}
