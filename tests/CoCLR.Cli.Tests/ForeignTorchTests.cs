// Why this exists: COCLR_LIBTORCH must take the place of the packaged libtorch: two of them in one process share nothing and crash late.
using System.Diagnostics;
using CoCLR.Core;

namespace CoCLR.Cli.Tests;

[System.Runtime.Versioning.SupportedOSPlatform("linux")]
public sealed class ForeignTorchTests(TinyExperiment tiny) : IClassFixture<TinyExperiment>
{
    private static readonly string s_packaged = Path.Combine(AppContext.BaseDirectory, "libtorch");

    [Fact]
    public async Task OtherFolder_IsTheOnlyLibtorchOfATraining()
    {
        string lib = Path.Combine(tiny.Folder, "torch", "lib");
        Directory.CreateDirectory(lib);
        foreach (string file in Directory.EnumerateFiles(s_packaged))
        {
            File.Copy(file, Path.Combine(lib, Path.GetFileName(file))); // a link would hide a second loading: one file, one mapping
        }

        (string plan, string run) = tiny.NewRun("foreign", spec => spec with { Training = spec.Training with { Epochs = 400 } });
        using Process process = Coclr.StartWith(
            new() { ["COCLR_LIBTORCH"] = Path.GetDirectoryName(lib)! },
            "stage",
            "--plan",
            plan,
            "--stage",
            "pretrain-rgb",
            "--cache",
            tiny.Cache);
        string events = Path.Combine(run, "stages", "pretrain-rgb", "events.jsonl");
        await Coclr.UntilAsync(
            () => process.HasExited
                || (File.Exists(events) && Coclr.ReadShared(events).Contains("\"kind\":\"metric\"", StringComparison.Ordinal)));
        string[] mapped = process.HasExited
            ? []
            : [.. File.ReadLines($"/proc/{process.Id}/maps").Select(line => line[(line.LastIndexOf(' ') + 1)..]).Where(IsTorch).Distinct()];
        Coclr.Signal(process, 15);
        (await Coclr.EndAsync(process)).Expect(ExitCodes.Terminated);
        Assert.Contains(Path.Combine(lib, "libtorch_cpu.so"), mapped);
        Assert.All(mapped, path => Assert.StartsWith(lib, path, StringComparison.Ordinal));

        static bool IsTorch(string path) => Path.GetFileName(path) is var name
            && (
                name.StartsWith("libtorch", StringComparison.Ordinal) || name.StartsWith("libc10", StringComparison.Ordinal)
                    || name.StartsWith("libgomp", StringComparison.Ordinal));
    }

    [Fact]
    public async Task FolderThatDoesNotFit_IsRefusedInOneSentence()
    {
        string empty = Directory.CreateDirectory(Path.Combine(tiny.Folder, "empty")).FullName;
        string broken = Directory.CreateDirectory(Path.Combine(tiny.Folder, "broken")).FullName;
        string other = Directory.CreateDirectory(Path.Combine(tiny.Folder, "other")).FullName;
        foreach (string name in new[] { "libc10.so", "libtorch_cpu.so", "libtorch.so" })
        {
            await File.WriteAllTextAsync(Path.Combine(broken, name), "not a library", TestContext.Current.CancellationToken);
            // a library, but without what is needed, as of another version
            File.Copy(Directory.EnumerateFiles(s_packaged, "libgomp*").Single(), Path.Combine(other, name));
        }

        foreach ((string folder, string words) in new[] { (empty, "has no libtorch_cpu.so"), (broken, "cannot load"), (other, "does not fit") })
        {
            (string plan, _) = tiny.NewRun("misfit-" + Path.GetFileName(folder));
            using Process process = Coclr.StartWith(
                new() { ["COCLR_LIBTORCH"] = folder }, "stage", "--plan", plan, "--stage", "pretrain-rgb", "--cache", tiny.Cache);
            Finished stage = (await Coclr.EndAsync(process)).Expect(ExitCodes.BadConfiguration);
            Assert.Contains("COCLR_LIBTORCH", stage.Errors, StringComparison.Ordinal);
            Assert.Contains(words, stage.Errors, StringComparison.Ordinal);
            using Process doctor = Coclr.StartWith(new() { ["COCLR_LIBTORCH"] = folder }, "doctor");
            Assert.Contains(
                "FIX  libtorch", (await Coclr.EndAsync(doctor)).Expect(ExitCodes.BadConfiguration).Output, StringComparison.Ordinal);
        }
    }
}
