// Why this exists: the dashboard in a real browser: every page in both themes without serious accessibility findings, live without reload, films that play, back at its place after a restart.
using System.Diagnostics;
using CoCLR.Core.Events;
using CoCLR.Core.Manifests;
using CoCLR.Dashboard.Tests.Fixtures;
using Microsoft.Playwright;

namespace CoCLR.EndToEnd.Tests.Browser;

/// <summary>A dashboard over sample runs, and a browser.</summary>
public sealed class BrowserFixture : IAsyncLifetime
{
    private const string Token = "a-token-of-more-than-22-characters";
    private readonly TemporaryFolder _folder = new();
    private IPlaywright? _playwright;
    private Process? _process;
    private string? _signedIn;

    public string Runs => _folder["runs"];

    // Pictures for docs/ show a real demo (`./coclr demo`), not samples.
    private static string? RealRuns => Environment.GetEnvironmentVariable("COCLR_SCREENSHOT_RUNS") is { Length: > 0 } folder ? folder : null;

    public string Done { get; private set; } = "";

    public string Live { get; private set; } = "";

    public string Other { get; private set; } = "";

    public string Address { get; private set; } = "";

    public IBrowser? Browser { get; private set; }

    public async ValueTask InitializeAsync()
    {
        if (Chromium.Program == null)
        {
            return;
        }

        var samples = new SampleRuns(Runs);
        Done = samples.Write("demo-coclr", Method.CoCLR, epochs: 6).Run;
        Other = samples.Write("demo-infonce", Method.InfoNCE, epochs: 6, quality: 0.4, previews: false).Run;
        Live = samples.Write("learning", Method.CoCLR, SampleRuns.Until.Learning, seed: 1, epochs: 6).Run;
        if (RealRuns is { } real)
        {
            Done = Path.GetFileName(Directory.GetDirectories(real, "demo-coclr-*").Single());
            Other = Path.GetFileName(Directory.GetDirectories(real, "demo-infonce-*").Single());
        }

        await StartAsync(0);
        _playwright = await Playwright.CreateAsync();
        Browser = await Chromium.LaunchAsync(_playwright);
    }

    public async Task StartAsync(int port)
    {
        var link = new TaskCompletionSource<string>(TaskCreationOptions.RunContinuationsAsynchronously);
        _process = new Process { StartInfo = new ProcessStartInfo("dotnet", [Path.Combine(AppContext.BaseDirectory, "CoCLR.Dashboard.dll"), "--workdir", RealRuns ?? _folder.Path, "--urls", $"http://127.0.0.1:{port}", "--Dashboard:Authentication:Token", Token]) { RedirectStandardOutput = true, RedirectStandardError = true } };
        _process.OutputDataReceived += (_, e) =>
        {
            if (e.Data?.StartsWith("Dashboard: ", StringComparison.Ordinal) == true)
            {
                link.TrySetResult(e.Data["Dashboard: ".Length..]);
            }
        };
        _process.Start();
        _process.BeginOutputReadLine();
        _process.BeginErrorReadLine();
        Address = new Uri(await link.Task.WaitAsync(TimeSpan.FromSeconds(60))).GetLeftPart(UriPartial.Authority);
    }

    public async Task RestartAsync()
    {
        int port = new Uri(Address).Port;
        _process!.Kill();
        await _process.WaitForExitAsync();
        _process.Dispose();
        await StartAsync(port);
    }

    /// <summary>A signed-in page.</summary>
    public async Task<IPage> OpenAsync(string path, ColorScheme theme = ColorScheme.Light, int width = 1440, int height = 1000)
    {
        Assert.SkipWhen(Browser is null, "no Chromium on this machine: install it, or set COCLR_CHROMIUM");
        IBrowserContext context = await Browser.NewContextAsync(new BrowserNewContextOptions { ViewportSize = new ViewportSize { Width = width, Height = height }, ColorScheme = theme, BaseURL = Address, StorageState = _signedIn });
        IPage page = await context.NewPageAsync();
        // One sign-in for all pages: more than twenty a minute are refused.
        await page.GotoAsync(_signedIn == null ? $"/login/link?t={Token}&returnUrl={Uri.EscapeDataString(path)}" : path);
        _signedIn ??= await context.StorageStateAsync();
        await page.WaitForFunctionAsync("() => window.coclr && document.documentElement.dataset.theme");
        return page;
    }

    public async ValueTask DisposeAsync()
    {
        if (Browser != null)
        {
            await Browser.DisposeAsync();
        }

        _playwright?.Dispose();
        if (_process is { HasExited: false })
        {
            _process.Kill();
            await _process.WaitForExitAsync();
        }

        _process?.Dispose();
        _folder.Dispose();
    }
}

