// Why this exists: `coclr data`: make, check, decode and cache data sets without a manifest.
using System.CommandLine;
using System.Globalization;
using CoCLR.Cli.Terminal;
using CoCLR.Core;
using CoCLR.Core.Manifests;
using CoCLR.Core.Manifests.Schema;
using CoCLR.Engine;
using CoCLR.Engine.Flow;
using CoCLR.Engine.Video.Catalogue;
using CoCLR.Engine.Video.Decoding;
using CoCLR.Engine.Video.Store;
using CoCLR.Engine.Video.Synthetic;
using CoCLR.Runs;
using Spectre.Console;

namespace CoCLR.Cli.Commands;

internal static class DataCommand
{
    public static Command Create() => new("data", "Makes, checks, decodes and caches data sets.")
    {
        CreateSynth(),
        CreateScan(),
        CreatePrepare(
            "prepare",
            "Decodes a data set into the store that runs share.\n\nExample:\n  coclr data prepare /data/UCF101 --size 128",
            flow: false),
        CreatePrepare(
            "flow", "Decodes a data set and computes its optical flow.\n\nExample:\n  coclr data flow /data/UCF101 --size 128", flow: true),
    };

    private static Command CreateSynth()
    {
        var folder = new Argument<string>("folder") { Description = "Where to make it.", HelpName = "DIR" };
        SchemaNode schema = SchemaModel.For(typeof(SyntheticSource));
        var options = schema.Fields.ToDictionary(f => f.Name, f => new Option<int>("--" + System.Text.Json.JsonNamingPolicy.KebabCaseLower.ConvertName(f.Name))
        {
            Description = f.Node.Description,
            DefaultValueFactory = _ => (int)f.Default!,
        });
        var command = new Command("synth", "Makes synthetic actions: real video files whose class is defined by motion "
            + "alone.\n\nExample:\n  coclr data synth actions --classes 8 --seed 1") { folder };
        foreach (Option<int> option in options.Values)
        {
            command.Options.Add(option);
        }

        command.SetAction(parsed =>
        {
            using var signals = new StopSignals();
            var json = new System.Text.Json.Nodes.JsonObject(
                options.Select(o => KeyValuePair.Create(o.Key, (System.Text.Json.Nodes.JsonNode?)parsed.GetValue(o.Value))));
            IReadOnlyList<ManifestProblem> problems = SchemaValidator.Check(json, schema, "");
            if (problems.Count > 0)
            {
                throw new UserErrorException(
                    string.Join(
                        "\n",
                        problems.Select(p => $"--{System.Text.Json.JsonNamingPolicy.KebabCaseLower.ConvertName(p.Path)}: {p.Message}")),
                    ExitCodes.Usage);
            }

            SyntheticSource source = System.Text.Json.JsonSerializer.Deserialize<SyntheticSource>(json, CoclrJson.Compact)!;
            SyntheticActions.Create(
                source,
                parsed.GetValue(folder)!,
                ImmediateProgress.To<SyntheticProgress>(p => PhaseLines.Tell("make videos", p.Done, p.Total)),
                signals.Token);
            Say.Note($"{parsed.GetValue(folder)}: {source.Classes} classes, "
                + $"{source.Classes * (source.TrainGroups + source.TestGroups) * source.GroupSize} videos in the layout of UCF101");
            return ExitCodes.Done;
        });
        return command;
    }

