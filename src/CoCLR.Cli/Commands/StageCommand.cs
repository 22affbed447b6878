// Why this exists: `coclr stage`: what Jobs and child processes run.
using System.CommandLine;
using CoCLR.Cli.Hosting;
using CoCLR.Cli.Terminal;
using CoCLR.Engine.Stages;
using CoCLR.Runs;

namespace CoCLR.Cli.Commands;

internal static class StageCommand
{
    public static Command Create()
    {
        var plan = new Option<string>("--plan") { Description = $"The {RunFolder.PlanName} of the run.", Required = true, HelpName = "FILE" };
        var stage = new Option<string>("--stage") { Description = "Name of the stage.", Required = true, HelpName = "NAME" };
        var runDir = new Option<string?>("--run-dir") { Description = "Run folder; COCLR_RUN_DIR or the folder of the plan when absent.", HelpName = "DIR" };
        var cache = new Option<string?>("--cache") { Description = "Folder of the shared stores; COCLR_CACHE_DIR or cache beside the run folder when absent.", HelpName = "DIR" };
        var command = new Command("stage", $"Runs one stage of a plan: what Jobs and child processes run.\n\nExample:\n  coclr stage --plan coclr-runs/first-1a2b3c4d/{RunFolder.PlanName} --stage pretrain-rgb") { plan, stage, runDir, cache };
        command.SetAction(async (parsed, _) =>
        {
            string planFile = parsed.GetValue(plan)!;
            string folder = parsed.GetValue(runDir) ?? Options.Variable("COCLR_RUN_DIR") ?? Path.GetDirectoryName(Path.GetFullPath(planFile))!;
            using var signals = new StopSignals();
            var reporter = StageReporter.FromEnvironment(folder, planFile, parsed.GetValue(stage)!, signals.Token);
            await using (reporter.ConfigureAwait(false))
            {
                // The stage runs on a thread of its own: signals and senders stay awake.
                (int code, string? message) = await Task.Factory.StartNew(
                    () => StageRunner.Run(
                        new StageOptions
                        {
                            PlanFile = planFile,
                            Stage = parsed.GetValue(stage)!,
                            RunFolder = folder,
                            Cache = parsed.GetValue(cache) ?? Options.Variable("COCLR_CACHE_DIR") ?? new RunFolder(folder).SharedCache,
                            Observer = reporter.Observe,
                            WhenTaken = Options.Variable("COCLR_POD_NAME") == null ? null
                                : () => Say.Note("another process still works on this stage (a pod on a node that does not answer?); it begins when that one has ended"),
                        },
                        signals.Token),
                    CancellationToken.None,
                    TaskCreationOptions.LongRunning,
                    TaskScheduler.Default).ConfigureAwait(false);
                if (message != null)
                {
                    Say.Error(message);
                }

                return code;
            }
        });
        return command;
    }
}
