// Why this exists: from watching to deciding in a real browser: neighbours over epochs, confusion, ranges of a sweep, the manifest by its lines, a package to give away.
using System.IO.Compression;
using CoCLR.Core.Manifests;
using CoCLR.Dashboard.Tests.Fixtures;
using Microsoft.Playwright;

namespace CoCLR.EndToEnd.Tests.Browser;

[Collection(nameof(BrowserFixture))]
public sealed class DecidingBrowserTests(BrowserFixture fixture)
{
    [Fact]
    public async Task Neighbours_OverEpochs_ByTheSlider_SayWhatIsNew()
    {
        IPage page = await fixture.OpenAsync($"/experiments/{fixture.Done}/retrieval");
        await page.GetByRole(AriaRole.Button, new PageGetByRoleOptions { Name = "While it learned" }).ClickAsync();
        ILocator epoch = page.GetByRole(AriaRole.Slider, new PageGetByRoleOptions { Name = "Epoch" });
        await Assertions.Expect(epoch).ToHaveAttributeAsync("aria-valuetext", "epoch 6");
        await Assertions.Expect(page.GetByRole(AriaRole.Status).Filter(new LocatorFilterOptions { HasText = "neighbours are new" })).ToBeVisibleAsync();
        await Assertions.Expect(page.Locator(".clip .meta").Filter(new LocatorFilterOptions { HasText = "new" }).First).ToBeVisibleAsync();
        await epoch.FocusAsync();
        await page.Keyboard.PressAsync("Home");
        await page.WaitForURLAsync("**epoch=1*");
        await Assertions.Expect(epoch).ToHaveAttributeAsync("aria-valuetext", "epoch 1");
        await Assertions.Expect(page.Locator(".clip .meta").Filter(new LocatorFilterOptions { HasText = "new" })).ToHaveCountAsync(0);
        await page.Keyboard.PressAsync("ArrowRight");
        await page.WaitForURLAsync("**epoch=2*");

        // A run that learns has no test videos yet: what was seen on the way is shown at once.
        IPage live = await fixture.OpenAsync($"/experiments/{fixture.Live}/retrieval");
        await Assertions.Expect(live.GetByRole(AriaRole.Slider, new PageGetByRoleOptions { Name = "Epoch" })).ToBeVisibleAsync();
    }

    [Theory]
    [InlineData(1440)]
    [InlineData(375)]
    public async Task Confusion_FillsItsCard_InCountsAndPercent_AndACellLeadsToItsClips(int width)
    {
        IPage page = await fixture.OpenAsync($"/experiments/{fixture.Done}/probe", ColorScheme.Dark, width);
        ILocator card = page.GetByRole(AriaRole.Region, new PageGetByRoleOptions { Name = "Confusion", Exact = true });
        ILocator cell = card.GetByRole(AriaRole.Button, new LocatorGetByRoleOptions { NameRegex = new(@"^[1-9]\d* of circle taken for circle") });
        string count = await cell.InnerTextAsync();
        await card.GetByRole(AriaRole.Button, new LocatorGetByRoleOptions { Name = "Percent" }).ClickAsync();
        await page.WaitForURLAsync("**cells=percent*");
        await Assertions.Expect(cell).Not.ToHaveTextAsync(count);
        Assert.True((await card.GetByRole(AriaRole.Table).BoundingBoxAsync())!.Width > 0.85 * (await card.BoundingBoxAsync())!.Width);
        await cell.PressAsync("Enter");
        await Assertions.Expect(page.GetByText("circle, recognised")).ToBeVisibleAsync();
    }

    [Fact]
    public async Task Chart_IsPinned_StandsOnTheOverviewOfEveryRun()
    {
        IPage page = await fixture.OpenAsync($"/experiments/{fixture.Done}/curves");
        ILocator pin = page.GetByRole(AriaRole.Button, new PageGetByRoleOptions { Name = "Pin to the overview: Learning rate" });
        await pin.PressAsync("Enter");
        await Assertions.Expect(pin).ToHaveAttributeAsync("aria-pressed", "true");
        await page.GotoAsync($"/experiments/{fixture.Other}");
        ILocator pinned = page.GetByRole(AriaRole.Region, new PageGetByRoleOptions { Name = "Pinned" });
        await Assertions.Expect(pinned.GetByText("Learning rate", new LocatorGetByTextOptions { Exact = true })).ToBeVisibleAsync();
        await page.GotoAsync($"/experiments/{fixture.Done}/curves");
        await pin.PressAsync("Enter");
        await Assertions.Expect(pin).ToHaveAttributeAsync("aria-pressed", "false");
    }

