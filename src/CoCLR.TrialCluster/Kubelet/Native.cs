// Why this exists: signals to other processes are not in the base library.
using System.Runtime.InteropServices;

namespace CoCLR.TrialCluster;

/// <summary>Calls into the C library.</summary>
internal static partial class Native
{
    public const int SIGKILL = 9;
    public const int SIGTERM = 15;

    [LibraryImport("libc", EntryPoint = "kill", SetLastError = true)]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    internal static partial int Kill(int pid, int signal);
}
