// Why this exists: search, order, marks and bulk actions of the list.
using CoCLR.Core;
using CoCLR.Dashboard.Api;
using CoCLR.Dashboard.Authentication;
using CoCLR.Dashboard.Components.Dialogs;
using CoCLR.Dashboard.Configuration;
using CoCLR.Dashboard.Formatting;
using CoCLR.Dashboard.Hosting;
using CoCLR.Dashboard.Storage;
using Microsoft.AspNetCore.Components;
using Microsoft.Extensions.Options;
using MudBlazor;

namespace CoCLR.Dashboard.Components.Pages;

/// <summary>The list of runs.</summary>
public sealed partial class ExperimentsPage
{
    private const int PageSize = 100;
    private static readonly ListColumn Name = new("name", "Experiment", "");

    // Runs that differ in their seed only belong together; the other groups are by the value of a field.
    private const string Seeds = "seeds";

    private static readonly (string Name, string? Filter)[] StateFilters = [("All", null), ("Running", "state:running"),
        ("Done", "state:succeeded"), ("Failed", "state:failed")];
    private readonly HashSet<string> _marked = new(StringComparer.Ordinal);
    private IReadOnlyList<ListColumn> _columns = ListColumns.Usual;
    private Dictionary<string, RunField?> _fields = [];
    private (RunInfo Run, RunGroup? Begins)[] _rows = [];
    private int _total;
    private int _matching;
    private string? _problem;

    /// <summary>Filter.</summary>
    [SupplyParameterFromQuery]
    public string? Q { get; set; }

    /// <summary>Order; a hyphen in front turns it round.</summary>
    [SupplyParameterFromQuery]
    public string? Sort { get; set; }

    /// <summary>Page of the list, from 0.</summary>
    [SupplyParameterFromQuery(Name = "page")]
    public int? PageAsked { get; set; }

    /// <summary>Shows archived runs.</summary>
    [SupplyParameterFromQuery(Name = "archived")]
    public bool? ArchivedAsked { get; set; }

    /// <summary>Columns, separated by commas: any of the usual ones, fields of manifests and metrics.</summary>
    [SupplyParameterFromQuery(Name = "columns")]
    public string? ColumnsAsked { get; set; }

    /// <summary>Field by whose values runs are grouped, or <c>seeds</c>.</summary>
    [SupplyParameterFromQuery]
    public string? Group { get; set; }

    [Inject]
    private IOptions<DashboardOptions> Options { get; set; } = null!;

    [Inject]
    private IDialogService Dialogs { get; set; } = null!;

    [Inject]
    private ISnackbar Snackbar { get; set; } = null!;

    [Inject]
    private IServiceProvider Services { get; set; } = null!;

    private bool Archived => ArchivedAsked ?? false;

    private int PageNumber => Math.Max(0, PageAsked ?? 0);

    private string NothingYet =>
        $"The dashboard watches {Options.Value.ResolvedWorkDir}. Start the demo to see three methods learn side by side, "
        + "or run a manifest of your own.";

    private string SortKey => Sort?.TrimStart('-') ?? "created";

    private bool Down => Sort?.StartsWith('-') ?? true;

    private string Summary
    {
        get
        {
            int running = Store.Runs.Count(r => r.State == RunState.Running && !Silent(r) && User.MaySee(r));
            return $"{_total} {(_total == 1 ? "run" : "runs")}{(running > 0 ? $", {running} at work" : "")}"
                + (_matching != _total ? $", {_matching} shown" : "");
        }
    }

    /// <inheritdoc/>
    protected override void Refresh()
    {
        _total = Store.Runs.Count(r => User.MaySee(r) && Settings.Of(r.Run).Archived == Archived);
        _columns = ListColumns.Of(ColumnsAsked);
        IEnumerable<string> named = Group is null or Seeds or "" ? ListColumns.Fields(_columns) : ListColumns.Fields(_columns).Append(Group);
        _problem = RunQuery.Problem(Store, User, Q, Sort, named);
        IReadOnlyCollection<RunInfo> visible = RunQuery.Visible(Store, User);
        _fields = _columns.Where(c => !c.Usual).ToDictionary(c => c.Key, c => RunFields.Find(visible, c.Key));
        RunInfo[] all = _problem is null ? [.. RunQuery.Select(Store, Settings, User, Q, Sort, Archived)] : [];
        _matching = all.Length;
        _rows = [.. Grouped(all, visible).Skip(PageNumber * PageSize).Take(PageSize)];
        _marked.RemoveWhere(r => Store.Find(r) == null);
    }

