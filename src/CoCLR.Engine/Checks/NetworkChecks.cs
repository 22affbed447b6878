// Why this exists: features and gradients of every backbone are what everything else is made of.
using CoCLR.Core.Manifests;
using CoCLR.Engine.Models;
using TorchSharp;
using static TorchSharp.torch;

namespace CoCLR.Engine.Checks;

/// <summary>
/// Features, and gradients of all weights, of every backbone against the same network in double precision on the processor.
/// </summary>
internal sealed class NetworkChecks(DeviceCheck check)
{
    private static readonly Precision[] s_precisions = Enum.GetValues<Precision>();

    /// <summary>The comparisons.</summary>
    public IEnumerable<Comparison> All()
    {
        foreach (string name in BackboneFactory.Names)
        {
            var exact = new Lazy<(Tensor Features, Tensor Gradient)>(() => Exact(name));
            foreach (Precision precision in s_precisions)
            {
                yield return new Comparison(
                    $"features, {name}",
                    precision,
                    Tolerance(precision, 1e-4, 0.05),
                    () => Features(name, precision, exact.Value.Features));
            }

            foreach (Precision precision in s_precisions)
            {
                yield return new Comparison(
                    $"gradient, {name}", precision, Tolerance(precision, 2e-3, 0.5), () => Gradient(name, precision, exact.Value.Gradient));
            }
        }
    }

    /// <summary>
    /// tf32 keeps two bits more than bf16 and rounds only what goes into a product, so it gets a quarter of bf16's tolerance.
    /// </summary>
    internal static double Tolerance(Precision precision, double fp32, double bf16) => precision switch
    {
        Precision.Bf16 => bf16,
        Precision.Tf32 => bf16 / 4,
        _ => fp32,
    };

    /// <summary>
    /// A network with weights of a healthy scale, so that signals neither vanish nor grow, and batch norms that do something; the same
    /// every time.
    /// </summary>
    internal static Backbone Healthy(string name, double width)
    {
        Backbone network = BackboneFactory.Create(name, seed: 3, width: width);
        using var frozen = no_grad();
        using var generator = new Generator(5, CPU);
        foreach ((string key, Tensor tensor) in network.state_dict().Where(s => s.Value.is_floating_point()))
        {
            using DisposeScope scope = NewDisposeScope();
            Tensor noise = randn(tensor.shape, generator: generator);
            tensor.copy_(
                tensor.dim() > 1 ? noise * Math.Sqrt(2.0 / (tensor.numel() / tensor.shape[0]))
                : key.EndsWith("running_var", StringComparison.Ordinal) || key.EndsWith("weight", StringComparison.Ordinal)
                    ? 1 + (0.2 * noise).clamp(-0.5, 0.5)
                : 0.1 * noise);
        }

        return network;
    }

    /// <summary>Clips with coarse structure, as videos have.</summary>
    internal static Tensor Clips(long seed, int batch, int frames, int size)
    {
        using DisposeScope scope = NewDisposeScope();
        using var generator = new Generator((ulong)seed, CPU);
        Tensor coarse = nn.functional.interpolate(randn([batch, 3, 2, 3, 3], generator: generator), [frames, size, size]);
        return (coarse + (0.2 * randn([batch, 3, frames, size, size], generator: generator))).MoveToOuterDisposeScope();
    }

    private (Tensor Features, Tensor Gradient) Exact(string name)
    {
        using DisposeScope scope = NewDisposeScope();
        using var network = (Backbone)Network(name).to(ScalarType.Float64);
        Tensor features = network.Features(Input(name).to_type(ScalarType.Float64));
        Loss(features).backward();
        return (features.detach().DetachFromDisposeScope(), DeviceCheck.Gradients(network).DetachFromDisposeScope());
    }

    private double Features(string name, Precision precision, Tensor exact)
    {
        using Backbone network = OnDevice(name, precision);
        using var frozen = no_grad();
        return DeviceCheck.Distance(check.Through($"features, {name}", network.Features(Input(name).to(check.Device))), exact);
    }

    private double Gradient(string name, Precision precision, Tensor exact)
    {
        using Backbone network = OnDevice(name, precision);
        Loss(network.Features(Input(name).to(check.Device))).backward();
        return DeviceCheck.Distance(check.Through($"gradient, {name}", DeviceCheck.Gradients(network)), exact);
    }

    private Backbone OnDevice(string name, Precision precision)
    {
        var network = (Backbone)Network(name).to(check.Device);
        network.Precision = precision;
        check.Spoil(network);
        return network;
    }

    // In evaluation mode: with statistics of a few clips, batch norms enlarge every rounding.
    private Backbone Network(string name)
    {
        Backbone network = Healthy(name, check.Small ? 0.0625 : 0.25);
        network.eval();
        return network;
    }

    private Tensor Input(string name) => check.Small ? Clips(7, 1, 8, 32) : Clips(7, 2, name == "R2Plus1D18" ? 8 : 16, 64);

    private static Tensor Loss(Tensor features) =>
        (features * (arange(features.numel(), ScalarType.Float64) * 0.37).sin().view(features.shape)
            .to(features.dtype).to(features.device)).sum();
}
