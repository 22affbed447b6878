// Why this exists: the dashboard in a cluster, with the rights that the chart gives it and no others: it shows resources, acts as the
// person who asks, and takes events of pods.
using System.Net;
using System.Net.Http.Json;
using System.Text.Json;
using System.Text.Json.Nodes;
using CoCLR.Cluster;
using CoCLR.Core.Events;
using CoCLR.Dashboard.Authentication;
using CoCLR.Dashboard.Cluster;
using CoCLR.Dashboard.Configuration;
using CoCLR.Dashboard.Storage;
using CoCLR.Dashboard.Tests.Fixtures;
using CoCLR.EndToEnd.Tests.Browser;
using CoCLR.EndToEnd.Tests.Charts;
using CoCLR.Operator.Tests.Harness;
using CoCLR.TrialCluster;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Playwright;

namespace CoCLR.EndToEnd.Tests.Dashboard;

public sealed class ClusterDashboardTests
{
    [Fact]
    public async Task Cluster_Experiment_IsListedChangedAsThePersonAndFedByItsPod()
    {
        await using Arena arena = await Arena.StartAsync(
            new InProcessClusterOptions { RunControllers = false, RunPods = false, BookmarkInterval = TimeSpan.FromSeconds(1) });
        await using DashboardServer dashboard = await StartAsync(arena);
        await arena.StartOperatorAsync();
        await arena.ApplyAsync(arena.Experiment("first"));

        // Listed before any event came, with what the cluster says of it.
        RunInfo run = await RunAsync(arena, dashboard, "first");
        Assert.Equal((arena.Namespace, "InfoNCE"), (run.Namespace, run.Method));
        Assert.Contains(run.Stages, s => s.Name == "pretrain-rgb");
        var watch = dashboard.App.Services.GetRequiredService<ClusterWatch>();
        await arena.ApplyAsync(Event(arena, "first"));
        await Arena.UntilAsync(
            "its events are known",
            () => Task.FromResult(watch.EventsOf(arena.Namespace, "first").Any(e => e.Warning && e.Reason == "FailedScheduling")));
        using HttpClient browser = await dashboard.BrowserAsync();
        string page = await browser.GetStringAsync("/cluster");
        Assert.Contains("node-1", page, StringComparison.Ordinal);
        Assert.Contains(">first<", page, StringComparison.Ordinal);
        Assert.Contains("0/3 nodes have a free GPU", await browser.GetStringAsync($"/experiments/{run.Run}"), StringComparison.Ordinal);

        // An editor of the dashboard whom the cluster does not know changes nothing; a viewer does not even get there.
        using HttpClient viewer = dashboard.Role(Roles.Viewer), editor = dashboard.Role(Roles.Editor);
        Assert.Equal(HttpStatusCode.Forbidden, (await viewer.PostAsync($"/api/v1/runs/{run.Run}/suspend", null)).StatusCode);
        using HttpResponseMessage refused = await editor.PostAsync($"/api/v1/runs/{run.Run}/suspend", null);
        Assert.Equal(HttpStatusCode.Conflict, refused.StatusCode);
        Assert.Contains("does not let coclr-dashboard:", await refused.Content.ReadAsStringAsync(), StringComparison.Ordinal);
        Assert.Equal("false", (await arena.GetAsync(ResourceKind.Experiment, "first"))!["spec"]!["suspend"]!.ToString());

        // With a role in the namespace the same person may, and only there.
        await GrantAsync(arena, "coclr-dashboard:editor");
        Assert.Equal(HttpStatusCode.NoContent, (await editor.PostAsync($"/api/v1/runs/{run.Run}/suspend", null)).StatusCode);
        Assert.Equal("true", (await arena.GetAsync(ResourceKind.Experiment, "first"))!["spec"]!["suspend"]!.ToString());
        await Arena.UntilAsync("the pause is seen", () => Task.FromResult(dashboard.Store.Find(run.Run)!.Cluster!.Suspend));
        Assert.Equal(HttpStatusCode.NoContent, (await editor.PostAsync($"/api/v1/runs/{run.Run}/resume", null)).StatusCode);
        Assert.Equal("false", (await arena.GetAsync(ResourceKind.Experiment, "first"))!["spec"]!["suspend"]!.ToString());
        Assert.Equal(
            HttpStatusCode.Conflict,
            (
                await editor.PostAsync(
                    "/api/v1/runs?namespace=default",
                    new StringContent(Yaml("elsewhere"), System.Text.Encoding.UTF8, "application/yaml"))).StatusCode);
        Assert.Equal(
            HttpStatusCode.Accepted,
            (
                await editor.PostAsync(
                    $"/api/v1/runs?namespace={arena.Namespace}",
                    new StringContent(Yaml("second"), System.Text.Encoding.UTF8, "application/yaml"))).StatusCode);
        RunInfo second = await RunAsync(arena, dashboard, "second");

        // A pod sends events of its own run with the token that the kubelet mounts, and of no other.
        await arena.ApplyAsync(Pod(arena, "first-pod", run.Run));
        string uid = (await arena.GetAsync(new ResourceKind("", "v1", "pods", "Pod"), "first-pod"))!["metadata"]!["uid"]!.ToString();
        using HttpClient pod = dashboard.With(
            arena.Cluster.Tokens.Issue(arena.Namespace, "default", [PodTokens.Audience], TimeSpan.FromHours(1), "first-pod", uid).Token);
        var started =
            new StartedEvent { Run = run.Run, Stage = "decode", Attempt = 1, Seq = 0, Time = DateTimeOffset.UtcNow, Device = "CPU" };
        using HttpResponseMessage taken =
            await pod.PostAsync("/api/v1/ingest", DashboardServer.Batch(started, started with { Run = second.Run }));
        JsonElement answer = await taken.Content.ReadFromJsonAsync<JsonElement>();
        Assert.Equal((1, 1), (answer.GetProperty("accepted").GetInt32(), answer.GetProperty("refused").GetInt32()));
        using HttpClient other = dashboard.With(
            arena.Cluster.Tokens.Issue(arena.Namespace, "default", ["coclr-operator"], TimeSpan.FromHours(1), "first-pod", uid).Token);
        Assert.Equal(HttpStatusCode.Unauthorized, (await other.PostAsync("/api/v1/ingest", DashboardServer.Batch(started))).StatusCode);

        // The API server is away: what is known stays readable, and says so; nothing can be changed.
        arena.Cluster.Faults.Cut();
        await Arena.UntilAsync("the loss is noticed", () => Task.FromResult(watch.Problem != null));
        Assert.Contains("cannot be asked", await browser.GetStringAsync("/cluster"), StringComparison.Ordinal);
        Assert.Equal(HttpStatusCode.OK, (await browser.GetAsync($"/experiments/{run.Run}")).StatusCode);
        Assert.Equal(HttpStatusCode.Conflict, (await editor.PostAsync($"/api/v1/runs/{run.Run}/suspend", null)).StatusCode);
        arena.Cluster.Faults.Restore();
        await Arena.UntilAsync("it is seen again", () => Task.FromResult(watch.Problem == null));

        // Deleted there, the run stays readable here.
        Assert.Equal(HttpStatusCode.NoContent, (await editor.DeleteAsync($"/api/v1/runs/{run.Run}")).StatusCode);
        await Arena.UntilAsync("the resource is gone", () => Task.FromResult(dashboard.Store.Find(run.Run)!.Cluster == null));
        Assert.Equal(CoCLR.Core.Planning.StagePhase.Running, dashboard.Store.Find(run.Run)!.Stage("decode")!.Phase);
    }

