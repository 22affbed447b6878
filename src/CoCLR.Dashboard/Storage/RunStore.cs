// Why this exists: the one place that knows all runs: takes events in, answers reads, saves what changed, tells who listens. Truth lies in
// run folders; this is an index of them.
using System.Collections.Concurrent;
using System.Globalization;
using System.Text.Json;
using CoCLR.Core;
using CoCLR.Core.Events;
using CoCLR.Dashboard.Configuration;
using Microsoft.Extensions.Options;

namespace CoCLR.Dashboard.Storage;

/// <summary>How the store is.</summary>
/// <param name="ReadOnly">Why nothing can be saved, or null.</param>
/// <param name="Rebuilt">The damaged file that was put aside, or null.</param>
public sealed record StoreHealth(string? ReadOnly, string? Rebuilt);

/// <summary>Columns of one curve.</summary>
/// <param name="Stage">Stage.</param>
/// <param name="Attempt">Attempt.</param>
/// <param name="Name">Metric.</param>
/// <param name="Count">Points in the index, before thinning.</param>
/// <param name="Steps">Optimizer steps.</param>
/// <param name="Epochs">Epochs; null where unknown.</param>
/// <param name="Times">Unix milliseconds.</param>
/// <param name="Values">Values; null where not finite.</param>
public sealed record Curve(string Stage, int Attempt, string Name, int Count, long[] Steps, float?[] Epochs, long[] Times, double?[] Values)
{
    /// <summary>What the values that are null were, by their place: NaN, Infinity or -Infinity; null when all are finite.</summary>
    public IReadOnlyDictionary<int, string>? NonFinite { get; init; }

    /// <summary>The running mean over every point of the curve, at the points that are here; null when it was not asked for.</summary>
    public double?[]? Smoothed { get; init; }

    /// <summary>
    /// Sum and weight of the running mean at the end of the curve, with which later points continue it; null when it was not asked for.
    /// </summary>
    public double[]? SmoothedState { get; init; }

    /// <summary>Makes columns of points.</summary>
    internal static Curve From(Series series, int count, List<Point> points)
    {
        Dictionary<int, string>? odd = null;
        var curve = new Curve(
            series.Stage,
            series.Attempt,
            series.Name,
            count,
            new long[points.Count],
            new float?[points.Count],
            new long[points.Count],
            new double?[points.Count]);
        for (int i = 0; i < points.Count; i++)
        {
            curve.Steps[i] = points[i].Step;
            curve.Epochs[i] = float.IsFinite(points[i].Epoch) ? points[i].Epoch : null;
            curve.Times[i] = points[i].Time;
            curve.Values[i] = double.IsFinite(points[i].Value) ? points[i].Value : null;
            if (!double.IsFinite(points[i].Value))
            {
                (odd ??= [])[i] = points[i].Value.ToString(CultureInfo.InvariantCulture);
            }
        }

        return odd == null ? curve : curve with { NonFinite = odd };
    }

    /// <summary>
    /// Adds the running mean: exponential with a weight, without the bias of its start, over every point; what is not finite is left out of
    /// it.
    /// </summary>
    /// <param name="all">Every point of the curve.</param>
    /// <param name="picked">Those of this curve's columns.</param>
    /// <param name="weight">Weight of the past, in (0, 1).</param>
    internal Curve Smooth(List<Point> all, List<Point> picked, double weight)
    {
        var place = new Dictionary<long, int>(picked.Count);
        for (int i = 0; i < picked.Count; i++)
        {
            place[picked[i].Cursor] = i;
        }

        var smoothed = new double?[picked.Count];
        double sum = 0, mass = 0;
        foreach (Point point in all)
        {
            if (double.IsFinite(point.Value))
            {
                sum = (sum * weight) + ((1 - weight) * point.Value);
                mass = (mass * weight) + (1 - weight);
                if (place.TryGetValue(point.Cursor, out int at))
                {
                    smoothed[at] = sum / mass;
                }
            }
        }

        return this with { Smoothed = smoothed, SmoothedState = [sum, mass] };
    }
}

