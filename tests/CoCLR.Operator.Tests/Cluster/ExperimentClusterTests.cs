// Why this exists: experiments against an API server: what is made, in which order, and what the status says meanwhile.
using System.Text.Json.Nodes;
using CoCLR.Cluster;
using CoCLR.Operator.Tests.Harness;

namespace CoCLR.Operator.Tests.Cluster;

public class ExperimentClusterTests
{
    private static readonly string[] Stages = ["decode", "pretrain-rgb", "probe-rgb", "retrieve-rgb", "report"];

    [Fact]
    public async Task Experiment_AllStagesSucceed_EndsReadyWithResults()
    {
        await using Arena arena = await Arena.StartAsync();
        await arena.StartOperatorAsync();
        await arena.ApplyAsync(arena.Experiment("first"));

        foreach (string stage in Stages)
        {
            await arena.Play.SucceedAsync(
                "first",
                stage,
                stage == "probe-rgb"
                    ? """{"stage":"probe-rgb","outcome":"succeeded","exitCode":0,"result":{"linearProbeTop1":0.612}}"""
                    : null);
        }

        JsonObject status = await arena.ConditionAsync("first", "Ready", "True/Succeeded");
        Assert.Equal("True/Succeeded", Arena.Condition(status, "Succeeded"));
        Assert.Null(Arena.Condition(status, "Reconciling"));
        Assert.Equal("0.612", status["results"]![0]!["linearProbeTop1"]!.ToString());
        Assert.Equal("linear 61.2% (rgb)", status["best"]!.ToString());
        Assert.Equal("100%", status["progress"]!["text"]!.ToString());
        Assert.Equal(5, (await arena.ListAsync(ResourceKind.Job)).Length);
    }
}
