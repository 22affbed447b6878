// Why this exists: the pipeline of the paper as tables: which stages, fed by which checkpoints, and what is done next.
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using CoCLR.Core.Manifests;
using CoCLR.Core.Planning;

namespace CoCLR.Core.Tests.Planning;

public sealed class PlannerTests
{
    private static ExperimentSpec Spec(Method method, params View[] views) => new()
    {
        Dataset = new DatasetSpec { Source = new DatasetSource { Synthetic = new SyntheticSource() } },
        Views = views.Length == 0 ? [View.Rgb, View.Flow] : views,
        Training = new TrainingSpec { Method = method },
    };

    [Fact]
    public void CoCLR_TwoCycles_EachTurnMinesWithTheNewestOtherView()
    {
        StagePlan plan = Planner.Plan("e", Spec(Method.CoCLR));
        Assert.Equal(
            ["decode", "flow", "pretrain-rgb", "pretrain-flow", "cycle-1-rgb", "cycle-1-flow", "cycle-2-rgb", "cycle-2-flow", "probe-rgb", "retrieve-rgb", "probe-flow", "retrieve-flow", "fuse", "report"],
            plan.Stages.Select(s => s.Name));
        Assert.Equal(("pretrain-rgb", "pretrain-flow"), (plan["cycle-1-rgb"].InitializeFrom, plan["cycle-1-rgb"].MineWith));
        Assert.Equal(("pretrain-flow", "cycle-1-rgb"), (plan["cycle-1-flow"].InitializeFrom, plan["cycle-1-flow"].MineWith));
        Assert.Equal(("cycle-1-rgb", "cycle-1-flow"), (plan["cycle-2-rgb"].InitializeFrom, plan["cycle-2-rgb"].MineWith));
        Assert.Equal("cycle-2-flow", plan["probe-flow"].Evaluates);
    }

    [Fact]
    public void Plan_OfAnEarlierVersion_WhoseFlowBoundIsANumber_IsRead()
    {
        StagePlan plan = Planner.Plan("e", Spec(Method.CoCLR) with { Flow = new FlowSpec { Bound = "20" } });
        string now = JsonSerializer.Serialize(plan, CoclrJson.Indented), earlier = now.Replace("\"bound\": \"20\"", "\"bound\": 20", StringComparison.Ordinal);
        Assert.NotEqual(now, earlier);
        StagePlan read = JsonSerializer.Deserialize<StagePlan>(earlier, CoclrJson.Indented)!;
        Assert.Equal("20", read.Spec.Flow.Bound);
        Assert.Equal(now, JsonSerializer.Serialize(read, CoclrJson.Indented));
        Assert.Equal("20", JsonSerializer.Deserialize<StagePlan>(earlier, CoclrJson.Compact)!.Spec.Flow.Bound);
    }

    [Fact]
    public void CoCLR_PretrainsEachViewAsLongAsAsked()
    {
        ExperimentSpec spec = Spec(Method.CoCLR) with { Cotrain = new CotrainSpec { Cycles = 1, RgbPretrainEpochs = 0, FlowPretrainEpochs = 7 } };
        StagePlan plan = Planner.Plan("e", spec);
        Assert.Equal((0, 7), (plan["pretrain-rgb"].Epochs, plan["pretrain-flow"].Epochs));
        Assert.Equal("pretrain-rgb", plan["cycle-1-rgb"].InitializeFrom);

        // What only co-training asks for is not asked of the methods it is compared with.
        StagePlan infoNce = Planner.Plan("e", spec with { Training = new TrainingSpec { Method = Method.InfoNCE, Epochs = 20 } });
        Assert.Equal((20, 20), (infoNce["pretrain-rgb"].Epochs, infoNce["pretrain-flow"].Epochs));
    }

    [Fact]
    public void InfoNCE_OfRgbAlone_NeedsNoFlow()
    {
        StagePlan plan = Planner.Plan("e", Spec(Method.InfoNCE, View.Rgb));
        Assert.Equal(["decode", "pretrain-rgb", "probe-rgb", "retrieve-rgb", "report"], plan.Stages.Select(s => s.Name));
        Assert.Equal(["decode"], plan["pretrain-rgb"].DependsOn);
    }