/// <summary>What happened to a run after a cursor.</summary>
/// <param name="Run">The run now.</param>
/// <param name="From">Cursor that this continues.</param>
/// <param name="To">Cursor to continue with.</param>
/// <param name="Curves">New points by curve.</param>
/// <param name="Logs">New lines of log.</param>
/// <param name="Deleted">The run is gone.</param>
public sealed record RunDelta(
    RunInfo Run, long From, long To, IReadOnlyList<Curve> Curves, IReadOnlyList<LogLine> Logs, bool Deleted = false);

/// <summary>All runs.</summary>
public sealed class RunStore : IDisposable
{
    private const int BatchChunks = 4000;
    private readonly ConcurrentDictionary<string, RunEntry> _runs = new(StringComparer.Ordinal);
    private readonly DashboardOptions _options;
    private readonly LiveFeed _feed;
    private readonly TimeProvider _clock;
    private readonly ILogger<RunStore> _logger;
    private readonly Lock _writing = new();
    private readonly ConcurrentQueue<(string Run, int Number)> _deleted = new();
    private IndexDatabase _database;
    private int _lastNumber;
    private volatile StoreHealth _health;

    /// <summary>Opens the index.</summary>
    public RunStore(IOptions<DashboardOptions> options, LiveFeed feed, TimeProvider clock, ILogger<RunStore> logger)
    {
        ArgumentNullException.ThrowIfNull(options);
        (_options, _feed, _clock, _logger) = (options.Value, feed, clock, logger);
        _database = IndexDatabase.Open(_options.ResolvedDataDir, _options.Rebuild);
        _health = new StoreHealth(null, _options.Rebuild ? null : _database.Quarantine);
        try
        {
            Load();
        }
        catch (Exception e) when (IndexDatabase.IsDamage(e))
        {
            Rebuild(e, _database);
        }
    }

    /// <summary>How the store is.</summary>
    public StoreHealth Health => _health;

    /// <summary>Raised after the index was thrown away: folders must be read from the start.</summary>
    public event Action? Rebuilding;

    /// <summary>All runs, in no order.</summary>
    public IReadOnlyCollection<RunInfo> Runs => [.. _runs.Values.Select(r => r.Info)];

    /// <summary>A run, or null.</summary>
    /// <param name="run">Id.</param>
    public RunInfo? Find(string run) => _runs.TryGetValue(run, out RunEntry? entry) ? entry.Info : null;

    /// <summary>An artifact by its id, with its run.</summary>
    /// <param name="id">Id.</param>
    public (RunInfo Run, ArtifactInfo Artifact)? FindArtifact(string id)
    {
        foreach (RunEntry entry in _runs.Values)
        {
            foreach (StageInfo stage in entry.Info.Stages)
            {
                foreach (ArtifactInfo artifact in stage.Artifacts)
                {
                    if (artifact.Id == id)
                    {
                        return (entry.Info, artifact);
                    }
                }
            }
        }

        return null;
    }

    /// <summary>Takes events of one stage in.</summary>
    /// <param name="run">Run.</param>
    /// <param name="stage">Stage.</param>
    /// <param name="events">Events.</param>
    /// <param name="offset">Bytes of the stage's events.jsonl that are read with them, or null.</param>
    /// <returns>How many were new.</returns>
    public int Apply(string run, string stage, IReadOnlyList<RunEvent> events, long? offset = null)
    {
        int accepted = Guarded(() =>
        {
            RunEntry entry = Entry(run);
            lock (entry.Gate)
            {
                int fresh = entry.Apply(stage, events, _clock.GetUtcNow());
                if (offset is { } bytes)
                {
                    entry.SetOffset(stage, bytes);
                }

                return fresh;
            }
        }, 0);

        if (accepted > 0)
        {
            _feed.Changed(run);
        }

        return accepted;
    }

