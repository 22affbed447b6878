// Why this exists: tests use the command as people do: as a process, by its arguments, output and exit code.
using System.Diagnostics;
using System.Runtime.InteropServices;

namespace CoCLR.Cli.Tests;

/// <summary>What a finished command left.</summary>
/// <param name="ExitCode">Exit code.</param>
/// <param name="Output">Standard output.</param>
/// <param name="Errors">Standard error.</param>
internal sealed record Finished(int ExitCode, string Output, string Errors)
{
    /// <summary>Asserts the exit code, and that a person sees no stack trace.</summary>
    public Finished Expect(int exitCode)
    {
        Assert.True(ExitCode == exitCode, $"exit code {ExitCode}, not {exitCode}:\n{Errors}\n{Output}");
        Assert.DoesNotContain("   at ", Errors, StringComparison.Ordinal);
        return this;
    }
}

/// <summary>Starts the command beside the tests.</summary>
internal static partial class Coclr
{
    private static readonly TimeSpan Limit = TimeSpan.FromMinutes(5);

    public static string Path => System.IO.Path.Combine(AppContext.BaseDirectory, "coclr");

    public static Process Start(params string[] arguments) => StartWith([], arguments);

    public static Process StartWith(Dictionary<string, string> environment, params string[] arguments)
    {
        var start = new ProcessStartInfo(Path, arguments)
        {
            RedirectStandardOutput = true, RedirectStandardError = true, RedirectStandardInput = true
        };
        start.Environment["OMP_NUM_THREADS"] = "1";
        start.Environment.Remove("COCLR_DASHBOARD_URL");
        start.Environment.Remove("COCLR_CACHE_DIR");
        foreach ((string name, string value) in environment)
        {
            start.Environment[name] = value;
        }

        Process process = Process.Start(start)!;
        process.StandardInput.Close();
        return process;
    }

    public static async Task<Finished> RunAsync(params string[] arguments)
    {
        using Process process = Start(arguments);
        return await EndAsync(process);
    }

    /// <summary>Runs a command that reads what is piped to it.</summary>
    public static async Task<Finished> RunWithInputAsync(string input, params string[] arguments)
    {
        using Process process = Process.Start(new ProcessStartInfo(Path, arguments) { RedirectStandardOutput = true, RedirectStandardError = true, RedirectStandardInput = true })!;
        await process.StandardInput.WriteAsync(input);
        process.StandardInput.Close();
        return await EndAsync(process);
    }

    /// <summary>Waits until something has happened; a test that waits too long fails.</summary>
    public static async Task UntilAsync(Func<bool> condition)
    {
        for (long begun = Stopwatch.GetTimestamp(); !condition(); await Task.Delay(50, TestContext.Current.CancellationToken))
        {
            Assert.True(Stopwatch.GetElapsedTime(begun) < Limit, $"waited for {Limit}");
        }
    }

    /// <summary>Text of a file that another process is writing.</summary>
    public static string ReadShared(string file)
    {
        using var stream = new FileStream(file, FileMode.Open, FileAccess.Read, FileShare.ReadWrite);
        using var reader = new StreamReader(stream);
        return reader.ReadToEnd();
    }

    /// <summary>Sends a signal.</summary>
    public static void Signal(Process process, int signal) => Signal(process.Id, signal);

    /// <summary>Sends a signal to a process that the command has started; one that has just ended does not mind.</summary>
    public static void Signal(int process, int signal) => _ = Kill(process, signal);

    /// <summary>Sends a signal to a process group, as a terminal does.</summary>
    public static void SignalGroup(Process leader, int signal) => _ = Kill(-leader.Id, signal);

    public static async Task<Finished> EndAsync(Process process)
    {
        Task<string> output = process.StandardOutput.ReadToEndAsync();
        Task<string> errors = process.StandardError.ReadToEndAsync();
        using var limit = new CancellationTokenSource(Limit);
        try
        {
            await process.WaitForExitAsync(limit.Token);
        }
        catch (OperationCanceledException)
        {
            process.Kill(entireProcessTree: true);
            throw new TimeoutException($"the command did not end within {Limit}");
        }

        return new Finished(process.ExitCode, await output, await errors);
    }

    [LibraryImport("libc", EntryPoint = "kill")]
    private static partial int Kill(int process, int signal);
}
