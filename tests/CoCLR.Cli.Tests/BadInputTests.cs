// Why this exists: every mistake a person can make gives one clear sentence and the documented exit code, and never a stack trace.
using CoCLR.Core;

namespace CoCLR.Cli.Tests;

public sealed class BadInputTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("coclr-bad-").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Theory]
    [InlineData("nonsense", ExitCodes.Usage, "'nonsense' is not a verb")]
    [InlineData("runn -f x.yaml", ExitCodes.Usage, "did you mean 'run'?")]
    [InlineData("data prepair x", ExitCodes.Usage, "of coclr data; did you mean 'prepare'?")]
    [InlineData("data prepare x --size 0", ExitCodes.Usage, "--size: 0 is out of range")]
    [InlineData("data flow x --size 513", ExitCodes.Usage, "--size: 513 is out of range")]
    [InlineData("data scan x --split 0", ExitCodes.Usage, "--split: 0 is out of range")]
    [InlineData("embed x -c y -o z --frames 0", ExitCodes.Usage, "--frames: 0 is out of range")]
    [InlineData("data prepare x --max-bad-fraction 2", ExitCodes.Usage, "--max-bad-fraction: 2 is out of range")]
    [InlineData("run", ExitCodes.Usage, "--file")]
    [InlineData("run -f nowhere.yaml", ExitCodes.MissingInput, "nowhere.yaml")]
    [InlineData("plan -f nowhere.yaml -o svg", ExitCodes.Usage, "svg")]
    [InlineData("stage --plan nowhere.json --stage decode", ExitCodes.MissingInput, "nowhere.json")]
    [InlineData("data scan nowhere", ExitCodes.MissingInput, "nowhere")]
    [InlineData("data synth out --classes 99", ExitCodes.Usage, "--classes: 99 is out of range")]
    [InlineData("export nowhere out.pth", ExitCodes.MissingInput, "nowhere")]
    [InlineData("import nowhere.pth out", ExitCodes.MissingInput, "nowhere.pth")]
    [InlineData("search nowhere nowhere.mp4", ExitCodes.MissingInput, "nowhere.mp4")]
    [InlineData("completion tcsh", ExitCodes.Usage, "tcsh")]
    public async Task Arguments_GiveOneSentenceAndTheCode(string arguments, int exitCode, string words)
    {
        Finished finished = (await Coclr.RunAsync([.. arguments.Split(' ')])).Expect(exitCode);
        Assert.Contains(words, finished.Errors, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("training: {epochz: 1}", ExitCodes.BadConfiguration, "did you mean 'epochs'?")]
    [InlineData("training: {batchSize: 64, queueSize: 32}", ExitCodes.BadConfiguration, "must not be larger than training.queueSize")]
    [InlineData("views: [RGB]", ExitCodes.BadConfiguration, "CoCLR needs both views")]
    [InlineData("device: cuda:7", ExitCodes.BadConfiguration, "cuda:7")]
    public async Task Manifest_IsRefusedBeforeAnythingIsWritten(string line, int exitCode, string words)
    {
        string file = Write($"  {line}");
        Finished finished = (await Coclr.RunAsync("run", "-f", file, "-w", Path.Combine(_folder, "runs"))).Expect(exitCode);
        Assert.Contains(words, finished.Errors, StringComparison.Ordinal);
    }

    [Fact]
    public async Task DryRun_PrintsTheStages_AndWritesNothing()
    {
        string file = Write("");
        Finished finished = (await Coclr.RunAsync("run", "-f", file, "-w", Path.Combine(_folder, "runs"), "--dry-run")).Expect(0);
        Assert.Contains("cycle-2-flow", finished.Output, StringComparison.Ordinal);
        Assert.False(Directory.Exists(Path.Combine(_folder, "runs")));
    }

    [Theory]
    [InlineData("/dev/stdin")]
    [InlineData("-")]
    public async Task ManifestFromAPipe_IsReadOnce(string name)
    {
        string text = await File.ReadAllTextAsync(Write(""), TestContext.Current.CancellationToken);
        foreach (string[] arguments in new string[][] { ["run", "--dry-run", "-w", Path.Combine(_folder, "runs")], ["plan"] })
        {
            Finished finished = (await Coclr.RunWithInputAsync(text, [.. arguments, "-f", name])).Expect(0);
            Assert.Contains("cycle-2-flow", finished.Output, StringComparison.Ordinal);
        }
    }

    [Fact]
    public async Task SuiteFromAPipe_IsReadOnce()
    {
        string suite = "apiVersion: coclr.dev/v1alpha1\nkind: CoCLRBenchmark\nmetadata: {name: pair}\nspec:\n  template: {dataset: "
            + "{source: {synthetic: {}}}}\n  matrix: [{name: method, field: training.method, values: [InfoNCE, UberNCE]}]\n";
        Finished finished =
            (await Coclr.RunWithInputAsync(suite, "run", "--dry-run", "-f", "/dev/stdin", "-w", Path.Combine(_folder, "runs"))).Expect(0);
        Assert.Equal(2, finished.Output.Split('\n', StringSplitOptions.RemoveEmptyEntries).Length);
        finished = (await Coclr.RunWithInputAsync(suite, "plan", "-f", "-")).Expect(ExitCodes.BadConfiguration);
        Assert.Contains("takes one experiment", finished.Errors, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("run", "")]
    [InlineData("run", "/below")]
    [InlineData("prepare", "")]
    public async Task WorkdirThatIsAFile_IsBadConfiguration(string verb, string below)
    {
        string file = Path.Combine(_folder, "file");
        await File.WriteAllTextAsync(file, "", TestContext.Current.CancellationToken);
        string[] arguments = verb == "run" ? ["run", "-f", Write("")] : ["data", "prepare", await ClassFolderAsync()];
        Finished finished = (await Coclr.RunAsync([.. arguments, "-w", file + below])).Expect(ExitCodes.BadConfiguration);
        Assert.Contains($"{file} is a file, not a folder", finished.Errors, StringComparison.Ordinal);
    }

    [Fact]
    public async Task SplitOfClassFolders_IsRefused()
    {
        Finished finished =
            (await Coclr.RunAsync("data", "prepare", await ClassFolderAsync(), "--split", "19", "-w", Path.Combine(_folder, "runs")))
            .Expect(ExitCodes.BadConfiguration);
        Assert.Contains("there is no split 19", finished.Errors, StringComparison.Ordinal);
    }

    [Fact]
    public async Task NameThatIsNotUtf8_IsListedAsLsShowsIt()
    {
        string folder = await ClassFolderAsync();
        using System.Diagnostics.Process rename =
            System.Diagnostics.Process.Start("bash", ["-c", $"printf x > '{folder}/Walk/'$(printf 'caf\\351').mp4"]);
        await rename.WaitForExitAsync(TestContext.Current.CancellationToken);
        Finished scan = (await Coclr.RunAsync("data", "scan", folder)).Expect(0);
        Assert.Contains("broken: Walk/caf\\351.mp4: its name is not UTF-8", scan.Output, StringComparison.Ordinal);
        Finished prepare = await Coclr.RunAsync("data", "prepare", folder, "--max-bad-fraction", "1", "-w", Path.Combine(_folder, "runs"));
        using System.Diagnostics.Process remove = System.Diagnostics.Process.Start("rm", ["-r", folder]);
        await remove.WaitForExitAsync(TestContext.Current.CancellationToken);
        prepare.Expect(ExitCodes.BadData);
    }

    [Fact]
    public async Task MissingDataFolder_IsNamed_AndNotTriedAgain()
    {
        string file = Path.Combine(_folder, "m.yaml");
        await File.WriteAllTextAsync(
            file, Header + "  dataset: {source: {path: /no/such/folder}}\n", TestContext.Current.CancellationToken);
        Finished finished = (await Coclr.RunAsync("run", "-f", file, "-w", Path.Combine(_folder, "runs"))).Expect(ExitCodes.MissingInput);
        Assert.Contains("/no/such/folder", finished.Errors, StringComparison.Ordinal);
        Assert.DoesNotContain(", trying again", finished.Errors, StringComparison.Ordinal);
    }

    [Fact]
    public async Task RunFolderOfAnotherManifest_IsRefused()
    {
        string file = Write("");
        string runs = Path.Combine(_folder, "runs");
        string id = (await Coclr.RunAsync("plan", "-f", file, "-o", "json")).Expect(0).Output.Split("\"run\": \"")[1].Split('"')[0];
        string plan = (await Coclr.RunAsync("plan", "-f", file, "-o", "json", "--set", "seed=9")).Expect(0).Output;
        Directory.CreateDirectory(Path.Combine(runs, id));
        await File.WriteAllTextAsync(Path.Combine(runs, id, "plan.json"), plan, TestContext.Current.CancellationToken);
        Finished finished = (await Coclr.RunAsync("run", "-f", file, "-w", runs)).Expect(ExitCodes.BadConfiguration);
        Assert.Contains("another manifest", finished.Errors, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("--help")]
    [InlineData("help run")]
    [InlineData("run --help")]
    [InlineData("data synth --help")]
    [InlineData("doctor --help")]
    public async Task Help_HasAnExample_AndExits0(string arguments)
    {
        Finished finished = (await Coclr.RunAsync([.. arguments.Split(' ')])).Expect(0);
        Assert.Contains("coclr", finished.Output, StringComparison.Ordinal);
    }

    private async Task<string> ClassFolderAsync()
    {
        string folder = Path.Combine(_folder, "videos");
        Directory.CreateDirectory(Path.Combine(folder, "Walk"));
        await File.WriteAllTextAsync(Path.Combine(folder, "Walk", "a.mp4"), "no video", TestContext.Current.CancellationToken);
        return folder;
    }

    private const string Header = "apiVersion: coclr.dev/v1alpha1\nkind: CoCLRExperiment\nmetadata: {name: bad}\nspec:\n";

    private string Write(string lines)
    {
        string file = Path.Combine(_folder, "bad.yaml");
        File.WriteAllText(file, Header + "  dataset: {source: {synthetic: {}}}\n" + lines + "\n");
        return file;
    }
}
