// Why this exists: the dashboard by keyboard alone: where the focus is can be seen, and keys act where it is.
using Microsoft.Playwright;

namespace CoCLR.EndToEnd.Tests.Browser;

[Collection(nameof(BrowserFixture))]
public sealed class KeyboardBrowserTests(BrowserFixture fixture)
{
    [Fact]
    public async Task Keyboard_Only_OpensHelpSearchAndARun()
    {
        IPage page = await fixture.OpenAsync("/");
        await page.WaitForSelectorAsync("td.name a");
        await BrowserFixture.PressUntilAsync(page, "document.querySelector('table.shortcuts')", "?");
        await BrowserFixture.PressUntilAsync(page, "!document.querySelector('table.shortcuts')", "Escape");
        await BrowserFixture.PressUntilAsync(page, "document.activeElement.closest('td.name')", "j");
        await BrowserFixture.PressUntilAsync(page, "location.pathname.startsWith('/experiments/')", "Enter");
        await BrowserFixture.PressUntilAsync(page, "location.pathname === '/compare'", "g", "c");
    }

    [Theory]
    [InlineData("/", ColorScheme.Light)]
    [InlineData("/", ColorScheme.Dark)]
    [InlineData("/experiments/DONE", ColorScheme.Light)]
    [InlineData("/experiments/DONE/curves", ColorScheme.Light)]
    [InlineData("/new", ColorScheme.Dark)]
    public async Task Tab_EveryStop_ShowsWhereTheFocusIs(string path, ColorScheme theme)
    {
        IPage page = await fixture.OpenAsync(path.Replace("DONE", fixture.Done, StringComparison.Ordinal), theme);
        await page.WaitForSelectorAsync("h1");
        var unseen = new List<string>();
        for (int stop = 0; stop < 45; stop++)
        {
            await page.Keyboard.PressAsync("Tab");
            // A ring of at least two pixels around the part, or around the field that holds its text.
            string? hidden = await page.EvaluateAsync<string?>("""
                () => {
                  const at = document.activeElement;
                  if (!at || at === document.body || at.tabIndex < 0) return null;
                  const ringed = e => e && getComputedStyle(e).outlineStyle === 'solid' && parseFloat(getComputedStyle(e).outlineWidth) >= 2;
                  return ringed(at) || ringed(at.closest('.mud-input')) ? null : at.outerHTML.slice(0, 160);
                }
                """);
            if (hidden != null)
            {
                unseen.Add(hidden);
            }
        }

        Assert.Empty(unseen);
    }

    [Fact]
    public async Task Slash_LettersThatFollowAtOnce_GoIntoTheField()
    {
        IPage page = await fixture.OpenAsync("/");
        await page.WaitForSelectorAsync("td.name a");
        // Once, so that the page surely listens.
        await BrowserFixture.PressUntilAsync(page, "document.querySelector('.goto')", "/");
        await BrowserFixture.PressUntilAsync(page, "!document.querySelector('.goto')", "Escape");
        string theme = await page.EvaluateAsync<string>("document.documentElement.dataset.theme");

        await page.Keyboard.PressAsync("/");
        await page.Keyboard.TypeAsync("benchm");
        await Assertions.Expect(page.GetByRole(AriaRole.Combobox, new PageGetByRoleOptions { Name = "Run or page" }))
            .ToHaveValueAsync("benchm");
        await Assertions.Expect(page.Locator(".goto-item")).ToHaveCountAsync(1);
        await page.Keyboard.PressAsync("Enter");
        await Assertions.Expect(page.GetByRole(AriaRole.Heading, new PageGetByRoleOptions { Name = "Benchmarks" })).ToBeVisibleAsync();
        Assert.Equal(theme, await page.EvaluateAsync<string>("document.documentElement.dataset.theme"));
    }

    [Fact]
    public async Task Dialog_IsOpen_ShortcutsRest()
    {
        IPage page = await fixture.OpenAsync("/");
        await page.WaitForSelectorAsync("td.name a");
        await BrowserFixture.PressUntilAsync(page, "document.querySelector('table.shortcuts')", "?");
        string theme = await page.EvaluateAsync<string>("document.documentElement.dataset.theme");
        foreach (string key in (string[])["t", "j", "/", "g", "b"])
        {
            await page.Keyboard.PressAsync(key);
        }

        await BrowserFixture.PressUntilAsync(page, "!document.querySelector('table.shortcuts')", "Escape");
        Assert.Equal("/", new Uri(page.Url).AbsolutePath);
        Assert.Equal(theme, await page.EvaluateAsync<string>("document.documentElement.dataset.theme"));
        Assert.Equal(0, await page.Locator(".goto").CountAsync());
    }
}
