// Why this exists: `coclr bench dashboard` measures what is promised of the dashboard: ingest, latency to a subscriber, pages, live
// clients, circuits, start, opening. No test is timed.
using System.Collections.Concurrent;
using System.Diagnostics;
using System.Globalization;
using System.IO.Compression;
using System.Net.Http.Headers;
using System.Text;
using System.Text.Json;
using CoCLR.Core;
using CoCLR.Core.Events;
using Microsoft.AspNetCore.SignalR.Client;
using Microsoft.Playwright;

namespace CoCLR.Benchmarks.Dashboard;

/// <summary>The dashboard under load.</summary>
public static class DashboardBench
{
    private const int MetricsPerEvent = 10;
    private const int ManyMetrics = 3000;
    private static readonly string[] AllParts = ["start", "ingest", "latency", "clients", "pages", "circuits", "open", "sender", "memory"];

    /// <summary>Measures and prints a table of medians.</summary>
    /// <param name="arguments">Parts to run (all when none is named), then
    /// `--seconds 5 --rounds 5 --clients 500 --circuits 200 --runs 1000 --open 500 --points 100000 --minutes 60`, each optional.</param>
    public static void Run(string[] arguments) => RunAsync(arguments).GetAwaiter().GetResult();

    private static async Task RunAsync(string[] arguments)
    {
        int Option(string name, int fallback) =>
            Array.IndexOf(arguments, "--" + name) is var i && i >= 0 ? int.Parse(arguments[i + 1], CultureInfo.InvariantCulture) : fallback;
        int seconds = Option("seconds", 5), rounds = Option("rounds", 5), points = Option("points", 100_000);
        string[] named = [.. AllParts.Where(arguments.Contains)];
        string[] parts = named.Length > 0 ? named : AllParts;
        var rows = new List<(string What, string Value)>();
        foreach (string part in parts)
        {
            string folder = Directory.CreateTempSubdirectory("coclr-bench-").FullName;
            try
            {
                rows.AddRange(part switch
                {
                    "start" => await StartAsync(folder, rounds),
                    "ingest" => await IngestAsync(folder, rounds, seconds),
                    "latency" => await LatencyAsync(folder, seconds * 2),
                    "clients" => await ClientsAsync(folder, Option("clients", 500), seconds * 2),
                    "pages" => await PagesAsync(folder, Option("runs", 1000), points, rounds),
                    "sender" => await SenderBench.RunAsync(folder, rounds),
                    "memory" => await MemoryAsync(folder, Option("minutes", 60)),
                    "circuits" => await CircuitsAsync(folder, Option("circuits", 200)),
                    _ => await OpenAsync(folder, Option("open", 500), points, rounds),
                });
            }
            finally
            {
                Directory.Delete(folder, recursive: true);
            }
        }

        int width = rows.Max(r => r.What.Length);
        Console.WriteLine($"| {"dashboard".PadRight(width)} | median |\n| {new string('-', width)} | ---: |");
        foreach ((string what, string value) in rows)
        {
            Console.WriteLine($"| {what.PadRight(width)} | {value} |");
        }
    }

    private static async Task<List<(string, string)>> StartAsync(string folder, int rounds)
    {
        var starts = new List<double>();
        var pages = new List<double>();
        for (int i = 0; i < rounds; i++)
        {
            await using DashboardProcess dashboard = await DashboardProcess.StartAsync(folder);
            starts.Add(dashboard.Started.TotalSeconds);
            using HttpClient client = dashboard.Client();
            long begun = Stopwatch.GetTimestamp();
            (await client.GetAsync("/")).EnsureSuccessStatusCode();
            pages.Add(Stopwatch.GetElapsedTime(begun).TotalSeconds);
        }

        return [("start to link (s)", Show(Median(starts))), ("first page, from the server (s)", Show(Median(pages)))];
    }

