// Why this exists: follows the run folders below the work folder: finds new ones, reads plans, tails events.jsonl from the byte where it stopped, notices results and deleted runs.
using System.Text.Json;
using System.Text.RegularExpressions;
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
    private const int ReadSize = 1 << 20;
    private const int MaxLine = 8 << 20;
    private static readonly TimeSpan TailEvery = TimeSpan.FromMilliseconds(250);
    private static readonly TimeSpan FindEvery = TimeSpan.FromSeconds(2);
    private readonly RunStore _store;
    private readonly DashboardOptions _options;
    private readonly TimeProvider _clock;
    private readonly ILogger<RunFolders> _logger;
    private readonly Dictionary<string, Followed> _followed = new(StringComparer.Ordinal);
    private readonly HashSet<string> _removed = new(StringComparer.Ordinal);
    private readonly Lock _removing = new();
    private volatile bool _startOver;

    public RunFolders(RunStore store, IOptions<DashboardOptions> options, TimeProvider clock, ILogger<RunFolders> logger)
    {
        (_store, _options, _clock, _logger) = (store, options.Value, clock, logger);
        _store.Rebuilding += () => _startOver = true;
    }

    /// <summary>Folder in which the runs lie whose events come over the network.</summary>
    public string RemoteRoot => Path.Combine(_options.ResolvedDataDir, "runs");

    /// <summary>Whether an id of a run or stage is a plain name.</summary>
    public static bool IsName(string? name) => name is { Length: > 0 and <= 100 } && NamePattern().IsMatch(name);

    /// <summary>Folders of a run that a process has taken: the run's own first, then those of stages.</summary>
    public static IEnumerable<string> Locked(string folder)
    {
        string stages = Path.Combine(folder, "stages");
        IEnumerable<string> all = Directory.Exists(stages) ? Directory.EnumerateDirectories(stages).Prepend(folder) : [folder];
        return all.Where(RunLock.IsHeld);
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
    public void Scan()
    {
        if (_startOver)
        {
            _startOver = false;
            _followed.Clear();
        }

        Find();
        foreach (Followed run in _followed.Values.ToArray())
        {
            Tail(run, everything: true);
            Look(run);
        }
    }

    /// <inheritdoc/>
    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        DateTime nextFind = DateTime.MinValue;
        DateTime nextFlush = DateTime.MinValue;
        using var timer = new PeriodicTimer(TailEvery);
        do
        {
            try
            {
                if (DateTime.UtcNow >= nextFind || _startOver)
                {
                    await Task.Run(Scan, stoppingToken).ConfigureAwait(false);
                    _store.Retain();
                    nextFind = DateTime.UtcNow + FindEvery;
                }
                else
                {
                    // Runs that ended long ago are looked at only when folders are searched.
                    foreach (Followed run in _followed.Values.Where(f => _store.Find(f.Run) is { State: RunState.Running or RunState.Pending or RunState.Lost } or null).ToArray())
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
        }
        while (await timer.WaitForNextTickAsync(stoppingToken).ConfigureAwait(false));
    }

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

            string plan = Path.Combine(folder, "plan.json");
            string id = Path.GetFileName(folder);
            bool remote = ArtifactFiles.Inside(RemoteRoot, folder);
            string? json = ReadSmall(plan);
            if (json != null)
            {
                id = RunOf(json) ?? id;
            }

            if (!IsName(id))
            {
                continue;
            }

            if (_store.Find(id) is { Folder.Length: > 0 } other && other.Folder != folder && Directory.Exists(other.Folder))
            {
                continue;
            }

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

        foreach (Followed run in _followed.Values.ToArray())
        {
            if (!Directory.Exists(run.Folder))
            {
                _followed.Remove(run.Folder);
                _store.Remove(run.Run);
                continue;
            }

            DateTime written = File.GetLastWriteTimeUtc(Path.Combine(run.Folder, "plan.json"));
            if (written != run.PlanWritten && ReadSmall(Path.Combine(run.Folder, "plan.json")) is { } json)
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

    private void TakePlan(Followed run, string json)
    {
        run.PlanWritten = File.GetLastWriteTimeUtc(Path.Combine(run.Folder, "plan.json"));
        _store.Change(run.Run, entry => entry.SetPlan(json, run.Folder, run.Remote, run.PlanWritten));
    }

    /// <summary>
    /// Whether somebody still works on a run that says so: of a run of this machine the locks tell, after a moment in which a stage ends and the next one
    /// begins; of one elsewhere, that it sends. What the cluster says of its own runs counts there.
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
        if (File.Exists(Path.Combine(root, "plan.json")) || Directory.Exists(Path.Combine(root, "stages")))
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

        string stages = Path.Combine(run.Folder, "stages");
        if (everything)
        {
            // In the order in which they were written, as a dashboard that had been there would have seen them.
            run.Stages = Directory.Exists(stages)
                ? [.. Directory.EnumerateDirectories(stages).Where(d => IsName(Path.GetFileName(d)) && new DirectoryInfo(d).LinkTarget == null).OrderBy(d => File.GetLastWriteTimeUtc(Path.Combine(d, "events.jsonl")))]
                : [];
        }

        foreach (string folder in run.Stages)
        {
            string stage = Path.GetFileName(folder);
            Read(run, stage, Path.Combine(folder, "events.jsonl"));
            if (everything && _store.Find(run.Run)?.Stage(stage) is { HasResult: false } && ReadSmall(Path.Combine(folder, "result.json")) is { } result)
            {
                _store.Change(run.Run, entry => entry.SetResult(stage, result));
            }
        }
    }

    private void Read(Followed run, string stage, string path)
    {
        var file = new FileInfo(path);
        long offset = _store.Offset(run.Run, stage);
        if (!file.Exists || file.Length == offset)
        {
            return;
        }

        if (file.Length < offset)
        {
            // The file was replaced by a shorter one: read it again, what is known already changes nothing.
            offset = 0;
        }

        if (file.LinkTarget != null)
        {
            _store.Change(run.Run, entry =>
            {
                entry.SetWarning($"{stage}: events.jsonl is a link and is not read.");
                return false;
            });
            return;
        }

        using var stream = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete, ReadSize);
        stream.Position = offset;
        var buffer = new byte[ReadSize];
        int kept = 0;
        var events = new List<RunEvent>();
        while (true)
        {
            if (kept == buffer.Length)
            {
                if (buffer.Length >= MaxLine)
                {
                    Complain(run, $"{stage}: a line of events.jsonl is longer than {MaxLine >> 20} MiB; the file is not read further.");
                    return;
                }

                Array.Resize(ref buffer, buffer.Length * 2);
            }

            int read = stream.Read(buffer, kept, buffer.Length - kept);
            if (read == 0)
            {
                return;
            }

            int length = kept + read;
            int start = 0;
            events.Clear();
            for (int end; (end = Array.IndexOf(buffer, (byte)'\n', start, length - start)) >= 0; start = end + 1)
            {
                if (EventReader.Read(buffer.AsSpan(start, end - start), out RunEvent? item, out string? wrong) && item!.Stage == stage && item.Run == run.Run)
                {
                    events.Add(item);
                }
                else if (wrong != null)
                {
                    Complain(run, $"{stage}: a line of events.jsonl cannot be read and is left out: {wrong}");
                }
            }

            offset += start;
            if (start > 0)
            {
                _store.Apply(run.Run, stage, events, offset);
            }

            kept = length - start;
            Array.Copy(buffer, start, buffer, 0, kept);
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

    [GeneratedRegex("^[a-z0-9]([-a-z0-9._]*[a-z0-9])?$", RegexOptions.NonBacktracking)]
    private static partial Regex NamePattern();

    private sealed class Followed(string folder, string run, bool remote)
    {
        public string Folder { get; } = folder;

        public string Run { get; } = run;

        public bool Remote { get; } = remote;

        public DateTime PlanWritten { get; set; }

        public string[] Stages { get; set; } = [];
    }
}
