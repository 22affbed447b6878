// Why this exists: `coclr report`: a run for people and tools that have neither this program nor a server.
using System.CommandLine;
using CoCLR.Cli.Terminal;
using CoCLR.Core;
using CoCLR.Core.Planning;
using CoCLR.Engine.Exports;
using CoCLR.Runs;

namespace CoCLR.Cli.Commands;

internal static class ReportCommand
{
    public static Command Create()
    {
        var run = new Argument<string>("run") { Description = "A run folder.", HelpName = "RUN" };
        var output = new Option<string>("--output", "-o") { Description = "Folder to write to.", Required = true, HelpName = "DIR" };
        var formats = new Option<string[]>("--format")
        {
            Description = "html: pages with results, curves and playing galleries that open from a disk; tensorboard: event files; "
                + "parquet: all points. May be given again.",
            DefaultValueFactory = _ => ["html"],
            HelpName = "html|tensorboard|parquet",
        };
        formats.AcceptOnlyFromAmong("html", "tensorboard", "parquet");
        var command = new Command(
            "report",
            "Writes a run for other people and tools.\n\nExample:\n  coclr report coclr-runs/first-1a2b3c4d -o first\n  coclr report "
                + "coclr-runs/first-1a2b3c4d -o logs --format tensorboard") { run, output, formats };
        command.SetAction(async (parsed, _) =>
        {
            using var signals = new StopSignals();
            var folder = new RunFolder(parsed.GetValue(run)!);
            StagePlan plan = RunFolder.ReadPlan(folder.PlanFile);
            string target = Path.GetFullPath(parsed.GetValue(output)!);
            foreach (string format in parsed.GetValue(formats)!.Distinct())
            {
                switch (format)
                {
                    case "tensorboard":
                        PointFiles.WriteTensorBoard(
                            folder, RunPoints.Newest(RunPoints.Read(folder)), Path.Combine(target, plan.Run), signals.Token);
                        Say.Note($"{target}: tensorboard --logdir {target}");
                        break;
                    case "parquet":
                        string file = Path.Combine(target, plan.Run + ".parquet");
                        await PointFiles.WriteParquetAsync(plan.Run, RunPoints.Read(folder), file, signals.Token).ConfigureAwait(false);
                        Say.Note(file);
                        break;
                    default:
                        Say.Note($"open {FolderReport.Write(folder, target)}");
                        break;
                }
            }

            return ExitCodes.Done;
        });
        return command;
    }
}
