// Why this exists: a second network family, so that results do not hang on one architecture.
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace CoCLR.Engine.Models;

/// <summary>
/// R(2+1)D with 18 layers: residual blocks of convolutions taken apart into space and time. Feature size 512, 31,300,125 parameters;
/// state names as in torchvision's <c>r2plus1d_18</c>, so that its weights can be imported. Clips as for <see cref="S3D"/>.
/// </summary>
/// <remarks>Tran et al.: A Closer Look at Spatiotemporal Convolutions for Action Recognition, CVPR 2018.</remarks>
public sealed class R2Plus1D18 : Backbone
{
    private readonly Sequential _stem;
    private readonly Sequential[] _layers;

    /// <summary>Makes the network with He-normal weights (fan out).</summary>
    /// <param name="generator">Draws the weights.</param>
    internal R2Plus1D18(Generator generator)
        : base("R2Plus1D18", 512)
    {
        _stem = nn.Sequential(
            Convolution(generator, 3, 45, (1, 7, 7), (1, 2, 2), (0, 3, 3)), nn.BatchNorm3d(45), nn.ReLU(),
            Convolution(generator, 45, 64, (3, 1, 1), (1, 1, 1), (1, 0, 0)), nn.BatchNorm3d(64), nn.ReLU());
        register_module("stem", _stem);
        _layers =
        [
            nn.Sequential(new ResidualBlock(generator, 64, 64, 1), new ResidualBlock(generator, 64, 64, 1)),
            nn.Sequential(new ResidualBlock(generator, 64, 128, 2), new ResidualBlock(generator, 128, 128, 1)),
            nn.Sequential(new ResidualBlock(generator, 128, 256, 2), new ResidualBlock(generator, 256, 256, 1)),
            nn.Sequential(new ResidualBlock(generator, 256, 512, 2), new ResidualBlock(generator, 512, 512, 1)),
        ];
        for (var i = 0; i < _layers.Length; i++)
        {
            register_module($"layer{i + 1}", _layers[i]);
        }
    }

    /// <summary>[B,3,T,H,W] to [B,512,T/8,H/16,W/16].</summary>
    /// <param name="input">Normalised clips.</param>
    public override Tensor forward(Tensor input)
    {
        using var scope = NewDisposeScope();
        var space = Layers.ConvNormRelu(input, (Conv3d)_stem[0], (BatchNorm3d)_stem[1]);
        var map = Layers.ConvNormRelu(space, (Conv3d)_stem[3], (BatchNorm3d)_stem[4]);
        foreach (var layer in _layers)
        {
            map = layer.forward(map);
        }

        return map.MoveToOuterDisposeScope();
    }

    internal static Conv3d Convolution(
        Generator generator, int input, int output, (int, int, int) kernel, (int, int, int) stride, (int, int, int) pad)
    {
        var conv = nn.Conv3d(input, output, kernel, stride, pad, bias: false);
        var fanOut = (double)output * kernel.Item1 * kernel.Item2 * kernel.Item3;
        SeededInit.Normal(conv.weight, Math.Sqrt(2 / fanOut), generator);
        return conv;
    }

    private sealed class ResidualBlock : NamedModule
    {
        private readonly SpaceTimeConvolution _first;
        private readonly SpaceTimeConvolution _second;
        private readonly BatchNorm3d _firstNorm;
        private readonly BatchNorm3d _secondNorm;
        private readonly Conv3d? _shortcut;
        private readonly BatchNorm3d? _shortcutNorm;

        public ResidualBlock(Generator generator, int input, int output, int stride)
            : base(nameof(ResidualBlock))
        {
            // As many parameters as a full 3 x 3 x 3 convolution; both convolutions use the first one's count, as torchvision does.
            var middle = input * output * 27 / ((input * 9) + (3 * output));
            _first = new SpaceTimeConvolution(generator, input, middle, output, stride);
            _firstNorm = nn.BatchNorm3d(output);
            _second = new SpaceTimeConvolution(generator, output, middle, output, 1);
            _secondNorm = nn.BatchNorm3d(output);
            register_module("conv1", nn.Sequential(_first, _firstNorm, nn.ReLU()));
            register_module("conv2", nn.Sequential(_second, _secondNorm));
            if (stride != 1 || input != output)
            {
                _shortcut = Convolution(generator, input, output, (1, 1, 1), (stride, stride, stride), (0, 0, 0));
                _shortcutNorm = nn.BatchNorm3d(output);
                register_module("downsample", nn.Sequential(_shortcut, _shortcutNorm));
            }
        }

        public override Tensor forward(Tensor input)
        {
            using var scope = NewDisposeScope();
            var hidden = Layers.ConvNormRelu(_first.Space(input), _first.Time, _firstNorm);
            var output = Layers.ConvNorm(_second.Space(hidden), _second.Time, _secondNorm);
            var shortcut = _shortcut is null ? input : Layers.ConvNorm(input, _shortcut, _shortcutNorm!);
            return (output + shortcut).relu_().MoveToOuterDisposeScope();
        }
    }

    /// <summary>(1,3,3) convolution, batch norm, ReLU, and the (3,1,1) convolution that follows.</summary>
    private sealed class SpaceTimeConvolution : NamedModule
    {
        private readonly Conv3d _space;
        private readonly BatchNorm3d _norm;

        public SpaceTimeConvolution(Generator generator, int input, int middle, int output, int stride)
            : base(nameof(SpaceTimeConvolution))
        {
            _space = Convolution(generator, input, middle, (1, 3, 3), (1, stride, stride), (0, 1, 1));
            _norm = nn.BatchNorm3d(middle);
            Time = Convolution(generator, middle, output, (3, 1, 1), (stride, 1, 1), (1, 0, 0));
            register_module("0", _space);
            register_module("1", _norm);
            register_module("3", Time);
        }

        public Conv3d Time { get; }

        public Tensor Space(Tensor input) => Layers.ConvNormRelu(input, _space, _norm);

        public override Tensor forward(Tensor input)
        {
            using var space = Space(input);
            return Layers.Convolve(space, Time);
        }
    }
}