public sealed class DashboardBrowserTests(BrowserFixture fixture) : IClassFixture<BrowserFixture>
{
    public static TheoryData<string> Pages() => ["/", "/experiments/DONE", "/experiments/DONE/curves", "/experiments/DONE/retrieval", "/experiments/DONE/mining", "/experiments/DONE/probe", "/experiments/DONE/embedding", "/experiments/DONE/results", "/experiments/DONE/log", "/experiments/DONE/manifest", "/compare?runs=DONE,OTHER", "/benchmarks", "/new", "/data", "/settings", "/api"];

    [Theory]
    [MemberData(nameof(Pages))]
    public async Task D20_Page_InBothThemes_HasNoSeriousAccessibilityFinding(string path)
    {
        string address = path.Replace("DONE", fixture.Done, StringComparison.Ordinal).Replace("OTHER", fixture.Other, StringComparison.Ordinal);
        foreach (ColorScheme theme in new[] { ColorScheme.Light, ColorScheme.Dark })
        {
            IPage page = await fixture.OpenAsync(address, theme);
            await Chromium.CheckAsync(page, theme);
            await page.Context.CloseAsync();
        }
    }

    // docs/images, made again: COCLR_SCREENSHOTS=$PWD/docs/images COCLR_SCREENSHOT_RUNS=$PWD/coclr-runs ./coclr test Pictures
    [Theory]
    [InlineData("dashboard-experiments", "/")]
    [InlineData("dashboard-run", "/experiments/DONE")]
    [InlineData("dashboard-retrieval", "/experiments/DONE/retrieval")]
    [InlineData("dashboard-retrieval-dark", "/experiments/DONE/retrieval", ColorScheme.Dark)]
    [InlineData("dashboard-mining", "/experiments/DONE/mining")]
    [InlineData("dashboard-probe", "/experiments/DONE/probe")]
    [InlineData("dashboard-embedding", "/experiments/DONE/embedding")]
    [InlineData("dashboard-compare", "/compare?runs=DONE,OTHER")]
    [InlineData("dashboard-benchmarks", "/benchmarks?view=rgb")]
    [InlineData("dashboard-new", "/new")]
    [InlineData("dashboard-phone", "/experiments/DONE", ColorScheme.Dark, 375, 812)]
    public async Task Pictures_OfPages_AreNotBlank(string name, string path, ColorScheme theme = ColorScheme.Light, int width = 1440, int height = 1000)
    {
        IPage page = await fixture.OpenAsync(path.Replace("DONE", fixture.Done, StringComparison.Ordinal).Replace("OTHER", fixture.Other, StringComparison.Ordinal), theme, width, height);
        await page.WaitForSelectorAsync("h1");
        if (path.EndsWith("retrieval", StringComparison.Ordinal))
        {
            await page.GetByRole(AriaRole.Button, new PageGetByRoleOptions { Name = "Play all" }).ClickAsync();
        }

        await page.WaitForTimeoutAsync(1500); // charts and films come after the page
        await Chromium.PictureAsync(page, name);
        await page.Context.CloseAsync();
    }

    [Fact]
    public async Task Experiments_EventIsWritten_IsShownWithoutReload()
    {
        IPage page = await fixture.OpenAsync($"/experiments/{fixture.Live}");
        await page.WaitForSelectorAsync(".chart[data-points]:not([data-points='0'])");
        await page.EvaluateAsync("window.stamp = 1");
        string before = await page.Locator(".figure b").Nth(2).InnerTextAsync();
        var writer = new StageWriter(Path.Combine(fixture.Runs, fixture.Live), fixture.Live, "cycle-1-flow", DateTimeOffset.UtcNow, attempt: 2);
        writer.Add(new StartedEvent { Run = "", Stage = "", Attempt = 1, Seq = 0, Time = default, Device = "CPU", Epochs = 6 });
        writer.Add(new MetricEvent { Run = "", Stage = "", Attempt = 1, Seq = 0, Time = default, Step = 500, Epoch = 5.5, Values = new Dictionary<string, double> { [MetricNames.Loss] = 0.1234 } });
        writer.Save();
        await page.WaitForFunctionAsync("b => document.querySelectorAll('.figure b')[2].innerText !== b", before);
        Assert.Equal("0.1234", await page.Locator(".figure b").Nth(2).InnerTextAsync());
        Assert.Equal(1, await page.EvaluateAsync<int>("window.stamp"));
    }

