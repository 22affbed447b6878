// Why this exists: a hard link looks like any file; an untrusted writer could put another user's file into its run folder under a harmless
// name.
using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace CoCLR.Dashboard.Storage;

/// <summary>Counts the names of a file.</summary>
internal static unsafe partial class HardLinks
{
    private const int EmptyPath = 0x1000;
    private const uint CountWanted = 0x4;

    /// <summary>Whether an open file has more than one name; false where the system does not say.</summary>
    public static bool HasOthers(SafeFileHandle file)
    {
        if (!OperatingSystem.IsLinux())
        {
            return false;
        }

        // struct statx: mask, block size (4 bytes each), attributes (8), number of links (4), ... 256 bytes in all, on every architecture.
        byte* buffer = stackalloc byte[256];
        bool held = false;
        try
        {
            file.DangerousAddRef(ref held);
            return Statx((int)file.DangerousGetHandle(), "", EmptyPath, CountWanted, buffer) == 0 && *(uint*)(buffer + 16) > 1;
        }
        catch (EntryPointNotFoundException)
        {
            return false; // a C library from before statx
        }
        finally
        {
            if (held)
            {
                file.DangerousRelease();
            }
        }
    }

    [LibraryImport("libc", EntryPoint = "statx", StringMarshalling = StringMarshalling.Utf8)]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static partial int Statx(int folder, string path, int flags, uint mask, byte* buffer);
}
