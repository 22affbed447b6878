// Why this exists: `coclr up --cluster`: an API server, the operator and a kubelet that runs pods as processes, all on this machine.
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using CoCLR.Core;
using CoCLR.Core.Manifests.Schema;
using CoCLR.Runs;
using k8s;
using k8s.Models;

namespace CoCLR.Cli.Hosting;

/// <summary>A cluster for trying things out. It is empty at every start; what its pods wrote stays in its folder.</summary>
internal sealed class TrialCluster : IAsyncDisposable
{
    private readonly HelperProcess _cluster;
    private readonly HelperProcess _operator;

    private TrialCluster(HelperProcess cluster, HelperProcess @operator)
    {
        _cluster = cluster;
        _operator = @operator;
    }

    /// <summary>Kubeconfig of its administrator.</summary>
    public string Kubeconfig => _cluster.Announced;

    /// <summary>Starts it.</summary>
    /// <param name="workspace">Where its files go: WORKDIR/cluster.</param>
    /// <param name="port">Port of the API server on loopback; 0 takes a free one.</param>
    /// <param name="output">Gets the operator's log.</param>
    /// <param name="stop">Gives up waiting.</param>
    /// <exception cref="UserErrorException">A part is not there (78) or does not start.</exception>
    public static async Task<TrialCluster> StartAsync(Workspace workspace, int port, Action<string> output, CancellationToken stop)
    {
        string server = HelperProcess.Find("cluster", "COCLR_CLUSTER_HOME", "src/CoCLR.TrialCluster");
        string manager = HelperProcess.Find("operator", "COCLR_OPERATOR_HOME", "operator/CoCLR.Operator");
        string folder = Path.Combine(workspace.Root, "cluster");
        Directory.CreateDirectory(folder);
        string[] arguments =
        [
            "--port", Number(port), "--kubeconfig", Path.Combine(workspace.Root, "cluster.kubeconfig"), "--folder", folder, "--image",
            $"coclr-engine:*={Environment.ProcessPath}",
        ];
        HelperProcess cluster = await HelperProcess.StartAsync("cluster", server, arguments, "KUBECONFIG=", null, null, stop)
            .ConfigureAwait(false);
        try
        {
            await InstallAsync(cluster.Announced, stop).ConfigureAwait(false);
            int own = FreePort();
            string address = $"http://127.0.0.1:{Number(own)}";
            using var probe = new HttpClient { Timeout = TimeSpan.FromSeconds(5) };
            HelperProcess started = await HelperProcess.StartAsync(
                "operator",
                manager,
                [
                    "--Kubeconfig", cluster.Announced, "--LeaderElect", "false", "--JsonLogs", "false", "--Listen", "127.0.0.1", "--Port",
                    Number(own), "--ProgressUrl", address, "--GracePeriodSeconds", "30"
                ],
                null,
                () => IsReadyAsync(probe, new Uri(address + "/readyz"), stop),
                output,
                stop).ConfigureAwait(false);
            return new TrialCluster(cluster, started);
        }
        catch
        {
            await cluster.DisposeAsync().ConfigureAwait(false);
            throw;
        }
    }

    /// <summary>Waits until a part ends or the token is set.</summary>
    public Task WaitAsync(CancellationToken stop) => Task.WhenAny(_cluster.WaitAsync(stop), _operator.WaitAsync(stop));

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        await _operator.DisposeAsync().ConfigureAwait(false);
        await _cluster.DisposeAsync().ConfigureAwait(false);
    }

    private static async Task InstallAsync(string kubeconfig, CancellationToken stop)
    {
        using var client = new Kubernetes(KubernetesClientConfiguration.BuildConfigFromConfigFile(kubeconfig));
        foreach (string text in CrdGenerator.Files().Values)
        {
            await client.ApiextensionsV1.CreateCustomResourceDefinitionAsync(
                KubernetesYaml.Deserialize<V1CustomResourceDefinition>(text), cancellationToken: stop).ConfigureAwait(false);
        }
    }

    private static async Task<bool> IsReadyAsync(HttpClient client, Uri address, CancellationToken stop)
    {
        try
        {
            using HttpResponseMessage answer = await client.GetAsync(address, stop).ConfigureAwait(false);
            return answer.IsSuccessStatusCode;
        }
        catch (HttpRequestException)
        {
            return false;
        }
    }

    private static string Number(int port) => port.ToString(CultureInfo.InvariantCulture);

    private static int FreePort()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        return ((IPEndPoint)listener.LocalEndpoint).Port;
    }
}