    private static async Task<List<(string, string)>> IngestAsync(string folder, int rounds, int seconds)
    {
        await using DashboardProcess dashboard = await DashboardProcess.StartAsync(folder);
        var rates = new List<double>();
        for (int round = 0; round < rounds; round++)
        {
            long accepted = 0;
            long begun = Stopwatch.GetTimestamp();
            int now = round;
            await Task.WhenAll(Enumerable.Range(0, 2).Select(async sender =>
            {
                string run = $"ingest-{now}-{sender}";
                using HttpClient client = Sender(dashboard, run);
                for (int seq = 0; Stopwatch.GetElapsedTime(begun).TotalSeconds < seconds;)
                {
                    seq = await PostAsync(client, run, seq, 500);
                    Interlocked.Add(ref accepted, 500 * MetricsPerEvent);
                }
            }));
            rates.Add(accepted / Stopwatch.GetElapsedTime(begun).TotalSeconds);
        }

        return
        [
            ("ingest, two senders (points/s)", Median(rates).ToString("#,0", CultureInfo.InvariantCulture)),
            ("memory after it (MiB)", Show(dashboard.MemoryMib))
        ];
    }

    private static async Task<List<(string, string)>> LatencyAsync(string folder, int seconds)
    {
        await using DashboardProcess dashboard = await DashboardProcess.StartAsync(folder);
        const string Run = "latency";
        using HttpClient sender = Sender(dashboard, Run);
        int seq = await PostAsync(sender, Run, 0, 1);
        var sent = new ConcurrentDictionary<long, long>();
        var latencies = new ConcurrentBag<double>();
        await using HubConnection hub = await ConnectAsync(dashboard);
        using var stop = new CancellationTokenSource();
        Task listening = ListenAsync(hub, Run, delta =>
        {
            long now = Stopwatch.GetTimestamp();
            foreach (JsonElement step in delta.GetProperty("curves").EnumerateArray().Take(1).SelectMany(c => c.GetProperty("steps").EnumerateArray()))
            {
                if (sent.TryRemove(step.GetInt64(), out long at))
                {
                    latencies.Add(Stopwatch.GetElapsedTime(at, now).TotalMilliseconds);
                }
            }
        }, stop.Token);
        using var timer = new PeriodicTimer(TimeSpan.FromMilliseconds(50));
        for (int i = 0; i < seconds * 20; i++)
        {
            await timer.WaitForNextTickAsync(CancellationToken.None);
            for (int s = seq; s < seq + 5; s++)
            {
                sent[s] = Stopwatch.GetTimestamp();
            }

            seq = await PostAsync(sender, Run, seq, 5);
        }

        await Task.Delay(500, CancellationToken.None);
        await stop.CancelAsync();
        await listening;
        double[] sorted = [.. latencies.Order()];
        return
        [
            ("1,000 points/s to a subscriber, p50 (ms)", Show(sorted[sorted.Length / 2])),
            ("1,000 points/s to a subscriber, p99 (ms)", Show(sorted[(int)(sorted.Length * 0.99)]))
        ];
    }

    private static async Task<List<(string, string)>> ClientsAsync(string folder, int clients, int seconds)
    {
        await using DashboardProcess dashboard = await DashboardProcess.StartAsync(folder, "--Dashboard:Limits:Circuits", "100000");
        const string Run = "clients";
        using HttpClient sender = Sender(dashboard, Run);
        int seq = await PostAsync(sender, Run, 0, 1);
        long messages = 0;
        using var stop = new CancellationTokenSource();
        var hubs = new List<HubConnection>();
        var listening = new List<Task>();
        for (int i = 0; i < clients; i++)
        {
            HubConnection hub = await ConnectAsync(dashboard);
            hubs.Add(hub);
            listening.Add(ListenAsync(hub, Run, _ => Interlocked.Increment(ref messages), stop.Token));
        }

        await Task.Delay(1000, CancellationToken.None);
        Interlocked.Exchange(ref messages, 0);
        double cpu = dashboard.CpuSeconds;
        long begun = Stopwatch.GetTimestamp();
        using var timer = new PeriodicTimer(TimeSpan.FromMilliseconds(100));
        for (int i = 0; i < seconds * 10; i++)
        {
            await timer.WaitForNextTickAsync(CancellationToken.None);
            seq = await PostAsync(sender, Run, seq, 1);
        }

        double elapsed = Stopwatch.GetElapsedTime(begun).TotalSeconds;
        double cores = (dashboard.CpuSeconds - cpu) / elapsed;
        await stop.CancelAsync();
        await Task.WhenAll(listening);
        foreach (HubConnection hub in hubs)
        {
            await hub.DisposeAsync();
        }

        return
        [
            ($"{clients} live clients, updates each (1/s)", Show(messages / elapsed / clients)),
            ($"{clients} live clients, CPU (cores)", Show(cores)), ($"{clients} live clients, memory (MiB)", Show(dashboard.MemoryMib))
        ];
    }

