// Why this exists: the dashboard as a process of its own, started as users start it, for tests that look at it through a browser.
using System.Diagnostics;

namespace CoCLR.EndToEnd.Tests.Browser;

/// <summary>A running dashboard.</summary>
internal sealed class DashboardProcess : IAsyncDisposable
{
    private readonly Process _process;

    private DashboardProcess(Process process, string link)
    {
        (_process, Link) = (process, link);
        Address = new Uri(link).GetLeftPart(UriPartial.Authority);
    }

    /// <summary>The address that it printed, as a person would open it.</summary>
    public string Link { get; }

    /// <summary>Its scheme, host and port.</summary>
    public string Address { get; }

    /// <summary>Starts it and waits for the address that it prints.</summary>
    /// <param name="workDir">Work folder.</param>
    /// <param name="port">Port; any free one when 0.</param>
    /// <param name="settings">More of its command line.</param>
    public static async Task<DashboardProcess> StartAsync(string workDir, int port = 0, params string[] settings)
    {
        var printed = new TaskCompletionSource<string>(TaskCreationOptions.RunContinuationsAsynchronously);
        var start = new ProcessStartInfo("dotnet") { RedirectStandardOutput = true, RedirectStandardError = true };
        foreach (string argument in (string[])
            [
                Path.Combine(AppContext.BaseDirectory, "CoCLR.Dashboard.dll"), "--workdir", workDir, "--urls", $"http://127.0.0.1:{port}",
                .. settings
            ])
        {
            start.ArgumentList.Add(argument);
        }

        var process = new Process { StartInfo = start };
        process.OutputDataReceived += (_, e) =>
        {
            if (e.Data?.StartsWith("Dashboard: ", StringComparison.Ordinal) == true)
            {
                printed.TrySetResult(e.Data["Dashboard: ".Length..]);
            }
        };
        process.Start();
        process.BeginOutputReadLine();
        process.BeginErrorReadLine();
        // A limit for a start that never comes, not a measure of speed.
        return new DashboardProcess(process, await printed.Task.WaitAsync(TimeSpan.FromMinutes(5)));
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        if (!_process.HasExited)
        {
            _process.Kill();
            await _process.WaitForExitAsync();
        }

        _process.Dispose();
    }
}
