// Why this exists: the chart's README lists every value with its default and meaning; it is made from the comments of values.yaml.
using System.Text;

namespace CoCLR.EndToEnd.Tests.Charts;

/// <summary>Makes the README.</summary>
internal static class ChartReadme
{
    private const string Head = """
        # coclr-platform

        Operator, dashboard and CustomResourceDefinitions of CoCLR.Platform. Helm 3 or 4. How to build the images and install: `docs/install.md`.

        ```bash
        helm install coclr charts/coclr-platform --namespace coclr-system --create-namespace --set imageRegistry=registry.example.com/coclr
        helm test coclr --namespace coclr-system
        ```

        Upgrading upgrades the CRDs too; running stages are not restarted. Uninstalling keeps the CRDs, the experiments and the dashboard's claim
        (`crds.keep`, `dashboard.persistence.keep`). With `namespaces` the operator gets Roles in these namespaces only.

        ## Values

        Made from the comments in `values.yaml`; keys that are not listed are refused.

        | Key | Default | Meaning |
        | --- | --- | --- |

        """;

    /// <summary>The README for a values.yaml.</summary>
    public static string Make(string values)
    {
        var text = new StringBuilder(Head);
        var path = new List<(int Indent, string Name)>();
        string? comment = null;
        var lines = values.Split('\n');
        for (var i = 0; i < lines.Length; i++)
        {
            var line = lines[i];
            var trimmed = line.Trim();
            if (trimmed.StartsWith("# -- ", StringComparison.Ordinal))
            {
                comment = trimmed[5..];
                continue;
            }

            if (trimmed.Length == 0 || trimmed.StartsWith('#') || trimmed.StartsWith('-'))
            {
                continue;
            }

            var indent = line.Length - line.TrimStart().Length;
            path.RemoveAll(p => p.Indent >= indent);
            var cut = trimmed.IndexOf(':', StringComparison.Ordinal);
            path.Add((indent, trimmed[..cut]));
            if (comment is null)
            {
                continue;
            }

            var value = trimmed[(cut + 1)..].Trim();
            if (value.Length == 0)
            {
                var inner = new List<string>();
                while (i + 1 < lines.Length && lines[i + 1].Length - lines[i + 1].TrimStart().Length > indent)
                {
                    inner.Add(lines[++i].Trim());
                }

                value = string.Join(' ', inner);
            }

            text.Append("| `").Append(string.Join('.', path.Select(p => p.Name))).Append("` | `").Append(value).Append("` | ")
                .Append(comment).Append(" |\n");
            comment = null;
        }

        return text.ToString();
    }
}
