// Why this exists: reads accuracies, classes and confusion from the results.
using System.Globalization;
using System.Security.Claims;
using CoCLR.Core.Results;
using CoCLR.Dashboard.Authentication;
using CoCLR.Dashboard.Formatting;
using CoCLR.Dashboard.Storage;
using Microsoft.AspNetCore.Components;

namespace CoCLR.Dashboard.Components.Controls;

/// <summary>How well classes can be read off the representation.</summary>
public sealed partial class ProbeTab
{
    private static readonly (string Key, string Name)[] Orders = [("name", "By name"), ("best", "Best first"), ("worst", "Worst first")];

    private List<Row> _rows = [];
    private string _stage = "";
    private Accuracy? _accuracy;
    private Accuracy? _theirs;
    private RunInfo[] _others = [];
    private List<(string Name, double? Mine, double? Theirs)> _classes = [];
    private string[] _cell = [];
    private string _cellName = "";
    private (string View, double? Top1, double? Knn)[] _untrained = [];

    [Inject]
    private RunStore Store { get; set; } = null!;

    [Inject]
    private RunResults Results { get; set; } = null!;

    [Inject]
    private NavigationManager Navigation { get; set; } = null!;

    [SupplyParameterFromQuery]
    private string? Knn { get; set; }

    private bool _allKnn => Knn == "all";

    [Parameter, EditorRequired]
    public RunInfo Info { get; set; } = null!;

    [Parameter, EditorRequired]
    public ClaimsPrincipal User { get; set; } = null!;

    [SupplyParameterFromQuery]
    private string? Stage { get; set; }

    [SupplyParameterFromQuery]
    private string? Against { get; set; }

    [SupplyParameterFromQuery]
    private string? Order { get; set; }

    [SupplyParameterFromQuery]
    private string? Cell { get; set; }

    /// <summary>What cells of the confusion show: counts, or <c>percent</c> of the true class.</summary>
    [SupplyParameterFromQuery]
    private string? Cells { get; set; }

    private bool _percent => Cells == "percent";

    private sealed record Row(string Stage, string Name, string View, Accuracy Accuracy, string Chosen, KnnAccuracy[] Knn,
        Prediction[] Predictions);

    private string WhyEmpty => Info.Stages.Any(s => s.Name.StartsWith("probe", StringComparison.Ordinal))
        ? "Accuracies appear when the stages probe-rgb and probe-flow are done."
        : "This experiment has no linear probe: set evaluation.linearProbe.enabled to true in its manifest.";

    /// <inheritdoc/>
    protected override void OnParametersSet()
    {
        _rows = RowsOf(Info);
        if (_rows.Count == 0)
        {
            return;
        }

        _untrained = [.. (Results.Report(Info)?.Rows ?? []).Where(r => r.Method.StartsWith("Random", StringComparison.OrdinalIgnoreCase))
            .Select(r => (r.View, r.LinearProbe, r.Knn))];
        Row row = _rows.FirstOrDefault(r => r.Stage == Stage) ?? _rows[0];
        _stage = row.Stage;
        _accuracy = row.Accuracy;
        _others = [.. Store.Runs.Where(r => r.Run != Info.Run && User.MaySee(r) && r.BestProbe != null).OrderByDescending(r => r.Created)
            .Take(50)];
        _theirs = _others.FirstOrDefault(o => o.Run == Against) is { } other
            ? RowsOf(other).FirstOrDefault(r => r.Stage == _stage)?.Accuracy : null;
        var classes = _accuracy.ClassNames.Select(
            (name, i) => (Name: name, Mine: _accuracy.PerClass.ElementAtOrDefault(i), Theirs: TheirsOf(name)));
        _classes = Order switch
        {
            "best" => [.. classes.OrderByDescending(c => c.Mine ?? -1)],
            "worst" => [.. classes.OrderBy(c => c.Mine ?? 2)],
            _ => [.. classes],
        };
        _cell = [];
        if (Cell?.Split('-') is [{ } ts, { } ps] && int.TryParse(ts, out int t) && int.TryParse(ps, out int p) && t >= 0 && p >= 0
            && t < _accuracy.ClassNames.Length && p < _accuracy.ClassNames.Length)
        {
            _cell = Results.Confusion(Info, _stage)?.Cells.FirstOrDefault(c => c.Label == t && c.Predicted == p)?.Ids
                ?? [.. row.Predictions.Where(x => x.Label == t && x.Predicted == p).Select(x => x.Id)];
            _cellName = t == p ? $"{_accuracy.ClassNames[t]}, recognised"
                : $"{_accuracy.ClassNames[t]}, taken for {_accuracy.ClassNames[p]}";
        }
    }

