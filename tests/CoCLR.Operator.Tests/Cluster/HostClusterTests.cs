// Why this exists: the web side of the operator: health, readiness, metrics, and progress of pods with their own tokens.
using System.Net;
using System.Text.Json.Nodes;
using CoCLR.Cluster;
using CoCLR.Operator.Hosting;
using CoCLR.Operator.Progress;
using CoCLR.Operator.Tests.Harness;

namespace CoCLR.Operator.Tests.Cluster;

public class HostClusterTests
{
    [Fact]
    public async Task Host_Started_ServesHealthReadinessAndMetrics()
    {
        await using Arena arena = await Arena.StartAsync();
        await using Web web = await Web.StartAsync(arena);
        Assert.Equal("ok", await web.Client.GetStringAsync("/healthz", TestContext.Current.CancellationToken));
        await arena.ApplyAsync(arena.Experiment("a"));
        await arena.StateAsync("a", "Starting");
        string metrics = "";
        await Arena.UntilAsync(
            () => "the metrics are there: " + metrics,
            async () => (metrics = await web.Client.GetStringAsync("/metrics", TestContext.Current.CancellationToken))
                .Contains("coclr_experiments{state=\"Starting\"", StringComparison.Ordinal));
        foreach (string name in new[]
        {
            "coclr_reconcile_total{", "coclr_reconcile_duration_seconds_bucket{", "coclr_workqueue_depth{", "coclr_workqueue_adds_total{",
            "coclr_workqueue_queue_duration_seconds_count{",
            "coclr_workqueue_work_duration_seconds_count{", "coclr_workqueue_longest_running_processor_seconds{", "coclr_leader{",
            "coclr_api_writes_total{", "coclr_build_info{",
        })
        {
            Assert.Contains(name, metrics, StringComparison.Ordinal);
        }

        // Only gauges that alerts ask for carry names, and only while there is something to say.
        Assert.DoesNotContain(
            metrics.Split('\n'),
            l => l.Contains("\"a\"", StringComparison.Ordinal)
                && !l.StartsWith("coclr_experiment_pending_seconds{", StringComparison.Ordinal));
    }

