// Why this exists: manifests, checkpoints and tools name networks by a string.
using CoCLR.Core;
using TorchSharp;
using static TorchSharp.torch;

namespace CoCLR.Engine.Models;

/// <summary>Makes networks by name.</summary>
public static class BackboneFactory
{
    /// <summary>The names that <see cref="Create"/> knows.</summary>
    public static IReadOnlyList<string> Names { get; } = ["S3D", "S3DG", "S3DMini", "R2Plus1D18"];

    /// <summary>Makes a network with freshly drawn weights.</summary>
    /// <param name="name">One of <see cref="Names"/>; letter case does not matter.</param>
    /// <param name="seed">Seed of the weights: the same seed gives the same weights.</param>
    /// <param name="device">Where the weights live; the processor by default. They are drawn on the processor, so that the device does not
    /// change them.</param>
    /// <param name="width">Factor on the channel counts of S3DMini; the other networks have one width.</param>
    /// <exception cref="UserErrorException">The name is not known (exit 78).</exception>
    public static Backbone Create(string name, long seed = 0, Device? device = null, double width = 0.25)
    {
        TorchRuntime.Initialize();
        using var generator = new Generator((ulong)seed, CPU);
        var key = Names.FirstOrDefault(known => known.Equals(name, StringComparison.OrdinalIgnoreCase));
        Backbone backbone = key switch
        {
            "S3D" => new S3D(generator),
            "S3DG" => new S3D(generator, gating: true),
            "S3DMini" => new S3D(generator, width: width, architecture: "S3DMini"),
            "R2Plus1D18" => new R2Plus1D18(generator),
            _ => throw new UserErrorException(
                $"model.backbone: '{name}' is not known; use one of {string.Join(", ", Names)}.", ExitCodes.BadConfiguration),
        };
        return device is null || device.type == DeviceType.CPU ? backbone : (Backbone)backbone.to(device);
    }
}
