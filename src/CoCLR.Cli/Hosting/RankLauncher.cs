// Why this exists: one command starts all ranks of a stage on a machine, as torchrun does, and ends with them: none is left over,
// whatever becomes of another.
using System.Diagnostics;
using System.Globalization;
using System.Net;
using CoCLR.Core;
using CoCLR.Engine.Collectives;
using CoCLR.Runs;

namespace CoCLR.Cli.Hosting;

/// <summary>Starts ranks as child processes.</summary>
/// <param name="Local">Ranks on this machine.</param>
/// <param name="Nodes">Machines that run as many each.</param>
/// <param name="Node">Number of this machine, from 0.</param>
internal sealed record RankLauncher(int Local, int Nodes = 1, int Node = 0)
{
    // A rank that failed has told the others: they end by themselves, with its words. Those that do not hear of it, because they still
    // wait for it to come, are asked to.
    private static readonly TimeSpan NoticePeriod = TimeSpan.FromSeconds(4);

    // A rank that does not answer even then hangs.
    private static readonly TimeSpan LastPeriod = TimeSpan.FromSeconds(8);

    /// <summary>Ranks that were asked to end get this long: one step and a checkpoint.</summary>
    private static readonly TimeSpan GracePeriod = TimeSpan.FromSeconds(24);

    /// <summary>Runs the ranks to their end.</summary>
    /// <param name="arguments">Arguments of the command of each rank.</param>
    /// <param name="stop">Asks them to write a checkpoint and end.</param>
    /// <returns>The exit code of all: 0, or what the first rank that failed by itself ended with.</returns>
    public async Task<int> RunAsync(IReadOnlyList<string> arguments, CancellationToken stop)
    {
        int port = Nodes == 1 ? Ranks.FreePort() : 0;
        Process[] ranks = [.. Enumerable.Range(0, Local).Select(local => Start(arguments, local, port))];
        try
        {
            var codes = new List<int>();
            var running = ranks.Select(EndAsync).ToList();
            Task asked = Task.Delay(Timeout.InfiniteTimeSpan, stop);
            Task never = Task.Delay(Timeout.InfiniteTimeSpan, CancellationToken.None);
            (Task notice, Task patience) = (never, never);
            while (running.Count > 0)
            {
                Task next = await Task.WhenAny([.. running, asked, notice, patience]).ConfigureAwait(false);
                if (next is Task<int> ended)
                {
                    running.Remove(ended);
                    codes.Add(await ended.ConfigureAwait(false));
                    bool first = codes[^1] != ExitCodes.Done && notice == never && patience == never;
                    notice = first ? Task.Delay(NoticePeriod, CancellationToken.None) : notice;
                }
                else if (next == patience)
                {
                    Each(ranks, r => r.Kill(entireProcessTree: true));
                    patience = never;
                }
                else
                {
                    Each(ranks, ProcessSignals.Terminate);
                    patience = Task.Delay(next == asked ? GracePeriod : LastPeriod, CancellationToken.None);
                    (asked, notice) = (never, never);
                }
            }

            return Outcome(codes, stop.IsCancellationRequested);
        }
        finally
        {
            Array.ForEach(ranks, r => r.Dispose());
        }
    }

    /// <summary>
    /// What the ranks' exit codes say together: what no repetition mends goes first; else the one that ended first says why the others
    /// did.
    /// </summary>
    /// <param name="codes">In the order in which they ended.</param>
    /// <param name="asked">Whether they were asked to end.</param>
    internal static int Outcome(IReadOnlyList<int> codes, bool asked)
    {
        int[] failures = [.. codes.Where(c => c != ExitCodes.Done)];
        return failures.Length == 0 ? ExitCodes.Done
            : failures.FirstOrDefault(ExitCodes.IsPermanent) is > 0 and var permanent ? permanent
            : asked || failures[0] == ExitCodes.Terminated ? ExitCodes.Terminated
            : ExitCodes.Failed;
    }

    private static async Task<int> EndAsync(Process process)
    {
        await process.WaitForExitAsync(CancellationToken.None).ConfigureAwait(false);
        return process.ExitCode;
    }

    private static void Each(Process[] ranks, Action<Process> signal)
    {
        foreach (Process rank in ranks.Where(r => !r.HasExited))
        {
            signal(rank);
        }
    }

    private Process Start(IReadOnlyList<string> arguments, int local, int port)
    {
        int rank = (Node * Local) + local;
        var start = new ProcessStartInfo(Environment.ProcessPath!, arguments) { RedirectStandardInput = true };
        void Set(string name, int value) => start.Environment[name] = value.ToString(CultureInfo.InvariantCulture);
        Set(RankOptions.RankVariable, rank);
        Set(RankOptions.WorldVariable, Local * Nodes);
        Set(RankOptions.LocalRankVariable, local);
        Set("COCLR_PARENT", Environment.ProcessId);
        Set("DOTNET_PROCESSOR_COUNT", Math.Max(1, Environment.ProcessorCount / Local));
        if (port > 0)
        {
            start.Environment[RankOptions.MasterAddressVariable] = IPAddress.Loopback.ToString();
            Set(RankOptions.MasterPortVariable, port);
        }

        if (rank > 0)
        {
            start.Environment.Remove("COCLR_TERMINATION_LOG"); // rank 0 says how the stage ended
        }

        Process process = Process.Start(start) ?? throw new UserErrorException($"Cannot start {start.FileName}.", ExitCodes.Failed);
        process.StandardInput.Close();
        return process;
    }
}
