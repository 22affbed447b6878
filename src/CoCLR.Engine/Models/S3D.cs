// Why this exists: S3D is the network of the paper.
using CoCLR.Engine.Models.Fast;
using CoCLR.Engine.Training.Optimization;
using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace CoCLR.Engine.Models;

/// <summary>
/// Separable 3-D Inception (S3D), optionally with self-gating (S3D-G), for clips normalised with the ImageNet mean and deviation.
/// 7,910,048 parameters and feature size 1024 at full width; state names as in the reference implementation.
/// </summary>
/// <remarks>Xie et al.: Rethinking Spatiotemporal Feature Learning, ECCV 2018; method.md section 1a.</remarks>
public sealed class S3D : Backbone
{
    private readonly nn.Module<Tensor, Tensor>[] _stages;

    /// <summary>Makes the network with weights ~ Normal(0, 0.01), batch norm weight 1 and bias 0.</summary>
    /// <param name="generator">Draws the weights.</param>
    /// <param name="gating">Adds self-gating (S3D-G).</param>
    /// <param name="width">Factor on every channel count; 1 is the paper's width.</param>
    /// <param name="architecture">Name that checkpoints carry.</param>
    internal S3D(Generator generator, bool gating = false, double width = 1, string? architecture = null)
        : base(architecture ?? (gating ? "S3DG" : "S3D"), (2 * Scaled(384, width)) + (2 * Scaled(128, width)))
    {
        int C(int channels) => Scaled(channels, width);
        var last = C(192);
        SepInception Mixed(int b0, int b1a, int b1b, int b2a, int b2b, int b3)
        {
            var mixed = new SepInception(generator, last, C(b0), C(b1a), C(b1b), C(b2a), C(b2b), C(b3), gating);
            last = mixed.OutputChannels;
            return mixed;
        }

        var named = new (string? Name, nn.Module<Tensor, Tensor> Module)[]
        {
            ("Conv_1a", new STConv3d(generator, 3, C(64), kernel: 7, stride: 2)),
            (null, new MaxPool((1, 3, 3), (1, 2, 2), (0, 1, 1))),
            ("Conv_2b", new BasicConv3d(generator, C(64), C(64))),
            ("Conv_2c", new STConv3d(generator, C(64), C(192), kernel: 3)),
            (null, new MaxPool((1, 3, 3), (1, 2, 2), (0, 1, 1))),
            ("Mixed_3b", Mixed(64, 96, 128, 16, 32, 32)),
            ("Mixed_3c", Mixed(128, 128, 192, 32, 96, 64)),
            (null, new MaxPool((3, 3, 3), (2, 2, 2), (1, 1, 1))),
            ("Mixed_4b", Mixed(192, 96, 208, 16, 48, 64)),
            ("Mixed_4c", Mixed(160, 112, 224, 24, 64, 64)),
            ("Mixed_4d", Mixed(128, 128, 256, 24, 64, 64)),
            ("Mixed_4e", Mixed(112, 144, 288, 32, 64, 64)),
            ("Mixed_4f", Mixed(256, 160, 320, 32, 128, 128)),
            (null, new MaxPool((2, 2, 2), (2, 2, 2), (0, 0, 0))),
            ("Mixed_5b", Mixed(256, 160, 320, 32, 128, 128)),
            ("Mixed_5c", Mixed(384, 192, 384, 48, 128, 128)),
        };
        foreach (var (name, module) in named)
        {
            if (name is not null)
            {
                register_module(name, module);
            }
        }

        _stages = [.. named.Select(stage => stage.Module)];
    }

    private static int Scaled(int channels, double width) => Math.Max(1, (int)Math.Round(channels * width));

    /// <summary>[B,3,T,H,W] to [B,F,T/8,H/32,W/32].</summary>
    /// <param name="input">Normalised clips; T at least 8, H and W at least 32.</param>
    public override Tensor forward(Tensor input)
    {
        if (CanRunFast(input, out var mode))
        {
            return S3DFunction.Run(this, input, mode);
        }

        if (AllowFast && (TakesPlanes ?? input.device_type == DeviceType.CUDA))
        {
            return OnPlanes(input);
        }

        var map = input;
        foreach (var stage in _stages)
        {
            var next = stage.forward(map);
            if (!ReferenceEquals(map, input))
            {
                map.Dispose();
            }

            map = next;
        }

        return map;
    }

