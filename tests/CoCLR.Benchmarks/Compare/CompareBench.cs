// Why this exists: `coclr bench compare` makes the tables of docs/benchmarks.md again: ours and the peer in turns (A B A B ...), medians,
// ratios.
using System.Diagnostics;
using System.Globalization;
using System.Text.Json.Nodes;

namespace CoCLR.Benchmarks.Compare;

/// <summary>Measures every contest in turns, each turn a process of its own, and prints a Markdown table.</summary>
internal static class CompareBench
{
    private static readonly Contest[] Contests =
    [
        OfStep("InfoNCE step", "infonce", 8, 16, 64),
        OfStep("CoCLR step", "coclr", 8, 16, 64),
        OfStep("extraction", "extract", 8, 16, 64),
        OfStep("InfoNCE step", "infonce", 4, 32, 128),
        OfStep("CoCLR step", "coclr", 4, 32, 128),
        OfStep("extraction", "extract", 4, 32, 128),
        new(
            "TV-L1, 320x240",
            "frames/s",
            false,
            ["flow", "--size", "320x240", "--threads", "2", "--pairs", "8", "--repeats", "3", "--frames", "{frames}"],
            "{root}/tests/CoCLR.Benchmarks/Flow/opencv_flow.py",
            ["--size", "320x240", "--threads", "2", "--pairs", "8", "--repeats", "3", "--frames", "{frames}"],
            "framesPerSecondMedian",
            "framesPerSecondMedian"),
        new(
            "augmentation, 2 x 32 frames of 320x240",
            "samples/s/core",
            false,
            ["augment", "--mode", "policy", "--threads", "1"],
            "{root}/tests/CoCLR.Benchmarks/Augmentation/pillow_augmentation.py",
            [],
            "samples_per_second_per_core",
            "samples_per_second_per_core"),
    ];

    /// <summary>Runs the contests.</summary>
    /// <param name="arguments">`--rounds 5`, `--only TEXT` (part of a contest's name). The peers are those of `COCLR_PEERS_DIR`, else of
    /// ../shared/peers.</param>
    public static void Run(string[] arguments)
    {
        string Option(string name, string fallback) =>
            Array.IndexOf(arguments, "--" + name) is var i && i >= 0 && i + 1 < arguments.Length ? arguments[i + 1] : fallback;
        var rounds = int.Parse(Option("rounds", "5"), CultureInfo.InvariantCulture);
        var only = Option("only", "");
        var root = Environment.GetEnvironmentVariable("COCLR_ROOT") ?? Directory.GetCurrentDirectory();
        var peers = Environment.GetEnvironmentVariable("COCLR_PEERS_DIR") ?? Path.GetFullPath(Path.Combine(root, "..", "shared", "peers"));
        var python = Environment.GetEnvironmentVariable("COCLR_PYTHON") ?? "/usr/bin/python3";
        var frames = Path.Combine(Path.GetTempPath(), $"coclr-bench-{Environment.ProcessId}.gray");
        string Fill(string text) => text.Replace("{root}", root, StringComparison.Ordinal)
            .Replace("{peers}", peers, StringComparison.Ordinal).Replace("{frames}", frames, StringComparison.Ordinal);
        Console.WriteLine("| what | size | unit | ours | peer | ratio | peak MiB, ours / peer |");
        Console.WriteLine("| --- | --- | --- | ---: | ---: | ---: | ---: |");
        try
        {
            foreach (var contest in Contests.Where(c => $"{c.Name} {c.Size}".Contains(only, StringComparison.OrdinalIgnoreCase)))
            {
                if (contest.Ours.Contains("{frames}") && !File.Exists(frames))
                {
                    Ask(
                        Environment.ProcessPath!,
                        [
                            typeof(CompareBench).Assembly.Location, "flow", "--size", "320x240", "--pairs", "8", "--repeats", "1",
                            "--write-frames", frames
                        ]);
                }

                var (ours, peer) = (new List<JsonNode>(), new List<JsonNode>());
                for (var round = 0; round < rounds; round++)
                {
                    ours.Add(Ask(Environment.ProcessPath!, [typeof(CompareBench).Assembly.Location, .. contest.Ours.Select(Fill)]));
                    peer.Add(Ask(python, [Fill(contest.Script), .. contest.PeerArguments.Select(Fill)]));
                }

                var (mine, its) = (Median(ours, contest.OurKey), Median(peer, contest.PeerKey));
                var ratio = contest.LowerIsBetter ? its / mine : mine / its;
                var memory = ours[0]["peak_mib"] is null
                    ? ""
                    : string.Create(CultureInfo.InvariantCulture, $"{Median(ours, "peak_mib"):0} / {Median(peer, "peak_mib"):0}");
                Console.WriteLine(
                    string.Create(
                        CultureInfo.InvariantCulture,
                        $"| {contest.Name} | {contest.Size} | {contest.Unit} | {mine:0.###} | {its:0.###} | {ratio:0.00}x | {memory} |"));
            }
        }
        finally
        {
            File.Delete(frames);
        }
    }

    private static Contest OfStep(string name, string step, int batch, int frames, int size)
    {
        var n = CultureInfo.InvariantCulture;
        string[] options =
        [
            "--step", step, "--batch", batch.ToString(n), "--frames", frames.ToString(n), "--size", size.ToString(n), "--steps",
            size > 64 ? "3" : "5", "--warmup", size > 64 ? "1" : "2", "--threads", "2"
        ];
        return new Contest(
            name,
            "s",
            true,
            ["step", .. options],
            "{peers}/pytorch_step.py",
            options,
            "median_s",
            "median_s")
        { Size = $"batch {batch}, 3x{frames}x{size}x{size}" };
    }

    private static double Median(List<JsonNode> answers, string key)
    {
        var values = answers.Select(
            a => a[key]?.GetValue<double>() ?? throw new InvalidOperationException($"a benchmark did not print {key}: {a.ToJsonString()}"))
            .Order().ToList();
        return values.Count % 2 == 1 ? values[values.Count / 2] : (values[(values.Count / 2) - 1] + values[values.Count / 2]) / 2;
    }

    // The last line that a program prints is its answer.
    private static JsonNode Ask(string program, IEnumerable<string> arguments)
    {
        var start = new ProcessStartInfo(program, arguments) { RedirectStandardOutput = true };
        start.Environment["OMP_WAIT_POLICY"] = "PASSIVE";
        start.Environment["OMP_NUM_THREADS"] = "2";
        using var process = Process.Start(start)!;
        var said = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        var line = said.Split('\n', StringSplitOptions.RemoveEmptyEntries).LastOrDefault(l => l.StartsWith('{'));
        return process.ExitCode == 0 && line is not null
            ? JsonNode.Parse(line)!
            : throw new InvalidOperationException($"{program} {string.Join(' ', start.ArgumentList)} ended with {process.ExitCode}");
    }

    private sealed record Contest(
        string Name, string Unit, bool LowerIsBetter, string[] Ours, string Script, string[] PeerArguments, string OurKey, string PeerKey)
    {
        public string Size { get; init; } = "";
    }
}
