// Why this exists: a webhook is told once, can verify who speaks, is tried again, and is no way into a private network.
using System.Collections.Concurrent;
using System.Net;
using System.Text.Json;
using CoCLR.Core;
using CoCLR.Core.Events;
using CoCLR.Dashboard.Configuration;
using CoCLR.Dashboard.Hosting;
using CoCLR.Dashboard.Storage;
using CoCLR.Dashboard.Tests.Fixtures;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;
using Microsoft.Extensions.Time.Testing;

namespace CoCLR.Dashboard.Tests.Api;

public sealed class WebhookTests
{
    private const string Secret = "a-secret-of-22-characters";

    [Fact]
    public async Task Run_ThatFails_IsToldOnceSignedAndAgainAfterAFailureOfTheReceiver()
    {
        await using Receiver receiver = await Receiver.StartAsync(HttpStatusCode.ServiceUnavailable, HttpStatusCode.NoContent);
        await using DashboardServer server = await DashboardServer.StartAsync(
            null, [.. receiver.Settings("Json", Secret), "--Dashboard:Webhooks:DashboardUrl", "https://coclr.example.com"]);
        using HttpClient sender = server.Sender("r1");
        DateTimeOffset now = DateTimeOffset.UtcNow;
        (await sender.PostAsync("/api/v1/ingest", DashboardServer.Batch(
            Make.Started() with { Time = now }, Make.Metric(1, 1, 3.0) with { Time = now },
            Make.Finished(2, StageOutcome.Failed, 65, "bad <data>") with { Time = now }))).EnsureSuccessStatusCode();

        (string Body, IHeaderDictionary Headers)[] told = await receiver.UntilAsync(2);
        JsonElement body = JsonDocument.Parse(told[1].Body).RootElement;
        Assert.Equal(
            ("failed", "r1", "pretrain-rgb failed"),
            (body.GetProperty("event").GetString(), body.GetProperty("run").GetString(), body.GetProperty("message").GetString()));
        Assert.Contains("<https://coclr.example.com/experiments/r1|open>", body.GetProperty("text").GetString(), StringComparison.Ordinal);
        Assert.Equal(told[0].Headers["X-Coclr-Delivery"], told[1].Headers["X-Coclr-Delivery"]);
        string[] signature = told[1].Headers["X-Coclr-Signature"].ToString().Split(',');
        Assert.Equal("v1=" + WebhookSender.Signature(Secret, long.Parse(signature[0][2..]), told[1].Body), signature[1]);

        // Nothing new is nothing to tell.
        (await sender.PostAsync("/api/v1/ingest", DashboardServer.Batch(Make.Log(3, "the end") with { Time = now })))
            .EnsureSuccessStatusCode();
        using HttpClient other = server.Sender("r2");
        (await other.PostAsync("/api/v1/ingest", DashboardServer.Batch(
            Make.Started(run: "r2") with { Time = now }, Make.Metric(1, 1, 1, "monitor/collapsed", run: "r2") with { Time = now })))
                .EnsureSuccessStatusCode();
        told = await receiver.UntilAsync(3);
        Assert.Equal("collapsed", JsonDocument.Parse(told[2].Body).RootElement.GetProperty("event").GetString());
    }

    [Fact]
    public async Task Slack_GetsTextAloneWithItsMarkupEscaped()
    {
        await using Receiver receiver = await Receiver.StartAsync(HttpStatusCode.OK);
        await SendAsync(receiver.Options(WebhookFormat.Slack), receiver.Target(WebhookFormat.Slack), "a <b> & c");
        JsonElement body = JsonDocument.Parse((await receiver.UntilAsync(1))[0].Body).RootElement;
        Assert.Equal(
            """{"text":"exp is failed: a &lt;b&gt; &amp; c"}""",
            JsonSerializer.Serialize(body, CoclrJson.Compact).Replace("\\u003C", "<", StringComparison.Ordinal)
                .Replace("\\u003E", ">", StringComparison.Ordinal).Replace("\\u0026", "&", StringComparison.Ordinal));
    }

    [Fact]
    public async Task Receiver_OnAPrivateAddress_IsNeverSpokenToUnlessThatIsSet()
    {
        await using Receiver receiver = await Receiver.StartAsync(HttpStatusCode.OK);
        DashboardOptions options = receiver.Options(WebhookFormat.Json);
        options.Webhooks.AllowPrivateAddresses = false;
        await SendAsync(options, receiver.Target(WebhookFormat.Json), "x");
        Assert.Empty(receiver.Told);
    }

    [Fact]
    public async Task Redirect_IsNotFollowed()
    {
        await using Receiver inner = await Receiver.StartAsync(HttpStatusCode.OK);
        await using Receiver outer = await Receiver.StartAsync(HttpStatusCode.TemporaryRedirect);
        outer.Location = inner.Address;
        await SendAsync(outer.Options(WebhookFormat.Json), outer.Target(WebhookFormat.Json), "x");
        Assert.Single(outer.Told);
        Assert.Empty(inner.Told);
    }

