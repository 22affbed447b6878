// Why this exists: every setting of the operator, with its default; set by COCLR_OPERATOR_NAME variables or --name arguments
// (docs/operator.md).
using CoCLR.Core;

namespace CoCLR.Operator.Hosting;

/// <summary>Settings of the operator.</summary>
public sealed record OperatorOptions
{
    /// <summary>Namespaces to watch, with commas between them; all when empty.</summary>
    public string Namespaces { get; init; } = "";

    /// <summary>Kubeconfig file; the pod's service account, else the default kubeconfig, when absent.</summary>
    public string? Kubeconfig { get; init; }

    /// <summary>Whether several replicas elect a leader.</summary>
    public bool LeaderElect { get; init; } = true;

    /// <summary>Namespace of the lease and of the Secrets that the operator makes.</summary>
    public string LeaseNamespace { get; init; } = "default";

    /// <summary>Name of the lease.</summary>
    public string LeaseName { get; init; } = "coclr-operator";

    /// <summary>Who this replica is; made from the host's name when absent.</summary>
    public string? Identity { get; init; }

    /// <summary>Experiments that are reconciled at once.</summary>
    public int Workers { get; init; } = 8;

    /// <summary>Image of the stages when an experiment names none.</summary>
    public string Image { get; init; } = "coclr-engine:" + OperatorVersion.Text;

    /// <summary>Pull policy of that image.</summary>
    public string? ImagePullPolicy { get; init; }

    /// <summary>Secrets for pulling images, with commas between them.</summary>
    public string ImagePullSecrets { get; init; } = "";

    /// <summary>
    /// Labels of an experiment that its Jobs, pods and claims get, with commas between them; example.com/* stands for all of a prefix.
    /// </summary>
    public string PropagatedLabels { get; init; } = "";

    /// <summary>Annotations of an experiment that its Jobs, pods and claims get, in the same form.</summary>
    public string PropagatedAnnotations { get; init; } = "";

    /// <summary>Service accounts that an experiment may name, with commas between them; * stands for all.</summary>
    public string AllowedServiceAccounts { get; init; } = "";

    /// <summary>Secrets for pulling images that an experiment may name, in the same form.</summary>
    public string AllowedImagePullSecrets { get; init; } = "";

    /// <summary>User of the stages; 0 leaves it to the image and the cluster.</summary>
    public long RunAsUser { get; init; } = 10001;

    /// <summary>Seconds a stage gets to write its checkpoint when its pod is stopped.</summary>
    public int GracePeriodSeconds { get; init; } = 120;

    /// <summary>
    /// Kueue's WorkloadPriorityClass for stages after the first, so that an experiment that has begun keeps its turn; that of the
    /// experiment when absent.
    /// </summary>
    public string? ContinuingPriorityClass { get; init; }

    /// <summary>
    /// Address under which pods reach <see cref="ProgressPort"/>, such as https://coclr-operator.coclr-system.svc:8443; no push when
    /// absent.
    /// </summary>
    public string? ProgressUrl { get; init; }

    /// <summary>Port for progress of pods; 0 serves it on <see cref="Port"/> without TLS, for trials on one machine.</summary>
    public int ProgressPort { get; init; }

    /// <summary>
    /// Secret of <see cref="LeaseNamespace"/> with the certificate of <see cref="ProgressPort"/>; the operator makes it when it is missing,
    /// and renews it.
    /// </summary>
    public string? TlsSecret { get; init; }

    /// <summary>
    /// Certificate of <see cref="ProgressPort"/>, PEM, when there is no <see cref="TlsSecret"/>; read again when the file changes.
    /// </summary>
    public string? TlsCertFile { get; init; }

    /// <summary>Key of that certificate, PEM.</summary>
    public string? TlsKeyFile { get; init; }

    /// <summary>Authority of that certificate, PEM; handed to pods. The system's own will do when the file is not there.</summary>
    public string? TlsCaFile { get; init; }

    /// <summary>Address of the dashboard for people.</summary>
    public string? DashboardUrl { get; init; }

    /// <summary>Address of the dashboard for pods.</summary>
    public string? DashboardIngestUrl { get; init; }

    /// <summary>Secret of <see cref="LeaseNamespace"/> for the dashboard's token; the operator makes it when it is missing.</summary>
    public string? DashboardTokenSecret { get; init; }

    /// <summary>Port of /metrics, /healthz and /readyz; 0 takes a free one.</summary>
    public int Port { get; init; } = 8080;

    /// <summary>Address that ports listen on.</summary>
    public string Listen { get; init; } = "0.0.0.0";

    /// <summary>Writes a second over a longer time.</summary>
    public int WritesPerSecond { get; init; } = 400;

    /// <summary>Writes at once.</summary>
    public int WriteBurst { get; init; } = 1000;

    /// <summary>Seconds that work in flight gets when the operator stops.</summary>
    public int DrainSeconds { get; init; } = 5;

    /// <summary>Logs as JSON lines instead of text.</summary>
    public bool JsonLogs { get; init; } = true;

    /// <summary>Smallest level that is logged.</summary>
    public LogLevel LogLevel { get; init; } = LogLevel.Information;

    /// <summary>Reads settings.</summary>
    /// <param name="args">Arguments.</param>
    /// <exception cref="UserErrorException">A setting has a wrong value (64).</exception>
    public static OperatorOptions Read(string[] args)
    {
        try
        {
            return new ConfigurationBuilder().AddEnvironmentVariables("COCLR_OPERATOR_").AddCommandLine(args).Build().Get<OperatorOptions>()
                ?? new OperatorOptions();
        }
        catch (Exception error) when (error is InvalidOperationException or FormatException)
        {
            throw new UserErrorException(
                $"A setting of the operator is wrong: {error.Message} See docs/operator.md.", ExitCodes.Usage, error);
        }
    }

    /// <summary>Parts of a list with commas.</summary>
    /// <param name="text">The list.</param>
    public static string[] Split(string text) => text.Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries);
}

/// <summary>Version of this operator.</summary>
public static class OperatorVersion
{
    /// <summary>Version such as 0.1.0.</summary>
    public static string Text { get; } = typeof(OperatorVersion).Assembly.GetName().Version?.ToString(3) ?? "0.0.0";
}