    /// <summary>Which of a batch's events are new, without taking them in.</summary>
    internal List<T> Unseen<T>(string run, IEnumerable<T> items, Func<T, RunEvent> of)
    {
        if (!_runs.TryGetValue(run, out RunEntry? entry))
        {
            return [.. items];
        }

        lock (entry.Gate)
        {
            return [.. items.Where(i => of(i) is var e && !entry.HasSeen(e.Stage, e.Attempt, e.Seq))];
        }
    }

    /// <summary>First event number of an attempt that is missing.</summary>
    public long NextSeq(string run, string stage, int attempt)
    {
        if (!_runs.TryGetValue(run, out RunEntry? entry))
        {
            return 0;
        }

        lock (entry.Gate)
        {
            return entry.NextSeq(stage, attempt);
        }
    }

    /// <summary>Changes a run through its writing side.</summary>
    internal void Change(string run, Func<RunEntry, bool> change)
    {
        RunEntry entry = Entry(run);
        bool changed;
        lock (entry.Gate)
        {
            changed = change(entry);
        }

        if (changed)
        {
            _feed.Changed(run);
        }
    }

    /// <summary>Bytes of a stage's events.jsonl that are in the index.</summary>
    public long Offset(string run, string stage)
    {
        if (!_runs.TryGetValue(run, out RunEntry? entry))
        {
            return 0;
        }

        lock (entry.Gate)
        {
            return entry.Offset(stage);
        }
    }

    /// <summary>Forgets a run. Its folder is left to the caller.</summary>
    /// <param name="run">Id.</param>
    public bool Remove(string run)
    {
        if (!_runs.TryRemove(run, out RunEntry? entry))
        {
            return false;
        }

        lock (entry.Gate)
        {
            entry.Deleted = true;
        }

        _deleted.Enqueue((run, entry.Number));
        _feed.Changed(run);
        return true;
    }

    /// <summary>Names of the curves of a run.</summary>
    /// <param name="run">Id.</param>
    public IReadOnlyList<(string Stage, int Attempt, string Name, int Count)> CurveNames(string run)
    {
        if (!_runs.TryGetValue(run, out RunEntry? entry))
        {
            return [];
        }

        lock (entry.Gate)
        {
            return [.. entry.AllSeries().Select(s => (s.Stage, s.Attempt, s.Name, s.Points.Count))];
        }
    }

    /// <summary>Curves of a run, thinned out to a number of points each.</summary>
    /// <param name="run">Id.</param>
    /// <param name="wanted">Which curves; all when null.</param>
    /// <param name="points">Points of each.</param>
    /// <param name="x">Horizontal axis for the thinning: step, epoch or time.</param>
    /// <param name="smoothing">Weight of the past in a running mean that is added; none when 0.</param>
    /// <param name="steps">Only points from the one step to the other, with one neighbour on either side; all when null.</param>
    public (long Cursor, IReadOnlyList<Curve> Curves) Curves(
        string run, Func<string, string, bool>? wanted =
            null, int points = 2000, string x = "step", double smoothing = 0, (long From, long To)? steps = null) =>
        Guarded(() => ReadCurves(run, wanted, points, x, smoothing, steps), (0L, (IReadOnlyList<Curve>)[]));

    private (long Cursor, IReadOnlyList<Curve> Curves) ReadCurves(
        string run, Func<string, string, bool>? wanted, int points, string x, double smoothing, (long From, long To)? steps)
    {
        if (!_runs.TryGetValue(run, out RunEntry? entry))
        {
            return (0, []);
        }

        points = Math.Clamp(points, 3, _options.Limits.PointsPerRead);
        var open = new List<(Series Series, int Count, int From, int To, Point[] Tail)>();
        long cursor;
        lock (entry.Gate)
        {
            cursor = entry.Info.Cursor;
            foreach (Series series in entry.AllSeries().Where(s => wanted == null || wanted(s.Stage, s.Name)))
            {
                (int from, int to, Point[] tail) = entry.Read(series, 0);
                open.Add((series, series.Points.Count, from, to, tail));
            }
        }

        var curves = new List<Curve>(open.Count);
        foreach ((Series series, int count, int from, int to, Point[] tail) in open)
        {
            var all = new List<Point>(count);
            ReadPoints(entry, series, from, to, all);
            all.AddRange(tail);
            Sort(all);
            // Smoothed before it is thinned: a mean over thinned points would be one over their extremes.
            List<Point> picked =
                Downsample.Lttb(steps is { } range ? Within(all, range) : all, points, x == "time" ? p => p.Time : p => p.Step);
            var curve = Curve.From(series, count, picked);
            curves.Add(smoothing > 0 ? curve.Smooth(all, picked, Math.Min(smoothing, 0.9999)) : curve);
        }

        return (cursor, curves);
    }

