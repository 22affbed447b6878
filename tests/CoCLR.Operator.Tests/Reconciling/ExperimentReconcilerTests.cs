// Why this exists: an experiment's behaviour without a cluster, one row of the fault catalogue at a time; every status is checked against Flux's rules.
using System.Text.Json.Nodes;
using CoCLR.Cluster;
using CoCLR.Core.Manifests.Status;
using CoCLR.Operator.Api;
using CoCLR.Operator.Progress;
using CoCLR.Operator.Reconciling;
using CoCLR.Operator.Tests.Harness;

namespace CoCLR.Operator.Tests.Reconciling;

public class ExperimentReconcilerTests
{
    private static readonly string[] FirstWrites = ["configmaps", "persistentvolumeclaims", "jobs"];

    [Fact]
    public void Experiment_New_MakesPlanClaimAndFirstJobOnly()
    {
        var scene = new Scene();
        Decision<ExperimentStatus> decision = scene.Once();
        Assert.Equal(FirstWrites, decision.Writes.Cast<DesiredWrite.Create>().Select(w => w.Kind.Plural));
        Assert.Equal("False/Starting", scene.Condition("Ready"));
        Assert.Equal("True/Starting", scene.Condition("Reconciling"));
        Assert.Equal("True/Valid", scene.Condition("Accepted"));
        Assert.Equal("Unknown/NotFinished", scene.Condition("Succeeded"));
        Assert.Equal("decode", scene.Status.Stage);
        Assert.Empty(scene.Once().Writes);
    }

    [Fact]
    public void Experiment_AllStagesSucceed_EndsWithResults()
    {
        var scene = new Scene("""{"views":["RGB","Flow"],"training":{"method":"CoCLR"},"cotrain":{"cycles":1}}""");
        scene.Reconcile();
        foreach (string stage in new[] { "decode", "flow", "pretrain-rgb", "pretrain-flow", "cycle-1-rgb", "cycle-1-flow" })
        {
            scene.Succeed(stage);
        }

        scene.Succeed("probe-rgb", """{"stage":"probe-rgb","result":{"linearProbeTop1":0.5}}""");
        scene.Succeed("retrieve-rgb", """{"stage":"retrieve-rgb","result":{"recallAt1":0.25,"recallAt5":0.5}}""");
        scene.Succeed("probe-flow", """{"stage":"probe-flow","result":{"linearProbeTop1":0.625}}""");
        scene.Succeed("retrieve-flow", """{"stage":"retrieve-flow"}""");
        scene.Succeed("fuse", """{"stage":"fuse","result":{"linearProbeTop1":0.75,"bogus":7,"recallAt1":12}}""");
        Assert.Equal(ExperimentState.Starting, scene.Status.State);
        scene.Succeed("report");
        Assert.Equal("True/Succeeded", scene.Condition("Ready"));
        Assert.Equal("True/Succeeded", scene.Condition("Succeeded"));
        Assert.Equal(["rgb", "flow", "two-stream"], scene.Status.Results.Select(r => r.View));
        Assert.Equal(("0.5", "0.25", "0.5"), (scene.Status.Results[0].LinearProbeTop1, scene.Status.Results[0].RecallAt1, scene.Status.Results[0].RecallAt5));
        Assert.Null(scene.Status.Results[2].RecallAt1);
        Assert.Equal("linear 75.0% (two-stream)", scene.Status.Best);
        Assert.Equal("100%", scene.Status.Progress!.Text);
        Assert.Empty(scene.Reconcile().Writes);
    }

    [Fact]
    public void Storage_ReadWriteMany_RunsBothViewsSideBySide()
    {
        var scene = new Scene("""{"views":["RGB","Flow"],"storage":{"accessMode":"ReadWriteMany"}}""");
        scene.Reconcile();
        scene.Succeed("decode");
        Assert.Equal(3, scene.JobNames.Count);
        scene.Succeed("flow");
        Assert.Contains(scene.JobNames, n => n.Contains("pretrain-rgb", StringComparison.Ordinal));
        Assert.Contains(scene.JobNames, n => n.Contains("pretrain-flow", StringComparison.Ordinal));
    }

    [Fact]
    public void Storage_ReadWriteOnce_RunsOneStageAtATime()
    {
        var scene = new Scene("""{"views":["RGB","Flow"]}""");
        scene.Reconcile();
        scene.Succeed("decode");
        scene.Succeed("flow");
        Assert.Equal(3, scene.JobNames.Count);
    }

    [Fact]
    public void Pod_OutOfMemory_SaysSoAndCountsTheRetry()
    {
        var scene = new Scene("""{"retries":1}""");
        scene.Reconcile();
        string pod = scene.RunPod("decode");
        scene.Reconcile();
        Assert.Equal("False/Training", scene.Condition("Ready"));
        scene.EndPod("decode", pod, 137, reason: "OOMKilled");
        scene.SetJob("decode", j => j["status"]!["failed"] = 1);
        scene.Reconcile();
        Assert.Equal("False/Restarting", scene.Condition("Ready"));
        Assert.Equal("True/OOMKilled", scene.Condition("Interrupted"));
        Assert.Equal("True/ProgressingWithRetry", scene.Condition("Reconciling"));
        Assert.Equal("OOMKilled", scene.Status.Stages[0].Reason);
        scene.RunPod("decode");
        scene.Reconcile();
        Assert.Null(scene.Condition("Interrupted"));
        Assert.Equal((1, 1, 0), (scene.Status.Restarts!.Total, scene.Status.Restarts.Counted, scene.Status.Restarts.Uncounted));
    }

    [Fact]
    public void Memory_RaisedAfterAnOutOfMemory_CountsForTheNextPodOfTheSameRun()
    {
        var scene = new Scene();
        scene.Reconcile();
        scene.EndPod("decode", scene.RunPod("decode"), 137, reason: "OOMKilled");
        scene.Reconcile();
        string job = scene.JobOf("decode"), run = scene.Status.Run!;
        scene.SetSpec("""{"resources":{"memory":"64Gi"}}""");
        scene.Reconcile();
        Assert.Equal("64Gi", scene.Job("decode")["spec"]!["template"]!["spec"]!["containers"]![0]!["resources"]!["limits"]!["memory"]!.ToString());
        Assert.Equal((job, run), (scene.JobOf("decode"), scene.Status.Run));
        Assert.Contains(scene.Events, e => e.Reason == "ResourcesChanged");

        // A pod that runs is left alone; its stage's successor gets what counts then.
        string pod = scene.RunPod("decode");
        scene.SetSpec("""{"resources":{"memory":"128Gi"}}""");
        scene.Reconcile();
        Assert.Equal("64Gi", scene.Job("decode")["spec"]!["template"]!["spec"]!["containers"]![0]!["resources"]!["limits"]!["memory"]!.ToString());
        scene.EndPod("decode", pod, 0);
        scene.Complete("decode");
        scene.Reconcile();
        Assert.Equal("128Gi", scene.Job("pretrain-rgb")["spec"]!["template"]!["spec"]!["containers"]![0]!["resources"]!["limits"]!["memory"]!.ToString());
    }

