// Why this exists: the few operations that every network here is made of, in one place where they can be made fast.
using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace CoCLR.Engine.Models;

/// <summary>Fused layer functions. Inputs are never disposed; results are fresh tensors.</summary>
internal static class Layers
{
    /// <summary>ReLU(batch norm(convolution(x))).</summary>
    public static Tensor ConvNormRelu(Tensor input, Conv3d conv, BatchNorm3d norm)
    {
        using var scope = NewDisposeScope();
        return nn.functional.relu(norm.forward(Convolve(input, conv)), inplace: true).MoveToOuterDisposeScope();
    }

    /// <summary>Batch norm of a convolution's result without ReLU, as before a residual sum.</summary>
    public static Tensor ConvNorm(Tensor input, Conv3d conv, BatchNorm3d norm)
    {
        using var scope = NewDisposeScope();
        return norm.forward(Convolve(input, conv)).MoveToOuterDisposeScope();
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
}
