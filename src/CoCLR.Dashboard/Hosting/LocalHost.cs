// Why this exists: starts, stops and deletes experiments on this machine, as child processes of the `coclr` command; the dashboard itself
// never trains.
using System.Collections.Concurrent;
using System.Diagnostics;
using System.Text;
using CoCLR.Core;
using CoCLR.Dashboard.Configuration;
using CoCLR.Dashboard.Formatting;
using CoCLR.Dashboard.Ingest;
using CoCLR.Dashboard.Storage;
using CoCLR.Runs;
using Microsoft.Extensions.Options;

namespace CoCLR.Dashboard.Hosting;

/// <summary>Experiments as processes of this machine.</summary>
internal sealed class LocalHost(
    IOptions<DashboardOptions> options, RunStore store, SettingsFile settings, RunFolders folders, LiveFeed feed, ILogger<LocalHost> logger)
{
    private readonly ConcurrentDictionary<string, Process> _processes = new(StringComparer.Ordinal);
    private readonly ConcurrentDictionary<string, Queue<string>> _tails = new(StringComparer.Ordinal);

    /// <summary>Last lines of processes that ended badly, by run.</summary>
    public ConcurrentDictionary<string, string> Failures { get; } = new(StringComparer.Ordinal);

    /// <summary>The newest lines of what the process of a run wrote; empty when this dashboard did not start it.</summary>
    /// <param name="run">Id.</param>
    public string Output(string run)
    {
        if (!_tails.TryGetValue(run, out Queue<string>? tail))
        {
            return "";
        }

        lock (tail)
        {
            return string.Join('\n', tail);
        }
    }

    /// <summary>Whether there is a command to start experiments with.</summary>
    public bool CanStart => Command.Length > 0;

    /// <summary>Why nothing can be started.</summary>
    public const string NoCommand =
        "This dashboard was started on its own, so it can show experiments but not start them. Start it with `coclr up`, or set "
            + "COCLR_COMMAND to the coclr command.";

    private string[] Command
    {
        get
        {
            string text = options.Value.CoclrCommand.Length > 0
                ? options.Value.CoclrCommand
                : Environment.GetEnvironmentVariable("COCLR_COMMAND") ?? "";
            return text.Length == 0 ? [] : File.Exists(text) ? [text] : text.Split(' ', StringSplitOptions.RemoveEmptyEntries);
        }
    }

    /// <summary>Whether a process works on a run of this machine, whoever started it: the run's lock decides.</summary>
    public bool IsAtWork(RunInfo run) => IsStarting(run.Run) || (run.Folder.Length > 0 && RunFolders.Locked(run.Folder).Any());

    /// <summary>Whether a process that was started here lives, which takes its lock a moment after its start.</summary>
    public bool IsStarting(string run) => _processes.TryGetValue(run, out Process? process) && !process.HasExited;

    /// <summary>Bytes of a run's folder.</summary>
    public static long SizeOf(RunInfo run)
    {
        try
        {
            var all = new EnumerationOptions
            {
                RecurseSubdirectories = true, IgnoreInaccessible = true, AttributesToSkip = FileAttributes.ReparsePoint
            };
            return Directory.Exists(run.Folder) ? new DirectoryInfo(run.Folder).EnumerateFiles("*", all).Sum(f => f.Length) : 0;
        }
        catch (IOException)
        {
            return 0; // it vanishes while it is looked at
        }
    }

    /// <summary>Starts the manifest, or continues its run.</summary>
    /// <param name="run">Id of the run that it leads to.</param>
    /// <param name="manifest">YAML.</param>
    public void Start(string run, string manifest)
    {
        if (!CanStart)
        {
            throw new UserErrorException(NoCommand, ExitCodes.BadConfiguration);
        }

        if (IsStarting(run) || (store.Find(run) is { } known && IsAtWork(known)))
        {
            throw new UserErrorException($"{run} is running already.", ExitCodes.Usage);
        }

        string folder = Path.Combine(options.Value.ResolvedDataDir, "manifests");
        Directory.CreateDirectory(folder);
        string file = Path.Combine(folder, $"{Previews.FileName(run)}.yaml");
        File.WriteAllText(file, manifest);
        var tail = new Queue<string>();
        Process process = Launch(["run", "-f", file, "--workdir", options.Value.ResolvedWorkDir], line =>
        {
            lock (tail)
            {
                tail.Enqueue(Ansi.Strip(line));
                if (tail.Count > 30)
                {
                    tail.Dequeue();
                }
            }

            if (store.Find(run) is null)
            {
                // Until the run has events of its own, these lines are all that its page can show.
                feed.Changed(run);
            }
        });
        process.Exited += (_, _) =>
        {
            int code = process.ExitCode;
            if (code is not (0 or ExitCodes.Terminated))
            {
                lock (tail)
                {
                    Failures[run] = string.Join('\n', tail);
                }
            }

            feed.Changed(run);
        };
        Failures.TryRemove(run, out _);
        _processes[run] = process;
        _tails[run] = tail;
        logger.LogInformation("Started {Run} as process {Process}", run, process.Id);
        feed.Changed(run);
    }

    /// <summary>Continues a run that stopped or failed.</summary>
    /// <param name="run">The run.</param>
    public void Resume(RunInfo run)
    {
        string manifest = ManifestText.Of(run);
        if (manifest.Length == 0)
        {
            throw new UserErrorException($"{run.Run} has no readable plan, so it cannot be continued.", ExitCodes.BadData);
        }

        Start(run.Run, manifest);
    }

    /// <summary>Stops a run after a checkpoint, by a signal to the process that holds its lock.</summary>
    /// <param name="run">The run.</param>
    /// <exception cref="UserErrorException">No process works on it, or none that can be asked from here.</exception>
    public void Stop(RunInfo run)
    {
        // The process that drives the run stops its stages; where there is none, they are asked themselves.
        string[] locked = [.. RunFolders.Locked(run.Folder)];
        if (locked.Length > 0)
        {
            foreach (string folder in locked[0] == run.Folder ? locked[..1] : locked)
            {
                RunHolder holder = RunLock.HolderOf(folder) ?? throw new UserErrorException(
                    $"A process works on {run.Run} that does not say which one it is: stop it where it was started (Ctrl+C).",
                    ExitCodes.Usage);
                holder.Terminate();
            }
        }
        else if (_processes.TryGetValue(run.Run, out Process? process) && !process.HasExited)
        {
            new RunHolder(process.Id, Environment.MachineName, RunHolder.StartOf(process.Id) ?? "", DateTimeOffset.UtcNow).Terminate();
        }
        else
        {
            throw new UserErrorException(run.Remote
                ? $"{run.Run} is trained on another machine, which only sends here: stop it there."
                : $"No process works on {run.Run}.", ExitCodes.Usage);
        }
    }

    /// <summary>Deletes a run with its folder.</summary>
    /// <param name="run">The run.</param>
    /// <exception cref="UserErrorException">It is running, or its folder is not the dashboard's to delete.</exception>
    public void Delete(RunInfo run)
    {
        string folder = Path.GetFullPath(run.Folder);
        bool own = ArtifactFiles.Inside(options.Value.ResolvedWorkDir, folder) || ArtifactFiles.Inside(folders.RemoteRoot, folder);
        if (!own || new DirectoryInfo(folder).LinkTarget != null)
        {
            throw new UserErrorException(
                $"The folder of {run.Run} lies outside of the work folder and is not deleted.", ExitCodes.BadConfiguration);
        }

        if (run is { Remote: true, State: RunState.Running })
        {
            throw new UserErrorException($"{run.Run} is running on another machine and sends here: stop it there first.", ExitCodes.Usage);
        }

        string? at = RunFolders.Locked(folder).FirstOrDefault();
        if (at != null || IsStarting(run.Run))
        {
            throw new UserErrorException(
                $"{run.Run} is running{(at != null && RunLock.HolderOf(at) is { } holder ? $" ({holder})" : "")}: stop it first.",
                ExitCodes.Usage);
        }

        // While it goes, nobody can begin to work in it.
        using RunLock? taken = Directory.Exists(folder) ? RunLock.TryTake(folder)
            ?? throw new UserErrorException($"{run.Run} has just been started: stop it first.", ExitCodes.Usage) : null;
        folders.Forget(folder);
        store.Remove(run.Run);
        if (Directory.Exists(folder))
        {
            // Moved out of the way first: a half-deleted folder must never look like a run.
            string bin = Path.Combine(Path.GetDirectoryName(folder)!, $".deleted-{Path.GetFileName(folder)}-{Guid.NewGuid():N}");
            Directory.Move(folder, bin);
            Directory.Delete(bin, recursive: true);
        }

        folders.Remember(folder);
        settings.Change(s => s with { Runs = s.Runs.Remove(run.Run) });
    }

    /// <summary>Runs the command to its end.</summary>
    /// <param name="arguments">Arguments.</param>
    /// <param name="limit">Time after which it is killed.</param>
    /// <param name="cancel">Kills it.</param>
    public async Task<(int Code, string Output, string Errors)> RunAsync(
        IReadOnlyList<string> arguments, TimeSpan limit, CancellationToken cancel)
    {
        if (!CanStart)
        {
            throw new UserErrorException(NoCommand, ExitCodes.BadConfiguration);
        }

        var output = new StringBuilder();
        var errors = new StringBuilder();
        using Process process = Launch(arguments, line => Keep(output, line), line => Keep(errors, line));
        using var end = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        end.CancelAfter(limit);
        try
        {
            await process.WaitForExitAsync(end.Token);
        }
        catch (OperationCanceledException)
        {
            process.Kill(entireProcessTree: true);
            throw;
        }

        return (process.ExitCode, output.ToString(), errors.ToString());

        static void Keep(StringBuilder text, string line)
        {
            lock (text)
            {
                if (text.Length < 16 << 20)
                {
                    text.AppendLine(line);
                }
            }
        }
    }

    private Process Launch(IReadOnlyList<string> arguments, Action<string> output, Action<string>? errors = null)
    {
        string[] command = Command;
        var start = new ProcessStartInfo(command[0])
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            RedirectStandardInput = true,
            UseShellExecute = false,
            WorkingDirectory = options.Value.ResolvedWorkDir,
        };
        foreach (string argument in command.Skip(1).Concat(arguments))
        {
            start.ArgumentList.Add(argument);
        }

        // The dashboard's own secrets are none of a training process's business.
        string[] secret = ["COCLR_DASHBOARD__", "ASPNETCORE_"];
        foreach (string name in start.Environment.Keys.Where(k => secret.Any(s => k.StartsWith(s, StringComparison.OrdinalIgnoreCase))).ToArray())
        {
            start.Environment.Remove(name);
        }

        var process = new Process { StartInfo = start, EnableRaisingEvents = true };
        process.OutputDataReceived += (_, e) => Take(e.Data, output);
        process.ErrorDataReceived += (_, e) => Take(e.Data, errors ?? output);
        try
        {
            process.Start();
        }
        catch (System.ComponentModel.Win32Exception e)
        {
            throw new UserErrorException(
                $"The command '{command[0]}' cannot be started: {e.Message}. Set COCLR_COMMAND to the coclr command.",
                ExitCodes.BadConfiguration,
                e);
        }

        process.StandardInput.Close();
        process.BeginOutputReadLine();
        process.BeginErrorReadLine();
        return process;

        static void Take(string? line, Action<string> to)
        {
            if (line != null)
            {
                to(line);
            }
        }
    }
}
