// Why this exists: one redrawn line (or a line now and then) for work outside a run: decoding, flow, extraction.
using System.Diagnostics;

namespace CoCLR.Cli.Terminal;

internal static class PhaseLines
{
    private static readonly Lock Gate = new();
    private static string _phase = "";
    private static long _since;
    private static long _last;

    /// <summary>Tells how far a phase is.</summary>
    public static void Tell(string phase, long done, long total)
    {
        lock (Gate)
        {
            long now = Stopwatch.GetTimestamp();
            if (phase != _phase)
            {
                (_phase, _since, _last) = (phase, now, 0);
            }

            bool end = done >= total;
            if (!end && _last != 0 && Stopwatch.GetElapsedTime(_last, now).TotalSeconds < (Say.Interactive ? 0.1 : 10))
            {
                return;
            }

            _last = now;
            double passed = Stopwatch.GetElapsedTime(_since, now).TotalSeconds;
            string left = done > 0 && !end ? $", {TimeSpan.FromSeconds(Math.Ceiling(passed / done * (total - done))):g} left" : "";
            if (Say.Interactive)
            {
                Console.Error.Write($"\r\u001b[K{phase} {done}/{total}{left}{(end ? "\n" : "")}");
            }
            else
            {
                Say.Note($"{phase} {done}/{total}{left}");
            }
        }
    }
}