    /// <summary>What happened to a run after a cursor; null when there is no such run.</summary>
    /// <param name="run">Id.</param>
    /// <param name="cursor">Cursor that was reached.</param>
    /// <param name="withPoints">Whether points are wanted.</param>
    /// <param name="withLogs">Whether lines of log are wanted.</param>
    /// <param name="stage">Only of this stage; all when null.</param>
    public RunDelta? Since(string run, long cursor, bool withPoints = true, bool withLogs = true, string? stage = null) =>
        Guarded(
            () => ReadSince(run, cursor, withPoints, withLogs, stage),
            Find(run) is { } now ? new RunDelta(now, cursor, cursor, [], []) : null);

    private RunDelta? ReadSince(string run, long cursor, bool withPoints, bool withLogs, string? stage)
    {
        if (!_runs.TryGetValue(run, out RunEntry? entry))
        {
            return null;
        }

        var curves = new List<Curve>();
        var logs = new List<LogLine>();
        RunInfo info;
        lock (entry.Gate)
        {
            info = entry.Info;
            if (cursor > info.Cursor)
            {
                // The index was rebuilt since: the listener starts over.
                cursor = 0;
            }

            if (withPoints)
            {
                foreach (Series series in entry.AllSeries().Where(s => s.LastCursor > cursor && (stage == null || s.Stage == stage)))
                {
                    List<Point>? fresh = entry.Newer(series, cursor);
                    if (fresh == null)
                    {
                        (int from, int to, Point[] tail) = entry.Read(series, 0);
                        fresh = new List<Point>(series.Points.Count);
                        ReadPoints(entry, series, from, to, fresh);
                        fresh.AddRange(tail);
                        fresh.RemoveAll(p => p.Cursor <= cursor);
                        fresh = Downsample.Lttb(fresh, _options.Limits.PointsPerRead, p => p.Step);
                    }

                    curves.Add(Curve.From(series, series.Points.Count, fresh));
                }
            }

            if (withLogs)
            {
                foreach ((string name, int number, ChunkedList<LogLine> lines) in entry.AllLogs().Where(l => stage == null || l.Stage == stage))
                {
                    List<LogLine> tail = lines.Tail(chunk => entry.LoadLogs(number, chunk));
                    logs.AddRange(tail.Where(l => l.Cursor > cursor).TakeLast(1000));
                }
            }
        }

        logs.Sort((a, b) => a.Cursor.CompareTo(b.Cursor));
        return new RunDelta(info, cursor, info.Cursor, curves, logs);
    }

    /// <summary>Lines of log.</summary>
    /// <param name="run">Id.</param>
    /// <param name="stage">Stage; all when null.</param>
    /// <param name="before">Only lines before this cursor; the newest when null.</param>
    /// <param name="take">Most lines.</param>
    /// <param name="contains">Only lines that contain this text.</param>
    /// <param name="level">Only lines of this level.</param>
    public IReadOnlyList<LogLine> Logs(string run, string? stage, long? before, int take, string? contains = null, string? level = null) =>
        Guarded(() => ReadLogs(run, stage, before, take, contains, level), []);

