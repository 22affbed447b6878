// Why this exists: writes the manifest of a run and its differences to another.
using System.Security.Claims;
using CoCLR.Dashboard.Authentication;
using CoCLR.Dashboard.Formatting;
using CoCLR.Dashboard.Storage;
using Microsoft.AspNetCore.Components;

namespace CoCLR.Dashboard.Components.Controls;

/// <summary>What was asked for, as YAML to copy, and how it differs from another run.</summary>
public sealed partial class ManifestTab
{
    private RunInfo[] _others = [];
    private string _yaml = "";
    private string? _shown;
    private List<(string Field, string Mine, string Theirs)>? _changes;

    [Inject]
    private RunStore Store { get; set; } = null!;

    [Inject]
    private NavigationManager Navigation { get; set; } = null!;

    [Parameter, EditorRequired]
    public RunInfo Info { get; set; } = null!;

    [Parameter, EditorRequired]
    public ClaimsPrincipal User { get; set; } = null!;

    [SupplyParameterFromQuery]
    private string? With { get; set; }

    /// <inheritdoc/>
    protected override void OnParametersSet()
    {
        _others = [.. Store.Runs.Where(r => r.Run != Info.Run && r.PlanJson != null && User.MaySee(r)).OrderByDescending(r => r.Created)];
        string key = Info.PlanJson + With;
        if (_shown == key)
        {
            return;
        }

        _shown = key;
        _yaml = ManifestText.Of(Info);
        _changes = null;
        if (!string.IsNullOrEmpty(With) && Store.Find(With) is { } other && User.MaySee(other))
        {
            IReadOnlyDictionary<string, string> mine = ManifestText.Flat(Info), theirs = ManifestText.Flat(other);
            _changes = [.. mine.Keys.Union(theirs.Keys).Order(StringComparer.Ordinal)
                .Select(k => (k, mine.GetValueOrDefault(k, ""), theirs.GetValueOrDefault(k, ""))).Where(c => c.Item2 != c.Item3)];
        }
    }

    private void Compare(string? run) => Navigation.NavigateTo(Navigation.GetUriWithQueryParameter("with", run), replace: true);
}
