// Why this exists: every setting of the dashboard in one tree, named once, with its default and its unit.
namespace CoCLR.Dashboard.Configuration;

/// <summary>
/// Settings of the dashboard (section <c>Dashboard</c>; environment <c>COCLR_DASHBOARD__NAME</c>; command line <c>--Dashboard:Name</c>).
/// </summary>
public sealed class DashboardOptions
{
    /// <summary>Name of the configuration section.</summary>
    public const string Section = "Dashboard";

    /// <summary>Folder whose run folders are shown. Command line: <c>--workdir</c>.</summary>
    public string WorkDir { get; set; } = ".";

    /// <summary>
    /// Folder of the index, the keys and uploads; <c>WORKDIR/.coclr/dashboard</c> when empty. Command line: <c>--data</c>.
    /// </summary>
    public string DataDir { get; set; } = "";

    /// <summary>Throws the index away and builds it anew from the run folders. Command line: <c>--rebuild</c>.</summary>
    public bool Rebuild { get; set; }

    /// <summary>The <c>coclr</c> command that starts experiments; environment <c>COCLR_COMMAND</c> when empty.</summary>
    public string CoclrCommand { get; set; } = "";

    /// <summary>Path below which the dashboard is served behind a reverse proxy, such as <c>/coclr</c>.</summary>
    public string PathBase { get; set; } = "";

    /// <summary>Host names under which the dashboard may be reached; loopback names and the bound address when empty.</summary>
    public string[] AllowedHosts { get; set; } = [];

    /// <summary>
    /// Networks (such as <c>10.0.0.0/8</c>) of reverse proxies whose X-Forwarded-For and X-Forwarded-Proto are believed, beside loopback.
    /// </summary>
    public string[] TrustedProxies { get; set; } = [];

    /// <summary>
    /// Whether a suite's badge and Markdown table can be read by everybody who reaches the dashboard, for a README on a code host.
    /// </summary>
    public bool PublicBadges { get; set; }

    /// <summary>Who may look and act.</summary>
    public AuthenticationSettings Authentication { get; set; } = new();

    /// <summary>The door through which training processes send events.</summary>
    public IngestSettings Ingest { get; set; } = new();

    /// <summary>Hard caps on everything that is kept.</summary>
    public LimitSettings Limits { get; set; } = new();

    /// <summary>Who is told when a run ends, stalls or collapses.</summary>
    public WebhookSettings Webhooks { get; set; } = new();

    /// <summary>The cluster whose experiments are shown, when the dashboard runs in one.</summary>
    public ClusterSettings Cluster { get; set; } = new();

    /// <summary>The data folder, resolved.</summary>
    public string ResolvedDataDir => Path.GetFullPath(DataDir.Length > 0 ? DataDir : Path.Combine(WorkDir, ".coclr", "dashboard"));

    /// <summary>The work folder, resolved.</summary>
    public string ResolvedWorkDir => Path.GetFullPath(WorkDir);
}

/// <summary>How people and machines prove who they are.</summary>
public sealed class AuthenticationSettings
{
    /// <summary>The way; <see cref="AuthenticationMode.BrowserToken"/> on loopback, else OIDC or a token must be configured.</summary>
    public AuthenticationMode? Mode { get; set; }

    /// <summary>
    /// The token of <see cref="AuthenticationMode.Token"/> (at least 22 characters), or of the printed link; made at random when empty in
    /// <see cref="AuthenticationMode.BrowserToken"/>.
    /// </summary>
    public string Token { get; set; } = "";

    /// <summary>Role of those who come with the token.</summary>
    public string TokenRole { get; set; } = "admin";

    /// <summary>OpenID Connect.</summary>
    public OidcSettings Oidc { get; set; } = new();

    /// <summary>Hours a sign-in lasts.</summary>
    public double SessionHours { get; set; } = 72;
}

/// <summary>Ways to sign in.</summary>
public enum AuthenticationMode
{
    /// <summary>A random token in the link that is printed at the start; loopback only.</summary>
    BrowserToken,

    /// <summary>A configured token.</summary>
    Token,

    /// <summary>OpenID Connect.</summary>
    OpenIdConnect,

    /// <summary>Anyone who can reach the address; loopback only, must be asked for by name.</summary>
    Unsecured,
}

/// <summary>OpenID Connect.</summary>
public sealed class OidcSettings
{
    /// <summary>Issuer address.</summary>
    public string Authority { get; set; } = "";

    /// <summary>Client id.</summary>
    public string ClientId { get; set; } = "";

    /// <summary>Client secret.</summary>
    public string ClientSecret { get; set; } = "";

    /// <summary>Claim that holds the roles or groups.</summary>
    public string RoleClaim { get; set; } = "roles";

    /// <summary>Values of the claim that make an admin.</summary>
    public string[] AdminValues { get; set; } = ["coclr-admin"];

    /// <summary>Values of the claim that make an editor.</summary>
    public string[] EditorValues { get; set; } = ["coclr-editor"];

    /// <summary>Values of the claim that make a viewer; everyone who can sign in when empty.</summary>
    public string[] ViewerValues { get; set; } = [];

    /// <summary>Claim that is a person's name to the cluster, as the API server's --oidc-username-claim.</summary>
    public string UserClaim { get; set; } = "sub";

    /// <summary>Prefix of that name, as --oidc-username-prefix.</summary>
    public string UserPrefix { get; set; } = "";

    /// <summary>Claim that holds a person's groups to the cluster, as --oidc-groups-claim.</summary>
    public string GroupsClaim { get; set; } = "groups";