    [Fact]
    public void Memory_RaisedAfterTheRetriesWereUsedUp_CountsWhenTriedAgain()
    {
        var scene = new Scene("""{"retries":0}""");
        scene.Reconcile();
        scene.EndPod("decode", scene.RunPod("decode"), 137, reason: "OOMKilled");
        scene.Fail("decode", "BackoffLimitExceeded", 1);
        scene.Reconcile();
        Assert.Equal(ExperimentState.Failed, scene.Status.State);
        scene.SetSpec("""{"resources":{"memory":"64Gi"}}""");
        scene.RemoveJob("decode");
        scene.Annotate("coclr.dev/retry", "1");
        scene.Reconcile();
        Assert.Equal("64Gi", scene.Job("decode")["spec"]!["template"]!["spec"]!["containers"]![0]!["resources"]!["limits"]!["memory"]!.ToString());
    }

    [Fact]
    public void AccountOrSecret_ThatIsNotAllowed_IsRefusedWithTheSettingThatDecides()
    {
        var scene = new Scene("""{"serviceAccountName":"admin","imagePullSecrets":["theirs"]}""");
        scene.Reconcile();
        Assert.Equal("False/InvalidSpec", scene.Condition("Accepted"));
        string message = scene.Status.Condition("Ready")!.Message;
        Assert.Contains("'admin' is not allowed here (none is)", message, StringComparison.Ordinal);
        Assert.Contains("AllowedServiceAccounts", message, StringComparison.Ordinal);
        Assert.Contains("AllowedImagePullSecrets", message, StringComparison.Ordinal);
        var allowed = new Scene("""{"serviceAccountName":"admin"}""") { Settings = new ChildSettings { Propagation = new Propagation { ServiceAccounts = ["*"] } } };
        allowed.Reconcile();
        Assert.Equal("True/Valid", allowed.Condition("Accepted"));
    }

    [Fact]
    public void Image_ThatANodeHasResolved_IsInTheStatusAndTheNextPodKnowsIt()
    {
        var scene = new Scene("""{"image":"registry/coclr-engine:0.1.0"}""");
        scene.Reconcile();
        static string Known(JsonObject job) => job["spec"]!["template"]!["spec"]!["containers"]![0]!["env"]!.AsArray().Single(e => e!["name"]!.ToString() == "COCLR_IMAGE")!["value"]!.ToString();
        Assert.Equal("registry/coclr-engine:0.1.0", Known(scene.Job("decode")));
        string pod = scene.RunPod("decode"), digest = "registry/coclr-engine@sha256:" + new string('a', 64);
        scene.SetPod(pod, p => p["status"]!["containerStatuses"]![0]!["imageID"] = "docker-pullable://" + digest);
        scene.Reconcile();
        Assert.Equal(digest, scene.Status.Image);
        scene.EndPod("decode", pod, 0);
        scene.Complete("decode");
        scene.Reconcile();
        Assert.Equal(digest, Known(scene.Job("pretrain-rgb")));
    }

    [Fact]
    public void PriorityClass_OfTheSystem_IsRefused()
    {
        var scene = new Scene("""{"scheduling":{"priorityClassName":"system-node-critical"}}""");
        scene.Reconcile();
        Assert.Equal("False/InvalidSpec", scene.Condition("Accepted"));
    }

    [Fact]
    public void Pod_OutOfMemoryTooOften_FailsWithThatReason()
    {
        var scene = new Scene("""{"retries":0}""");
        scene.Reconcile();
        scene.EndPod("decode", scene.RunPod("decode"), 137, reason: "OOMKilled");
        scene.Fail("decode", "BackoffLimitExceeded", 1);
        scene.Reconcile();
        Assert.Equal("False/OOMKilled", scene.Condition("Ready"));
        Assert.Equal("True/OOMKilled", scene.Condition("Stalled"));
        Assert.Equal("False/OOMKilled", scene.Condition("Succeeded"));
        Assert.Empty(scene.Reconcile().Writes);
    }

    [Theory]
    [InlineData(64), InlineData(65), InlineData(66), InlineData(78)]
    public void Pod_DocumentedExitCode_FailsAtOnce(int code)
    {
        var scene = new Scene("""{"retries":5}""");
        scene.Reconcile();
        scene.EndPod("decode", scene.RunPod("decode"), code, """{"stage":"decode","outcome":"failed","message":"dataset.path: no videos in /dataset"}""");
        scene.Fail("decode", "PodFailurePolicy", 1);
        scene.Reconcile();
        Assert.Equal("False/NonRetryableError", scene.Condition("Succeeded"));
        Assert.Contains("no videos in /dataset", scene.Status.Condition("Ready")!.Message, StringComparison.Ordinal);
        Assert.Contains($"exit code {code}", scene.Status.Condition("Ready")!.Message, StringComparison.Ordinal);
        Assert.Equal(ExperimentState.Failed, scene.Status.State);
    }

    [Fact]
    public void Job_PodFailurePolicy_NamesTheDocumentedCodes()
    {
        var scene = new Scene("""{"retries":7}""");
        scene.Reconcile();
        JsonNode spec = scene.Job("decode")["spec"]!;
        JsonArray rules = spec["podFailurePolicy"]!["rules"]!.AsArray();
        Assert.Equal(7, spec["backoffLimit"]!.GetValue<int>());
        Assert.Equal("FailJob", rules[0]!["action"]!.ToString());
        Assert.Equal(Enumerable.Range(64, 15), rules[0]!["onExitCodes"]!["values"]!.AsArray().Select(v => v!.GetValue<int>()));
        Assert.Equal(("Ignore", 143), (rules[1]!["action"]!.ToString(), rules[1]!["onExitCodes"]!["values"]![0]!.GetValue<int>()));
        Assert.Equal(("Ignore", "DisruptionTarget"), (rules[2]!["action"]!.ToString(), rules[2]!["onPodConditions"]![0]!["type"]!.ToString()));
        Assert.Equal("Never", spec["template"]!["spec"]!["restartPolicy"]!.ToString());
    }

