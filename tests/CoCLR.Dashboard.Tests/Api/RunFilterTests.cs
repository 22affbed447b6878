// Why this exists: a filter means what it says, says what it cannot mean, and is never run as code, whatever is typed.
using System.Collections.Immutable;
using System.Globalization;
using System.Text.Json;
using CoCLR.Core;
using CoCLR.Core.Manifests;
using CoCLR.Core.Planning;
using CoCLR.Dashboard.Api;
using CoCLR.Dashboard.Storage;
using CsCheck;

namespace CoCLR.Dashboard.Tests.Api;

public sealed class RunFilterTests
{
    private static readonly RunInfo Run = Make("ucf-coclr", 3, "0.999", 0.62);
    private static readonly RunInfo Twin = Make("ucf-coclr-again", 4, "0.999", 0.58);
    private static readonly RunInfo Other = Make("sweep-7", 3, "0.9", null);
    private static readonly Annotation Paper = new() { Tags = ["paper"] };

    [Theory]
    [InlineData("", true)]
    [InlineData("ucf", true)]
    [InlineData("UCF coclr", true)]
    [InlineData("kinetics", false)]
    [InlineData("-kinetics", true)]
    [InlineData("method:coclr probe>0.6", true)]
    [InlineData("probe>60%", true)]
    [InlineData("probe>=62%", true)]
    [InlineData("probe<0.62", false)]
    [InlineData("recall<=0.4 loss>1", true)]
    [InlineData("-method:InfoNCE", true)]
    [InlineData("state:pending", true)]
    [InlineData("state:running", false)]
    [InlineData("seed:3", true)]
    [InlineData("seed!=3", false)]
    [InlineData("age<1d", true)]
    [InlineData("age<2h", false)]
    [InlineData("tag:paper", true)]
    [InlineData("tag=pape", false)]
    [InlineData("tag!=draft", true)]
    [InlineData("device:\"nvidia h100\"", true)]
    [InlineData("name=ucf-coclr", true)]
    [InlineData("name=ucf-coclr-3", true)]
    [InlineData("name=ucf", false)]
    [InlineData("name!=sweep-7", true)]
    [InlineData("training.momentum>0.9", true)]
    [InlineData("training.momentum>0.999", false)]
    [InlineData("training.momentum=0.9990", true)]
    [InlineData("spec.training.momentum!=0.9", true)]
    [InlineData("training.method=CoCLR", true)]
    [InlineData("views:flow", true)]
    [InlineData("train/top1>=0.75", true)]
    [InlineData("train/top1<0.75", false)]
    [InlineData("state:failed or seed=3", true)]
    [InlineData("state:failed or seed=4", false)]
    [InlineData("seed=3 state:failed or probe>0.6", true)]
    [InlineData("seed=3 (state:failed or probe>0.7)", false)]
    [InlineData("not (state:failed or probe>0.7)", true)]
    [InlineData("-(seed=3 and tag:paper)", false)]
    [InlineData("seed=3 AND tag:paper", true)]
    [InlineData("\"or\"", false)]
    public void Filter_SmallLanguage_MeansWhatItSays(string filter, bool matches)
    {
        (Func<RunInfo, Annotation, bool> wanted, string? problem) = RunFilter.Parse([Run], filter);
        Assert.Null(problem);
        Assert.Equal(matches, wanted(Run, Paper));
    }

    [Theory]
    [InlineData("probe>much", "is not a number")]
    [InlineData("method>3", "method is text")]
    [InlineData("training.momentun>0.9", "did you mean 'training.momentum'?")]
    [InlineData("momentum>0.9", "did you mean 'training.momentum'?")]
    [InlineData("training>1", "There is no field or metric 'training'")]
    [InlineData("nothing:x", "There is no field or metric 'nothing'")]
    [InlineData("seed=3 or", "Something is missing after 'or'")]
    [InlineData("or seed=3", "begins in the middle")]
    [InlineData("(seed=3", "A parenthesis is not closed")]
    [InlineData("seed=3)", "A closing parenthesis has no opening one")]
    [InlineData("name:\"ucf", "A quotation mark is not closed")]
    [InlineData("seed=", "Something is missing after 'seed='")]
    [InlineData("()", "Something is missing after '('")]
    public void Filter_NotUnderstood_SaysWhyAndMatchesNothing(string filter, string words)
    {
        (Func<RunInfo, Annotation, bool> wanted, string? problem) = RunFilter.Parse([Run], filter);
        Assert.Contains(words, problem, StringComparison.Ordinal);
        Assert.False(wanted(Run, Paper));
    }

    [Theory]
    [InlineData("__import__('os').system('x')")]
    [InlineData("'); db.runs.delete(); --")]
    [InlineData("$.json LIKE '%' OR 1=1")]
    [InlineData("(((((((((((((((((((((((((((a+)+)+)+")]
    [InlineData("=> true")]
    [InlineData("name:=cmd|' /C calc'!A0")]
    public void Filter_Code_IsOnlyText(string filter) => Assert.False(RunFilter.Parse([Run], filter).Matches(Run, Annotation.None));

