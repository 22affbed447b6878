// Why this exists: gives the script that draws the map its points, and takes back what was chosen.
using CoCLR.Core.Results;
using CoCLR.Dashboard.Storage;
using Microsoft.AspNetCore.Components;
using Microsoft.JSInterop;

namespace CoCLR.Dashboard.Components.Controls;

/// <summary>The representation as a map.</summary>
public sealed partial class EmbeddingTab : IAsyncDisposable
{
    private static readonly (string Key, string Name)[] Colours =
        [("class", "By class"), ("predicted", "By prediction"), ("right", "Right or wrong"), ("split", "By split")];

    private readonly string _id = Guid.NewGuid().ToString("N");
    private IReadOnlyList<ArtifactInfo> _artifacts = [];
    private ArtifactInfo? _artifact;
    private Projection? _projection;
    private string _colour = "class";
    private string _class = "";
    private ElementReference _element;
    private IJSObjectReference? _module;
    private DotNetObjectReference<EmbeddingTab>? _self;
    private string _drawn = "";
    private ProjectedVideo[] _selected = [];
    private int _count;
    private List<(string Name, int Group)> _legend = [];

    [Inject]
    private RunResults Results { get; set; } = null!;

    [Inject]
    private NavigationManager Navigation { get; set; } = null!;

    [Inject]
    private IJSRuntime Script { get; set; } = null!;

    [Parameter, EditorRequired]
    public RunInfo Info { get; set; } = null!;

    [SupplyParameterFromQuery]
    private string? Map { get; set; }

    [SupplyParameterFromQuery]
    private string? Colour { get; set; }

    /// <summary>The lasso closed.</summary>
    [JSInvokable]
    public void Selected(int[] indexes, int count)
    {
        ArgumentNullException.ThrowIfNull(indexes);
        _count = count;
        _selected = [.. indexes.Take(60).Where(i => i >= 0 && i < (_projection?.Points.Length ?? 0)).Select(i => _projection!.Points[i])];
        StateHasChanged();
    }

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
            // The page is gone, and its canvas with it.
        }
    }

    /// <inheritdoc/>
    protected override void OnParametersSet()
    {
        _artifacts = Results.Projections(Info);
        _artifact = _artifacts.FirstOrDefault(a => a.Id == Map)
            ?? _artifacts.FirstOrDefault(a => a.Name.Contains("tsne", StringComparison.Ordinal))
            ?? (_artifacts.Count > 0 ? _artifacts[0] : null);
        _projection = _artifact is null ? null : Results.Projection(Info, _artifact);
        _colour = Colour is "predicted" or "right" or "split" ? Colour : "class";
        _legend = _colour switch
        {
            "right" => [("right", 2), ("wrong", 5), ("not classified", -1)],
            "split" => [("test", 0), ("train", 1)],
            _ => [.. (_projection?.ClassNames ?? []).Select((n, i) => (n, i)), .. _colour == "predicted"
                ? new[] { ("not classified", -1) } : []],
        };
    }

    /// <inheritdoc/>
    protected override async Task OnAfterRenderAsync(bool firstRender)
    {
        string key = $"{_artifact?.Id}{_artifact?.Sha256}|{_colour}";
        if (_projection == null || _drawn == key)
        {
            return;
        }

        _drawn = key;
        ProjectedVideo[] points = _projection.Points;
        var data = new
        {
            x = points.Select(p => Math.Round(p.X, 4)).ToArray(),
            y = points.Select(p => Math.Round(p.Y, 4)).ToArray(),
            group = points.Select(Group).ToArray(),
            ring = points.Select(p => p.Split == "train" ? 1 : 0).ToArray(),
            label = points.Select(Label).ToArray(),
            run = Info.Run,
            id = points.Select(p => p.Id).ToArray(),
        };
        if (_module == null)
        {
            _self = DotNetObjectReference.Create(this);
            _module = await Script.InvokeAsync<IJSObjectReference>("import", "./js/scatter.js");
            await _module.InvokeVoidAsync("create", _element, _id, _self, data);
        }
        else
        {
            await _module.InvokeVoidAsync("set", _id, data);
        }
    }

    private async Task SelectClassAsync(string name)
    {
        if (_projection == null || _module == null)
        {
            return;
        }

        _class = name;
        int label = Array.IndexOf(_projection.ClassNames, name);
        int[] indexes = label < 0 ? []
            : [.. Enumerable.Range(0, _projection.Points.Length).Where(i => _projection.Points[i].Label == label)];
        await _module.InvokeVoidAsync("select", _id, indexes);
        Selected(indexes, indexes.Length);
    }

    private static string MapName(ArtifactInfo a)
    {
        string name = Path.GetFileNameWithoutExtension(a.Name);
        return $"{a.Stage} · {name switch { "projection-tsne" => "t-SNE", "projection-pca" => "principal components", _ => name }}";
    }

    private string Label(ProjectedVideo p) =>
        $"{Name(p.Label) ?? p.Id} · {p.Split}{(p.Predicted is { } q && q != p.Label ? $" · taken for {Name(q)}" : "")}";

    private int Group(ProjectedVideo p) => _colour switch
    {
        "predicted" => p.Predicted ?? -1,
        "right" => p.Predicted is null || p.Label is null ? -1 : p.Predicted == p.Label ? 2 : 5,
        "split" => p.Split == "train" ? 1 : 0,
        _ => p.Label ?? -1,
    };

    private string? Name(int? label) =>
        label is { } l && l >= 0 && l < (_projection?.ClassNames.Length ?? 0) ? _projection!.ClassNames[l] : null;

    private void Set(string name, object? value) =>
        Navigation.NavigateTo(Navigation.GetUriWithQueryParameters(new Dictionary<string, object?> { [name] = value }), replace: true);
}
