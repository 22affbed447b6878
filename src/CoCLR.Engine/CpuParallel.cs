// Why this exists: this project's own kernels must use as many threads as libtorch does, no more.
namespace CoCLR.Engine;

/// <summary>Runs independent pieces of work on the threads that one operation may use.</summary>
internal static class CpuParallel
{
    private static readonly Lazy<ParallelOptions> s_options =
        new(() => new ParallelOptions { MaxDegreeOfParallelism = TorchRuntime.Threads });

    /// <summary>Calls <paramref name="body"/> for 0 .. <paramref name="count"/> - 1, in any order.</summary>
    /// <param name="count">Pieces of work.</param>
    /// <param name="body">Works on one piece; must not depend on the others.</param>
    public static void For(int count, Action<int> body)
    {
        if (count <= 1 || s_options.Value.MaxDegreeOfParallelism == 1)
        {
            for (var i = 0; i < count; i++)
            {
                body(i);
            }

            return;
        }

        Parallel.For(0, count, s_options.Value, body);
    }
}
