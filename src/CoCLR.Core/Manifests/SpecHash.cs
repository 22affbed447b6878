// Why this exists: two manifests that must give the same numbers have the same hash, whatever else they say; suites and run folders are
// named by it.
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace CoCLR.Core.Manifests;

/// <summary>The identity of what a spec computes.</summary>
public static class SpecHash
{
    /// <summary>Fields of the spec that do not change the result, left out of the hash.</summary>
    private static readonly string[] OperationalFields =
        [
            "device", "retries",
            .. typeof(ExperimentSpec).GetProperties().Where(p => p.IsDefined(typeof(ClusterOnlyAttribute), inherit: false))
                .Select(p => JsonNamingPolicy.CamelCase.ConvertName(p.Name))
        ];

    /// <summary>SHA-256 of the fields that decide the result.</summary>
    /// <param name="spec">A spec.</param>
    public static string Of(ExperimentSpec spec)
    {
        JsonObject json = JsonSerializer.SerializeToNode(spec, CoclrJson.Compact)!.AsObject();
        foreach (string field in OperationalFields)
        {
            json.Remove(field);
        }

        // A field that a later version adds must not give every spec a new hash: suites name their experiments by it.
        Strip(json, JsonSerializer.SerializeToNode(new ExperimentSpec(), CoclrJson.Compact)!.AsObject());
        return Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(json.ToJsonString())));
    }

    private static void Strip(JsonObject value, JsonObject defaults)
    {
        foreach ((string name, JsonNode? field) in value.ToArray())
        {
            if (field is JsonObject inner && defaults[name] is JsonObject innerDefaults)
            {
                Strip(inner, innerDefaults);
                if (inner.Count == 0)
                {
                    value.Remove(name);
                }
            }
            else if (JsonNode.DeepEquals(field, defaults[name]))
            {
                value.Remove(name);
            }
        }
    }
}
