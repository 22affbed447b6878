// Why this exists: keys must stay comparable over thousands of steps, so they come from a slowly moving copy of the query encoder.
using CoCLR.Engine.Models;
using CoCLR.Engine.Training.Optimization;
using TorchSharp;
using static TorchSharp.torch;

namespace CoCLR.Engine.Contrastive;

/// <summary>
/// The key encoder of MoCo: p_k ← m·p_k + (1-m)·p_q over parameters only. Batch norm buffers are its own, gathered from the key
/// batches it sees in training mode. [He et al. 2020; method.md 1a]
/// </summary>
public sealed class MomentumEncoder : IDisposable
{
    /// <summary>Pairs two encoders of one architecture and copies the query's parameters (not its buffers) to the key.</summary>
    /// <param name="query">The trained encoder; stays the caller's, but its tensors lie in <see cref="QueryTensors"/> from now on.</param>
    /// <param name="key">Its copy; disposed with this object. Loses its gradients.</param>
    /// <param name="momentum">m; 0.999 in the paper.</param>
    /// <exception cref="ArgumentException">The two do not have the same parameters.</exception>
    public MomentumEncoder(VideoEncoder query, VideoEncoder key, double momentum = 0.999)
    {
        ArgumentNullException.ThrowIfNull(query);
        ArgumentNullException.ThrowIfNull(key);
        ArgumentOutOfRangeException.ThrowIfNegative(momentum);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(momentum, 1);
        Query = query;
        Key = key;
        Momentum = momentum;
        foreach (var parameter in key.parameters())
        {
            parameter.requires_grad = false;
        }

        (QueryTensors, KeyTensors) = (new FlatModule(query), new FlatModule(key));
        if (!QueryTensors.Parameters.IsLaidOutLike(KeyTensors.Parameters))
        {
            throw new ArgumentException("Query and key encoder differ in their parameters.", nameof(key));
        }

        CopyQuery();
    }

    /// <summary>The trained encoder.</summary>
    public VideoEncoder Query { get; }

    /// <summary>The slowly moving encoder.</summary>
    public VideoEncoder Key { get; }

    /// <summary>Weights and statistics of the query encoder, flat.</summary>
    public FlatModule QueryTensors { get; }

    /// <summary>Weights and statistics of the key encoder, flat.</summary>
    public FlatModule KeyTensors { get; }

    /// <summary>m.</summary>
    public double Momentum { get; }

    /// <summary>
    /// For comparing the two ways: groups in one forward pass (as on a GPU) or one after the other (as on a processor, whose fast path is
    /// for whole batches).
    /// </summary>
    internal bool? NormalizesTogether { get; set; }

    /// <summary>Sets the key's parameters to the query's.</summary>
    public void CopyQuery()
    {
        using var frozen = no_grad();
        KeyTensors.Parameters.All.copy_(QueryTensors.Parameters.All);
    }

    /// <summary>One momentum update; call it before the key forward of each training step.</summary>
    public void Update()
    {
        QueryTensors.Parameters.RequireInPlace();
        ParameterKernels.MomentumUpdate(KeyTensors.Parameters.All, QueryTensors.Parameters.All, Momentum);
    }

    /// <summary>What an optimizer of the query encoder is given.</summary>
    /// <param name="prefix">Put before the parameters' names.</param>
    public ParameterGroup Trained(string prefix = "") =>
        new([.. Query.named_parameters().Select(p => (prefix + p.name, p.parameter))]) { Flat = QueryTensors.Parameters };

    /// <summary>
    /// Encodes keys without gradients, normalised in equal groups of neighbours. Clips come in a shuffled order: so batch statistics do
    /// not tell which query a key belongs to; with one
    /// group it is a plain forward pass. [MoCo's shuffling BN; method.md part 2]
    /// </summary>
    /// <param name="clips">[B,3,T,H,W].</param>
    /// <param name="groups">Batch norm groups; divides B.</param>
    /// <returns>Unit vectors [B,dim] in the order of <paramref name="clips"/>.</returns>
    public Tensor EncodeKeys(Tensor clips, int groups = 1)
    {
        ArgumentNullException.ThrowIfNull(clips);
        var batch = (int)clips.shape[0];
        if (groups < 1 || batch % groups != 0)
        {
            throw new ArgumentException($"A batch of {batch} needs a number of groups that divides it, not {groups}.", nameof(groups));
        }

        using var frozen = no_grad();
        using var scope = NewDisposeScope();
        if (groups == 1)
        {
            return Key.forward(clips).MoveToOuterDisposeScope();
        }

        if (NormalizesTogether ?? clips.device_type == DeviceType.CUDA)
        {
            using var together = Layers.NormalizingInGroups(groups);
            return Key.forward(clips).MoveToOuterDisposeScope();
        }

        var size = batch / groups;
        return cat([.. Enumerable.Range(0, groups).Select(g => Key.forward(clips.narrow(0, g * size, size)))], 0).MoveToOuterDisposeScope();
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        Key.Dispose();
        QueryTensors.Dispose();
        KeyTensors.Dispose();
    }
}
