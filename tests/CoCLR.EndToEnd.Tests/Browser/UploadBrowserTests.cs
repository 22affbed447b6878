// Why this exists: what only a real browser does: it sends an upload in hundreds of pieces through the hub of the page, and follows links
// of other sites.
using System.Diagnostics;
using System.Net;
using System.Security.Cryptography;
using CoCLR.Core.Manifests;
using CoCLR.Dashboard.Tests.Fixtures;
using Microsoft.Playwright;

namespace CoCLR.EndToEnd.Tests.Browser;

public sealed class UploadBrowserTests : IAsyncLifetime
{
    private readonly TemporaryFolder _folder = new();
    private IPlaywright? _playwright;
    private IBrowser? _browser;
    private Process? _dashboard;
    private string _link = "";

    private string Address => new Uri(_link).GetLeftPart(UriPartial.Authority);

    public async ValueTask InitializeAsync()
    {
        Assert.SkipWhen(Chromium.Program is null, "no Chromium on this machine: install it, or set COCLR_CHROMIUM");
        _playwright = await Playwright.CreateAsync();
        _browser = await Chromium.LaunchAsync(_playwright);
    }

    // From about 15 MB on the pieces came in another order than they were sent, and the page waited for ever.
    [Fact]
    public async Task Video_Of40MB_ArrivesWholeAndErrorsNameIt()
    {
        (string run, string runFolder, _) = new SampleRuns(_folder["runs"]).Write("done", Method.InfoNCE, epochs: 2, previews: false);
        SampleRuns.WriteGallery(runFolder, "pretrain-rgb");
        string command = _folder["coclr"], video = _folder["my film.mp4"];
        await File.WriteAllTextAsync(
            command,
            "#!/bin/sh\nf=$(ls \"$2\")\necho \"The video cannot be used: $f: sum $(sha256sum < \"$2/$f\" | cut -c1-64)\" >&2\nexit 65\n");
        File.SetUnixFileMode(command, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
        byte[] bytes = RandomNumberGenerator.GetBytes(40 << 20);
        await File.WriteAllBytesAsync(video, bytes);

        await StartAsync(_folder["runs"], "--Dashboard:CoclrCommand", command);
        IPage page = await Chromium.NewPageAsync(_browser!);
        await page.GotoAsync(_link);
        await page.GotoAsync($"{Address}/experiments/{run}/retrieval");
        await Assertions.Expect(page.GetByLabel("Video to search by")).ToBeEnabledAsync();
        await page.GetByLabel("Video to search by").SetInputFilesAsync(video);
        ILocator problem = page.GetByText("The video cannot be used: “my film.mp4”: sum ");
        await problem.WaitForAsync(new LocatorWaitForOptions { Timeout = 240_000 });
        Assert.Contains(Convert.ToHexStringLower(SHA256.HashData(bytes)), await problem.InnerTextAsync(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Link_OnAnotherSite_LeadsToThePageAndNotToTheSignIn()
    {
        await StartAsync(_folder.Path);
        IPage page = await Chromium.NewPageAsync(_browser!);
        await page.GotoAsync(_link);
        using var other = new HttpListener();
        int port = FreePort();
        other.Prefixes.Add($"http://localhost:{port}/");
        other.Start();
        Task serve = Task.Run(async () =>
        {
            HttpListenerContext context = await other.GetContextAsync();
            context.Response.ContentType = "text/html";
            await context.Response.OutputStream.WriteAsync(
                System.Text.Encoding.UTF8.GetBytes($"<a href='{Address}/benchmarks'>the benchmarks</a>"));
            context.Response.Close();
        });
        await page.GotoAsync($"http://localhost:{port}/"); // another site to a browser: not 127.0.0.1
        await serve;
        await page.GetByText("the benchmarks").ClickAsync();
        await Assertions.Expect(page.GetByRole(AriaRole.Heading, new PageGetByRoleOptions { Name = "Benchmarks" })).ToBeVisibleAsync();
    }

    public async ValueTask DisposeAsync()
    {
        if (_browser != null)
        {
            await _browser.DisposeAsync();
        }

        _playwright?.Dispose();
        if (_dashboard is { HasExited: false })
        {
            _dashboard.Kill();
            await _dashboard.WaitForExitAsync();
        }

        _dashboard?.Dispose();
        _folder.Dispose();
    }

    private async Task StartAsync(string workDir, params string[] settings)
    {
        Directory.CreateDirectory(workDir);
        string[] arguments =
        [
            Path.Combine(AppContext.BaseDirectory, "CoCLR.Dashboard.dll"), "--workdir", workDir, "--urls", "http://127.0.0.1:0", .. settings
        ];
        _dashboard = Process.Start(new ProcessStartInfo("dotnet", arguments) { RedirectStandardOutput = true })!;
        while (await _dashboard.StandardOutput.ReadLineAsync() is { } line)
        {
            if (line.StartsWith("Dashboard: ", StringComparison.Ordinal))
            {
                _link = line["Dashboard: ".Length..];
                break;
            }
        }

        _ = _dashboard.StandardOutput.ReadToEndAsync();
    }

    private static int FreePort()
    {
        using var listener = new System.Net.Sockets.TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        return ((IPEndPoint)listener.LocalEndpoint).Port;
    }
}
