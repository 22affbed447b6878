// Why this exists: whether somebody works on a run folder, and who, must be known to every process: the lock decides whether it may be
// started, stopped or deleted, whoever began it and whether or not the dashboard was restarted since.
using System.Diagnostics;
using System.Globalization;
using System.Runtime.InteropServices;
using System.Text.Json;
using CoCLR.Core;

namespace CoCLR.Runs;

/// <summary>The process that holds a lock.</summary>
/// <param name="Process">Its number.</param>
/// <param name="Host">The machine or pod that it runs on.</param>
/// <param name="Started">What tells it from a later process of the same number.</param>
/// <param name="Since">When it took the lock.</param>
public sealed record RunHolder(int Process, string Host, string Started, DateTimeOffset Since)
{
    /// <summary>This process.</summary>
    public static RunHolder Current() =>
        new(Environment.ProcessId, Environment.MachineName, StartOf(Environment.ProcessId) ?? "", DateTimeOffset.UtcNow);

    /// <summary>Asks it to write a checkpoint and end.</summary>
    /// <exception cref="UserErrorException">It runs elsewhere, is no longer there, or may not be asked.</exception>
    public void Terminate()
    {
        if (Host != Environment.MachineName)
        {
            throw new UserErrorException($"It is worked on by process {Process} of {Host}: stop it there.", ExitCodes.Usage);
        }

        // A number alone may be that of an innocent process by now.
        if (StartOf(Process) != Started)
        {
            throw new UserErrorException(
                $"Process {Process}, which worked on it, has just ended; look again in a moment.", ExitCodes.Failed);
        }

        if (OperatingSystem.IsWindows())
        {
            using Process process = System.Diagnostics.Process.GetProcessById(Process);
            process.Kill();
        }
        else if (!ProcessSignals.Terminate(Process))
        {
            throw new UserErrorException($"Process {Process}, which works on it, cannot be asked to stop: "
                + $"{Marshal.GetPInvokeErrorMessage(Marshal.GetLastPInvokeError())}.", ExitCodes.Failed);
        }
    }

    /// <summary>In words, for messages.</summary>
    public override string ToString() => string.Create(
        CultureInfo.InvariantCulture,
        $"process {Process}{(Host == Environment.MachineName ? "" : $" of {Host}")}, since {Since:yyyy-MM-dd HH:mm} UTC");

    /// <summary>What tells a process from a later one of the same number; null where there is none.</summary>
    public static string? StartOf(int id)
    {
        try
        {
            if (OperatingSystem.IsLinux())
            {
                // Ticks after boot, the 22nd field; the name before it is in parentheses and may hold anything.
                string stat = File.ReadAllText(string.Create(CultureInfo.InvariantCulture, $"/proc/{id}/stat"));
                return stat[(stat.LastIndexOf(')') + 2)..].Split(' ')[19];
            }

            using Process process = System.Diagnostics.Process.GetProcessById(id);
            return process.StartTime.ToUniversalTime().ToString("O", CultureInfo.InvariantCulture);
        }
        catch (Exception e) when (
            e is IOException or UnauthorizedAccessException or ArgumentException or InvalidOperationException or System.ComponentModel.Win32Exception)
        {
            return null;
        }
    }
}

/// <summary>A folder (of a run, or of one of its stages) taken for this process; released when disposed or when the process dies.</summary>
public sealed class RunLock : IDisposable
{
    private const string LockName = "run.lock";
    private const string HolderName = "run.lock.json";

    // Who only looks holds the lock for an instant, in which a taker must not give up.
    private const int Tries = 20;
    private static readonly TimeSpan Pause = TimeSpan.FromMilliseconds(25);
    private readonly FileStream _lock;
    private readonly string _holder;

    private RunLock(FileStream held, string folder) => (_lock, _holder) = (held, Path.Combine(folder, HolderName));

    /// <summary>Takes a folder, which is made when missing.</summary>
    /// <returns>The lock, or null while another process has it.</returns>
    /// <exception cref="IOException">It cannot be written.</exception>
    /// <exception cref="UnauthorizedAccessException">It may not be written.</exception>
    public static RunLock? TryTake(string folder)
    {
        Directory.CreateDirectory(folder);
        for (int attempt = 1; ; attempt++)
        {
            if (TryOpen(folder, FileMode.OpenOrCreate) is { } held)
            {
                var taken = new RunLock(held, folder);
                string temporary = $"{taken._holder}.{Environment.ProcessId}.tmp";
                File.WriteAllText(temporary, JsonSerializer.Serialize(RunHolder.Current(), CoclrJson.Compact));
                File.Move(temporary, taken._holder, overwrite: true);
                return taken;
            }

            if (attempt == Tries)
            {
                return null;
            }

            using var never = new ManualResetEventSlim();
            never.Wait(Pause);
        }
    }

    /// <summary>Whether a process that took the folder has not said that it is done; cheap, and true after one was killed, too.</summary>
    public static bool HasHolder(string folder) => File.Exists(Path.Combine(folder, HolderName));

    /// <summary>Whether a process has the folder.</summary>
    public static bool IsHeld(string folder)
    {
        if (!File.Exists(Path.Combine(folder, LockName)))
        {
            return false;
        }

        try
        {
            using FileStream? free = TryOpen(folder, FileMode.Open);
            return free is null;
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException or UnauthorizedAccessException)
        {
            return false;
        }
    }

    /// <summary>Who has a folder; null when nobody has, or when it did not say.</summary>
    public static RunHolder? HolderOf(string folder)
    {
        if (!IsHeld(folder))
        {
            return null;
        }

        try
        {
            return JsonSerializer.Deserialize<RunHolder>(File.ReadAllText(Path.Combine(folder, HolderName)), CoclrJson.Compact);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or JsonException)
        {
            return null;
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        if (!_lock.CanRead)
        {
            return;
        }

        try
        {
            File.Delete(_holder);
        }
        catch (DirectoryNotFoundException)
        {
            // The folder was moved away under its lock, to be deleted.
        }

        _lock.Dispose();
    }

    private static FileStream? TryOpen(string folder, FileMode mode)
    {
        string path = Path.Combine(folder, LockName);
        try
        {
            return new FileStream(path, mode, FileAccess.ReadWrite, FileShare.None, 1, FileOptions.None);
        }
        catch (IOException e) when (
            e is not (FileNotFoundException or DirectoryNotFoundException or PathTooLongException) && File.Exists(path))
        {
            return null;
        }
    }
}