    private List<LogLine> ReadLogs(string run, string? stage, long? before, int take, string? contains, string? level)
    {
        if (!_runs.TryGetValue(run, out RunEntry? entry))
        {
            return [];
        }

        take = Math.Clamp(take, 1, _options.Limits.LogLines);
        var found = new List<LogLine>();
        List<(int Number, int From, int To, LogLine[] Tail)> open = [];
        lock (entry.Gate)
        {
            foreach ((string name, int number, ChunkedList<LogLine> lines) in entry.AllLogs().Where(l => stage == null || l.Stage == stage))
            {
                (int from, int to, LogLine[] tail) = lines.Read(0, chunk => entry.LoadLogs(number, chunk));
                open.Add((number, from, to, tail));
            }
        }

        bool Wanted(LogLine line) => (before == null || line.Cursor < before) && (level == null || line.Level == level)
            && (string.IsNullOrEmpty(contains) || line.Message.Contains(contains, StringComparison.OrdinalIgnoreCase));
        foreach ((int number, int from, int to, LogLine[] tail) in open)
        {
            var own = new List<LogLine>();
            own.AddRange(tail.Where(Wanted).Reverse());
            for (int chunk = to - 1; chunk >= from && own.Count < take; chunk--)
            {
                own.AddRange(entry.LoadLogs(number, chunk).Where(Wanted).Reverse());
            }

            found.AddRange(own.Take(take));
        }

        // Stages of a run that was read after the fact came one after another: people read logs by time.
        found.Sort((a, b) => (a.Time, a.Cursor).CompareTo((b.Time, b.Cursor)));
        return found.Count <= take ? found : found[^take..];
    }

    /// <summary>Stages that wrote a log: lines that were ever written, and the first that is still kept.</summary>
    /// <param name="run">Id.</param>
    public IReadOnlyList<(string Stage, int First, int Count)> LogCounts(string run)
    {
        if (!_runs.TryGetValue(run, out RunEntry? entry))
        {
            return [];
        }

        lock (entry.Gate)
        {
            return [.. entry.AllLogs().Select(l => (l.Stage, l.Lines.FirstChunk * RunEntry.LogChunk, l.Lines.Count))];
        }
    }

    /// <summary>Reads lines of a stage's log in the order in which they were written.</summary>
    /// <param name="run">Id.</param>
    /// <param name="stage">Stage.</param>
    /// <param name="from">Number of the first line.</param>
    /// <param name="to">Number after the last line.</param>
    /// <param name="take">Gets each line with its number.</param>
    internal void ReadLog(string run, string stage, int from, int to, Action<int, LogLine> take) => Guarded(() =>
    {
        if (!_runs.TryGetValue(run, out RunEntry? entry))
        {
            return false;
        }

        int log, fromChunk, toChunk, end;
        LogLine[] tail;
        lock (entry.Gate)
        {
            (_, log, ChunkedList<LogLine>? lines) = entry.AllLogs().FirstOrDefault(l => l.Stage == stage);
            if (lines == null)
            {
                return false;
            }

            (fromChunk, toChunk, tail) = lines.Read(from, chunk => entry.LoadLogs(log, chunk));
            end = lines.Count;
        }

        for (int chunk = fromChunk; chunk < toChunk && chunk * RunEntry.LogChunk < to; chunk++)
        {
            List<LogLine> lines = entry.LoadLogs(log, chunk);
            for (int i = Math.Max(0, from - (chunk * RunEntry.LogChunk)); i < lines.Count && (chunk * RunEntry.LogChunk) + i < to; i++)
            {
                take((chunk * RunEntry.LogChunk) + i, lines[i]);
            }
        }

        for (int i = 0; i < tail.Length && end - tail.Length + i < to; i++)
        {
            take(end - tail.Length + i, tail[i]);
        }

        return true;
    }, false);

    /// <summary>Mining events of a run, oldest first.</summary>
    /// <param name="run">Id.</param>
    public IReadOnlyList<MiningRecord> Mining(string run) => Guarded(() => ReadMining(run), []);

