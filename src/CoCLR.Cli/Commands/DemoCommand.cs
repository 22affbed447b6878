// Why this exists: `coclr demo`: the whole story in minutes on any machine: make videos, learn with three methods, measure, show.
using System.CommandLine;
using System.Globalization;
using System.Reflection;
using CoCLR.Cli.Hosting;
using CoCLR.Cli.Terminal;
using CoCLR.Core;
using CoCLR.Core.Manifests;
using CoCLR.Core.Planning;
using CoCLR.Core.Results;
using CoCLR.Runs;

namespace CoCLR.Cli.Commands;

internal static class DemoCommand
{
    private static readonly string[] Experiments = ["demo-infonce", "demo-coclr", "demo-ubernce"];

    public static Command Create()
    {
        Option<string> workdir = Options.Workdir();
        Option<bool> json = Options.Json();
        var exit = new Option<bool>("--exit") { Description = "Ends when the table is printed, without a dashboard." };
        var port = new Option<int>("--port")
        {
            Description = "Port of the dashboard on loopback; 0 takes a free one.", DefaultValueFactory = _ => 0
        };
        var command = new Command("demo", "Makes a small synthetic action data set, learns it with InfoNCE, CoCLR and UberNCE, and shows "
            + "the result table; about ten minutes on two cores.\n\nExample:\n  coclr demo --exit") { workdir, exit, port, json };
        command.SetAction(async (parsed, _) =>
        {
            var workspace = new Workspace(parsed.GetValue(workdir)!);
            using var signals = new StopSignals();
            if (parsed.GetValue(exit))
            {
                return await RunAsync(workspace, parsed.GetValue(json), signals.Token).ConfigureAwait(false);
            }

            DashboardProcess dashboard = await DashboardProcess.StartAsync(workspace, parsed.GetValue(port), [], signals.Token)
                .ConfigureAwait(false);
            await using (dashboard.ConfigureAwait(false))
            {
                Say.Note($"Dashboard: {dashboard.Link}");
                int code = await RunAsync(workspace, parsed.GetValue(json), signals.Token).ConfigureAwait(false);
                if (code != ExitCodes.Done)
                {
                    return code;
                }

                Say.Note($"\nDashboard: {dashboard.Link}\nCtrl-C ends it.");
                await dashboard.WaitAsync(signals.Token).ConfigureAwait(false);
                return ExitCodes.Done;
            }
        });
        return command;
    }

    private static async Task<int> RunAsync(Workspace workspace, bool json, CancellationToken stop)
    {
        var reports = new List<RunReport>();
        var folders = new List<RunFolder>();
        foreach (string name in Experiments)
        {
            Manifest<ExperimentSpec> manifest = ManifestReader.ReadExperiment(Embedded(name)).Manifest
                ?? throw new InvalidOperationException($"the embedded manifest {name} is not valid");
            StagePlan plan = Planner.Plan(manifest.Metadata.Name, manifest.Spec);
            RunFolder folder = workspace.Run(plan);
            (int code, string? message) = await RunView.ShowAsync(
                plan, folder, view => new ChildProcessHost(plan, folder, workspace.Cache, null, view).RunAsync(stop)).ConfigureAwait(false);
            if (code != ExitCodes.Done)
            {
                Say.Error(message ?? "failed");
                return code;
            }

            reports.Add(folder.ReadReport());
            folders.Add(folder);
        }

        if (json)
        {
            Say.Json(reports);
            return ExitCodes.Done;
        }

        ReportView.Show(reports);
        RunReport first = reports[0];
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{first.DataSet}: {first.TrainVideos} training and "
            + $"{first.TestVideos} test videos; {reports.Sum(r => r.WallSeconds) / 60:0.0} minutes on {first.Device}."));
        foreach (RunFolder folder in folders)
        {
            Console.WriteLine($"  {folder.Root}");
        }

        return ExitCodes.Done;
    }

    /// <summary>A manifest of the demo: samples/NAME.yaml, embedded so that the installed command needs no clone.</summary>
    private static string Embedded(string name)
    {
        using Stream stream = Assembly.GetExecutingAssembly().GetManifestResourceStream($"{name}.yaml")
            ?? throw new InvalidOperationException($"{name}.yaml is not embedded");
        using var reader = new StreamReader(stream);
        return reader.ReadToEnd();
    }
}
