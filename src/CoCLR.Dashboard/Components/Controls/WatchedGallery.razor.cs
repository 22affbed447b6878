// Why this exists: chooses the look at the neighbours, and says how they moved since the one before.
using System.Globalization;
using CoCLR.Core.Results;
using CoCLR.Dashboard.Storage;
using Microsoft.AspNetCore.Components;

namespace CoCLR.Dashboard.Components.Controls;

/// <summary>How neighbours changed while a run learned.</summary>
public sealed partial class WatchedGallery
{
    private string[] _stages = [];
    private string _stage = "";
    private string _film = "rgb";
    private WatchedLook[] _looks = [];
    private int _at;
    private QueryNeighbours[] _queries = [];
    private Dictionary<string, string[]> _before = [];

    [Parameter, EditorRequired]
    public RunInfo Info { get; set; } = null!;

    /// <summary>The looks; at least one.</summary>
    [Parameter, EditorRequired]
    public IReadOnlyList<WatchedLook> Looks { get; set; } = [];

    /// <summary>The stage that is looked at.</summary>
    [SupplyParameterFromQuery]
    private string? During { get; set; }

    [SupplyParameterFromQuery]
    private int? Epoch { get; set; }

    [SupplyParameterFromQuery]
    private string? Film { get; set; }

    [Inject]
    private RunResults Results { get; set; } = null!;

    [Inject]
    private NavigationManager Navigation { get; set; } = null!;

    private string Summary => $"{_queries.Count(q => q.Neighbours is [{ Hit: true }, ..])} of {_queries.Length} find their own class first"
        + (_before.Count == 0 ? "" : $" · {_queries.Sum(New)} of {_queries.Sum(q => q.Neighbours.Length)} neighbours are new");

    /// <inheritdoc/>
    protected override void OnParametersSet()
    {
        _stages = [.. Info.Stages.Select(s => s.Name).Where(s => Looks.Any(l => l.Stage == s))];
        _stage = During is { } asked && _stages.Contains(asked) ? asked : _stages[^1];
        _film = Film == "flow" ? "flow" : "rgb";
        _looks = [.. Looks.Where(l => l.Stage == _stage)];
        _at = Epoch is { } epoch ? Math.Max(0, Array.FindLastIndex(_looks, l => l.Epoch <= epoch)) : _looks.Length - 1;
        _queries = Results.Neighbours(Info, _looks[_at])?.Queries ?? [];
        _before = _at == 0 ? [] : (Results.Neighbours(Info, _looks[_at - 1])?.Queries ?? []).DistinctBy(q => q.Id)
            .ToDictionary(q => q.Id, q => q.Neighbours.Select(n => n.Id).ToArray());
    }

    private int New(QueryNeighbours query) => query.Neighbours.Select((n, i) => Moved(query.Id, n.Id, i)).Count(m => m == "new");

    private string? Moved(string query, string neighbour, int rank)
    {
        if (!_before.TryGetValue(query, out string[]? nearest))
        {
            return null;
        }

        int was = Array.IndexOf(nearest, neighbour);
        return was < 0 ? "new" : was == rank ? null : was > rank ? $"↑{was - rank}" : $"↓{rank - was}";
    }

    private void Slide(ChangeEventArgs e)
    {
        if (int.TryParse((string?)e.Value, NumberStyles.None, CultureInfo.InvariantCulture, out int at) && at < _looks.Length)
        {
            Set(("during", _stage), ("epoch", _looks[at].Epoch));
        }
    }

    private void Set(params (string Name, object? Value)[] values) =>
        Navigation.NavigateTo(Navigation.GetUriWithQueryParameters(values.ToDictionary(v => v.Name, v => v.Value is "" ? null : v.Value)),
            replace: true);
}