    /// <summary>
    /// For comparing paths: whether the graph is one of two-dimensional operations; null is the choice by device, which is a GPU.
    /// </summary>
    internal bool? TakesPlanes { get; set; }

    private Tensor OnPlanes(Tensor clips)
    {
        Tensor map = Planes.From(clips);
        foreach (IPlaneLayer stage in _stages.Cast<IPlaneLayer>())
        {
            using Tensor before = map;
            map = stage.Planes(before);
        }

        using (map)
        {
            return Planes.ToClips(map);
        }
    }

    /// <summary>The layers in order, for the channels-last path.</summary>
    internal IEnumerable<IFastLayer> FastLayers => _stages.Cast<IFastLayer>();

    /// <summary>For comparing the two paths: false takes libtorch's operations everywhere.</summary>
    internal bool AllowFast { get; set; } = true;

    /// <summary>
    /// The channels-last path is for single precision on the processor, without gating, and for gradients of all parameters in training
    /// mode or of none.
    /// </summary>
    private bool CanRunFast(Tensor input, out Mode mode)
    {
        mode = training ? Mode.Observe : Mode.Evaluate;
        if (!AllowFast || TakesPlanes == true || Layers.NormalizesInGroups || Architecture == "S3DG"
            || input.device_type != DeviceType.CPU || input.dtype != ScalarType.Float32)
        {
            return false;
        }

        Parameter[] all = [.. parameters()];
        if (!all.All(ParameterKernels.IsPlain))
        {
            return false;
        }

        if (!is_grad_enabled() || (!input.requires_grad && all.All(p => !p.requires_grad)))
        {
            return true;
        }

        mode = Mode.Learn;
        return training && all.All(p => p.requires_grad);
    }

    /// <summary>The outputs of the reference's five blocks, for comparing numbers.</summary>
    internal IEnumerable<Tensor> Blocks(Tensor input)
    {
        var map = input;
        for (var i = 0; i < _stages.Length; i++)
        {
            map = _stages[i].forward(map);
            if (i is 0 or 3 or 6 or 12 or 15)
            {
                yield return map;
            }
        }
    }
}

/// <summary>Four parallel branches, joined on channels. [method.md 1a, SepInception]</summary>
internal sealed class SepInception : NamedModule, IFastLayer, IPlaneLayer
{
    private readonly Sequential[] _branches;
    private readonly SelfGating[] _gates;
    private readonly int[] _channels;

    public SepInception(Generator generator, int input, int b0, int b1a, int b1b, int b2a, int b2b, int b3, bool gating)
        : base(nameof(SepInception))
    {
        _branches =
        [
            nn.Sequential(new BasicConv3d(generator, input, b0)),
            nn.Sequential(new BasicConv3d(generator, input, b1a), new STConv3d(generator, b1a, b1b, kernel: 3)),
            nn.Sequential(new BasicConv3d(generator, input, b2a), new STConv3d(generator, b2a, b2b, kernel: 3)),
            nn.Sequential(new MaxPool((3, 3, 3), (1, 1, 1), (1, 1, 1)), new BasicConv3d(generator, input, b3)),
        ];
        _channels = [b0, b1b, b2b, b3];
        OutputChannels = _channels.Sum();
        _gates = gating ? [.. _channels.Select(c => new SelfGating(generator, c))] : [];
        for (var i = 0; i < _branches.Length; i++)
        {
            register_module($"branch{i}", _branches[i]);
        }

        for (var i = 0; i < _gates.Length; i++)
        {
            register_module($"gating_b{i}", _gates[i]);
        }
    }

    /// <summary>Channels of the joined branches.</summary>
    public int OutputChannels { get; }

    public override Tensor forward(Tensor input)
    {
        using var scope = NewDisposeScope();
        var outputs = new Tensor[_branches.Length];
        for (var i = 0; i < outputs.Length; i++)
        {
            var output = _branches[i].forward(input);
            outputs[i] = _gates.Length > 0 ? _gates[i].forward(output) : output;
        }

        return cat(outputs, 1).MoveToOuterDisposeScope();
    }

    public Tensor Planes(Tensor input)
    {
        using var scope = NewDisposeScope();
        var outputs = new Tensor[_branches.Length];
        for (var i = 0; i < outputs.Length; i++)
        {
            Tensor output = input;
            foreach (IPlaneLayer layer in _branches[i].children().Cast<IPlaneLayer>())
            {
                output = layer.Planes(output);
            }

            outputs[i] = _gates.Length > 0 ? _gates[i].Planes(output) : output;
        }

        return cat(outputs, 4).MoveToOuterDisposeScope();
    }

