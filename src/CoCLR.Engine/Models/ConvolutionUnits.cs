// Why this exists: the two building blocks of S3D, named so that a state dictionary has the reference's names.
using CoCLR.Engine.Models.Fast;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace CoCLR.Engine.Models;

/// <summary>A part of S3D that can also run on channels-last activations on the processor.</summary>
internal interface IFastLayer
{
    /// <summary>Runs the layer.</summary>
    /// <param name="input">Activations [clips, T, H, W, channels]; not disposed.</param>
    /// <param name="mode">How.</param>
    /// <param name="inputGradient">False where the input wants no gradient.</param>
    /// <returns>New activations, and the way back when learning.</returns>
    (Tensor Output, IBackward? Back) Run(Tensor input, Mode mode, bool inputGradient);
}

/// <summary>Convolution without bias, batch norm (eps 1e-5, momentum 0.1), ReLU. [method.md 1a, BasicConv3d]</summary>
internal sealed class BasicConv3d : NamedModule, IFastLayer, IPlaneLayer
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

    /// <summary>The convolution.</summary>
    public Conv3d Convolution => _conv;

    /// <summary>Its batch norm.</summary>
    public BatchNorm3d Norm => _bn;

    public override Tensor forward(Tensor input) => Layers.ConvNormRelu(input, _conv, _bn);

    public Tensor Planes(Tensor input) => Models.Planes.ConvNormRelu(input, _conv, _bn);

    public (Tensor Output, IBackward? Back) Run(Tensor input, Mode mode, bool inputGradient)
    {
        var (output, back) = ConvNormReluStep.Run(input, _conv, _bn, mode, inputGradient: inputGradient);
        return (output!, back);
    }
}

/// <summary>
/// A k x k x k convolution taken apart: (1,k,k) over space, then (k,1,1) over time, each with batch norm and ReLU. The stride applies
/// to space and time. [method.md 1a, STConv3d]
/// </summary>
internal sealed class STConv3d : NamedModule, IFastLayer, IPlaneLayer
{
    private readonly Conv3d _conv1;
    private readonly Conv3d _conv2;
    private readonly BatchNorm3d _bn1;
    private readonly BatchNorm3d _bn2;

    public STConv3d(Generator generator, int input, int output, int kernel, int stride = 1)
        : base(nameof(STConv3d))
    {
        var pad = kernel / 2;
        OutputChannels = output;
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

    /// <summary>Channels of the result.</summary>
    public int OutputChannels { get; }

    public override Tensor forward(Tensor input)
    {
        using var space = Layers.ConvNormRelu(input, _conv1, _bn1);
        return Layers.ConvNormRelu(space, _conv2, _bn2);
    }

    public Tensor Planes(Tensor input)
    {
        using Tensor space = Models.Planes.ConvNormRelu(input, _conv1, _bn1);
        return Models.Planes.ConvNormRelu(space, _conv2, _bn2);
    }

    public (Tensor Output, IBackward? Back) Run(Tensor input, Mode mode, bool inputGradient)
    {
        var (output, back) = Run(input, mode, null, inputGradient);
        return (output!, back);
    }

    /// <summary>As <see cref="Run(Tensor, Mode, bool)"/>, but writes the result into rows, if given.</summary>
    public (Tensor? Output, SpaceTimeStep? Back) Run(Tensor input, Mode mode, Rows? into, bool inputGradient)
    {
        var (space, spaceBack) = ConvNormReluStep.Run(input, _conv1, _bn1, mode, inputGradient: inputGradient);
        using (space)
        {
            var (output, timeBack) = ConvNormReluStep.Run(space!, _conv2, _bn2, mode, into);
            return (output, spaceBack is null ? null : new SpaceTimeStep(spaceBack, timeBack!));
        }
    }
}

/// <summary>3-D max pooling that remembers only its shape; it has no state.</summary>
internal sealed class MaxPool : NamedModule, IFastLayer, IPlaneLayer
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

    public Tensor Planes(Tensor input) => Models.Planes.MaxPool(input, _kernel, _stride, _pad);

    public (Tensor Output, IBackward? Back) Run(Tensor input, Mode mode, bool inputGradient)
        => MaxPoolStep.Run(input, _kernel, _stride, _pad, mode == Mode.Learn);
}

/// <summary>The way back through a convolution over space and the one over time after it.</summary>
internal sealed class SpaceTimeStep(ConvNormReluStep space, ConvNormReluStep time) : IBackward
{
    public Tensor? Backward(Tensor gradient) => Continue(time.Backward(gradient)!);

    /// <summary>As <see cref="Backward(Tensor)"/>, from a slice of joined gradients.</summary>
    public Tensor? Backward(Rows gradient) => Continue(time.Backward(gradient)!);

    public void Dispose()
    {
        space.Dispose();
        time.Dispose();
    }

    private Tensor? Continue(Tensor gradient)
    {
        using (gradient)
        {
            return space.Backward(gradient);
        }
    }
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
        var gate = _fc.forward(input.mean([2, 3, 4], type: _fc.weight!.dtype)).sigmoid().to(input.dtype);
        return (gate.unsqueeze(-1).unsqueeze(-1).unsqueeze(-1) * input).MoveToOuterDisposeScope();
    }

    /// <summary>The same of activations [B,T,H,W,C].</summary>
    public Tensor Planes(Tensor input)
    {
        using var scope = NewDisposeScope();
        Tensor gate = _fc.forward(input.mean([1, 2, 3], type: _fc.weight!.dtype)).sigmoid().to(input.dtype);
        return (gate.view(input.shape[0], 1, 1, 1, -1) * input).MoveToOuterDisposeScope();
    }
}
