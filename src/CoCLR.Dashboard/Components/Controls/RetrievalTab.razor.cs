// Why this exists: chooses the queries of the gallery and the lanes of neighbours below each.
using System.Security.Claims;
using CoCLR.Core.Results;
using CoCLR.Dashboard.Authentication;
using CoCLR.Dashboard.Formatting;
using CoCLR.Dashboard.Storage;
using Microsoft.AspNetCore.Components;

namespace CoCLR.Dashboard.Components.Controls;

/// <summary>The retrieval gallery.</summary>
public sealed partial class RetrievalTab
{
    private const int PageSize = 24;

    private static readonly (string Key, string Name)[] Shows =
        [("all", "All queries"), ("hits", "First neighbour right"), ("misses", "First neighbour wrong"), ("hardest", "Hardest first")];

    /// <summary>As what clips are shown.</summary>
    internal static readonly (string Key, string Name)[] Films = [("rgb", "RGB"), ("flow", "Flow")];

    private IReadOnlyList<string> _views = [];
    private IReadOnlyList<WatchedLook> _looks = [];
    private bool _learning;
    private string _view = "rgb";
    private string _film = "rgb";
    private bool _side;
    private NeighbourTable? _table;
    private readonly Dictionary<string, Dictionary<string, QueryNeighbours>> _byView = [];
    private Dictionary<string, QueryNeighbours> _theirs = [];
    private string _theirName = "";
    private string _theirRun = "";
    private RunInfo[] _others = [];
    private QueryNeighbours[] _shown = [];
    private int _matching;
    private List<RecallLine> _recalls = [];

    [Parameter, EditorRequired]
    public RunInfo Info { get; set; } = null!;

    [Parameter, EditorRequired]
    public ClaimsPrincipal User { get; set; } = null!;

    [SupplyParameterFromQuery(Name = "view")]
    private string? ViewAsked { get; set; }

    [SupplyParameterFromQuery]
    private string? During { get; set; }

    [SupplyParameterFromQuery]
    private string? Class { get; set; }

    [SupplyParameterFromQuery]
    private string? Show { get; set; }

    [SupplyParameterFromQuery]
    private string? Against { get; set; }

    [SupplyParameterFromQuery]
    private string? Q { get; set; }

    [SupplyParameterFromQuery]
    private string? Film { get; set; }

    [SupplyParameterFromQuery]
    private bool? Side { get; set; }

    [SupplyParameterFromQuery]
    private int? K { get; set; }

    /// <summary>A clip to search by.</summary>
    [SupplyParameterFromQuery(Name = "clip")]
    private string? ClipAsked { get; set; }

    [SupplyParameterFromQuery(Name = "page")]
    private int? PageAsked { get; set; }

    [Inject]
    private RunStore Store { get; set; } = null!;

    [Inject]
    private RunResults Results { get; set; } = null!;

    [Inject]
    private NavigationManager Navigation { get; set; } = null!;

    private int Most => Math.Clamp(K ?? 10, 1, 50);

    private string WhyEmpty => Info.Stages.Any(s => s.Name.StartsWith("retrieve", StringComparison.Ordinal))
        ? "The gallery fills when the stages retrieve-rgb and retrieve-flow are done."
        : "This experiment does no retrieval: set evaluation.retrieval.enabled to true in its manifest.";

    private int PageNumber => Math.Max(0, PageAsked ?? 0);

