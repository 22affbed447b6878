// Why this exists: `coclr deliver`: a run that ended while its dashboard was away still reaches it. The operator starts it in a Job of its own.
using System.CommandLine;
using CoCLR.Cli.Hosting;
using CoCLR.Cli.Terminal;
using CoCLR.Core;
using CoCLR.Runs;

namespace CoCLR.Cli.Commands;

internal static class DeliverCommand
{
    private const int DefaultPatience = 600;
    private const int MaximumPatience = 86_400;

    public static Command Create()
    {
        var plan = new Option<string>("--plan") { Description = $"The {RunFolder.PlanName} of the run.", Required = true, HelpName = "FILE" };
        var runDir = new Option<string?>("--run-dir") { Description = "Run folder; COCLR_RUN_DIR or the folder of the plan when absent.", HelpName = "DIR" };
        var patience = new Option<int>("--patience")
        {
            Description = "Seconds in which nothing may get through before it gives up (then it exits with 1, and can be started again).",
            DefaultValueFactory = _ => DefaultPatience,
            HelpName = "SECONDS",
        };
        var command = new Command(
            "deliver",
            "Sends to the dashboard of COCLR_DASHBOARD_URL what the stages of a run could not send: events, results, previews.\n\n"
            + $"Example:\n  COCLR_DASHBOARD_URL=http://127.0.0.1:5080 coclr deliver --plan coclr-runs/first-1a2b3c4d/{RunFolder.PlanName}")
        {
            plan, runDir, patience,
        };
        command.SetAction(async (parsed, _) =>
        {
            string planFile = parsed.GetValue(plan)!;
            RunFolder.ReadPlan(planFile);
            int seconds = parsed.GetValue(patience);
            if (seconds is < 1 or > MaximumPatience)
            {
                throw new UserErrorException($"--patience: {seconds} is out of range: give 1 to {MaximumPatience}.", ExitCodes.Usage);
            }

            string folder = parsed.GetValue(runDir) ?? Options.Variable("COCLR_RUN_DIR") ?? Path.GetDirectoryName(Path.GetFullPath(planFile))!;
            using var signals = new StopSignals();
            EventSender sender = EventSender.FromEnvironment(folder, planFile, stage: null, signals.Token, TimeSpan.FromSeconds(seconds))
                ?? throw new UserErrorException("COCLR_DASHBOARD_URL: give the address of a dashboard, such as http://127.0.0.1:5080.", ExitCodes.BadConfiguration);
            if (await sender.EndAsync().ConfigureAwait(false))
            {
                Say.Note("the dashboard has everything");
                return ExitCodes.Done;
            }

            return signals.Token.IsCancellationRequested ? ExitCodes.Terminated : ExitCodes.Failed;
        });
        return command;
    }
}
