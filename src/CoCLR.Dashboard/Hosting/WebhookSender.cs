// Why this exists: a message to a webhook can be verified by its receiver, is tried again, and never becomes a way into the dashboard's own
// network.
using System.Globalization;
using System.Net;
using System.Net.Http.Headers;
using System.Net.Sockets;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using CoCLR.Core;
using CoCLR.Dashboard.Configuration;
using Microsoft.Extensions.Options;

namespace CoCLR.Dashboard.Hosting;

/// <summary>Sends notices to webhooks.</summary>
internal sealed class WebhookSender : IDisposable
{
    private static readonly TimeSpan[] Waits =
        [TimeSpan.FromSeconds(1), TimeSpan.FromSeconds(10), TimeSpan.FromMinutes(1), TimeSpan.FromMinutes(10), TimeSpan.FromHours(1)];
    private readonly WebhookSettings _settings;
    private readonly HttpClient _client;
    private readonly TimeProvider _time;
    private readonly ILogger<WebhookSender> _logger;

    /// <summary>Creates the sender.</summary>
    /// <param name="options">Settings.</param>
    /// <param name="time">Clock.</param>
    /// <param name="logger">Logger.</param>
    public WebhookSender(IOptions<DashboardOptions> options, TimeProvider time, ILogger<WebhookSender> logger)
    {
        _settings = options.Value.Webhooks;
        _time = time;
        _logger = logger;

        // No redirects, no proxy: the address that was checked is the address that is spoken to.
        _client = new HttpClient(
            new SocketsHttpHandler
            {
                AllowAutoRedirect = false, UseProxy = false, UseCookies = false, ConnectCallback = ConnectAsync,
                MaxResponseHeadersLength = 16
            })
        {
            Timeout = TimeSpan.FromSeconds(15),
        };
    }

    /// <summary>Sends a notice, and tries again while the receiver is away or in trouble.</summary>
    /// <param name="target">Where to.</param>
    /// <param name="notice">What.</param>
    /// <param name="stop">Ends it.</param>
    public async Task SendAsync(WebhookTarget target, Notice notice, CancellationToken stop)
    {
        string body = Body(target, notice), delivery = Guid.NewGuid().ToString();
        for (int attempt = 0; ; attempt++)
        {
            (bool done, string? problem) = await TryAsync(target, notice.Event, body, delivery, stop).ConfigureAwait(false);
            if (problem == null)
            {
                return;
            }

            if (done || attempt == Waits.Length)
            {
                _logger.LogWarning(
                    "The webhook at {Host} was not told that {Run} is {Event}: {Problem}",
                    new Uri(target.Url).Host,
                    notice.Run.Run,
                    notice.Event,
                    problem);
                return;
            }

            await Task.Delay(Waits[attempt], _time, stop).ConfigureAwait(false);
        }
    }

    /// <summary>The signature of a body: HMAC-SHA256 of the time, a dot and the body, in hexadecimal.</summary>
    /// <param name="secret">The shared secret.</param>
    /// <param name="seconds">Unix time in seconds.</param>
    /// <param name="body">The body.</param>
    public static string Signature(string secret, long seconds, string body) =>
        Convert.ToHexStringLower(
            HMACSHA256.HashData(
                Encoding.UTF8.GetBytes(secret), Encoding.UTF8.GetBytes(string.Create(CultureInfo.InvariantCulture, $"{seconds}.{body}"))));

    /// <summary>Whether an address is one of the public internet.</summary>
    /// <param name="address">The address.</param>
    public static bool IsPublic(IPAddress address)
    {
        address = address.IsIPv4MappedToIPv6 ? address.MapToIPv4() : address;
        if (address.AddressFamily == AddressFamily.InterNetworkV6)
        {
            // Global unicast only, without the forms that carry an IPv4 address inside (6to4, Teredo, NAT64) and without documentation's.
            byte[] b = address.GetAddressBytes();
            return (b[0] & 0xE0) == 0x20 && !(b[0] == 0x20 && b[1] == 0x02) && !(b[0] == 0x20 && b[1] == 0x01 && b[2] < 0x02)
                && !(b[0] == 0x20 && b[1] == 0x01 && b[2] == 0x0D && b[3] == 0xB8);
        }

        return !Special.Any(n => n.Contains(address));
    }