    [Fact]
    public async Task Panels_OfALayout_AreThoseChosen_OnAnyRun()
    {
        IPage page = await fixture.OpenAsync($"/experiments/{fixture.Done}/curves?panels=learning-rate,loss");
        ILocator titles = page.Locator(".chart-title");
        await Assertions.Expect(titles).ToHaveTextAsync(["Learning rate", "Loss"]);
        await page.GetByRole(AriaRole.Button, new PageGetByRoleOptions { Name = "Panels" }).ClickAsync();
        ILocator shown = page.GetByRole(AriaRole.List, new PageGetByRoleOptions { Name = "Shown" });
        await shown.GetByRole(AriaRole.Button, new LocatorGetByRoleOptions { NameRegex = new("^Take .* away") }).First.ClickAsync();
        await page.GetByRole(AriaRole.Button, new PageGetByRoleOptions { Name = "Show", Exact = true }).ClickAsync();
        await Assertions.Expect(titles).ToHaveTextAsync(["Loss"]);
        await page.GetByRole(AriaRole.Button, new PageGetByRoleOptions { Name = "Layouts" }).ClickAsync();
        await page.GetByText("Save this layout…").ClickAsync();
        await page.GetByLabel("Name").FillAsync("two of them");
        await page.GetByRole(AriaRole.Button, new PageGetByRoleOptions { Name = "Save", Exact = true }).ClickAsync();

        await page.GotoAsync($"/experiments/{fixture.Other}/curves");
        await Assertions.Expect(titles).Not.ToHaveTextAsync(["Loss"]);
        await page.GetByRole(AriaRole.Button, new PageGetByRoleOptions { Name = "Layouts" }).ClickAsync();
        await page.GetByText("two of them", new PageGetByTextOptions { Exact = true }).ClickAsync();
        await Assertions.Expect(titles).ToHaveTextAsync(["Loss"]);
    }

    [Fact]
    public async Task ParallelCoordinates_RangeOfAnAxis_LeavesTheRunsWithinIt()
    {
        IPage page = await fixture.OpenAsync($"/compare?runs={fixture.Done},{fixture.Other},{fixture.Live}");
        ILocator axis = page.GetByRole(AriaRole.Slider, new PageGetByRoleOptions { Name = "Range of probe %" });
        await axis.FocusAsync();
        for (int press = 0; press < 3; press++)
        {
            await page.Keyboard.PressAsync("ArrowUp");
            await Assertions.Expect(axis).ToHaveAttributeAsync("aria-valuetext", $"from {(press + 1) * 5} to 100 percent of the axis");
        }

        // The run that is not measured and the worst one are out.
        await Assertions.Expect(page.GetByText("1 of 3 runs")).ToBeVisibleAsync();
        await page.WaitForURLAsync("**brush=*");
        await page.ReloadAsync();
        await Assertions.Expect(page.GetByText("1 of 3 runs")).ToBeVisibleAsync();
        await Assertions.Expect(page.Locator("svg.parallel path.out")).ToHaveCountAsync(2);

        // By pointer: drawn along the axis, and taken away by a click on it.
        await axis.ScrollIntoViewIfNeededAsync();
        LocatorBoundingBoxResult box = (await axis.BoundingBoxAsync())!;
        float x = box.X + (box.Width / 2);
        await page.Mouse.ClickAsync(x, box.Y + (box.Height / 2));
        await Assertions.Expect(page.Locator("svg.parallel path.out")).ToHaveCountAsync(0);
        await page.Mouse.MoveAsync(x, box.Y + box.Height - 2);
        await page.Mouse.DownAsync();
        await page.Mouse.MoveAsync(x, box.Y + (box.Height / 2), new MouseMoveOptions { Steps = 4 });
        await page.Mouse.UpAsync();
        await Assertions.Expect(page.Locator("svg.parallel path.out")).ToHaveCountAsync(2);
    }