    private static Command CreateScan()
    {
        var folder = new Argument<string>("folder") { Description = "Folder of videos.", HelpName = "DIR" };
        (Option<DatasetLayout> layout, Option<int> split) = CatalogueChoice();
        var quick = new Option<bool>("--quick") { Description = "Does not look for videos that are on both sides of the split." };
        Option<bool> json = Options.Json();
        var frames = new Option<int>("--frames")
        {
            Description = "Frames of the clips that are meant to be trained on.", DefaultValueFactory = _ => new ClipSpec().Frames
        };
        var size = new Option<int>("--size") { Description = "Their side in pixels.", DefaultValueFactory = _ => new ClipSpec().Size };
        var command = new Command(
            "scan",
            "Says what a folder of videos holds: classes, splits, broken files, videos on both sides of a split, how much moves, and "
                + "whether clips of a size fit."
            + "\n\nExample:\n  coclr data scan /data/UCF101 --frames 16 --size 64")
        {
            folder, layout, split, frames, size, quick, json,
        };
        command.SetAction(parsed =>
        {
            using var signals = new StopSignals();
            ScanReport report = DataScanner.Scan(
                Catalogue(parsed, folder, layout, split),
                leaks: !parsed.GetValue(quick),
                progress: ImmediateProgress.To<(int Done, int Total)>(p => PhaseLines.Tell("scan", p.Done, p.Total)),
                cancellationToken: signals.Token);
            report = report with { Motion = FlowSurvey.OfFiles(report.Readable, new FlowOptions(), signals.Token) };
            if (parsed.GetValue(json))
            {
                Say.Json(report);
            }
            else
            {
                ShowScan(report);
                ShowClips(report, new ClipSpec { Frames = parsed.GetValue(frames), Size = parsed.GetValue(size) });
            }

            return ExitCodes.Done;
        });
        return command;
    }

    private static Command CreatePrepare(string name, string description, bool flow)
    {
        var folder = new Argument<string>("folder") { Description = "Folder of videos.", HelpName = "DIR" };
        (Option<DatasetLayout> layout, Option<int> split) = CatalogueChoice();
        var size = new Option<int>("--size")
        {
            Description = "Side of the training crop; frames are stored 1.15 times as large.", DefaultValueFactory = _ => 128
        };
        var maxBad = new Option<double>("--max-bad-fraction")
        {
            Description = "Share of broken videos that is left out; more is an error.", DefaultValueFactory = _ => 0.05, HelpName = "0..1"
        };
        var workdir = Options.Workdir();
        var command = new Command(name, description) { folder, layout, split, size, maxBad, workdir };
        command.SetAction(parsed =>
        {
            if (parsed.GetValue(maxBad) is not (>= 0 and <= 1))
            {
                throw new UserErrorException(
                    $"--max-bad-fraction: {parsed.GetValue(maxBad)} is out of range: give 0 to 1.", ExitCodes.Usage);
            }

            Options.RequireInRange("--size", parsed.GetValue(size), SchemaModel.For(typeof(ClipSpec)).Field("size")!.Node);

            using var signals = new StopSignals();
            VideoCatalogue catalogue = VideoCatalogue.Open(Catalogue(parsed, folder, layout, split));
            string cache = new Workspace(parsed.GetValue(workdir)!).Cache;
            using ClipStore frames = ClipDecoder.Prepare(
                catalogue,
                new DecodeSettings
                {
                    ShortSide = DecodeSettings.ShortSideFor(parsed.GetValue(size)), MaxBadFraction = parsed.GetValue(maxBad)
                },
                cache,
                ImmediateProgress.To<DecodeProgress>(p => PhaseLines.Tell("decode", p.Done, p.Total)),
                signals.Token);
            Tell("frames", frames);
            if (flow)
            {
                using ClipStore motion = FlowStoreBuilder.Prepare(
                    frames,
                    new FlowOptions(),
                    cache,
                    TorchRuntime.Select(),
                    progress: ImmediateProgress.To<FlowProgress>(p => PhaseLines.Tell("flow", p.Pairs, p.Pairs + p.RemainingPairs)),
                    cancellationToken: signals.Token,
                    files: catalogue.Videos.ToDictionary(v => v.Id, v => v.Path),
                    tell: Say.Note);
                Tell("flow", motion);
                Say.Note($"{FlowStoreBuilder.Survey(motion)}");
            }

            return ExitCodes.Done;
        });
        return command;

        static void Tell(string what, ClipStore store)
        {
            Say.Note(
                string.Create(
                    CultureInfo.InvariantCulture,
                    $"{what}: {store.Count} videos, {store.TotalFrames} frames, {store.TotalBytes / 1e6:0.0} MB in {store.Folder}"));
            foreach (RejectedVideo video in store.Header.Rejected)
            {
                Say.Error($"left out {video.Id}: {video.Reason}");
            }

            foreach (ClipStoreVideo video in store.Videos.Where(v => v.Damage != null))
            {
                Say.Error($"kept in part {video.Id}: {video.Damage}");
            }
        }
    }

