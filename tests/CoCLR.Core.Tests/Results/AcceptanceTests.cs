// Why this exists: a gate that lets a worse representation through, or stops a good one, is worse than none.
using CoCLR.Core.Manifests;
using CoCLR.Core.Results;

namespace CoCLR.Core.Tests.Results;

public sealed class AcceptanceTests
{
    private static BenchmarkSpec Suite(string expect) =>
        Read(expect).Manifest?.Spec ?? throw new InvalidOperationException(string.Join("; ", Read(expect).Problems));

    private static ManifestReading<BenchmarkSpec> Read(string expect, string baseline = "baseline: [{axis: method, value: InfoNCE}]") => ManifestReader.ReadBenchmark($$"""
        apiVersion: coclr.dev/v1alpha1
        kind: CoCLRBenchmark
        metadata: {name: suite}
        spec:
          template: {dataset: {source: {synthetic: {} } } }
          matrix: [{name: method, field: training.method, values: [InfoNCE, CoCLR]}]
          seeds: [0, 1]
          {{baseline}}
          expect: {{expect}}
        """);

    /// <summary>Judges with a value for each of InfoNCE 0, InfoNCE 1, CoCLR 0, CoCLR 1.</summary>
    private static IReadOnlyList<ExpectationOutcome> Judge(string expect, double?[] values, bool ended = true)
    {
        BenchmarkSpec spec = Suite(expect);
        IReadOnlyList<MatrixExperiment> experiments = BenchmarkRules.Expand("suite", spec);
        return Acceptance.Judge(
            spec,
            experiments,
            (e, view, measure) =>
                view == ResultView.Rgb && measure == ResultMeasure.LinearProbeTop1 ? values[experiments.ToList().IndexOf(e)] : null,
            _ => ended);
    }

    [Theory]
    [InlineData("0.6", true)]
    [InlineData("0.61", false)]
    public void Minimum_IsOfTheMeanOverTheSeeds(string minimum, bool met)
    {
        ExpectationOutcome outcome = Assert.Single(
            Judge($"[{{cell: [{{axis: method, value: CoCLR}}], measure: linearProbeTop1, minimum: \"{minimum}\"}}]", [0.1, 0.1, 0.5, 0.7]));
        Assert.Equal(met, outcome.Met);
        Assert.Contains("method=CoCLR, rgb, linear probe: 60.0 over 2 seeds", outcome.Text, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("0.1", true)]
    [InlineData("0.13", false)]
    [InlineData("-0.5", true)]
    public void Difference_IsToTheBaselinesCellAndNeverOfTheBaselineItself(string difference, bool met)
    {
        ExpectationOutcome outcome =
            Assert.Single(Judge($"[{{measure: linearProbeTop1, minimumDifference: \"{difference}\"}}]", [0.5, 0.5, 0.625, 0.625]));
        Assert.Equal(met, outcome.Met);
        Assert.Contains("over method=InfoNCE: +12.5 (62.5 against 50.0)", outcome.Text, StringComparison.Ordinal);
    }

    [Fact]
    public void Seed_ThatRunsYet_LeavesItOpenAndOneThatEndedWithoutTheMeasureDoesNot()
    {
        const string Expect = """[{cell: [{axis: method, value: CoCLR}], measure: linearProbeTop1, minimum: "0.1"}]""";
        Assert.Null(Acceptance.All(Judge(Expect, [null, null, 0.9, null], ended: false)));
        ExpectationOutcome outcome = Assert.Single(Judge(Expect, [null, null, 0.9, null]));
        Assert.False(outcome.Met);
        Assert.Contains("1 of 2 seeds measured; the others have ended without this measure", outcome.Text, StringComparison.Ordinal);
    }

    [Fact]
    public void Everything_IsMetOnlyWhenEachIs_TheWorstFirst()
    {
        IReadOnlyList<ExpectationOutcome> outcomes = Judge("""[{measure: linearProbeTop1, minimum: "0.3"}]""", [0.4, 0.4, 0.2, 0.2]);
        Assert.Equal([false, true], outcomes.Select(o => o.Met));
        Assert.False(Acceptance.All(outcomes));
        Assert.True(Acceptance.All(Judge("""[{measure: linearProbeTop1, minimum: "0.1"}]""", [0.4, 0.4, 0.2, 0.2])));
        Assert.Null(Acceptance.All([]));
    }

    [Theory]
    [InlineData("[{measure: linearProbeTop1}]", "spec.expect[0]", "give minimum, minimumDifference or both")]
    [InlineData("[{measure: accuracy, minimum: \"0.5\"}]", "spec.expect[0].measure", "'accuracy' is not one of")]
    [
        InlineData(
            "[{cell: [{axis: method, value: CMC}], measure: recallAt1, minimum: \"0.5\"}]",
            "spec.expect[0].cell[0].value",
            "'CMC' is not a value of method")]
    [InlineData("[{measure: recallAt1, minimum: \"50\"}]", "spec.expect[0].minimum", "out of range")]
    public void Mistake_IsNamed(string expect, string path, string words)
    {
        var problem = Assert.Single(Read(expect).Problems);
        Assert.Equal(path, problem.Path);
        Assert.Contains(words, problem.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Difference_WithoutABaseline_IsRefused() =>
        Assert.Contains(
            "needs spec.baseline",
            Assert.Single(Read("""[{measure: recallAt1, minimumDifference: "0"}]""", "").Problems).Message,
            StringComparison.Ordinal);
}
