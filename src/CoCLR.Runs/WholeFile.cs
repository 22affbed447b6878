// Why this exists: files of a run appear whole or not at all; a kill, a full disk or a second reader never meets half of one.
using System.Runtime.InteropServices;
using System.Text;
using System.Text.RegularExpressions;
using CoCLR.Core;

namespace CoCLR.Runs;

/// <summary>Writes a file under a temporary name beside it, flushes it to the disk, then renames it.</summary>
public static partial class WholeFile
{
    private const int ErrnoExists = 17;
    private const int ErrnoNotDirectory = 20;
    private const int ErrnoNoSpace = 28;
    private const int ErrnoReadOnly = 30;
    private const int ErrnoQuota = 122;

    /// <summary>Writes a file; the folder is made where it is missing, an older file is replaced.</summary>
    /// <param name="path">The file.</param>
    /// <param name="write">Writes the content.</param>
    /// <exception cref="UserErrorException">The disk is full (74) or the folder cannot be written (78).</exception>
    public static void Write(string path, Action<Stream> write)
    {
        ArgumentNullException.ThrowIfNull(write);
        var temporary = TemporaryName(path);
        try
        {
            using (var stream = Open(path, temporary))
            {
                write(stream);
                stream.Flush(flushToDisk: true);
            }

            File.Move(temporary, path, overwrite: true);
        }
        catch (Exception e)
        {
            Discard(temporary);
            if (e is IOException or UnauthorizedAccessException)
            {
                throw Failed(path, e);
            }

            throw;
        }
    }

    /// <summary>As <see cref="Write"/>, for writers that are asynchronous.</summary>
    /// <param name="path">The file.</param>
    /// <param name="write">Writes the content.</param>
    /// <exception cref="UserErrorException">The disk is full (74) or the folder cannot be written (78).</exception>
    public static async Task WriteAsync(string path, Func<Stream, Task> write)
    {
        ArgumentNullException.ThrowIfNull(write);
        var temporary = TemporaryName(path);
        try
        {
            var stream = Open(path, temporary);
            await using (stream.ConfigureAwait(false))
            {
                await write(stream).ConfigureAwait(false);
                stream.Flush(flushToDisk: true);
            }

            File.Move(temporary, path, overwrite: true);
        }
        catch (Exception e)
        {
            Discard(temporary);
            if (e is IOException or UnauthorizedAccessException)
            {
                throw Failed(path, e);
            }

            throw;
        }
    }

    /// <summary>Writes UTF-8 text without a byte order mark.</summary>
    /// <param name="path">The file.</param>
    /// <param name="text">The content.</param>
    /// <exception cref="UserErrorException">The disk is full (74) or the folder cannot be written (78).</exception>
    public static void WriteText(string path, string text) => Write(path, stream => stream.Write(Encoding.UTF8.GetBytes(text)));

    /// <summary>Gives a file a second name; file systems without hard links get a copy.</summary>
    /// <param name="existing">The file.</param>
    /// <param name="added">The second name; must not exist.</param>
    /// <exception cref="UserErrorException">As <see cref="Write"/>.</exception>
    public static void Link(string existing, string added)
    {
        if (OperatingSystem.IsWindows() || HardLink(existing, added) != 0)
        {
            Write(added, stream =>
            {
                using var source = File.OpenRead(existing);
                source.CopyTo(stream);
            });
        }
    }

    /// <summary>Removes what writers left that were killed: temporary files, of which no writer is at work any more.</summary>
    /// <param name="folder">A folder that only this process writes to.</param>
    /// <param name="recursive">Also in the folders below it.</param>
    public static void Sweep(string folder, bool recursive)
    {
        if (!Directory.Exists(folder))
        {
            return;
        }

        foreach (string file in Directory.EnumerateFiles(folder, "*.tmp", recursive ? SearchOption.AllDirectories : SearchOption.TopDirectoryOnly).Where(f => Temporary().IsMatch(f)))
        {
            Discard(file);
        }
    }

    /// <summary>
    /// Turns a full disk (74), a file where a folder is wanted, a read-only file system or a missing permission (78) into words; null for
    /// anything else.
    /// </summary>
    /// <param name="error">What went wrong.</param>
    /// <param name="path">What was to be written.</param>
    public static UserErrorException? Explain(Exception error, string path) => error switch
    {
        IOException { HResult: ErrnoNoSpace or ErrnoQuota } => new UserErrorException(
            $"The disk is full: cannot write to {path}. What is finished is kept; free some space and run the same command again to go on.",
            ExitCodes.DiskFull,
            error),
        DirectoryNotFoundException or IOException { HResult: ErrnoExists or ErrnoNotDirectory } when FileOnTheWay(error, path) is { } file =>
            new UserErrorException(
            $"{file} is a file, not a folder: "
                + $"{(file == path ? "choose another folder" : $"cannot write {path} below it, choose another folder")}.",
            ExitCodes.BadConfiguration,
            error),
        IOException { HResult: ErrnoReadOnly } => new UserErrorException(
            $"{path} is on a read-only file system. Choose a folder that can be written.",
            ExitCodes.BadConfiguration,
            error),
        UnauthorizedAccessException => new UserErrorException(
            $"No permission to write to {path}. Change its owner or mode, or choose another folder.",
            ExitCodes.BadConfiguration,
            error),
        _ => null,
    };

    private static string? FileOnTheWay(Exception error, string path)
    {
        string full = Path.GetFullPath(path);
        for (string? at = error.HResult == ErrnoExists ? full : Path.GetDirectoryName(full); at != null; at = Path.GetDirectoryName(at))
        {
            if (File.Exists(at))
            {
                return at;
            }
        }

        return null;
    }

    [GeneratedRegex(@"\.[0-9a-f]+(-[0-9a-f]{8})?\.tmp$")]
    private static partial Regex Temporary();

    private static string TemporaryName(string path) => $"{path}.{Environment.ProcessId:x}-{Guid.NewGuid().ToString("N")[..8]}.tmp";

    private static FileStream Open(string path, string temporary)
    {
        Directory.CreateDirectory(Path.GetDirectoryName(Path.GetFullPath(path))!);
        return new FileStream(temporary, FileMode.CreateNew, FileAccess.ReadWrite, FileShare.Read, 1 << 16);
    }

    private static UserErrorException Failed(string path, Exception e) =>
        Explain(e, path) ?? new UserErrorException(
            $"{path} cannot be written: {e.Message} Choose another folder, then start again.", ExitCodes.Failed, e);

    private static void Discard(string temporary)
    {
        try
        {
            File.Delete(temporary);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // The first error is the one to tell; a stray temporary file harms nobody.
        }
    }

    [LibraryImport("libc", EntryPoint = "link", StringMarshalling = StringMarshalling.Utf8)]
    private static partial int HardLink(string existing, string added);
}
