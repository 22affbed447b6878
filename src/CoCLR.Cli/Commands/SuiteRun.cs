// Why this exists: a suite (CoCLRBenchmark) on one machine: every cell and seed, as many at once as it says, one table; run again = resume.
using CoCLR.Cli.Hosting;
using CoCLR.Cli.Terminal;
using CoCLR.Core;
using CoCLR.Core.Manifests;
using CoCLR.Core.Planning;
using CoCLR.Core.Results;
using CoCLR.Runs;

namespace CoCLR.Cli.Commands;

internal static class SuiteRun
{
    /// <summary>Runs a suite and prints its table.</summary>
    public static async Task<int> RunAsync(LoadedManifest loaded, Workspace workspace, Uri? dashboard, bool dryRun, bool json)
    {
        Manifest<BenchmarkSpec> manifest = loaded.Suite!;
        BenchmarkSpec suite = manifest.Spec;
        _ = RunCommand.Local(suite.Template);
        var experiments = BenchmarkRules.Expand(manifest.Metadata.Name, suite);
        if (dryRun)
        {
            foreach (MatrixExperiment e in experiments)
            {
                Console.WriteLine($"{e.Name}  {string.Join(", ", e.Cell.Select(c => $"{c.Key}={c.Value}").Append($"seed={e.Seed}"))}");
            }

            return ExitCodes.Done;
        }

        // The dashboard over this folder shows the suite as a matrix.
        string kept = Path.Combine(workspace.Root, "suites", manifest.Metadata.Name + ".yaml");
        Directory.CreateDirectory(Path.GetDirectoryName(kept)!);
        await File.WriteAllTextAsync(kept, loaded.Text, CancellationToken.None).ConfigureAwait(false);

        // A GPU takes one experiment at a time; processors are divided.
        int lanes = ChildProcessHost.UsesGpu(suite.Template.Device) ? 1 : Math.Clamp(suite.Parallelism, 1, Environment.ProcessorCount);
        using var signals = new StopSignals();
        using var failed = CancellationTokenSource.CreateLinkedTokenSource(signals.Token);
        var outcomes = new (int ExitCode, string? Message, RunFolder Folder)[experiments.Count];
        await Parallel.ForAsync(0, experiments.Count, new ParallelOptions { MaxDegreeOfParallelism = lanes }, async (i, _) =>
        {
            StagePlan plan = Planner.Plan(experiments[i].Name, experiments[i].Spec, experiments[i].Name);
            RunFolder folder = workspace.Run(plan);
            (int code, string? message) = failed.IsCancellationRequested
                ? (ExitCodes.Terminated, "not started; run the same command again to go on")
                : await new ChildProcessHost(
                    plan, folder, workspace.Cache, dashboard, RunView.AsLines(plan), Environment.ProcessorCount / lanes,
                    lanes == 1 ? RunCommand.RanksOf(plan.Spec) : 1)
                    .RunAsync(failed.Token).ConfigureAwait(false);
            outcomes[i] = (code, message, folder);
            if (code is not (ExitCodes.Done or ExitCodes.Terminated) && suite.FailurePolicy == FailurePolicy.Stop)
            {
                await failed.CancelAsync().ConfigureAwait(false);
            }
        }).ConfigureAwait(false);

        var done = new List<(MatrixExperiment, RunReport)>();
        foreach ((MatrixExperiment experiment, (int code, string? message, RunFolder folder)) in experiments.Zip(outcomes))
        {
            if (code == ExitCodes.Done)
            {
                done.Add((experiment, folder.ReadReport()));
            }
            else
            {
                Say.Error($"{experiment.Name}: {message}");
            }
        }

        if (done.Count > 0)
        {
            ReportTable table = SuiteTable.Of(done, suite.Baseline, suite.Matrix);
            string file = Path.ChangeExtension(kept, ".md");
            await File.WriteAllTextAsync(file, ReportWriter.MarkdownTable(table), CancellationToken.None).ConfigureAwait(false);
            if (json)
            {
                Say.Json(table);
            }
            else
            {
                ReportView.Show(table);
                Say.Note($"\nThe same as Markdown: {file}");
            }
        }

        var reports = done.ToDictionary(d => d.Item1.Name, d => d.Item2);
        IReadOnlyList<ExpectationOutcome> judged = Acceptance.Judge(
            suite, experiments, (e, view, measure) =>
                reports.TryGetValue(e.Name, out RunReport? report) ? Acceptance.Value(report, view, measure) : null, e =>
                    reports.ContainsKey(e.Name));
        foreach (ExpectationOutcome outcome in judged)
        {
            switch (outcome.Met)
            {
                case true:
                    Say.Note($"met: {outcome.Text}");
                    break;
                case false:
                    Say.Error($"not met: {outcome.Text}");
                    break;
                default:
                    Say.Note($"open: {outcome.Text}");
                    break;
            }
        }

        if (outcomes.All(o => o.ExitCode == ExitCodes.Done))
        {
            return Acceptance.All(judged) == false ? ExitCodes.Failed : ExitCodes.Done;
        }

        return outcomes.Where(o => o.ExitCode != ExitCodes.Done).Select(o => o.ExitCode).OrderBy(c => c == ExitCodes.Terminated)
            .FirstOrDefault(ExitCodes.Done);
    }
}
