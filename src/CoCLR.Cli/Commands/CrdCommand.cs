// Why this exists: `coclr crd`: the CRDs and their reference pages, made from the types that `coclr run` reads.
using System.CommandLine;
using CoCLR.Cli.Terminal;
using CoCLR.Core;
using CoCLR.Core.Manifests.Schema;
using CoCLR.Runs;

namespace CoCLR.Cli.Commands;

internal static class CrdCommand
{
    public static Command Create()
    {
        var output = new Option<string?>("--output", "-o")
        {
            Description = "Folder to write the files to instead of printing them.", HelpName = "DIR"
        };
        var docs = new Option<bool>("--docs") { Description = "The reference pages instead of the CRDs." };
        var command = new Command("crd", "Prints the CRDs, or writes them (and their reference pages) to a folder.\n\nExample:\n  coclr "
            + "crd | kubectl apply --server-side -f -\n  coclr crd -o crds; coclr crd --docs -o docs/reference") { output, docs };
        command.SetAction(parsed =>
        {
            IReadOnlyDictionary<string, string> files = parsed.GetValue(docs) ? ReferenceDocs.Files() : CrdGenerator.Files();
            if (parsed.GetValue(output) is { } folder)
            {
                foreach ((string name, string text) in files)
                {
                    WholeFile.WriteText(Path.Combine(folder, name), text);
                    Say.Note(Path.Combine(folder, name));
                }
            }
            else
            {
                Console.Write(string.Join(parsed.GetValue(docs) ? "\n" : "---\n", files.Values));
            }

            return ExitCodes.Done;
        });
        return command;
    }
}
