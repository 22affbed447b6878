// Why this exists: an uploaded video, or one of a stranger's data set, meets a decoder of a million lines of C. Whatever a crafted file
// makes that decoder do, it can read no other file and open no connection: Linux's Landlock takes these rights from the process before it
// begins.
using System.Diagnostics;
using System.Runtime.InteropServices;

namespace CoCLR.Engine.Video.Decoding;

/// <summary>Starts processes that may read one file and the system's programs and libraries, and write nothing.</summary>
internal static partial class ConfinedProcess
{
    // include/uapi/linux/landlock.h, the same numbers on all architectures.
    private const long CreateRuleset = 444, AddRule = 445, RestrictSelf = 446;
    private const int VersionFlag = 1;
    private const int PathBeneath = 1, NoNewPrivileges = 38, OpenPath = 0x200000, CloseOnExec = 0x80000;
    private const ulong Execute = 1, ReadFile = 1 << 2, ReadFolder = 1 << 3;

    // By version of the interface: 1 has 13 rights to files, 2 adds links between folders, 3 truncation, 5 control of devices; 4 has two
    // rights to TCP.
    private const ulong FileRights1 = (1UL << 13) - 1, Refer = 1UL << 13, Truncate = 1UL << 14, Control = 1UL << 15, TcpRights = 3;

    private static readonly Lazy<bool> Works = new(Try);

    /// <summary>Whether this system can confine ffmpeg: Linux 5.13 or newer, with ffmpeg at a place from which it still starts.</summary>
    public static bool IsSupported => Works.Value;

    /// <summary>Starts a process that may read one file.</summary>
    /// <param name="info">What to start.</param>
    /// <param name="file">The file.</param>
    public static Process Start(ProcessStartInfo info, string file)
    {
        Process? process = null;
        Exception? failure = null;

        // Rights are taken from a thread and pass to what it starts; this thread ends with that.
        var thread = new Thread(() =>
        {
            try
            {
                Confine(file, info.FileName);
                process = Process.Start(info);
            }
            catch (Exception error)
            {
                failure = error;
            }
        });
        thread.UnsafeStart();
        thread.Join();
        if (failure is not null)
        {
            System.Runtime.ExceptionServices.ExceptionDispatchInfo.Throw(failure);
        }

        return process!;
    }

    private static bool Try()
    {
        try
        {
            if (!OperatingSystem.IsLinux() || Version() < 1 || FfmpegTool.Version is null)
            {
                return false;
            }

            // A build from elsewhere may keep its libraries where they cannot be guessed: then it is started without.
            var info = new ProcessStartInfo(
                FfmpegTool.Executable("ffmpeg"), ["-version"])
            { RedirectStandardOutput = true, RedirectStandardError = true };
            using var process = Start(info, "/dev/null");
            process.ErrorDataReceived += (_, _) => { };
            process.BeginErrorReadLine();
            process.StandardOutput.ReadToEnd();
            process.WaitForExit();
            return process.ExitCode == 0;
        }
        catch (Exception error) when (
            error is IOException or System.ComponentModel.Win32Exception or EntryPointNotFoundException or DllNotFoundException)
        {
            return false;
        }
    }

    private static long Version() => SystemCall(CreateRuleset, 0, 0, VersionFlag);

    private static unsafe void Confine(string file, string program)
    {
        var version = Version();
        ulong handled = FileRights1 | (version >= 2 ? Refer : 0) | (version >= 3 ? Truncate : 0) | (version >= 5 ? Control : 0);
        Span<ulong> attributes = [handled, version >= 4 ? TcpRights : 0];
        nint ruleset;
        fixed (ulong* at = attributes)
        {
            ruleset = (nint)Check(SystemCall(CreateRuleset, (nint)at, version >= 4 ? 16 : 8, 0));
        }

        try
        {
            foreach (var folder in Programs(program))
            {
                Allow(ruleset, folder, Execute | ReadFile | ReadFolder);
            }

            Allow(ruleset, file, ReadFile);
            Allow(ruleset, "/dev/null", ReadFile | (1 << 1));
            Check(Prctl(NoNewPrivileges, 1, 0, 0, 0));
            Check(SystemCall(RestrictSelf, ruleset, 0, 0));
        }
        finally
        {
            _ = Close((int)ruleset);
        }
    }

    /// <summary>
    /// Folders of programs and libraries: of the system, of ffmpeg, and of this program, whose starting thread is confined too.
    /// </summary>
    private static IEnumerable<string> Programs(string program)
    {
        string[] system = ["/usr", "/lib", "/lib64", "/bin", "/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/nix/store"];
        var own = Path.GetDirectoryName(Path.GetFullPath(program));
        return
        [
            .. system, AppContext.BaseDirectory, RuntimeEnvironment.GetRuntimeDirectory(),
            .. own is { Length: > 1 } && program.Contains('/', StringComparison.Ordinal) ? [own] : Array.Empty<string>()
        ];
    }

    private static unsafe void Allow(nint ruleset, string path, ulong rights)
    {
        var handle = Open(path, OpenPath | CloseOnExec);
        if (handle < 0)
        {
            return; // what is not there needs no right
        }

        try
        {
            // struct landlock_path_beneath_attr is packed: 8 bytes of rights, 4 of the file's number. A file has no right to folders.
            Span<byte> rule = stackalloc byte[12];
            MemoryMarshal.Write(rule, Directory.Exists(path) ? rights : rights & ~ReadFolder);
            MemoryMarshal.Write(rule[8..], handle);
            fixed (byte* at = rule)
            {
                Check(SystemCall(AddRule, ruleset, PathBeneath, (nint)at));
            }
        }
        finally
        {
            _ = Close(handle);
        }
    }

    private static long Check(long result) => result >= 0 ? result
        : throw new IOException($"This process cannot be confined: {Marshal.GetPInvokeErrorMessage(Marshal.GetLastPInvokeError())}");

    private static long SystemCall(long number, nint first, nint second, nint third) => SystemCall(number, first, second, third, 0);

    [LibraryImport("libc", EntryPoint = "syscall", SetLastError = true)]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static partial long SystemCall(long number, nint first, nint second, nint third, nint fourth);

    [LibraryImport("libc", EntryPoint = "prctl", SetLastError = true)]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static partial int Prctl(int option, nint second, nint third, nint fourth, nint fifth);

    [LibraryImport("libc", EntryPoint = "open", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static partial int Open(string path, int flags);

    [LibraryImport("libc", EntryPoint = "close")]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static partial int Close(int handle);
}