    private bool Silent(RunInfo run) => Text.Silent(run, Now, Options.Value.Limits.SilentSeconds);

    private string Left(RunInfo run, bool silent) => silent || run.State == RunState.Lost ? $"last word {Text.Ago(run.Updated, Now)} ago"
        : run.EtaSeconds is { } eta ? $"{Text.Duration(eta)} left" : $"{run.Progress * 100:0} %";

    private static readonly string[] AlwaysOffered = ["method", "data", "device", "state", "tag"];

    private IEnumerable<(string Key, string Name)> GroupsOffered =>
    [
        ("", "None"), (Seeds, "Alike but for the seed"),
        .. AlwaysOffered.Concat(_columns.Where(c => !c.Usual).Select(c => c.Key)).Append(Group ?? "")
            .Where(f => f.Length > 0 && f != Seeds).Distinct().Select(f => (f, ListColumns.NameOf(f))),
    ];

    private string JsonLink => "api/v1/runs?take=5000&filter=" + Uri.EscapeDataString(Q ?? "")
        + (_fields.Count == 0 ? "" : "&columns=" + Uri.EscapeDataString(string.Join(',', _fields.Keys)));

    /// <summary>Runs in the order of their groups; the first of each page's groups says which group begins.</summary>
    private IEnumerable<(RunInfo Run, RunGroup? Begins)> Grouped(RunInfo[] runs, IReadOnlyCollection<RunInfo> visible)
    {
        if (string.IsNullOrEmpty(Group))
        {
            return runs.Select(r => (r, (RunGroup?)null));
        }

        IReadOnlyList<RunGroup> groups = Group == Seeds ? RunQuery.Alike(runs)
            : RunFields.Find(visible, Group) is { } field ? RunQuery.Group(Settings, runs, field) : [];
        var byId = runs.ToDictionary(r => r.Run);
        return groups.SelectMany(g => g.Runs.Select((run, i) => (byId[run], i % PageSize == 0 ? g : null)));
    }

    private string GroupName(RunGroup group) => Group == Seeds ? group.Value : $"{ListColumns.NameOf(Group!)} {(group.Value.Length > 0 ? group.Value : "–")}";

    private static string Means(RunGroup group) => string.Join(" · ", new[]
    {
        $"{group.Runs.Length} {(group.Runs.Length == 1 ? "run" : "runs")}", Mean("probe", group.Probe, group.ProbeDeviation), Mean("R@1", group.Recall, group.RecallDeviation),
    }.OfType<string>());

    private static string? Mean(string what, double? mean, double? deviation) => mean is null ? null
        : $"{what} {Text.Percents(mean)}{(deviation is null ? "" : $" ± {Text.Percents(deviation)}")} %";

    private string Words(RunInfo run, string column, Annotation notes) => column switch
    {
        "method" => run.Method ?? "–",
        "loss" => Text.Number(run.Loss),
        "probe" => Text.Percents(run.BestProbe),
        "recall" => Text.Percents(run.RecallAt1),
        "device" => run.Device ?? "–",
        "created" => Text.Ago(run.Created, Now),
        "updated" => Text.Ago(run.Updated, Now),
        "age" => Text.Duration((Now - run.Created).TotalSeconds),
        _ => _fields.GetValueOrDefault(column)?.Of(run, notes) switch
        {
            null or { IsNothing: true } => "–",
            { Texts.Length: > 0 } texts => texts.ToString(),
            { } value => Text.Number(value.Number),
        },
    };

    private async Task ChooseColumnsAsync()
    {
        FieldName[] offered = [new FieldName(ListColumns.Curve, "run"), .. RunFields.All(RunQuery.Visible(Store, User))];
        string[] shown = [.. _columns.Select(c => c.Key)];
        if (await ChoiceDialog.AskAsync(Dialogs, "Columns", "Add a field or metric", shown, offered, ListColumns.NameOf) is { } keys)
        {
            SetQuery(("columns", ListColumns.Address(keys)));
        }
    }

