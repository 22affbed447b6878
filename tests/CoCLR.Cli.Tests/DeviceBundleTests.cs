// Why this exists: run.sh of a device bundle runs on machines that nobody here sees: it must find PyTorch, hand over to the right program,
// or say what is missing.
using System.Diagnostics;
using CoCLR.Core;

namespace CoCLR.Cli.Tests;

public sealed class DeviceBundleTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("coclr-bundle-").FullName;

    public DeviceBundleTests()
    {
        foreach (string program in new[] { "coclr", "CoCLR.Benchmarks" })
        {
            Script(Path.Combine("bin", program), $"#!/bin/sh\necho \"{program} $* | $COCLR_LIBTORCH | $PATH | $COCLR_PEERS_DIR\"\n");
        }

        // What `python3 -c` prints where torch is, and is not, installed.
        Script("with-torch", "#!/bin/sh\necho /opt/site-packages/torch/lib\n");
        Script("without-torch", "#!/bin/sh\necho\n");
        File.Copy(Path.Combine(Root, "build", "device-run.sh"), Path.Combine(_folder, "run.sh"));
    }

    private static string Root => Environment.GetEnvironmentVariable("COCLR_ROOT") is { Length: > 0 } root
        ? root
        : Path.GetFullPath(Path.Combine(AppContext.BaseDirectory, "../../../../.."));

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Theory]
    [InlineData("coclr check --quick", "check", "--quick")]
    [InlineData("CoCLR.Benchmarks gpu --rounds 1", "bench", "gpu", "--rounds", "1")]
    [
        InlineData(
            "coclr run -f my.yaml -w /dev/shm/coclr --set device=cuda --set training.epochs=1",
            "train",
            "my.yaml",
            "--set",
            "training.epochs=1")]
    public async Task Verb_IsHandedOver_WithThePythonsTorch_AndTheBundlesFfmpeg(string expected, params string[] arguments)
    {
        Finished finished = (await RunAsync("with-torch", arguments)).Expect(0);
        Assert.Equal(expected, finished.Output.Split(" | ")[0]);
        Assert.Equal("/opt/site-packages/torch/lib", finished.Output.Split(" | ")[1]);
        Assert.StartsWith(Path.Combine(_folder, "ffmpeg") + ":", finished.Output.Split(" | ")[2], StringComparison.Ordinal);
        Assert.Equal(Path.Combine(_folder, "peers"), finished.Output.Split(" | ")[3].Trim());
    }

    [Fact]
    public async Task WithoutTorch_SaysWhatToSet_AndEndsWith78() =>
        Assert.Contains(
            "COCLR_LIBTORCH",
            (await RunAsync("without-torch", "check")).Expect(ExitCodes.BadConfiguration).Errors,
            StringComparison.Ordinal);

    [Fact]
    public async Task NothingAsked_ExplainsItself_WithoutLookingForTorch() =>
        Assert.Contains("bench gpu", (await RunAsync("without-torch")).Expect(0).Output, StringComparison.Ordinal);

    [Fact]
    public async Task Bundle_ThatIsNoTarXz_IsRefused()
    {
        var start = new ProcessStartInfo("bash", [Path.Combine(Root, "build", "device-bundle"), "out.zip"])
        {
            RedirectStandardOutput = true, RedirectStandardError = true,
        };
        using Process process = Process.Start(start)!;
        Assert.Contains(
            "usage: build/device-bundle", (await Coclr.EndAsync(process)).Expect(ExitCodes.Usage).Errors, StringComparison.Ordinal);
    }

    private void Script(string name, string text)
    {
        string path = Path.Combine(_folder, name);
        Directory.CreateDirectory(Path.GetDirectoryName(path)!);
        File.WriteAllText(path, text);
        File.SetUnixFileMode(path, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
    }

    private async Task<Finished> RunAsync(string python, params string[] arguments)
    {
        var start = new ProcessStartInfo(
            "bash", [Path.Combine(_folder, "run.sh"), .. arguments])
        { RedirectStandardOutput = true, RedirectStandardError = true };
        start.Environment["COCLR_PYTHON"] = Path.Combine(_folder, python);
        foreach (string variable in new[] { "COCLR_LIBTORCH", "COCLR_PEERS_DIR", "COCLR_WORKDIR" })
        {
            start.Environment.Remove(variable);
        }

        using Process process = Process.Start(start)!;
        return await Coclr.EndAsync(process);
    }
}