    [Theory]
    [InlineData("8.8.8.8", true)]
    [InlineData("2606:4700::1111", true)]
    [InlineData("127.0.0.1", false)]
    [InlineData("10.1.2.3", false)]
    [InlineData("172.31.0.1", false)]
    [InlineData("192.168.1.1", false)]
    [InlineData("169.254.169.254", false)]
    [InlineData("100.64.0.1", false)]
    [InlineData("0.0.0.0", false)]
    [InlineData("224.0.0.1", false)]
    [InlineData("::1", false)]
    [InlineData("::", false)]
    [InlineData("::ffff:127.0.0.1", false)]
    [InlineData("::ffff:10.0.0.1", false)]
    [InlineData("fe80::1", false)]
    [InlineData("fd00::1", false)]
    [InlineData("64:ff9b::a00:1", false)]
    [InlineData("2002:a00:1::", false)]
    public void Address_IsPublicOrNot(string address, bool isPublic) =>
        Assert.Equal(isPublic, WebhookSender.IsPublic(IPAddress.Parse(address)));

    [Theory]
    [InlineData("http://hooks.example.com/x", Secret, "hooks.example.com", "is not an https address")]
    [InlineData("https://elsewhere.example.com/x", Secret, "hooks.example.com", "which Dashboard:Webhooks:AllowedHosts does not have")]
    [InlineData("https://evilexample.com/x", Secret, "*.example.com", "AllowedHosts does not have")]
    [InlineData("https://hooks.example.com/x", "short", "*.example.com", "Secret has 5 characters")]
    public void Setting_ThatIsWrong_RefusesTheStart(string url, string secret, string allowed, string words)
    {
        using var folder = new TemporaryFolder();
        var options = new DashboardOptions { WorkDir = folder.Path };
        options.Webhooks.AllowedHosts = [allowed];
        options.Webhooks.Targets = [new WebhookTarget { Url = url, Secret = secret }];
        Assert.Contains(
            words,
            Assert.Throws<UserErrorException>(() => DashboardOptionsValidator.Validate(options, ["http://127.0.0.1:1"])).Message,
            StringComparison.Ordinal);
    }

    private static async Task SendAsync(DashboardOptions options, WebhookTarget target, string message)
    {
        using ILoggerFactory loggers = LoggerFactory.Create(_ => { });
        using var sender =
            new WebhookSender(Options.Create(options), new FakeTimeProvider(DateTimeOffset.UtcNow), loggers.CreateLogger<WebhookSender>());
        await sender.SendAsync(
            target,
            new Notice("failed", new RunInfo { Run = "r1", Experiment = "exp" }, message, DateTimeOffset.UtcNow),
            TestContext.Current.CancellationToken);
    }

    /// <summary>A server that keeps what it is told.</summary>
    private sealed class Receiver : IAsyncDisposable
    {
        private readonly WebApplication _app;

        private Receiver(WebApplication app) => _app = app;

        public ConcurrentQueue<(string Body, IHeaderDictionary Headers)> Told { get; } = new();

        public string? Location { get; set; }

        public string Address => _app.Urls.First();

        public static async Task<Receiver> StartAsync(params HttpStatusCode[] answers)
        {
            WebApplicationBuilder builder = WebApplication.CreateSlimBuilder();
            builder.Logging.ClearProviders();
            builder.WebHost.UseUrls("http://127.0.0.1:0");
            var receiver = new Receiver(builder.Build());
            int asked = 0;
            receiver._app.Run(async context =>
            {
                using var reader = new StreamReader(context.Request.Body);
                string body = await reader.ReadToEndAsync();
                HttpStatusCode answer = answers[Math.Min(Interlocked.Increment(ref asked), answers.Length) - 1];
                context.Response.StatusCode = (int)answer;
                if (receiver.Location != null)
                {
                    context.Response.Headers.Location = receiver.Location;
                }

                receiver.Told.Enqueue((body, new HeaderDictionary(context.Request.Headers.ToDictionary(h => h.Key, h => h.Value))));
            });
            await receiver._app.StartAsync();
            return receiver;
        }

        public string[] Settings(string format, string secret) =>
        [
            "--Dashboard:Webhooks:AllowedHosts:0", "127.0.0.1", "--Dashboard:Webhooks:AllowPrivateAddresses", "true",
            "--Dashboard:Webhooks:Targets:0:Url", Address,
            "--Dashboard:Webhooks:Targets:0:Secret", secret, "--Dashboard:Webhooks:Targets:0:Format", format,
        ];

        public WebhookTarget Target(WebhookFormat format) => new() { Url = Address, Secret = Secret, Format = format };

        public DashboardOptions Options(WebhookFormat format) =>
            new() { Webhooks = new WebhookSettings { AllowedHosts = ["127.0.0.1"], AllowPrivateAddresses = true, Targets = [Target(format)] } };

        public async Task<(string Body, IHeaderDictionary Headers)[]> UntilAsync(int count)
        {
            using var limit = CancellationTokenSource.CreateLinkedTokenSource(TestContext.Current.CancellationToken);
            limit.CancelAfter(TimeSpan.FromSeconds(60));
            while (Told.Count < count)
            {
                await Task.Delay(20, limit.Token);
            }

            return [.. Told];
        }

        public async ValueTask DisposeAsync()
        {
            await _app.StopAsync();
            await _app.DisposeAsync();
        }
    }
}
