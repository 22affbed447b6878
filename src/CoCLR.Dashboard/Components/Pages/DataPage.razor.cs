// Why this exists: finds data sets and their films.
using CoCLR.Core.Results;
using CoCLR.Dashboard.Authentication;
using CoCLR.Dashboard.Storage;
using Microsoft.AspNetCore.Components;

namespace CoCLR.Dashboard.Components.Pages;

/// <summary>Which data the runs learned from.</summary>
public sealed partial class DataPage
{
    private List<DataSetInfo> _sets = [];

    private sealed record DataSetInfo(string Name, string? Split, IReadOnlyList<RunInfo> Runs, DataResult? Frames, DataResult? Flow,
        int Train, int Test, string[] Classes, IReadOnlyDictionary<string, int> PerClass, (string Id, string? Class)[] Samples,
        string SampleRun);

    [Inject]
    private RunResults Results { get; set; } = null!;

    /// <inheritdoc/>
    protected override TimeSpan Interval => TimeSpan.FromSeconds(3);

    /// <inheritdoc/>
    protected override void Refresh()
    {
        _sets = [];
        foreach (IGrouping<string,
            RunInfo> group in Store.Runs.Where(r => User.MaySee(r) && r.Stages.Any(s => s.HasResult) && !string.IsNullOrEmpty(r.DataSet))
            .GroupBy(r => r.DataSet!).OrderBy(g => g.Key, StringComparer.Ordinal))
        {
            RunInfo[] runs = [.. group.OrderByDescending(r => r.Updated)];
            StageResult[] results = [.. runs.Take(5).SelectMany(Results.All)];
            DataResult? Of(string stage) =>
                results.Where(r => r.Stage == stage).Select(r => r.Outcome).OfType<DataResult>().FirstOrDefault();
            DataResult? frames = Of("decode");
            RetrievalResult? retrieval = results.Select(r => r.Outcome).OfType<RetrievalResult>().FirstOrDefault();
            Accuracy? accuracy = results.Select(r => r.Outcome).OfType<ProbeResult>().FirstOrDefault()?.Accuracy;
            RunInfo? shown = runs.FirstOrDefault(r => Results.NeighbourViews(r).Count > 0);
            NeighbourTable? table = shown is null ? null : Results.Neighbours(shown, Results.NeighbourViews(shown)[0]);
            string[] classes = frames is { ClassNames.Length: > 0 } ? frames.ClassNames : accuracy?.ClassNames
                ?? retrieval?.ClassNames ?? [];
            var perClass = accuracy is null ? new Dictionary<string, int>()
                : accuracy.ClassNames.Zip(accuracy.Confusion, (n, row) => (n, row.Sum())).DistinctBy(p => p.n)
                .ToDictionary(p => p.n, p => p.Item2);
            _sets.Add(new DataSetInfo(group.Key, results.Select(r => r.Split).FirstOrDefault(s => s != null), runs, frames, Of("flow"),
                frames?.TrainVideos ?? retrieval?.GallerySize ?? 0, frames?.TestVideos ?? retrieval?.Queries ?? 0, classes, perClass,
                [.. (table?.Queries ?? []).GroupBy(q => q.Class).Select(g => g.First()).Take(12).Select(q => (q.Id, q.Class))],
                    shown?.Run ?? ""));
        }
    }
}
