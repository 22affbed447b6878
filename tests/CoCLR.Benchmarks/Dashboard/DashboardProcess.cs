// Why this exists: the dashboard as a process of its own, so that its CPU time and memory are its alone.
using System.Diagnostics;
using System.Globalization;
using System.Net.Http.Headers;

namespace CoCLR.Benchmarks.Dashboard;

/// <summary>A running dashboard.</summary>
internal sealed class DashboardProcess : IAsyncDisposable
{
    /// <summary>Signs in as admin.</summary>
    public const string Token = "a-token-of-more-than-22-characters";

    /// <summary>Derives ingest tokens.</summary>
    public const string Key = "an-ingest-key-of-22-characters";

    private readonly Process _process;

    private DashboardProcess(Process process, Uri address, TimeSpan started) => (_process, Address, Started) = (process, address, started);

    /// <summary>Address.</summary>
    public Uri Address { get; }

    /// <summary>From the start of the process to the printed link.</summary>
    public TimeSpan Started { get; }

    /// <summary>CPU time so far, in seconds.</summary>
    public double CpuSeconds
    {
        get
        {
            _process.Refresh();
            return _process.TotalProcessorTime.TotalSeconds;
        }
    }

    /// <summary>Resident memory in MiB.</summary>
    public double MemoryMib
    {
        get
        {
            _process.Refresh();
            return _process.WorkingSet64 / 1048576.0;
        }
    }

    /// <summary>Starts one over a work folder.</summary>
    public static async Task<DashboardProcess> StartAsync(string folder, params string[] more)
    {
        string root = Environment.GetEnvironmentVariable("COCLR_ROOT") ?? Directory.GetCurrentDirectory();
        string configuration = AppContext.BaseDirectory.Contains("/Debug/", StringComparison.Ordinal) ? "Debug" : "Release";
        string assembly = Path.Combine(root, "src", "CoCLR.Dashboard", "bin", configuration, "net10.0", "CoCLR.Dashboard.dll");
        var link = new TaskCompletionSource<Uri>(TaskCreationOptions.RunContinuationsAsynchronously);
        long begun = Stopwatch.GetTimestamp();
        var process = new Process
        {
            StartInfo = new ProcessStartInfo(
                "dotnet",
                [
                    assembly, "--workdir", folder, "--urls", "http://127.0.0.1:0", "--Dashboard:Authentication:Token", Token,
                    "--Dashboard:Ingest:Key", Key, "--Dashboard:Ingest:BatchesPerSecond", "100000", "--Dashboard:Limits:RequestsPerMinute",
                    "10000000", .. more
                ])
            {
                RedirectStandardOutput = true, RedirectStandardError = true
            },
            EnableRaisingEvents = true,
        };
        process.OutputDataReceived += (_, e) =>
        {
            if (e.Data?.StartsWith("Dashboard: ", StringComparison.Ordinal) == true)
            {
                link.TrySetResult(new Uri(new Uri(e.Data["Dashboard: ".Length..]).GetLeftPart(UriPartial.Authority)));
            }
        };
        process.Exited += (_, _) => link.TrySetException(
            new InvalidOperationException($"The dashboard ended with {process.ExitCode.ToString(CultureInfo.InvariantCulture)}."));
        process.Start();
        process.BeginOutputReadLine();
        process.BeginErrorReadLine();
        Uri address = await link.Task.WaitAsync(TimeSpan.FromMinutes(5));
        return new DashboardProcess(process, address, Stopwatch.GetElapsedTime(begun));
    }

    /// <summary>A client with a token.</summary>
    public HttpClient Client(string token = Token)
    {
        var client = new HttpClient { BaseAddress = Address, Timeout = TimeSpan.FromMinutes(2) };
        client.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", token);
        return client;
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        if (!_process.HasExited)
        {
            using (Process? term = Process.Start("kill", ["-TERM", _process.Id.ToString(CultureInfo.InvariantCulture)]))
            {
                term?.WaitForExit();
            }

            using var patience = new CancellationTokenSource(TimeSpan.FromSeconds(30));
            try
            {
                await _process.WaitForExitAsync(patience.Token);
            }
            catch (OperationCanceledException)
            {
                _process.Kill(entireProcessTree: true);
            }
        }

        _process.Dispose();
    }
}
