// Why this exists: what a person meets on the first day: a start that leads to the run, a role that may only look, a run whose process
// died, long names, a phone.
using CoCLR.Core.Events;
using CoCLR.Core.Manifests;
using CoCLR.Dashboard.Tests.Fixtures;
using Microsoft.Playwright;

namespace CoCLR.EndToEnd.Tests.Browser;

[Collection(nameof(BrowserFixture))]
public sealed class FirstLookBrowserTests(BrowserFixture fixture)
{
    [Fact]
    public async Task Start_LeadsToTheRun_WithItsOutputAndItsFailure()
    {
        using var folder = new TemporaryFolder();
        string go = folder["go"], command = folder["coclr.sh"];
        File.WriteAllText(command, $"#!/bin/sh\necho reading the manifest\nwhile [ ! -f {go} ]; do sleep 0.1; done\necho the data folder "
            + $"is missing >&2\nexit 66\n");
        File.SetUnixFileMode(command, UnixFileMode.UserRead | UnixFileMode.UserExecute | UnixFileMode.UserWrite);
        Directory.CreateDirectory(folder["work"]);
        await using DashboardProcess dashboard = await DashboardProcess.StartAsync(folder["work"], 0, "--Dashboard:CoclrCommand", command);
        IPage page = await fixture.NewPageAsync();
        await page.GotoAsync(dashboard.Link);
        await page.GotoAsync(dashboard.Address + "/new");
        await page.GetByRole(AriaRole.Button, new PageGetByRoleOptions { Name = "Start here" }).ClickAsync();
        await Assertions.Expect(page.GetByRole(AriaRole.Heading, new PageGetByRoleOptions { Name = "Starting…" })).ToBeVisibleAsync();
        await Assertions.Expect(page.GetByText("reading the manifest")).ToBeVisibleAsync();
        File.WriteAllText(go, "");
        await Assertions.Expect(page.GetByRole(AriaRole.Heading, new PageGetByRoleOptions { Name = "It did not start" }))
            .ToBeVisibleAsync();
        await Assertions.Expect(page.GetByText("the data folder is missing")).ToBeVisibleAsync();
    }

    [Fact]
    public async Task Viewer_IsNotOfferedWhatIsNotAllowed_AndIsToldSo()
    {
        using var folder = new TemporaryFolder();
        await using DashboardProcess dashboard =
            await DashboardProcess.StartAsync(folder.Path, 0, "--Dashboard:Authentication:TokenRole", "viewer");
        IPage page = await fixture.NewPageAsync();
        await page.GotoAsync(dashboard.Link);
        await Assertions.Expect(page.GetByRole(AriaRole.Heading, new PageGetByRoleOptions { Name = "Experiments", Exact = true }))
            .ToBeVisibleAsync();
        await Assertions.Expect(page.GetByText("New experiment")).ToHaveCountAsync(0);
        await page.GotoAsync(dashboard.Address + "/new");
        await Assertions.Expect(page.GetByText("This is not open to you")).ToBeVisibleAsync();
        await Assertions.Expect(page.GetByLabel("Token")).ToHaveCountAsync(0);
    }

    [Fact]
    public async Task RunWhoseProcessDied_IsLost_WithoutATimeLeft()
    {
        (string run, string folder, _) = new SampleRuns(fixture.Runs).Write("died", Method.InfoNCE, SampleRuns.Until.Planned);
        var writer = new StageWriter(folder, run, "pretrain-rgb", DateTimeOffset.UtcNow.AddHours(-3));
        writer.Add(new StartedEvent { Run = "", Stage = "", Attempt = 1, Seq = 0, Time = default, Epochs = 6 });
        writer.Time = writer.Time.AddMinutes(5);
        writer.Add(
            new ProgressEvent
            {
                Run = "", Stage = "", Attempt = 1, Seq = 0, Time = default, Phase = "train", Done = 10, Total = 100, Unit = "steps",
                EtaSeconds = 600
            });
        writer.Save();
        IPage page = await fixture.OpenAsync("/?q=died");
        ILocator row = page.Locator("tr").Filter(new LocatorFilterOptions { HasText = run });
        await Assertions.Expect(row).ToContainTextAsync("Lost");
        await Assertions.Expect(row).Not.ToContainTextAsync("left");
        await page.GotoAsync($"/experiments/{run}");
        await Assertions.Expect(page.GetByText("its process is gone")).ToBeVisibleAsync();
        await Assertions.Expect(page.Locator(".figure").Filter(new LocatorFilterOptions { HasText = "at work" }))
            .ToContainTextAsync("5 min");
        await Assertions.Expect(page.GetByText("about 10 min left")).ToHaveCountAsync(0);
    }

    [Fact]
    public async Task NameOf170Letters_LeavesEveryColumnInSight()
    {
        string name = string.Concat(Enumerable.Repeat("sweep-of-many-things-", 8)) + "7";
        (string run, string folder, _) = new SampleRuns(fixture.Runs).Write("long", Method.InfoNCE, SampleRuns.Until.Planned);
        File.WriteAllText(
            Path.Combine(folder, "plan.json"),
            File.ReadAllText(Path.Combine(folder, "plan.json")).Replace("\"long\"", $"\"{name}\"", StringComparison.Ordinal));
        foreach (int width in (int[])[1440, 375])
        {
            IPage page = await fixture.OpenAsync("/?q=sweep-of-many", width: width);
            ILocator row = page.Locator("tbody tr").Filter(new LocatorFilterOptions { HasText = run });
            await Assertions.Expect(row.Locator("td").Last).ToBeInViewportAsync(new LocatorAssertionsToBeInViewportOptions { Ratio = 1 });
            await Assertions.Expect(row.Locator("td.name a")).ToContainTextAsync("things-7");
            await page.Context.CloseAsync();
        }
    }

    [Fact]
    public async Task Phone_ActiveTabAndMeasures_AreInSight()
    {
        IPage page = await fixture.OpenAsync($"/experiments/{fixture.Done}/manifest", width: 375, height: 812);
        await Assertions.Expect(page.Locator(".tabs .on")).ToBeInViewportAsync(new LocatorAssertionsToBeInViewportOptions { Ratio = 1 });
        await page.GotoAsync("/?q=demo-coclr");
        foreach (string measure in (string[])["Probe %", "R@1 %"])
        {
            await Assertions.Expect(page.Locator($"td[data-label='{measure}']").First)
                .ToBeInViewportAsync(new LocatorAssertionsToBeInViewportOptions { Ratio = 1 });
        }
    }

    [Fact]
    public async Task GraphOfOneStage_IsSmall()
    {
        string run = "one-stage-00000001", folder = Path.Combine(fixture.Runs, run);
        var writer = new StageWriter(folder, run, "decode", DateTimeOffset.UtcNow.AddMinutes(-1));
        writer.Add(new StartedEvent { Run = "", Stage = "", Attempt = 1, Seq = 0, Time = default });
        writer.Save();
        IPage page = await fixture.OpenAsync($"/experiments/{run}");
        await Assertions.Expect(page.Locator(".graph .node")).ToHaveCountAsync(1);
        Assert.InRange((await page.Locator(".graph .node").BoundingBoxAsync())!.Width, 60, 220);
    }
}
