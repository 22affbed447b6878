// Why this exists: what every test in a real browser needs: the browser, the accessibility rules, and pictures of pages.
using Deque.AxeCore.Commons;
using Deque.AxeCore.Playwright;
using Microsoft.Playwright;

namespace CoCLR.EndToEnd.Tests.Browser;

/// <summary>The browser of this machine.</summary>
internal static class Chromium
{
    private static readonly string[] Rules = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"];

    /// <summary>Its program, or null.</summary>
    public static string? Program =>
        new[] { Environment.GetEnvironmentVariable("COCLR_CHROMIUM"), "/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome" }.FirstOrDefault(File.Exists);

    /// <summary>Starts it.</summary>
    public static Task<IBrowser> LaunchAsync(IPlaywright playwright)
    {
        // A limit for what never comes, not a measure of speed: the machine may be busy with other things.
        Assertions.SetDefaultExpectTimeout(120_000);
        return playwright.Chromium.LaunchAsync(new BrowserTypeLaunchOptions { ExecutablePath = Program, Args = ["--no-sandbox"] });
    }

    /// <summary>A page of a browser that nobody used before. Its limits are for what never comes, not measures of speed: the machine may be busy.</summary>
    /// <param name="browser">The browser.</param>
    /// <param name="options">Size, theme and the like.</param>
    public static async Task<IPage> NewPageAsync(IBrowser browser, BrowserNewContextOptions? options = null)
    {
        IBrowserContext context = await browser.NewContextAsync(options ?? new BrowserNewContextOptions { ViewportSize = new ViewportSize { Width = 1440, Height = 1000 } });
        context.SetDefaultNavigationTimeout(240_000);
        context.SetDefaultTimeout(120_000);
        return await context.NewPageAsync();
    }

    /// <summary>No serious or critical finding of WCAG 2.1 A and AA, and no error of a script.</summary>
    public static async Task CheckAsync(IPage page, ColorScheme theme)
    {
        var errors = new List<string>();
        page.PageError += (_, e) => errors.Add(e);
        await page.WaitForSelectorAsync("h1");
        await page.WaitForFunctionAsync("t => document.documentElement.dataset.theme === t", theme == ColorScheme.Dark ? "dark" : "light");
        await page.WaitForTimeoutAsync(400);
        AxeResult result = await page.RunAxe(new AxeRunOptions { RunOnly = new RunOnlyOptions { Type = "tag", Values = [.. Rules] } });
        Assert.Empty(
            result.Violations.Where(v => v.Impact is "serious" or "critical")
                .Select(v => $"{theme} {v.Id}: {v.Nodes.Length} × {v.Nodes[0].Html}"));
        Assert.Empty(errors);
    }

    /// <summary>A picture of the page into COCLR_SCREENSHOTS (such as docs/images), else nowhere; blank pages fail.</summary>
    /// <param name="page">The page.</param>
    /// <param name="name">Name of the file, without its ending.</param>
    public static async Task PictureAsync(IPage page, string name)
    {
        string? folder = Environment.GetEnvironmentVariable("COCLR_SCREENSHOTS");
        byte[] picture = await page.ScreenshotAsync(
            new PageScreenshotOptions { Path = folder is { Length: > 0 } ? Path.Combine(folder, name + ".png") : null });
        Assert.True(picture.Length > 15_000, $"{name}: {picture.Length} bytes");
    }
}
