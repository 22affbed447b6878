// Why this exists: what keeps an experiment from going on although nothing of it has failed: a refused child, a lost node.
using System.Text.Json.Nodes;
using CoCLR.Core.Manifests.Status;
using CoCLR.Operator.Reconciling;
using CoCLR.Operator.Tests.Harness;

namespace CoCLR.Operator.Tests.Reconciling;

public class TroubleTests
{
    [Fact]
    public void Child_Refused_IsSaidAndToldOnceAndForgottenWhenItIsTaken()
    {
        var scene =
            new Scene { Refusals = [new Refusal("jobs/exp-decode-123456", "jobs.batch is forbidden: a policy denied the request")] };
        Decision<ExperimentStatus> decision = scene.Once();
        Assert.Equal("False/Refused", scene.Condition("Ready"));
        Assert.Equal("True/Refused", scene.Condition("Reconciling"));
        Assert.Equal(("Waiting", 1L), (scene.Status.State.ToString(), scene.Status.ObservedGeneration));
        Assert.Contains(
            "refuses jobs/exp-decode-123456: jobs.batch is forbidden: a policy denied the request",
            scene.Status.Condition("Ready")!.Message,
            StringComparison.Ordinal);
        Assert.Equal("Refused", Assert.Single(decision.Events).Reason);
        Assert.Equal(Refusal.Retry, decision.Again);
        Assert.Empty(scene.Once().Events);
        scene.Refusals = [];
        scene.Reconcile();
        Assert.Equal("False/Starting", scene.Condition("Ready"));
    }

    [Fact]
    public void Child_RefusedBesideARunningStage_IsSaidWhileItRuns()
    {
        var scene = new Scene();
        scene.Reconcile();
        scene.RunPod("decode");
        scene.Refusals = [new Refusal("persistentvolumeclaims/exp-run-1", "exceeded quota: room")];
        scene.Once();
        Assert.Equal("False/QuotaExceeded", scene.Condition("Ready"));
        Assert.Equal("True/Training", scene.Condition("Running"));
        Assert.Equal(ExperimentState.Training, scene.Status.State);
    }

    [Fact]
    public void End_OfAFinishedExperiment_StaysWhatItIsWhenItsRestIsRefused()
    {
        var scene = new Scene("""{"retries":0}""");
        scene.Reconcile();
        scene.EndPod("decode", scene.RunPod("decode"), 1);
        scene.Fail("decode", "BackoffLimitExceeded", 1);
        scene.Reconcile();
        scene.Refusals = [new Refusal("coclrexperiments/exp", "no")];
        Decision<ExperimentStatus> decision = scene.Once();
        Assert.Equal("False/RetriesExhausted", scene.Condition("Ready"));
        Assert.Equal("Refused", Assert.Single(decision.Events).Reason);
        Assert.Equal(Refusal.Retry, decision.Again);
    }

    [Fact]
    public void Node_ThatDoesNotAnswer_IsSaidWithTheWayOut()
    {
        var scene = new Scene();
        string pod = Lost(scene);
        Decision<ExperimentStatus> decision = scene.Once();
        Assert.Equal("False/NodeLost", scene.Condition("Ready"));
        Assert.Equal("True/NodeLost", scene.Condition("Interrupted"));
        Assert.Equal(ExperimentState.Restarting, scene.Status.State);
        Assert.Contains(
            $"node gpu-7 does not answer, so pod {pod} cannot end", scene.Status.Condition("Ready")!.Message, StringComparison.Ordinal);
        Assert.Contains("kubectl delete node gpu-7", scene.Status.Condition("Ready")!.Message, StringComparison.Ordinal);
        Assert.Contains(decision.Events, e => e.Reason == "NodeLost");
        Assert.Empty(decision.Writes);

        // It answers again.
        scene.SetPod(pod, p => p["status"]!["conditions"] = Conditions("True"));
        scene.Once();
        Assert.Equal("False/Training", scene.Condition("Ready"));
        Assert.Null(scene.Condition("Interrupted"));
    }

