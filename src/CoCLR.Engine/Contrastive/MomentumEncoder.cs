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
    private readonly Tensor[] _keyParameters;
    private readonly Tensor[] _queryParameters;

    /// <summary>Pairs two encoders of one architecture and copies the query's parameters (not its buffers) to the key.</summary>
    /// <param name="query">The trained encoder; stays the caller's.</param>
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
        _queryParameters = [.. query.parameters()];
        _keyParameters = [.. key.parameters()];
        if (!_queryParameters.Select(Shape).SequenceEqual(_keyParameters.Select(Shape)))
        {
            throw new ArgumentException("Query and key encoder differ in their parameters.", nameof(key));
        }

        foreach (var parameter in _keyParameters)
        {
            parameter.requires_grad = false;
        }

        CopyQuery();
        static string Shape(Tensor parameter) => string.Join(',', parameter.shape);
    }

    /// <summary>The trained encoder.</summary>
    public VideoEncoder Query { get; }

    /// <summary>The slowly moving encoder.</summary>
    public VideoEncoder Key { get; }

    /// <summary>m.</summary>
    public double Momentum { get; }

    /// <summary>For comparing the two ways: groups in one forward pass (as on a GPU) or one after the other (as on a processor, whose fast path is for whole batches).</summary>
    internal bool? NormalizesTogether { get; set; }

    /// <summary>Sets the key's parameters to the query's.</summary>
    public void CopyQuery()
    {
        using var frozen = no_grad();
        foreach (var (key, query) in _keyParameters.Zip(_queryParameters))
        {
            key.copy_(query);
        }
    }

    /// <summary>One momentum update; call it before the key forward of each training step.</summary>
    public void Update() => ParameterKernels.MomentumUpdate(_keyParameters, _queryParameters, Momentum);

    /// <summary>
    /// Encodes the key batch without gradients: shuffled by <paramref name="order"/>, normalised in equal groups of that order, and put
    /// back. The shuffle keeps batch statistics from telling which query a key belongs to; with one group it is a plain forward.
    /// [MoCo's shuffling BN; method.md part 2]
    /// </summary>
    /// <param name="clips">[B,3,T,H,W].</param>
    /// <param name="order">A permutation of 0..B-1.</param>
    /// <param name="groups">Batch norm groups; divides B.</param>
    /// <returns>Unit vectors [B,dim] in the order of <paramref name="clips"/>.</returns>
    public Tensor EncodeKeys(Tensor clips, ReadOnlySpan<int> order, int groups = 1)
    {
        ArgumentNullException.ThrowIfNull(clips);
        var batch = (int)clips.shape[0];
        if (order.Length != batch || groups < 1 || batch % groups != 0)
        {
            throw new ArgumentException($"A batch of {batch} needs an order of {batch} and a number of groups that divides it, not {order.Length} and {groups}.");
        }

        var forward = new long[batch];
        var back = new long[batch];
        for (var i = 0; i < batch; i++)
        {
            forward[i] = order[i];
            back[order[i]] = i;
        }

        using var frozen = no_grad();
        using var scope = NewDisposeScope();
        if (groups > 1 && (NormalizesTogether ?? clips.device_type == DeviceType.CUDA))
        {
            using var together = Layers.NormalizingInGroups(groups);
            var shuffled = clips.index_select(0, tensor(forward, device: clips.device));
            return Key.forward(shuffled).index_select(0, tensor(back, device: clips.device)).MoveToOuterDisposeScope();
        }

        var size = batch / groups;
        var parts = new Tensor[groups];
        for (var g = 0; g < groups; g++)
        {
            using var part = clips.index_select(0, tensor(forward.AsSpan(g * size, size).ToArray(), device: clips.device));
            parts[g] = Key.forward(part);
        }

        return cat(parts, 0).index_select(0, tensor(back, device: clips.device)).MoveToOuterDisposeScope();
    }

    /// <inheritdoc/>
    public void Dispose() => Key.Dispose();
}
