// Why this exists: measures on different videos cannot be compared; this tells which runs were evaluated on the same ones.
using CoCLR.Core.Results;
using CoCLR.Dashboard.Formatting;
using CoCLR.Dashboard.Storage;

namespace CoCLR.Dashboard.Hosting;

/// <summary>Runs that were evaluated on the same videos.</summary>
/// <param name="Name">The data set in words.</param>
/// <param name="Chance">Accuracy of guessing, a fraction; null without labels.</param>
/// <param name="Runs">The runs.</param>
internal sealed record DataSetGroup(string Name, double? Chance, IReadOnlyList<RunInfo> Runs);

/// <summary>Groups runs by their data set.</summary>
internal static class DataSets
{
    /// <summary>Groups runs: same source in the manifest, and where results are there, same split, classes and numbers of videos.</summary>
    /// <param name="runs">The runs.</param>
    /// <param name="reportOf">A run's report, or null.</param>
    /// <returns>The groups, largest first.</returns>
    public static IReadOnlyList<DataSetGroup> Group(IReadOnlyList<RunInfo> runs, Func<RunInfo, RunReport?> reportOf)
    {
        var groups = new List<(string Source, RunReport? Report, List<RunInfo> Runs)>();
        // Measured runs first: what is not measured yet joins those of its source.
        foreach ((RunInfo run, RunReport? report) in runs.Select(r => (r, reportOf(r))).OrderBy(r => r.Item2 is null))
        {
            string source = Source(run);
            int at = report is null ? Likely(run, source) : groups.FindIndex(g => g.Source == source && g.Report is not null && Same(g.Report, report));
            if (at >= 0)
            {
                groups[at].Runs.Add(run);
            }
            else
            {
                groups.Add((source, report, [run]));
            }
        }

        // Of several groups of one source, the one that has the name of the run's data set, else the largest.
        int Likely(RunInfo run, string source) => Enumerable.Range(0, groups.Count).Where(i => groups[i].Source == source)
            .OrderByDescending(i => groups[i].Report?.DataSet == run.DataSet).ThenByDescending(i => groups[i].Runs.Count).FirstOrDefault(-1);

        string[] names = [.. groups.Select(g => Words(g.Runs[0], g.Report))];
        return
        [
            .. groups.Select((g, i) => new DataSetGroup(
                names.Count(n => n == names[i]) > 1 ? $"{names[i]} ({Apart(g.Source, groups.Select(o => o.Source))})" : names[i],
                Chance(g.Report), [.. runs.Where(g.Runs.Contains)])).OrderByDescending(g => g.Runs.Count),
        ];
    }

    /// <summary>The fields of a source that others have not alike.</summary>
    private static string Apart(string source, IEnumerable<string> all)
    {
        string[] own = [.. source.Split('\n').Where(f => all.Any(o => !o.Split('\n').Contains(f)))];
        return own.Length > 0 ? string.Join(", ", own.Select(f => f.Replace("dataset.source.", "", StringComparison.Ordinal))) : "measured on other videos";
    }

    private static bool Same(RunReport a, RunReport b) =>
        (a.DataSet, a.Split, a.Classes, a.TrainVideos, a.TestVideos) == (b.DataSet, b.Split, b.Classes, b.TrainVideos, b.TestVideos);

    private static double? Chance(RunReport? report) => report?.Classes is > 0 and var classes ? 1.0 / classes : null;

    private static string Source(RunInfo run) =>
        string.Join('\n', ManifestText.Flat(run).Where(f => f.Key.StartsWith("dataset.source", StringComparison.Ordinal)).Select(f => $"{f.Key}={f.Value}"));

    private static string Words(RunInfo run, RunReport? report) => report is null ? run.DataSet ?? "no data set known yet"
        : string.Join(", ", new[]
        {
            report.DataSet,
            report.Split is { Length: > 0 } split ? $"split {split}" : null,
            report.Classes is { } classes ? $"{classes} classes" : null,
            report.TestVideos is { } videos ? $"{videos} test videos" : null,
        }.Where(p => !string.IsNullOrEmpty(p)));
}