    [Fact]
    public void Pod_Preempted_IsNotCounted()
    {
        var scene = new Scene("""{"retries":0}""");
        scene.Reconcile();
        string pod = scene.RunPod("decode");
        scene.Reconcile();
        scene.EndPod("decode", pod, 143, """{"epoch":4}""", disruption: "PreemptionByScheduler");
        scene.Reconcile();
        Assert.Equal("True/PreemptionByScheduler", scene.Condition("Interrupted"));
        Assert.Equal(ExperimentState.Restarting, scene.Status.State);
        scene.RunPod("decode");
        scene.Reconcile();
        Assert.Equal((1, 0, 1), (scene.Status.Restarts!.Total, scene.Status.Restarts.Counted, scene.Status.Restarts.Uncounted));
        Assert.Equal(4, scene.Status.Stages[0].Epoch);
        Assert.Equal(ExperimentState.Training, scene.Status.State);
    }

    [Fact]
    public void Job_WithQueue_NeverHoldsFieldsOfTheQueue()
    {
        var scene = new Scene("""{"queueName":"gpus"}""");
        scene.Reconcile();
        JsonObject job = scene.Job("decode");
        Assert.Equal("gpus", job["metadata"]!["labels"]![Labels.Queue]!.ToString());
        job["spec"]!["template"]!["spec"]!["nodeSelector"] = new JsonObject { ["pool"] = "a" };
        job["spec"]!["suspend"] = false;
        Assert.Empty(scene.Reconcile().Writes);
        job["spec"]!["suspend"] = true;
        Assert.Empty(scene.Reconcile().Writes);
    }

    [Fact]
    public void Job_Made_NeverHoldsSuspend()
    {
        foreach (string spec in new[] { "{}", """{"queueName":"gpus"}""" })
        {
            Decision<ExperimentStatus> decision = ExperimentReconciler.Reconcile(new Scene(spec).Observation(), new ChildSettings());
            JsonNode job = decision.Writes.OfType<DesiredWrite.Create>().Single(w => w.Kind == ResourceKind.Job).Object;
            Assert.Null(job["spec"]!["suspend"]);
        }
    }

    [Fact]
    public void Queue_Evicts_ShowsQueuedWithItsReason()
    {
        var scene = new Scene("""{"queueName":"gpus"}""");
        scene.Reconcile();
        Assert.Equal(ExperimentState.Queued, scene.Status.State);
        scene.SetJob("decode", j => j["spec"]!["suspend"] = false);
        string pod = scene.RunPod("decode");
        scene.Reconcile();
        Assert.Equal("True/Admitted", scene.Condition("Admitted"));
        Assert.Equal(ExperimentState.Training, scene.Status.State);
        scene.SetJob("decode", j => j["spec"]!["suspend"] = true);
        scene.RemovePod(pod);
        scene.Workloads[scene.JobUid("decode")] = new WorkloadView { Meta = scene.Resource.Meta, NoQuota = new ChildCondition("Preempted", "a workload of higher priority needs 8 GPUs", null) };
        Assert.Empty(scene.Reconcile().Writes);
        Assert.Equal("False/Queued", scene.Condition("Ready"));
        Assert.Equal("False/Preempted", scene.Condition("Admitted"));
        Assert.Contains("higher priority", scene.Status.Condition("Admitted")!.Message, StringComparison.Ordinal);
        Assert.Equal(0, scene.Status.Gpus);
    }

    [Fact]
    public void Suspend_WithQueue_DeletesTheJobAndContinuesWithANewOne()
    {
        var scene = new Scene("""{"queueName":"gpus"}""");
        scene.Reconcile();
        scene.SetJob("decode", j => j["spec"]!["suspend"] = false);
        string pod = scene.RunPod("decode");
        scene.Reconcile();
        scene.SetSpec("""{"suspend":true}""");
        Assert.IsType<DesiredWrite.Delete>(Assert.Single(scene.Reconcile().Writes));
        Assert.Equal(ExperimentState.Suspending, scene.Status.State);
        scene.RemovePod(pod);
        scene.Reconcile();
        Assert.Equal("True/Suspended", scene.Condition("Ready"));
        scene.SetSpec("""{"suspend":false}""");
        Assert.IsType<DesiredWrite.Create>(Assert.Single(scene.Reconcile().Writes));
    }

    [Fact]
    public void Suspend_AndResume_StopsTheDeadlineClock()
    {
        var scene = new Scene("""{"activeDeadlineSeconds":100}""");
        scene.Reconcile();
        string pod = scene.RunPod("decode");
        scene.Reconcile();
        scene.Now += TimeSpan.FromSeconds(60);
        scene.SetSpec("""{"suspend":true}""");
        Assert.True(Assert.IsType<DesiredWrite.SetSuspend>(Assert.Single(scene.Once().Writes)).Suspend);
        Assert.Equal("False/Suspending", scene.Condition("Ready"));
        scene.RemovePod(pod);
        scene.Reconcile();
        Assert.Equal("True/Suspended", scene.Condition("Ready"));
        Assert.Equal("True/Suspended", scene.Condition("Suspended"));
        Assert.Null(scene.Condition("Reconciling"));
        scene.Now += TimeSpan.FromDays(3);
        scene.Reconcile();
        Assert.Equal("True/Suspended", scene.Condition("Ready"));
        scene.SetSpec("""{"suspend":false}""");
        Assert.False(Assert.IsType<DesiredWrite.SetSuspend>(Assert.Single(scene.Reconcile().Writes)).Suspend);
        scene.RunPod("decode");
        TimeSpan? again = scene.Reconcile().Again;
        Assert.Equal(40, again!.Value.TotalSeconds, 1.0);
        scene.Now += TimeSpan.FromSeconds(41);
        scene.Reconcile();
        Assert.Equal("False/DeadlineExceeded", scene.Condition("Succeeded"));
    }

