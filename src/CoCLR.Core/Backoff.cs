// Why this exists: whoever tries again waits by one rule, so that a server that comes back is not met by everybody at once.
namespace CoCLR.Core;

/// <summary>Exponential delays with jitter.</summary>
public static class Backoff
{
    /// <summary>
    /// Delay before the next try: doubled for every failure, and up to half of it taken off at random so that many do not come back
    /// together.
    /// </summary>
    /// <param name="failures">Failures so far, from 1.</param>
    /// <param name="minimum">First delay.</param>
    /// <param name="maximum">Longest delay.</param>
    public static TimeSpan Of(int failures, TimeSpan minimum, TimeSpan maximum)
    {
        double seconds = Math.Min(maximum.TotalSeconds, minimum.TotalSeconds * Math.Pow(2, Math.Clamp(failures - 1, 0, 30)));
        return TimeSpan.FromSeconds(seconds * (0.5 + (0.5 * Random.Shared.NextDouble())));
    }
}
