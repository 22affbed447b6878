// Why this exists: `coclr bench start` measures how long every verb takes to come up: people wait for it each time.
using System.Diagnostics;
using System.Globalization;
using System.Text.Json;

namespace CoCLR.Benchmarks.Start;

/// <summary>Wall time of `coclr VERB --help` and of `coclr doctor`, each a fresh process.</summary>
internal static class StartBench
{
    private static readonly string[][] Verbs =
    [
        ["--version"], ["demo", "--help"], ["up", "--help"], ["run", "--help"], ["plan", "--help"], ["stage", "--help"],
        ["data", "scan", "--help"], ["embed", "--help"],
        ["search", "--help"], ["export", "--help"], ["import", "--help"], ["apply", "--help"], ["get", "--help"], ["watch", "--help"],
        ["crd", "--help"], ["doctor", "--help"],
    ];

    /// <summary>Measures and prints one line of JSON.</summary>
    /// <param name="arguments">`--rounds 5`. The command is `COCLR_COMMAND`, which the launcher sets.</param>
    public static void Run(string[] arguments)
    {
        var rounds = Array.IndexOf(arguments, "--rounds") is >= 0 and var i ? int.Parse(arguments[i + 1], CultureInfo.InvariantCulture) : 5;
        var command = Environment.GetEnvironmentVariable("COCLR_COMMAND")
            ?? throw new InvalidOperationException("COCLR_COMMAND is not set: start this with ./coclr bench start");
        var medians = new SortedDictionary<string, double>(StringComparer.Ordinal);
        foreach (var verb in Verbs)
        {
            var times = new List<double>();
            for (var round = -1; round < rounds; round++)
            {
                var watch = Stopwatch.StartNew();
                using var process =
                    Process.Start(new ProcessStartInfo(command, verb) { RedirectStandardOutput = true, RedirectStandardError = true })!;
                process.StandardOutput.ReadToEnd();
                process.WaitForExit();
                if (process.ExitCode != 0)
                {
                    throw new InvalidOperationException($"coclr {string.Join(' ', verb)} ended with {process.ExitCode}");
                }

                if (round >= 0)
                {
                    times.Add(watch.Elapsed.TotalSeconds);
                }
            }

            times.Sort();
            medians[string.Join(' ', verb)] = Math.Round(times[rounds / 2], 3);
        }

        Console.WriteLine(
            JsonSerializer.Serialize(new { bench = "start", rounds, slowestSeconds = medians.Values.Max(), medianSeconds = medians }));
    }
}
