// Why this exists: a long log in a real browser: it opens, scrolls from end to end, follows only a reader at the end, and keeps the lines
// of a message apart.
using System.Globalization;
using CoCLR.Core.Events;
using CoCLR.Core.Manifests;
using CoCLR.Dashboard.Tests.Fixtures;
using Microsoft.Playwright;

namespace CoCLR.EndToEnd.Tests.Browser;

[Collection(nameof(BrowserFixture))]
public sealed class LogBrowserTests(BrowserFixture fixture)
{
    private const string Stage = "pretrain-rgb";

    [Fact]
    public async Task TwentyThousandLines_OpenAtTheEndAndScrollToTheFirst()
    {
        (string run, _) = Write("long-log", lines: 20_000);
        IPage page = await fixture.OpenAsync($"/experiments/{run}/log?stage={Stage}");
        await Assertions.Expect(Line(page, "line 20000")).ToBeInViewportAsync();
        Assert.InRange(await page.Locator(".log-line").CountAsync(), 10, 400);

        await page.GetByRole(AriaRole.Log).FocusAsync();
        await page.Keyboard.PressAsync("Home");
        await Assertions.Expect(Line(page, "line 1")).ToBeInViewportAsync();
        Assert.InRange(await page.Locator(".log-line").CountAsync(), 10, 400);
        await page.EvaluateAsync("() => { const log = document.querySelector('.log'); log.scrollTop = log.scrollHeight / 2; }");
        await Assertions.Expect(Line(page, "line 10015")).ToBeInViewportAsync();
    }

    [Fact]
    public async Task Reader_InTheMiddle_IsNotDraggedDown_AndFollowsAtTheEnd()
    {
        (string run, StageWriter writer) = Write("followed-log", lines: 3000);
        IPage page = await fixture.OpenAsync($"/experiments/{run}/log?stage={Stage}");
        await Assertions.Expect(Line(page, "line 3000")).ToBeInViewportAsync();
        Add(writer, 3001, 3010);
        await Assertions.Expect(Line(page, "line 3010")).ToBeInViewportAsync();

        await page.GetByRole(AriaRole.Log).HoverAsync();
        await page.Mouse.WheelAsync(0, -15_000);
        ILocator toEnd = page.GetByRole(AriaRole.Button, new PageGetByRoleOptions { Name = "To the end" });
        await Assertions.Expect(toEnd).ToBeVisibleAsync();
        await page.WaitForFunctionAsync("() => { const log = document.querySelector('.log'); const at = log.scrollTop; const was = "
            + "log.dataset.was; log.dataset.was = at; return was == at; }", null, new PageWaitForFunctionOptions { PollingInterval = 300 });
        string first = await TopAsync(page);
        Add(writer, 3011, 3060);
        await Assertions.Expect(toEnd).ToContainTextAsync("50 new");
        Assert.Equal(first, await TopAsync(page));

        await toEnd.ClickAsync();
        await Assertions.Expect(Line(page, "line 3060")).ToBeInViewportAsync();
        Add(writer, 3061, 3070);
        await Assertions.Expect(Line(page, "line 3070")).ToBeInViewportAsync();
    }

    [Fact]
    public async Task Message_OfSeveralLines_IsShownLineByLine_AndNextErrorLeadsToIt()
    {
        (string run, StageWriter writer) = Write("traceback", lines: 400);
        writer.Add(Log("Traceback:\n  File \"train.py\", line 7\nValueError: no", "error"));
        Add(writer, 402, 800);
        IPage page = await fixture.OpenAsync($"/experiments/{run}/log?stage={Stage}");
        await Assertions.Expect(Line(page, "line 800")).ToBeInViewportAsync();
        await page.GetByRole(AriaRole.Button, new PageGetByRoleOptions { Name = "Next error" }).ClickAsync();
        ILocator[] lines = [Line(page, "Traceback:"), Line(page, "File \"train.py\", line 7"), Line(page, "ValueError: no")];
        float below = 0;
        foreach (ILocator line in lines)
        {
            await Assertions.Expect(line).ToBeInViewportAsync();
            float top = (await line.BoundingBoxAsync())!.Y;
            Assert.True(top > below + 8, $"{top} is not below {below}");
            below = top;
        }
    }

    private static ILocator Line(IPage page, string text) =>
        page.Locator(".log-line .words").GetByText(text, new LocatorGetByTextOptions { Exact = true });

    /// <summary>The line at the upper edge, as a person sees it.</summary>
    private static Task<string> TopAsync(IPage page) => page.EvaluateAsync<string>(
        "() => { const box = document.querySelector('.log').getBoundingClientRect(); return document.elementFromPoint(box.left + 300, "
            + "box.top + 12).closest('.log-line').innerText; }");

    private (string Run, StageWriter Writer) Write(string name, int lines)
    {
        (string run, string folder, _) = new SampleRuns(fixture.Runs).Write(name, Method.InfoNCE, SampleRuns.Until.Planned);
        var writer = new StageWriter(folder, run, Stage, DateTimeOffset.UtcNow.AddMinutes(-10));
        writer.Add(new StartedEvent { Run = "", Stage = "", Attempt = 1, Seq = 0, Time = default, Epochs = 6 });
        Add(writer, 1, lines);
        return (run, writer);
    }

    private static void Add(StageWriter writer, int from, int to)
    {
        for (int i = from; i <= to; i++)
        {
            writer.Add(Log(string.Create(CultureInfo.InvariantCulture, $"line {i}")));
        }

        writer.Save();
    }

    private static LogEvent Log(string message, string level = "info") =>
        new() { Run = "", Stage = "", Attempt = 1, Seq = 0, Time = default, Level = level, Message = message };
}
