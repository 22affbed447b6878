// Why this exists: the list as a person shapes it: columns, filters and groups, by keyboard, kept in the address, readable on a phone.
using CoCLR.Core.Manifests;
using CoCLR.Dashboard.Tests.Fixtures;
using Microsoft.Playwright;

namespace CoCLR.EndToEnd.Tests.Browser;

[Collection(nameof(BrowserFixture))]
public sealed class ListBrowserTests(BrowserFixture fixture)
{
    [Fact]
    public async Task Columns_AnyFieldOfTheManifest_ByKeyboard_StandsInTheAddressAndOnAPhone()
    {
        IPage page = await fixture.OpenAsync("/?q=demo-");
        await page.WaitForSelectorAsync("td.name a");
        await page.GetByRole(AriaRole.Button, new PageGetByRoleOptions { Name = "Columns" }).PressAsync("Enter");
        ILocator field = page.GetByRole(AriaRole.Combobox, new PageGetByRoleOptions { Name = "Add a field or metric" });
        await field.PressSequentiallyAsync("training.momentum");
        await Assertions.Expect(page.Locator(".mud-popover-open .goto-item").Filter(new LocatorFilterOptions { HasText = "training.momentum" })).ToBeVisibleAsync();
        await page.Keyboard.PressAsync("Enter");
        await Assertions.Expect(page.GetByRole(AriaRole.List, new PageGetByRoleOptions { Name = "Shown" })).ToContainTextAsync("training.momentum");
        await page.GetByRole(AriaRole.Button, new PageGetByRoleOptions { Name = "Show", Exact = true }).PressAsync("Enter");
        await page.WaitForURLAsync("**columns=*training.momentum*");
        await Assertions.Expect(page.GetByRole(AriaRole.Columnheader, new PageGetByRoleOptions { Name = "momentum" })).ToBeVisibleAsync();
        await Assertions.Expect(page.Locator("td[data-label=momentum]").First).ToHaveTextAsync("0.999");

        await page.GetByRole(AriaRole.Button, new PageGetByRoleOptions { Name = "momentum" }).PressAsync("Enter");
        await page.WaitForURLAsync("**sort=-training.momentum*");
        IPage phone = await fixture.OpenAsync(new Uri(page.Url).PathAndQuery, ColorScheme.Dark, 375, 812);
        await Assertions.Expect(phone.Locator("td[data-label=momentum]").First).ToBeInViewportAsync(new LocatorAssertionsToBeInViewportOptions { Ratio = 1 });
    }

    [Fact]
    public async Task Filter_IsMadeOfAFieldAndAValue_AndOneThatIsNotUnderstoodSaysSo()
    {
        IPage page = await fixture.OpenAsync("/?q=demo-");
        await page.WaitForSelectorAsync("td.name a");
        await page.GetByRole(AriaRole.Button, new PageGetByRoleOptions { Name = "Add a filter" }).ClickAsync();
        await ChooseAsync("Field or metric", "method");
        await ChooseAsync("Value", "InfoNCE");
        await page.GetByRole(AriaRole.Button, new PageGetByRoleOptions { Name = "Add", Exact = true }).ClickAsync();
        await page.WaitForURLAsync("**q=demo-*method%3DInfoNCE*");
        await Assertions.Expect(page.Locator("tbody tr")).ToHaveCountAsync(1);
        await Assertions.Expect(page.Locator("td.name a")).ToHaveTextAsync("demo-infonce");

        await page.GetByLabel("Filter", new PageGetByLabelOptions { Exact = true }).FillAsync("training.momentun>0.5");
        await Assertions.Expect(page.GetByText("did you mean 'training.momentum'").First).ToBeVisibleAsync();

        async Task ChooseAsync(string label, string text)
        {
            await page.GetByRole(AriaRole.Combobox, new PageGetByRoleOptions { Name = label }).PressSequentiallyAsync(text);
            await page.Locator(".mud-popover-open .mud-list-item").GetByText(text, new LocatorGetByTextOptions { Exact = true }).First.ClickAsync();
        }
    }

    [Fact]
    public async Task Group_RunsAlikeButForTheSeed_HaveTheirMeanAndDeviation()
    {
        foreach (int seed in (int[])[0, 1, 2])
        {
            new SampleRuns(fixture.Runs, seed: 40 + seed).Write("grouped", Method.InfoNCE, seed: seed, epochs: 2, previews: false);
        }

        IPage page = await fixture.OpenAsync("/?q=grouped");
        await Assertions.Expect(page.Locator("tbody tr")).ToHaveCountAsync(3);
        await page.GetByLabel("Group by").ClickAsync();
        await page.Locator(".mud-popover-open .mud-list-item").GetByText("Alike but for the seed").ClickAsync();
        await page.WaitForURLAsync("**group=seeds*");
        ILocator head = page.Locator("tr.group");
        await Assertions.Expect(head).ToHaveCountAsync(1);
        await Assertions.Expect(head).ToContainTextAsync("grouped");
        await Assertions.Expect(head).ToContainTextAsync("3 runs");
        await Assertions.Expect(head).ToContainTextAsync("±");
    }
}
