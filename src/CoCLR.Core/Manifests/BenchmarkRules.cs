// Why this exists: what a suite expands to (one experiment per cell and seed), and the rules that only a look at the whole suite can check.
using System.Text.Json;
using System.Text.Json.Nodes;
using CoCLR.Core.Manifests.Schema;

namespace CoCLR.Core.Manifests;

/// <summary>One experiment of a suite.</summary>
/// <param name="Name">Deterministic name: the suite's and a hash of the spec.</param>
/// <param name="Cell">Value of each axis.</param>
/// <param name="Seed">Seed.</param>
/// <param name="Spec">The experiment's spec.</param>
public sealed record MatrixExperiment(string Name, IReadOnlyDictionary<string, string> Cell, int Seed, ExperimentSpec Spec);

/// <summary>Expands suites and checks them.</summary>
public static class BenchmarkRules
{
    internal const string NoBound = "give minimum, minimumDifference or both";

    private const int MaxExperiments = 500;
    private const int MaxNameLength = 52;

    /// <summary>What is wrong with a suite whose fields are each valid.</summary>
    /// <param name="spec">A suite.</param>
    public static IEnumerable<ManifestProblem> Check(BenchmarkSpec spec)
    {
        var axes = spec.Matrix.ToDictionary(a => a.Name);
        foreach ((AxisValue value, string path) in spec.Baseline.Select((v, i) => (v, $"spec.baseline[{i}]"))
            .Concat(spec.Exclude.SelectMany((e, i) => e.Match.Select((v, j) => (v, $"spec.exclude[{i}].match[{j}]"))))
            .Concat(spec.Expect.SelectMany((e, i) => e.Cell.Select((v, j) => (v, $"spec.expect[{i}].cell[{j}]")))))
        {
            if (!axes.TryGetValue(value.Axis, out MatrixAxis? axis))
            {
                yield return new ManifestProblem(
                    $"{path}.axis", $"'{value.Axis}' is not an axis of the matrix ({string.Join(", ", axes.Keys)})");
            }
            else if (!axis.Values.Contains(value.Value))
            {
                yield return new ManifestProblem(
                    $"{path}.value", $"'{value.Value}' is not a value of {axis.Name} ({string.Join(", ", axis.Values)})");
            }
        }

        for (int i = 0; i < spec.Expect.Count; i++)
        {
            Expectation expected = spec.Expect[i];
            if (expected.Minimum == null && expected.MinimumDifference == null)
            {
                yield return new ManifestProblem($"spec.expect[{i}]", NoBound);
            }

            if (expected.MinimumDifference != null && spec.Baseline.Count == 0)
            {
                yield return new ManifestProblem(
                    $"spec.expect[{i}].minimumDifference", "needs spec.baseline, the cell that others are compared with");
            }
        }

        long cells = spec.Matrix.Aggregate((long)spec.Seeds.Count, (n, a) => Math.Min(int.MaxValue, n * a.Values.Count));
        if (cells > MaxExperiments)
        {
            yield return new ManifestProblem("spec.matrix", $"makes {cells} experiments; at most {MaxExperiments} are allowed");
            yield break;
        }

        foreach (ManifestProblem problem in Cells(spec).SelectMany(c => Build(spec, c, spec.Seeds[0]).Problems).Distinct())
        {
            yield return problem;
        }
    }

    /// <summary>The experiments of a valid suite, in the order of its axes.</summary>
    /// <param name="name">Name of the suite.</param>
    /// <param name="spec">A valid suite.</param>
    public static IReadOnlyList<MatrixExperiment> Expand(string name, BenchmarkSpec spec) =>
        [
            .. from cell in Cells(spec) from seed in spec.Seeds let experiment =
                Build(spec, cell, seed).Spec! select new MatrixExperiment(NameOf(name, experiment), cell, seed, experiment)];

    /// <summary>A cell in words: `method=CoCLR, K=5`.</summary>
    /// <param name="cell">Value of each axis.</param>
    public static string CellText(IReadOnlyDictionary<string, string> cell) => string.Join(", ", cell.Select(c => $"{c.Key}={c.Value}"));

    /// <summary>The cell, in words, that a cell is compared with: its own values but for the axes that the baseline names.</summary>
    /// <param name="cell">Value of each axis.</param>
    /// <param name="baseline">The suite's baseline.</param>
    public static string BaselineText(IReadOnlyDictionary<string, string> cell, IReadOnlyList<AxisValue> baseline) =>
        CellText(cell.ToDictionary(c => c.Key, c => baseline.FirstOrDefault(b => b.Axis == c.Key)?.Value ?? c.Value));

    private static string NameOf(string name, ExperimentSpec spec)
    {
        string hash = SpecHash.Of(spec)[..8];
        return $"{name[..Math.Min(name.Length, MaxNameLength - hash.Length - 1)].TrimEnd('-')}-{hash}";
    }

    private static IEnumerable<Dictionary<string, string>> Cells(BenchmarkSpec spec)
    {
        IEnumerable<Dictionary<string, string>> cells = [[]];
        foreach (MatrixAxis axis in spec.Matrix)
        {
            cells = cells.SelectMany(c => axis.Values.Select(v => new Dictionary<string, string>(c) { [axis.Name] = v }));
        }

        return cells.Where(c => !spec.Exclude.Any(e => e.Match.All(m => c.GetValueOrDefault(m.Axis) == m.Value)));
    }

    private static (ExperimentSpec? Spec, IReadOnlyList<ManifestProblem> Problems) Build(
        BenchmarkSpec suite, Dictionary<string, string> cell, int seed)
    {
        JsonObject json = JsonSerializer.SerializeToNode(suite.Template, CoclrJson.Compact)!.AsObject();
        json["seed"] = seed;
        var problems = new List<ManifestProblem>();
        foreach (MatrixAxis axis in suite.Matrix)
        {
            if (FieldPath.Set(json, SchemaModel.Experiment, axis.Field, cell[axis.Name]) is { } wrong)
            {
                problems.Add(wrong with { Path = $"spec.matrix[{suite.Matrix.ToList().IndexOf(axis)}].field" });
            }
        }

        if (problems.Count > 0)
        {
            return (null, problems);
        }

        (ExperimentSpec? spec, IReadOnlyList<ManifestProblem> found) = ManifestReader.CheckExperiment(json);
        string where = string.Join(", ", cell.Select(c => $"{c.Key}={c.Value}"));
        return (
            spec,
            [
                .. found.Select(
                    p => p with
                    {
                        Path = "spec.template" + p.Path["spec".Length..],
                        Message = where.Length == 0 ? p.Message : $"{p.Message} (in the cell {where})"
                    })]);
    }
}
