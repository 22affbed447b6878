// Why this exists: the way in and out in a real browser, which sends origin and referrer as the page's policy says, by the form that a
// person sees.
using CoCLR.Dashboard.Tests.Fixtures;
using Microsoft.Playwright;

namespace CoCLR.EndToEnd.Tests.Browser;

public sealed class SignInBrowserTests : IAsyncLifetime
{
    private const string Configured = "a-token-of-more-than-22-characters";
    private readonly TemporaryFolder _folder = new();
    private IPlaywright? _playwright;
    private IBrowser? _browser;

    public async ValueTask InitializeAsync()
    {
        Assert.SkipWhen(Chromium.Program is null, "no Chromium on this machine: install it, or set COCLR_CHROMIUM");
        _playwright = await Playwright.CreateAsync();
        _browser = await Chromium.LaunchAsync(_playwright);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task Form_SignsInAndTheButtonSignsOut(bool configured)
    {
        await using DashboardProcess dashboard = await DashboardProcess.StartAsync(
            _folder.Path, 0,
            configured ? ["--Dashboard:Authentication:Mode", "Token", "--Dashboard:Authentication:Token", Configured] : []);
        // With a configured token the printed address is no way in; otherwise the token stands behind t= in the printed link.
        string token = configured ? Configured : dashboard.Link.Split("t=")[1];
        Assert.Equal(configured, !dashboard.Link.Contains(token, StringComparison.Ordinal));
        IPage page = await Chromium.NewPageAsync(_browser!);

        await page.GotoAsync(dashboard.Address + "/benchmarks");
        await page.GetByLabel("Token").FillAsync("a-wrong-token-of-22-characters");
        await page.GetByRole(AriaRole.Button, new PageGetByRoleOptions { Name = "Sign in" }).ClickAsync();
        await Assertions.Expect(page.GetByRole(AriaRole.Alert)).ToContainTextAsync("not the one of this dashboard");

        await page.GotoAsync(dashboard.Address + "/benchmarks");
        await page.GetByLabel("Token").FillAsync(token);
        await page.Keyboard.PressAsync("Enter");
        await Assertions.Expect(page.GetByRole(AriaRole.Heading, new PageGetByRoleOptions { Name = "Benchmarks" })).ToBeVisibleAsync();

        await page.GetByRole(AriaRole.Button, new PageGetByRoleOptions { Name = "Sign out" }).ClickAsync();
        await Assertions.Expect(page.GetByLabel("Token")).ToBeVisibleAsync();
        await page.GotoAsync(dashboard.Address);
        await Assertions.Expect(page.GetByLabel("Token")).ToBeVisibleAsync();
    }

    public async ValueTask DisposeAsync()
    {
        if (_browser != null)
        {
            await _browser.DisposeAsync();
        }

        _playwright?.Dispose();
        _folder.Dispose();
    }
}
