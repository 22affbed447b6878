// Why this exists: during training a person sees whether it learns, what is slow, and in words when it does not learn any more.
using CoCLR.Core.Events;
using CoCLR.Core.Manifests;
using CoCLR.Dashboard.Tests.Fixtures;
using Microsoft.Playwright;

namespace CoCLR.EndToEnd.Tests.Browser;

[Collection(nameof(BrowserFixture))]
public sealed class LearningBrowserTests(BrowserFixture fixture)
{
    [Fact]
    public async Task Overview_ShowsHowHeldOutVideosDo_AndSystemWhereTheTimeGoes()
    {
        IPage page = await fixture.OpenAsync($"/experiments/{fixture.Live}");
        ILocator watched = page.GetByRole(AriaRole.Region, new PageGetByRoleOptions { Name = "Is it learning?" });
        await Assertions.Expect(watched.GetByText("kNN on held-out training videos")).ToBeVisibleAsync();
        await Assertions.Expect(watched.Locator("figure.chart[data-points]:not([data-points='0'])")).ToHaveCountAsync(2);
        await page.GotoAsync($"/experiments/{fixture.Done}/system");
        ILocator time = page.GetByRole(AriaRole.Region, new PageGetByRoleOptions { Name = "Where the time goes" });
        await Assertions.Expect(time.GetByText("waiting for data").First).ToBeVisibleAsync();
        await Assertions.Expect(time.GetByText("looking at the representation").First).ToBeVisibleAsync();
    }

    [Fact]
    public async Task LossBecomesNaN_AndCollapse_AreSaidWithWhatToTry()
    {
        (string run, string folder, _) = new SampleRuns(fixture.Runs).Write("sick", Method.InfoNCE, SampleRuns.Until.Planned);
        var writer = new StageWriter(folder, run, "pretrain-rgb", DateTimeOffset.UtcNow.AddMinutes(-1));
        writer.Add(new StartedEvent { Run = "", Stage = "", Attempt = 1, Seq = 0, Time = default, Epochs = 6 });
        for (int step = 0; step < 100; step++)
        {
            writer.Add(Metric(step, MetricNames.Loss, step < 60 ? 2 : double.NaN));
        }

        writer.Save();
        IPage page = await fixture.OpenAsync($"/experiments/{run}");
        await Assertions.Expect(
            page.GetByRole(AriaRole.Alert).Filter(new LocatorFilterOptions { HasText = "the loss is NaN since step 60" }))
            .ToBeVisibleAsync();
        writer.Add(Metric(100, MetricNames.MonitorCollapsed, 1));
        writer.Save();
        await Assertions.Expect(page.GetByRole(AriaRole.Alert).Filter(new LocatorFilterOptions { HasText = "has collapsed" }))
            .ToContainTextAsync("try");
    }

    private static MetricEvent Metric(int step, string name, double value) => new()
    {
        Run = "", Stage = "", Attempt = 1, Seq = 0, Time = default, Step = step, Epoch = step / 20.0,
        Values = new Dictionary<string, double> { [name] = value },
    };
}