    private List<MiningRecord> ReadMining(string run)
    {
        if (!_runs.TryGetValue(run, out RunEntry? entry))
        {
            return [];
        }

        (int From, int To, MiningRecord[] Tail) read;
        lock (entry.Gate)
        {
            read = entry.Mining.Read(0, entry.LoadMining);
        }

        var all = new List<MiningRecord>();
        for (int chunk = read.From; chunk < read.To; chunk++)
        {
            all.AddRange(entry.LoadMining(chunk));
        }

        all.AddRange(read.Tail);
        return all;
    }

    /// <summary>Starts, checkpoints, results and ends of a run, oldest first.</summary>
    /// <param name="run">Id.</param>
    public IReadOnlyList<HistoryEntry> History(string run)
    {
        if (!_runs.TryGetValue(run, out RunEntry? entry))
        {
            return [];
        }

        lock (entry.Gate)
        {
            return [.. entry.History.OrderBy(h => h.Time).ThenBy(h => h.Cursor)];
        }
    }

    /// <summary>Saves what changed. One caller at a time.</summary>
    /// <returns>Runs saved.</returns>
    public int Flush()
    {
        lock (_writing)
        {
            (IndexBatch batch, List<RunEntry> taken) = TakeChanges();
            if (batch.Runs.Count == 0 && batch.DeletedRuns.Count == 0)
            {
                return 0;
            }

            try
            {
                _database.Write(batch);
                foreach (RunEntry entry in taken)
                {
                    lock (entry.Gate)
                    {
                        entry.Saved();
                    }
                }

                if (_health.ReadOnly != null)
                {
                    _health = _health with { ReadOnly = null };
                    _feed.Changed(LiveFeed.All);
                }

                return batch.Runs.Count;
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                GiveBack(batch, taken);
                if (_health.ReadOnly == null)
                {
                    _logger.LogError(e, "The index cannot be saved");
                    _health = _health with
                    {
                        ReadOnly = $"The index cannot be saved: {e.Message} Free space in {_options.ResolvedDataDir}; "
                        + $"nothing is lost, run folders hold the truth."
                    };
                    _feed.Changed(LiveFeed.All);
                }

                return 0;
            }
            catch (Exception e) when (IndexDatabase.IsDamage(e))
            {
                GiveBack(batch, taken);
                Rebuild(e, _database);
                return 0;
            }
        }
    }

    /// <summary>What is not in the index yet, as much as one batch holds.</summary>
    private (IndexBatch Batch, List<RunEntry> Taken) TakeChanges()
    {
        var batch = new IndexBatch();
        var taken = new List<RunEntry>();
        while (_deleted.TryDequeue(out (string, int) gone))
        {
            batch.DeletedRuns.Add(gone);
        }

        foreach (RunEntry entry in _runs.Values)
        {
            int before = batch.Runs.Count;
            lock (entry.Gate)
            {
                entry.TakeDirty(batch);
            }

            if (batch.Runs.Count > before)
            {
                taken.Add(entry);
            }

            if (batch.Chunks.Count > BatchChunks)
            {
                break;
            }
        }

        return (batch, taken);
    }

    /// <summary>What could not be written is taken again next time.</summary>
    private void GiveBack(IndexBatch batch, List<RunEntry> taken)
    {
        foreach ((string, int) gone in batch.DeletedRuns)
        {
            _deleted.Enqueue(gone);
        }

        foreach (RunEntry entry in taken)
        {
            lock (entry.Gate)
            {
                entry.Unsaved();
            }
        }
    }

    /// <summary>Drops runs beyond the limits from the index; their folders stay.</summary>
    public void Retain()
    {
        DateTimeOffset now = _clock.GetUtcNow();
        RunInfo[] ended = [
            .. _runs.Values.Select(r => r.Info)
                .Where(r => r.State is RunState.Succeeded or RunState.Failed or RunState.Stopped or RunState.Lost).OrderBy(r => r.Updated)];
        int surplus = _runs.Count - _options.Limits.Runs;
        foreach (RunInfo run in ended)
        {
            bool old = _options.Limits.RetentionDays > 0 && run.Updated < now.AddDays(-_options.Limits.RetentionDays);
            if (surplus-- > 0 || old)
            {
                Remove(run.Run);
            }
        }
    }

