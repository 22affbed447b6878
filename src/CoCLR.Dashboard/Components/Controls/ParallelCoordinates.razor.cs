// Why this exists: axes and lines of runs.
using System.Globalization;
using CoCLR.Dashboard.Formatting;
using CoCLR.Dashboard.Storage;
using Microsoft.AspNetCore.Components;
using Microsoft.AspNetCore.Components.Web;
using Microsoft.JSInterop;

namespace CoCLR.Dashboard.Components.Controls;

/// <summary>Which settings lead to which numbers, for sweeps.</summary>
public sealed partial class ParallelCoordinates : IAsyncDisposable
{
    private const int Step = 5;
    private readonly List<(double Low, double High, string[] Names)> _scales = [];
    private readonly Dictionary<int, (double From, double To)> _ranges = [];
    private ElementReference _element;
    private IJSObjectReference? _module;
    private DotNetObjectReference<ParallelCoordinates>? _self;

    [Parameter, EditorRequired]
    public IReadOnlyList<string> Axes { get; set; } = [];

    [Parameter, EditorRequired]
    public IReadOnlyList<ParallelLine> Lines { get; set; } = [];

    /// <summary>Ranges of axes as an address keeps them: <c>AXIS:FROM:TO</c> in percent of the axis, separated by commas.</summary>
    [Parameter]
    public string? Brush { get; set; }

    /// <summary>Other ranges were chosen; null for none.</summary>
    [Parameter]
    public EventCallback<string?> BrushChanged { get; set; }

    [Inject]
    private IJSRuntime Script { get; set; } = null!;

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

        _ranges.Clear();
        foreach (string[] parts in (Brush ?? "").Split(',').Select(p => p.Split(':')).Where(p => p.Length == 3))
        {
            if (int.TryParse(parts[0], NumberStyles.None, CultureInfo.InvariantCulture, out int axis) && axis < Axes.Count
                && double.TryParse(parts[1], NumberStyles.Float, CultureInfo.InvariantCulture, out double from)
                && double.TryParse(parts[2], NumberStyles.Float, CultureInfo.InvariantCulture, out double to) && from >= 0 && from < to && to <= 100)
            {
                _ranges[axis] = (from, to);
            }
        }
    }

    /// <inheritdoc/>
    protected override async Task OnAfterRenderAsync(bool firstRender)
    {
        if (firstRender)
        {
            _self = DotNetObjectReference.Create(this);
            _module = await Script.InvokeAsync<IJSObjectReference>("import", "./js/brush.js");
            await _module.InvokeVoidAsync("attach", _element, _self);
        }
    }

    /// <summary>A range of an axis was drawn, in percent of the axis; an empty one takes it away.</summary>
    [JSInvokable]
    public Task Brushed(int axis, double from, double to)
    {
        if (axis < 0 || axis >= Axes.Count)
        {
            return Task.CompletedTask;
        }

        var ranges = new SortedDictionary<int, (double From, double To)>(_ranges);
        ranges.Remove(axis);
        (from, to) = (Math.Clamp(Math.Round(from), 0, 100), Math.Clamp(Math.Round(to), 0, 100));
        if (to > from)
        {
            ranges[axis] = (from, to);
        }

        return Tell(ranges);
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        _self?.Dispose();
        try
        {
            if (_module != null)
            {
                await _module.DisposeAsync();
            }
        }
        catch (JSDisconnectedException)
        {
            // The page is gone.
        }
    }

    private Task Tell(SortedDictionary<int, (double From, double To)> ranges) => BrushChanged.InvokeAsync(ranges.Count == 0 ? null
        : string.Join(',', ranges.Select(r => string.Create(CultureInfo.InvariantCulture, $"{r.Key}:{r.Value.From}:{r.Value.To}"))));

    private Task Key(int axis, KeyboardEventArgs e)
    {
        (double from, double to) = _ranges.TryGetValue(axis, out (double From, double To) range) ? range : (0, 100);
        return e.Key switch
        {
            "ArrowUp" => Brushed(axis, Math.Min(from + Step, to - Step), to),
            "ArrowDown" => Brushed(axis, from - Step, to),
            "PageUp" => Brushed(axis, from, to + Step),
            "PageDown" => Brushed(axis, from, Math.Max(to - Step, from + Step)),
            "Delete" or "Backspace" => Brushed(axis, 0, 0),
            _ => Task.CompletedTask,
        };
    }

    private string Now(int axis) => _ranges.TryGetValue(axis, out (double From, double To) r) ? r.From.ToString("0", CultureInfo.InvariantCulture) : "0";

    private string Spoken(int axis) => _ranges.TryGetValue(axis, out (double From, double To) r)
        ? string.Create(CultureInfo.InvariantCulture, $"from {r.From} to {r.To} percent of the axis") : "all";

    /// <summary>A place of an axis in percent, from its lower end.</summary>
    private static double Place(double percent) => 216 - (percent / 100 * 182);

    private bool Within(ParallelLine line) => _ranges.All(r => At(line, r.Key) is { } value && (216 - Y(r.Key, value)) / 182 * 100 is var percent
        && percent >= r.Value.From - 0.5 && percent <= r.Value.To + 0.5);

    private double? At(ParallelLine line, int axis)
    {
        string text = line.Values[axis];
        return _scales[axis].Names.Length > 0 ? Array.IndexOf(_scales[axis].Names, text) is >= 0 and var n ? n : null
            : double.TryParse(text, CultureInfo.InvariantCulture, out double v) ? v : null;
    }

    private int X(int axis) => 60 + (axis * (Width - 150) / Math.Max(1, Axes.Count - 1));

    private double Y(int axis, double value) =>
        _scales[axis].High > _scales[axis].Low ? 216 - ((value - _scales[axis].Low) / (_scales[axis].High - _scales[axis].Low) * 182) : 125;

    private string Path(ParallelLine line)
    {
        var path = new System.Text.StringBuilder();
        for (int a = 0; a < Axes.Count; a++)
        {
            double? at = At(line, a);
            if (at is { } value)
            {
                path.Append(path.Length == 0 ? 'M' : 'L').Append(X(a)).Append(' ').Append(F(Y(a, value)));
            }
        }

        return path.ToString();
    }

    private static string F(double value) => value.ToString("0.#", CultureInfo.InvariantCulture);
}
