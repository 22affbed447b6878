// Why this exists: a pod proves who it is with a token that is good for one audience only; the API server is asked, and the answer is kept
// for a moment.
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace CoCLR.Cluster;

/// <summary>Who a token belongs to.</summary>
/// <param name="Namespace">Namespace of the service account.</param>
/// <param name="PodName">Pod that the token was made for.</param>
/// <param name="PodUid">Unique id of the pod.</param>
public sealed record PodIdentity(string Namespace, string PodName, string PodUid);

/// <summary>Asks the API server about tokens.</summary>
public sealed class TokenReviewer(ApiClient client, TimeProvider time)
{
    private const int Remembered = 4096;
    private readonly Lock _gate = new();
    private readonly Dictionary<string, (PodIdentity? Identity, long At)> _known = [];

    /// <summary>Who a token belongs to; null when it is not valid for the audience.</summary>
    /// <param name="token">The token.</param>
    /// <param name="audience">Audience that it must be meant for.</param>
    /// <param name="cancellation">Stops waiting.</param>
    public async Task<PodIdentity?> ReviewAsync(string token, string audience, CancellationToken cancellation)
    {
        string key = Convert.ToHexString(SHA256.HashData(Encoding.UTF8.GetBytes($"{audience}\n{token}")));
        lock (_gate)
        {
            if (_known.TryGetValue(key, out var known)
                && time.GetElapsedTime(known.At) < TimeSpan.FromSeconds(known.Identity == null ? 10 : 60))
            {
                return known.Identity;
            }
        }

        PodIdentity? identity = await AskAsync(token, audience, cancellation).ConfigureAwait(false);
        lock (_gate)
        {
            if (_known.Count >= Remembered)
            {
                _known.Clear();
            }

            _known[key] = (identity, time.GetTimestamp());
        }

        return identity;
    }

    private async Task<PodIdentity?> AskAsync(string token, string audience, CancellationToken cancellation)
    {
        var review = new JsonObject
        {
            ["apiVersion"] = "authentication.k8s.io/v1",
            ["kind"] = "TokenReview",
            ["spec"] = new JsonObject { ["token"] = token, ["audiences"] = new JsonArray(audience) },
        };
        using JsonDocument answer = await client.SendAsync(
            HttpMethod.Post, "apis/authentication.k8s.io/v1/tokenreviews", review, cancellation).ConfigureAwait(false);
        JsonElement status = answer.RootElement.Child("status") ?? default;
        JsonElement user = status.Child("user") ?? default;
        string[] name = (user.Text("username") ?? "").Split(':');
        if (status.Flag("authenticated") != true || !status.Items("audiences").Any(a => a.GetString() == audience)
            || name is not ["system", "serviceaccount", var ns, _])
        {
            return null;
        }

        JsonElement extra = user.Child("extra") ?? default;
        string? pod = extra.Items("authentication.kubernetes.io/pod-name").Select(e => e.GetString()).FirstOrDefault();
        string? uid = extra.Items("authentication.kubernetes.io/pod-uid").Select(e => e.GetString()).FirstOrDefault();
        return pod == null || uid == null ? null : new PodIdentity(ns, pod, uid);
    }
}
