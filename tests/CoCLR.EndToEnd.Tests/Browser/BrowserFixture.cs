// Why this exists: a dashboard over sample runs and a browser, made once for all tests that look at pages.
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
    private DashboardProcess? _dashboard;
    private string? _signedIn;

    public string Runs => _folder["runs"];

    // Pictures for docs/ show a real demo (`./coclr demo`), not samples.
    private static string? RealRuns =>
        Environment.GetEnvironmentVariable("COCLR_SCREENSHOT_RUNS") is { Length: > 0 } folder ? folder : null;

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

    /// <summary>Starts the dashboard anew on the port that it had.</summary>
    public async Task RestartAsync()
    {
        int port = new Uri(Address).Port;
        await _dashboard!.DisposeAsync();
        await StartAsync(port);
    }

    /// <summary>A page of a browser that nobody used before.</summary>
    public async Task<IPage> NewPageAsync()
    {
        Assert.SkipWhen(Browser is null, "no Chromium on this machine: install it, or set COCLR_CHROMIUM");
        return await Chromium.NewPageAsync(Browser);
    }

    /// <summary>A signed-in page.</summary>
    public async Task<IPage> OpenAsync(string path, ColorScheme theme = ColorScheme.Light, int width = 1440, int height = 1000)
    {
        Assert.SkipWhen(Browser is null, "no Chromium on this machine: install it, or set COCLR_CHROMIUM");
        IPage page = await Chromium.NewPageAsync(Browser, new BrowserNewContextOptions
        {
            ViewportSize = new ViewportSize { Width = width, Height = height }, ColorScheme = theme, BaseURL = Address, StorageState = _signedIn,
        });
        await page.GotoAsync(path);
        if (_signedIn == null)
        {
            // One sign-in for all pages: more than twenty a minute are refused.
            await page.GetByLabel("Token").FillAsync(Token);
            await page.GetByRole(AriaRole.Button, new PageGetByRoleOptions { Name = "Sign in" }).ClickAsync();
            await page.WaitForURLAsync("**" + path);
            _signedIn = await page.Context.StorageStateAsync();
        }

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
        if (_dashboard != null)
        {
            await _dashboard.DisposeAsync();
        }

        _folder.Dispose();
    }

    /// <summary>
    /// Presses keys until a condition holds: keys that come before the page listens are lost, and a person would press them again.
    /// </summary>
    public static async Task PressUntilAsync(IPage page, string condition, params string[] keys)
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

    private async Task StartAsync(int port)
    {
        _dashboard = await DashboardProcess.StartAsync(RealRuns ?? _folder.Path, port, "--Dashboard:Authentication:Token", Token);
        Address = _dashboard.Address;
    }
}

/// <summary>Tests that share the dashboard and the browser, one after another.</summary>
[CollectionDefinition(nameof(BrowserFixture))]
public sealed class BrowserTests : ICollectionFixture<BrowserFixture>;
