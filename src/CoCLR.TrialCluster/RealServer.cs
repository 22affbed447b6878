// Why this exists: the same tests run against a real API server, so that nothing depends on this one being lenient.
using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using k8s;

namespace CoCLR.TrialCluster;

/// <summary>
/// A real API server for tests: the one that COCLR_TEST_KUBECONFIG names, or one that is started from KUBEBUILDER_ASSETS (a folder with
/// `etcd` and `kube-apiserver`, as `setup-envtest` fetches it), which has no controllers. One for the whole process.
/// </summary>
public sealed class RealServer
{
    private static readonly Lazy<Task<RealServer?>> Shared = new(FindOrStartAsync);
    private readonly KubernetesClientConfiguration _configuration;

    private RealServer(string kubeconfig, bool hasControllers, string name)
    {
        KubeconfigPath = kubeconfig;
        HasControllers = hasControllers;
        Name = name;
        _configuration = KubernetesClientConfiguration.BuildConfigFromConfigFile(kubeconfig);
        Url = new Uri(_configuration.Host);
    }

    /// <summary>Whether tests are to use one.</summary>
    public static bool IsWanted => Kubeconfig is { Length: > 0 } || Assets is { Length: > 0 };

    /// <summary>Kubeconfig of an administrator.</summary>
    public string KubeconfigPath { get; }

    /// <summary>Address.</summary>
    public Uri Url { get; }

    /// <summary>Whether Jobs get pods, owned objects are collected and namespaces end.</summary>
    public bool HasControllers { get; }

    /// <summary>Which one, for messages.</summary>
    public string Name { get; }

    private static string? Kubeconfig => Environment.GetEnvironmentVariable("COCLR_TEST_KUBECONFIG");

    private static string? Assets => Environment.GetEnvironmentVariable("KUBEBUILDER_ASSETS");

    /// <summary>The server; null where the environment names none.</summary>
    /// <exception cref="InvalidOperationException">It did not start.</exception>
    public static Task<RealServer?> FindAsync() => Shared.Value;

    /// <summary>An HTTP client of the administrator.</summary>
    public HttpClient Client()
    {
        var handler = new SocketsHttpHandler();
        handler.SslOptions.CertificateChainPolicy =
            new X509ChainPolicy { TrustMode = X509ChainTrustMode.CustomRootTrust, RevocationMode = X509RevocationMode.NoCheck };
        handler.SslOptions.CertificateChainPolicy.CustomTrustStore.AddRange(_configuration.SslCaCerts);
        string? Pem(string? data, string? file) => data is { Length: > 0 }
            ? System.Text.Encoding.UTF8.GetString(Convert.FromBase64String(data))
            : file is { Length: > 0 }
            ? File.ReadAllText(file)
            : null;
        if (Pem(_configuration.ClientCertificateData, _configuration.ClientCertificateFilePath) is { } mine)
        {
            handler.SslOptions.ClientCertificates =
                [X509Certificate2.CreateFromPem(mine, Pem(_configuration.ClientCertificateKeyData, _configuration.ClientKeyFilePath))];
        }

        var client = new HttpClient(handler) { BaseAddress = Url, Timeout = TimeSpan.FromSeconds(30) };
        if (_configuration.AccessToken is { Length: > 0 } token)
        {
            client.DefaultRequestHeaders.Authorization = new("Bearer", token);
        }

        return client;
    }

    private static async Task<RealServer?> FindOrStartAsync()
    {
        if (Kubeconfig is { Length: > 0 } kubeconfig)
        {
            var server = new RealServer(kubeconfig, hasControllers: false, kubeconfig);
            return new RealServer(kubeconfig, await server.SeesControllersAsync(), kubeconfig);
        }

        return Assets is { Length: > 0 } assets ? await StartAsync(assets) : null;
    }

    // The controller manager publishes the authority's certificate in every namespace.
    private async Task<bool> SeesControllersAsync()
    {
        using var client = Client();
        using var answer = await client.GetAsync(new Uri("/api/v1/namespaces/default/configmaps/kube-root-ca.crt", UriKind.Relative));
        return answer.IsSuccessStatusCode;
    }

