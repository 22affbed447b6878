// Why this exists: the few operations that every network here is made of, in one place where they can be made fast.
using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace CoCLR.Engine.Models;

/// <summary>Fused layer functions. Inputs are never disposed; results are fresh tensors.</summary>
internal static class Layers
{
    [ThreadStatic]
    private static int t_groups;

    /// <summary>
    /// Until it is disposed, batch norms in training mode on this thread take their statistics from equal, neighbouring parts of the batch,
    /// as if each part had come by itself, one after the other. One forward pass of the whole batch keeps a device busy; one a part starves
    /// it.
    /// </summary>
    /// <param name="groups">Parts; divides the batch.</param>
    public static IDisposable NormalizingInGroups(int groups) => new Groups(groups);

    /// <summary>Whether <see cref="NormalizingInGroups"/> holds on this thread.</summary>
    public static bool NormalizesInGroups => t_groups > 1;

    /// <summary>Batch norm, in the groups of <see cref="NormalizingInGroups"/>.</summary>
    private static Tensor Normalize(Tensor input, BatchNorm3d norm) =>
        t_groups > 1 && norm.training ? NormalizeInGroups(input, norm, (int)input.shape[0]) : norm.forward(input);

    /// <summary>Batch norm with statistics of each group's clips. Gradients do not flow through groups: keys want none.</summary>
    /// <param name="input">[N,C,...], where the rows of a clip are neighbours.</param>
    /// <param name="norm">The norm; its running statistics move as if the groups had come one after the other.</param>
    /// <param name="clips">Clips in the batch.</param>
    public static Tensor NormalizeInGroups(Tensor input, BatchNorm3d norm, int clips)
    {
        int groups = t_groups;
        if (clips % groups != 0)
        {
            throw new ArgumentException($"{clips} clips cannot be normalised in {groups} groups.", nameof(clips));
        }

        using var scope = NewDisposeScope();
        using var frozen = no_grad();
        long[] shape = input.shape;
        (long batch, long channels) = (shape[0] / groups, shape[1]);
        long[] parted = [groups, batch, channels, .. shape[2..]], joined = [batch, groups * channels, .. shape[2..]];
        Tensor together = input.view(parted).transpose(0, 1).reshape(joined);

        // With momentum 1 the running statistics become those of the batch; each group's then move the norm's own, in turn.
        (Tensor mean, Tensor variance) = (norm.running_mean!.repeat(groups), norm.running_var!.repeat(groups));
        Tensor output = nn.functional.batch_norm(
            together, mean, variance, norm.weight!.repeat(groups), norm.bias!.repeat(groups), training: true, momentum: 1, eps: norm.eps);
        double momentum = norm.momentum ?? 0.1;
        foreach ((Tensor own, Tensor groupwise) in new[] { (norm.running_mean!, mean), (norm.running_var!, variance) })
        {
            for (int g = 0; g < groups; g++)
            {
                own.mul_(1 - momentum).add_(groupwise.narrow(0, g * channels, channels), alpha: momentum);
            }
        }

        norm.num_batches_tracked?.add_(groups);
        return output.view([batch, groups, channels, .. shape[2..]]).transpose(0, 1).reshape(shape).MoveToOuterDisposeScope();
    }

    /// <summary>ReLU(batch norm(convolution(x))).</summary>
    public static Tensor ConvNormRelu(Tensor input, Conv3d conv, BatchNorm3d norm)
    {
        using var scope = NewDisposeScope();
        return nn.functional.relu(Normalize(Convolve(input, conv), norm), inplace: true).MoveToOuterDisposeScope();
    }

    /// <summary>Batch norm of a convolution's result without ReLU, as before a residual sum.</summary>
    public static Tensor ConvNorm(Tensor input, Conv3d conv, BatchNorm3d norm)
    {
        using var scope = NewDisposeScope();
        return Normalize(Convolve(input, conv), norm).MoveToOuterDisposeScope();
    }

    /// <summary>
    /// Convolution without bias in the precision of its input: bf16 activations meet a bf16 cast of the weights, through which the gradient
    /// goes back to the 32-bit weights.
    /// </summary>
    public static Tensor Convolve(Tensor input, Conv3d conv)
    {
        if (input.dtype == conv.weight!.dtype)
        {
            return conv.forward(input);
        }

        using var scope = NewDisposeScope();
        var weight = conv.weight.to(input.dtype);
        if (input.device_type == DeviceType.CPU)
        {
            // oneDNN's bf16 convolutions leave weight gradients unset that meet only padding (libtorch 2.10): the same products in 32 bits.
            return Apply(input.to(ScalarType.Float32), weight.to(ScalarType.Float32)).to(input.dtype).MoveToOuterDisposeScope();
        }

        return Apply(input, weight).MoveToOuterDisposeScope();

        Tensor Apply(Tensor x, Tensor w) => nn.functional.conv3d(x, w, null, conv.stride, conv.padding, conv.dilation, conv.groups);
    }

    /// <summary>Max pooling over time, height and width; padding never wins.</summary>
    public static Tensor MaxPool3d(Tensor input, (int T, int H, int W) kernel, (int T, int H, int W) stride, (int T, int H, int W) pad)
        => nn.functional.max_pool3d(input, [kernel.T, kernel.H, kernel.W], [stride.T, stride.H, stride.W], [pad.T, pad.H, pad.W]);

    /// <summary>PyTorch's default initialisation of linear and convolution layers: uniform in ±1/√fan-in for weight and bias.</summary>
    public static void InitializeLikeTorch(Generator generator, Tensor weight, Tensor bias)
    {
        var fanIn = weight.numel() / weight.shape[0];
        var bound = 1 / Math.Sqrt(fanIn);
        SeededInit.Uniform(weight, bound, generator);
        SeededInit.Uniform(bias, bound, generator);
    }

    private sealed class Groups : IDisposable
    {
        private readonly int _before = t_groups;

        public Groups(int groups) => t_groups = groups;

        public void Dispose() => t_groups = _before;
    }
}
