// Why this exists: a suite's behaviour without a cluster: what it makes, keeps, prunes and counts, and its table.
using System.Text.Json;
using System.Text.Json.Nodes;
using CoCLR.Core;
using CoCLR.Core.Manifests;
using CoCLR.Core.Manifests.Status;
using CoCLR.Operator.Api;
using CoCLR.Operator.Reconciling;
using CoCLR.Operator.Runtime;
using CoCLR.Operator.Tests.Harness;

namespace CoCLR.Operator.Tests.Reconciling;

public class BenchmarkReconcilerTests
{
    private const string TwoByTwo = """
        {"template":{"dataset":{"source":{"synthetic":{}}},"training":{"epochs":5}},
         "matrix":[{"name":"method","field":"training.method","values":["InfoNCE","CoCLR"]}],
         "seeds":[0,1],"parallelism":2,"baseline":[{"axis":"method","value":"InfoNCE"}]}
        """;

    [Fact]
    public void Suite_New_MakesAsManyAsItsParallelism()
    {
        var suite = new Suite(TwoByTwo);
        suite.Reconcile();
        Assert.Equal(2, suite.Children.Count);
        Assert.Equal((4, 2, 2, "0/4"), (suite.Status.Total, suite.Status.Active, suite.Status.Pending, suite.Status.Finished));
        suite.Finish(0, "Succeeded", 0.5);
        suite.Reconcile();
        Assert.Equal(3, suite.Children.Count);
        Assert.Equal("1/4", suite.Status.Finished);
    }

    [Fact]
    public void Suite_AllSucceed_EndsWithItsTable()
    {
        var suite = new Suite(TwoByTwo);
        double[] values = [0.50, 0.54, 0.60, 0.70];
        for (int i = 0; i < 4; i++)
        {
            suite.Reconcile();
            suite.Finish(i, "Succeeded", values[i]);
        }

        suite.Reconcile();
        Assert.Equal("True/Succeeded", suite.Condition("Ready"));
        Assert.Equal(2, suite.Status.Results.Count);
        BenchmarkRow infonce = suite.Status.Results[0], coclr = suite.Status.Results[1];
        Assert.Equal(("method=InfoNCE", true, 2), (infonce.Cell, infonce.Baseline, infonce.Seeds));
        Assert.Equal(("0.52", "52.0 \u00b1 2.8"), (infonce.LinearProbeTop1!.Mean, infonce.LinearProbeTop1.Text));
        Assert.Null(infonce.LinearProbeTop1.Difference);
        Assert.Equal(("0.65", "+0.13"), (coclr.LinearProbeTop1!.Mean, coclr.LinearProbeTop1.Difference));
        Assert.Equal(Math.Sqrt(0.005), double.Parse(coclr.LinearProbeTop1.Std!, System.Globalization.CultureInfo.InvariantCulture), 5);
        Assert.Contains("65.0", suite.Status.Best, StringComparison.Ordinal);
        Assert.Empty(suite.Reconcile().Writes.OfType<DesiredWrite.Create>());
    }

    [Fact]
    public void Suite_OneFails_ContinuesAndEndsAsFailed()
    {
        var suite = new Suite(TwoByTwo);
        for (int i = 0; i < 4; i++)
        {
            suite.Reconcile();
            suite.Finish(i, i == 1 ? "Failed" : "Succeeded", 0.5);
        }

        suite.Reconcile();
        Assert.Equal("False/ExperimentsFailed", suite.Condition("Succeeded"));
        Assert.Equal("True/ExperimentsFailed", suite.Condition("Stalled"));
        Assert.Equal("4/4", suite.Status.Finished);
        Assert.Equal(1, suite.Status.Results[0].Seeds);
    }

    [Fact]
    public void Suite_OneFailsAndPolicyIsStop_StopsTheOthers()
    {
        var suite =
            new Suite(TwoByTwo.Replace("\"parallelism\":2", "\"parallelism\":3,\"failurePolicy\":\"Stop\"", StringComparison.Ordinal));
        suite.Reconcile();
        suite.Finish(0, "Failed", 0);
        Decision<BenchmarkStatus> decision = suite.Reconcile();
        Assert.Empty(decision.Writes.OfType<DesiredWrite.Create>());
        Assert.Equal(2, decision.Writes.OfType<DesiredWrite.Change>().Count());
        Assert.All(decision.Writes.OfType<DesiredWrite.Change>(), p => Assert.True(p.Fields["spec"]!["suspend"]!.GetValue<bool>()));
        Assert.Null(suite.Condition("Stalled"));
        suite.SetState(1, "Suspended");
        suite.SetState(2, "Suspended");
        suite.Reconcile();
        Assert.Equal("True/ExperimentsFailed", suite.Condition("Stalled"));
        Assert.Equal(3, suite.Children.Count);
    }

