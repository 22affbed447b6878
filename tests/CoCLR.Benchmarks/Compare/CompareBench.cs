// Why this exists: `coclr bench compare` makes the tables of docs/benchmarks.md again: ours and the peer in turns (A B A B ...), medians,
// ratios.
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
        var peers = Turns.Peers(root);
        var python = Environment.GetEnvironmentVariable("COCLR_PYTHON") ?? "/usr/bin/python3";
        var frames = Path.Combine(Path.GetTempPath(), $"coclr-bench-{Environment.ProcessId}.gray");
        string Fill(string text) => text.Replace("{root}", root, StringComparison.Ordinal)
            .Replace("{peers}", peers, StringComparison.Ordinal).Replace("{frames}", frames, StringComparison.Ordinal);
        Console.WriteLine("| what | size | unit | ours | peer | ratio | libtorch's own operators | ratio | peak MiB, ours / peer |");
        Console.WriteLine("| --- | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |");
        try
        {
            foreach (var contest in Contests.Where(c => $"{c.Name} {c.Size}".Contains(only, StringComparison.OrdinalIgnoreCase)))
            {
                if (contest.Ours.Contains("{frames}") && !File.Exists(frames))
                {
                    Turns.Ask(
                        Turns.Ours.Program,
                        [.. Turns.Ours.First, "flow", "--size", "320x240", "--pairs", "8", "--repeats", "1", "--write-frames", frames]);
                }

                var (ours, peer, plain) = (new List<JsonNode>(), new List<JsonNode>(), new List<JsonNode>());
                for (var round = 0; round < rounds; round++)
                {
                    ours.Add(Turns.Ask(Turns.Ours.Program, [.. Turns.Ours.First, .. contest.Ours.Select(Fill)]));
                    peer.Add(Turns.Ask(python, [Fill(contest.Script), .. contest.PeerArguments.Select(Fill)]));
                    if (contest.Plain is { } own)
                    {
                        plain.Add(Turns.Ask(Turns.Ours.Program, [.. Turns.Ours.First, .. own]));
                    }
                }

                var (mine, its) = (Turns.Median(ours, contest.OurKey), Turns.Median(peer, contest.PeerKey));
                var ratio = contest.LowerIsBetter ? its / mine : mine / its;
                var memory = ours[0]["peak_mib"] is null
                    ? ""
                    : string.Create(
                        CultureInfo.InvariantCulture, $"{Turns.Median(ours, "peak_mib"):0} / {Turns.Median(peer, "peak_mib"):0}");
                var harder = plain.Count == 0
                    ? " | "
                    : string.Create(
                        CultureInfo.InvariantCulture,
                        $"{Turns.Median(plain, contest.OurKey):0.###} | {Turns.Median(plain, contest.OurKey) / mine:0.00}x");
                Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"| {contest.Name} | {contest.Size} | {contest.Unit} | "
                    + $"{mine:0.###} | {its:0.###} | {ratio:0.00}x | {harder} | {memory} |"));
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
        return new Contest(name, "s", true, ["step", .. options], "{peers}/pytorch_step.py", options, "median_s", "median_s")
        {
            Size = $"batch {batch}, 3x{frames}x{size}x{size}", Plain = ["step", .. options, "--plain"],
        };
    }
}
