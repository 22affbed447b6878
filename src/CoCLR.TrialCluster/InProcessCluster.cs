// Why this exists: one object is a whole cluster: API server, controllers, kubelet; started in a test or as a program.
using System.Net;
using System.Text.Json.Nodes;

namespace CoCLR.TrialCluster;

/// <summary>An in-process Kubernetes cluster for tests and trials. It is as strict as a real one wherever that is known.</summary>
public sealed class InProcessCluster : IAsyncDisposable
{
    private readonly ServerCertificate _certificate = ServerCertificate.Create();
    private readonly CancellationTokenSource _stopping = new();
    private readonly bool _ownsFolder;
    private WebApplication? _app;

    private InProcessCluster(InProcessClusterOptions options)
    {
        Options = options;
        Clock = options.Clock;
        _ownsFolder = options.Folder is null;
        Folder = options.Folder ?? Directory.CreateTempSubdirectory("coclr-cluster-").FullName;
        Directory.CreateDirectory(Folder);
        Store = new ObjectStore { HistoryLimit = options.HistoryLimit };
        var registry = new ResourceRegistry();
        BuiltInResources.Register(registry);
        Resources = new ResourceService(Store, registry, Clock);
        Tokens = new TokenAuthority(Store, Clock);
        Authorizer = new RoleAuthorizer(Store);
        AdminToken = Tokens.Add(new UserInfo("kubernetes-admin", ["system:masters"]));
        Store.Written += new CustomResources(Resources).OnWritten;
        Controllers = new ControllerManager(this);
        Kubelet = options.RunPods ? new ProcessKubelet(this) : null;
        Admission.Register(this);
    }

    /// <summary>What it was started with.</summary>
    public InProcessClusterOptions Options { get; }

    /// <summary>Its clock.</summary>
    public TimeProvider Clock { get; }

    /// <summary>Where pods' folders, claims and logs are.</summary>
    public string Folder { get; }

    /// <summary>The stored objects, for reading behind the API's back.</summary>
    public ObjectStore Store { get; }

    /// <summary>Writes and reads without HTTP, as the built-in controllers make them.</summary>
    public ResourceService Resources { get; }

    /// <summary>Faults on demand.</summary>
    public FaultInjection Faults { get; } = new();

    /// <summary>All requests.</summary>
    public RequestLog Log { get; } = new();

    /// <summary>Tokens.</summary>
    public TokenAuthority Tokens { get; }

    /// <summary>Access rules.</summary>
    public RoleAuthorizer Authorizer { get; }

    /// <summary>The built-in controllers.</summary>
    public ControllerManager Controllers { get; }

    /// <summary>The kubelet, or null where pods are not run.</summary>
    public ProcessKubelet? Kubelet { get; }

    /// <summary>Token of the administrator.</summary>
    public string AdminToken { get; }

    /// <summary>Address, such as `https://127.0.0.1:6443`.</summary>
    public Uri Url { get; private set; } = new("https://127.0.0.1");

    /// <summary>The certificate authority as PEM.</summary>
    public string CertificateAuthority => _certificate.AuthorityPem;

    /// <summary>File with the administrator's kubeconfig.</summary>
    public string KubeconfigPath { get; private set; } = "";

    internal CancellationToken Stopping => _stopping.Token;

    /// <summary>Starts a cluster.</summary>
    public static async Task<InProcessCluster> StartAsync(InProcessClusterOptions? options = null, CancellationToken cancel = default)
    {
        var cluster = new InProcessCluster(options ?? new InProcessClusterOptions());
        try
        {
            await cluster.RunAsync(cancel);
            return cluster;
        }
        catch
        {
            await cluster.DisposeAsync();
            throw;
        }
    }

