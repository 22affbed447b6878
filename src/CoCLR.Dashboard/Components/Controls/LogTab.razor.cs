// Why this exists: gives the script that draws the log the rows that it asks for, and tells it when there are more.
using CoCLR.Dashboard.Formatting;
using CoCLR.Dashboard.Storage;
using Microsoft.AspNetCore.Components;
using Microsoft.Extensions.Caching.Memory;
using Microsoft.JSInterop;
using MudBlazor;

namespace CoCLR.Dashboard.Components.Controls;

/// <summary>The log of a run.</summary>
public sealed partial class LogTab : IAsyncDisposable
{
    private static readonly string[] Levels = ["error", "warning", "info", "debug"];

    private readonly string _id = Guid.NewGuid().ToString("N");
    private ElementReference _box;
    private IJSObjectReference? _module;
    private DotNetObjectReference<LogTab>? _self;
    private LogRows? _rows;
    private string _rowsKey = "";
    private string _shownKey = "";
    private int _total = -1;

    [Parameter, EditorRequired]
    public RunInfo Info { get; set; } = null!;

    [Inject]
    private RunStore Store { get; set; } = null!;

    [Inject]
    private IMemoryCache Cache { get; set; } = null!;

    [Inject]
    private NavigationManager Navigation { get; set; } = null!;

    [Inject]
    private IJSRuntime Script { get; set; } = null!;

    [Inject]
    private ISnackbar Snackbar { get; set; } = null!;

    [SupplyParameterFromQuery]
    private string? Stage { get; set; }

    [SupplyParameterFromQuery]
    private string? Level { get; set; }

    [SupplyParameterFromQuery(Name = "text")]
    private string? Contains { get; set; }

    [SupplyParameterFromQuery(Name = "wrap")]
    private bool? Wrap { get; set; }

    private bool Wraps => Wrap ?? true;

    private bool Over => Info.State is RunState.Succeeded or RunState.Failed or RunState.Stopped;

    private bool Filtered => !string.IsNullOrEmpty(Stage) || !string.IsNullOrEmpty(Level) || !string.IsNullOrEmpty(Contains);

    private string EmptyTitle => Filtered ? "No line matches" : Over ? "The stages wrote no log" : "No log yet";

    private string EmptyText => Filtered ? "Take a filter away to see more."
        : Over ? "There was nothing to say. What happened when stands in the history on the overview."
        : "Lines appear here as the stages write them.";

    private string Download => $"api/v1/runs/{Uri.EscapeDataString(Info.Run)}/logs.txt"
        + (string.IsNullOrEmpty(Stage) ? "" : $"?stage={Uri.EscapeDataString(Stage)}");

    /// <summary>Rows for the screen; asked for by the script.</summary>
    /// <param name="columns">Characters that fit into a row; 0 for rows without end.</param>
    /// <param name="from">The first row; -1 for the last ones.</param>
    /// <param name="count">How many.</param>
    [JSInvokable]
    public async Task<LogWindow> Rows(int columns, int from, int count)
    {
        LogRows rows = RowsFor(columns);
        LogWindow window = await Task.Run(() =>
        {
            rows.Update();
            return rows.Window(from, count);
        });
        if (_total != window.Total)
        {
            bool changes = _total is 0 != window.Total is 0;
            _total = window.Total;
            if (changes)
            {
                StateHasChanged();
            }
        }

        return window;
    }

    /// <summary>The row of the next error after a row, or -1.</summary>
    /// <param name="columns">As above.</param>
    /// <param name="after">The row.</param>
    [JSInvokable]
    public Task<int> ErrorAfter(int columns, int after) => Task.Run(() => RowsFor(columns).NextError(after));

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        _self?.Dispose();
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
            // The page is gone, and its log with it.
        }
    }

    /// <inheritdoc/>
    protected override void OnParametersSet()
    {
        if (_total < 0 && Store.LogCounts(Info.Run).All(l => l.Count == 0))
        {
            _total = 0;
        }
    }

    /// <inheritdoc/>
    protected override async Task OnAfterRenderAsync(bool firstRender)
    {
        string key = $"{Filter}|{Wraps}|{Info.Stages.Sum(s => (long)s.LogLines)}";
        if (key == _shownKey)
        {
            return;
        }

        _shownKey = key;
        if (_self == null)
        {
            _self = DotNetObjectReference.Create(this);
            _module = await Script.InvokeAsync<IJSObjectReference>("import", "./js/logs.js");
            await _module.InvokeVoidAsync("create", _id, _box, _self);
        }

        if (_module != null)
        {
            await _module.InvokeVoidAsync("update", _id, Filter, Wraps, Contains ?? "");
        }
    }

    private string Filter => $"{Info.Run}|{Stage}|{Level}|{Contains}";

    private LogRows RowsFor(int columns)
    {
        string key = $"{Filter}|{columns}";
        if (_rows == null || _rowsKey != key)
        {
            _rowsKey = key;
            // Kept a while, so that a person who goes to and fro does not make it read the log again.
            _rows = Cache.GetOrCreate(("log", key), entry =>
            {
                entry.SetSize(16 * Math.Max(1024, Info.Stages.Sum(s => (long)s.LogLines))).SetSlidingExpiration(TimeSpan.FromMinutes(2));
                return new LogRows(Store, Info.Run, Blank(Stage), Blank(Level), Blank(Contains), columns <= 0 ? int.MaxValue
                    : Math.Max(16, columns));
            })!;
        }

        return _rows;

        static string? Blank(string? text) => string.IsNullOrEmpty(text) ? null : text;
    }

    private async Task NextErrorAsync()
    {
        if (_module != null && !await _module.InvokeAsync<bool>("nextError", _id))
        {
            Snackbar.Add("There is no error in these lines.", Severity.Info);
        }
    }

    private void Set(string name, string? value) =>
        Navigation.NavigateTo(Navigation.GetUriWithQueryParameter(name, string.IsNullOrEmpty(value) ? null : value), replace: true);
}
