// Why this exists: how each kind of event changes what is known of a run.
using System.Collections.Immutable;
using CoCLR.Core;
using CoCLR.Core.Events;
using CoCLR.Core.Planning;
using CoCLR.Core.Results;

namespace CoCLR.Dashboard.Storage;

/// <content>Folds events into the next snapshot.</content>
internal sealed partial class RunEntry
{
    /// <summary>Takes events of one stage in.</summary>
    /// <returns>How many were new.</returns>
    public int Apply(string stageName, IReadOnlyList<RunEvent> events, DateTimeOffset now)
    {
        int accepted = 0;
        var fold = new Fold(Info, Info.Stage(stageName) ?? new StageInfo { Name = stageName });
        foreach (RunEvent item in events)
        {
            if (!_seen.TryGetValue((stageName, item.Attempt), out SeqRanges? seen))
            {
                _seen[(stageName, item.Attempt)] = seen = new SeqRanges();
            }

            if (seen.Add(item.Seq))
            {
                accepted++;
                fold.Advance(item, now);
                Take(fold, item);
            }
        }

        if (accepted > 0)
        {
            Info = fold.Finish() with { Heard = now, Lost = false };
            _dirty = true;
        }

        return accepted;
    }

    private void Take(Fold fold, RunEvent item)
    {
        switch (item)
        {
            case StartedEvent e:
                TakeStart(fold, e);
                break;
            case ProgressEvent e when fold.IsNewest:
                fold.Stage = Begun(fold.Stage, e) with
                {
                    Doing = Cut(e.Phase, 80),
                    Done = Math.Max(0, e.Done),
                    Total = Math.Max(0, e.Total),
                    Unit = e.Unit is null ? null : Cut(e.Unit, 40),
                    EtaSeconds = e.EtaSeconds is >= 0 and < 1e9 ? e.EtaSeconds : null,
                };
                break;
            case MetricEvent e:
                TakeMetrics(fold, e);
                break;
            case LogEvent e:
                TakeLine(fold, e);
                break;
            case CheckpointEvent e:
                AddHistory(fold, e, "checkpoint", $"epoch {e.Epoch}, step {e.Step}");
                if (fold.IsNewest)
                {
                    var checkpoint = new NewestCheckpoint(e.Epoch, e.Step, e.Bytes, fold.Time);
                    fold.Stage = fold.Stage with { Checkpoint = checkpoint, Epoch = Math.Max(fold.Stage.Epoch ?? 0, e.Epoch) };
                }

                break;
            case ArtifactEvent e:
                TakeArtifact(fold, e);
                break;
            case MiningEvent e when fold.Stage.MiningEvents < _limits.MiningEvents:
                _mining.Add(new MiningRecord(fold.Cursor, e), LoadMining);
                fold.Stage = fold.Stage with { MiningEvents = fold.Stage.MiningEvents + 1 };
                break;
            case ResultEvent e:
                AddHistory(fold, e, "result", "measured");
                if (fold.IsNewest || fold.Stage.ResultJson is null)
                {
                    (fold.Info, fold.Stage) = TakeResult(fold.Info, fold.Stage, e.Result.GetRawText());
                }

                break;
            case FinishedEvent e:
                TakeEnd(fold, e);
                break;
        }
    }

    private void TakeStart(Fold fold, StartedEvent e)
    {
        string resumed = e.ResumedAtStep is { } at ? $", continues at step {at}" : "";
        AddHistory(fold, e, "started", $"attempt {e.Attempt} on {e.Device ?? "an unnamed device"}{resumed}");
        StageInfo stage = fold.Stage;
        bool shown = stage.Attempts.Any(a => a.Attempt == e.Attempt) || stage.Attempts.Length >= MaxAttemptsShown;
        stage = stage with
        {
            Attempts = shown
                ? stage.Attempts
                : [.. stage.Attempts.Append(new AttemptInfo(e.Attempt, fold.Time, e.ResumedAtStep)).OrderBy(a => a.Attempt)],
            Started = stage.Started is { } begun && begun < fold.Time ? begun : fold.Time,
        };
        if (fold.IsNewest)
        {
            stage = stage with
            {
                Attempt = e.Attempt,
                Phase = StagePhase.Running,
                Finished = null,
                Message = null,
                ExitCode = null,
                EtaSeconds = null,
                Device = e.Device ?? stage.Device,
                Host = e.Host ?? stage.Host,
                Epochs = e.Epochs ?? stage.Epochs,
            };
            fold.Info = fold.Info with { Device = e.Device ?? fold.Info.Device };
        }

        fold.Stage = stage;
    }

