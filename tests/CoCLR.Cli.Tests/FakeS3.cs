// Why this exists: an S3 service in the test process that takes only requests with a correct signature, as the real ones do.
using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using System.Xml.Linq;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Connections.Features;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features;

namespace CoCLR.Testing;

/// <summary>One bucket, read-only; requests are checked against AWS Signature Version 4 as its documentation describes it.</summary>
internal sealed class FakeS3 : IAsyncDisposable
{
    public const string Bucket = "videos";
    public const string KeyId = "AKIATESTKEY";
    public const string Secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYTESTKEY";
    public const string Region = "eu-test-1";
    private const int PageSize = 3;
    private static readonly XNamespace Names = "http://s3.amazonaws.com/doc/2006-03-01/";
    private readonly SortedDictionary<string, byte[]> _objects = new(StringComparer.Ordinal);
    private readonly List<string> _log = [];
    private readonly Lock _gate = new();
    private WebApplication? _app;
    private int _breaks;

    public string Endpoint { get; private set; } = "";

    /// <summary>What was asked for and the answer, such as `GET a.mp4 200`.</summary>
    public IReadOnlyList<string> Log
    {
        get
        {
            lock (_gate)
            {
                return [.. _log];
            }
        }
    }

    public static async Task<FakeS3> StartAsync()
    {
        var server = new FakeS3();
        var builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions());
        builder.WebHost.UseKestrelCore().UseUrls("http://127.0.0.1:0");
        server._app = builder.Build();
        server._app.Run(server.HandleAsync);
        await server._app.StartAsync();
        server.Endpoint = server._app.Urls.First();
        return server;
    }

    public void Put(string key, byte[] content)
    {
        lock (_gate)
        {
            _objects[key] = content;
        }
    }

    public void ClearLog()
    {
        lock (_gate)
        {
            _log.Clear();
        }
    }

    /// <summary>The next bodies break off in the middle, by turns with an orderly end and with a reset.</summary>
    public void BreakBodies(int count) => _breaks = count;

    public async ValueTask DisposeAsync()
    {
        await _app!.StopAsync(CancellationToken.None);
        await _app.DisposeAsync();
    }

    private async Task HandleAsync(HttpContext context)
    {
        string target = context.Features.Get<IHttpRequestFeature>()!.RawTarget;
        string path = target.Split('?', 2)[0];
        string key = Uri.UnescapeDataString(path[("/" + Bucket).Length..].TrimStart('/'));
        (int code, string error) =
            Refusal(context.Request, path, target.Contains('?', StringComparison.Ordinal) ? target.Split('?', 2)[1] : "");
        byte[]? content = null;
        lock (_gate)
        {
            if (code == 200 && key.Length > 0 && !_objects.TryGetValue(key, out content))
            {
                (code, error) = (404, "NoSuchKey");
            }

            _log.Add($"{context.Request.Method} {(key.Length == 0 ? "list" : key)} {code}");
        }

        context.Response.StatusCode = code;
        if (code != 200)
        {
            await context.Response.WriteAsync(
                new XElement("Error", new XElement("Code", error), new XElement("Message", error)).ToString());
        }
        else if (content == null)
        {
            context.Response.ContentType = "application/xml";
            await context.Response.WriteAsync(Page(context.Request.Query));
        }
        else
        {
            context.Response.ContentLength = content.Length;
            context.Response.Headers.ETag = Tag(content);
            context.Response.Headers.LastModified = Modified.ToString("R", CultureInfo.InvariantCulture);
            if (Interlocked.Decrement(ref _breaks) is var left and >= 0)
            {
                await context.Response.Body.WriteAsync(content.AsMemory(0, content.Length / 2));
                await context.Response.Body.FlushAsync();
                if (left % 2 == 0)
                {
                    context.Features.Get<IConnectionSocketFeature>()!.Socket.Close(0); // resets the connection, as a load balancer does
                }

                context.Abort();
                return;
            }

            await context.Response.Body.WriteAsync(content);
        }
    }

    private static DateTime Modified { get; } = new(2026, 1, 31, 12, 0, 0, DateTimeKind.Utc);

