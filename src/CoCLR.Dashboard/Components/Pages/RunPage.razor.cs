// Why this exists: finds the run, keeps listening, and answers for a run that is about to begin, or that goes away while it is looked at.
using CoCLR.Dashboard.Authentication;
using CoCLR.Dashboard.Configuration;
using CoCLR.Dashboard.Formatting;
using CoCLR.Dashboard.Hosting;
using CoCLR.Dashboard.Storage;
using Microsoft.AspNetCore.Components;
using Microsoft.Extensions.Options;
using Microsoft.JSInterop;

namespace CoCLR.Dashboard.Components.Pages;

/// <summary>A run.</summary>
public sealed partial class RunPage
{
    private static readonly (string Key, string Name)[] Tabs =
    [
        ("overview", "Overview"), ("curves", "Curves"), ("retrieval", "Retrieval"), ("mining", "Mining"), ("probe", "Linear probe"),
            ("embedding", "Embedding"),
        ("results", "Results"), ("system", "System"), ("log", "Log"), ("artifacts", "Artifacts"), ("manifest", "Manifest"),
    ];

    private RunInfo? _info;
    private bool _seen;
    private bool _starting;
    private string? _failure;
    private string _output = "";
    private string? _revealed;
    private string[] _health = [];

    /// <summary>Id of the run.</summary>
    [Parameter]
    public string Run { get; set; } = "";

    /// <summary>Tab.</summary>
    [Parameter]
    public string? Tab { get; set; }

    /// <inheritdoc/>
    protected override string? Listening => Run;

    [Inject]
    private LocalHost Host { get; set; } = null!;

    [Inject]
    private IOptions<DashboardOptions> Options { get; set; } = null!;

    [Inject]
    private IJSRuntime Script { get; set; } = null!;

    private string Current => Tabs.Any(t => t.Key == Tab) ? Tab! : "overview";

    private bool Silent => _info != null && Text.Silent(_info, Now, Options.Value.Limits.SilentSeconds);

    private string About => string.Join(" · ",
        new[] { _info!.Namespace, _info.Method, _info.Backbone, _info.DataSet, _info.Device }.Where(s => !string.IsNullOrEmpty(s)));

    /// <inheritdoc/>
    protected override void Refresh()
    {
        _info = Store.Find(Run) is { } info && User.MaySee(info) ? info : null;
        _seen |= _info != null;
        _health = _info is null ? [] : [.. RunHealth.Of(_info, Store)];
        bool mine = User.MayEdit();
        _failure = mine ? Host.Failures.GetValueOrDefault(Run) : null;
        _starting = mine && _info == null && !_seen && (Host.IsStarting(Run) || _failure != null);
        _output = _starting ? Host.Output(Run) : "";
    }

    /// <inheritdoc/>
    protected override async Task OnAfterRenderAsync(bool firstRender)
    {
        if (_info != null && _revealed != Current)
        {
            // On a small screen the tab that is shown may lie outside.
            _revealed = Current;
            await Script.InvokeVoidAsync("coclr.reveal", ".tabs .on");
        }
    }
}
