// Why this exists: the dashboard's own account in the cluster: the service account of its pod, or a kubeconfig of the settings.
using CoCLR.Cluster;
using CoCLR.Core;
using CoCLR.Dashboard.Configuration;
using k8s;
using k8s.Exceptions;
using Microsoft.Extensions.Options;

namespace CoCLR.Dashboard.Cluster;

/// <summary>Connects to the API server.</summary>
internal static class ClusterConnection
{
    /// <summary>Connects.</summary>
    /// <param name="services">Services with the options.</param>
    /// <exception cref="UserErrorException">There is neither a service account nor a kubeconfig (78).</exception>
    public static ApiClient Open(IServiceProvider services)
    {
        ClusterSettings settings = services.GetRequiredService<IOptions<DashboardOptions>>().Value.Cluster;
        try
        {
            KubernetesClientConfiguration configuration = settings.Kubeconfig.Length > 0
                ? KubernetesClientConfiguration.BuildConfigFromConfigFile(settings.Kubeconfig)
                : KubernetesClientConfiguration.BuildDefaultConfig();
            return new ApiClient(configuration, TimeSpan.FromSeconds(settings.TimeoutSeconds));
        }
        catch (Exception e) when (e is KubeConfigException or IOException)
        {
            throw new UserErrorException(
                $"Dashboard:Cluster:Enabled is set, but no cluster can be found: {e.Message} Run in a pod with a service account, or set "
                    + $"Dashboard:Cluster:Kubeconfig.",
                ExitCodes.BadConfiguration,
                e);
        }
    }
}
