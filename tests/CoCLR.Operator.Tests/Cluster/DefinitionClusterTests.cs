// Why this exists: operator and CRDs are upgraded one after the other, and an older or newer definition must cost nobody's data.
using System.Text.Json.Nodes;
using CoCLR.Cluster;
using CoCLR.Operator.Tests.Harness;

namespace CoCLR.Operator.Tests.Cluster;

[Collection(nameof(ChangesDefinitions))]
public class DefinitionClusterTests
{
    // After a downgrade there are fields that this version does not know.
    [Fact]
    public async Task Experiment_OfANewerSchema_IsReconciledAndKeepsItsFields()
    {
        await using Arena arena = await Arena.StartAsync();
        JsonObject crd = Arena.Parse(CoCLR.Core.Manifests.Schema.CrdGenerator.Files()["coclr.dev_coclrexperiments.yaml"]);
        JsonObject schema = crd["spec"]!["versions"]![0]!["schema"]!["openAPIV3Schema"]!["properties"]!.AsObject();
        schema["spec"]!["properties"]!["fromTheFuture"] = new JsonObject { ["type"] = "string", ["maxLength"] = 10 };
        schema["status"]!["properties"]!["alsoFromTheFuture"] = new JsonObject { ["type"] = "string", ["maxLength"] = 10 };
        await arena.ApplyAsync(crd);
        await arena.UntilSchemaAsync("alsoFromTheFuture", known: true);
        await arena.ApplyAsync(arena.Experiment("new", ("fromTheFuture", "kept")));
        await arena.PatchAsync(
            ResourceKind.Experiment, "new", new JsonObject { ["status"] = new JsonObject { ["alsoFromTheFuture"] = "kept" } }, "status");
        await arena.StartOperatorAsync();
        await arena.StateAsync("new", "Starting");
        JsonObject stored = (await arena.GetAsync(ResourceKind.Experiment, "new"))!;
        Assert.Equal("kept", stored["spec"]!["fromTheFuture"]!.ToString());
        Assert.Equal("kept", stored["status"]!["alsoFromTheFuture"]!.ToString());
    }

    // The operator was upgraded and the CRDs were not.
    [Fact]
    public async Task Definition_OlderThanTheOperator_StatusIsWrittenWithoutTheFieldsItLacks()
    {
        await using Arena arena = await Arena.StartAsync();
        JsonObject crd = Arena.Parse(CoCLR.Core.Manifests.Schema.CrdGenerator.Files()["coclr.dev_coclrexperiments.yaml"]);
        JsonObject Status(JsonObject definition) =>
            definition["spec"]!["versions"]![0]!["schema"]!["openAPIV3Schema"]!["properties"]!["status"]!["properties"]!.AsObject();
        Status(crd).Remove("run");
        await arena.ApplyAsync(crd);
        await arena.UntilSchemaAsync("run", known: false);
        TestOperator operatr = await arena.StartOperatorAsync();
        await arena.ApplyAsync(arena.Experiment("old"));
        JsonObject status = await arena.StateAsync("old", "Starting");
        Assert.Null(status["run"]);
        Assert.Single(
            operatr.Loggers.Lines,
            l => l.Text.Contains("is older than this operator", StringComparison.Ordinal)
                && l.Text.Contains(".status.run", StringComparison.Ordinal));

        // What is no longer true goes, as with server-side apply.
        await arena.Play.RunAsync(await arena.Play.PodAsync(await arena.Play.JobAsync("old", "decode")));
        status = await arena.StateAsync("old", "Training");
        Assert.Equal("True/Training", Arena.Condition(status, "Running"));
        await arena.InstallCrdsAsync();
        await arena.UntilSchemaAsync("run", known: true);
    }
}
