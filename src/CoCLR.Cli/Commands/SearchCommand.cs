// Why this exists: `coclr search`: the nearest videos of a collection to a query video.
using System.CommandLine;
using System.Globalization;
using CoCLR.Cli.Terminal;
using CoCLR.Core;
using CoCLR.Engine.Evaluation;
using CoCLR.Engine.Features;
using CoCLR.Engine.Stages;
using CoCLR.Engine.Video.Catalogue;
using CoCLR.Runs;
using Spectre.Console;

namespace CoCLR.Cli.Commands;

internal static class SearchCommand
{
    public static Command Create()
    {
        var collection = new Argument<string>("collection") { Description = "Folder that coclr embed wrote.", HelpName = "DIR" };
        var query = new Argument<string>("query") { Description = "A video file.", HelpName = "VIDEO" };
        var checkpoint = new Option<string?>("--checkpoint", "-c")
        {
            Description = "The checkpoint of the collection, when it has been moved.", HelpName = "CHECKPOINT"
        };
        var top = new Option<int>("--top", "-k") { Description = "Neighbours.", DefaultValueFactory = _ => 10 };
        Option<string> device = EmbedCommand.Device();
        Option<bool> json = Options.Json();
        var command =
            new Command("search", "Nearest videos of a collection to a query video.\n\nExample:\n  coclr search collection query.mp4 -k 5")
        {
            collection, query, checkpoint, top, device, json
        };
        command.SetAction(parsed =>
        {
            string file = Path.GetFullPath(parsed.GetValue(query)!);
            if (!File.Exists(file))
            {
                throw new UserErrorException($"{file} does not exist: give a video file.", ExitCodes.MissingInput);
            }

            int k = parsed.GetValue(top);
            if (k < 1)
            {
                throw new UserErrorException("--top: give at least 1.", ExitCodes.Usage);
            }

            using var signals = new StopSignals();
            using EmbeddedVideos videos = EmbeddedVideos.Open(parsed.GetValue(collection)!);
            using VideoEmbedder embedder = VideoEmbedder.Load(
                parsed.GetValue(checkpoint) ?? videos.Model.Checkpoint, videos.Model.View, videos.Model.Input(), parsed.GetValue(device)!);
            videos.RequireCheckpoint(embedder.Model.CheckpointSha256);

            // The query gets a folder of its own: a catalogue is read from a folder, and nothing beside the file is looked at.
            string folder = Directory.CreateTempSubdirectory("coclr-search-").FullName;
            try
            {
                string name = Path.GetFileName(file) + (VideoCatalogue.IsVideoName(file) ? "" : ".mp4");
                File.CreateSymbolicLink(Path.Combine(folder, name), file);
                (FeatureSet features, _) = embedder.Embed(
                    VideoCatalogue.Open(new CatalogueOptions { Root = folder, TestFraction = 0 }),
                    Path.Combine(folder, Workspace.CacheName),
                    (_, _, _) => { },
                    signals.Token);
                IReadOnlyList<CollectionHit> hits = videos.Search(features[0].ToArray(), k);
                if (parsed.GetValue(json))
                {
                    Say.Json(hits);
                }
                else
                {
                    Show(hits);
                }
            }
            finally
            {
                Directory.Delete(folder, recursive: true);
            }

            return ExitCodes.Done;
        });
        return command;
    }

    private static void Show(IReadOnlyList<CollectionHit> hits)
    {
        var table = new Table().Border(Say.Interactive ? TableBorder.Rounded : TableBorder.Ascii)
            .AddColumns("rank", "distance", "class", "video");
        foreach (CollectionHit hit in hits)
        {
            table.AddRow(
                hit.Rank.ToString(CultureInfo.InvariantCulture),
                hit.Distance.ToString("0.0000", CultureInfo.InvariantCulture),
                Markup.Escape(hit.Class ?? "-"),
                Markup.Escape(hit.Id));
        }

        if (!Say.Interactive)
        {
            AnsiConsole.Profile.Width = 200;
        }

        AnsiConsole.Write(table);
    }
}
