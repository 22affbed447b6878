// Why this exists: starts the dashboard as a child process on loopback and passes on the link that it prints.
using System.Globalization;
using CoCLR.Core;
using CoCLR.Runs;

namespace CoCLR.Cli.Hosting;

/// <summary>A running dashboard.</summary>
internal sealed class DashboardProcess : IAsyncDisposable
{
    private readonly HelperProcess _process;

    private DashboardProcess(HelperProcess process) => _process = process;

    /// <summary>The link to open, with its one-time token.</summary>
    public string Link => _process.Announced;

    /// <summary>Starts a dashboard over a folder of runs.</summary>
    /// <param name="workspace">The runs.</param>
    /// <param name="port">Port on loopback; 0 takes a free one.</param>
    /// <param name="more">Further arguments.</param>
    /// <param name="stop">Gives up waiting.</param>
    /// <exception cref="UserErrorException">It is not there (78) or does not start (its own exit code).</exception>
    public static async Task<DashboardProcess> StartAsync(Workspace workspace, int port, IEnumerable<string> more, CancellationToken stop)
    {
        string assembly = HelperProcess.Find("dashboard", "COCLR_DASHBOARD_HOME", "src/CoCLR.Dashboard");
        Directory.CreateDirectory(workspace.Root);
        string[] arguments =
        [
            "--Dashboard:WorkDir", workspace.Root, "--urls", string.Create(CultureInfo.InvariantCulture, $"http://127.0.0.1:{port}"),
            .. more
        ];
        return new DashboardProcess(
            await HelperProcess.StartAsync("dashboard", assembly, arguments, "Dashboard: ", null, null, stop).ConfigureAwait(false));
    }

    /// <summary>Waits until it ends or the token is set.</summary>
    public Task WaitAsync(CancellationToken stop) => _process.WaitAsync(stop);

    /// <inheritdoc/>
    public ValueTask DisposeAsync() => _process.DisposeAsync();
}
