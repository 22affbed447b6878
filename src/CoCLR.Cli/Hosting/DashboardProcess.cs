// Why this exists: starts the dashboard as a child process on loopback and passes on the link that it prints.
using System.Diagnostics;
using System.Globalization;
using CoCLR.Core;

namespace CoCLR.Cli.Hosting;

/// <summary>A running dashboard.</summary>
internal sealed class DashboardProcess : IAsyncDisposable
{
    private const string LinkPrefix = "Dashboard: ";
    private static readonly TimeSpan StartLimit = TimeSpan.FromSeconds(60);
    private readonly Process _process;

    private DashboardProcess(Process process, string link)
    {
        _process = process;
        Link = link;
    }

    /// <summary>The link to open, with its one-time token.</summary>
    public string Link { get; }

    /// <summary>Starts a dashboard over a folder of runs.</summary>
    /// <param name="workspace">The runs.</param>
    /// <param name="port">Port on loopback; 0 takes a free one.</param>
    /// <param name="more">Further arguments.</param>
    /// <param name="stop">Gives up waiting.</param>
    /// <exception cref="UserErrorException">It is not there (78) or does not start (its own exit code).</exception>
    public static async Task<DashboardProcess> StartAsync(Workspace workspace, int port, IEnumerable<string> more, CancellationToken stop)
    {
        string assembly = Find();
        Directory.CreateDirectory(workspace.Root);
        var start = new ProcessStartInfo("dotnet") { RedirectStandardOutput = true, RedirectStandardError = true, RedirectStandardInput = true, WorkingDirectory = Path.GetDirectoryName(assembly) };
        foreach (string argument in new[] { assembly, "--Dashboard:WorkDir", workspace.Root, "--urls", string.Create(CultureInfo.InvariantCulture, $"http://127.0.0.1:{port}") }.Concat(more))
        {
            start.ArgumentList.Add(argument);
        }

        start.Environment["COCLR_COMMAND"] = Environment.ProcessPath;
        Process process = Process.Start(start) ?? throw new UserErrorException("Cannot start dotnet for the dashboard.", ExitCodes.Failed);
        process.StandardInput.Close();
        var link = new TaskCompletionSource<string>(TaskCreationOptions.RunContinuationsAsynchronously);
        var errors = new Queue<string>();
        process.OutputDataReceived += (_, line) =>
        {
            if (line.Data?.StartsWith(LinkPrefix, StringComparison.Ordinal) == true)
            {
                link.TrySetResult(line.Data[LinkPrefix.Length..]);
            }
        };
        process.ErrorDataReceived += (_, line) =>
        {
            lock (errors)
            {
                errors.Enqueue(line.Data ?? "");
                while (errors.Count > 20)
                {
                    errors.Dequeue();
                }
            }
        };
        process.BeginOutputReadLine();
        process.BeginErrorReadLine();
        Task ended = process.WaitForExitAsync(CancellationToken.None);
        await Task.WhenAny(link.Task, ended, Task.Delay(StartLimit, stop)).ConfigureAwait(false);
        if (link.Task.IsCompletedSuccessfully)
        {
            return new DashboardProcess(process, await link.Task.ConfigureAwait(false));
        }

        if (!process.HasExited)
        {
            process.Kill(entireProcessTree: true);
            stop.ThrowIfCancellationRequested();
            throw new UserErrorException($"The dashboard did not start within {StartLimit.TotalSeconds:0} s.", ExitCodes.Failed);
        }

        lock (errors)
        {
            throw new UserErrorException($"The dashboard did not start: {string.Join(' ', errors).Trim()}", process.ExitCode == 0 ? ExitCodes.Failed : process.ExitCode);
        }
    }

    /// <summary>Waits until it ends or the token is set.</summary>
    public async Task WaitAsync(CancellationToken stop)
    {
        try
        {
            await _process.WaitForExitAsync(stop).ConfigureAwait(false);
        }
        catch (OperationCanceledException)
        {
            // Ctrl-C is how a person ends it.
        }
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        if (!_process.HasExited)
        {
            ProcessSignals.Terminate(_process);
            using var patience = new CancellationTokenSource(TimeSpan.FromSeconds(10));
            await WaitAsync(patience.Token).ConfigureAwait(false);
            if (!_process.HasExited)
            {
                _process.Kill(entireProcessTree: true);
            }
        }

        _process.Dispose();
    }

    private static string Find()
    {
        const string Name = "CoCLR.Dashboard.dll";
        string configuration = AppContext.BaseDirectory.Contains($"{Path.DirectorySeparatorChar}Debug{Path.DirectorySeparatorChar}", StringComparison.Ordinal) ? "Debug" : "Release";
        string[] places =
        [
            Environment.GetEnvironmentVariable("COCLR_DASHBOARD_HOME") is { Length: > 0 } home ? Path.Combine(home, Name) : "",
            Path.Combine(AppContext.BaseDirectory, "dashboard", Name),
            Environment.GetEnvironmentVariable("COCLR_ROOT") is { Length: > 0 } root ? Path.Combine(root, "src", "CoCLR.Dashboard", "bin", configuration, "net10.0", Name) : "",
        ];
        return places.FirstOrDefault(File.Exists) ?? throw new UserErrorException("The dashboard is not installed beside this command: start it from a clone (./coclr up), or set COCLR_DASHBOARD_HOME to the folder of CoCLR.Dashboard.dll.", ExitCodes.BadConfiguration);
    }
}