    [Fact]
    public void InfoNCE_OfBothViews_LetsThemLearnSideBySide()
    {
        StagePlan plan = Planner.Plan("e", Spec(Method.InfoNCE));
        Assert.DoesNotContain("pretrain-rgb", plan["pretrain-flow"].DependsOn);
        var done = new Dictionary<string, StageObservation> { ["decode"] = new(StagePhase.Succeeded), ["flow"] = new(StagePhase.Succeeded) };
        Assert.Equal(["pretrain-rgb", "pretrain-flow"], NextActions.Decide(plan, new PlanObservation(done)).Start);
        Assert.Equal(["pretrain-rgb"], NextActions.Decide(plan, new PlanObservation(done, MaxParallel: 1)).Start);
    }

    [Fact]
    public void Joint_MethodsTrainBothViewsInOneStage()
    {
        StagePlan cmc = Planner.Plan("e", Spec(Method.Cmc));
        Assert.True(cmc["pretrain-rgb"].Joint);
        Assert.Equal(("pretrain-rgb", 0), (cmc["pretrain-flow"].InitializeFrom, cmc["pretrain-flow"].Epochs));
        StagePlan simultaneous = Planner.Plan("e", Spec(Method.CoCLR) with { Cotrain = new CotrainSpec { Cycles = 1, Order = CotrainOrder.Simultaneous } });
        Assert.True(simultaneous["cycle-1-rgb"].Joint);
        Assert.Equal("cycle-1-rgb", simultaneous["cycle-1-flow"].InitializeFrom);
    }

    [Theory]
    [MemberData(nameof(Methods))]
    public void Every_Plan_IsOrderedAndEndsInTheReport(Method method, CotrainOrder order, bool finetune)
    {
        StagePlan plan = Planner.Plan("e", Spec(method) with { Cotrain = new CotrainSpec { Order = order }, Evaluation = new EvaluationSpec { Finetune = new FinetuneSpec { Enabled = finetune } } });
        var seen = new HashSet<string>();
        foreach (Stage stage in plan.Stages)
        {
            Assert.All(stage.DependsOn, d => Assert.Contains(d, seen));
            Assert.True(seen.Add(stage.Name));
        }

        Assert.Equal("report", plan.Stages[^1].Name);
        Assert.Single(plan.Stages, s => plan.Stages.All(o => !o.DependsOn.Contains(s.Name)));

        // A host that only follows NextActions runs every stage exactly once, each after what it needs.
        var observed = new Dictionary<string, StageObservation>();
        var order2 = new List<string>();
        while (NextActions.Decide(plan, new PlanObservation(observed)) is { Outcome: null } next)
        {
            Assert.NotEmpty(next.Start);
            order2.AddRange(next.Start);
            foreach (string name in next.Start)
            {
                observed[name] = new StageObservation(StagePhase.Succeeded);
            }
        }

        Assert.Equal(plan.Stages.Select(s => s.Name).Order(), order2.Order());
    }

    public static TheoryData<Method, CotrainOrder, bool> Methods()
    {
        var data = new TheoryData<Method, CotrainOrder, bool>();
        foreach (Method method in Enum.GetValues<Method>())
        {
            foreach (CotrainOrder order in Enum.GetValues<CotrainOrder>())
            {
                data.Add(method, order, false);
                data.Add(method, order, true);
            }
        }

        return data;
    }

    [Fact]
    public void SpecHash_ChangesWithWhatDecidesTheResult_AndWithNothingElse()
    {
        ExperimentSpec spec = Spec(Method.CoCLR);
        string hash = SpecHash.Of(spec);
        Assert.Equal(hash, SpecHash.Of(spec with { Suspend = true, Device = "cuda", Image = "x", Retries = 9 }));
        Assert.NotEqual(hash, SpecHash.Of(spec with { Seed = 1 }));
        Assert.NotEqual(hash, SpecHash.Of(spec with { Cotrain = new CotrainSpec { TopK = 1 } }));
    }

