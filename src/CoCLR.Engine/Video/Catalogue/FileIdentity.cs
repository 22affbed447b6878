// Why this exists: links give one file several names; the file system's own number says what is the same file or folder.
using System.Runtime.InteropServices;

namespace CoCLR.Engine.Video.Catalogue;

/// <summary>Device and inode of a file or folder: equal for every name of the same thing.</summary>
/// <param name="Device">Device number.</param>
/// <param name="Inode">Number on that device.</param>
internal readonly partial record struct FileIdentity(ulong Device, ulong Inode)
{
    private const int WorkingDirectory = -100;
    private const uint WantInode = 0x100;

    /// <summary>The identity of what a path leads to, links followed; null when nothing is there.</summary>
    /// <param name="path">A path.</param>
    public static unsafe FileIdentity? Of(string path)
    {
        // struct statx: inode at 32, major and minor device number at 136 and 140.
        byte* status = stackalloc byte[256];
        return Statx(WorkingDirectory, path, 0, WantInode, status) == 0
            ? new FileIdentity(((ulong)*(uint*)(status + 136) << 32) | *(uint*)(status + 140), *(ulong*)(status + 32))
            : null;
    }

    /// <summary>A folder and all folders above it.</summary>
    /// <param name="folder">A folder.</param>
    public static HashSet<FileIdentity> Ancestors(string folder)
    {
        var ancestors = new HashSet<FileIdentity>();
        for (var at = folder; Of(at) is { } identity && ancestors.Add(identity); at += "/..")
        {
        }

        return ancestors;
    }

    [LibraryImport("libc", EntryPoint = "statx", StringMarshalling = StringMarshalling.Utf8)]
    private static unsafe partial int Statx(int folder, string path, int flags, uint mask, byte* status);
}