    [Fact]
    public async Task ClusterPage_InBothThemes_HasNoSeriousAccessibilityFinding()
    {
        Assert.SkipWhen(Chromium.Program is null, "no Chromium on this machine: install it, or set COCLR_CHROMIUM");
        await using Arena arena = await Arena.StartAsync(
            new InProcessClusterOptions
            {
                RunControllers = false, RunPods = false, BookmarkInterval = TimeSpan.FromSeconds(1),
                Nodes = [new TrialNode("gpu-1", Gpus: 8), new TrialNode("cpu-1", Gpus: 0)]
            });
        await using DashboardServer dashboard = await StartAsync(arena);
        await arena.StartOperatorAsync();
        foreach (string name in new[] { "ucf101-coclr", "ucf101-infonce", "k400-coclr" })
        {
            await arena.ApplyAsync(arena.Experiment(name));
            await RunAsync(arena, dashboard, name);
        }

        // A pod at work on one GPU, and a pod that finds no place.
        await PodAsync(
            arena,
            "working",
            "ucf101-coclr",
            dashboard,
            "gpu-1",
            """{phase: Running, containerStatuses: [{name: stage, ready: true, restartCount: 0, image: i, imageID: i, state: {running: {startedAt: "2026-01-02T03:04:05Z"} } }]}""");
        JsonObject waiting = await arena.Play.PodAsync(await arena.Play.JobAsync("k400-coclr", "decode"));
        await arena.Play.PodStatusAsync(
            waiting,
            Arena.Parse("""{phase: Pending, conditions: [{type: PodScheduled, status: "False", reason: Unschedulable, message: "0/2 nodes are available: 2 Insufficient nvidia.com/gpu."}]}"""));
        using IPlaywright playwright = await Playwright.CreateAsync();
        await using IBrowser browser = await Chromium.LaunchAsync(playwright);
        foreach (ColorScheme theme in new[] { ColorScheme.Dark, ColorScheme.Light })
        {
            IPage page = await browser.NewPageAsync(
                new BrowserNewPageOptions
                {
                    ColorScheme = theme, ViewportSize = new ViewportSize { Width = 1440, Height = 900 },
                    BaseURL = dashboard.Address.ToString()
                });
            await page.GotoAsync($"/login/link?t={DashboardServer.Token}&returnUrl=%2Fcluster");
            await page.WaitForFunctionAsync("() => window.coclr && document.body.innerText.includes('gpu-1') && "
                + "document.body.innerText.includes('Insufficient nvidia.com/gpu')");
            await Chromium.CheckAsync(page, theme);
            Assert.Equal(
                "1 / 8",
                (await page.Locator("tr", new PageLocatorOptions { HasText = "gpu-1" }).Locator("td").Nth(2).InnerTextAsync()).Trim());
            await Chromium.PictureAsync(page, theme == ColorScheme.Dark ? "dashboard-cluster-dark" : "dashboard-cluster");
            await page.SetViewportSizeAsync(375, 812);
            Assert.True(await page.EvaluateAsync<bool>("document.documentElement.scrollWidth <= document.documentElement.clientWidth + 1"));
        }
    }