    /// <summary>
    /// All branches on channels-last activations: the three 1x1x1 convolutions of the input are one matrix product, and each branch's
    /// last step writes its channels of the joined result.
    /// </summary>
    public (Tensor Output, IBackward? Back) Run(Tensor input, Mode mode, bool inputGradient)
    {
        var learn = mode == Mode.Learn;
        BasicConv3d[] entry = [.. _branches.Take(3).Select(branch => (BasicConv3d)branch[0])];
        var (n, t, h, w) = (input.shape[0], input.shape[1], input.shape[2], input.shape[3]);
        var output = ChannelsLast.Empty(n, t, h, w, OutputChannels);
        var joined = ChannelsLast.Rows(output);

        var product = ConvolutionStep.RunPointwise(input, [.. entry.Select(layer => layer.Convolution)], learn);
        var rows = ChannelsLast.Rows(product.Output);
        var norms = new NormReluStep[3];
        var hidden = new Tensor?[3];
        for (int i = 0, first = 0; i < 3; i++)
        {
            var channels = (int)entry[i].Norm.num_features;
            hidden[i] = i == 0 ? null : ChannelsLast.Empty(n, t, h, w, channels);
            norms[i] = NormReluStep.Run(
                rows.Slice(first, channels), i == 0 ? joined.Slice(0, channels) : ChannelsLast.Rows(hidden[i]!), entry[i].Norm, mode);
            first += channels;
        }

        if (!learn)
        {
            product.Output.Dispose();
        }

        var backs = new SpaceTimeStep?[3];
        var place = (int)entry[0].Norm.num_features;
        for (var i = 1; i < 3; i++)
        {
            var layer = (STConv3d)_branches[i][1];
            using (hidden[i])
            {
                (_, backs[i]) = layer.Run(hidden[i]!, mode, joined.Slice(place, layer.OutputChannels), inputGradient: true);
            }

            place += layer.OutputChannels;
        }

        var (pooled, poolBack) = ((MaxPool)_branches[3][0]).Run(input, mode, inputGradient: true);
        var last = (BasicConv3d)_branches[3][1];
        ConvNormReluStep? lastBack;
        using (pooled)
        {
            (_, lastBack) =
                ConvNormReluStep.Run(pooled, last.Convolution, last.Norm, mode, joined.Slice(place, (int)last.Norm.num_features));
        }

        return (
            output,
            learn
                ? new Step(
                    product, norms, backs[1]!, backs[2]!, (MaxPoolStep)poolBack!, lastBack!, [.. _branches.Select((_, i) => _channels[i])])
                : null);
    }

    /// <summary>The way back through the four branches.</summary>
    private sealed class Step(
        ConvolutionStep product,
        NormReluStep[] norms,
        SpaceTimeStep first,
        SpaceTimeStep second,
        MaxPoolStep pool,
        ConvNormReluStep last,
        int[] channels) : IBackward
    {
        public Tensor? Backward(Tensor gradient)
        {
            var joined = ChannelsLast.Rows(gradient);
            using var hidden1 = first.Backward(joined.Slice(channels[0], channels[1]))!;
            using var hidden2 = second.Backward(joined.Slice(channels[0] + channels[1], channels[2]))!;
            using var pooled = last.Backward(joined.Slice(channels[0] + channels[1] + channels[2], channels[3]))!;

            var x = ChannelsLast.Rows(product.Output);
            var shape = product.Output.shape;
            using var dy = ChannelsLast.Empty(shape[0], shape[1], shape[2], shape[3], shape[4]);
            var dx = ChannelsLast.Rows(dy);
            Rows[] gradients = [joined.Slice(0, channels[0]), ChannelsLast.Rows(hidden1), ChannelsLast.Rows(hidden2)];
            for (int i = 0, start = 0; i < 3; i++)
            {
                var width = gradients[i].Channels;
                norms[i].Backward(x.Slice(start, width), gradients[i], dx.Slice(start, width));
                start += width;
            }

            var result = product.Backward(dy)!;
            pool.AddTo(result, pooled);
            return result;
        }

        public void Dispose()
        {
            product.Dispose();
            first.Dispose();
            second.Dispose();
            pool.Dispose();
            last.Dispose();
        }
    }
}
