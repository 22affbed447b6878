// Why this exists: the web side of the operator: health, readiness, metrics, and progress of pods with their own tokens (rows F-53 to F-55, A-29, A-30, A-45).
using System.Net;
using System.Net.Http.Headers;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using CoCLR.Cluster;
using CoCLR.Operator.Hosting;
using CoCLR.Operator.Reconciling;
using CoCLR.Operator.Tests.Harness;
using Microsoft.AspNetCore.Builder;

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
        await Arena.UntilAsync(() => "the metrics are there: " + metrics, async () => (metrics = await web.Client.GetStringAsync("/metrics", TestContext.Current.CancellationToken)).Contains("coclr_experiments{state=\"Starting\"", StringComparison.Ordinal));
        foreach (string name in new[]
        {
            "coclr_reconcile_total{", "coclr_reconcile_duration_seconds_bucket{", "coclr_workqueue_depth{", "coclr_workqueue_adds_total{", "coclr_workqueue_queue_duration_seconds_count{",
            "coclr_workqueue_work_duration_seconds_count{", "coclr_workqueue_longest_running_processor_seconds{", "coclr_leader{", "coclr_api_writes_total{", "coclr_build_info{",
        })
        {
            Assert.Contains(name, metrics, StringComparison.Ordinal);
        }

        Assert.DoesNotContain("\"a\"", metrics, StringComparison.Ordinal);
    }

    [Fact]
    public void Host_WithoutCluster_SaysSoBeforeItStarts()
    {
        var error = Assert.Throws<CoCLR.Core.UserErrorException>(() => OperatorHost.Build(new OperatorOptions { Kubeconfig = "/no/such/kubeconfig" }));
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
        await Arena.UntilAsync("it is ready", async () => (await web.Client.GetAsync("/readyz", TestContext.Current.CancellationToken)).IsSuccessStatusCode);
    }

    // F-53, F-54, A-29, A-30
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
        string uidA = (await arena.GetAsync(ResourceKind.Experiment, "a"))!["metadata"]!["uid"]!.ToString(), uidB = (await arena.GetAsync(ResourceKind.Experiment, "b"))!["metadata"]!["uid"]!.ToString();
        string mine = await TokenAsync(arena, podA, JobBuilder.ProgressAudience(uidA));
        string other = await TokenAsync(arena, podB, JobBuilder.ProgressAudience(uidA));
        string elsewhere = await TokenAsync(arena, podB, JobBuilder.ProgressAudience(uidB));
        string general = await TokenAsync(arena, podA, null);
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
        Assert.Equal(HttpStatusCode.RequestEntityTooLarge, await web.PushAsync("a", "Bearer " + mine, "{\"x\":\"" + new string('y', StageReport.MaximumBytes) + "\"}"));
        Assert.Equal(HttpStatusCode.NoContent, await web.PushAsync("a", "Bearer " + mine, Body));
        await Arena.UntilAsync("the status shows it", async () => (await arena.StatusAsync("a"))["progress"]?["stagePercent"]?.ToString() == "40");
        JsonObject status = await arena.StatusAsync("a");
        Assert.Equal("12", status["progress"]!["etaSeconds"]!.ToString());

        // F-53: a flood is limited, and the status is not written for each of them.
        HttpStatusCode[] flood = await Task.WhenAll(Enumerable.Range(0, 60).Select(i => web.PushAsync("a", "Bearer " + mine, $$"""{"percent":{{40 + (i % 50)}}}""")));
        Assert.Contains(HttpStatusCode.TooManyRequests, flood);
        if (!arena.IsReal)
        {
            Assert.InRange(arena.Cluster.Log.Writes.Count(w => w.Resource == "coclrexperiments.coclr.dev/status" && w.Name == "a"), 1, 8);
        }
    }

    private static async Task<string> TokenAsync(Arena arena, JsonObject pod, string? audience)
    {
        var request = new JsonObject
        {
            ["apiVersion"] = "authentication.k8s.io/v1",
            ["kind"] = "TokenRequest",
            ["spec"] = new JsonObject
            {
                ["audiences"] = audience == null ? new JsonArray() : new JsonArray(audience),
                ["expirationSeconds"] = 3600,
                ["boundObjectRef"] = new JsonObject { ["apiVersion"] = "v1", ["kind"] = "Pod", ["name"] = pod["metadata"]!["name"]!.ToString(), ["uid"] = pod["metadata"]!["uid"]!.ToString() },
            },
        };
        using JsonDocument answer = await arena.Client.SendAsync(HttpMethod.Post, $"api/v1/namespaces/{arena.Namespace}/serviceaccounts/default/token", Encoding.UTF8.GetBytes(request.ToJsonString()), null, TestContext.Current.CancellationToken);
        return answer.RootElement.GetProperty("status").GetProperty("token").GetString()!;
    }

    private sealed class Web : IAsyncDisposable
    {
        private readonly WebApplication _app;

        private Web(WebApplication app, Arena arena)
        {
            _app = app;
            Arena = arena;
            Client = new HttpClient { BaseAddress = new Uri(app.Urls.First()) };
        }

        public HttpClient Client { get; }

        private Arena Arena { get; }

        public static async Task<Web> StartAsync(Arena arena, bool ready = true)
        {
            var options = new OperatorOptions { Kubeconfig = arena.Kubeconfig, LeaderElect = false, Namespaces = arena.Namespace, Listen = "127.0.0.1", Port = 0, JsonLogs = false, LogLevel = Microsoft.Extensions.Logging.LogLevel.Error, ProgressUrl = "http://127.0.0.1" };
            WebApplication app = OperatorHost.Build(options, loggers => new OperatorRuntime(options, loggers, informers: new InformerOptions { MaximumBackoff = TimeSpan.FromSeconds(1) }));
            await app.StartAsync(TestContext.Current.CancellationToken);
            var web = new Web(app, arena);
            if (ready)
            {
                await Arena.UntilAsync("it is ready", async () => (await web.Client.GetAsync("/readyz", TestContext.Current.CancellationToken)).IsSuccessStatusCode);
            }

            return web;
        }

        public async Task<HttpStatusCode> PushAsync(string experiment, string? authorization, string body)
        {
            using var request = new HttpRequestMessage(HttpMethod.Post, CoCLR.Operator.Progress.ProgressEndpoint.UrlOf("", new ObjectKey(Arena.Namespace, experiment)));
            request.Headers.ExpectContinue = true; // a refusal comes before the body: no race between the answer and a body that nobody reads
            request.Content = new StringContent(body, Encoding.UTF8, new MediaTypeHeaderValue("application/json"));
            if (authorization != null)
            {
                request.Headers.TryAddWithoutValidation("Authorization", authorization);
            }

            using HttpResponseMessage answer = await Client.SendAsync(request, TestContext.Current.CancellationToken);
            return answer.StatusCode;
        }

        public async ValueTask DisposeAsync()
        {
            Client.Dispose();
            await _app.StopAsync(CancellationToken.None);
            await _app.DisposeAsync();
        }
    }
}
