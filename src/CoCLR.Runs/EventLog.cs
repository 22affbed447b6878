// Why this exists: everything a stage tells goes through here: one JSON line an event, numbered without gaps, safe to cut off at any byte.
using System.Diagnostics;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using CoCLR.Core;
using CoCLR.Core.Events;
using CoCLR.Core.Results;

namespace CoCLR.Runs;

/// <summary>Appends the events of one attempt of a stage to <c>events.jsonl</c>. Safe for use from several threads.</summary>
public sealed class EventLog : IDisposable
{
    private static readonly TimeSpan ProgressInterval = TimeSpan.FromMilliseconds(250);
    private readonly Lock _gate = new();
    private readonly Stream _file;
    private readonly string _run;
    private readonly string _stage;
    private readonly TimeProvider _clock;
    private readonly Dictionary<string, (long Since, long From, long Last)> _phases = [];
    private long _seq;

    private EventLog(Stream file, string run, string stage, int attempt, TimeProvider clock)
    {
        _file = file;
        _run = run;
        _stage = stage;
        _clock = clock;
        Attempt = attempt;
    }

    /// <summary>Called with every event after it was written; must be quick.</summary>
    public event Action<RunEvent>? Written;

    /// <summary>The attempt, from 1.</summary>
    public int Attempt { get; }

    /// <summary>Opens the log of a stage for its next attempt; a line that a kill has cut off is dropped.</summary>
    /// <param name="file">events.jsonl.</param>
    /// <param name="run">Run id.</param>
    /// <param name="stage">Stage name.</param>
    /// <param name="clock">Clock; the system's when null.</param>
    public static EventLog Open(string file, string run, string stage, TimeProvider? clock = null)
    {
        Directory.CreateDirectory(Path.GetDirectoryName(file)!);
        var stream = new FileStream(file, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.Read);
        stream.SetLength(EndOfLastLine(stream));
        int attempt = 1 + LastAttempt(stream);
        stream.Seek(0, SeekOrigin.End);
        return new EventLog(stream, run, stage, attempt, clock ?? TimeProvider.System);
    }

    /// <summary>A log that is nowhere written down: of several processes that run a stage together, one tells.</summary>
    /// <param name="run">Run id.</param>
    /// <param name="stage">Stage name.</param>
    public static EventLog Silent(string run, string stage) => new(Stream.Null, run, stage, 1, TimeProvider.System);

    /// <summary>A stage's process began.</summary>
    public void Started(string device, int? epochs = null, int? stepsPerEpoch = null, long? resumedAtStep = null) => Write(new StartedEvent
    {
        Run = _run, Stage = _stage, Attempt = Attempt, Seq = 0, Time = default,
        Version = typeof(EventLog).Assembly.GetName().Version?.ToString(3), Device = device, Host = Environment.MachineName,
        Epochs = epochs, StepsPerEpoch = stepsPerEpoch, ResumedAtStep = resumedAtStep,
    });

    /// <summary>How far a phase is; sent a few times a second at most, and at its end.</summary>
    /// <param name="phase">What is being done.</param>
    /// <param name="done">Units done.</param>
    /// <param name="total">Units in all; 0 when unknown.</param>
    /// <param name="unit">Unit.</param>
    public void Progress(string phase, long done, long total, string unit)
    {
        double? eta = null;
        lock (_gate)
        {
            long now = Stopwatch.GetTimestamp();
            if (!_phases.TryGetValue(phase, out var state) || done < state.From)
            {
                state = (now, done, 0);
            }

            bool due = state.Last == 0 || done >= total || Stopwatch.GetElapsedTime(state.Last, now) >= ProgressInterval;
            if (done > state.From && total > 0)
            {
                eta = Stopwatch.GetElapsedTime(state.Since, now).TotalSeconds / (done - state.From) * (total - done);
            }

            _phases[phase] = due ? (state.Since, state.From, now) : state;
            if (!due)
            {
                return;
            }
        }

        Write(new ProgressEvent { Run = _run, Stage = _stage, Attempt = Attempt, Seq = 0, Time = default, Phase = phase, Done = done, Total = total, Unit = unit, EtaSeconds = eta });
    }

