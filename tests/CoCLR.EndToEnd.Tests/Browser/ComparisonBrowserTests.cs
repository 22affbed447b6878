// Why this exists: comparisons that mislead: measures of different data sets in one table, unfinished runs taken for the best, rows without
// their run, films of the wrong run.
using CoCLR.Core.Manifests;
using CoCLR.Dashboard.Tests.Fixtures;
using Microsoft.Playwright;

namespace CoCLR.EndToEnd.Tests.Browser;

[Collection(nameof(BrowserFixture))]
public sealed class ComparisonBrowserTests(BrowserFixture fixture)
{
    [Fact]
    public async Task Benchmarks_DataSetsHaveTablesOfTheirOwn_AndUnfinishedIsNotTheBest()
    {
        string other = WriteOther();
        IPage page = await fixture.OpenAsync("/benchmarks");
        ILocator theirs = page.GetByRole(AriaRole.Region, new PageGetByRoleOptions { Name = "three-classes, split test" });
        await Assertions.Expect(theirs).ToHaveCountAsync(1);
        await Assertions.Expect(theirs.Locator("tbody tr")).ToHaveCountAsync(1);
        ILocator ours = page.GetByRole(AriaRole.Region, new PageGetByRoleOptions { Name = "synthetic, split test" }).First;
        await Assertions.Expect(ours.Locator("tbody tr")).ToHaveCountAsync(2);
        await Assertions.Expect(page.GetByText("In percent, RGB;")).ToBeVisibleAsync();

        await page.GotoAsync("/benchmarks?view=best");
        ILocator coclr = ours.Locator("tbody tr").Filter(new LocatorFilterOptions { HasText = "CoCLR" });
        await Assertions.Expect(coclr).ToContainTextAsync("unfinished");
        await page.GotoAsync($"/compare?runs={fixture.Done},{other}");
        await Assertions.Expect(page.GetByText("numbers of different tables cannot be compared")).ToBeVisibleAsync();
    }

    [Fact]
    public async Task Compare_EveryRowNamesItsRun()
    {
        IPage page = await fixture.OpenAsync($"/compare?runs={fixture.Done},{fixture.Other},{fixture.Live}");
        ILocator table = page.GetByRole(AriaRole.Region, new PageGetByRoleOptions { Name = "Results on synthetic" });
        await Assertions.Expect(table.GetByRole(AriaRole.Rowheader).Filter(new LocatorFilterOptions { HasText = "demo-coclr" }))
            .ToHaveCountAsync(3);
        await Assertions.Expect(table.GetByRole(AriaRole.Rowheader).Filter(new LocatorFilterOptions { HasText = "demo-infonce" }))
            .ToHaveCountAsync(3);
        await Assertions.Expect(table.Locator("td.best").First).ToBeVisibleAsync();
    }

    [Fact]
    public async Task Compare_Seeds_AreOneCurveWithTheirMean_UnlessEachIsAskedFor()
    {
        string[] runs = [
            .. Enumerable.Range(0, 2)
                .Select(
                    seed => new SampleRuns(fixture.Runs, seed: 20 + seed)
                        .Write("seeds", Method.InfoNCE, seed: seed, epochs: 4, previews: false).Run)];
        IPage page = await fixture.OpenAsync($"/compare?runs={string.Join(',', runs)}");
        ILocator legend = page.Locator("figure.chart").First.Locator(".legend-name");
        await Assertions.Expect(legend).ToHaveCountAsync(1);
        await Assertions.Expect(legend).ToContainTextAsync("mean of 2");
        await page.GotoAsync($"/compare?runs={string.Join(',', runs)}&group=none");
        await Assertions.Expect(legend).ToHaveCountAsync(2);
    }

    [Fact]
    public async Task Against_AnotherRun_ShowsThatRunsFilms()
    {
        string other = new SampleRuns(fixture.Runs, seed: 11).Write("with-films", Method.InfoNCE, epochs: 4, quality: 0.3).Run;
        IPage page = await fixture.OpenAsync($"/experiments/{fixture.Other}/retrieval");
        await Assertions.Expect(page.Locator("article.query-row").First).ToBeVisibleAsync();
        var failed = new List<string>();
        page.Response += (_, answer) =>
        {
            if (answer.Status >= 400 && answer.Url.Contains($"runs/{other}/", StringComparison.Ordinal))
            {
                failed.Add(answer.Url);
            }
        };
        await page.GetByLabel("Against").FillAsync("with-films");
        await page.GetByRole(AriaRole.Option, new PageGetByRoleOptions { Name = "with-films" }).First.ClickAsync();
        await page.WaitForURLAsync($"**against={other}**");
        ILocator lane = page.Locator("article.query-row").First.Locator($"video[data-src*='{other}']").First;
        await page.WaitForFunctionAsync("v => v.src && v.readyState > 0 || v.src && v.poster", await lane.ElementHandleAsync());
        Assert.Empty(failed);
    }

    /// <summary>A run on another data set.</summary>
    private string WriteOther()
    {
        (string run, string folder, _) = new SampleRuns(fixture.Runs, seed: 5)
            .Write("other-data", Method.InfoNCE, epochs: 4, quality: 0.9, previews: false);
        foreach (string file in Directory.EnumerateFiles(folder, "*.json*", SearchOption.AllDirectories))
        {
            File.WriteAllText(
                file,
                File.ReadAllText(file).Replace("\"dataSet\":\"synthetic\"", "\"dataSet\":\"three-classes\"", StringComparison.Ordinal));
        }

        return run;
    }
}
