// Why this exists: a flood of pages is refused with words while those that are open, and machines, go on.
using System.Net;
using CoCLR.Dashboard.Api;
using CoCLR.Dashboard.Tests.Fixtures;
using Microsoft.Extensions.DependencyInjection;

namespace CoCLR.Dashboard.Tests.Api;

public sealed class CircuitLimitTests
{
    [Fact]
    public async Task PagesBeyondTheLimit_AreRefusedUntilOneCloses()
    {
        await using DashboardServer server = await DashboardServer.StartAsync(null, "--Dashboard:Limits:Circuits", "2");
        var limit = server.App.Services.GetRequiredService<CircuitLimit>();
        using HttpClient browser = await server.BrowserAsync();
        await limit.OnConnectionUpAsync(null!, default);
        Assert.Equal(HttpStatusCode.OK, (await browser.GetAsync("/")).StatusCode);
        await limit.OnConnectionUpAsync(null!, default);

        using HttpResponseMessage page = await browser.GetAsync("/");
        Assert.Equal(HttpStatusCode.ServiceUnavailable, page.StatusCode);
        Assert.Contains("Dashboard:Limits:Circuits", await page.Content.ReadAsStringAsync(), StringComparison.Ordinal);
        Assert.Equal(
            HttpStatusCode.ServiceUnavailable, (await browser.PostAsync("/_blazor/negotiate?negotiateVersion=1", null)).StatusCode);
        Assert.Equal(HttpStatusCode.OK, (await browser.GetAsync("/api/v1/runs")).StatusCode);
        Assert.Equal(HttpStatusCode.OK, (await browser.GetAsync("/healthz")).StatusCode);

        await limit.OnConnectionDownAsync(null!, default);
        Assert.Equal(HttpStatusCode.OK, (await browser.GetAsync("/")).StatusCode);
    }
}