    /// <inheritdoc/>
    protected override void OnParametersSet()
    {
        _views = Results.NeighbourViews(Info);
        _looks = RunResults.Watched(Info);
        // Until the test videos were asked, what was seen on the way is all there is.
        _learning = _looks.Count > 0 && (!string.IsNullOrEmpty(During) || _views.Count == 0);
        if (_views.Count == 0)
        {
            return;
        }

        _view = ViewAsked != null && _views.Contains(ViewAsked) ? ViewAsked : _views[0];
        _side = Side == true && _views.Count > 1;
        _film = Film == "flow" ? "flow" : "rgb";
        _table = Results.Neighbours(Info, _view);
        _byView.Clear();
        if (_side)
        {
            foreach (string view in _views)
            {
                _byView[view] = Index(Results.Neighbours(Info, view));
            }
        }

        _others = [.. Store.Runs.Where(r => r.Run != Info.Run && User.MaySee(r) && Results.NeighbourViews(r).Count > 0)
            .OrderByDescending(r => r.Created)];
        RunInfo? other = _others.FirstOrDefault(o => o.Run == Against);
        _theirs = other is null ? [] : Index(Results.Neighbours(other, _view));
        _theirName = other is null ? "" : $"{other.Experiment} · {other.Method}";
        _theirRun = other?.Run ?? "";

        IEnumerable<QueryNeighbours> queries = _table?.Queries ?? [];
        if (!string.IsNullOrEmpty(Class))
        {
            queries = queries.Where(q => q.Class == Class);
        }

        if (!string.IsNullOrEmpty(Q))
        {
            queries = queries.Where(q => q.Id == Q);
        }

        queries = Show switch
        {
            "hits" => queries.Where(q => q.Neighbours is [{ Hit: true }, ..]),
            "misses" => queries.Where(q => q.Neighbours is [{ Hit: false }, ..]),
            "hardest" => queries.OrderByDescending(q => q.FirstHit ?? int.MaxValue).ThenBy(q => q.AveragePrecision ?? 0),
            _ => queries,
        };
        QueryNeighbours[] all = [.. queries];
        _matching = all.Length;
        _shown = [.. all.Skip(PageNumber * PageSize).Take(PageSize)];
        _recalls = [.. Recalls(Info, ""), .. other is null ? [] : Recalls(other, other.Experiment + " · ")];
    }

    private IEnumerable<RecallLine> Recalls(RunInfo run, string prefix)
    {
        foreach (StageResult result in Results.All(run))
        {
            RetrievalResult? retrieval = result.Outcome switch { RetrievalResult r => r, FusionResult f => f.Retrieval, _ => null };
            if (retrieval is { Recalls.Length: > 0 })
            {
                bool untrained = result.Method.StartsWith("Random", StringComparison.OrdinalIgnoreCase);
                yield return new RecallLine(prefix + Text.View(result.View) + (untrained ? " (untrained)" : ""), retrieval.Recalls);
            }
        }
    }

    private string QueryLink(string query) => $"{Links.Run(Info.Run, "retrieval")}?q={Uri.EscapeDataString(query)}&side=true";

    private static Dictionary<string, QueryNeighbours> Index(NeighbourTable? table) =>
        (table?.Queries ?? []).DistinctBy(q => q.Id).ToDictionary(q => q.Id);

    private IEnumerable<Lane> Lanes(QueryNeighbours query)
    {
        if (_side)
        {
            foreach (string view in _views)
            {
                if (_byView[view].TryGetValue(query.Id, out QueryNeighbours? found))
                {
                    yield return new Lane(Text.View(view), Info.Run, found);
                }
            }
        }
        else
        {
            bool alone = _theirs.Count == 0;
            yield return new Lane(alone ? "" : $"{Info.Experiment} · {Info.Method}", Info.Run, query);
            if (!alone && _theirs.TryGetValue(query.Id, out QueryNeighbours? theirs))
            {
                yield return new Lane(_theirName, _theirRun, theirs);
            }
        }
    }

    private void Set(params (string Name, object? Value)[] values) =>
        Navigation.NavigateTo(Navigation.GetUriWithQueryParameters(values.ToDictionary(v => v.Name, v => v.Value is "" ? null : v.Value)),
            replace: true);

    /// <summary>Neighbours of one view or run.</summary>
    private sealed record Lane(string Name, string Run, QueryNeighbours Found);
}
