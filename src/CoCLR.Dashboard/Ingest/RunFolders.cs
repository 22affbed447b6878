// Why this exists: follows the run folders below the work folder: finds new ones, reads plans, tails events.jsonl from the byte where it
// stopped, notices results and deleted runs.
using System.Text.Json;
using CoCLR.Core;
using CoCLR.Core.Events;
using CoCLR.Core.Planning;
using CoCLR.Dashboard.Configuration;
using CoCLR.Dashboard.Storage;
using CoCLR.Runs;
using Microsoft.Extensions.Options;

namespace CoCLR.Dashboard.Ingest;

/// <summary>Keeps the store in step with the run folders.</summary>
internal sealed partial class RunFolders : BackgroundService
{
    // inotify gives a user about a hundred watches; more runs at once are looked at every second.
    private const int MaxWatches = 32;
    private static readonly TimeSpan SlowLook = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan Gather = TimeSpan.FromMilliseconds(50);

    // Of thousands of runs nearly all have ended: their folders are looked at less often.
    private const int ScansPerLookAtEnded = 5;
    private static readonly TimeSpan FindEvery = TimeSpan.FromSeconds(2);
    private readonly RunStore _store;
    private readonly DashboardOptions _options;
    private readonly TimeProvider _clock;
    private readonly ILogger<RunFolders> _logger;
    private readonly Dictionary<string, Followed> _followed = new(StringComparer.Ordinal);
    private readonly HashSet<string> _removed = new(StringComparer.Ordinal);
    private readonly Lock _removing = new();
    private volatile bool _startOver;
    private int _scans;

    public RunFolders(RunStore store, IOptions<DashboardOptions> options, TimeProvider clock, ILogger<RunFolders> logger)
    {
        (_store, _options, _clock, _logger) = (store, options.Value, clock, logger);
        _store.Rebuilding += () => _startOver = true;
    }

    /// <summary>Folder in which the runs lie whose events come over the network.</summary>
    public string RemoteRoot => Path.Combine(_options.ResolvedDataDir, "runs");

    /// <summary>Folders of a run that a process has taken: the run's own first, then those of stages.</summary>
    public static IEnumerable<string> Locked(string folder)
    {
        var run = new RunFolder(folder);
        return run.StageNames().Select(run.Stage).Prepend(folder).Where(RunLock.IsHeld);
    }

    /// <summary>Stops following a run whose folder is about to go.</summary>
    public void Forget(string folder)
    {
        lock (_removing)
        {
            _removed.Add(Path.GetFullPath(folder));
        }
    }

    /// <summary>Follows a folder of that name again, should it appear anew.</summary>
    public void Remember(string folder)
    {
        lock (_removing)
        {
            _removed.Remove(Path.GetFullPath(folder));
        }
    }

    /// <summary>Looks once at everything: new folders and new bytes.</summary>
    public void Scan() => Scan(ended: true);

    private void Scan(bool ended)
    {
        if (_startOver)
        {
            _startOver = false;
            _followed.Clear();
        }

        Find();
        foreach (Followed run in _followed.Values.ToArray())
        {
            if (ended || !run.Known || IsOpen(run.Run) || RunLock.HasHolder(run.Folder))
            {
                Tail(run, everything: true);
                Look(run);
                run.Known = true;
            }
        }
    }

    /// <summary>Whether something may still happen in a run's folder at any moment.</summary>
    private bool IsOpen(string run) => _store.Find(run) is null or { State: RunState.Running or RunState.Pending or RunState.Lost };

