// Why this exists: operators own fields by server-side apply; what is kept, taken, refused and removed must be exact.
using System.Text.Json.Nodes;

namespace CoCLR.TrialCluster.Tests;

public sealed class ServerSideApplyTests : IAsyncLifetime
{
    private const string Deployments = "/apis/apps/v1/namespaces/default/deployments";
    private Server _server = null!;
    private Api _api = null!;

    public async ValueTask InitializeAsync()
    {
        _server = await Server.StartAsync(new InProcessClusterOptions { RunPods = false, RunControllers = false });
        _api = _server.Api;
    }

    public async ValueTask DisposeAsync()
    {
        if (_server is not null)
        {
            await _server.DisposeAsync();
        }
    }

    private static JsonObject Deployment(string image, string? replicas, string env)
    {
        var count = replicas is null ? "" : $"\"replicas\":{replicas},";
        return Objects.Parse($$$$$$$"""
        {"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"d"},"spec":{ {{{{{{{count}}}}}}}
         "selector":{"matchLabels":{"app":"d"}},"template":{"metadata":{"labels":{"app":"d"}},"spec":{"containers":[{"name":"c","image":"{{{{{{{image}}}}}}}","env":[{{{{{{{env}}}}}}}]}]}}}}
        """);
    }

    private const string A = """{"name":"A","value":"1"}""";
    private const string B = """{"name":"B","value":"2"}""";

    [Fact]
    public async Task Apply_OfAFieldAnotherManagerSet_ConflictsUnlessForced()
    {
        await _api.Ok(_api.Apply(Deployments + "/d", "one", Deployment("i:1", "1", A)));
        var refused = await _api.Apply(Deployments + "/d", "two", Deployment("i:2", "1", A));
        Assert.Equal((409, "Conflict"), (refused.Code, refused.Reason));
        Assert.Equal(
            "Apply failed with 1 conflict: conflict with \"one\": .spec.template.spec.containers[name=\"c\"].image", refused.Message);
        Assert.Equal("FieldManagerConflict", refused.Body.Items("details", "causes")[0].Text("reason"));
        var forced = await _api.Ok(_api.Apply(Deployments + "/d", "two", Deployment("i:2", "1", A), force: true));
        Assert.Equal("i:2", forced.Items("spec", "template", "spec", "containers")[0].Text("image"));

        // What was taken over is no longer the first manager's; it can be given up without a conflict now.
        Assert.Equal(409, (await _api.Apply(Deployments + "/d", "one", Deployment("i:1", "1", A))).Code);
    }

    [Fact]
    public async Task Apply_WithoutAFieldItHad_RemovesItWhenNobodyElseOwnsIt()
    {
        await _api.Ok(_api.Apply(Deployments + "/d", "one", Deployment("i:1", "3", $"{A},{B}")));
        await _api.Ok(_api.Apply(Deployments + "/d", "two", Deployment("i:1", null, B)));
        var after = await _api.Ok(_api.Apply(Deployments + "/d", "one", Deployment("i:1", null, "")));
        Assert.Equal(["B"], after.Items("spec", "template", "spec", "containers")[0].Items("env").Select(e => e.Text("name")));
        Assert.Equal(1, after.Number("spec", "replicas"));
    }

    [Fact]
    public async Task Apply_OfTheSameAgain_WritesNothing()
    {
        var first = await _api.Ok(_api.Apply(Deployments + "/d", "one", Deployment("i:1", "1", A)));
        var second = await _api.Ok(_api.Apply(Deployments + "/d", "one", Deployment("i:1", "1", A)));
        Assert.Equal(first.Text("metadata", "resourceVersion"), second.Text("metadata", "resourceVersion"));
        Assert.Equal(1, second.Number("metadata", "generation"));
    }

    [Fact]
    public async Task Apply_LeavesFieldsOfOthersAlone()
    {
        // What a queue sets on a Job (suspend, node selector) stays when the operator applies again without these fields.
        const string Path = "/apis/batch/v1/namespaces/default/jobs/j";
        var job = Objects.Job("j", "true");
        await _api.Ok(_api.Apply(Path, "operator", job));
        await _api.Ok(_api.Merge(Path, """{"spec":{"suspend":true}}"""));
        var after = await _api.Ok(_api.Apply(Path, "operator", job));
        Assert.True(after.Flag("spec", "suspend"));
        Assert.Contains(after.Items("metadata", "managedFields"), m => m.Text("manager") == "operator" && m.Text("operation") == "Apply");
        Assert.Contains(
            after.Items("metadata", "managedFields"),
            m => m.Text("manager") == "tests" && m.At("fieldsV1", "f:spec", "f:suspend") is not null);
    }