    /// <summary>A dashboard with the service account and the roles of the rendered chart.</summary>
    private static async Task<DashboardServer> StartAsync(Arena arena)
    {
        await arena.ApplyAsync(
            new JsonObject { ["apiVersion"] = "v1", ["kind"] = "Namespace", ["metadata"] = new JsonObject { ["name"] = "coclr-system" } });
        foreach (JsonObject o in (await Chart.RenderAsync()).Where(o => o["kind"]!.ToString() is "ServiceAccount" or "Role" or "RoleBinding" or "ClusterRole" or "ClusterRoleBinding"))
        {
            if (!o["kind"]!.ToString().StartsWith("Cluster", StringComparison.Ordinal))
            {
                o["metadata"]!["namespace"] ??= "coclr-system";
            }

            await arena.ApplyAsync(o);
        }

        string kubeconfig = Path.Combine(arena.Cluster.Folder, "dashboard.kubeconfig");
        await File.WriteAllTextAsync(kubeconfig, arena.Cluster.ServiceAccountKubeconfig("coclr-system", "coclr-dashboard"));
        return await DashboardServer.StartAsync(
            null,
            "--Dashboard:Cluster:Enabled",
            "true",
            "--Dashboard:Cluster:Kubeconfig",
            kubeconfig,
            "--Dashboard:Cluster:TimeoutSeconds",
            "5",
            "--Dashboard:Cluster:SilentSeconds",
            "6");
    }

