// Why this exists: when a process ends, C++ takes libtorch, CUDA and cuDNN down in an order of its own, while finalizers and threads of
// theirs may still be at work: a stage that had written its checkpoint then ended with 139 instead of 143.
using System.Diagnostics.CodeAnalysis;
using System.Runtime.InteropServices;
using CoCLR.Engine;

namespace CoCLR.Cli;

/// <summary>The end of the process, with the documented exit code and no other.</summary>
internal static partial class ProcessEnd
{
    /// <summary>
    /// Ends the process where native libraries of tensors are loaded: files are written and closed by now, and there is nothing that these
    /// libraries must do.
    /// </summary>
    /// <param name="code">The exit code.</param>
    /// <returns>The code, where the process may end in the usual way.</returns>
    public static int With(int code)
    {
        Console.Out.Flush();
        Console.Error.Flush();
        if (OperatingSystem.IsLinux() && TorchRuntime.IsLoaded)
        {
            ExitNow(code);
        }

        return code;
    }

    [DoesNotReturn]
    [LibraryImport("libc", EntryPoint = "_exit")]
    private static partial void ExitNow(int code);
}
