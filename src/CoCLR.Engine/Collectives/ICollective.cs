// Why this exists: ranks that train one network together exchange a handful of tensors a step; what moves them (NCCL, TCP, memory) is no
// business of the training.
using System.Diagnostics;
using CoCLR.Core;
using static TorchSharp.torch;

namespace CoCLR.Engine.Collectives;

/// <summary>
/// What the ranks of one stage do together. Every rank calls the same operations in the same order, from one thread; each returns when
/// the rank's tensors may be used again, in the
/// order of the device. There is no mean: a sum is a sum, and who wants a mean divides.
/// </summary>
public interface ICollective : IDisposable
{
    /// <summary>This process's number, from 0.</summary>
    int Rank { get; }

    /// <summary>How many ranks there are.</summary>
    int World { get; }

    /// <summary>What moves the tensors, for people.</summary>
    string Transport { get; }

    /// <summary>Bytes that this rank has sent and received, and how long it has waited.</summary>
    CollectiveUse Use { get; }

    /// <summary>
    /// Replaces a tensor by its sum over ranks, the same bits on every rank. On processors ranks are added in a binary tree: (0 + 1) + (2
    /// + 3).
    /// </summary>
    /// <param name="tensor">Contiguous; 32- or 64-bit floats, or 64-bit integers.</param>
    /// <exception cref="RankLostException">A rank has ended or does not answer.</exception>
    void AllReduceSum(Tensor tensor);

    /// <summary>Puts the tensors of all ranks one after the other.</summary>
    /// <param name="own">Contiguous, [n,...]; of one shape on all ranks.</param>
    /// <returns>[World·n,...], in the order of ranks.</returns>
    /// <exception cref="RankLostException">As above.</exception>
    Tensor AllGather(Tensor own);

    /// <summary>Replaces a tensor by that of rank 0.</summary>
    /// <param name="tensor">Contiguous.</param>
    /// <exception cref="RankLostException">As above.</exception>
    void Broadcast(Tensor tensor);

    /// <summary>Returns when every rank has called it.</summary>
    /// <exception cref="RankLostException">As above.</exception>
    void Barrier();

    /// <summary>
    /// Makes every operation fail, now and from now on, on every rank that can still be reached. May be called from any thread, more than
    /// once.
    /// </summary>
    /// <param name="why">A sentence for the other ranks' logs.</param>
    void Abort(string why);
}

/// <summary>How much the ranks exchange.</summary>
/// <param name="Bytes">Sent and received by this rank.</param>
/// <param name="Elapsed">Time spent in operations, waiting for slower ranks included.</param>
public readonly record struct CollectiveUse(long Bytes, TimeSpan Elapsed)
{
    /// <summary>This, and one more operation.</summary>
    /// <param name="bytes">Its bytes.</param>
    /// <param name="begun">When it began, of <see cref="Stopwatch.GetTimestamp"/>.</param>
    internal CollectiveUse Plus(long bytes, long begun) => new(Bytes + bytes, Elapsed + Stopwatch.GetElapsedTime(begun));
}

/// <summary>
/// A rank has ended or does not answer: the others end, too, and the stage goes on from its newest checkpoint when it is started again
/// (exit 1).
/// </summary>
public sealed class RankLostException : UserErrorException
{
    /// <summary>Says which, and why.</summary>
    /// <param name="message">A sentence.</param>
    /// <param name="inner">What was seen of it.</param>
    public RankLostException(string message, Exception? inner = null)
        : base($"{message} All ranks end; started again, the stage goes on from its newest checkpoint.", ExitCodes.Failed, inner)
    {
    }
}

/// <summary>What the engine asks of a group of ranks beside the operations themselves.</summary>
public static class RankDecisions
{
    /// <summary>
    /// Whether any rank says yes: the answer is the same on all. Ranks must decide together to stop, or one would wait for the others.
    /// </summary>
    /// <param name="ranks">The ranks.</param>
    /// <param name="own">This rank's answer.</param>
    public static bool Any(this ICollective ranks, bool own)
    {
        ArgumentNullException.ThrowIfNull(ranks);
        if (ranks.World == 1)
        {
            return own;
        }

        using Tensor votes = tensor([own ? 1L : 0L]);
        ranks.AllReduceSum(votes);
        return votes.item<long>() > 0;
    }

    /// <summary>Ends all ranks where one differs from rank 0 in what must be the same everywhere.</summary>
    /// <param name="ranks">The ranks.</param>
    /// <param name="value">A fingerprint of it.</param>
    /// <param name="what">What it is, in words.</param>
    /// <exception cref="UserErrorException">A rank differs (1); thrown on every rank.</exception>
    public static void RequireSame(this ICollective ranks, ulong value, string what)
    {
        ArgumentNullException.ThrowIfNull(ranks);
        if (ranks.World == 1)
        {
            return;
        }

        using Tensor own = tensor([unchecked((long)value)]);
        using Tensor gathered = ranks.AllGather(own);
        long[] all = gathered.data<long>().ToArray();
        if (Array.FindIndex(all, v => v != all[0]) is > 0 and var other)
        {
            throw new UserErrorException(
                $"Rank {other} of {ranks.World} has {what} other than rank 0: the ranks no longer do the same. "
                + "Start the stage again; it goes on from its newest checkpoint.",
                ExitCodes.Failed);
        }
    }
}
