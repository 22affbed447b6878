// Why this exists: a suite's verdict by URL: for scripts, for a README, and closed to strangers unless it is opened.
using System.Net;
using System.Text.Json;
using System.Xml.Linq;
using CoCLR.Core.Manifests;
using CoCLR.Dashboard.Api;
using CoCLR.Dashboard.Hosting;
using CoCLR.Dashboard.Tests.Fixtures;

namespace CoCLR.Dashboard.Tests.Api;

public sealed class SuiteApiTests
{
    private static async Task<(DashboardServer Server, TemporaryFolder Folder)> StartAsync(string minimum, params string[] more)
    {
        var folder = new TemporaryFolder();
        await File.WriteAllTextAsync(Path.Combine(folder.Path, "guard.yaml"), $$"""
            apiVersion: coclr.dev/v1alpha1
            kind: CoCLRBenchmark
            metadata: {name: guard}
            spec:
              template: {dataset: {source: {synthetic: {} } }, views: [RGB], training: {method: InfoNCE} }
              expect: [{measure: linearProbeTop1, minimum: "{{minimum}}"}]
            """);
        BenchmarkSpec suite =
            ManifestReader.ReadBenchmark(await File.ReadAllTextAsync(Path.Combine(folder.Path, "guard.yaml"))).Manifest!.Spec;
        new SampleRuns(folder.Path).Write(Assert.Single(BenchmarkRules.Expand("guard", suite)).Name, Method.InfoNCE);
        DashboardServer server = await DashboardServer.StartAsync(folder.Path, more);
        using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(60));
        while (!server.Store.Runs.Any(r => r.State == CoCLR.Dashboard.Storage.RunState.Succeeded))
        {
            await Task.Delay(20, limit.Token);
        }

        return (server, folder);
    }

    [Theory]
    [InlineData("0.01", true, "1 met", "- met: ")]
    [InlineData("1", false, "not met", "- not met: ")]
    public async Task Suite_SaysWhetherItIsMet(string minimum, bool met, string badge, string line)
    {
        (DashboardServer server, TemporaryFolder folder) = await StartAsync(minimum);
        await using DashboardServer _ = server;
        using TemporaryFolder __ = folder;
        using HttpClient viewer = server.Role("viewer");
        JsonElement verdict = JsonDocument.Parse(await viewer.GetStringAsync("/api/v1/suites/guard")).RootElement;
        Assert.Equal(
            (met, 1, 1),
            (
                verdict.GetProperty("met").GetBoolean(),
                verdict.GetProperty("experiments").GetInt32(),
                verdict.GetProperty("finished").GetInt32()));
        using HttpResponseMessage drawn = await viewer.GetAsync("/api/v1/suites/guard/badge.svg");
        Assert.Equal("image/svg+xml", drawn.Content.Headers.ContentType!.MediaType);
        XElement svg = XElement.Parse(await drawn.Content.ReadAsStringAsync());
        Assert.Equal($"guard: {badge}", svg.Attribute("aria-label")!.Value);
        string markdown = await viewer.GetStringAsync("/api/v1/suites/guard/table.md");
        Assert.StartsWith("| cell | view |", markdown, StringComparison.Ordinal);
        Assert.Contains(line, markdown, StringComparison.Ordinal);
        Assert.Equal(HttpStatusCode.NotFound, (await viewer.GetAsync("/api/v1/suites/nothing/badge.svg")).StatusCode);
    }

    [Theory]
    [InlineData("false", HttpStatusCode.Unauthorized)]
    [InlineData("true", HttpStatusCode.OK)]
    public async Task BadgeAndTable_AreForStrangersOnlyWhenOpened(string open, HttpStatusCode expected)
    {
        (DashboardServer server, TemporaryFolder folder) = await StartAsync("0.01", "--Dashboard:PublicBadges", open);
        await using DashboardServer _ = server;
        using TemporaryFolder __ = folder;
        using HttpClient stranger = server.Anonymous();
        foreach (string path in new[] { "badge.svg", "table.md" })
        {
            using HttpResponseMessage answer = await stranger.GetAsync("/api/v1/suites/guard/" + path);
            Assert.Equal(expected, answer.StatusCode);
        }

        Assert.Equal(HttpStatusCode.Unauthorized, (await stranger.GetAsync("/api/v1/suites/guard")).StatusCode);
    }

    [Fact]
    public void Badge_OfAnyName_IsWellFormed()
    {
        string svg = SuiteEndpoints.Badge(new SuiteVerdict("<a&b>\"", 2, 1, 0, null, []));
        Assert.Equal("<a&b>\": 1/2 done", XElement.Parse(svg).Attribute("aria-label")!.Value);
    }
}