    [Fact]
    public async Task Retrieval_PlayAll_FilmsReallyPlay()
    {
        IPage page = await fixture.OpenAsync($"/experiments/{fixture.Done}/retrieval");
        await page.WaitForSelectorAsync("video[src]");
        await page.GetByRole(AriaRole.Button, new PageGetByRoleOptions { Name = "Play all" }).ClickAsync();
        await page.WaitForFunctionAsync("() => { const v = document.querySelector('video[src]'); return v && v.readyState > 1 && !v.paused; }");
        double at = await page.EvaluateAsync<double>("document.querySelector('video[src]').currentTime");
        await page.WaitForFunctionAsync("t => document.querySelector('video[src]').currentTime !== t", at);
        Assert.True(await page.Locator(".clip.hit").CountAsync() > 10);
    }

    [Fact]
    public async Task D18_CodecThatTheBrowserLacks_ShowsThePosterAndTheDownload()
    {
        IPage page = await fixture.OpenAsync("/");
        await page.RouteAsync(_ => true, route => route.Request.ResourceType == "media"
            ? route.FulfillAsync(new RouteFulfillOptions { Status = 200, ContentType = "video/mp4", Body = "a film in a codec of the future" })
            : route.ContinueAsync());
        await page.GotoAsync(new Uri(new Uri(page.Url), $"/experiments/{fixture.Done}/retrieval").ToString());
        await page.WaitForSelectorAsync("video[src]");
        await page.GetByRole(AriaRole.Button, new PageGetByRoleOptions { Name = "Play all" }).ClickAsync();
        await page.WaitForSelectorAsync(".clip a[download] img");
        Assert.True(await page.EvaluateAsync<bool>("document.querySelector('.clip a[download] img').naturalWidth > 0"));
        string answer = await page.EvaluateAsync<string>("async () => { const a = await fetch(document.querySelector('.clip a[download]').href); return a.status + ' ' + a.headers.get('content-type'); }");
        Assert.Equal("200 video/mp4", answer);
    }

    [Fact]
    public async Task D09_ServerRestart_PageComesBackToItsPlace()
    {
        IPage page = await fixture.OpenAsync($"/experiments/{fixture.Done}/retrieval?view=flow&show=misses");
        await page.WaitForSelectorAsync("article.query-row");
        int rows = await page.Locator("article.query-row").CountAsync();
        await fixture.RestartAsync();
        await page.WaitForFunctionAsync("() => performance.getEntriesByType('navigation').length && !document.querySelector('.components-reconnect-show, .components-reconnect-failed, .components-reconnect-rejected, .components-reconnect-retrying') && window.coclr", null, new PageWaitForFunctionOptions { Timeout = 60_000 });
        await page.WaitForSelectorAsync("article.query-row");
        Assert.EndsWith("retrieval?view=flow&show=misses", page.Url, StringComparison.Ordinal);
        Assert.Equal(rows, await page.Locator("article.query-row").CountAsync());
    }

    [Fact]
    public async Task Keyboard_Only_OpensHelpSearchAndARun()
    {
        IPage page = await fixture.OpenAsync("/");
        await page.WaitForSelectorAsync("td.name a");
        await PressUntilAsync(page, "document.querySelector('table.shortcuts')", "?");
        await PressUntilAsync(page, "!document.querySelector('table.shortcuts')", "Escape");
        await PressUntilAsync(page, "document.activeElement.closest('td.name')", "j");
        await PressUntilAsync(page, "location.pathname.startsWith('/experiments/')", "Enter");
        await PressUntilAsync(page, "location.pathname === '/compare'", "g", "c");
    }

    /// <summary>Keys that come before the page listens are lost, so they are pressed again, as a person would.</summary>
    private static async Task PressUntilAsync(IPage page, string condition, params string[] keys)
    {
        for (int attempt = 1; ; attempt++)
        {
            foreach (string key in keys)
            {
                await page.Keyboard.PressAsync(key);
            }

            try
            {
                await page.WaitForFunctionAsync($"() => !!({condition})", null, new PageWaitForFunctionOptions { Timeout = 4000 });
                return;
            }
            catch (TimeoutException) when (attempt < 10)
            {
                // Not heard yet.
            }
        }
    }

    [Theory]
    [InlineData(375, 812)]
    [InlineData(3840, 2160)]
    public async Task Pages_SmallAndLarge_DoNotScrollSideways(int width, int height)
    {
        foreach (string path in new[] { "/", $"/experiments/{fixture.Done}", $"/experiments/{fixture.Done}/retrieval", $"/experiments/{fixture.Done}/mining", $"/experiments/{fixture.Done}/probe", $"/experiments/{fixture.Done}/results", $"/compare?runs={fixture.Done},{fixture.Other}", "/benchmarks", "/data", "/new" })
        {
            IPage page = await fixture.OpenAsync(path, ColorScheme.Dark, width, height);
            await page.WaitForSelectorAsync("h1");
            Assert.True(await page.EvaluateAsync<bool>("document.documentElement.scrollWidth <= document.documentElement.clientWidth + 1"), $"{path} at {width}");
            await page.Context.CloseAsync();
        }
    }
}