    /// <summary>Copies the index to a file while it is in use.</summary>
    /// <param name="target">File to be made.</param>
    public void BackUp(string target)
    {
        Flush();
        lock (_writing)
        {
            _database.BackUp(target);
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        Flush();
        _database.Dispose();
    }

    private void Load()
    {
        foreach ((string run, string json) in _database.Runs())
        {
            RunDocument document = JsonSerializer.Deserialize<RunDocument>(json, CoclrJson.Compact)
                ?? throw new InvalidDataException("A run's document is empty.");
            _lastNumber = Math.Max(_lastNumber, document.Number);
            _runs[run] = new RunEntry(document, _options.Limits, LoadChunk);
        }
    }

    private RunEntry Entry(string run) => _runs.GetOrAdd(
        run,
        id => new RunEntry(
            new RunDocument { Number = Interlocked.Increment(ref _lastNumber), Info = new RunInfo { Run = id } },
            _options.Limits,
            LoadChunk));

    private byte[]? LoadChunk(string collection, long key) => _database.Chunk(collection, key);

    private void ReadPoints(RunEntry entry, Series series, int from, int to, List<Point> into)
    {
        if (to <= from)
        {
            return;
        }

        IReadOnlyList<byte[]> chunks = _database.ChunkRange(
            IndexDatabase.Points, Keys.Of(entry.Number, series.Number, from), Keys.Of(entry.Number, series.Number, to));
        if (chunks.Count != to - from)
        {
            throw new InvalidDataException("Chunks of metric points are missing.");
        }

        foreach (byte[] chunk in chunks)
        {
            PointCodec.Unpack(chunk, into);
        }
    }

    /// <summary>A read that finds damage starts the rebuilding instead of failing the page.</summary>
    private T Guarded<T>(Func<T> read, T otherwise)
    {
        IndexDatabase readFrom = _database;
        try
        {
            return read();
        }
        catch (Exception e) when (IndexDatabase.IsDamage(e))
        {
            Rebuild(e, readFrom);
            return otherwise;
        }
    }

    private void Rebuild(Exception cause, IndexDatabase damaged)
    {
        lock (_writing)
        {
            if (!ReferenceEquals(damaged, _database))
            {
                // Another reader met the same damage; the new index is there already.
                return;
            }

            _logger.LogError(cause, "The index is damaged; it is put aside and built anew from the run folders");
            _database.Dispose();
            _runs.Clear();
            _lastNumber = 0;
            _database = IndexDatabase.Open(_options.ResolvedDataDir, rebuild: true);
            _health = new StoreHealth(null, _database.Quarantine);
        }

        Rebuilding?.Invoke();
        _feed.Changed(LiveFeed.All);
    }

    private static List<Point> Within(List<Point> points, (long From, long To) steps)
    {
        int first = points.FindIndex(p => p.Step >= steps.From), after = points.FindIndex(p => p.Step > steps.To);
        first = first < 0 ? points.Count : first;
        after = after < 0 ? points.Count : after;
        return points[Math.Max(0, first - 1)..Math.Min(points.Count, after + 1)];
    }

    private static void Sort(List<Point> points)
    {
        for (int i = 1; i < points.Count; i++)
        {
            if (points[i].Step < points[i - 1].Step || (points[i].Step == points[i - 1].Step))
            {
                // Late events, or a step that was written twice: by step, and the last write of a step wins.
                List<Point> sorted = [.. points.Select((p, at) => (p, at)).OrderBy(p => p.p.Step).ThenBy(p => p.at).Select(p => p.p)];
                points.Clear();
                for (int j = 0; j < sorted.Count; j++)
                {
                    if (j + 1 == sorted.Count || sorted[j + 1].Step != sorted[j].Step)
                    {
                        points.Add(sorted[j]);
                    }
                }

                return;
            }
        }
    }
}