    private async Task AddFilterAsync()
    {
        IReadOnlyCollection<RunInfo> visible = RunQuery.Visible(Store, User);
        if (await FilterDialog.AskAsync(Dialogs, RunFields.All(visible), field => RunFields.ValuesOf(visible, Settings, field)) is { } term)
        {
            SetQuery(("q", $"{Q} {term}".Trim()), ("page", null));
        }
    }

    private void SortBy(string key) => SetQuery(("sort", SortKey == key && Down ? key : "-" + key), ("page", null));

    private bool HasState(string? filter) =>
        filter == null ? Q?.Contains("state:", StringComparison.OrdinalIgnoreCase) != true
        : Q?.Contains(filter, StringComparison.OrdinalIgnoreCase) == true;

    private void SetState(string? filter)
    {
        string rest = string.Join(' ', (Q ?? "").Split(' ', StringSplitOptions.RemoveEmptyEntries)
            .Where(w => !w.StartsWith("state:", StringComparison.OrdinalIgnoreCase)));
        SetQuery(("q", string.Join(' ', new[] { rest, filter }.Where(s => !string.IsNullOrEmpty(s)))), ("page", null));
    }

    private void Mark(string run, bool on)
    {
        if (!(on ? _marked.Add(run) : _marked.Remove(run)))
        {
            StateHasChanged();
        }
    }

    private void MarkAll(ChangeEventArgs e)
    {
        foreach ((RunInfo run, _) in _rows)
        {
            Mark(run.Run, (bool)e.Value!);
        }
    }

    private void ForMarked(Action<string> act)
    {
        if (!User.MayEdit())
        {
            return;
        }

        foreach (string run in _marked.Where(r => User.MaySee(Store.Find(r))).ToArray())
        {
            try
            {
                act(run);
            }
            catch (UserErrorException e)
            {
                Snackbar.Add(e.Message, Severity.Warning);
            }
        }

        _marked.Clear();
        Refresh();
    }

    private async Task TagMarkedAsync()
    {
        if (await TextDialog.AskAsync(Dialogs, "Tag the marked runs", "Tag", "") is { Length: > 0 and <= 40 } tag)
        {
            ForMarked(r => Settings.Annotate(r, a => a.Tags.Contains(tag) || a.Tags.Length >= 20 ? a : a with { Tags = a.Tags.Add(tag) }));
        }
    }

    private async Task DeleteMarkedAsync()
    {
        RunInfo[] runs = [.. _marked.Select(Store.Find).OfType<RunInfo>().Where(User.MaySee)];
        string states = string.Join(", ", runs.GroupBy(Text.State).Select(g => $"{g.Count()} {g.Key.ToLowerInvariant()}"));
        string words = $"{runs.Length} run folders ({states}; {Text.Bytes(runs.Sum(LocalHost.SizeOf))}) with their checkpoints and results "
            + "will be deleted. Those at work stay. This cannot be undone.";
        if (await Dialogs.ShowMessageBoxAsync("Delete runs", words, yesText: "Delete", cancelText: "Keep") != true)
        {
            return;
        }

        RunControl control = Services.GetRequiredService<RunControl>();
        foreach (RunInfo run in runs)
        {
            try
            {
                await control.DeleteAsync(User, run, default);
            }
            catch (UserErrorException e)
            {
                Snackbar.Add(e.Message, Severity.Warning);
            }
        }

        _marked.Clear();
        Refresh();
    }

    private async Task SaveViewAsync()
    {
        string query = new Uri(Navigation.Uri).Query.TrimStart('?');
        if (await TextDialog.AskAsync(Dialogs, "Save this view", "Name", "") is { Length: > 0 and <= 60 } name)
        {
            Settings.Change(s => s with { Views = [.. s.Views.Where(v => v.Name != name).TakeLast(49), new SavedView(name, query)] });
        }
    }

    private void ForgetView(SavedView view) => Settings.Change(s => s with { Views = s.Views.Remove(view) });
}
