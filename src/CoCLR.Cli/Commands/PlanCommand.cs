// Why this exists: `coclr plan`: the stage graph of a manifest, without running anything.
using System.CommandLine;
using CoCLR.Cli.Terminal;
using CoCLR.Core.Manifests;
using CoCLR.Core.Planning;

namespace CoCLR.Cli.Commands;

internal static class PlanCommand
{
    public static Command Create()
    {
        Option<string> file = Options.Manifest();
        Option<string[]> set = Options.Set();
        var output = new Option<string>("--output", "-o") { Description = "text, json or mermaid.", DefaultValueFactory = _ => "text" };
        output.AcceptOnlyFromAmong("text", "json", "mermaid");
        var command = new Command("plan", "Prints the stage graph of a manifest.\n\nExample:\n  coclr plan -f "
            + "samples/ucf101-coclr.yaml -o mermaid") { file, set, output };
        command.SetAction(parsed =>
        {
            Manifest<ExperimentSpec> manifest = ManifestReader.Load(parsed.GetValue(file)!, Options.Overrides(parsed.GetValue(set)))
                .RequireExperiment("coclr plan");
            StagePlan plan = Planner.Plan(manifest.Metadata.Name, manifest.Spec);
            switch (parsed.GetValue(output))
            {
                case "json":
                    Say.Json(plan);
                    break;
                case "mermaid":
                    Console.WriteLine(PlanText.Mermaid(plan));
                    break;
                default:
                    Console.WriteLine(PlanText.Describe(plan));
                    break;
            }

            return 0;
        });
        return command;
    }
}
