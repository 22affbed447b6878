// Why this exists: the writing side of one run: folds events into the next snapshot and into its lists. Everything here happens under the
// run's gate.
using System.Collections.Immutable;
using System.Globalization;
using System.Text.Json;
using System.Text.RegularExpressions;
using CoCLR.Core;
using CoCLR.Core.Manifests;
using CoCLR.Core.Planning;
using CoCLR.Dashboard.Configuration;
using CoCLR.Runs;

namespace CoCLR.Dashboard.Storage;

/// <summary>One curve: a metric of an attempt of a stage.</summary>
internal sealed class Series(int number, string stage, int attempt, string name, int count = 0)
{
    public int Number { get; } = number;

    public string Stage { get; } = stage;

    public int Attempt { get; } = attempt;

    public string Name { get; } = name;

    public ChunkedList<Point> Points { get; } = new(PointCodec.ChunkSize, count);

    public long LastCursor { get; set; }
}

/// <summary>What is saved of a run beside its chunks.</summary>
internal sealed class RunDocument
{
    public int Number { get; set; }

    public RunInfo Info { get; set; } = new() { Run = "" };

    public string Folder { get; set; } = "";

    public string? Plan { get; set; }

    public Dictionary<string, string> Results { get; set; } = [];

    public Dictionary<string, string> Files { get; set; } = [];

    public Dictionary<string, string> Seen { get; set; } = [];

    public Dictionary<string, long> Offsets { get; set; } = [];

    public List<SeriesDocument> Series { get; set; } = [];

    public List<LogDocument> Logs { get; set; } = [];

    public int MiningCount { get; set; }

    public List<HistoryEntry> History { get; set; } = [];
}

internal sealed record SeriesDocument(int Number, string Stage, int Attempt, string Name, int Count, long LastCursor);

internal sealed record LogDocument(int Number, string Stage, int Count, int First);

/// <summary>The writing side of one run.</summary>
internal sealed partial class RunEntry
{
    /// <summary>Lines of log in a chunk.</summary>
    public const int LogChunk = 256;

    private const int MiningChunk = 16;
    private const int MaxHistory = 500;
    private const int MaxAttemptsShown = 100;
    private readonly LimitSettings _limits;
    private readonly Func<string, long, byte[]?> _load;
    private readonly Dictionary<(string Stage, int Attempt, string Name), Series> _series = [];
    private readonly Dictionary<string, (int Number, ChunkedList<LogLine> Lines)> _logs = [];
    private readonly Dictionary<(string Stage, int Attempt), SeqRanges> _seen = [];
    private readonly Dictionary<string, (HashSet<string> Names, int Series)> _metrics = [];
    private readonly Dictionary<string, long> _offsets;
    private readonly List<HistoryEntry> _history;
    private readonly ChunkedList<MiningRecord> _mining;
    private bool _dirty;
    private DateTimeOffset _lossTime;

    public RunEntry(RunDocument document, LimitSettings limits, Func<string, long, byte[]?> load)
    {
        (_limits, _load, Number) = (limits, load, document.Number);
        _offsets = document.Offsets;
        _history = document.History;
        _mining = new ChunkedList<MiningRecord>(MiningChunk, document.MiningCount);
        Info = document.Info with
        {
            Folder = document.Folder,
            PlanJson = document.Plan,
            Stages = [.. document.Info.Stages.Select(s => s with
            {
                ResultJson = document.Results.GetValueOrDefault(s.Name),
                Artifacts = [.. s.Artifacts.Select(a => a with { File = document.Files.GetValueOrDefault(a.Id, "") })],
            })],
        };
        foreach (SeriesDocument series in document.Series)
        {
            _series[(series.Stage, series.Attempt, series.Name)] =
                new Series(series.Number, series.Stage, series.Attempt, series.Name, series.Count) { LastCursor = series.LastCursor };
            Count(series.Stage, series.Name);
        }

        foreach (LogDocument log in document.Logs)
        {
            _logs[log.Stage] = (log.Number, new ChunkedList<LogLine>(LogChunk, log.Count, log.First));
        }

        foreach ((string key, string ranges) in document.Seen)
        {
            int slash = key.LastIndexOf('/');
            _seen[(key[..slash], int.Parse(key[(slash + 1)..], CultureInfo.InvariantCulture))] = SeqRanges.Parse(ranges);
        }
    }

