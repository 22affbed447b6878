// Why this exists: looking closely: a clip large with RGB beside flow, its neighbours by arrow, the way to a search by it, and a video of
// one's own dropped.
using Microsoft.Playwright;

namespace CoCLR.EndToEnd.Tests.Browser;

[Collection(nameof(BrowserFixture))]
public sealed class ClipBrowserTests(BrowserFixture fixture)
{
    [Fact]
    public async Task Clip_OpensLarge_FrameByFrame_WithItsNeighbours()
    {
        IPage page = await fixture.OpenAsync($"/experiments/{fixture.Done}/retrieval");
        ILocator clips = page.Locator("article.query-row").First.Locator(".found .clip");
        await page.WaitForSelectorAsync("video[src]");
        await clips.First.FocusAsync();
        await page.Keyboard.PressAsync("Enter");
        ILocator box = page.GetByRole(AriaRole.Dialog);
        await Assertions.Expect(box).ToBeVisibleAsync();
        await page.WaitForFunctionAsync(
            "() => [...document.querySelectorAll('.lightbox video')].filter(v => v.readyState > 1).length === 2");
        string first = await box.GetByRole(AriaRole.Heading).InnerTextAsync();

        await box.GetByRole(AriaRole.Button, new LocatorGetByRoleOptions { Name = "Frame forward" }).ClickAsync();
        await page.WaitForFunctionAsync("() => [...document.querySelectorAll('.lightbox video')].every(v => v.paused && !v.seeking)");
        double[] before = await TimesAsync(page);
        await page.Keyboard.PressAsync(".");
        await page.WaitForFunctionAsync(
            "t => { const v = document.querySelector('.lightbox video'); return !v.seeking && v.currentTime !== t; }", before[0]);
        double[] after = await TimesAsync(page);
        Assert.Equal(after[0], after[1], 0.02);

        await page.Keyboard.PressAsync("ArrowRight");
        await Assertions.Expect(box.GetByRole(AriaRole.Heading)).Not.ToHaveTextAsync(first);
        await box.GetByRole(AriaRole.Link, new LocatorGetByRoleOptions { Name = "Use as query" }).ClickAsync();
        await page.WaitForURLAsync("**/retrieval?clip=*");
        await Assertions.Expect(box).ToHaveCountAsync(0);
    }

    [Fact]
    public async Task Escape_ClosesTheClip_AndTheFocusIsWhereItWas()
    {
        IPage page = await fixture.OpenAsync($"/experiments/{fixture.Done}/mining");
        await page.WaitForSelectorAsync(".found .clip video[src]");
        await page.Locator(".found .clip").Nth(1).ClickAsync();
        await Assertions.Expect(page.Locator("dialog.lightbox")).ToBeVisibleAsync();
        await page.Keyboard.PressAsync("Escape");
        await Assertions.Expect(page.Locator("dialog.lightbox")).ToBeHiddenAsync();
        Assert.True(await page.EvaluateAsync<bool>("document.activeElement === document.querySelectorAll('.found .clip')[1]"));
    }

    private static Task<double[]> TimesAsync(IPage page) =>
        page.EvaluateAsync<double[]>("[...document.querySelectorAll('.lightbox video')].map(v => v.currentTime)");
}
