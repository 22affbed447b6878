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
    private static readonly (string Key, string Name, string Css)[] Columns =
    [
        ("name", "Experiment", ""), ("state", "State", ""), ("method", "Method", "hide-s"), ("", "Stage", "hide-m"),
            ("progress", "Progress", ""), ("", "Loss", "hide-m"), ("loss", "Now", "num hide-s"),
        ("probe", "Probe %", "num"), ("recall", "R@1 %", "num"), ("", "Device", "hide-l"), ("created", "Age", "num"),
    ];

    private static readonly (string Name, string? Filter)[] StateFilters = [("All", null), ("Running", "state:running"),
        ("Done", "state:succeeded"), ("Failed", "state:failed")];
    private readonly HashSet<string> _marked = new(StringComparer.Ordinal);
    private RunInfo[] _rows = [];
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
        _problem = RunQuery.Problem(Store, User, Q, Sort);
        RunInfo[] all = [.. RunQuery.Select(Store, Settings, User, Q, Sort, Archived)];
        _matching = all.Length;
        _rows = [.. all.Skip(PageNumber * PageSize).Take(PageSize)];
        _marked.RemoveWhere(r => Store.Find(r) == null);
    }

    private bool Silent(RunInfo run) => Text.Silent(run, Now, Options.Value.Limits.SilentSeconds);

    private string Left(RunInfo run, bool silent) => silent || run.State == RunState.Lost ? $"last word {Text.Ago(run.Updated, Now)} ago"
        : run.EtaSeconds is { } eta ? $"{Text.Duration(eta)} left" : $"{run.Progress * 100:0} %";

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
        foreach (RunInfo run in _rows)
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