    /// <summary>Measured numbers at a step.</summary>
    public void Metrics(long step, double epoch, IReadOnlyDictionary<string, double> values) =>
        Write(new MetricEvent { Run = _run, Stage = _stage, Attempt = Attempt, Seq = 0, Time = default, Step = step, Epoch = epoch, Values = values });

    /// <summary>A line of the log.</summary>
    /// <param name="message">The line.</param>
    /// <param name="level">debug, info, warning or error.</param>
    public void Log(string message, string level = "info") =>
        Write(new LogEvent { Run = _run, Stage = _stage, Attempt = Attempt, Seq = 0, Time = default, Level = level, Message = message });

    /// <summary>A checkpoint was written.</summary>
    public void Checkpoint(int epoch, long step, string file, long bytes) =>
        Write(new CheckpointEvent { Run = _run, Stage = _stage, Attempt = Attempt, Seq = 0, Time = default, Epoch = epoch, Step = step, File = file, Bytes = bytes });

    /// <summary>Positives that the other view mined.</summary>
    public void Mining(int epoch, long step, string learner, string miner, IReadOnlyList<MinedAnchor> anchors) =>
        Write(new MiningEvent { Run = _run, Stage = _stage, Attempt = Attempt, Seq = 0, Time = default, Epoch = epoch, Step = step, Learner = learner, Miner = miner, Anchors = anchors });

    /// <summary>A file that people may look at.</summary>
    /// <param name="folder">The run folder.</param>
    /// <param name="file">The file, whole and final.</param>
    /// <param name="mediaType">Its media type.</param>
    public void Artifact(RunFolder folder, string file, string mediaType)
    {
        using FileStream content = File.OpenRead(file);
        Write(new ArtifactEvent
        {
            Run = _run, Stage = _stage, Attempt = Attempt, Seq = 0, Time = default,
            Name = Path.GetFileName(file), File = Path.GetRelativePath(folder.Root, file), MediaType = mediaType,
            Bytes = content.Length, Sha256 = Convert.ToHexStringLower(SHA256.HashData(content)),
        });
    }

    /// <summary>The stage's result.</summary>
    public void Result(StageResult result) =>
        Write(new ResultEvent { Run = _run, Stage = _stage, Attempt = Attempt, Seq = 0, Time = default, Result = JsonSerializer.SerializeToElement(result, CoclrJson.Compact) });

    /// <summary>The attempt ended.</summary>
    public void Finished(StageOutcome outcome, int exitCode, string? message, double wallSeconds) =>
        Write(new FinishedEvent { Run = _run, Stage = _stage, Attempt = Attempt, Seq = 0, Time = default, Outcome = outcome, ExitCode = exitCode, Message = message, WallSeconds = wallSeconds });

    /// <inheritdoc/>
    public void Dispose() => _file.Dispose();

    private void Write(RunEvent e)
    {
        lock (_gate)
        {
            e = e with { Seq = _seq++, Time = _clock.GetUtcNow() };

            // One write a line: a reader or a kill meets whole lines, or a cut one at the very end.
            _file.Write(Encoding.UTF8.GetBytes(JsonSerializer.Serialize(e, CoclrJson.Compact) + "\n"));
            _file.Flush();
        }

        Written?.Invoke(e);
    }

    internal static long EndOfLastLine(FileStream stream)
    {
        for (long at = stream.Length - 1; at >= 0; at--)
        {
            stream.Position = at;
            if (stream.ReadByte() == '\n')
            {
                return at + 1;
            }
        }

        return 0;
    }

    private static int LastAttempt(FileStream stream)
    {
        stream.Position = 0;
        using var reader = new StreamReader(stream, leaveOpen: true);
        int last = 0;
        while (reader.ReadLine() is { } line)
        {
            // A line torn by a power loss is none: the attempts beside it still count.
            last = Math.Max(last, EventLine.Parse(line)?.Attempt ?? 0);
        }

        return last;
    }
}