    private static async Task<List<(string, string)>> PagesAsync(string folder, int runs, int points, int rounds)
    {
        Parallel.For(
            0,
            runs,
            new ParallelOptions { MaxDegreeOfParallelism = 2 },
            i => WriteRun(folder, string.Create(CultureInfo.InvariantCulture, $"run-{i:0000}"), 100));
        WriteRun(folder, "large", points);
        WriteRun(folder, "wide", ManyMetrics * 20, ManyMetrics);
        await using DashboardProcess dashboard = await DashboardProcess.StartAsync(folder);
        await UntilReadAsync(dashboard, runs + 2);
        if (Chromium() is not { } program)
        {
            return [("pages", "no Chromium: set COCLR_CHROMIUM")];
        }

        using IPlaywright playwright = await Playwright.CreateAsync();
        await using IBrowser browser =
            await playwright.Chromium.LaunchAsync(new BrowserTypeLaunchOptions { ExecutablePath = program, Args = ["--no-sandbox"] });
        IPage page = await browser.NewPageAsync();
        await page.GotoAsync($"{dashboard.Address}login/link?t={DashboardProcess.Token}");
        var list = new List<double>();
        var chart = new List<double>();
        var wide = new List<double>();
        for (int i = 0; i < rounds; i++)
        {
            await page.GotoAsync("about:blank");
            long begun = Stopwatch.GetTimestamp();
            await page.GotoAsync($"{dashboard.Address}", new PageGotoOptions { WaitUntil = WaitUntilState.Commit });
            await page.WaitForFunctionAsync("() => document.querySelectorAll('table.runs tbody tr').length >= 100 && window.coclr");
            list.Add(Stopwatch.GetElapsedTime(begun).TotalSeconds);
            await page.GotoAsync("about:blank");
            begun = Stopwatch.GetTimestamp();
            await page.GotoAsync($"{dashboard.Address}experiments/large/curves", new PageGotoOptions { WaitUntil = WaitUntilState.Commit });
            await page.WaitForFunctionAsync("() => +document.querySelector('.chart')?.dataset.points > 1000");
            chart.Add(Stopwatch.GetElapsedTime(begun).TotalSeconds);
            await page.GotoAsync("about:blank");
            begun = Stopwatch.GetTimestamp();
            await page.GotoAsync($"{dashboard.Address}experiments/wide/curves", new PageGotoOptions { WaitUntil = WaitUntilState.Commit });
            await page.WaitForFunctionAsync("() => +document.querySelector('.chart')?.dataset.points > 1");
            wide.Add(Stopwatch.GetElapsedTime(begun).TotalSeconds);
        }

        return
        [
            ($"{runs} runs listed in Chromium (s)", Show(Median(list))),
            ($"page of curves of {points:#,0} points drawn, thinned to the canvas (s)", Show(Median(chart))),
            ($"page of curves of a run of {ManyMetrics:#,0} metrics (s)", Show(Median(wide)))
        ];
    }

