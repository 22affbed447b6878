// Why this exists: progress is pushed for people; when nobody takes it, training goes on, and the newest state is what arrives later.
using System.Collections.Concurrent;
using System.Text.Json;
using CoCLR.Core;
using CoCLR.Core.Manifests;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;

namespace CoCLR.Cli.Tests;

public sealed class ProgressTests(TinyExperiment tiny) : IClassFixture<TinyExperiment>
{
    [Theory]
    [InlineData("refused")]
    [InlineData("unavailable")]
    [InlineData("silent")]
    public async Task Endpoint_ThatTakesNothing_DoesNotStopTheStage(string how)
    {
        await using Endpoint endpoint = await Endpoint.StartAsync(how);
        (string plan, string run) = tiny.NewRun("progress-" + how, OneEpoch);
        string log = Path.Combine(run, "termination-log");
        (await RunAsync(plan, endpoint.Address, log)).Expect(ExitCodes.Done);

        // The last word does not need the endpoint.
        Assert.Equal(
            "succeeded",
            JsonDocument.Parse(await File.ReadAllTextAsync(log, TestContext.Current.CancellationToken)).RootElement.GetProperty("outcome")
                .GetString(),
            ignoreCase: true);
        Assert.Empty(endpoint.Taken);
    }

    [Fact]
    public async Task Endpoint_ThatTakesReports_GetsTheEndOfTheStageWithTheTokenOfThePod()
    {
        await using Endpoint endpoint = await Endpoint.StartAsync("fine");
        (string plan, string run) = tiny.NewRun("progress-fine", OneEpoch);
        (await RunAsync(plan, endpoint.Address, Path.Combine(run, "termination-log"))).Expect(ExitCodes.Done);
        (string authorization, string body) = endpoint.Taken.Last();
        Assert.Equal("Bearer of-the-pod", authorization);
        using JsonDocument report = JsonDocument.Parse(body);
        Assert.Equal(
            ("pretrain-rgb", 100),
            (report.RootElement.GetProperty("stage").GetString(), report.RootElement.GetProperty("percent").GetInt32()));
        Assert.InRange(report.RootElement.GetProperty("result").GetProperty("loss").GetDouble(), 0, 100);
    }

    private static ExperimentSpec OneEpoch(ExperimentSpec spec) => spec with { Training = spec.Training with { Epochs = 1 } };

    private async Task<Finished> RunAsync(string plan, string address, string log)
    {
        string run = Path.GetDirectoryName(plan)!;
        string token = Path.Combine(run, "token");
        await File.WriteAllTextAsync(token, "of-the-pod\n", TestContext.Current.CancellationToken);
        return await Coclr.EndAsync(Coclr.StartWith(
            new Dictionary<string, string>
            {
                ["COCLR_PROGRESS_URL"] = address, ["COCLR_PROGRESS_TOKEN_FILE"] = token, ["COCLR_TERMINATION_LOG"] = log
            },
            "stage", "--plan", plan, "--stage", "pretrain-rgb", "--cache", tiny.Cache));
    }

    private sealed class Endpoint : IAsyncDisposable
    {
        private WebApplication? _app;

        public string Address { get; private set; } = "http://127.0.0.1:9/";

        public ConcurrentQueue<(string Authorization, string Body)> Taken { get; } = new();

        public static async Task<Endpoint> StartAsync(string how)
        {
            var endpoint = new Endpoint();
            if (how == "refused")
            {
                return endpoint;
            }

            var builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions());
            builder.WebHost.UseKestrelCore().UseUrls("http://127.0.0.1:0");
            endpoint._app = builder.Build();
            endpoint._app.Run(async context =>
            {
                switch (how)
                {
                    case "unavailable":
                        context.Response.StatusCode = 503;
                        break;
                    case "silent":
                        await Task.Delay(Timeout.InfiniteTimeSpan, context.RequestAborted).ContinueWith(_ => { }, TaskScheduler.Default);
                        break;
                    default:
                        using (var reader = new StreamReader(context.Request.Body))
                        {
                            endpoint.Taken.Enqueue((context.Request.Headers.Authorization.ToString(), await reader.ReadToEndAsync()));
                        }

                        context.Response.StatusCode = 204;
                        break;
                }
            });
            await endpoint._app.StartAsync();
            endpoint.Address = endpoint._app.Urls.First();
            return endpoint;
        }

        public async ValueTask DisposeAsync()
        {
            if (_app != null)
            {
                await _app.StopAsync(CancellationToken.None);
                await _app.DisposeAsync();
            }
        }
    }
}
