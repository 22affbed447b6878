// Why this exists: chooses the turn, the epoch and the anchors.
using System.Globalization;
using CoCLR.Core.Events;
using CoCLR.Core.Manifests;
using CoCLR.Core.Results;
using CoCLR.Dashboard.Formatting;
using CoCLR.Dashboard.Storage;
using Microsoft.AspNetCore.Components;

namespace CoCLR.Dashboard.Components.Controls;

/// <summary>The heart of co-training.</summary>
public sealed partial class MiningTab
{
    private IReadOnlyList<MiningRecord> _records = [];
    private string[] _stages = [];
    private int[] _epochs = [];
    private string[] _classes = [];
    private MinedAnchor[] _anchors = [];
    private string _stage = "";
    private int _epoch;
    private string _film = "rgb";
    private string _sentence = "";
    private double? _chance;
    private long _readAt = -1;
    private ChartSeries[] _precision = [];
    private ChartSeries[] _agreement = [];

    [Inject]
    private RunStore Store { get; set; } = null!;

    [Inject]
    private RunResults Results { get; set; } = null!;

    [Inject]
    private NavigationManager Navigation { get; set; } = null!;

    [Parameter, EditorRequired]
    public RunInfo Info { get; set; } = null!;

    [SupplyParameterFromQuery]
    private string? Stage { get; set; }

    [SupplyParameterFromQuery]
    private int? Epoch { get; set; }

    [SupplyParameterFromQuery]
    private string? Class { get; set; }

    [SupplyParameterFromQuery]
    private string? Film { get; set; }

    private string WhyEmpty => MethodTraits.Named(Info.Method)?.Traits().CoTrains == true
        ? "The turns of co-training (cycle-1-rgb, …) tell here which positives the other view found, as soon as they begin."
        : $"{Info.Method ?? "This method"} mines no positives. A CoCLR experiment shows here which clips each view finds for the other.";

    /// <inheritdoc/>
    protected override void OnParametersSet()
    {
        long count = Info.Stages.Sum(s => (long)s.MiningEvents);
        if (_readAt != count)
        {
            _readAt = count;
            _records = Store.Mining(Info.Run);
            _precision = [.. Info.Stages.Where(s => s.Latest.ContainsKey(MetricNames.MiningPrecision))
                .Select(s => new ChartSeries(Info.Run, s.Name, MetricNames.MiningPrecision, s.Name))];
            _agreement = [.. Info.Stages.Where(s => s.Latest.ContainsKey(MetricNames.MiningAgreement))
                .Select(s => new ChartSeries(Info.Run, s.Name, MetricNames.MiningAgreement, s.Name))];
        }

        _film = Film == "flow" ? "flow" : "rgb";
        _stages = [.. _records.Select(r => r.Event.Stage).Distinct()];
        _stage = _stages.Contains(Stage) ? Stage! : _stages.LastOrDefault() ?? "";
        MiningEvent[] here = [.. _records.Select(r => r.Event).Where(e => e.Stage == _stage)];
        _epochs = [.. here.Select(e => e.Epoch).Distinct().Order()];
        _epoch = Epoch is { } asked && _epochs.Contains(asked) ? asked : _epochs.LastOrDefault();
        MiningEvent[] now = [.. here.Where(e => e.Epoch == _epoch)];
        _classes = [.. now.SelectMany(e => e.Anchors).Select(a => a.Class).OfType<string>().Distinct().Order(StringComparer.Ordinal)];
        _anchors = [.. now.SelectMany(e => e.Anchors).Where(a => string.IsNullOrEmpty(Class) || a.Class == Class).DistinctBy(a => a.Video)
            .Take(40)];
        bool?[] judged = [.. now.SelectMany(e => e.Anchors).SelectMany(a => a.Positives).Select(p => p.Correct).Where(c => c != null)];
        _sentence = now.Length == 0 ? "" : $"{Text.View(now[0].Learner)} learns, {Text.View(now[0].Miner)} mines"
            + (judged.Length == 0 ? "" : $"; {judged.Count(c => c == true)} of the {judged.Length} clips shown have the anchor's class");
        _chance = Results.All(Info).Select(r => r.Outcome).OfType<DataResult>().Select(d => d.ClassNames.Length)
            .FirstOrDefault(n => n > 1) is > 1 and var classes ? 1.0 / classes : null;
    }

    private static string Key(int epoch) => epoch.ToString(CultureInfo.InvariantCulture);

    private static string Right(MinedAnchor anchor) =>
        anchor.Positives.Any(p => p.Correct != null)
        ? $"{anchor.Positives.Count(p => p.Correct == true)} of {anchor.Positives.Count} right" : "";

    private static string Treatment(MinedPositive p)
    {
        if (p.Sibling)
        {
            return "clip of the same video: a positive anyway";
        }

        string rank = p.LearnerRank is { } at ? $", rank {at}" : "";
        return p.LearnerSimilarity is { } own
            ? $"InfoNCE: a negative at {own.ToString("0.00", CultureInfo.InvariantCulture)}{rank}" : "InfoNCE: a negative";
    }

    private void Set(params (string Name, object? Value)[] values) =>
        Navigation.NavigateTo(Navigation.GetUriWithQueryParameters(values.ToDictionary(v => v.Name, v => v.Value is "" ? null : v.Value)),
            replace: true);
}