    private static async Task<List<(string, string)>> CircuitsAsync(string folder, int circuits)
    {
        WriteRun(folder, "one", 1000);
        await using DashboardProcess dashboard = await DashboardProcess.StartAsync(folder);
        await UntilReadAsync(dashboard, 1);
        if (Chromium() is not { } program)
        {
            return [("circuits", "no Chromium: set COCLR_CHROMIUM")];
        }

        double before = dashboard.MemoryMib;
        using IPlaywright playwright = await Playwright.CreateAsync();
        await using IBrowser browser =
            await playwright.Chromium.LaunchAsync(new BrowserTypeLaunchOptions { ExecutablePath = program, Args = ["--no-sandbox"] });
        IBrowserContext context = await browser.NewContextAsync();
        await context.RouteAsync("**/*.{css,woff2,svg}", r => r.AbortAsync());
        for (int i = 0; i < circuits; i++)
        {
            IPage page = await context.NewPageAsync();
            await page.GotoAsync(
                i == 0 ? $"{dashboard.Address}login/link?t={DashboardProcess.Token}" : $"{dashboard.Address}experiments/one");
            await page.WaitForFunctionAsync("() => window.coclr");
        }

        return [("memory without a page (MiB)", Show(before)), ($"memory with {circuits} open pages (MiB)", Show(dashboard.MemoryMib))];
    }

    private static async Task<List<(string, string)>> OpenAsync(string folder, int runs, int points, int rounds)
    {
        for (int i = 0; i < runs; i++)
        {
            WriteRun(folder, string.Create(CultureInfo.InvariantCulture, $"run-{i:0000}"), points);
        }

        await using (DashboardProcess first = await DashboardProcess.StartAsync(folder))
        {
            await UntilReadAsync(first, runs);
        }

        var opened = new List<double>();
        double memory = 0;
        for (int i = 0; i < rounds; i++)
        {
            await using DashboardProcess again = await DashboardProcess.StartAsync(folder);
            opened.Add(again.Started.TotalSeconds);
            memory = again.MemoryMib;
        }

        string index = Path.Combine(folder, ".coclr", "dashboard", "index.db");
        return
        [
            ($"start over {runs} runs x {points:#,0} points (s)", Show(Median(opened))), ("memory then (MiB)", Show(memory)),
            ("index (MiB)", Show(new FileInfo(index).Length / 1048576.0))
        ];
    }

    /// <summary>
    /// Four runs at a time for an hour, each watched by a client, 1,000 points/s in all; a run gives way to the next after a twelfth of the
    /// time.
    /// </summary>
    private static async Task<List<(string, string)>> MemoryAsync(string folder, int minutes)
    {
        await using DashboardProcess dashboard = await DashboardProcess.StartAsync(folder);
        TimeSpan whole = TimeSpan.FromMinutes(minutes);
        long begun = Stopwatch.GetTimestamp();
        Task[] lanes = [.. Enumerable.Range(0, 4).Select(async lane =>
        {
            for (int turn = 0; Stopwatch.GetElapsedTime(begun) < whole; turn++)
            {
                string run = string.Create(CultureInfo.InvariantCulture, $"memory-{lane}-{turn}");
                using HttpClient client = Sender(dashboard, run);
                int seq = await PostAsync(client, run, 0, 1);
                await using HubConnection hub = await ConnectAsync(dashboard);
                using var stop = new CancellationTokenSource();
                Task listening = ListenAsync(hub, run, _ => { }, stop.Token);
                using var timer = new PeriodicTimer(TimeSpan.FromMilliseconds(200));
                while (Stopwatch.GetElapsedTime(begun) < whole * Math.Min(1, (turn + 1) / 12.0))
                {
                    await timer.WaitForNextTickAsync(CancellationToken.None);
                    seq = await PostAsync(client, run, seq, 5);
                }

                await stop.CancelAsync();
                await listening;
            }
        })];
        var memory = new List<string>();
        for (int sixth = 1; sixth <= 6; sixth++)
        {
            TimeSpan left = (whole * (sixth / 6.0)) - Stopwatch.GetElapsedTime(begun);
            await Task.Delay(left > TimeSpan.Zero ? left : TimeSpan.Zero);
            memory.Add(dashboard.MemoryMib.ToString("0", CultureInfo.InvariantCulture));
        }

        await Task.WhenAll(lanes);
        return
        [
            ($"memory after each sixth of {minutes} minutes at 1,000 points/s (MiB)", string.Join(", ", memory)),
            ("CPU meanwhile (cores)", Show(dashboard.CpuSeconds / whole.TotalSeconds))
        ];
    }

    private static HttpClient Sender(DashboardProcess dashboard, string run) =>
        dashboard.Client(IngestToken.Create(DashboardProcess.Key, run, DateTimeOffset.UtcNow.AddHours(4)));

