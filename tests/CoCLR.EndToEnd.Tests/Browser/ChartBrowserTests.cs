// Why this exists: curves in a real browser, read as a person reads them: by pointer and keys, zoomed, with values that are no numbers, and
// as exported pictures.
using System.Globalization;
using CoCLR.Core.Events;
using CoCLR.Core.Manifests;
using CoCLR.Dashboard.Tests.Fixtures;
using Microsoft.Playwright;

namespace CoCLR.EndToEnd.Tests.Browser;

[Collection(nameof(BrowserFixture))]
public sealed class ChartBrowserTests(BrowserFixture fixture)
{
    private const string Stage = "pretrain-rgb";

    [Fact]
    public async Task Zoom_FetchesTheDetail_EveryStepCanBeRead()
    {
        // A value of its own at every step: what the overview leaves out can be told from what it shows.
        string run = Write("many-steps", 24_000, step => 2 + Math.Sin(step * 12.9898) + (step / 24_000.0));
        IPage page = await fixture.OpenAsync($"/experiments/{run}/curves?metric={MetricNames.Loss}&smooth=0");
        ILocator plot = await PlotAsync(page, "Loss");
        await plot.FocusAsync();
        await page.Keyboard.PressAsync("ArrowLeft");
        for (int i = 0; i < 10; i++)
        {
            await page.Keyboard.PressAsync("+");
        }

        await Assertions.Expect(page.Locator("figure.chart[data-detailed]")).ToBeVisibleAsync();
        await page.Keyboard.PressAsync("ArrowLeft");
        long first = await StepAsync(page);
        await page.Keyboard.PressAsync("ArrowLeft");
        Assert.Equal(first - 1, await StepAsync(page));
        await page.Keyboard.PressAsync("ArrowLeft");
        Assert.Equal(first - 2, await StepAsync(page));
        double wanted = 2 + Math.Sin((first - 2) * 12.9898) + ((first - 2) / 24_000.0);
        double read = double.Parse(await page.Locator(".chart-tip b").InnerTextAsync(), CultureInfo.InvariantCulture);
        Assert.Equal(wanted, read, 0.001);
        await page.Keyboard.PressAsync("0");
        await Assertions.Expect(page.Locator("figure.chart[data-zoomed=false]")).ToBeVisibleAsync();
    }

    [Fact]
    public async Task NaNAndInfinity_AreMarksWithTheirStep_AndTheCurveHasAGap()
    {
        string run = Write("not-numbers", 100, step => step is >= 60 and < 70 ? double.NaN : step == 80 ? double.PositiveInfinity : 1.5);
        IPage page = await fixture.OpenAsync($"/experiments/{run}/curves?metric={MetricNames.Loss}&smooth=0.5");
        ILocator plot = await PlotAsync(page, "Loss");
        await Assertions.Expect(page.Locator("figure.chart[data-odd='11']")).ToBeVisibleAsync();
        await plot.FocusAsync();
        for (int step = 99; step > 60; step--)
        {
            await page.Keyboard.PressAsync("ArrowLeft");
        }

        await Assertions.Expect(page.Locator(".chart-tip")).ToContainTextAsync("NaN at step 60");
        // Two pieces of line and one after infinity: nothing is drawn where there was no number.
        string svg = await SaveAsync(page, "Save as SVG");
        string path = System.Text.RegularExpressions.Regex.Matches(svg, "<path d=\"(M[^\"]+)\" stroke=\"[^\"]+\" stroke-width=\"1.75\"")
            .Single().Groups[1].Value;
        Assert.Equal(3, path.Count(c => c == 'M'));
    }

    [Fact]
    public async Task HugeValues_KeepTheirAxis_AndCanBeIgnored()
    {
        string run = Write("huge", 400, step => step == 200 ? 1e300 : 1 + (step / 400.0));
        IPage page = await fixture.OpenAsync($"/experiments/{run}/curves?metric={MetricNames.Loss}&smooth=0");
        await PlotAsync(page, "Loss");
        string svg = await SaveAsync(page, "Save as SVG");
        Assert.Contains("e+299</text>", svg, StringComparison.Ordinal);
        await Assertions.Expect(page.Locator(".chart-legend td").Nth(2)).ToHaveTextAsync("1.00e+300");

        await page.GetByText("Ignore outliers").ClickAsync();
        await page.WaitForURLAsync("**outliers=hide**");
        string calm = "";
        for (int attempt = 0; attempt < 50 && !calm.Contains(">1.4</text>", StringComparison.Ordinal); attempt++)
        {
            calm = await SaveAsync(page, "Save as SVG");
        }

        Assert.Contains(">1.4</text>", calm, StringComparison.Ordinal);
    }

