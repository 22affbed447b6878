// Why this exists: the admission steps of the cluster, in one list.
namespace CoCLR.Testing.Cluster;

/// <summary>Admission.</summary>
internal static class Admission
{
    public static void Register(TestCluster cluster) => _ = cluster;
}
