// Why this exists: files that appear whole or not at all, and file-system errors in words that a person can act on.
using System.Text.Json;
using CoCLR.Core;

namespace CoCLR.Engine.Video;

internal static class StoreFiles
{
    private const int ErrnoNoSpace = 28;
    private const int ErrnoReadOnly = 30;
    private const int ErrnoQuota = 122;

    /// <summary>Writes under a temporary name, syncs, and renames: readers see the old file or the new one, never a part.</summary>
    public static void WriteWhole(string path, Action<Stream> write)
    {
        var temporary = $"{path}.{Environment.ProcessId}.tmp";
        try
        {
            using (var stream = new FileStream(temporary, FileMode.Create, FileAccess.Write, FileShare.None, 1 << 16))
            {
                write(stream);
                stream.Flush(flushToDisk: true);
            }

            File.Move(temporary, path, overwrite: true);
        }
        catch
        {
            File.Delete(temporary);
            throw;
        }
    }

    public static void WriteWhole<T>(string path, T value) =>
        WriteWhole(path, stream => JsonSerializer.Serialize(stream, value, VideoJson.Indented));

    /// <summary>Turns a full disk or a missing permission into a <see cref="UserErrorException"/>; null for anything else.</summary>
    public static UserErrorException? Explain(Exception error, string path) => error switch
    {
        IOException { HResult: ErrnoNoSpace or ErrnoQuota } => new UserErrorException(
            $"The disk is full: cannot write to {path}. What is finished is kept; free some space and run the same command again to go on.",
            ExitCodes.Failed,
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
}
