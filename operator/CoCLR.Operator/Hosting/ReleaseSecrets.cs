// Why this exists: Secrets that a chart makes with random values differ at every rendering, so GitOps tools would roll everything at every
// sync.
// The operator makes what nobody has given, once, and reads certificates again so that a renewed one counts without a restart.
using System.Net;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using CoCLR.Cluster;
using CoCLR.Core;
using CoCLR.Operator.Progress;

namespace CoCLR.Operator.Hosting;

/// <summary>
/// The certificate of the progress endpoint and the dashboard's token. Every replica looks; the API server lets only one make them.
/// </summary>
public sealed class ReleaseSecrets : IDisposable
{
    private static readonly ResourceKind Secret = new("", "v1", "secrets", "Secret");
    private static readonly TimeSpan Interval = TimeSpan.FromSeconds(30), Retry = TimeSpan.FromSeconds(1);
    private readonly OperatorOptions _options;
    private readonly ApiClient _client;
    private readonly ILogger _logger;
    private readonly TimeProvider _time;
    private string _loaded = "";

    /// <summary>Creates it; nothing is read yet.</summary>
    /// <param name="options">Settings.</param>
    /// <param name="client">The API server.</param>
    /// <param name="logger">Logger.</param>
    /// <param name="time">Clock.</param>
    public ReleaseSecrets(OperatorOptions options, ApiClient client, ILogger logger, TimeProvider time)
    {
        _options = options;
        _client = client;
        _logger = logger;
        _time = time;
    }

    /// <summary>The certificate that the progress endpoint shows; null until it is there.</summary>
    public X509Certificate2? Certificate { get; private set; }

    /// <summary>The authority that pods must trust, in PEM; null when the system's will do.</summary>
    public string? Authority { get; private set; }

    /// <summary>Told when the authority has changed.</summary>
    public Action AuthorityChanged { get; set; } = () => { };

    /// <summary>Why the progress endpoint cannot be reached; null when it can.</summary>
    public string? Problem { get; private set; }

    private bool Serves => _options.ProgressPort > 0;

    /// <summary>Whether the settings can work at all.</summary>
    /// <param name="options">Settings.</param>
    /// <exception cref="UserErrorException">A file or setting is missing (78).</exception>
    public static void Check(OperatorOptions options)
    {
        if (options.ProgressPort == 0 || options.TlsSecret != null)
        {
            if (options.ProgressPort > 0 && !Uri.TryCreate(options.ProgressUrl, UriKind.Absolute, out _))
            {
                throw new UserErrorException(
                    "TlsSecret needs ProgressUrl, the address that the certificate is made for; see docs/operator.md.",
                    ExitCodes.BadConfiguration);
            }

            return;
        }

        if (options.TlsCertFile == null || options.TlsKeyFile == null)
        {
            throw new UserErrorException(
                "A progress port needs TlsSecret, or TlsCertFile and TlsKeyFile; see docs/operator.md.", ExitCodes.BadConfiguration);
        }

        try
        {
            Load(ReadFiles(options)).Dispose();
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException or CryptographicException)
        {
            throw new UserErrorException(
                $"The certificate {options.TlsCertFile} cannot be read: {error.Message}", ExitCodes.BadConfiguration, error);
        }
    }

    /// <summary>Looks again and again until cancelled.</summary>
    /// <param name="cancellation">Ends it.</param>
    public async Task RunAsync(CancellationToken cancellation)
    {
        if (!Serves && _options.DashboardTokenSecret == null)
        {
            return;
        }

        try
        {
            while (true)
            {
                bool good = await RefreshAsync(cancellation).ConfigureAwait(false);
                await Task.Delay(good ? Interval : Retry, _time, cancellation).ConfigureAwait(false);
            }
        }
        catch (OperationCanceledException)
        {
            // The operator ends.
        }
    }

    /// <summary>Makes what is missing and reads what has changed.</summary>
    /// <param name="cancellation">Stops waiting.</param>
    /// <returns>Whether everything is there.</returns>
    public async Task<bool> RefreshAsync(CancellationToken cancellation)
    {
        try
        {
            if (_options.DashboardTokenSecret is { } token)
            {
                _ = await EnsureAsync(token, "Opaque", () => new() { ["token"] = Encoding.ASCII.GetBytes(RandomNumberGenerator.GetString("abcdefghijklmnopqrstuvwxyz0123456789", 40)) }, _ => null, cancellation)
                    .ConfigureAwait(false);
            }

            if (Serves)
            {
                Use(
                    _options.TlsSecret == null ? ReadFiles(_options) : await OwnAsync(_options.TlsSecret, cancellation)
                        .ConfigureAwait(false));
            }

            Problem = null;
            return true;
        }
        catch (Exception error) when (
            error is ApiException or HttpRequestException or TimeoutException or IOException or UnauthorizedAccessException or CryptographicException or FormatException)
        {
            // The certificate that is in use stays in use.
            string words = $"the Secrets of this release: {error.Message}";
            if (Problem != words)
            {
                _logger.LogWarning("Reading {Problem}", words);
            }

            Problem = words;
            return false;
        }
    }

    /// <inheritdoc/>
    public void Dispose() => Certificate?.Dispose();

