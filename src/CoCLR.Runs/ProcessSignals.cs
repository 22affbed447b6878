// Why this exists: .NET starts processes but cannot ask one to end; SIGTERM can.
using System.Diagnostics;
using System.Runtime.InteropServices;

namespace CoCLR.Runs;

/// <summary>Signals to child processes.</summary>
public static partial class ProcessSignals
{
    private const int SigTerm = 15;

    /// <summary>Asks a process to end.</summary>
    public static void Terminate(Process process)
    {
        ArgumentNullException.ThrowIfNull(process);
        _ = Terminate(process.Id);
    }

    /// <summary>Asks a process to end.</summary>
    /// <returns>Whether it could be asked; if not, <see cref="Marshal.GetLastPInvokeError"/> says why.</returns>
    public static bool Terminate(int process) => Signal(process, SigTerm) == 0;

    [LibraryImport("libc", EntryPoint = "kill", SetLastError = true)]
    private static partial int Signal(int process, int signal);
}
