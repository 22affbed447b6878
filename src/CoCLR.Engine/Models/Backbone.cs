// Why this exists: stages, the classifier and the interop code treat every network family alike.
using static TorchSharp.torch;

namespace CoCLR.Engine.Models;

/// <summary>A module whose components carry the names they were registered with, and no others.</summary>
public abstract class NamedModule : nn.Module<Tensor, Tensor>
{
    /// <summary>Names the module.</summary>
    /// <param name="name">The module's name.</param>
    protected NamedModule(string name)
        : base(name)
    {
    }

    /// <summary>Does nothing: TorchSharp would register each field a second time under its C# name.</summary>
    protected override void RegisterComponents()
    {
    }
}

/// <summary>A video network without its pooling and classifier: clips [B,3,T,H,W] to a feature map [B,F,t,h,w].</summary>
public abstract class Backbone : NamedModule
{
    /// <summary>Names the family.</summary>
    /// <param name="architecture">One of <see cref="BackboneFactory.Names"/>.</param>
    /// <param name="featureSize">Channels F of the feature map.</param>
    protected Backbone(string architecture, int featureSize)
        : base(architecture)
    {
        Architecture = architecture;
        FeatureSize = featureSize;
    }

    /// <summary>The name under which <see cref="BackboneFactory"/> makes this network; checkpoints carry it.</summary>
    public string Architecture { get; }

    /// <summary>Channels of the feature map, and length of the pooled feature.</summary>
    public int FeatureSize { get; }

    /// <summary>The feature of a clip: the feature map's mean over time and space. [B,3,T,H,W] to [B,F].</summary>
    /// <param name="clips">Normalised clips.</param>
    public Tensor Features(Tensor clips)
    {
        using var map = forward(clips);
        return map.mean([2, 3, 4]);
    }
}
