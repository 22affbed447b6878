// Why this exists: one process is the normal case; it is a group of one rank, so that nothing else asks how many there are.
using static TorchSharp.torch;

namespace CoCLR.Engine.Collectives;

/// <summary>The only rank.</summary>
public sealed class Alone : ICollective
{
    /// <summary>It has no state: one serves all.</summary>
    public static Alone Instance { get; } = new();

    /// <inheritdoc/>
    public int Rank => 0;

    /// <inheritdoc/>
    public int World => 1;

    /// <inheritdoc/>
    public string Transport => "one process";

    /// <inheritdoc/>
    public CollectiveUse Use => default;

    /// <inheritdoc/>
    public void AllReduceSum(Tensor tensor)
    {
    }

    /// <inheritdoc/>
    public Tensor AllGather(Tensor own)
    {
        ArgumentNullException.ThrowIfNull(own);
        return own.alias();
    }

    /// <inheritdoc/>
    public void Broadcast(Tensor tensor)
    {
    }

    /// <inheritdoc/>
    public void Barrier()
    {
    }

    /// <inheritdoc/>
    public void Abort(string why)
    {
    }

    /// <inheritdoc/>
    public void Dispose()
    {
    }
}
