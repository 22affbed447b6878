// Why this exists: the real server on a real port, in a folder of its own, for tests of API, hub and sign-in.
using System.IO.Compression;
using System.Net;
using System.Net.Http.Headers;
using System.Text;
using System.Text.Json;
using CoCLR.Core;
using CoCLR.Core.Events;
using CoCLR.Dashboard.Authentication;
using CoCLR.Dashboard.Storage;
using Microsoft.AspNetCore.Builder;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;

namespace CoCLR.Dashboard.Tests.Fixtures;

/// <summary>A running dashboard.</summary>
public sealed class DashboardServer : IAsyncDisposable
{
    /// <summary>The token of the link.</summary>
    public const string Token = "a-token-of-more-than-22-characters";

    private readonly TemporaryFolder? _own;

    private DashboardServer(WebApplication app, string folder, TemporaryFolder? own)
    {
        (App, Folder, _own) = (app, folder, own);
        Address = new Uri(app.Urls.First());
    }

    /// <summary>The application.</summary>
    public WebApplication App { get; }

    /// <summary>Work folder.</summary>
    public string Folder { get; }

    /// <summary>Address.</summary>
    public Uri Address { get; }

    /// <summary>The store.</summary>
    public RunStore Store => App.Services.GetRequiredService<RunStore>();

    /// <summary>Starts one.</summary>
    public static async Task<DashboardServer> StartAsync(string? folder = null, params string[] more)
    {
        TemporaryFolder? own = folder is null ? new TemporaryFolder() : null;
        folder ??= own!.Path;
        Directory.CreateDirectory(folder);
        WebApplication app = DashboardApp.Build(
            [
                "--workdir", folder, "--urls", "http://127.0.0.1:0", "--Dashboard:Authentication:Token", Token, "--Dashboard:Ingest:Key",
                "an-ingest-key-of-22-characters", "--Dashboard:CoclrCommand", "/bin/true", .. more
            ],
            b => b.Logging.SetMinimumLevel(LogLevel.Error));
        await app.StartAsync();
        return new DashboardServer(app, folder, own);
    }

    /// <summary>A client that is signed in as nobody.</summary>
    public HttpClient Anonymous(bool redirects = false, CookieContainer? cookies = null) => new(new SocketsHttpHandler
    {
        AllowAutoRedirect = redirects,
        CookieContainer = cookies ?? new CookieContainer(),
        Expect100ContinueTimeout = TimeSpan.FromMinutes(1), // A client that asks first waits for the answer, also on a busy machine.
    })
    { BaseAddress = Address };

    /// <summary>A client with a token in its header.</summary>
    public HttpClient With(string token)
    {
        HttpClient client = Anonymous();
        client.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", token);
        return client;
    }

    /// <summary>A client with the rights of the configured token (admin).</summary>
    public HttpClient Admin() => With(Token);

    /// <summary>A client with an API token of a role.</summary>
    public HttpClient Role(string role, params string[] namespaces) =>
        With(App.Services.GetRequiredService<Tokens>().CreateApi("test", role, namespaces, null).Secret);

    /// <summary>A client that may send the events of one run.</summary>
    public HttpClient Sender(string run, string? space = null) =>
        With(App.Services.GetRequiredService<Tokens>().ForRun(run, TimeSpan.FromHours(1), space));

    /// <summary>A browser's session.</summary>
    public async Task<HttpClient> BrowserAsync()
    {
        HttpClient client = Anonymous();
        using HttpResponseMessage answer = await client.GetAsync($"/login/link?t={Token}");
        Assert.Equal(HttpStatusCode.Redirect, answer.StatusCode);
        return client;
    }

    /// <summary>A body of events, packed.</summary>
    public static ByteArrayContent Batch(params IEnumerable<RunEvent> events) =>
        Packed(string.Concat(events.Select(e => JsonSerializer.Serialize(e, CoclrJson.Compact) + "\n")));

    /// <summary>A text, packed.</summary>
    public static ByteArrayContent Packed(string text)
    {
        using var packed = new MemoryStream();
        using (var gzip = new GZipStream(packed, CompressionLevel.Fastest, leaveOpen: true))
        {
            gzip.Write(Encoding.UTF8.GetBytes(text));
        }

        var content = new ByteArrayContent(packed.ToArray());
        content.Headers.ContentType = new MediaTypeHeaderValue("application/x-ndjson");
        content.Headers.ContentEncoding.Add("gzip");
        return content;
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        await App.StopAsync();
        await App.DisposeAsync();
        _own?.Dispose();
    }
}
