// Why this exists: axes and lines of runs.
using System.Globalization;
using CoCLR.Dashboard.Formatting;
using CoCLR.Dashboard.Storage;
using Microsoft.AspNetCore.Components;

namespace CoCLR.Dashboard.Components.Controls;

/// <summary>Which settings lead to which numbers, for sweeps.</summary>
public sealed partial class ParallelCoordinates
{
    private readonly List<(double Low, double High, string[] Names)> _scales = [];

    [Parameter, EditorRequired]
    public IReadOnlyList<string> Axes { get; set; } = [];

    [Parameter, EditorRequired]
    public IReadOnlyList<ParallelLine> Lines { get; set; } = [];

    private static string Short(double value) => value.ToString("0.###", CultureInfo.InvariantCulture);

    private int Width => Math.Max(420, Axes.Count * 150);

    /// <summary>Axes: fields that differ, then loss, probe and recall.</summary>
    public static (List<string> Axes, List<ParallelLine> Lines) Of(IReadOnlyList<RunInfo> runs)
    {
        IReadOnlyDictionary<string, string>[] fields = [.. runs.Select(ManifestText.Flat)];
        List<string> axes = [.. fields.SelectMany(f => f.Keys).Distinct()
            .Where(k => fields.Select(f => f.GetValueOrDefault(k, "")).Distinct().Count() > 1).Take(7)];
        return ([.. axes.Select(a => a.Split('.')[^1]), "loss", "probe %", "R@1 %"],
            [.. runs.Select((r, i) => new ParallelLine(r.Experiment,
            [.. axes.Select(a => fields[i].GetValueOrDefault(a, "")), Value(r.Loss), Value(r.BestProbe * 100),
                Value(r.RecallAt1 * 100)]))]);

        static string Value(double? value) => value?.ToString("0.####", CultureInfo.InvariantCulture) ?? "";
    }

    /// <inheritdoc/>
    protected override void OnParametersSet()
    {
        _scales.Clear();
        for (int a = 0; a < Axes.Count; a++)
        {
            string[] values = [.. Lines.Select(l => l.Values[a]).Where(v => v.Length > 0).Distinct().Order(StringComparer.Ordinal)];
            double[] numbers = [.. values.Where(v => double.TryParse(v, CultureInfo.InvariantCulture, out _))
                .Select(v => double.Parse(v, CultureInfo.InvariantCulture))];
            _scales.Add(numbers.Length == values.Length && numbers.Length > 0 ? (numbers.Min(), numbers.Max(), [])
                : (0, Math.Max(1, values.Length - 1), values));
        }
    }

    private int X(int axis) => 60 + (axis * (Width - 150) / Math.Max(1, Axes.Count - 1));

    private double Y(int axis, double value) =>
        _scales[axis].High > _scales[axis].Low ? 216 - ((value - _scales[axis].Low) / (_scales[axis].High - _scales[axis].Low) * 182) : 125;

    private string Path(ParallelLine line)
    {
        var path = new System.Text.StringBuilder();
        for (int a = 0; a < Axes.Count; a++)
        {
            string text = line.Values[a];
            double? at = _scales[a].Names.Length > 0 ? Array.IndexOf(_scales[a].Names, text) is >= 0 and var n ? n : null
                : double.TryParse(text, CultureInfo.InvariantCulture, out double v) ? v : null;
            if (at is { } value)
            {
                path.Append(path.Length == 0 ? 'M' : 'L').Append(X(a)).Append(' ').Append(F(Y(a, value)));
            }
        }

        return path.ToString();
    }

    private static string F(double value) => value.ToString("0.#", CultureInfo.InvariantCulture);
}
