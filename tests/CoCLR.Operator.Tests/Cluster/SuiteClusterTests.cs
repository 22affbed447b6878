// Why this exists: what an API server with the generated CRD lets in of a suite, which the rules of a single experiment must not decide.
using System.Text.Json.Nodes;
using CoCLR.Cluster;
using CoCLR.Operator.Tests.Harness;

namespace CoCLR.Operator.Tests.Cluster;

public class SuiteClusterTests
{
    private static JsonObject Suite(string name, string spec) => Arena.Parse($$"""
        apiVersion: coclr.dev/v1alpha1
        kind: CoCLRBenchmark
        metadata: {name: {{name}}}
        spec:
        {{spec}}
        """);

    private const string OneView = """
          template:
            dataset: {source: {synthetic: {classes: 2, trainGroups: 2, testGroups: 1, groupSize: 2, frames: 8, size: 32}}, storedSize: 32}
            views: [RGB]
            model: {backbone: S3DMini, width: "0.125", projectionSize: 8}
            clip: {frames: 8, size: 32}
            training: {epochs: 1, batchSize: 2, queueSize: 4}
            resources: {gpus: 0}
        """;

    [Fact]
    public async Task AxisOverTheMethod_OnOneView_IsAcceptedAndMakesItsExperiments()
    {
        await using Arena arena = await Arena.StartAsync();
        await arena.StartOperatorAsync();
        await arena.ApplyAsync(InNamespace(arena, Suite("two-methods", """
              matrix:
                - {name: method, field: training.method, values: [InfoNCE, UberNCE]}
              parallelism: 2
            """ + "\n" + OneView)));
        await Arena.UntilAsync(
            "the suite has its experiments",
            async () => (await arena.ListAsync(ResourceKind.Experiment, "coclr.dev/benchmark=two-methods")).Length == 2);
    }

    [Fact]
    public async Task AxisThatMakesACellInvalid_IsAcceptedAndNamesTheCell()
    {
        await using Arena arena = await Arena.StartAsync();
        await arena.StartOperatorAsync();
        await arena.ApplyAsync(InNamespace(arena, Suite("bad-cell", """
              matrix:
                - {name: method, field: spec.training.method, values: [InfoNCE, CoCLR]}
            """ + "\n" + OneView)));
        await Arena.UntilAsync("the suite says which cell is wrong", async () =>
            (await arena.GetAsync(ResourceKind.Benchmark, "bad-cell"))?["status"]?["conditions"]?.ToJsonString()
                .Contains("in the cell method=CoCLR", StringComparison.Ordinal) == true);
    }

    [Theory]
    [InlineData("  matrix: [{name: k, field: cotrain.topK, values: [\"1\"]}]", "CoCLR needs both views")]
    [InlineData("  seeds: [0]", "CoCLR needs both views")]
    public async Task RuleThatNoAxisTouches_IsAskedAtOnce(string matrix, string words)
    {
        await using Arena arena = await Arena.StartAsync();
        ApiException refused =
            await Assert.ThrowsAsync<ApiException>(() => arena.ApplyAsync(InNamespace(arena, Suite("refused", matrix + "\n" + OneView))));
        Assert.Contains(words, refused.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task AxisOverTheSource_NeedsNoSourceInTheTemplate()
    {
        await using Arena arena = await Arena.StartAsync();
        await arena.ApplyAsync(InNamespace(arena, Suite("folders", """
              matrix: [{name: data, field: dataset.source.path, values: [/data/a, /data/b]}]
              template: {dataset: {source: {}}}
            """)));
    }

    private static JsonObject InNamespace(Arena arena, JsonObject suite)
    {
        suite["metadata"]!["namespace"] = arena.Namespace;
        return suite;
    }
}