    public Lock Gate { get; } = new();

    public int Number { get; }

    public RunInfo Info { get; private set; }

    public bool Deleted { get; set; }

    /// <summary>Forces the next save, although no event came.</summary>
    public void Touch() => _dirty = true;

    public long Offset(string stage) => _offsets.GetValueOrDefault(stage);

    public void SetOffset(string stage, long offset)
    {
        _offsets[stage] = offset;
        _dirty = true;
    }

    /// <summary>A run folder that has no plan yet.</summary>
    public bool SetFolder(string folder, bool remote, DateTimeOffset created)
    {
        if (Info.Folder == folder)
        {
            return false;
        }

        Info = Info with { Folder = folder, Remote = remote, Created = Info.Created == default ? created : Info.Created };
        _dirty = true;
        return true;
    }

    /// <summary>Takes the plan in; stages of the plan come in its order, others that were seen stay at the end.</summary>
    public bool SetPlan(string json, string folder, bool remote, DateTimeOffset created)
    {
        if (Info.PlanJson == json && Info.Folder == folder)
        {
            return false;
        }

        StagePlan plan;
        try
        {
            plan = JsonSerializer.Deserialize<StagePlan>(json, CoclrJson.Compact)!;
        }
        catch (JsonException e)
        {
            Info = Warn(Info with { Folder = folder, Remote = remote }, $"{RunFolder.PlanName} cannot be read: {e.Message}");
            _dirty = true;
            return true;
        }

        ExperimentSpec spec = plan.Spec;
        Info = Info with
        {
            PlanJson = json,
            Folder = folder,
            Remote = remote,
            Experiment = plan.Experiment,
            Method = spec.Training.Method.DisplayName(),
            Backbone = spec.Model.Backbone.ToString(),
            DataSet = Info.DataSet ?? Describe(spec.Dataset.Source),
            Seed = spec.Seed,
            Created = Info.Created == default ? created : Info.Created,
            Updated = Info.Updated == default ? created : Info.Updated,
            Stages = [.. plan.Stages.Select(s => (Info.Stage(s.Name) ?? new StageInfo { Name = s.Name }) with { Epochs = Info.Stage(s.Name)?.Epochs ?? s.Epochs }),
                .. Info.Stages.Where(s => plan.Stages.All(p => p.Name != s.Name))],
        };
        _dirty = true;
        return true;
    }

    public void SetWarning(string text)
    {
        if (!Info.Warnings.Contains(text))
        {
            Info = Warn(Info, text);
            _dirty = true;
        }
    }

    public void SetNamespace(string? name)
    {
        if (Info.Namespace != name)
        {
            Info = Info with { Namespace = name };
            _dirty = true;
        }
    }

    /// <summary>What the cluster says of the run's resource; null when it is gone.</summary>
    public bool SetCluster(ClusterRef? cluster)
    {
        if (Info.Cluster == cluster)
        {
            return false;
        }

        Info = Info with { Cluster = cluster };
        _dirty = true;
        return true;
    }

    /// <summary>Whether anybody still works on the run.</summary>
    public bool SetLost(bool lost)
    {
        if (Info.Lost == lost)
        {
            return false;
        }

        Info = Info with { Lost = lost };
        _dirty = true;
        return true;
    }

    /// <summary>A result that was found as a file, not as an event.</summary>
    public bool SetResult(string stage, string json)
    {
        if (Info.Stage(stage) is not { } info || info.ResultJson == json)
        {
            return false;
        }

        (RunInfo run, info) = TakeResult(Info, info, json);
        Info = Put(run, info);
        _dirty = true;
        return true;
    }

    public IReadOnlyList<HistoryEntry> History => [.. _history];

    /// <summary>Whether an event was taken in before.</summary>
    public bool HasSeen(string stage, int attempt, long seq) =>
        _seen.TryGetValue((stage, attempt), out SeqRanges? seen) && seen.Contains(seq);

    public long NextSeq(string stage, int attempt) => _seen.TryGetValue((stage, attempt), out SeqRanges? seen) ? seen.Next : 0;

