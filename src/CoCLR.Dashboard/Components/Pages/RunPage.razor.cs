// Why this exists: finds the run, keeps listening, and answers for a run that goes away while it is looked at.
using CoCLR.Dashboard.Authentication;
using CoCLR.Dashboard.Storage;
using Microsoft.AspNetCore.Components;

namespace CoCLR.Dashboard.Components.Pages;

/// <summary>A run.</summary>
public sealed partial class RunPage
{
    private static readonly (string Key, string Name)[] Tabs =
    [
        ("overview", "Overview"), ("curves", "Curves"), ("retrieval", "Retrieval"), ("mining", "Mining"), ("probe", "Linear probe"), ("embedding", "Embedding"),
        ("results", "Results"), ("system", "System"), ("log", "Log"), ("artifacts", "Artifacts"), ("manifest", "Manifest"),
    ];

    private RunInfo? _info;
    private bool _seen;

    /// <summary>Id of the run.</summary>
    [Parameter]
    public string Run { get; set; } = "";

    /// <summary>Tab.</summary>
    [Parameter]
    public string? Tab { get; set; }

    /// <inheritdoc/>
    protected override string? Listening => Run;

    private string Current => Tabs.Any(t => t.Key == Tab) ? Tab! : "overview";

    /// <inheritdoc/>
    protected override void Refresh()
    {
        _info = Store.Find(Run) is { } info && User.MaySee(info) ? info : null;
        _seen |= _info != null;
    }
}
