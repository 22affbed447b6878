// Why this exists: CMC: two networks learn together; a clip's positive is the same video seen through the other view.
using CoCLR.Core.Manifests;
using static TorchSharp.torch;

namespace CoCLR.Engine.Contrastive.Methods;

/// <summary>Contrastive multiview coding with queues. [Tian et al. 2020, eq. 5; method.md 1a]</summary>
public sealed class Cmc : ContrastiveMethod
{
    /// <inheritdoc/>
    public override Method Name => Method.Cmc;

    /// <summary>L = InfoNCE(q_rgb; k_flow, queue_flow) + InfoNCE(q_flow; k_rgb, queue_rgb).</summary>
    /// <param name="rgbLogits">[B,1+K]: RGB's queries with flow's keys.</param>
    /// <param name="flowLogits">[B,1+K]: flow's queries with RGB's keys.</param>
    /// <returns>A scalar.</returns>
    public static Tensor Loss(Tensor rgbLogits, Tensor flowLogits)
    {
        using var scope = NewDisposeScope();
        return (InfoNce.Loss(rgbLogits) + InfoNce.Loss(flowLogits)).MoveToOuterDisposeScope();
    }

    /// <inheritdoc/>
    public override MethodStep Learn(Comparison batch)
    {
        ArgumentNullException.ThrowIfNull(batch);
        ViewEmbeddings other = batch.Second ?? throw new ArgumentException("CMC compares two views.", nameof(batch));
        Tensor rgb = batch.Logits(batch.First, other);
        Tensor flow = batch.Logits(other, batch.First);
        return new MethodStep(Loss(rgb, flow), rgb, InfoNce.Positives(rgb));
    }
}
