// Why this exists: linear probes and fine-tuning measure a representation by the classes it can tell apart.
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace CoCLR.Engine.Models;

/// <summary>
/// Backbone, mean over time and space, then for a probe L2 normalisation and batch norm, for fine-tuning dropout, then a linear layer
/// (weight ~ Normal(0, 0.01), bias 0). [method.md 1e, LinearClassifier]
/// </summary>
public sealed class VideoClassifier : NamedModule
{
    private readonly BatchNorm1d? _norm;
    private readonly Linear _fc;
    private readonly double _dropout;
    private readonly Generator _dropoutGenerator;

    /// <summary>Puts a classifier on a backbone.</summary>
    /// <param name="backbone">The network; disposed with the classifier.</param>
    /// <param name="classes">Number of classes.</param>
    /// <param name="probe">True for a linear probe: the backbone is frozen and stays in evaluation mode. False for fine-tuning.</param>
    /// <param name="dropout">Share of features dropped while fine-tuning; 0.9 in the reference.</param>
    /// <param name="seed">Seed of the linear layer and of the dropout.</param>
    public VideoClassifier(Backbone backbone, int classes, bool probe, double dropout = 0.9, long seed = 0)
        : base(nameof(VideoClassifier))
    {
        ArgumentNullException.ThrowIfNull(backbone);
        ArgumentOutOfRangeException.ThrowIfLessThan(classes, 1);
        Backbone = backbone;
        Probe = probe;
        _dropout = probe ? 0 : dropout;
        _dropoutGenerator = new Generator((ulong)seed, CPU);
        _norm = probe ? nn.BatchNorm1d(backbone.FeatureSize) : null;
        _fc = nn.Linear(backbone.FeatureSize, classes);
        using var generator = new Generator((ulong)seed, CPU);
        SeededInit.Normal(_fc.weight, 0.01, generator);
        nn.init.zeros_(_fc.bias);
        register_module("backbone", backbone);
        if (_norm is not null)
        {
            register_module("final_bn", _norm);
        }

        register_module("final_fc", _fc);
        if (probe)
        {
            foreach (var parameter in backbone.parameters())
            {
                parameter.requires_grad = false;
            }
        }
    }

    /// <summary>The network below the classifier.</summary>
    public Backbone Backbone { get; }

    /// <summary>True for a linear probe.</summary>
    public bool Probe { get; }

    /// <summary>Restarts the dropout's random numbers; called with a number that names the step, so that resuming repeats them.</summary>
    /// <param name="seed">For example a hash of seed, epoch and step.</param>
    public void SeedDropout(long seed) => _dropoutGenerator.manual_seed(seed);

    /// <summary>Training mode; a probe's backbone always stays in evaluation mode.</summary>
    /// <param name="train">True for training.</param>
    public override void train(bool train = true)
    {
        base.train(train);
        if (Probe)
        {
            Backbone.eval();
        }
    }

    /// <summary>[B,3,T,H,W] to class scores [B,classes] (before the softmax).</summary>
    /// <param name="input">Normalised clips.</param>
    public override Tensor forward(Tensor input)
    {
        using var scope = NewDisposeScope();
        Tensor feature;
        if (Probe)
        {
            using var frozen = no_grad();
            feature = Backbone.Features(input);
        }
        else
        {
            feature = Backbone.Features(input);
        }

        return ForwardFeatures(feature).MoveToOuterDisposeScope();
    }

    /// <summary>The part above the backbone: features [B,F] to class scores [B,classes].</summary>
    /// <param name="features">Pooled features, not normalised.</param>
    public Tensor ForwardFeatures(Tensor features)
    {
        using var scope = NewDisposeScope();
        var hidden = Probe ? _norm!.forward(nn.functional.normalize(features, 2, 1)) : Drop(features);
        return _fc.forward(hidden).MoveToOuterDisposeScope();
    }

    /// <inheritdoc/>
    protected override void Dispose(bool disposing)
    {
        if (disposing)
        {
            _dropoutGenerator.Dispose();
        }

        base.Dispose(disposing);
    }

    private Tensor Drop(Tensor features)
    {
        if (!training || _dropout == 0)
        {
            return features.alias();
        }

        var keep = 1 - _dropout;
        var mask = rand(features.shape, generator: _dropoutGenerator).lt(keep).to_type(features.dtype).div_(keep).to(features.device);
        return features * mask;
    }
}
