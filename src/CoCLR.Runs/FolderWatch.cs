// Why this exists: whoever follows a run is told by the system that a file has changed; where the system cannot tell (a network file
// system, no watch left), a slow look from time to time takes its place.
namespace CoCLR.Runs;

/// <summary>Wakes a reader when files below a folder change. One change or many while nobody waits wake it once.</summary>
public sealed class FolderWatch : IDisposable
{
    private readonly SemaphoreSlim _changed = new(0, 1);
    private readonly TimeProvider _clock;
    private readonly Dictionary<string, FileSystemWatcher> _watchers = new(StringComparer.Ordinal);

    /// <summary>Creates a watch that watches nothing yet.</summary>
    /// <param name="clock">Clock of the fallback; the system's when null.</param>
    public FolderWatch(TimeProvider? clock = null) => _clock = clock ?? TimeProvider.System;

    /// <summary>
    /// Watches a folder and all below it; nothing happens where the folder is watched already, is missing or cannot be watched.
    /// </summary>
    /// <param name="folder">The folder.</param>
    /// <param name="filter">Names of the files that count.</param>
    public void Add(string folder, string filter = RunFolder.EventsName)
    {
        if (_watchers.ContainsKey(folder) || !Directory.Exists(folder))
        {
            return;
        }

        FileSystemWatcher? watcher = null;
        try
        {
            watcher = new FileSystemWatcher(folder, filter)
            {
                IncludeSubdirectories = true, NotifyFilter = NotifyFilters.Size | NotifyFilters.FileName | NotifyFilters.DirectoryName
            };
            watcher.Changed += (_, _) => Signal();
            watcher.Created += (_, _) => Signal();
            watcher.Renamed += (_, _) => Signal();
            watcher.Error += (_, _) => Signal();
            watcher.EnableRaisingEvents = true;
            _watchers[folder] = watcher;
        }
        catch (Exception e) when (e is IOException or ArgumentException or UnauthorizedAccessException or PlatformNotSupportedException)
        {
            // No watch is left, or the folder went: the slow look finds what changes.
            watcher?.Dispose();
        }
    }

    /// <summary>Watches exactly these folders.</summary>
    /// <param name="folders">The folders.</param>
    public void Keep(IReadOnlyCollection<string> folders)
    {
        ArgumentNullException.ThrowIfNull(folders);
        foreach (string gone in _watchers.Keys.Except(folders, StringComparer.Ordinal).ToArray())
        {
            _watchers.Remove(gone, out FileSystemWatcher? watcher);
            watcher!.Dispose();
        }

        foreach (string folder in folders)
        {
            Add(folder);
        }
    }

    /// <summary>Waits for a change since the last call, but no longer than a while: the system may be unable to tell.</summary>
    /// <param name="atMost">The longest wait.</param>
    /// <param name="cancel">Stops waiting.</param>
    /// <exception cref="OperationCanceledException">The wait was stopped.</exception>
    public async Task WaitAsync(TimeSpan atMost, CancellationToken cancel)
    {
        using var ended = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        await Task.WhenAny(_changed.WaitAsync(ended.Token), Task.Delay(atMost, _clock, ended.Token)).ConfigureAwait(false);
        await ended.CancelAsync().ConfigureAwait(false);
        cancel.ThrowIfCancellationRequested();
    }

    /// <summary>Wakes the reader.</summary>
    public void Signal()
    {
        try
        {
            if (_changed.CurrentCount == 0)
            {
                _changed.Release();
            }
        }
        catch (Exception e) when (e is SemaphoreFullException or ObjectDisposedException)
        {
            // Two changes at once, or one that came while the reader was ending.
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (FileSystemWatcher watcher in _watchers.Values)
        {
            watcher.Dispose();
        }

        _changed.Dispose();
    }
}