    [Fact]
    public void Suite_Edited_KeepsResultsAndCheckpointsAndDeletesOnlyWhatHasNotStarted()
    {
        string wide = TwoByTwo.Replace("\"parallelism\":2", "\"parallelism\":9", StringComparison.Ordinal);
        var suite = new Suite(wide);
        suite.Reconcile();
        string[] before = [.. suite.Order];
        suite.Finish(2, "Succeeded", 0.6);
        suite.SetState(3, "Starting");
        suite.SetSpec(wide.Replace("\"CoCLR\"", "\"UberNCE\"", StringComparison.Ordinal));
        Decision<BenchmarkStatus> decision = suite.Reconcile();
        Assert.Equal(2, decision.Writes.OfType<DesiredWrite.Create>().Count());
        Assert.Equal(before[3], Assert.Single(decision.Writes.OfType<DesiredWrite.Delete>()).Key.Name);
        Assert.Contains(before[3], Assert.Single(decision.Events).Message, StringComparison.Ordinal);
        Assert.Contains(before[2], suite.Children.Keys);

        // Named again, it counts again.
        suite.SetSpec(wide);
        suite.Reconcile();
        Assert.Equal("1/4", suite.Status.Finished);
    }

    [Fact]
    public void Suite_EditedWhileAnExperimentTrains_StopsItAndContinuesItWhenNamedAgain()
    {
        string wide = TwoByTwo.Replace("\"parallelism\":2", "\"parallelism\":9", StringComparison.Ordinal);
        var suite = new Suite(wide);
        suite.Reconcile();
        string running = suite.Order[3];
        suite.SetState(3, "Training");
        suite.Children[running]["status"]!["startTime"] = "2026-01-31T12:00:00Z";
        suite.SetSpec(wide.Replace("\"seeds\":[0,1]", "\"seeds\":[0]", StringComparison.Ordinal));
        Decision<BenchmarkStatus> decision = suite.Reconcile();
        Assert.True(suite.Children[running]["spec"]!["suspend"]!.GetValue<bool>());
        Assert.Contains(
            decision.Events, e => e is { Type: "Warning", Reason: "Stopped" } && e.Message.Contains(running, StringComparison.Ordinal));
        Assert.Empty(suite.Reconcile().Writes.OfType<DesiredWrite.Change>());
        suite.SetSpec(wide);
        suite.Reconcile();
        Assert.False(suite.Children[running]["spec"]!["suspend"]!.GetValue<bool>());
    }

