// Why this exists: `coclr run`: one manifest on this machine, live progress, the result table; run again = resume.
using System.CommandLine;
using CoCLR.Cli.Hosting;
using CoCLR.Cli.Terminal;
using CoCLR.Core;
using CoCLR.Core.Manifests;
using CoCLR.Core.Manifests.Schema;
using CoCLR.Core.Planning;
using CoCLR.Engine;
using CoCLR.Runs;

namespace CoCLR.Cli.Commands;

internal static class RunCommand
{
    public static Command Create()
    {
        Option<string> file = Options.Manifest();
        Option<string> workdir = Options.Workdir();
        Option<string[]> set = Options.Set();
        Option<string?> dashboard = Options.Dashboard();
        Option<bool> json = Options.Json();
        var dryRun = new Option<bool>("--dry-run") { Description = "Checks the manifest and prints the stage graph; runs nothing." };
        var ranks = new Option<int?>("--ranks")
        {
            Description = "Processes that train a stage together, one a GPU; must divide training.shards. "
                + "resources.gpus of them when absent, as far as there are GPUs; else 1.",
            HelpName = "N",
        };
        var command = new Command(
            "run",
            "Runs one manifest here, an experiment or a suite (CoCLRBenchmark); run again to resume.\n\nExample:\n  coclr run -f "
                + "samples/synthetic-coclr.yaml --set training.epochs=10") { file, workdir, set, ranks, dryRun, dashboard, json };
        command.SetAction(async (parsed, cancellation) =>
        {
            LoadedManifest loaded = ManifestReader.Load(parsed.GetValue(file)!, Options.Overrides(parsed.GetValue(set)));
            if (loaded.Experiment is not { } manifest)
            {
                return await SuiteRun.RunAsync(
                    loaded,
                    new Workspace(parsed.GetValue(workdir)!),
                    Options.Address(parsed.GetValue(dashboard)),
                    parsed.GetValue(dryRun),
                    parsed.GetValue(json)).ConfigureAwait(false);
            }

            StagePlan plan = Planner.Plan(manifest.Metadata.Name, Local(manifest.Spec));
            int together = RanksOf(plan.Spec, parsed.GetValue(ranks));
            if (parsed.GetValue(dryRun))
            {
                Console.WriteLine(PlanText.Describe(plan));
                return ExitCodes.Done;
            }

            if (plan.Spec.Device.StartsWith("cuda", StringComparison.Ordinal))
            {
                _ = TorchRuntime.Select(plan.Spec.Device); // says at once that the GPU asked for is not there
            }

            return await RunAsync(
                plan, new Workspace(parsed.GetValue(workdir)!), Options.Address(parsed.GetValue(dashboard)), parsed.GetValue(json), together)
                .ConfigureAwait(false);
        });
        return command;
    }

    /// <summary>How many processes train a stage of an experiment together on this machine.</summary>
    /// <param name="spec">The experiment.</param>
    /// <param name="asked">What the command line says; null takes as many of resources.gpus as there are.</param>
    /// <exception cref="UserErrorException">They cannot share the shards equally (64).</exception>
    internal static int RanksOf(ExperimentSpec spec, int? asked = null)
    {
        if (asked is { } ranks)
        {
            return ranks >= 1 && spec.Training.Shards % ranks == 0 ? ranks : throw new UserErrorException(
                $"--ranks {ranks}: the batch has {spec.Training.Shards} shard{(spec.Training.Shards == 1 ? "" : "s")} (training.shards), "
                + "which so many processes cannot share equally; give a number that divides them.",
                ExitCodes.Usage);
        }

        if (spec.Resources.Gpus < 2 || !ChildProcessHost.UsesGpu(spec.Device))
        {
            return 1;
        }

        int present = TorchRuntime.CudaDevices, usable = spec.Resources.Gpus;
        while (usable > Math.Max(1, present))
        {
            usable /= 2; // a power of two, as the shards that it divides
        }

        if (usable < spec.Resources.Gpus)
        {
            string trains = usable == 1 ? "1 process trains" : $"{usable} processes train";
            Say.Note(
                $"resources.gpus asks for {spec.Resources.Gpus}, and this machine has {present}: {trains} each stage, "
                + "which gives the same result later.");
        }

        return usable;
    }

    /// <summary>Runs a plan and prints its table.</summary>
    public static async Task<int> RunAsync(StagePlan plan, Workspace workspace, Uri? dashboard, bool json, int ranks = 1)
    {
        RunFolder folder = workspace.Run(plan);
        foreach (ManifestProblem warning in ClipShape.Warnings(plan.Spec))
        {
            Say.Note($"warning: {warning}");
        }

        using var signals = new StopSignals();
        (int code, string? message) = await RunView.ShowAsync(
            plan, folder, view => new ChildProcessHost(plan, folder, workspace.Cache, dashboard, view, ranks: ranks).RunAsync(signals.Token))
            .ConfigureAwait(false);
        if (code != ExitCodes.Done)
        {
            Say.Error(message ?? "failed");
            return code;
        }

        if (json)
        {
            Console.WriteLine(await File.ReadAllTextAsync(folder.ReportFile, CancellationToken.None).ConfigureAwait(false));
        }
        else
        {
            ReportView.Show([folder.ReadReport()]);
            Say.Note($"\nRun folder: {folder.Root}");
        }

        return ExitCodes.Done;
    }

    /// <summary>A cluster's sources name things that this machine does not have.</summary>
    internal static ExperimentSpec Local(ExperimentSpec spec) =>
        spec.Dataset.Source is { VolumeClaim: null, S3: null } ? spec : throw new UserErrorException(
            "spec.dataset.source: volumeClaim and s3 need a cluster (coclr apply); for this machine give path or synthetic, for example "
                + "--set dataset.source='{\"path\":\"/data/videos\"}'.", ExitCodes.BadConfiguration);
}