    private static CatalogueOptions Catalogue(ParseResult parsed, Argument<string> folder, Option<DatasetLayout> layout, Option<int> split)
    {
        Options.RequireInRange("--split", parsed.GetValue(split), SchemaModel.For(typeof(DatasetSpec)).Field("split")!.Node);
        return new CatalogueOptions { Root = parsed.GetValue(folder)!, Layout = parsed.GetValue(layout), Split = parsed.GetValue(split) };
    }

    private static (Option<DatasetLayout> Layout, Option<int> Split) CatalogueChoice() => (
        new Option<DatasetLayout>("--layout")
        {
            Description = "Auto, ClassFolders, Ucf101, Hmdb51, Kinetics or Manifest.", DefaultValueFactory = _ => DatasetLayout.Auto
        },
        new Option<int>("--split") { Description = "Number of the split.", DefaultValueFactory = _ => 1 });

    // What a training with such clips should know.
    private static void ShowClips(ScanReport report, ClipSpec clip)
    {
        if (report.Motion is { } motion)
        {
            Console.WriteLine(motion);
        }

        if (report.Frames is { } frames && frames.Min < clip.Frames)
        {
            Console.WriteLine(
                string.Create(
                    CultureInfo.InvariantCulture,
                    $"clips of {clip.Frames} frames: the shortest video has {frames.Min:0}; shorter videos are padded with their first "
                        + $"frame, and those of {(clip.Frames / 2) + 1} or fewer left out of training"));
        }

        foreach (ManifestProblem warning in ClipShape.Warnings(new ExperimentSpec { Clip = clip }))
        {
            Console.WriteLine($"warning: {warning.Message}");
        }
    }

    private static void ShowScan(ScanReport report)
    {
        Console.WriteLine($"{report.Root}: {report.Videos} videos, layout {report.Layout}, {report.Groups} source groups, "
            + $"{report.Bytes / 1e6:0.0} MB, {TimeSpan.FromSeconds(Math.Round(report.Seconds)):g}");
        if (report.Classes.Count > 0)
        {
            var table = new Table().Border(Say.Interactive ? TableBorder.Rounded : TableBorder.Ascii)
                .AddColumns("class", "train", "validation", "test", "groups");
            foreach (ScannedClass c in report.Classes)
            {
                table.AddRow(
                    [
                        Markup.Escape(c.Name),
                        .. new[] { c.Train, c.Validation, c.Test, c.Groups }.Select(n => n.ToString(CultureInfo.InvariantCulture))
                    ]);
            }

            AnsiConsole.Write(table);
        }

        if (report.Frames is { } frames)
        {
            Console.WriteLine(
                string.Create(CultureInfo.InvariantCulture, $"frames per video: {frames.Min:0} to {frames.Max:0}, mean {frames.Mean:0}"));
        }

        foreach (RejectedVideo video in report.Broken)
        {
            Console.WriteLine($"broken: {MessageText.OneLine(video.Id, 200)}: {video.Reason}");
        }

        foreach (string warning in report.Warnings)
        {
            Console.WriteLine($"careful: {warning}");
        }

        foreach (LeakedPair pair in report.Leaks.Take(20))
        {
            Console.WriteLine($"  {(pair.Identical ? "same bytes" : "nearly alike")}: {MessageText.OneLine(pair.Test, 200)} (test) and "
                + $"{MessageText.OneLine(pair.Train, 200)} (training)");
        }

        foreach (string note in report.Notes)
        {
            Console.WriteLine($"note: {note}");
        }
    }
}