    private void TakeMetrics(Fold fold, MetricEvent e)
    {
        foreach ((string name, double value) in e.Values)
        {
            if (Find(fold.Stage.Name, e.Attempt, name) is not { } series)
            {
                fold.Warn($"more than {_limits.MetricNames} curves; the rest is not kept.");
                continue;
            }

            if (series.Points.Count >= _limits.PointsPerSeries)
            {
                fold.Warn($"{name} has {_limits.PointsPerSeries} points; the rest is not kept.");
                continue;
            }

            var point =
                new Point(fold.Cursor, Math.Max(0, e.Step), fold.Time.ToUnixTimeMilliseconds(), (float?)e.Epoch ?? float.NaN, value);
            series.Points.Add(point, chunk => LoadPoints(series.Number, chunk));
            series.LastCursor = fold.Cursor;
            if (!fold.IsNewest)
            {
                continue;
            }

            fold.Latest[name] = value;

            // Not that of an older stage that is read later.
            if (name == MetricNames.Loss && double.IsFinite(value) && fold.Time >= _lossTime)
            {
                _lossTime = fold.Time;
                fold.Info = Draw(fold.Info with { Loss = value }, (float)value);
            }
        }

        if (fold.IsNewest)
        {
            fold.Stage = Begun(fold.Stage, e) with { Step = e.Step, Epoch = e.Epoch ?? fold.Stage.Epoch };
        }
    }

    private void TakeLine(Fold fold, LogEvent e)
    {
        string level = e.Level is "debug" or "warning" or "error" ? e.Level : "info", stage = fold.Stage.Name;
        Lines(stage).Add(
            new LogLine(fold.Cursor, stage, e.Attempt, fold.Time, level, Cut(e.Message, _limits.LogLineLength)),
            chunk => LoadLogs(_logs[stage].Number, chunk));
        fold.Stage = fold.Stage with
        {
            LogLines = fold.Stage.LogLines + 1,
            Complaints = fold.Stage.Complaints + (level is "warning" or "error" ? 1 : 0)
        };
    }

    private void TakeEnd(Fold fold, FinishedEvent e)
    {
        (StagePhase phase, string word) = e.Outcome switch
        {
            StageOutcome.Succeeded => (StagePhase.Succeeded, "succeeded"),
            StageOutcome.Failed => (StagePhase.Failed, "failed"),
            _ => (StagePhase.Stopped, "stopped"),
        };
        AddHistory(fold, e, word, e.Message ?? $"exit code {e.ExitCode}");
        fold.Stage =
            fold.Stage with { WallSeconds = (fold.Stage.WallSeconds ?? 0) + (e.WallSeconds is >= 0 and < 1e9 ? e.WallSeconds : 0) };
        if (fold.IsNewest)
        {
            fold.Stage = fold.Stage with
            {
                Attempt = e.Attempt,
                Phase = phase,
                ExitCode = e.ExitCode,
                Message = e.Message is null ? null : Cut(e.Message, 2000),
                Finished = fold.Time,
                EtaSeconds = null,
            };
        }
    }

    private void TakeArtifact(Fold fold, ArtifactEvent e)
    {
        if (!ArtifactFiles.IsSafe(e.File) || e.Name.Length is 0 or > 255)
        {
            fold.Warn($"the artifact '{Cut(e.Name, 80)}' names a file outside of the run folder and is not shown.");
            return;
        }

        StageInfo stage = fold.Stage;
        if (fold.Info.Stages.Where(s => s.Name != stage.Name).Sum(s => s.Artifacts.Length) + stage.Artifacts.Length >= _limits.Artifacts)
        {
            fold.Warn($"the run has more than {_limits.Artifacts} artifacts; the rest is not listed.");
            return;
        }

        ArtifactInfo? known = stage.Artifacts.FirstOrDefault(a => a.Name == e.Name);
        string id = known?.Id ?? Guid.NewGuid().ToString("N");
        var artifact = new ArtifactInfo(id, stage.Name, e.Name, Cut(e.MediaType, 127), e.Bytes, e.Sha256, fold.Time) { File = e.File };
        fold.Stage = stage with { Artifacts = known is null ? stage.Artifacts.Add(artifact) : stage.Artifacts.Replace(known, artifact) };
    }

