// Why this exists: the health checks for Argo CD and Flux decide whether a deployment is called good; they are run here over the states an
// experiment goes through, in the layout of Argo CD's own tests.
using System.Text.Json.Nodes;
using CoCLR.TrialCluster;
using NLua;

namespace CoCLR.EndToEnd.Tests.Charts;

public sealed class GitOpsTests
{
    private static readonly string Customizations = Path.Combine(Chart.Root, "gitops", "argocd", "resource_customizations", "coclr.dev");

    public static TheoryData<string, string, string, string> HealthCases()
    {
        var data = new TheoryData<string, string, string, string>();
        foreach (var kind in Directory.GetDirectories(Customizations).Select(Path.GetFileName).OfType<string>())
        {
            foreach (var test in Read(Path.Combine(Customizations, kind, "health_test.yaml")).Items("tests"))
            {
                data.Add(kind, test.Text("inputPath")!, test.Text("healthStatus", "status")!, test.Text("healthStatus", "message")!);
            }
        }

        return data;
    }

    private static JsonNode Read(string file) => Json.Parse(File.ReadAllBytes(file), yaml: true)!;

    private static JsonNode? RunScript(string script, JsonNode input, bool library = false)
    {
        using var lua = new Lua(openLibs: true);
        lua.State.Encoding = System.Text.Encoding.UTF8;
        if (!library)
        {
            // Argo CD opens no libraries for health checks.
            lua.DoString("os = nil; io = nil; require = nil; debug = nil; package = nil; load = nil; dofile = nil");
        }

        lua.DoString("obj = " + ToLua(input));
        return FromLua(lua.DoString(File.ReadAllText(script))[0]);
    }

    private static string ToLua(JsonNode? node) => node switch
    {
        null => "nil",
        JsonObject o => "{" + string.Join(",", o.Select(p => $"[{Quote(p.Key)}]={ToLua(p.Value)}")) + "}",
        JsonArray a => "{" + string.Join(",", a.Select(ToLua)) + "}",
        JsonValue v when v.TryGetValue<string>(out var s) => Quote(s),
        _ => node.ToJsonString(),
    };

    private static string Quote(string text) => "\"" + text.Replace("\\", "\\\\", StringComparison.Ordinal)
        .Replace("\"", "\\\"", StringComparison.Ordinal).Replace("\n", "\\n", StringComparison.Ordinal) + "\"";

    private static JsonNode? FromLua(object? value)
    {
        switch (value)
        {
            case LuaTable table:
                if (table.Keys.Cast<object>().Any() && table.Keys.Cast<object>().All(k => k is long))
                {
                    return new JsonArray([.. table.Values.Cast<object>().Select(FromLua)]);
                }

                var o = new JsonObject();
                foreach (var key in table.Keys.Cast<object>())
                {
                    o[key.ToString()!] = FromLua(table[key]);
                }

                return o;
            case null:
                return null;
            default:
                return System.Text.Json.JsonSerializer.SerializeToNode(value);
        }
    }

    [Theory]
    [MemberData(nameof(HealthCases))]
    public void ArgoHealth_OfEachState_IsAsExpected(string kind, string input, string status, string message)
    {
        var health = RunScript(Path.Combine(Customizations, kind, "health.lua"), Read(Path.Combine(Customizations, kind, input)));
        Assert.Equal((status, message), (health.Text("status"), health.Text("message")));
    }

    [Theory]
    [InlineData("new", "Progressing")]
    [InlineData("queued", "Healthy")]
    [InlineData("training", "Healthy")]
    [InlineData("failed", "Degraded")]
    [InlineData("suspended", "Suspended")]
    public void ArgoHealth_OfTheAcceptedVariant_DoesNotWaitForTraining(string state, string status)
    {
        var health = RunScript(
            Path.Combine(Chart.Root, "gitops", "argocd", "accepted", "health.lua"),
            Read(Path.Combine(Customizations, "CoCLRExperiment", "testdata", state + ".yaml")));
        Assert.Equal(status, health.Text("status"));
    }

    [Fact]
    public void ArgoActions_AreOfferedWhenTheyMakeSense()
    {
        var folder = Path.Combine(Customizations, "CoCLRExperiment", "actions");
        foreach (var test in Read(Path.Combine(folder, "action_test.yaml")).Items("discoveryTests"))
        {
            var actions = RunScript(Path.Combine(folder, "discovery.lua"), Read(Path.Combine(folder, test.Text("inputPath")!)));
            foreach (var expected in test.Items("result"))
            {
                Assert.Equal(expected.Flag("disabled"), actions.Flag(expected.Text("name")!, "disabled"));
            }
        }
    }

    [Fact]
    public void ArgoActions_ChangeWhatTheySay()
    {
        var folder = Path.Combine(Customizations, "CoCLRExperiment", "actions");
        foreach (var test in Read(Path.Combine(folder, "action_test.yaml")).Items("actionTests"))
        {
            var result =
                RunScript(Path.Combine(folder, test.Text("action")!, "action.lua"), Read(Path.Combine(folder, test.Text("inputPath")!)));
            Assert.True(Json.Same(Read(Path.Combine(folder, test.Text("expectedOutputPath")!)), result), test.Text("action"));
        }

        var retried =
            RunScript(Path.Combine(folder, "retry", "action.lua"), Read(Path.Combine(folder, "testdata", "failed.yaml")), library: true);
        Assert.Matches(@"^\d{4}-\d\d-\d\dT", retried.Text("metadata", "annotations", "coclr.dev/retry"));
    }

    [Theory]
    [InlineData("kustomization.yaml", "new", "inProgress")]
    [InlineData("kustomization.yaml", "behind", "inProgress")]
    [InlineData("kustomization.yaml", "training", "inProgress")]
    [InlineData("kustomization.yaml", "succeeded", "current")]
    [InlineData("kustomization.yaml", "suspended", "current")]
    [InlineData("kustomization.yaml", "failed", "failed")]
    [InlineData("kustomization.yaml", "not-met", "failed")]
    [InlineData("kustomization-accepted.yaml", "new", "inProgress")]
    [InlineData("kustomization-accepted.yaml", "queued", "current")]
    [InlineData("kustomization-accepted.yaml", "training", "current")]
    [InlineData("kustomization-accepted.yaml", "failed", "failed")]
    public void FluxHealth_OfEachState_IsAsExpected(string file, string state, string expected)
    {
        var check = Read(Path.Combine(Chart.Root, "gitops", "flux", file)).Items("spec", "healthCheckExprs")[0];
        var o = (JsonObject)Read(
            Path.Combine(Customizations, state == "not-met" ? "CoCLRBenchmark" : "CoCLRExperiment", "testdata", state + ".yaml"));

        // Flux's order: in progress, failed, current.
        foreach (var name in new[] { "inProgress", "failed", "current" })
        {
            var expression = System.Text.RegularExpressions.Regex.Replace(check.Text(name)!, @"(?<![\w.])(status|metadata)\.", "self.$1.");
            if (CelEvaluator.Run(CelParser.Parse(expression), CelEvaluator.Convert(o, null), null).Value is true)
            {
                Assert.Equal(expected, name);
                return;
            }
        }

        Assert.Fail("no expression holds");
    }
}
