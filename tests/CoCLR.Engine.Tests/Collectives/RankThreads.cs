// Why this exists: ranks of one process, each on a thread, for tests of what they do together.
using CoCLR.Engine.Collectives;

namespace CoCLR.Engine.Tests.Collectives;

internal static class RankThreads
{
    /// <summary>Runs a body once a rank.</summary>
    /// <param name="world">How many ranks.</param>
    /// <param name="make">Makes a rank's part of the group, on its thread; disposed after the body.</param>
    /// <param name="body">What each does.</param>
    /// <returns>What the bodies threw.</returns>
    public static List<Exception> Run(int world, Func<RankOptions, ICollective> make, Action<ICollective> body)
    {
        int port = Ranks.FreePort();
        var errors = new List<Exception>();
        Thread[] threads = [.. Enumerable.Range(0, world).Select(rank => new Thread(() =>
        {
            try
            {
                using ICollective own = make(new RankOptions { Rank = rank, World = world, LocalRank = rank, MasterPort = port });
                body(own);
            }
            catch (Exception e)
            {
                lock (errors)
                {
                    errors.Add(e);
                }
            }
        }))];
        Array.ForEach(threads, t => t.Start());
        Array.ForEach(threads, t => t.Join());
        return errors;
    }
}
