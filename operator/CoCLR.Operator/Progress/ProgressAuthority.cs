// Why this exists: pods must trust the progress endpoint's certificate also after it has changed; the kubelet brings them a ConfigMap of
// their namespace, which is kept as the certificate is, instead of a copy frozen into the plan of a run.
using System.Collections.Concurrent;
using System.Net;
using System.Text.Json;
using System.Text.Json.Nodes;
using CoCLR.Cluster;
using CoCLR.Operator.Api;
using CoCLR.Operator.Runtime;

namespace CoCLR.Operator.Progress;

/// <summary>Hands the authority of the progress endpoint to the namespaces with experiments.</summary>
public sealed class ProgressAuthority(ApiClient client, ApiWriter writer, Func<string?> authority)
{
    /// <summary>Name of the ConfigMap.</summary>
    public const string ConfigMapName = "coclr-progress-ca";

    /// <summary>Its key.</summary>
    public const string Key = "ca.crt";

    private readonly ConcurrentDictionary<string, string> _known = new();

    /// <summary>Sees to it that a namespace has the authority of the moment; nothing when the address needs none.</summary>
    /// <param name="ns">The namespace.</param>
    /// <param name="look">Whether to look there although nothing has changed here: a pod is about to need it.</param>
    /// <param name="cancellation">Stops waiting.</param>
    public async Task EnsureAsync(string ns, bool look, CancellationToken cancellation)
    {
        if (authority() is not { } wanted || (!look && _known.GetValueOrDefault(ns) == wanted))
        {
            return;
        }

        var key = new ObjectKey(ns, ConfigMapName);
        if (await ReadAsync(key, cancellation).ConfigureAwait(false) != wanted)
        {
            var value = new JsonObject
            {
                ["apiVersion"] = "v1",
                ["kind"] = "ConfigMap",
                ["metadata"] = new JsonObject
                {
                    ["name"] = key.Name,
                    ["namespace"] = ns,
                    ["labels"] = new JsonObject
                    {
                        ["app.kubernetes.io/part-of"] = "coclr-platform", ["app.kubernetes.io/managed-by"] = Labels.Manager
                    },
                },
                ["data"] = new JsonObject { [Key] = wanted },
            };
            using JsonDocument made = await writer.ApplyAsync(ResourceKind.ConfigMap, key, value, force: true, cancellation)
                .ConfigureAwait(false);
        }

        _known[ns] = wanted;
    }

    private async Task<string?> ReadAsync(ObjectKey key, CancellationToken cancellation)
    {
        try
        {
            using JsonDocument found = await client.GetAsync(ResourceKind.ConfigMap.Path(key), cancellation).ConfigureAwait(false);
            return found.RootElement.Child("data")?.Text(Key);
        }
        catch (ApiException error) when (error.Code == HttpStatusCode.NotFound)
        {
            return null;
        }
    }
}