    [Theory]
    [InlineData(1, false, true, false)] // a counted failure within the retries starts again
    [InlineData(3, false, true, false)] // as many as spec.retries
    [InlineData(4, false, false, true)] // more than spec.retries
    [InlineData(1, true, false, true)] // exit 64-78
    public void Failure_IsRetriedOrEndsTheRun(int failures, bool permanent, bool restarts, bool ends)
    {
        StagePlan plan = Planner.Plan("e", Spec(Method.InfoNCE, View.Rgb));
        var observed = new Dictionary<string, StageObservation> { ["decode"] = new(StagePhase.Failed, failures, permanent, "broken file") };
        NextActions next = NextActions.Decide(plan, new PlanObservation(observed));
        Assert.Equal(restarts, next.Start.Contains("decode"));
        Assert.Equal(ends ? RunOutcome.Failed : null, next.Outcome);
        if (ends)
        {
            Assert.Contains("broken file", next.Message, StringComparison.Ordinal);
        }
    }

    [Fact]
    public void Stage_StartsOnlyWhenAllThatItNeedsSucceeded_AndOnlyWhereThereIsRoom()
    {
        StagePlan plan = Planner.Plan("e", Spec(Method.CoCLR));
        var observed = new Dictionary<string, StageObservation>
        {
            ["decode"] = new(StagePhase.Succeeded),
            ["flow"] = new(StagePhase.Succeeded),
            ["pretrain-rgb"] = new(StagePhase.Succeeded),
            ["pretrain-flow"] = new(StagePhase.Running),
        };
        Assert.DoesNotContain("cycle-1-rgb", NextActions.Decide(plan, new PlanObservation(observed)).Start);
        observed["pretrain-flow"] = new(StagePhase.Succeeded);
        Assert.Equal(["cycle-1-rgb"], NextActions.Decide(plan, new PlanObservation(observed)).Start);

        observed = new() { ["decode"] = new(StagePhase.Succeeded), ["flow"] = new(StagePhase.Running) };
        Assert.Equal(["pretrain-rgb"], NextActions.Decide(plan, new PlanObservation(observed, MaxParallel: 2)).Start);
        Assert.Empty(NextActions.Decide(plan, new PlanObservation(observed, MaxParallel: 1)).Start);
    }

    // A field that a later version adds with its default must leave every hash as it was.
    [Fact]
    public void SpecHash_IsOfTheFieldsThatDifferFromTheDefaults()
    {
        string[] written = ["""{"seed":1,"training":{"batchSize":16}}""", """{"training":{"batchSize":16},"seed":1}"""]; // in the order of the types
        string hash = SpecHash.Of(new ExperimentSpec { Seed = 1, Training = new TrainingSpec { BatchSize = 16 } });
        Assert.Contains(hash, written.Select(w => Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(w)))));
    }

    [Fact]
    public void LostRun_StopsWhatStillRunsBeforeItEnds()
    {
        StagePlan plan = Planner.Plan("e", Spec(Method.InfoNCE));
        var observed = new Dictionary<string, StageObservation>
        {
            ["decode"] = new(StagePhase.Succeeded),
            ["flow"] = new(StagePhase.Succeeded),
            ["pretrain-rgb"] = new(StagePhase.Failed, 1, Permanent: true),
            ["pretrain-flow"] = new(StagePhase.Running),
        };
        NextActions next = NextActions.Decide(plan, new PlanObservation(observed));
        Assert.Equal(["pretrain-flow"], next.Stop);
        Assert.Null(next.Outcome);
    }

    [Fact]
    public void Suspended_StopsWhatRunsAndStartsNothing()
    {
        StagePlan plan = Planner.Plan("e", Spec(Method.InfoNCE));
        var observed = new Dictionary<string, StageObservation> { ["decode"] = new(StagePhase.Running) };
        NextActions next = NextActions.Decide(plan, new PlanObservation(observed, Suspended: true));
        Assert.Equal(["decode"], next.Stop);
        Assert.Empty(next.Start);
    }
}
