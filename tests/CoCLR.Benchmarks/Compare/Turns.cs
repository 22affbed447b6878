// Why this exists: every comparison is made in turns, each turn a process of its own, medians against medians; this is how a turn is taken.
using System.Diagnostics;
using System.Globalization;
using System.Text.Json.Nodes;

namespace CoCLR.Benchmarks.Compare;

/// <summary>Takes turns.</summary>
internal static class Turns
{
    /// <summary>Folder of the peers: <c>COCLR_PEERS_DIR</c>, else ../shared/peers beside the clone.</summary>
    public static string Peers(string root) =>
        Environment.GetEnvironmentVariable("COCLR_PEERS_DIR") ?? Path.GetFullPath(Path.Combine(root, "..", "shared", "peers"));

    /// <summary>This program, so that a benchmark can be asked for as a process of its own.</summary>
    public static (string Program, string[] First) Ours { get; } =
        Path.GetFileNameWithoutExtension(Environment.ProcessPath) == "dotnet"
            ? (Environment.ProcessPath!, [typeof(Turns).Assembly.Location])
            : (Environment.ProcessPath!, []);

    /// <summary>Median of a number that several turns told.</summary>
    public static double Median(List<JsonNode> answers, string key)
    {
        var values = answers.Select(
            a => a[key]?.GetValue<double>() ?? throw new InvalidOperationException($"a benchmark did not print {key}: {a.ToJsonString()}"))
            .Order().ToList();
        return values.Count % 2 == 1 ? values[values.Count / 2] : (values[(values.Count / 2) - 1] + values[values.Count / 2]) / 2;
    }

    /// <summary>One turn: the last line of JSON that a program prints is its answer.</summary>
    public static JsonNode Ask(string program, IEnumerable<string> arguments, int threads = 2)
    {
        var start = new ProcessStartInfo(program, arguments) { RedirectStandardOutput = true };
        start.Environment["OMP_WAIT_POLICY"] = "PASSIVE";
        start.Environment["OMP_NUM_THREADS"] = (threads > 0 ? threads : Environment.ProcessorCount).ToString(CultureInfo.InvariantCulture);
        using var process = Process.Start(start)!;
        var said = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        var line = said.Split('\n', StringSplitOptions.RemoveEmptyEntries).LastOrDefault(l => l.StartsWith('{'));
        return process.ExitCode == 0 && line is not null
            ? JsonNode.Parse(line)!
            : throw new InvalidOperationException($"{program} {string.Join(' ', start.ArgumentList)} ended with {process.ExitCode}");
    }
}

/// <summary>What is measured on both sides.</summary>
internal sealed record Contest(
    string Name, string Unit, bool LowerIsBetter, string[] Ours, string Script, string[] PeerArguments, string OurKey, string PeerKey)
{
    public string Size { get; init; } = "";

    /// <summary>Arguments of the second, harder peer: our program with libtorch's own operators; null where there is none.</summary>
    public string[]? Plain { get; init; }
}
