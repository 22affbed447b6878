// Why this exists: the dashboard, the trial cluster and its operator are programs of their own; this starts one, waits for what it
// announces, and ends it with the command.
using System.Diagnostics;
using CoCLR.Core;
using CoCLR.Runs;

namespace CoCLR.Cli.Hosting;

/// <summary>A program that lives as long as the command.</summary>
internal sealed class HelperProcess : IAsyncDisposable
{
    private static readonly TimeSpan StartLimit = TimeSpan.FromSeconds(60);
    private readonly string _name;
    private readonly Process _process;
    private readonly Queue<string> _errors = new();
    private readonly TaskCompletionSource<string> _announced = new(TaskCreationOptions.RunContinuationsAsynchronously);

    private HelperProcess(string name, Process process)
    {
        _name = name;
        _process = process;
    }

    /// <summary>What it announced.</summary>
    public string Announced { get; private set; } = "";

    /// <summary>Starts a .NET program and waits until it is ready.</summary>
    /// <param name="name">What it is, for people.</param>
    /// <param name="assembly">Its assembly.</param>
    /// <param name="arguments">Its arguments.</param>
    /// <param name="prefix">Beginning of the line on which it announces itself.</param>
    /// <param name="ready">Asked again and again whether it is ready, where it announces nothing.</param>
    /// <param name="output">Gets its other lines.</param>
    /// <param name="stop">Gives up waiting.</param>
    /// <exception cref="UserErrorException">It does not start (its own exit code, or 1).</exception>
    public static async Task<HelperProcess> StartAsync(
        string name,
        string assembly,
        IEnumerable<string> arguments,
        string? prefix,
        Func<Task<bool>>? ready,
        Action<string>? output,
        CancellationToken stop)
    {
        var start = new ProcessStartInfo("dotnet", [assembly, .. arguments])
        {
            RedirectStandardOutput = true, RedirectStandardError = true, RedirectStandardInput = true,
            WorkingDirectory = Path.GetDirectoryName(assembly)
        };
        start.Environment["COCLR_COMMAND"] = Environment.ProcessPath;
        Process process = Process.Start(start) ?? throw new UserErrorException($"Cannot start dotnet for {name}.", ExitCodes.Failed);
        process.StandardInput.Close();
        var helper = new HelperProcess(name, process);
        helper.Listen(prefix, output);
        try
        {
            await helper.ReadyAsync(prefix, ready, stop).ConfigureAwait(false);
            return helper;
        }
        catch
        {
            await helper.DisposeAsync().ConfigureAwait(false);
            throw;
        }
    }

    /// <summary>
    /// The assembly of a program of this repository: in a folder that a variable names, beside this command, or in the clone.
    /// </summary>
    /// <param name="name">What it is, for people.</param>
    /// <param name="variable">Variable with its folder.</param>
    /// <param name="project">Its project's folder in the clone.</param>
    /// <exception cref="UserErrorException">It is not there (78).</exception>
    public static string Find(string name, string variable, string project)
    {
        string file = Path.GetFileName(project) + ".dll";
        string configuration = AppContext.BaseDirectory.Contains(
            $"{Path.DirectorySeparatorChar}Debug{Path.DirectorySeparatorChar}", StringComparison.Ordinal) ? "Debug" : "Release";
        string[] places =
        [
            Environment.GetEnvironmentVariable(variable) is { Length: > 0 } home ? Path.Combine(home, file) : "",
            Path.Combine(AppContext.BaseDirectory, name, file),
            Environment.GetEnvironmentVariable("COCLR_ROOT") is { Length: > 0 } root
                ? Path.Combine(root, project, "bin", configuration, "net10.0", file)
                : "",
        ];
        return places.FirstOrDefault(File.Exists)
            ?? throw new UserErrorException($"The {name} is not installed beside this command: start it from a clone (./coclr up), or set "
                + $"{variable} to the folder of {file}.", ExitCodes.BadConfiguration);
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

    private void Listen(string? prefix, Action<string>? output)
    {
        _process.OutputDataReceived += (_, line) =>
        {
            if (prefix != null && line.Data?.StartsWith(prefix, StringComparison.Ordinal) == true)
            {
                _announced.TrySetResult(line.Data[prefix.Length..]);
            }
            else if (line.Data is { } text)
            {
                output?.Invoke(text);
            }
        };
        _process.ErrorDataReceived += (_, line) =>
        {
            lock (_errors)
            {
                _errors.Enqueue(line.Data ?? "");
                while (_errors.Count > 20)
                {
                    _errors.Dequeue();
                }
            }
        };
        _process.BeginOutputReadLine();
        _process.BeginErrorReadLine();
    }

    private async Task ReadyAsync(string? prefix, Func<Task<bool>>? ready, CancellationToken stop)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(stop);
        limit.CancelAfter(StartLimit);
        Task ended = _process.WaitForExitAsync(CancellationToken.None);
        Task begun = prefix != null ? _announced.Task : PollAsync(ready!, limit.Token);
        await Task.WhenAny(begun, ended, Task.Delay(Timeout.InfiniteTimeSpan, limit.Token)).ConfigureAwait(false);
        if (begun.IsCompletedSuccessfully)
        {
            Announced = prefix != null ? await _announced.Task.ConfigureAwait(false) : "";
            return;
        }

        if (!_process.HasExited)
        {
            stop.ThrowIfCancellationRequested();
            throw new UserErrorException($"The {_name} did not start within {StartLimit.TotalSeconds:0} s.", ExitCodes.Failed);
        }

        lock (_errors)
        {
            throw new UserErrorException(
                $"The {_name} did not start: {string.Join(' ', _errors).Trim()}",
                _process.ExitCode == 0 ? ExitCodes.Failed : _process.ExitCode);
        }
    }

    private static async Task PollAsync(Func<Task<bool>> ready, CancellationToken stop)
    {
        while (!await ready().ConfigureAwait(false))
        {
            await Task.Delay(100, stop).ConfigureAwait(false);
        }
    }
}