    [Fact]
    public void Suite_EditedWithPruneDelete_DeletesResultsAndSaysSo()
    {
        string wide = TwoByTwo.Replace("\"parallelism\":2", "\"parallelism\":9,\"prune\":\"delete\"", StringComparison.Ordinal);
        var suite = new Suite(wide);
        suite.Reconcile();
        suite.Finish(2, "Succeeded", 0.6);
        suite.SetSpec(wide.Replace("\"CoCLR\"", "\"UberNCE\"", StringComparison.Ordinal));
        Decision<BenchmarkStatus> decision = suite.Reconcile();
        Assert.Equal(2, decision.Writes.OfType<DesiredWrite.Delete>().Count());
        ObjectEvent told = Assert.Single(decision.Events);
        Assert.Equal(("Warning", "Pruned"), (told.Type, told.Reason));
        Assert.Contains($"the results of {suite.Order[2]} are gone", told.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Suite_WhoseExperimentsAllWait_SaysWhyInTheirWords()
    {
        var suite = new Suite(TwoByTwo);
        suite.Reconcile();
        suite.Wait(0, "Queued", "Queued", "no quota for 2 GPUs in the cluster queue");
        suite.Wait(1, "Queued", "Queued", "no quota for 2 GPUs in the cluster queue");
        suite.Reconcile();
        Assert.Equal(("False/Queued", ExperimentState.Queued), (suite.Condition("Ready"), suite.Status.State));
        Assert.Contains("2 active (2 queued)", suite.Status.Condition("Ready")!.Message, StringComparison.Ordinal);
        Assert.Contains("no quota for 2 GPUs", suite.Status.Condition("Ready")!.Message, StringComparison.Ordinal);

        // One trains: the suite advances.
        suite.Wait(0, "Training", "Training", "pretrain-rgb runs");
        suite.Reconcile();
        Assert.Equal(("False/Progressing", ExperimentState.Training), (suite.Condition("Ready"), suite.Status.State));
        Assert.Contains("2 active (1 queued, 1 training)", suite.Status.Condition("Ready")!.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Suite_WhoseExperimentsAllNeedAPerson_IsStalled()
    {
        var suite = new Suite(TwoByTwo);
        suite.Reconcile();
        suite.Wait(0, "Stalled", "NameConflict", "jobs/x belongs to something else");
        suite.Wait(1, "Stalled", "NameConflict", "jobs/x belongs to something else");
        Assert.Contains(suite.Reconcile().Events, e => e is { Type: "Warning", Reason: "NameConflict" });
        Assert.Equal("True/NameConflict", suite.Condition("Stalled"));
        Assert.Null(suite.Condition("Reconciling"));
    }

    [Fact]
    public void Suite_MutableFieldsEdited_AreHandedOn()
    {
        var suite = new Suite(TwoByTwo);
        suite.Reconcile();
        suite.SetSpec(
            TwoByTwo.Replace(
                "\"training\":{\"epochs\":5}", "\"training\":{\"epochs\":5},\"activeDeadlineSeconds\":60", StringComparison.Ordinal));
        Decision<BenchmarkStatus> decision = suite.Reconcile();
        Assert.Equal(2, decision.Writes.OfType<DesiredWrite.Change>().Count());
        Assert.All(
            decision.Writes.OfType<DesiredWrite.Change>(),
            p => Assert.Equal(60, p.Fields["spec"]!["activeDeadlineSeconds"]!.GetValue<int>()));
        Assert.Empty(decision.Writes.OfType<DesiredWrite.Create>());
        Assert.Empty(suite.Reconcile().Writes.OfType<DesiredWrite.Change>());
    }

    [Fact]
    public void Suite_GivenMoreMemory_HandsItOnAndKeepsItsExperiments()
    {
        var suite = new Suite(TwoByTwo);
        suite.Reconcile();
        suite.SetSpec(
            TwoByTwo.Replace(
                "\"training\":{\"epochs\":5}",
                "\"training\":{\"epochs\":5},\"resources\":{\"memory\":\"64Gi\"}",
                StringComparison.Ordinal));
        Decision<BenchmarkStatus> decision = suite.Reconcile();
        Assert.Equal(2, decision.Writes.OfType<DesiredWrite.Change>().Count());
        Assert.All(
            decision.Writes.OfType<DesiredWrite.Change>(),
            p => Assert.Equal("""{"resources":{"memory":"64Gi"}}""", p.Fields["spec"]!.ToJsonString()));
        Assert.Empty(decision.Writes.OfType<DesiredWrite.Create>());
    }

    [Fact]
    public void Suite_Suspended_SuspendsItsExperimentsAndResumes()
    {
        var suite = new Suite(TwoByTwo);
        suite.Reconcile();
        suite.SetSpec(TwoByTwo.Replace("\"parallelism\":2", "\"parallelism\":2,\"suspend\":true", StringComparison.Ordinal));
        Assert.Equal(2, suite.Reconcile().Writes.OfType<DesiredWrite.Change>().Count());
        Assert.Equal("False/Suspending", suite.Condition("Ready"));
        suite.SetState(0, "Suspended");
        suite.SetState(1, "Suspended");
        suite.Reconcile();
        Assert.Equal("True/Suspended", suite.Condition("Ready"));
        suite.SetSpec(TwoByTwo);
        Assert.All(
            suite.Reconcile().Writes.OfType<DesiredWrite.Change>(), p => Assert.False(p.Fields["spec"]!["suspend"]!.GetValue<bool>()));
    }

    [Fact]
    public void Experiment_Refused_IsSaidInTheServersWordsUntilItIsTaken()
    {
        var suite = new Suite(TwoByTwo);
        suite.Refusals = [new Refusal("coclrexperiments/suite-1", "exceeded quota: room")];
        Decision<BenchmarkStatus> decision = suite.Reconcile();
        Assert.Equal("False/QuotaExceeded", suite.Condition("Ready"));
        Assert.Contains(
            "the API server refuses coclrexperiments/suite-1: exceeded quota: room",
            suite.Status.Condition("Ready")!.Message,
            StringComparison.Ordinal);
        Assert.Equal("QuotaExceeded", Assert.Single(decision.Events).Reason);
        Assert.Equal(Refusal.Retry, decision.Again);
        Assert.Empty(suite.Reconcile().Events);
        suite.Refusals = [];
        Assert.NotEmpty(suite.Reconcile().Writes);
        Assert.Equal("False/Progressing", suite.Condition("Ready"));
    }

    [Fact]
    public void Suite_WhoseResultsAreNotWhatItExpects_EndsAsFailedAndSaysWhich()
    {
        string Expecting(string difference) => TwoByTwo.Replace(
            "\"seeds\":[0,1]",
            $"\"seeds\":[0,1],\"expect\":[{{\"measure\":\"linearProbeTop1\",\"minimumDifference\":\"{difference}\"}}]",
            StringComparison.Ordinal);
        var suite = new Suite(Expecting("0.2"));
        double[] values = [0.50, 0.54, 0.60, 0.70];
        for (int i = 0; i < 4; i++)
        {
            suite.Reconcile();
            Assert.Equal("Unknown/NotFinished", suite.Condition("Met"));
            suite.Finish(i, "Succeeded", values[i]);
        }

        Assert.Contains(
            suite.Reconcile().Events,
            e => e is { Type: "Warning", Reason: "Failed" } && e.Message.Contains("+13.0", StringComparison.Ordinal));
        Assert.Equal("False/ExpectationsNotMet", suite.Condition("Met"));
        Assert.Equal(("True/ExpectationsNotMet", "False/ExpectationsNotMet"), (suite.Condition("Stalled"), suite.Condition("Succeeded")));
        Assert.Contains(
            "+13.0 (65.0 against 52.0), at least +20.0 expected", suite.Status.Condition("Ready")!.Message, StringComparison.Ordinal);
        Assert.Equal(ConditionStatus.False, Assert.Single(suite.Status.Expectations).Met);

        // A gate that a person lowers is asked again.
        suite.SetSpec(Expecting("0.1"));
        suite.Reconcile();
        Assert.Equal(("True/ExpectationsMet", "True/Succeeded"), (suite.Condition("Met"), suite.Condition("Ready")));
        Assert.Null(suite.Condition("Stalled"));
        suite.SetSpec(TwoByTwo);
        suite.Reconcile();
        Assert.Null(suite.Condition("Met"));
    }

    [Fact]
    public void Suite_WithAnInvalidCell_SaysWhichAndWhy()
    {
        var suite = new Suite("""{"template":{"dataset":{"source":{"synthetic":{}}},"views":["RGB"],"training":{"method":"InfoNCE"}},"matrix":[{"name":"m","field":"training.method","values":["InfoNCE","CoCLR"]}]}""");
        Assert.Empty(suite.Reconcile().Writes.OfType<DesiredWrite.Create>());
        Assert.Equal("False/InvalidSpec", suite.Condition("Accepted"));
        Assert.Contains("m=CoCLR", suite.Status.Condition("Ready")!.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Name_BelongsToSomebodyElse_Stalls()
    {
        var suite = new Suite(TwoByTwo);
        suite.Reconcile();
        string name = suite.Children.Keys.First();
        suite.Disown(name);
        Assert.Empty(suite.Reconcile().Writes.OfType<DesiredWrite.Create>());
        Assert.Equal("True/NameConflict", suite.Condition("Stalled"));
    }

    [Fact]
    public void Experiments_OfASuite_HaveNoTtlOfTheirOwn()
    {
        var suite = new Suite(
            TwoByTwo.Replace(
                "\"training\":{\"epochs\":5}",
                "\"training\":{\"epochs\":5},\"ttlSecondsAfterFinished\":{\"succeeded\":1}",
                StringComparison.Ordinal));
        suite.Reconcile();
        Assert.All(suite.Children.Values, c => Assert.Null(c["spec"]!["ttlSecondsAfterFinished"]));
    }

    [Fact]
    public void Hash_OfASpec_DoesNotChangeWhenADefaultIsWrittenOut()
    {
        ExperimentSpec Read(string json) => JsonSerializer.Deserialize<ExperimentSpec>(json, CoclrJson.Compact)!;
        Assert.Equal(
            SpecHash.Of(Read("""{"dataset":{"source":{"synthetic":{}}}}""")),
            SpecHash.Of(Read("""{"dataset":{"source":{"synthetic":{"classes":8}}},"clip":{"frames":32}}""")));
    }

    private sealed class Suite
    {
        private readonly JsonObject _resource;
        private readonly DateTimeOffset _now = Scene.Start;

        public Suite(string spec) => _resource = new JsonObject
        {
            ["metadata"] = new JsonObject { ["name"] = "suite", ["namespace"] = "ns", ["uid"] = "suite-uid", ["generation"] = 1 },
            ["spec"] = JsonNode.Parse(spec),
            ["status"] = new JsonObject { ["observedGeneration"] = -1 },
        };

        public SortedDictionary<string, JsonObject> Children { get; } = [];

        public List<string> Order { get; } = [];

        public BenchmarkStatus Status => Resource.ParseStatus();

        private CustomResource<BenchmarkSpec, BenchmarkStatus> Resource =>
            CustomResource.Read<BenchmarkSpec, BenchmarkStatus>(Scene.Element(_resource));

        public IReadOnlyList<Refusal> Refusals { get; set; } = [];

        public string? Condition(string type) => Status.Condition(type) is { } c ? $"{c.Status}/{c.Reason}" : null;

        public void SetSpec(string spec)
        {
            _resource["spec"] = JsonNode.Parse(spec);
            _resource["metadata"]!["generation"] = _resource["metadata"]!["generation"]!.GetValue<int>() + 1;
        }

        public void SetState(int index, string state) => (Children[Order[index]]["status"] ??= new JsonObject())["state"] = state;

        public void Wait(int index, string state, string reason, string message)
        {
            SetState(index, state);
            Children[Order[index]]["status"]!["conditions"] = new JsonArray(JsonSerializer.SerializeToNode(
                new Condition
                {
                    Type = "Ready", Status = ConditionStatus.False, Reason = reason, Message = message, ObservedGeneration = 1,
                    LastTransitionTime = _now
                },
                CoclrJson.Compact));
        }

        public void Disown(string name) => Children[name]["metadata"]!["ownerReferences"] = null;

        public void Finish(int index, string state, double probe)
        {
            SetState(index, state);
            Children[Order[index]]["status"]!["results"] = new JsonArray(
                new JsonObject
                {
                    ["view"] = "rgb", ["linearProbeTop1"] = probe.ToString(System.Globalization.CultureInfo.InvariantCulture)
                });
        }

        public Decision<BenchmarkStatus> Reconcile()
        {
            CustomResource<ExperimentSpec, ExperimentStatus>[] all =
                [.. Children.Values.Select(c => CustomResource.Read<ExperimentSpec, ExperimentStatus>(Scene.Element(c)))];
            Decision<BenchmarkStatus> decision = BenchmarkReconciler.Reconcile(new BenchmarkObservation
            {
                Benchmark = Resource,
                Expansion = Expansion.Of(Resource),
                Children = [.. all.Where(c => c.Meta.Controller?.Uid == "suite-uid")],
                Experiment = name => all.FirstOrDefault(c => c.Meta.Key.Name == name),
                Refusals = Refusals,
                Now = _now,
            });
            decision.Writes.ToList().ForEach(Apply);
            if (decision.Status != null)
            {
                StatusRules.Check(decision.Status.Conditions, decision.Status.ObservedGeneration, Resource.Meta.Generation);
                _resource["status"] = JsonSerializer.SerializeToNode(decision.Status, CoclrJson.Compact);
            }

            return decision;
        }

        private void Apply(DesiredWrite write)
        {
            switch (write)
            {
                case DesiredWrite.Create create:
                    Assert.InRange(create.Name.Length, 1, 52);
                    var made = (JsonObject)create.Object.DeepClone();
                    made["metadata"]!["uid"] = "uid-" + create.Name;
                    Children.Add(create.Name, made);
                    Order.Add(create.Name);
                    break;
                case DesiredWrite.Change change:
                    foreach ((string key, JsonNode? value) in change.Fields["spec"]!.AsObject())
                    {
                        Children[change.Meta.Key.Name]["spec"]![key] = value?.DeepClone();
                    }

                    break;
                case DesiredWrite.Delete delete:
                    Children.Remove(delete.Key.Name);
                    break;
            }
        }
    }
}
