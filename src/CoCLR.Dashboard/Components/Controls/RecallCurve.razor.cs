// Why this exists: places of a small figure.
using System.Globalization;
using Microsoft.AspNetCore.Components;

namespace CoCLR.Dashboard.Components.Controls;

/// <summary>Recall over the number of neighbours looked at, drawn as a small figure with its numbers as a table beside it.</summary>
public sealed partial class RecallCurve
{
    private int[] _ks = [];

    [Parameter, EditorRequired]
    public IReadOnlyList<RecallLine> Lines { get; set; } = [];

    /// <inheritdoc/>
    protected override void OnParametersSet() => _ks = [.. Lines.SelectMany(l => l.Recalls).Select(r => r.K).Distinct().Order()];

    private double X(int k) => 44 + (Math.Log(Math.Max(1, k)) / Math.Max(1e-9, Math.Log(Math.Max(2, _ks[^1]))) * 258);

    private static double Y(double value) => 166 - (Math.Clamp(value, 0, 1) * 156);

    private string Path(IEnumerable<(int K, double Value)> points) =>
        "M" + string.Join('L', points.OrderBy(p => p.K).Select(p => $"{F(X(p.K))} {F(Y(p.Value))}"));

    private static string F(double value) => value.ToString("0.#", CultureInfo.InvariantCulture);
}
