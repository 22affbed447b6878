// Why this exists: options that several verbs share, said once.
using System.CommandLine;
using CoCLR.Core;
using CoCLR.Core.Manifests.Schema;
using CoCLR.Runs;

namespace CoCLR.Cli.Commands;

internal static class Options
{
    public static Option<string> Manifest() => new("--file", "-f") { Description = "Manifest (YAML or JSON); - is standard input.", Required = true, HelpName = "MANIFEST" };

    public static Option<string> Workdir() => new("--workdir", "-w") { Description = "Folder of the runs and of the stores they share.", DefaultValueFactory = _ => Workspace.Default, HelpName = "DIR" };

    public static Option<string[]> Set() => new("--set") { Description = "Sets a field over the manifest, such as training.epochs=10; may be given again.", HelpName = "PATH=VALUE", AllowMultipleArgumentsPerToken = false };

    public static Option<bool> Json() => new("--json") { Description = "Prints JSON for programs." };

    public static Option<string?> Dashboard() => new("--dashboard") { Description = "Address of a dashboard.", HelpName = "URL" };

    /// <summary>A variable of the environment; null when it is missing or empty.</summary>
    public static string? Variable(string name) => Environment.GetEnvironmentVariable(name) is { Length: > 0 } value ? value : null;

    /// <summary>Refuses a number that the manifest's field of the same meaning would refuse.</summary>
    /// <exception cref="UserErrorException">It is out of range (64).</exception>
    public static void RequireInRange(string option, int value, SchemaNode field)
    {
        if (value < field.Minimum || value > field.Maximum)
        {
            throw new UserErrorException($"{option}: {value} is out of range: give {field.Minimum} to {field.Maximum}.", ExitCodes.Usage);
        }
    }

    /// <summary>Splits PATH=VALUE.</summary>
    public static IEnumerable<KeyValuePair<string, string>> Overrides(string[]? given) => (given ?? []).Select(text =>
    {
        int at = text.IndexOf('=', StringComparison.Ordinal);
        return at > 0
            ? KeyValuePair.Create(text[..at], text[(at + 1)..])
            : throw new UserErrorException($"--set {text}: give PATH=VALUE, such as --set training.epochs=10.", ExitCodes.Usage);
    });

    /// <summary>An absolute http(s) address.</summary>
    public static Uri? Address(string? text) => text == null ? null
        : Uri.TryCreate(text, UriKind.Absolute, out Uri? uri) && uri.Scheme is "http" or "https" ? uri
        : throw new UserErrorException($"--dashboard {text}: give an address such as http://127.0.0.1:5080.", ExitCodes.Usage);
}