    private List<Row> RowsOf(RunInfo run)
    {
        var rows = new List<Row>();
        foreach (StageResult result in Results.All(run))
        {
            switch (result.Outcome)
            {
                case ProbeResult probe:
                    rows.Add(new Row(result.Stage, "Linear probe", result.View, probe.Accuracy,
                        Chosen(probe.Selection, probe.Epoch, probe.Epochs), probe.Knn, probe.Predictions));
                    break;
                case FineTuneResult tuned:
                    rows.Add(new Row(result.Stage, "Fine-tuning", result.View, tuned.Accuracy,
                        Chosen(tuned.Selection, tuned.Epoch, tuned.Epochs), [], tuned.Predictions));
                    break;
                case FusionResult { Probe: { } fused } fusion:
                    rows.Add(new Row(result.Stage, "Two-stream probe", "two-stream", fused, "", [], fusion.Predictions));
                    break;
            }
        }

        return rows;
    }

    private static string Chosen(CoCLR.Core.Manifests.Selection selection, int epoch, int epochs) => selection switch
    {
        CoCLR.Core.Manifests.Selection.Last => $"last of {epochs}",
        CoCLR.Core.Manifests.Selection.Holdout => $"{epoch} of {epochs}, on held-out training videos",
        _ => $"{epoch} of {epochs}, on the test set (optimistic)",
    };

    private static KnnAccuracy[] Usual(KnnAccuracy[] all) =>
        [.. all.OrderBy(k => Math.Abs(k.K - 20))
        .ThenByDescending(k => k.Vote.ToString().StartsWith("w", StringComparison.OrdinalIgnoreCase)).Take(1)];

    private static string W(double? fraction) => (Math.Clamp(fraction ?? 0, 0, 1) * 100).ToString("0.#", CultureInfo.InvariantCulture);

    /// <summary>Share of a class that was taken for another, a fraction.</summary>
    private double Share(int t, int p) => _accuracy!.Confusion[t][p] / (double)Math.Max(1, _accuracy.Confusion[t].Sum());

    // One hue from nothing to full: told apart by lightness alone, so that no colour has to be seen.
    private string Shade(int t, int p) => $"--heat-share:{(Share(t, p) * 100).ToString("0.#", CultureInfo.InvariantCulture)}";

    private string Shown(int t, int p) => _accuracy!.Confusion[t][p] is var n && n == 0 ? ""
        : _percent ? (Share(t, p) * 100).ToString("0", CultureInfo.InvariantCulture) : n.ToString(CultureInfo.InvariantCulture);

    private string Spoken(int t, int p) =>
        $"{_accuracy!.Confusion[t][p]} of {_accuracy.ClassNames[t]} taken for {_accuracy.ClassNames[p]}, {Text.Percent(Share(t, p))}";

    private void Set(params (string Name, object? Value)[] values) =>
        Navigation.NavigateTo(Navigation.GetUriWithQueryParameters(values.ToDictionary(v => v.Name, v => v.Value is "" ? null : v.Value)),
            replace: true);

    private string LinkOf(Row row) =>
        $"{Links.Run(Info.Run, "probe")}?stage={row.Stage}{(Against is null ? "" : $"&against={Uri.EscapeDataString(Against)}")}";

    private double? TheirsOf(string name) =>
        _theirs != null && Array.IndexOf(_theirs.ClassNames, name) is >= 0 and var at ? _theirs.PerClass.ElementAtOrDefault(at) : null;
}
