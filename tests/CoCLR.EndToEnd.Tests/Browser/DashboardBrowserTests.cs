// Why this exists: the dashboard in a real browser: every page in both themes without serious accessibility findings, live without reload,
// films that play, back at its place after a restart.
using CoCLR.Core.Events;
using CoCLR.Dashboard.Tests.Fixtures;
using Microsoft.Playwright;

namespace CoCLR.EndToEnd.Tests.Browser;

[Collection(nameof(BrowserFixture))]
public sealed class DashboardBrowserTests(BrowserFixture fixture)
{
    public static TheoryData<string> Pages() =>
    [
        "/", "/experiments/DONE", "/experiments/DONE/curves", "/experiments/DONE/retrieval", "/experiments/DONE/mining",
        "/experiments/DONE/probe", "/experiments/DONE/embedding", "/experiments/DONE/results", "/experiments/DONE/log",
        "/experiments/DONE/manifest", "/compare?runs=DONE,OTHER", "/benchmarks", "/new", "/data", "/settings", "/api",
        "/?columns=state,training.momentum,loss&group=method", "/experiments/DONE/retrieval?during=pretrain-rgb",
        "/experiments/DONE/probe?cells=percent"
    ];

    [Theory]
    [MemberData(nameof(Pages))]
    public async Task Page_InBothThemes_HasNoSeriousAccessibilityFinding(string path)
    {
        string address = path.Replace("DONE", fixture.Done, StringComparison.Ordinal)
            .Replace("OTHER", fixture.Other, StringComparison.Ordinal);
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
    [InlineData("dashboard-columns", "/?columns=state,method,training.optimizer.learningRate,loss,probe,recall,created&group=method")]
    [InlineData("dashboard-learning", "/experiments/DONE/retrieval?during=pretrain-rgb")]
    [InlineData("dashboard-mining", "/experiments/DONE/mining")]
    [InlineData("dashboard-probe", "/experiments/DONE/probe")]
    [InlineData("dashboard-embedding", "/experiments/DONE/embedding")]
    [InlineData("dashboard-compare", "/compare?runs=DONE,OTHER")]
    [InlineData("dashboard-benchmarks", "/benchmarks?view=rgb")]
    [InlineData("dashboard-new", "/new")]
    [InlineData("dashboard-phone", "/experiments/DONE", ColorScheme.Dark, 375, 812)]
    public async Task Pictures_OfPages_AreNotBlank(
        string name, string path, ColorScheme theme = ColorScheme.Light, int width = 1440, int height = 1000)
    {
        IPage page = await fixture.OpenAsync(
            path.Replace("DONE", fixture.Done, StringComparison.Ordinal).Replace("OTHER", fixture.Other, StringComparison.Ordinal),
            theme,
            width,
            height);
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
        var writer =
            new StageWriter(Path.Combine(fixture.Runs, fixture.Live), fixture.Live, "cycle-1-flow", DateTimeOffset.UtcNow, attempt: 2);
        writer.Add(new StartedEvent { Run = "", Stage = "", Attempt = 1, Seq = 0, Time = default, Device = "CPU", Epochs = 6 });
        writer.Add(
            new MetricEvent
            {
                Run = "", Stage = "", Attempt = 1, Seq = 0, Time = default, Step = 500, Epoch = 5.5, Values = new Dictionary<string,
                double>
                { [MetricNames.Loss] = 0.1234 }
            });
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
        await page.WaitForFunctionAsync(
            "() => { const v = document.querySelector('video[src]'); return v && v.readyState > 1 && !v.paused; }");
        double at = await page.EvaluateAsync<double>("document.querySelector('video[src]').currentTime");
        await page.WaitForFunctionAsync("t => document.querySelector('video[src]').currentTime !== t", at);
        Assert.True(await page.Locator(".clip.hit").CountAsync() > 10);
    }

    [Fact]
    public async Task CodecThatTheBrowserLacks_ShowsThePosterAndTheDownload()
    {
        IPage page = await fixture.OpenAsync("/");
        await page.RouteAsync(_ => true, route => route.Request.ResourceType == "media"
            ? route.FulfillAsync(
                new RouteFulfillOptions { Status = 200, ContentType = "video/mp4", Body = "a film in a codec of the future" })
            : route.ContinueAsync());
        await page.GotoAsync(new Uri(new Uri(page.Url), $"/experiments/{fixture.Done}/retrieval").ToString());
        await page.WaitForSelectorAsync("video[src]");
        await page.GetByRole(AriaRole.Button, new PageGetByRoleOptions { Name = "Play all" }).ClickAsync();
        await page.WaitForSelectorAsync(".clip a[download] img");
        Assert.True(await page.EvaluateAsync<bool>("document.querySelector('.clip a[download] img').naturalWidth > 0"));
        string answer = await page.EvaluateAsync<string>("async () => { const a = await fetch(document.querySelector('.clip "
            + "a[download]').href); return a.status + ' ' + a.headers.get('content-type'); }");
        Assert.Equal("200 video/mp4", answer);
    }

    [Fact]
    public async Task ServerRestart_PageComesBackToItsPlace()
    {
        IPage page = await fixture.OpenAsync($"/experiments/{fixture.Done}/retrieval?view=flow&show=misses");
        await page.WaitForSelectorAsync("article.query-row");
        int rows = await page.Locator("article.query-row").CountAsync();
        await fixture.RestartAsync();
        await page.WaitForFunctionAsync(
            "() => performance.getEntriesByType('navigation').length && !document.querySelector('.components-reconnect-show, "
                + ".components-reconnect-failed, .components-reconnect-rejected, .components-reconnect-retrying') && window.coclr",
            null,
            new PageWaitForFunctionOptions { Timeout = 60_000 });
        await page.WaitForSelectorAsync("article.query-row");
        Assert.EndsWith("retrieval?view=flow&show=misses", page.Url, StringComparison.Ordinal);
        Assert.Equal(rows, await page.Locator("article.query-row").CountAsync());
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
            Assert.True(
                await page.EvaluateAsync<bool>("document.documentElement.scrollWidth <= document.documentElement.clientWidth + 1"),
                $"{path} at {width}");
            await page.Context.CloseAsync();
        }
    }
}
