// Why this exists: a GPU's 3-D convolutions are far from what its 2-D ones give in channels-last order, and S3D has no convolution that
// needs three dimensions at once.
using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace CoCLR.Engine.Models;

/// <summary>A part of S3D that also runs on planes.</summary>
internal interface IPlaneLayer
{
    /// <summary>Runs the layer as a graph of two-dimensional operations, differentiable as any other.</summary>
    /// <param name="input">Activations [B,T,H,W,C], contiguous; not disposed.</param>
    Tensor Planes(Tensor input);
}

/// <summary>
/// S3D's operations on activations that lie as [B,T,H,W,C] in memory: (1,k,k) is a 2-D convolution of B·T frames, (k,1,1) one of B planes
/// of time and place, 1x1x1 a matrix product, each on a view of the same memory. The same numbers as the three-dimensional operations, up
/// to rounding.
/// </summary>
internal static class Planes
{
    /// <summary>Clips [B,C,T,H,W] as activations; no copy where they lie so already.</summary>
    public static Tensor From(Tensor clips)
    {
        using DisposeScope scope = NewDisposeScope();
        return clips.permute(0, 2, 3, 4, 1).contiguous().MoveToOuterDisposeScope();
    }

    /// <summary>The same memory seen as [B,C,T,H,W].</summary>
    public static Tensor ToClips(Tensor activations) => activations.permute(0, 4, 1, 2, 3);

    /// <summary>ReLU(batch norm(convolution(x))).</summary>
    public static Tensor ConvNormRelu(Tensor input, Conv3d conv, BatchNorm3d norm)
    {
        using DisposeScope scope = NewDisposeScope();
        return nn.functional.relu(Normalize(Convolve(input, conv), norm), inplace: true).MoveToOuterDisposeScope();
    }

    /// <summary>Convolution without bias; weights are cast to the precision of the activations.</summary>
    /// <param name="input">[B,T,H,W,C].</param>
    /// <param name="conv">Kernel (1,1,1), (1,k,k) or (k,1,1).</param>
    public static Tensor Convolve(Tensor input, Conv3d conv)
    {
        using DisposeScope scope = NewDisposeScope();
        long[] shape = input.shape;
        Tensor weight = conv.weight!.to(input.dtype);
        (long[] kernel, long[] stride, long[] pad) = (conv.kernel_size, conv.stride, conv.padding!);
        if (kernel.All(k => k == 1))
        {
            return input.view(-1, shape[4]).mm(weight.flatten(1).t()).view(shape[0], shape[1], shape[2], shape[3], -1)
                .MoveToOuterDisposeScope();
        }

        Tensor output = kernel[0] == 1
            ? FromPlanes(
                nn.functional.conv2d(Frames(input), weight.squeeze(2), null, [stride[1], stride[2]], [pad[1], pad[2]]), shape, space: true)
            : FromPlanes(nn.functional.conv2d(Times(input), weight.squeeze(4), null, [stride[0], 1], [pad[0], 0]), shape, space: false);
        return output.MoveToOuterDisposeScope();
    }

    /// <summary>Max pooling over space, then over time: the maximum of maxima. Padding never wins.</summary>
    public static Tensor MaxPool(Tensor input, (int T, int H, int W) kernel, (int T, int H, int W) stride, (int T, int H, int W) pad)
    {
        using DisposeScope scope = NewDisposeScope();
        Tensor pooled = kernel.H == 1 && kernel.W == 1 && stride.H == 1 && stride.W == 1
            ? input.alias()
            : FromPlanes(
                nn.functional.max_pool2d(Frames(input), [kernel.H, kernel.W], [stride.H, stride.W], [pad.H, pad.W]),
                input.shape,
                space: true);
        if (kernel.T > 1 || stride.T > 1)
        {
            pooled =
                FromPlanes(nn.functional.max_pool2d(Times(pooled), [kernel.T, 1], [stride.T, 1], [pad.T, 0]), pooled.shape, space: false);
        }

        return pooled.MoveToOuterDisposeScope();
    }

    private static Tensor Normalize(Tensor input, BatchNorm3d norm)
    {
        if (norm.training && Layers.NormalizesInGroups)
        {
            return Layers.NormalizeInGroups(input.view(-1, input.shape[4]), norm, (int)input.shape[0]).view(input.shape);
        }

        if (norm.training)
        {
            using var frozen = no_grad();
            norm.num_batches_tracked?.add_(1);
        }

        Tensor output = nn.functional.batch_norm(
            Frames(input), norm.running_mean!, norm.running_var!, norm.weight!, norm.bias!, training: norm.training, momentum: norm.momentum
                ?? 0.1, eps: norm.eps);
        return FromPlanes(output, input.shape, space: true);
    }

    // [B·T,C,H,W] and [B,C,T,H·W], both channels-last: views.
    private static Tensor Frames(Tensor x) => x.view(x.shape[0] * x.shape[1], x.shape[2], x.shape[3], x.shape[4]).permute(0, 3, 1, 2);

    private static Tensor Times(Tensor x) => x.view(x.shape[0], x.shape[1], x.shape[2] * x.shape[3], x.shape[4]).permute(0, 3, 1, 2);

    // libtorch keeps channels-last order, so this copies nothing.
    private static Tensor FromPlanes(Tensor planes, long[] before, bool space)
    {
        long[] now = planes.shape;
        Tensor last = planes.permute(0, 2, 3, 1).contiguous();
        return space ? last.view(before[0], before[1], now[2], now[3], now[1]) : last.view(before[0], now[2], before[2], before[3], now[1]);
    }
}
