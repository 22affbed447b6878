// Why this exists: the Secrets of a release are made once, by whichever replica comes first, renewed in time, and a certificate that
// changes counts at once.
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using System.Text.Json.Nodes;
using CoCLR.Cluster;
using CoCLR.Operator.Hosting;
using CoCLR.Operator.Progress;
using CoCLR.Operator.Tests.Harness;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Extensions.Time.Testing;

namespace CoCLR.Operator.Tests.Cluster;

public class SecretsClusterTests
{
    private const string Host = "coclr-operator.coclr-system.svc";
    private static readonly ResourceKind Secret = new("", "v1", "secrets", "Secret");

    private static OperatorOptions Own(OperatorOptions options) => options with
    {
        ProgressUrl = $"https://{Host}:8443",
        ProgressPort = FreePort(),
        TlsSecret = "progress-tls",
        DashboardTokenSecret = "dashboard",
    };

    [Fact]
    public async Task Secrets_ThatNobodyHasGiven_AreMadeOnceAndUsedByEveryReplica()
    {
        await using Arena arena = await Arena.StartAsync();
        Web[] replicas = await Task.WhenAll(Web.StartAsync(arena, settings: Own), Web.StartAsync(arena, settings: Own));
        try
        {
            await Arena.UntilAsync(
                "both have the certificate", () => Task.FromResult(replicas.All(r => r.Runtime.Secrets.Certificate != null)));
            Assert.Equal(replicas[0].Runtime.Secrets.Certificate!.Thumbprint, replicas[1].Runtime.Secrets.Certificate!.Thumbprint);
            JsonObject made = (await arena.GetAsync(Secret, "progress-tls"))!, token = (await arena.GetAsync(Secret, "dashboard"))!;
            Assert.Equal("kubernetes.io/tls", made["type"]!.ToString());
            Assert.Matches("^[a-z0-9]{40}$", Text(token, "token"));
            if (!arena.IsReal)
            {
                Assert.Equal(2, arena.Cluster.Log.All.Count(r => r is { Verb: "create", Resource: "secrets", Status: 201 }));
            }

            // A pod verifies the endpoint with the authority that reaches its namespace, and nothing of it is in the plan.
            await arena.ApplyAsync(arena.Experiment("a"));
            await arena.StateAsync("a", "Starting");
            string authority =
                (await arena.GetAsync(ResourceKind.ConfigMap, ProgressAuthority.ConfigMapName))!["data"]!["ca.crt"]!.ToString();
            Assert.Equal(Text(made, "ca.crt"), authority);
            Assert.Equal(replicas[0].Runtime.Secrets.Certificate!.Thumbprint, await HandshakeAsync(replicas[0], authority));
            JsonObject plan = Assert.Single(await arena.ListAsync(ResourceKind.ConfigMap, "coclr.dev/experiment=a"));
            Assert.DoesNotContain("CERTIFICATE", plan.ToJsonString(), StringComparison.Ordinal);

            // Looked at again, nothing changes.
            Assert.True(await replicas[0].Runtime.Secrets.RefreshAsync(TestContext.Current.CancellationToken));
            Assert.Equal(
                made["metadata"]!["resourceVersion"]!.ToString(),
                (await arena.GetAsync(Secret, "progress-tls"))!["metadata"]!["resourceVersion"]!.ToString());
        }
        finally
        {
            foreach (Web replica in replicas)
            {
                await replica.DisposeAsync();
            }
        }
    }

    [Fact]
    public async Task Certificate_ThatChanges_CountsWithoutARestartAndReachesThePods()
    {
        await using Arena arena = await Arena.StartAsync();
        await using Web web = await Web.StartAsync(arena, settings: Own);
        await Arena.UntilAsync("it has a certificate", () => Task.FromResult(web.Runtime.Secrets.Certificate != null));
        await arena.ApplyAsync(arena.Experiment("a"));
        await arena.StateAsync("a", "Starting");
        Dictionary<string, byte[]> other = OwnCertificate.Make(Host, DateTimeOffset.UtcNow);
        await arena.PatchAsync(
            Secret,
            "progress-tls",
            new JsonObject { ["data"] = new JsonObject(other.Select(o => KeyValuePair.Create(o.Key, (JsonNode?)Convert.ToBase64String(o.Value)))) });
        Assert.True(await web.Runtime.Secrets.RefreshAsync(TestContext.Current.CancellationToken));
        string authority = Encoding.ASCII.GetString(other["ca.crt"]);
        using X509Certificate2 leaf = X509Certificate2.CreateFromPem(Encoding.ASCII.GetString(other["tls.crt"]));
        Assert.Equal(leaf.Thumbprint, await HandshakeAsync(web, authority));
        await Arena.UntilAsync(
            "the namespace has the new authority",
            async () =>
                (
                    await arena.GetAsync(
                        ResourceKind.ConfigMap, ProgressAuthority.ConfigMapName))?["data"]?["ca.crt"]?.ToString() == authority);

        // One that cannot be read leaves the old one in place, and readiness says so.
        await arena.PatchAsync(
            Secret, "progress-tls", new JsonObject { ["data"] = new JsonObject { ["tls.crt"] = Convert.ToBase64String("nonsense"u8) } });
        Assert.False(await web.Runtime.Secrets.RefreshAsync(TestContext.Current.CancellationToken));
        Assert.Equal(leaf.Thumbprint, await HandshakeAsync(web, authority));
        Assert.Contains(web.Runtime.Problems, p => p.Contains("Secrets of this release", StringComparison.Ordinal));
    }

