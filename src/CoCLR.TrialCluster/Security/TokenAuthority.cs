// Why this exists: bearer tokens: fixed ones for people, signed and audience-bound ones for service accounts, checked against the store.
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace CoCLR.TrialCluster;

/// <summary>Issues and checks tokens.</summary>
public sealed class TokenAuthority : IDisposable
{
    /// <summary>The audience of tokens meant for the API server.</summary>
    public const string ApiAudience = "https://kubernetes.default.svc.cluster.local";

    private readonly ECDsa _key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
    private readonly ObjectStore _store;
    private readonly TimeProvider _clock;
    private readonly System.Collections.Concurrent.ConcurrentDictionary<string, UserInfo> _fixed = new(StringComparer.Ordinal);

    /// <summary>Checks service accounts and pods against the store.</summary>
    public TokenAuthority(ObjectStore store, TimeProvider clock)
    {
        _store = store;
        _clock = clock;
    }

    /// <summary>A new token for a user who is no service account.</summary>
    public string Add(UserInfo user)
    {
        var token = Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(20));
        _fixed[token] = user;
        return token;
    }

    /// <summary>A token of a service account.</summary>
    /// <exception cref="ApiException">404 where there is no such account.</exception>
    public (string Token, DateTimeOffset Expires) Issue(
        string ns, string account, IReadOnlyList<string> audiences, TimeSpan lifetime, string? podName = null, string? podUid = null)
    {
        var stored = _store.Get(new ResourceKey("", "serviceaccounts"), ns, account)
            ?? throw ApiException.NotFound("", "serviceaccounts", account);
        var now = _clock.GetUtcNow();
        var expires = now + lifetime;
        var claim = new JsonObject { ["namespace"] = ns, ["serviceaccount"] = new JsonObject { ["name"] = account, ["uid"] = stored.Uid } };
        if (podName is not null)
        {
            claim["pod"] = new JsonObject { ["name"] = podName, ["uid"] = podUid };
        }

        var payload = new JsonObject
        {
            ["aud"] = new JsonArray([.. (audiences.Count > 0 ? audiences : [ApiAudience]).Select(a => (JsonNode)a)]),
            ["exp"] = expires.ToUnixTimeSeconds(),
            ["iat"] = now.ToUnixTimeSeconds(),
            ["nbf"] = now.ToUnixTimeSeconds(),
            ["iss"] = ApiAudience,
            ["jti"] = Guid.NewGuid().ToString(),
            ["kubernetes.io"] = claim,
            ["sub"] = $"system:serviceaccount:{ns}:{account}",
        };
        var head = Encode("""{"alg":"ES256","kid":"coclr-test-cluster"}"""u8.ToArray());
        var body = Encode(Encoding.UTF8.GetBytes(payload.ToJsonString()));
        var signature = Encode(_key.SignData(Encoding.ASCII.GetBytes($"{head}.{body}"), HashAlgorithmName.SHA256));
        return ($"{head}.{body}.{signature}", expires);
    }

    /// <summary>Who holds this token, or null with the reason why nobody does.</summary>
    public UserInfo? Check(string token, IReadOnlyList<string>? audiences, out string why, out IReadOnlyList<string> matched)
    {
        matched = [ApiAudience];
        why = "";
        if (_fixed.TryGetValue(token, out var user))
        {
            return user;
        }

        var parts = token.Split('.');
        why = "invalid bearer token";
        if (parts.Length != 3)
        {
            return null;
        }

        try
        {
            if (!_key.VerifyData(Encoding.ASCII.GetBytes($"{parts[0]}.{parts[1]}"), Decode(parts[2]), HashAlgorithmName.SHA256))
            {
                return null;
            }

            var payload = JsonNode.Parse(Decode(parts[1]));
            if (payload.Number("exp") < _clock.GetUtcNow().ToUnixTimeSeconds())
            {
                why = "service account token has expired";
                return null;
            }

            var wanted = audiences is { Count: > 0 } ? audiences : [ApiAudience];
            matched = [.. payload.Items("aud").Select(a => a!.GetValue<string>()).Where(wanted.Contains)];
            if (matched.Count == 0)
            {
                why =
                    $"token audiences {payload.At("aud")?.ToJsonString()} is invalid for the target audiences [{string.Join(" ", wanted)}]";
                return null;
            }

            var claim = payload.At("kubernetes.io");
            var ns = claim.Text("namespace") ?? "";
            var account = claim.Text("serviceaccount", "name") ?? "";
            if (_store.Get(new ResourceKey("", "serviceaccounts"), ns, account)?.Uid != claim.Text("serviceaccount", "uid"))
            {
                why = "service account UID does not match claim";
                return null;
            }

            if (claim.Text("pod", "name") is { } pod && _store.Get(new ResourceKey("", "pods"), ns, pod)?.Uid != claim.Text("pod", "uid"))
            {
                why = "pod UID does not match claim";
                return null;
            }

            return new UserInfo($"system:serviceaccount:{ns}:{account}",
                ["system:serviceaccounts", $"system:serviceaccounts:{ns}", "system:authenticated"], claim.Text("serviceaccount", "uid")
                    ?? "")
            {
                Extra = claim.Text("pod", "name") is { } bound
                    ? new Dictionary<string, string>
                    {
                        ["authentication.kubernetes.io/pod-name"] = bound,
                        ["authentication.kubernetes.io/pod-uid"] = claim.Text("pod", "uid") ?? ""
                    }
                    : new Dictionary<string, string>(),
            };
        }
        catch (Exception e) when (e is FormatException or JsonException or CryptographicException)
        {
            return null;
        }
    }

    private static string Encode(byte[] bytes) => System.Buffers.Text.Base64Url.EncodeToString(bytes);

    private static byte[] Decode(string text) => System.Buffers.Text.Base64Url.DecodeFromChars(text);

    /// <inheritdoc/>
    public void Dispose() => _key.Dispose();
}