    [Fact]
    public void Host_WithoutCluster_SaysSoBeforeItStarts()
    {
        var error = Assert.Throws<CoCLR.Core.UserErrorException>(
            () => OperatorHost.Build(new OperatorOptions { Kubeconfig = "/no/such/kubeconfig" }));
        Assert.Equal(CoCLR.Core.ExitCodes.BadConfiguration, error.ExitCode);
        Assert.StartsWith("No cluster can be found: ", error.Message, StringComparison.Ordinal);
        Assert.Contains("/no/such/kubeconfig", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Host_WithoutCrds_IsAliveButNotReadyAndSaysWhy()
    {
        await using Arena arena = await Arena.StartAsync(crds: false);
        await using Web web = await Web.StartAsync(arena, ready: false);
        Assert.Equal("ok", await web.Client.GetStringAsync("/healthz", TestContext.Current.CancellationToken));
        string words = "";
        await Arena.UntilAsync(() => words, async () =>
        {
            using HttpResponseMessage answer = await web.Client.GetAsync("/readyz", TestContext.Current.CancellationToken);
            words = await answer.Content.ReadAsStringAsync(TestContext.Current.CancellationToken);
            return answer.StatusCode == HttpStatusCode.ServiceUnavailable && words.Contains("not installed", StringComparison.Ordinal);
        });
        await arena.InstallCrdsAsync();
        await Arena.UntilAsync(
            "it is ready", async () => (await web.Client.GetAsync("/readyz", TestContext.Current.CancellationToken)).IsSuccessStatusCode);
    }

    [Fact]
    public async Task Progress_Pushed_ShowsInTheStatusAndOnlyForThePodsOwnExperiment()
    {
        await using Arena arena = await Arena.StartAsync();
        await using Web web = await Web.StartAsync(arena);
        await arena.ApplyAsync(arena.Experiment("a"));
        await arena.ApplyAsync(arena.Experiment("b"));
        JsonObject podA = await arena.Play.PodAsync(await arena.Play.JobAsync("a", "decode"));
        JsonObject podB = await arena.Play.PodAsync(await arena.Play.JobAsync("b", "decode"));
        await arena.Play.RunAsync(podA);
        await arena.StateAsync("a", "Training");
        string uidA = (await arena.GetAsync(ResourceKind.Experiment, "a"))!["metadata"]!["uid"]!.ToString(),
        uidB = (await arena.GetAsync(ResourceKind.Experiment, "b"))!["metadata"]!["uid"]!.ToString();
        string mine = await Web.TokenAsync(arena, podA, TokenAudiences.Progress(uidA));
        string other = await Web.TokenAsync(arena, podB, TokenAudiences.Progress(uidA));
        string elsewhere = await Web.TokenAsync(arena, podB, TokenAudiences.Progress(uidB));
        string general = await Web.TokenAsync(arena, podA, null);
        const string Body = """{"stage":"decode","percent":40,"etaSeconds":12,"epoch":1,"epochs":2}""";

        Assert.Equal(HttpStatusCode.Unauthorized, await web.PushAsync("a", null, Body));
        Assert.Equal(HttpStatusCode.Unauthorized, await web.PushAsync("a", "Bearer", Body));
        Assert.Equal(HttpStatusCode.Unauthorized, await web.PushAsync("a", "Bearer x", Body));
        Assert.Equal(HttpStatusCode.Unauthorized, await web.PushAsync("a", $"Bearer {mine} {mine}", Body));
        Assert.Equal(HttpStatusCode.Unauthorized, await web.PushAsync("a", $"bearer,{mine}", Body));
        Assert.Equal(HttpStatusCode.Unauthorized, await web.PushAsync("a", "Bearer " + mine[..^4] + "AAAA", Body));
        Assert.Equal(HttpStatusCode.Unauthorized, await web.PushAsync("a", "Bearer " + general, Body));
        Assert.Equal(HttpStatusCode.Unauthorized, await web.PushAsync("a", "Bearer " + elsewhere, Body));
        Assert.Equal(HttpStatusCode.Forbidden, await web.PushAsync("a", "Bearer " + other, Body));
        Assert.Equal(HttpStatusCode.Unauthorized, await web.PushAsync("b", "Bearer " + mine, Body));
        Assert.Equal(HttpStatusCode.Unauthorized, await web.PushAsync("nothing", "Bearer " + mine, Body));
        Assert.Null((await arena.StatusAsync("a"))["progress"]?["stage"]);

        Assert.Equal(HttpStatusCode.BadRequest, await web.PushAsync("a", "Bearer " + mine, "{\"percent\":NaN}"));
        Assert.Equal(
            HttpStatusCode.RequestEntityTooLarge,
            await web.PushAsync("a", "Bearer " + mine, "{\"x\":\"" + new string('y', StageReport.MaximumBytes) + "\"}"));
        Assert.Equal(HttpStatusCode.NoContent, await web.PushAsync("a", "Bearer " + mine, Body));
        await Arena.UntilAsync(
            "the status shows it", async () => (await arena.StatusAsync("a"))["progress"]?["stagePercent"]?.ToString() == "40");
        JsonObject status = await arena.StatusAsync("a");
        Assert.Equal("12", status["progress"]!["etaSeconds"]!.ToString());

        // A flood is limited, and the status is not written for each of them.
        HttpStatusCode[] flood = await Task.WhenAll(
            Enumerable.Range(0, 60).Select(i => web.PushAsync("a", "Bearer " + mine, $$"""{"percent":{{40 + (i % 50)}}}""")));
        Assert.Contains(HttpStatusCode.TooManyRequests, flood);
        if (!arena.IsReal)
        {
            Assert.InRange(arena.Cluster.Log.Writes.Count(w => w.Resource == "coclrexperiments.coclr.dev/status" && w.Name == "a"), 1, 8);
        }
    }
}