    private static (RunInfo Info, StageInfo Stage) TakeResult(RunInfo info, StageInfo stage, string json)
    {
        stage = stage with { ResultJson = json };
        try
        {
            StageResult result = ResultJson.Read<StageResult>(json, $"the result of {stage.Name}");
            return (info with
            {
                DataSet = result.DataSet.Length > 0 ? result.DataSet : info.DataSet,
                BestProbe = Max(info.BestProbe, RunResults.LearnedProbe(result)),
                RecallAt1 = Max(info.RecallAt1, RunResults.LearnedRecallAt1(result)),
            }, stage);
        }
        catch (UserErrorException e)
        {
            return (Warn(info, e.Message), stage);
        }

        static double? Max(double? a, double? b) => a is null ? b : b is null ? a : Math.Max(a.Value, b.Value);
    }

    private void AddHistory(Fold fold, RunEvent e, string kind, string text)
    {
        _history.Add(new HistoryEntry(fold.Cursor, fold.Time, fold.Stage.Name, e.Attempt, kind, Cut(text, 500)));
        if (_history.Count > MaxHistory)
        {
            // Checkpoints are many and alike: the oldest of them goes first.
            int at = _history.FindIndex(h => h.Kind == "checkpoint");
            _history.RemoveAt(Math.Max(0, at));
        }
    }

    private static StageInfo Begun(StageInfo stage, RunEvent e) =>
        stage.Attempt == 0 || (e.Attempt > stage.Attempt) || stage.Phase == StagePhase.Pending
        ? stage with { Attempt = e.Attempt, Phase = StagePhase.Running, Started = stage.Started ?? e.Time } : stage;

    private static RunInfo Draw(RunInfo info, float value)
    {
        const int Length = 64;
        if (info.SparklineSkipped + 1 < info.SparklineStride)
        {
            return info with { SparklineSkipped = info.SparklineSkipped + 1 };
        }

        ImmutableArray<float> line = info.Sparkline.Add(value);
        return line.Length <= Length
            ? info with { Sparkline = line, SparklineSkipped = 0 }
            : info with
            {
                Sparkline = [.. line.Where((_, i) => i % 2 == 0)],
                SparklineStride = info.SparklineStride * 2,
                SparklineSkipped = 0
            };
    }

    /// <summary>A run and one of its stages between two snapshots.</summary>
    private sealed class Fold(RunInfo info, StageInfo stage)
    {
        private ImmutableSortedDictionary<string, double>.Builder? _latest;

        public RunInfo Info { get; set; } = info;

        public StageInfo Stage { get; set; } = stage;

        /// <summary>Time of the event, or of its arrival when its sender's clock is ahead.</summary>
        public DateTimeOffset Time { get; private set; }

        /// <summary>Whether the event is of the newest attempt: what older ones say late changes curves only.</summary>
        public bool IsNewest { get; private set; }

        public long Cursor => Info.Cursor;

        public ImmutableSortedDictionary<string, double>.Builder Latest => _latest ??= Stage.Latest.ToBuilder();

        public void Advance(RunEvent item, DateTimeOffset now)
        {
            Time = item.Time;
            if (Time > now.AddMinutes(5))
            {
                Warn($"events are dated in the future; the clock of {Stage.Host ?? "the sender"} is wrong.");
                Time = now;
            }

            Info = Info with
            {
                Cursor = Info.Cursor + 1,
                Updated = Time > Info.Updated ? Time : Info.Updated,
                Created = Info.Created == default ? Time : Info.Created,
            };
            Stage = Stage with { Updated = Time > (Stage.Updated ?? default) ? Time : Stage.Updated };
            IsNewest = item.Attempt >= Stage.Attempt;
        }

        public void Warn(string text) => Info = RunEntry.Warn(Info, $"{Stage.Name}: {text}");

        public RunInfo Finish() => Put(Info, _latest is null ? Stage : Stage with { Latest = _latest.ToImmutable() });
    }
}
