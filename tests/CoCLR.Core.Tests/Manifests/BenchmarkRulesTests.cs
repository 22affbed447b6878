// Why this exists: a suite expands to the experiments it names, keeps names that did not change, and names its mistakes.
using CoCLR.Core.Manifests;

namespace CoCLR.Core.Tests.Manifests;

public sealed class BenchmarkRulesTests
{
    private static string Suite(string rest) => $$"""
        apiVersion: coclr.dev/v1alpha1
        kind: CoCLRBenchmark
        metadata: {name: suite}
        spec:
          template: {dataset: {source: {synthetic: {} } } }
        {{rest}}
        """;

    [Fact]
    public void Matrix_ExpandsToCellsTimesSeedsLessExclusions()
    {
        var reading = ManifestReader.ReadBenchmark(Suite("""
              matrix:
              - {name: method, field: training.method, values: [InfoNCE, CoCLR]}
              - {name: k, field: cotrain.topK, values: ["1", "5", "50"]}
              exclude:
              - match: [{axis: method, value: InfoNCE}, {axis: k, value: "50"}]
              seeds: [0, 1]
              baseline: [{axis: method, value: InfoNCE}]
            """));
        Assert.Empty(reading.Problems);
        var all = BenchmarkRules.Expand("suite", reading.Manifest!.Spec);
        Assert.Equal(10, all.Count);
        Assert.Equal(10, all.Select(e => e.Name).Distinct().Count());
        Assert.All(all, e => Assert.Equal(e.Cell["k"], e.Spec.Cotrain.TopK.ToString(System.Globalization.CultureInfo.InvariantCulture)));
        Assert.DoesNotContain(all, e => e.Cell["method"] == "InfoNCE" && e.Cell["k"] == "50");
    }

    [Fact]
    public void Edit_OfOneAxisValue_KeepsTheNamesOfTheRest()
    {
        string Names(string values) => string.Join(
            ' ',
            BenchmarkRules.Expand(
                "suite",
                ManifestReader.ReadBenchmark(Suite($"  matrix:\n  - {{name: k, field: cotrain.topK, values: [{values}]}}")).Manifest!.Spec)
                .Select(e => e.Name));
        string[] before = Names("\"1\", \"5\"").Split(' ');
        string[] after = Names("\"5\", \"9\"").Split(' ');
        Assert.Equal(before[1], after[0]);
        Assert.DoesNotContain(after[1], before);
    }

    [Theory]
    [InlineData("  matrix: [{name: a, field: training.metod, values: [x]}]", "spec.matrix[0].field", "did you mean 'method'?")]
    [InlineData("  matrix: [{name: a, field: training.epochs, values: [x]}]", "spec.template.training.epochs", "whole number")]
    [InlineData("  matrix: [{name: a, field: training.batchSize, values: [\"48\"]}]", "spec.template.training.queueSize", "multiple")]
    [InlineData("  baseline: [{axis: b, value: x}]", "spec.baseline[0].axis", "not an axis")]
    [InlineData("  seeds: []", "spec.seeds", "has 0 items")]
    public void Mistake_IsNamed(string rest, string path, string words)
    {
        var reading = ManifestReader.ReadBenchmark(Suite(rest));
        var problem = Assert.Single(reading.Problems);
        Assert.Equal(path, problem.Path);
        Assert.Contains(words, problem.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Matrix_ThatExplodes_IsRefused()
    {
        string values = string.Join(", ", Enumerable.Range(1, 32).Select(i => $"\"{i}\""));
        var reading = ManifestReader.ReadBenchmark(Suite($"  matrix:\n  - {{name: a, field: cotrain.topK, values: [{values}]}}\n  - "
            + $"{{name: b, field: training.epochs, values: [{values}]}}"));
        Assert.Contains("1024 experiments", Assert.Single(reading.Problems).Message, StringComparison.Ordinal);
    }
}
