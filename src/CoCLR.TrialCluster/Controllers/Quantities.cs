// Why this exists: Kubernetes quantities (`500m`, `1.5Gi`) as numbers, for scheduling and quotas.
using System.Globalization;
using System.Text.Json.Nodes;

namespace CoCLR.TrialCluster;

/// <summary>Quantities.</summary>
public static class Quantities
{
    private static readonly (string Suffix, decimal Factor)[] Suffixes =
    [
        ("Ki", 1024m), ("Mi", 1048576m), ("Gi", 1073741824m), ("Ti", 1099511627776m), ("Pi", 1125899906842624m),
        ("n", 0.000000001m), ("u", 0.000001m), ("m", 0.001m), ("k", 1000m), ("M", 1000000m), ("G", 1000000000m), ("T", 1000000000000m),
        ("P", 1000000000000000m),
    ];

    /// <summary>The number, or null where the text is no quantity.</summary>
    public static decimal? Parse(JsonNode? node)
    {
        var text = node.Text() ?? node?.ToJsonString() ?? "";
        var factor = 1m;
        foreach (var (suffix, f) in Suffixes)
        {
            if (text.EndsWith(suffix, StringComparison.Ordinal))
            {
                text = text[..^suffix.Length];
                factor = f;
                break;
            }
        }

        return decimal.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out var value) ? value * factor : null;
    }

    /// <summary>What a pod asks for of each resource.</summary>
    public static Dictionary<string, decimal> RequestsOf(JsonObject pod)
    {
        var all = new Dictionary<string, decimal>(StringComparer.Ordinal);
        foreach (var container in pod.Items("spec", "containers"))
        {
            foreach (var (name, value) in container.Map("resources", "requests") ?? container.Map("resources", "limits") ?? [])
            {
                all[name] = all.GetValueOrDefault(name) + (Parse(value) ?? 0);
            }
        }

        foreach (var container in pod.Items("spec", "initContainers"))
        {
            foreach (var (name, value) in container.Map("resources", "requests") ?? [])
            {
                all[name] = Math.Max(all.GetValueOrDefault(name), Parse(value) ?? 0);
            }
        }

        return all;
    }
}
