// Why this exists: contrastive learning compares unit vectors, so a network gets a projection head and a normalisation.
using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace CoCLR.Engine.Models;

/// <summary>
/// Two 1x1x1 convolutions with a ReLU between: F to F to dim, with biases and PyTorch's default initialisation. [method.md 1a]
/// </summary>
public sealed class ProjectionHead : NamedModule
{
    private readonly Conv3d _hidden;
    private readonly Conv3d _output;

    /// <summary>Makes the head.</summary>
    /// <param name="generator">Draws the weights.</param>
    /// <param name="featureSize">Length F of the pooled feature.</param>
    /// <param name="dim">Length of the embedding; 128 in the paper.</param>
    internal ProjectionHead(Generator generator, int featureSize, int dim = 128)
        : base(nameof(ProjectionHead))
    {
        Dim = dim;
        // Convolutions only so that the weights have the reference's shapes; on pooled features they are matrix products.
        _hidden = nn.Conv3d(featureSize, featureSize, 1);
        _output = nn.Conv3d(featureSize, dim, 1);
        Layers.InitializeLikeTorch(generator, _hidden.weight!, _hidden.bias!);
        Layers.InitializeLikeTorch(generator, _output.weight!, _output.bias!);
        register_module("0", _hidden);
        register_module("2", _output);
    }

    /// <summary>Length of the embedding.</summary>
    public int Dim { get; }

    /// <summary>[B,F] to [B,dim], not normalised.</summary>
    /// <param name="input">Pooled features.</param>
    public override Tensor forward(Tensor input)
    {
        using var scope = NewDisposeScope();
        var hidden = nn.functional.linear(input, _hidden.weight!.flatten(1), _hidden.bias).relu_();
        return nn.functional.linear(hidden, _output.weight!.flatten(1), _output.bias).MoveToOuterDisposeScope();
    }
}

/// <summary>
/// Backbone, mean over time and space, projection head, L2 normalisation: clips [B,3,T,H,W] to unit vectors [B,dim]. State names are
/// <c>backbone.*</c> (as the reference's backbone), <c>head.0.*</c> and <c>head.2.*</c>.
/// </summary>
public sealed class VideoEncoder : NamedModule
{
    /// <summary>Joins a backbone and a head.</summary>
    /// <param name="backbone">The network; disposed with the encoder.</param>
    /// <param name="head">The head; disposed with the encoder.</param>
    public VideoEncoder(Backbone backbone, ProjectionHead head)
        : base(nameof(VideoEncoder))
    {
        ArgumentNullException.ThrowIfNull(backbone);
        ArgumentNullException.ThrowIfNull(head);
        Backbone = backbone;
        Head = head;
        register_module("backbone", backbone);
        register_module("head", head);
    }

    /// <summary>The network that later stages keep.</summary>
    public Backbone Backbone { get; }

    /// <summary>The head that only contrastive learning uses.</summary>
    public ProjectionHead Head { get; }

    /// <summary>Makes an encoder with freshly drawn weights.</summary>
    /// <param name="backbone">One of <see cref="BackboneFactory.Names"/>.</param>
    /// <param name="dim">Length of the embedding; 128 in the paper.</param>
    /// <param name="seed">Seed of the weights.</param>
    /// <param name="device">Where the weights live; the processor by default.</param>
    /// <param name="width">Factor on the channel counts of S3DMini.</param>
    /// <exception cref="Core.UserErrorException">The backbone's name is not known (exit 78).</exception>
    public static VideoEncoder Create(string backbone, int dim = 128, long seed = 0, Device? device = null, double width = 0.25)
    {
        var network = BackboneFactory.Create(backbone, seed, width: width);
        using var generator = new Generator((ulong)seed ^ 0x9E3779B97F4A7C15UL, CPU);
        var encoder = new VideoEncoder(network, new ProjectionHead(generator, network.FeatureSize, dim));
        return device is null || device.type == DeviceType.CPU ? encoder : (VideoEncoder)encoder.to(device);
    }

    /// <summary>[B,3,T,H,W] to unit vectors [B,dim].</summary>
    /// <param name="input">Normalised clips.</param>
    public override Tensor forward(Tensor input)
    {
        using var scope = NewDisposeScope();
        var embedding = Head.forward(Backbone.Features(input));
        return nn.functional.normalize(embedding, 2, 1).MoveToOuterDisposeScope();
    }
}
