// Why this exists: `coclr up`: the dashboard and the local host on loopback, until it is stopped.
using System.CommandLine;
using CoCLR.Cli.Hosting;
using CoCLR.Cli.Terminal;
using CoCLR.Core;

namespace CoCLR.Cli.Commands;

internal static class UpCommand
{
    public static Command Create()
    {
        Option<string> workdir = Options.Workdir();
        var port = new Option<int>("--port") { Description = "Port on loopback.", DefaultValueFactory = _ => 5080 };
        var rebuild = new Option<bool>("--rebuild") { Description = "Makes the dashboard's database anew from the run folders." };
        var command = new Command("up", "Starts the dashboard on loopback; experiments can be started, followed and compared there.\n\nExample:\n  coclr up --workdir coclr-runs") { workdir, port, rebuild };
        command.SetAction(async (parsed, _) =>
        {
            using var signals = new StopSignals();
            DashboardProcess dashboard = await DashboardProcess.StartAsync(
                new Workspace(parsed.GetValue(workdir)!), parsed.GetValue(port), parsed.GetValue(rebuild) ? ["--Dashboard:Rebuild", "true"] : [], signals.Token).ConfigureAwait(false);
            await using (dashboard.ConfigureAwait(false))
            {
                Say.Note($"Dashboard: {dashboard.Link}\nCtrl-C ends it; experiments that it has started go on when it is started again.");
                await dashboard.WaitAsync(signals.Token).ConfigureAwait(false);
                return ExitCodes.Done;
            }
        });
        return command;
    }
}
