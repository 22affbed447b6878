// Why this exists: in a turn of co-training the other view's encoder stands still and says which keys are alike.
using CoCLR.Core.Manifests;
using CoCLR.Engine.Contrastive;
using CoCLR.Engine.Models;
using static TorchSharp.torch;

namespace CoCLR.Engine.Training;

/// <summary>The encoder that mines: frozen, in evaluation mode, so that it uses its running statistics (method.md 1a).</summary>
internal sealed class FrozenMiner : IDisposable
{
    private readonly VideoEncoder _encoder;
    private readonly MiningSpace _space;

    /// <summary>Freezes an encoder, which becomes the miner's.</summary>
    /// <param name="encoder">The other view's newest.</param>
    /// <param name="view">The view that it sees.</param>
    /// <param name="space">Where neighbours are looked for.</param>
    public FrozenMiner(VideoEncoder encoder, View view, MiningSpace space)
    {
        (_encoder, View, _space) = (encoder, view, space);
        encoder.eval();
        foreach (var parameter in encoder.parameters())
        {
            parameter.requires_grad = false;
        }
    }

    /// <summary>The encoder; nothing changes it.</summary>
    public VideoEncoder Encoder => _encoder;

    /// <summary>The view that it sees.</summary>
    public View View { get; }

    /// <summary>Length of a miner's key.</summary>
    public int KeySize => _space == MiningSpace.Features ? _encoder.Backbone.FeatureSize : _encoder.Head.Dim;

    /// <summary>Unit vectors [B,KeySize] of clips [B,3,T,H,W].</summary>
    public Tensor Encode(Tensor clips)
    {
        using var frozen = no_grad();
        return _space == MiningSpace.Features ? nn.functional.normalize(_encoder.Backbone.Features(clips), 2, 1) : _encoder.forward(clips);
    }

    /// <summary>By what the queue's entries are ranked for each clip, [B,K].</summary>
    /// <param name="keys">Of <see cref="Encode"/>, [B,KeySize].</param>
    /// <param name="queue">Earlier ones [KeySize,K].</param>
    public Tensor Similarity(Tensor keys, Tensor queue) =>
        _space == MiningSpace.Features ? PositiveMask.CentredSimilarity(keys, queue) : keys.matmul(queue);

    /// <inheritdoc/>
    public void Dispose() => _encoder.Dispose();
}
