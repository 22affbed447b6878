// Why this exists: hands a chart's settings to the script that draws it, and only what changed.
using System.Globalization;
using Microsoft.AspNetCore.Components;
using Microsoft.JSInterop;
using MudBlazor;

namespace CoCLR.Dashboard.Components.Controls;

/// <summary>A chart.</summary>
public sealed partial class MetricChart : IAsyncDisposable
{
    private static readonly (string Act, string Name, string Icon)[] Tools =
    [
        ("full", "Full screen", Icons.Material.Outlined.Fullscreen), ("png", "Save as PNG", Icons.Material.Outlined.Image),
        ("svg", "Save as SVG", Icons.Material.Outlined.Polyline),
    ];

    private readonly string _id = Guid.NewGuid().ToString("N");
    private ElementReference _element;
    private IJSObjectReference? _module;
    private string _shownKey = "";

    [Parameter, EditorRequired]
    public string Title { get; set; } = "";

    [Parameter, EditorRequired]
    public IReadOnlyList<ChartSeries> Series { get; set; } = [];

    /// <summary>step, epoch, relative or time.</summary>
    [Parameter]
    public string X { get; set; } = "step";

    /// <summary>Logarithmic values.</summary>
    [Parameter]
    public bool Log { get; set; }

    /// <summary>Weight of the past in the running mean, in [0, 1).</summary>
    [Parameter]
    public double Smoothing { get; set; }

    /// <summary>Values are fractions, shown as percentages.</summary>
    [Parameter]
    public bool Percent { get; set; }

    /// <summary>Values are bytes.</summary>
    [Parameter]
    public bool InBytes { get; set; }

    /// <summary>Height of the plot in pixels.</summary>
    [Parameter]
    public int Height { get; set; } = 200;

    /// <summary>A level to be compared with, such as chance; none when null.</summary>
    [Parameter]
    public double? Level { get; set; }

    /// <summary>What the level is.</summary>
    [Parameter]
    public string LevelName { get; set; } = "chance";

    /// <summary>Charts of one key share their crosshair.</summary>
    [Parameter]
    public string Sync { get; set; } = "page";

    /// <summary>Points of each curve.</summary>
    [Parameter]
    public int Points { get; set; } = 3000;

    /// <summary>Leaves the strangest hundredth of the values on either side out of the vertical axis.</summary>
    [Parameter]
    public bool HideOutliers { get; set; }

    /// <summary>Lower end of the vertical axis; by the values when null.</summary>
    [Parameter]
    public double? YMin { get; set; }

    /// <summary>Upper end of the vertical axis; by the values when null.</summary>
    [Parameter]
    public double? YMax { get; set; }

    /// <summary>It stands on the overview of every run.</summary>
    [Parameter]
    public bool Pinned { get; set; }

    /// <summary>It is pinned to the overview or taken away from there; no button where nobody listens.</summary>
    [Parameter]
    public EventCallback<bool> PinnedChanged { get; set; }

    [Inject]
    private IJSRuntime Script { get; set; } = null!;

    private string Csv => $"api/v1/runs/{Uri.EscapeDataString(Series[0].Run)}/metrics.csv?names="
        + Uri.EscapeDataString(string.Join(',', Series.Where(s => s.Run == Series[0].Run).Select(s => s.Name).Distinct()));

    private object Config => new
    {
        title = Title, series = Series, x = X, log = Log, smoothing = Math.Clamp(Smoothing, 0, 0.999), percent = Percent, bytes = InBytes,
        height = Height,
        sync = Sync, points = Points, level = Level, levelName = LevelName, outliers = HideOutliers ? "hide"
            : "show", yMin = YMin, yMax = YMax, live = true,
    };

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        try
        {
            if (_module != null)
            {
                await _module.InvokeVoidAsync("dispose", _id);
                await _module.DisposeAsync();
            }
        }
        catch (JSDisconnectedException)
        {
            // The page is gone, and its charts with it.
        }
    }

    /// <inheritdoc/>
    protected override async Task OnAfterRenderAsync(bool firstRender)
    {
        string key = string.Create(CultureInfo.InvariantCulture,
            $"{Title}|{X}|{Log}|{Smoothing}|{Height}|{Points}|{Level}|{HideOutliers}|{YMin}|{YMax}|{string.Join(';', Series)}");
        if (_shownKey == key)
        {
            return;
        }

        if (firstRender)
        {
            _shownKey = key;
            _module = await Script.InvokeAsync<IJSObjectReference>("import", "./js/charts.js");
            await _module.InvokeVoidAsync("create", _element, _id, Config);
        }
        else if (_module != null)
        {
            _shownKey = key;
            await _module.InvokeVoidAsync("update", _id, Config);
        }
    }
}