    private static async Task<RunInfo> RunAsync(Arena arena, DashboardServer dashboard, string experiment)
    {
        RunInfo? run = null;
        await Arena.UntilAsync(
            $"{experiment} is listed",
            () =>
                Task.FromResult((run = dashboard.Store.Runs.FirstOrDefault(r => r.Experiment == experiment && r.Cluster != null)) != null));
        return run!;
    }

    private static async Task GrantAsync(Arena arena, string group)
    {
        await arena.ApplyAsync(Arena.Parse($$"""
            apiVersion: rbac.authorization.k8s.io/v1
            kind: Role
            metadata: {name: experimenters, namespace: {{arena.Namespace}}}
            rules:
            - {apiGroups: [coclr.dev], resources: [coclrexperiments], verbs: [create, patch, delete]}
            """));
        await arena.ApplyAsync(Arena.Parse($$"""
            apiVersion: rbac.authorization.k8s.io/v1
            kind: RoleBinding
            metadata: {name: experimenters, namespace: {{arena.Namespace}}}
            roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: experimenters}
            subjects:
            - {apiGroup: rbac.authorization.k8s.io, kind: Group, name: "{{group}}"}
            """));
    }

    private static string Yaml(string name) => $$"""
        apiVersion: coclr.dev/v1alpha1
        kind: CoCLRExperiment
        metadata: {name: {{name}}}
        spec:
          dataset: {source: {synthetic: {classes: 2, trainGroups: 2, testGroups: 1} } }
          views: [RGB]
          training: {method: InfoNCE, epochs: 2, batchSize: 4, queueSize: 16, batchNormGroups: 1}
          storage: {size: 1Gi}
        """;

    private static JsonObject Event(Arena arena, string experiment) => Arena.Parse($$"""
        apiVersion: v1
        kind: Event
        metadata: {name: {{experiment}}.1, namespace: {{arena.Namespace}}}
        involvedObject: {apiVersion: coclr.dev/v1alpha1, kind: CoCLRExperiment, name: {{experiment}}, namespace: {{arena.Namespace}}}
        type: Warning
        reason: FailedScheduling
        message: 0/3 nodes have a free GPU
        lastTimestamp: "2026-01-02T03:04:05Z"
        """);

    private static async Task PodAsync(Arena arena, string name, string experiment, DashboardServer dashboard, string node, string status)
    {
        JsonObject pod = Arena.Parse($$"""
            apiVersion: v1
            kind: Pod
            metadata:
              name: {{name}}
              namespace: {{arena.Namespace}}
              labels: {coclr.dev/run: {{dashboard.Store.Runs.First(r => r.Experiment == experiment).Run}}, coclr.dev/stage: pretrain-rgb, coclr.dev/experiment: {{experiment}}}
            spec:
              containers: [{name: stage, image: none, resources: {limits: {nvidia.com/gpu: "1"}, requests: {nvidia.com/gpu: "1"} } }]
            """);
        pod["spec"]!["nodeName"] = node;
        await arena.ApplyAsync(pod);
        await arena.PatchAsync(ResourceKind.Pod, name, new JsonObject { ["status"] = Arena.Parse(status) }, "status");
    }

    private static JsonObject Pod(Arena arena, string name, string run) => Arena.Parse($$"""
        apiVersion: v1
        kind: Pod
        metadata:
          name: {{name}}
          namespace: {{arena.Namespace}}
          labels: {coclr.dev/run: {{run}}, coclr.dev/stage: decode, coclr.dev/experiment: first}
        spec:
          containers: [{name: stage, image: none}]
        """);
}
