// Why this exists: a pod sends events with a service-account token made for it; the API server says whose it is, and the pod's label which run it may write.
using System.Collections.Concurrent;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json.Nodes;
using CoCLR.Dashboard.Cluster;
using CoCLR.Runs;

namespace CoCLR.Dashboard.Authentication;

/// <summary>Finds the run of a pod's token.</summary>
internal sealed class PodTokens(ClusterApi api, ClusterWatch watch, TimeProvider clock)
{
    /// <summary>Audience of the tokens, as the operator mounts them.</summary>
    public const string Audience = "coclr-dashboard";

    private const int Remembered = 4096;
    private readonly ConcurrentDictionary<string, (PodRun? Run, long At)> _known = new(StringComparer.Ordinal);

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

        string key = Convert.ToHexString(SHA256.HashData(Encoding.UTF8.GetBytes(token)));
        if (_known.TryGetValue(key, out (PodRun? Run, long At) known) && clock.GetElapsedTime(known.At) < TimeSpan.FromSeconds(known.Run == null ? 5 : 60))
        {
            return known.Run;
        }

        PodRun? run = await AskAsync(token, cancel);
        if (_known.Count >= Remembered)
        {
            _known.Clear();
        }

        _known[key] = (run, clock.GetTimestamp());
        return run;
    }

    private async Task<PodRun?> AskAsync(string token, CancellationToken cancel)
    {
        JsonObject answer;
        try
        {
            answer = await api.PostAsync("apis/authentication.k8s.io/v1/tokenreviews", new JsonObject
            {
                ["apiVersion"] = "authentication.k8s.io/v1",
                ["kind"] = "TokenReview",
                ["spec"] = new JsonObject { ["token"] = token, ["audiences"] = new JsonArray(Audience) },
            }, cancel);
        }
        catch (Exception e) when (e is ClusterException or HttpRequestException)
        {
            return null;
        }

        JsonNode? status = answer["status"];
        if (status?["authenticated"]?.GetValueKind() != System.Text.Json.JsonValueKind.True
            || status["audiences"]?.AsArray().Any(a => a?.ToString() == Audience) != true
            || (status.Text("user", "username") ?? "").Split(':') is not ["system", "serviceaccount", var space, _])
        {
            return null;
        }

        string? name = status["user"]?["extra"]?["authentication.kubernetes.io/pod-name"]?[0]?.ToString(), uid = status["user"]?["extra"]?["authentication.kubernetes.io/pod-uid"]?[0]?.ToString();
        if (name == null || uid == null)
        {
            return null;
        }

        ClusterPod? pod = watch.FindPod(space, name);
        if (pod?.Uid != uid)
        {
            try
            {
                pod = ClusterPod.Read(await api.GetAsync($"api/v1/namespaces/{space}/pods/{name}", cancel));
            }
            catch (Exception e) when (e is ClusterException or HttpRequestException)
            {
                return null;
            }
        }

        return pod.Uid == uid && pod.Run is { } run && RunFolder.IsName(run) ? new PodRun(run, space) : null;
    }
}

/// <summary>What a pod may write.</summary>
/// <param name="Run">Run.</param>
/// <param name="Namespace">Its namespace.</param>
internal sealed record PodRun(string Run, string Namespace);
