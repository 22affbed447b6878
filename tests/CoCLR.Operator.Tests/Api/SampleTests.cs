// Why this exists: every sample is valid in the words of `coclr run` and accepted by an API server with the CRDs.
using System.Text.Json.Nodes;
using CoCLR.Core.Manifests;
using CoCLR.Operator.Tests.Harness;

namespace CoCLR.Operator.Tests.Api;

public class SampleTests
{
    private static string Folder => Path.Combine(Repository.Root, "samples");

    public static TheoryData<string> Files => [.. Directory.GetFiles(Folder, "*.yaml").Select(f => Path.GetFileName(f)).Order()];

    [Fact]
    public void Samples_OfEveryKind_AreThere() => Assert.Superset(
        new HashSet<string>
        {
            "minimal.yaml", "ucf101-coclr.yaml", "kinetics400-coclr.yaml", "sweep-topk.yaml", "suspended.yaml", "kueue.yaml", "s3.yaml",
            "synthetic-smoke.yaml"
        },
        Directory.GetFiles(Folder, "*.yaml").Select(f => Path.GetFileName(f)).ToHashSet());

    [Theory]
    [MemberData(nameof(Files))]
    public void Sample_Read_HasNoProblems(string file)
    {
        foreach (string text in Documents(file).Where(d => !d.Contains("kind: Secret", StringComparison.Ordinal)))
        {
            if (ManifestReader.KindOf(text) == ApiNames.Benchmark)
            {
                Assert.Empty(ManifestReader.ReadBenchmark(text).Problems);
            }
            else
            {
                Assert.Empty(ManifestReader.ReadExperiment(text).Problems);
            }
        }
    }

    [Theory]
    [InlineData("ucf101-coclr.yaml", 80)]
    [InlineData("kinetics400-coclr.yaml", 40)]
    public void PapersRecipes_LowerTheRateInPretrainingAndInTurns(string file, int milestone)
    {
        ExperimentSpec spec = ManifestReader.ReadExperiment(File.ReadAllText(Path.Combine(Folder, file))).Manifest!.Spec;
        Assert.Equal([250, 280], spec.Training.Optimizer.Milestones);
        Assert.Equal([milestone], spec.TurnOptimizer().Milestones);
    }

    [Fact]
    public async Task Samples_Applied_AreAcceptedAndReconciled()
    {
        await using Arena arena = await Arena.StartAsync();
        await arena.StartOperatorAsync();
        foreach (string file in Directory.GetFiles(Folder, "*.yaml"))
        {
            foreach (string text in Documents(file))
            {
                JsonObject value = Arena.Parse(text);
                value["metadata"]!["namespace"] = arena.Namespace;
                await arena.ApplyAsync(value);
            }
        }

        await arena.StateAsync("minimal", "Waiting");
        await arena.StateAsync("synthetic-smoke", "Starting");
        await arena.StateAsync("suspended", "Suspended");
        await arena.StateAsync("kueue", "Waiting");
        await arena.StateAsync("s3", "Starting");
        await Arena.UntilAsync(
            "the sweep has its experiments",
            async () => (await arena.ListAsync(CoCLR.Cluster.ResourceKind.Experiment, "coclr.dev/benchmark=sweep-topk")).Length == 4);
    }

    private static IEnumerable<string> Documents(string file) =>
        File.ReadAllText(Path.Combine(Folder, file)).Split("\n---\n").Where(d => d.Contains("kind:", StringComparison.Ordinal));
}
