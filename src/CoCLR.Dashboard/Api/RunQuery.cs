// Why this exists: pages and scripts ask for runs in the same words: a filter, an order, and groups.
using System.Security.Claims;
using CoCLR.Core.Results;
using CoCLR.Dashboard.Authentication;
using CoCLR.Dashboard.Storage;

namespace CoCLR.Dashboard.Api;

/// <summary>Runs that share a value, or that differ in one field only.</summary>
/// <param name="Value">The value; of runs that are alike, the name of the first experiment.</param>
/// <param name="Runs">Their ids.</param>
/// <param name="Probe">Mean of the best probes; null while nothing is measured.</param>
/// <param name="ProbeDeviation">Sample standard deviation; null with fewer than two values.</param>
/// <param name="Recall">Mean of the recalls at 1.</param>
/// <param name="RecallDeviation">Sample standard deviation; null with fewer than two values.</param>
internal sealed record RunGroup(
    string Value, string[] Runs, double? Probe, double? ProbeDeviation, double? Recall, double? RecallDeviation);

/// <summary>Searches the list of runs.</summary>
internal static class RunQuery
{
    /// <summary>Runs that a person may see and asks for, in order; none where <see cref="Problem"/> names one.</summary>
    public static IEnumerable<RunInfo> Select(
        RunStore store, SettingsFile settings, ClaimsPrincipal user, string? filter, string? sort, bool archived)
    {
        IReadOnlyCollection<RunInfo> all = Visible(store, user);
        (Func<RunInfo, Annotation, bool> wanted, _) = RunFilter.Parse(all, filter);
        bool down = sort?.StartsWith('-') ?? true;
        Settings now = settings.Current;
        RunField order = RunFields.Find(all, Key(sort)) ?? RunFields.Find(all, "created")!;
        (RunInfo Run, FieldValue Value)[] runs =
        [
            .. from run in all
               let added = now.Runs.GetValueOrDefault(run.Run) ?? Annotation.None
               where added.Archived == archived && wanted(run, added)
               select (run, order.Of(run, added)),
        ];

        // Runs without the value come last either way.
        IOrderedEnumerable<(RunInfo Run, FieldValue Value)> known = runs.OrderBy(r => r.Value.IsNothing);
        return (down ? known.ThenByDescending(r => r.Value) : known.ThenBy(r => r.Value)).ThenBy(r => r.Run.Run, StringComparer.Ordinal)
            .Select(r => r.Run);
    }

    /// <summary>Runs that a person may see.</summary>
    public static IReadOnlyCollection<RunInfo> Visible(RunStore store, ClaimsPrincipal user) => [.. store.Runs.Where(user.MaySee)];

    /// <summary>What cannot be understood in a filter, an order or the name of a field, or null.</summary>
    public static string? Problem(RunStore store, ClaimsPrincipal user, string? filter, string? sort, params IEnumerable<string> fields)
    {
        IReadOnlyCollection<RunInfo> runs = Visible(store, user);
        return RunFilter.Parse(runs, filter).Problem
            ?? fields.Prepend(Key(sort)).Select(f => RunFields.Problem(runs, f)).FirstOrDefault(p => p != null);
    }

    /// <summary>Runs by the value of a field, in the order of the values.</summary>
    public static IReadOnlyList<RunGroup> Group(SettingsFile settings, IEnumerable<RunInfo> runs, RunField by) =>
        [.. runs.Select(r => (Run: r, Value: by.Of(r, settings.Of(r.Run)))).OrderBy(r => r.Value.IsNothing).ThenBy(r => r.Value)
            .GroupBy(r => r.Value.ToString(), r => r.Run, StringComparer.OrdinalIgnoreCase).Select(g => Of(g.Key, [.. g]))];

    /// <summary>Runs whose manifests differ in one field only, usually the seed: the groups over which means and bands are drawn.</summary>
    public static IReadOnlyList<RunGroup> Alike(IEnumerable<RunInfo> runs, string but = "seed") =>
        [.. runs.GroupBy(r => RunFields.AlikeBut(r, but) ?? r.Run, StringComparer.Ordinal).Select(g => Of(g.First().Experiment, [.. g]))];

    private static string Key(string? sort) => string.IsNullOrEmpty(sort) ? "created" : sort.TrimStart('-');

    private static RunGroup Of(string value, RunInfo[] runs)
    {
        double[] probes =
            [.. runs.Select(r => r.BestProbe).OfType<double>()], recalls = [.. runs.Select(r => r.RecallAt1).OfType<double>()];
        return new RunGroup(
            value,
            [.. runs.Select(r => r.Run)],
            Mean(probes),
            Statistics.StandardDeviation(probes),
            Mean(recalls),
            Statistics.StandardDeviation(recalls));

        static double? Mean(double[] values) => values.Length > 0 ? values.Average() : null;
    }
}