    /// <summary>Curves of the run, without their points.</summary>
    public IReadOnlyList<Series> AllSeries() => [.. _series.Values];

    /// <summary>Points of a curve from <paramref name="index"/> on; chunks are loaded by the caller outside of the gate.</summary>
    public (int From, int To, Point[] Tail) Read(Series series, int index) =>
        series.Points.Read(index, chunk => LoadPoints(series.Number, chunk));

    /// <summary>Points after a cursor that are in memory, or null when older ones are asked for too.</summary>
    public List<Point>? Newer(Series series, long cursor)
    {
        if (series.LastCursor <= cursor)
        {
            return [];
        }

        List<Point> tail = series.Points.Tail(chunk => LoadPoints(series.Number, chunk));
        if (series.Points.TailStart > 0 && (tail.Count == 0 || tail[0].Cursor > cursor))
        {
            return null;
        }

        int low = 0, high = tail.Count;
        while (low < high)
        {
            int middle = (low + high) / 2;
            (low, high) = tail[middle].Cursor <= cursor ? (middle + 1, high) : (low, middle);
        }

        return tail[low..];
    }

    public IReadOnlyList<(string Stage, int Number, ChunkedList<LogLine> Lines)> AllLogs() =>
        [.. _logs.Select(l => (l.Key, l.Value.Number, l.Value.Lines))];

    public ChunkedList<MiningRecord> Mining => _mining;

    public List<LogLine> LoadLogs(int log, int chunk) => Load<LogLine>(IndexDatabase.Logs, Keys.Of(Number, log, chunk));

    public List<MiningRecord> LoadMining(int chunk) => Load<MiningRecord>(IndexDatabase.Mining, Keys.Of(Number, 0, chunk));

    public List<Point> LoadPoints(int series, int chunk)
    {
        var points = new List<Point>();
        PointCodec.Unpack(
            _load(IndexDatabase.Points, Keys.Of(Number, series, chunk))
                ?? throw new InvalidDataException("A chunk of metric points is missing."),
            points);
        return points;
    }

    /// <summary>Adds what changed since the last call to a batch.</summary>
    public void TakeDirty(IndexBatch batch)
    {
        if (!_dirty)
        {
            return;
        }

        _dirty = false;
        RunDocument document = Document();
        foreach (Series series in _series.Values)
        {
            document.Series.Add(
                new SeriesDocument(series.Number, series.Stage, series.Attempt, series.Name, series.Points.Count, series.LastCursor));
            foreach ((int chunk, Point[] items) in series.Points.TakeDirty())
            {
                batch.Chunks.Add((IndexDatabase.Points, Keys.Of(Number, series.Number, chunk), PointCodec.Pack(items)));
            }
        }

        foreach ((string stage, (int number, ChunkedList<LogLine> lines)) in _logs)
        {
            foreach ((int chunk, LogLine[] items) in lines.TakeDirty())
            {
                batch.Chunks.Add(
                    (IndexDatabase.Logs, Keys.Of(Number, number, chunk), JsonSerializer.SerializeToUtf8Bytes(items, CoclrJson.Compact)));
            }

            batch.Dropped.AddRange(lines.Drop(_limits.LogLines).Select(chunk => (IndexDatabase.Logs, Keys.Of(Number, number, chunk))));
            document.Logs.Add(new LogDocument(number, stage, lines.Count, lines.FirstChunk));
        }

        foreach ((int chunk, MiningRecord[] items) in _mining.TakeDirty())
        {
            batch.Chunks.Add(
                (IndexDatabase.Mining, Keys.Of(Number, 0, chunk), JsonSerializer.SerializeToUtf8Bytes(items, CoclrJson.Compact)));
        }

        batch.Runs.Add((Info.Run, JsonSerializer.Serialize(document, CoclrJson.Compact)));
    }