    /// <summary>Prefix of those groups, as --oidc-groups-prefix.</summary>
    public string GroupsPrefix { get; set; } = "";

    /// <summary>Claim that holds the namespaces a person may see; all when empty.</summary>
    public string NamespaceClaim { get; set; } = "";
}

/// <summary>Settings of the ingest door.</summary>
public sealed class IngestSettings
{
    /// <summary>
    /// Shared key (at least 22 characters) from which per-run tokens are derived; made at random and kept in the data folder when empty.
    /// </summary>
    public string Key { get; set; } = "";

    /// <summary>Largest body of a batch in bytes, as sent.</summary>
    public int MaxBodyBytes { get; set; } = 64 * 1024;

    /// <summary>Largest body of a batch in bytes, unpacked.</summary>
    public int MaxUnpackedBytes { get; set; } = 4 * 1024 * 1024;

    /// <summary>Batches per second and run.</summary>
    public int BatchesPerSecond { get; set; } = 200;

    /// <summary>Largest artifact in bytes.</summary>
    public long MaxArtifactBytes { get; set; } = 2L << 30;
}

/// <summary>Webhooks.</summary>
public sealed class WebhookSettings
{
    /// <summary>Where to. Empty: nobody is told.</summary>
    public WebhookTarget[] Targets { get; set; } = [];

    /// <summary>Hosts that targets may name; <c>*.example.com</c> stands for all below one.</summary>
    public string[] AllowedHosts { get; set; } = [];

    /// <summary>Whether a target may have an address of a private network (and plain http).</summary>
    public bool AllowPrivateAddresses { get; set; }

    /// <summary>Address of this dashboard for links in messages; no links when empty.</summary>
    public string DashboardUrl { get; set; } = "";

    /// <summary>Minutes without an event after which a running run is told of as stalled.</summary>
    public double StalledMinutes { get; set; } = 60;
}

/// <summary>A webhook.</summary>
public sealed class WebhookTarget
{
    /// <summary>Everything that can be told.</summary>
    internal static readonly string[] KnownEvents = ["done", "failed", "stalled", "collapsed"];

    /// <summary>Address, https.</summary>
    public string Url { get; set; } = "";

    /// <summary>Secret (at least 22 characters) that messages are signed with; not needed with <see cref="WebhookFormat.Slack"/>.</summary>
    public string Secret { get; set; } = "";

    /// <summary>Some of done, failed, stalled and collapsed; all when empty.</summary>
    public string[] Events { get; set; } = [];

    /// <summary>What is sent.</summary>
    public WebhookFormat Format { get; set; }
}

/// <summary>What a webhook is sent.</summary>
public enum WebhookFormat
{
    /// <summary>An object with text, event, run, experiment, namespace, message, url and time.</summary>
    Json,

    /// <summary>An object with text alone, as incoming webhooks of Slack, Mattermost and the like take it.</summary>
    Slack,
}

/// <summary>Hard caps on everything that is kept.</summary>
public sealed class LimitSettings
{
    /// <summary>Runs in the index; the oldest finished ones are dropped from it (their folders stay).</summary>
    public int Runs { get; set; } = 20_000;

    /// <summary>Points of one metric of one attempt.</summary>
    public int PointsPerSeries { get; set; } = 2_000_000;

    /// <summary>Metric names of one stage.</summary>
    public int MetricNames { get; set; } = 4096;

    /// <summary>Lines of log of one stage; the oldest are dropped.</summary>
    public int LogLines { get; set; } = 1_000_000;

    /// <summary>Characters of one line of log.</summary>
    public int LogLineLength { get; set; } = 4096;

    /// <summary>Mining events of one stage.</summary>
    public int MiningEvents { get; set; } = 2000;

    /// <summary>Artifacts of one run.</summary>
    public int Artifacts { get; set; } = 20_000;

    /// <summary>Points of one series that a page or an API call gets at once.</summary>
    public int PointsPerRead { get; set; } = 100_000;

    /// <summary>Days after which finished runs leave the index; 0 keeps them.</summary>
    public int RetentionDays { get; set; }

    /// <summary>
    /// Seconds without an event after which a running stage is shown as out of contact, and a run that only sends counts as lost.
    /// </summary>
    public int SilentSeconds { get; set; } = 120;

    /// <summary>Seconds without an event after which a run of this machine whose lock nobody holds counts as lost.</summary>
    public int LostSeconds { get; set; } = 10;

    /// <summary>Largest uploaded query video in bytes.</summary>
    public long MaxQueryVideoBytes { get; set; } = 200L << 20;

    /// <summary>Open pages at once.</summary>
    public int Circuits { get; set; } = 1000;

    /// <summary>API requests a minute and user.</summary>
    public int RequestsPerMinute { get; set; } = 6000;
}

/// <summary>The cluster.</summary>
public sealed class ClusterSettings
{
    /// <summary>Whether the dashboard acts on a cluster.</summary>
    public bool Enabled { get; set; }

    /// <summary>kubeconfig file; the service account of the pod, or KUBECONFIG, when empty.</summary>
    public string Kubeconfig { get; set; } = "";

    /// <summary>Seconds that a request to the API server may take.</summary>
    public double TimeoutSeconds { get; set; } = 15;

    /// <summary>Seconds without a word after which a watch counts as lost; an API server sends a bookmark a minute.</summary>
    public double SilentSeconds { get; set; } = 150;

    /// <summary>Namespaces that are watched; all when empty.</summary>
    public string[] Namespaces { get; set; } = [];
}
