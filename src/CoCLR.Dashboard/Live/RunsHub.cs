// Why this exists: anyone may follow runs live: a stream continues at the cursor that was reached, so that a gap leaves neither a hole nor
// a double point.
using System.Runtime.CompilerServices;
using CoCLR.Dashboard.Authentication;
using CoCLR.Dashboard.Configuration;
using CoCLR.Dashboard.Storage;
using Microsoft.AspNetCore.Authorization;
using Microsoft.AspNetCore.SignalR;

namespace CoCLR.Dashboard.Live;

/// <summary>A row of the list of runs as it is sent to listeners.</summary>
/// <param name="Run">Id.</param>
/// <param name="Experiment">Experiment.</param>
/// <param name="State">State.</param>
/// <param name="Stage">Stage at work.</param>
/// <param name="Progress">Share done.</param>
/// <param name="EtaSeconds">Seconds left.</param>
/// <param name="Loss">Newest loss.</param>
/// <param name="BestProbe">Best probe, a fraction.</param>
/// <param name="RecallAt1">Best recall at 1, a fraction.</param>
/// <param name="Cursor">Cursor.</param>
/// <param name="Updated">Time of the newest event.</param>
public sealed record RunRow(
    string Run, string Experiment, RunState State, string? Stage, double Progress, double? EtaSeconds,
    double? Loss, double? BestProbe, double? RecallAt1, long Cursor, DateTimeOffset Updated)
{
    /// <summary>The run is gone, or may not be seen any more; the other fields are those of its last row.</summary>
    public bool Deleted { get; init; }

    /// <summary>Fields that were asked for, in words; null where none were.</summary>
    public IReadOnlyDictionary<string, string>? Columns { get; init; }

    /// <summary>Makes the row of a run.</summary>
    /// <param name="run">The run.</param>
    public static RunRow Of(RunInfo run)
    {
        ArgumentNullException.ThrowIfNull(run);
        return new RunRow(
            run.Run, run.Experiment, run.State, run.Current?.Name, run.Progress, run.EtaSeconds, run.Loss, run.BestProbe, run.RecallAt1,
            run.Cursor, run.Updated);
    }
}

/// <summary>The hub <c>/hubs/runs</c>.</summary>
[Authorize(Policies.View)]
internal sealed class RunsHub(RunStore store, LiveFeed feed, OpenConnections connections) : Hub
{
    /// <summary>Least time between two messages of a stream.</summary>
    internal static readonly TimeSpan Interval = TimeSpan.FromMilliseconds(80);

    /// <inheritdoc/>
    public override Task OnConnectedAsync()
    {
        connections.Add(Context);
        return base.OnConnectedAsync();
    }

    /// <inheritdoc/>
    public override Task OnDisconnectedAsync(Exception? exception)
    {
        connections.Remove(Context);
        return base.OnDisconnectedAsync(exception);
    }

    /// <summary>Streams the list of runs: all rows first, then the rows that changed, and a last row of a run that was deleted.</summary>
    /// <param name="cancel">Ends the stream.</param>
    public async IAsyncEnumerable<IReadOnlyList<RunRow>> WatchRuns([EnumeratorCancellation] CancellationToken cancel)
    {
        using Subscription changes = feed.Listen(LiveFeed.All);
        var sent = new Dictionary<string, RunInfo>();
        do
        {
            var rows = new List<RunRow>();
            foreach (RunInfo run in store.Runs.Where(r => Context.User!.MaySee(r)))
            {
                if (!sent.TryGetValue(run.Run, out RunInfo? last) || !ReferenceEquals(last, run))
                {
                    rows.Add(RunRow.Of(run));
                    sent[run.Run] = run;
                }
            }

            // What was sent and is in the list no more was deleted, or moved out of sight.
            foreach (RunInfo gone in sent.Values.Where(r => !Context.User!.MaySee(store.Find(r.Run))).ToArray())
            {
                rows.Add(RunRow.Of(gone) with { Deleted = true });
                sent.Remove(gone.Run);
            }

            if (rows.Count > 0)
            {
                yield return rows;
            }

            await Task.Delay(Interval, cancel).ConfigureAwait(false);
        }
        while (await changes.NextAsync(cancel).ConfigureAwait(false));
    }

    /// <summary>Streams a run from a cursor on: first everything after the cursor, then what happens.</summary>
    /// <param name="run">Id.</param>
    /// <param name="cursor">Cursor that was reached; 0 for everything.</param>
    /// <param name="stage">Only this stage; all when null.</param>
    /// <param name="points">Whether points are wanted.</param>
    /// <param name="logs">Whether lines of log are wanted.</param>
    /// <param name="cancel">Ends the stream.</param>
    public async IAsyncEnumerable<RunDelta> WatchRun(
        string run, long cursor, string? stage, bool points, bool logs, [EnumeratorCancellation] CancellationToken cancel)
    {
        if (!Context.User!.MaySee(store.Find(run)))
        {
            throw new HubException($"There is no run '{run}'.");
        }

        using Subscription changes = feed.Listen(run);
        RunInfo? last = null;
        do
        {
            RunDelta? delta = store.Since(run, cursor, points, logs, stage);
            if (delta == null || !Context.User!.MaySee(delta.Run))
            {
                yield return new RunDelta(new RunInfo { Run = run }, cursor, cursor, [], [], Deleted: true);
                yield break;
            }

            if (!ReferenceEquals(delta.Run, last))
            {
                last = delta.Run;
                cursor = delta.To;
                yield return delta;
            }

            await Task.Delay(Interval, cancel).ConfigureAwait(false);
        }
        while (await changes.NextAsync(cancel).ConfigureAwait(false));
    }
}