    [Theory]
    [InlineData("probe>")]
    [InlineData("(")]
    [InlineData("-(")]
    [InlineData("not ")]
    [InlineData("a or ")]
    public void Filter_Huge_IsRefused(string piece)
    {
        Assert.False(RunFilter.Parse([Run], string.Concat(Enumerable.Repeat(piece, 1_000_000))).Matches(Run, Annotation.None));
        Assert.False(
            RunFilter.Parse([Run], string.Concat(Enumerable.Repeat(piece, 990 / piece.Length)) + "zzz").Matches(Run, Annotation.None));
    }

    [Fact]
    public void Filter_AnyText_NeverThrows()
    {
        Gen<string> words = Gen.OneOf(
            Gen.OneOf(
                "(",
                ")",
                "-",
                "or",
                "and",
                "not",
                "\"",
                ":",
                "=",
                "!=",
                "<",
                ">=",
                "%",
                "0.5",
                "1e999",
                "name",
                "probe",
                "training.momentum",
                "age<2",
                "d",
                ".",
                "spec.",
                " "),
            Gen.String[Gen.Char, 0, 6]);
        Gen.Select(words.Array[0, 14], Gen.Bool).Sample((parts, spaced) =>
        {
            (Func<RunInfo, Annotation, bool> wanted, string? problem) = RunFilter.Parse([Run], string.Join(spaced ? " " : "", parts));
            Assert.True(problem is null || !wanted(Run, Paper));
        }, iter: 100_000, threads: 1);
    }

    // What is written of a tree of terms, read again, matches what the tree matches.
    [Fact]
    public void Filter_OfAnyTree_MatchesAsTheTree()
    {
        Gen<(string Text, Func<RunInfo, bool> Is)> leaf = Gen.OneOf(
            Gen.Double[0, 1]
                .Select(p => (string.Create(CultureInfo.InvariantCulture, $"probe>{p:R}"), (Func<RunInfo, bool>)(r => r.BestProbe > p))),
            Gen.Double[0, 1]
                .Select(p => (string.Create(CultureInfo.InvariantCulture, $"probe<={p:R}"), (Func<RunInfo, bool>)(r => r.BestProbe <= p))),
            Gen.Int[2, 5].Select(s => ($"seed={s}", (Func<RunInfo, bool>)(r => r.Seed == s))),
            Gen.Int[2, 5].Select(s => ($"seed!={s}", (Func<RunInfo, bool>)(r => r.Seed != s))),
            Gen.Const(("training.momentum>0.95", (Func<RunInfo, bool>)(r => r != Other))),
            Gen.Const(("name:ucf", (Func<RunInfo, bool>)(r => r != Other))));
        Gen<(string Text, Func<RunInfo, bool> Is)> tree =
            Gen.Recursive<(string Text, Func<RunInfo, bool> Is)>((depth, inner) => depth > 4 ? leaf : Gen.OneOf(
            leaf,
            Gen.Select(inner, inner).Select((a, b) => ($"({a.Text} or {b.Text})", (Func<RunInfo, bool>)(r => a.Is(r) || b.Is(r)))),
            Gen.Select(inner, inner).Select((a, b) => ($"({a.Text} {b.Text})", (Func<RunInfo, bool>)(r => a.Is(r) && b.Is(r)))),
            inner.Select(a => ($"-({a.Text})", (Func<RunInfo, bool>)(r => !a.Is(r))))));
        tree.Where(t => t.Text.Length <= 1000).Sample(t =>
        {
            (Func<RunInfo, Annotation, bool> wanted, string? problem) = RunFilter.Parse([Run], t.Text);
            Assert.True(problem is null, $"{t.Text}: {problem}");
            Assert.All(new[] { Run, Twin, Other }, r => Assert.Equal(t.Is(r), wanted(r, Annotation.None)));
        }, iter: 20_000, threads: 1);
    }

    [Fact]
    public void Alike_RunsThatDifferInTheSeed_AreOneGroup()
    {
        IReadOnlyList<RunGroup> groups = RunQuery.Alike([Run, Other, Twin]);
        Assert.Equal([["ucf-coclr-3", "ucf-coclr-again-4"], ["sweep-7-3"]], groups.Select(g => g.Runs));
        Assert.Equal(0.60, groups[0].Probe!.Value, 9);
        Assert.Equal(Math.Sqrt(2) * 0.02, groups[0].ProbeDeviation!.Value, 9);
        Assert.Null(groups[1].Probe);
    }

    private static RunInfo Make(string name, int seed, string momentum, double? probe)
    {
        var spec = new ExperimentSpec { Seed = seed };
        spec = spec with { Training = spec.Training with { Momentum = momentum } };
        return new RunInfo
        {
            Run = $"{name}-{seed}", Experiment = name, Method = "CoCLR", BestProbe = probe, RecallAt1 = 0.4, Loss = 1.5, Seed = seed,
            Created = DateTimeOffset.UtcNow.AddHours(-3), Device = "NVIDIA H100",
            PlanJson = JsonSerializer.Serialize(Planner.Plan(name, spec), CoclrJson.Indented),
            Stages =
                [new StageInfo { Name = "pretrain-rgb", Latest = ImmutableSortedDictionary<string, double>.Empty.Add("train/top1", 0.75) }],
        };
    }
}
