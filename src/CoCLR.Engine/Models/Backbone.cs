// Why this exists: stages, the classifier and the interop code treat every network family alike.
using CoCLR.Core.Manifests;
using TorchSharp;
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

    /// <summary>
    /// bf16 runs convolutions on bfloat16 casts of activations and weights; batch norm keeps 32-bit weights and statistics, and the
    /// parameters and their gradients stay in 32 bits. The others do nothing here: TF32 is a switch of the whole process.
    /// </summary>
    public Precision Precision { get; set; }

    /// <summary>The feature of a clip: the feature map's mean over time and space. [B,3,T,H,W] to [B,F].</summary>
    /// <param name="clips">Normalised clips, 32-bit.</param>
    public Tensor Features(Tensor clips)
    {
        if (Precision != Precision.Bf16)
        {
            using var map = forward(clips);
            return map.mean([2, 3, 4]);
        }

        using var scope = NewDisposeScope();
        var half = clips.to(ScalarType.BFloat16);
        if (half.device_type == DeviceType.CUDA)
        {
            // The memory order that tensor cores want; convolutions, norms and poolings keep it.
            half = half.permute(0, 2, 3, 4, 1).contiguous().permute(0, 4, 1, 2, 3);
        }

        return forward(half).mean([2, 3, 4], type: ScalarType.Float32).MoveToOuterDisposeScope();
    }
}