    [Fact]
    public async Task Manifest_ProblemLeadsToItsLine_AndOnlyTheChosenSourceHasFields()
    {
        IPage page = await fixture.OpenAsync("/new", ColorScheme.Dark);
        ILocator yaml = page.GetByLabel("Manifest as YAML");
        await Assertions.Expect(page.Locator(".gutter span").First).ToHaveTextAsync("1");
        string[] lines = ["apiVersion: coclr.dev/v1alpha1", "kind: CoCLRExperiment", "metadata:", "  name: lines", "spec:", "  dataset:", "    source:", "      synthetic: {}", "  training:", "    epochs: many"];
        await yaml.FillAsync(string.Join('\n', lines));
        await page.GetByRole(AriaRole.Alert).GetByRole(AriaRole.Button, new LocatorGetByRoleOptions { Name = "line 10" }).PressAsync("Enter");
        await Assertions.Expect(page.Locator(".gutter .wrong")).ToHaveTextAsync("10");
        Assert.Equal("    epochs: many", await yaml.EvaluateAsync<string>("t => t.value.slice(t.selectionStart, t.selectionEnd)"));
        await Assertions.Expect(yaml).ToBeFocusedAsync();

        await Assertions.Expect(page.GetByLabel("Synthetic: classes")).ToBeVisibleAsync();
        await Assertions.Expect(page.GetByLabel("Path", new PageGetByLabelOptions { Exact = true })).ToHaveCountAsync(0);
        await page.GetByLabel("Source of videos").SelectOptionAsync("path");
        await Assertions.Expect(page.GetByLabel("Synthetic: classes")).ToHaveCountAsync(0);
        await Assertions.Expect(yaml).ToHaveValueAsync(new System.Text.RegularExpressions.Regex("path:"));
    }

    [Fact]
    public async Task DataFolder_IsLookedAtBeforehand_AndAPackageIsSaved()
    {
        using var folder = new TemporaryFolder();
        string command = folder["coclr.sh"];
        // What the command says and writes; the command itself has tests of its own.
        File.WriteAllText(command, "#!/bin/sh\nif [ \"$1\" = data ]; then for f; do :; done; echo \"$f: 3 videos\"; exit 0; fi\nmkdir -p \"$3\"; echo weights > \"$3/model.safetensors\"; echo \"$@\" > \"$3/README.md\"\n");
        File.SetUnixFileMode(command, UnixFileMode.UserRead | UnixFileMode.UserExecute | UnixFileMode.UserWrite);
        (string run, string at, _) = new SampleRuns(folder["work/runs"]).Write("given-away", Method.InfoNCE, epochs: 2, previews: false);
        File.WriteAllText(Path.Combine(at, "stages", "pretrain-rgb", "checkpoint.safetensors"), "weights");
        await using DashboardProcess dashboard = await DashboardProcess.StartAsync(folder["work"], 0, "--Dashboard:CoclrCommand", command);
        IPage page = await fixture.NewPageAsync();
        await page.GotoAsync(dashboard.Link);
        await page.GotoAsync(dashboard.Address + "/new");
        await page.GetByLabel("Source of videos").SelectOptionAsync("path");
        ILocator path = page.GetByLabel("Path", new PageGetByLabelOptions { Exact = true });
        await path.FillAsync("/data/my videos");
        await path.PressAsync("Tab");
        await page.GetByRole(AriaRole.Button, new PageGetByRoleOptions { Name = "What is in it?" }).ClickAsync();
        await Assertions.Expect(page.GetByText("/data/my videos: 3 videos")).ToBeVisibleAsync();

        await page.GotoAsync($"{dashboard.Address}/experiments/{run}");
        await page.GetByRole(AriaRole.Button, new PageGetByRoleOptions { Name = "Export…" }).ClickAsync();
        await page.GetByLabel("Licence of the weights").FillAsync("cc-by-4.0");
        IDownload file = await page.RunAndWaitForDownloadAsync(() => page.GetByRole(AriaRole.Link, new PageGetByRoleOptions { Name = "Download" }).ClickAsync());
        using ZipArchive archive = await ZipFile.OpenReadAsync(await file.PathAsync());
        Assert.Contains(archive.Entries, e => e.FullName == "given-away-pretrain-rgb/model.safetensors");
        using var card = new StreamReader(archive.GetEntry("given-away-pretrain-rgb/README.md")!.Open());
        Assert.Contains("--license=cc-by-4.0", await card.ReadToEndAsync(), StringComparison.Ordinal);
    }
}
