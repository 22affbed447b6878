// Why this exists: the two building blocks of S3D, named so that a state dictionary has the reference's names.
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace CoCLR.Engine.Models;

/// <summary>Convolution without bias, batch norm (eps 1e-5, momentum 0.1), ReLU. [method.md 1a, BasicConv3d]</summary>
internal sealed class BasicConv3d : NamedModule
{
    private readonly Conv3d _conv;
    private readonly BatchNorm3d _bn;

    public BasicConv3d(Generator generator, int input, int output)
        : base(nameof(BasicConv3d))
    {
        _conv = nn.Conv3d(input, output, 1, bias: false);
        _bn = nn.BatchNorm3d(output);
        SeededInit.Normal(_conv.weight, 0.01, generator);
        register_module("conv", _conv);
        register_module("bn", _bn);
    }

    public override Tensor forward(Tensor input) => Layers.ConvNormRelu(input, _conv, _bn);
}

/// <summary>
/// A k x k x k convolution taken apart: (1,k,k) over space, then (k,1,1) over time, each with batch norm and ReLU. The stride applies
/// to space and time. [method.md 1a, STConv3d]
/// </summary>
internal sealed class STConv3d : NamedModule
{
    private readonly Conv3d _conv1;
    private readonly Conv3d _conv2;
    private readonly BatchNorm3d _bn1;
    private readonly BatchNorm3d _bn2;

    public STConv3d(Generator generator, int input, int output, int kernel, int stride = 1)
        : base(nameof(STConv3d))
    {
        var pad = kernel / 2;
        _conv1 = nn.Conv3d(input, output, (1, kernel, kernel), (1, stride, stride), (0, pad, pad), bias: false);
        _conv2 = nn.Conv3d(output, output, (kernel, 1, 1), (stride, 1, 1), (pad, 0, 0), bias: false);
        _bn1 = nn.BatchNorm3d(output);
        _bn2 = nn.BatchNorm3d(output);
        SeededInit.Normal(_conv1.weight, 0.01, generator);
        SeededInit.Normal(_conv2.weight, 0.01, generator);
        register_module("conv1", _conv1);
        register_module("conv2", _conv2);
        register_module("bn1", _bn1);
        register_module("bn2", _bn2);
    }

    public override Tensor forward(Tensor input)
    {
        using var space = Layers.ConvNormRelu(input, _conv1, _bn1);
        return Layers.ConvNormRelu(space, _conv2, _bn2);
    }
}

/// <summary>3-D max pooling that remembers only its shape; it has no state.</summary>
internal sealed class MaxPool : NamedModule
{
    private readonly (int T, int H, int W) _kernel;
    private readonly (int T, int H, int W) _stride;
    private readonly (int T, int H, int W) _pad;

    public MaxPool((int T, int H, int W) kernel, (int T, int H, int W) stride, (int T, int H, int W) pad)
        : base(nameof(MaxPool))
    {
        _kernel = kernel;
        _stride = stride;
        _pad = pad;
    }

    public override Tensor forward(Tensor input) => Layers.MaxPool3d(input, _kernel, _stride, _pad);
}

/// <summary>Scales each channel by sigmoid(W·mean + b) of the map's mean over time and space. [S3D-G; method.md 1a]</summary>
internal sealed class SelfGating : NamedModule
{
    private readonly Linear _fc;

    public SelfGating(Generator generator, int channels)
        : base(nameof(SelfGating))
    {
        _fc = nn.Linear(channels, channels);
        Layers.InitializeLikeTorch(generator, _fc.weight!, _fc.bias!);
        register_module("fc", _fc);
    }

    public override Tensor forward(Tensor input)
    {
        using var scope = NewDisposeScope();
        var gate = _fc.forward(input.mean([2, 3, 4])).sigmoid();
        return (gate.unsqueeze(-1).unsqueeze(-1).unsqueeze(-1) * input).MoveToOuterDisposeScope();
    }
}