    // Its pod may write its checkpoint beyond the deadline.
    [Fact]
    public void Deadline_ThatPassesWhileItIsBeingSuspended_FailsNothing()
    {
        var scene = new Scene("""{"activeDeadlineSeconds":100}""");
        scene.Reconcile();
        scene.RunPod("decode");
        scene.Reconcile();
        scene.Now += TimeSpan.FromSeconds(90);
        scene.SetSpec("""{"suspend":true}""");
        scene.Reconcile();
        scene.Now += TimeSpan.FromSeconds(20);
        scene.Reconcile();
        Assert.Equal(ExperimentState.Suspending, scene.Status.State);
    }

    [Fact]
    public void Suspend_BackAndForth_LeavesOneJobAndNoPods()
    {
        var scene = new Scene();
        scene.Reconcile();
        for (int i = 0; i < 3; i++)
        {
            scene.SetSpec("""{"suspend":true}""");
            scene.Reconcile();
            scene.SetSpec("""{"suspend":false}""");
            scene.Reconcile();
        }

        scene.SetSpec("""{"suspend":true}""");
        scene.Reconcile();
        Assert.Single(scene.JobNames);
        Assert.True(scene.Job("decode")["spec"]!["suspend"]!.GetValue<bool>());
        Assert.Equal("True/Suspended", scene.Condition("Ready"));
    }

    [Fact]
    public void Experiment_CreatedSuspended_MakesNothing()
    {
        var scene = new Scene("""{"suspend":true}""");
        Assert.Empty(scene.Reconcile().Writes);
        Assert.Equal("True/Suspended", scene.Condition("Ready"));
        Assert.Empty(scene.JobNames);
    }

    [Fact]
    public void LastStage_ThatCouldNotSendEverything_IsFollowedByAJobThatDoes()
    {
        Scene scene = Ended("""{"stage":"report","unsent":true}""");
        Assert.Equal((ExperimentState.Succeeded, true), (scene.Status.State, scene.Status.Undelivered));
        JsonNode spec = scene.Job("deliver")["spec"]!;
        Assert.Equal(["deliver", "--plan", "/etc/coclr/plan.json"], spec["template"]!["spec"]!["containers"]![0]!["args"]!.AsArray().Select(a => a!.ToString()));
        Assert.Contains(scene.Events, e => e.Reason == "Delivering");
        scene.RunPod("deliver");
        Assert.Empty(scene.Reconcile().Writes);
        scene.Complete("deliver");
        scene.Reconcile();
        Assert.Null(scene.Status.Undelivered);
        Assert.Equal(ExperimentState.Succeeded, scene.Status.State);
        Assert.Contains(scene.Events, e => e.Reason == "Delivered");
        Assert.Empty(scene.Reconcile().Writes);
    }

    [Theory]
    [InlineData("""{"stage":"report","unsent":false}""")]
    [InlineData("""{"stage":"report","unsent":"yes"}""")]
    public void LastStage_ThatSentEverything_IsFollowedByNothing(string lastWord)
    {
        Scene scene = Ended(lastWord);
        Assert.Null(scene.Status.Undelivered);
        Assert.DoesNotContain(scene.JobNames, n => n.Contains("deliver", StringComparison.Ordinal));
    }

    [Fact]
    public void Delivery_ThatFailsForGood_IsToldOnceAndNotTriedAgain()
    {
        Scene scene = Ended("""{"stage":"report","unsent":true}""");
        scene.Fail("deliver", "BackoffLimitExceeded", 7);
        scene.Reconcile();
        scene.Reconcile();
        Assert.Null(scene.Status.Undelivered);
        Assert.Single(scene.Events, e => e.Reason == "NotDelivered");
    }

    [Theory]
    [InlineData(null, true)]
    [InlineData("""{"stage":"decode","unsent":true}""", true)]
    [InlineData("""{"stage":"decode","unsent":false}""", false)]
    public void Stage_ThatFailsForGood_IsToldToTheDashboardUnlessItSaidThatItWas(string? lastWord, bool delivers)
    {
        Scene scene = Told("""{"retries":0}""");
        scene.EndPod("decode", scene.RunPod("decode"), 1, lastWord);
        scene.Fail("decode", "BackoffLimitExceeded", 1);
        scene.Reconcile();
        Assert.Equal(ExperimentState.Failed, scene.Status.State);
        Assert.Equal(delivers, scene.JobNames.Any(n => n.Contains("deliver", StringComparison.Ordinal)));
    }

    /// <summary>An experiment whose stages tell a dashboard, and whose last stage ends with a word.</summary>
    private static Scene Ended(string lastWord)
    {
        Scene scene = Told("{}");
        foreach (string stage in new[] { "decode", "pretrain-rgb", "probe-rgb", "retrieve-rgb" })
        {
            // What a stage leaves is sent by the next one.
            scene.Succeed(stage, $$"""{"stage":"{{stage}}","unsent":{{(stage == "decode" ? "true" : "false")}}}""");
        }

        scene.Succeed("report", lastWord);
        return scene;
    }

    private static Scene Told(string spec)
    {
        var scene = new Scene(spec) { Settings = new ChildSettings { DashboardIngestUrl = "http://dashboard" } };
        scene.Reconcile();
        return scene;
    }

    [Fact]
    public void Job_FinishedAndRemoved_IsNotMadeAgain()
    {
        var scene = new Scene();
        scene.Reconcile();
        scene.Succeed("decode");
        scene.RemoveJob("decode");
        Assert.Empty(scene.Reconcile().Writes);
        Assert.Equal(StageState.Succeeded, scene.Status.Stages[0].State);
        foreach (string stage in new[] { "pretrain-rgb", "probe-rgb", "retrieve-rgb", "report" })
        {
            scene.Succeed(stage);
            scene.RemoveJob(stage);
        }

        Assert.Empty(scene.Reconcile().Writes);
        Assert.Equal("True/Succeeded", scene.Condition("Ready"));
    }

    [Fact]
    public void Job_DeletedWhileItRuns_IsMadeAgainOnlyWhenItsPodHasEnded()
    {
        var scene = new Scene();
        scene.Reconcile();
        string pod = scene.RunPod("decode");
        scene.Reconcile();
        scene.RemoveJob("decode");
        Assert.Empty(scene.Reconcile().Writes);
        Assert.Equal(ExperimentState.Restarting, scene.Status.State);
        scene.RemovePod(pod);
        Assert.IsType<DesiredWrite.Create>(Assert.Single(scene.Reconcile().Writes));
    }