#pragma warning disable CA5351 // S3 uses MD5 as the version of an object
    private static string Tag(byte[] content) => $"\"{Convert.ToHexStringLower(MD5.HashData(content))}\"";
#pragma warning restore CA5351

    private string Page(IQueryCollection query)
    {
        string prefix = query["prefix"].ToString(), after = query["continuation-token"].ToString();
        KeyValuePair<string, byte[]>[] rest;
        lock (_gate)
        {
            rest = [.. _objects.Where(o => o.Key.StartsWith(prefix, StringComparison.Ordinal) && string.CompareOrdinal(o.Key, after) > 0)];
        }

        bool more = rest.Length > PageSize;
        KeyValuePair<string, byte[]>[] page = rest[..Math.Min(PageSize, rest.Length)];
        bool encoded = query["encoding-type"] == "url";
        return new XElement(
            Names + "ListBucketResult",
            new XElement(Names + "Name", Bucket),
            new XElement(Names + "Prefix", prefix),
            new XElement(Names + "KeyCount", page.Length),
            new XElement(Names + "MaxKeys", PageSize),
            new XElement(Names + "IsTruncated", more ? "true" : "false"),
            more ? new XElement(Names + "NextContinuationToken", page[^1].Key) : null,
            page.Select(o => new XElement(
                Names + "Contents",
                new XElement(Names + "Key", encoded ? Uri.EscapeDataString(o.Key) : o.Key),
                new XElement(Names + "LastModified", Modified.ToString("yyyy-MM-dd'T'HH:mm:ss.fff'Z'", CultureInfo.InvariantCulture)),
                new XElement(Names + "ETag", Tag(o.Value)),
                new XElement(Names + "Size", o.Value.Length)))).ToString();
    }

    private static (int Code, string Error) Refusal(HttpRequest request, string path, string query)
    {
        if (!path.StartsWith($"/{Bucket}", StringComparison.Ordinal))
        {
            return (404, "NoSuchBucket");
        }

        string[] words = request.Headers.Authorization.ToString().Split([' ', ','], StringSplitOptions.RemoveEmptyEntries);
        if (words.Length != 4 || words[0] != "AWS4-HMAC-SHA256")
        {
            return (403, "AccessDenied");
        }

        string Field(string name) => words.First(w => w.StartsWith(name + "=", StringComparison.Ordinal))[(name.Length + 1)..];
        string[] scope = Field("Credential").Split('/');
        if (scope[0] != KeyId)
        {
            return (403, "InvalidAccessKeyId");
        }

        if (scope[2] != Region)
        {
            return (400, "AuthorizationHeaderMalformed");
        }

        string[] signed = Field("SignedHeaders").Split(';');
        string time = request.Headers["x-amz-date"].ToString();
        string canonical = string.Join('\n', [
            request.Method,
            path,
            string.Join(
                '&',
                query.Split('&', StringSplitOptions.RemoveEmptyEntries).Select(p => p.Contains('=', StringComparison.Ordinal) ? p : p + "=")
                    .Order(StringComparer.Ordinal)),
            .. signed.Select(h => $"{h}:{(h == "host" ? request.Host.Value! : string.Join(',', request.Headers[h].ToArray()).Trim())}"),
            "",
            Field("SignedHeaders"),
            request.Headers["x-amz-content-sha256"].ToString(),
        ]);
        string toSign = string.Join(
            '\n',
            "AWS4-HMAC-SHA256",
            time,
            string.Join('/', scope[1..]),
            Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(canonical))));
        byte[] key = scope[1..]
            .Aggregate(Encoding.UTF8.GetBytes("AWS4" + Secret), (k, part) => HMACSHA256.HashData(k, Encoding.UTF8.GetBytes(part)));
        string signature = Convert.ToHexStringLower(HMACSHA256.HashData(key, Encoding.UTF8.GetBytes(toSign)));
        return signature == Field("Signature") && signed.Contains("host") && signed.Contains("x-amz-date")
            && signed.Contains("x-amz-content-sha256") ? (200, "") : (403, "SignatureDoesNotMatch");
    }
}
