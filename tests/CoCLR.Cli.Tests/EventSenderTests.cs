// Why this exists: what a stage tells reaches a dashboard from a pod, too, whose plan lies outside the run folder; and no dashboard, however it behaves, holds up the
// end of a stage.
using System.Collections.Concurrent;
using System.IO.Compression;
using System.Net;
using System.Text;
using CoCLR.Cli.Hosting;
using CoCLR.Core;
using CoCLR.Core.Planning;
using CoCLR.Runs;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;

namespace CoCLR.Cli.Tests;

public sealed class EventSenderTests(TinyExperiment tiny) : IClassFixture<TinyExperiment>
{
    // Long enough for the slowest machine; a sender that waits for a dashboard waits longer.
    private static readonly TimeSpan Limit = TimeSpan.FromMinutes(2);

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Stage_WithItsPlanOutsideTheRunFolder_SendsPlanAndEventsAndLeavesAWholeRunFolder()
    {
        await using Dashboard dashboard = await Dashboard.StartAsync();
        (string plan, string run) = tiny.NewRun("from-a-pod", takeOver: false);
        string mounted = Path.Combine(tiny.Folder, "mounted.json");
        File.Move(plan, mounted);
        var environment = new Dictionary<string, string> { ["COCLR_DASHBOARD_URL"] = dashboard.Address, ["COCLR_RUN_DIR"] = run, ["COCLR_CACHE_DIR"] = tiny.Cache };
        (await Coclr.EndAsync(Coclr.StartWith(environment, "stage", "--plan", mounted, "--stage", "decode"))).Expect(ExitCodes.Done);

        Assert.Equal(await File.ReadAllTextAsync(mounted, Cancel), dashboard.Taken["PUT /api/v1/ingest/plan"].Single());
        string[] told = string.Concat(dashboard.Taken["POST /api/v1/ingest"]).Split('\n', StringSplitOptions.RemoveEmptyEntries);
        Assert.Equal(await File.ReadAllLinesAsync(Path.Combine(run, "stages", "decode", "events.jsonl"), Cancel), told);
        Assert.Contains("\"finished\"", told[^1], StringComparison.Ordinal);
        Assert.Equal("from-a-pod", RunFolder.ReadPlan(Path.Combine(run, "plan.json")).Run);
    }

    [Fact]
    public async Task End_OfTheLastStage_StopsWaitingAtOnceWhenTheProcessIsAskedToEnd()
    {
        using var asked = new CancellationTokenSource();
        using var network = new Network((_, stop) => Task.Delay(Timeout.InfiniteTimeSpan, stop));
        EventSender sender = Sender("deaf", Planner.ReportStage, Timeout.InfiniteTimeSpan, network, asked.Token);
        await network.Asked;
        Task end = sender.DisposeAsync().AsTask();
        Assert.False(end.IsCompleted);
        await asked.CancelAsync();
        await end.WaitAsync(Limit, Cancel);
    }

    [Fact]
    public async Task End_AfterTheProcessWasAskedToEnd_StillSendsTheLastWord()
    {
        using var asked = new CancellationTokenSource();
        using var network = new Network((_, _) => Task.CompletedTask);
        await asked.CancelAsync();
        await Sender("asked", "pretrain-rgb", Timeout.InfiniteTimeSpan, network, asked.Token).DisposeAsync();
        Assert.Contains("POST", network.Methods);
    }

    [Fact]
    public async Task End_OfATrainingStage_IsNotProlongedByWhatStillGetsThrough()
    {
        string events = "";
        using var network = new Network((request, _) => request.Method == HttpMethod.Post ? File.AppendAllTextAsync(events, "{}\n", CancellationToken.None) : Task.CompletedTask);
        events = new RunFolder(Path.Combine(tiny.Folder, "endless")).EventsFile("pretrain-rgb");
        EventSender sender = Sender("endless", "pretrain-rgb", TimeSpan.FromMilliseconds(200), network, CancellationToken.None);
        await network.Asked;
        await sender.DisposeAsync().AsTask().WaitAsync(Limit, Cancel);
    }

    [Fact]
    public async Task WhatAStageCouldNotSend_IsSentByTheNextOne()
    {
        using var away = new Network((_, _) => throw new HttpRequestException(HttpRequestError.ConnectionError));
        await Sender("later", "pretrain-rgb", null, away, CancellationToken.None).DisposeAsync();
        var folder = new RunFolder(Path.Combine(tiny.Folder, "later"));
        await File.WriteAllTextAsync(folder.ResultFile("pretrain-rgb"), "{}", Cancel);
        using var back = new Network((_, _) => Task.CompletedTask);
        await Sender("later", "probe-rgb", null, back, CancellationToken.None).DisposeAsync();
        Assert.Equal(["PUT", "POST", "POST"], back.Methods);
    }