    [Fact]
    public async Task ThreeThousandMetrics_AreDrawnSomeAtATime_AndFoundByName()
    {
        (string run, string folder, _) = new SampleRuns(fixture.Runs).Write("three-thousand", Method.InfoNCE, SampleRuns.Until.Planned);
        var writer = new StageWriter(folder, run, Stage, DateTimeOffset.UtcNow.AddMinutes(-30));
        writer.Add(new StartedEvent { Run = "", Stage = "", Attempt = 1, Seq = 0, Time = default, Epochs = 6 });
        for (int step = 0; step < 3; step++)
        {
            var values = Enumerable.Range(0, 3000).ToDictionary(i => string.Create(CultureInfo.InvariantCulture, $"layer/{i:D4}"), i => (double)(i + step));
            writer.Add(new MetricEvent { Run = "", Stage = "", Attempt = 1, Seq = 0, Time = default, Step = step, Epoch = step, Values = values });
        }

        writer.Save();
        IPage page = await fixture.OpenAsync($"/experiments/{run}/curves");
        await Assertions.Expect(page.GetByText("1–24 of 3000 panels")).ToBeVisibleAsync();
        await Assertions.Expect(page.Locator("figure.chart")).ToHaveCountAsync(24);
        await page.GetByRole(AriaRole.Combobox, new PageGetByRoleOptions { Name = "Metric" }).PressSequentiallyAsync("layer/2999");
        await page.Locator(".mud-popover-open .mud-list-item").GetByText("layer/2999").ClickAsync();
        await page.WaitForURLAsync("**metric=layer*2999*");
        await PlotAsync(page, "layer/2999");
    }

    [Fact]
    public async Task Legend_HidesACurve_AndPngIsSaved()
    {
        IPage page = await fixture.OpenAsync($"/experiments/{fixture.Done}/curves?metric={MetricNames.Loss}");
        await PlotAsync(page, "Loss");
        ILocator name = page.GetByRole(AriaRole.Button, new PageGetByRoleOptions { Name = "pretrain-rgb", Exact = true });
        Assert.Contains("pretrain-rgb</text>", await SaveAsync(page, "Save as SVG"), StringComparison.Ordinal);
        await name.PressAsync("Enter");
        await Assertions.Expect(name).ToHaveAttributeAsync("aria-pressed", "false");
        Assert.DoesNotContain("pretrain-rgb</text>", await SaveAsync(page, "Save as SVG"), StringComparison.Ordinal);
        Assert.StartsWith("\u0089PNG", await SaveAsync(page, "Save as PNG"), StringComparison.Ordinal);
    }

    private static async Task<ILocator> PlotAsync(IPage page, string title)
    {
        await page.WaitForSelectorAsync(".chart[data-points]:not([data-points='0'])");
        return page.GetByRole(AriaRole.Group, new PageGetByRoleOptions { Name = $"Plot of {title}" });
    }

    /// <summary>The step that the tooltip names.</summary>
    private static async Task<long> StepAsync(IPage page) =>
        long.Parse((await page.Locator(".chart-tip strong").InnerTextAsync())["step ".Length..], CultureInfo.InvariantCulture);

    private static async Task<string> SaveAsync(IPage page, string button)
    {
        IDownload file = await page.RunAndWaitForDownloadAsync(
            () => page.GetByRole(AriaRole.Button, new PageGetByRoleOptions { Name = button }).First.ClickAsync());
        return await File.ReadAllTextAsync(await file.PathAsync(), System.Text.Encoding.Latin1);
    }

    private string Write(string name, int steps, Func<int, double> loss)
    {
        (string run, string folder, _) = new SampleRuns(fixture.Runs).Write(name, Method.InfoNCE, SampleRuns.Until.Planned);
        var writer = new StageWriter(folder, run, Stage, DateTimeOffset.UtcNow.AddMinutes(-30));
        writer.Add(new StartedEvent { Run = "", Stage = "", Attempt = 1, Seq = 0, Time = default, Epochs = 6 });
        for (int step = 0; step < steps; step++)
        {
            var values = new Dictionary<string, double> { [MetricNames.Loss] = loss(step) };
            writer.Add(
                new MetricEvent
                {
                    Run = "", Stage = "", Attempt = 1, Seq = 0, Time = default, Step = step, Epoch = step * 6.0 / steps, Values = values
                });
        }

        writer.Save();
        return run;
    }
}
