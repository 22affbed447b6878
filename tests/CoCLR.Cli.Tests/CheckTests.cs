// Why this exists: `coclr check` is a person's first and last look at a card; its whole way is walked here on the processor.
using System.Diagnostics;
using System.Text.Json;
using CoCLR.Core;

namespace CoCLR.Cli.Tests;

public sealed class CheckTests
{
    [Fact]
    public async Task WithoutAGpu_SaysSo_AndEndsWith78()
    {
        Finished finished = (await Coclr.RunAsync("check")).Expect(ExitCodes.BadConfiguration);
        Assert.Contains("libtorch sees no CUDA GPU", finished.Errors, StringComparison.Ordinal);
        Assert.Empty(finished.Output);
    }

    [Fact]
    public async Task Json_HasEveryRow_WithToleranceAndDifference()
    {
        Finished finished = (await Coclr.RunAsync("check", "--device", "cpu", "--quick", "--only", "loss, ", "--json"))
            .Expect(ExitCodes.Done);
        JsonElement answer = JsonDocument.Parse(finished.Output).RootElement;
        Assert.True(answer.GetProperty("passed").GetBoolean());
        Assert.Equal(
            ["loss, InfoNCE", "loss, UberNCE", "loss, CMC", "loss, CoCLR"],
            answer.GetProperty("checks").EnumerateArray().Select(c => c.GetProperty("name").GetString()));
        Assert.All(answer.GetProperty("checks").EnumerateArray(), row =>
        {
            Assert.Equal("fp32", row.GetProperty("precision").GetString());
            Assert.InRange(row.GetProperty("difference").GetDouble(), 0, row.GetProperty("tolerance").GetDouble());
        });
    }

    [Fact]
    public async Task NameThatNoCheckHas_IsRefused() =>
        (await Coclr.RunAsync("check", "--device", "cpu", "--only", "no such thing")).Expect(ExitCodes.Usage);

    [Theory]
    [InlineData("exit code")]
    [InlineData("kill -9")]
    public async Task TrainingsThatAreEnded_OnTheProcessor_EndAsDocumented(string part)
    {
        Finished finished = await Coclr.RunAsync("check", "--device", "cpu", "--quick", "--only", part);
        finished.Expect(ExitCodes.Done);
        Assert.Contains(" checks passed in ", finished.Output, StringComparison.Ordinal);
        Assert.Contains(part, finished.Output, StringComparison.Ordinal);
    }

    /// <summary>
    /// What CUDA and cuDNN do when C++ takes them down, done by a library that fails whenever a process ends in the usual way.
    /// </summary>
    [Theory]
    [InlineData(ExitCodes.Done, "check", "--device", "cpu", "--quick", "--only", "loss, InfoNCE")]
    [InlineData(ExitCodes.BadConfiguration, "check", "--device", "cuda")]
    public async Task NativeLibraryThatFailsWhenTheProcessEnds_DoesNotChangeTheExitCode(int expected, params string[] arguments)
    {
        string folder = Directory.CreateTempSubdirectory("coclr-end-").FullName;
        try
        {
            string library = Path.Combine(folder, "failing.so");
            Assert.SkipUnless(await CompilesAsync(folder, library), "no C compiler");
            using Process process = Coclr.StartWith(new() { ["LD_PRELOAD"] = library }, arguments);
            Finished finished = await Coclr.EndAsync(process);
            Assert.True(finished.ExitCode == expected, $"{finished.ExitCode}: {finished.Errors}");
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    private static async Task<bool> CompilesAsync(string folder, string library)
    {
        string source = Path.Combine(folder, "failing.c");
        await File.WriteAllTextAsync(source, "#include <stdlib.h>\n__attribute__((destructor)) static void ends(void) { abort(); }\n");
        try
        {
            using Process compiler =
                Process.Start(new ProcessStartInfo("cc", ["-shared", "-fPIC", "-o", library, source]) { RedirectStandardError = true })!;
            await compiler.WaitForExitAsync();
            return compiler.ExitCode == 0;
        }
        catch (System.ComponentModel.Win32Exception)
        {
            return false;
        }
    }
}
