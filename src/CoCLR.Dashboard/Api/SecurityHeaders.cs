// Why this exists: headers on every response that keep a browser from doing what no page of the dashboard needs.
using CoCLR.Dashboard.Configuration;
using CoCLR.Dashboard.Formatting;
using Microsoft.Extensions.Options;

namespace CoCLR.Dashboard.Api;

/// <summary>Adds security headers and refuses foreign hosts and origins.</summary>
internal sealed class SecurityHeaders(RequestDelegate next, IOptions<DashboardOptions> options, BoundAddresses bound)
{
    // Styles: MudBlazor writes its theme and positions as inline styles. Scripts: files of this server only, none inline, no eval.
    // media and img data/blob: posters that a page draws itself.
    private const string Policy = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
        + "media-src 'self' blob:; font-src 'self'; connect-src 'self'; manifest-src 'self'; worker-src 'self'; form-action 'self'; "
            + "base-uri 'self'; frame-ancestors 'none'; object-src 'none'";

    public Task InvokeAsync(HttpContext context)
    {
        IHeaderDictionary headers = context.Response.Headers;
        headers.ContentSecurityPolicy = Policy;
        headers.XContentTypeOptions = "nosniff";
        headers.XFrameOptions = "DENY";
        // Nothing is told to other sites. With "no-referrer" a browser would also hide the origin from this one: every form sends "Origin:
        // null", and is refused below.
        headers["Referrer-Policy"] = "same-origin";
        headers["Permissions-Policy"] = "camera=(), microphone=(), geolocation=(), payment=(), usb=()";
        headers["Cross-Origin-Opener-Policy"] = "same-origin";
        headers["Cross-Origin-Resource-Policy"] = "same-origin";
        headers.CacheControl = "private, no-store";

        if (!HostAllowed(context.Request.Host.Host))
        {
            // DNS rebinding: a foreign name that points at this machine (also on WebSockets, which are requests like others here).
            return Refuse(
                context,
                StatusCodes.Status421MisdirectedRequest,
                $"This dashboard is not known as '{Printable(context.Request.Host.Host)}'. If it should be, add the name to the setting "
                    + $"Dashboard:AllowedHosts (COCLR_DASHBOARD__ALLOWEDHOSTS__0).");
        }

        // Browsers send Origin on every cross-site write and on every WebSocket; machines with a token send none and cannot be tricked into
        // it.
        bool socket = context.Request.Path.StartsWithSegments("/_blazor", StringComparison.OrdinalIgnoreCase)
            || context.Request.Path.StartsWithSegments("/hubs", StringComparison.OrdinalIgnoreCase);
        bool writes = !HttpMethods.IsGet(context.Request.Method) && !HttpMethods.IsHead(context.Request.Method);
        if ((socket || writes)
            && !OriginAllowed(
                context.Request,
                needed: context.Request.Path.StartsWithSegments("/_blazor", StringComparison.OrdinalIgnoreCase)
                    && IsSocket(context.Request)))
        {
            return Refuse(context, StatusCodes.Status403Forbidden, "Requests from other sites are refused.");
        }

        return next(context);
    }

    private static bool IsSocket(HttpRequest request) =>
        request.Headers.Upgrade.ToString().Equals("websocket", StringComparison.OrdinalIgnoreCase) || HttpMethods.IsConnect(request.Method);

    private static bool OriginAllowed(HttpRequest request, bool needed)
    {
        if (request.Headers.Origin.Count == 0)
        {
            return !needed;
        }

        return request.Headers.Origin is [{ } origin] && Uri.TryCreate(origin, UriKind.Absolute, out Uri? uri)
            && uri.Scheme is "http" or "https"
            && new HostString(uri.IsDefaultPort ? uri.Host : $"{uri.Host}:{uri.Port}") is var host
            && (
                string.Equals(host.Value, request.Host.Value, StringComparison.OrdinalIgnoreCase) || (
                    uri.IsDefaultPort && string.Equals($"{uri.Host}:{uri.Port}", request.Host.Value, StringComparison.OrdinalIgnoreCase)));
    }

    private bool HostAllowed(string host)
    {
        string[] allowed = options.Value.AllowedHosts;
        if (allowed.Length > 0)
        {
            return allowed.Any(
                a => a == "*" || string.Equals(a, host, StringComparison.OrdinalIgnoreCase)
                    || (a.StartsWith("*.", StringComparison.Ordinal) && host.EndsWith(a[1..], StringComparison.OrdinalIgnoreCase)))
                || IsLoopbackName(host);
        }

        return IsLoopbackName(host) || bound.Hosts.Contains(host);
    }

    private static bool IsLoopbackName(string host) => host is "localhost" or "127.0.0.1" or "[::1]" or "::1";

    private static string Printable(string text) =>
        new([.. text.Take(100).Select(c => char.IsLetterOrDigit(c) || c is '.' or '-' or ':' ? c : '?')]);

    private static Task Refuse(HttpContext context, int status, string text) => Problems.WriteAsync(context, status, text);
}

/// <summary>Host names of the addresses that are listened on; a wildcard address adds the machine's own names.</summary>
public sealed class BoundAddresses
{
    /// <summary>Reads addresses.</summary>
    /// <param name="urls">Addresses such as <c>http://0.0.0.0:8080</c>.</param>
    public BoundAddresses(IEnumerable<string> urls)
    {
        ArgumentNullException.ThrowIfNull(urls);
        Urls = [.. urls];
        var hosts = new HashSet<string>(StringComparer.OrdinalIgnoreCase);
        foreach (string url in Urls)
        {
            string plain = url.Replace("://*", "://0.0.0.0", StringComparison.Ordinal)
                .Replace("://+", "://0.0.0.0", StringComparison.Ordinal);
            if (Uri.TryCreate(plain, UriKind.Absolute, out Uri? uri))
            {
                if (uri.Host is "0.0.0.0" or "[::]")
                {
                    hosts.Add(System.Net.Dns.GetHostName());
                }
                else
                {
                    hosts.Add(uri.Host);
                }
            }
        }

        Hosts = hosts;
    }

    /// <summary>Addresses.</summary>
    public IReadOnlyList<string> Urls { get; }

    /// <summary>Names.</summary>
    public IReadOnlySet<string> Hosts { get; }
}
