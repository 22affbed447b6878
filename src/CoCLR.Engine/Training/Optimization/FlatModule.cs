// Why this exists: what moves a network (gradients), what it gathers (running statistics) and what counts its steps are each handled as
// one tensor.
using static TorchSharp.torch;

namespace CoCLR.Engine.Training.Optimization;

/// <summary>A network whose parameters, running statistics and counters lie in one flat tensor each.</summary>
public sealed class FlatModule : IDisposable
{
    /// <summary>Moves the tensors of a network together; the network stays the caller's and works as before.</summary>
    /// <param name="module">On its device.</param>
    public FlatModule(nn.Module module)
    {
        ArgumentNullException.ThrowIfNull(module);
        ILookup<bool, Tensor> buffers = module.buffers().ToLookup(b => b.is_floating_point());
        Parameters = new FlatTensors([.. module.parameters()]);
        Statistics = new FlatTensors([.. buffers[true]]);
        Counters = new FlatTensors([.. buffers[false]]);
    }

    /// <summary>Weights and biases.</summary>
    public FlatTensors Parameters { get; }

    /// <summary>Batch norms' running means and variances.</summary>
    public FlatTensors Statistics { get; }

    /// <summary>How many batches they have seen.</summary>
    public FlatTensors Counters { get; }

    /// <inheritdoc/>
    public void Dispose()
    {
        Parameters.Dispose();
        Statistics.Dispose();
        Counters.Dispose();
    }
}
