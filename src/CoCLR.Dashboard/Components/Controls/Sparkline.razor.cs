// Why this exists: makes one path of up to 64 values.
using System.Globalization;
using Microsoft.AspNetCore.Components;

namespace CoCLR.Dashboard.Components.Controls;

/// <summary>The course of the loss at a glance, as one path.</summary>
public sealed partial class Sparkline
{
    private string _path = "";
    private float _first;
    private float _last;
    private System.Collections.Immutable.ImmutableArray<float> _drawn;

    [Parameter, EditorRequired]
    public System.Collections.Immutable.ImmutableArray<float> Values { get; set; } = [];

    /// <inheritdoc/>
    protected override void OnParametersSet()
    {
        if (_drawn == Values || Values.IsDefault)
        {
            return;
        }

        _drawn = Values;
        float[] values = [.. Values.Where(float.IsFinite)];
        if (values.Length < 2)
        {
            _path = "";
            return;
        }

        (_first, _last) = (values[0], values[^1]);
        double low = values.Min(), high = values.Max();
        var path = new System.Text.StringBuilder("M");
        for (int i = 0; i < values.Length; i++)
        {
            double y = high > low ? 22 - ((values[i] - low) / (high - low) * 20) : 12;
            path.Append(CultureInfo.InvariantCulture, $"{(i == 0 ? "" : "L")}{i * 95.0 / (values.Length - 1):0.#} {y:0.#}");
        }

        _path = path.ToString();
    }
}
