// Why this exists: to the rest of the engine the channels-last path must be an ordinary differentiable operation.
using CoCLR.Engine.Models.Fast;
using static TorchSharp.torch;

namespace CoCLR.Engine.Models;

/// <summary>
/// S3D's channels-last path as one node of autograd's graph: its layers keep what they need and go back by hand, each convolution
/// through a small graph of its own. The parameters' gradients are gathered while it goes back, as after an ordinary backward pass.
/// </summary>
internal sealed class S3DFunction : autograd.SingleTensorFunction<S3DFunction>
{
    private const string Steps = "steps";

    /// <inheritdoc/>
    public override string Name => nameof(S3DFunction);

    /// <summary>Clips [B,3,T,H,W] to the feature map [B,F,t,h,w].</summary>
    public static Tensor Run(S3D network, Tensor clips, Mode mode)
    {
        if (mode == Mode.Learn)
        {
            // A parameter among the arguments makes the result want gradients even where the clips do not.
            return apply(network, clips, network.parameters().First(p => p.requires_grad));
        }

        return Forward(network, clips, mode, null);
    }

    /// <inheritdoc/>
    public override Tensor forward(autograd.AutogradContext ctx, params object[] vars)
    {
        var steps = new Stack<IBackward>();
        ctx.save_data(Steps, steps);
        return Forward((S3D)vars[0], (Tensor)vars[1], Mode.Learn, steps);
    }

    /// <inheritdoc/>
    public override List<Tensor> backward(autograd.AutogradContext ctx, Tensor grad_output)
    {
        var steps = (Stack<IBackward>)ctx.get_data(Steps);
        if (steps.Count == 0)
        {
            throw new InvalidOperationException("The backward pass through this network was already taken; run the forward pass again.");
        }

        Tensor? gradient = ChannelsLast.From(grad_output);
        while (steps.TryPop(out var step))
        {
            // Null only from the first layer, when the clips want no gradient.
            var next = step.Backward(gradient!);
            gradient!.Dispose();
            step.Dispose();
            gradient = next;
        }

        return [null!, gradient is null ? null! : ChannelsLast.ToClips(gradient), null!];
    }

    private static Tensor Forward(S3D network, Tensor clips, Mode mode, Stack<IBackward>? steps)
    {
        var map = ChannelsLast.From(clips);
        var wantsGradient = clips.requires_grad;
        foreach (var layer in network.FastLayers)
        {
            var (next, back) = layer.Run(map, mode, wantsGradient);
            map.Dispose();
            map = next;
            wantsGradient = true;
            if (back is not null)
            {
                steps!.Push(back);
            }
        }

        using (map)
        {
            return ChannelsLast.ToClips(map);
        }
    }
}