    [Fact]
    public async Task Certificate_InFiles_IsReadAgainWhenTheyChange()
    {
        await using Arena arena = await Arena.StartAsync();
        DirectoryInfo folder = Directory.CreateTempSubdirectory("coclr-tls-");
        try
        {
            string File1(string name) => Path.Combine(folder.FullName, name);
            void Write(Dictionary<string, byte[]> data)
            {
                foreach (string name in new[] { "tls.crt", "tls.key" })
                {
                    File.WriteAllBytes(File1(name), data[name]);
                }
            }

            Write(OwnCertificate.Make(Host, DateTimeOffset.UtcNow));
            using var secrets = new ReleaseSecrets(
                new OperatorOptions
                {
                    ProgressPort = 1, TlsCertFile = File1("tls.crt"), TlsKeyFile = File1("tls.key"), TlsCaFile = File1("ca.crt")
                },
                arena.Client, NullLogger.Instance, TimeProvider.System);
            Assert.True(await secrets.RefreshAsync(TestContext.Current.CancellationToken));
            string first = secrets.Certificate!.Thumbprint;
            Assert.Null(secrets.Authority);
            Write(OwnCertificate.Make(Host, DateTimeOffset.UtcNow));
            Assert.True(await secrets.RefreshAsync(TestContext.Current.CancellationToken));
            Assert.NotEqual(first, secrets.Certificate!.Thumbprint);
        }
        finally
        {
            folder.Delete(recursive: true);
        }
    }

    [Fact]
    public async Task Certificate_ThatNearsItsEnd_IsRenewedUnderTheSameAuthority()
    {
        await using Arena arena = await Arena.StartAsync();
        var time = new FakeTimeProvider(DateTimeOffset.UtcNow);
        var options = Own(new OperatorOptions { LeaseNamespace = arena.Namespace });
        using var secrets = new ReleaseSecrets(options, arena.Client, NullLogger.Instance, time);
        Assert.True(await secrets.RefreshAsync(TestContext.Current.CancellationToken));
        (string leaf, string? authority) = (secrets.Certificate!.Thumbprint, secrets.Authority);
        time.Advance(TimeSpan.FromDays(330));
        Assert.True(await secrets.RefreshAsync(TestContext.Current.CancellationToken));
        Assert.NotEqual(leaf, secrets.Certificate!.Thumbprint);
        Assert.Equal(authority, secrets.Authority);
        Assert.True(secrets.Certificate.MatchesHostname(Host));
        Assert.Equal(
            secrets.Certificate.Thumbprint,
            X509Certificate2.CreateFromPem(Text((await arena.GetAsync(Secret, "progress-tls"))!, "tls.crt")).Thumbprint);
    }

    private static string Text(JsonObject secret, string key) =>
        Encoding.ASCII.GetString(Convert.FromBase64String(secret["data"]![key]!.ToString()));

    /// <summary>What the endpoint shows to a client that trusts only an authority and insists on the name.</summary>
    private static async Task<string> HandshakeAsync(Web web, string authority)
    {
        int port = web.Addresses.Select(a => new Uri(a)).Single(a => a.Scheme == "https").Port;
        using var socket = new TcpClient();
        await socket.ConnectAsync("127.0.0.1", port, TestContext.Current.CancellationToken);
        await using var tls = new SslStream(socket.GetStream());
        X509Certificate2Collection roots = [];
        roots.ImportFromPem(authority);
        var policy = new X509ChainPolicy { TrustMode = X509ChainTrustMode.CustomRootTrust, RevocationMode = X509RevocationMode.NoCheck };
        policy.CustomTrustStore.AddRange(roots);
        await tls.AuthenticateAsClientAsync(
            new SslClientAuthenticationOptions { TargetHost = Host, CertificateChainPolicy = policy },
            TestContext.Current.CancellationToken);
        return tls.RemoteCertificate!.GetCertHashString();
    }

    private static int FreePort()
    {
        using var listener = new TcpListener(System.Net.IPAddress.Loopback, 0);
        listener.Start();
        return ((System.Net.IPEndPoint)listener.LocalEndpoint).Port;
    }
}
