// Why this exists: minutes on a rented card are few: `coclr bench gpu` makes the table "One GPU" of docs/benchmarks.md with one command,
// ours and plain PyTorch in turns.
using System.Globalization;
using System.Text.Json.Nodes;
using CoCLR.Engine;

namespace CoCLR.Benchmarks.Compare;

/// <summary>
/// Training steps and extraction on a card beside eager PyTorch and beside libtorch's own operators, TV-L1 beside the processor; a Markdown
/// table.
/// </summary>
internal static class GpuBench
{
    private static readonly Row[] s_rows =
    [
        new("InfoNCE step", "infonce", 32, 32, 128, "bf16"),
        new("CoCLR step", "coclr", 32, 32, 128, "bf16"),
        new("extraction", "extract", 32, 32, 128, "bf16"),
        new("InfoNCE step", "infonce", 64, 16, 64, "bf16"),
        new("InfoNCE step", "infonce", 32, 16, 112, "tf32"),
        new("InfoNCE step", "infonce", 32, 16, 112, "fp32"),
    ];

    /// <summary>Runs the rows.</summary>
    /// <param name="arguments">`--rounds 2`, `--steps 20`, `--only TEXT`, `--device cuda`; `--small`: sizes that a processor does in
    /// seconds. The peer is pytorch_step.py of `COCLR_PEERS_DIR`, run by `COCLR_PYTHON` (python3); without one its columns stay
    /// empty.</param>
    public static void Run(string[] arguments)
    {
        string Option(string name, string fallback) =>
            Array.IndexOf(arguments, "--" + name) is var i && i >= 0 && i + 1 < arguments.Length ? arguments[i + 1] : fallback;
        var rounds = int.Parse(Option("rounds", "2"), CultureInfo.InvariantCulture);
        var device = Option("device", "cuda");
        var small = arguments.Contains("--small");
        var peer = Path.Combine(
            Turns.Peers(Environment.GetEnvironmentVariable("COCLR_ROOT") ?? Directory.GetCurrentDirectory()), "pytorch_step.py");
        var chosen = TorchRuntime.Select(device);
        Console.WriteLine($"{DeviceMemory.Card(chosen) ?? "processor"}, {Environment.ProcessorCount} CPU cores, libtorch "
            + $"{TorchRuntime.Describe().LibraryVersion}, {DateTime.UtcNow:yyyy-MM-dd}; clips/s, medians of {rounds} turns:");
        Console.WriteLine();
        Console.WriteLine("| work | PyTorch, eager | ours | ratio | libtorch's own operators | ratio | peak MiB of the card, ours |");
        Console.WriteLine("| --- | ---: | ---: | ---: | ---: | ---: | ---: |");
        foreach (var row in s_rows.Select(r => small ? r with { Batch = 2, Frames = 8, Size = 32 } : r)
            .Where(r => r.Title.Contains(Option("only", ""), StringComparison.OrdinalIgnoreCase)))
        {
            string[] options =
                [.. row.Options, "--device", device, "--steps", Option("steps", "20"), "--warmup", small ? "1" : "6", "--channels-last"];
            var (ours, its, plain) = (new List<JsonNode>(), new List<JsonNode>(), new List<JsonNode>());
            for (var round = 0; round < rounds; round++)
            {
                ours.Add(Ours("step", [.. options, "--cudnn-benchmark"]));
                plain.Add(Ours("step", [.. options, "--cudnn-benchmark", "--plain"]));
                if (File.Exists(peer))
                {
                    its.Add(Turns.Ask(Environment.GetEnvironmentVariable("COCLR_PYTHON") ?? "python3", [peer, .. options], threads: 0));
                }
            }

            var (mine, own) = (Turns.Median(ours, "clips_per_s"), Turns.Median(plain, "clips_per_s"));
            var (eager, ratio) = its.Count == 0
                ? ("", "")
                : (Number(Turns.Median(its, "clips_per_s"), "0.#"), Number(mine / Turns.Median(its, "clips_per_s"), "0.00"));
            Console.WriteLine($"| {row.Title} | {eager} | {Number(mine, "0.#")} | {ratio} | {Number(own, "0.#")} | "
                + $"{Number(mine / own, "0.00")} | {Number(Turns.Median(ours, "peak_mib"), "0")} |");
        }

        if ("TV-L1".Contains(Option("only", ""), StringComparison.OrdinalIgnoreCase))
        {
            string[] flow = ["--size", small ? "48x36" : "320x240", "--pairs", small ? "2" : "64", "--repeats", "3"];
            var onDevice = Turns.Median([Ours("flow", [.. flow, "--device", device])], "framesPerSecondMedian");
            var onCpu = Turns.Median(
                [Ours("flow", [.. flow, "--threads", Environment.ProcessorCount.ToString(CultureInfo.InvariantCulture)])],
                "framesPerSecondMedian");
            Console.WriteLine();
            Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"TV-L1, {flow[1]}, {flow[3]} pairs: {onDevice:0.0} frames/s on "
                + $"{device}, {onCpu:0.0} on {Environment.ProcessorCount} CPU threads."));
        }
    }

    private static string Number(double value, string format) => value.ToString(format, CultureInfo.InvariantCulture);

    private static JsonNode Ours(string name, string[] options) =>
        Turns.Ask(Turns.Ours.Program, [.. Turns.Ours.First, name, .. options], threads: 0);

    private sealed record Row(string Name, string Step, int Batch, int Frames, int Size, string Precision)
    {
        public string Title => $"{Name}, batch {Batch}, 3x{Frames}x{Size}x{Size}, {Precision}";

        public string[] Options =>
        [
            "--step", Step, "--batch", Text(Batch), "--frames", Text(Frames), "--size", Text(Size),
            .. Precision == "bf16" ? new[] { "--amp", "bf16" } : Precision == "tf32" ? ["--tf32"] : [],
        ];

        private static string Text(int number) => number.ToString(CultureInfo.InvariantCulture);
    }
}