    private async Task RunAsync(CancellationToken cancel)
    {
        var builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions { ApplicationName = "coclr-test-cluster" });
        builder.WebHost.UseKestrelCore().UseKestrelHttpsConfiguration();
        builder.WebHost.ConfigureKestrel(kestrel =>
        {
            kestrel.Limits.MaxRequestBodySize = 8 * 1024 * 1024;
            kestrel.Listen(IPAddress.Loopback, Options.Port, listen => listen.UseHttps(_certificate.Server));
        });
        _app = builder.Build();
        var server = new ApiServer(this);
        _app.Run(server.HandleAsync);
        Bootstrap.Fill(this);
        await _app.StartAsync(cancel);
        Url = new Uri(_app.Urls.First());
        KubeconfigPath = Options.KubeconfigPath ?? Path.Combine(Folder, "kubeconfig");
        await File.WriteAllTextAsync(KubeconfigPath, Kubeconfig(AdminToken), cancel);
        if (!OperatingSystem.IsWindows())
        {
            File.SetUnixFileMode(KubeconfigPath, UnixFileMode.UserRead | UnixFileMode.UserWrite);
        }

        Bootstrap.Publish(this);
        Controllers.Start();
        Kubelet?.Start();
    }

    /// <summary>A kubeconfig for a token.</summary>
    public string Kubeconfig(string token, string ns = "default") => $"""
        apiVersion: v1
        kind: Config
        clusters:
        - name: coclr
          cluster:
            server: {Url.GetLeftPart(UriPartial.Authority)}
            certificate-authority-data: {Convert.ToBase64String(System.Text.Encoding.UTF8.GetBytes(CertificateAuthority))}
        users:
        - name: user
          user:
            token: {token}
        contexts:
        - name: coclr
          context:
            cluster: coclr
            user: user
            namespace: {ns}
        current-context: coclr

        """;

    /// <summary>A new user who may do what RBAC objects allow, and the kubeconfig text for them.</summary>
    public string AddUser(string name, params string[] groups) => Kubeconfig(Tokens.Add(new UserInfo(name, groups)));

    /// <summary>The kubeconfig text of a service account.</summary>
    public string ServiceAccountKubeconfig(string ns, string account) =>
        Kubeconfig(Tokens.Issue(ns, account, [], TimeSpan.FromDays(1)).Token, ns);

    /// <summary>The kind of that name.</summary>
    public ResourceDefinition Kind(string apiVersion, string kind) =>
        Resources.Registry.FindKind(apiVersion, kind) ?? throw ApiException.NoSuchResource();

    /// <summary>
    /// Puts an object into the store as it is, past schema, admission and validation: what an older schema may have let in.
    /// </summary>
    public void StoreUnchecked(JsonObject o)
    {
        var kind = Kind(o.Text("apiVersion") ?? "", o.Text("kind") ?? "");
        var copy = o.Copy();
        var metadata = copy.Ensure("metadata");
        metadata["uid"] ??= Guid.NewGuid().ToString();
        metadata["creationTimestamp"] ??= Json.Time(Clock.GetUtcNow());
        metadata["generation"] ??= 1;
        var key = ResourceService.StorageKey(kind);
        Store.TrySwap(key, Store.Get(key, metadata.Text("namespace") ?? "", metadata.Text("name") ?? ""), copy);
    }

    internal void Report(string message) => Options.Output?.Invoke(message);

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        await _stopping.CancelAsync();
        Faults.Clear();
        if (Kubelet is not null)
        {
            await Kubelet.DisposeAsync();
        }

        await Controllers.DisposeAsync();
        if (_app is not null)
        {
            using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(2));
            await _app.StopAsync(limit.Token);
            await _app.DisposeAsync();
        }

        Tokens.Dispose();
        Faults.Dispose();
        _certificate.Dispose();
        _stopping.Dispose();
        if (_ownsFolder && Directory.Exists(Folder))
        {
            await DeleteFolderAsync();
        }
    }

    /// <summary>A container that was killed a moment ago may still be writing its last file.</summary>
    private async Task DeleteFolderAsync()
    {
        for (int attempt = 1; ; attempt++)
        {
            try
            {
                Directory.Delete(Folder, true);
                return;
            }
            catch (IOException) when (attempt < 20)
            {
                await Task.Delay(100);
            }
        }
    }
}