    /// <summary>What is saved of the run beside its chunks, and without the lists of them.</summary>
    private RunDocument Document()
    {
        var document = new RunDocument
        {
            Number = Number,
            Info = Info,
            Folder = Info.Folder,
            Plan = Info.PlanJson,
            Offsets = new Dictionary<string, long>(_offsets),
            History = [.. _history],
            MiningCount = _mining.Count,
        };
        foreach (StageInfo stage in Info.Stages)
        {
            if (stage.ResultJson != null)
            {
                document.Results[stage.Name] = stage.ResultJson;
            }

            foreach (ArtifactInfo artifact in stage.Artifacts)
            {
                document.Files[artifact.Id] = artifact.File;
            }
        }

        foreach (((string stage, int attempt), SeqRanges ranges) in _seen)
        {
            document.Seen[$"{stage}/{attempt}"] = ranges.ToString();
        }

        return document;
    }

    /// <summary>
    /// Says that the batch of the last <see cref="TakeDirty"/> is written: only now may saved chunks leave memory, for a reader looks for
    /// them in the index.
    /// </summary>
    public void Saved()
    {
        foreach (Series series in _series.Values)
        {
            series.Points.Trim();
        }

        foreach ((_, ChunkedList<LogLine> lines) in _logs.Values)
        {
            lines.Trim();
        }

        _mining.Trim();
    }

    /// <summary>Says that the batch of the last <see cref="TakeDirty"/> was not written.</summary>
    public void Unsaved()
    {
        _dirty = true;
        foreach (Series series in _series.Values)
        {
            series.Points.Unsaved();
        }

        foreach ((_, ChunkedList<LogLine> lines) in _logs.Values)
        {
            lines.Unsaved();
        }

        _mining.Unsaved();
    }

    private static RunInfo Put(RunInfo info, StageInfo stage)
    {
        int at = -1;
        for (int i = 0; i < info.Stages.Length; i++)
        {
            if (info.Stages[i].Name == stage.Name)
            {
                at = i;
            }
        }

        return info with { Stages = at < 0 ? info.Stages.Add(stage) : info.Stages.SetItem(at, stage) };
    }

    private static RunInfo Warn(RunInfo info, string text) => info.Warnings.Contains(text) ? info
        : info with { Warnings = [.. info.Warnings.Skip(Math.Max(0, info.Warnings.Length - 19)), text] };

    private static string Describe(DatasetSource source) => source switch
    {
        { Synthetic: { } synthetic } => $"synthetic ({synthetic.Classes} classes)",
        { Path: { } path } => Path.GetFileName(path.TrimEnd('/', '\\')),
        { VolumeClaim: { } claim } => claim.Path.Length > 0 ? $"{claim.Name}/{claim.Path}" : claim.Name,
        { S3: { } s3 } => $"s3://{s3.Bucket}/{s3.Prefix}",
        _ => "",
    };

    private static string Cut(string text, int length) => text.Length <= length ? text : text[..length] + "…";

    private Series? Find(string stage, int attempt, string name)
    {
        if (_series.TryGetValue((stage, attempt, name), out Series? series))
        {
            return series;
        }

        (HashSet<string>? names, int known) = _metrics.GetValueOrDefault(stage);
        bool full = known >= _limits.MetricNames * 4 || (names?.Count >= _limits.MetricNames && !names.Contains(name));
        if (full || name.Length is 0 or > 128 || !MetricName().IsMatch(name))
        {
            return null;
        }

        Count(stage, name);
        return _series[(stage, attempt, name)] = new Series(_series.Count, stage, attempt, name);
    }

    private void Count(string stage, string name)
    {
        (HashSet<string>? names, int known) = _metrics.GetValueOrDefault(stage);
        names ??= new HashSet<string>(StringComparer.Ordinal);
        names.Add(name);
        _metrics[stage] = (names, known + 1);
    }

    private ChunkedList<LogLine> Lines(string stage)
    {
        if (!_logs.TryGetValue(stage, out (int Number, ChunkedList<LogLine> Lines) log))
        {
            _logs[stage] = log = (_logs.Count, new ChunkedList<LogLine>(LogChunk));
        }

        return log.Lines;
    }

    private List<T> Load<T>(string collection, long key) => JsonSerializer.Deserialize<List<T>>(
        _load(collection, key) ?? throw new InvalidDataException("A chunk is missing."), CoclrJson.Compact)!;

    [GeneratedRegex(@"^[A-Za-z0-9][A-Za-z0-9 ._/@+-]*$", RegexOptions.NonBacktracking)]
    private static partial Regex MetricName();
}