    private Task<Dictionary<string, byte[]>> OwnAsync(string name, CancellationToken cancellation)
    {
        string host = new Uri(_options.ProgressUrl!).Host;
        return EnsureAsync(
            name,
            "kubernetes.io/tls",
            () => OwnCertificate.Make(host, _time.GetUtcNow()),
            data => OwnCertificate.Renew(data, host, _time.GetUtcNow()),
            cancellation);
    }

    private async Task<Dictionary<string, byte[]>> EnsureAsync(
        string name, string type, Func<Dictionary<string, byte[]>> make,
        Func<Dictionary<string, byte[]>, Dictionary<string, byte[]>?> renew, CancellationToken cancellation)
    {
        string path = Secret.Path(new ObjectKey(_options.LeaseNamespace, name));
        while (true)
        {
            try
            {
                using JsonDocument found = await _client.GetAsync(path, cancellation).ConfigureAwait(false);
                Dictionary<string, byte[]> data = (found.RootElement.Map("data") ?? new Dictionary<string, string>())
                    .ToDictionary(p => p.Key, p => Convert.FromBase64String(p.Value));
                if (renew(data) is not { } renewed)
                {
                    return data;
                }

                var patch = new JsonObject
                {
                    ["metadata"] = new JsonObject { ["resourceVersion"] = ObjectMeta.Read(found.RootElement).ResourceVersion },
                    ["data"] = Base64(renewed),
                };
                using JsonDocument written = await SendAsync(HttpMethod.Patch, path, patch, "application/merge-patch+json", cancellation)
                    .ConfigureAwait(false);
                _logger.LogInformation("Renewed the Secret {Name}", name);
                return renewed;
            }
            catch (ApiException error) when (error.Code == HttpStatusCode.NotFound)
            {
                // Nobody has it yet.
            }
            catch (ApiException error) when (error.Code == HttpStatusCode.Conflict)
            {
                continue; // another replica was quicker
            }

            Dictionary<string, byte[]> made = make();
            var value = new JsonObject
            {
                ["apiVersion"] = "v1",
                ["kind"] = "Secret",
                ["metadata"] = new JsonObject
                {
                    ["name"] = name,
                    ["namespace"] = _options.LeaseNamespace,
                    ["labels"] = new JsonObject
                    {
                        ["app.kubernetes.io/part-of"] = "coclr-platform", ["app.kubernetes.io/managed-by"] = Api.Labels.Manager
                    },
                },
                ["type"] = type,
                ["data"] = Base64(made),
            };
            try
            {
                using JsonDocument created = await SendAsync(
                    HttpMethod.Post, Secret.Path(_options.LeaseNamespace), value, "application/json", cancellation).ConfigureAwait(false);
                _logger.LogInformation("Made the Secret {Name}", name);
                return made;
            }
            catch (ApiException error) when (error.Code == HttpStatusCode.Conflict)
            {
                // Another replica was quicker: its Secret counts.
            }
        }
    }

    private Task<JsonDocument> SendAsync(HttpMethod method, string path, JsonObject value, string type, CancellationToken cancellation) =>
        _client.SendAsync(method, $"{path}?fieldManager=coclr-operator", Encoding.UTF8.GetBytes(value.ToJsonString()), type, cancellation);

    private static JsonObject Base64(Dictionary<string, byte[]> data) =>
        new(data.Select(d => KeyValuePair.Create(d.Key, (JsonNode?)Convert.ToBase64String(d.Value))));

    private static Dictionary<string, byte[]> ReadFiles(OperatorOptions options)
    {
        var data = new Dictionary<string, byte[]>
        {
            [OwnCertificate.Leaf] = File.ReadAllBytes(options.TlsCertFile!),
            [OwnCertificate.LeafKey] = File.ReadAllBytes(options.TlsKeyFile!),
        };
        if (File.Exists(options.TlsCaFile))
        {
            data[OwnCertificate.Authority] = File.ReadAllBytes(options.TlsCaFile);
        }

        return data;
    }

    private void Use(Dictionary<string, byte[]> data)
    {
        string state = string.Concat(
            data.OrderBy(d => d.Key, StringComparer.Ordinal).Select(d => d.Key + Convert.ToHexString(SHA256.HashData(d.Value))));
        if (state == _loaded)
        {
            return;
        }

        // The old one may be in a handshake: it is left to the finalizer.
        Certificate = Load(data);
        _loaded = state;
        string? authority = data.TryGetValue(OwnCertificate.Authority, out byte[]? pem) ? Encoding.UTF8.GetString(pem) : null;
        if (authority != Authority)
        {
            Authority = authority;
            AuthorityChanged();
        }
    }

    private static X509Certificate2 Load(Dictionary<string, byte[]> data)
    {
        using X509Certificate2 pem = X509Certificate2.CreateFromPem(
            Encoding.UTF8.GetString(data.GetValueOrDefault(OwnCertificate.Leaf) ?? []),
            Encoding.UTF8.GetString(data.GetValueOrDefault(OwnCertificate.LeafKey) ?? []));
        return X509CertificateLoader.LoadPkcs12(pem.Export(X509ContentType.Pkcs12), null);
    }
}