    /// <inheritdoc/>
    public void Dispose() => _client.Dispose();

    // RFC 6890: this network, private, shared, loopback, link-local (with the metadata services of clouds), protocol, documentation,
    // benchmarks, multicast, reserved.
    private static readonly IPNetwork[] Special =
    [
        .. new[]
        {
            "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24",
            "192.88.99.0/24", "192.168.0.0/16",
            "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
        }.Select(n => IPNetwork.Parse(n)),
    ];

    private async Task<(bool Done, string? Problem)> TryAsync(
        WebhookTarget target, string happened, string body, string delivery, CancellationToken stop)
    {
        try
        {
            using var request = new HttpRequestMessage(HttpMethod.Post, target.Url) { Content = new StringContent(body, Encoding.UTF8, "application/json") };
            request.Headers.UserAgent.Add(new ProductInfoHeaderValue("coclr-dashboard", null));
            request.Headers.Add("X-Coclr-Event", happened);
            request.Headers.Add("X-Coclr-Delivery", delivery);
            if (target.Secret.Length > 0)
            {
                long seconds = _time.GetUtcNow().ToUnixTimeSeconds();
                request.Headers.Add(
                    "X-Coclr-Signature",
                    string.Create(CultureInfo.InvariantCulture, $"t={seconds},v1={Signature(target.Secret, seconds, body)}"));
            }

            using HttpResponseMessage answer = await _client.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, stop)
                .ConfigureAwait(false);
            int code = (int)answer.StatusCode;

            // What the receiver does not understand it will not understand the next time either.
            return code is >= 200 and < 300 ? (true, null) : (code is >= 300 and < 500 and not (408 or 425 or 429), $"it answered {code}");
        }
        catch (HttpRequestException e) when (e.InnerException is AddressRefusedException refused)
        {
            return (true, refused.Message);
        }
        catch (Exception e) when (e is HttpRequestException or TaskCanceledException && !stop.IsCancellationRequested)
        {
            return (false, e.Message);
        }
    }

    private string Body(WebhookTarget target, Notice notice)
    {
        string page =
            _settings.DashboardUrl.Length == 0 ? "" : $"{_settings.DashboardUrl.TrimEnd('/')}/{Formatting.Links.Run(notice.Run.Run)}";
        string name = notice.Run.Experiment.Length > 0 ? notice.Run.Experiment : notice.Run.Run;
        string text = $"{Slack(name)} is {notice.Event}: {Slack(notice.Message)}{(page.Length == 0 ? "" : $" <{page}|open>")}";
        return target.Format == WebhookFormat.Slack
            ? JsonSerializer.Serialize(new { text }, CoclrJson.Compact)
            : JsonSerializer.Serialize(
                new
                {
                    text, @event = notice.Event, notice.Run.Run, notice.Run.Experiment, notice.Run.Namespace, notice.Message, Url = page,
                    Time = notice.At
                },
                CoclrJson.Compact);
    }

    // The three characters that Slack reads as markup.
    private static string Slack(string text) => text.Replace("&", "&amp;", StringComparison.Ordinal)
        .Replace("<", "&lt;", StringComparison.Ordinal).Replace(">", "&gt;", StringComparison.Ordinal);

    // Names are resolved here and the addresses looked at, so that a name that points inwards, or does from the second question on, leads
    // nowhere.
    private async ValueTask<Stream> ConnectAsync(SocketsHttpConnectionContext context, CancellationToken cancel)
    {
        IPAddress[] found = await Dns.GetHostAddressesAsync(context.DnsEndPoint.Host, cancel).ConfigureAwait(false);
        IPAddress[] allowed = _settings.AllowPrivateAddresses ? found : [.. found.Where(IsPublic)];
        if (allowed.Length == 0)
        {
            throw new AddressRefusedException(
                $"{context.DnsEndPoint.Host} has no public address; set Dashboard:Webhooks:AllowPrivateAddresses to true if it is meant");
        }

        var socket = new Socket(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        try
        {
            await socket.ConnectAsync(allowed, context.DnsEndPoint.Port, cancel).ConfigureAwait(false);
            return new NetworkStream(socket, ownsSocket: true);
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }

    private sealed class AddressRefusedException(string message) : IOException(message);
}