    private static async Task<HubConnection> ConnectAsync(DashboardProcess dashboard)
    {
        HubConnection hub = new HubConnectionBuilder().WithUrl(
            new Uri(dashboard.Address, "hubs/runs"), o => o.AccessTokenProvider = () => Task.FromResult<string?>(DashboardProcess.Token))
            .Build();
        await hub.StartAsync();
        return hub;
    }

    private static async Task ListenAsync(HubConnection hub, string run, Action<JsonElement> take, CancellationToken stop)
    {
        try
        {
            await foreach (JsonElement delta in hub.StreamAsync<JsonElement>("WatchRun", run, 0L, null, true, false, stop))
            {
                take(delta);
            }
        }
        catch (OperationCanceledException)
        {
            // The measurement is over.
        }
    }

    private static async Task<int> PostAsync(HttpClient client, string run, int seq, int events)
    {
        using var packed = new MemoryStream();
        await using (var gzip = new GZipStream(packed, CompressionLevel.Fastest, leaveOpen: true))
        {
            for (int i = 0; i < events; i++)
            {
                await gzip.WriteAsync(Line(run, seq + i));
            }
        }

        using var content = new ByteArrayContent(packed.ToArray());
        content.Headers.ContentType = new MediaTypeHeaderValue("application/x-ndjson");
        content.Headers.ContentEncoding.Add("gzip");
        using HttpResponseMessage answer = await client.PostAsync(new Uri("api/v1/ingest", UriKind.Relative), content);
        answer.EnsureSuccessStatusCode();
        return seq + events;
    }

    private static byte[] Line(string run, int seq, int metrics = MetricsPerEvent) => Encoding.UTF8.GetBytes(JsonSerializer.Serialize<RunEvent>(
        new MetricEvent
        {
            Run = run, Stage = "pretrain-rgb", Attempt = 1, Seq = seq, Time = DateTimeOffset.UtcNow, Step = seq, Epoch = seq / 100.0,
            Values = Enumerable.Range(0, metrics).ToDictionary(
                m => m == 0 ? MetricNames.Loss : string.Create(CultureInfo.InvariantCulture, $"metric-{m}"),
                m => Math.Round(m + (5 / (1 + (seq * 0.001))) + (0.2 * Math.Sin(seq * 0.37)), 5)),
        },
        CoclrJson.Compact) + "\n");

    private static void WriteRun(string folder, string run, int points, int metrics = MetricsPerEvent)
    {
        string stage = Path.Combine(folder, run, "stages", "pretrain-rgb");
        Directory.CreateDirectory(stage);
        using var stream = new FileStream(Path.Combine(stage, "events.jsonl"), FileMode.Create, FileAccess.Write, FileShare.None, 1 << 16);
        for (int seq = 0; seq < points / metrics; seq++)
        {
            stream.Write(Line(run, seq, metrics));
        }
    }

    private static async Task UntilReadAsync(DashboardProcess dashboard, int runs)
    {
        using HttpClient client = dashboard.Client();
        long last = -1;
        while (true)
        {
            JsonElement page =
                JsonSerializer.Deserialize<JsonElement>(await client.GetStringAsync(new Uri("api/v1/runs?take=10000", UriKind.Relative)));
            long cursors = page.GetProperty("runs").EnumerateArray().Sum(r => r.GetProperty("cursor").GetInt64());
            if (page.GetProperty("total").GetInt32() >= runs && cursors == last)
            {
                return;
            }

            last = cursors;
            await Task.Delay(3000);
        }
    }

    private static string? Chromium() =>
        new[] { Environment.GetEnvironmentVariable("COCLR_CHROMIUM"), "/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome" }.FirstOrDefault(File.Exists);

    /// <summary>The middle one; the larger of two.</summary>
    internal static double Median(IEnumerable<double> values)
    {
        double[] sorted = [.. values.Order()];
        return sorted[sorted.Length / 2];
    }

    private static string Show(double value) =>
        value.ToString(value >= 100 ? "0" : value >= 10 ? "0.0" : "0.00", CultureInfo.InvariantCulture);
}