    [Fact]
    public async Task Deliver_AfterADashboardThatWasAway_SendsWhatEveryStageLeftAndSaysWhetherAllArrived()
    {
        (string plan, string run) = tiny.NewRun("away", takeOver: false);
        string termination = Path.Combine(tiny.Folder, "last-word.json");
        var environment = new Dictionary<string, string>
        {
            ["COCLR_DASHBOARD_URL"] = "http://127.0.0.1:9", ["COCLR_CACHE_DIR"] = tiny.Cache, ["COCLR_TERMINATION_LOG"] = termination,
        };
        (await Coclr.EndAsync(Coclr.StartWith(environment, "stage", "--plan", plan, "--stage", "decode"))).Expect(ExitCodes.Done);
        Assert.Contains("\"unsent\":true", await File.ReadAllTextAsync(termination, Cancel), StringComparison.Ordinal);
        (await Coclr.EndAsync(Coclr.StartWith(environment, "deliver", "--plan", plan, "--patience", "1"))).Expect(ExitCodes.Failed);

        await using Dashboard dashboard = await Dashboard.StartAsync();
        environment["COCLR_DASHBOARD_URL"] = dashboard.Address;
        (await Coclr.EndAsync(Coclr.StartWith(environment, "deliver", "--plan", plan))).Expect(ExitCodes.Done);
        string[] told = string.Concat(dashboard.Taken["POST /api/v1/ingest"]).Split('\n', StringSplitOptions.RemoveEmptyEntries);
        Assert.Equal(await File.ReadAllLinesAsync(new RunFolder(run).EventsFile("decode"), Cancel), told);
        (await Coclr.EndAsync(Coclr.StartWith(environment, "deliver", "--plan", plan))).Expect(ExitCodes.Done);
        Assert.Equal(told.Length, string.Concat(dashboard.Taken["POST /api/v1/ingest"]).Split('\n', StringSplitOptions.RemoveEmptyEntries).Length);
    }

    private EventSender Sender(string run, string stage, TimeSpan? patience, HttpMessageHandler network, CancellationToken asked)
    {
        (string plan, string folder) = tiny.NewRun(run, takeOver: false);
        var runFolder = new RunFolder(folder);
        Directory.CreateDirectory(runFolder.Stage(stage));
        File.WriteAllText(runFolder.EventsFile(stage), "{}\n");
        return new EventSender(new Uri("http://dashboard.example"), runFolder, plan, stage, asked, patience, network);
    }

    /// <summary>Takes the place of the network.</summary>
    private sealed class Network(Func<HttpRequestMessage, CancellationToken, Task> answer) : HttpMessageHandler
    {
        private readonly TaskCompletionSource _asked = new(TaskCreationOptions.RunContinuationsAsynchronously);

        public Task Asked => _asked.Task;

        public ConcurrentQueue<string> Methods { get; } = new();

        protected override async Task<HttpResponseMessage> SendAsync(HttpRequestMessage request, CancellationToken cancellationToken)
        {
            Methods.Enqueue(request.Method.Method);
            _asked.TrySetResult();
            await answer(request, cancellationToken);
            return new HttpResponseMessage(HttpStatusCode.OK);
        }
    }

    /// <summary>A dashboard that takes everything.</summary>
    private sealed class Dashboard : IAsyncDisposable
    {
        private readonly WebApplication _app;

        private Dashboard(WebApplication app) => _app = app;

        public string Address => _app.Urls.First();

        public ConcurrentDictionary<string, ConcurrentQueue<string>> Taken { get; } = new();

        public static async Task<Dashboard> StartAsync()
        {
            WebApplicationBuilder builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions());
            builder.WebHost.UseKestrelCore().UseUrls("http://127.0.0.1:0");
            WebApplication app = builder.Build();
            var dashboard = new Dashboard(app);
            app.Run(async context =>
            {
                await using var unpacked = new GZipStream(context.Request.Body, CompressionMode.Decompress);
                using var reader = new StreamReader(unpacked, Encoding.UTF8);
                dashboard.Taken.GetOrAdd($"{context.Request.Method} {context.Request.Path}", _ => new()).Enqueue(await reader.ReadToEndAsync(Cancel));
            });
            await app.StartAsync(Cancel);
            return dashboard;
        }

        public ValueTask DisposeAsync() => _app.DisposeAsync();
    }
}
