// Why this exists: the benchmarks of a card run rarely and for money; that they apply what they print and print what the documents hold is
// seen on the processor.
using System.Diagnostics;
using System.Text.Json;

namespace CoCLR.Cli.Tests;

public sealed class BenchTests
{
    private static readonly string[] s_tiny =
        ["--batch", "2", "--frames", "8", "--size", "32", "--queue", "8", "--topk", "2", "--steps", "2", "--warmup", "1", "--threads", "1"];

    [Theory]
    [InlineData("infonce")]
    [InlineData("coclr")]
    [InlineData("extract")]
    [InlineData("infonce", "--amp", "bf16", "--cudnn-benchmark")]
    [InlineData("coclr", "--plain", "--channels-last")]
    public async Task Step_PrintsThePeersKeys_AndNamesWhatItComputesWith(string step, params string[] more)
    {
        JsonElement answer = JsonDocument.Parse(await RunAsync(["step", "--step", step, .. s_tiny, .. more])).RootElement;
        Assert.Equal(step, answer.GetProperty("step").GetString());
        Assert.StartsWith("2.1", answer.GetProperty("torch").GetString(), StringComparison.Ordinal);
        Assert.Equal("cpu", answer.GetProperty("chip").GetString());
        Assert.Equal(more.Contains("bf16") ? "bf16" : "off", answer.GetProperty("amp").GetString());
        Assert.Equal(more.Contains("--plain"), answer.GetProperty("plain").GetBoolean());
        Assert.Equal((2, 8, 32, 8, 1), (Number("batch"), Number("frames"), Number("size"), Number("queue"), Number("threads")));
        Assert.True(answer.GetProperty("clips_per_s").GetDouble() > 0);
        Assert.Equal(9090848, answer.GetProperty("parameters").GetInt64());

        int Number(string name) => answer.GetProperty(name).GetInt32();
    }

    [Fact]
    public async Task Gpu_PrintsATable_OfEveryRow()
    {
        string output = await RunAsync(["gpu", "--device", "cpu", "--small", "--rounds", "1", "--steps", "1", "--only", "CoCLR"]);
        string row = Assert.Single(
            output.Split('\n'), line => line.StartsWith("| CoCLR step, batch 2, 3x8x32x32, bf16 |", StringComparison.Ordinal));
        Assert.Equal(9, row.Split('|').Length);
        Assert.DoesNotContain("InfoNCE", output, StringComparison.Ordinal);
    }

    private static async Task<string> RunAsync(string[] arguments)
    {
        string? program = Environment.GetEnvironmentVariable("COCLR_ROOT") is { Length: > 0 } root
            ? Path.Combine(
                root,
                "tests",
                "CoCLR.Benchmarks",
                "bin",
                AppContext.BaseDirectory.Contains("/Debug/", StringComparison.Ordinal) ? "Debug" : "Release",
                "net10.0",
                "CoCLR.Benchmarks.dll")
            : null;
        Assert.SkipUnless(File.Exists(program), "the benchmarks are not built (./coclr bench --help builds them)");
        var start =
            new ProcessStartInfo("dotnet", [program!, .. arguments]) { RedirectStandardOutput = true, RedirectStandardError = true };
        start.Environment["OMP_NUM_THREADS"] = "1";
        start.Environment["COCLR_PEERS_DIR"] = "/nowhere";
        using Process process = Process.Start(start)!;
        return (await Coclr.EndAsync(process)).Expect(0).Output;
    }
}
