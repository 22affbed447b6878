// Why this exists: a person who rents a GPU must know in minutes whether it computes what a processor computes, with this driver and this
// libtorch.
using System.Diagnostics;
using System.Runtime.InteropServices;
using CoCLR.Core;
using CoCLR.Core.Manifests;
using TorchSharp;
using static TorchSharp.torch;

namespace CoCLR.Engine.Checks;

/// <summary>
/// Compares a device with the processor: networks, losses, training steps, clips, flow and evaluation, and whether memory stays flat. Where
/// it can, the processor computes in double precision, so that a processor can be checked, too.
/// </summary>
/// <param name="device">The device to check.</param>
/// <param name="small">Sizes for tests: seconds on one processor.</param>
public sealed class DeviceCheck(Device device, bool small = false)
{
    /// <summary>The device to check.</summary>
    internal Device Device => device;

    /// <summary>Whether sizes are those of tests.</summary>
    internal bool Small => small;

    /// <summary>For tests of the check: changes what the device has computed. The names are those of the rows.</summary>
    internal Func<string, Tensor, Tensor> Through { get; init; } = (_, result) => result;

    /// <summary>For tests of the check: changes a network of the device, such as one of its weights.</summary>
    internal Action<nn.Module> Spoil { get; init; } = _ => { };

    /// <summary>By its name, whether a check is made.</summary>
    public Func<string, bool> Only { get; init; } = _ => true;

    /// <summary>Makes every comparison, one after the other.</summary>
    /// <param name="stop">Ends between two comparisons.</param>
    /// <returns>Each row as soon as it is known.</returns>
    public IEnumerable<CheckRow> Run(CancellationToken stop = default)
    {
        TorchRuntime.Initialize();
        Comparison[] all =
        [
            .. new NetworkChecks(this).All(), .. new LearningChecks(this).All(), .. new ClipChecks(this).All(),
            .. new EvaluationChecks(this).All(), .. new MemoryCheck(this).All()
        ];
        foreach (Comparison comparison in all.Where(c => Only(c.Name)))
        {
            stop.ThrowIfCancellationRequested();
            yield return Row(comparison);
        }

        TorchRuntime.SetPrecision(Precision.Fp32);
    }

    /// <summary>|a - b| / |b| in the Euclidean norm, in double precision on the processor.</summary>
    internal static double Distance(Tensor actual, Tensor expected)
    {
        using DisposeScope scope = NewDisposeScope();
        using var frozen = no_grad();
        Tensor truth = expected.detach().to(CPU).to_type(ScalarType.Float64);
        Tensor difference = actual.detach().to(CPU).to_type(ScalarType.Float64) - truth;
        return difference.norm().item<double>() / Math.Max(truth.norm().item<double>(), 1e-12);
    }

    /// <summary>Every gradient of a module in one row; zeros where there is none.</summary>
    internal static Tensor Gradients(nn.Module module) =>
        cat([.. module.parameters().Select(p => (p.grad ?? zeros_like(p, requires_grad: false)).detach().flatten())]);

    private static CheckRow Row(Comparison comparison)
    {
        long begun = Stopwatch.GetTimestamp();
        (double difference, string? note) = (double.NaN, null);
        try
        {
            TorchRuntime.SetPrecision(comparison.Precision);
            using DisposeScope scope = NewDisposeScope();
            difference = comparison.Compare();
        }
        catch (Exception e) when (
            e is ExternalException or UserErrorException or InvalidOperationException or ArgumentException or OutOfMemoryException)
        {
            note = e.Message.Split('\n')[0].Trim();
        }

        return new CheckRow(
            comparison.Name, comparison.Precision, comparison.Tolerance, difference, Stopwatch.GetElapsedTime(begun).TotalSeconds, note);
    }
}