    [Theory]
    [InlineData(0, 100, false)]
    [InlineData(99, 100, false)]
    [InlineData(100, 100, true)]
    [InlineData(100000, 100, true)]
    [InlineData(-500, 100, false)]
    [InlineData(0, 0, true)]
    public void Ttl_AfterTheEnd_DeletesOnTimeAndNeverEarly(int secondsLater, int ttl, bool deleted)
    {
        var scene = new Scene($$"""{"ttlSecondsAfterFinished":{"failed":{{ttl}}},"retries":0}""");
        scene.Reconcile();
        scene.EndPod("decode", scene.RunPod("decode"), 1);
        scene.Fail("decode", "BackoffLimitExceeded", 1);
        scene.Once();
        scene.Now += TimeSpan.FromSeconds(secondsLater);
        Decision<ExperimentStatus> decision = scene.Once();
        Assert.Equal(deleted, decision.Writes.OfType<DesiredWrite.Delete>().Any(d => d.Kind == ResourceKind.Experiment));
        Assert.Equal(deleted, decision.Again == null);
        Assert.True(decision.Again == null || decision.Again > TimeSpan.Zero);
    }

    [Fact]
    public void Ttl_OfTheOtherOutcome_KeepsTheExperiment()
    {
        var scene = new Scene("""{"ttlSecondsAfterFinished":{"succeeded":0},"retries":0}""");
        scene.Reconcile();
        scene.EndPod("decode", scene.RunPod("decode"), 1);
        scene.Fail("decode", "BackoffLimitExceeded", 1);
        scene.Reconcile();
        scene.Now += TimeSpan.FromDays(30);
        Assert.Empty(scene.Once().Writes);
    }

    [Fact]
    public void Experiment_BeingDeleted_MakesNothingMore()
    {
        var scene = new Scene();
        scene.Reconcile();
        scene.MarkDeleted();
        scene.RemoveJob("decode");
        Assert.Empty(scene.Once().Writes);
        Assert.Equal("True/Terminating", scene.Condition("Reconciling"));
    }

    // Whatever a pod says, the status stays small; what happened on the way lives in the run folder.
    [Fact]
    public void Report_WithTenThousandMetrics_LeavesTheStatusSmall()
    {
        var scene = new Scene("""{"views":["RGB","Flow"],"training":{"method":"CoCLR"}}""");
        foreach (string stage in CoCLR.Core.Planning.Planner.Plan("exp", scene.Resource.ParseSpec().Spec!, "r").Stages.Select(s => s.Name))
        {
            var numbers = new JsonObject(Enumerable.Range(0, 10_000).Select(i => KeyValuePair.Create($"metric{i}", (JsonNode?)(i / 10_000.0))));
            numbers["linearProbeTop1"] = 0.5;
            var said = new JsonObject { ["stage"] = stage, ["message"] = new string('m', 100_000), ["percent"] = 50, ["result"] = numbers };
            scene.Pushed[stage] = StageReport.Read(said.ToJsonString(), scene.Now)!;
            scene.Reconcile();
            scene.RunPod(stage);
            scene.Reconcile();
            scene.Succeed(stage, said.ToJsonString());
            scene.Reconcile();
        }

        Assert.Equal("True/Succeeded", scene.Condition("Ready"));
        Assert.Equal("0.5", scene.Status.Results[0].LinearProbeTop1);
        Assert.InRange(System.Text.Json.JsonSerializer.SerializeToUtf8Bytes(scene.Status, CoCLR.Core.CoclrJson.Compact).Length, 1_000, 32 * 1024);
    }

    // A Job takes a moment to draw its conclusion from an exit code that ends it; nothing is being started again meanwhile.
    [Fact]
    public void Pod_EndedForGood_IsNotCalledARestart()
    {
        var scene = new Scene();
        scene.Reconcile();
        string pod = scene.RunPod("decode");
        scene.Reconcile();
        scene.EndPod("decode", pod, 65, "no videos");
        scene.Reconcile();
        Assert.DoesNotContain(scene.Events, e => e.Reason == "StageInterrupted");
        Assert.Null(scene.Condition("Interrupted"));
        scene.Fail("decode", "PodFailurePolicy", 1);
        scene.Reconcile();
        Assert.Equal("True/NonRetryableError", scene.Condition("Stalled"));
    }

    // In the scheduler's own words.
    [Theory]
    [InlineData("0/2 nodes are available: pod has unbound immediate PersistentVolumeClaims. not found", "True/Valid", "False/Unschedulable")]
    [InlineData("0/2 nodes are available: persistentvolumeclaim \"videos\" not found. preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling.", "False/DependencyNotReady", "False/DependencyNotReady")]
    public void Claim_ThatWaitsForItsVolume_IsNotMissing(string words, string accepted, string ready)
    {
        var scene = new Scene();
        scene.Reconcile();
        string pod = scene.AddPod("decode");
        scene.SetPod(pod, p => p["status"]!["conditions"] = new JsonArray(new JsonObject { ["type"] = "PodScheduled", ["status"] = "False", ["reason"] = "Unschedulable", ["message"] = words }));
        scene.Reconcile();
        Assert.Equal(accepted, scene.Condition("Accepted"));
        Assert.Equal(ready, scene.Condition("Ready"));
    }

    [Theory]
    [InlineData("""{"storage":{"claimName":"videos"}}""", "spec.storage.claimName")]
    [InlineData("""{"dataset":{"source":{"synthetic":null,"volumeClaim":{"name":"videos"}}}}""", "spec.dataset.source.volumeClaim.name")]
    public void Claim_Missing_WaitsAndHeals(string spec, string field)
    {
        var scene = new Scene(spec);
        Assert.Empty(scene.Reconcile().Writes);
        Assert.Equal("False/DependencyNotReady", scene.Condition("Accepted"));
        Assert.Equal("False/DependencyNotReady", scene.Condition("Ready"));
        Assert.Equal("True/DependencyNotReady", scene.Condition("Reconciling"));
        Assert.Contains(field, scene.Status.Condition("Ready")!.Message, StringComparison.Ordinal);
        scene.AddClaim("videos");
        Assert.NotEmpty(scene.Reconcile().Writes);
        Assert.Equal("True/Valid", scene.Condition("Accepted"));
    }

