// Why this exists: InfoNCE: a clip's only positive is the other clip of the same video.
using CoCLR.Core.Manifests;
using static TorchSharp.torch;

namespace CoCLR.Engine.Contrastive.Methods;

/// <summary>Instance discrimination with a momentum encoder. [Oord et al. 2018; He et al. 2020; paper eq. 1; method.md 1a]</summary>
public sealed class InfoNce : ContrastiveMethod
{
    /// <inheritdoc/>
    public override Method Name => Method.InfoNCE;

    /// <summary>L = mean_i( -log softmax(l_i)_0 ).</summary>
    /// <param name="logits">[B,1+K] of <see cref="ContrastiveLogits.Of"/>; column 0 is the own key.</param>
    /// <returns>A scalar.</returns>
    public static Tensor Loss(Tensor logits)
    {
        using var scope = NewDisposeScope();
        return logits.log_softmax(1).select(1, 0).mean().neg().MoveToOuterDisposeScope();
    }

    /// <summary>P_i = {0}.</summary>
    /// <param name="logits">[B,1+K]; gives the shape and the device.</param>
    /// <returns>Boolean [B,1+K].</returns>
    public static Tensor Positives(Tensor logits)
    {
        using var scope = NewDisposeScope();
        Tensor mask = zeros_like(logits, ScalarType.Bool, requires_grad: false);
        mask.select(1, 0).fill_(true);
        return mask.MoveToOuterDisposeScope();
    }

    /// <inheritdoc/>
    public override MethodStep Learn(Comparison batch)
    {
        ArgumentNullException.ThrowIfNull(batch);
        Tensor logits = batch.Logits(batch.First, batch.First);
        return new MethodStep(Loss(logits), logits, Positives(logits));
    }
}