    /// <inheritdoc/>
    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        DateTime nextFind = DateTime.MinValue;
        DateTime nextFlush = DateTime.MinValue;
        using var watch = new FolderWatch();
        while (!stoppingToken.IsCancellationRequested)
        {
            try
            {
                if (DateTime.UtcNow >= nextFind || _startOver)
                {
                    await Task.Run(() => Scan(ended: _scans++ % ScansPerLookAtEnded == 0), stoppingToken).ConfigureAwait(false);
                    _store.Retain();
                    watch.Keep([.. Growing().Take(MaxWatches).Select(f => f.Layout.Stages).Where(Directory.Exists)]);
                    nextFind = DateTime.UtcNow + FindEvery;
                }
                else
                {
                    // Runs that ended long ago are looked at only when folders are searched.
                    foreach (Followed run in Growing())
                    {
                        Tail(run, everything: false);
                    }
                }

                if (DateTime.UtcNow >= nextFlush)
                {
                    _store.Flush();
                    nextFlush = DateTime.UtcNow + TimeSpan.FromSeconds(1);
                }
            }
            catch (Exception e) when (!stoppingToken.IsCancellationRequested)
            {
                // Whatever is wrong with one folder must not end the following of all.
                LogScanFailed(e);
            }

            await watch.WaitAsync(SlowLook, stoppingToken).ConfigureAwait(false);
            await Task.Delay(Gather, stoppingToken).ConfigureAwait(false);
        }
    }

    private Followed[] Growing() => [.. _followed.Values.Where(f => IsOpen(f.Run))];

    private void Find()
    {
        foreach (string folder in RunFoldersBelow(_options.ResolvedWorkDir, 3).Concat(Directory.Exists(RemoteRoot) ? RunFoldersBelow(RemoteRoot, 1) : []))
        {
            lock (_removing)
            {
                if (_removed.Contains(folder) || _followed.ContainsKey(folder))
                {
                    continue;
                }
            }

            Follow(folder);
        }

        foreach (Followed run in _followed.Values.ToArray())
        {
            if (!Directory.Exists(run.Folder))
            {
                _followed.Remove(run.Folder);
                _store.Remove(run.Run);
                continue;
            }

            DateTime written = File.GetLastWriteTimeUtc(run.Layout.PlanFile);
            if (written != run.PlanWritten && ReadSmall(run.Layout.PlanFile) is { } json)
            {
                TakePlan(run, json);
            }
        }

        // Runs of the index whose folders went while nobody looked.
        foreach (RunInfo info in _store.Runs.Where(r => r.Folder.Length > 0 && !_followed.ContainsKey(r.Folder) && !Directory.Exists(r.Folder)))
        {
            _store.Remove(info.Run);
        }
    }

    private void Follow(string folder)
    {
        string? json = ReadSmall(new RunFolder(folder).PlanFile);
        string id = (json == null ? null : RunOf(json)) ?? Path.GetFileName(folder);
        if (!RunFolder.IsName(id)
            || (_store.Find(id) is { Folder.Length: > 0 } other && other.Folder != folder && Directory.Exists(other.Folder)))
        {
            return;
        }

        bool remote = ArtifactFiles.Inside(RemoteRoot, folder);
        var followed = new Followed(folder, id, remote);
        _followed[folder] = followed;
        if (json != null)
        {
            TakePlan(followed, json);
        }
        else
        {
            _store.Change(id, entry => entry.SetFolder(folder, remote, Directory.GetLastWriteTimeUtc(folder)));
        }
    }

    private void TakePlan(Followed run, string json)
    {
        run.PlanWritten = File.GetLastWriteTimeUtc(run.Layout.PlanFile);
        _store.Change(run.Run, entry => entry.SetPlan(json, run.Folder, run.Remote, run.PlanWritten));
    }

    /// <summary>
    /// Whether somebody still works on a run that says so: of a run of this machine the locks tell, after a moment in which a stage ends
    /// and the next one begins; of one elsewhere, that it sends. What the cluster says of its own runs counts there.
    /// </summary>
    private void Look(Followed run)
    {
        if (_store.Find(run.Run) is not { State: RunState.Running or RunState.Lost, Cluster: null } info)
        {
            return;
        }

        LimitSettings limits = _options.Limits;
        DateTimeOffset heard = info.Updated > info.Heard ? info.Updated : info.Heard;
        bool silent = _clock.GetUtcNow() - heard >= TimeSpan.FromSeconds(info.Remote ? limits.SilentSeconds : limits.LostSeconds);
        bool lost = silent && (info.Remote || !Locked(run.Folder).Any());
        if (lost != info.Lost)
        {
            _store.Change(run.Run, entry => entry.SetLost(lost));
        }
    }

    private static IEnumerable<string> RunFoldersBelow(string root, int depth)
    {
        if (RunFolder.IsRun(root))
        {
            yield return root;
            yield break;
        }

        if (depth == 0)
        {
            yield break;
        }

        IEnumerable<string> folders;
        try
        {
            folders = Directory.EnumerateDirectories(root);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            yield break;
        }

        foreach (string folder in folders)
        {
            var info = new DirectoryInfo(folder);
            if (info.Name.StartsWith('.') || info.LinkTarget != null)
            {
                continue;
            }

            foreach (string run in RunFoldersBelow(folder, depth - 1))
            {
                yield return run;
            }
        }
    }

    private void Tail(Followed run, bool everything)
    {
        lock (_removing)
        {
            if (_removed.Contains(run.Folder))
            {
                return;
            }
        }

        if (everything)
        {
            // In the order in which they were written, as a dashboard that had been there would have seen them.
            run.Stages = [.. run.Layout.StageNames().OrderBy(stage => File.GetLastWriteTimeUtc(run.Layout.EventsFile(stage)))];
        }

        foreach (string stage in run.Stages)
        {
            Read(run, stage);
            if (everything && _store.Find(run.Run)?.Stage(stage) is { HasResult: false }
                && ReadSmall(run.Layout.ResultFile(stage)) is { } result)
            {
                _store.Change(run.Run, entry => entry.SetResult(stage, result));
            }
        }
    }

    private void Read(Followed run, string stage)
    {
        var file = new FileInfo(run.Layout.EventsFile(stage));
        long offset = _store.Offset(run.Run, stage);
        if (!file.Exists || file.Length == offset)
        {
            return;
        }

        if (file.LinkTarget != null)
        {
            _store.Change(run.Run, entry =>
            {
                entry.SetWarning($"{stage}: {RunFolder.EventsName} is a link and is not read.");
                return false;
            });
            return;
        }

        var tail = new EventTail(file.FullName, offset);
        var events = new List<RunEvent>();
        while (tail.Read(events, text => Complain(run, $"{stage}: {text}")))
        {
            events.RemoveAll(e => e.Stage != stage || e.Run != run.Run);
            _store.Apply(run.Run, stage, events, tail.Position);
            events.Clear();
        }
    }

    private void Complain(Followed run, string text) => _store.Change(run.Run, entry =>
    {
        entry.SetWarning(text);
        return true;
    });

    private static string? ReadSmall(string path)
    {
        try
        {
            var file = new FileInfo(path);
            return file.Exists && file.Length < 32 << 20 && file.LinkTarget == null ? File.ReadAllText(path) : null;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }

    private static string? RunOf(string planJson)
    {
        try
        {
            return JsonSerializer.Deserialize<StagePlan>(planJson, CoclrJson.Compact)?.Run;
        }
        catch (JsonException)
        {
            return null;
        }
    }

    [LoggerMessage(Level = LogLevel.Warning, Message = "A run folder cannot be read; it is tried again")]
    private partial void LogScanFailed(Exception e);

    private sealed class Followed(string folder, string run, bool remote)
    {
        public string Folder { get; } = folder;

        public RunFolder Layout { get; } = new(folder);

        public string Run { get; } = run;

        public bool Remote { get; } = remote;

        public DateTime PlanWritten { get; set; }

        public string[] Stages { get; set; } = [];

        /// <summary>Whether it was looked at since it was found.</summary>
        public bool Known { get; set; }
    }
}
