// Why this exists: `coclr up`: the dashboard and the local host on loopback, or a whole cluster for trying things out, until it is stopped.
using System.CommandLine;
using CoCLR.Cli.Hosting;
using CoCLR.Cli.Terminal;
using CoCLR.Core;
using CoCLR.Runs;

namespace CoCLR.Cli.Commands;

internal static class UpCommand
{
    public static Command Create()
    {
        Option<string> workdir = Options.Workdir();
        var port = new Option<int>("--port") { Description = "Port on loopback.", DefaultValueFactory = _ => 5080 };
        var rebuild = new Option<bool>("--rebuild") { Description = "Makes the dashboard's database anew from the run folders." };
        var cluster = new Option<bool>("--cluster")
        {
            Description = "Starts a Kubernetes API server with the operator instead, whose pods "
            + "run as processes of this machine."
        };
        var apiPort =
            new Option<int>("--api-port") { Description = "Port of that API server on loopback.", DefaultValueFactory = _ => 6443 };
        var command = new Command("up", "Starts the dashboard on loopback; experiments can be started, followed and compared "
            + "there.\n\nExamples:\n  coclr up --workdir coclr-runs\n  coclr up --cluster") { workdir, port, rebuild, cluster, apiPort };
        command.SetAction(async (parsed, _) =>
        {
            using var signals = new StopSignals();
            if (parsed.GetValue(cluster))
            {
                return await ClusterAsync(new Workspace(parsed.GetValue(workdir)!), parsed.GetValue(apiPort), signals.Token)
                    .ConfigureAwait(false);
            }

            DashboardProcess dashboard = await DashboardProcess.StartAsync(
                new Workspace(parsed.GetValue(workdir)!), parsed.GetValue(port),
                parsed.GetValue(rebuild) ? ["--Dashboard:Rebuild", "true"] : [], signals.Token).ConfigureAwait(false);
            await using (dashboard.ConfigureAwait(false))
            {
                Say.Note($"Dashboard: {dashboard.Link}\nCtrl-C ends it; experiments that it has started go on when it is started again.");
                await dashboard.WaitAsync(signals.Token).ConfigureAwait(false);
                return ExitCodes.Done;
            }
        });
        return command;
    }

    private static async Task<int> ClusterAsync(Workspace workspace, int port, CancellationToken stop)
    {
        TrialCluster cluster = await TrialCluster.StartAsync(workspace, port, line => Say.Note(line), stop).ConfigureAwait(false);
        await using (cluster.ConfigureAwait(false))
        {
            Console.WriteLine($"export KUBECONFIG={cluster.Kubeconfig}");
            Say.Note($"Then, in another shell: kubectl apply -f samples/synthetic-smoke.yaml && kubectl get cexp -w\nPods run as processes "
                + $"of this machine, with files in {Path.Combine(workspace.Root, "cluster")}. Ctrl-C ends the cluster and "
                    + $"everything in it.");
            await cluster.WaitAsync(stop).ConfigureAwait(false);
            return ExitCodes.Done;
        }
    }
}
