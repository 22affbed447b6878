// Why this exists: what a person gets who installs the chart and applies a manifest: operator, dashboard and stages as processes of their
// own, with the tokens, rights, certificates and network policies of the chart and no others; and everything that the stages tell is on the
// dashboard.
using System.Net.Http.Headers;
using System.Net.Http.Json;
using System.Text.Json;
using CoCLR.EndToEnd.Tests.Cluster;
using CoCLR.TrialCluster;

namespace CoCLR.EndToEnd.Tests.Charts;

public sealed class ChartTrainingClusterTests : IAsyncLifetime
{
    private const string Experiment = """
        apiVersion: coclr.dev/v1alpha1
        kind: CoCLRExperiment
        metadata: {name: first}
        spec:
          dataset:
            source: {synthetic: {classes: 2, trainGroups: 3, testGroups: 2, groupSize: 2, frames: 12, size: 32} }
            storedSize: 32
          views: [RGB]
          model: {backbone: S3DMini, width: "0.125", projectionSize: 8}
          clip: {frames: 8, size: 32}
          training: {method: InfoNCE, epochs: 2, batchSize: 4, queueSize: 8}
          evaluation: {linearProbe: {epochs: 2, batchSize: 2}, randomBaseline: false, retrieval: {neighbours: 2}}
          resources: {gpus: 0, cpu: "1", memory: 1Gi, sharedMemory: 64Mi}
          storage: {size: 1Gi}
        """;

    private InProcessCluster _cluster = null!;

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync()
    {
        Chart.Tool("helm");
        Chart.Tool("kubectl");
        _cluster = await InProcessCluster.StartAsync(
            new InProcessClusterOptions { Images = [.. Chart.Programs, ImageProgram.For("coclr-engine:*", [Training.Coclr])] }, Cancel);
    }

    public async ValueTask DisposeAsync()
    {
        if (_cluster is not null)
        {
            await _cluster.DisposeAsync();
        }
    }

    [Fact]
    public async Task Experiment_OnAnInstalledChart_ShowsItsEventsMetricsAndResultsOnTheDashboard()
    {
        await ToolAsync("helm", null, "install", "coclr", Chart.Folder, "--namespace", "coclr-system", "--create-namespace", "--wait", "--timeout", "480s",
            "--set",
            "operator.replicas=1,networkPolicy.enabled=true,networkPolicy.dashboardFrom[0].namespaceSelector.matchLabels.team=ingress");
        await ToolAsync("kubectl", null, "create", "namespace", "team");
        await ToolAsync("kubectl", Experiment, "apply", "-n", "team", "-f", "-");
        await ToolAsync("kubectl", null, "wait", "-n", "team", "cexp/first", "--for=condition=Succeeded", "--timeout=900s");

        using HttpClient dashboard = await PersonAsync();
        JsonElement row =
            Assert.Single((await dashboard.GetFromJsonAsync<JsonElement>("api/v1/runs", Cancel)).GetProperty("runs").EnumerateArray());
        Assert.Equal(("first", "succeeded"), (row.GetProperty("experiment").GetString(), row.GetProperty("state").GetString()));
        string run = row.GetProperty("run").GetString()!;
        JsonElement detail = (await dashboard.GetFromJsonAsync<JsonElement>($"api/v1/runs/{run}", Cancel)).GetProperty("run");
        Assert.All(
            detail.GetProperty("stages").EnumerateArray(),
            s => Assert.Equal("succeeded", s.GetProperty("phase").GetString(), ignoreCase: true));

        // Events: the plan, the curves of the training, its log; and what came of it.
        Assert.Equal(
            run, (await dashboard.GetFromJsonAsync<JsonElement>($"api/v1/runs/{run}/plan", Cancel)).GetProperty("run").GetString());
        JsonElement curves =
            (await dashboard.GetFromJsonAsync<JsonElement>($"api/v1/runs/{run}/metrics?stage=pretrain-rgb&names=loss", Cancel))
            .GetProperty("curves");
        Assert.NotEqual(0, Assert.Single(curves.EnumerateArray()).GetProperty("values").GetArrayLength());
        Assert.NotEqual("", await dashboard.GetStringAsync($"api/v1/runs/{run}/logs.txt", Cancel));
        Assert.Contains("retrieve-rgb", await dashboard.GetStringAsync($"api/v1/runs/{run}/results", Cancel), StringComparison.Ordinal);
        Assert.NotEqual(
            0, (await dashboard.GetFromJsonAsync<JsonElement>($"api/v1/runs/{run}/report", Cancel)).GetProperty("rows").GetArrayLength());
        JsonElement artifacts = await dashboard.GetFromJsonAsync<JsonElement>($"api/v1/runs/{run}/artifacts", Cancel);
        Assert.NotEqual(0, artifacts.GetArrayLength());
        foreach (JsonElement artifact in artifacts.EnumerateArray())
        {
            using HttpResponseMessage file = await dashboard.GetAsync($"api/v1/artifacts/{artifact.GetProperty("id").GetString()}", Cancel);
            Assert.True(file.IsSuccessStatusCode, $"{artifact}: {file.StatusCode}");
        }

        // The operator took the stages' progress over TLS, and every right that anybody needed was there.
        using var anyone = new HttpClient();
        string metrics = await anyone.GetStringAsync($"http://{await AddressAsync("operator")}:8080/metrics", Cancel);
        Assert.Matches("""coclr_progress_pushes_total\{[^}]*result="ok"[^}]*\} [1-9]""", metrics);
        Assert.Empty(_cluster.Log.All.Where(r => r.Status == 403).Select(r => $"{r.User} {r.Verb} {r.Resource} {r.Namespace}").Distinct());
    }

    /// <summary>A client with the token that the chart made, at the dashboard's door as a port-forward opens it.</summary>
    private async Task<HttpClient> PersonAsync()
    {
        string secret =
            await ToolAsync("kubectl", null, "get", "secret", "coclr-dashboard", "-n", "coclr-system", "-o", "jsonpath={.data.token}");
        var client = new HttpClient { BaseAddress = new Uri($"http://{await AddressAsync("dashboard")}:8080/") };
        client.DefaultRequestHeaders.Host = "localhost";
        client.DefaultRequestHeaders.Authorization =
            new AuthenticationHeaderValue("Bearer", System.Text.Encoding.UTF8.GetString(Convert.FromBase64String(secret.Trim())));
        return client;
    }

    private async Task<string> AddressAsync(string component) => (await ToolAsync("kubectl", null, "get", "pods", "-n", "coclr-system",
        "-l", $"app.kubernetes.io/component={component}", "-o", "jsonpath={.items[0].status.podIP}")).Trim();

    private async Task<string> ToolAsync(string tool, string? input, params string[] arguments)
    {
        var (output, error, code) = await Chart.RunAsync(tool, arguments, _cluster.KubeconfigPath, input);
        Assert.True(code == 0, $"{tool} {string.Join(' ', arguments)}: {error}");
        return output;
    }
}
