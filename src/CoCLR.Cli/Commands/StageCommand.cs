// Why this exists: `coclr stage`: what Jobs and child processes run.
using System.CommandLine;
using System.Globalization;
using CoCLR.Cli.Hosting;
using CoCLR.Cli.Terminal;
using CoCLR.Core;
using CoCLR.Engine.Collectives;
using CoCLR.Engine.Stages;
using CoCLR.Runs;

namespace CoCLR.Cli.Commands;

internal static class StageCommand
{
    private const string Description = $"""
        Runs one stage of a plan: what Jobs and child processes run.

        Example:
          coclr stage --plan coclr-runs/first-1a2b3c4d/{RunFolder.PlanName} --stage pretrain-rgb

        Several processes can train a stage together, one a GPU (docs/scale.md). --ranks starts them here. A launcher of your own starts each
        with --rank and --world, or sets RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR and MASTER_PORT as torchrun does.
        """;

    public static Command Create()
    {
        var plan = new Option<string>("--plan") { Description = $"The {RunFolder.PlanName} of the run.", Required = true, HelpName = "FILE" };
        var stage = new Option<string>("--stage") { Description = "Name of the stage.", Required = true, HelpName = "NAME" };
        var runDir = new Option<string?>("--run-dir") { Description = "Run folder; COCLR_RUN_DIR or the folder of the plan when absent.", HelpName = "DIR" };
        var cache = new Option<string?>("--cache") { Description = "Folder of the shared stores; COCLR_CACHE_DIR or cache beside the run folder when absent.", HelpName = "DIR" };
        var ranks = new Option<int>("--ranks")
        {
            Description = "Processes to start here, which train the stage together.",
            HelpName = "N",
            DefaultValueFactory = _ => 1,
        };
        var nodes = new Option<int>("--nodes")
        {
            Description = "Machines that start as many each; this one's number is JOB_COMPLETION_INDEX.",
            HelpName = "N",
            DefaultValueFactory = _ => 1,
        };
        var rank = new Option<int?>("--rank") { Description = "Number of this process among all, from 0; RANK when absent.", HelpName = "N" };
        var world = new Option<int?>("--world") { Description = "How many processes there are; WORLD_SIZE, or 1, when absent.", HelpName = "N" };
        var command = new Command("stage", Description) { plan, stage, runDir, cache, ranks, nodes, rank, world };
        command.SetAction(async (parsed, _) =>
        {
            string planFile = parsed.GetValue(plan)!;
            string folder = parsed.GetValue(runDir) ?? Options.Variable("COCLR_RUN_DIR") ?? Path.GetDirectoryName(Path.GetFullPath(planFile))!;
            var options = new StageOptions
            {
                PlanFile = planFile,
                Stage = parsed.GetValue(stage)!,
                RunFolder = folder,
                Cache = parsed.GetValue(cache) ?? Options.Variable("COCLR_CACHE_DIR") ?? new RunFolder(folder).SharedCache,
                WhenTaken = Options.Variable("COCLR_POD_NAME") == null ? null
                    : () => Say.Note(
                        "another process still works on this stage (a pod on a node that does not answer?); it begins when that one has ended"),
            };
            (int here, int machines) = (parsed.GetValue(ranks), parsed.GetValue(nodes));
            using var signals = new StopSignals();
            if (here != 1 || machines != 1)
            {
                return await LaunchAsync(options, here, machines, signals.Token).ConfigureAwait(false);
            }

            RankOptions place = RankOptions.From(Environment.GetEnvironmentVariable, parsed.GetValue(rank), parsed.GetValue(world));
            return await RunAsync(options with { Ranks = place }, folder, signals.Token).ConfigureAwait(false);
        });
        return command;
    }

    private static async Task<int> RunAsync(StageOptions options, string folder, CancellationToken stop)
    {
        var reporter = StageReporter.FromEnvironment(folder, options.PlanFile, options.Stage, options.Ranks.Rank == 0, stop);
        await using (reporter.ConfigureAwait(false))
        {
            // The stage runs on a thread of its own: signals and senders stay awake.
            (int code, string? message) = await Task.Factory.StartNew(
                () => StageRunner.Run(options with { Observer = reporter.Observe }, stop),
                CancellationToken.None,
                TaskCreationOptions.LongRunning,
                TaskScheduler.Default).ConfigureAwait(false);
            if (message != null)
            {
                Say.Error(options.Ranks.World == 1 ? message : $"rank {options.Ranks.Rank}: {message}");
            }

            return code;
        }
    }

    private static Task<int> LaunchAsync(StageOptions options, int ranks, int nodes, CancellationToken stop)
    {
        bool numbered = int.TryParse(Options.Variable("JOB_COMPLETION_INDEX"), NumberStyles.None, CultureInfo.InvariantCulture, out int index);
        int node = nodes == 1 ? 0
            : numbered && index < nodes ? index
            : throw new UserErrorException(
                $"--nodes {nodes}: set JOB_COMPLETION_INDEX to this machine's number, 0 to {nodes - 1}.", ExitCodes.Usage);
        if (ranks < 1 || nodes < 1)
        {
            throw new UserErrorException("--ranks and --nodes: give 1 or more.", ExitCodes.Usage);
        }

        StageRunner.RequireUseForRanks(RunFolder.ReadPlan(options.PlanFile), options.Stage, ranks * nodes);
        string[] arguments =
            ["stage", "--plan", options.PlanFile, "--stage", options.Stage, "--run-dir", options.RunFolder!, "--cache", options.Cache];
        return new RankLauncher(ranks, nodes, node).RunAsync(arguments, stop);
    }
}