    private static async Task<RealServer> StartAsync(string assets)
    {
        var folder = Directory.CreateTempSubdirectory("coclr-apiserver-").FullName;
        using var certificate = ServerCertificate.Create();
        using var accounts = RSA.Create(2048);
        string Write(string name, string text)
        {
            var path = Path.Combine(folder, name);
            File.WriteAllText(path, text);
            return path;
        }

        var token = Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(16));
        int etcdPort = FreePort(), peerPort = FreePort(), port = FreePort();
        var etcd = Start(assets, "etcd", folder, [
            "--data-dir", Path.Combine(folder, "etcd"), "--unsafe-no-fsync", "--log-level", "error",
            "--listen-client-urls", $"http://127.0.0.1:{etcdPort}", "--advertise-client-urls", $"http://127.0.0.1:{etcdPort}",
            "--listen-peer-urls", $"http://127.0.0.1:{peerPort}", "--initial-advertise-peer-urls", $"http://127.0.0.1:{peerPort}",
            "--initial-cluster", $"default=http://127.0.0.1:{peerPort}",
        ]);
        using var key = certificate.Server.GetECDsaPrivateKey()!;
        var server = Start(assets, "kube-apiserver", folder, [
            $"--etcd-servers=http://127.0.0.1:{etcdPort}", "--bind-address=127.0.0.1", "--advertise-address=127.0.0.1",
            $"--secure-port={port}", "--endpoint-reconciler-type=none",
            $"--tls-cert-file={Write("server.crt", certificate.Server.ExportCertificatePem())}",
            $"--tls-private-key-file={Write("server.key", key.ExportPkcs8PrivateKeyPem())}",
            $"--token-auth-file={Write("tokens.csv", $"{token},admin,admin,system:masters\n")}", "--authorization-mode=RBAC",
            "--service-account-issuer=https://kubernetes.default.svc",
            $"--service-account-signing-key-file={Write("accounts.key", accounts.ExportPkcs8PrivateKeyPem())}",
            $"--service-account-key-file={Write("accounts.pub", accounts.ExportSubjectPublicKeyInfoPem())}",
            "--service-cluster-ip-range=10.0.0.0/24",

            // Nobody makes the default accounts here.
            "--disable-admission-plugins=ServiceAccount",
        ]);
        AppDomain.CurrentDomain.ProcessExit += (_, _) =>
        {
            foreach (var process in new[] { server, etcd }.Where(p => !p.HasExited))
            {
                process.Kill();
                process.WaitForExit();
            }

            Directory.Delete(folder, recursive: true);
        };
        var kubeconfig = Write("kubeconfig", $"""
            apiVersion: v1
            kind: Config
            clusters: [{"{"}name: c, cluster: {"{"}server: "https://127.0.0.1:{port}", certificate-authority-data: {Convert.ToBase64String(System.Text.Encoding.UTF8.GetBytes(certificate.AuthorityPem))}{"}}"}]
            users: [{"{"}name: u, user: {"{"}token: {token}{"}}"}]
            contexts: [{"{"}name: c, context: {"{"}cluster: c, user: u{"}}"}]
            current-context: c
            """);
        var real = new RealServer(kubeconfig, hasControllers: false, Path.Combine(assets, "kube-apiserver"));
        using var client = real.Client();
        for (var begun = Stopwatch.GetTimestamp(); ; await Task.Delay(100))
        {
            try
            {
                using var answer = await client.GetAsync(new Uri("/readyz", UriKind.Relative));
                if (answer.StatusCode == HttpStatusCode.OK)
                {
                    return real;
                }
            }
            catch (HttpRequestException)
            {
                // Not listening yet.
            }

            if (server.HasExited || etcd.HasExited || Stopwatch.GetElapsedTime(begun) > TimeSpan.FromMinutes(2))
            {
                throw new InvalidOperationException($"{real.Name} did not start; see {folder}");
            }
        }
    }

    private static Process Start(string assets, string program, string folder, string[] arguments)
    {
        var start =
            new ProcessStartInfo(Path.Combine(assets, program), arguments) { RedirectStandardError = true, RedirectStandardOutput = true };
        var process = Process.Start(start)!;
        var log = File.CreateText(Path.Combine(folder, program + ".log"));
        log.AutoFlush = true;
        process.ErrorDataReceived += (_, line) =>
        {
            if (line.Data is { } text)
            {
                lock (log)
                {
                    log.WriteLine(text);
                }
            }
        };
        process.BeginErrorReadLine();
        process.BeginOutputReadLine();
        return process;
    }

    private static int FreePort()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        return ((IPEndPoint)listener.LocalEndpoint).Port;
    }
}
