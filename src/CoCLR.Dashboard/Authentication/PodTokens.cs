// Why this exists: a pod sends events with a service-account token made for it; the API server says whose it is, and the pod's label which
// run it may write.
using System.Text.Json;
using CoCLR.Cluster;
using CoCLR.Dashboard.Cluster;
using CoCLR.Runs;

namespace CoCLR.Dashboard.Authentication;

/// <summary>Finds the run of a pod's token.</summary>
internal sealed class PodTokens(ApiClient api, ClusterWatch watch, TokenReviewer reviewer)
{
    /// <summary>Audience of the tokens, as the operator mounts them.</summary>
    public const string Audience = "coclr-dashboard";

    /// <summary>The run and namespace that a token may write, or null.</summary>
    /// <param name="token">What came.</param>
    /// <param name="cancel">Stops waiting.</param>
    public async Task<PodRun?> RunOfAsync(string token, CancellationToken cancel)
    {
        // Only what has the form of a token of the cluster is worth a question.
        if (token.Length > 16 * 1024 || token.Count(c => c == '.') != 2)
        {
            return null;
        }

        try
        {
            if (await reviewer.ReviewAsync(token, Audience, cancel) is not { } identity)
            {
                return null;
            }

            var key = new ObjectKey(identity.Namespace, identity.PodName);
            ClusterPod? pod = watch.FindPod(key);
            if (pod?.Meta.Uid != identity.PodUid)
            {
                using JsonDocument found = await api.GetAsync(ResourceKind.Pod.Path(key), cancel);
                pod = ClusterPod.Read(found.RootElement);
            }

            return pod.Meta.Uid == identity.PodUid && pod.Run is { } run
                && RunFolder.IsName(run) ? new PodRun(run, identity.Namespace) : null;
        }
        catch (Exception e) when (e is ApiException or HttpRequestException or TimeoutException or FormatException or JsonException)
        {
            return null;
        }
    }
}

/// <summary>What a pod may write.</summary>
/// <param name="Run">Run.</param>
/// <param name="Namespace">Its namespace.</param>
internal sealed record PodRun(string Run, string Namespace);