    [Fact]
    public async Task Update_TakesOwnershipOfWhatItChanges()
    {
        await _api.Ok(_api.Apply(Deployments + "/d", "one", Deployment("i:1", "1", A)));
        await _api.Ok(_api.Merge(Deployments + "/d", """{"spec":{"replicas":5}}"""));
        var refused = await _api.Apply(Deployments + "/d", "one", Deployment("i:1", "1", A));
        Assert.Equal("Apply failed with 1 conflict: conflict with \"tests\" using apps/v1: .spec.replicas", refused.Message);
    }

    [Fact]
    public async Task Status_AppliedThroughItsSubresource_OwnsOnlyStatus()
    {
        await _api.Ok(_api.Apply(Deployments + "/d", "one", Deployment("i:1", "1", A)));
        var status = Objects.Parse(
            """{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"d"},"spec":{"replicas":9},"status":{"replicas":4}}""");
        var after = await _api.Ok(_api.Apply(Deployments + "/d/status", "two", status));
        Assert.Equal((4L, 1L), (after.Number("status", "replicas"), after.Number("spec", "replicas")));
        var entry = Assert.Single(after.Items("metadata", "managedFields"), m => m.Text("subresource") == "status");
        Assert.Null(entry.At("fieldsV1", "f:spec"));
    }

    [Theory]
    [InlineData("""{"spec":{"foo":1}}""", ".spec.foo: field not declared in schema")]
    [InlineData("""{"foo":1}""", ".foo: field not declared in schema")]
    [InlineData("""{"metadata":{"name":"d","foo":"x"}}""", ".metadata.foo: field not declared in schema")]
    [InlineData("""{"spec":{"replicas":"x"}}""", ".spec.replicas: expected numeric (int or float), got string")]
    [InlineData("""{"spec":{"paused":"x"}}""", ".spec.paused: expected boolean, got &{x}")]
    [InlineData("""{"spec":{"selector":[1]}}""", ".spec.selector: expected map, got &{[1]}")]
    [
        InlineData(
            """{"spec":{"template":{"spec":{"containers":{"a":1}}}}}""", ".spec.template.spec.containers: expected list, got &{map[a:1]}")]
    [
        InlineData(
            """{"spec":{"template":{"spec":{"containers":[{"name":"c","image":7}]}}}}""",
            ".spec.template.spec.containers[name=\"c\"].image: expected string, got &value.valueUnstructured{Value:7}")]
    [
        InlineData(
            """{"spec":{"template":{"spec":{"containers":[{"name":"c"},{"name":"c"}]}}}}""",
            ".spec.template.spec.containers: duplicate entries for key [name=\"c\"]")]
    public async Task Apply_OfAnIllTypedConfiguration_FailsBeforeValidation(string fields, string message)
    {
        var config = Objects.Parse("""{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"d"}}""");
        foreach (var (name, value) in Objects.Parse(fields))
        {
            config[name] = value?.DeepClone();
        }

        var answer = await _api.Apply(Deployments + "/d", "one", config);
        Assert.Equal(
            (500, "failed to create typed patch object (/d; apps/v1, Kind=Deployment): " + message), (answer.Code, answer.Message));
    }

    [Fact]
    public async Task Status_AppliedWithAFieldOfANewerSchema_Fails()
    {
        var crd = Objects.Crd("""{"type":"object"}""");
        crd["spec"]!["versions"]![0]!["schema"]!["openAPIV3Schema"]!["properties"]!["status"] =
            Objects.Parse("""{"type":"object","properties":{"known":{"type":"string"}}}""");
        await _api.Define(crd);
        await _api.Ok(_api.Post(Objects.Widgets, Objects.Widget("{}")));
        var status =
            Objects.Parse("""{"apiVersion":"example.com/v1","kind":"Widget","metadata":{"name":"a"},"status":{"known":"x","newer":"y"}}""");
        var answer = await _api.Apply(Objects.Widgets + "/a/status", "one", status);
        Assert.Equal(
            (500, "failed to create typed patch object (/a; example.com/v1, Kind=Widget): .status.newer: field not declared in schema"),
            (answer.Code, answer.Message));

        // Other patches drop what is not known.
        var after = await _api.Ok(_api.Merge(Objects.Widgets + "/a/status", """{"status":{"known":"x","newer":"y"}}"""));
        Assert.Equal("""{"known":"x"}""", after.At("status")!.ToJsonString());
    }

    [Fact]
    public async Task Apply_WithoutAManager_IsRefused() =>
        Assert.Contains(
            "fieldManager: Required value",
            (await _api.SendAsync(HttpMethod.Patch, Deployments + "/d", Deployment("i", "1", A), "application/apply-patch+yaml")).Message,
            StringComparison.Ordinal);
}
