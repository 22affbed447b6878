// Why this exists: SIGTERM and Ctrl-C ask a run to write a checkpoint and end; nothing is cut off in the middle.
using System.Runtime.InteropServices;

namespace CoCLR.Runs;

/// <summary>A token that is cancelled by SIGTERM, SIGINT or the death of the parent process.</summary>
public sealed partial class StopSignals : IDisposable
{
    private readonly CancellationTokenSource _source = new();
    private readonly PosixSignalRegistration[] _registrations;
    private readonly Timer? _parentWatch;

    /// <summary>Listens from now on.</summary>
    public StopSignals()
    {
        _registrations = [
            .. new[] { PosixSignal.SIGTERM, PosixSignal.SIGINT, PosixSignal.SIGHUP }.Select(
                s => PosixSignalRegistration.Create(s, Handle))];

        // A stage whose host was killed would hold the run folder for hours.
        if (int.TryParse(Environment.GetEnvironmentVariable("COCLR_PARENT"), out int parent))
        {
            _parentWatch = new Timer(_ => StopWhenOrphaned(parent), null, TimeSpan.FromSeconds(1), TimeSpan.FromSeconds(1));
        }
    }

    /// <summary>Cancelled by the first signal.</summary>
    public CancellationToken Token => _source.Token;

    /// <inheritdoc/>
    public void Dispose()
    {
        _parentWatch?.Dispose();
        foreach (PosixSignalRegistration registration in _registrations)
        {
            registration.Dispose();
        }

        _source.Dispose();
    }

    private void Handle(PosixSignalContext context)
    {
        context.Cancel = true;
        Stop();
    }

    private void StopWhenOrphaned(int parent)
    {
        if (ParentProcess() != parent)
        {
            Stop();
        }
    }

    private void Stop()
    {
        try
        {
            _source.Cancel();
        }
        catch (ObjectDisposedException)
        {
            // Came while the program was ending: neither the timer nor a registration waits for a call in flight.
        }
    }

    [LibraryImport("libc", EntryPoint = "getppid")]
    private static partial int ParentProcess();
}