    [Theory]
    [InlineData("Lost", "ReadWriteOnce", "lost its volume")]
    [InlineData("Bound", "ReadOnlyMany", "read-only")]
    public void Claim_Unusable_SaysWhy(string phase, string mode, string words)
    {
        var scene = new Scene("""{"storage":{"claimName":"videos"}}""");
        scene.AddClaim("videos", phase, mode);
        Assert.Empty(scene.Reconcile().Writes);
        Assert.Contains(words, scene.Status.Condition("Accepted")!.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("ImagePullBackOff", "Back-off pulling image \"nope\"", "True/Valid")]
    [InlineData("InvalidImageName", "bad", "True/Valid")]
    [InlineData("CreateContainerConfigError", "secret \"s3-keys\" not found", "False/DependencyNotReady")]
    [InlineData("CreateContainerConfigError", "couldn't find key accessKeyId in Secret ns/s3", "False/DependencyNotReady")]
    public void Pod_CannotStart_ReasonIsLifted(string reason, string message, string accepted)
    {
        var scene = new Scene();
        scene.Reconcile();
        string pod = scene.AddPod("decode");
        scene.SetContainer(pod, new JsonObject { ["waiting"] = new JsonObject { ["reason"] = reason, ["message"] = message } }.ToJsonString());
        scene.Reconcile();
        Assert.Equal(reason, scene.Status.Stages[0].Reason);
        Assert.Contains(message, scene.Status.Condition("Ready")!.Message, StringComparison.Ordinal);
        Assert.Equal(accepted, scene.Condition("Accepted"));
        scene.SetContainer(pod, """{"running":{"startedAt":"2026-01-31T12:00:00Z"}}""");
        scene.SetPod(pod, p => p["status"]!["phase"] = "Running");
        scene.Reconcile();
        Assert.Equal("True/Valid", scene.Condition("Accepted"));
        Assert.Equal("False/Training", scene.Condition("Ready"));
    }

    [Fact]
    public void Pod_Unschedulable_FailsAfterPreRunningDeadline()
    {
        var scene = new Scene("""{"preRunningDeadlineSeconds":600}""");
        scene.Reconcile();
        string pod = scene.AddPod("decode");
        scene.SetPod(pod, p => p["status"]!["conditions"] = new JsonArray(new JsonObject { ["type"] = "PodScheduled", ["status"] = "False", ["reason"] = "Unschedulable", ["message"] = "0/3 nodes are available: 3 Insufficient nvidia.com/gpu." }));
        Decision<ExperimentStatus> decision = scene.Reconcile();
        Assert.Equal("False/Unschedulable", scene.Condition("Ready"));
        Assert.Contains("Insufficient nvidia.com/gpu", scene.Status.Condition("Ready")!.Message, StringComparison.Ordinal);
        Assert.Equal(600, decision.Again!.Value.TotalSeconds, 1.0);
        scene.Now += TimeSpan.FromSeconds(601);
        Assert.True(Assert.IsType<DesiredWrite.SetSuspend>(Assert.Single(scene.Once().Writes)).Suspend);
        Assert.Equal("False/PreRunningDeadlineExceeded", scene.Condition("Succeeded"));
        Assert.Contains("Insufficient nvidia.com/gpu", scene.Status.Condition("Ready")!.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Stage_WithoutProgress_PodIsReplacedAfterStallDeadline()
    {
        var scene = new Scene("""{"stallDeadlineSeconds":300}""") { ListeningSince = Scene.Start };
        scene.Reconcile();
        string pod = scene.RunPod("decode");
        Assert.Equal(300, scene.Reconcile().Again!.Value.TotalSeconds, 1.0);

        // It goes on reporting, but always the same.
        var reports = new ProgressStore();
        for (int i = 0; i < 5; i++)
        {
            scene.Now += TimeSpan.FromSeconds(58);
            reports.Put("x", "decode", StageReport.Read("""{"stage":"decode","percent":40,"etaSeconds":90}""", scene.Now)!);
            scene.Pushed["decode"] = reports.Of("x")["decode"];
            Assert.Empty(scene.Once().Writes);
        }

        scene.Now += TimeSpan.FromSeconds(70); // 302 s after the first of these reports
        var replaced = Assert.IsType<DesiredWrite.Delete>(Assert.Single(scene.Once().Writes));
        Assert.Equal((ResourceKind.Pod, pod), (replaced.Kind, replaced.Key.Name));
        Assert.Contains(scene.Events, e => e.Reason == "StageStalled" && e.Message.Contains("stallDeadlineSeconds", StringComparison.Ordinal));
    }

    // A new leader has heard nothing yet; a report that moves on is a sign of life; without the field nothing is ever replaced.
    [Theory]
    [InlineData("""{"stallDeadlineSeconds":300}""", 10, "")]
    [InlineData("""{"stallDeadlineSeconds":300}""", 1000, """{"stage":"decode","percent":41}""")]
    [InlineData("{}", 100000, "")]
    public void Stage_ThatMayBeAlive_KeepsItsPod(string spec, int listening, string report)
    {
        var scene = new Scene(spec);
        scene.Reconcile();
        scene.RunPod("decode");
        scene.Now += TimeSpan.FromSeconds(1000);
        scene.ListeningSince = scene.Now - TimeSpan.FromSeconds(listening);
        if (report.Length > 0)
        {
            var reports = new ProgressStore();
            reports.Put("x", "decode", StageReport.Read("""{"stage":"decode","percent":40}""", scene.Now - TimeSpan.FromSeconds(900))!);
            reports.Put("x", "decode", StageReport.Read(report, scene.Now - TimeSpan.FromSeconds(20))!);
            scene.Pushed["decode"] = reports.Of("x")["decode"];
        }

        Assert.Empty(scene.Reconcile().Writes);
    }

    [Theory]
    [InlineData("pods \"x\" is forbidden: exceeded quota: gpus, requested: requests.nvidia.com/gpu=1", "QuotaExceeded", "True/Valid")]
    [InlineData("pods \"x\" is forbidden: no PriorityClass with name high was found", "DependencyNotReady", "False/DependencyNotReady")]
    [InlineData("pods \"x\" is forbidden: error looking up service account ns/default: serviceaccount \"default\" not found", "DependencyNotReady", "False/DependencyNotReady")]
    [InlineData("pods \"x\" is forbidden: violates PodSecurity", "PodCreationFailed", "True/Valid")]
    public void Job_CannotMakeItsPod_ReasonIsLiftedAndHeals(string message, string reason, string accepted)
    {
        var scene = new Scene();
        scene.Reconcile();
        scene.PodFailures[scene.JobUid("decode")] = new PodFailureView { Meta = scene.Resource.Meta, Job = new ObjectKey("ns", "j"), JobUid = "x", Message = message, At = scene.Now };
        scene.Reconcile();
        Assert.Equal($"False/{reason}", scene.Condition("Ready"));
        Assert.Equal(accepted, scene.Condition("Accepted"));
        Assert.Contains(message, scene.Status.Condition("Ready")!.Message, StringComparison.Ordinal);
        scene.RunPod("decode");
        scene.Reconcile();
        Assert.Equal("False/Training", scene.Condition("Ready"));
        Assert.Equal("True/Valid", scene.Condition("Accepted"));
    }

    [Fact]
    public void Experiment_RecreatedUnderItsName_WaitsForOldPods()
    {
        var scene = new Scene(uid: "22222222-bbbb");
        string old = scene.AddPod("decode", "Running", uid: "11111111-aaaa", owner: "old-job");
        Assert.Empty(scene.Reconcile().Writes);
        Assert.Equal("False/WaitingForPredecessor", scene.Condition("Ready"));
        scene.RemovePod(old);
        Assert.NotEmpty(scene.Reconcile().Writes);
        Assert.NotEqual(ChildNames.Run("exp", "11111111-aaaa"), scene.Status.Run);
    }

    [Fact]
    public void Name_TakenBySomethingElse_StallsAndHeals()
    {
        var scene = new Scene { Foreign = ["jobs/exp-decode-123456"] };
        Decision<ExperimentStatus> decision = scene.Once();
        Assert.Empty(decision.Writes);
        Assert.Equal("True/NameConflict", scene.Condition("Stalled"));
        Assert.NotNull(decision.Again);
        scene.Foreign = [];
        Assert.NotEmpty(scene.Reconcile().Writes);
        Assert.Null(scene.Condition("Stalled"));
    }

    [Fact]
    public void Spec_Unreadable_StallsAndLeavesTheRestAlone()
    {
        var scene = new Scene("""{"training":{"method":"NoSuchMethod"}}""");
        Assert.Empty(scene.Once().Writes);
        Assert.Equal("True/Unparseable", scene.Condition("Stalled"));
        Assert.Contains("training.method", scene.Status.Condition("Ready")!.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Spec_Invalid_IsRefusedInTheWordsOfTheCommandLine()
    {
        var scene = new Scene("""{"training":{"method":"CoCLR"}}""");
        Assert.Empty(scene.Once().Writes);
        Assert.Equal("False/InvalidSpec", scene.Condition("Accepted"));
        Assert.Contains("CoCLR needs both views: set views to [RGB, Flow]", scene.Status.Condition("Ready")!.Message, StringComparison.Ordinal);
        scene.SetSpec("""{"views":["RGB","Flow"]}""");
        Assert.NotEmpty(scene.Reconcile().Writes);
    }

    [Fact]
    public void Operator_Upgraded_ChangesNothingOfARunningExperiment()
    {
        var scene = new Scene();
        scene.Reconcile();
        scene.RunPod("decode");
        scene.Reconcile();
        string before = scene.Job("decode").ToJsonString();
        scene.Settings = scene.Settings with { DefaultImage = "coclr-engine:9.9.9", Version = "9.9.9", GracePeriodSeconds = 7 };
        Assert.Empty(scene.Reconcile().Writes);
        Assert.Equal(before, scene.Job("decode").ToJsonString());
        scene.Succeed("decode");
        Assert.Equal("coclr-engine:0.1.0", scene.Job("pretrain-rgb")["spec"]!["template"]!["spec"]!["containers"]![0]!["image"]!.ToString());
    }

    [Fact]
    public void Plan_OnceMade_CountsInsteadOfTheSpec()
    {
        var scene = new Scene();
        scene.Reconcile();
        scene.SetSpec("""{"evaluation":{"retrieval":{"enabled":false}}}""");
        scene.Reconcile();
        Assert.Contains(scene.Status.Stages, s => s.Name == "retrieve-rgb");
    }

    [Fact]
    public void Experiment_ManagedByAnother_IsUntouched()
    {
        var scene = new Scene("""{"managedBy":"kueue.x-k8s.io/multikueue"}""");
        Decision<ExperimentStatus> decision = scene.Once();
        Assert.Empty(decision.Writes);
        Assert.Null(decision.Status);
        scene.SetSpec("""{"managedBy":"coclr.dev/operator"}""");
        Assert.NotEmpty(scene.Once().Writes);
    }

    [Fact]
    public void Progress_PushedOften_ChangesTheStatusEveryTenSeconds()
    {
        var scene = new Scene();
        scene.Reconcile();
        scene.Succeed("decode");
        scene.RunPod("pretrain-rgb");
        scene.Reconcile();
        int changes = 0;
        string last = "";
        for (int tick = 0; tick < 600; tick++)
        {
            scene.Now += TimeSpan.FromMilliseconds(100);
            scene.Pushed["pretrain-rgb"] = StageReport.Read($$"""{"percent":{{tick / 6}},"epoch":{{tick / 60}},"epochs":10,"step":{{tick}}}""", scene.Now)!;
            scene.Once();
            string now = System.Text.Json.JsonSerializer.Serialize(scene.Status, CoCLR.Core.CoclrJson.Compact);
            changes += now == last ? 0 : 1;
            last = now;
        }

        Assert.InRange(changes, 5, 8);
        Assert.Equal(10, scene.Status.Progress!.Epochs);
    }

    [Fact]
    public void Representation_Collapses_IsUnhealthyWithWhatToTry_AndTheLastWordStays()
    {
        var scene = new Scene();
        scene.Reconcile();
        scene.Succeed("decode");
        scene.RunPod("pretrain-rgb");
        scene.Pushed["pretrain-rgb"] = StageReport.Read("""{"percent":5}""", scene.Now)!;
        scene.Reconcile();
        Assert.Null(scene.Status.Condition(ConditionTypes.Healthy));

        scene.Pushed["pretrain-rgb"] = StageReport.Read("""{"percent":10,"collapsed":false}""", scene.Now)!;
        scene.Reconcile();
        Assert.Equal((ConditionStatus.True, "Learning"), Healthy());

        scene.Pushed["pretrain-rgb"] = StageReport.Read("""{"percent":20,"collapsed":true}""", scene.Now)!;
        scene.Reconcile();
        Assert.Equal((ConditionStatus.False, "Collapsed"), Healthy());
        Assert.Contains("learningRate", scene.Status.Condition(ConditionTypes.Healthy)!.Message, StringComparison.Ordinal);
        Assert.Equal("Training", scene.Status.Condition(ConditionTypes.Ready)!.Reason);

        scene.Pushed.Clear();
        scene.Reconcile();
        Assert.Equal((ConditionStatus.False, "Collapsed"), Healthy());

        (ConditionStatus, string) Healthy() => scene.Status.Condition(ConditionTypes.Healthy) is { } c ? (c.Status, c.Reason) : default;
    }

    [Fact]
    public void Progress_GoesBackOrIsNoNumber_StaysValid()
    {
        var scene = new Scene();
        scene.Reconcile();
        scene.Succeed("decode");
        scene.RunPod("pretrain-rgb");
        scene.Pushed["pretrain-rgb"] = StageReport.Read("""{"percent":50,"epoch":5,"epochs":10}""", scene.Now)!;
        scene.Reconcile();
        int before = scene.Status.Progress!.Percent;
        Assert.InRange(before, 30, 60);
        scene.Now += TimeSpan.FromSeconds(20);
        scene.Pushed["pretrain-rgb"] = StageReport.Read("""{"percent":-7,"epoch":1e300,"epochs":"x","etaSeconds":1e99,"step":-1,"result":{"linearProbeTop1":"NaN"}}""", scene.Now)!;
        scene.Reconcile();
        Assert.Equal(before, scene.Status.Progress!.Percent);
        Assert.Equal(int.MaxValue, scene.Status.Progress.EtaSeconds);
        Assert.Equal(1_000_000, scene.Status.Progress.Epoch);
        Assert.Null(StageReport.Read("""{"percent":NaN}""", scene.Now));
        Assert.Null(StageReport.Read("[1]", scene.Now));
        Assert.Null(StageReport.Read("", scene.Now));
    }

    // A pod that was replaced may be heard last.
    [Fact]
    public void Report_OfAnOlderAttempt_DoesNotStandForTheNewest()
    {
        var scene = new Scene();
        scene.Reconcile();
        scene.Succeed("decode");
        string old = scene.RunPod("pretrain-rgb");
        scene.RunPod("pretrain-rgb");
        scene.Pushed["pretrain-rgb"] = StageReport.Read("""{"attempt":2,"epoch":5,"epochs":10,"percent":50}""", scene.Now)!;
        scene.Now += TimeSpan.FromSeconds(20);
        scene.EndPod("pretrain-rgb", old, 143, """{"attempt":1,"epoch":8,"epochs":10,"percent":80}""");
        scene.Reconcile();
        Assert.Equal(5, scene.Status.Stages.Single(s => s.Name == "pretrain-rgb").Epoch);
    }

    [Fact]
    public void Retry_AskedForAfterAFailure_StartsTheFailedStageAgain()
    {
        var scene = new Scene("""{"retries":0}""");
        scene.Reconcile();
        scene.Succeed("decode");
        scene.EndPod("pretrain-rgb", scene.RunPod("pretrain-rgb"), 1);
        scene.Fail("pretrain-rgb", "BackoffLimitExceeded", 1);
        scene.Reconcile();
        Assert.Equal(ExperimentState.Failed, scene.Status.State);
        scene.Annotate(Labels.Retry, "1");
        string job = Assert.IsType<DesiredWrite.Create>(Assert.Single(scene.Reconcile().Writes)).Name;
        Assert.Null(scene.Condition("Stalled"));
        Assert.Equal(ExperimentState.Starting, scene.Status.State);
        Assert.Equal(2, scene.JobNames.Count(n => n.Contains("pretrain-rgb", StringComparison.Ordinal)));
        Assert.Contains(job, scene.JobNames);
        Assert.Empty(scene.Reconcile().Writes);

        // Asked once, tried once: the second failure stands.
        scene.EndPod("pretrain-rgb", scene.RunPod("pretrain-rgb"), 1);
        scene.Fail("pretrain-rgb", "BackoffLimitExceeded", 1);
        scene.Reconcile();
        DateTimeOffset? ended = scene.Status.CompletionTime;
        Assert.Equal(ExperimentState.Failed, scene.Status.State);
        scene.Now += TimeSpan.FromMinutes(1);
        Assert.Empty(scene.Reconcile().Writes);
        Assert.Equal((ExperimentState.Failed, ended), (scene.Status.State, scene.Status.CompletionTime));
    }

    [Fact]
    public void Claim_OfSomebodyElseUnderItsName_IsNotUsed()
    {
        var scene = new Scene();
        string claim = ChildNames.Child("exp", "11111111-aaaa", "run");
        scene.AddClaim(claim);
        Assert.Empty(scene.Once().Writes);
        Assert.Equal("True/NameConflict", scene.Condition("Stalled"));
        scene.RemoveClaim(claim);
        Assert.NotEmpty(scene.Reconcile().Writes);
    }

    [Fact]
    public void Job_ParallelismTakenByHand_IsRestored()
    {
        var scene = new Scene();
        scene.Reconcile();
        scene.SetJob("decode", j => j["spec"]!["parallelism"] = 0);
        Assert.IsType<DesiredWrite.SetSuspend>(Assert.Single(scene.Reconcile().Writes));
        Assert.Equal(1, scene.Job("decode")["spec"]!["parallelism"]!.GetValue<int>());
    }

    [Theory]
    [InlineData("a")]
    [InlineData("a-name-of-exactly-fifty-two-characters-with-hyphens-")]
    [InlineData("abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz")]
    public void ChildNames_OfAnyName_AreValidLabelsAndDistinct(string name)
    {
        string[] stages = ["decode", "finetune-flow", "cycle-20-flow", "retrieve-flow", "plan", "run"];
        string[] names = [.. stages.SelectMany(s => new[] { ChildNames.Child(name, "uid-1", s), ChildNames.Child(name, "uid-2", s), ChildNames.Child(name, "uid-1", s, "again") })];
        Assert.All(names, n => Assert.Matches("^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$", n));
        Assert.Equal(names.Length, names.Distinct().Count());
        Assert.Equal(ChildNames.Child(name, "uid-1", "decode"), ChildNames.Child(name, "uid-1", "decode"));
        Assert.Matches("^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$", ChildNames.Run(name, "uid-1"));
    }
}