    [Fact]
    public void Pod_ThatShouldHaveEnded_IsTakenForLostAfterAMoment()
    {
        var scene = new Scene();
        scene.Reconcile();
        string pod = scene.RunPod("decode");
        scene.SetPod(pod, p =>
        {
            p["spec"] = new JsonObject { ["nodeName"] = "gpu-7" };
            p["metadata"]!["deletionTimestamp"] = "2026-01-31T12:02:00Z";
        });
        Decision<ExperimentStatus> decision = scene.Once();
        Assert.Equal("False/Restarting", scene.Condition("Ready"));
        Assert.Equal(TimeSpan.FromSeconds(135), decision.Again);
        scene.Now += decision.Again!.Value;
        scene.Once();
        Assert.Equal("False/NodeLost", scene.Condition("Ready"));
    }

    [Theory]
    [InlineData(299, false)]
    [InlineData(300, true)]
    public void Node_LostWithThePolicyReplace_LosesItsPodOnTime(int seconds, bool givenUp)
    {
        var scene = new Scene("""{"nodeLostPolicy":{"action":"replace","afterSeconds":300}}""");
        string pod = Lost(scene);
        scene.Now += TimeSpan.FromSeconds(seconds);
        Decision<ExperimentStatus> decision = scene.Once();
        Assert.Equal(givenUp ? [pod] : [], decision.Writes.OfType<DesiredWrite.GiveUp>().Select(w => w.Pod.Meta.Key.Name));
        Assert.Equal(givenUp ? null : TimeSpan.FromSeconds(1), decision.Again);
        Assert.Equal(givenUp, decision.Events.Any(e => e.Reason == "PodGivenUp"));
    }

    [Fact]
    public void Suspension_OnALostNode_SaysWhyItDoesNotEnd()
    {
        var scene = new Scene();
        Lost(scene);
        scene.SetSpec("""{"suspend":true}""");
        scene.Reconcile();
        Assert.Equal("False/NodeLost", scene.Condition("Ready"));
        Assert.Equal(ExperimentState.Suspending, scene.Status.State);
    }

    [Fact]
    public void Pod_NotReadyByItsOwnKubelet_IsNotLost()
    {
        var scene = new Scene();
        string pod = Lost(scene);
        scene.SetPod(pod, p =>
        {
            p["status"]!["conditions"] = new JsonArray(Condition("ContainersReady", "False"), Condition("Ready", "False"));
            p["status"]!["containerStatuses"]![0]!["ready"] = false;
        });
        scene.Once();
        Assert.Equal("False/Training", scene.Condition("Ready"));
    }

    /// <summary>A pod that runs, as far as its kubelet could say, on a node that does not answer since now.</summary>
    private static string Lost(Scene scene)
    {
        scene.Reconcile();
        string pod = scene.RunPod("decode");
        scene.Reconcile();
        scene.SetPod(pod, p =>
        {
            p["spec"] = new JsonObject { ["nodeName"] = "gpu-7" };
            p["status"]!["conditions"] = Conditions("False");
            p["status"]!["containerStatuses"]![0]!["ready"] = true;
        });
        return pod;
    }

    private static JsonArray Conditions(string ready) => [Condition("ContainersReady", "True"), Condition("Ready", ready)];

    private static JsonObject Condition(string type, string status) =>
        new() { ["type"] = type, ["status"] = status, ["lastTransitionTime"] = "2026-01-31T12:00:00Z" };

    [Fact]
    public void Queue_OfAnExperimentThatHasBegun_HasThePriorityOfTheSetting()
    {
        static string? Priority(JsonObject job) => job["metadata"]!["labels"]!["kueue.x-k8s.io/priority-class"]?.ToString();
        var scene = new Scene("""{"queueName":"gpus"}""") { Settings = new ChildSettings { ContinuingPriorityClass = "begun" } };
        scene.Reconcile();
        Assert.Null(Priority(scene.Job("decode")));
        scene.Succeed("decode");
        Assert.Equal("begun", Priority(scene.Job("pretrain-rgb")));
    }
}
